"""Elementwise ops: arithmetic, comparisons, functions, activations.

Shapes broadcast and dtypes promote as in NumPy; `backprop` applies the adjoint of both, so the
rules here ignore shapes. `scalar` is the formula of one element, in Python's syntax.
"""

import math
from typing import Any

import numpy as np

from ..backend import NUMBERS, namespace, zero_and_one
from ..core import op
from .discrete import logical_and, sign
from .samples import binary, calls, draw, same, unary
from .shape import conj

# --- arithmetic ---------------------------------------------------------------------------------
# `shortcut`: a condition under which the op is another one, of its first input, whose backward is
# cheaper.


@op(samples=same(2), kind="map", scalar="2 * g * x", complex=True)
def square_grad(g, x):
    """The gradient of `square`."""
    return g * (2 * x)


@op(x=square_grad, samples=unary(), kind="map", scalar="x * x", complex=True)
def square(x):
    """x * x."""
    return x * x


@op(a=lambda g: g, b=lambda g: g, samples=binary(), kind="map", scalar="a + b", complex=True)
def add(a, b):
    """a + b."""
    return a + b


@op(a=lambda g: g, b=lambda g: -g, samples=binary(), kind="map", scalar="a - b", complex=True)
def subtract(a, b):
    """a - b."""
    return a - b


@op(
    a=lambda g, b: g * b,
    b=lambda g, a: g * a,
    samples=binary(),
    kind="map",
    scalar="a * b",
    shortcut=("a is b", square),
    complex=True,
)
def multiply(a, b):
    """a * b."""
    return a * b


@op(
    a=lambda g, b: g / b,
    b=lambda g, b, y: -g * y / b,
    samples=binary(0.5, 3),
    kind="map",
    scalar="a / b",
    complex=True,
)
def divide(a, b):
    """a / b, true division."""
    return namespace(a, b).true_divide(a, b)


def _power_a(g, a, b):
    if isinstance(b, NUMBERS):
        return g * 0.0 if b == 0 else g if b == 1 else g * (b * power(a, b - 1))
    return where(equal(b, 0), 0.0, g * b * power(a, where(equal(b, 0), 1.0, b - 1)))


def _power_b(g, a, b, y):
    if y.dtype.kind == "c":  # a logarithm of any a but 0
        a = a + 0j
        return where(equal(a, 0), 0.0, g * y * log(where(equal(a, 0), 1.0, a)))
    if isinstance(a, NUMBERS) and a != 0:
        return g * y * (math.log(a) if a > 0 else math.nan)
    flat = logical_and(equal(a, 0), greater_equal(b, 0))
    if isinstance(a, NUMBERS):  # of y = inf the slope is -inf
        return where(flat, 0.0, -g * where(flat, 0.0, y))
    return where(flat, 0.0, g * y * log(where(flat, 1.0, a)))


@op(
    a=_power_a,
    b=_power_b,
    samples=binary(0.5, 3),
    kind="map",
    precision="single",
    scalar="power(a, b)",
    shortcut=(
        "type(b) in (int, float) and b == 2 and hasattr(a, 'dtype') and is_floating(a.dtype)",
        square,
    ),
    complex=True,
)
def power(a, b):
    """a to the power b. At a = 0 the gradient for b is taken as 0 where b >= 0."""
    return a**b


@op(x=lambda g: -g, samples=unary(), kind="map", scalar="-x", complex=True)
def negative(x):
    """-x."""
    return -x


@op(x=lambda g: g, samples=unary(), kind="map", scalar="+x", complex=True)
def positive(x):
    """A copy of x."""
    return namespace(x).positive(x)


@op(
    x=lambda g, x: g * (conj(sign(x)) if x.dtype.kind == "c" else sign(x)),
    samples=unary(0.1, 2),
    kind="map",
    scalar="abs(x)",
    complex=True,
)
def abs_(x):
    """Absolute value; its gradient at 0 is 0."""
    return namespace(x).abs(x)


