"""Optimizer steps in one pass: each number of parameter and state is read and written once."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import adam_fits, all_sizes, lists, rescale_fits, sgd_fits, total_size
from .jit import jit, prange

# An Adam step of 2K float32 takes 3.6 us here and 8.5 in the reference's calls (2-core AVX-512
# server); 1M take 0.10 and 1.3 ms. The size spares small programs the import of Numba. SGD is
# few calls in NumPy too, which win up to 8K numbers.
SMALL = 2048
PARALLEL = 1 << 17  # half of them are done before the other threads are awake
_RUN = 1 << 13  # numbers whose squares are summed at a time


@jit(parallel_from=PARALLEL)
def _accumulate(total, g):
    for i in prange(total.size):
        total[i] += g[i]


@accepts(min_size=PARALLEL, same_shape=True)
def accumulate(total, g):
    _accumulate(total.reshape(-1), g.reshape(-1))


@jit(parallel_from=PARALLEL)
def _sgd(p, g, lr, weight_decay):
    for i in prange(p.size):
        p[i] -= lr * (g[i] + weight_decay * p[i])


@jit(parallel_from=PARALLEL)
def _momentum(p, g, buffer, lr, momentum, weight_decay):
    for i in prange(p.size):
        v = momentum * buffer[i] + (g[i] + weight_decay * p[i])
        buffer[i] = v
        p[i] -= lr * v


@jit(parallel_from=PARALLEL)
def _nesterov(p, g, buffer, lr, momentum, weight_decay):
    for i in prange(p.size):
        d = g[i] + weight_decay * p[i]
        v = momentum * buffer[i] + d
        buffer[i] = v
        p[i] -= lr * (d + momentum * v)


@jit(parallel_from=PARALLEL)
def _adam(p, g, m, v, numbers):
    beta1, rest1, beta2, rest2, eps, rate, root, keep, weight_decay = numbers
    for i in prange(p.size):
        d = g[i] + weight_decay * p[i]
        first = beta1 * m[i] + rest1 * d
        second = beta2 * v[i] + rest2 * d * d
        m[i], v[i] = first, second
        p[i] = keep * p[i] - rate * first / (np.sqrt(second) * root + eps)


@accepts(min_size=8 * SMALL, size_of=total_size, others=("h",), when=sgd_fits)
def sgd(h, *arrays, momentum, nesterov, weight_decay):
    if len(h) > 2 and not h[2]:
        return
    step = _sgd if not momentum else _nesterov if nesterov else _momentum
    for one in lists(arrays, 3 if momentum else 2):
        t = one[0].dtype.type
        numbers = (h[0], momentum, weight_decay) if momentum else (h[0], weight_decay)
        step(*[a.reshape(-1) for a in one], *[t(c) for c in numbers])


@accepts(min_size=4 * SMALL, size_of=total_size, others=("h",), when=adam_fits)
def adam(h, *arrays, beta1, beta2, eps, weight_decay, decoupled):
    if len(h) > 2 and not h[2]:
        return
    (lr, step), t = h[:2].tolist(), arrays[0].dtype.type
    rate = lr / (1 - beta1**step)
    root = (1 / (1 - beta2**step)) ** 0.5
    keep = 1 - lr * weight_decay if decoupled else 1
    numbers = (beta1, 1 - beta1, beta2, 1 - beta2, eps, rate, root, keep)
    numbers = tuple([t(c) for c in (*numbers, 0 if decoupled else weight_decay)])
    for one in lists(arrays, 4):
        _adam(*[a.reshape(-1) for a in one], numbers)


@jit(parallel_from=PARALLEL, reassociate=True)
def _rescale(x, by, sums):
    """x times by; sums[p] is 0 if part p of x is finite then, else NaN."""
    for p in prange(sums.size):
        line, total = x[p * _RUN : min(x.size, (p + 1) * _RUN)], x.dtype.type(0)
        for i in range(line.size):
            line[i] *= by
            total += line[i] * 0
        sums[p] = total


@accepts(min_size=8 * SMALL, size_of=total_size, others=("by",), when=rescale_fits)
def rescale(by, *arrays):
    finite = np.ones(1)
    for a in arrays:
        sums = np.empty(-(-a.size // _RUN), a.dtype)
        _rescale(a.reshape(-1), a.dtype.type(by[0]), sums)
        finite *= (sums == 0).all()
    return finite


@jit(parallel_from=PARALLEL, reassociate=True)
def _squares(x, sums):
    """sums[p] is the sum of the squares in part p of x, in float64."""
    for p in prange(sums.size):
        line, total = x[p * _RUN : min(x.size, (p + 1) * _RUN)], np.float64(0)
        for i in range(line.size):
            value = np.float64(line[i])
            total += value * value
        sums[p] = total


@accepts(min_size=8 * SMALL, size_of=all_sizes)
def sum_of_squares(*arrays):
    total = 0.0
    for a in arrays:
        sums = np.empty(-(-a.size // _RUN))  # cut by the shape alone: always rounds alike
        _squares(a.reshape(-1), sums)
        total += sums.sum()
    return np.asarray(total)
