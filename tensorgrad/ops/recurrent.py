"""Recurrent layers over whole sequences, batch first: x is (n, t, features).

The input projection x @ w is one product over all time steps; only the recurrent product is per
step. Likewise backward: the loop over time computes the gradients of the pre-activations, and the
gradients of the weights are one product each over all steps. The activations saved for that (gates,
cells) are outputs of the ops, so that second-order gradients flow through them.
"""

from ..backend import namespace
from ..core import op
from .elementwise import relu, relu_grad, sigmoid, sigmoid_grad, tanh, tanh_grad
from .matmul import flat, matmul, transposed
from .reduce import narrow, sum_, widened
from .samples import Sample, draw
from .shape import concat, expand_dims, full_like, reshape, split, squeeze, stack

# --- shared ---------------------------------------------------------------------------------------


def _checked(gates, x, w, u, states, biases):
    """(n, t, hidden); ValueError where a shape does not fit."""
    if x.ndim != 3:
        raise ValueError(f"x has {x.ndim} axes; a batch of sequences has 3: (n, t, features)")
    n, t, features = x.shape
    hidden = u.shape[0] if u.ndim == 2 else -1
    wide = gates * hidden
    if u.shape != (hidden, wide) or w.shape != (features, wide):
        raise ValueError(
            f"w is (features, {gates} * hidden) and u (hidden, {gates} * hidden); "
            f"got {w.shape} and {u.shape} for {features} features"
        )
    for name, a in states.items():
        if a is not None and a.shape != (n, hidden):
            raise ValueError(f"{name} is (n, hidden) = {(n, hidden)}, got {a.shape}")
    for name, a in biases.items():
        if a is not None and a.shape != (wide,):
            raise ValueError(f"{name} is ({gates} * hidden,) = {(wide,)}, got {a.shape}")
    return n, t, hidden


def _projected(x, w, b):
    """x @ w + b for all steps, in float32 for halves."""
    z = matmul(flat(widened(x)), widened(w)).reshape(*x.shape[:-1], w.shape[1])
    return z if b is None else z + widened(b)


def _start(state, n, hidden, z):
    """The initial state as an array of its own: zeros if None, else a copy."""
    if state is None:
        return namespace(z).zeros((n, hidden), dtype=z.dtype)
    return state.astype(z.dtype)


def _zeros(y):
    """The (n, hidden) zeros of a sequence (n, t, hidden). Works on arrays and Tensors."""
    return sum_(y[:, :0], axis=1)


def _before(y, start):
    """The state before each step: `start`, then all of y but the last."""
    start = _zeros(y) if start is None else start
    return concat(expand_dims(start, axis=1), y, axis=1)[:, : y.shape[1]]


def _backwards(*sequences):
    """The (n, features) of each time step, last first; None for sequences that are None."""
    steps = next(a.shape[1] for a in sequences if a is not None)
    if not steps:
        return []
    parts = [
        [None] * steps
        if a is None
        else [squeeze(p, axis=1) for p in split(a, sections=steps, axis=1)]
        for a in sequences
    ]
    return list(zip(*parts, strict=True))[::-1]


def _sequence(steps, like):
    """Steps, last first, stacked into a sequence; zeros like `like` if there are none."""
    return stack(*steps[::-1], axis=1) if steps else full_like(like, value=0.0)


def _plus(a, b):
    """a + b, where either may be None."""
    return b if a is None else a if b is None else a + b


def _weights(gz, gr, x, before, w, u, needs):
    """Gradients of x, w, u and the biases from those of x @ w + b (gz) and of h @ u + bu (gr)."""
    rows, recurrent = flat(gz), flat(gr)
    gx = reshape(matmul(rows, transposed(w)), shape=x.shape) if needs[0] else None
    gw = matmul(transposed(flat(x)), rows) if needs[1] else None
    gu = matmul(transposed(flat(before)), recurrent) if needs[2] else None
    gb = sum_(rows, axis=0) if needs[3] else None
    gbu = sum_(recurrent, axis=0) if needs[4] else None
    return gx, gw, gu, gb, gbu


