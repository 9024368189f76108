"""Recurrent layers: the product of all inputs at once, then for each step one product with the
state and one launch of the fused gates; backward alike, and the weights' gradients at the end."""

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
from .device import BLOCK, DTYPES, TYPES, Source, blocks, ctype, device, either, given, sizes, wide
from .matmul import column_sums

_STEPS = ("lstm_step", "lstm_step_grad", "gru_step", "gru_step_grad")
_RNN = [f"rnn_step<f::{a}, {{t}}>" for a in ("tanh", "relu")]
_RNN += [f"rnn_step_grad<f::{a}_grad, {{t}}>" for a in ("tanh", "relu")]
SOURCE = Source(
    "recurrent",
    [f"{name}<{t}>" for name in _STEPS for t in TYPES.values()]
    + [name.format(t=t) for name in _RNN for t in TYPES.values()],
)


def _copied(a, x, shape, dtype=None):
    """A state or cotangent to write to, in a dtype or x's; zeros where there is none."""
    dtype = x.dtype if dtype is None else dtype
    return device(x).xp.zeros(shape, dtype) if a is None else a.astype(dtype, order="C")


# --- what all of them share ---------------------------------------------------------------------


def _start(x, h0, w, u):
    """x @ w of all steps, memory for a step's h @ u, the state, and memory for all states."""
    (xp, _, blas), (n, t, _), hidden = device(x), x.shape, len(u)
    z = blas.matmul(flat_rows(x), w).reshape(n, t, u.shape[1])
    h = _copied(h0, x, (n, hidden))
    return z, xp.empty((n, u.shape[1]), x.dtype), h, xp.empty((n, t, hidden), x.dtype)


def _forward(kernel, h, u, zh, arrays, has_h0, flags):
    """For each step h @ u, unless that is 0, and a launch."""
    _, launch, blas = device(h)
    steps = arrays[0].shape[1]
    for k in range(steps):
        if has_h0 or k:
            blas.matmul(h, u, out=zh)
        numbers = (*sizes(h.size, h.shape[1], steps, k), np.int32(has_h0 or k > 0), *flags)
        launch(SOURCE, kernel, blocks(h.size), (BLOCK,), (*arrays, *numbers))


def _backward(kernel, gh, u, now, arrays, need_h0, flags):
    """For each step, the last first, a launch, and the gradient of h by way of h @ u."""
    _, launch, blas = device(gh)
    steps = arrays[0].shape[1]
    for k in reversed(range(steps)):
        numbers = (*sizes(gh.size, gh.shape[1], steps, k), *flags)
        launch(SOURCE, kernel, blocks(gh.size), (BLOCK,), (*arrays, *numbers))
        if k or need_h0:
            blas.matmul(now, u.T, out=gh)


def _whole(gy):
    """The cotangent of the sequence, contiguous."""
    return None if gy is None else device(gy).xp.ascontiguousarray(gy)


def _weights(x, h0, w, y, gz, gr, needs):
    """Gradients of x, w, u and the biases from those of x @ w + b (gz) and of h @ u + bu (gr)."""
    (xp, _, blas), gz, gr = device(x), flat_rows(gz), flat_rows(gr)
    gx = blas.matmul(gz, w.T).reshape(x.shape) if needs[0] else None
    gw = blas.matmul(flat_rows(x).T, gz) if needs[1] else None
    gu = None
    if needs[2]:
        before = xp.empty(y.shape, y.dtype)
        before[:, 0], before[:, 1:] = 0 if h0 is None else h0, y[:, :-1]
        gu = blas.matmul(flat_rows(before).T, gr)
    gb, gbu = [column_sums(g) if n else None for g, n in zip((gz, gr), needs[3:], strict=True)]
    return gx, gw, gu, gb, gbu


# --- LSTM ---------------------------------------------------------------------------------------


@accepts(dtypes=DTYPES, strided=("x",), when=lstm_fits)
def lstm(x, h0, c0, w, u, b=None):
    gates, zh, h, y = _start(x, h0, w, u)
    c, cells = _copied(c0, x, h.shape, wide(x)), device(x).xp.empty(y.shape, y.dtype)
    arrays = (gates, zh, either(b, x), c, h, y, cells)
    _forward(f"lstm_step<{ctype(x)}>", h, u, zh, arrays, h0 is not None, given(b))
    return y, h, c.astype(x.dtype, copy=False), gates, cells


