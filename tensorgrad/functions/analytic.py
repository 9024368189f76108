"""Elementary functions of each number: trigonometric, hyperbolic, roots, powers and logarithms.

Integers become the default float. Of two inputs the shapes broadcast as in NumPy.
"""

from __future__ import annotations

import math

from ..core import Tensor
from ..ops import analytic as ops
from ..settings import gate
from ..typing import ArrayLike
from .elementwise import clip, log, log1p, power, where
from .inputs import as_tensor, floating, operands
from .logic import equal, less_equal, logical_and, logical_or

__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "cosh",
    "deg2rad",
    "degrees",
    "entr",
    "exp2",
    "float_power",
    "hypot",
    "log2",
    "log10",
    "logaddexp",
    "logaddexp2",
    "logit",
    "rad2deg",
    "radians",
    "reciprocal",
    "rsqrt",
    "sinc",
    "sinh",
    "tan",
    "xlog1py",
    "xlogy",
]

# --- trigonometric --------------------------------------------------------------------------------


def tan(x: ArrayLike) -> Tensor:
    """The tangent of x in radians. The gradient is 1 + tan(x)^2.

    >>> tan([0.0, math.pi]).numpy().round(5).tolist()
    [0.0, 0.0]
    """
    return ops.tan.call(as_tensor(x))


def arcsin(x: ArrayLike) -> Tensor:
    """The angle in [-pi/2, pi/2] whose sine is x; NaN outside of [-1, 1]. Also `asin`.

    The gradient 1 / sqrt(1 - x^2) is infinite at -1 and 1.

    >>> arcsin([0.0, 1.0]).numpy().round(4)
    array([0.    , 1.5708], dtype=float32)
    """
    return ops.arcsin.call(as_tensor(x))


def arccos(x: ArrayLike) -> Tensor:
    """The angle in [0, pi] whose cosine is x; NaN outside of [-1, 1]. Also `acos`.

    The gradient -1 / sqrt(1 - x^2) is infinite at -1 and 1.

    >>> arccos([1.0, 0.0]).numpy().round(4)
    array([0.    , 1.5708], dtype=float32)
    """
    return ops.arccos.call(as_tensor(x))


def arctan(x: ArrayLike) -> Tensor:
    """The angle in (-pi/2, pi/2) whose tangent is x. Also `atan`. The gradient is 1 / (1 + x^2).

    >>> arctan([0.0, math.inf]).numpy().round(4)
    array([0.    , 1.5708], dtype=float32)
    """
    return ops.arctan.call(as_tensor(x))


