"""Bessel functions of order 0 and 1: of the first and second kind, and the modified second kind.

Up to 8 (2 of the modified) they are power series, beyond them a wave with slowly varying modulus
and phase (Hankel), or exp(-x) / sqrt(x) times a series.
"""

import math

from ..core import op
from . import series
from .samples import few
from .series import polynomial
from .special import _by_x, _i0e, _i1e, _in_double, _map

_NEAR, _TAKEN = 8.0, {"samples": few(-20, 20), **_map}
_POSITIVE = {"samples": few(0.3, 20), **_map}


def _squared(xp, x):
    return xp.minimum(xp.abs(x), _NEAR) ** 2 / 32 - 1


def _wave(xp, x, order, second):
    """The function of order 0 or 1, of the second kind or the first, for x of 8 or more."""
    b = xp.maximum(xp.abs(x), _NEAR)
    b = xp.where(xp.isinf(b), _NEAR, b)
    t, sine, cosine = 128 / (b * b) - 1, xp.sin(b), xp.cos(b)
    p = polynomial((series.P0_FAR, series.P1_FAR)[order], t)
    q = polynomial((series.Q0_FAR, series.Q1_FAR)[order], t) * 8 / b
    # sqrt(2) cos and sin of b - pi / 4, or b - 3 pi / 4, without a difference of large numbers
    wave = (cosine + sine, sine - cosine) if order == 0 else (sine - cosine, -sine - cosine)
    y = p * wave[1] + q * wave[0] if second else p * wave[0] - q * wave[1]
    return xp.where(xp.isinf(x), 0.0, y / xp.sqrt(math.pi * b))


def _j0(xp, x):
    near = polynomial(series.J0_NEAR, _squared(xp, x))
    return xp.where(xp.abs(x) <= _NEAR, near, _wave(xp, x, 0, False))


def _j1(xp, x):
    near, far = x * polynomial(series.J1_NEAR, _squared(xp, x)), _wave(xp, x, 1, False)
    return xp.where(xp.abs(x) <= _NEAR, near, xp.where(x < 0, -far, far))


def _y0(xp, x):
    near = polynomial(series.Y0_NEAR, _squared(xp, x)) + 2 / math.pi * xp.log(x) * _j0(xp, x)
    return xp.where(x < 0, math.nan, xp.where(x <= _NEAR, near, _wave(xp, x, 0, True)))


def _y1(xp, x):
    near = x * polynomial(series.Y1_NEAR, _squared(xp, x))
    near = near + 2 / math.pi * (xp.log(x) * _j1(xp, x) - 1 / x)
    near = xp.where(x == 0, -math.inf, near)
    return xp.where(x < 0, math.nan, xp.where(x <= _NEAR, near, _wave(xp, x, 1, True)))


def _k(xp, x, near, far):
    """Of x from 0 to 2, and beyond."""
    b = xp.maximum(x, 2.0)
    far = polynomial(far, 4 / b - 1) * xp.exp(-b) / xp.sqrt(b)
    return xp.where(x < 0, math.nan, xp.where(x <= 2, near, far))


def _k0(xp, x):
    a = xp.minimum(x, 2.0)
    near = polynomial(series.K0_NEAR, a * a / 2 - 1)
    near = near - xp.log(a / 2) * _i0e(xp, a) * xp.exp(a)
    return _k(xp, x, near, series.K0_FAR)


def _k1(xp, x):
    a = xp.minimum(x, 2.0)
    near = polynomial(series.K1_NEAR, a * a / 2 - 1) / a
    near = xp.where(a == 0, math.inf, near + xp.log(a / 2) * _i1e(xp, a) * xp.exp(a))
    return _k(xp, x, near, series.K1_FAR)


@op(x=lambda g, x: -g * j1(x), scalar="j0(x)", **_TAKEN)
def j0(x):
    """The Bessel function of the first kind and order 0."""
    return _in_double(_j0, x)


@op(x=lambda g, x, y: g * (j0(x) - _by_x(x, y)), scalar="j1(x)", **_TAKEN)
def j1(x):
    """The Bessel function of the first kind and order 1, minus the derivative of j0."""
    return _in_double(_j1, x)


@op(x=lambda g, x: -g * y1(x), scalar="y0(x)", **_POSITIVE)
def y0(x):
    """The Bessel function of the second kind and order 0."""
    return _in_double(_y0, x)


@op(x=lambda g, x, y: g * (y0(x) - y / x), scalar="y1(x)", **_POSITIVE)
def y1(x):
    """The Bessel function of the second kind and order 1, minus the derivative of y0."""
    return _in_double(_y1, x)


@op(x=lambda g, x: -g * k1(x), scalar="k0(x)", **_POSITIVE)
def k0(x):
    """The modified Bessel function of the second kind and order 0."""
    return _in_double(_k0, x)


@op(x=lambda g, x, y: -g * (k0(x) + y / x), scalar="k1(x)", **_POSITIVE)
def k1(x):
    """The modified Bessel function of the second kind and order 1, minus the derivative of k0."""
    return _in_double(_k1, x)
