"""Special functions of each number: error, gamma and Bessel functions, the normal distribution.

The result has the shape and dtype of x; integers become the default float. Whatever the dtype, they
are exact to a few units in its last place, also where they are tiny, and may be differentiated
again and again. The names are SciPy's and PyTorch's.
"""

from __future__ import annotations

import math

from ..core import Tensor
from ..ops import bessel, incomplete
from ..ops import special as ops
from ..settings import gate
from ..typing import AboveOne, ArrayLike, Count, Natural
from .activation import sigmoid
from .inputs import alike, as_tensor, both, floating, operands

__all__ = [
    "betaln",
    "digamma",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "expit",
    "gammainc",
    "gammaincc",
    "gammaln",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "j0",
    "j1",
    "k0",
    "k1",
    "lgamma",
    "log_ndtr",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "psi",
    "y0",
    "y1",
    "zeta",
]

# --- the error function -------------------------------------------------------------------------


def erf(x: ArrayLike) -> Tensor:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t^2) from 0 to x.

    >>> erf([0.0, 1.0, 100.0]).numpy().round(4)
    array([0.    , 0.8427, 1.    ], dtype=float32)
    """
    return ops.erf.call(as_tensor(x))


def erfc(x: ArrayLike) -> Tensor:
    """1 - erf(x), exact for large x, too, where it is tiny.

    >>> f"{erfc(5.0).item():.4g}"
    '1.537e-12'
    """
    return ops.erfc.call(as_tensor(x))


def erfcx(x: ArrayLike) -> Tensor:
    """exp(x^2) erfc(x), which falls off like 1 / (sqrt(pi) x), where erfc vanishes.

    >>> erfcx([0.0, 1000.0]).numpy().round(7)
    array([1.000e+00, 5.642e-04], dtype=float32)
    """
    return ops.erfcx.call(as_tensor(x))


def erfinv(x: ArrayLike) -> Tensor:
    """The inverse of `erf` (Wichura 1988); infinite at -1 and 1, NaN beyond.

    The gradient is sqrt(pi) / 2 exp(erfinv(x)^2).

    >>> erfinv([0.0, 0.5, 1.0]).numpy().round(4)
    array([0.    , 0.4769,    inf], dtype=float32)
    """
    return ops.erfinv.call(as_tensor(x))


# --- the normal distribution --------------------------------------------------------------------


def ndtr(x: ArrayLike) -> Tensor:
    """The distribution function of the standard normal distribution, erfc(-x / sqrt(2)) / 2.

    >>> ndtr([-1.96, 0.0]).numpy().round(4)
    array([0.025, 0.5  ], dtype=float32)
    """
    return ops.ndtr.call(as_tensor(x))


def log_ndtr(x: ArrayLike) -> Tensor:
    """log(ndtr(x)), exact where ndtr is tiny or nearly 1.

    >>> log_ndtr([-20.0, 0.0]).numpy().round(3)
    array([-203.917,   -0.693], dtype=float32)
    """
    return ops.log_ndtr.call(as_tensor(x))


def ndtri(x: ArrayLike) -> Tensor:
    """The quantile of the standard normal distribution, the inverse of `ndtr` (Wichura 1988);
    infinite at 0 and 1, NaN outside.

    >>> ndtri([0.5, 0.975]).numpy().round(3)
    array([0.  , 1.96], dtype=float32)
    """
    return ops.ndtri.call(as_tensor(x))


def expit(x: ArrayLike) -> Tensor:
    """The logistic function 1 / (1 + exp(-x)): `sigmoid`, under SciPy's name.

    >>> expit([0.0]).tolist()
    [0.5]
    """
    return sigmoid(x)


# --- the gamma function -------------------------------------------------------------------------


def lgamma(x: ArrayLike) -> Tensor:
    """log(|gamma(x)|); infinite at 0 and negative whole numbers. Also `gammaln`.

    The gradient is `digamma`.

    >>> lgamma([1.0, 5.0]).numpy().round(4)
    array([0.    , 3.1781], dtype=float32)
    """
    return ops.lgamma.call(as_tensor(x))


def digamma(x: ArrayLike) -> Tensor:
    """The derivative of `lgamma`, infinite at 0 and NaN at negative whole numbers. Also `psi`.

    The gradient is `polygamma(1, x)`.

    >>> digamma([1.0, 2.0]).numpy().round(4)
    array([-0.5772,  0.4228], dtype=float32)
    """
    return ops.digamma.call(as_tensor(x))


@gate
def polygamma(n: Natural, x: ArrayLike) -> Tensor:
    """The n-th derivative of `digamma`: (-1)^(n + 1) n! zeta(n + 1, x); digamma itself for n = 0.

    Args:
        n: the order, >= 0.
        x: any shape.
    Raises: ArgumentError if n is negative or no whole number.

    >>> polygamma(1, [1.0]).numpy().round(4)
    array([1.6449], dtype=float32)
    """
    return ops.polygamma.call(as_tensor(x), n=n) if n else digamma(x)


@gate
def zeta(s: AboveOne, q: ArrayLike = 1.0) -> Tensor:
    """The sum of (q + k)^-s over k >= 0 (Hurwitz; Riemann's for q = 1).

    Args:
        s: a plain number above 1.
        q: any shape, above 0; infinity at 0 and negative whole numbers, and NaN between these.
    Raises: ArgumentError for another s.

    >>> f"{zeta(2.0).item():.4f}"
    '1.6449'
    """
    return ops.zeta.call(as_tensor(q), s=s)


def betaln(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The logarithm of the beta function, lgamma(a) + lgamma(b) - lgamma(a + b).

    >>> betaln([1.0, 2.0], 3.0).numpy().round(4)
    array([-1.0986, -2.4849], dtype=float32)
    """
    u, v = [as_tensor(x) for x in operands(a, b)]
    return lgamma(u) + lgamma(v) - lgamma(u + v)


@gate
def multigammaln(x: ArrayLike, p: Count) -> Tensor:
    """The logarithm of the multivariate gamma function of p dimensions:
    p (p - 1) / 4 log(pi) + the sum of lgamma(x - j / 2) over j < p.

    Args:
        x: any shape, above (p - 1) / 2.
        p: how many dimensions, 1 or more.
    Raises: ArgumentError for another p.

    >>> multigammaln([3.0], 2).numpy().round(4)
    array([1.5502], dtype=float32)
    """
    u: Tensor = floating(as_tensor(x))
    total = lgamma(u)
    for j in range(1, p):
        total = total + lgamma(u - 0.5 * j)
    return total + 0.25 * p * (p - 1) * math.log(math.pi)


def gammainc(a: ArrayLike, x: ArrayLike) -> Tensor:
    """The lower incomplete gamma function, regularised: the integral of t^(a - 1) exp(-t) from 0 to
    x, divided by gamma(a). It is the distribution function of gamma variates.

    Args:
        a, x: a >= 0 and x >= 0, of shapes that broadcast; NaN for others.
    Gradients of any order reach both.

    >>> gammainc([1.0, 2.0], 1.0).numpy().round(4)
    array([0.6321, 0.2642], dtype=float32)
    """
    return incomplete.gammainc.call(*alike(*both(a, x)))


def gammaincc(a: ArrayLike, x: ArrayLike) -> Tensor:
    """1 - gammainc(a, x), exact for large x, too, where it is tiny.

    >>> f"{gammaincc(2.0, 50.0).item():.4g}"
    '9.837e-21'
    """
    return incomplete.gammaincc.call(*alike(*both(a, x)))


# --- Bessel functions ---------------------------------------------------------------------------


def i0(x: ArrayLike) -> Tensor:
    """The modified Bessel function of order 0; its gradient is `i1`.

    >>> i0([0.0, 1.0]).numpy().round(4)
    array([1.    , 1.2661], dtype=float32)
    """
    return ops.i0.call(as_tensor(x))


def i0e(x: ArrayLike) -> Tensor:
    """exp(-|x|) i0(x), which does not overflow.

    >>> i0e([0.0, 1.0]).numpy().round(4)
    array([1.    , 0.4658], dtype=float32)
    """
    return ops.i0e.call(as_tensor(x))


def i1(x: ArrayLike) -> Tensor:
    """The modified Bessel function of order 1; its gradient is i0(x) - i1(x) / x.

    >>> i1([0.0, 1.0]).numpy().round(4)
    array([0.    , 0.5652], dtype=float32)
    """
    return ops.i1.call(as_tensor(x))


def i1e(x: ArrayLike) -> Tensor:
    """exp(-|x|) i1(x), which does not overflow.

    >>> i1e([0.0, 1.0]).numpy().round(4)
    array([0.    , 0.2079], dtype=float32)
    """
    return ops.i1e.call(as_tensor(x))


def j0(x: ArrayLike) -> Tensor:
    """The Bessel function of the first kind and order 0; its gradient is -j1.

    >>> j0([0.0, 10.0]).numpy().round(4)
    array([ 1.    , -0.2459], dtype=float32)
    """
    return bessel.j0.call(as_tensor(x))


def j1(x: ArrayLike) -> Tensor:
    """The Bessel function of the first kind and order 1; its gradient is j0(x) - j1(x) / x.

    >>> j1([0.0, 10.0]).numpy().round(4)
    array([0.    , 0.0435], dtype=float32)
    """
    return bessel.j1.call(as_tensor(x))


def k0(x: ArrayLike) -> Tensor:
    """The modified Bessel function of the second kind and order 0, for x > 0: infinite at 0, NaN
    below. Its gradient is -k1.

    >>> k0([1.0, 10.0]).numpy().round(4)
    array([0.421, 0.   ], dtype=float32)
    """
    return bessel.k0.call(as_tensor(x))


def k1(x: ArrayLike) -> Tensor:
    """The modified Bessel function of the second kind and order 1, for x > 0: infinite at 0, NaN
    below. Its gradient is -k0(x) - k1(x) / x.

    >>> k1([1.0, 10.0]).numpy().round(4)
    array([0.6019, 0.    ], dtype=float32)
    """
    return bessel.k1.call(as_tensor(x))


def y0(x: ArrayLike) -> Tensor:
    """The Bessel function of the second kind and order 0, for x > 0: -infinity at 0, NaN below. Its
    gradient is -y1.

    >>> y0([1.0, 10.0]).numpy().round(4)
    array([0.0883, 0.0557], dtype=float32)
    """
    return bessel.y0.call(as_tensor(x))


def y1(x: ArrayLike) -> Tensor:
    """The Bessel function of the second kind and order 1, for x > 0: -infinity at 0, NaN below. Its
    gradient is y0(x) - y1(x) / x.

    >>> y1([1.0, 10.0]).numpy().round(4)
    array([-0.7812,  0.249 ], dtype=float32)
    """
    return bessel.y1.call(as_tensor(x))


gammaln, psi = lgamma, digamma
