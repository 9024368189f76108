"""The dense layer: products by NumPy's BLAS, all that surrounds them in one pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..accept import accepts
from ..shapes import dense_fits, dense_grad_fits, flat_rows
from . import scalars as s
from .elementwise import PARALLEL, SMALL, apply, binary
from .jit import jit, prange

# So many numbers, at least, are summed into one partial bias gradient: the parts are enough for
# many threads and few to add up. They follow from the shape alone: the sum always rounds alike.
_PARTIAL = 1 << 14


def _activated(formula: Callable) -> Callable:
    """z becomes formula(z + b), row by row in place."""

    @jit(parallel_from=PARALLEL)
    def loop(z, b):
        for i in prange(z.shape[0]):
            for j in range(z.shape[1]):
                z[i, j] = formula(z[i, j] + b[j])

    return loop


def _activated_beside(formula: Callable) -> Callable:
    """z becomes z + b and y formula(z + b)."""

    @jit(parallel_from=PARALLEL)
    def loop(z, b, y):
        for i in prange(z.shape[0]):
            for j in range(z.shape[1]):
                v = z[i, j] + b[j]
                z[i, j] = v
                y[i, j] = formula(v)

    return loop


def _graded(formula: Callable) -> Callable:
    """gz becomes formula(g, y), and row c of `sums` the sum of its c-th part of the rows."""

    @jit(parallel_from=PARALLEL)
    def loop(g, y, gz, sums):
        rows, parts = g.shape[0], sums.shape[0]
        for c in prange(parts):
            for j in range(g.shape[1]):
                sums[c, j] = 0
            for i in range(c * rows // parts, (c + 1) * rows // parts):
                for j in range(g.shape[1]):
                    v = formula(g[i, j], y[i, j])
                    gz[i, j] = v
                    sums[c, j] += v

    return loop


@s.scalar
def _same(z):
    return z


_ACTIVATE = {
    "none": _activated(_same),
    "relu": _activated(s.relu),
    "sigmoid": _activated(s.sigmoid),
    "tanh": _activated(s.tanh),
}
_GELU = _activated_beside(s.gelu)
_SLOPES = {"relu": s.relu_grad, "sigmoid": s.sigmoid_grad, "tanh": s.tanh_grad}
_SLOPE = {name: binary(formula) for name, formula in _SLOPES.items()}
_SLOPE_AND_SUM = {name: _graded(formula) for name, formula in _SLOPES.items()}


def _bias(w, b):
    return np.zeros(w.shape[1], w.dtype) if b is None else b


@accepts(min_size=SMALL, when=dense_fits)
def dense(x, w, b=None, *, activation="none"):
    activate = _ACTIVATE[activation]
    z = np.matmul(flat_rows(x), w)
    if b is not None or activation != "none":
        activate(z, _bias(w, b))
    return z.reshape(*x.shape[:-1], w.shape[1])


@accepts(min_size=SMALL, when=dense_fits)
def dense_gelu(x, w, b=None):
    z = np.matmul(flat_rows(x), w)
    y = np.empty_like(z)
    _GELU(z, _bias(w, b), y)
    shape = (*x.shape[:-1], w.shape[1])
    return y.reshape(shape), z.reshape(shape)


@accepts(min_size=SMALL, when=dense_grad_fits)
def dense_grad(g, x, w, y, *, activation, needs):
    gz, y, gb = flat_rows(g), flat_rows(y), None
    if activation == "none":
        gb = gz.sum(axis=0) if needs[2] else None
    elif needs[2]:
        g, gz = gz, np.empty_like(gz)
        parts = max(1, min(g.size // _PARTIAL, g.shape[0], 64))
        sums = np.empty((parts, g.shape[1]), g.dtype)
        _SLOPE_AND_SUM[activation](g, y, gz, sums)
        gb = sums.sum(axis=0)
    else:
        gz = apply(_SLOPE[activation], gz, y)
    gx = np.matmul(gz, w.T).reshape(x.shape) if needs[0] else None
    gw = np.matmul(flat_rows(x).T, gz) if needs[1] else None
    return gx, gw, gb
