"""Arrays as sets of numbers, as in NumPy: flattened, each number once, in ascending order.

How many there are depends on the numbers: a GPU is waited for. Gradients go to the elements that
are the result. A NaN is in no other set.
"""

from __future__ import annotations

from ..core import Tensor
from ..creation import beside, owned
from ..settings import gate
from ..typing import ArrayLike
from .shape import concatenate, reshape
from .sorting import isin, sort, unique

__all__ = ["intersect1d", "setdiff1d", "setxor1d", "union1d"]


def _both(a: ArrayLike, b: ArrayLike) -> tuple[Tensor, Tensor]:
    a = owned(a)
    return reshape(a, -1), reshape(beside(b, a), -1)


def _members(x: Tensor, distinct: bool) -> Tensor:
    return x if distinct else unique(x)  # type: ignore[return-value]


@gate
def union1d(ar1: ArrayLike, ar2: ArrayLike) -> Tensor:
    """What is in either.

    >>> union1d([3, 1], [2, 1]).tolist()
    [1, 2, 3]
    """
    return unique(concatenate(_both(ar1, ar2)))  # type: ignore[return-value]


@gate
def intersect1d(
    ar1: ArrayLike, ar2: ArrayLike, assume_unique: bool = False, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor, Tensor]:
    """What is in both.

    Args:
        assume_unique: NumPy's promise that neither has an element twice.
        return_indices: also the places of the first occurrences in the flattened arrays.

    >>> intersect1d([3, 1, 2], [2, 3]).tolist()
    [2, 3]
    >>> [part.tolist() for part in intersect1d([3, 1, 2], [2, 3], return_indices=True)]
    [[2, 3], [2, 0], [0, 1]]
    """
    a, b = _both(ar1, ar2)
    values, at = unique(a, return_index=True)
    others, there = unique(b, return_index=True)
    shared = isin(values, others)
    found = values[shared]
    return (found, at[shared], there[isin(others, values)]) if return_indices else found


@gate
def setdiff1d(ar1: ArrayLike, ar2: ArrayLike, assume_unique: bool = False) -> Tensor:
    """What is in the first and not in the second.

    With `assume_unique`, the promise that the first has no element twice, in its order.

    >>> setdiff1d([3, 1, 2, 3], [2]).tolist()
    [1, 3]
    """
    a, b = _both(ar1, ar2)
    a = _members(a, assume_unique)
    return a[isin(a, b, invert=True)]


@gate
def setxor1d(ar1: ArrayLike, ar2: ArrayLike, assume_unique: bool = False) -> Tensor:
    """What is in one of them alone. `assume_unique`: NumPy's promise that neither has an element
    twice.

    >>> setxor1d([3, 1, 2], [2, 4]).tolist()
    [1, 3, 4]
    """
    a, b = [_members(x, assume_unique) for x in _both(ar1, ar2)]
    parts = [a[isin(a, b, invert=True)], b[isin(b, a, invert=True)]]
    return sort(concatenate(parts))
