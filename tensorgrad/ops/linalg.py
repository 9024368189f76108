"""Linear systems, inverses, determinants and exponentials of matrices: the last two axes, batches
in front. Factorisations are in decompositions.py.

Halves are computed in float32. LAPACK reports what it cannot factorise, which is an error here; on
a GPU the host would have to wait for that report, so the result there is NaN or infinite.

Gradients (Giles 2008, "An extended collection of matrix derivative results"; others are named where
they stand) are made of ops, and so have gradients. With T the transpose and H the conjugate one, a
rule of a holomorphic function has T alone; elsewhere the literature's cotangent is the conjugate of
ours, so that such rules begin and end with `conjugated`, which is nothing for real numbers.
"""

import numpy as np

from ..backend import namespace
from ..core import Tensor, op
from ..errors import LinAlgError, user_line
from .elementwise import where
from .matmul import conjugated, matmul, transposed
from .reduce import narrow, sum_, widened
from .samples import calls, draw
from .shape import concat, full_like


def adjoint(x):
    """The conjugate transpose of matrices."""
    return conjugated(transposed(x))


def module(x):
    """The array module of an array or a Tensor."""
    return namespace(x._data if isinstance(x, Tensor) else x)


def eye_of(x):
    """An array with 1 on the main diagonal, of the last two axes' shape."""
    return module(x).eye(*x.shape[-2:], dtype=x.dtype)


def triangle(x, diagonal=1.0):
    """The lower triangle, its diagonal times a number."""
    y = where(module(x).tri(*x.shape[-2:], dtype=bool), x, 0.0)
    return y if diagonal == 1 else y * (1 - (1 - diagonal) * eye_of(x))


def square(name, a):
    """Complain about what is no square matrix, or stack of such."""
    if len(a.shape) < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"it takes square matrices, (..., n, n): {name}")


# --- errors ---------------------------------------------------------------------------------------


def first_failing(a, works):
    """The place of the first matrix of a batch on which NumPy's function fails."""
    for i in np.ndindex(a.shape[:-2]):
        try:
            works(a[i])
        except np.linalg.LinAlgError:
            return i
    return None


def complaint(name, a, i, what):
    """The error of what is wrong with the matrix at a place of the batch."""
    place = f" at {line}" if (line := user_line()) else ""
    which = f"matrix {list(i)} of the batch {list(a.shape[:-2])}" if i else "the matrix"
    return LinAlgError(f"{name}({a.dtype}{list(a.shape)}){place}: {which} {what}")


SINGULAR = "is singular; tg.linalg.pinv and lstsq take such, a + eps * tg.eye(n) is not"


# --- triangles ------------------------------------------------------------------------------------


def _substituted(xp, a, b, lower):
    """The solution of triangular systems, by halves: the work is in products of matrices. LAPACK
    solves the last ones, a loop those of a batch, for which NumPy's calls of LAPACK are slow."""
    n, loop = a.shape[-1], xp is np and a.size > a.shape[-1] ** 2
    if n <= (8 if loop else 64):
        if loop:
            return _by_rows(a, b, lower)
        if lower:  # an upper triangle is its own LU factorisation, without pivots
            return xp.linalg.solve(a[..., ::-1, ::-1], b[..., ::-1, :])[..., ::-1, :]
        return xp.linalg.solve(a, b)
    k = n // 2
    one, two = (slice(k), slice(k, n)) if lower else (slice(k, n), slice(k))
    first = _substituted(xp, a[..., one, one], b[..., one, :], lower)
    rest = b[..., two, :] - matmul(a[..., two, one], first)
    second = _substituted(xp, a[..., two, two], rest, lower)
    return xp.concatenate((first, second) if lower else (second, first), axis=-2)


def _by_rows(a, b, lower):
    n, y = a.shape[-1], b.astype(np.result_type(a, b))
    for i in range(n) if lower else reversed(range(n)):
        y[..., i, :] /= a[..., i, i, None]
        rest = slice(i + 1, n) if lower else slice(i)
        y[..., rest, :] -= a[..., rest, i, None] * y[..., i, None, :]
    return y


