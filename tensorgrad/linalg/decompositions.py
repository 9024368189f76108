"""Factorisations of matrices."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, overload

from ..core import Tensor
from ..creation import owned
from ..errors import GraphError, ShapeError
from ..functions.inputs import floating
from ..ops import decompositions as factor
from ..ops import linalg as ops
from ..ops.matmul import matmul
from ..settings import gate
from ..switches import switches
from ..typing import ArrayLike


class EigResult(NamedTuple):
    """What `eig` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class EighResult(NamedTuple):
    """What `eigh` returns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class QRResult(NamedTuple):
    """What `qr` returns."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """What `svd` returns."""

    U: Tensor
    S: Tensor
    Vh: Tensor


def matrices(name: str, a: Any) -> Tensor:
    """A matrix or a stack of such as a floating Tensor."""
    x = floating(owned(a))
    if x.ndim < 2:
        raise ShapeError(f"{name} of shape {x.shape}: a matrix has two axes, a stack of them more")
    return x


def _ungraded(name: str, a: Tensor, remedy: str) -> Tensor:
    """a off the tape; GraphError where a gradient would be lost."""
    if a.requires_grad and switches.recording:
        raise GraphError(
            f"{name} of shape {a.shape} has columns without a gradient, as any that complete the "
            f"others are right: {remedy}, or give a.detach()"
        )
    return a


@gate
def cholesky(a: ArrayLike, *, upper: bool = False) -> Tensor:
    """The triangle l with positive diagonal of a = l l^T, for positive definite matrices:
    (..., n, n) -> (..., n, n).

    Args:
        upper: whether the result is u of a = u^T u instead.
    Raises: LinAlgError that says which matrix is not positive definite (on a GPU, where the host
        would have to wait, its factor is NaN); ShapeError unless the matrices are square.

    Only the triangle that is asked for is read; the gradient is symmetric, as if both were changed
    together, in PyTorch and JAX, too (Murray 2016).

    >>> cholesky([[4.0, 2.0], [2.0, 5.0]]).tolist()
    [[2.0, 0.0], [1.0, 2.0]]
    """
    x = matrices("cholesky", a)
    return ops.adjoint(factor.cholesky(ops.adjoint(x))) if upper else factor.cholesky(x)


@gate
def eig(a: ArrayLike) -> EigResult:
    """Eigenvalues w and eigenvectors v, as columns of length 1, of any square matrices:
    a v = v diag(w). Both are complex, in no order. `eigh` is for symmetric matrices.

    Args:
        a: (..., n, n).
    Returns: (eigenvalues (..., n), eigenvectors (..., n, n)).
    Raises: LinAlgError for elements that are not finite, ShapeError unless the matrices are square,
        BackendError where CuPy is too old to have it. In backward: GraphError for what depends on
        the phases of complex eigenvectors, which are free (on a GPU nothing is said).

    Gradients (Boeddeker et al. 2017) are NaN or infinite if eigenvectors are used of a value that
    occurs more than once; `eigvals` gives values alone.

    >>> w, v = eig([[0.0, -2.0], [2.0, 0.0]])
    >>> w.imag.tolist()
    [2.0, -2.0]
    """
    return EigResult(*factor.eig(matrices("eig", a)))


@gate
def eigvals(a: ArrayLike) -> Tensor:
    """Eigenvalues of any square matrices, complex, in no order: (..., n, n) -> (..., n).

    Raises: the errors of `eig`.

    The gradient is finite also where values coincide, if there are n independent eigenvectors:
    exact for what does not depend on the order of equal ones, such as a sum.

    >>> eigvals([[2.0, 1.0], [0.0, 3.0]]).real.tolist()
    [2.0, 3.0]
    """
    return factor.eigvals(matrices("eigvals", a))


@gate
def eigh(a: ArrayLike, UPLO: Literal["L", "U"] = "L") -> EighResult:
    """Eigenvalues w, in ascending order, and orthonormal eigenvectors v, as columns, of symmetric
    matrices: a v = v diag(w).

    Args:
        a: (..., n, n), of which one triangle is read.
        UPLO: "L" for the lower triangle, "U" for the upper.
    Returns: (eigenvalues (..., n), eigenvectors (..., n, n)).
    Raises: LinAlgError for elements that are not finite, ShapeError unless the matrices are square.

    The gradient is symmetric. Eigenvectors of a value that occurs more than once have none, and
    it is NaN or infinite if they are used; `eigvalsh` gives values alone.

    >>> w, v = eigh([[2.0, 1.0], [1.0, 2.0]])
    >>> w.round(4).tolist()
    [1.0, 3.0]
    """
    return EighResult(*factor.eigh(matrices("eigh", a), uplo=UPLO))


@gate
def eigvalsh(a: ArrayLike, UPLO: Literal["L", "U"] = "L") -> Tensor:
    """Eigenvalues of symmetric matrices, in ascending order: (..., n, n) -> (..., n).

    Args: those of `eigh`.
    Raises: the errors of `eigh`.

    The gradient is finite also where values coincide: exact for what does not depend on their
    order, such as a sum or a largest value.

    >>> eigvalsh([[2.0, 1.0], [1.0, 2.0]]).round(4).tolist()
    [1.0, 3.0]
    """
    return factor.eigvalsh(matrices("eigvalsh", a), uplo=UPLO)


@overload
def svd(a: ArrayLike, full_matrices: bool = ..., compute_uv: Literal[True] = ...) -> SVDResult: ...
@overload
def svd(a: ArrayLike, full_matrices: bool = ..., *, compute_uv: Literal[False]) -> Tensor: ...
@gate
def svd(a: ArrayLike, full_matrices: bool = True, compute_uv: bool = True) -> SVDResult | Tensor:
    """The singular value decomposition a = u diag(s) vh: u and vh^T with orthonormal columns, s in
    descending order.

    Args:
        a: (..., n, m); k is the smaller of the two.
        full_matrices: whether u is (..., n, n) and vh (..., m, m); else they are (..., n, k) and
            (..., k, m).
        compute_uv: False for s alone, as `svdvals`.
    Returns: (U, S, Vh), S (..., k).
    Raises: LinAlgError for elements that are not finite; GraphError for full matrices of a tensor
        on the tape that are not square, as the columns beyond k have no gradient.

    Gradients (Townsend 2016) are NaN or infinite if vectors are used of a singular value that
    occurs more than once, or that is 0 where n and m differ; `svdvals` gives values alone.

    >>> u, s, vh = svd([[0.0, 2.0], [1.0, 0.0]])
    >>> s.tolist()
    [2.0, 1.0]
    """
    x = matrices("svd", a)
    if not compute_uv:
        return svdvals(x)
    full = bool(full_matrices) and x.shape[-1] != x.shape[-2]
    if full:
        x = _ungraded("svd: full_matrices", x, "write svd(a, full_matrices=False)")
    return SVDResult(*factor.svd(x, full=full))


@gate
def svdvals(x: ArrayLike) -> Tensor:
    """Singular values, in descending order: (..., n, m) -> (..., min(n, m)).

    Raises: LinAlgError for elements that are not finite.

    The gradient is finite also where values coincide or are 0.

    >>> svdvals([[0.0, 2.0], [1.0, 0.0]]).tolist()
    [2.0, 1.0]
    """
    return factor.svdvals(matrices("svdvals", x))


@overload
def qr(a: ArrayLike, mode: Literal["reduced", "complete"] = ...) -> QRResult: ...
@overload
def qr(a: ArrayLike, mode: Literal["r"]) -> Tensor: ...
@gate
def qr(a: ArrayLike, mode: Literal["reduced", "complete", "r"] = "reduced") -> QRResult | Tensor:
    """a = q r, q with orthonormal columns and r an upper triangle.

    Args:
        a: (..., n, m); k is the smaller of the two.
        mode: "reduced" for q (..., n, k) and r (..., k, m), "complete" for q (..., n, n) and r
            (..., n, m), "r" for the reduced r alone.
    Returns: (Q, R), or R.
    Raises: GraphError for a complete q of a tensor on the tape with n > m, as the columns beyond k
        have no gradient. In backward: LinAlgError where the first k columns depend on each other,
        so that q has none.

    Gradients are those of Walter & Lehmann 2012, of wide matrices Roberts & Roberts 2020.

    >>> q, r = qr([[3.0, 1.0], [4.0, 2.0]])
    >>> (q @ r).round(4).tolist()
    [[3.0, 1.0], [4.0, 2.0]]
    """
    x = matrices("qr", a)
    how = mode
    if how == "complete" and x.shape[-2] > x.shape[-1]:
        x = _ungraded("qr: mode='complete'", x, "write qr(a)")
        return QRResult(*factor.qr(x, mode="complete"))
    found = QRResult(*factor.qr(x))
    return found.R if how == "r" else found


@gate
def householder_product(a: ArrayLike, tau: ArrayLike) -> Tensor:
    """The first m columns of a product of reflections (1 - tau_1 v_1 v_1^T) (1 - tau_2 ...) ...,
    as LAPACK's geqrf and PyTorch keep them: (..., n, m), (..., k) -> (..., n, m).

    Args:
        a: v_i is column i below the diagonal, with 1 on it and 0 above.
        tau: at most m of them.
    Raises: ShapeError where shapes do not fit.

    >>> householder_product([[0.0], [1.0]], [1.0]).tolist()
    [[0.0], [-1.0]]
    """
    x, t = matrices("householder_product", a), floating(owned(tau))
    (n, m), k = x.shape[-2:], t.shape[-1] if t.ndim else -1
    if n < m or not 0 <= k <= m:
        raise ShapeError(
            f"householder_product of shapes {x.shape} and {t.shape}: a has as many rows as columns "
            "or more, tau at most as many elements as a has columns"
        )
    one = ops.eye_of(x)
    v = ops.triangle(x, 0.0) + one
    q = v * 0 + one
    for i in reversed(range(k)):
        column = v[..., i : i + 1]
        q = q - t[..., i, None, None] * matmul(column, matmul(ops.adjoint(column), q))
    return q
