"""Recurrent layers: a whole sequence in one compiled call.

The rows of a batch have nothing to do with each other, so a thread takes some of them through all
steps, and no thread ever waits for another. Per step that is one product with the recurrent
weights, in panels, and one pass over the gates while they are in the cache. The products of all
steps at once (with the inputs' weights, and for the weights' gradients) are those of matmul.py.
"""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import flat_rows, recurrent_fits, recurrent_grad_fits
from . import jit
from . import scalars as s
from .jit import prange
from .matmul import product
from .panels import ROWS, multiply, panels

SMALL = 1024
_PADDED = 16  # rows a power of two apart would share few lines of the cache


def _gates(x, *others):
    """How many numbers all gates are: others end with w, u and the biases."""
    return x.size // max(1, x.shape[-1]) * max([a.shape[-1] for a in others if a is not None])


# --- one row of one step ------------------------------------------------------------------------
# Loops over few arrays each: LLVM gives up on vectors where many arrays may overlap.


@s.scalar
def _lstm_row(gates, b, bu, z, h, c, y, cells):
    """`gates` holds x @ w and is activated in place, `z` is h @ u."""
    n = len(y)
    for j in range(2 * n):
        gates[j] = s.sigmoid(gates[j] + b[j] + z[j])
    for j in range(2 * n, 3 * n):
        gates[j] = s.tanh(gates[j] + b[j] + z[j])
    for j in range(3 * n, 4 * n):
        gates[j] = s.sigmoid(gates[j] + b[j] + z[j])
    for j in range(n):
        c[j] = gates[n + j] * c[j] + gates[j] * gates[2 * n + j]
        cells[j] = c[j]
    for j in range(n):
        h[j] = gates[3 * n + j] * s.tanh(c[j])
        y[j] = h[j]


@s.scalar
def _lstm_row_grad(gates, cells, h, c, g, carry, gz, gr):
    """`g` is the gradient of this step's h, `carry` that of the c after it, then before it."""
    n = len(cells)
    for j in range(n):
        o, t = gates[3 * n + j], s.tanh(cells[j])
        carry[j] += s.tanh_grad(g[j] * o, t)
        gr[3 * n + j] = s.sigmoid_grad(g[j] * t, o)
    for j in range(n):
        gr[j] = s.sigmoid_grad(carry[j] * gates[2 * n + j], gates[j])
    for j in range(n):
        gr[n + j] = s.sigmoid_grad(carry[j] * c[j], gates[n + j])
    for j in range(n):
        gr[2 * n + j] = s.tanh_grad(carry[j] * gates[j], gates[2 * n + j])
    for j in range(n):
        carry[j] *= gates[n + j]
    for j in range(4 * n):
        gz[j] = gr[j]


@s.scalar
def _gru_row(gates, b, bu, z, h, c, y, products):
    n = len(y)
    for j in range(2 * n):
        gates[j] = s.sigmoid(gates[j] + b[j] + (z[j] + bu[j]))
    for j in range(n):
        products[j] = z[2 * n + j] + bu[2 * n + j]
    for j in range(n):
        gates[2 * n + j] = s.tanh(gates[2 * n + j] + b[2 * n + j] + gates[j] * products[j])
    for j in range(n):
        h[j] = gates[2 * n + j] + gates[n + j] * (h[j] - gates[2 * n + j])
        y[j] = h[j]


@s.scalar
def _gru_row_grad(gates, products, h, c, g, carry, gz, gr):
    """`carry` is what reaches the h before past the product with u."""
    n = len(products)
    one = type(g[0])(1)
    for j in range(n):
        g[j] += carry[j]
        carry[j] = g[j] * gates[n + j]
    for j in range(n):
        gz[2 * n + j] = s.tanh_grad(g[j] * (one - gates[n + j]), gates[2 * n + j])
    for j in range(n):
        gz[n + j] = s.sigmoid_grad(g[j] * (h[j] - gates[2 * n + j]), gates[n + j])
    for j in range(n):
        gz[j] = s.sigmoid_grad(gz[2 * n + j] * products[j], gates[j])
    for j in range(2 * n):
        gr[j] = gz[j]
    for j in range(n):
        gr[2 * n + j] = gz[2 * n + j] * gates[j]


def _rnn_row(formula):
    @s.scalar
    def row(gates, b, bu, z, h, c, y, noted):
        for j in range(len(y)):
            h[j] = formula(y[j] + b[j] + z[j])
            y[j] = h[j]

    return row


