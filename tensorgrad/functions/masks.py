"""Elements chosen by truth values, where they are, and labels as vectors of 0 and 1.

How many elements a mask chooses depends on its numbers: a GPU is waited for wherever the shape of
the result does, but for `masked_fill`, `select`, `choose` and `one_hot`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..backend import is_floating, namespace
from ..core import Tensor
from ..creation import beside, owned
from ..errors import ArgumentError, DTypeError, IndexingError, ShapeError
from ..ops import elementwise as el
from ..ops.gather import wrapped
from ..settings import gate
from ..typing import ArrayLike, Axis, DType, Natural, OutOfRange
from .inputs import as_tensor, axis_of, operands
from .shape import broadcast_to, reshape, stack

__all__ = [
    "argwhere",
    "choose",
    "compress",
    "extract",
    "flatnonzero",
    "masked_fill",
    "masked_select",
    "nonzero",
    "one_hot",
    "place",
    "select",
]


def _mask(name: str, mask: ArrayLike, x: Tensor) -> Tensor:
    found = beside(mask, x)
    if found.dtype != bool:
        raise DTypeError(f"{name}: the mask holds {found.dtype}, not truth values: give mask != 0")
    return found


@gate
def masked_fill(x: ArrayLike, mask: ArrayLike, value: ArrayLike) -> Tensor:
    """x with a number where the mask is True, in the dtype of x.

    Args:
        mask: truth values that broadcast with x.
        value: one number, or several that broadcast, too. A gradient reaches it.
    Raises: DTypeError for a mask of numbers, or fractions in an x of integers.

    >>> masked_fill([1.0, 2.0], [True, False], -math.inf).tolist()
    [-inf, 2.0]
    """
    x = owned(x)
    fill = beside(value, x)
    if is_floating(fill.dtype) and not is_floating(x.dtype):
        raise DTypeError(f"masked_fill: x holds {x.dtype}, the value is {fill.dtype}")
    return el.where(_mask("masked_fill", mask, x), fill.astype(x.dtype), x)


@gate
def masked_select(x: ArrayLike, mask: ArrayLike) -> Tensor:
    """The elements of x where the mask is True, in row-major order: x[mask], of shapes that are
    broadcast first.

    Raises: DTypeError for a mask of numbers, ShapeError where the two do not broadcast.

    >>> masked_select([[1, 2], [3, 4]], [True, False]).tolist()
    [1, 3]
    """
    x = owned(x)
    found = _mask("masked_select", mask, x)
    try:
        shape = np.broadcast_shapes(x.shape, found.shape)
    except ValueError:
        raise ShapeError(f"masked_select: x {x.shape}, the mask {found.shape}") from None
    return broadcast_to(x, shape)[broadcast_to(found, shape)]


@gate
def extract(condition: ArrayLike, x: ArrayLike) -> Tensor:
    """The elements of the flattened x where the flattened condition is non-zero.

    Raises: ShapeError where the two are not of one size.

    >>> extract([True, False, True], [5, 6, 7]).tolist()
    [5, 7]
    """
    x = owned(x)
    found = reshape(beside(condition, x), -1) != 0
    if found.size != x.size:
        raise ShapeError(f"extract: a condition of {found.size} elements for {x.size} of x")
    return reshape(x, -1)[found]


@gate
def compress(condition: ArrayLike, x: ArrayLike, axis: Axis = None) -> Tensor:
    """The slices of x along an axis where the condition (k,) is non-zero; slices after the k-th are
    left out.

    Args:
        axis: one axis; None flattens x.
    Raises: ShapeError unless the condition has one axis, IndexingError for one that is longer than
        x.

    >>> compress([False, True], [[1, 2], [3, 4]], axis=0).tolist()
    [[3, 4]]
    """
    x = owned(x)
    x, axis = (reshape(x, -1), 0) if axis is None else (x, axis_of("compress", x, axis))
    found = beside(condition, x)
    if found.ndim != 1:
        raise ShapeError(f"compress: a condition of shape {found.shape} must have one axis")
    (at,) = (found._data != 0).nonzero()
    at = wrapped(at, x.shape[axis], "compress: the condition's place")
    return x[(*[slice(None)] * axis, at)]


@gate
def place(x: ArrayLike, mask: ArrayLike, values: ArrayLike) -> Tensor:
    """x with values, in their order and from the first again when they are used up, where the mask
    is non-zero. (np.place writes into its array; this gives a new tensor.)

    Raises: ShapeError where mask and x are not of one size, or there are no values.

    >>> place([1, 2, 3, 4], [True, False, True, True], [8, 9]).tolist()
    [8, 2, 9, 8]
    """
    x = owned(x)
    xp, found = namespace(x._data), reshape(beside(mask, x), x.shape) != 0
    v = reshape(beside(values, x).astype(x.dtype), -1)
    if not v.size:
        raise ShapeError("place: there are no values")
    order = xp.cumsum(found._data.reshape(-1), axis=0) - 1
    return el.where(found, reshape(v[order % v.size], x.shape), x)


@gate
def select(
    condlist: Sequence[ArrayLike], choicelist: Sequence[ArrayLike], default: ArrayLike = 0
) -> Tensor:
    """For each place the element of the first choice whose condition holds there.

    Args:
        condlist: truth values, which broadcast with the choices.
        choicelist: as many arrays or numbers.
        default: where no condition holds.
    Raises: ArgumentError for lists of two lengths, or none.

    >>> select([[True, False, False], [True, True, False]], [[1, 2, 3], [4, 5, 6]], 9).tolist()
    [1, 5, 9]
    """
    if len(condlist) != len(choicelist) or not len(condlist):
        raise ArgumentError(f"select: {len(condlist)} conditions, {len(choicelist)} choices")
    masks = operands(*condlist)
    y = default
    for mask, x in zip(reversed(masks), reversed(choicelist), strict=True):
        a, b = operands(x, y)
        y = el.where(mask, a, b)
    return as_tensor(y)


@gate
def choose(
    x: ArrayLike, choices: Sequence[ArrayLike] | ArrayLike, mode: OutOfRange = "raise"
) -> Tensor:
    """For each place the element of that choice which x names: y[i] = choices[x[i]][i].

    Args:
        x: integers, which broadcast with the choices.
        choices: a sequence of arrays that broadcast.
        mode: of integers out of range: "raise", "wrap" around, or "clip" to the nearest.
    Raises: IndexingError for an x out of range (a GPU wraps around, but within `detect_anomaly`),
        DTypeError for one that is no integer.

    >>> choose([1, 0], [[1.0, 2.0], [3.0, 4.0]]).tolist()
    [3.0, 2.0]
    """
    index = as_tensor(x)
    if index.dtype.kind not in "iub":
        raise DTypeError(f"choose: x says which choice, in integers, not {index.dtype}")
    given = [owned(c) for c in choices]  # type: ignore[union-attr]
    shape = np.broadcast_shapes(index.shape, *[c.shape for c in given])
    at, n, xp = index._data.astype("int64"), len(given), namespace(index._data)
    if mode == "raise":
        if type(at) is np.ndarray and at.size and at.min() < 0:
            raise IndexingError(f"choose: x has {at.min()}, the choices are 0 to {n - 1}")
        at = wrapped(at, n, "choose: x")
    else:
        at = at % n if mode == "wrap" else at.clip(0, n - 1)
    lines = reshape(stack([broadcast_to(c, shape) for c in given]), (n, -1))
    at = xp.broadcast_to(at, shape).reshape(-1)
    return reshape(lines[at, xp.arange(at.size)], shape)


# --- places ---------------------------------------------------------------------------------------


@gate
def nonzero(x: ArrayLike) -> tuple[Tensor, ...]:
    """The indices of the elements that are not 0, int64, a tensor for each axis; in row-major
    order. A GPU is waited for.

    Raises: ShapeError for a single number.

    >>> [i.tolist() for i in nonzero([[0, 3], [4, 0]])]
    [[0, 1], [1, 0]]
    """
    x = as_tensor(x)
    if not x.ndim:
        raise ShapeError("nonzero: x is one number; it takes one axis or more")
    return tuple([Tensor(i) for i in (x._data != 0).nonzero()])


@gate
def argwhere(x: ArrayLike) -> Tensor:
    """The indices of the elements that are not 0, int64: a row for each, (n, x.ndim). A GPU is
    waited for.

    >>> argwhere([[0, 3], [4, 0]]).tolist()
    [[0, 1], [1, 0]]
    """
    x = as_tensor(x)
    if not x.ndim:
        return Tensor(namespace(x._data).zeros((int(bool(x.detach() != 0)), 0), dtype="int64"))
    return stack(nonzero(x), axis=-1)


@gate
def flatnonzero(x: ArrayLike) -> Tensor:
    """The indices of the elements of the flattened x that are not 0, int64. A GPU is waited for.

    >>> flatnonzero([[0, 3], [4, 0]]).tolist()
    [1, 2]
    """
    return nonzero(reshape(as_tensor(x), -1))[0]


@gate
def one_hot(
    x: ArrayLike, num_classes: Natural | None = None, dtype: DType = None, axis: int = -1
) -> Tensor:
    """Labels as vectors of 0 and 1: labels of any shape -> (..., num_classes).

    Args:
        x: integers. One that is no class gives zeros.
        num_classes: the largest label + 1 where left out: a GPU is waited for.
        dtype: of the result; the default float.
        axis: where the axis of the classes is in the result.
    Raises: DTypeError for labels that are no integers.

    >>> one_hot([0, 2], 3).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    x = as_tensor(x)
    if x.dtype.kind not in "iu":
        raise DTypeError(f"one_hot: labels are integers, not {x.dtype}")
    if num_classes is None:
        num_classes = int(x._data.max()) + 1 if x.size else 0
    n = num_classes
    wide = Tensor(namespace(x._data).expand_dims(x._data, axis))
    shape = [1] * wide.ndim
    shape[axis_of("one_hot", wide, axis)] = n
    return (wide == Tensor(namespace(x._data).arange(n).reshape(shape))).astype(dtype)
