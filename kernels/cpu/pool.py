"""Pooling of images, plane by plane on all threads: loops see (planes, height, width)."""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from ..shapes import extent, places_fit, pool_fits, spread_fits
from . import scalars as s
from .buffers import empty
from .jit import jit, prange

SMALL = 1024  # as in conv.py
PARALLEL = 1 << 14


@s.scalar
def _above(value, best):
    return (value > best) | ((value != value) & (best == best))


@s.scalar
def _largest(x, c, top, bottom, left, right):
    """The first of the largest numbers, or the first NaN, and its place in the plane."""
    best, place = x[c, top, left], top * x.shape[2] + left
    for v in range(top, bottom):
        for h in range(left, right):
            value = x[c, v, h]
            larger = _above(value, best)
            best = value if larger else best
            place = v * x.shape[2] + h if larger else place
    return best, place


@s.scalar
def _row_of_pairs(a, b, at, width, largest, where, corners):
    """A row of 2x2 windows, side by side on the lines a and b, whose first number is at `at`. Two
    loops, of one width of number each, become vector instructions: an eighth of the time."""
    for j in range(largest.size):
        best, corner = a[2 * j], np.int32(0)
        for k, value in ((1, a[2 * j + 1]), (2, b[2 * j]), (3, b[2 * j + 1])):
            above = _above(value, best)
            best, corner = value if above else best, np.int32(k) if above else corner
        largest[j], corners[j] = best, corner
    for j in range(largest.size):
        where[j] = at + 2 * j + (corners[j] >> 1) * width + (corners[j] & 1)


