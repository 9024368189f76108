"""Padding, in all of NumPy's modes. Each is made of ops, so gradients need no formula of their own:
a constant by the op, numbers that are repeated by their indices, statistics by joining them on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np

from ..backend import is_floating, is_half, make, namespace
from ..core import Tensor
from ..creation import asarray, owned
from ..errors import ArgumentError, GraphError, IndexingError, ShapeError
from ..ops import discrete, reduce
from ..ops import shape as ops
from ..settings import Own, Whole, gate, take
from ..typing import ArrayLike
from .inputs import as_tensor

PadMode: TypeAlias = Literal[
    "constant",
    "edge",
    "reflect",
    "symmetric",
    "wrap",
    "maximum",
    "minimum",
    "mean",
    "median",
    "linear_ramp",
    "empty",
    "replicate",
    "circular",
]
Widths: TypeAlias = Annotated[
    "int | Sequence[Any] | Mapping[int, Any]", Own("a whole number, or pairs of them")
]
Lengths: TypeAlias = Annotated["int | Sequence[Any] | None", Own("a whole number, or pairs")]
Ends: TypeAlias = Annotated["float | Sequence[Any]", Own("a number, or pairs of them")]
# A mode -> the option it takes.
_MODES: dict[str, str | None] = {
    "constant": "constant_values",
    "edge": None,
    "reflect": "reflect_type",
    "symmetric": "reflect_type",
    "wrap": None,
    "maximum": "stat_length",
    "minimum": "stat_length",
    "mean": "stat_length",
    "median": "stat_length",
    "linear_ramp": "end_values",
    "empty": None,
}
_PYTORCHS = {"replicate": "edge", "circular": "wrap"}
_UNSET: dict[str, Any] = {
    "constant_values": 0,
    "stat_length": None,
    "end_values": 0,
    "reflect_type": "even",
}


@gate
def pad(
    x: ArrayLike,
    pad_width: Widths,
    mode: PadMode = "constant",
    *,
    constant_values: Ends = 0,
    stat_length: Lengths = None,
    end_values: Ends = 0,
    reflect_type: Literal["even", "odd"] = "even",
) -> Tensor:
    """`x` made longer at both ends of its axes, as `np.pad` does. Differentiable in every mode.

    Args:
        pad_width: how many numbers to add: one number for all ends, (before, after) for all axes,
            such a pair for each axis, or a dict of axes and what is added to them.
        mode: what they are. "constant": `constant_values`. "edge": the outermost number.
            "reflect", "symmetric": the numbers mirrored, without and with the outermost. "wrap":
            those of the other end. "maximum", "minimum", "mean", "median": that of the axis, or
            of the `stat_length` numbers next to the end. "linear_ramp": evenly spaced from the
            outermost number to `end_values`. "empty": any; here they are zeros. "replicate" and
            "circular" are PyTorch's words for "edge" and "wrap".
        constant_values, stat_length, end_values: one for all ends, or pairs as in `pad_width`.
        reflect_type: "odd" mirrors about the outermost number itself, 2 * edge - mirrored.
    Returns: the dtype of `x`; means and medians of integers are rounded, ramps rounded down.
    Raises: ArgumentError for a width below 0, an option of another mode, or a constant that the
    integers of `x` cannot hold; ShapeError where an axis of length 0 has nothing to repeat.

    >>> pad([1.0, 2.0], 1).tolist()
    [0.0, 1.0, 2.0, 0.0]
    >>> pad([1.0, 2.0, 3.0], (2, 1), "reflect").tolist()
    [3.0, 2.0, 1.0, 2.0, 3.0, 2.0]
    """
    given, x, mode = x, as_tensor(x), _PYTORCHS.get(mode, mode)  # type: ignore[assignment]
    options = (constant_values, stat_length, end_values, reflect_type)
    known = _MODES[mode]
    for (name, unset), value in zip(_UNSET.items(), options, strict=True):
        if value is not unset and name != known:
            raise ArgumentError(f"pad: mode {mode!r} does not use {name}, got {name}={value!r}")
    odd = reflect_type == "odd"
    widths = _widths(pad_width, x.ndim)
    if not any(map(any, widths)):
        return ops.identity(owned(given))
    if known == "constant_values" or mode == "empty":
        return _constant(x, widths, _pairs("constant_values", constant_values, x.ndim))
    lengths = _whole_pairs("stat_length", stat_length, x.ndim, least=1)
    ends = _pairs("end_values", end_values, x.ndim).tolist()
    for axis, (before, after) in enumerate(widths):
        if not before and not after:
            continue
        if not x.shape[axis]:
            raise ShapeError(
                f"pad: mode {mode!r} repeats what is there, and axis {axis} of shape {x.shape} is "
                "empty: use mode 'constant'"
            )
        if known == "stat_length":
            x = _with_statistics(x, axis, (before, after), lengths[axis], mode)
        elif mode == "linear_ramp":
            x = _with_ramps(x, axis, (before, after), ends[axis])
        elif odd and x.shape[axis] > 1:
            x = _mirrored(x, axis, before, after, int(mode == "reflect"))
        else:
            places = np.pad(np.arange(x.shape[axis]), (before, after), mode=mode)  # type: ignore[arg-type]
            x = x[(*_all(axis), places)]
    return x


def _all(axis: int) -> tuple[slice, ...]:
    """The part of an index before that of the axis."""
    return (slice(None),) * axis


def _pairs(name: str, value: Any, ndim: int) -> np.ndarray:
    """A pair (before, after) for each axis, of what NumPy broadcasts to that."""
    if isinstance(value, Tensor):
        if value.node is not None:
            raise GraphError(
                f"pad: {name} takes plain numbers, and no gradient reaches a tensor there: give "
                ".detach(), or join the parts with concat"
            )
        value = value.numpy()
    try:
        made = make(value, None, "numpy", np.dtype("float64"))
        made = made.reshape(()) if made.size == 1 else made
        return np.broadcast_to(made, (ndim, 2))
    except ValueError:
        raise ArgumentError(
            f"pad: {name}={value!r}: give one number, (before, after), or such a pair for each of "
            f"the {ndim} axes"
        ) from None


def _whole_pairs(name: str, value: Any, ndim: int, least: int) -> list[list[Any]]:
    if value is None:
        return [[None, None]] * ndim
    made = _pairs(name, value, ndim)
    if made.dtype.kind not in "iu" or (made.size and made.min() < least):
        raise ArgumentError(f"pad: {name}={value!r}: whole numbers, each {least} or more")
    pairs: list[list[Any]] = made.tolist()
    return pairs


def _widths(value: Any, ndim: int) -> list[list[int]]:
    if not isinstance(value, Mapping):
        if value is None:
            raise ArgumentError("pad: pad_width=None; it is a whole number, or pairs of them")
        return _whole_pairs("pad_width", value, ndim, least=0)
    widths = [[0, 0] for _ in range(ndim)]
    for axis, width in value.items():
        if not -ndim <= take("pad", "axis", Whole(), axis) < ndim:
            raise IndexingError(f"pad: pad_width={value!r} names axis {axis} of {ndim}")
        widths[axis] = _whole_pairs("pad_width", width, 1, least=0)[0]
    return widths


def _constant(x: Tensor, widths: list[list[int]], values: np.ndarray) -> Tensor:
    """x within constants: in one step where they are the same for all ends."""
    if not is_floating(x.dtype):
        with np.errstate(invalid="ignore", over="ignore"):
            held = values.astype(x.dtype)
        if (held != values).any():
            raise ArgumentError(
                f"pad: {x.dtype} does not hold constant_values={values.tolist()}: cast x with "
                ".astype('float32')"
            )
    if not values.size or (values == values[0, 0]).all():
        value = values.flat[0].item() if values.size else 0
        return ops.pad(x, pad_width=tuple(map(tuple, widths)), value=value)
    for end in np.ndindex(values.shape):  # the last axis has the corners, as in NumPy
        width = np.zeros(values.shape, int)
        width[end] = widths[end[0]][end[1]]
        x = ops.pad(x, pad_width=tuple(map(tuple, width.tolist())), value=values[end].item())
    return x


def _mirrored(x: Tensor, axis: int, before: int, after: int, inner: int) -> Tensor:
    """Mirrored at the outermost numbers themselves; these are left out themselves where `inner`
    is 1. Each round adds what x was long at first, so that it ends where the next mirror is."""
    at, longest = _all(axis), x.shape[axis] - inner
    while before or after:
        n, left, right = x.shape[axis], min(before, longest), min(after, longest)
        first, last = x[(*at, slice(0, 1))], x[(*at, slice(n - 1, n))]
        start = ops.flip(x[(*at, slice(inner, inner + left))], axis=axis)
        end = ops.flip(x[(*at, slice(n - inner - right, n - inner))], axis=axis)
        x = ops.concat(2 * first - start, x, 2 * last - end, axis=axis)
        before, after = before - left, after - right
    return x


def _with_statistics(
    x: Tensor, axis: int, widths: tuple[int, int], lengths: list[Any], mode: str
) -> Tensor:
    """x within a statistic of the numbers next to each end."""
    n, at = x.shape[axis], _all(axis)
    parts: list[Tensor] = []
    for width, length, first in zip(widths, lengths, (True, False), strict=True):
        k = n if length is None else min(length, n)
        near = x[(*at, slice(0, k) if first else slice(n - k, n))]
        if mode in ("maximum", "minimum"):
            extremum = reduce.max_ if mode == "maximum" else reduce.min_
            value = extremum(near, axis=axis, keepdims=True)
        else:
            exact = near if is_floating(x.dtype) else near.astype("float64")
            exact = _median(exact, axis) if mode == "median" else exact
            value = reduce.mean(exact, axis=axis, keepdims=True)
            value = value if is_floating(x.dtype) else discrete.round_(value).astype(x.dtype)
        parts.append(ops.broadcast_to(value, shape=(*x.shape[:axis], width, *x.shape[axis + 1 :])))
    return ops.concat(parts[0], x, parts[1], axis=axis)


def _median(x: Tensor, axis: int) -> Tensor:
    """The one or two numbers in the middle of each line along the axis; NaN where there is one."""
    n, at, xp = x.shape[axis], _all(axis), namespace(x.data)
    order = xp.argsort(x.data, axis=axis)
    middle, largest = order[(*at, slice((n - 1) // 2, n // 2 + 1))], order[(*at, slice(n - 1, n))]
    places = list(xp.indices(middle.shape))
    places[axis] = largest  # NaNs are sorted to the end
    nan = xp.isnan(x.data[tuple(places)])
    places[axis] = xp.where(nan, largest, middle)
    return x[tuple(places)]


def _with_ramps(x: Tensor, axis: int, widths: tuple[int, int], ends: list[Any]) -> Tensor:
    """x within evenly spaced numbers that begin at `ends` and would meet it."""
    n, at = x.shape[axis], _all(axis)
    dtype = x.dtype if is_floating(x.dtype) else np.dtype("float64")
    dtype = np.dtype("float32") if is_half(dtype) else dtype
    parts: list[Tensor] = []
    for width, end, edge in zip(widths, ends, (0, n - 1), strict=True):
        outermost = x[(*at, slice(edge, edge + 1))]
        count = np.arange(width) if not parts else np.arange(width)[::-1]
        count = count.reshape(-1, *(1,) * (x.ndim - axis - 1))
        steps = asarray(count, dtype, x.backend)
        ramp = steps * ((outermost.astype(dtype) - end) / max(width, 1)) + end
        ramp = ramp if is_floating(x.dtype) else discrete.floor(ramp)
        parts.append(ramp if ramp.dtype == x.dtype else ramp.astype(x.dtype))
    return ops.concat(parts[0], x, parts[1], axis=axis)
