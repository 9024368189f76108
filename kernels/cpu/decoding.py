"""A token more through a Transformer block: all of it in one loop, without an array between but in
cache. Its time is that of reading the weights."""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from . import scalars as s
from .jit import jit

SMALL = 1 << 10  # numbers of the first weight: it spares small programs the import of Numba
ROWS = 8  # of more, products by tiles read the weights less often


@s.scalar
def _affine(x, w, b, y):
    """y = x @ w + b, four rows of w at a time, so that y is read and written less often."""
    rows, four = w.shape[0], w.shape[0] // 4 * 4
    for j in range(y.shape[0]):
        y[j] = b[j]
    for k in range(0, four, 4):
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        for j in range(y.shape[0]):
            y[j] += (x0 * w[k, j] + x1 * w[k + 1, j]) + (x2 * w[k + 2, j] + x3 * w[k + 3, j])
    for k in range(four, rows):
        for j in range(y.shape[0]):
            y[j] += x[k] * w[k, j]


@s.scalar
def _norm(x, weight, shift, y, eps):
    """y = (x - mean) / sqrt(var + eps) * weight + shift."""
    n, total, squares = type(eps)(x.shape[0]), type(eps)(0), type(eps)(0)
    for j in range(x.shape[0]):
        total += x[j]
    mean = total / n
    for j in range(x.shape[0]):
        squares += (x[j] - mean) * (x[j] - mean)
    r = type(eps)(1) / np.sqrt(squares / n + eps)
    for j in range(x.shape[0]):
        y[j] = (x[j] - mean) * r * weight[j] + shift[j]


@s.scalar
def _attend(q, keys, values, y, scores, scale):
    """y = softmax(scale * keys @ q) @ values, for one query of one head."""
    top = scores[0]
    for i in range(scores.shape[0]):
        dot = type(scale)(0)
        for j in range(q.shape[0]):
            dot += q[j] * keys[i, j]
        scores[i] = dot * scale
        top = scores[i] if i == 0 else max(top, scores[i])
    total = type(scale)(0)
    for i in range(scores.shape[0]):
        scores[i] = s.exp(scores[i] - top)
    for i in range(scores.shape[0]):
        total += scores[i]
    for j in range(y.shape[0]):
        y[j] = 0
    for i in range(scores.shape[0]):
        p = scores[i] / total
        for j in range(y.shape[0]):
            y[j] += p * values[i, j]


@jit(reassociate=True)
def _step(y, x, keys, values, first, second, scratch, start, eps, scale):
    """`first` are the weights of the attention's half, `second` those of the MLP's."""
    norm1, shift1, w_in, b_in, w_out, b_out = first
    norm2, shift2, w_up, b_up, w_down, b_down = second
    width, heads, each = x.shape[1], keys.shape[1], keys.shape[3]
    h, wide, scores = scratch[:width], scratch[width:], np.empty(start + 1, x.dtype)
    for row in range(x.shape[0]):
        _norm(x[row], norm1, shift1, h, eps)
        projected = wide[: 3 * width]
        _affine(h, w_in, b_in, projected)
        for head in range(heads):
            at = head * each
            for j in range(each):
                keys[row, head, start, j] = projected[width + at + j]
                values[row, head, start, j] = projected[2 * width + at + j]
            q, seen = projected[at : at + each], (keys[row, head], values[row, head])
            _attend(q, seen[0], seen[1], h[at : at + each], scores, scale)
        _affine(h, w_out, b_out, y[row])
        for j in range(width):
            y[row, j] += x[row, j]
        _norm(y[row], norm2, shift2, h, eps)
        up = wide[: w_up.shape[1]]
        _affine(h, w_up, b_up, up)
        for j in range(up.shape[0]):
            up[j] = s.gelu(up[j])
        _affine(up, w_down, b_down, h)
        for j in range(width):
            y[row, j] += h[j]


def _few(x, keys, *weights, start, eps):
    return 0 < x.shape[0] <= ROWS and keys.size > 0


@accepts(min_size=SMALL, size_of="w_in", when=_few)
def block_step(
    x, keys, values, norm1, shift1, w_in, b_in, w_out, b_out, norm2, shift2, w_up, b_up, w_down,
    b_down, *, start, eps,
):  # fmt: skip
    y, scratch = np.empty_like(x), np.empty(x.shape[1] + max(w_in.shape[1], w_up.shape[1]), x.dtype)
    first, second = (norm1, shift1, w_in, b_in, w_out, b_out), (
        norm2, shift2, w_up, b_up, w_down, b_down,
    )  # fmt: skip
    number = x.dtype.type
    scale = number(1 / math.sqrt(keys.shape[3]))
    _step(y, x, keys, values, first, second, scratch, start, number(eps), scale)
    return y
