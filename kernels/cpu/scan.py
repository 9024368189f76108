"""Scans in one pass over memory, accumulated in double precision. Each line is a chain of
dependent steps, so they run on one thread: a million numbers take 2 ms."""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from . import scalars as s
from .jit import jit

SMALL = 1 << 15


def _scan(of_two):
    @jit
    def scan(x, y, back):
        """y[:, k] is x[:, k] combined with y[:, k - 1], or from the last on with `back`."""
        last = x.shape[1] - 1
        total = np.empty(x.shape[2], np.float64)
        for i in range(x.shape[0]):
            for step in range(x.shape[1]):
                k = last - step if back else step
                if x.shape[2] == 1:
                    total[0] = x[i, k, 0] if step == 0 else of_two(total[0], np.float64(x[i, k, 0]))
                    y[i, k, 0] = total[0]
                    continue
                for j in range(x.shape[2]):
                    v = np.float64(x[i, k, j])
                    total[j] = v if step == 0 else of_two(total[j], v)
                    y[i, k, j] = total[j]

    return scan


_cumsum, _cumprod = _scan(s.add), _scan(s.multiply)


@jit
def _linear(x, a, y, back):
    last = x.shape[1] - 1
    total = np.empty(x.shape[2], np.float64)
    for i in range(x.shape[0]):
        for step in range(x.shape[1]):
            k = last - step if back else step
            for j in range(x.shape[2]):
                v = np.float64(x[i, k, j])
                total[j] = v if step == 0 else np.float64(a[i, k, j]) * total[j] + v
                y[i, k, j] = total[j]


@jit
def _extreme(x, y, indices, largest):
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            for j in range(x.shape[2]):
                v, at = x[i, k, j], k
                if k:
                    top = y[i, k - 1, j]
                    beyond = v >= top if largest else v <= top
                    if not (beyond or v != v) or (top != top and v == v):
                        v, at = top, indices[i, k - 1, j]
                y[i, k, j], indices[i, k, j] = v, at


def _lines(x, axis):
    """x as (before, n, after)."""
    axis %= x.ndim
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


def _some(x, *_, **__):
    return x.ndim > 0


@accepts(min_size=SMALL, when=_some)
def cumsum(x, *, axis, reverse=False):
    y = np.empty_like(x)
    _cumsum(_lines(x, axis), _lines(y, axis), reverse)
    return y


@accepts(min_size=SMALL, when=_some)
def cumprod(x, *, axis):
    y = np.empty_like(x)
    _cumprod(_lines(x, axis), _lines(y, axis), False)
    return y


@accepts(min_size=SMALL, same_shape=True, when=_some)
def linear_scan(a, x, *, axis, reverse=False):
    y = np.empty_like(x)
    _linear(_lines(x, axis), _lines(a, axis), _lines(y, axis), reverse)
    return y


@accepts(min_size=SMALL, when=_some)
def running_extreme(x, *, axis, largest):
    y, indices = np.empty_like(x), np.empty(x.shape, np.int64)
    _extreme(_lines(x, axis), _lines(y, axis), _lines(indices, axis), largest)
    return y, indices
