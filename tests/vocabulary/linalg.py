"""Linear algebra: functions made of ops, and call forms of those that are one."""

import math

import numpy as np
import scipy.linalg

from tensorgrad.testing import draw, integers

from . import Row

A, TALL, WIDE, BATCH = draw((3, 3)) + 4 * np.eye(3), draw((4, 2)), draw((2, 3)), draw((2, 3, 3))
SYMMETRIC = A + A.T
POSITIVE = A @ A.T


def symmetric(f, a, **options):
    return f((a + a.mT) / 2, **options)


def linalg(name, *arrays, truth=None, **more):
    options = {k: v for k, v in more.items() if k not in Row._fields}
    more = {k: v for k, v in more.items() if k in Row._fields}
    return Row(f"linalg.{name}", truth or getattr(np.linalg, name), arrays, options, **more)


def _triangular(a, b, upper, left=True, unitriangular=False):
    a = np.triu(a) if upper else np.tril(a)
    if unitriangular:
        np.fill_diagonal(a, 1)
    return np.linalg.solve(a, b) if left else np.linalg.solve(a.T, b.T).T


def _lstsq(a, b, rcond=None):
    return [np.asarray(part) for part in np.linalg.lstsq(a, b, rcond)]


def _smallest(x, ord, axis=None, keepdims=False):
    return (np.abs(x) ** ord).sum(axis, keepdims=keepdims) ** (1 / ord)


def _reflected(a, tau):
    n, m = a.shape
    q = np.eye(n)
    for i, t in enumerate(tau):
        v = np.r_[np.zeros(i), 1, a[i + 1 :, i]]
        q = q @ (np.eye(n) - t * np.outer(v, v))
    return q[:, :m]


def _lu_solve(factors, pivots, b, left=True, adjoint=False):
    n, order = len(factors), np.arange(len(factors))
    for i, j in enumerate(pivots - 1):
        order[[i, j]] = order[[j, i]]
    a = np.zeros((n, n))
    a[order] = (np.tril(factors, -1) + np.eye(n)) @ np.triu(factors)
    a = a.T if adjoint else a
    return np.linalg.solve(a, b) if left else np.linalg.solve(a.T, b.T).T


def _lu_factor(a):
    factors, pivots = scipy.linalg.lu_factor(a)
    return factors, pivots + 1


_PIVOTS = np.array([3, 2, 3], "int32")
ROWS = [
    *[linalg("lu", a, truth=lambda a: scipy.linalg.lu(a)) for a in (A, TALL, WIDE)],
    linalg("lu_factor", WIDE, truth=_lu_factor),
    linalg("lu_solve", A, _PIVOTS, draw((3, 2)), truth=_lu_solve),
    linalg("lu_solve", A, _PIVOTS, draw((2, 3)), left=False, truth=_lu_solve),
    linalg("lu_solve", A, _PIVOTS, draw((3, 2)), adjoint=True, truth=_lu_solve),
    linalg("lu_solve", A, _PIVOTS, draw((2, 3)), left=False, adjoint=True, truth=_lu_solve),
    linalg("solve", A, draw((3,))),
    linalg("solve", BATCH + 4 * np.eye(3), draw((3, 2))),
    linalg("solve_triangular", A, draw((3,)), upper=True, truth=_triangular),
    linalg("solve_triangular", A, draw((3, 2)), upper=False, unitriangular=True, truth=_triangular),
    linalg("solve_triangular", A, draw((2, 3)), upper=True, left=False, truth=_triangular),
    linalg("cholesky", POSITIVE, upper=True, call=symmetric),
    linalg("cholesky_solve", draw((3,)), A, truth=lambda b, c: np.linalg.solve(
        np.tril(c) @ np.tril(c).T, b)),
    linalg("cholesky_solve", draw((3, 2)), A, upper=True, truth=lambda b, c, upper: np.linalg.solve(
        np.triu(c).T @ np.triu(c), b)),
    linalg("eigh", SYMMETRIC, UPLO="U", call=symmetric),
    linalg("eigvalsh", SYMMETRIC, call=symmetric),
    linalg("svd", A),
    linalg("svd", TALL, full_matrices=False),
    linalg("svd", WIDE, order=0),  # full
    linalg("svd", WIDE, compute_uv=False),
    linalg("svdvals", TALL),
    linalg("qr", TALL, mode="r"),
    linalg("qr", WIDE, mode="complete"),
    linalg("qr", TALL, mode="complete", order=0),
    linalg("householder_product", TALL, draw((2,)), truth=_reflected),
    linalg("householder_product", draw((3, 3)), draw((2,)), truth=_reflected),
    linalg("inv", A),
    linalg("pinv", WIDE, rcond=1e-10),
    linalg("pinv", SYMMETRIC, hermitian=True, call=symmetric),
    linalg("lstsq", TALL, draw((4,)), truth=_lstsq),
    linalg("lstsq", TALL, draw((4, 3)), truth=_lstsq),
    linalg("lstsq", WIDE, draw((2, 1)), truth=_lstsq),
    linalg("det", BATCH),
    linalg("slogdet", BATCH),
    linalg("matrix_power", A, 0),
    linalg("matrix_power", BATCH, 5),
    linalg("matrix_power", A, -3),
    linalg("matrix_power", integers((3, 3), 4), 3, order=0),
    linalg("matrix_exp", A / 4, truth=scipy.linalg.expm),
    linalg("multi_dot", TALL, WIDE, A, truth=lambda *xs: np.linalg.multi_dot(xs),
        call=lambda f, *xs: f(xs)),
    linalg("multi_dot", draw((4,)), TALL, WIDE, draw((3,)), truth=lambda *xs:
        np.linalg.multi_dot(xs), call=lambda f, *xs: f(xs)),
    linalg("tensorinv", draw((4, 2, 2)) + np.eye(4).reshape(4, 2, 2), ind=1),
    linalg("tensorsolve", draw((2, 3, 6)) + 4 * np.eye(6).reshape(2, 3, 6), draw((2, 3))),
    linalg("tensorsolve", draw((6, 2, 3)), draw((2, 3)), axes=(0,)),
    linalg("norm", A),
    linalg("norm", BATCH, axis=(0, 2), keepdims=True),
    linalg("norm", BATCH, ord=3, axis=1),
    linalg("norm", BATCH, ord="nuc", axis=(2, 0), keepdims=True),
    *[linalg("norm", A, order) for order in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)],
    *[linalg("vector_norm", BATCH, ord=order, axis=(0, 2)) for order in (1, 2, 2.5, -1, math.inf)],
    linalg("vector_norm", A, ord=0, order=0),
    linalg("vector_norm", A, ord=0.5, keepdims=True, truth=_smallest),
    linalg("vector_norm", A, ord=-math.inf),
    linalg("matrix_norm", BATCH, keepdims=True),
    *[linalg("cond", A, p) for p in (None, -2, 1, "fro", math.inf)],
    linalg("cond", TALL),
    linalg("matrix_rank", np.stack([np.diag([1.0, 2, 0]), A]), order=0),
    linalg("matrix_rank", SYMMETRIC, hermitian=True, rtol=0.5, order=0),
    linalg("cross", TALL[:3].T, draw((2, 3))),
    linalg("outer", A[0], A[1]),
    linalg("diagonal", BATCH, offset=1),
    linalg("trace", BATCH, offset=-1),
    linalg("matrix_transpose", BATCH),
    linalg("matmul", BATCH, A),
]  # fmt: skip