@accepts(dtypes=DTYPES, strided=("x", "gy", "gh", "gc"), when=lstm_grad_fits)
def lstm_grad(
    x, h0, c0, w, u, y, gates, cells, gy=None, gh=None, gc=None, ggates=None, gcells=None, *, needs
):
    xp, gy, shape = device(x).xp, _whole(gy), (len(x), len(u))
    gh, gc = _copied(gh, x, shape), _copied(gc, x, shape, wide(x))
    gz, now = [xp.empty(s, x.dtype) for s in (gates.shape, (len(x), u.shape[1]))]
    arrays = (gates, cells, either(c0, x), either(gy, x), gh, gc, gz, now)
    _backward(f"lstm_step_grad<{ctype(x)}>", gh, u, now, arrays, needs[1], given(c0, gy))
    gx, gw, gu, gb, _ = _weights(x, h0, w, y, gz, gz, (needs[0], *needs[3:], False))
    gc = gc.astype(x.dtype, copy=False)
    return gx, gh if needs[1] else None, gc if needs[2] else None, gw, gu, gb


# --- GRU ----------------------------------------------------------------------------------------


@accepts(dtypes=DTYPES, strided=("x",), when=gru_fits)
def gru(x, h0, w, u, b=None, bu=None):
    gates, zh, h, y = _start(x, h0, w, u)
    products = device(x).xp.empty(y.shape, y.dtype)
    arrays = (gates, zh, either(b, x), either(bu, x), h, y, products)
    _forward(f"gru_step<{ctype(x)}>", h, u, zh, arrays, h0 is not None, given(b, bu))
    return y, h, gates, products


@accepts(dtypes=DTYPES, strided=("x", "gy", "gh"), when=gru_grad_fits)
def gru_grad(
    x, h0, w, u, y, gates, products, gy=None, gh=None, ggates=None, gproducts=None, *, needs
):
    xp, gy, shape = device(x).xp, _whole(gy), (len(x), len(u))
    gh, past = _copied(gh, x, shape), xp.zeros(shape, wide(x))
    gz, gr, now = [xp.empty(s, x.dtype) for s in (*[gates.shape] * 2, (len(x), u.shape[1]))]
    arrays = (gates, products, y, either(h0, x), either(gy, x), gh, past, gz, gr, now)
    _backward(f"gru_step_grad<{ctype(x)}>", gh, u, now, arrays, needs[1], given(h0, gy))
    gx, gw, gu, gb, gbu = _weights(x, h0, w, y, gz, gr, (needs[0], *needs[2:]))
    gh0 = (past + gh.astype(past.dtype)).astype(x.dtype, copy=False) if needs[1] else None
    return gx, gh0, gw, gu, gb, gbu


# --- simple recurrence --------------------------------------------------------------------------


@accepts(dtypes=DTYPES, strided=("x",), when=rnn_fits)
def rnn(x, h0, w, u, b=None, *, activation="tanh"):
    y, zh, h, _ = _start(x, h0, w, u)
    kernel = f"rnn_step<f::{activation}, {ctype(x)}>"
    _forward(kernel, h, u, zh, (y, zh, either(b, x), h), h0 is not None, given(b))
    return y, h


@accepts(dtypes=DTYPES, strided=("x", "gy", "gh"), when=rnn_grad_fits)
def rnn_grad(x, h0, w, u, y, gy=None, gh=None, *, activation, needs):
    xp, gy = device(x).xp, _whole(gy)
    gh = _copied(gh, x, (len(x), len(u)))
    gz, now = [xp.empty(s, x.dtype) for s in (y.shape, gh.shape)]
    kernel = f"rnn_step_grad<f::{activation}_grad, {ctype(x)}>"
    _backward(kernel, gh, u, now, (y, either(gy, x), gh, gz, now), needs[1], given(gy))
    gx, gw, gu, gb, _ = _weights(x, h0, w, y, gz, gz, (needs[0], *needs[2:], False))
    return gx, gh if needs[1] else None, gw, gu, gb
