"""Activations that are made of others."""

import numpy as np
from scipy import special

from tensorgrad.testing import draw

from . import Row

X = draw((3, 4, 2), -4, 4)
WIDE = np.array([-1000.0, -3.0, 0.0, 3.0, 6.0, 1000.0])


def _shrunk(x, lambd=0.5):
    return np.sign(x) * np.maximum(np.abs(x) - lambd, 0)


def _glu(x, activation="sigmoid", axis=-1):
    a, b = np.split(x, 2, axis)
    return a * {"sigmoid": special.expit(b), "silu": b * special.expit(b), "none": b}[activation]


def _sparsemax(x, axis=-1):
    """By bisection for t."""
    low, high = x.max(axis, keepdims=True) - 1, x.max(axis, keepdims=True)
    for _ in range(80):
        t = (low + high) / 2
        more = np.maximum(x - t, 0).sum(axis, keepdims=True) > 1
        low, high = np.where(more, t, low), np.where(more, high, t)
    return np.maximum(x - t, 0)


FUNCTIONS = {
    "relu6": lambda x: np.clip(x, 0, 6),
    "hardsigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hardswish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "hardshrink": lambda x: x * (np.abs(x) > 0.5),
    "softshrink": _shrunk,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanhshrink": lambda x: x - np.tanh(x),
    "logsigmoid": special.log_expit,
    "mish": lambda x: x * np.tanh(np.logaddexp(0, x)),
    "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    "softmin": lambda x: special.softmax(-x, -1),
    "sparsemax": _sparsemax,
}
ROWS = [
    *[Row(name, truth, (X,)) for name, truth in FUNCTIONS.items()],
    *[Row(name, truth, (WIDE,), order=0) for name, truth in FUNCTIONS.items() if name != "selu"],
    Row("hardtanh", lambda x, min, max: np.clip(x, min, max), (X,), {"min": -1.5, "max": 0.7}),
    Row("hardshrink", lambda x, lambd: x * (np.abs(x) > lambd), (X,), {"lambd": 1.1}),
    Row("softshrink", lambda x, lambd: x, (X,), {"lambd": 0}),
    Row("celu", lambda x, alpha: np.where(x > 0, x, 2 * np.expm1(x / 2)), (X,), {"alpha": 2}),
    Row("threshold", lambda x, t, v: np.where(x > t, x, v), (X, 0.3, -2.0)),
    Row("prelu", lambda x, w: np.where(x > 0, x, w[:, None] * x), (X, draw((4,), 0, 1))),
    Row("prelu", lambda x, w: np.where(x > 0, x, w * x), (X[0, 0], draw((1,), 0, 1))),
    Row("prelu", lambda x, w: np.asarray(w[0] * x), (np.array(-2.0), draw((1,), 0, 1))),
    Row("rrelu", lambda x, **_: np.where(x > 0, x, 0.3 * x), (X,), {"lower": 0.2, "upper": 0.4}),
    Row(
        "rrelu",
        lambda x, **_: np.where(x > 0, x, 0.3 * x),
        (X,),
        {"lower": 0.3, "upper": 0.3, "training": True},
    ),
    *[Row("glu", _glu, (X,), {"activation": a, "axis": 1}) for a in ("sigmoid", "silu", "none")],
    Row("sparsemax", _sparsemax, (X,), {"axis": 0}),
]  # fmt: skip
