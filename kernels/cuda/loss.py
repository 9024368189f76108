"""Softmax cross-entropy, fused: neither the softmax nor a one-hot matrix is materialised."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import flat_rows, labels_fit, labels_grad_fit
from .device import DTYPES, PACKED, Source, ctype, device, packs, row_launch, sizes

_LABELS = {"int32": "int", "int64": "long long"}
SOURCE = Source(
    "loss",
    [
        f"{name}<{t}, {label}, {v}>"
        for name in ("cross_entropy", "cross_entropy_grad")
        for t, v in PACKED
        for label in _LABELS.values()
    ],
)


def _prepared(logits, labels):
    """Logits as a matrix, labels in a type that kernels exist for, and the types' names."""
    if labels.dtype.name not in _LABELS:
        labels = labels.astype(np.int64)
    return flat_rows(logits), labels, f"{ctype(logits)}, {_LABELS[labels.dtype.name]}"


@accepts(dtypes=DTYPES, others=("labels",), when=labels_fit)
def softmax_cross_entropy(logits, labels):
    xp, launch, _ = device(logits)
    x, labels, types = _prepared(logits, labels)
    losses = xp.empty(labels.shape, logits.dtype)
    v = packs(x.shape[1], x)
    args = (x, labels, losses, *sizes(*x.shape))
    launch(SOURCE, f"cross_entropy<{types}, {v}>", *row_launch(*x.shape, v), args)
    return losses


@accepts(
    dtypes=DTYPES,
    others=("labels",),
    strided=("g",),  # the mean's gradient is one number broadcast over the examples
    when=labels_grad_fit,
)
def softmax_cross_entropy_grad(g, logits, labels):
    xp, launch, _ = device(logits)
    x, labels, types = _prepared(logits, labels)
    one = not any(g.strides)
    g = g if one else xp.ascontiguousarray(g)
    out = xp.empty(logits.shape, logits.dtype)
    v = packs(x.shape[1], x, out)
    args = (g, np.int64(not one), x, labels, out, *sizes(*x.shape))
    launch(SOURCE, f"cross_entropy_grad<{types}, {v}>", *row_launch(*x.shape, v), args)
    return out