def _solve_triangular_grad(g, a, y, lower, unit, needs):
    gb = solve_triangular(transposed(a), g, lower=not lower, unit=unit)
    if not needs[0]:
        return None, gb
    ga = matmul(gb, transposed(y)) * -1.0
    if not lower:
        ga = transposed(ga)
    ga = triangle(ga, 0.0 if unit else 1.0)
    return ga if lower else transposed(ga), gb


@op(
    joint=_solve_triangular_grad,
    precision="single",
    complex=True,
    samples=calls(
        lambda: (draw((3, 3)) + 3 * np.eye(3), draw((3, 2))),
        lambda: (draw((2, 3, 3)) + 3 * np.eye(3), draw((3, 4)), {"lower": True}),
        lambda: (draw((3, 3)), draw((2, 3, 2)), {"lower": True, "unit": True}),
        lambda: (draw((70, 70)) / 9 + 3 * np.eye(70), draw((70, 2)), {"lower": True}),
        lambda: (draw((0, 0)), draw((0, 2))),
    ),
)
def solve_triangular(a, b, *, lower=False, unit=False):
    """x of a x = b, where the other triangle of a is not read, nor the diagonal where it is
    `unit`."""
    square("a", a)
    xp, w, b_ = namespace(a), widened(a), widened(b)
    w = xp.tril(w, -unit) if lower else xp.triu(w, unit)
    if unit:
        w = w + xp.eye(a.shape[-1], dtype=w.dtype)
    if xp is np and (zeros := (w.diagonal(0, -2, -1) == 0).any(-1)).any():
        what = "has a zero on its diagonal: it is singular"
        raise complaint("solve_triangular", a, [*map(int, np.argwhere(zeros)[0])], what)
    w, b_ = _alike(xp, w, b_)
    return _narrow(_substituted(xp, w, b_, lower), a, b)


def _narrow(y, a, b):
    return narrow(y, a) if a.dtype == b.dtype else y


