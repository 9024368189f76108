"""Special functions of each number: error, gamma and Bessel functions, and the normal distribution.

They are computed in float64 whatever the dtype, and rounded once: to a few units in the last place
in the tails, too. The series are in series.py.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Array, is_floating, namespace
from ..core import op
from . import series
from .discrete import sign
from .elementwise import divide, equal, exp, where
from .samples import few, same
from .series import polynomial

_map: dict[str, Any] = {"kind": "map", "precision": "single"}
BLOCK = 1 << 13  # of numbers whose intermediate results fit the cache of a core
ROOT_2, ROOT_PI = math.sqrt(2), math.sqrt(math.pi)
ROOT_2_PI, LOG_PI = math.sqrt(2 * math.pi), math.log(math.pi)


def _in_double(f: Callable[..., Array], x: Array, *options: Any) -> Array:
    """f(xp, x, *options) in float64, of large NumPy arrays block by block, in x's dtype."""
    xp, dtype = namespace(x), x.dtype if is_floating(x.dtype) else np.dtype("float64")
    with np.errstate(all="ignore"):  # of branches that are not taken
        if type(x) is not np.ndarray or x.size <= BLOCK:
            return xp.asarray(f(xp, x.astype("float64"), *options)).astype(dtype)
        y, flat = np.empty(x.shape, dtype), x.reshape(-1)
        for i in range(0, x.size, BLOCK):
            part = flat[i : i + BLOCK].astype("float64")
            y.reshape(-1)[i : i + BLOCK] = f(xp, part, *options)
    return y


# --- the error function -------------------------------------------------------------------------


def _bell(xp, a, sign, half):
    """exp(sign * a^2), or its root, exact where a^2 has more digits than a double (Cody 1969)."""
    a = xp.minimum(a, 1e3)
    head = xp.trunc(a * 16) / 16
    scale = sign / 2 if half else sign
    return xp.exp(scale * head * head) * xp.exp(scale * (a - head) * (a + head))


def _erfcx_right(xp, a):
    """exp(a^2) erfc(a) for a >= 0."""
    return polynomial(series.ERFCX, 1 - 7.5 / (a + 3.75)) * 0.5 / (0.5 + a)


def _erf(xp, x):
    a = xp.abs(x)
    inner = x * polynomial(series.ERF, 2 * x * x - 1)
    outer = xp.copysign(1 - _bell(xp, a, -1, False) * _erfcx_right(xp, a), x)
    return xp.where(a < 1, inner, outer)


def _erfc(xp, x):
    a = xp.abs(x)
    tail = _bell(xp, a, -1, False) * _erfcx_right(xp, a)
    return xp.where(a < 0.5, 1 - _erf(xp, x), xp.where(x < 0, 2 - tail, tail))


def _erfcx(xp, x):
    a = xp.abs(x)
    right = _erfcx_right(xp, a)
    return xp.where(x < 0, 2 * _bell(xp, a, 1, False) - right, right)


@op(
    x=lambda g, x: g * (2 / ROOT_PI * exp(-x * x)),
    samples=few(-3, 3),
    extreme=few(-300, 300),
    scalar="erf(x)",
    **_map,
)
def erf(x):
    """2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x."""
    return _in_double(_erf, x)


@op(
    x=lambda g, x: g * (-2 / ROOT_PI * exp(-x * x)),
    samples=few(-3, 3),
    extreme=few(-300, 300),
    scalar="erfc(x)",
    **_map,
)
def erfc(x):
    """1 - erf(x), exact where that is small, too."""
    return _in_double(_erfc, x)


@op(x=lambda g, x, y: g * (2 * x * y - 2 / ROOT_PI), samples=few(-2, 4), scalar="erfcx(x)", **_map)
def erfcx(x):
    """exp(x^2) erfc(x), which does not vanish for large x."""
    return _in_double(_erfcx, x)


# --- the normal distribution --------------------------------------------------------------------


