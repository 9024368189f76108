"""Diagonals and triangles of matrices, the last two axes where a function does not say otherwise.

On each of them offset 0 is the main diagonal, 1 the one above it, -1 the one below.
"""

from __future__ import annotations

import numpy as np

from ..backend import namespace
from ..core import Tensor
from ..creation import asarray, beside, owned
from ..errors import ShapeError
from ..ops.index import scatter_add
from ..settings import gate
from ..typing import ArrayLike
from .elementwise import where
from .inputs import axis_of
from .shape import broadcast_to, moveaxis, reshape

__all__ = [
    "diag",
    "diag_embed",
    "diagflat",
    "diagonal",
    "fill_diagonal",
    "tril",
    "tril_indices",
    "triu",
    "triu_indices",
]


def _steps(rows: int, columns: int, offset: int) -> slice:
    """Where a diagonal is in the flattened matrix."""
    start = offset if offset >= 0 else -offset * columns
    count = max(0, min(rows + min(offset, 0), columns - max(offset, 0)))
    return slice(start, start + count * (columns + 1), columns + 1)


def _placed(x: Tensor, at: slice, shape: tuple[int, ...]) -> Tensor:
    """Zeros of (..., *shape) with x (..., n) at the slice of each flattened matrix."""
    flat = (*x.shape[:-1], shape[0] * shape[1])
    return reshape(scatter_add(x, shape=flat, template=(..., at)), (*x.shape[:-1], *shape))


