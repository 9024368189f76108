"""Sorting, searching and sets.

NaN counts as larger than all numbers, as in NumPy and PyTorch: it comes last in ascending order and
first in descending. Sorting is always stable: equal elements keep their order, on every backend.
The gradient of a sorted element goes to the place where it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from ..backend import namespace
from ..core import Tensor
from ..creation import beside, owned
from ..errors import ArgumentError, IndexingError, ShapeError
from ..ops import sorting as ops
from ..ops.gather import places, taken
from ..ops.reduce import narrow, widened
from ..settings import gate, shown
from ..typing import ArrayLike, Axis, Count, SortKind, ValuesIndices
from .inputs import as_tensor, axis_of, operands, several
from .shape import reshape

__all__ = [
    "argpartition",
    "argsort",
    "digitize",
    "isin",
    "kthvalue",
    "lexsort",
    "partition",
    "searchsorted",
    "sort",
    "topk",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]


def _line(name: str, x: ArrayLike, axis: Axis) -> tuple[Tensor, int]:
    """x and the axis; flattened where there is none."""
    x = as_tensor(x)
    if not x.ndim:
        raise ShapeError(f"{name}: x is one number; it takes one axis or more")
    return (reshape(x, -1), 0) if axis is None else (x, axis_of(name, x, axis))


def _along(x: Tensor, order: Tensor, axis: int) -> Tensor:
    """The elements of x at indices along an axis."""
    return taken(x, places(order._data, x.shape, axis))


@gate
def sort(
    x: ArrayLike,
    axis: Axis = -1,
    kind: SortKind = None,
    *,
    descending: bool = False,
    stable: bool = True,
) -> Tensor:
    """The elements of x in ascending order along an axis. (PyTorch's sort gives indices, too: those
    of `argsort`.)

    Args:
        axis: one axis; None flattens x.
        kind, stable: words for the algorithm, without effect: equal elements stay in their order.
        descending: whether the largest comes first.
    Returns: the shape and dtype of x.
    Raises: IndexingError if x has no such axis, ShapeError for a single number.

    >>> sort([3.0, 1.0, 2.0]).tolist(), sort([3.0, 1.0, 2.0], descending=True).tolist()
    ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    """
    x, axis = _line("sort", x, axis)
    return ops.sort(x, axis=axis, descending=descending)


@gate
def argsort(
    x: ArrayLike,
    axis: Axis = -1,
    kind: SortKind = None,
    *,
    descending: bool = False,
    stable: bool = True,
) -> Tensor:
    """The indices that sort x along an axis; of equal elements the first comes first.

    Args: as those of `sort`.
    Returns: int64, through which no gradient passes.
    Raises: as `sort`.

    >>> argsort([3.0, 1.0, 2.0]).tolist(), argsort([3.0, 1.0, 2.0], descending=True).tolist()
    ([1, 2, 0], [0, 2, 1])
    """
    x, axis = _line("argsort", x, axis)
    return ops.argsort(x, axis=axis, descending=descending)


@gate
def lexsort(keys: ArrayLike | Sequence[ArrayLike], axis: int = -1) -> Tensor:
    """The indices that sort by several keys, of which the last counts most.

    Args:
        keys: a sequence of arrays of one shape.
    Returns: int64.
    Raises: ArgumentError for no key.

    >>> lexsort(([1, 0, 2], [5, 5, 4])).tolist()
    [2, 1, 0]
    """
    several = isinstance(keys, (list, tuple)) or getattr(keys, "ndim", None)
    arrays = [as_tensor(key) for key in keys] if several else []  # type: ignore[union-attr]
    if not arrays or not arrays[0].ndim:
        raise ArgumentError(f"lexsort: {shown(keys)}: give a sequence of one array or more")
    axis = axis_of("lexsort", arrays[0], axis)
    order = ops.argsort(arrays[0], axis=axis)
    for key in arrays[1:]:
        order = _along(order, ops.argsort(_along(key, order, axis), axis=axis), axis)
    return order


@gate
def topk(x: ArrayLike, k: Count, axis: int = -1, *, largest: bool = True) -> ValuesIndices:
    """The k largest elements along an axis, or the k smallest, the most extreme first, and their
    indices; of equal elements the first ones.

    Returns: `values`, and `indices` in int64.
    Raises: ArgumentError unless k is from 0 to the length of the axis, IndexingError if x has no
        such axis.

    >>> values, indices = topk([1.0, 4.0, 2.0, 3.0], 2)
    >>> values.tolist(), indices.tolist()
    ([4.0, 3.0], [1, 3])
    """
    x, axis = _line("topk", x, axis)
    if not 0 <= k <= x.shape[axis]:
        raise ArgumentError(f"topk: k={k} of {x.shape[axis]} elements along axis {axis}")
    order = ops.top_indices(x, k=k, axis=axis, largest=largest)
    return ValuesIndices(_along(x, order, axis), order)


@gate
def kthvalue(x: ArrayLike, k: Count, axis: int = -1, *, keepdims: bool = False) -> ValuesIndices:
    """The k-th smallest element along an axis, counted from 1, and its index.

    Returns: `values`, and `indices` in int64, without the axis unless `keepdims`.
    Raises: ArgumentError unless k is from 1 to the length of the axis, IndexingError if x has no
        such axis.

    >>> kthvalue([3.0, 1.0, 2.0], 2).values.item()
    2.0
    """
    x, axis = _line("kthvalue", x, axis)
    if not 1 <= k <= x.shape[axis]:
        raise ArgumentError(f"kthvalue: k={k} of {x.shape[axis]} elements along axis {axis}")
    at = (slice(None),) * axis
    order = ops.top_indices(x, k=k, axis=axis, largest=False)[(*at, slice(k - 1, k))]
    found = ValuesIndices(_along(x, order, axis), order)
    return found if keepdims else ValuesIndices(*[part[(*at, 0)] for part in found])


@gate
def argpartition(x: ArrayLike, kth: int | Sequence[int], axis: Axis = -1) -> Tensor:
    """Indices that bring the element which sorting would have at `kth` there, none larger before it
    and none smaller after it. In which order these come is not said.

    Args:
        kth: one place or several.
        axis: one axis; None flattens x.
    Returns: int64.
    Raises: ShapeError for a place that the axis has not, IndexingError if x has no such axis.

    >>> argpartition([3.0, 1.0, 2.0], 0).tolist()[0]
    1
    """
    x, axis = _line("argpartition", x, axis)
    return ops.argpartition(x, kth=kth, axis=axis)


@gate
def partition(x: ArrayLike, kth: int | Sequence[int], axis: Axis = -1) -> Tensor:
    """x with the element which sorting would have at `kth` there, none larger before it and none
    smaller after it.

    Args: as those of `argpartition`.
    Returns: the shape and dtype of x.
    Raises: as `argpartition`.

    >>> partition([3.0, 1.0, 2.0], 1).tolist()
    [1.0, 2.0, 3.0]
    """
    x, axis = _line("partition", x, axis)
    n, at = x.shape[axis], several(kth)
    if not all(-n <= k < n for k in at):
        raise IndexingError(f"partition: kth={shown(kth)} of {n} elements along axis {axis}")
    if x.node is None and type(x._data) is np.ndarray:  # no index needed
        return narrow(Tensor(np.partition(widened(x._data), np.array(at, int), axis)), x)  # type: ignore[no-any-return]
    return _along(x, argpartition(x, kth, axis), axis)


# --- searching ----------------------------------------------------------------------------------


@gate
def searchsorted(
    x: ArrayLike,
    v: ArrayLike,
    side: Literal["left", "right"] = "left",
    sorter: ArrayLike | None = None,
) -> Tensor:
    """Where numbers v would be inserted in the sorted x (n,): with `side="left"` the i for which
    x[i - 1] < v <= x[i], with `"right"` x[i - 1] <= v < x[i].

    Args:
        sorter: indices that sort x, where it is not sorted: those of `argsort`.
    Returns: int64, of the shape of v.
    Raises: ShapeError unless x has one axis.

    >>> searchsorted([1.0, 2.0, 3.0], [0.5, 2.0]).tolist()
    [0, 1]
    """
    a, b = operands(x, v)
    a = as_tensor(a).detach()
    if a.ndim != 1:
        raise ShapeError(f"searchsorted: x of shape {a.shape} must have one axis")
    if sorter is not None:
        order = beside(sorter, a)
        if order.shape != a.shape or order.dtype.kind not in "iu":
            raise ShapeError(f"searchsorted: sorter is {a.size} indices, got {order!r}")
        a = _along(a, order, 0)
    return ops.searchsorted(a, beside(b, a).detach(), side=side)


@gate
def digitize(x: ArrayLike, bins: ArrayLike, right: bool = False) -> Tensor:
    """The bin of each number: the i such that bins[i - 1] <= x < bins[i], of bins that increase; of
    those that decrease, bins[i - 1] > x >= bins[i].

    Args:
        bins: edges (n,), sorted in either direction, which is asked of the first and the last: a
            GPU is waited for.
        right: whether the right edge belongs to a bin instead of the left one.
    Returns: int64, of the shape of x; 0 and n stand for what is beyond the edges.

    >>> digitize([0.5, 2.0, 9.0], [1.0, 2.0, 3.0]).tolist()
    [0, 2, 3]
    """
    bins = owned(bins) if isinstance(bins, Tensor) else beside(bins, as_tensor(x))
    if bins.ndim != 1:
        raise ShapeError(f"digitize: bins of shape {bins.shape} must have one axis")
    if len(bins) and bool(bins.detach()[0] > bins.detach()[-1]):
        return len(bins) - searchsorted(bins[::-1], x, "left" if right else "right")
    return searchsorted(bins, x, "left" if right else "right")


# --- sets -----------------------------------------------------------------------------------------


@gate
def isin(
    x: ArrayLike, test_elements: ArrayLike, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element of x is one of others.

    Args:
        assume_unique: NumPy's promise that neither has an element twice, which may be faster.
        invert: whether it is none of them, instead.
    Returns: truth values, of the shape of x.

    >>> isin([1, 2, 3], [3, 1]).tolist()
    [True, False, True]
    """
    a, b = operands(x, test_elements)
    a = as_tensor(a)
    b, xp = beside(b, a), namespace(a._data)
    return Tensor(xp.isin(widened(a._data), widened(b._data), assume_unique, invert))


