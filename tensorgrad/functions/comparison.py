"""Comparisons of whole tensors and within tolerances. They have no gradient, and their results are
tensors, which `if` and `bool` read: on a GPU the host waits there, and not before."""

from __future__ import annotations

import math

from ..core import Tensor
from ..settings import gate
from ..typing import ArrayLike, NonNegative
from .elementwise import abs, where
from .inputs import as_tensor, operands
from .logic import equal, isfinite, isnan, less_equal, logical_and, logical_or
from .reduce import all

__all__ = ["allclose", "array_equal", "array_equiv", "isclose", "isneginf", "isposinf"]


@gate
def isclose(
    a: ArrayLike,
    b: ArrayLike,
    rtol: NonNegative = 1e-5,
    atol: NonNegative = 1e-8,
    equal_nan: bool = False,
) -> Tensor:
    """Whether |a - b| <= atol + rtol |b|, number by number; infinities are close to themselves.

    Args:
        a, b: they broadcast; b is the reference.
        rtol, atol: the relative and the absolute tolerance.
        equal_nan: whether NaN is close to NaN.

    >>> isclose([1.0, 2.0], [1.0 + 1e-6, 2.1]).tolist()
    [True, False]
    """
    a, b = operands(a, b)
    one = as_tensor(b)
    finite = isfinite(one)
    safe = where(finite, one, 0.0)
    found = where(finite, less_equal(abs(a - safe), atol + rtol * abs(safe)), equal(a, b))
    return logical_or(found, logical_and(isnan(a), isnan(one))) if equal_nan else found


@gate
def allclose(
    a: ArrayLike,
    b: ArrayLike,
    rtol: NonNegative = 1e-5,
    atol: NonNegative = 1e-8,
    equal_nan: bool = False,
) -> Tensor:
    """Whether all numbers of a are close to b's: all(isclose(a, b)), one truth value.

    Args: those of `isclose`.
    Raises: ShapeError if the shapes do not broadcast.

    >>> bool(allclose([1.0, 2.0], [1.0, 2.0 + 1e-6]))
    True
    """
    return all(isclose(a, b, rtol, atol, equal_nan))


@gate
def array_equal(a: ArrayLike, b: ArrayLike, equal_nan: bool = False) -> Tensor:
    """Whether a and b have the same shape and numbers, one truth value.

    Args:
        a, b: any shapes.
        equal_nan: whether NaN equals NaN.

    >>> bool(array_equal([1, 2], [1, 2])), bool(array_equal([1, 2], [[1, 2]]))
    (True, False)
    """
    a, b = as_tensor(a), as_tensor(b)
    if a.shape != b.shape:
        return as_tensor(False)
    same = equal(a, b)
    return all(logical_or(same, logical_and(isnan(a), isnan(b))) if equal_nan else same)


def array_equiv(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Whether a and b broadcast against each other and are then equal, one truth value.

    >>> bool(array_equiv([1, 2], [[1, 2], [1, 2]])), bool(array_equiv([1, 2], [1, 2, 3]))
    (True, False)
    """
    a, b = as_tensor(a), as_tensor(b)
    short = zip(a.shape[::-1], b.shape[::-1], strict=False)
    fits = [n == m or 1 in (n, m) for n, m in short]
    return all(equal(a, b)) if False not in fits else as_tensor(False)


@gate
def isposinf(x: ArrayLike) -> Tensor:
    """Whether each number is +infinity.

    >>> isposinf([math.inf, -math.inf, 1.0]).tolist()
    [True, False, False]
    """
    return equal(as_tensor(x), math.inf)


@gate
def isneginf(x: ArrayLike) -> Tensor:
    """Whether each number is -infinity.

    >>> isneginf([math.inf, -math.inf, 1.0]).tolist()
    [False, True, False]
    """
    return equal(as_tensor(x), -math.inf)
