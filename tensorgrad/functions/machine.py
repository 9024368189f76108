"""Numbers as machines hold them: signs, neighbours, NaN, parts; divisors and bits.

Of two inputs the shapes broadcast as in NumPy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import is_floating
from ..core import Tensor
from ..errors import ArgumentError, DTypeError
from ..ops import machine as ops
from ..settings import gate
from ..typing import ArrayLike, Number
from .elementwise import abs, maximum, minimum, sign, trunc, where
from .inputs import as_tensor, floating, operands
from .logic import equal, isinf, isnan

__all__ = [
    "bitwise_count",
    "copysign",
    "fabs",
    "fmax",
    "fmin",
    "fmod",
    "frexp",
    "gcd",
    "heaviside",
    "lcm",
    "ldexp",
    "modf",
    "nan_to_num",
    "nextafter",
    "signbit",
    "spacing",
]

# --- signs and neighbours -----------------------------------------------------------------------


def signbit(x: ArrayLike) -> Tensor:
    """Whether each number has a minus sign, as -0.0 has, too.

    >>> signbit([-1.0, -0.0, 0.0]).tolist()
    [True, True, False]
    """
    return ops.signbit.call(as_tensor(x))


def copysign(a: ArrayLike, b: ArrayLike) -> Tensor:
    """|a| with the sign of b. The gradient for a is 1 or -1, that for b is 0.

    >>> copysign([1.0, 2.0], -0.0).tolist()
    [-1.0, -2.0]
    """
    return ops.copysign.call(*operands(a, b))


def fabs(x: ArrayLike) -> Tensor:
    """|x| as a floating number, whereas `abs` leaves integers whole.

    >>> fabs([-1, 2]).tolist()
    [1.0, 2.0]
    """
    return abs(floating(as_tensor(x)))


def heaviside(x: ArrayLike, half: ArrayLike) -> Tensor:
    """The step function: 0 below 0, 1 above, and `half` at 0; NaN of NaN.

    The gradient for x is 0; that for `half` is 1 where x is 0.

    >>> heaviside([-2.0, 0.0, 3.0], 0.5).tolist()
    [0.0, 0.5, 1.0]
    """
    x, half = operands(x, half)
    return where(equal(x, 0), half, 0.5 * sign(x) + 0.5)


def nextafter(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The next number that the dtype holds after a, towards b. It has no gradient.

    >>> nextafter([1.0], 2.0).item() - 1.0 == 2.0**-23
    True
    """
    return ops.nextafter.call(*operands(a, b))


def spacing(x: ArrayLike) -> Tensor:
    """The distance from x to the next number away from 0 that the dtype holds, with x's sign. It
    has no gradient.

    >>> spacing([1.0, -1.0]).numpy() * 2.0**23
    array([ 1., -1.], dtype=float32)
    """
    x = floating(as_tensor(x)).detach()
    return ops.nextafter.call(x, ops.copysign(math.inf, x)) - x


# --- NaN ----------------------------------------------------------------------------------------


