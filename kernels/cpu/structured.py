"""Steps of optimizers that look at a matrix as a whole, in the few passes that they take."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import hyper_fits
from .jit import jit, prange

SMALL = 1 << 13  # numbers of a matrix
PARALLEL = 1 << 16
_FEW, _MANY, _PARTS = 16, 128, 64  # rows of a part: at least, at most; parts, if that allows it


@jit(parallel_from=PARALLEL, reassociate=True)
def _factors(g, p, few, rows, columns, own, share):
    """Sums of g**2: rows[i] of row i, columns[t] of the columns of part t; own[i]: of p**2."""
    for t in prange(columns.shape[0], share):
        down = columns[t]
        down[:] = 0
        for i in range(t * few, min((t + 1) * few, rows.size)):
            line, other, total, size = g[i], p[i], np.float64(0), np.float64(0)
            for j in range(line.size):
                square = line[j] * line[j]
                down[j] += square
                total += np.float64(square)
                size += np.float64(other[j] * other[j])
            rows[i], own[i] = total, size


@jit(parallel_from=PARALLEL, reassociate=True)
def _updates(g, row, column, least, sums, share):
    """sums[i]: of g**2 / max(row * column, least) in row i."""
    for i in prange(sums.size, share):
        line, total = g[i], np.float64(0)
        for j in range(line.size):
            v = row[i] * column[j]
            total += np.float64(line[j] * line[j] / (least if v < least else v))
        sums[i] = total


@jit(parallel_from=PARALLEL)
def _move(p, g, row, column, least, keep, rate, share):
    for i in prange(row.size, share):
        to, line = p[i], g[i]
        for j in range(line.size):
            v = row[i] * column[j]
            to[j] = to[j] * keep - rate * (line[j] / np.sqrt(least if v < least else v))


def _fits(hyper, p, g, rows, columns=None, **_):
    """A matrix, its gradient, a number for each row and one for each column."""
    if p.ndim != 2 or p.size == 0 or g.shape != p.shape or columns is None:
        return False
    (m, n), there = p.shape, hyper_fits(hyper)
    return there and rows.shape == (m, 1) and columns.shape == (1, n)


@accepts(min_size=SMALL, size_of="p", others=("hyper",), when=_fits)
def adafactor(hyper, p, g, rows, columns=None, *, beta2_decay, eps1, eps2, d, weight_decay):
    (lr, t), (m, n), like = hyper[:2].tolist(), p.shape, p.dtype.type
    few = min(max(_FEW, -(-m // _PARTS)), _MANY)  # by the shape alone: deterministic
    across, own, down = np.empty(m), np.empty(m), np.empty((-(-m // few), n), p.dtype)
    _factors(g, p, few, across, down, own)
    with np.errstate(all="ignore"):  # as in loops
        part = t**beta2_decay
        rows += part * (across.reshape(m, 1) / n - rows)
        columns += part * (down.sum(0, dtype=np.float64) / m - columns)
        row = (rows[:, 0] / np.maximum(rows.mean(dtype=np.float64), eps1)).astype(p.dtype)
        least, keep = like(eps1 * eps1), like(1 - lr * weight_decay)
        _updates(g, row, columns[0], least, across)
        rate = min(lr, 1 / np.sqrt(t)) * np.maximum(np.sqrt(own.sum() / p.size), eps2)
        rate /= np.maximum(np.sqrt(across.sum() / p.size) / d, 1)
    _move(p, g, row, columns[0], least, keep, like(rate))
