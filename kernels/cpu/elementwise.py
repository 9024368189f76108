"""Activations and their gradients in one pass over memory; NumPy takes one for each operation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..accept import accepts
from . import scalars as s
from .jit import jit, prange

# Below this NumPy's few calls take less than 10 us, and Numba would have to be imported.
SMALL = 4096
# Waking a second thread costs about 10 us: two pay off from 64K numbers on (2-core server).
PARALLEL = 1 << 16


def _each(formula: Callable, inputs: int = 1, parameter: bool = False) -> Callable:
    """A function of one or two arrays of one shape: the formula of each of their numbers, with a
    number of the arrays' dtype behind them if it takes a parameter."""
    name = f"{formula.__name__}{'-p' if parameter else ''}"
    if (inputs, parameter) == (1, False):

        @jit(name=name, parallel_from=PARALLEL)
        def loop(x, y):
            for i in prange(x.size):
                y[i] = formula(x[i])

    elif (inputs, parameter) == (1, True):

        @jit(name=name, parallel_from=PARALLEL)
        def loop(x, y, p):
            for i in prange(x.size):
                y[i] = formula(x[i], p)

    elif not parameter:

        @jit(name=name, parallel_from=PARALLEL)
        def loop(a, b, y):
            for i in prange(a.size):
                y[i] = formula(a[i], b[i])

    else:

        @jit(name=name, parallel_from=PARALLEL)
        def loop(a, b, y, p):
            for i in prange(a.size):
                y[i] = formula(a[i], b[i], p)

    def run(*args):
        first = args[0]
        y = np.empty_like(first)
        arrays = [a.reshape(-1) for a in (*args[:inputs], y)]
        loop(*arrays, *[first.dtype.type(p) for p in args[inputs:]])
        return y

    return run
