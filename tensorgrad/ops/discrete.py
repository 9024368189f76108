"""Piecewise constant ops: rounding, floor division, predicates, logic, bits.

Those with floating results have the gradient 0 (but for remainder), which is right almost
everywhere; those with bool or integer results are not differentiable.
"""

from typing import Any

import numpy as np

from ..backend import is_floating, namespace
from ..core import OPS, op
from .samples import Sample, binary, calls, draw, integers, unary
from .shape import conj, full_like, real

# --- rounding -----------------------------------------------------------------------------------


def _zero(g):
    return full_like(g, value=0.0)


def _sign_x(g, x, y):
    if x.dtype.kind != "c":
        return _zero(g)
    size = OPS["abs"](x)
    turned = (g - real(g * y) * conj(y)) / OPS["where"](size == 0, 1.0, size)
    return OPS["where"](size == 0, 0.0, turned)


@op(x=_sign_x, samples=unary(), kind="map", complex=True)
def sign(x):
    """-1, 0 or 1; of complex numbers x / |x|, and 0 at 0."""
    xp = namespace(x)
    if x.dtype.kind != "c":
        return xp.sign(x)
    size = xp.abs(x)
    none = size == 0
    return xp.where(none, x.dtype.type(0), x / xp.where(none, size.dtype.type(1), size))


@op(x=_zero, samples=unary(), kind="map")
def floor(x):
    """The largest integer <= x."""
    return namespace(x).floor(x) if is_floating(x.dtype) else x.copy()


@op(x=_zero, samples=unary(), kind="map")
def ceil(x):
    """The smallest integer >= x."""
    return namespace(x).ceil(x) if is_floating(x.dtype) else x.copy()


@op(x=_zero, samples=unary(), kind="map")
def trunc(x):
    """x rounded towards 0."""
    return namespace(x).trunc(x) if is_floating(x.dtype) else x.copy()


@op(x=_zero, samples=unary(-2, 2, {}, {"decimals": 1}, {"decimals": -1}), kind="map", complex=True)
def round_(x, *, decimals=0):
    """x rounded to `decimals`, half to even."""
    if decimals >= 0 and not is_floating(x.dtype):
        return x.copy()
    return namespace(x).round(x, decimals) if decimals else namespace(x).rint(x)


# --- floor division -----------------------------------------------------------------------------


def _quotients():
    negative = Sample((draw((3, 4), -3, 3), draw((4,), -3, -0.5)))
    return [*binary(-3, 3, low2=0.5)(), negative]


@op(a=_zero, b=_zero, samples=_quotients, kind="map")
def floor_divide(a, b):
    """floor(a / b)."""
    return namespace(a, b).floor_divide(a, b)


@op(
    a=lambda g: g,
    b=lambda g, a, b: -g * floor_divide(a, b),
    samples=_quotients,
    kind="map",
)
def remainder(a, b):
    """a - floor(a / b) * b, of the sign of b."""
    return namespace(a, b).remainder(a, b)


# --- tests and logic ----------------------------------------------------------------------------

_flat: dict[str, Any] = {"differentiable": False, "kind": "map"}


@op(samples=unary(), **_flat, complex=True)
def isnan(x):
    """Whether x is NaN."""
    return namespace(x).isnan(x)


@op(samples=unary(), **_flat, complex=True)
def isfinite(x):
    """Whether x is neither infinite nor NaN."""
    return namespace(x).isfinite(x)


@op(
    samples=lambda: [*unary()(), Sample((np.array([np.inf, -np.inf, np.nan, 1.0]),))],
    **_flat,
    complex=True,
)
def isinf(x):
    """Whether x is infinite."""
    return namespace(x).isinf(x)


def _truth(x):
    """What CuPy's logical functions take, of a complex number whether it is not 0."""
    return x != 0 if np.iscomplexobj(x) else x


def _some_zeros():
    zero = np.array([[0.0], [1.0]]), np.array([0.0, 2.0])
    return [*binary()(), Sample(zero)]


@op(samples=_some_zeros, **_flat, complex=True)
def logical_and(a, b):
    """Whether both are non-zero."""
    return namespace(a, b).logical_and(_truth(a), _truth(b))


@op(samples=_some_zeros, **_flat, complex=True)
def logical_or(a, b):
    """Whether one of the two is non-zero."""
    return namespace(a, b).logical_or(_truth(a), _truth(b))


@op(samples=_some_zeros, **_flat, complex=True)
def logical_xor(a, b):
    """Whether exactly one of the two is non-zero."""
    return namespace(a, b).logical_xor(_truth(a), _truth(b))


@op(samples=lambda: [*unary()(), Sample((np.array([0.0, 2.0]),))], **_flat, complex=True)
def logical_not(x):
    """Whether x is zero."""
    return namespace(x).logical_not(_truth(x))


# --- bits ---------------------------------------------------------------------------------------

_BITS = calls(
    lambda: (integers((2, 3), 100), integers((3,), 7, seed=1)),
    lambda: (integers((2, 1), 100) - 50, integers((1, 3), 7, seed=1)),
    lambda: (integers((), 100), integers((2,), 7, seed=1)),
    lambda: (integers((4,), 100), 3),
    lambda: (100, integers((4,), 7)),
    lambda: (integers((0, 3), 2), integers((3,), 2)),
)
_TRUTH = calls(lambda: (np.array([[True], [False]]), np.array([True, False])))


@op(samples=lambda: _BITS() + _TRUTH(), **_flat)
def bitwise_and(a, b):
    """The bits set in both."""
    return namespace(a, b).bitwise_and(a, b)


@op(samples=lambda: _BITS() + _TRUTH(), **_flat)
def bitwise_or(a, b):
    """The bits set in one of the two."""
    return namespace(a, b).bitwise_or(a, b)


@op(samples=lambda: _BITS() + _TRUTH(), **_flat)
def bitwise_xor(a, b):
    """The bits set in exactly one of the two."""
    return namespace(a, b).bitwise_xor(a, b)


@op(
    samples=calls(
        lambda: (integers((2, 3), 100) - 50,),
        lambda: (integers((), 100),),
        lambda: (np.array([True, False]),),
        lambda: (integers((0, 3), 2),),
    ),
    **_flat,
)
def bitwise_invert(x):
    """All bits inverted: -x - 1 for signed integers, `not` for bool."""
    return namespace(x).invert(x)


@op(samples=_BITS, **_flat)
def bitwise_left_shift(a, b):
    """a * 2**b of integers."""
    return namespace(a, b).left_shift(a, b)


@op(samples=_BITS, **_flat)
def bitwise_right_shift(a, b):
    """floor(a / 2**b) of integers."""
    return namespace(a, b).right_shift(a, b)
