"""Recurrent layers and their gradients, one example and one time step at a time."""

import numpy as np


def _sigmoid(v):
    return 1 / (1 + np.exp(-v))


def _zeros_for(state, x, u):
    return np.zeros((x.shape[0], u.shape[0])) if state is None else state


def _layer(cell, x, starts, w, u, biases):
    """Run `cell(x_t @ w + b, h @ u + bu, states) -> (states, notes)` on each row and step."""
    states = [_zeros_for(s, x, u) for s in starts]
    b, bu = [0.0 if a is None else a for a in (*biases, None)[:2]]
    n, t, _ = x.shape
    ends = [s.copy() for s in states]
    trail = [np.zeros((n, t, u.shape[0])) for _ in states]
    notes = {}
    for row in range(n):
        now = [s[row] for s in ends]
        for k in range(t):
            now, noted = cell(x[row, k].dot(w) + b, now[0].dot(u) + bu, now)
            for name, v in noted.items():
                notes.setdefault(name, np.zeros((n, t, len(v))))[row, k] = v
            for kept, s in zip(trail, now, strict=True):
                kept[row, k] = s
        for end, s in zip(ends, now, strict=True):
            end[row] = s
    return ends, trail, lambda name, gates: notes.get(name, np.zeros((n, t, gates * u.shape[0])))


def _lstm_cell(zx, zh, states):
    i, f, g, o = np.split(zx + zh, 4)
    i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
    c = f * states[1] + i * g
    return [o * np.tanh(c), c], {"gates": np.concatenate([i, f, g, o])}


def _gru_cell(zx, zh, states):
    (xr, xz, xn), (hr, hz, hn) = np.split(zx, 3), np.split(zh, 3)
    r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
    new = np.tanh(xn + r * hn)
    return [(1 - z) * new + z * states[0]], {"gates": np.concatenate([r, z, new]), "hn": hn}


def lstm(x, h0, c0, w, u, b=None):
    (h, c), (y, cells), noted = _layer(_lstm_cell, x, (h0, c0), w, u, (b,))
    return y, h, c, noted("gates", 4), cells


def gru(x, h0, w, u, b=None, bu=None):
    (h,), (y,), noted = _layer(_gru_cell, x, (h0,), w, u, (b, bu))
    return y, h, noted("gates", 3), noted("hn", 1)


def rnn(x, h0, w, u, b=None, activation="tanh"):
    act = {"tanh": np.tanh, "relu": lambda v: v * (v > 0)}[activation]
    cell = lambda zx, zh, states: ([act(zx + zh)], {})  # noqa: E731
    (h,), (y,), _ = _layer(cell, x, (h0,), w, u, (b,))
    return y, h


# Gradients: a row and a step at a time, from the derivatives of the formulas above.
def _backward(slope, x, w, u, ys, starts, gys, gends, needs):
    """`slope(row, k, gs)` gives, from the gradients of the states after step k, those of
    x @ w + b, of h @ u + bu, and what reaches the states before past the product with u."""
    n, t, _ = x.shape
    wide = w.shape[1]
    gx, gw, gu = np.zeros_like(x), np.zeros_like(w), np.zeros_like(u)
    gb, gbu = np.zeros(wide), np.zeros(wide)
    gstarts = [np.zeros((n, u.shape[0])) if g is None else g.copy() for g in gends]
    for row in range(n):
        gs = [g[row] for g in gstarts]
        for k in reversed(range(t)):
            gs = [g + (0 if gy is None else gy[row, k]) for g, gy in zip(gs, gys, strict=True)]
            gz, gr, gs = slope(row, k, gs)
            h = ys[row, k - 1] if k else _zeros_for(starts[0], x, u)[row]
            gx[row, k] = [np.dot(gz, w[j]) for j in range(len(w))]
            gw, gu = gw + np.outer(x[row, k], gz), gu + np.outer(h, gr)
            gb, gbu = gb + gz, gbu + gr
            gs[0] = gs[0] + [np.dot(gr, u[j]) for j in range(len(u))]
        for kept, g in zip(gstarts, gs, strict=True):
            kept[row] = g
    made = (gx, *gstarts, gw, gu, gb, gbu)
    return tuple([v if need else None for v, need in zip(made, needs, strict=False)])


def _at(g, row, k):
    return 0 if g is None else g[row, k]


def _lstm_grad(x, h0, c0, w, u, y, gates, cells, gy, gh, gc, ggates, gcells, needs):
    def slope(row, k, gs):
        i, f, g, o = np.split(gates[row, k], 4)
        c, before = cells[row, k], cells[row, k - 1] if k else _zeros_for(c0, x, u)[row]
        gc = gs[1] + gs[0] * o / np.cosh(c) ** 2
        ga = np.concatenate([gc * g, gc * before, gc * i, gs[0] * np.tanh(c)]) + _at(ggates, row, k)
        gz = ga * np.concatenate([i - i**2, f - f**2, 1 - g**2, o - o**2])
        return gz, gz, [np.zeros_like(c), gc * f]

    return _backward(slope, x, w, u, y, (h0, c0), (gy, gcells), (gh, gc), needs)


def _gru_grad(x, h0, w, u, y, gates, products, gy, gh, ggates, gproducts, needs):
    def slope(row, k, gs):
        r, z, new = np.split(gates[row, k], 3)
        extra = np.split(_at(ggates, row, k) + np.zeros(3 * len(r)), 3)
        h = y[row, k - 1] if k else _zeros_for(h0, x, u)[row]
        gn = (gs[0] * (1 - z) + extra[2]) * (1 - new**2)
        gr = (gn * products[row, k] + extra[0]) * (r - r**2)
        gz = (gs[0] * (h - new) + extra[1]) * (z - z**2)
        ghn = gn * r + _at(gproducts, row, k)
        return np.concatenate([gr, gz, gn]), np.concatenate([gr, gz, ghn]), [gs[0] * z]

    return _backward(slope, x, w, u, y, (h0,), (gy,), (gh,), needs)


def _rnn_grad(x, h0, w, u, y, gy, gh, activation, needs):
    def slope(row, k, gs):
        gz = gs[0] * (1 - y[row, k] ** 2 if activation == "tanh" else y[row, k] > 0)
        return gz, gz, [np.zeros_like(gz)]

    return _backward(slope, x, w, u, y, (h0,), (gy,), (gh,), needs)


ORACLES = {
    **{"lstm": lstm, "gru": gru, "rnn": rnn},
    **{"lstm_grad": _lstm_grad, "gru_grad": _gru_grad, "rnn_grad": _rnn_grad},
}