def _rnn_row_grad(formula):
    @s.scalar
    def row(y, noted, h, c, g, carry, gz, gr):
        for j in range(len(y)):
            gr[j] = formula(g[j], y[j])
            gz[j] = gr[j]

    return row


# --- all steps ----------------------------------------------------------------------------------


def _forward(row):
    """The loop over a sequence of the layer with that row."""

    @jit.jit(parallel=True)
    def loop(gates, b, bu, h0, c0, u, y, noted, block):
        n, t, hidden = y.shape
        for k in prange((n + block - 1) // block):
            top, bottom = k * block, min(n, (k + 1) * block)
            high = (bottom - top + ROWS - 1) // ROWS * ROWS
            h = np.zeros((high, hidden + _PADDED), y.dtype)
            z, c = np.empty((high, u.shape[0] * u.shape[2]), y.dtype), c0[top:bottom].copy()
            h[: bottom - top, :hidden] = h0[top:bottom]
            for step in range(t):
                multiply(h, u, z)
                for i in range(top, bottom):
                    j = i - top
                    row(gates[i, step], b, bu, z[j], h[j], c[j], y[i, step], noted[i, step])

    return loop


def _backward(row):
    """The loop back over a sequence of the layer with the gradient of that row."""

    @jit.jit(parallel=True)
    def loop(gates, noted, y, h0, c0, gy, gh, gc, u, gz, gr, sums, block):
        n, t, hidden = y.shape
        wide = gz.shape[2]
        for k in prange((n + block - 1) // block):
            top, bottom = k * block, min(n, (k + 1) * block)
            high = (bottom - top + ROWS - 1) // ROWS * ROWS
            g = np.zeros((high, u.shape[0] * u.shape[2]), y.dtype)
            r = np.zeros((high, wide + _PADDED), y.dtype)
            g[: bottom - top, :hidden] = gh[top:bottom]
            for step in range(t - 1, -1, -1):
                for i in range(top, bottom):
                    j, part = i - top, i // ROWS
                    h = y[i, step - 1] if step else h0[i]
                    c = noted[i, step - 1] if step else c0[i]
                    if gy.size:
                        for m in range(hidden):
                            g[j, m] += gy[i, step, m]
                    row(gates[i, step], noted[i, step], h, c, g[j], gc[i], gz[i, step], r[j])
                    for m in range(wide):
                        sums[part, 0, m] += gz[i, step, m]
                    if gr.size:
                        for m in range(wide):
                            gr[i, step, m] = r[j, m]
                        for m in range(wide):
                            sums[part, 1, m] += r[j, m]
                multiply(r, u, g)
            gh[top:bottom] = g[: bottom - top, :hidden]

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


def _zeros_for(a, x, wide):
    """The state or bias, or the zeros it stands for."""
    return np.zeros(wide, x.dtype) if a is None else np.ascontiguousarray(a)


def _sequence(loop, x, h0, c0, w, u, b, bu, plain=False):
    """All h, the activated gates, and what else a row notes. A `plain` layer has no gates: its
    outputs stand where its sums were."""
    (n, t, _), hidden = x.shape, u.shape[0]
    b, bu = _zeros_for(b, x, w.shape[1]), _zeros_for(bu, x, w.shape[1])
    h0, c0 = _zeros_for(h0, x, (n, hidden)), _zeros_for(c0, x, (n, hidden))
    gates = product(flat_rows(x), w).reshape(n, t, w.shape[1])
    y, noted = (gates, gates) if plain else np.empty((2, n, t, hidden), x.dtype)
    loop(gates, b, bu, h0, c0, panels(u), y, noted, _block(n))
    return y, gates, noted


def _gradients(loop, x, h0, c0, w, u, y, gates, noted, gy, gh, gc, needs, two=False):
    """Gradients of x, h0, the carry, w, u, b and bu. `two`: those before the activations differ
    between x @ w + b and h @ u + bu."""
    (n, t, _), (hidden, wide) = x.shape, u.shape
    h0, c0 = _zeros_for(h0, x, (n, hidden)), _zeros_for(c0, x, (n, hidden))
    gh, gc = [np.array(_zeros_for(g, x, (n, hidden))) for g in (gh, gc)]  # written to
    gy = _zeros_for(gy, x, (0, 0, 0))
    gz = np.empty((n, t, wide), x.dtype)
    gr = np.empty_like(gz) if two else _zeros_for(None, x, (0, 0, 0))
    sums = np.zeros((-(-n // ROWS), 2, wide), x.dtype)
    back = panels(u.T)
    loop(gates, noted, y, h0, c0, gy, gh, gc, back, gz, gr, sums, _block(n))
    gz, gr = flat_rows(gz), flat_rows(gr if two else gz)
    gb, gbu = sums.sum(axis=0)
    gx = product(gz, w.T).reshape(x.shape) if needs[0] else None
    gw = product(flat_rows(x).T, gz) if needs[1] else None
    gu = None
    if needs[2]:
        before = np.empty_like(y)
        before[:, 0], before[:, 1:] = h0, y[:, :-1]
        gu = product(flat_rows(before).T, gr)
    return gx, gh, gc, gw, gu, gb, gbu


def _asked(needs, *gradients):
    return tuple([g if need else None for need, g in zip(needs, gradients, strict=True)])


# --- the ops ------------------------------------------------------------------------------------


def _lstm_fits(x, h0, c0, w, u, b=None):
    return recurrent_fits(4, x, w, u, (h0, c0), (b,))


def _lstm_grad_fits(
    x, h0, c0, w, u, y, gates, cells, gy=None, gh=None, gc=None, ggates=None, gcells=None, *, needs
):
    noted = gates, cells, y
    plain = ggates is None and gcells is None
    return plain and recurrent_grad_fits(4, x, w, u, (h0, c0), noted, (gy, gh, gc))


@accepts(min_size=SMALL, size_of=_gates, when=_lstm_fits)
def lstm(x, h0, c0, w, u, b=None):
    y, gates, cells = _sequence(_LSTM, x, h0, c0, w, u, b, None)
    return y, y[:, -1].copy(), cells[:, -1].copy(), gates, cells


@accepts(min_size=SMALL, size_of="gates", strided=("gy", "gh", "gc"), when=_lstm_grad_fits)
def lstm_grad(
    x, h0, c0, w, u, y, gates, cells, gy=None, gh=None, gc=None, ggates=None, gcells=None, *, needs
):
    wanted = needs[0], *needs[3:5]
    gx, gh, gc, gw, gu, gb, _ = _gradients(
        _LSTM_GRAD, x, h0, c0, w, u, y, gates, cells, gy, gh, gc, wanted
    )
    return _asked(needs, gx, gh, gc, gw, gu, gb)


def _gru_fits(x, h0, w, u, b=None, bu=None):
    return recurrent_fits(3, x, w, u, (h0,), (b, bu))


def _gru_grad_fits(
    x, h0, w, u, y, gates, products, gy=None, gh=None, ggates=None, gproducts=None, *, needs
):
    noted = gates, products, y
    plain = ggates is None and gproducts is None
    return plain and recurrent_grad_fits(3, x, w, u, (h0,), noted, (gy, gh))


@accepts(min_size=SMALL, size_of=_gates, when=_gru_fits)
def gru(x, h0, w, u, b=None, bu=None):
    y, gates, products = _sequence(_GRU, x, h0, None, w, u, b, bu)
    return y, y[:, -1].copy(), gates, products


@accepts(min_size=SMALL, size_of="gates", strided=("gy", "gh"), when=_gru_grad_fits)
def gru_grad(
    x, h0, w, u, y, gates, products, gy=None, gh=None, ggates=None, gproducts=None, *, needs
):
    wanted = needs[0], *needs[2:4]
    gx, gh, carry, gw, gu, gb, gbu = _gradients(
        _GRU_GRAD, x, h0, None, w, u, y, gates, products, gy, gh, None, wanted, two=True
    )
    return _asked(needs, gx, gh + carry, gw, gu, gb, gbu)


def _rnn_fits(x, h0, w, u, b=None, *, activation="tanh"):
    return activation in _RNN and recurrent_fits(1, x, w, u, (h0,), (b,))


def _rnn_grad_fits(x, h0, w, u, y, gy=None, gh=None, *, activation, needs):
    return recurrent_grad_fits(1, x, w, u, (h0,), (y,), (gy, gh))


@accepts(min_size=SMALL, size_of=_gates, when=_rnn_fits)
def rnn(x, h0, w, u, b=None, *, activation="tanh"):
    y, _, _ = _sequence(_RNN[activation], x, h0, None, w, u, b, None, plain=True)
    return y, y[:, -1].copy()


@accepts(min_size=SMALL, size_of="y", strided=("gy", "gh"), when=_rnn_grad_fits)
def rnn_grad(x, h0, w, u, y, gy=None, gh=None, *, activation, needs):
    loop, wanted = _RNN_GRAD[activation], (needs[0], *needs[2:4])
    gx, gh, _, gw, gu, gb, _ = _gradients(loop, x, h0, None, w, u, y, y, y, gy, gh, None, wanted)
    return _asked(needs, gx, gh, gw, gu, gb)
