"""Factorisations of matrices: Cholesky, eigenvalues, singular values, QR.

linalg.py says how the gradients are written.
"""

import numpy as np

from ..backend import namespace
from ..core import Tensor, op
from ..errors import BackendError, GraphError
from .linalg import (
    adjoint,
    complaint,
    eye_of,
    first_failing,
    module,
    solve,
    solve_triangular,
    square,
    triangle,
)
from .matmul import conjugated, matmul
from .reduce import narrow, widened
from .samples import calls, draw
from .shape import concat, full_like

_INDEFINITE = "is not positive definite; where rounding is the cause, add 1e-6 * tg.eye(n) to it"
_WILD = "has elements that are not finite, or the iteration does not converge"


def symmetric(x):
    """The hermitian part of a matrix."""
    return (x + adjoint(x)) * 0.5


def plus(a, b):
    """The sum of two terms, of which None is nothing."""
    return b if a is None else a if b is None else a + b


def _cholesky_grad(g, y):
    """Murray 2016, "Differentiation of the Cholesky decomposition": y^-H phi(y^H g) y^-1."""
    up = adjoint(y)
    phi = triangle(matmul(up, conjugated(g)), 0.5)
    half = solve_triangular(up, phi, lower=False)
    return conjugated(symmetric(solve_triangular(up, adjoint(half), lower=False)))


def _positive(*shape):
    x = draw(shape)
    return x @ x.swapaxes(-1, -2) + np.eye(shape[-2])


@op(
    a=_cholesky_grad,
    precision="single",
    complex=True,
    samples=calls(
        lambda: (_positive(3, 3),),
        lambda: (_positive(2, 2, 3),),
        lambda: (_positive(0, 2, 2),),
        lambda: (_positive(0, 0),),
    ),
)
def cholesky(a):
    """The lower triangle l of a = l l^H. Only the lower triangle of a is read."""
    square("a", a)
    xp, w = namespace(a), widened(a)
    try:
        y = xp.linalg.cholesky(w)
    except np.linalg.LinAlgError:
        raise complaint("cholesky", a, first_failing(w, np.linalg.cholesky), _INDEFINITE) from None
    return narrow(y if xp is np else _nan_unless_factor(xp, y, w), a)


def _nan_unless_factor(xp, y, a):
    """y where it is a factor of a, else NaN: cuSOLVER stops where a minor is not positive, and
    leaves the rest as it was. Asking it would wait for the GPU; the squares of the rows tell."""
    rows, diagonal = (abs(y) ** 2).sum(-1), a.diagonal(0, -2, -1).real
    close = abs(rows - diagonal) <= np.sqrt(np.finfo(a.dtype).eps) * abs(diagonal)
    fine = (close & (y.diagonal(0, -2, -1).real > 0)).all(-1)
    return xp.where(fine[..., None, None], y, np.nan)


def _gaps(w):
    """1 / (w_j - w_i) off the diagonal, where it is 0; infinite for values that coincide."""
    one = module(w).eye(w.shape[-1], dtype=w.dtype)
    return (1.0 - one) / (w[..., None, :] - w[..., :, None] + one)


def _eigh_grad(g, w, v):
    gw, gv = g
    vh = adjoint(v)
    middle = None if gv is None else matmul(vh, conjugated(gv)) * _gaps(w)
    if gw is not None:
        middle = plus(middle, conjugated(gw)[..., None, :] * eye_of(v))
    return conjugated(matmul(matmul(v, symmetric(middle)), vh))


_HERMITIAN = calls(
    lambda: (_positive(3, 3),),
    lambda: (draw((2, 2, 2)), {"uplo": "U"}),
    lambda: (draw((0, 2, 2)),),
    lambda: (draw((0, 0)),),
)


def _converged(name, a, call):
    try:
        return call()
    except np.linalg.LinAlgError:
        raise complaint(name, a, (), _WILD) from None