def _ndtr(xp, x):
    a = xp.abs(x)
    tail = 0.5 * _bell(xp, a, -1, True) * _erfcx_right(xp, a / ROOT_2)
    near = 0.5 + 0.5 * _erf(xp, x / ROOT_2)
    return xp.where(a < 0.5, near, xp.where(x < 0, tail, 1 - tail))


def _log_ndtr(xp, x):
    left = xp.minimum(x, 0)
    below = xp.log(0.5 * _erfcx_right(xp, -left / ROOT_2)) - 0.5 * left * left
    above = xp.log1p(-_ndtr(xp, -xp.maximum(x, 0)))
    return xp.where(x < 0, below, above)


def _quantile(xp, q, tail):
    """The normal quantile of 1/2 + q, where `tail` is 1/2 - |q|."""

    def ratio(pair, r):
        return polynomial(pair[0], r) / polynomial(pair[1], r)

    inner = q * ratio(series.CENTRE, 0.180625 - q * q)
    r = xp.sqrt(-xp.log(tail))
    outer = xp.where(r <= 5, ratio(series.TAIL, r - 1.6), ratio(series.FAR_TAIL, r - 5))
    outer = xp.where(tail == 0, math.inf, outer)
    return xp.where(xp.abs(q) <= 0.425, inner, xp.copysign(outer, q))


def _ndtri(xp, p):
    return _quantile(xp, p - 0.5, xp.minimum(p, 1 - p))


def _erfinv(xp, x):
    return _quantile(xp, x / 2, (1 - xp.abs(x)) / 2) / ROOT_2


@op(
    x=lambda g, x: g * (exp(-0.5 * x * x) / ROOT_2_PI),
    samples=few(-3, 3),
    extreme=few(-300, 300),
    scalar="0.5 * erfc(-0.7071067811865476 * x)",
    **_map,
)
def ndtr(x):
    """The distribution function of the normal distribution."""
    return _in_double(_ndtr, x)


@op(
    x=lambda g, x: g * (ROOT_2 / ROOT_PI / erfcx(x * (-1 / ROOT_2))),
    samples=few(-6, 3),
    extreme=few(-300, 300),
    scalar="log_ndtr(x)",
    **_map,
)
def log_ndtr(x):
    """log(ndtr(x)), exact where ndtr vanishes or is 1, too."""
    return _in_double(_log_ndtr, x)


@op(
    x=lambda g, y: g * (ROOT_2_PI * exp(0.5 * y * y)),
    samples=few(0.05, 0.95),
    scalar="ndtri(x)",
    **_map,
)
def ndtri(x):
    """The quantile of the normal distribution, the inverse of ndtr (Wichura 1988)."""
    return _in_double(_ndtri, x)


@op(
    x=lambda g, y: g * (ROOT_PI / 2 * exp(y * y)),
    samples=few(-0.9, 0.9),
    scalar="erfinv(x)",
    **_map,
)
def erfinv(x):
    """The inverse of erf (Wichura 1988)."""
    return _in_double(_erfinv, x)


@op(samples=same(2, -4, 4), kind="map")
def gelu_erf_grad(g, x):
    """Gradient of gelu_erf."""
    return g * (ndtr(x) + x * (exp(-0.5 * x * x) / ROOT_2_PI))


@op(
    x=gelu_erf_grad,
    samples=few(-4, 4),
    extreme=few(-300, 300),
    kind="map",
    scalar="0.5 * x * erfc(-0.7071067811865476 * x)",
)
def gelu_erf(x):
    """Gaussian error linear unit, x ndtr(x) (Hendrycks & Gimpel 2016)."""
    return _in_double(lambda xp, x: xp.maximum(x, -50.0) * _ndtr(xp, x), x)


# --- the gamma function -------------------------------------------------------------------------


