"""Activations and their gradients, one launch each where CuPy takes one for each operation."""

from __future__ import annotations

from ..accept import accepts
from .device import BLOCK, DTYPES, TYPES, Source, blocks, ctype, device, sizes, wide

_UNARY = ("tanh", "sigmoid", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus")
_BINARY = ("tanh_grad", "sigmoid_grad", "relu_grad", "leaky_relu_grad", "elu_grad", "gelu_grad")
_BINARY += ("silu_grad",)
SOURCE = Source(
    "elementwise",
    [f"unary<f::{name}, {t}>" for name in _UNARY for t in TYPES.values()]
    + [f"binary<f::{name}, {t}>" for name in _BINARY for t in TYPES.values()],
)


def apply(name, *arrays, p=0.0):
    """The formula `name` of each number of one array, or of each pair of two."""
    x = arrays[0]
    xp, launch, _ = device(x)
    y = xp.empty(x.shape, x.dtype)
    if x.size:
        kernel = f"{('unary', 'binary')[len(arrays) - 1]}<f::{name}, {ctype(x)}>"
        args = (*arrays, y, *sizes(x.size), wide(x)(p))
        launch(SOURCE, kernel, blocks(x.size), (BLOCK,), args)
    return y


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
