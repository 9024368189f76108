"""The LU factorisation, and systems solved by it."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core import Tensor
from ..creation import beside
from ..errors import DTypeError, ShapeError
from ..functions.indexing import take_along_axis
from ..functions.inputs import arrays
from ..functions.sorting import argsort
from ..ops import linalg
from ..ops import lu as ops
from ..ops.matmul import conjugated, transposed
from ..settings import gate
from ..typing import ArrayLike
from .decompositions import matrices
from .solvers import solve_triangular


class LUResult(NamedTuple):
    """What `lu` returns."""

    P: Tensor
    L: Tensor
    U: Tensor


class LUFactorResult(NamedTuple):
    """What `lu_factor` returns."""

    LU: Tensor
    pivots: Tensor


@gate
def lu(a: ArrayLike) -> LUResult:
    """a = P L U with rows exchanged for the largest pivots: (..., n, m) -> a permutation P (..., n,
    n), a lower triangle L (..., n, k) with ones on its diagonal, and an upper one U (..., k, m),
    with k the shorter side.

    Raises: ShapeError for what is no matrix; LinAlgError in backward where U is singular.

    >>> p, l, u = lu([[1.0, 2.0], [4.0, 4.0]])
    >>> p.tolist(), l.tolist(), u.tolist()
    ([[0.0, 1.0], [1.0, 0.0]], [[1.0, 0.0], [0.25, 1.0]], [[4.0, 4.0], [0.0, 1.0]])
    """
    x = matrices("lu", a)
    factors, pivots = ops.lu_factor(x)
    k = min(x.shape[-2:])
    low, up = factors[..., :k], factors[..., :k, :]
    low = linalg.triangle(low, 0.0) + linalg.eye_of(low)
    return LUResult(
        Tensor(ops.permuting(pivots, x._data)), low, transposed(linalg.triangle(transposed(up)))
    )


@gate
def lu_factor(a: ArrayLike) -> LUFactorResult:
    """L and U of `lu` in one array, as `lu_solve` takes them, L without its diagonal of ones:
    (..., n, m) -> (..., n, m). And the row, from 1, with which each step exchanged its own, int32
    (..., k), as LAPACK has them.

    >>> factors, pivots = lu_factor([[1.0, 2.0], [4.0, 4.0]])
    >>> factors.tolist(), pivots.tolist()
    ([[4.0, 4.0], [0.25, 1.0]], [2, 2])
    """
    return LUFactorResult(*ops.lu_factor(matrices("lu_factor", a)))


@gate
def lu_solve(
    LU: ArrayLike, pivots: ArrayLike, B: ArrayLike, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """x of a x = B by the `lu_factor` of a (..., n, n), once made for several B (..., n, k).

    Args:
        left: False for x of x a = B, B (..., k, n).
        adjoint: a stands for its conjugate transpose.
    Raises: LinAlgError where a is singular (on a GPU the result is infinite or NaN); ShapeError
        where shapes do not fit, DTypeError for pivots that are no integers.

    >>> lu_solve(*lu_factor([[1.0, 2.0], [4.0, 4.0]]), [[3.0], [8.0]]).tolist()
    [[1.0], [1.0]]
    """
    x, y = [matrices("lu_solve", z) for z in arrays(LU, B)]
    if not left:  # a^H x^H = B^H
        turned = lu_solve(x, pivots, _adjoint(y), adjoint=not adjoint)
        return _adjoint(turned)
    at: Any = beside(pivots, x)._data
    if at.dtype.kind not in "iu":
        raise DTypeError(f"lu_solve: pivots are integers, as lu_factor gives them, not {at.dtype}")
    n = x.shape[-1]
    if not x.shape[-2] == y.shape[-2] == n or at.shape != x.shape[:-1]:
        raise ShapeError(
            f"lu_solve of LU {x.shape}, pivots {at.shape} and B {y.shape}: it takes (..., n, n), "
            "(..., n) and (..., n, k)"
        )
    order = Tensor(ops.permutation(at, n))
    if adjoint:
        x = _adjoint(x)
        half = solve_triangular(x, y, upper=False)
        y = solve_triangular(x, half, upper=True, unitriangular=True)
        return _rows(y, argsort(order))
    half = solve_triangular(x, _rows(y, order), upper=False, unitriangular=True)
    return solve_triangular(x, half, upper=True)


def _adjoint(x: Tensor) -> Tensor:
    return conjugated(transposed(x))  # type: ignore[no-any-return]


def _rows(y: Tensor, order: Tensor) -> Tensor:
    """The rows of y (..., n, k) in an order (..., n)."""
    return take_along_axis(y, order[..., None], axis=-2)
