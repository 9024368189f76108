"""Numbers as machines hold them: signs, neighbours, mantissas and exponents; divisors and bits."""

from typing import Any

import numpy as np

from ..backend import namespace
from ..core import op
from .discrete import _zero, sign, trunc
from .elementwise import negative
from .samples import calls, draw, few, few_pairs, integers

_flat: dict[str, Any] = {"differentiable": False, "kind": "map"}


@op(samples=few(), **_flat)
def signbit(x):
    """Whether x has a minus sign, as -0.0 has, too."""
    return namespace(x).signbit(x)


@op(
    a=lambda g, a, b: g * sign(a) * copysign(1.0, b),
    b=_zero,
    samples=few_pairs(),
    kind="map",
    scalar="copysign(a, b)",
)
def copysign(a, b):
    """|a| with the sign of b."""
    return namespace(a, b).copysign(a, b)


@op(samples=few_pairs(), scalar="nextafter(a, b)", **_flat)
def nextafter(a, b):
    """The next number that a's dtype holds after a, towards b."""
    return namespace(a, b).nextafter(a, b)


@op(
    a=lambda g: g,
    b=lambda g, a, b: -g * trunc(a / b),
    samples=calls(
        lambda: (draw((2, 3), -3, 3), draw((3,), 0.5, 2, 1)),
        lambda: (draw((5,), -3, 3), -0.7),
        lambda: (draw((), -3, 3), draw((2, 0), 0.5, 2, 1)),
    ),
    kind="map",
    scalar="fmod(a, b)",
)
def fmod(a, b):
    """a - trunc(a / b) * b, of the sign of a."""
    return namespace(a, b).fmod(a, b)


_EXPONENTS = calls(
    lambda: (draw((3, 4)), integers((4,), 7) - 3),
    lambda: (draw(()), integers((2, 1), 9)),
    lambda: (draw((0,)), integers((0,), 9)),
)


@op(x=lambda g, n: ldexp(g, n), samples=_EXPONENTS, kind="map", fixed=("n",))
def ldexp(x, n):
    """x * 2^n for whole n."""
    return namespace(x, n).ldexp(x, n)


def _frexp_x(g, exponent):
    return None if g[0] is None else ldexp(g[0], negative(exponent))


@op(x=_frexp_x, samples=few(0.1, 9), outputs=("mantissa", "exponent"))
def frexp(x):
    """The mantissa in [1/2, 1), with x's sign, and the exponent: x = mantissa * 2^exponent."""
    if x.dtype.name == "bfloat16":
        mantissa, exponent = namespace(x).frexp(x.astype("float32"))
        return mantissa.astype(x.dtype), exponent
    return namespace(x).frexp(x)


_WHOLE = calls(
    lambda: (integers((2, 3), 100) - 50, integers((3,), 60, seed=1)),
    lambda: (integers((4,), 100), 12),
    lambda: (integers((), 9), integers((2, 0), 9)),
)


@op(samples=_WHOLE, **_flat)
def gcd(a, b):
    """The greatest common divisor of two integers."""
    return namespace(a, b).gcd(a, b)


@op(samples=_WHOLE, **_flat)
def lcm(a, b):
    """The least common multiple of two integers."""
    return namespace(a, b).lcm(a, b)


@op(
    samples=calls(
        lambda: (integers((3, 4), 1000) - 500,),
        lambda: (integers((), 9),),
        lambda: (integers((0, 3), 9).astype(np.uint8),),
    ),
    **_flat,
)
def bitwise_count(x):
    """How many bits of |x| are set."""
    return namespace(x).bitwise_count(x)