@op(
    x=lambda g, x: g * -1j * conj(sign(x)) / where(equal(x, 0), 1.0, abs_(x)),
    samples=unary(),
    kind="map",
    complex=True,
)
def angle(x):
    """The argument of a complex number in radians, in (-pi, pi]; its gradient at 0 is 0."""
    return namespace(x).angle(x)


@op(x=lambda g, y: g * (0.5 / y), samples=unary(0.1, 4), kind="map", scalar="sqrt(x)", complex=True)
def sqrt(x):
    """Square root."""
    return namespace(x).sqrt(x)


def _extremum(g, x, other, loses):
    """The gradient of the winner; of equal elements each gets half. A NaN in either is passed on to
    both: written so that no comparison with it holds."""
    return where(loses(x, other), 0.0, where(equal(x, other), 0.5 * g, g))


@op(
    a=lambda g, a, b: _extremum(g, a, b, less),
    b=lambda g, a, b: _extremum(g, b, a, less),
    samples=binary(),
    kind="map",
    scalar="maximum(a, b)",
)
def maximum(a, b):
    """The larger of a and b, NaN if either is. Equal elements share the gradient."""
    return namespace(a, b).maximum(a, b)


@op(
    a=lambda g, a, b: _extremum(g, a, b, greater),
    b=lambda g, a, b: _extremum(g, b, a, greater),
    samples=binary(),
    kind="map",
    scalar="minimum(a, b)",
)
def minimum(a, b):
    """The smaller of a and b, NaN if either is. Equal elements share the gradient."""
    return namespace(a, b).minimum(a, b)


def _clip_x(g, x, min, max):
    keep = g if min is None else where(less(x, min), 0.0, g)
    return keep if max is None else where(greater(x, max), 0.0, keep)


def _clip_min(g, x, min, max):
    below = where(less(x, min), g, 0.0)
    return below if max is None else where(greater(min, max), 0.0, below)


def _clip_max(g, x, min, max):
    return where(greater(x if min is None else maximum(x, min), max), g, 0.0)


@op(
    x=_clip_x,
    min=_clip_min,
    max=_clip_max,
    samples=calls(
        lambda: (draw((3, 4)), -0.5, 1.0),
        lambda: (draw((3, 4)), draw((4,), -1, 0), 0.5),
        lambda: (draw((3, 4)), draw((4,), -1, 1, 1), draw((3, 1), -1, 1, 2)),  # min > max, too
        lambda: (draw((3, 4)), 1.0, -0.5),
        lambda: (0.5, draw((4,), -1, 1, 1), draw((3, 1), -1, 1, 2)),
        lambda: (draw(()), None, 0.5),
        lambda: (draw((0,)), -1.0, None),
        lambda: (draw((2, 3)), None, None),
    ),
    kind="map",
)
def clip(x, min=None, max=None):
    """minimum(maximum(x, min), max); either bound may be None. The gradient at a bound is that of
    x; where min > max, the result and the gradient are max's."""
    xp = namespace(x, min, max)
    y = x if min is None else xp.maximum(x, min)
    return (x.copy() if y is x else y) if max is None else xp.minimum(y, max)


# --- comparisons and choice ---------------------------------------------------------------------

_flat: dict[str, Any] = {"differentiable": False, "kind": "map"}


@op(samples=binary(), scalar="a == b", **_flat, complex=True)
def equal(a, b):
    """a == b, elementwise."""
    return a == b


@op(samples=binary(), scalar="a != b", **_flat, complex=True)
def not_equal(a, b):
    """a != b, elementwise."""
    return a != b


@op(samples=binary(), scalar="a < b", **_flat)
def less(a, b):
    """a < b, elementwise."""
    return a < b


@op(samples=binary(), scalar="a <= b", **_flat)
def less_equal(a, b):
    """a <= b, elementwise."""
    return a <= b


@op(samples=binary(), scalar="a > b", **_flat)
def greater(a, b):
    """a > b, elementwise."""
    return a > b


@op(samples=binary(), scalar="a >= b", **_flat)
def greater_equal(a, b):
    """a >= b, elementwise."""
    return a >= b


