"""Rows of a table."""

from __future__ import annotations

from ..core import Tensor
from ..ops import embedding as ops
from ..typing import ArrayLike
from .inputs import operands


def embedding(weight: ArrayLike, ids: ArrayLike) -> Tensor:
    """weight[ids], rows of a table: (count, features) and ids of any shape -> (..., features).

    Raises: ShapeError unless the table has two axes, DTypeError for ids that are not integers,
    IndexingError for ids below 0 or not below count. A GPU, which would have to be waited for,
    gives NaN for those instead, and the error within `detect_anomaly`.

    The gradient of a row is summed in the order in which the ids name it: the same bits every time.

    >>> embedding([[0.0, 1.0], [2.0, 3.0]], [1, 1, 0]).tolist()
    [[2.0, 3.0], [2.0, 3.0], [0.0, 1.0]]
    """
    return ops.embedding(*operands(weight, ids))
