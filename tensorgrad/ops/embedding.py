"""Embedding lookup, and its gradient, a scatter-add over the ids; sums of rows along edges, the
product with a sparse matrix."""

import math

import numpy as np

from ..backend import namespace
from ..core import Tensor, op
from .elementwise import multiply
from .index import ARRAY, scatter_add, segment_sum
from .reduce import sum_
from .samples import Sample, draw, integers
from .shape import moveaxis, reshape


def check_ids(ids, count):
    """TypeError unless ids are integers, IndexError unless below `count`."""
    if ids.dtype.kind not in "iu":
        raise TypeError(f"ids are indices of the table's rows: integers, got dtype {ids.dtype}")
    if type(ids) is np.ndarray and ids.size:  # on a GPU this would synchronise
        low, high = ids.min(), ids.max()
        if low < 0 or high >= count:
            raise IndexError(f"ids run from {low} to {high}, outside the table's 0..{count - 1}")


_IDS = ((4, 3, (5,)), (3, 2, (2, 3)), (4, 1, ()), (4, 3, (0,)), (1, 3, (2,)), (9, 33, (21,)))


@op(
    weight=lambda g, weight_shape, ids: embedding_grad(g, ids, count=weight_shape[0]),
    samples=lambda: [Sample((draw((n, m)), integers(shape, n))) for n, m, shape in _IDS],
    kind="shape",
    fixed=("ids",),
)
def embedding(weight, ids):
    """weight[ids]: the rows (features,) of a table (count, features) for ids of any shape, ->
    (..., features). On the GPU an id outside the table gives NaN."""
    if len(weight.shape) != 2:
        raise ValueError(f"weight is a table of shape (count, features), got {weight.shape}")
    check_ids(ids, weight.shape[0])
    if type(ids) is np.ndarray:
        return weight[ids]
    xp, last = namespace(weight), weight.shape[0] - 1
    inside = xp.expand_dims((ids >= 0) & (ids <= last), -1)
    return xp.where(inside, weight[ids.clip(0, last)], xp.asarray(xp.nan, dtype=weight.dtype))


@op(
    rows=lambda g, ids: embedding(g, ids),
    samples=lambda: [
        Sample((draw((*shape, m)), integers(shape, n)), {"count": n}) for n, m, shape in _IDS
    ],
    kind="shape",
    fixed=("ids",),
)
def embedding_grad(rows, ids, *, count):
    """Gradient of embedding for its table of `count` rows: row i is the sum of rows (..., features)
    over the positions where ids (...) == i, in their order."""
    if rows.shape[:-1] != ids.shape or not rows.shape:
        raise ValueError(f"rows of shape {rows.shape}, ids {ids.shape}: one row for each id")
    check_ids(ids, count)
    if not isinstance(rows, (np.ndarray, Tensor)):  # an array of a GPU
        return segment_sum(rows.reshape(ids.size, rows.shape[-1]), ids.reshape(-1), count)
    return scatter_add(rows, ids, shape=(count, rows.shape[-1]), template=(ARRAY,))


def _edges():
    """Rows, sources, targets, weights of the edges or None, and how many targets there are."""
    sizes = ((4, 3, 5, 6, True), (3, 2, 7, 2, False), (4, 1, 1, 4, True), (3, 2, 0, 2, True))
    for i, (n, features, edges, count, weighted) in enumerate((*sizes, (9, 33, 40, 7, True))):
        sources, targets = integers((edges,), n), integers((edges,), count, seed=i + 1)
        yield draw((n, features)), sources, targets, draw((edges,), seed=3), count, weighted


@op(
    x=lambda g, x_shape, sources, targets, w: gather_sum(g, targets, sources, w, count=x_shape[0]),
    w=lambda g, x, sources, targets: gather_dot(g, x, targets, sources),
    samples=lambda: [
        Sample((x, sources, targets, w if weighted else None), {"count": count})
        for x, sources, targets, w, count, weighted in _edges()
    ],
    fixed=("sources", "targets"),
)
def gather_sum(x, sources, targets, w=None, *, count):
    """Row i of the result (count, features) is the sum of w[e] * x[sources[e]] over the edges e
    with targets[e] == i, in their order: the product of a sparse matrix, whose numbers w (edges,)
    are at (targets, sources), and x (n, features). Without w they are 1."""
    if not sources.shape == targets.shape == (targets.shape if w is None else w.shape):
        raise ValueError(
            f"one source, target and weight for each edge, got {sources.shape}, {targets.shape}"
            + ("" if w is None else f" and {w.shape}")
        )
    rows = embedding(x, sources)
    rows = rows if w is None else multiply(rows, reshape(w, shape=(w.shape[0], 1)))
    return embedding_grad(rows, targets, count=count)


@op(
    a=lambda g, a_shape, b, at, bt: gather_sum(b, bt, at, g, count=a_shape[0]),
    b=lambda g, a, b_shape, at, bt: gather_sum(a, at, bt, g, count=b_shape[0]),
    samples=lambda: [
        Sample((x, draw((count, x.shape[1]), seed=8), sources, targets))
        for x, sources, targets, _, count, _ in _edges()
    ],
    fixed=("at", "bt"),
)
def gather_dot(a, b, at, bt):
    """The inner products of a[at[e]] and b[bt[e]] for each edge e: (n, features), (m, features) and
    ids (edges,) -> (edges,)."""
    if at.shape != bt.shape or a.shape[-1] != b.shape[-1]:
        raise ValueError(f"rows of a {a.shape} and b {b.shape} at {at.shape} and {bt.shape}")
    return sum_(multiply(embedding(a, at), embedding(b, bt)), axis=1)


def mixed(x, axis, at, weights):
    """Weighted sums of elements along an axis of a Tensor: the indices and weights (count, size) of
    each, of NumPy. Gathered, not multiplied by a matrix: a NaN stays in the sums that have it."""
    count, size = at.shape
    first = moveaxis(x, source=axis, destination=0)
    rows = reshape(first, shape=(len(first), math.prod(first.shape[1:])))
    edges = (at.reshape(-1), np.arange(count).repeat(size), weights.reshape(-1).astype(x.dtype))
    own = namespace(x._data).asarray
    y = gather_sum(rows, *[Tensor(own(a)) for a in edges], count=count)
    return moveaxis(reshape(y, shape=(count, *first.shape[1:])), source=0, destination=axis)