@op(
    a=lambda g, condition: where(condition, g, 0.0),
    b=lambda g, condition: where(condition, 0.0, g),
    samples=calls(
        lambda: (draw((2, 3)) > 0, draw((2, 3), seed=1), draw((2, 3), seed=2)),
        lambda: (draw((2, 1)) > 0, draw((3,), seed=1), draw((), seed=2)),
        lambda: (draw((4,)) > 0, draw((4,), seed=1), 0.0),
        lambda: (draw((4,)) > 0, 1.0, draw((4,), seed=1)),
        lambda: (np.array(True), draw((), seed=1), draw((), seed=2)),
        lambda: (draw((0,)) > 0, draw((0,)), draw((0,))),
    ),
    kind="map",
    fixed=("condition",),
    scalar="where(condition, a, b)",
    complex=True,
)
def where(condition, a, b):
    """a where the condition holds, else b."""
    if condition is None or a is None or b is None:
        raise TypeError("None is not a number")
    return namespace(condition, a, b).where(condition, a, b)


# --- functions ----------------------------------------------------------------------------------


@op(
    x=lambda g, y: g * y,
    samples=unary(),
    kind="map",
    precision="single",
    scalar="exp(x)",
    complex=True,
)
def exp(x):
    """e to the power x."""
    return namespace(x).exp(x)


@op(
    x=lambda g, y: g * (y + 1),
    samples=unary(),
    kind="map",
    precision="single",
    scalar="expm1(x)",
    complex=True,
)
def expm1(x):
    """exp(x) - 1, exact for small x."""
    return namespace(x).expm1(x)


@op(
    x=lambda g, x: g / x,
    samples=unary(0.1, 4),
    kind="map",
    precision="single",
    scalar="log(x)",
    complex=True,
)
def log(x):
    """Natural logarithm."""
    return namespace(x).log(x)


@op(
    x=lambda g, x: g / (1 + x),
    samples=unary(-0.5, 4),
    kind="map",
    precision="single",
    scalar="log1p(x)",
    complex=True,
)
def log1p(x):
    """log(1 + x), exact for small x."""
    return namespace(x).log1p(x)


@op(x=lambda g, x: g * cos(x), samples=unary(), kind="map", scalar="sin(x)", complex=True)
def sin(x):
    """Sine of x in radians."""
    return namespace(x).sin(x)


@op(x=lambda g, x: -g * sin(x), samples=unary(), kind="map", scalar="cos(x)", complex=True)
def cos(x):
    """Cosine of x in radians."""
    return namespace(x).cos(x)


# --- activations and their gradients ------------------------------------------------------------
# The gradient ops have no rules: for second order their references are differentiated.


@op(samples=same(2), kind="map", scalar="g * (1 - y * y)", complex=True)
def tanh_grad(g, y):
    """Gradient of tanh from its output, g (1 - y^2)."""
    return g * (zero_and_one(y)[1] - y * y)


@op(
    x=tanh_grad,
    samples=unary(-3, 3),
    extreme=unary(-300, 300),
    kind="map",
    scalar="tanh(x)",
    complex=True,
)
def tanh(x):
    """Hyperbolic tangent."""
    return namespace(x).tanh(x)


@op(samples=same(2), kind="map", scalar="g * y * (1 - y)")
def sigmoid_grad(g, y):
    """Gradient of sigmoid from its output, g y (1 - y): it wants y = sigmoid(x), not x."""
    return g * y * (zero_and_one(y)[1] - y)


@op(
    x=sigmoid_grad,
    samples=unary(-6, 6),
    extreme=unary(-300, 300),
    kind="map",
    scalar="where(x < 0, exp(-abs(x)), 1) / (1 + exp(-abs(x)))",
)
def sigmoid(x):
    """The logistic function 1 / (1 + exp(-x)), as exp(min(x, 0)) / (1 + exp(-|x|)), which does not
    overflow."""
    xp, (zero, one) = namespace(x), zero_and_one(x)
    return xp.exp(xp.minimum(x, zero)) / (one + xp.exp(zero - xp.abs(x)))  # bools have no -x


