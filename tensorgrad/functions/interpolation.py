"""Interpolation, polynomials, and products that are added."""

from __future__ import annotations

from ..backend import namespace
from ..core import Tensor
from ..errors import ArgumentError, ShapeError
from ..settings import gate
from ..typing import ArrayLike, Number, Positive
from .elementwise import remainder, where
from .inputs import as_tensor, floating, tensors
from .shape import concatenate, flip, stack

__all__ = ["addcdiv", "addcmul", "interp", "lerp", "polyval", "vander"]


@gate
def lerp(a: ArrayLike, b: ArrayLike, weight: ArrayLike) -> Tensor:
    """a + weight (b - a): from a, where the weight is 0, to b, where it is 1, both exactly. All
    three broadcast.

    >>> lerp([0.0, 10.0], [10.0, 20.0], 0.25).tolist()
    [2.5, 12.5]
    """
    u, v, w = tensors(a, b, weight)
    step = v - u
    return where(w < 0.5, u + w * step, v - (1 - w) * step)


@gate
def addcmul(x: ArrayLike, a: ArrayLike, b: ArrayLike, value: float = 1.0) -> Tensor:
    """x + value * a * b; all three broadcast.

    >>> addcmul([1.0], [2.0], [3.0], value=0.5).tolist()
    [4.0]
    """
    start, u, v = tensors(x, a, b)
    return start + value * (u * v)  # type: ignore[no-any-return]


@gate
def addcdiv(x: ArrayLike, a: ArrayLike, b: ArrayLike, value: float = 1.0) -> Tensor:
    """x + value * a / b; all three broadcast.

    >>> addcdiv([1.0], [2.0], [4.0], value=3.0).tolist()
    [2.5]
    """
    start, u, v = tensors(x, a, b)
    return start + value * (u / v)  # type: ignore[no-any-return]


@gate
def vander(x: ArrayLike, N: int | None = None, increasing: bool = False) -> Tensor:
    """The powers of each number, a Vandermonde matrix. (n,) -> (n, N).

    Args:
        x: one axis.
        N: how many powers, from 0 to N - 1; as many as numbers where left out.
        increasing: whether they begin with x^0, instead of ending with it.
    Raises: ShapeError if x has not one axis, ArgumentError if N is negative.

    >>> vander([2.0, 3.0], 3).tolist()
    [[4.0, 2.0, 1.0], [9.0, 3.0, 1.0]]
    """
    x = as_tensor(x)
    if x.ndim != 1:
        raise ShapeError(f"vander: x of shape {x.shape} must have one axis")
    n = x.size if N is None else N
    if n < 0:
        raise ArgumentError(f"vander: N={n} is negative")
    if n == 0:
        return x[:, None][:, :0]
    powers = [x * 0 + 1]
    for _ in range(n - 1):
        powers.append(powers[-1] * x)
    matrix = stack(powers, 1)
    return matrix if increasing else flip(matrix, 1)


@gate
def polyval(p: ArrayLike, x: ArrayLike) -> Tensor:
    """The polynomial p[0] x^(n-1) + ... + p[n-1] at each x, by Horner's rule.

    Args:
        p: its n coefficients along the first axis, the highest power first.
        x: any shape; further axes of p broadcast against it.
    Raises: ShapeError if p has no axis.

    >>> polyval([1.0, 0.0, -2.0], [1.0, 3.0]).tolist()
    [-1.0, 7.0]
    """
    factors, at = tensors(p, x)
    if factors.ndim == 0:
        raise ShapeError("polyval: p is a number, and should be coefficients along an axis")
    y: Tensor = at * 0
    for i in range(factors.shape[0]):
        y = y * at + factors[i]
    return y


@gate
def interp(
    x: ArrayLike,
    xp: ArrayLike,
    fp: ArrayLike,
    left: Number | None = None,
    right: Number | None = None,
    period: Positive | None = None,
) -> Tensor:
    """The piecewise linear function through the points (xp, fp), at each x.

    Args:
        x: any shape, which the result has.
        xp, fp: the points, one axis; xp increases, unless there is a period.
        left, right: the values below xp[0] and above xp[-1]; fp[0] and fp[-1] where left out.
        period: of xp; left and right are then ignored.
    Raises: ShapeError if xp and fp do not have the same single axis, or are empty; ArgumentError
        unless the period is above 0.

    The gradients for x are the slopes of the pieces, at a point that of the piece on its right.

    >>> interp([0.5, 1.5, 9.0], [0.0, 1.0, 2.0], [0.0, 10.0, 30.0]).tolist()
    [5.0, 20.0, 30.0]
    """
    x, points, fp = tensors(x, xp, fp)
    at: Tensor = floating(x)
    values: Tensor = floating(fp)
    if points.ndim != 1 or points.shape != values.shape or not points.size:
        found = f"xp {points.shape} and fp {values.shape}"
        raise ShapeError(f"interp: {found} must be points on one axis, one or more")
    if period is not None:
        left = right = None
        at, points = remainder(at, period), remainder(points, period)
        order = namespace(points.data).argsort(points.data)
        points, values = points[order], values[order]
        points = concatenate([points[-1:] - period, points, points[:1] + period])
        values = concatenate([values[-1:], values, values[:1]])
    low, high = values[0] if left is None else left, values[-1] if right is None else right
    last = namespace(points.data).searchsorted(points.data, at.data, side="right") - 1
    i = last.clip(0, max(points.size - 2, 0))
    j = i + (points.size > 1)
    width = points[j] - points[i]
    y = values[i] + (at - points[i]) * ((values[j] - values[i]) / where(width == 0, 1, width))
    y = where(at >= points[-1], where(at == points[-1], values[-1], high), y)
    y = where(at <= points[0], where(at == points[0], values[0], low), y)
    return where(at != at, at, y)
