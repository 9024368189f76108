"""Matrices: tensorgrad's functions, which are differentiable, under Keras's signatures."""

from __future__ import annotations

from typing import Any

import numpy as np

import tensorgrad as tg

from .core import Tensor, cast, convert_to_tensor, floating, together, untracked
from .table import axes


def _pair(a: Any, b: Any) -> list[Tensor]:
    return [floating(x) for x in together(convert_to_tensor(a), convert_to_tensor(b))]


def cholesky(a: Any, upper: bool = False) -> Tensor:
    """a = l @ l^H."""
    return tg.linalg.cholesky(floating(a), upper=upper)


def cholesky_inverse(a: Any, upper: bool = False) -> Tensor:
    """The inverse of the matrix whose factor is given; its other triangle is not read."""
    a = (tg.triu if upper else tg.tril)(floating(a))
    product = tg.swapaxes(a, -1, -2) @ a if upper else a @ tg.swapaxes(a, -1, -2)
    return tg.linalg.inv(product)


def det(a: Any) -> Tensor:
    """The determinant."""
    return tg.linalg.det(floating(a))


def inv(a: Any) -> Tensor:
    """The inverse."""
    return tg.linalg.inv(floating(a))


def eig(a: Any) -> tuple[Tensor, Tensor]:
    """Eigenvalues and eigenvectors."""
    w, v = tg.linalg.eig(floating(a))
    return w, v


def eigh(a: Any) -> tuple[Tensor, Tensor]:
    """Those of a symmetric matrix."""
    w, v = tg.linalg.eigh(floating(a))
    return w, v


def lu_factor(a: Any) -> tuple[Tensor, Tensor]:
    """Gaussian elimination with pivots: both factors in one matrix, and the rows exchanged."""
    untracked("lu_factor", a)
    given = floating(a)
    lu = np.array(given.numpy())
    if lu.ndim < 2:
        raise ValueError(f"lu_factor takes matrices, got shape {lu.shape}")
    m, n = lu.shape[-2:]
    pivots = np.zeros((*lu.shape[:-2], min(m, n)), "int32")
    for place in np.ndindex(lu.shape[:-2]):
        x, rows = lu[place], pivots[place]
        for k in range(min(m, n)):
            rows[k] = top = k + np.abs(x[k:, k]).argmax()
            x[[k, top]] = x[[top, k]]
            if x[k, k]:
                x[k + 1 :, k] /= x[k, k]
            x[k + 1 :, k + 1 :] -= np.outer(x[k + 1 :, k], x[k, k + 1 :])
    return convert_to_tensor(lu, given.dtype), convert_to_tensor(pivots)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Tensor:
    """The norm of vectors or matrices; ValueError for an axis that is not there."""
    try:
        return tg.linalg.norm(floating(x), ord, axes(axis), keepdims)
    except IndexError as error:
        raise ValueError(str(error)) from error


def qr(x: Any, mode: Any = "reduced") -> tuple[Tensor, Tensor]:
    """x = q @ r."""
    if mode not in ("reduced", "complete"):
        raise ValueError(
            "`mode` argument value not supported. Expected one of {'reduced', 'complete'}. "
            f"Received: mode={mode}"
        )
    q, r = tg.linalg.qr(floating(x), mode)
    return q, r


def solve(a: Any, b: Any) -> Tensor:
    """x of a @ x = b."""
    a, b = _pair(a, b)
    if b.ndim == a.ndim - 1:
        return tg.squeeze(tg.linalg.solve(a, tg.expand_dims(b, -1)), -1)
    return tg.linalg.solve(a, b)


def solve_triangular(a: Any, b: Any, lower: bool = False) -> Tensor:
    """x of a @ x = b, where a is triangular."""
    a, b = _pair(a, b)
    if b.ndim == a.ndim - 1:
        y = tg.linalg.solve_triangular(a, tg.expand_dims(b, -1), upper=not lower)
        return tg.squeeze(y, -1)
    return tg.linalg.solve_triangular(a, b, upper=not lower)


def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Singular values, and vectors."""
    if not compute_uv:
        return tg.linalg.svd(floating(x), full_matrices, compute_uv=False)
    return tuple(tg.linalg.svd(floating(x), full_matrices))


def lstsq(a: Any, b: Any, rcond: Any = None) -> Tensor:
    """x of the least |a @ x - b|."""
    a, b = _pair(a, b)
    row = b.ndim == 1
    y = tg.linalg.lstsq(a, tg.expand_dims(b, -1) if row else b, rcond)[0]
    return tg.squeeze(y, -1) if row else y


def pinv(x: Any, rcond: Any = None) -> Tensor:
    """The pseudo-inverse."""
    return tg.linalg.pinv(floating(x), rcond)


def matrix_rank(x: Any, tol: Any = None) -> Tensor:
    """The number of singular values above a tolerance."""
    return cast(tg.linalg.matrix_rank(floating(x), tol), "int32")


def jvp(fun: Any, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """fun(*primals), and its derivative along the tangents."""
    xs, vs = ([convert_to_tensor(a) for a in given] for given in (primals, tangents))
    return tg.jvp(fun, xs, vs, has_aux=True) if has_aux else tg.jvp(fun, xs, vs)
