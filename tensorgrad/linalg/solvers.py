"""Linear systems, inverses, determinants, and functions of a matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ..core import Tensor
from ..creation import beside, owned
from ..errors import ArgumentError, ShapeError
from ..functions.inputs import arrays, floating
from ..functions.reduce import sum
from ..functions.shape import reshape
from ..ops import linalg as ops
from ..ops.matmul import conjugated, matmul, transposed
from ..settings import gate
from ..typing import ArrayLike, NonNegative
from .decompositions import matrices, svdvals


class SlogdetResult(NamedTuple):
    """What `slogdet` returns."""

    sign: Tensor
    logabsdet: Tensor


class LstsqResult(NamedTuple):
    """What `lstsq` returns."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def _system(name: str, a: Any, b: Any) -> tuple[Any, Any, bool]:
    """Matrices a and b, and whether b was one vector."""
    x, y = [floating(z) for z in arrays(a, b)]
    if len(x.shape) < 2 or not len(y.shape) or y.shape[-2:][0] != x.shape[-2]:
        raise ShapeError(
            f"{name} of shapes {tuple(x.shape)} and {tuple(y.shape)}: it takes (..., n, m) and a "
            "vector (n,), or matrices (..., n, k)"
        )
    vector = len(y.shape) == 1
    return x, y[:, None] if vector else y, vector


@gate
def solve(a: ArrayLike, b: ArrayLike) -> Tensor:
    """x of a x = b: (..., n, n) and (n,) or (..., n, k) -> the shape of b, batches broadcast.

    Raises: LinAlgError that says which matrix is singular (on a GPU, where the host would have to
        wait, the result is infinite or NaN); ShapeError where shapes do not fit.

    As in NumPy, `b` is a vector only if it has one axis.

    >>> solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 2.0]).tolist()
    [1.0, 0.5]
    """
    x, y, vector = _system("solve", a, b)
    found = ops.solve(x, y)
    return found[..., 0] if vector else found