def _narrowed(like, *arrays):
    return tuple([None if a is None else narrow(a, like) for a in arrays])


def _widened(*arrays):
    return [None if a is None else widened(a) for a in arrays]


# (n, t, features, hidden) of the samples, and which of states and biases are given
_SHAPES = (((2, 3, 3, 2), True), ((1, 1, 2, 3), False), ((2, 0, 2, 1), True), ((0, 2, 2, 1), True))


def _samples(gates, states, biases, **params):
    """Samples of a layer with these numbers of gates, states and biases."""

    def build():
        made = []
        for (n, t, f, h), full in _SHAPES:
            begin = [draw((n, h), seed=k) if full else None for k in range(states)]
            weights = draw((f, gates * h), -1, 1), draw((h, gates * h), -1, 1)
            b = [draw((gates * h,), seed=k) if full else None for k in range(biases)]
            made.append(Sample((draw((n, t, f)), *begin, *weights, *b), params))
        return made

    return build


def _grad_samples(layer, gates, states, biases, **params):
    """Samples of its gradient: with all cotangents, and with that of the last state alone."""

    def build():
        made = []
        for x, *rest in [s.args for s in _samples(gates, states, biases)()]:
            ys = layer(x, *rest, **params)
            kept = (ys[0], *ys[1 + states :])
            needs = (True, *[a is not None for a in rest])
            gs = [draw(a.shape, seed=5 + k) for k, a in enumerate(ys)]
            args = (x, *rest[: states + 2], *kept)
            made.append(Sample((*args, *gs), {**params, "needs": needs}))
        last = [None] * len(gs)
        last[1] = draw(made[0].args[1].shape, seed=9)
        args = (*made[0].args[: -len(gs)], *last)
        needs = (False, *made[0].params["needs"][1:-1], False)
        return [*made, Sample(args, {**params, "needs": needs})]

    return build


# --- LSTM -----------------------------------------------------------------------------------------