@gate
def diagonal(x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """A diagonal of the matrices of two axes: (rows, columns) -> (n,), other axes come first.

    Args:
        offset: 0 for the main diagonal, positive above it, negative below.
        axis1, axis2: the axes of rows and columns.
    Raises: ShapeError where the two are the same, IndexingError for an axis that `x` has not.

    >>> diagonal([[1, 2, 3], [4, 5, 6]]).tolist(), diagonal([[1, 2, 3], [4, 5, 6]], 1).tolist()
    ([1, 5], [2, 6])
    """
    x = owned(x)
    first, second = axis_of("diagonal", x, axis1), axis_of("diagonal", x, axis2)
    if first == second:
        raise ShapeError(f"diagonal: axis1 and axis2 are both axis {first} of shape {x.shape}")
    x = moveaxis(x, (first, second), (-2, -1))
    rows, columns = x.shape[-2:]
    flat = reshape(x, (*x.shape[:-2], rows * columns))
    return flat[..., _steps(rows, columns, offset)]


@gate
def diag_embed(x: ArrayLike, offset: int = 0, axis1: int = -2, axis2: int = -1) -> Tensor:
    """Square matrices with the last axis of `x` on a diagonal, zeros elsewhere: (..., n) ->
    (..., m, m), m = n + |offset|. `diagonal` with the same offset and axes gives x back.

    Args:
        offset: 0 for the main diagonal, positive above it, negative below.
        axis1, axis2: where the axes of rows and columns are in the result.
    Raises: ShapeError where the two are the same, or for an `x` without axes.

    >>> diag_embed([1.0, 2.0], 1).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
    """
    x = owned(x)
    if not x.ndim:
        raise ShapeError("diag_embed: x is one number; it takes one axis or more")
    n = x.shape[-1] + abs(offset)
    y = _placed(x, _steps(n, n, offset), (n, n))
    first, second = axis_of("diag_embed", y, axis1), axis_of("diag_embed", y, axis2)
    if first == second:
        raise ShapeError(f"diag_embed: axis1 and axis2 are both axis {first} of shape {y.shape}")
    return moveaxis(y, (-2, -1), (first, second))


@gate
def diag(x: ArrayLike, k: int = 0) -> Tensor:
    """The k-th diagonal of a matrix, or the matrix with `x` (n,) as its k-th diagonal.

    Raises: ShapeError unless `x` has one or two axes.

    >>> diag([[1.0, 2.0], [3.0, 4.0]]).tolist(), diag([1.0, 2.0]).tolist()
    ([1.0, 4.0], [[1.0, 0.0], [0.0, 2.0]])
    """
    x = owned(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        raise ShapeError(f"diag: x of shape {x.shape}: one axis, or two; see diagonal, diag_embed")
    return diag_embed(x, k)


@gate
def diagflat(x: ArrayLike, k: int = 0) -> Tensor:
    """The matrix with all numbers of `x`, in row-major order, as its k-th diagonal.

    >>> diagflat([[1.0], [2.0]]).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    return diag_embed(reshape(owned(x), -1), k)


@gate
def fill_diagonal(x: ArrayLike, value: ArrayLike, wrap: bool = False) -> Tensor:
    """`x` with other numbers on the main diagonal: of a matrix, or of more axes of one length the
    elements x[i, i, ..., i]. (np.fill_diagonal writes into its array; this gives a new tensor.)

    Args:
        value: a number, or one for each element of the diagonal.
        wrap: whether the diagonal of a tall matrix starts again after a row in between.
    Raises: ShapeError where `x` has less than two axes, more than two of different lengths, or
        `value` does not fit.

    >>> fill_diagonal([[1.0, 2.0], [3.0, 4.0]], 0.0).tolist()
    [[0.0, 2.0], [3.0, 0.0]]
    """
    x = owned(x)
    if x.ndim < 2 or (x.ndim > 2 and len({*x.shape}) > 1):
        raise ShapeError(
            f"fill_diagonal: x of shape {x.shape}: a matrix, or more axes of one length"
        )
    step = 1 + sum([int(np.prod(x.shape[i + 1 :])) for i in range(x.ndim - 1)])
    end = x.size if wrap or x.ndim > 2 else min(x.size, x.shape[1] ** 2)
    at, v = slice(0, end, step), beside(value, x)
    count = len(range(0, end, step))
    if v.size not in (1, count):
        raise ShapeError(f"fill_diagonal: {v.size} values for a diagonal of {count} elements")
    v = broadcast_to(reshape(v, -1), count).astype(x.dtype)
    mask = namespace(x._data).zeros(x.size, dtype=bool)
    mask[at] = True
    flat = scatter_add(v, shape=(x.size,), template=(at,))
    return reshape(where(Tensor(mask), flat, reshape(x, -1)), x.shape)


def _triangle(name: str, x: ArrayLike, k: int, lower: bool) -> Tensor:
    """x where its elements are below the diagonal k or on it, or above it."""
    x = owned(x)
    if not x.ndim:
        raise ShapeError(f"{name}: x is one number; it takes matrices")
    xp, (rows, columns) = namespace(x._data), (x.shape * 2)[-2:]  # of a row: its copies, as NumPy
    column, row = xp.arange(columns), xp.arange(rows)[:, None] + k
    return where(
        Tensor(column <= row if lower else column >= row), x, Tensor(xp.zeros((), x.dtype))
    )


@gate
def tril(x: ArrayLike, k: int = 0) -> Tensor:
    """The lower triangles of matrices (..., rows, columns): zeros above the k-th diagonal.

    Raises: ShapeError for an `x` without axes.

    >>> tril([[1.0, 2.0], [3.0, 4.0]]).tolist()
    [[1.0, 0.0], [3.0, 4.0]]
    """
    return _triangle("tril", x, k, True)


@gate
def triu(x: ArrayLike, k: int = 0) -> Tensor:
    """The upper triangles of matrices (..., rows, columns): zeros below the k-th diagonal.

    Raises: ShapeError for an `x` without axes.

    >>> triu([[1.0, 2.0], [3.0, 4.0]], 1).tolist()
    [[0.0, 2.0], [0.0, 0.0]]
    """
    return _triangle("triu", x, k, False)


@gate
def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements of an (n, m) matrix below its k-th diagonal or on it, int64,
    in row-major order; m is n where left out.

    >>> [i.tolist() for i in tril_indices(2)]
    [[0, 1, 1], [0, 0, 1]]
    """
    rows, columns = np.tril_indices(n, k, m)
    return asarray(rows), asarray(columns)


@gate
def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """Rows and columns of the elements of an (n, m) matrix above its k-th diagonal or on it, int64,
    in row-major order; m is n where left out.

    >>> [i.tolist() for i in triu_indices(2)]
    [[0, 0, 1], [0, 1, 1]]
    """
    rows, columns = np.triu_indices(n, k, m)
    return asarray(rows), asarray(columns)
