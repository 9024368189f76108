"""Recurrent layers: a whole sequence in one compiled call.

The rows of a batch are independent, so a thread takes a block of them through all steps, and
threads never synchronise. A step is the products with both weights, packed into panels, and one
fused pass over the gates while they are in cache. The weights' gradients are products over all
steps at once.
"""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import (
    flat_rows,
    gru_fits,
    gru_grad_fits,
    lstm_fits,
    lstm_grad_fits,
    rnn_fits,
    rnn_grad_fits,
)
from . import jit
from . import scalars as s
from .jit import prange
from .matmul import product
from .panels import ROWS, multiply, panels

SMALL = 1024
_PADDED = 16  # rows a power of two apart would share few lines of the cache


def _gates(x, *others):
    """The width of all gates together, from w, u and the biases."""
    return x.size // max(1, x.shape[-1]) * max([a.shape[-1] for a in others if a is not None])


# --- one row of one step ------------------------------------------------------------------------
# Loops over few arrays each, with plain indices: LLVM gives up on vectors where many arrays may
# overlap, or an index may be negative.


@s.scalar
def _copy(a, to):
    """Into the first numbers of `to`. (A slice assigned to would be a parallel loop of its own to
    Numba, which takes seconds more to compile.)"""
    for j in range(len(a)):
        to[j] = a[j]


@s.scalar
def _lstm_row(gates, zx, zh, h, c, y, cells):
    """`zx` and `zh` are one row, x @ w + h @ u + b."""
    n = len(y)
    i, f, g, o = gates[:n], gates[n : 2 * n], gates[2 * n : 3 * n], gates[3 * n :]
    zg, zo = zh[2 * n : 3 * n], zh[3 * n : 4 * n]
    for j in range(2 * n):
        gates[j] = s.sigmoid(zh[j])
    for j in range(n):
        g[j] = s.tanh(zg[j])
    for j in range(n):
        o[j] = s.sigmoid(zo[j])
    for j in range(n):
        c[j] = f[j] * c[j] + i[j] * g[j]
    for j in range(n):
        y[j] = o[j] * s.tanh(c[j])
    _copy(y, h)
    _copy(c, cells)


@s.scalar
def _lstm_row_grad(gates, cells, h, c, g, carry, gz, gr):
    """`carry` is the gradient of the cells after this step, then before it."""
    n = len(cells)
    i, f, m, o = gates[:n], gates[n : 2 * n], gates[2 * n : 3 * n], gates[3 * n :]
    gi, gf, gm, go = gr[:n], gr[n : 2 * n], gr[2 * n : 3 * n], gr[3 * n : 4 * n]
    for j in range(n):
        t = s.tanh(cells[j])
        carry[j] += s.tanh_grad(g[j] * o[j], t)
        go[j] = s.sigmoid_grad(g[j] * t, o[j])
    for j in range(n):
        gi[j] = s.sigmoid_grad(carry[j] * m[j], i[j])
    for j in range(n):
        gf[j] = s.sigmoid_grad(carry[j] * c[j], f[j])
    for j in range(n):
        gm[j] = s.tanh_grad(carry[j] * i[j], m[j])
    for j in range(n):
        carry[j] *= f[j]
    _copy(gr[: 4 * n], gz)
    for j in range(len(g)):
        g[j] = 0


@s.scalar
def _gru_row(gates, zx, zh, h, c, y, products):
    """`zx` is x @ w + b, `zh` h @ u + bu."""
    n = len(y)
    r, k, m = gates[:n], gates[n : 2 * n], gates[2 * n :]
    xm, hm = zx[2 * n : 3 * n], zh[2 * n : 3 * n]
    for j in range(2 * n):
        gates[j] = s.sigmoid(zx[j] + zh[j])
    for j in range(n):
        m[j] = s.tanh(xm[j] + r[j] * hm[j])
    for j in range(n):
        y[j] = m[j] + k[j] * (h[j] - m[j])
    _copy(y, h)
    _copy(hm, products)


@s.scalar
def _gru_row_grad(gates, products, h, c, g, carry, gz, gr):
    n, one = len(products), type(g[0])(1)
    r, k, m = gates[:n], gates[n : 2 * n], gates[2 * n :]
    ga, gk, gm, gp = gz[:n], gz[n : 2 * n], gz[2 * n :], gr[2 * n : 3 * n]
    for j in range(n):
        gm[j] = s.tanh_grad(g[j] * (one - k[j]), m[j])
    for j in range(n):
        gk[j] = s.sigmoid_grad(g[j] * (h[j] - m[j]), k[j])
    for j in range(n):
        ga[j] = s.sigmoid_grad(gm[j] * products[j], r[j])
    for j in range(n):
        gp[j] = gm[j] * r[j]
    for j in range(n):
        g[j] *= k[j]
    _copy(gz[: 2 * n], gr)