@op(
    joint=lambda g, x, h0, c0, w, u, y, needs: lstm_grad(
        x, h0, c0, w, u, y[0], y[3], y[4], *g, needs=needs
    ),
    outputs=("y", "h", "c", "gates", "cells"),
    samples=_samples(4, 2, 1),
    precision="half",
)
def lstm(x, h0, c0, w, u, b=None):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

    i, f, g, o = split(x_t @ w + h @ u + b); c = sigmoid(f) c + sigmoid(i) tanh(g);
    h = sigmoid(o) tanh(c), for each step of x (n, t, features). w is (features, 4 hidden),
    u (hidden, 4 hidden), b (4 hidden,); h0 and c0 (n, hidden) or None for zeros. Gives all h
    (n, t, hidden), the last h and c, and what the gradient needs: the activated gates
    (n, t, 4 hidden) and all c.
    """
    n, t, hidden = _checked(4, x, w, u, {"h0": h0, "c0": c0}, {"b": b})
    xp, gates, u = namespace(x), _projected(x, w, b), widened(u)
    h, c = _start(h0, n, hidden, gates), _start(c0, n, hidden, gates)
    y, cells = xp.empty((n, t, hidden), dtype=h.dtype), xp.empty((n, t, hidden), dtype=h.dtype)
    for k in range(t):
        i, f, g, o = split(gates[:, k] + matmul(h, u), sections=4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * xp.tanh(c)
        y[:, k], cells[:, k], gates[:, k] = h, c, xp.concatenate([i, f, g, o], axis=1)
    return _narrowed(x, y, h, c, gates, cells)


@op(
    outputs=("gx", "gh0", "gc0", "gw", "gu", "gb"),
    samples=lambda: _grad_samples(lstm, 4, 2, 1)(),
)
def lstm_grad(
    x, h0, c0, w, u, y, gates, cells, gy=None, gh=None, gc=None, ggates=None, gcells=None, *, needs
):
    """Gradients of lstm for its inputs, from its outputs and their cotangents; None for the
    cotangents of outputs not used, and in the result where not needed."""
    half = x
    x, h0, c0, w, u, y, gates, cells = _widened(x, h0, c0, w, u, y, gates, cells)
    gy, gh, gc, ggates, gcells = _widened(gy, gh, gc, ggates, gcells)
    before, back, gzs = _before(y, h0), transposed(u), []
    gh, gc = _plus(gh, _zeros(y)), _plus(gc, _zeros(y))
    sequences = gates, cells, _before(cells, c0), gy, ggates, gcells
    for gate, cell, cell_before, g_y, g_gate, g_cell in _backwards(*sequences):
        i, f, g, o = split(gate, sections=4, axis=1)
        gh, tanh_c = _plus(gh, g_y), tanh(cell)
        gc = _plus(gc + tanh_grad(gh * o, tanh_c), g_cell)
        ga = _plus(concat(gc * g, gc * cell_before, gc * i, gh * tanh_c, axis=1), g_gate)
        gi, gf, gg, go = split(ga, sections=4, axis=1)
        gi, gf, go = sigmoid_grad(gi, i), sigmoid_grad(gf, f), sigmoid_grad(go, o)
        gzs.append(concat(gi, gf, tanh_grad(gg, g), go, axis=1))
        gh, gc = matmul(gzs[-1], back), gc * f
    gz = _sequence(gzs, gates)
    wanted = (needs[0], *needs[3:], False)
    gx, gw, gu, gb, _ = _weights(gz, gz, x, before, w, u, wanted)
    return _narrowed(half, gx, gh if needs[1] else None, gc if needs[2] else None, gw, gu, gb)


# --- GRU ------------------------------------------------------------------------------------------


@op(
    joint=lambda g, x, h0, w, u, y, needs: gru_grad(x, h0, w, u, y[0], y[2], y[3], *g, needs=needs),
    outputs=("y", "h", "gates", "products"),
    samples=_samples(3, 1, 2),
    precision="half",
)
def gru(x, h0, w, u, b=None, bu=None):
    """Gated recurrent unit (Cho et al. 2014), the reset gate applied after the recurrent product
    as in cuDNN and PyTorch.

    r = sigmoid(x_t @ w_r + b_r + h @ u_r + bu_r), z likewise; n = tanh(x_t @ w_n + b_n +
    r (h @ u_n + bu_n)); h = (1 - z) n + z h, for each step of x (n, t, features). w is
    (features, 3 hidden), u (hidden, 3 hidden) in the order r, z, n; b and bu (3 hidden,) or None;
    h0 (n, hidden) or None for zeros. Gives all h (n, t, hidden), the last h, and what the
    gradient needs: the activated gates (n, t, 3 hidden) and all h @ u_n + bu_n.
    """
    n, t, hidden = _checked(3, x, w, u, {"h0": h0}, {"b": b, "bu": bu})
    xp, gates, u = namespace(x), _projected(x, w, b), widened(u)
    h, bu = _start(h0, n, hidden, gates), 0 if bu is None else widened(bu)
    y, products = xp.empty((n, t, hidden), dtype=h.dtype), xp.empty((n, t, hidden), dtype=h.dtype)
    for k in range(t):
        xr, xz, xn = split(gates[:, k], sections=3, axis=1)
        hr, hz, hn = split(matmul(h, u) + bu, sections=3, axis=1)
        r, z = sigmoid(xr + hr), sigmoid(xz + hz)
        m = xp.tanh(xn + r * hn)
        h = m + z * (h - m)
        y[:, k], products[:, k], gates[:, k] = h, hn, xp.concatenate([r, z, m], axis=1)
    return _narrowed(x, y, h, gates, products)


@op(
    outputs=("gx", "gh0", "gw", "gu", "gb", "gbu"),
    samples=lambda: _grad_samples(gru, 3, 1, 2)(),
)
def gru_grad(
    x, h0, w, u, y, gates, products, gy=None, gh=None, ggates=None, gproducts=None, *, needs
):
    """Gradients of gru for its inputs, from its outputs and their cotangents; None for the
    cotangents of outputs not used, and in the result where not needed."""
    half = x
    x, h0, w, u, y, gates, products = _widened(x, h0, w, u, y, gates, products)
    gy, gh, ggates, gproducts = _widened(gy, gh, ggates, gproducts)
    before, back, gzs, grs = _before(y, h0), transposed(u), [], []
    gh = _plus(gh, _zeros(y))
    sequences = gates, products, before, gy, ggates, gproducts
    for gate, hn, h, g_y, g_gate, g_hn in _backwards(*sequences):
        r, z, m = split(gate, sections=3, axis=1)
        gh = _plus(gh, g_y)
        gr, gz, gm = [None] * 3 if g_gate is None else split(g_gate, sections=3, axis=1)
        gm = tanh_grad(_plus(gh * (1 - z), gm), m)
        gz = sigmoid_grad(_plus(gh * (h - m), gz), z)
        gr = sigmoid_grad(_plus(gm * hn, gr), r)
        gzs.append(concat(gr, gz, gm, axis=1))
        grs.append(concat(gr, gz, _plus(gm * r, g_hn), axis=1))
        gh = gh * z + matmul(grs[-1], back)
    gz, gr = _sequence(gzs, gates), _sequence(grs, gates)
    gx, gw, gu, gb, gbu = _weights(gz, gr, x, before, w, u, (needs[0], *needs[2:]))
    return _narrowed(half, gx, gh if needs[1] else None, gw, gu, gb, gbu)


# --- simple recurrence ----------------------------------------------------------------------------

ACTIVATIONS = {"tanh": (tanh, tanh_grad), "relu": (relu, relu_grad)}


def _activation(name):
    if name not in ACTIVATIONS:
        raise ValueError(f"activation is 'tanh' or 'relu', got {name!r}")
    return ACTIVATIONS[name]


@op(
    joint=lambda g, x, h0, w, u, y, activation, needs: rnn_grad(
        x, h0, w, u, y[0], *g, activation=activation, needs=needs
    ),
    outputs=("y", "h"),
    samples=lambda: _samples(1, 1, 1)() + _samples(1, 1, 1, activation="relu")()[:1],
    precision="half",
)
def rnn(x, h0, w, u, b=None, *, activation="tanh"):
    """Simple recurrence (Elman 1990): h = activation(x_t @ w + h @ u + b), tanh or relu, for each
    step of x (n, t, features). w is (features, hidden), u (hidden, hidden), b (hidden,) or None;
    h0 (n, hidden) or None for zeros. Gives all h (n, t, hidden), and the last."""
    n, t, hidden = _checked(1, x, w, u, {"h0": h0}, {"b": b})
    act = _activation(activation)[0]
    y, u = _projected(x, w, b), widened(u)
    h = _start(h0, n, hidden, y)
    for k in range(t):
        h = y[:, k] = act(y[:, k] + matmul(h, u))
    return _narrowed(x, y, h)


def _rnn_grad_samples():
    made = _grad_samples(rnn, 1, 1, 1, activation="tanh")()
    signs = made[0]  # tanh's outputs serve for relu: negative ones count as its zeros
    return [*made, signs._replace(params={**signs.params, "activation": "relu"})]


@op(outputs=("gx", "gh0", "gw", "gu", "gb"), samples=_rnn_grad_samples)
def rnn_grad(x, h0, w, u, y, gy=None, gh=None, *, activation, needs):
    """Gradients of rnn for its inputs, from its output and the cotangents of its outputs; None
    for the cotangents of outputs not used, and in the result where not needed."""
    half, grad = x, ACTIVATIONS[activation][1]
    x, h0, w, u, y, gy, gh = _widened(x, h0, w, u, y, gy, gh)
    back, gzs, gh = transposed(u), [], _plus(gh, _zeros(y))
    for h, g_y in _backwards(y, gy):
        gzs.append(grad(_plus(gh, g_y), h))
        gh = matmul(gzs[-1], back)
    gz = _sequence(gzs, y)
    wanted = (needs[0], *needs[2:], False)
    gx, gw, gu, gb, _ = _weights(gz, gz, x, _before(y, h0), w, u, wanted)
    return _narrowed(half, gx, gh if needs[1] else None, gw, gu, gb)
