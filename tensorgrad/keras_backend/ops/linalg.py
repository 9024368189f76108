"""Matrices: tensorgrad's functions, which are differentiable, under Keras's signatures."""

from __future__ import annotations

from typing import Any

import numpy as np

import tensorgrad as tg

from .core import Tensor, convert_to_tensor, floating, together, untracked
from .table import define, floats, made, unary

_HERE = globals()
define(_HERE, "det inv eig eigh", lambda f: unary(f, floating), tg.linalg)
define(_HERE, "cholesky norm pinv svd", lambda f: made(f, 1, floats), tg.linalg)
define(_HERE, "matrix_rank", lambda f: made(f, 1, floats, "int32"), tg.linalg)


def _pair(a: Any, b: Any) -> list[Tensor]:
    return [floating(x) for x in together(convert_to_tensor(a), convert_to_tensor(b))]


def cholesky_inverse(a: Any, upper: bool = False) -> Tensor:
    """The inverse of the matrix whose factor is given; its other triangle is not read."""
    a = (tg.triu if upper else tg.tril)(floating(a))
    product = tg.swapaxes(a, -1, -2) @ a if upper else a @ tg.swapaxes(a, -1, -2)
    return tg.linalg.inv(product)


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


def qr(x: Any, mode: Any = "reduced") -> tuple[Tensor, Tensor]:
    """x = q @ r."""
    if mode not in ("reduced", "complete"):
        raise ValueError(
            "`mode` argument value not supported. Expected one of {'reduced', 'complete'}. "
            f"Received: mode={mode}"
        )
    q, r = tg.linalg.qr(floating(x), mode)
    return q, r


def _solved(a: Any, b: Any, function: Any) -> Tensor:
    """function(a, b), where b may have an axis less: columns without theirs."""
    a, b = _pair(a, b)
    if b.ndim == a.ndim - 1:
        return tg.squeeze(function(a, tg.expand_dims(b, -1)), -1)
    y: Tensor = function(a, b)
    return y


def solve(a: Any, b: Any) -> Tensor:
    """x of a @ x = b."""
    return _solved(a, b, tg.linalg.solve)


def solve_triangular(a: Any, b: Any, lower: bool = False) -> Tensor:
    """x of a @ x = b, where a is triangular."""
    return _solved(a, b, lambda a, b: tg.linalg.solve_triangular(a, b, upper=not lower))


def lstsq(a: Any, b: Any, rcond: Any = None) -> Tensor:
    """x of the least |a @ x - b|."""
    return _solved(a, b, lambda a, b: tg.linalg.lstsq(a, b, rcond)[0])


def jvp(fun: Any, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """fun(*primals), and its derivative along the tangents."""
    xs, vs = ([convert_to_tensor(a) for a in given] for given in (primals, tangents))
    return tg.jvp(fun, xs, vs, has_aux=True) if has_aux else tg.jvp(fun, xs, vs)
