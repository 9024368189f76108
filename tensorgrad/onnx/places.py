"""The ops that write or repeat at indices as ONNX nodes: entries of the table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import GraphError
from ..ops.gather import least_of
from .graph import Graph
from .table import writes


def _full(g: Graph, value: Any, sizes: str, dtype: Any) -> str:
    return str(g.node("Expand", g.constant(value, dtype), sizes))


@writes("repeat_each")
def _repeat_each(g: Graph, call: Any) -> Any:
    x, axis, n = call.arrays[0], call.params["axis"], call.params["repeats"]
    if axis == 0 and g.other is not None:
        raise GraphError("export: repeats along the first axis need dynamic_batch=False")
    places = g.constant(np.repeat(np.arange(x.shape[axis]), n), "int64")
    return g.node("Gather", g.name(x), places, axis=axis)


@writes("pick")
def _pick(g: Graph, call: Any) -> Any:
    x, *places = call.arrays
    y = g.name(x)
    for axis, at in enumerate(places, x.ndim - 2):
        y = g.node("Gather", y, g.name(at, "int64"), axis=axis)
    return y


@writes("scatter_add")
def _scatter_add(g: Graph, call: Any) -> Any:
    """Along the axes from the first that is indexed on, which are one axis of ONNX's node."""
    values, *index = call.arrays
    template, shape = list(call.params["template"]), list(call.params["shape"])
    if Ellipsis in template:
        at = template.index(Ellipsis)
        missing = len(shape) - sum(part is not None for part in template) + 1
        template[at : at + 1] = [slice(None)] * missing
    if isinstance(template[0], str) and all(part == slice(None) for part in template[1:]):
        sizes = g.sizes(shape, "shape")
        return _by_rows(g, call, g.name(values), index[0], sizes, 0, "add")
    if any(g.depends(i) for i in index):
        raise GraphError("export: scatter_add at several index arrays that depend on the input")
    whole = 0
    while whole < len(template) and template[whole] == slice(None):
        whole += 1
    arrays = iter(index)
    key = tuple([next(arrays) if isinstance(part, str) else part for part in template[whole:]])
    size = math.prod(shape[whole:])
    places = np.arange(size).reshape(shape[whole:])[key].reshape(-1)
    flat = g.node("Reshape", g.name(values), g.constant([-1, len(places)], "int64"))
    rows = g.node("Shape", flat, start=0, end=1)
    sizes = g.node("Concat", rows, g.constant([size], "int64"), axis=0)
    zeros = _full(g, 0, sizes, values.dtype)
    at = g.node("Expand", g.constant(places[None], "int64"), g.node("Shape", flat))
    y = g.node("ScatterElements", zeros, at, flat, axis=1, reduction="add")
    return g.node("Reshape", y, g.sizes(shape, "shape", True))


def _by_rows(g: Graph, call: Any, rows: str, ids: Any, sizes: str, start: Any, how: str) -> Any:
    at = g.node("Unsqueeze", g.name(ids, "int64"), g.constant([-1], "int64"))
    first = _full(g, start, sizes, call.made[0].dtype)
    return g.node("ScatterND", first, at, rows, reduction=how)


@writes("embedding_grad", "segment_extreme")
def _segments(g: Graph, call: Any) -> Any:
    """Rows that are put together by an id."""
    rows, ids = call.arrays
    count = g.sizes([call.params["count"]], "count")
    rest = g.constant(call.made[0].shape[1:], "int64")
    sizes = g.node("Concat", count, rest, axis=0)
    if call.op.name == "embedding_grad":
        return _by_rows(g, call, g.name(rows), ids, sizes, 0, "add")
    largest = call.params["largest"]
    start = least_of(rows.dtype, largest)
    return _by_rows(g, call, g.name(rows), ids, sizes, start, "max" if largest else "min")


@writes("gather_sum")
def _gather_sum(g: Graph, call: Any) -> Any:
    x, sources, targets, w = (*call.arrays, None)[:4]
    rows = g.node("Gather", g.name(x), g.name(sources, "int64"), axis=0)
    if w is not None:
        weights = g.node("Unsqueeze", g.name(w, x.dtype), g.constant([1], "int64"))
        rows = g.node("Mul", rows, weights)
    features = g.node("Shape", rows, start=1)  # which may follow the batch
    sizes = g.node("Concat", g.sizes([call.params["count"]], "count"), features, axis=0)
    return _by_rows(g, call, rows, targets, sizes, 0, "add")