class UniqueAll(NamedTuple):
    """What `unique_all` returns."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` returns."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` returns."""

    values: Tensor
    inverse_indices: Tensor


def _distinct(x: Tensor, axis: int | None, equal_nan: bool) -> UniqueAll:
    xp = namespace(x._data)
    _, first, inverse, counts = xp.unique(
        widened(x._data), True, True, True, axis=axis, equal_nan=equal_nan
    )
    index = Tensor(first)
    values = reshape(x, -1)[index] if axis is None else x[(slice(None),) * axis + (index,)]
    inverse = inverse.reshape(x.shape if axis is None else -1)
    return UniqueAll(values, index, Tensor(inverse), Tensor(counts))


@gate
def unique(
    x: ArrayLike,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Axis = None,
    *,
    equal_nan: bool = True,
) -> Tensor | tuple[Tensor, ...]:
    """The distinct elements of x in ascending order, and on request where they are. Their number
    depends on the numbers: a GPU is waited for.

    Args:
        return_index: also the index of each one's first occurrence.
        return_inverse: also the indices that make x of them.
        return_counts: also how often each occurs.
        axis: along which whole slices are compared; None flattens x.
        equal_nan: whether all NaNs are one element.
    Returns: the values, or a tuple (values, index, inverse, counts) of what was asked for. The
        gradient goes to the first occurrences.
    Raises: IndexingError if x has no such axis.

    >>> unique([3, 1, 1]).tolist()
    [1, 3]
    >>> [part.tolist() for part in unique([3, 1, 1], return_inverse=True, return_counts=True)]
    [[1, 3], [1, 0, 0], [2, 1]]
    """
    x = owned(x)
    found = _distinct(x, None if axis is None else axis_of("unique", x, axis), equal_nan)
    wanted = (return_index, return_inverse, return_counts)
    more = [part for part, yes in zip(found[1:], wanted, strict=True) if yes]
    return (found.values, *more) if more else found.values


