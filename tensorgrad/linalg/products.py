"""Products and diagonals as the array API's linalg has them: matrices are the last two axes."""

from __future__ import annotations

from ..core import Tensor
from ..errors import ShapeError
from ..functions import contraction, diagonals
from ..functions.inputs import arrays
from ..settings import gate
from ..typing import ArrayLike, DType


@gate
def cross(x1: ArrayLike, x2: ArrayLike, *, axis: int = -1) -> Tensor:
    """The cross product of vectors of three elements along an axis. See `tg.cross`.

    >>> cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]).tolist()
    [0.0, 0.0, 1.0]
    """
    return contraction.cross(x1, x2, axis=axis)


@gate
def outer(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """All products of an element of one vector and one of another: (n,), (m,) -> (n, m).

    Raises: ShapeError unless both have one axis; `tg.outer` takes arrays of several as flat.

    >>> outer([1.0, 2.0], [3.0, 4.0]).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    x, y = arrays(x1, x2)
    if len(x.shape) != 1 or len(y.shape) != 1:
        raise ShapeError(
            f"linalg.outer of shapes {tuple(x.shape)} and {tuple(y.shape)}: it takes vectors; "
            "tg.outer takes others as flat"
        )
    return contraction.outer(x, y)


@gate
def diagonal(x: ArrayLike, *, offset: int = 0) -> Tensor:
    """A diagonal of matrices: (..., n, m) -> (..., k). See `tg.diagonal`, for axes 0 and 1.

    >>> diagonal(np.ones((5, 2, 3))).shape
    (5, 2)
    """
    return diagonals.diagonal(x, offset, -2, -1)


@gate
def trace(x: ArrayLike, *, offset: int = 0, dtype: DType = None) -> Tensor:
    """The sum of a diagonal of matrices: (..., n, m) -> (...). See `tg.trace`, for axes 0 and 1.

    >>> trace(np.ones((5, 2, 3))).tolist()
    [2.0, 2.0, 2.0, 2.0, 2.0]
    """
    return contraction.trace(x, offset, -2, -1, dtype)
