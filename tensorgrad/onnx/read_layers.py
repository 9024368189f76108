"""The nodes of layers as functions of tensors: entries of the table READ."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import tensorgrad as tg

from ..backend import is_floating
from ..errors import GraphError
from .read import Node, reads


@reads("Gemm")
def _gemm(node: Node, a: Any, b: Any, c: Any = None) -> Any:
    a = a.T if node.get("transA", 0) else a
    b = b.T if node.get("transB", 0) else b
    y = node.get("alpha", 1.0) * (a @ b)
    return y if c is None else y + node.get("beta", 1.0) * c


def _edges(node: Node, x: Any, kernel: list[int]) -> list[tuple[int, int]]:
    """(before, after) of each axis of an image."""
    axes = len(kernel)
    stride, dilation = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    how = node.get("auto_pad", "NOTSET")
    if how in ("NOTSET", "VALID"):
        pads = node.get("pads", [0] * 2 * axes) if how == "NOTSET" else [0] * 2 * axes
        return list(zip(pads[:axes], pads[axes:], strict=True))
    found = []
    for n, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
        total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
        small = total // 2
        found.append((small, total - small) if how == "SAME_UPPER" else (total - small, small))
    return found


@reads("Conv")
def _conv(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    axes = x.ndim - 2
    run: Any = {1: tg.conv1d, 2: tg.conv2d, 3: tg.conv3d}[axes]
    edges = _edges(node, x, list(w.shape[2:]))
    x = tg.pad(x, [(0, 0), (0, 0), *edges]) if any(map(any, edges)) else x
    stride, dilation = node.get("strides", [1] * axes), node.get("dilations", [1] * axes)
    how = {"stride": tuple(stride), "dilation": tuple(dilation)}
    return run(x, w, b, groups=node.get("group", 1), **how)


@reads("ConvTranspose")
def _conv_transpose(node: Node, x: Any, w: Any, b: Any = None) -> Any:
    axes = x.ndim - 2
    pads = node.get("pads", [0] * 2 * axes)
    if pads[:axes] != pads[axes:] or node.get("auto_pad", "NOTSET") != "NOTSET":
        raise GraphError("onnx.load: ConvTranspose with other pads at the two ends is not known")
    if "output_shape" in node.given:
        raise GraphError("onnx.load: ConvTranspose with an output_shape is not known")
    run: Any = {1: tg.conv_transpose1d, 2: tg.conv_transpose2d, 3: tg.conv_transpose3d}[axes]
    names = {"strides": "stride", "dilations": "dilation", "output_padding": "output_padding"}
    how = {ours: tuple(node.get(n)) for n, ours in names.items() if n in node.given}
    return run(x, w, b, padding=tuple(pads[:axes]), groups=node.get("group", 1), **how)


@reads("MaxPool", "AveragePool")
def _pool(node: Node, x: Any) -> Any:
    axes, largest, places = x.ndim - 2, node.kind == "MaxPool", len(node.outputs) > 1
    size, edges = tuple(node.get("kernel_shape")), _edges(node, x, node.get("kernel_shape"))
    how: dict[str, Any] = {"ceil_mode": bool(node.get("ceil_mode", 0))}
    dilation = tuple(node.get("dilations", [1] * axes))
    run: Any = getattr(tg, f"{'max' if largest else 'avg'}_pool{axes}d")
    pads = all(a == b and 2 * a <= k for (a, b), k in zip(edges, size, strict=True))
    if (not largest and max(dilation) > 1) or node.get("storage_order", 0):
        raise GraphError(f"onnx.load: {node.kind} with dilations or columns first is not known")
    if not pads and (places or how["ceil_mode"]):
        raise GraphError(f"onnx.load: {node.kind} with pads={node.get('pads')} is not known here")
    stride, around = tuple(node.get("strides", [1] * axes)), [(0, 0), (0, 0), *edges]
    if largest:
        if pads:
            how["padding"] = tuple([a for a, _ in edges])
        else:
            low = -math.inf if is_floating(x.dtype) else np.iinfo(x.dtype).min
            x = tg.pad(x, around, constant_values=low)
        found = run(x, size, stride, dilation=dilation, return_indices=places, **how)
        if not places:
            return found
        planes = np.arange(math.prod(x.shape[:2])).reshape(*x.shape[:2], *[1] * axes)
        return found[0], found[1] + planes * math.prod(x.shape[2:])
    within = bool(node.get("count_include_pad", 0))
    if pads:
        padding = tuple([a for a, _ in edges])
        return run(x, size, stride, padding=padding, count_include_pad=within, **how)
    y = run(tg.pad(x, around), size, stride)
    return y if within else y / run(tg.pad(tg.ones_like(x), around), size, stride)


@reads("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: Node, x: Any) -> Any:
    over: Any = tg.mean if node.kind == "GlobalAveragePool" else tg.max
    return over(x, axis=tuple(range(2, x.ndim)), keepdims=True)


def _along(p: Any, x: Any) -> Any:
    return tg.reshape(p, (-1, *[1] * (x.ndim - 2)))


@reads("BatchNormalization")
def _batch_norm(node: Node, x: Any, scale: Any, shift: Any, mean: Any, var: Any) -> Any:
    if node.get("training_mode", 0):
        raise GraphError("onnx.load: BatchNormalization in training mode is not known")
    scale = scale / tg.sqrt(var + node.get("epsilon", 1e-5))
    return x * _along(scale, x) + _along(shift - mean * scale, x)


@reads("InstanceNormalization")
def _instance_norm(node: Node, x: Any, scale: Any, shift: Any) -> Any:
    axes = tuple(range(2, x.ndim))
    d = x - tg.mean(x, axis=axes, keepdims=True)
    spread = tg.sqrt(tg.mean(d * d, axis=axes, keepdims=True) + node.get("epsilon", 1e-5))
    return d / spread * _along(scale, x) + _along(shift, x)


@reads("LayerNormalization", "RMSNormalization")
def _layer_norm(node: Node, x: Any, scale: Any, shift: Any = None) -> Any:
    axes = tuple(range(node.get("axis", -1) % x.ndim, x.ndim))
    centred = node.kind == "LayerNormalization"
    mean = tg.mean(x, axis=axes, keepdims=True)
    d = x - mean if centred else x
    rstd = 1 / tg.sqrt(tg.mean(d * d, axis=axes, keepdims=True) + node.get("epsilon", 1e-5))
    y = d * rstd * scale
    return (y if shift is None else y + shift, mean, rstd) if centred else y


@reads("LSTM", "GRU", "RNN")
def _recurrent(node: Node, x: Any, w: Any, u: Any, b: Any = None, lengths: Any = None,
               h0: Any = None, c0: Any = None, peephole: Any = None) -> Any:  # fmt: skip
    order = {"LSTM": [0, 2, 3, 1], "GRU": [1, 0, 2], "RNN": [0]}[node.kind]
    usual = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
    plain = node.get("direction", "forward") == "forward" and node.get("layout", 0) == 0
    functions = node.get("activations", usual[node.kind])
    plain &= functions == usual[node.kind] or (node.kind == "RNN" and functions == ["Relu"])
    plain &= node.kind != "GRU" or bool(node.get("linear_before_reset", 0))
    if not plain or lengths is not None or peephole is not None or "clip" in node.given:
        raise GraphError(f"onnx.load: {node.kind} in a form that tensorgrad's layers do not have")

    def gates(a: Any) -> Any:
        parts = tg.split(a, len(order), axis=-1)
        return tg.concatenate([parts[i] for i in order], axis=-1)

    steps = tg.swapaxes(x, 0, 1)
    w, u = gates(w[0].T), gates(u[0].T)
    both: list[Any] = [None, None] if b is None else [gates(part) for part in tg.split(b[0], 2)]
    b = both[0]
    h = None if h0 is None else h0[0]
    if node.kind == "GRU":
        y, *last = tg.gru(steps, h, w, u, *both)[:2]
    else:
        b = None if b is None else both[0] + both[1]
        if node.kind == "LSTM":
            y, *last = tg.lstm(steps, h, None if c0 is None else c0[0], w, u, b)[:3]
        else:
            y, *last = tg.rnn(steps, h, w, u, b, activation=functions[0].lower())
    return (tg.swapaxes(y, 0, 1)[:, None], *[s[None] for s in last])