def _rnn_row(formula):
    @s.scalar
    def row(gates, zx, zh, h, c, y, noted):
        for j in range(len(y)):
            y[j] = formula(zh[j])
        _copy(y, h)

    return row


def _rnn_row_grad(formula):
    @s.scalar
    def row(y, noted, h, c, g, carry, gz, gr):
        for j in range(len(y)):
            gz[j] = formula(g[j], y[j])
        _copy(gz, gr)
        for j in range(len(g)):
            g[j] = 0

    return row


# --- all steps ----------------------------------------------------------------------------------


def _forward(row):
    """The loop over a sequence of the layer with that row."""

    @jit.jit(parallel=True)
    def loop(x, h0, c0, w, u, b, bu, y, gates, noted, two, block, share):
        n, t, features = x.shape
        hidden = h0.shape[1]
        for k in prange((n + block - 1) // block, share):
            top, bottom = k * block, min(n, (k + 1) * block)
            high = (bottom - top + ROWS - 1) // ROWS * ROWS
            xs = np.zeros((high, features + _PADDED), x.dtype)
            h = np.zeros((high, hidden + _PADDED), x.dtype)
            zx = np.zeros((high, w.shape[0] * w.shape[2]), x.dtype)
            zh = np.zeros_like(zx) if two else zx
            c = np.empty((high, hidden), x.dtype)
            for i in range(top, bottom):
                _copy(h0[i], h[i - top])
                _copy(c0[i], c[i - top])
            for step in range(t):
                for i in range(top, bottom):
                    _copy(x[i, step], xs[i - top])
                    _copy(bu, zh[i - top])  # where both are one, b stays
                    _copy(b, zx[i - top])
                multiply(xs, w, zx)
                multiply(h, u, zh)
                for i in range(top, bottom):
                    j = i - top
                    row(gates[i, step], zx[j], zh[j], h[j], c[j], y[i, step], noted[i, step])

    return loop


def _backward(row):
    """The loop back over a sequence of the layer with the gradient of that row. From `g`, the
    gradient of the states after a step, the row finds those of h @ u (`gr`) and of x @ w (`gz`),
    and leaves in `g` what reaches the states before past the product with u."""

    @jit.jit(parallel=True)
    def loop(h0, c0, u, y, gates, noted, gy, gh, gc, gz, gr, before, sums, block, share):
        (n, t, hidden), wide = y.shape, gz.shape[2]
        for k in prange((n + block - 1) // block, share):
            top, bottom = k * block, min(n, (k + 1) * block)
            high = (bottom - top + ROWS - 1) // ROWS * ROWS
            g = np.zeros((high, u.shape[0] * u.shape[2]), y.dtype)
            r = np.zeros((high, wide + _PADDED), y.dtype)
            for i in range(top, bottom):
                _copy(gh[i], g[i - top])
            for step in range(t - 1, -1, -1):
                for i in range(top, bottom):
                    j, part = i - top, i // ROWS
                    h = y[i, step - 1] if step else h0[i]
                    c = noted[i, step - 1] if step else c0[i]
                    if gy.size:
                        for m in range(hidden):
                            g[j, m] += gy[i, step, m]
                    _copy(h, before[i, step])
                    row(gates[i, step], noted[i, step], h, c, g[j], gc[i], gz[i, step], r[j])
                    for m in range(wide):
                        sums[part, 0, m] += gz[i, step, m]
                    if gr.size:
                        _copy(r[j, :wide], gr[i, step])
                        for m in range(wide):
                            sums[part, 1, m] += r[j, m]
                multiply(r, u, g)
            for i in range(top, bottom):
                _copy(g[i - top, :hidden], gh[i])

    return loop


_LSTM, _LSTM_GRAD = _forward(_lstm_row), _backward(_lstm_row_grad)
_GRU, _GRU_GRAD = _forward(_gru_row), _backward(_gru_row_grad)
_RNN = {name: _forward(_rnn_row(f)) for name, f in (("tanh", s.tanh), ("relu", s.relu))}
_RNN_GRAD = {
    name: _backward(_rnn_row_grad(f)) for name, f in (("tanh", s.tanh_grad), ("relu", s.relu_grad))
}


def _block(n):
    """How many rows a thread takes at a time: all get some, and the weights, read once for each
    block and step, are read for several tiles."""
    tiles = -(-n // ROWS)
    return ROWS * max(1, min(4, -(-tiles // jit.threads())))


def _zeros_for(a, x, shape):
    """The state, bias or cotangent, or the zeros it stands for."""
    return np.zeros(shape, x.dtype) if a is None else np.ascontiguousarray(a)


def _sequence(loop, x, h0, c0, w, u, b, bu=None, gated=True, two=False):
    """All h, the activated gates, and what else a row notes. `two`: x @ w + b and h @ u + bu are
    kept apart."""
    x, (n, t, _), (hidden, wide) = np.ascontiguousarray(x), x.shape, u.shape
    b, bu = _zeros_for(b, x, wide), _zeros_for(bu, x, wide)
    h0, c0 = _zeros_for(h0, x, (n, hidden)), _zeros_for(c0, x, (n, hidden))
    y = np.empty((n, t, hidden), x.dtype)
    gates, noted = (np.empty((n, t, wide), x.dtype), np.empty_like(y)) if gated else (y, y)
    loop(x, h0, c0, panels(w), panels(u), b, bu, y, gates, noted, two, _block(n))
    return y, y[:, -1].copy(), gates, noted


def _gradients(loop, x, h0, c0, w, u, y, gates, noted, gy, gh, gc, need_x, two=False):
    """Gradients of x, h0, c0, w, u, b and bu. `two`: those of x @ w + b and h @ u + bu differ."""
    (n, t, _), (hidden, wide) = x.shape, u.shape
    h0, c0 = _zeros_for(h0, x, (n, hidden)), _zeros_for(c0, x, (n, hidden))
    gh, gc = [np.array(_zeros_for(g, x, (n, hidden))) for g in (gh, gc)]  # written to
    gy, gz = _zeros_for(gy, x, (0, 0, 0)), np.empty((n, t, wide), x.dtype)
    gr = np.empty_like(gz) if two else np.empty((0, 0, 0), x.dtype)
    sums = np.zeros((-(-n // ROWS), 2, wide), x.dtype)
    before = np.empty((n, t, hidden), x.dtype)  # the states that u was multiplied with
    loop(h0, c0, panels(u.T), y, gates, noted, gy, gh, gc, gz, gr, before, sums, _block(n))
    gz, rows = flat_rows(gz), flat_rows(np.ascontiguousarray(x))
    gb, gbu = sums.sum(axis=0)
    gx = product(gz, w.T).reshape(x.shape) if need_x else None
    gw = product(rows.T, gz)
    gu = product(flat_rows(before).T, flat_rows(gr) if two else gz)
    return gx, gh, gc, gw, gu, gb, gbu


def _asked(needs, *gradients):
    return tuple([g if need else None for need, g in zip(needs, gradients, strict=True)])


# --- the ops ------------------------------------------------------------------------------------


@accepts(min_size=SMALL, size_of=_gates, strided=("x",), when=lstm_fits)
def lstm(x, h0, c0, w, u, b=None):
    y, h, gates, cells = _sequence(_LSTM, x, h0, c0, w, u, b)
    return y, h, cells[:, -1].copy(), gates, cells


@accepts(min_size=SMALL, size_of="gates", strided=("x", "gy", "gh", "gc"), when=lstm_grad_fits)
def lstm_grad(
    x, h0, c0, w, u, y, gates, cells, gy=None, gh=None, gc=None, ggates=None, gcells=None, *, needs
):
    gx, gh, gc, gw, gu, gb, _ = _gradients(
        _LSTM_GRAD, x, h0, c0, w, u, y, gates, cells, gy, gh, gc, needs[0]
    )
    return _asked(needs, gx, gh, gc, gw, gu, gb)


@accepts(min_size=SMALL, size_of=_gates, strided=("x",), when=gru_fits)
def gru(x, h0, w, u, b=None, bu=None):
    return _sequence(_GRU, x, h0, None, w, u, b, bu, two=True)


@accepts(min_size=SMALL, size_of="gates", strided=("x", "gy", "gh"), when=gru_grad_fits)
def gru_grad(
    x, h0, w, u, y, gates, products, gy=None, gh=None, ggates=None, gproducts=None, *, needs
):
    gx, gh, _, gw, gu, gb, gbu = _gradients(
        _GRU_GRAD, x, h0, None, w, u, y, gates, products, gy, gh, None, needs[0], two=True
    )
    return _asked(needs, gx, gh, gw, gu, gb, gbu)


@accepts(min_size=SMALL, size_of=_gates, strided=("x",), when=rnn_fits)
def rnn(x, h0, w, u, b=None, *, activation="tanh"):
    return _sequence(_RNN[activation], x, h0, None, w, u, b, gated=False)[:2]


@accepts(min_size=SMALL, size_of="y", strided=("x", "gy", "gh"), when=rnn_grad_fits)
def rnn_grad(x, h0, w, u, y, gy=None, gh=None, *, activation, needs):
    loop = _RNN_GRAD[activation]
    gx, gh, _, gw, gu, gb, _ = _gradients(loop, x, h0, None, w, u, y, y, y, gy, gh, None, needs[0])
    return _asked(needs, gx, gh, gw, gu, gb)
