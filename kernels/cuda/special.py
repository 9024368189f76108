"""Special functions that CUDA has, one launch each; CuPy computes the others from references."""

from __future__ import annotations

from ..accept import accepts
from .device import DTYPES, PACKED, Source
from .elementwise import apply

_UNARY = ("erf", "erfc", "ndtr", "lgamma", "gelu_erf")
SOURCE = Source(
    "special",
    [f"unary<f::{name}, {t}, {v}>" for name in _UNARY for t, v in PACKED]
    + [f"binary<f::gelu_erf_grad, {t}, {v}>" for t, v in PACKED],
)


@accepts(dtypes=DTYPES)
def erf(x):
    return apply("erf", x, source=SOURCE)


@accepts(dtypes=DTYPES)
def erfc(x):
    return apply("erfc", x, source=SOURCE)


@accepts(dtypes=DTYPES)
def ndtr(x):
    return apply("ndtr", x, source=SOURCE)


@accepts(dtypes=DTYPES)
def lgamma(x):
    return apply("lgamma", x, source=SOURCE)


@accepts(dtypes=DTYPES)
def gelu_erf(x):
    return apply("gelu_erf", x, source=SOURCE)


@accepts(dtypes=DTYPES, same_shape=True)
def gelu_erf_grad(g, x):
    return apply("gelu_erf_grad", g, x, source=SOURCE)
