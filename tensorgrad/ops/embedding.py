"""Embedding lookup, and its gradient, a scatter-add over the ids."""

import numpy as np

from ..backend import namespace
from ..core import Tensor, op
from .index import ARRAY, scatter_add, segment_sum
from .samples import Sample, draw, integers


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
