"""The ops of layers as ONNX nodes: entries of the table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import on_host
from ..errors import GraphError
from .graph import Graph
from .table import writes


def _activated(g: Graph, y: str, call: Any) -> Any:
    kinds = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh", "softplus": "Softplus"}
    name = call.params.get("activation", "none")
    if name == "none":
        return y
    if name == "silu":
        return g.node("Mul", y, g.node("Sigmoid", y))
    if name not in kinds:
        raise GraphError(f"export: the activation {name!r} of {call.op.name} is not known here")
    return g.node(kinds[name], y)


@writes("dense", "dense_gelu")
def _dense(g: Graph, call: Any) -> Any:
    x, w, *b = call.arrays
    y = g.node("MatMul", g.name(x), g.name(w, x.dtype))
    if b and b[0] is not None:
        y = g.node("Add", y, g.name(b[0], x.dtype))
    if call.op.name == "dense_gelu":
        return (g.node("Gelu", y, approximate="tanh"), None)
    return _activated(g, y, call)


@writes("conv2d")
def _conv2d(g: Graph, call: Any) -> Any:
    x, w, *b = call.arrays
    p = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1, **call.params}
    bias = [g.name(b[0], x.dtype)] if b and b[0] is not None else []
    how = {"strides": list(p["stride"]), "dilations": list(p["dilation"]), "group": p["groups"]}
    y = g.node("Conv", g.name(x), g.name(w, x.dtype), *bias, pads=[*p["padding"]] * 2,
               kernel_shape=list(w.shape[2:]), **how)  # fmt: skip
    return _activated(g, y, call)


@writes("conv2d_input")
def _conv_transpose(g: Graph, call: Any) -> Any:
    dy, w = call.arrays
    p, size = call.params, call.params["size"]
    extra = []
    for n, big, k, s, d, pad in zip(dy.shape[2:], size, w.shape[2:], p["stride"], p["dilation"],
                                    p["padding"], strict=True):  # fmt: skip
        extra.append(big - ((n - 1) * s - 2 * pad + d * (k - 1) + 1))
    how = {"strides": list(p["stride"]), "dilations": list(p["dilation"]), "group": p["groups"]}
    return g.node("ConvTranspose", g.name(dy), g.name(w, dy.dtype), pads=[*p["padding"]] * 2,
                  output_padding=extra, kernel_shape=list(w.shape[2:]), **how)  # fmt: skip


@writes("max_pool2d", "avg_pool2d", "largest_places")
def _pool(g: Graph, call: Any) -> Any:
    p = {"padding": (0, 0), "stride": None, **call.params}
    how: dict[str, Any] = {"strides": list(p["stride"] or p["size"]), "pads": [*p["padding"]] * 2}
    x, size = g.name(call.arrays[0]), list(p["size"])
    if call.op.name != "avg_pool2d":  # ONNX's places are in the whole array, ours in a plane
        y, where = g.node("MaxPool", x, outputs=2, kernel_shape=size, **how)
        plane = g.constant(math.prod(call.arrays[0].shape[2:]), "int64")
        where = g.node("Mod", where, plane)
        where = g.node("Cast", where, to=g.dtype(call.made[-1].dtype))
        return where if call.op.name == "largest_places" else (y, where)
    return g.node("AveragePool", x, kernel_shape=size, count_include_pad=1, **how)


def _scaled(g: Graph, y: str, x: Any, weight: Any, bias: Any, axes: list[int] | None) -> Any:
    """y * weight + bias, along the last axis or with axes added behind the channels."""
    for kind, p in (("Mul", weight), ("Add", bias)):
        if p is not None:
            name = g.name(p, x.dtype)
            name = g.node("Unsqueeze", name, g.constant(axes, "int64")) if axes else name
            y = g.node(kind, y, name)
    return y


@writes("channel_affine")
def _affine(g: Graph, call: Any) -> Any:
    x, scale, shift = call.arrays
    return _scaled(g, g.name(x), x, scale, shift, [*range(1, x.ndim - 1)])


@writes("layer_norm")
def _layer_norm(g: Graph, call: Any) -> Any:
    x, weight, bias = (*call.arrays, None, None)[:3]
    ones = g.constant(np.ones(x.shape[-1], x.dtype))
    y = g.node("LayerNormalization", g.name(x), ones, axis=-1, epsilon=call.params.get("eps", 1e-5))
    return (_scaled(g, y, x, weight, bias, None), None, None)


@writes("rms_norm")
def _rms_norm(g: Graph, call: Any) -> Any:
    x, weight = (*call.arrays, None)[:2]
    name = g.name(x)
    mean = g.node("ReduceMean", g.node("Mul", name, name), g.constant([-1], "int64"), keepdims=1)
    eps = g.constant(call.params.get("eps", 1e-6), x.dtype)
    y = g.node("Div", name, g.node("Sqrt", g.node("Add", mean, eps)))
    return (_scaled(g, y, x, weight, None, None), None)


@writes("batch_norm")
def _batch_norm(g: Graph, call: Any) -> Any:
    """With the statistics of the batch, as a layer that tracks none has them."""
    x, weight, bias = (*call.arrays, None, None)[:3]
    name, axes = g.name(x), g.constant([0, *range(2, x.ndim)], "int64")
    mean = g.node("ReduceMean", name, axes, keepdims=1)
    d = g.node("Sub", name, mean)
    var = g.node("ReduceMean", g.node("Mul", d, d), axes, keepdims=1)
    eps = g.constant(call.params.get("eps", 1e-5), x.dtype)
    y = g.node("Div", d, g.node("Sqrt", g.node("Add", var, eps)))
    return (_scaled(g, y, x, weight, bias, [*range(1, x.ndim - 1)]), None, None)


@writes("group_norm")
def _group_norm(g: Graph, call: Any) -> Any:
    x, weight, bias = (*call.arrays, None, None)[:3]
    name, groups = g.name(x), call.params["groups"]
    flat = g.node("Reshape", name, g.constant([0, groups, -1], "int64"))
    one, zero = g.constant(np.ones(groups, x.dtype)), g.constant(np.zeros(groups, x.dtype))
    y = g.node("InstanceNormalization", flat, one, zero, epsilon=call.params.get("eps", 1e-5))
    y = g.node("Reshape", y, g.node("Shape", name))
    return (_scaled(g, y, x, weight, bias, [*range(1, x.ndim - 1)]), None, None)


@writes("embedding")
def _embedding(g: Graph, call: Any) -> Any:
    weight, ids = call.arrays
    return g.node("Gather", g.name(weight), g.name(ids, "int64"), axis=0)


@writes("scaled_dot_product_attention")
def _attention(g: Graph, call: Any) -> Any:
    q, k, v, mask = (*call.arrays, None)[:4]
    scale = call.params.get("scale")
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    turned = [*range(k.ndim - 2), k.ndim - 1, k.ndim - 2]
    s = g.node("MatMul", g.name(q), g.node("Transpose", g.name(k), perm=turned))
    s = g.node("Mul", s, g.constant(scale, q.dtype))
    low, seen = g.constant(np.finfo(q.dtype).min / 2, q.dtype), []
    if call.params.get("causal"):
        seen.append(g.constant(np.tri(q.shape[-2], k.shape[-2], dtype=bool)))
    if mask is not None and mask.dtype == bool:
        seen.append(g.name(mask))
    elif mask is not None:
        s = g.node("Max", g.node("Add", s, g.name(mask, q.dtype)), low)
    for one in seen:
        s = g.node("Where", one, s, low)
    p = g.node("Softmax", s, axis=-1)
    for one in seen:  # a row that sees nothing gives 0
        p = g.node("Where", one, p, g.constant(0, q.dtype))
    return (g.node("MatMul", p, g.name(v)), None)


# ONNX's order of the gates, by ours: LSTM i, o, f, c of i, f, g, o; GRU z, r, h of r, z, n
_RECURRENT = {
    "lstm": ("LSTM", [0, 3, 1, 2]),
    "gru": ("GRU", [1, 0, 2]),
    "rnn": ("RNN", [0]),
}


@writes(*_RECURRENT)
def _recurrent(g: Graph, call: Any) -> Any:
    (kind, order), arrays = _RECURRENT[call.op.name], list(call.arrays)
    x = arrays.pop(0)
    states = [arrays.pop(0) for _ in range(2 if kind == "LSTM" else 1)]
    w, u, *biases = [None if a is None else _constant(g, a, call) for a in arrays]
    hidden = call.made[0].shape[-1]

    def gates(a: Any) -> np.ndarray:
        parts = np.split(a, len(order), axis=-1)
        return np.concatenate([parts[i] for i in order], axis=-1).astype(x.dtype)

    wide = len(order) * hidden
    b = [np.zeros(wide) if a is None else a for a in [*biases, None, None][:2]]
    u = np.zeros((hidden, wide)) if u is None else u
    given = [g.constant(gates(a).T[None]) for a in (w, u)]
    given.append(g.constant(np.concatenate([gates(a) for a in b])[None]))
    first = g.constant([0], "int64")
    begin = ["" if s is None else g.node("Unsqueeze", g.name(s, x.dtype), first) for s in states]
    steps = g.node("Transpose", g.name(x), perm=[1, 0, 2])
    how: dict[str, Any] = {"hidden_size": hidden}
    if kind == "GRU":
        how["linear_before_reset"] = 1
    if kind == "RNN":
        how["activations"] = [call.params.get("activation", "tanh").capitalize()]
    y, *last = g.node(kind, steps, *given, "", *begin, outputs=1 + len(states), **how)
    y = g.node("Transpose", g.node("Squeeze", y, g.constant([1], "int64")), perm=[1, 0, 2])
    return (y, *[g.node("Squeeze", s, first) for s in last], *[None] * 3)


def _constant(g: Graph, a: Any, call: Any) -> np.ndarray:
    if g.depends(a):
        raise GraphError(f"export: the weights of {call.op.name} depend on the input")
    return on_host(a)
