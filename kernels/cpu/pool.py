"""Pooling, a plane at a time."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import pool_fits, pool_grad_fits, pool_places_fit, windows
from . import scalars as s
from .buffers import empty
from .conv import inside
from .jit import jit, prange

SMALL = 1024
PARALLEL = 1 << 15


@s.scalar
def _largest(x, p, top, bottom, left, right):
    """The first of the largest numbers, or the last NaN, and its place in the plane."""
    best, place = x[p, top, left], top * x.shape[2] + left
    for i in range(top, bottom):
        for j in range(left, right):
            v = x[p, i, j]
            better = (v > best) | (v != v)
            best = v if better else best
            place = i * x.shape[2] + j if better else place
    return best, place


@jit(parallel_from=PARALLEL)
def _max_pool(x, y, where, size, stride, padding):
    h, w = x.shape[1:]
    usual = size[0] == size[1] == 2 and padding[0] == padding[1] == 0
    for p in prange(x.shape[0]):
        for r in range(y.shape[1]):
            top = r * stride[0] - padding[0]
            bottom, top = min(h, top + size[0]), max(0, top)
            if usual:  # loops whose length the compiler knows
                for q in range(y.shape[2]):
                    left = q * stride[1]
                    best, place = _largest(x, p, top, top + 2, left, left + 2)
                    y[p, r, q], where[p, r, q] = best, place
            else:
                for q in range(y.shape[2]):
                    left = q * stride[1] - padding[1]
                    right, left = min(w, left + size[1]), max(0, left)
                    best, place = _largest(x, p, top, bottom, left, right)
                    y[p, r, q], where[p, r, q] = best, place


@jit(parallel_from=PARALLEL)
def _avg_pool(x, y, size, stride, padding):
    h, w = x.shape[1:]
    share = x.dtype.type(1) / x.dtype.type(size[0] * size[1])
    for p in prange(x.shape[0]):
        for r in range(y.shape[1]):
            top = r * stride[0] - padding[0]
            y[p, r] = 0
            for i in range(max(0, top), min(h, top + size[0])):
                for j in range(size[1]):
                    low, high = inside(j - padding[1], stride[1], w, y.shape[2])
                    if low == high:
                        continue
                    total, seen = y[p, r, low:high], x[p, i, low * stride[1] + j - padding[1] :]
                    for q in range(total.size):
                        total[q] += seen[q * stride[1]]
            for q in range(y.shape[2]):
                y[p, r, q] *= share


@jit(parallel_from=PARALLEL)
def _avg_pool_grad(x, y, size, stride, padding):
    h, w = y.shape[1:]
    share = x.dtype.type(1) / x.dtype.type(size[0] * size[1])
    for p in prange(x.shape[0]):
        y[p] = 0
        for r in range(x.shape[1]):
            top = r * stride[0] - padding[0]
            for i in range(max(0, top), min(h, top + size[0])):
                for j in range(size[1]):
                    low, high = inside(j - padding[1], stride[1], w, x.shape[2])
                    if low == high:
                        continue
                    source, left = x[p, r, low:high], low * stride[1] + j - padding[1]
                    seen = y[p, i, left:]
                    for q in range(source.size):
                        seen[q * stride[1]] += source[q] * share


@jit(parallel_from=PARALLEL)
def _scatter(x, where, y):
    for p in prange(x.shape[0]):
        y[p] = 0
        for q in range(x.shape[1]):
            y[p, where[p, q]] += x[p, q]


def _planes(x):
    """The images of all channels."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


@accepts(min_size=SMALL, when=pool_fits)
def max_pool2d(x, *, size, stride=None, padding=(0, 0)):
    stride = size if stride is None else stride
    shape = (*x.shape[:2], *windows(x.shape[2:], size, stride, padding))
    y, where = empty(shape, x.dtype), empty(shape, np.int32)
    _max_pool(*map(_planes, (x, y, where)), tuple(size), tuple(stride), tuple(padding))
    return y, where


@accepts(min_size=SMALL, others=("where",), when=pool_places_fit)
def max_pool2d_grad(x, where, *, plane):
    y = empty((*x.shape[:2], *plane), x.dtype)
    _scatter(*[a.reshape(x.shape[0] * x.shape[1], -1) for a in (x, where, y)])
    return y


@accepts(min_size=SMALL, when=pool_fits)
def avg_pool2d(x, *, size, stride=None, padding=(0, 0)):
    stride = size if stride is None else stride
    y = empty((*x.shape[:2], *windows(x.shape[2:], size, stride, padding)), x.dtype)
    _avg_pool(_planes(x), _planes(y), tuple(size), tuple(stride), tuple(padding))
    return y


@accepts(min_size=SMALL, when=pool_grad_fits)
def avg_pool2d_grad(x, *, plane, size, stride, padding):
    y = empty((*x.shape[:2], *plane), x.dtype)
    _avg_pool_grad(_planes(x), _planes(y), tuple(size), tuple(stride), tuple(padding))
    return y
