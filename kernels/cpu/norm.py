"""Norms: statistics, result and gradients in as few passes over memory as there can be.

Layer, RMS and group norms are one loop over rows. Batch norm has two layouts. With many numbers
in each image of a channel, a channel is one task: its numbers stay in the cache from the first
pass to the last. With few, rows are whole examples, and sums are kept for each column.
Nothing here depends on the number of threads: partial sums follow the shape alone.
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
from .jit import jit, prange

# 16x64 float32 take 3.1 us here and 11 in the reference's calls, their gradients 5.2 and 29
# (2-core AVX-512 server). The size spares small programs the import of Numba.
SMALL = 1024
PARALLEL = 1 << 15
_PARTIAL = 1 << 14  # numbers summed into one partial gradient; see matmul.py
_LONG = 64  # numbers of an image of one channel from which a loop over them is worth its start


def _parts(size, rows, row):
    """How many parts of the rows get sums of their own, each of `row` numbers: so many that the
    sums are little beside the numbers, and at most 64."""
    return max(1, min(size // max(_PARTIAL, 8 * row), rows, 64))


def _given(a, fill, n, x):
    """A weight or bias of n numbers, or the one that changes nothing."""
    return np.full(n, fill, x.dtype) if a is None else a


def _spread(a, fill, rows, groups, repeat):
    """The same with each number repeated, as (groups, numbers of a row)."""
    a = _given(a, fill, groups * rows.shape[1] // repeat, rows)
    return (a.repeat(repeat) if repeat > 1 else a).reshape(groups, -1)


# --- rows: layer, RMS and group norm ------------------------------------------------------------


@jit(parallel_from=PARALLEL, reassociate=True)
def _rows(x, weight, bias, y, mean, rstd, eps, centre):
    n, groups = x.dtype.type(x.shape[1]), weight.shape[0]
    for i in prange(x.shape[0]):
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
def _rows_grad(g, x, weight, mean, rstd, gx, gweight, gbias, centre):
    """Row c of gweight and gbias becomes the sum over the c-th part of the rows."""
    parts, rows, n = gweight.shape[0], g.shape[0], g.shape[1]
    groups = weight.shape[0]
    per = g.dtype.type(1) / g.dtype.type(n)
    for c in prange(parts):
        for k in range(groups):
            for j in range(n):
                gweight[c, k, j] = 0
                gbias[c, k, j] = 0
        for i in range(c * rows // parts, (c + 1) * rows // parts):
            k, mu, r = i % groups, mean[i], rstd[i]
            total, along = g.dtype.type(0), g.dtype.type(0)
            for j in range(n):
                normal = (x[i, j] - mu) * r
                gn = g[i, j] * weight[k, j]
                gx[i, j] = gn
                total += gn
                along += gn * normal
                gweight[c, k, j] += g[i, j] * normal
                gbias[c, k, j] += g[i, j]
            along *= per
            total = total * per if centre else g.dtype.type(0)
            for j in range(n):
                normal = (x[i, j] - mu) * r
                gx[i, j] = r * (gx[i, j] - total - normal * along)


def _forward(x, rows, weight, bias, eps, centre=True, groups=1, repeat=1):
    """y, and the statistics of each row."""
    y, (mean, rstd) = np.empty_like(x), np.empty((2, len(rows)), x.dtype)
    affine = [_spread(a, fill, rows, groups, repeat) for a, fill in ((weight, 1), (bias, 0))]
    _rows(rows, *affine, y.reshape(rows.shape), mean, rstd, x.dtype.type(eps), centre)
    return y, mean, rstd


def _backward(g, x, rows, weight, mean, rstd, needs, groups=1, repeat=1):
    weight, gx = _spread(weight, 1, rows, groups, repeat), np.empty_like(x)
    sums = np.empty((2, _parts(x.size, len(rows), weight.size), *weight.shape), x.dtype)
    centre, rstd = mean is not None, rstd.reshape(-1)
    mean = mean.reshape(-1) if centre else np.zeros_like(rstd)
    grads = gx.reshape(rows.shape), *sums
    _rows_grad(g.reshape(rows.shape), rows, weight, mean, rstd, *grads, centre)
    affine = [
        sums[k].sum(axis=0).reshape(-1, repeat).sum(axis=1) if needs[k + 1] else None
        for k in range(len(needs) - 1)
    ]
    return (gx if needs[0] else None, *affine)


@accepts(min_size=SMALL, when=norm_fits)
def layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    y, mean, rstd = _forward(x, flat_rows(x), weight, bias, eps)
    shape = (*x.shape[:-1], 1)
    return y, mean.reshape(shape), rstd.reshape(shape)


@accepts(min_size=SMALL, when=norm_grad_fits)
def layer_norm_grad(g, x, weight, mean, rstd, *, needs):
    return _backward(g, x, flat_rows(x), weight, mean, rstd, needs)


@accepts(min_size=SMALL, when=norm_fits)
def rms_norm(x, weight=None, *, eps=1e-6):
    y, _, rstd = _forward(x, flat_rows(x), weight, None, eps, centre=False)
    return y, rstd.reshape(*x.shape[:-1], 1)


@accepts(min_size=SMALL, when=rms_grad_fits)
def rms_norm_grad(g, x, weight, rstd, *, needs):
    return _backward(g, x, flat_rows(x), weight, None, rstd, needs)


@accepts(min_size=SMALL, when=groups_fit)
def group_norm(x, weight=None, bias=None, *, groups, eps=1e-5):
    rows, repeat = x.reshape(x.shape[0] * groups, -1), math.prod(x.shape[2:])
    y, mean, rstd = _forward(x, rows, weight, bias, eps, True, groups, repeat)
    shape = (x.shape[0], groups, 1)
    return y, mean.reshape(shape), rstd.reshape(shape)


@accepts(min_size=SMALL, when=groups_grad_fit)
def group_norm_grad(g, x, weight, mean, rstd, *, needs):
    rows, repeat = x.reshape(rstd.size, -1), math.prod(x.shape[2:])
    return _backward(g, x, rows, weight, mean, rstd, needs, rstd.shape[1], repeat)


# --- batch norm, a channel at a time ------------------------------------------------------------


@jit(parallel_from=PARALLEL, reassociate=True)
def _batch_norm(x, weight, bias, y, mean, rstd, means, eps):
    """The variance comes from that of each image around its own mean and that of these means:
    the first pass over memory is enough for it. `means` (channels, images) is for keeping them."""
    images, n = x.shape[0], x.dtype.type(x.shape[2])
    count = x.dtype.type(images) * n
    for c in prange(x.shape[1]):
        sums, squares = x.dtype.type(0), x.dtype.type(0)
        for i in range(images):
            total = x.dtype.type(0)
            for j in range(x.shape[2]):
                total += x[i, c, j]
            sums += total
            mu = total / n
            means[c, i] = mu
            total = x.dtype.type(0)
            for j in range(x.shape[2]):
                total += (x[i, c, j] - mu) * (x[i, c, j] - mu)
            squares += total
        mu = sums / count
        for i in range(images):
            squares += n * (means[c, i] - mu) * (means[c, i] - mu)
        r = x.dtype.type(1) / np.sqrt(squares / count + eps)
        mean[c], rstd[c] = mu, r
        scale, shift = r * weight[c], bias[c]
        for i in range(images):
            for j in range(x.shape[2]):
                y[i, c, j] = (x[i, c, j] - mu) * scale + shift


@jit(parallel_from=PARALLEL, reassociate=True)
def _batch_norm_grad(g, x, weight, mean, rstd, gx, gweight, gbias):
    images, n = g.shape[0], g.shape[2]
    per = g.dtype.type(1) / (g.dtype.type(images) * g.dtype.type(n))
    for c in prange(g.shape[1]):
        total, along, mu, r = g.dtype.type(0), g.dtype.type(0), mean[c], rstd[c]
        for i in range(images):
            for j in range(n):
                total += g[i, c, j]
                along += g[i, c, j] * (x[i, c, j] - mu)
        gweight[c], gbias[c] = along * r, total
        scale, total, along = r * weight[c], total * per, along * r * r * per
        for i in range(images):
            for j in range(n):
                gx[i, c, j] = scale * (g[i, c, j] - total - (x[i, c, j] - mu) * along)


# --- batch norm, an example at a time -----------------------------------------------------------


@jit(parallel_from=PARALLEL, reassociate=True)
def _columns(x, sums, squares):
    """For each part of the rows, each column's sum and squared deviations from its mean there."""
    parts, rows = sums.shape[0], x.shape[0]
    for c in prange(parts):
        start, end = c * rows // parts, (c + 1) * rows // parts
        for j in range(x.shape[1]):
            sums[c, j] = 0
            squares[c, j] = 0
        for i in range(start, end):
            for j in range(x.shape[1]):
                sums[c, j] += x[i, j]
        per = x.dtype.type(1) / x.dtype.type(end - start)
        for i in range(start, end):
            for j in range(x.shape[1]):
                centred = x[i, j] - sums[c, j] * per
                squares[c, j] += centred * centred