@jit(parallel_from=PARALLEL)
def _max_pool(x, y, where, g, share):
    (kh, kw, sh, sw, ph, pw), (planes, height, width) = g, x.shape
    pairs = kh == kw == sh == sw == 2 and ph == pw == 0
    for part in prange((planes + 15) // 16, share):
        corners = np.empty(y.shape[2], np.int32)
        for c in range(part * 16, min(planes, part * 16 + 16)):
            for i in range(y.shape[1]):
                if pairs:
                    a, b = x[c, 2 * i], x[c, 2 * i + 1]
                    _row_of_pairs(a, b, 2 * i * width, width, y[c, i], where[c, i], corners)
                    continue
                top, bottom = max(0, i * sh - ph), min(height, i * sh - ph + kh)
                for j in range(y.shape[2]):
                    left, right = max(0, j * sw - pw), min(width, j * sw - pw + kw)
                    y[c, i, j], where[c, i, j] = _largest(x, c, top, bottom, left, right)


@s.scalar
def _row_of_windows(x, step, largest, corners, corner):
    """One number of each window in a row of them: vector instructions, for the steps 1 and 2."""
    if step == 1:
        for j in range(largest.size):
            larger = _above(x[j], largest[j])
            largest[j] = x[j] if larger else largest[j]
            corners[j] = corner if larger else corners[j]
    elif step == 2:
        for j in range(largest.size):
            larger = _above(x[2 * j], largest[j])
            largest[j] = x[2 * j] if larger else largest[j]
            corners[j] = corner if larger else corners[j]
    else:
        for j in range(largest.size):
            larger = _above(x[step * j], largest[j])
            largest[j] = x[step * j] if larger else largest[j]
            corners[j] = corner if larger else corners[j]


@jit(parallel_from=PARALLEL)
def _largest_places(x, where, g, share):
    """Number by number of the windows, a row of windows at once. A corner is the number of one of a
    window's; at first it is the first that is inside."""
    (kd, kh, kw), (sd, sh, sw), (pd, ph, pw) = g
    depth, height, width = x.shape[1:]
    offsets = np.empty(kd * kh * kw, np.int32)
    for k in range(offsets.size):
        u, v = k // (kh * kw), k // kw % kh
        offsets[k] = (u * height + v) * width + k % kw
    inside = np.empty((kw, 2), np.int64)  # the first window with that column, and after the last
    for k in range(kw):
        inside[k, 0] = max(0, (sw - 1 + pw - k) // sw)
        inside[k, 1] = min(where.shape[3], (width - 1 + pw - k) // sw + 1)
    for c in prange(x.shape[0], share):
        largest = np.empty(where.shape[3], x.dtype)
        corners = np.empty(where.shape[3], np.int32)
        for d in range(where.shape[1]):
            front = d * sd - pd
            for i in range(where.shape[2]):
                top = i * sh - ph
                first = (max(0, -front) * kh + max(0, -top)) * kw
                row = x[c, max(0, front), max(0, top)]
                for j in range(largest.size):
                    left = max(0, j * sw - pw)
                    largest[j], corners[j] = row[left], first + left - (j * sw - pw)
                for u in range(max(0, -front), min(kd, depth - front)):
                    for v in range(max(0, -top), min(kh, height - top)):
                        for k in range(kw):
                            a, b = inside[k]
                            if a < b:
                                numbers = x[c, front + u, top + v, a * sw - pw + k :]
                                corner = np.int32((u * kh + v) * kw + k)
                                _row_of_windows(numbers, sw, largest[a:b], corners[a:b], corner)
                start = (front * height + top) * width - pw
                for j in range(largest.size):
                    where[c, d, i, j] = start + j * sw + offsets[corners[j]]


@jit(parallel_from=PARALLEL)
def _gather(x, where, y, share):
    for c in prange(x.shape[0], share):
        for i in range(where.shape[1]):
            y[c, i] = x[c, where[c, i]]


@jit(parallel_from=PARALLEL)
def _scatter(y, where, x, share):
    for c in prange(y.shape[0], share):
        y[c] = 0
        for i in range(where.shape[1]):
            y[c, where[c, i]] += x[c, i]


@jit(parallel_from=PARALLEL)
def _avg_pool(x, y, g, part, share):
    kh, kw, sh, sw, ph, pw = g
    for c in prange(y.shape[0], share):
        for i in range(y.shape[1]):
            top, bottom = max(0, i * sh - ph), min(x.shape[1], i * sh - ph + kh)
            for j in range(y.shape[2]):
                total = x.dtype.type(0)
                for v in range(top, bottom):
                    for h in range(max(0, j * sw - pw), min(x.shape[2], j * sw - pw + kw)):
                        total += x[c, v, h]
                y[c, i, j] = total * part


@jit(parallel_from=PARALLEL)
def _spread(y, x, g, part, share):
    kh, kw, sh, sw, ph, pw = g
    for c in prange(y.shape[0], share):
        y[c] = 0
        for i in range(x.shape[1]):
            top, bottom = max(0, i * sh - ph), min(y.shape[1], i * sh - ph + kh)
            for j in range(x.shape[2]):
                value = x[c, i, j] * part
                for v in range(top, bottom):
                    for h in range(max(0, j * sw - pw), min(y.shape[2], j * sw - pw + kw)):
                        y[c, v, h] += value


@jit(parallel_from=PARALLEL)
def _pick(y, x, rows, columns, twice, share):
    for c in prange(y.shape[0], share):
        for i in range(rows.size):
            if i > 0 and rows[i] == rows[i - 1]:
                y[c, i] = y[c, i - 1]
                continue
            from_, to = x[c, rows[i]], y[c, i]
            if twice:  # vector instructions
                for j in range(from_.size):
                    to[2 * j] = to[2 * j + 1] = from_[j]
            else:
                for j in range(columns.size):
                    to[j] = from_[columns[j]]


@jit(parallel_from=PARALLEL)
def _pick_grad(x, y, rows, columns, twice, share):
    """Lines that go to one row are added before their numbers are: an addition to a number waits
    for the one before."""
    for c in prange(x.shape[0], share):
        line = np.empty(columns.size, x.dtype)
        y[c] = 0
        for i in range(rows.size):
            if i > 0 and rows[i] == rows[i - 1]:
                line += x[c, i]
            else:
                line[:] = x[c, i]
            if i + 1 < rows.size and rows[i + 1] == rows[i]:
                continue
            to = y[c, rows[i]]
            if twice:
                for j in range(to.size):
                    to[j] += line[2 * j] + line[2 * j + 1]
            else:
                for j in range(columns.size):
                    to[columns[j]] += line[j]


def _planes(x):
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _lines(x):
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2] * x.shape[3])


def _places(where, plane):
    """Places in such planes, int32 as ours are: other integers would compile a loop anew."""
    kept = where.dtype == np.int32 or plane[0] * plane[1] >= 2**31
    return _lines(where if kept else where.astype(np.int32))


@accepts(min_size=SMALL, when=pool_fits)
def max_pool2d(x, *, size, stride=None, padding=(0, 0)):
    stride = size if stride is None else stride
    shape = (*x.shape[:2], *extent(x.shape[2:], size, stride, padding))
    y, where = empty(shape, x.dtype), empty(shape, np.int32)
    _max_pool(_planes(x), _planes(y), _planes(where), (*size, *stride, *padding))
    return y, where


def _volumes_fit(x, *, size, stride, padding):
    """Volumes that hold a window, none of which has padding alone."""
    if x.ndim != 5 or math.prod(x.shape[2:]) >= 2**31 or min(stride) < 1:
        return False
    out = extent(x.shape[2:], size, stride, padding, (1, 1, 1))
    return min(out) > 0 and all(2 * p <= k for p, k in zip(padding, size, strict=True))


@accepts(min_size=SMALL, when=_volumes_fit)
def largest_places(x, *, size, stride, padding):
    where = empty((*x.shape[:2], *extent(x.shape[2:], size, stride, padding, (1, 1, 1))), np.int32)
    _largest_places(_planes(x), _planes(where), (tuple(size), tuple(stride), tuple(padding)))
    return where


@accepts(min_size=SMALL, others=("where",), when=places_fit)
def gather_places(x, where):
    y = empty(where.shape, x.dtype)
    _gather(_lines(x), _places(where, x.shape[2:]), _lines(y))
    return y


@accepts(min_size=SMALL, others=("where",), when=places_fit)
def scatter_places(x, where, *, size):
    y = empty((*x.shape[:2], *size), x.dtype)
    _scatter(_lines(y), _places(where, size), _lines(x))
    return y


@accepts(min_size=SMALL, when=pool_fits)
def avg_pool2d(x, *, size, stride=None, padding=(0, 0)):
    stride = size if stride is None else stride
    y = empty((*x.shape[:2], *extent(x.shape[2:], size, stride, padding)), x.dtype)
    part = x.dtype.type(1 / (size[0] * size[1]))
    _avg_pool(_planes(x), _planes(y), (*size, *stride, *padding), part)
    return y


@accepts(min_size=SMALL, when=spread_fits)
def avg_pool2d_grad(x, *, plane, size, stride, padding):
    stride = size if stride is None else stride
    y = empty((*x.shape[:2], *plane), x.dtype)
    part = x.dtype.type(1 / (size[0] * size[1]))
    _spread(_planes(y), _planes(x), (*size, *stride, *padding), part)
    return y


def _stack(x):
    return x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:])


def _lines_of(rows, columns, width):
    """Both as int64, so that a loop is compiled once; and whether each column is there twice."""
    twice = columns.size == 2 * width and np.array_equal(columns, np.arange(2 * width) >> 1)
    return rows.astype(np.int64), columns.astype(np.int64), twice


def _lines_fit(x, rows, columns, *, size=None):
    """Planes, and integers for their rows and columns; as many of those where x goes there."""
    fits = x.ndim > 2 and all(a.ndim == 1 and a.dtype.kind == "i" for a in (rows, columns))
    return fits and (size is None or x.shape[-2:] == (rows.size, columns.size))


@accepts(min_size=SMALL, others=("rows", "columns"), when=_lines_fit)
def pick(x, rows, columns):
    y = empty((*x.shape[:-2], rows.size, columns.size), x.dtype)
    _pick(_stack(y), _stack(x), *_lines_of(rows, columns, x.shape[-1]))
    return y


@accepts(min_size=SMALL, others=("rows", "columns"), when=_lines_fit)
def pick_grad(x, rows, columns, *, size):
    y = empty((*x.shape[:-2], *size), x.dtype)
    _pick_grad(_stack(x), _stack(y), *_lines_of(rows, columns, size[1]))
    return y
