"""Rows of a table."""

from __future__ import annotations

from ..core import Tensor
from ..ops import embedding as ops
from ..settings import gate
from ..typing import ArrayLike
from .inputs import operands


@gate
def embedding(weight: ArrayLike, ids: ArrayLike, *, sparse: bool = False) -> Tensor:
    """weight[ids], rows of a table: (count, features) and ids of any shape -> (..., features).

    With `sparse` the gradient that backward() leaves in a table's `.grad` holds the rows looked up
    alone: its array has their `ids` and `values`, and is computed with as the whole, zeros
    included. SGD, Adagrad and SparseAdam then update these rows; sums and multiples of such
    gradients, and clipping, stay so. It is for a leaf, as a parameter: of a result of ops, within
    vmap and where gradients are differentiated they are whole.

    Raises: ShapeError unless the table has two axes, DTypeError for ids that are not integers,
    IndexingError for ids below 0 or not below count. A GPU, which would have to be waited for,
    gives NaN for those instead, and the error within `detect_anomaly`.

    The gradient of a row is summed in the order in which the ids name it: the same bits every time.

    >>> embedding([[0.0, 1.0], [2.0, 3.0]], [1, 1, 0]).tolist()
    [[2.0, 3.0], [2.0, 3.0], [0.0, 1.0]]
    """
    table, at = operands(weight, ids)
    y: Tensor = ops.embedding(table, at)
    if sparse:
        from ..rows import looked_up

        y = looked_up(y, table)
    return y
