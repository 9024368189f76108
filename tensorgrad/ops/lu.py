"""The LU factorisation with partial pivoting."""

import math

import numpy as np

from ..backend import namespace
from ..core import op
from .linalg import eye_of, module, solve_triangular, triangle
from .matmul import matmul, transposed
from .reduce import narrow, widened
from .samples import calls, draw
from .shape import concat

_BLOCK = 32  # columns that are eliminated one by one, before the others by a product


def permutation(pivots, rows):
    """The rows of a in the order of the factors', (..., rows), from which each step exchanged."""
    xp = namespace(pivots)
    place = xp.arange(rows)
    order = xp.broadcast_to(place, (*pivots.shape[:-1], rows))
    for i in range(pivots.shape[-1]):  # without writing into arrays, which vmap cannot
        other = place == pivots[..., i : i + 1] - 1
        there = xp.where(other, order, 0).sum(-1)[..., None]
        order = xp.where(place == i, there, xp.where(other, order[..., i : i + 1], order))
    return order


def permuting(pivots, like):
    """The matrices p of a = p l u, in the dtype of `like` (..., rows, columns)."""
    raw, xp, rows = getattr(pivots, "_data", pivots), module(like), like.shape[-2]
    hot = permutation(raw, rows)[..., None] == xp.arange(rows)
    return hot.astype(like.dtype).swapaxes(-1, -2)


def _upper(x):
    return transposed(triangle(transposed(x)))


def _lu_grad(g, a_shape, y):
    """With l and u the square parts, and a permuted: l^-T (low(l^T gl) + up(gu u^T)) u^-T, where
    low is below the diagonal. A wide u = (u, t) has t = l^-1 b, a tall l a part b u^-1."""
    (g, _), (factors, pivots) = g, y
    m, n = a_shape[-2:]
    k = min(m, n)
    own, given = factors[..., :k, :k], g[..., :k, :k]
    low = matmul(transposed(triangle(own, 0.0) + eye_of(own)), triangle(given, 0.0))
    up = matmul(_upper(given), transposed(_upper(own)))
    rest, turned = None, transposed(own)
    if n > k:
        low = low - matmul(g[..., k:], transposed(factors[..., k:]))
        rest = solve_triangular(turned, g[..., k:], lower=False, unit=True)
    elif m > k:
        up = up - matmul(transposed(factors[..., k:, :]), g[..., k:, :])
        rest = transposed(solve_triangular(own, transposed(g[..., k:, :]), lower=False))
    inner = triangle(low, 0.0) + _upper(up)
    inner = solve_triangular(turned, inner, lower=False, unit=True)
    found = transposed(solve_triangular(own, transposed(inner), lower=False))
    if rest is not None:
        found = concat(found, rest, axis=-1 if n > k else -2)
    return matmul(permuting(pivots, factors), found)


@op(
    a=_lu_grad,
    outputs=("factors", "pivots"),
    precision="single",
    complex=True,
    samples=calls(
        lambda: (draw((3, 3)),),
        lambda: (draw((2, 4, 4)),),
        lambda: (draw((3, 5)),),
        lambda: (draw((2, 1, 5, 2)),),
        lambda: (draw((70, 70)) / 9 + np.eye(70)[::-1],),
        lambda: (draw((0, 3)),),
        lambda: (draw((0, 2, 2)),),
    ),
)
def lu_factor(a):
    """l and u of a = p l u in one array, l without its diagonal of ones; and the row, from 1, with
    which each step exchanged its own, int32 (..., min(n, m))."""
    if len(a.shape) < 2:
        raise ValueError(f"a matrix has two axes, a stack of them more: {a.shape}")
    xp, (m, n) = namespace(a), a.shape[-2:]
    y = widened(a).reshape(math.prod(a.shape[:-2]), m, n).copy()
    k, each = min(m, n), xp.arange(len(y))
    pivots = xp.zeros((len(y), k), dtype="int32")
    for begin in range(0, k, _BLOCK):
        end = min(begin + _BLOCK, k)
        for i in range(begin, end):
            other = i + abs(y[:, i:, i]).argmax(-1)
            pivots[:, i], first = other + 1, y[:, i].copy()
            y[:, i] = y[each, other]
            y[each, other] = first
            pivot = y[:, i, i, None]
            y[:, i + 1 :, i] /= xp.where(pivot == 0, 1, pivot)  # below it there are zeros then
            y[:, i + 1 :, i + 1 : end] -= y[:, i + 1 :, i, None] * y[:, i, None, i + 1 : end]
        for i in range(begin, end - 1):  # the rows of u beside the block
            y[:, i + 1 : end, end:] -= y[:, i + 1 : end, i, None] * y[:, i, None, end:]
        y[:, end:, end:] -= matmul(y[:, end:, begin:end], y[:, begin:end, end:])
    return narrow(y.reshape(a.shape), a), pivots.reshape(*a.shape[:-2], k)