@jit(parallel_from=PARALLEL, reassociate=True)
def _columns_grad(g, x, mean, sums, alongs):
    """For each part of the rows, each column's sums of g and of g * (x - mean)."""
    parts, rows = sums.shape[0], g.shape[0]
    for c in prange(parts):
        for j in range(g.shape[1]):
            sums[c, j] = 0
            alongs[c, j] = 0
        for i in range(c * rows // parts, (c + 1) * rows // parts):
            for j in range(g.shape[1]):
                sums[c, j] += g[i, j]
                alongs[c, j] += g[i, j] * (x[i, j] - mean[j])


@jit(parallel_from=PARALLEL, reassociate=True)
def _columns_affine(x, mean, scale, shift, y):
    for i in prange(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - mean[j]) * scale[j] + shift[j]


@jit(parallel_from=PARALLEL, reassociate=True)
def _columns_grad_x(g, x, mean, scale, total, along, gx):
    for i in prange(g.shape[0]):
        for j in range(g.shape[1]):
            gx[i, j] = scale[j] * (g[i, j] - total[j] - (x[i, j] - mean[j]) * along[j])


@jit(parallel_from=PARALLEL, reassociate=True)
def _images_affine(x, scale, shift, y):
    for k in prange(x.shape[0] * x.shape[1]):
        i, c = k // x.shape[1], k % x.shape[1]
        for j in range(x.shape[2]):
            y[i, c, j] = x[i, c, j] * scale[c] + shift[c]


def _images(x):
    """x as (batch, channels, numbers), and as (batch, all numbers of an example)."""
    images = x.reshape(*x.shape[:2], -1)
    return images, x.reshape(x.shape[0], -1), images.shape[2]


def _channel_sums(sums, channels):
    return sums.reshape(len(sums), channels, -1).sum(axis=(0, 2))


def _column_statistics(rows, channels, eps):
    parts = _parts(rows.size, *rows.shape)
    sums, squares = np.empty((2, parts, rows.shape[1]), rows.dtype)
    _columns(rows, sums, squares)
    mean = _channel_sums(sums, channels) / (rows.size // channels)
    counts = np.diff(np.arange(parts + 1) * len(rows) // parts)[:, None].astype(rows.dtype)
    apart = sums / counts - mean.repeat(rows.shape[1] // channels)
    var = _channel_sums(squares + counts * apart * apart, channels) / (rows.size // channels)
    return mean, 1 / np.sqrt(var + rows.dtype.type(eps))


@accepts(min_size=SMALL, when=channels_fit)
def batch_norm(x, weight=None, bias=None, *, eps=1e-5):
    channels, y = x.shape[1], np.empty_like(x)
    images, rows, n = _images(x)
    weight, bias = _given(weight, 1, channels, x), _given(bias, 0, channels, x)
    if n >= _LONG:
        mean, rstd = np.empty((2, channels), x.dtype)
        means = np.empty((channels, len(x)), x.dtype)
        _batch_norm(
            images, weight, bias, y.reshape(images.shape), mean, rstd, means, x.dtype.type(eps)
        )
    else:
        mean, rstd = _column_statistics(rows, channels, eps)
        affine = [a.repeat(n) for a in (mean, rstd * weight, bias)]
        _columns_affine(rows, *affine, y.reshape(rows.shape))
    shape = (1, channels, *(1,) * (x.ndim - 2))
    return y, mean.reshape(shape), rstd.reshape(shape)


@accepts(min_size=SMALL, when=channels_grad_fit)
def batch_norm_grad(g, x, weight, mean, rstd, *, needs):
    channels, gx = x.shape[1], np.empty_like(x)
    images, rows, n = _images(x)
    weight = _given(weight, 1, channels, x)
    mean, rstd = mean.reshape(-1), rstd.reshape(-1)
    if n >= _LONG:
        gweight, gbias = np.empty((2, channels), x.dtype)
        grads = gx.reshape(images.shape), gweight, gbias
        _batch_norm_grad(g.reshape(images.shape), images, weight, mean, rstd, *grads)
    else:
        g, wide = g.reshape(rows.shape), mean.repeat(n)
        sums, alongs = np.empty((2, _parts(x.size, *rows.shape), rows.shape[1]), x.dtype)
        _columns_grad(g, rows, wide, sums, alongs)
        gbias, along = _channel_sums(sums, channels), _channel_sums(alongs, channels)
        gweight, count = along * rstd, x.size // channels
        if needs[0]:
            terms = rstd * weight, gbias / count, along * rstd * rstd / count
            terms = [a.repeat(n) for a in terms]
            _columns_grad_x(g, rows, wide, *terms, gx.reshape(rows.shape))
    parts = (gx, gweight, gbias)
    return tuple([a if need else None for a, need in zip(parts, needs, strict=True)])


@accepts(min_size=SMALL, when=channels_fit)
def channel_affine(x, scale=None, shift=None):
    channels, y = x.shape[1], np.empty_like(x)
    images, rows, n = _images(x)
    scale, shift = _given(scale, 1, channels, x), _given(shift, 0, channels, x)
    if n >= _LONG:
        _images_affine(images, scale, shift, y.reshape(images.shape))
    else:
        affine = [a.repeat(n) for a in (np.zeros_like(scale), scale, shift)]
        _columns_affine(rows, *affine, y.reshape(rows.shape))
    return y
