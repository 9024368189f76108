"""Optimizer steps fused into one pass over memory: each element of parameter, gradient and state
is read and written once."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import all_sizes, lists, rescale_fits, step_fits, total_size
from ..steps import step_of
from ..tracing import HOST
from .jit import Jitted, jit, prange

# An Adam step of 2K float32 takes 3.6 us here and 8.5 in the reference's calls (2-core AVX-512
# server); 1M take 0.10 and 1.3 ms. The size spares small programs the import of Numba.
SMALL = 2048
PARALLEL = 1 << 17  # half of them are done before the other threads are awake
_BLOCK = 1 << 13  # elements of a partial sum


@jit(parallel_from=PARALLEL)
def _accumulate(total, g, share):
    for i in prange(total.size, share):
        total[i] += g[i]


@accepts(min_size=PARALLEL, same_shape=True)
def accumulate(total, g):
    _accumulate(total.reshape(-1), g.reshape(-1))


_loops: dict[tuple, Jitted] = {}  # the compiled loops of formulas, by the names of their programs


def _started(step, rows, scalar, hyper, options):
    """The loop of a step, and the numbers that its elements need."""
    key = step.program.name, rows
    loop = _loops.get(key)
    if loop is None:
        made = step.program.loop(rows, prange=prange, sqrt=np.sqrt)
        loop = _loops.setdefault(key, jit(made, parallel_from=PARALLEL))
    given = [options[name] for name in step.given]
    numbers = step.numbers(HOST, *hyper[: step.clock].tolist(), *given)
    return loop, tuple(map(scalar, numbers))


@accepts(min_size=4 * SMALL, size_of=total_size, others=("hyper",), when=step_fits)
def optimizer_step(hyper, *arrays, formula, options):
    step = step_of(formula, options)
    if len(hyper) > step.clock and not hyper[-1]:
        return
    loop, numbers = _started(step, False, arrays[0].dtype.type, hyper, options)
    for own in lists(arrays, step.lists):
        loop(*[a.reshape(-1) for a in own], numbers)


def _rows_fit(hyper, ids, p, g, *states, **how):
    """Tables, and gradients of rows that they have."""
    if p.ndim != 2 or ids.dtype != np.int64 or not g.size or g.shape != (ids.size, p.shape[1]):
        return False
    return 0 <= ids.min() <= ids.max() < len(p) and step_fits(hyper, p, p, *states, **how)


@accepts(min_size=4 * SMALL, size_of="g", others=("hyper", "ids"), when=_rows_fit)
def step_of_rows(hyper, ids, p, g, *states, formula, options):
    step = step_of(formula, options)
    if len(hyper) > step.clock and not hyper[-1]:
        return
    loop, numbers = _started(step, True, g.dtype.type, hyper, options)
    loop(g, ids, p, *states, numbers)


@jit(parallel_from=PARALLEL, reassociate=True)
def _rescale(x, by, sums, share):
    """x *= by; sums[p] is 0 if part p of x is finite then, else NaN."""
    for p in prange(sums.size, share):
        line, total = x[p * _BLOCK : min(x.size, (p + 1) * _BLOCK)], x.dtype.type(0)
        for i in range(line.size):
            line[i] *= by
            total += line[i] * 0
        sums[p] = total


@accepts(min_size=8 * SMALL, size_of=total_size, others=("by",), when=rescale_fits)
def rescale(by, *arrays):
    finite = np.ones(1)
    for a in arrays:
        sums = np.empty(-(-a.size // _BLOCK), a.dtype)
        _rescale(a.reshape(-1), a.dtype.type(by[0]), sums)
        finite *= (sums == 0).all()
    return finite


@jit(parallel_from=PARALLEL, reassociate=True)
def _squares(x, sums, share):
    """sums[p] is the sum of the squares in part p of x, in float64."""
    for p in prange(sums.size, share):
        line, total = x[p * _BLOCK : min(x.size, (p + 1) * _BLOCK)], np.float64(0)
        for i in range(line.size):
            value = np.float64(line[i])
            total += value * value
        sums[p] = total


@accepts(min_size=8 * SMALL, size_of=all_sizes)
def sum_of_squares(*arrays):
    total = 0.0
    for a in arrays:
        sums = np.empty(-(-a.size // _BLOCK))  # split by the size alone: deterministic
        _squares(a.reshape(-1), sums)
        total += sums.sum()
    return np.asarray(total)
