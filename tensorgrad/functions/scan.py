"""Functions along an axis, whose results depend on the order of its elements."""

from __future__ import annotations

from ..core import Tensor
from ..errors import ArgumentError
from ..typing import ArrayLike
from ..words import explains_names
from .inputs import as_tensor, whole
from .shape import broadcast_to, concatenate, moveaxis

__all__ = ["diff"]


@explains_names
def diff(
    x: ArrayLike,
    n: int = 1,
    axis: int = -1,
    prepend: ArrayLike | None = None,
    append: ArrayLike | None = None,
) -> Tensor:
    """The n-th differences of neighbours along an axis: x[i + 1] - x[i], n times over.

    Args:
        x: one axis or more.
        n: how often differences are taken; 0 gives x.
        prepend, append: what x is extended by along the axis before that.
    Returns: n elements fewer along the axis; truth values for truth values.
    Raises: ArgumentError if n is negative, IndexingError if x has no such axis.

    >>> diff([1.0, 4.0, 9.0, 16.0]).tolist()
    [3.0, 5.0, 7.0]
    >>> diff([1.0, 4.0, 9.0, 16.0], n=2).tolist()
    [2.0, 2.0]
    """
    x, n, axis = as_tensor(x), whole("diff: n", n), whole("diff: axis", axis)
    if n < 0:
        raise ArgumentError(f"diff: n={n} is negative; 0 gives x itself")
    ends = [e if e is None else as_tensor(e) for e in (prepend, x, append)]
    along = [e if e.ndim else broadcast_to(e, _one(x, axis)) for e in ends if e is not None]
    x = concatenate(along, axis) if len(along) > 1 else x
    for _ in range(n):
        ahead, behind = _slice(x, axis, 1, None), _slice(x, axis, 0, -1)
        x = ahead != behind if x.dtype == bool else ahead - behind
    return x


def _one(x: Tensor, axis: int) -> tuple[int, ...]:
    """The shape of x, with one element along the axis."""
    shape = list(x.shape)
    shape[axis] = 1
    return tuple(shape)


def _slice(x: Tensor, axis: int, start: int, stop: int | None) -> Tensor:
    """x[start:stop] along an axis."""
    return moveaxis(moveaxis(x, axis, 0)[start:stop], 0, axis)