@op(a=_eigh_grad, outputs=("w", "v"), precision="single", complex=True, samples=_HERMITIAN)
def eigh(a, *, uplo="L"):
    """Eigenvalues w in ascending order, and eigenvectors v as columns: a v = v diag(w). Only one
    triangle of a is read."""
    square("a", a)
    w, v = _converged("eigh", a, lambda: namespace(a).linalg.eigh(widened(a), UPLO=uplo))
    return narrow(w, a), narrow(v, a)


def _eigvalsh_grad(g, a, uplo):
    _, v = eigh(a, uplo=uplo)
    return conjugated(matmul(v * conjugated(g)[..., None, :], adjoint(v)))


@op(a=_eigvalsh_grad, precision="single", complex=True, samples=_HERMITIAN)
def eigvalsh(a, *, uplo="L"):
    """Eigenvalues of symmetric matrices in ascending order."""
    square("a", a)
    w = _converged("eigvalsh", a, lambda: namespace(a).linalg.eigvalsh(widened(a), UPLO=uplo))
    return narrow(w, a)


_GENERAL = calls(
    lambda: (draw((3, 3)) + np.diag([1.0, 4.0, 9.0]),),
    lambda: (draw((2, 2, 2)) + np.diag([1.0, 6.0]),),
    lambda: (draw((0, 2, 2)),),
    lambda: (draw((0, 0)),),
)


def _general(name, a):
    """NumPy's function of that name, with complex results, whatever the numbers are."""
    square("a", a)
    xp, w = namespace(a), widened(a)
    if not hasattr(xp.linalg, name):
        raise BackendError(f"{name}: this CuPy has none; give a.to('numpy'), or use eigh")
    found = _converged(name, a, lambda: getattr(xp.linalg, name)(w))
    kind = xp.result_type(w.dtype, "complex64")
    return [part.astype(kind) for part in (found if name == "eig" else [found])]


def _of_free_phase(v, turns):
    """Complain about a gradient along the phases of eigenvectors, which are any."""
    v, turns = [x._data if isinstance(x, Tensor) else x for x in (v, turns)]
    if type(v) is np.ndarray and v.size:  # another device is not waited for
        free = (abs(turns.imag) > 1e-2 * abs(turns).max(initial=1)) & (v.imag != 0).any(-2)
        if free.any():
            raise GraphError(
                "eig: the gradient depends on the phases of complex eigenvectors, which are free: "
                "use what does not, such as abs(v) or v f(w) v^-1"
            )


def _eig_grad(g, w, v):
    """Boeddeker et al. 2017, "On the computation of complex-valued gradients"; eigenvectors have
    length 1."""
    gw, gv = [part if part is None else conjugated(part) for part in g]
    vh, one, middle = adjoint(v), eye_of(v), None
    if gv is not None:
        inner = matmul(vh, gv)
        along = (inner * one).sum(-2)
        _of_free_phase(v, along)
        inner = inner - matmul(vh, v) * along.real[..., None, :]
        middle = inner * conjugated(_gaps(w))
    if gw is not None:
        middle = plus(middle, gw[..., None, :] * one)
    return conjugated(solve(vh, matmul(middle, vh)))


@op(a=_eig_grad, outputs=("w", "v"), precision="single", complex=True, samples=_GENERAL)
def eig(a):
    """Eigenvalues w and eigenvectors v of length 1, as columns, complex: a v = v diag(w)."""
    return tuple(_general("eig", a))


def _eigvals_grad(g, a):
    _, v = eig(a)
    vh = adjoint(v)
    return conjugated(solve(vh, conjugated(g)[..., :, None] * vh))


@op(a=_eigvals_grad, precision="single", complex=True, samples=_GENERAL)
def eigvals(a):
    """Eigenvalues, complex."""
    return _general("eigvals", a)[0]


