"""Scans in one pass over memory, accumulated in double precision. Each line is a chain of
dependent steps, so they run on one thread: a million numbers take 2 ms."""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from . import scalars as s
from .jit import jit, scalar

SMALL = 1 << 15


def _scan(of_two):
    @jit
    def scan(x, y, back):
        """y[:, k] is x[:, k] combined with y[:, k - 1], or from the last on with `back`."""
        last = x.shape[1] - 1
        totals = np.empty(x.shape[2], np.float64)
        for i in range(x.shape[0]):
            first = last if back else 0
            if x.shape[2] == 1:
                total = np.float64(x[i, first, 0])
                y[i, first, 0] = total
                for step in range(1, last + 1):
                    k = last - step if back else step
                    total = of_two(total, np.float64(x[i, k, 0]))
                    y[i, k, 0] = total
                continue
            for step in range(last + 1):
                k = last - step if back else step
                for j in range(x.shape[2]):
                    v = np.float64(x[i, k, j])
                    totals[j] = v if step == 0 else of_two(totals[j], v)
                    y[i, k, j] = totals[j]

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


def _extreme(within):
    @jit
    def extreme(x, y, indices):
        """NaN stays. (In one condition instead of two, branches took ten times as long.)"""
        for i in range(x.shape[0]):
            if x.shape[2] == 1:
                top, at = x[i, 0, 0], 0
                for k in range(x.shape[1]):
                    v = x[i, k, 0]
                    if not within(v, top):  # noqa: SIM102
                        if top == top or v != v:
                            top, at = v, k
                    y[i, k, 0] = top
                    indices[i, k, 0] = at
                continue
            for k in range(x.shape[1]):
                before = max(k - 1, 0)
                for j in range(x.shape[2]):
                    v, top = x[i, k, j], y[i, before, j]
                    new = k == 0 or (not within(v, top) and (top == top or v != v))
                    y[i, k, j] = v if new else top
                    indices[i, k, j] = k if new else indices[i, before, j]

    return extreme


@scalar
def below(v, top):
    return v < top


@scalar
def above(v, top):
    return v > top


_cummax, _cummin = _extreme(below), _extreme(above)


def _lines(x, axis):
    """x as (before, n, after)."""
    axis %= x.ndim
    return x.reshape(math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :]))


def _some(x, *_, **__):
    return x.size > 0


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
    scan = _cummax if largest else _cummin
    scan(_lines(x, axis), _lines(y, axis), _lines(indices, axis))
    return y, indices