def _lgamma(xp, x):
    a = xp.where(x < 0, -x, x)  # for x < 0 by reflection
    y, factor = a, xp.ones_like(a)
    for _ in range(8):  # down to [1, 2]
        above = y > 2
        y = xp.where(above, y - 1, y)
        factor = xp.where(above, factor * y, factor)
    below = y < 0.5
    z = xp.where(below, y + 1, y)
    near = (z - 1) * (z - 2) * polynomial(series.LGAMMA, (4 * z - 5) / 3)
    near = near + xp.log(xp.where(below, 1 / xp.where(y == 0, 1, y), factor))
    r = 1 / xp.maximum(a, 10.0)
    # the terms B_2k / (2 k (2 k - 1)) r^(2 k - 1) of Stirling's series
    stirling = (-3617 / 122400, 1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360)
    far = polynomial((*stirling, 1 / 12), r * r) * r + 0.5 * math.log(2 * math.pi)
    # as a product: for large x a log(a) - a - log(a) / 2 is infinity less infinity
    far = far + (a - 0.5) * (xp.log(a) - 1) - 0.5
    right = xp.where(a < 10, near, far)
    fraction = a - xp.floor(a)
    sine = xp.sin(math.pi * xp.where(fraction > 0.5, 1 - fraction, fraction))
    left = xp.log(math.pi / (a * sine)) - right
    pole = ((x <= 0) & (fraction == 0)) | (a == math.inf)
    return xp.where(pole, math.inf, xp.where(x < 0, left, right))


def _digamma(xp, x):
    a = xp.where(x < 0, 1 - x, x)
    small = a < 1
    y, added = xp.where(small, a + 1, a), xp.where(small, -1 / xp.where(a == 0, 1, a), 0)
    for _ in range(8):
        above = y > 2
        y = xp.where(above, y - 1, y)
        added = xp.where(above, added + 1 / y, added)
    gap = (y - series.DIGAMMA_ZERO[0]) - series.DIGAMMA_ZERO[1]
    near = added + gap * polynomial(series.DIGAMMA, 2 * y - 3)
    r = 1 / xp.maximum(a, 10.0)
    # the terms -B_2k / (2 k) r^(2 k) of the asymptotic series
    terms = (3617 / 8160, -1 / 12, 691 / 32760, -1 / 132, 1 / 240, -1 / 252, 1 / 120, -1 / 12)
    far = xp.log(a) - 0.5 * r + polynomial(terms, r * r) * r * r
    right = xp.where(a < 10, near, far)
    fraction = x - xp.round(x)
    left = right - math.pi / xp.tan(math.pi * xp.where(fraction == 0, math.nan, fraction))
    return xp.where(x == 0, -xp.copysign(math.inf, x), xp.where(x < 0, left, right))


# B_2k / (2 k)!
_BERNOULLI: tuple[float, ...] = (
    1 / 12,
    -1 / 720,
    1 / 30240,
    -1 / 1209600,
    1 / 47900160,
    -691 / 1307674368000,
)
_BERNOULLI += (1 / 74724249600, -3617 / 10670622842880000, 43867 / 5109094217170944000)


def _zeta(xp, q, s):
    """The Euler-Maclaurin formula, with ten terms of the sum itself."""
    inside = xp.where(q > 0, q, 1)
    total = xp.zeros_like(q)
    for k in range(9, -1, -1):
        total = total + (inside + k) ** -s
    w = inside + 10
    last = w**-s
    total = total + last * (w / (s - 1) + 0.5)
    factor = s
    for k, b in enumerate(_BERNOULLI):
        last = last / (w if k == 0 else w * w)
        total = total + b * factor * last
        factor *= (s + 2 * k + 1) * (s + 2 * k + 2)
    outside = xp.where((q == xp.floor(q)) & (q <= 0), math.inf, math.nan)
    return xp.where(q > 0, xp.where(q == math.inf, 0, total), outside)