def arctan2(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The angle of the point (b, a) from the first axis, in [-pi, pi]: arctan(a / b) and its
    quadrant. Also `atan2`.

    The gradients are b / (a^2 + b^2) and -a / (a^2 + b^2), and NaN at (0, 0).

    >>> arctan2([1.0, 0.0], [0.0, -1.0]).numpy().round(4)
    array([1.5708, 3.1416], dtype=float32)
    """
    return ops.arctan2.call(*operands(a, b))


def sinc(x: ArrayLike) -> Tensor:
    """sin(pi x) / (pi x), and 1 at 0: the normalised sinc. All its derivatives are exact near 0.

    >>> sinc([0.0, 0.5, 1.0]).numpy().round(4) + 0.0
    array([1.    , 0.6366, 0.    ], dtype=float32)
    """
    return ops.sinc.call(as_tensor(x))


def deg2rad(x: ArrayLike) -> Tensor:
    """Degrees to radians, x pi / 180. Also `radians`.

    >>> deg2rad([180.0]).numpy().round(4)
    array([3.1416], dtype=float32)
    """
    return as_tensor(x) * (math.pi / 180)


def rad2deg(x: ArrayLike) -> Tensor:
    """Radians to degrees, x 180 / pi. Also `degrees`.

    >>> rad2deg([math.pi]).tolist()
    [180.0]
    """
    return as_tensor(x) * (180 / math.pi)


# --- hyperbolic -----------------------------------------------------------------------------------


def sinh(x: ArrayLike) -> Tensor:
    """The hyperbolic sine (exp(x) - exp(-x)) / 2. The gradient is cosh(x).

    >>> sinh([0.0, 1.0]).numpy().round(4)
    array([0.    , 1.1752], dtype=float32)
    """
    return ops.sinh.call(as_tensor(x))


def cosh(x: ArrayLike) -> Tensor:
    """The hyperbolic cosine (exp(x) + exp(-x)) / 2. The gradient is sinh(x).

    >>> cosh([0.0, 1.0]).numpy().round(4)
    array([1.    , 1.5431], dtype=float32)
    """
    return ops.cosh.call(as_tensor(x))


def arcsinh(x: ArrayLike) -> Tensor:
    """The number whose hyperbolic sine is x, log(x + sqrt(x^2 + 1)). Also `asinh`.

    The gradient is 1 / sqrt(x^2 + 1).

    >>> arcsinh([0.0, 1.0]).numpy().round(4)
    array([0.    , 0.8814], dtype=float32)
    """
    return ops.arcsinh.call(as_tensor(x))


def arccosh(x: ArrayLike) -> Tensor:
    """The number >= 0 whose hyperbolic cosine is x; NaN below 1. Also `acosh`.

    The gradient 1 / sqrt(x^2 - 1) is infinite at 1.

    >>> arccosh([1.0, 2.0]).numpy().round(4)
    array([0.   , 1.317], dtype=float32)
    """
    return ops.arccosh.call(as_tensor(x))


def arctanh(x: ArrayLike) -> Tensor:
    """The number whose hyperbolic tangent is x; infinite at -1 and 1, NaN beyond. Also `atanh`.

    The gradient is 1 / (1 - x^2).

    >>> arctanh([0.0, 0.5]).numpy().round(4)
    array([0.    , 0.5493], dtype=float32)
    """
    return ops.arctanh.call(as_tensor(x))


# --- roots, powers and logarithms -----------------------------------------------------------------


def cbrt(x: ArrayLike) -> Tensor:
    """The cube root, of negative numbers, too. The gradient is infinite at 0.

    >>> cbrt([8.0, -27.0]).numpy().round(4)
    array([ 2., -3.], dtype=float32)
    """
    return ops.cbrt.call(as_tensor(x))


def reciprocal(x: ArrayLike) -> Tensor:
    """1 / x. Integers become the default float, of which NumPy gives whole numbers, mostly 0.

    >>> reciprocal([2, 4]).tolist()
    [0.5, 0.25]
    """
    return ops.reciprocal.call(as_tensor(x))


def rsqrt(x: ArrayLike) -> Tensor:
    """1 / sqrt(x); infinite at 0, NaN below.

    >>> rsqrt([4.0, 16.0]).tolist()
    [0.5, 0.25]
    """
    return ops.rsqrt.call(as_tensor(x))


def hypot(a: ArrayLike, b: ArrayLike) -> Tensor:
    """sqrt(a^2 + b^2), in which nothing overflows: the hypotenuse. Its gradient at (0, 0) is 0.

    >>> hypot([3.0, 3e30], [4.0, 4e30]).tolist() == np.float32([5.0, 5e30]).tolist()
    True
    """
    return ops.hypot.call(*operands(a, b))


def exp2(x: ArrayLike) -> Tensor:
    """2 to the power x.

    >>> exp2([3.0, -1.0]).tolist()
    [8.0, 0.5]
    """
    return ops.exp2.call(as_tensor(x))


def log2(x: ArrayLike) -> Tensor:
    """The logarithm to base 2; -inf at 0, NaN below.

    >>> log2([8.0, 0.5]).tolist()
    [3.0, -1.0]
    """
    return ops.log2.call(as_tensor(x))


def log10(x: ArrayLike) -> Tensor:
    """The logarithm to base 10; -inf at 0, NaN below.

    >>> log10([1000.0, 0.1]).numpy().round(4)
    array([ 3., -1.], dtype=float32)
    """
    return ops.log10.call(as_tensor(x))


def logaddexp(a: ArrayLike, b: ArrayLike) -> Tensor:
    """log(exp(a) + exp(b)), in which nothing overflows: a sum of probabilities given by logarithms.

    The gradients are sigmoid(a - b) and sigmoid(b - a), and of two times -inf a half each. Along an
    axis see `logsumexp`.

    >>> logaddexp([1000.0, -math.inf], [1000.0, 2.0]).numpy().round(3)
    array([1000.693,    2.   ], dtype=float32)
    """
    return ops.logaddexp.call(*operands(a, b))


def logaddexp2(a: ArrayLike, b: ArrayLike) -> Tensor:
    """log2(2^a + 2^b), in which nothing overflows.

    >>> logaddexp2([10.0], [10.0]).tolist()
    [11.0]
    """
    return ops.logaddexp2.call(*operands(a, b))


# --- of probabilities -----------------------------------------------------------------------------


def xlogy(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a log(b), and 0 where a is 0, unless b is NaN.

    The gradient for b is a / b, and 0 where a is 0; that for a is log(b), and 0 where both are 0.

    >>> xlogy([0.0, 2.0], [0.0, 1.0]).tolist()
    [0.0, 0.0]
    """
    a, b = operands(a, b)
    return a * log(_usable(a, b, 0.0))


def xlog1py(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a log(1 + b), exact for small b, and 0 where a is 0, unless b is NaN.

    >>> xlog1py([0.0, 2.0], [-1.0, 0.0]).tolist()
    [0.0, 0.0]
    """
    a, b = operands(a, b)
    return a * log1p(_usable(a, b, -1.0))


def _usable(a: ArrayLike, b: ArrayLike, least: float) -> Tensor:
    """b; least + 1, of which the logarithm is 0, where a is 0 and b has no finite logarithm."""
    lost = logical_or(less_equal(b, least), equal(b, math.inf))
    return where(logical_and(equal(a, 0), lost), least + 1, b)


def entr(x: ArrayLike) -> Tensor:
    """-x log(x), the summand of an entropy: 0 at 0, -inf below.

    The gradient -log(x) - 1 is infinite at 0.

    >>> entr([0.0, 1 / math.e]).numpy().round(4) + 0.0
    array([0.    , 0.3679], dtype=float32)
    """
    return ops.entr.call(as_tensor(x))


@gate
def logit(x: ArrayLike, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), the inverse of `sigmoid`; infinite at 0 and 1, NaN outside.

    Args:
        x: probabilities, of any shape.
        eps: x is clipped to [eps, 1 - eps] before; None: it is not.
    Raises: ArgumentError if `eps` is not a number.

    >>> logit([0.5, 1.0]).tolist()
    [0.0, inf]
    """
    x = as_tensor(x)
    if eps is not None:
        x = clip(x, eps, 1 - eps)
    return ops.logit.call(x)


def float_power(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a to the power b as floating numbers: `power`, of integers to negative powers, too.

    >>> float_power([2, 4], -1).tolist()
    [0.5, 0.25]
    """
    return power(*[floating(as_tensor(t)) for t in operands(a, b)])


asin, acos, atan, atan2 = arcsin, arccos, arctan, arctan2
asinh, acosh, atanh = arcsinh, arccosh, arctanh
radians, degrees = deg2rad, rad2deg