def _svd_grad(g, u, s, vh):
    """Townsend 2016, "Differentiating the singular value decomposition"."""
    gu, gs, gvh = [part if part is None else conjugated(part) for part in g]
    down, across, middle, rest, phase = s[..., :, None], s[..., None, :], None, None, None
    one = eye_of(down * across)
    if gu is not None or gvh is not None:
        gaps = (1.0 - one) / ((across - down) * (across + down) + one)
    if gu is not None:
        inner = phase = matmul(adjoint(u), gu)
        middle = (inner - adjoint(inner)) * gaps * across
        if u.shape[-2] > s.shape[-1]:  # what of gu is orthogonal to u
            rest = matmul((gu - matmul(u, inner)) / across, vh)
    if gvh is not None:
        gv = adjoint(gvh)
        inner = matmul(vh, gv)
        phase = inner * -1.0 if phase is None else phase
        middle = plus(middle, down * (inner - adjoint(inner)) * gaps)
        if vh.shape[-1] > s.shape[-1]:
            more = matmul(u, adjoint((gv - matmul(adjoint(vh), inner)) / across))
            rest = plus(rest, more)
    if gs is not None:
        middle = plus(middle, gs[..., None, :] * one)
    if u.dtype.kind == "c" and phase is not None:  # one phase, of u or of vh, is free
        middle = plus(middle, phase.imag / across * one * 1j)
    return conjugated(plus(rest, matmul(matmul(u, middle), vh)))


_ANY = calls(
    lambda: (draw((3, 3)),),
    lambda: (draw((4, 2)),),
    lambda: (draw((2, 2, 3)),),
    lambda: (draw((0, 2, 3)),),
    lambda: (draw((3, 0)),),
)


@op(a=_svd_grad, outputs=("u", "s", "vh"), precision="single", complex=True, samples=_ANY)
def svd(a, *, full=False):
    """a = u diag(s) vh, with as many singular values, in descending order, as the shorter side;
    where it is `full`, u and vh are square, and only square matrices have a gradient."""
    u, s, vh = _converged("svd", a, lambda: namespace(a).linalg.svd(widened(a), full_matrices=full))
    return narrow(u, a), narrow(s, a), narrow(vh, a)


def _svdvals_grad(g, a):
    u, _, vh = svd(a)
    return conjugated(matmul(u * conjugated(g)[..., None, :], vh))


@op(a=_svdvals_grad, precision="single", complex=True, samples=_ANY)
def svdvals(a):
    """Singular values in descending order."""
    xp, w = namespace(a), widened(a)
    if not a.size:  # of which CuPy's and NumPy's answers differ
        return narrow(xp.zeros((*a.shape[:-2], min(a.shape[-2:])), dtype=w.real.dtype), a)
    return narrow(_converged("svdvals", a, lambda: xp.linalg.svd(w, compute_uv=False)), a)


def _qr_grad(g, q, r):
    """Walter & Lehmann 2012, "Algorithmic differentiation of linear algebra functions"; for wide
    matrices (x | y) = q (r | t) as Roberts & Roberts 2020: t = q^H y gives to q and y."""
    gq, gr = [part if part is None else conjugated(part) for part in g]
    m, n = r.shape[-2:]
    gy, square_r = None, r[..., :m]
    if n > m:
        if gr is not None:
            gt, gr = gr[..., m:], gr[..., :m]
            more, gy = matmul(matmul(q, r[..., m:]), adjoint(gt)), matmul(q, gt)
            gq = more if gq is None else gq + more
        else:
            gy = full_like(matmul(q, r[..., m:]), value=0.0)
    inner = 0.0 if gr is None else matmul(square_r, adjoint(gr))
    inner = inner if gq is None else inner - matmul(adjoint(gq), q)
    both = triangle(inner, 0.5)
    both = both + adjoint(both)
    right = matmul(q, both) if gq is None else gq + matmul(q, both)
    gx = adjoint(solve_triangular(square_r, adjoint(right), lower=False))
    return conjugated(gx if gy is None else concat(gx, gy, axis=-1))


@op(a=_qr_grad, outputs=("q", "r"), precision="single", complex=True, samples=_ANY)
def qr(a, *, mode="reduced"):
    """a = q r, q with orthonormal columns, as many as the shorter side, and r an upper triangle; in
    the mode "complete", which has no gradient for tall matrices, q is square."""
    q, r = namespace(a).linalg.qr(widened(a), mode=mode)
    return narrow(q, a), narrow(r, a)
