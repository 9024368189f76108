"""Matrix products, and the dense layer, with bias and activation as the epilogue of each tile.

A large product is split into as many tiles as there are threads, each a single-threaded GEMM
(blas.py says why). Small ones are left to `np.matmul`, which then takes one thread, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..accept import accepts
from ..shapes import dense_fits, dense_grad_fits, flat_rows, multiplications, product_fits
from . import blas, jit
from . import scalars as s
from .buffers import empty, empty_like
from .elementwise import PARALLEL, SMALL, apply, binary
from .jit import prange

# So many numbers, at least, are summed into one partial bias gradient: the parts are enough for
# many threads and few to add up. They follow from the shape alone: the sum always rounds alike.
_PARTIAL = 1 << 14
# OpenBLAS itself takes one thread for products of no more multiplications than that.
TILED = 1 << 18
LEAST = 32  # the smallest side of a tile worth cutting


def tiles(m: int, n: int) -> tuple[int, int]:
    """Into how many rows and columns of tiles an m x n result is cut: as many as threads."""
    down, across, wanted = 1, 1, jit.threads()
    while down * across < wanted:
        rows, columns = m // down, n // across
        if max(rows, columns) < 2 * LEAST:
            break
        if columns >= rows:
            across *= 2
        else:
            down *= 2
    return down, across


@s.scalar
def tile(shape, down, across, t):
    """Top, bottom, left and right of tile t, whose sides are multiples of 16 but for the last."""
    rows, columns = (shape[0] + down - 1) // down, (shape[1] + across - 1) // across
    rows, columns = (rows + 15) // 16 * 16, (columns + 15) // 16 * 16
    top, left = t // across * rows, t % across * columns
    return top, max(top, min(shape[0], top + rows)), left, max(left, min(shape[1], left + columns))


# --- products -----------------------------------------------------------------------------------


@jit.jit(parallel=True)
def _products(c, a, turn_a, b, turn_b, down, across, share):
    """c[i] = a[i] @ b[i] for stacks of matrices, each transposed where its flag says so."""
    per, zero = down * across, c.dtype.type(0)
    for t in prange(c.shape[0] * per, share):
        i = t // per
        top, bottom, left, right = tile(c.shape[1:], down, across, t % per)
        part = c[i, top:bottom, left:right]
        if turn_a and turn_b:
            blas.gemm(a[i, :, top:bottom].T, b[i, left:right].T, part, zero)
        elif turn_a:
            blas.gemm(a[i, :, top:bottom].T, b[i, :, left:right], part, zero)
        elif turn_b:
            blas.gemm(a[i, top:bottom], b[i, left:right].T, part, zero)
        else:
            blas.gemm(a[i, top:bottom], b[i, :, left:right], part, zero)


def _stored(a: np.ndarray) -> tuple[np.ndarray, bool] | None:
    """The contiguous array behind a matrix or stack of matrices, and whether a is its transpose.
    None where there is none."""
    if a.flags.c_contiguous:
        return a, False
    a = a.swapaxes(-1, -2)
    return (a, True) if a.flags.c_contiguous else None


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b for matrices, or for stacks of as many."""
    left, right = _stored(a), _stored(b)
    m, n = a.shape[-2], b.shape[-1]
    same = a.shape[:-2] == b.shape[:-2] and left is not None and right is not None
    if not same or not blas.tiled() or multiplications(a, b) <= TILED:
        return np.matmul(a, b)
    c = empty((*a.shape[:-1], n), a.dtype)
    stack = c.reshape(-1, m, n)
    down, across = tiles(m, n) if len(stack) < jit.threads() else (1, 1)
    left, right = [(x.reshape(-1, *x.shape[-2:]), turn) for x, turn in (left, right)]
    with blas.single(c.dtype):
        _products(stack, *left, *right, down, across)
    return c


@accepts(contiguous=False, min_size=TILED, size_of=multiplications, least=128, when=product_fits)
def matmul(a, b):
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:
        return product(flat_rows(a), b).reshape(*a.shape[:-1], b.shape[1])
    return product(a, b)


# --- dense --------------------------------------------------------------------------------------


def _activated(formula: Callable) -> Callable:
    """z = formula(z + b), row by row in place."""

    @jit.jit(parallel_from=PARALLEL)
    def loop(z, b, share):
        for i in prange(z.shape[0], share):
            for j in range(z.shape[1]):
                z[i, j] = formula(z[i, j] + b[j])

    return loop


def _tiled(formula: Callable) -> Callable:
    """z = formula(x @ w + b)."""

    @jit.jit(parallel=True)
    def loop(z, x, w, b, down, across, share):
        for t in prange(down * across, share):
            top, bottom, left, right = tile(z.shape, down, across, t)
            blas.gemm(x[top:bottom], w[:, left:right], z[top:bottom, left:right], z.dtype.type(0))
            for i in range(top, bottom):
                for j in range(left, right):
                    z[i, j] = formula(z[i, j] + b[j])

    return loop


