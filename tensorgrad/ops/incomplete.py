"""The incomplete gamma function, regularised, and its derivative in both arguments.

Left of a + 1 by its power series, right of it by a continued fraction (Abramowitz & Stegun 6.5.29
and 6.5.31), term by term together with their derivatives in a. Computed in float64 and rounded once.
"""

import math
from typing import Any

import numpy as np

from ..backend import is_floating, namespace, promoted
from ..core import op
from ..errors import GraphError
from .elementwise import exp, log, where
from .samples import Sample, draw
from .special import _digamma, _lgamma, digamma, lgamma

_TINY = 1e-300
_STEPS = 16  # between two questions whether all numbers have converged


def _log_density(xp, a, x):
    """a log(x) - x - log(gamma(a)), of large a by Stirling's series: the parts would be large."""
    b = xp.maximum(a, 10.0)
    m = (x - b) / b
    r = 1 / (b * b)
    rest = ((-1 / 1680 * r + 1 / 1260) * r - 1 / 360) * r + 1 / 12
    large = b * (xp.log1p(m) - m) - rest / b + 0.5 * xp.log(b / (2 * math.pi))
    return xp.where(a < 10, a * xp.log(x) - x - _lgamma(xp, a), large)


def _series(xp, a, x):
    """The sum of x^n / ((a + 1) ... (a + n)) and its derivative in a."""
    term, slope = xp.ones_like(x), xp.zeros_like(x)
    total, slopes, n = term, slope, 0
    while True:
        for _ in range(_STEPS):
            n += 1
            term = term * (x / (a + n))
            slope = slope * (x / (a + n)) - term / (a + n)
            total, slopes = total + term, slopes + slope
        small = (term <= 1e-17 * total) & (xp.abs(slope) <= 1e-17 * xp.abs(slopes))
        if (small | (x != x)).all():
            return total, slopes


def _fraction(xp, a, x):
    """The continued fraction 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)) and its derivative."""
    p, dp, q, dq = xp.ones_like(x), xp.zeros_like(x), x + 1 - a, -xp.ones_like(x)
    p0, dp0, q0, dq0 = [xp.zeros_like(x), xp.zeros_like(x), xp.ones_like(x), xp.zeros_like(x)]
    f, df, n = p / q, dp, 0
    while True:
        for _ in range(_STEPS):
            n += 1
            up, b = n * (a - n), x + 2 * n + 1 - a
            new = [
                b * p + up * p0,
                b * dp - p + up * dp0 + n * p0,
                b * q + up * q0,
                b * dq - q + up * dq0 + n * q0,
            ]
            scale = 1 / xp.where(xp.abs(new[2]) < _TINY, _TINY, new[2])
            p0, dp0, q0, dq0 = [v * scale for v in (p, dp, q, dq)]
            p, dp, q, dq = [v * scale for v in new]
        before, slope = f, df
        f = p
        df = dp - f * dq
        same = xp.abs(f - before) <= 1e-16 * xp.abs(f)
        same = same & (xp.abs(df - slope) <= 1e-15 * xp.abs(df) + _TINY)
        if (same | (f != f)).all() or n > 100_000:
            return f, df


def _parts(a, x, what):
    """gammainc, gammaincc or the former's derivative in a."""
    xp = namespace(a, x)
    dtypes = [v.dtype for v in (a, x) if hasattr(v, "dtype") and is_floating(v.dtype)]
    dtype = promoted(dtypes[0], dtypes[-1]) if dtypes else np.dtype("float64")
    a, x = xp.broadcast_arrays(*[xp.asarray(v).astype("float64") for v in (a, x)])
    shape, a, x = a.shape, a.reshape(-1), x.reshape(-1)
    with np.errstate(all="ignore"):
        inside = (a > 0) & (x > 0) & (a < math.inf) & (x < math.inf)
        a_, x_ = xp.where(inside, a, 1.0), xp.where(inside, x, 1.0)
        left = x_ < a_ + 1
        density = _log_density(xp, a_, x_)  # of the density times x
        total, slopes = _series(xp, a_, xp.where(left, x_, a_ / 2))
        rest, falls = _fraction(xp, a_, xp.where(left, a_ + 2, x_))
        weight = xp.exp(density)
        if what == "derivative":
            slope = xp.log(x_) - _digamma(xp, a_)
            below = weight / a_ * ((slope - 1 / a_) * total + slopes)
            y = xp.where(left, below, -weight * (slope * rest + falls))
            y = xp.where(inside, y, xp.where((a >= 0) & (x >= 0), 0.0, xp.nan))
        else:
            below, above = weight / a_ * total, weight * rest
            lower = what == "lower"
            y = xp.where(left, below, 1 - above) if lower else xp.where(left, 1 - below, above)
            high = ((a == 0) & (x > 0)) | ((x == math.inf) & (a < math.inf) & (a >= 0))
            low = ((a > 0) & (x == 0)) | ((a == math.inf) & (x >= 0) & (x < math.inf))
            edge = xp.where(high, 1.0, xp.where(low, 0.0, xp.nan))
            y = xp.where(inside, y, edge if lower else 1 - edge)
    return y.reshape(shape).astype(dtype)


def _density(a, x):
    """The density of the gamma distribution, x^(a - 1) exp(-x) / gamma(a)."""
    some = where(x > 0, x, 1.0)
    return where(x > 0, exp((a - 1) * log(some) - some - lgamma(a)), 0.0)


def _no_second(g, a):
    raise GraphError(
        "the incomplete gamma function has no second derivative in a here; detach a, or take "
        "differences of its first one"
    )


def _pairs():
    a = np.array([0.3, 1.0, 2.5, 7.0, 40.0, 12.0])
    x = np.array([0.7, 0.4, 4.0, 6.0, 35.0, 20.0])
    return [
        Sample((a, x)),
        Sample((draw((2, 1), 0.5, 6), draw((3,), 0.2, 9))),
        Sample((draw((3,), 0.5, 6), 2.0)),
        Sample((draw((0,), 0.5, 6), draw((), 0.2, 9))),
    ]


_facts: dict[str, Any] = {"samples": _pairs, "kind": "map", "precision": "single"}


@op(
    a=_no_second,
    x=lambda g, a, x: g * _density(a, x) * (log(x) - digamma(a)),
    **_facts,
)
def gammainc_grad(a, x):
    """The derivative of gammainc in a."""
    return _parts(a, x, "derivative")


@op(
    a=lambda g, a, x: g * gammainc_grad(a, x),
    x=lambda g, a, x: g * _density(a, x),
    **_facts,
)
def gammainc(a, x):
    """The integral of t^(a - 1) exp(-t) from 0 to x, divided by gamma(a)."""
    return _parts(a, x, "lower")


@op(
    a=lambda g, a, x: -g * gammainc_grad(a, x),
    x=lambda g, a, x: -g * _density(a, x),
    **_facts,
)
def gammaincc(a, x):
    """1 - gammainc(a, x), exact where that is small, too."""
    return _parts(a, x, "upper")