def _alike(xp, a, b):
    """Both with the same batch: CuPy does not broadcast them."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return (
        xp.broadcast_to(a, (*batch, *a.shape[-2:])),
        xp.broadcast_to(b, (*batch, *b.shape[-2:])),
    )


# --- inverses -------------------------------------------------------------------------------------


def _solve_grad(g, a, y, needs):
    gb = solve(transposed(a), g)
    return matmul(gb, transposed(y)) * -1.0 if needs[0] else None, gb


@op(
    joint=_solve_grad,
    precision="single",
    complex=True,
    samples=calls(
        lambda: (draw((3, 3)) + 4 * np.eye(3), draw((3, 2))),
        lambda: (draw((2, 1, 3, 3)) + 4 * np.eye(3), draw((4, 3, 1))),
        lambda: (draw((0, 2, 2)), draw((2, 3))),
        lambda: (draw((0, 0)), draw((0, 2))),
    ),
)
def solve(a, b):
    """x of a x = b for matrices b, by LU factorisation with partial pivoting."""
    square("a", a)
    xp, w, b_ = namespace(a), widened(a), widened(b)
    if xp is not np:
        w, b_ = _alike(xp, w, b_)
    try:
        return _narrow(xp.linalg.solve(w, b_), a, b)
    except np.linalg.LinAlgError:
        raise complaint("solve", a, first_failing(w, np.linalg.inv), SINGULAR) from None


def _inv_grad(g, y):
    t = transposed(y)
    return matmul(matmul(t, g), t) * -1.0


@op(
    a=_inv_grad,
    precision="single",
    complex=True,
    samples=calls(
        lambda: (draw((3, 3)) + 4 * np.eye(3),),
        lambda: (draw((2, 2, 2)) + 4 * np.eye(2),),
        lambda: (draw((0, 0)),),
    ),
)
def inv(a):
    """The inverse of square matrices."""
    square("a", a)
    w = widened(a)
    try:
        return narrow(namespace(a).linalg.inv(w), a)
    except np.linalg.LinAlgError:
        raise complaint("inv", a, first_failing(w, np.linalg.inv), SINGULAR) from None


def _pinv_grad(g, a, y):
    """Golub & Pereyra 1973, for a constant rank."""
    g, p = conjugated(g), adjoint(y)
    gh = adjoint(g)
    left = matmul(matmul(_minus(a, y), matmul(gh, y)), p)
    right = matmul(p, matmul(matmul(y, gh), _minus(y, a)))
    return conjugated(left + right - matmul(matmul(p, g), p))


def _minus(a, b):
    """1 - a b."""
    y = matmul(a, b)
    return eye_of(y) - y


@op(
    a=_pinv_grad,
    precision="single",
    complex=True,
    samples=calls(
        lambda: (draw((4, 3)),),
        lambda: (draw((2, 2, 3)),),
        lambda: (draw((3, 3)) + 4 * np.eye(3), 1e-3),
        lambda: (draw((0, 3)),),
    ),
    fixed=("rtol",),
)
def pinv(a, rtol=None, *, hermitian=False):
    """The pseudo-inverse of Moore and Penrose. Singular values of at most rtol times the largest
    one count as 0, where rtol is one number or one for each matrix; by default max(n, m) epsilons.
    """
    xp, w = namespace(a), widened(a)
    if not a.size:
        return narrow(xp.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), dtype=w.dtype), a)
    if hermitian:
        s, u = xp.linalg.eigh(w)
        vh = xp.sign(s)[..., None] * u.swapaxes(-1, -2).conj()
        s = abs(s)
    else:
        u, s, vh = xp.linalg.svd(w, full_matrices=False)
    rtol = max(a.shape[-2:]) * np.finfo(w.dtype).eps if rtol is None else rtol
    rtol = rtol[..., None] if getattr(rtol, "shape", ()) else rtol
    kept = s > rtol * s.max(axis=-1, keepdims=True)
    inverse = xp.where(kept, 1 / xp.where(kept, s, 1), 0)
    v, uh = vh.swapaxes(-1, -2).conj(), u.swapaxes(-1, -2).conj()
    return narrow(matmul(v * inverse[..., None, :], uh), a)


# --- determinants ---------------------------------------------------------------------------------


def _cofactor_grad(g, a, y):
    """From d a^-T, whose derivative is known: infinite or NaN where a is singular."""
    both = sum_(y * g, axis=(-2, -1), keepdims=True)
    return (both * y - matmul(matmul(y, transposed(g)), y)) / det(a)[..., None, None]


@op(
    a=_cofactor_grad,
    precision="single",
    complex=True,
    samples=calls(
        lambda: (draw((3, 3)) + 4 * np.eye(3),),
        lambda: (draw((2, 2, 2)) + 4 * np.eye(2),),
        lambda: (draw((0, 0)),),
    ),
)
def cofactor(a):
    """The matrix of cofactors, det(a) a^-T where there is an inverse: the derivative of det. Of a
    singular matrix it is u c v^T, where c has the products of all other singular values."""
    xp, w = namespace(a), widened(a)
    d = xp.linalg.det(w)
    singular = d == 0
    some = bool(singular.any())  # on a GPU, the host waits
    safe = xp.where(singular[..., None, None], xp.eye(a.shape[-1], dtype=w.dtype), w)
    y = d[..., None, None] * xp.linalg.inv(safe).swapaxes(-1, -2)
    if some:
        u, s, vh = xp.linalg.svd(w)
        one = xp.eye(a.shape[-1], dtype=bool)
        others = xp.where(one, 1, s[..., None, :]).prod(-1)
        sign = xp.linalg.det(u) * xp.linalg.det(vh)
        exact = sign[..., None, None] * matmul(u * others[..., None, :], vh)
        y = xp.where(singular[..., None, None], exact.conj(), y)
    return narrow(y, a)


@op(
    a=lambda g, a: g[..., None, None] * cofactor(a),
    precision="single",
    complex=True,
    samples=calls(
        lambda: (draw((3, 3)),),
        lambda: (draw((2, 2, 2)),),
        lambda: (draw((0, 0)),),
        lambda: (draw((1, 1)),),
    ),
)
def det(a):
    """The determinant of square matrices, from an LU factorisation."""
    square("a", a)
    return narrow(namespace(a).linalg.det(widened(a)), a)


def _slogdet_grad(g, a, sign):
    gs, glog = g
    if gs is not None and a.dtype.kind == "c":  # sign = exp(i Im log det)
        turn = (gs * sign * 1j).real * -1j
        glog = turn if glog is None else glog + turn
    return None if glog is None else glog[..., None, None] * transposed(inv(a))


@op(
    a=_slogdet_grad,
    outputs=("sign", "logabsdet"),
    precision="single",
    complex=True,
    samples=calls(
        lambda: (draw((3, 3)) + 4 * np.eye(3),),
        lambda: (draw((2, 2, 2)) - 4 * np.eye(2),),
        lambda: (draw((0, 0)),),
    ),
)
def slogdet(a):
    """The sign of the determinant, and the logarithm of its absolute value."""
    square("a", a)
    sign, logabsdet = namespace(a).linalg.slogdet(widened(a))
    return narrow(sign, a), narrow(logabsdet, a)


# --- the exponential ------------------------------------------------------------------------------

# Of the Padé approximant of degree 13 (Higham 2005), and the norm up to which it is exact.
_PADE = (
    *(64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0),
    *(129060195264000.0, 10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0),
    *(40840800.0, 960960.0, 16380.0, 182.0, 1.0),
)
_NORM = {"f": 3.92, "d": 5.37}


def _matrix_exp_grad(g, a):
    """The exponential of (a^T g; 0 a^T) has the gradient in its corner (Najfeld & Havel 1995)."""
    t, n = transposed(a), a.shape[-1]
    rows = concat(t, g, axis=-1), concat(full_like(t, value=0.0), t, axis=-1)
    return matrix_exp(concat(*rows, axis=-2))[..., :n, n:]


@op(
    a=_matrix_exp_grad,
    precision="single",
    complex=True,
    samples=calls(
        lambda: (draw((3, 3)),),
        lambda: (draw((2, 2, 2)) * np.array([0.1, 5.0])[:, None, None],),
        lambda: (draw((0, 0)),),
    ),
)
def matrix_exp(a):
    """exp(a) = sum of a^k / k!, by scaling and squaring of a Padé approximant (Higham 2005). On a
    GPU the host waits for the norm, from which the number of squarings follows."""
    square("a", a)
    xp, w = namespace(a), widened(a)
    if not a.size:
        return narrow(w + 0, a)
    norm, one = abs(w).sum(-2).max(-1), xp.eye(a.shape[-1], dtype=w.dtype)
    limit = _NORM[w.real.dtype.char]
    times = xp.ceil(xp.log2(xp.maximum(xp.where(xp.isfinite(norm), norm, 0) / limit, 1)))
    w = w * (0.5**times)[..., None, None].astype(w.dtype)
    b, w2 = _PADE, matmul(w, w)
    w4 = matmul(w2, w2)
    w6 = matmul(w4, w2)
    odd = matmul(w6, b[13] * w6 + b[11] * w4 + b[9] * w2) + b[7] * w6
    odd = matmul(w, odd + b[5] * w4 + b[3] * w2 + b[1] * one)
    even = matmul(w6, b[12] * w6 + b[10] * w4 + b[8] * w2) + b[6] * w6
    even = even + b[4] * w4 + b[2] * w2 + b[0] * one
    y = xp.linalg.solve(even - odd, even + odd)
    for i in range(int(times.max())):
        y = xp.where((times > i)[..., None, None], matmul(y, y), y)
    return narrow(y, a)