@gate
def unique_all(x: ArrayLike) -> UniqueAll:
    """The distinct elements of the flattened x in ascending order (each NaN is distinct), as the
    array API has it: `values`, `indices` of their first occurrences, `inverse_indices` of the shape
    of x, and `counts`. A GPU is waited for.

    >>> unique_all([3, 1, 1]).counts.tolist()
    [2, 1]
    """
    return _distinct(owned(x), None, False)


@gate
def unique_counts(x: ArrayLike) -> UniqueCounts:
    """The distinct elements of the flattened x and their `counts`, as those of `unique_all`.

    >>> values, counts = unique_counts([3, 1, 1])
    >>> values.tolist(), counts.tolist()
    ([1, 3], [2, 1])
    """
    found = _distinct(owned(x), None, False)
    return UniqueCounts(found.values, found.counts)


@gate
def unique_inverse(x: ArrayLike) -> UniqueInverse:
    """The distinct elements of the flattened x and the `inverse_indices` that make x of them, as
    those of `unique_all`.

    >>> values, inverse = unique_inverse([3, 1, 1])
    >>> values[inverse].tolist()
    [3, 1, 1]
    """
    found = _distinct(owned(x), None, False)
    return UniqueInverse(found.values, found.inverse_indices)


@gate
def unique_values(x: ArrayLike) -> Tensor:
    """The distinct elements of the flattened x in ascending order, as those of `unique_all`.

    >>> unique_values([3, 1, 1]).tolist()
    [1, 3]
    """
    return _distinct(owned(x), None, False).values
