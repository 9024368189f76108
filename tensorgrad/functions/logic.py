"""Comparisons, tests, logic and bits of each number. No gradient passes through any of them.

Of two inputs the shapes broadcast as in NumPy (ShapeError where they do not).
"""

from __future__ import annotations

from ..core import Tensor
from ..ops import discrete as ops
from ..ops import elementwise
from ..typing import ArrayLike
from .inputs import as_tensor, both, operands

# --- comparisons --------------------------------------------------------------------------------


def equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a == b, number by number, as truth values. NaN equals nothing.

    >>> equal([1, 2], [1, 3]).tolist()
    [True, False]
    """
    if type(a) is not Tensor or type(b) is not Tensor:
        a, b = both(a, b)
    return elementwise.equal.call(a, b)


def not_equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a != b, number by number, as truth values.

    >>> not_equal([1, 2], [1, 3]).tolist()
    [False, True]
    """
    if type(a) is not Tensor or type(b) is not Tensor:
        a, b = both(a, b)
    return elementwise.not_equal.call(a, b)


def less(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a < b, number by number, as truth values.

    >>> less([1, 2, 3], 2).tolist()
    [True, False, False]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return elementwise.less.call(a, b)


def less_equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a <= b, number by number, as truth values.

    >>> less_equal([1, 2, 3], 2).tolist()
    [True, True, False]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return elementwise.less_equal.call(a, b)


def greater(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a > b, number by number, as truth values.

    >>> greater([1, 2, 3], 2).tolist()
    [False, False, True]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return elementwise.greater.call(a, b)


def greater_equal(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a >= b, number by number, as truth values.

    >>> greater_equal([1, 2, 3], 2).tolist()
    [False, True, True]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return elementwise.greater_equal.call(a, b)


# --- tests --------------------------------------------------------------------------------------


def isnan(x: ArrayLike) -> Tensor:
    """Whether each number is NaN.

    >>> isnan([1.0, math.nan]).tolist()
    [False, True]
    """
    return ops.isnan.call(x if type(x) is Tensor else as_tensor(x))


def isinf(x: ArrayLike) -> Tensor:
    """Whether each number is infinite, of either sign.

    >>> isinf([1.0, -math.inf, math.nan]).tolist()
    [False, True, False]
    """
    return ops.isinf.call(x if type(x) is Tensor else as_tensor(x))


def isfinite(x: ArrayLike) -> Tensor:
    """Whether each number is neither infinite nor NaN.

    >>> isfinite([1.0, math.inf, math.nan]).tolist()
    [True, False, False]
    """
    return ops.isfinite.call(x if type(x) is Tensor else as_tensor(x))


# --- logic --------------------------------------------------------------------------------------


def logical_and(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Whether both numbers are non-zero.

    >>> logical_and([True, True], [True, False]).tolist()
    [True, False]
    """
    if type(a) is not Tensor or type(b) is not Tensor:
        a, b = both(a, b)
    return ops.logical_and.call(a, b)


def logical_or(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Whether one of the two numbers, or both, are non-zero.

    >>> logical_or([True, False], [False, False]).tolist()
    [True, False]
    """
    if type(a) is not Tensor or type(b) is not Tensor:
        a, b = both(a, b)
    return ops.logical_or.call(a, b)


def logical_xor(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Whether exactly one of the two numbers is non-zero.

    >>> logical_xor([True, True], [True, False]).tolist()
    [False, True]
    """
    if type(a) is not Tensor or type(b) is not Tensor:
        a, b = both(a, b)
    return ops.logical_xor.call(a, b)


def logical_not(x: ArrayLike) -> Tensor:
    """Whether each number is zero.

    >>> logical_not([True, False]).tolist()
    [False, True]
    """
    return ops.logical_not.call(x if type(x) is Tensor else as_tensor(x))


# --- bits ---------------------------------------------------------------------------------------


def bitwise_and(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a & b: the bits set in both integers, or the `and` of truth values.

    Raises: DTypeError for floating numbers.

    >>> bitwise_and([6, 7], 3).tolist()
    [2, 3]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.bitwise_and.call(a, b)


def bitwise_or(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a | b: the bits set in either integer, or the `or` of truth values.

    Raises: DTypeError for floating numbers.

    >>> bitwise_or([4, 5], 3).tolist()
    [7, 7]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.bitwise_or.call(a, b)


def bitwise_xor(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a ^ b: the bits set in exactly one of the integers, or the exclusive `or` of truth values.
    It is no power: that is `a ** b`.

    Raises: DTypeError for floating numbers.

    >>> bitwise_xor([6, 7], 3).tolist()
    [5, 4]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.bitwise_xor.call(a, b)


def bitwise_invert(x: ArrayLike) -> Tensor:
    """~x: all bits of an integer inverted, -x - 1 where it is signed; `not` of truth values. Also
    `invert`.

    Raises: DTypeError for floating numbers.

    >>> bitwise_invert([0, 5]).tolist(), bitwise_invert([True, False]).tolist()
    ([-1, -6], [False, True])
    """
    return ops.bitwise_invert.call(x if type(x) is Tensor else as_tensor(x))


def bitwise_left_shift(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a << b: a * 2^b of integers. Also `left_shift`.

    Raises: DTypeError for floating numbers.

    >>> bitwise_left_shift([1, 2, 3], 2).tolist()
    [4, 8, 12]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.bitwise_left_shift.call(a, b)


def bitwise_right_shift(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a >> b: floor(a / 2^b) of integers. Also `right_shift`.

    Raises: DTypeError for floating numbers.

    >>> bitwise_right_shift([4, 9, -1], 2).tolist()
    [1, 2, -1]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.bitwise_right_shift.call(a, b)


invert = bitwise_not = bitwise_invert
left_shift, right_shift = bitwise_left_shift, bitwise_right_shift
