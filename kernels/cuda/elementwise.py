"""Arithmetic, activations and their gradients: one launch each, with vectorised loads of 16 bytes
where rows and arrays are aligned to that."""

from __future__ import annotations

import numpy as np

from ..accept import NUMBERS, accepts, is_number
from .device import BLOCK, DTYPES, PACKED, Source, blocks, ctype, device, packs, sizes, wide

_UNARY = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus")
_UNARY += ("negative", "square", "sqrt")
_BINARY = ("tanh_grad", "sigmoid_grad", "relu_grad", "leaky_relu_grad", "elu_grad", "gelu_grad")
_BINARY += ("silu_grad", "square_grad", "add", "subtract", "multiply", "divide")
# The operands exchanged: b - g, and b / g.
_TURNED = {
    "add": "add",
    "subtract": "subtract_from",
    "multiply": "multiply",
    "divide": "divide_into",
}
# Below, launch overhead on the host dominates, of which CuPy's own arithmetic has less.
LARGE = 1 << 17
SOURCE = Source(
    "elementwise",
    [f"unary<f::{name}, {t}, {v}>" for name in _UNARY for t, v in PACKED]
    + [f"binary<f::{name}, {t}, {v}>" for name in _BINARY for t, v in PACKED]
    + [
        f"{kernel}<f::{name}, {t}, {v}>"
        for kernel in ("with_number", "with_row")
        for name in dict.fromkeys((*_TURNED, *_TURNED.values()))
        for t, v in PACKED
    ],
)


def apply(name, *arrays, p=0.0, source=SOURCE):
    """The scalar function `name` mapped over one array, or over two of one shape."""
    x = arrays[0]
    kernel = "unary" if len(arrays) == 1 else "binary"
    return _launched(kernel, name, x.size, arrays, (*sizes(x.size), wide(x)(p)), source)


def _launched(kernel, name, row, arrays, numbers, source=SOURCE):
    """A new array like the first, filled by a kernel over rows of so many elements."""
    x = arrays[0]
    xp, launch, _ = device(x)
    y = xp.empty(x.shape, x.dtype)
    if x.size:
        v = packs(row, *arrays, y)
        kernel = f"{kernel}<f::{name}, {ctype(x)}, {v}>"
        launch(source, kernel, blocks(x.size // v), (BLOCK,), (*arrays, y, *numbers))
    return y


# --- arithmetic ---------------------------------------------------------------------------------


def _pairs(name, a, b):
    """The function for two arrays, or with a number or a row on either side that is broadcast."""
    if is_number(a) or (not is_number(b) and a.ndim < b.ndim):
        name, a, b = _TURNED[name], b, a
    if type(b) in NUMBERS:
        return _with_number(name, a, a, b, 0)
    if is_number(b):
        return _with_number(name, a, b, 0, 1)
    if a.shape == b.shape:
        return apply(name, a, b)
    return _launched("with_row", name, b.size, (a, b), sizes(a.size, b.size))


def _with_number(name, x, number, value, on_device):
    xp, launch, _ = device(x)
    y, n = xp.empty(x.shape, x.dtype), x.size
    if n:
        v = packs(n, x, y)
        args = (x, number, y, np.int64(n), wide(x)(value), np.int32(on_device))
        kernel = f"with_number<f::{name}, {ctype(x)}, {v}>"
        launch(SOURCE, kernel, blocks(n // v), (BLOCK,), args)
    return y


@accepts(dtypes=DTYPES, broadcast=True, min_size=LARGE)
def add(a, b):
    return _pairs("add", a, b)


@accepts(dtypes=DTYPES, broadcast=True, min_size=LARGE)
def subtract(a, b):
    return _pairs("subtract", a, b)


@accepts(dtypes=DTYPES, broadcast=True, min_size=LARGE)
def multiply(a, b):
    return _pairs("multiply", a, b)


@accepts(dtypes=DTYPES, broadcast=True, min_size=LARGE)
def divide(a, b):
    return _pairs("divide", a, b)


@accepts(dtypes=DTYPES, min_size=LARGE)
def negative(x):
    return apply("negative", x)


@accepts(dtypes=DTYPES, min_size=LARGE)
def square(x):
    return apply("square", x)


@accepts(dtypes=DTYPES, same_shape=True)
def square_grad(g, x):
    return apply("square_grad", g, x)


@accepts(dtypes=DTYPES, min_size=LARGE)
def sqrt(x):
    return apply("sqrt", x)


# --- activations --------------------------------------------------------------------------------


@accepts(dtypes=DTYPES)
def tanh(x):
    return apply("tanh", x)


@accepts(dtypes=DTYPES, same_shape=True)
def tanh_grad(g, y):
    return apply("tanh_grad", g, y)


@accepts(dtypes=DTYPES)
def sigmoid(x):
    return apply("sigmoid", x)


@accepts(dtypes=DTYPES, same_shape=True)
def sigmoid_grad(g, y):
    return apply("sigmoid_grad", g, y)


@accepts(dtypes=DTYPES)
def relu(x):
    return apply("relu", x)


@accepts(dtypes=DTYPES, same_shape=True)
def relu_grad(g, y):
    return apply("relu_grad", g, y)


@accepts(dtypes=DTYPES)
def leaky_relu(x, *, slope=0.01):
    return apply("leaky_relu", x, p=slope)


@accepts(dtypes=DTYPES, same_shape=True)
def leaky_relu_grad(g, x, *, slope):
    return apply("leaky_relu_grad", g, x, p=slope)


@accepts(dtypes=DTYPES)
def elu(x, *, alpha=1.0):
    return apply("elu", x, p=alpha)


@accepts(dtypes=DTYPES, same_shape=True)
def elu_grad(g, x, *, alpha):
    return apply("elu_grad", g, x, p=alpha)


@accepts(dtypes=DTYPES)
def gelu(x):
    return apply("gelu", x)


@accepts(dtypes=DTYPES, same_shape=True)
def gelu_grad(g, x):
    return apply("gelu_grad", g, x)


@accepts(dtypes=DTYPES)
def silu(x):
    return apply("silu", x)


@accepts(dtypes=DTYPES, same_shape=True)
def silu_grad(g, x):
    return apply("silu_grad", g, x)


@accepts(dtypes=DTYPES)
def softplus(x):
    return apply("softplus", x)
