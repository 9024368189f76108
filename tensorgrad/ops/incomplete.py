"""The incomplete gamma function, regularised, and its derivatives of any order in both arguments.

Left of a + 1 it is a power series, right of that a continued fraction (Abramowitz & Stegun 6.5.29
and 6.5.31), whose terms are computed together with their Taylor coefficients in a; in float64,
rounded once.
"""

import math

import numpy as np

from ..backend import is_floating, namespace, promoted
from ..core import op
from .elementwise import exp, less, log, power, where
from .samples import Sample, draw
from .series import polynomial
from .special import BLOCK, _digamma, _lgamma, _polygamma, digamma, lgamma, polygamma

_TINY = 1e-300
_STEPS = 16  # between two questions whether all numbers have converged


def _log_density(xp, a, x):
    """a log(x) - x - log(gamma(a)), of large a by Stirling's series, as the parts are large."""
    b = xp.maximum(a, 10.0)
    m, r = (x - b) / b, 1 / (b * b)
    rest = polynomial((-691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12), r)
    logs = xp.where(m < -0.5, xp.log(x / b), xp.log1p(m))
    large = b * (logs - m) - rest / b + 0.5 * xp.log(b / (2 * math.pi))
    return xp.where(a < 10, a * xp.log(x) - x - _lgamma(xp, a), large)


# Taylor coefficients in a, as lists of arrays


def _over(u, v):
    """u / v"""
    found = []
    for j, part in enumerate(u):
        rest = sum([v[i] * found[j - i] for i in range(1, j + 1)])
        found.append((part - rest) / v[0])
    return found


def _times(u, v):
    """u v"""
    return [sum([u[i] * v[j - i] for i in range(j + 1)]) for j in range(len(u))]


def _density(xp, a, x, order):
    """x^a exp(-x) / gamma(a)"""
    slopes = [xp.log(x) - _digamma(xp, a)]
    slopes += [-_polygamma(xp, a, i) / math.factorial(i) for i in range(1, order)]
    found = [xp.exp(_log_density(xp, a, x))]
    for j in range(1, order + 1):
        found.append(sum([slopes[i] * found[j - 1 - i] for i in range(j)]) / j)
    return found


def _shifted(u):
    """u times the variable."""
    return [0.0 * u[0], *u[:-1]]


def _series(xp, a, x, order):
    """The sum of x^n / ((a + 1) ... (a + n))."""
    term = [xp.ones_like(x), *[xp.zeros_like(x)] * order]
    total, n = term, 0
    while True:
        for _ in range(_STEPS):
            n += 1
            divisor = [a + n, *[1.0] * min(order, 1), *[0.0] * (order - 1)]
            term = _over([x * part for part in term], divisor)
            total = [u + v for u, v in zip(total, term, strict=True)]
        left = [xp.abs(v) > 1e-17 * xp.abs(u) for u, v in zip(total, term, strict=True)]
        if not sum(left).any() or n > 1_000_000:
            return total


def _fraction(xp, a, x, order):
    """1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - 2 (2 - a) / ...)), by its convergents p / q."""
    zeros = [xp.zeros_like(x)] * order
    p, q = [xp.ones_like(x), *zeros], [x + 1 - a, *[-xp.ones_like(x)] * min(order, 1), *zeros[1:]]
    before, n, f = ([xp.zeros_like(x), *zeros], [xp.ones_like(x), *zeros]), 0, None
    enough = 100 + 12 * math.sqrt(float(a.max()))  # rounding may keep it from settling
    while True:
        for _ in range(_STEPS):
            n += 1
            b, up, new = x + 2 * n + 1 - a, n * (a - n), []
            for now, last in zip((p, q), before, strict=True):
                lower, lowest = _shifted(now), _shifted(last)
                parts = zip(now, lower, last, lowest, strict=True)
                new.append([b * c - d + up * e + n * h for c, d, e, h in parts])
            scale = 1 / xp.where(xp.abs(new[1][0]) < _TINY, _TINY, new[1][0])
            before = [c * scale for c in p], [c * scale for c in q]
            p, q = [c * scale for c in new[0]], [c * scale for c in new[1]]
        found = _over(p, q)
        if f is None:
            f, going = found, x == x
            continue
        pairs = list(zip(found, f, strict=True))
        f = [xp.where(going, u, v) for u, v in pairs]  # more steps would add rounding errors
        going = going & (sum([xp.abs(u - v) > 1e-14 * xp.abs(u) + _TINY for u, v in pairs]) > 0)
        if not going.any() or n > enough:
            return f


