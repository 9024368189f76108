"""The nodes that write at indices as functions of tensors: entries of the table READ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tensorgrad as tg

from ..creation import asarray
from .read import Node, reads

_REDUCE: dict[str, Any] = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


def _written(node: Node, x: Any, axis: int, index: Any, values: Any) -> Any:
    how = node.get("reduction", "none")
    if how == "none":
        return tg.scatter(x, axis, index, values)
    return tg.scatter_reduce(x, axis, index, values, _REDUCE[how])


@reads("ScatterElements", "Scatter")
def _scatter_elements(node: Node, x: Any, index: Any, values: Any) -> Any:
    axis, index = node.get("axis", 0), asarray(index)
    return _written(node, x, axis, tg.where(index < 0, index + x.shape[axis], index), values)


@reads("ScatterND")
def _scatter_nd(node: Node, x: Any, index: Any, values: Any) -> Any:
    """The indexed axes are one axis of rows, the others their columns."""
    index, k = asarray(index), index.shape[-1]
    sizes = np.array(x.shape[:k])
    index = tg.where(index < 0, index + sizes, index)
    pitch = np.array([math.prod(x.shape[i + 1 : k]) for i in range(k)])
    rows = (index * pitch).sum(-1).reshape(-1, 1)
    columns = math.prod(x.shape[k:])
    flat = tg.reshape(x, (math.prod(x.shape[:k]), columns))
    rows = tg.broadcast_to(rows, (rows.shape[0], columns))
    return _written(node, flat, 0, rows, tg.reshape(values, rows.shape)).reshape(x.shape)
