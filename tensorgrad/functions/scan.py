"""Functions along an axis, whose results depend on the order of its elements.

Sums and products are accumulated in float64, so that they are exact to the rounding of the result
however long the axis is.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..backend import namespace
from ..core import Tensor
from ..creation import beside, owned
from ..errors import ArgumentError, ShapeError
from ..ops import elementwise as el
from ..ops import scan as ops
from ..ops.reduce import narrow, widened
from ..settings import gate
from ..typing import ArrayLike, Axis, DType, ValuesIndices
from .inputs import as_tensor, axis_of
from .reduce import sum
from .shape import broadcast_to, concatenate, moveaxis, reshape

__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "ediff1d",
    "gradient",
    "linear_scan",
    "logcumsumexp",
    "trapezoid",
    "unwrap",
]


def _line(name: str, x: ArrayLike, axis: Axis, dtype: DType) -> tuple[Tensor, int]:
    """x in the dtype, and the axis; flattened where there is none."""
    x = as_tensor(x)
    x = x if dtype is None else x.astype(dtype)
    return (reshape(x, -1), 0) if axis is None else (x, axis_of(name, x, axis))


@gate
def cumsum(
    x: ArrayLike, axis: Axis = None, dtype: DType = None, *, reverse: bool = False
) -> Tensor:
    """The sums of the elements up to each along an axis: y[i] = x[0] + ... + x[i].

    Args:
        x: any shape.
        axis: one axis; None flattens x.
        dtype: to which x is cast before, and that of the result.
        reverse: sums of the elements from each to the last.
    Returns: the floating dtype of x; int64, or uint64, for smaller integers and truth values.
    Raises: IndexingError if x has no such axis.

    >>> cumsum([1.0, 2.0, 4.0]).tolist(), cumsum([1.0, 2.0, 4.0], reverse=True).tolist()
    ([1.0, 3.0, 7.0], [7.0, 6.0, 4.0])
    """
    x, axis = _line("cumsum", x, axis, dtype)
    y = ops.cumsum(x, axis=axis, reverse=reverse)
    return y if dtype is None else y.astype(dtype)


@gate
def cumprod(x: ArrayLike, axis: Axis = None, dtype: DType = None) -> Tensor:
    """The products of the elements up to each along an axis: y[i] = x[0] * ... * x[i]. The gradient
    is right where elements are 0, too.

    Args: as those of `cumsum`.
    Returns: the floating dtype of x; int64, or uint64, for smaller integers and truth values.
    Raises: IndexingError if x has no such axis.

    >>> cumprod([1.0, 2.0, 3.0]).tolist()
    [1.0, 2.0, 6.0]
    """
    x, axis = _line("cumprod", x, axis, dtype)
    y = ops.cumprod(x, axis=axis)
    return y if dtype is None else y.astype(dtype)


def _cumulative(
    name: str,
    scan: Callable[..., Tensor],
    x: ArrayLike,
    axis: Axis,
    dtype: DType,
    first: int | None,
) -> Tensor:
    x = as_tensor(x)
    if axis is None and x.ndim != 1:
        raise ArgumentError(f"{name}: axis= says along which of the axes of shape {x.shape}")
    along = axis_of(name, x, 0 if axis is None else axis)
    y = scan(x, along, dtype)
    if first is None:
        return y
    start = namespace(y._data).full(_one(y, along), first, dtype=y.dtype)
    return concatenate([Tensor(start), y], along)


@gate
def cumulative_sum(
    x: ArrayLike, *, axis: Axis = None, dtype: DType = None, include_initial: bool = False
) -> Tensor:
    """The sums of the elements up to each along an axis, as `cumsum` (the array API's form).

    Args:
        axis: one axis, which may be left out where there is no other.
        dtype: to which x is cast before, and that of the result.
        include_initial: whether the sum of no element, 0, comes first: one more than along x.
    Raises: ArgumentError for no axis of several, IndexingError if x has no such axis.

    >>> cumulative_sum([1.0, 2.0, 4.0], include_initial=True).tolist()
    [0.0, 1.0, 3.0, 7.0]
    """
    return _cumulative("cumulative_sum", cumsum, x, axis, dtype, 0 if include_initial else None)


@gate
def cumulative_prod(
    x: ArrayLike, *, axis: Axis = None, dtype: DType = None, include_initial: bool = False
) -> Tensor:
    """The products of the elements up to each along an axis, as `cumprod` (the array API's form).

    Args: as those of `cumulative_sum`; the product of no element is 1.
    Raises: as `cumulative_sum`.

    >>> cumulative_prod([2.0, 3.0], include_initial=True).tolist()
    [1.0, 2.0, 6.0]
    """
    return _cumulative("cumulative_prod", cumprod, x, axis, dtype, 1 if include_initial else None)


@gate
def linear_scan(a: ArrayLike, x: ArrayLike, axis: int = 0, *, reverse: bool = False) -> Tensor:
    """The linear recurrence y[i] = a[i] y[i - 1] + x[i] along an axis, y[-1] = 0: discounted
    returns, exponential averages, diagonal state space models (Blelloch 1990).

    Args:
        a: the factors, of the shape of x or broadcast to it.
        axis: time.
        reverse: y[i] = a[i] y[i + 1] + x[i], from the last on.
    Raises: ShapeError where a does not broadcast to x, IndexingError if x has no such axis.

    On a GPU, log2(n) steps compose the maps of neighbours; there an infinite product of factors
    gives NaN beside a y of 0.

    >>> linear_scan(0.5, [8.0, 0.0, 0.0, 1.0]).tolist()
    [8.0, 4.0, 2.0, 2.0]
    """
    x = owned(x)
    axis = axis_of("linear_scan", x, axis)
    a = beside(a, x)
    return ops.linear_scan(broadcast_to(a, x.shape), x, axis=axis, reverse=reverse)


@gate
def logcumsumexp(x: ArrayLike, axis: int) -> Tensor:
    """log(cumsum(exp(x))) along an axis, shifted by the running maximum so that nothing overflows,
    and no early element underflows beside a later one.

    Args:
        x: any shape; integers become the default float.
    Raises: IndexingError if x has no such axis.

    >>> logcumsumexp([0.0, 0.0, 1000.0], 0).numpy().round(2).tolist()[0::2]
    [0.0, 1000.0]
    """
    x = as_tensor(x)
    axis = axis_of("logcumsumexp", x, axis)
    wide = widened(x if x.dtype.kind not in "biu" else x.astype(None))
    top = ops.running_extreme(wide.detach(), axis=axis, largest=True)[0]
    base = el.where(el.equal(el.abs_(top), math.inf), 0.0, top)
    faded = el.exp(ops.shifted(top, axis, 1, -math.inf) - base)
    total = ops.linear_scan(faded, el.exp(wide - base), axis=axis)
    none = el.equal(total, 0.0)  # all of -inf: 0 would give the gradient NaN
    return narrow(el.where(none, -math.inf, el.log(el.where(none, 1.0, total)) + base), x)


@gate
def cummax(x: ArrayLike, axis: int) -> ValuesIndices:
    """The largest element up to each along an axis, and its index.

    Returns: `values`, and `indices` in int64: of equal elements the last one's; once there is a
        NaN, NaN. The gradient goes to those indices, as in PyTorch.
    Raises: IndexingError if x has no such axis.

    >>> cummax([1.0, 3.0, 2.0, 4.0], 0).values.tolist()
    [1.0, 3.0, 3.0, 4.0]
    """
    x = as_tensor(x)
    axis = axis_of("cummax", x, axis)
    return ValuesIndices(*ops.running_extreme(x, axis=axis, largest=True))


@gate
def cummin(x: ArrayLike, axis: int) -> ValuesIndices:
    """The smallest element up to each along an axis, and its index.

    Returns: as `cummax`.
    Raises: IndexingError if x has no such axis.

    >>> values, indices = cummin([2.0, 3.0, 1.0, 1.0], 0)
    >>> values.tolist(), indices.tolist()
    ([2.0, 2.0, 1.0, 1.0], [0, 0, 2, 3])
    """
    x = as_tensor(x)
    axis = axis_of("cummin", x, axis)
    return ValuesIndices(*ops.running_extreme(x, axis=axis, largest=False))


# --- differences ----------------------------------------------------------------------------------


@gate
def diff(
    x: ArrayLike,
    n: int = 1,
    axis: int = -1,
    prepend: ArrayLike | None = None,
    append: ArrayLike | None = None,
) -> Tensor:
    """The n-th differences of neighbours along an axis: x[i + 1] - x[i], n times over.

    Args:
        x: one axis or more.
        n: how often differences are taken; 0 gives x.
        prepend, append: what x is extended by along the axis before that.
    Returns: n elements fewer along the axis; truth values for truth values.
    Raises: ArgumentError if n is negative, IndexingError if x has no such axis.

    >>> diff([1.0, 4.0, 9.0, 16.0]).tolist()
    [3.0, 5.0, 7.0]
    >>> diff([1.0, 4.0, 9.0, 16.0], n=2).tolist()
    [2.0, 2.0]
    """
    x = as_tensor(x)
    if n < 0:
        raise ArgumentError(f"diff: n={n} is negative; 0 gives x itself")
    axis = axis_of("diff", x, axis)
    ends = [e if e is None else as_tensor(e) for e in (prepend, x, append)]
    along = [e if e.ndim else broadcast_to(e, _one(x, axis)) for e in ends if e is not None]
    x = concatenate(along, axis) if len(along) > 1 else x
    for _ in range(n):
        ahead, behind = _slice(x, axis, 1, None), _slice(x, axis, 0, -1)
        x = ahead != behind if x.dtype == bool else ahead - behind
    return x


def _one(x: Tensor, axis: int) -> tuple[int, ...]:
    """The shape of x, with one element along the axis."""
    shape = list(x.shape)
    shape[axis] = 1
    return tuple(shape)


def _at(axis: int, start: int | None, stop: int | None) -> tuple[slice, ...]:
    """The key of start:stop along an axis counted from the first."""
    return (slice(None),) * axis + (slice(start, stop),)


def _slice(x: Tensor, axis: int, start: int | None, stop: int | None) -> Tensor:
    """x[start:stop] along an axis."""
    return x[_at(axis % x.ndim, start, stop)]


@gate
def ediff1d(
    x: ArrayLike, to_end: ArrayLike | None = None, to_begin: ArrayLike | None = None
) -> Tensor:
    """The differences of neighbours of the flattened x, between numbers to begin and to end with.

    >>> ediff1d([1, 2, 4, 7], to_begin=-99).tolist()
    [-99, 1, 2, 3]
    """
    x = reshape(owned(x), -1)
    parts = [to_begin, x[1:] - x[:-1], to_end]
    return concatenate([reshape(beside(p, x), -1).astype(x.dtype) for p in parts if p is not None])


@gate
def unwrap(
    x: ArrayLike, discont: float | None = None, axis: int = -1, *, period: float = 2 * math.pi
) -> Tensor:
    """x with whole periods added, so that no step along an axis is larger than half a period.

    Args:
        discont: steps that are not larger than that are left alone; at least half a period.
    Returns: the floating dtype of x. The gradient is that of x + constants.
    Raises: IndexingError if x has no such axis.

    >>> unwrap([0.0, 3.0, 2.0], period=4.0).tolist()
    [0.0, -1.0, -2.0]
    """
    x = as_tensor(x)
    axis = axis_of("unwrap", x, axis)
    step = diff(x.detach(), axis=axis)
    half = period / 2
    least = half if discont is None else max(half, discont)
    near = (step + half) % period - half
    near = el.where((near == -half) & (step > 0), half, near)
    more = cumsum(el.where(el.abs_(step) < least, 0.0, near - step), axis)
    return x + concatenate([_slice(x.detach(), axis, 0, 1) * 0, more], axis)


@gate
def trapezoid(y: ArrayLike, x: ArrayLike | None = None, dx: float = 1.0, axis: int = -1) -> Tensor:
    """The integral along an axis by the trapezoidal rule: sum((y[i] + y[i + 1]) / 2 * step).

    Args:
        x: the places of the samples, (n,) or of the shape of y; a gradient reaches it, too.
        dx: their distance where x is left out.
    Raises: IndexingError if y has no such axis.

    >>> trapezoid([1.0, 2.0, 3.0]).item(), trapezoid([1.0, 2.0, 3.0], x=[4.0, 6.0, 8.0]).item()
    (4.0, 8.0)
    """
    y = owned(y)
    axis = axis_of("trapezoid", y, axis)
    step: ArrayLike = dx
    if x is not None:
        places = beside(x, y)
        if places.ndim == 1:
            places = reshape(places, [-1 if i == axis else 1 for i in range(y.ndim)])
        step = diff(places, axis=axis)
    both = _slice(y, axis, 1, None) + _slice(y, axis, None, -1)
    return sum(el.multiply(both, step) / 2, axis)


@gate
def gradient(
    x: ArrayLike,
    *spacing: ArrayLike,
    axis: int | tuple[int, ...] | None = None,
    edge_order: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    """The derivative of samples along each axis: central differences of second order, one-sided
    ones at the ends.

    Args:
        x: the samples, `edge_order` + 1 or more along each axis.
        spacing: the distance between samples, one for all axes or one for each; an array of one
            axis gives their places. A gradient reaches places, too.
        axis: one axis or several; all where left out.
        edge_order: 1 or 2, of the differences at the ends.
    Returns: the shape of x; a tuple of them for several axes.
    Raises: ShapeError for too few samples, or places of another number; ArgumentError for another
        number of spacings, or another edge_order.

    It has nothing to do with backward: that is `grad`.

    >>> gradient([1.0, 2.0, 4.0, 7.0, 11.0]).tolist()
    [1.0, 1.5, 2.5, 3.5, 4.0]
    """
    x = owned(x)
    x = x.astype(None) if x.dtype.kind in "biu" else x
    if edge_order not in (1, 2):
        raise ArgumentError(f"gradient: edge_order={edge_order}: it is 1 or 2")
    given = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = [axis_of("gradient", x, a) for a in given]
    if len(spacing) not in (0, 1, len(axes)):
        raise ArgumentError(f"gradient: {len(spacing)} spacings for {len(axes)} axes")
    steps = spacing * (len(axes) if len(spacing) == 1 else 1) or (1.0,) * len(axes)
    made = tuple([_slope(x, beside(h, x), a, edge_order) for h, a in zip(steps, axes, strict=True)])
    return made[0] if len(made) == 1 else made


def _slope(x: Tensor, h: Tensor, axis: int, edge_order: int) -> Tensor:
    n = x.shape[axis]
    if n <= edge_order:
        raise ShapeError(f"gradient: {n} samples along axis {axis}, at least {edge_order + 1}")
    if h.ndim > 1 or (h.ndim and len(h) != n):
        raise ShapeError(f"gradient: places of shape {h.shape} for {n} samples along axis {axis}")
    y = moveaxis(x, axis, -1)
    d = diff(h) if h.ndim else broadcast_to(h, (n - 1,))
    if h.ndim:
        p, q = d[:-1], d[1:]
        before, here, after = -q / (p * (p + q)), (q - p) / (p * q), p / (q * (p + q))
        inner = before * y[..., :-2] + here * y[..., 1:-1] + after * y[..., 2:]
    else:
        inner = (y[..., 2:] - y[..., :-2]) / (2 * h)
    first, last = (y[..., 1:2] - y[..., :1]) / d[0], (y[..., -1:] - y[..., -2:-1]) / d[-1]
    if edge_order == 2:  # on from the slope of the first pair, by half the change to the next
        first = first - (inner[..., :1] - first)
        last = last + (last - inner[..., -1:])
    return moveaxis(concatenate([first, inner, last], -1), -1, axis).astype(x.dtype)