def _computed(a, x, order, lower):
    """The derivative in a of some order of gammainc, or of gammaincc."""
    xp = namespace(a, x)
    dtypes = [v.dtype for v in (a, x) if hasattr(v, "dtype") and is_floating(v.dtype)]
    dtype = promoted(dtypes[0], dtypes[-1]) if dtypes else np.dtype("float64")
    a, x = xp.broadcast_arrays(*[xp.asarray(v).astype("float64") for v in (a, x)])
    shape, a, x = a.shape, a.reshape(-1), x.reshape(-1)
    if not a.size:
        return a.reshape(shape).astype(dtype)
    if a.size > BLOCK and xp is np:
        rows = [slice(i, i + BLOCK) for i in range(0, a.size, BLOCK)]
        parts = [_computed(a[i], x[i], order, lower) for i in rows]
        return np.concatenate(parts).reshape(shape).astype(dtype)
    with np.errstate(all="ignore"):
        inside = (a > 0) & (x > 0) & (a < math.inf) & (x < math.inf)
        a_, x_ = xp.where(inside, a, 1.0), xp.where(inside, x, 1.0)
        left, weight = x_ < a_ + 1, _density(xp, a_, x_, order)
        total = _series(xp, a_, xp.where(left, x_, a_ / 8), order)
        divisor = [a_, *[1.0] * min(order, 1), *[0.0] * (order - 1)]
        below = _over(_times(weight, total), divisor)[order]
        rest = _fraction(xp, a_, xp.where(left, 4 * a_ + 20, x_), order)
        above, one = _times(weight, rest)[order], 1.0 if order == 0 else 0.0
        y = xp.where(left, below, one - above) if lower else xp.where(left, one - below, above)
        high = ((a == 0) & (x > 0)) | ((x == math.inf) & (a < math.inf) & (a >= 0))
        low = ((a > 0) & (x == 0)) | ((a == math.inf) & (x >= 0) & (x < math.inf))
        edge = xp.where(high == lower, one, 0.0)
        y = xp.where(inside, y * math.factorial(order), xp.where(high | low, edge, xp.nan))
    return y.reshape(shape).astype(dtype)


# --- ops ----------------------------------------------------------------------------------------


def _density_grad(a, x, order):
    """The derivative in a, of some order, of x^(a - 1) exp(-x) / gamma(a)."""
    inner = (x > 0) & (x < math.inf)
    some, rest = where(inner, x, 1.0), where(x > 0, 1.0, where(x < 0, math.nan, x))
    edge = where(x == math.inf, 0.0, power(rest, a - 1) * exp(-1.0 * rest - lgamma(a)))
    found = [where(inner, exp((a - 1) * log(some) - some - lgamma(a)), edge)]
    logs = log(where(inner | (a > 1), some, x))
    slopes = [logs - digamma(a), *[-1.0 * polygamma(a, n=i) for i in range(1, order)]]
    for j in range(1, order + 1):
        terms = [math.comb(j - 1, i) * slopes[i] * found[j - 1 - i] for i in range(j)]
        found.append(sum(terms[1:], terms[0]))
    return found[order]


def _pairs(**params):
    def build():
        a = np.array([0.3, 2.5, 12.0])
        x = np.array([0.2, 15.0, 4.0])
        return [
            Sample((a, x), params),
            Sample((draw((2, 1), 1, 3), draw((), 9, 12)), params),
            Sample((draw((0,), 0.5, 6), draw((), 0.2, 9)), params),
        ]

    return build


@op(
    a=lambda g, a, x, order: g * gammainc_grad(a, x, order=order + 1),
    x=lambda g, a, x, order: g * _density_grad(a, x, order),
    samples=_pairs(order=1),
    kind="map",
)
def gammainc_grad(a, x, *, order):
    """The derivative of gammainc in a, of an order of 1 or more."""
    return _computed(a, x, order, True)


@op(
    a=lambda g, a, x: g * gammainc_grad(a, x, order=1),
    x=lambda g, a, x: g * _density_grad(a, x, 0),
    samples=_pairs(),
    kind="map",
    precision="single",
)
def gammainc(a, x):
    """The integral of t^(a - 1) exp(-t) from 0 to x, divided by gamma(a)."""
    return _computed(a, x, 0, True)


@op(
    a=lambda g, a, x: -g * gammainc_grad(a, x, order=1),
    x=lambda g, a, x: -g * _density_grad(a, x, 0),
    samples=_pairs(),
    kind="map",
    precision="single",
)
def gammaincc(a, x):
    """1 - gammainc(a, x), exact where that is small, too."""
    return _computed(a, x, 0, False)


# --- gradients of samples -------------------------------------------------------------------------


def _quantiles():
    a = np.array([0.3, 2.5, 40.0])
    return [Sample((a, np.log(np.array([0.2, 2.0, 38.0])))), Sample((a[:0], a[:0]))]


@op(samples=lambda: [Sample((draw(s.args[0].shape), *s.args)) for s in _quantiles()])
def gamma_path_grad(g, a, logs):
    """g times d logs / d a along a quantile of the gamma distribution, by the implicit function
    theorem: minus the derivative of the distribution function in a over its density."""
    a_, logs_ = a.astype("float64"), logs.astype("float64")
    tiny = less(logs_, -500.0)  # where the number itself may be 0
    inside = where(tiny, 0.0, logs_)
    x = exp(inside)
    slope = gammainc_grad(a_, x, order=1) * exp(lgamma(a_) + x - a_ * inside)
    small = (logs_ - digamma(a_ + 1)) / a_
    return g * (where(tiny, small, slope) * -1.0).astype(a.dtype)


@op(a=gamma_path_grad, samples=_quantiles)
def gamma_path(a, logs):
    """Logarithms of gamma variates of shape a, drawn before: themselves, with the gradient that a
    quantile has (Figurnov et al. 2018). None reaches them as an input."""
    return logs
