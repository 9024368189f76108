"""Scalar functions that compiled loops inline, each written once.

They are plain Python, so they run (slowly) as they stand. Constants have the type of the argument:
Numba would promote a float32 beside a Python number to float64.

Numba's own exp and tanh call a library element by element (2.3 and 14.5 ns in float32); the ones
here are polynomials that become vector instructions (0.13 and 0.2 ns, AVX-512 server).
"""

import math

import numpy as np

from .jit import scalar

_SINGLE, _DOUBLE = np.float32, np.float64
# 1/n! from the highest order down: the terms of (exp(r) - 1) / r for |r| <= ln(2) / 2
_TERMS_32 = tuple([np.float32(1 / math.factorial(n)) for n in range(7, 0, -1)])
_TERMS_64 = tuple([np.float64(1 / math.factorial(n)) for n in range(13, 0, -1)])
_LOG2_E = 1.4426950408889634
# ln(2) as a number of few digits, so that its multiples are exact, and the rest (Cody & Waite)
_LN2_32 = (np.float32(0.693359375), np.float32(-2.12194440e-4))
_LN2_64 = (np.float64(6.93147180369123816490e-01), np.float64(1.90821492927058770002e-10))


@scalar
def _power_of_two_32(n):
    """2^n from its bits: 0 for n = -127, infinity for n = 128."""
    return np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@scalar
def _power_of_two_64(n):
    return np.int64((np.int64(n) + np.int64(1023)) << np.int64(52)).view(np.float64)


@scalar
def _parts_32(x):
    """s and p with exp(x) = s * (1 + p), s a power of two."""
    x = _SINGLE(-88) if x < _SINGLE(-88) else _SINGLE(88.8) if x > _SINGLE(88.8) else x
    n = np.floor(x * _SINGLE(_LOG2_E) + _SINGLE(0.5))
    r = (x - n * _LN2_32[0]) - n * _LN2_32[1]
    p = _SINGLE(0)
    for term in _TERMS_32:
        p = (p + term) * r
    return _power_of_two_32(n), p


@scalar
def _parts_64(x):
    x = _DOUBLE(-709.2) if x < _DOUBLE(-709.2) else _DOUBLE(710) if x > _DOUBLE(710) else x
    n = np.floor(x * _DOUBLE(_LOG2_E) + _DOUBLE(0.5))
    r = (x - n * _LN2_64[0]) - n * _LN2_64[1]
    p = _DOUBLE(0)
    for term in _TERMS_64:
        p = (p + term) * r
    return _power_of_two_64(n), p


@scalar(float32=_parts_32, float64=_parts_64)
def _parts(x):
    return type(x)(1), np.expm1(x)


@scalar
def exp(x):
    """e^x for x up to 88 (float32) or 709; above, and for infinity, infinity. What would be
    subnormal is 0."""
    s, p = _parts(x)
    return s * (type(x)(1) + p)


@scalar
def expm1(x):
    """e^x - 1, exact for small x; for x up to 80."""
    s, p = _parts(x)
    return s * p + (s - type(x)(1))


@scalar(literal=True)
def add(a, b):
    return a + b


@scalar(literal=True)
def subtract(a, b):
    return a - b


@scalar(literal=True)
def multiply(a, b):
    return a * b


@scalar(literal=True)
def divide(a, b):
    return a / b


@scalar
def negative(x):
    return -x


@scalar
def square(x):
    return x * x


@scalar
def square_grad(g, x):
    return g * (x + x)


@scalar
def sqrt(x):
    return np.sqrt(x)


@scalar
def tanh(x):
    """Hyperbolic tangent."""
    t = type(x)
    twice = x + x
    twice = t(-40) if twice < t(-40) else t(40) if twice > t(40) else twice
    e = expm1(twice)
    return e / (e + t(2))


@scalar
def tanh_grad(g, y):
    return g * (type(y)(1) - y * y)


@scalar
def sigmoid(x):
    e = exp(-abs(x))
    one = type(x)(1)
    return (e if x < type(x)(0) else one) / (one + e)


@scalar
def sigmoid_grad(g, y):
    return g * y * (type(y)(1) - y)


@scalar
def relu(x):
    return type(x)(0) if x < type(x)(0) else x  # this way round, NaN stays NaN


@scalar
def relu_grad(g, y):
    return type(g)(0) if y <= type(y)(0) else g  # this way round, NaN lets g pass


@scalar
def leaky_relu(x, slope):
    return x if x > type(x)(0) else slope * x


@scalar
def leaky_relu_grad(g, x, slope):
    return g if x > type(x)(0) else slope * g


@scalar
def elu(x, alpha):
    return x if x > type(x)(0) else alpha * expm1(x)


@scalar
def elu_grad(g, x, alpha):
    slope = g * alpha * exp(x)  # of NaN, g
    return slope if x <= type(x)(0) else g


@scalar
def _gelu_tanh(x):
    t = type(x)
    return tanh(t(0.7978845608028654) * (x + t(0.044715) * x * x * x))


@scalar
def gelu(x):
    t = type(x)
    return t(0.5) * x * (t(1) + _gelu_tanh(x))


@scalar
def gelu_grad(g, x):
    t = type(x)
    x = t(-10) if x < t(-10) else t(10) if x > t(10) else x  # x * x may overflow beyond
    th = _gelu_tanh(x)
    slope = t(0.7978845608028654) * (t(1) + t(0.134145) * x * x)
    return g * (t(0.5) * (t(1) + th) + t(0.5) * x * (t(1) - th * th) * slope)


@scalar
def silu(x):
    return x * sigmoid(x)


@scalar
def silu_grad(g, x):
    s = sigmoid(x)
    return g * s * (type(x)(1) + x * (type(x)(1) - s))


@scalar
def _ordered_32(x):
    return np.int32(x ^ ((x >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@scalar
def _ordered_64(x):
    return x ^ ((x >> np.int64(63)) & np.int64(0x7FFFFFFFFFFFFFFF))


@scalar
def _from_ordered_32(x):
    return np.int32(_ordered_32(x)).view(np.float32)


@scalar
def _from_ordered_64(x):
    return np.int64(_ordered_64(x)).view(np.float64)


@scalar(int32=_ordered_32, int64=_ordered_64)
def ordered(x):
    """A float's bits as an integer, negative ones mirrored: larger floats, larger integers."""
    return _ordered_32(x) if x.dtype == np.int32 else _ordered_64(x)


@scalar(int32=_from_ordered_32, int64=_from_ordered_64)
def from_ordered(x):
    """The float whose `ordered` bits are given."""
    return _from_ordered_32(x) if x.dtype == np.int32 else _from_ordered_64(x)
