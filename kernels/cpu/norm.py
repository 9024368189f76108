"""Norms: statistics, result and gradients fused into as few passes over memory as possible.

Layer, RMS and group norms are one loop over rows. Batch norm has two schedules. With many elements
in each image of a channel, a channel is one task, and stays in cache from the first pass to the
last. With few, rows are whole examples, and sums are accumulated for each column. Nothing here
depends on the number of threads: the split into partial sums follows from the shape alone.
"""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from ..shapes import (
    channels_fit,
    channels_grad_fit,
    flat_rows,
    groups_fit,
    groups_grad_fit,
    norm_fits,
    norm_grad_fits,
    rms_grad_fits,
)
from . import scalars as s
from .jit import jit, leads, prange

# 16x64 float32 take 3.1 us here and 11 in the reference's calls, their gradients 5.2 and 29
# (2-core AVX-512 server). The size spares small programs the import of Numba.
SMALL = 1024
PARALLEL = 1 << 15
_PARTIAL = 1 << 14  # numbers summed into one partial gradient; see matmul.py
_LONG = 64  # numbers of an image of one channel from which a loop over them is worth its start


def _parts(size, rows, row):
    """Into how many partial sums, each of `row` elements, the rows are split: so few that these are
    small beside the data, and at most 64."""
    return max(1, min(size // max(_PARTIAL, 8 * row), rows, 64))


def _given(a, fill, n, x):
    """A weight or bias of n elements, or the identity (ones or zeros)."""
    return np.full(n, fill, x.dtype) if a is None else a


def _needed(grads, needs):
    return tuple([a if need else None for a, need in zip(grads, needs, strict=False)])


# --- rows: layer, RMS and group norm ------------------------------------------------------------


@jit(parallel_from=PARALLEL, reassociate=True)
def _rows(x, weight, bias, y, mean, rstd, eps, centre, share):
    """Row i is scaled by row i % groups of the weights (groups, elements of a row)."""
    n, groups = x.dtype.type(x.shape[1]), weight.shape[0]
    for i in prange(x.shape[0], share):
        k, mu, total = i % groups, x.dtype.type(0), x.dtype.type(0)
        if centre:
            for j in range(x.shape[1]):
                total += x[i, j]
            mu = total / n
            total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += (x[i, j] - mu) * (x[i, j] - mu)
        r = x.dtype.type(1) / np.sqrt(total / n + eps)
        mean[i], rstd[i] = mu, r
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - mu) * r * weight[k, j] + bias[k, j]


@jit(parallel_from=PARALLEL, reassociate=True)
def _rows_grad(g, x, weight, mean, rstd, gx, gweight, gbias, sums, centre, share):
    """`sums` (2, parts, groups, elements of a row) holds the partial sums of each part of the rows.
    gweight (groups, channels of a group) and gbias are sums of it over each channel's columns."""
    groups, parts, rows, n = weight.shape[0], sums.shape[1], g.shape[0], g.shape[1]
    per = g.dtype.type(1) / g.dtype.type(n)
    for c in prange(parts, share):
        for k in range(groups):
            for j in range(n):
                sums[0, c, k, j] = 0
                sums[1, c, k, j] = 0
        for i in range(c * rows // parts, (c + 1) * rows // parts):
            k, mu, r = i % groups, mean[i], rstd[i]
            total, along = g.dtype.type(0), g.dtype.type(0)
            for j in range(n):
                normal = (x[i, j] - mu) * r
                gn = g[i, j] * weight[k, j]
                gx[i, j] = gn
                total += gn
                along += gn * normal
                sums[0, c, k, j] += g[i, j] * normal
                sums[1, c, k, j] += g[i, j]
            along *= per
            total = total * per if centre else g.dtype.type(0)
            for j in range(n):
                normal = (x[i, j] - mu) * r
                gx[i, j] = r * (s.subtract(gx[i, j], total) - normal * along)
    if not leads(share):
        return
    for c in range(1, parts):
        for k in range(groups):
            for j in range(n):
                sums[0, 0, k, j] += sums[0, c, k, j]
                sums[1, 0, k, j] += sums[1, c, k, j]
    repeat = n // gweight.shape[1]
    for k in range(groups):
        for m in range(gweight.shape[1]):
            total, along = g.dtype.type(0), g.dtype.type(0)
            for j in range(m * repeat, (m + 1) * repeat):
                along += sums[0, 0, k, j]
                total += sums[1, 0, k, j]
            gweight[k, m], gbias[k, m] = along, total


def _spread(a, fill, rows, groups, repeat):
    """A weight or bias as (groups, elements of a row), each element repeated `repeat` times."""
    a = _given(a, fill, groups * rows.shape[1] // repeat, rows)
    return (a.repeat(repeat) if repeat > 1 else a).reshape(groups, -1)


def _forward(x, rows, weight, bias, eps, shape, centre=True, groups=1, repeat=1):
    """y, and the statistics of each row in a shape."""
    y, mean, rstd = np.empty_like(x), np.empty(shape, x.dtype), np.empty(shape, x.dtype)
    weight = _spread(weight, 1, rows, groups, repeat)
    bias = _spread(bias, 0, rows, groups, repeat)
    statistics = mean.reshape(-1), rstd.reshape(-1), x.dtype.type(eps)
    _rows(rows, weight, bias, y.reshape(rows.shape), *statistics, centre)
    return y, mean, rstd


def _backward(g, x, rows, weight, mean, rstd, needs, groups=1, repeat=1):
    gx, weight = np.empty_like(x), _spread(weight, 1, rows, groups, repeat)
    gweight, gbias = [np.empty(weight.size // repeat, x.dtype) for _ in range(2)]
    sums = np.empty((2, _parts(x.size, len(rows), weight.size), *weight.shape), x.dtype)
    centre, rstd = mean is not None, rstd.reshape(-1)
    args = rows, weight, (mean.reshape(-1) if centre else np.zeros_like(rstd)), rstd
    grads = gx.reshape(rows.shape), gweight.reshape(groups, -1), gbias.reshape(groups, -1)
    _rows_grad(g.reshape(rows.shape), *args, *grads, sums, centre)
    return _needed((gx, gweight, gbias), needs)


@accepts(min_size=SMALL, when=norm_fits)
def layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    return _forward(x, flat_rows(x), weight, bias, eps, (*x.shape[:-1], 1))


@accepts(min_size=SMALL, when=norm_grad_fits)
def layer_norm_grad(g, x, weight, mean, rstd, *, needs):
    return _backward(g, x, flat_rows(x), weight, mean, rstd, needs)


@accepts(min_size=SMALL, when=norm_fits)
def rms_norm(x, weight=None, *, eps=1e-6):
    return _forward(x, flat_rows(x), weight, None, eps, (*x.shape[:-1], 1), centre=False)[::2]


@accepts(min_size=SMALL, when=rms_grad_fits)
def rms_norm_grad(g, x, weight, rstd, *, needs):
    return _backward(g, x, flat_rows(x), weight, None, rstd, needs)


@accepts(min_size=SMALL, when=groups_fit)
def group_norm(x, weight=None, bias=None, *, groups, eps=1e-5):
    shape, repeat = (x.shape[0], groups, 1), math.prod(x.shape[2:])
    rows = x.reshape(x.shape[0] * groups, -1)
    return _forward(x, rows, weight, bias, eps, shape, True, groups, repeat)


@accepts(min_size=SMALL, when=groups_grad_fit)
def group_norm_grad(g, x, weight, mean, rstd, *, needs):
    rows, repeat = x.reshape(rstd.size, -1), math.prod(x.shape[2:])
    return _backward(g, x, rows, weight, mean, rstd, needs, rstd.shape[1], repeat)


# --- batch norm, a channel at a time ------------------------------------------------------------


@jit(parallel_from=PARALLEL, reassociate=True)
def _batch_norm(x, weight, bias, y, mean, rstd, means, eps, share):
    """The variance is that within images plus that of their means, so that one pass over memory
    computes it. A mean is what it is rounded to plus a rest: without that, large ones would leave
    no digits to the variance. `means` (channels, 2, images) is scratch memory."""
    images, n = x.shape[0], x.dtype.type(x.shape[2])
    for c in prange(x.shape[1], share):
        sums, squares = x.dtype.type(0), x.dtype.type(0)
        for i in range(images):
            total = x.dtype.type(0)
            for j in range(x.shape[2]):
                total += x[i, c, j]
            mu = total / n
            rest, total = x.dtype.type(0), x.dtype.type(0)
            for j in range(x.shape[2]):
                centred = s.subtract(x[i, c, j], mu)
                rest += centred
                total += centred * centred
            rest /= n
            sums += mu
            squares += total / n - rest * rest
            means[c, 0, i], means[c, 1, i] = mu, rest
        mu, rest = sums / x.dtype.type(images), x.dtype.type(0)
        for i in range(images):
            apart = s.subtract(means[c, 0, i], mu) + means[c, 1, i]
            rest += apart
            squares += apart * apart
        rest /= x.dtype.type(images)
        r = x.dtype.type(1) / np.sqrt(squares / x.dtype.type(images) - rest * rest + eps)
        mu += rest
        mean[c], rstd[c] = mu, r
        scale, shift = r * weight[c], bias[c]
        for i in range(images):
            for j in range(x.shape[2]):
                y[i, c, j] = (x[i, c, j] - mu) * scale + shift


@jit(parallel_from=PARALLEL, reassociate=True)
def _batch_norm_grad(g, x, weight, mean, rstd, gx, gweight, gbias, share):
    images, n = g.shape[0], g.shape[2]
    per = g.dtype.type(1) / (g.dtype.type(images) * g.dtype.type(n))
    for c in prange(g.shape[1], share):
        total, along, mu, r = g.dtype.type(0), g.dtype.type(0), mean[c], rstd[c]
        for i in range(images):
            in_image, along_it = g.dtype.type(0), g.dtype.type(0)  # shorter sums, smaller errors
            for j in range(n):
                in_image += g[i, c, j]
                along_it += g[i, c, j] * (x[i, c, j] - mu)
            total += in_image
            along += along_it
        gweight[c], gbias[c] = along * r, total
        scale, total = r * weight[c], total * per
        along = s.multiply(along * r, r * per)  # r * r may be too small for a number
        for i in range(images):
            for j in range(n):
                centred = s.subtract(g[i, c, j], total)
                gx[i, c, j] = scale * (centred - (x[i, c, j] - mu) * along)


# --- batch norm, an example at a time -----------------------------------------------------------


@jit(parallel_from=PARALLEL, reassociate=True)
def _columns(x, weight, bias, y, mean, rstd, sums, wide, eps, share):
    """x is (batch, all elements of an example): neighbouring columns belong to a channel. Each part
    of the rows finds the means of its columns, the rests of these as above, and the variances;
    `sums` (3, parts, columns) and `wide` (3, columns) are scratch memory."""
    parts, rows, columns, n = sums.shape[1], x.shape[0], x.shape[1], x.shape[1] // weight.size
    for c in prange(parts, share):
        start, end = c * rows // parts, (c + 1) * rows // parts
        per = x.dtype.type(1) / x.dtype.type(end - start)
        for j in range(columns):
            sums[0, c, j] = 0
            sums[1, c, j] = 0
            sums[2, c, j] = 0
        for i in range(start, end):
            for j in range(columns):
                sums[0, c, j] += x[i, j]
        for j in range(columns):
            sums[0, c, j] *= per
        for i in range(start, end):
            for j in range(columns):
                centred = s.subtract(x[i, j], sums[0, c, j])
                sums[1, c, j] += centred
                sums[2, c, j] += centred * centred
        for j in range(columns):
            sums[1, c, j] *= per
            sums[2, c, j] = sums[2, c, j] * per - sums[1, c, j] * sums[1, c, j]
    if leads(share):
        for c in range(1, parts):  # merges variances (Chan et al. 1979)
            before, end = x.dtype.type(c * rows // parts), x.dtype.type((c + 1) * rows // parts)
            ratio = (end - before) / end
            for j in range(columns):
                apart = s.subtract(sums[0, c, j], sums[0, 0, j]) + (sums[1, c, j] - sums[1, 0, j])
                more = sums[2, c, j] - sums[2, 0, j] + apart * apart * (before / end)
                sums[1, 0, j] += apart * ratio
                sums[2, 0, j] += more * ratio
        per = x.dtype.type(1) / x.dtype.type(n)
        for k in range(weight.size):
            first, rest, squares = sums[0, 0, k * n], x.dtype.type(0), x.dtype.type(0)
            for j in range(k * n, (k + 1) * n):
                rest += s.subtract(sums[0, 0, j], first) + sums[1, 0, j]
            rest *= per
            for j in range(k * n, (k + 1) * n):
                apart = s.subtract(sums[0, 0, j], first) + (sums[1, 0, j] - rest)
                squares += sums[2, 0, j] + apart * apart
            mu, r = first + rest, x.dtype.type(1) / np.sqrt(squares * per + eps)
            mean[k], rstd[k] = mu, r
            for j in range(k * n, (k + 1) * n):
                wide[0, j], wide[1, j], wide[2, j] = mu, r * weight[k], bias[k]
    for i in prange(rows, share):
        for j in range(columns):
            y[i, j] = (x[i, j] - wide[0, j]) * wide[1, j] + wide[2, j]


@jit(parallel_from=PARALLEL, reassociate=True)
def _columns_grad(g, x, weight, mean, rstd, gx, gweight, gbias, sums, wide, share):
    """The same for the gradients; `wide` (4, columns)."""
    parts, rows, columns, n = sums.shape[1], g.shape[0], g.shape[1], g.shape[1] // weight.size
    if leads(share):
        for k in range(weight.size):
            for j in range(k * n, (k + 1) * n):
                wide[0, j], wide[1, j] = mean[k], rstd[k] * weight[k]
    for c in prange(parts, share):
        for j in range(columns):
            sums[0, c, j] = 0
            sums[1, c, j] = 0
        for i in range(c * rows // parts, (c + 1) * rows // parts):
            for j in range(columns):
                sums[0, c, j] += g[i, j]
                sums[1, c, j] += g[i, j] * (x[i, j] - wide[0, j])
    if leads(share):
        for c in range(1, parts):
            for j in range(columns):
                sums[0, 0, j] += sums[0, c, j]
                sums[1, 0, j] += sums[1, c, j]
        per = g.dtype.type(1) / (g.dtype.type(rows) * g.dtype.type(n))
        for k in range(weight.size):
            total, along = g.dtype.type(0), g.dtype.type(0)
            for j in range(k * n, (k + 1) * n):
                total += sums[0, 0, j]
                along += sums[1, 0, j]
            gweight[k], gbias[k] = along * rstd[k], total
            total, along = total * per, s.multiply(along * rstd[k], rstd[k] * per)
            for j in range(k * n, (k + 1) * n):
                wide[2, j], wide[3, j] = total, along
    for i in prange(rows, share):
        for j in range(columns):
            centred = x[i, j] - wide[0, j]
            gx[i, j] = wide[1, j] * (s.subtract(g[i, j], wide[2, j]) - centred * wide[3, j])


@accepts(min_size=SMALL, when=channels_fit)
def batch_norm(x, weight=None, bias=None, *, eps=1e-5):
    examples, channels, n = len(x), x.shape[1], math.prod(x.shape[2:])
    weight, bias = _given(weight, 1, channels, x), _given(bias, 0, channels, x)
    shape = (1, channels, *(1,) * (x.ndim - 2))
    y, mean, rstd = np.empty_like(x), np.empty(shape, x.dtype), np.empty(shape, x.dtype)
    statistics, eps = (mean.reshape(-1), rstd.reshape(-1)), x.dtype.type(eps)
    if n >= _LONG:
        images, means = (examples, channels, n), np.empty((channels, 2, examples), x.dtype)
        _batch_norm(x.reshape(images), weight, bias, y.reshape(images), *statistics, means, eps)
    else:
        rows, sums = _scratch(x, 3, 3)
        _columns(x.reshape(rows), weight, bias, y.reshape(rows), *statistics, *sums, eps)
    return y, mean, rstd


@accepts(min_size=SMALL, when=channels_grad_fit)
def batch_norm_grad(g, x, weight, mean, rstd, *, needs):
    channels, n = x.shape[1], math.prod(x.shape[2:])
    gx, weight = np.empty_like(x), _given(weight, 1, channels, x)
    gweight, gbias = np.empty_like(weight), np.empty_like(weight)
    statistics = mean.reshape(-1), rstd.reshape(-1)
    if n >= _LONG:
        loop, shape, sums = _batch_norm_grad, (len(x), channels, n), ()
    else:
        loop, (shape, sums) = _columns_grad, _scratch(x, 2, 4)
    args = g.reshape(shape), x.reshape(shape), weight, *statistics
    loop(*args, gx.reshape(shape), gweight, gbias, *sums)
    return _needed((gx, gweight, gbias), needs)


def _scratch(x, kinds, wide):
    """x's shape as a matrix of examples, and scratch memory for `kinds` of sums in each part and
    as many wide rows."""
    rows, columns = len(x), x.size // len(x)
    parts = _parts(x.size, rows, columns)
    return (rows, columns), (
        np.empty((kinds, parts, columns), x.dtype),
        np.empty((wide, columns), x.dtype),
    )


# --- fixed statistics ---------------------------------------------------------------------------


@jit(parallel_from=PARALLEL)
def _rows_affine(x, scale, shift, y, share):
    """A row is one image of one channel."""
    for i in prange(x.shape[0], share):
        a, b = scale[i % scale.size], shift[i % scale.size]
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] * a + b


@jit(parallel_from=PARALLEL)
def _columns_affine(x, scale, shift, y, share):
    for i in prange(x.shape[0], share):
        for j in range(x.shape[1]):
            y[i, j] = x[i, j] * scale[j] + shift[j]


@accepts(min_size=SMALL, when=channels_fit)
def channel_affine(x, scale=None, shift=None):
    channels, n, y = x.shape[1], math.prod(x.shape[2:]), np.empty_like(x)
    scale, shift = _given(scale, 1, channels, x), _given(shift, 0, channels, x)
    if n >= _LONG:
        loop, shape = _rows_affine, (len(x) * channels, n)
    else:
        loop, shape = _columns_affine, (len(x), channels * n)
        scale, shift = (scale.repeat(n), shift.repeat(n)) if n > 1 else (scale, shift)
    loop(x.reshape(shape), scale, shift, y.reshape(shape))
    return y
