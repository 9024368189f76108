"""Convolution an image at a time: its windows as columns, which stay in cache, then one product.

Each thread takes a share of the images and uses one buffer for their columns again and again.
"""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import (
    conv_fits,
    conv_input_fits,
    conv_weight_fits,
    extent,
    places_fit,
    pool_fits,
    spread_fits,
)
from . import blas, jit
from . import scalars as s
from .buffers import empty
from .jit import prange

# A convolution of 4x1x8x8 with 4 3x3 filters takes 9 us here and 26 in the reference's calls. The
# size spares small programs the import of Numba.
SMALL = 512
PARALLEL = 1 << 14
_PARTS = 16  # partial sums of the weights' gradient: fixed, so that it always rounds alike


# --- windows ------------------------------------------------------------------------------------


@s.scalar
def span(size, out, stride, start):
    """The first of `out` windows whose place `start` lies inside the image, and the one after the
    last."""
    first = (-start + stride - 1) // stride if start < 0 else 0
    last = (size - 1 - start) // stride + 1 if size > start else 0
    return min(first, out), max(min(first, out), min(last, out))


@s.scalar
def unfold(x, columns, g):
    """The windows of an image (c, h, w) as columns (c * kh * kw, oh * ow)."""
    kh, kw, sh, sw, ph, pw, dh, dw, oh, ow = g
    zero = x.dtype.type(0)
    for k in range(columns.shape[0]):
        top, left = k // kw % kh * dh - ph, k % kw * dw - pw
        plane, row = x[k // (kh * kw)], columns[k]
        first, last = span(x.shape[2], ow, sw, left)
        for i in range(oh):
            y, at = i * sh + top, i * ow
            if 0 <= y < x.shape[1]:
                for j in range(first):
                    row[at + j] = zero
                for j in range(first, last):
                    row[at + j] = plane[y, j * sw + left]
                for j in range(last, ow):
                    row[at + j] = zero
            else:
                for j in range(ow):
                    row[at + j] = zero


@s.scalar
def fold(columns, x, g):
    """The adjoint of unfold: adds the columns to the image."""
    kh, kw, sh, sw, ph, pw, dh, dw, oh, ow = g
    for k in range(columns.shape[0]):
        top, left = k // kw % kh * dh - ph, k % kw * dw - pw
        plane, row = x[k // (kh * kw)], columns[k]
        first, last = span(x.shape[2], ow, sw, left)
        for i in range(oh):
            y, at = i * sh + top, i * ow
            if 0 <= y < x.shape[1]:
                for j in range(first, last):
                    plane[y, j * sw + left] += row[at + j]


# --- convolution --------------------------------------------------------------------------------
# Images are (n, groups, channels, h, w), results (n, groups, filters, pixels), and weights
# (groups, filters, channels * kh * kw); `work` has a buffer of columns for each worker.


@jit.jit(parallel_from=PARALLEL)
def _forward(y, x, w, b, work, g):
    workers, n = work.shape[0], y.shape[0]
    for t in prange(workers):
        for i in range(t * n // workers, (t + 1) * n // workers):
            for k in range(y.shape[1]):
                unfold(x[i, k], work[t], g)
                part = y[i, k]
                blas.gemm(w[k], work[t], part, y.dtype.type(0))
                for o in range(part.shape[0]):
                    shift = b[k, o]
                    for p in range(part.shape[1]):
                        part[o, p] += shift


@jit.jit(parallel_from=PARALLEL)
def _backward_input(dy, x, w, work, g):
    workers, n = work.shape[0], dy.shape[0]
    for t in prange(workers):
        for i in range(t * n // workers, (t + 1) * n // workers):
            for k in range(dy.shape[1]):
                blas.gemm(w[k].T, dy[i, k], work[t], dy.dtype.type(0))
                x[i, k] = 0
                fold(work[t], x[i, k], g)


@jit.jit(parallel_from=PARALLEL)
def _backward_weight(dy, x, sums, work, g):
    """Part p of the images adds up in sums[p]."""
    workers, parts, n = work.shape[0], sums.shape[0], dy.shape[0]
    for t in prange(workers):
        for p in range(t * parts // workers, (t + 1) * parts // workers):
            begin = p * n // parts
            for i in range(begin, (p + 1) * n // parts):
                for k in range(dy.shape[1]):
                    unfold(x[i, k], work[t], g)
                    more = dy.dtype.type(0 if i == begin else 1)
                    blas.gemm(dy[i, k], work[t].T, sums[p, k], more)


def _geometry(window, out, stride, padding, dilation):
    return (*window, *stride, *padding, *dilation, *out)


def _columns(n, rows, pixels, dtype):
    """A buffer of columns for each worker."""
    return empty((max(1, min(jit.threads(), n)), rows, pixels), dtype)


@accepts(min_size=SMALL, when=conv_fits)
def conv2d(x, w, b=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1):
    (n, _, h, wide), (o, per, kh, kw) = x.shape, w.shape
    out = extent((h, wide), (kh, kw), stride, padding, dilation)
    g = _geometry((kh, kw), out, stride, padding, dilation)
    y = empty((n, groups, o // groups, out[0] * out[1]), x.dtype)
    b = np.zeros(o, x.dtype) if b is None else b
    work = _columns(n, per * kh * kw, y.shape[3], x.dtype)
    images = x.reshape(n, groups, per, h, wide)
    filters = w.reshape(groups, o // groups, per * kh * kw)
    with blas.single():
        _forward(y, images, filters, b.reshape(groups, o // groups), work, g)
    return y.reshape(n, o, *out)


@accepts(min_size=SMALL, when=conv_input_fits)
def conv2d_input(dy, w, *, size, stride, padding, dilation, groups):
    (n, o, oh, ow), (_, per, kh, kw) = dy.shape, w.shape
    g = _geometry((kh, kw), (oh, ow), stride, padding, dilation)
    x = empty((n, groups, per, *size), dy.dtype)
    work = _columns(n, per * kh * kw, oh * ow, dy.dtype)
    rows = dy.reshape(n, groups, o // groups, oh * ow)
    with blas.single():
        _backward_input(rows, x, w.reshape(groups, o // groups, per * kh * kw), work, g)
    return x.reshape(n, per * groups, *size)


@accepts(min_size=SMALL, when=conv_weight_fits)
def conv2d_weight(x, dy, *, window, stride, padding, dilation, groups):
    (n, c, h, wide), (_, o, oh, ow) = x.shape, dy.shape
    g, per = _geometry(window, (oh, ow), stride, padding, dilation), c // groups
    inside = per * window[0] * window[1]
    sums = np.zeros((min(_PARTS, n), groups, o // groups, inside), x.dtype)
    work = _columns(len(sums), inside, oh * ow, x.dtype)
    rows = dy.reshape(n, groups, o // groups, oh * ow)
    with blas.single():
        _backward_weight(rows, x.reshape(n, groups, per, h, wide), sums, work, g)
    return sums.sum(axis=0).reshape(o, per, *window)


# --- pooling ------------------------------------------------------------------------------------
# Planes are (planes, h, w).


@jit.jit(parallel_from=PARALLEL)
def _max_pool(x, y, where, g):
    kh, kw, sh, sw, ph, pw = g
    for c in prange(y.shape[0]):
        for i in range(y.shape[1]):
            top, bottom = max(0, i * sh - ph), min(x.shape[1], i * sh - ph + kh)
            for j in range(y.shape[2]):
                left, right = max(0, j * sw - pw), min(x.shape[2], j * sw - pw + kw)
                best, place = x[c, top, left], top * x.shape[2] + left
                for v in range(top, bottom):
                    for h in range(left, right):
                        value = x[c, v, h]
                        if not (value <= best) and best == best:  # the first NaN stays
                            best, place = value, v * x.shape[2] + h
                y[c, i, j] = best
                where[c, i, j] = place


@jit.jit(parallel_from=PARALLEL)
def _gather(x, where, y):
    for c in prange(x.shape[0]):
        for i in range(where.shape[1]):
            y[c, i] = x[c, where[c, i]]


@jit.jit(parallel_from=PARALLEL)
def _scatter(y, where, x):
    for c in prange(y.shape[0]):
        y[c] = 0
        for i in range(where.shape[1]):
            y[c, where[c, i]] += x[c, i]


@jit.jit(parallel_from=PARALLEL)
def _avg_pool(x, y, g, share):
    kh, kw, sh, sw, ph, pw = g
    for c in prange(y.shape[0]):
        for i in range(y.shape[1]):
            top, bottom = max(0, i * sh - ph), min(x.shape[1], i * sh - ph + kh)
            for j in range(y.shape[2]):
                total = x.dtype.type(0)
                for v in range(top, bottom):
                    for h in range(max(0, j * sw - pw), min(x.shape[2], j * sw - pw + kw)):
                        total += x[c, v, h]
                y[c, i, j] = total * share


@jit.jit(parallel_from=PARALLEL)
def _spread(y, x, g, share):
    kh, kw, sh, sw, ph, pw = g
    for c in prange(y.shape[0]):
        y[c] = 0
        for i in range(x.shape[1]):
            top, bottom = max(0, i * sh - ph), min(y.shape[1], i * sh - ph + kh)
            for j in range(x.shape[2]):
                value = x[c, i, j] * share
                for v in range(top, bottom):
                    for h in range(max(0, j * sw - pw), min(y.shape[2], j * sw - pw + kw)):
                        y[c, v, h] += value


def _planes(x):
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _lines(x):
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2] * x.shape[3])


@accepts(min_size=SMALL, when=pool_fits)
def max_pool2d(x, *, size, stride=None, padding=(0, 0)):
    stride = size if stride is None else stride
    shape = (*x.shape[:2], *extent(x.shape[2:], size, stride, padding))
    y, where = empty(shape, x.dtype), empty(shape, np.int32)
    _max_pool(_planes(x), _planes(y), _planes(where), (*size, *stride, *padding))
    return y, where


@accepts(min_size=SMALL, others=("where",), when=places_fit)
def gather_places(x, where):
    y = empty(where.shape, x.dtype)
    _gather(_lines(x), _lines(where), _lines(y))
    return y


@accepts(min_size=SMALL, others=("where",), when=places_fit)
def scatter_places(x, where, *, size):
    y = empty((*x.shape[:2], *size), x.dtype)
    _scatter(_lines(y), _lines(where), _lines(x))
    return y


@accepts(min_size=SMALL, when=pool_fits)
def avg_pool2d(x, *, size, stride=None, padding=(0, 0)):
    stride = size if stride is None else stride
    y = empty((*x.shape[:2], *extent(x.shape[2:], size, stride, padding)), x.dtype)
    share = x.dtype.type(1 / (size[0] * size[1]))
    _avg_pool(_planes(x), _planes(y), (*size, *stride, *padding), share)
    return y


@accepts(min_size=SMALL, when=spread_fits)
def avg_pool2d_grad(x, *, plane, size, stride, padding):
    stride = size if stride is None else stride
    y = empty((*x.shape[:2], *plane), x.dtype)
    share = x.dtype.type(1 / (size[0] * size[1]))
    _spread(_planes(y), _planes(x), (*size, *stride, *padding), share)
    return y
