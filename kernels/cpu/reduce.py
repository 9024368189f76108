"""Sums of large arrays on all threads; softmax and its family fused, a row at a time, instead of
in five passes over memory."""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from ..shapes import any_numbers, one_reduction, reduced_shape, reduction, rows, sums_to
from . import scalars as s
from .buffers import empty, empty_like
from .jit import jit, prange

# Softmax of 64x10 float32 takes 4.0 us here and 8.8 in the reference's calls, its cross-entropy
# 2.8 and 9.6 (2-core AVX-512 server). The size spares small programs the import of Numba.
SMALL = 512
PARALLEL = 1 << 14  # an exponential each: threads pay off four times sooner than in plain passes


LARGE = 1 << 17  # numbers to sum: NumPy's one thread needs 20 us for so many
_RUN = 1 << 13  # elements of a row in a partial sum
_WIDTH = 1 << 11  # columns that are summed at a time: their sums stay in the L1 cache
_FEW = 128  # rows that are added up in the array's own dtype
_PARTS = 64  # of a long column: enough for many threads

# --- sums ---------------------------------------------------------------------------------------
# Sums are split by the shape alone, so that they are deterministic.


@jit(parallel=True, reassociate=True)
def _sum_rows(x, sums, share):
    """sums[i, p] is the partial sum over part p of row i."""
    parts = sums.shape[1]
    for t in prange(sums.size, share):
        i, p = t // parts, t % parts
        line, total = x[i, p * _RUN : min(x.shape[1], (p + 1) * _RUN)], x.dtype.type(0)
        for j in range(line.size):
            total += line[j]
        sums[i, p] = total


@jit(parallel=True)
def _sum_columns(x, sums, share):
    """sums[i, p], in float64, holds the partial sums of the columns over part p of x[i]. Few
    numbers are added up in x's dtype: a long sum of floats is deaf to small ones."""
    rows, width, parts = x.shape[1], x.shape[2], sums.shape[1]
    strips = (width + _WIDTH - 1) // _WIDTH
    for t in prange(x.shape[0] * parts * strips, share):
        i, p, left = t // (parts * strips), t // strips % parts, t % strips * _WIDTH
        total, end = sums[i, p, left : min(width, left + _WIDTH)], (p + 1) * rows // parts
        few = np.empty(total.size, x.dtype)
        total[:] = 0
        for first in range(p * rows // parts, end, _FEW):
            few[:] = 0
            for k in range(first, min(end, first + _FEW)):
                line = x[i, k, left : left + total.size]
                for j in range(total.size):
                    few[j] += line[j]
            for j in range(total.size):
                total[j] += few[j]


def _summed(x, before, n, after):
    """(before, n, after) -> (before, after)."""
    if after == 1:
        sums = np.empty((before, -(-n // _RUN)), x.dtype)
        _sum_rows(x.reshape(before, n), sums)
        return sums.sum(axis=1)
    few = before * -(-after // _WIDTH) < _PARTS
    parts = min(n, _PARTS, max(1, n * after // _RUN)) if few else 1
    sums = empty((before, parts, after), np.float64)
    _sum_columns(x.reshape(before, n, after), sums)
    return sums.sum(axis=1) if parts > 1 else sums


@accepts(min_size=LARGE, when=one_reduction)
def sum(x, *, axis=None, keepdims=False):
    y = _summed(x, *reduction(x.shape, axis)).astype(x.dtype, copy=False)
    return y.reshape(reduced_shape(x.shape, axis, keepdims))


@accepts(min_size=LARGE, when=one_reduction)
def mean(x, *, axis=None, keepdims=False):
    before, n, after = reduction(x.shape, axis)
    y = (_summed(x, before, n, after) / x.dtype.type(n)).astype(x.dtype, copy=False)
    return y.reshape(reduced_shape(x.shape, axis, keepdims))


@accepts(min_size=LARGE, when=sums_to)
def sum_to(x, *, shape, dtype):
    width = math.prod(shape)
    return _summed(x, 1, x.size // width, width).reshape(shape).astype(dtype, copy=False)


# --- softmax ------------------------------------------------------------------------------------


@s.scalar
def largest(bits, i, x):
    """The maximum of row i of x. (Less that, a row of infinity is NaN throughout.)

    Found in the floats' bits, whose order as integers is made that of the floats: Numba turns
    a float maximum into one comparison after the other (0.55 against 0.03 ns a number).
    """
    top = s.ordered(bits[i, 0])
    for j in range(1, bits.shape[1]):
        top = max(top, s.ordered(bits[i, j]))
    return s.from_ordered(top)


def as_bits(x):
    """x reinterpreted as integers of the same size, a view."""
    return x.view(f"i{x.itemsize}")


@jit(parallel_from=PARALLEL, reassociate=True)
def _softmax(x, bits, y, share):
    for i in prange(x.shape[0], share):
        top = largest(bits, i, x)
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            e = s.exp(x[i, j] - top)
            y[i, j] = e
            total += e
        scale = x.dtype.type(1) / total
        for j in range(x.shape[1]):
            y[i, j] *= scale


@jit(parallel_from=PARALLEL, reassociate=True)
def _softmax_grad(g, y, out, share):
    for i in prange(g.shape[0], share):
        along = g.dtype.type(0)
        for j in range(g.shape[1]):
            along += g[i, j] * y[i, j]
        for j in range(g.shape[1]):
            out[i, j] = y[i, j] * (g[i, j] - along)


@jit(parallel_from=PARALLEL, reassociate=True)
def _log_softmax(x, bits, y, share):
    for i in prange(x.shape[0], share):
        top = largest(bits, i, x)
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += s.exp(x[i, j] - top)
        shift = np.log(total)
        for j in range(x.shape[1]):
            # A call keeps its place: as x - (top + shift) this would lose the digits of shift.
            y[i, j] = s.subtract(x[i, j] - top, shift)


@jit(parallel_from=PARALLEL, reassociate=True)
def _log_softmax_grad(g, y, out, share):
    for i in prange(g.shape[0], share):
        total = g.dtype.type(0)
        for j in range(g.shape[1]):
            total += g[i, j]
        for j in range(g.shape[1]):
            out[i, j] = g[i, j] - s.exp(y[i, j]) * total


def _forward(loop, x, axis):
    (matrix,), back = rows(np, axis, x)
    y = empty_like(matrix)
    loop(matrix, as_bits(matrix), y)
    return back(y)


def _backward(loop, g, y, axis):
    (g, y), back = rows(np, axis, g, y)
    out = empty_like(g)
    loop(g, y, out)
    return back(out)


@accepts(min_size=SMALL, when=any_numbers)
def softmax(x, *, axis=-1):
    return _forward(_softmax, x, axis)


@accepts(same_shape=True, min_size=SMALL, when=any_numbers)
def softmax_grad(g, y, *, axis):
    return _backward(_softmax_grad, g, y, axis)


@accepts(min_size=SMALL, when=any_numbers)
def log_softmax(x, *, axis=-1):
    return _forward(_log_softmax, x, axis)


@accepts(same_shape=True, min_size=SMALL, when=any_numbers)
def log_softmax_grad(g, y, *, axis):
    return _backward(_log_softmax_grad, g, y, axis)