@gate
def solve_triangular(
    a: ArrayLike, b: ArrayLike, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """x of a x = b for triangular matrices, as PyTorch's: (..., n, n) and (n,) or (..., n, k).

    Args:
        upper: which triangle of a it is; the other one is not read.
        left: False for x of x a = b, b (..., k, n).
        unitriangular: whether the diagonal is 1, and not read.
    Raises: LinAlgError for a zero on the diagonal (on a GPU the result is infinite or NaN);
        ShapeError where shapes do not fit.

    >>> solve_triangular([[2.0, 0.0], [1.0, 4.0]], [2.0, 5.0], upper=False).tolist()
    [1.0, 1.0]
    """
    if not left:
        x, y = arrays(a, b)
        if len(y.shape) > 1:
            y = transposed(y)
        turned = solve_triangular(transposed(x), y, upper=not upper, unitriangular=unitriangular)
        return transposed(turned) if len(y.shape) > 1 else turned
    x, y, vector = _system("solve_triangular", a, b)
    found = ops.solve_triangular(x, y, lower=not upper, unit=bool(unitriangular))
    return found[..., 0] if vector else found


@gate
def cholesky_solve(b: ArrayLike, l: ArrayLike, upper: bool = False) -> Tensor:  # noqa: E741
    """x of a x = b, given the factor of a = l l^T by `cholesky`: (..., n, k), (..., n, n).

    Args:
        b: (n,) or (..., n, k).
        l: the factor, of which one triangle is read.
        upper: whether it is u of a = u^T u.
    Raises: the errors of `solve_triangular`.

    >>> cholesky_solve([8.0, 12.0], [[2.0, 0.0], [0.0, 2.0]]).tolist()
    [2.0, 3.0]
    """
    factor, y = arrays(l, b)
    if len(factor.shape) < 2:
        raise ShapeError(f"cholesky_solve: l has shape {tuple(factor.shape)}: give matrices")
    low = ops.adjoint(factor) if upper else factor
    half = solve_triangular(low, y, upper=False)
    return solve_triangular(ops.adjoint(low), half, upper=True)


@gate
def inv(a: ArrayLike) -> Tensor:
    """The inverse of square matrices: (..., n, n) -> (..., n, n). For a^-1 b, `solve(a, b)` is
    quicker and more accurate.

    Raises: LinAlgError that says which matrix is singular (on a GPU the result is infinite or NaN);
        ShapeError unless they are square.

    >>> inv([[2.0, 0.0], [0.0, 4.0]]).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    return ops.inv(matrices("inv", a))


@gate
def pinv(
    a: ArrayLike,
    rcond: ArrayLike | None = None,
    hermitian: bool = False,
    *,
    rtol: ArrayLike | None = None,
) -> Tensor:
    """The pseudo-inverse of Moore and Penrose, by singular values: (..., n, m) -> (..., m, n).

    Args:
        rcond, rtol: singular values of at most that times the largest count as 0, one number for
            all or one for each matrix; by default max(n, m) epsilons of the dtype. (Two names of
            one thing.)
        hermitian: whether a is symmetric, of which eigenvalues are found more quickly.
    Raises: LinAlgError for elements that are not finite.

    The gradient (Golub & Pereyra 1973) takes the rank as constant; where it changes, the
    pseudo-inverse is not continuous.

    >>> pinv([[2.0], [0.0]]).tolist()
    [[0.5, 0.0]]
    """
    x, rtol = matrices("pinv", a), rcond if rtol is None else rtol
    least = rtol if rtol is None else beside(rtol, x).detach()
    return ops.pinv(x, least, hermitian=bool(hermitian))


@gate
def lstsq(a: ArrayLike, b: ArrayLike, rcond: NonNegative | None = None) -> LstsqResult:
    """x of least |a x - b|, and of these the one of least |x|: pinv(a) b.

    Args:
        a: (..., n, m).
        b: (n,) or (..., n, k).
        rcond: as of `pinv`.
    Returns: (solution (..., m, k), the squares of residuals summed (..., k), rank, singular values
        of a). Of one matrix, as in NumPy, residuals are empty unless n > m and the rank is m, for
        which a GPU makes the host wait; of a batch they are empty unless n > m.

    The rank is taken as constant by the gradient.

    >>> lstsq([[1.0], [1.0]], [1.0, 3.0]).solution.round(4).tolist()
    [2.0]
    """
    x, y, vector = _system("lstsq", a, b)
    x = x if isinstance(x, Tensor) else owned(x.astype(y.dtype, copy=False), y.backend)
    s = svdvals(x)
    (n, m), least = x.shape[-2:], max(x.shape[-2:]) * np.finfo(s.dtype).eps
    if rcond is not None:
        least = rcond if 0 < rcond < 1 else np.finfo(s.dtype).eps  # as LAPACK's gelsd
    rank = (s > s[..., :1] * least).sum(-1)
    found = matmul(ops.pinv(x, rtol=least), y)
    if n > m and (x.ndim > 2 or rank.item() == m):
        gap = matmul(x, found) - y
        residuals = sum(gap * conjugated(gap), -2)
    else:
        residuals = sum(found, -2)[..., :0]
    return LstsqResult(found[..., 0] if vector else found, residuals, rank, s)


@gate
def det(a: ArrayLike) -> Tensor:
    """The determinant of square matrices: (..., n, n) -> (...). Where it may overflow, see
    `slogdet`.

    Raises: ShapeError unless they are square.

    The gradient is the matrix of cofactors, exact for singular matrices, too; the second one is
    infinite or NaN there. (On a GPU, backward waits for the host to see whether there are such.)

    >>> det([[1.0, 2.0], [3.0, 4.0]]).round(4).item()
    -2.0
    """
    return ops.det(matrices("det", a))


@gate
def slogdet(a: ArrayLike) -> SlogdetResult:
    """The sign of the determinant, 0 where it is 0, and the logarithm of its absolute value.

    Raises: ShapeError unless the matrices are square; in backward, LinAlgError for singular ones.

    >>> sign, logabsdet = slogdet([[0.0, 1.0], [1.0, 0.0]])
    >>> sign.item(), logabsdet.item()
    (-1.0, 0.0)
    """
    return SlogdetResult(*ops.slogdet(matrices("slogdet", a)))


# --- functions of a matrix ------------------------------------------------------------------------


@gate
def matrix_power(a: ArrayLike, n: int) -> Tensor:
    """Square matrices multiplied n times, by squaring: a^n; of the inverse where n is negative.

    Raises: ArgumentError unless n is whole, ShapeError unless the matrices are square, LinAlgError
        for a negative power of a singular one.

    >>> matrix_power([[1.0, 1.0], [0.0, 1.0]], 5).tolist()
    [[1.0, 5.0], [0.0, 1.0]]
    """
    x = owned(a)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"matrix_power of shape {x.shape}: it takes square matrices, (..., n, n)")
    x, n = (inv(x), -n) if n < 0 else (x, n)
    power: Any = None
    while n:
        if n & 1:
            power = x if power is None else matmul(power, x)
        n >>= 1
        x = matmul(x, x) if n else x
    return x * 0 + ops.eye_of(x) if power is None else power


@gate
def matrix_exp(a: ArrayLike) -> Tensor:
    """The exponential of square matrices, sum of a^k / k!, by scaling and squaring of a Padé
    approximant of degree 13 (Higham 2005): (..., n, n) -> (..., n, n).

    Raises: ShapeError unless they are square.

    The gradient is a block of the exponential of (a^T g; 0 a^T) (Najfeld & Havel 1995). On a GPU
    the host waits for the norm of a.

    >>> matrix_exp([[0.0, 1.0], [0.0, 0.0]]).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    return ops.matrix_exp(matrices("matrix_exp", a))


@gate
def multi_dot(arrays: Sequence[ArrayLike]) -> Tensor:
    """The product of two or more matrices, in the order of least work (Cormen et al., chapter 15).

    Args:
        arrays: matrices; the first may be a vector, a row, and the last, a column.
    Raises: ArgumentError for less than two, ShapeError where shapes do not fit.

    >>> multi_dot([np.ones((2, 3)), np.ones((3, 4)), np.ones(4)]).tolist()
    [12.0, 12.0]
    """
    xs = _chain(arrays)
    sizes = [1 if len(xs[0].shape) == 1 else xs[0].shape[0], *[x.shape[0] for x in xs[1:]]]
    sizes.append(1 if len(xs[-1].shape) == 1 else xs[-1].shape[1])
    n = len(xs)
    best: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            costs = [
                best[i, k][0] + best[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1]
                for k in range(i, j)
            ]
            best[i, j] = min(costs), i + costs.index(min(costs))

    def product(i: int, j: int) -> Any:
        if i == j:
            return xs[i]
        k = best[i, j][1]
        return matmul(product(i, k), product(k + 1, j))

    return product(0, n - 1)


def _chain(given: Sequence[ArrayLike]) -> list[Any]:
    xs = arrays(*given)
    if len(xs) < 2:
        raise ArgumentError(f"multi_dot: {len(xs)} arrays; give two or more")
    inner = [len(x.shape) for x in xs[1:-1]]
    ends = [len(x.shape) for x in (xs[0], xs[-1])]
    shapes = [tuple(x.shape) for x in xs]
    fits = all(a[-1] == b[0] for a, b in pairwise(shapes) if a and b)
    if not fits or any(n != 2 for n in inner) or any(n not in (1, 2) for n in ends):
        raise ShapeError(
            f"multi_dot of shapes {', '.join(map(str, shapes))}: it takes matrices whose inner "
            "lengths agree; the first and the last may be vectors"
        )
    return xs


@gate
def tensorinv(a: ArrayLike, ind: int = 2) -> Tensor:
    """The inverse with respect to tensordot: tensordot(tensorinv(a), a, ind) is the identity.

    Args:
        a: its first `ind` axes have as many elements as its last ones.
    Raises: ShapeError where they have not, LinAlgError where there is no inverse.

    >>> tensorinv(np.eye(6).reshape(2, 3, 6)).shape
    (6, 2, 3)
    """
    x = floating(owned(a))
    front, back = x.shape[: max(ind, 0)], x.shape[max(ind, 0) :]
    if ind < 1 or math.prod(front) != math.prod(back):
        raise ShapeError(
            f"tensorinv of shape {x.shape}, ind={ind}: the first {ind} axes and the others must "
            "have as many elements"
        )
    return reshape(inv(reshape(x, (math.prod(front), -1))), (*back, *front))


@gate
def tensorsolve(a: ArrayLike, b: ArrayLike, axes: Sequence[int] | None = None) -> Tensor:
    """x of tensordot(a, x, x.ndim) = b.

    Args:
        a: the shape of b, and behind it that of x.
        axes: axes of a that are first moved behind all others.
    Raises: ShapeError where shapes do not fit, LinAlgError where there is no one solution.

    >>> tensorsolve(np.eye(6).reshape(2, 3, 6), np.ones((2, 3))).shape
    (6,)
    """
    x, y = [floating(z) for z in arrays(a, b)]
    if axes is not None:
        order = [i for i in range(len(x.shape)) if i not in (moved := axes)]
        x = x.transpose([*order, *moved])
    front, back = tuple(x.shape[: len(y.shape)]), tuple(x.shape[len(y.shape) :])
    if front != tuple(y.shape) or math.prod(front) != math.prod(back):
        raise ShapeError(
            f"tensorsolve of shapes {tuple(x.shape)} and {tuple(y.shape)}: a has the shape of b, "
            "then as many elements"
        )
    n = math.prod(front)
    return reshape(solve(x.reshape(n, n), y.reshape(n)), back)
