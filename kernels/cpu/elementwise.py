"""Arithmetic on large arrays, on all threads and in pooled memory (buffers.py); activations and
their gradients fused into one pass over memory, where NumPy takes one for each operation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..accept import accepts, is_number
from . import scalars as s
from .buffers import empty_like
from .jit import jit, prange

# From 1K float32 on, one pass beats NumPy's several: sigmoid 2.0 to 5.5 us (2-core AVX-512
# server). The doubled size spares small programs the import of Numba, 0.1 s. What is two or three
# plain calls in NumPy (the gradients of sigmoid and tanh) is faster there up to 8K.
SMALL = 2048
# Waking the other threads costs 5 to 10 us, which two win back from 64K numbers on.
PARALLEL = 1 << 16
LARGE = 2 * PARALLEL  # NumPy's own is one vectorised pass: only threads and used memory beat it


def unary(formula: Callable) -> Callable:
    """A loop that maps the scalar formula over `x`, `p` being its further parameters."""

    @jit(parallel_from=PARALLEL)
    def loop(x, y, p, share):
        for i in prange(x.size, share):
            y[i] = formula(x[i], *p)

    return loop


def binary(formula: Callable) -> Callable:
    """A loop that maps the scalar formula over two arrays of one shape."""

    @jit(parallel_from=PARALLEL)
    def loop(a, b, y, p, share):
        for i in prange(a.size, share):
            y[i] = formula(a[i], b[i], *p)

    return loop


def turned(formula: Callable) -> Callable:
    """A loop that maps the scalar formula over a number on the left, broadcast, and `x`."""

    @jit(parallel_from=PARALLEL)
    def loop(x, y, p, share):
        for i in prange(x.size, share):
            y[i] = formula(p[0], x[i])

    return loop


def apply(loop: Callable, *arrays: np.ndarray, p: tuple = ()) -> np.ndarray:
    """A new array of the shape of `arrays`, filled by the loop."""
    y = empty_like(arrays[0])
    p = tuple([y.dtype.type(v) for v in p])
    loop(*[a.reshape(-1) for a in arrays], y.reshape(-1), p)
    return y


# --- arithmetic ---------------------------------------------------------------------------------


def _pairs(formula: Callable) -> Callable:
    """The formula for two arrays, or with a number or a row on either side that is broadcast."""
    both, right, left = binary(formula), unary(formula), turned(formula)

    @jit(parallel_from=PARALLEL)
    def row_right(x, row, y, share):
        for i in prange(x.shape[0], share):
            for j in range(x.shape[1]):
                y[i, j] = formula(x[i, j], row[j])

    @jit(parallel_from=PARALLEL)
    def row_left(x, row, y, share):
        for i in prange(x.shape[0], share):
            for j in range(x.shape[1]):
                y[i, j] = formula(row[j], x[i, j])

    def run(a, b):
        if is_number(a):
            return apply(left, b, p=(_one(a),))
        if is_number(b):
            return apply(right, a, p=(_one(b),))
        if a.shape == b.shape:
            return apply(both, a, b)
        loop, x, row = (row_right, a, b) if a.ndim > b.ndim else (row_left, b, a)
        y, matrix = empty_like(x), (x.size // max(1, row.size), row.size)
        loop(x.reshape(matrix), row.reshape(-1), y.reshape(matrix))
        return y

    return run


def _one(a):
    return a.flat[0] if isinstance(a, np.ndarray) else a


_add, _subtract = _pairs(s.add), _pairs(s.subtract)
_multiply, _divide = _pairs(s.multiply), _pairs(s.divide)
_negative, _square, _sqrt = unary(s.negative), unary(s.square), unary(s.sqrt)
_square_grad = binary(s.square_grad)


@accepts(broadcast=True, min_size=LARGE)
def add(a, b):
    return _add(a, b)


@accepts(broadcast=True, min_size=LARGE)
def subtract(a, b):
    return _subtract(a, b)


@accepts(broadcast=True, min_size=LARGE)
def multiply(a, b):
    return _multiply(a, b)


@accepts(broadcast=True, min_size=LARGE)
def divide(a, b):
    return _divide(a, b)


@accepts(min_size=LARGE)
def negative(x):
    return apply(_negative, x)


@accepts(min_size=LARGE)
def square(x):
    return apply(_square, x)


@accepts(same_shape=True, min_size=8 * SMALL)
def square_grad(g, x):
    return apply(_square_grad, g, x)


@accepts(min_size=LARGE)
def sqrt(x):
    return apply(_sqrt, x)


# --- activations --------------------------------------------------------------------------------

_tanh, _tanh_grad = unary(s.tanh), binary(s.tanh_grad)
_sigmoid, _sigmoid_grad = unary(s.sigmoid), binary(s.sigmoid_grad)
_relu, _relu_grad = unary(s.relu), binary(s.relu_grad)
_leaky_relu, _leaky_relu_grad = unary(s.leaky_relu), binary(s.leaky_relu_grad)
_elu, _elu_grad = unary(s.elu), binary(s.elu_grad)
_gelu, _gelu_grad = unary(s.gelu), binary(s.gelu_grad)
_silu, _silu_grad = unary(s.silu), binary(s.silu_grad)


@accepts(min_size=LARGE)
def tanh(x):
    return apply(_tanh, x)


@accepts(same_shape=True, min_size=4 * SMALL)
def tanh_grad(g, y):
    return apply(_tanh_grad, g, y)


@accepts(min_size=SMALL)
def sigmoid(x):
    return apply(_sigmoid, x)


@accepts(same_shape=True, min_size=4 * SMALL)
def sigmoid_grad(g, y):
    return apply(_sigmoid_grad, g, y)


@accepts(min_size=4 * SMALL)
def relu(x):
    return apply(_relu, x)


@accepts(same_shape=True, min_size=SMALL)
def relu_grad(g, y):
    return apply(_relu_grad, g, y)


@accepts(min_size=SMALL)
def leaky_relu(x, *, slope=0.01):
    return apply(_leaky_relu, x, p=(slope,))


@accepts(same_shape=True, min_size=SMALL)
def leaky_relu_grad(g, x, *, slope):
    return apply(_leaky_relu_grad, g, x, p=(slope,))


@accepts(min_size=SMALL)
def elu(x, *, alpha=1.0):
    return apply(_elu, x, p=(alpha,))


@accepts(same_shape=True, min_size=SMALL)
def elu_grad(g, x, *, alpha):
    return apply(_elu_grad, g, x, p=(alpha,))


@accepts(min_size=SMALL)
def gelu(x):
    return apply(_gelu, x)


@accepts(same_shape=True, min_size=SMALL)
def gelu_grad(g, x):
    return apply(_gelu_grad, g, x)


@accepts(min_size=SMALL)
def silu(x):
    return apply(_silu, x)


@accepts(same_shape=True, min_size=SMALL)
def silu_grad(g, x):
    return apply(_silu_grad, g, x)
