"""Reductions of rows by an id: nodes from edges, words from subwords, bags from their elements.

`x` is (n, ...), `segment_ids` (n,) says to which segment each row belongs, in any order; the result
is (num_segments, ...). Without `num_segments` there are as many as the largest id + 1: a GPU is
then waited for. An id below 0 or not below num_segments is an IndexingError; on a GPU it wraps
around instead, but within `detect_anomaly`. Rows of a segment are reduced in their order: the same
bits every time, without atomics.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np

from ..backend import is_floating, namespace
from ..core import Tensor
from ..creation import beside, owned
from ..errors import ArgumentError, DTypeError, IndexingError, ShapeError
from ..ops import elementwise as el
from ..ops.embedding import embedding_grad, gather_sum
from ..ops.gather import counts, last_writer, segment_extreme
from ..ops.gather import segment_ids as checked
from ..ops.index import ARRAY, scatter_add
from ..ops.reduce import narrow, widened
from ..ops.sorting import argsort
from ..settings import gate
from ..typing import ArrayLike, Natural
from .embedding import embedding
from .inputs import alike
from .shape import concatenate, reshape

__all__ = [
    "embedding_bag",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_prod",
    "segment_softmax",
    "segment_sum",
]


def _segments(
    name: str, x: ArrayLike, ids: ArrayLike, count: int | None
) -> tuple[Tensor, Any, int]:
    """The rows, their ids as an array, and the number of segments."""
    x = owned(x)
    found = beside(ids, x)._data
    if found.dtype.kind not in "iu" and found.size:
        raise DTypeError(f"{name}: segment_ids are integers, not {found.dtype}")
    if not x.ndim or found.shape != x.shape[:1]:
        raise ShapeError(f"{name}: segment_ids of shape {found.shape} for rows of {x.shape}")
    if count is None:
        count = int(found.max()) + 1 if found.size else 0
    return x, checked(found, count), count


def _column(a: Any, x: Tensor) -> Tensor:
    """An array (n,) that broadcasts against rows (n, ...)."""
    return Tensor(a.reshape(-1, *[1] * (x.ndim - 1)))


def _sum(x: Tensor, ids: Any, count: int) -> Tensor:
    if x.ndim == 1 and type(ids) is np.ndarray:  # four times faster there
        return scatter_add(x, ids, shape=(count,), template=(ARRAY,))  # type: ignore[no-any-return]
    rows = reshape(x, (len(x), math.prod(x.shape[1:])))
    return reshape(embedding_grad(rows, ids, count=count), (count, *x.shape[1:]))


@gate
def segment_sum(
    x: ArrayLike, segment_ids: ArrayLike, num_segments: Natural | None = None
) -> Tensor:
    """The sum of the rows of each segment; 0 of no row. Halves are summed in float32.

    >>> segment_sum([1.0, 2.0, 4.0], [1, 0, 1]).tolist()
    [2.0, 5.0]
    """
    return _sum(*_segments("segment_sum", x, segment_ids, num_segments))


@gate
def segment_mean(
    x: ArrayLike, segment_ids: ArrayLike, num_segments: Natural | None = None
) -> Tensor:
    """The mean of the rows of each segment; 0 of no row.

    >>> segment_mean([1.0, 2.0, 4.0], [1, 0, 1]).tolist()
    [2.0, 2.5]
    """
    x, ids, count = _segments("segment_mean", x, segment_ids, num_segments)
    n = namespace(ids).maximum(counts(ids, count), 1)
    return _sum(x, ids, count) / _column(n, x)


@gate
def segment_max(
    x: ArrayLike, segment_ids: ArrayLike, num_segments: Natural | None = None
) -> Tensor:
    """The largest element of each segment, NaN if there is one; -inf (of integers the least number)
    of no row. Of equal ones each gets an equal part of the gradient.

    >>> segment_max([1.0, 2.0, 4.0], [1, 0, 1]).tolist()
    [2.0, 4.0]
    """
    x, ids, count = _segments("segment_max", x, segment_ids, num_segments)
    return segment_extreme(x, ids, count=count, largest=True)


@gate
def segment_min(
    x: ArrayLike, segment_ids: ArrayLike, num_segments: Natural | None = None
) -> Tensor:
    """The smallest element of each segment, NaN if there is one; inf (of integers the largest
    number) of no row. Of equal ones each gets an equal part of the gradient.

    >>> segment_min([1.0, 2.0, 4.0], [1, 0, 1]).tolist()
    [2.0, 1.0]
    """
    x, ids, count = _segments("segment_min", x, segment_ids, num_segments)
    return segment_extreme(x, ids, count=count, largest=False)


@gate
def segment_prod(
    x: ArrayLike, segment_ids: ArrayLike, num_segments: Natural | None = None
) -> Tensor:
    """The product of the elements of each segment; 1 of no row. The gradient is right with zeros,
    too.

    >>> segment_prod([3.0, 2.0, 4.0], [1, 0, 1]).tolist()
    [2.0, 12.0]
    """
    x, ids, count = _segments("segment_prod", x, segment_ids, num_segments)
    if not len(ids):
        return Tensor(namespace(ids).ones((count, *x.shape[1:]), dtype=x.dtype))
    order = argsort(ids, axis=0)
    ids, y = ids[order], widened(x[order])
    longest = int(counts(ids, count).max()) if namespace(ids) is np else len(ids)
    step = 1
    while step < longest:  # each row times those before, of pairs, of fours, ...
        same = _column(ids[step:] == ids[:-step], x)
        y = concatenate([y[:step], y[step:] * el.where(same, y[:-step], 1)])
        step *= 2
    last = last_writer(ids, count)
    y = y[namespace(ids).maximum(last, 0)]
    return narrow(el.where(_column(last >= 0, x), y, 1), x)


@gate
def segment_softmax(
    x: ArrayLike, segment_ids: ArrayLike, num_segments: Natural | None = None
) -> Tensor:
    """The softmax over the rows of each segment, as of a graph's attention: exp(x) over the sum of
    those of its segment, shifted by the maximum against overflow. -> the shape of x.

    >>> segment_softmax([0.0, 5.0, 0.0], [1, 0, 1]).tolist()
    [0.5, 1.0, 0.5]
    """
    x, ids, count = _segments("segment_softmax", x, segment_ids, num_segments)
    x = x if is_floating(x.dtype) else x.astype(None)
    top = segment_extreme(x.detach(), ids, count=count, largest=True)[ids]
    e = el.exp(x - el.where(el.equal(top, float("-inf")), 0.0, top))
    return e / _sum(e, ids, count)[ids]


@gate
def embedding_bag(
    weight: ArrayLike,
    ids: ArrayLike,
    offsets: ArrayLike | None = None,
    mode: Literal["mean", "sum", "max"] = "mean",
    per_sample_weights: ArrayLike | None = None,
    padding_idx: int | None = None,
    *,
    sparse: bool = False,
) -> Tensor:
    """The mean, sum or largest elements of the rows of each bag: weight (count, features), ids
    (bags, size) -> (bags, features).

    Args:
        weight, ids: as those of `embedding`; or ids (n,) of bags that follow each other, with
        offsets: where each begins, from 0 and not falling; a bag of no ids gives zeros.
        per_sample_weights: by which rows are multiplied, of the shape of ids; for "sum" alone.
        padding_idx: an id that counts in no bag, and whose row gets no gradient.
        sparse: whether the table's gradient holds the rows looked up alone, as in `embedding`.
    Raises: as `embedding`; ShapeError for other shapes, IndexingError for offsets that fall, or end
    beyond the ids (a GPU would have to be waited for, and is not), ArgumentError for weights of
    another mode.

    >>> embedding_bag([[1.0], [2.0], [4.0]], [[0, 1], [2, 2]]).tolist()
    [[1.5], [4.0]]
    >>> embedding_bag([[1.0], [2.0], [4.0]], [0, 1, 2], [0, 2, 2], "sum").tolist()
    [[3.0], [0.0], [4.0]]
    """
    table, shares = alike(weight, per_sample_weights)
    at = beside(ids, table)
    if at.ndim != 2 - (offsets is not None):
        raise ShapeError(
            f"embedding_bag: ids of shape {at.shape}: (bags, size), or (n,) and offsets (bags,)"
        )
    if shares is not None and (mode != "sum" or shares.shape != at.shape):
        raise ArgumentError(
            f'embedding_bag: per_sample_weights of shape {shares.shape} are for mode "sum" and '
            f"of the shape of ids, {at.shape}; got {mode=}"
        )
    flat, xp = reshape(at, -1), namespace(table._data)
    shares = None if shares is None else reshape(shares, -1)
    if offsets is None:
        bags, size = at.shape
        bag = xp.arange(bags * size) // max(size, 1)
    else:
        starts = beside(offsets, table)._data
        _check_offsets(starts, len(flat))
        bags, bag = len(starts), xp.searchsorted(starts, xp.arange(len(flat)), side="right") - 1
    count = bags
    if padding_idx is not None:  # into a bag more, which is left out
        padding = padding_idx % max(len(table), 1)  # as an index, which may count from the last
        bag, count = xp.where(flat._data == padding, bags, bag), bags + 1
    if mode == "max":
        rows, some = (
            embedding(table, flat, sparse=sparse),
            Tensor((counts(bag, count) > 0)[:, None]),
        )
        y: Tensor = el.where(some, segment_max(rows, bag, count), 0.0)
    else:
        y = gather_sum(table, flat, bag, shares, count=count)
        if sparse:
            from ..rows import looked_up

            y = looked_up(y, table)
        if mode == "mean":
            y = y / _column(xp.maximum(counts(bag, count), 1), y)
    return y if count == bags else y[:bags]


def _check_offsets(starts: Any, n: int) -> None:
    if starts.ndim != 1 or (starts.dtype.kind not in "iu" and starts.size):
        raise ShapeError(f"embedding_bag: offsets {starts.dtype}{starts.shape}: integers (bags,)")
    if type(starts) is not np.ndarray:  # which would have to be waited for
        return
    low, high = (starts[0], starts[-1]) if starts.size else (0, 0)
    if low != 0 or high > n or (np.diff(starts) < 0).any() or (n and not starts.size):
        raise IndexingError(
            f"embedding_bag: offsets run from {low} to {high} for {n} ids: from 0, not falling"
        )