def fmax(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The larger of a and b; where one is NaN the other one, as opposed to `maximum`.

    The gradient goes to the one that is taken; equal numbers get half of it each.

    >>> fmax([1.0, math.nan], [2.0, 3.0]).tolist()
    [2.0, 3.0]
    """
    a, b = operands(a, b)
    return maximum(where(isnan(a), b, a), where(isnan(b), a, b))


def fmin(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The smaller of a and b; where one is NaN the other one, as opposed to `minimum`.

    The gradient goes to the one that is taken; equal numbers get half of it each.

    >>> fmin([1.0, math.nan], [2.0, 3.0]).tolist()
    [1.0, 3.0]
    """
    a, b = operands(a, b)
    return minimum(where(isnan(a), b, a), where(isnan(b), a, b))


@gate
def nan_to_num(
    x: ArrayLike,
    copy: bool = True,
    nan: Number = 0.0,
    posinf: Number | None = None,
    neginf: Number | None = None,
) -> Tensor:
    """x with NaN and infinities replaced by numbers. The gradient of those is 0.

    Args:
        x: any shape; integers stay what they are.
        copy: True, as ops write into no tensor.
        nan: what replaces NaN.
        posinf, neginf: what replaces infinities; the largest finite number of the dtype, and its
            negative, where left out.
    Raises: ArgumentError for another `copy`, or where one of the others is no number.

    >>> nan_to_num([math.nan, 1.0, math.inf], posinf=9.0).tolist()
    [0.0, 1.0, 9.0]
    """
    if copy is not True:
        raise ArgumentError(f"nan_to_num: copy={copy!r}: ops write into no tensor (is it nan=?)")
    x = as_tensor(x)
    if not is_floating(x.dtype):
        return +x
    if x.dtype.kind == "c":
        raise DTypeError(f"nan_to_num: x holds {x.dtype}; take .real and .imag apart")
    largest = _largest(x.dtype)
    high = largest if posinf is None else posinf
    low = -largest if neginf is None else neginf
    y = where(equal(x, math.inf), high, where(equal(x, -math.inf), low, x))
    return where(isnan(x), nan, y)


def _largest(dtype: np.dtype[Any]) -> float:
    """The largest finite number of a dtype, which NumPy does not tell of bfloat16."""
    return float(np.finfo(dtype).max if dtype.kind == "f" else np.uint16(0x7F7F).view(dtype))


# --- parts --------------------------------------------------------------------------------------


def fmod(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a - trunc(a / b) * b, of the sign of a, as in C; `remainder` has the sign of b.

    The gradients are 1 for a and -trunc(a / b) for b.

    >>> fmod([7.0, -7.0], 3.0).tolist()
    [1.0, -1.0]
    """
    return ops.fmod.call(*operands(a, b))


def ldexp(x: ArrayLike, n: ArrayLike) -> Tensor:
    """x * 2^n, for whole n: without the overflow of 2^n.

    Raises: DTypeError for n with fractions.

    >>> ldexp([1.0, 3.0], [3, -1]).tolist()
    [8.0, 1.5]
    """
    return ops.ldexp.call(floating(as_tensor(x)), as_tensor(n))


def frexp(x: ArrayLike) -> tuple[Tensor, Tensor]:
    """The mantissa in [1/2, 1), with x's sign, and the exponent, int32: x = mantissa * 2^exponent.

    The gradient of the mantissa is 2^-exponent; the exponent has none.

    >>> mantissa, exponent = frexp([8.0, -0.75])
    >>> mantissa.tolist(), exponent.tolist()
    ([0.5, -0.75], [4, 0])
    """
    mantissa, exponent = ops.frexp(floating(as_tensor(x)))
    return mantissa, exponent


def modf(x: ArrayLike) -> tuple[Tensor, Tensor]:
    """The fraction, x - trunc(x), and the whole part, trunc(x), both floating and of x's sign.

    >>> fraction, whole = modf([1.25, -2.5])
    >>> fraction.tolist(), whole.tolist()
    ([0.25, -0.5], [1.0, -2.0])
    """
    x = floating(as_tensor(x))
    whole = trunc(x)
    return where(isinf(x), 0.0, x - whole), whole


# --- of integers --------------------------------------------------------------------------------


def gcd(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The greatest common divisor of two integers, >= 0.

    Raises: DTypeError for floating numbers.

    >>> gcd([12, 18], 8).tolist()
    [4, 2]
    """
    return ops.gcd.call(*operands(a, b))


def lcm(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The least common multiple of two integers, >= 0.

    Raises: DTypeError for floating numbers.

    >>> lcm([4, 5], 6).tolist()
    [12, 30]
    """
    return ops.lcm.call(*operands(a, b))


def bitwise_count(x: ArrayLike) -> Tensor:
    """How many bits of |x| are set, uint8.

    Raises: DTypeError for floating numbers.

    >>> bitwise_count([0, 7, 8]).tolist()
    [0, 3, 1]
    """
    return ops.bitwise_count.call(as_tensor(x))
