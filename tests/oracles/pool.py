"""Pooling, one window after the other."""

import numpy as np

from .conv import extent, windows


def _max_pool(x, *, size, stride=None, padding=(0, 0)):
    stride, (h, w) = stride or size, x.shape[2:]
    y = np.full((*x.shape[:2], *extent(h, w, size, stride, padding)), -np.inf)
    where = np.zeros(y.shape, np.int32)
    for oy, ox, py, px, _, _ in windows(h, w, size, stride, padding, (1, 1)):
        larger = x[:, :, py, px] > y[:, :, oy, ox]
        y[:, :, oy, ox][larger] = x[:, :, py, px][larger]
        where[:, :, oy, ox][larger] = py * w + px
    return y, where


def _avg_pool(x, *, size, stride=None, padding=(0, 0)):
    stride, (h, w) = stride or size, x.shape[2:]
    y = np.zeros((*x.shape[:2], *extent(h, w, size, stride, padding)))
    for oy, ox, py, px, _, _ in windows(h, w, size, stride, padding, (1, 1)):
        y[:, :, oy, ox] += x[:, :, py, px] / (size[0] * size[1])
    return y


def _avg_pool_grad(x, *, plane, size, stride, padding):
    g = np.zeros((*x.shape[:2], *plane))
    for oy, ox, py, px, _, _ in windows(*plane, size, stride or size, padding, (1, 1)):
        g[:, :, py, px] += x[:, :, oy, ox] / (size[0] * size[1])
    return g


def _gather(x, where):
    y = np.zeros(where.shape)
    for place in np.ndindex(where.shape):
        y[place] = x[place[:2]].ravel()[where[place]]
    return y


def _scatter(x, where, *, size):
    y = np.zeros((*x.shape[:2], *size))
    for place in np.ndindex(where.shape):
        y[place[:2]].reshape(-1)[where[place]] += x[place]
    return y


def _pick(x, rows, columns):
    y = np.zeros((*x.shape[:-2], rows.size, columns.size))
    for i, j in np.ndindex(y.shape[-2:]):
        y[..., i, j] = x[..., rows[i], columns[j]]
    return y


def _pick_grad(x, rows, columns, *, size):
    y = np.zeros((*x.shape[:-2], *size))
    for i, j in np.ndindex(x.shape[-2:]):
        y[..., rows[i], columns[j]] += x[..., i, j]
    return y


def _largest_places(x, *, size, stride, padding):
    d, h, w = x.shape[2:]
    out = [
        (n + 2 * p - k) // s + 1
        for n, k, s, p in zip(x.shape[2:], size, stride, padding, strict=True)
    ]
    where = np.zeros((*x.shape[:2], *out), np.int32)
    numbers = np.arange(d * h * w).reshape(d, h, w)
    for place in np.ndindex(where.shape):
        start = [i * s - p for i, s, p in zip(place[2:], stride, padding, strict=True)]
        window = tuple([slice(max(0, a), a + k) for a, k in zip(start, size, strict=True)])
        where[place] = numbers[window].ravel()[x[place[:2]][window].argmax()]
    return where


ORACLES = {
    "largest_places": _largest_places,
    "pick": _pick,
    "pick_grad": _pick_grad,
    "max_pool2d": _max_pool,
    "avg_pool2d": _avg_pool,
    "avg_pool2d_grad": _avg_pool_grad,
    "gather_places": _gather,
    "scatter_places": _scatter,
}