def _activated_beside(formula: Callable) -> Callable:
    """z = z + b and y = formula(z)."""

    @jit.jit(parallel_from=PARALLEL)
    def loop(z, b, y, share):
        for i in prange(z.shape[0], share):
            for j in range(z.shape[1]):
                v = z[i, j] + b[j]
                z[i, j] = v
                y[i, j] = formula(v)

    return loop


def _graded(formula: Callable) -> Callable:
    """gz = formula(g, y), and row c of `sums` is the partial sum over its c-th part of the rows."""

    @jit.jit(parallel_from=PARALLEL)
    def loop(g, y, gz, sums, share):
        rows, parts = g.shape[0], sums.shape[0]
        for c in prange(parts, share):
            for j in range(g.shape[1]):
                sums[c, j] = 0
            for i in range(c * rows // parts, (c + 1) * rows // parts):
                for j in range(g.shape[1]):
                    v = formula(g[i, j], y[i, j])
                    gz[i, j] = v
                    sums[c, j] += v

    return loop


@jit.jit(parallel=True)
def _both(gx, gw, gz, x, w, down_x, across_x, down_w, across_w, share):
    """gx = gz @ w.T and gw = x.T @ gz, in one parallel loop."""
    first, zero = down_x * across_x, gx.dtype.type(0)
    for t in prange(first + down_w * across_w, share):
        if t < first:
            top, bottom, left, right = tile(gx.shape, down_x, across_x, t)
            blas.gemm(gz[top:bottom], w[left:right].T, gx[top:bottom, left:right], zero)
        else:
            top, bottom, left, right = tile(gw.shape, down_w, across_w, t - first)
            blas.gemm(x[:, top:bottom].T, gz[:, left:right], gw[top:bottom, left:right], zero)


@s.scalar
def _same(z):
    return z


_FORMULAS = {"none": _same, "relu": s.relu, "sigmoid": s.sigmoid, "tanh": s.tanh}
_ACTIVATE = {name: _activated(formula) for name, formula in _FORMULAS.items()}
_TILED = {name: _tiled(formula) for name, formula in _FORMULAS.items()}
_GELU = _activated_beside(s.gelu)
_SLOPES = {"relu": s.relu_grad, "sigmoid": s.sigmoid_grad, "tanh": s.tanh_grad}
_SLOPE = {name: binary(formula) for name, formula in _SLOPES.items()}
_SLOPE_AND_SUM = {name: _graded(formula) for name, formula in _SLOPES.items()}


def _bias(w, b):
    return np.zeros(w.shape[1], w.dtype) if b is None else b


@accepts(min_size=SMALL, when=dense_fits)
def dense(x, w, b=None, *, activation="none"):
    rows, plain = flat_rows(x), b is None and activation == "none"
    if x.size * w.shape[1] > TILED and blas.tiled() and not plain:
        z = empty((rows.shape[0], w.shape[1]), x.dtype)
        with blas.single(x.dtype):
            _TILED[activation](z, rows, w, _bias(w, b), *tiles(*z.shape))
    else:
        z = product(rows, w)
        if not plain:
            _ACTIVATE[activation](z, _bias(w, b))
    return z.reshape(*x.shape[:-1], w.shape[1])


@accepts(min_size=SMALL, when=dense_fits)
def dense_gelu(x, w, b=None):
    z = product(flat_rows(x), w)
    y = empty_like(z)
    _GELU(z, _bias(w, b), y)
    shape = (*x.shape[:-1], w.shape[1])
    return y.reshape(shape), z.reshape(shape)


@accepts(min_size=SMALL, when=dense_grad_fits)
def dense_grad(g, x, w, y, *, activation, needs):
    gz, y, rows, gb = flat_rows(g), flat_rows(y), flat_rows(x), None
    if activation == "none":
        gb = gz.sum(axis=0) if needs[2] else None
    elif needs[2]:
        g, gz = gz, empty_like(gz)
        parts = max(1, min(g.size // _PARTIAL, g.shape[0], 64))
        sums = np.empty((parts, g.shape[1]), g.dtype)
        _SLOPE_AND_SUM[activation](g, y, gz, sums)
        gb = sums.sum(axis=0)
    else:
        gz = apply(_SLOPE[activation], gz, y)
    if needs[0] and needs[1] and x.size * w.shape[1] > TILED and blas.tiled():
        gx, gw = empty_like(rows), empty_like(w)
        with blas.single(x.dtype):
            _both(gx, gw, gz, rows, w, *tiles(*gx.shape), *tiles(*gw.shape))
    else:
        gx: Any = product(gz, w.T) if needs[0] else None
        gw = product(rows.T, gz) if needs[1] else None
    return None if gx is None else gx.reshape(x.shape), gw, gb