@op(samples=same(2), kind="map", scalar="where(y <= 0, 0, g)")
def relu_grad(g, y):
    """Gradient of relu from its output; that of NaN is g, which it does not hide."""
    return where(less_equal(y, 0), 0.0, g)


@op(x=relu_grad, samples=unary(), kind="map", scalar="maximum(x, 0)")
def relu(x):
    """max(x, 0); its gradient at 0 is 0."""
    return namespace(x).maximum(x, zero_and_one(x)[0])


@op(samples=same(2, slope=0.2), kind="map", scalar="where(x > 0, g, slope * g)")
def leaky_relu_grad(g, x, *, slope):
    """Gradient of leaky_relu."""
    return where(greater(x, 0), g, slope * g)


@op(
    x=leaky_relu_grad,
    samples=unary(-2, 2, {}, {"slope": 0.2}),
    kind="map",
    scalar="where(x > 0, x, slope * x)",
)
def leaky_relu(x, *, slope=0.01):
    """x above 0, slope * x below (Maas et al. 2013)."""
    return namespace(x).where(x > 0, x, slope * x)


@op(
    samples=same(2, alpha=0.5),
    kind="map",
    scalar="where(x <= 0, g * alpha * exp(minimum(x, 0)), g)",
)
def elu_grad(g, x, *, alpha):
    """Gradient of elu, from x: the output rounds to -alpha, which would lose small gradients."""
    return where(less_equal(x, 0), g * alpha * exp(minimum(x, 0)), g)


@op(
    x=elu_grad,
    samples=unary(-2, 2, {}, {"alpha": 0.5}),
    extreme=unary(-300, 300),
    kind="map",
    scalar="where(x > 0, x, alpha * expm1(minimum(x, 0)))",
)
def elu(x, *, alpha=1.0):
    """x above 0, alpha * (exp(x) - 1) below (Clevert et al. 2015)."""
    xp = namespace(x)
    return xp.where(x > 0, x, alpha * xp.expm1(xp.minimum(x, 0)))


_ROOT_2_BY_PI = 0.7978845608028654  # sqrt(2 / pi)


@op(samples=same(2, -4, 4), kind="map")
def gelu_grad(g, x):
    """Gradient of gelu."""
    x = clip(x, -10.0, 10.0)  # beyond, tanh is 1 in every dtype, and x * x may overflow
    t = tanh(_ROOT_2_BY_PI * (x + 0.044715 * x * x * x))
    slope = _ROOT_2_BY_PI * (1 + 0.134145 * x * x)
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * slope)


@op(
    x=gelu_grad,
    samples=unary(-4, 4),
    extreme=unary(-300, 300),
    kind="map",
    scalar="0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))",
)
def gelu(x):
    """Gaussian error linear unit in its tanh form, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
    (Hendrycks & Gimpel 2016): the form that cuBLASLt fuses and JAX takes by default."""
    return 0.5 * x * (1 + namespace(x).tanh(_ROOT_2_BY_PI * (x + 0.044715 * x * x * x)))


@op(samples=same(2, -4, 4), kind="map")
def silu_grad(g, x):
    """Gradient of silu."""
    s = sigmoid(x)
    return g * s * (1 + x * (1 - s))


@op(
    x=silu_grad,
    samples=unary(-6, 6),
    extreme=unary(-300, 300),
    kind="map",
)
def silu(x):
    """x * sigmoid(x), also called swish (Ramachandran et al. 2017)."""
    return x * sigmoid(x)


@op(
    x=lambda g, x: g * sigmoid(x),
    samples=unary(-6, 6),
    extreme=unary(-300, 300),
    kind="map",
    precision="single",
    scalar="maximum(x, 0) + log1p(exp(-abs(x)))",
)
def softplus(x):
    """log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|)), which does not overflow."""
    xp = namespace(x)
    return xp.maximum(x, 0) + xp.log1p(xp.exp(0 - xp.abs(x)))
