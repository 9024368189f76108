"""Elementary functions of each number: trigonometric, hyperbolic, their inverses, roots, powers and
logarithms in other bases."""

import math
from typing import Any

from ..backend import namespace, zero_and_one
from ..core import op
from .discrete import isinf, logical_and
from .elementwise import cos, equal, log, sigmoid, sin, sqrt, where
from .samples import few, few_pairs

_map: dict[str, Any] = {"kind": "map"}
_single: dict[str, Any] = {"kind": "map", "precision": "single"}  # as autocast takes exp and log
LN_2, LN_10 = math.log(2), math.log(10)

# --- trigonometric ------------------------------------------------------------------------------


@op(
    x=lambda g, y: g * (1 + y * y), samples=few(-1.4, 1.4), scalar="tan(x)", **_single, complex=True
)
def tan(x):
    """Tangent of x in radians."""
    return namespace(x).tan(x)


@op(
    x=lambda g, x: g / sqrt((1 - x) * (1 + x)),
    samples=few(-0.9, 0.9),
    scalar="arcsin(x)",
    **_single,
    complex=True,
)
def arcsin(x):
    """The angle in [-pi/2, pi/2] whose sine is x."""
    return namespace(x).arcsin(x)


@op(
    x=lambda g, x: -g / sqrt((1 - x) * (1 + x)),
    samples=few(-0.9, 0.9),
    scalar="arccos(x)",
    **_single,
    complex=True,
)
def arccos(x):
    """The angle in [0, pi] whose cosine is x."""
    return namespace(x).arccos(x)


@op(x=lambda g, x: g / (1 + x * x), samples=few(), scalar="arctan(x)", **_map, complex=True)
def arctan(x):
    """The angle in (-pi/2, pi/2) whose tangent is x."""
    return namespace(x).arctan(x)


def _across(g, other, a, b):
    """g * other / (a^2 + b^2), in which nothing overflows; 0 at the origin, which has no angle."""
    h = hypot(a, b)
    h = where(equal(h, 0), math.inf, h)
    return g * (other / h) / h


@op(
    a=lambda g, a, b: _across(g, b, a, b),
    b=lambda g, a, b: -_across(g, a, a, b),
    samples=few_pairs(0.3, 2),
    scalar="arctan2(a, b)",
    **_map,
)
def arctan2(a, b):
    """The angle of the point (b, a) from the first axis, in [-pi, pi]."""
    return namespace(a, b).arctan2(a, b)


def _sine(t, order):
    """The derivative of sin of that order."""
    f = (sin, cos, sin, cos)[order % 4](t)
    return -f if order % 4 > 1 else f


def _sinc(x, order):
    """A derivative of sinc. With t = pi x, f = sin(t) / t fulfils t f' + f = cos(t), so that
    f^(n) = (sin^(n)(t) - n f^(n-1)) / t away from 0; near it that cancels, and f's power series is
    summed."""
    xp, t, (zero, one) = namespace(x), x * math.pi, zero_and_one(x)
    near = xp.abs(t) < 1 + order
    far = xp.where(near, one, t)
    f = xp.sin(far) / far
    for n in range(1, order + 1):
        f = (_sine(far, n) - n * f) / far
    small, series = xp.where(near, t, zero), xp.zeros_like(t)
    first = (order + 1) // 2
    for k in range(first + 11 + 2 * order, first - 1, -1):  # Horner's rule for t^(2 k - order)
        series = series * (small * small) + (-1) ** k / (2 * k + 1) / math.factorial(2 * k - order)
    series = series * small if order % 2 else series
    return xp.where(near, series, f) * math.pi**order


@op(
    x=lambda g, x, order: g * sinc_grad(x, order=order + 1),
    samples=few(-3, 3, {}, {"order": 2}),
    **_map,
)
def sinc_grad(x, *, order=1):
    """The derivative of sinc of some order, exact near 0, too."""
    return _sinc(x, order)


@op(
    x=lambda g, x: g * sinc_grad(x, order=1),
    samples=few(-3, 3),
    scalar="where(x == 0, 1, sin(3.141592653589793 * x)) / where(x == 0, 1, 3.141592653589793 * x)",
    **_map,
)
def sinc(x):
    """sin(pi x) / (pi x), 1 at 0."""
    return _sinc(x, 0)


# --- hyperbolic ---------------------------------------------------------------------------------


@op(x=lambda g, x: g * cosh(x), samples=few(), scalar="sinh(x)", **_single, complex=True)
def sinh(x):
    """Hyperbolic sine."""
    return namespace(x).sinh(x)


@op(x=lambda g, x: g * sinh(x), samples=few(), scalar="cosh(x)", **_single, complex=True)
def cosh(x):
    """Hyperbolic cosine."""
    return namespace(x).cosh(x)


@op(
    x=lambda g, x: g / (sqrt(1 + x * x) if x.dtype.kind == "c" else hypot(x, 1.0)),
    samples=few(),
    scalar="arcsinh(x)",
    complex=True,
    **_map,
)
def arcsinh(x):
    """The number whose hyperbolic sine is x."""
    return namespace(x).arcsinh(x)


