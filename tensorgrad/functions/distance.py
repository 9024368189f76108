"""Lengths, angles and distances of vectors."""

from __future__ import annotations

import math
from typing import Annotated, TypeAlias

import numpy as np

from ..core import Tensor
from ..errors import ShapeError
from ..settings import Real, gate
from ..typing import ArrayLike, Axes, Positive
from .elementwise import abs, maximum, power, sqrt, where
from .inputs import as_tensor, floating, operands
from .reduce import max, sum
from .shape import broadcast_to

__all__ = ["cdist", "cosine_similarity", "normalize"]


def _length(x: Tensor, p: float, axis: Axes, keepdims: bool = False) -> Tensor:
    """The p-norm along axes, whose gradient at 0 is 0."""
    if p == 2:
        squares = sum(x * x, axis, keepdims=keepdims)
        return where(squares == 0, 0.0, sqrt(where(squares == 0, 1.0, squares)))
    size = abs(x)
    if p == 1:
        return sum(size, axis, keepdims=keepdims)
    if p == math.inf:
        return max(size, axis, keepdims=keepdims)
    if p == 0:
        return sum((x != 0).astype(x.dtype), axis, keepdims=keepdims)
    powers = sum(power(where(size == 0, 1.0, size), p) * (x != 0), axis, keepdims=keepdims)
    return where(powers == 0, 0.0, power(where(powers == 0, 1.0, powers), 1 / p))


Order: TypeAlias = Annotated[float, Real(0, infinite=True)]


@gate
def normalize(x: ArrayLike, p: Order = 2.0, axis: Axes = 1, eps: Positive = 1e-12) -> Tensor:
    """x divided by its p-norm along an axis, or by eps where that is larger: vectors of length 1.

    Args:
        x: any shape that has the axis.
        p: 1 for the sum of absolute values, 2 the Euclidean length, math.inf the largest, ...
        axis: along which the vectors are, or several.
        eps: the least divisor, so that 0 stays 0.
    Raises: ArgumentError if p is negative, IndexingError if x has no such axis.

    >>> normalize([[3.0, 4.0], [0.0, 0.0]]).numpy().round(3).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    made: Tensor = floating(as_tensor(x))
    size = _length(made, p, axis, keepdims=True)
    return made / maximum(size, eps)


@gate
def cosine_similarity(a: ArrayLike, b: ArrayLike, axis: int = 1, eps: Positive = 1e-8) -> Tensor:
    """The cosine of the angle between vectors: sum(a b) / (max(|a|, eps) max(|b|, eps)).

    Args:
        a, b: they broadcast.
        axis: along which the vectors are; the result has not got it.
        eps: the least divisor, so that the similarity to 0 is 0.
    Raises: ShapeError if the shapes do not broadcast.

    >>> cosine_similarity([[1.0, 0.0]], [[1.0, 1.0]]).numpy().round(4)
    array([0.7071], dtype=float32)
    """
    made: list[Tensor] = [floating(as_tensor(x)) for x in operands(a, b)]
    try:
        shape = np.broadcast_shapes(*[x.shape for x in made])
    except ValueError as error:
        raise ShapeError(f"cosine_similarity: {error}") from None
    made = [x if x.shape == shape else broadcast_to(x, shape) for x in made]
    units = [x / maximum(_length(x, 2, axis, keepdims=True), eps) for x in made]
    return sum(units[0] * units[1], axis)


@gate
def cdist(a: ArrayLike, b: ArrayLike, p: Order = 2.0) -> Tensor:
    """The p-norm distances of all pairs of rows. (..., n, d), (..., m, d) -> (..., n, m).

    Args:
        a, b: points; the axes before the last two broadcast.
        p: 2 for Euclidean distances, 1 for sums of absolute differences, math.inf the largest, ...
    Raises: ShapeError if the points have different lengths; ArgumentError if p is negative.

    It takes differences, (..., n, m, d) numbers, and so is exact for points that are near each
    other. The gradient at a distance of 0 is 0.

    >>> cdist([[0.0, 0.0]], [[3.0, 4.0], [0.0, 0.0]]).tolist()
    [[5.0, 0.0]]
    """
    made: list[Tensor] = [floating(as_tensor(x)) for x in operands(a, b)]
    u, v = made
    if u.ndim < 2 or v.ndim < 2 or u.shape[-1] != v.shape[-1]:
        raise ShapeError(f"cdist: points {u.shape} and {v.shape}: give (n, d) and (m, d)")
    return _length(u[..., :, None, :] - v[..., None, :, :], p, -1)