def _polygamma(xp, x, n):
    right = (-1) ** (n + 1) * math.factorial(n) * _zeta(xp, xp.where(x < 0, 1 - x, x), n + 1)
    cotangent = np.polynomial.Polynomial([0, 1])  # the n-th derivative of cot, in cot
    for _ in range(n):
        cotangent = np.polynomial.Polynomial([-1, 0, -1]) * cotangent.deriv()
    fraction = x - xp.round(x)
    c = 1 / xp.tan(math.pi * xp.where(fraction == 0, 1, fraction))
    turned = polynomial(tuple(cotangent.coef[::-1].tolist()), c) * math.pi ** (n + 1)
    left = xp.where(fraction == 0, math.inf if n % 2 else math.nan, (-1) ** n * right - turned)
    return xp.where(x < 0, left, right)


@op(x=lambda g, x: g * digamma(x), samples=few(0.2, 12), scalar="lgamma(x)", **_map)
def lgamma(x):
    """log(|gamma(x)|)."""
    return _in_double(_lgamma, x)


@op(x=lambda g, x: g * polygamma(x, n=1), samples=few(0.2, 12), scalar="digamma(x)", **_map)
def digamma(x):
    """The derivative of lgamma."""
    return _in_double(_digamma, x)


@op(
    x=lambda g, x, n: g * polygamma(x, n=n + 1),
    samples=few(0.3, 12, {}, {"n": 3}),
    scalar="polygamma(n, x)",
    **_map,
)
def polygamma(x, *, n=1):
    """The n-th derivative of digamma, n >= 1: (-1)^(n+1) n! zeta(n + 1, x)."""
    return _in_double(_polygamma, x, n)


@op(
    q=lambda g, q, s: -s * g * zeta(q, s=s + 1),
    samples=few(0.3, 12, {"s": 2.5}),
    scalar="zeta(s, q)",
    **_map,
)
def zeta(q, *, s):
    """The sum of (q + k)^-s over k >= 0, for s > 1 and q > 0 (Hurwitz)."""
    return _in_double(_zeta, q, s)


# --- Bessel functions ---------------------------------------------------------------------------


def _i0e(xp, x):
    a = xp.abs(x)
    near = polynomial(series.I0_NEAR, xp.minimum(a, 8.0) / 4 - 1)
    b = xp.maximum(a, 8.0)
    return xp.where(a <= 8, near, polynomial(series.I0_FAR, 16 / b - 1) / xp.sqrt(b))


def _i1e(xp, x):
    a = xp.abs(x)
    near = x * polynomial(series.I1_NEAR, xp.minimum(a, 8.0) / 4 - 1)
    b = xp.maximum(a, 8.0)
    far = xp.copysign(polynomial(series.I1_FAR, 16 / b - 1) / xp.sqrt(b), x)
    return xp.where(a <= 8, near, far)


def _by_x(x, y):
    """y / x for y = i1(x), or i1e(x); its limit at 0."""
    at_0 = equal(x, 0)
    return where(at_0, 0.5, divide(y, where(at_0, 1.0, x)))


@op(x=lambda g, x: g * i1(x), samples=few(-9, 9), scalar="i0(x)", **_map)
def i0(x):
    """The modified Bessel function of order 0."""
    return _in_double(lambda xp, x: xp.exp(xp.abs(x)) * _i0e(xp, x), x)


@op(x=lambda g, x, y: g * (i0(x) - _by_x(x, y)), samples=few(-9, 9), scalar="i1(x)", **_map)
def i1(x):
    """The modified Bessel function of order 1, the derivative of i0."""
    return _in_double(lambda xp, x: xp.exp(xp.abs(x)) * _i1e(xp, x), x)


@op(x=lambda g, x, y: g * (i1e(x) - sign(x) * y), samples=few(-9, 9), scalar="i0e(x)", **_map)
def i0e(x):
    """exp(-|x|) i0(x)."""
    return _in_double(_i0e, x)


@op(
    x=lambda g, x, y: g * (i0e(x) - _by_x(x, y) - sign(x) * y),
    samples=few(-9, 9),
    scalar="i1e(x)",
    **_map,
)
def i1e(x):
    """exp(-|x|) i1(x)."""
    return _in_double(_i1e, x)