@op(
    x=lambda g, x: g / (sqrt(x - 1) * sqrt(x + 1)),
    samples=few(1.2, 4),
    scalar="arccosh(x)",
    **_single,
    complex=True,
)
def arccosh(x):
    """The number >= 0 whose hyperbolic cosine is x."""
    return namespace(x).arccosh(x)


@op(
    x=lambda g, x: g / ((1 - x) * (1 + x)),
    samples=few(-0.8, 0.8),
    scalar="arctanh(x)",
    **_map,
    complex=True,
)
def arctanh(x):
    """The number whose hyperbolic tangent is x."""
    return namespace(x).arctanh(x)


# --- roots, powers and logarithms ---------------------------------------------------------------


@op(x=lambda g, y: g / (3 * y * y), samples=few(0.1, 4), scalar="cbrt(x)", **_map)
def cbrt(x):
    """The cube root, of negative numbers, too."""
    return namespace(x).cbrt(x)


@op(x=lambda g, y: -g * y * y, samples=few(0.5, 3), scalar="1 / x", **_single, complex=True)
def reciprocal(x):
    """1 / x."""
    return 1 / x


@op(
    x=lambda g, x, y: g * (-0.5 * y / x),
    samples=few(0.2, 4),
    scalar="1 / sqrt(x)",
    **_single,
    complex=True,
)
def rsqrt(x):
    """1 / sqrt(x)."""
    return 1 / namespace(x).sqrt(x)


@op(x=lambda g, y: g * (LN_2 * y), samples=few(), scalar="exp2(x)", **_single, complex=True)
def exp2(x):
    """2 to the power x."""
    return namespace(x).exp2(x)


@op(x=lambda g, x: g / (LN_2 * x), samples=few(0.1, 4), scalar="log2(x)", **_single, complex=True)
def log2(x):
    """The logarithm to base 2."""
    return namespace(x).log2(x)


@op(x=lambda g, x: g / (LN_10 * x), samples=few(0.1, 4), scalar="log10(x)", **_single, complex=True)
def log10(x):
    """The logarithm to base 10."""
    return namespace(x).log10(x)


def _cosine(g, x, y):
    """g x / y for y = hypot(x, ...); 0 at the origin."""
    return g * (x / where(equal(y, 0), math.inf, y))


@op(
    a=lambda g, a, y: _cosine(g, a, y),
    b=lambda g, b, y: _cosine(g, b, y),
    samples=few_pairs(0.3, 2),
    scalar="hypot(a, b)",
    **_map,
)
def hypot(a, b):
    """sqrt(a^2 + b^2), in which nothing overflows. Its gradient at (0, 0) is 0."""
    return namespace(a, b).hypot(a, b)


def _gap(a, b):
    """a - b; 0 for two infinities of one sign."""
    return where(logical_and(equal(a, b), isinf(a)), 0.0, a - b)


@op(
    a=lambda g, a, b: g * sigmoid(_gap(a, b)),
    b=lambda g, a, b: g * sigmoid(_gap(b, a)),
    samples=few_pairs(),
    scalar="maximum(a, b) + log1p(exp(-abs(a - b)))",
    **_single,
)
def logaddexp(a, b):
    """log(exp(a) + exp(b)), in which nothing overflows."""
    return namespace(a, b).logaddexp(a, b)


@op(
    a=lambda g, a, b: g * sigmoid(LN_2 * _gap(a, b)),
    b=lambda g, a, b: g * sigmoid(LN_2 * _gap(b, a)),
    samples=few_pairs(),
    scalar="maximum(a, b) + log1p(exp2(-abs(a - b))) * 1.4426950408889634",
    **_single,
)
def logaddexp2(a, b):
    """log2(2^a + 2^b), in which nothing overflows."""
    return namespace(a, b).logaddexp2(a, b)


# --- of probabilities ---------------------------------------------------------------------------


@op(
    x=lambda g, x: -g * (log(x) + 1),
    samples=few(0.1, 2),
    scalar="where(x < 0, log(0 * x), -x * log(where(x > 0, x, 1)))",
    **_single,
)
def entr(x):
    """-x log(x), the summand of an entropy: 0 at 0, -infinity below."""
    xp = namespace(x)
    return xp.where(x < 0, -math.inf, x * -xp.log(xp.where(x > 0, x, zero_and_one(x)[1])))


@op(
    x=lambda g, x: g / (x * (1 - x)),
    samples=few(0.05, 0.95),
    scalar="where(abs(x - 0.5) < 0.25, 2 * arctanh(2 * x - 1), log(x / (1 - x)))",
    **_single,
)
def logit(x):
    """log(x / (1 - x)), the inverse of sigmoid; near 1/2 as 2 artanh(2 x - 1), which is exact."""
    xp, (_, one) = namespace(x), zero_and_one(x)
    centred = 2 * x - one
    middle = xp.abs(centred) < 0.5
    inner = 2 * xp.arctanh(xp.where(middle, centred, 0 * one))
    return xp.where(middle, inner, xp.log(x / (one - x)))
