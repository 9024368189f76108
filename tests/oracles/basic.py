"""Oracles of elementwise ops, shapes, reductions, products and losses."""

import math

import numpy as np


def _softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _layer_norm(x, weight, bias, eps=1e-5):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    y = (x - mean) / np.sqrt(var + eps)
    y = y * (1 if weight is None else weight) + (0 if bias is None else bias)
    return y, mean, 1 / np.sqrt(var + eps)


def _dense(x, w, b, activation="none"):
    z = np.einsum("...i,ij->...j", x, w) + (0 if b is None else b)
    return _ACTIVATIONS[activation](z)


def _gelu(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _cross_entropy(logits, labels):
    flat = np.log(_softmax(logits)).reshape(-1, logits.shape[-1])
    return -np.array([row[i] for row, i in zip(flat, labels.ravel(), strict=True)]).reshape(
        labels.shape
    )


def _keep(state, shape, p):
    words = _philox(int(state[0]), int(state[1]), math.prod(shape))
    return (np.array(words, dtype=np.uint64) >= int(p * 2**32)).reshape(shape)


def _philox(key, drawn, size):
    """Philox 4x32-10 with Python's integers, a block at a time."""
    words, mask = [], 0xFFFFFFFF
    for i in range((size + 3) // 4):
        block = (drawn + i) % 2**64
        c, k = [block & mask, block >> 32, 0, 0], [key & mask, key >> 32]
        for _ in range(10):
            p0, p1 = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [(p1 >> 32) ^ c[1] ^ k[0], p1 & mask, (p0 >> 32) ^ c[3] ^ k[1], p0 & mask]
            k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
        words += c
    return np.array(words[:size], dtype=np.uint32)


def _sigmoid(x):
    return np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x)))


_ACTIVATIONS = {
    "none": lambda z: z,
    "relu": lambda z: z * (z > 0),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
}


def _scatter(values, *index, shape, template):
    out, arrays = np.zeros(shape), iter(index)
    key = tuple([next(arrays) if isinstance(p, str) else p for p in template])
    places = np.arange(out.size).reshape(shape)[key]
    flat = out.reshape(-1)
    for place, value in zip(np.ravel(places), np.ravel(values), strict=True):
        flat[place] += value
    return out


def _getitem(x, *index, template):
    arrays = iter(index)
    return x[tuple([next(arrays) if isinstance(p, str) else p for p in template])]


def _tiny_log(p):
    return np.log(np.maximum(p, 1.2e-38))


def _bits(f):
    """f of each pair of Python's own integers or truth values."""
    return lambda a, b: np.vectorize(f, otypes=[np.result_type(a, b)])(a, b)


ORACLES = {
    **{n: getattr(np, n) for n in "add subtract multiply divide power negative square".split()},
    **{n: getattr(np, n) for n in "conj real imag angle".split()},
    **{n: getattr(np, n) for n in "sqrt maximum minimum where exp expm1 log".split()},
    **{n: getattr(np, n) for n in "log1p sin cos tanh sign floor ceil isnan isfinite".split()},
    **{n: getattr(np, n) for n in "equal not_equal less less_equal greater".split()},
    **{n: getattr(np, n) for n in "greater_equal logical_and logical_or logical_not".split()},
    **{n: getattr(np, n) for n in "sum mean max min var std prod argmax argmin any all".split()},
    **{n: getattr(np, n) for n in "reshape transpose moveaxis swapaxes".split()},
    **{n: getattr(np, n) for n in "broadcast_to squeeze expand_dims flip matmul".split()},
    "abs": np.abs,
    "clip": lambda x, min=None, max=None: np.minimum(
        np.maximum(x, -np.inf if min is None else min), np.inf if max is None else max
    ),
    "positive": lambda x: x,
    "round": np.round,
    "trunc": lambda x: np.sign(x) * np.floor(np.abs(x)),
    "floor_divide": lambda a, b: np.floor(a / b),
    "remainder": lambda a, b: a - np.floor(a / b) * b,
    "isinf": lambda x: np.abs(x) == np.inf,
    "logical_xor": lambda a, b: (np.asarray(a) != 0) != (np.asarray(b) != 0),
    "bitwise_and": _bits(lambda a, b: a & b),
    "bitwise_or": _bits(lambda a, b: a | b),
    "bitwise_xor": _bits(lambda a, b: a ^ b),
    "bitwise_invert": lambda x: ~x if x.dtype == bool else -x - 1,
    "bitwise_left_shift": lambda a, b: np.multiply(a, np.power(2, b)),
    "bitwise_right_shift": lambda a, b: np.floor(a / np.power(2.0, b)).astype(int),
    "sigmoid": _sigmoid,
    "relu": lambda x: x * (x > 0),
    "leaky_relu": lambda x, slope=0.01: x * np.where(x > 0, 1, slope),
    "elu": lambda x, alpha=1.0: np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1)),
    "gelu": _gelu,
    "silu": lambda x: x * _sigmoid(x),
    "softplus": lambda x: np.logaddexp(0, x),
    "softmax": _softmax,
    "log_softmax": lambda x, axis=-1: np.log(_softmax(x, axis)),
    "logsumexp": lambda x, axis=None, keepdims=False: np.log(
        np.exp(x).sum(axis=axis, keepdims=keepdims)
    ),
    "pad": lambda x, pad_width, value=0.0: np.pad(x, pad_width, constant_values=value),
    "full_like": lambda x, value=0: np.full(x.shape, value),
    "cast": lambda x, dtype: x.astype(dtype),
    "identity": lambda x: x,
    "move": lambda x, backend, source: x,
    "concat": lambda *xs, axis=0: np.concatenate(xs, axis),
    "stack": lambda *xs, axis=0: np.stack(xs, axis),
    "split": lambda x, sections, axis=0: tuple(np.split(x, sections, axis)),
    "getitem": _getitem,
    "scatter_add": _scatter,
    "sum_to": lambda x, shape, dtype: (
        np.einsum(
            x, list(range(x.ndim)), [a + x.ndim - len(shape) for a, n in enumerate(shape) if n > 1]
        ).reshape(shape)
        if x.size
        else np.zeros(shape)
    ),
    "dense": _dense,
    "dense_gelu": lambda x, w, b: (_gelu(_dense(x, w, b)), _dense(x, w, b)),
    "layer_norm": _layer_norm,
    "softmax_cross_entropy": _cross_entropy,
    "binary_cross_entropy": lambda p, t: -(t * _tiny_log(p) + (1 - t) * _tiny_log(1 - p)),
    "huber": lambda x, t, delta: np.where(
        abs(x - t) <= delta, (x - t) ** 2 / 2, delta * (abs(x - t) - delta / 2)
    ),
    "log_cosh": lambda x, t: np.logaddexp(x - t, t - x) - np.log(2),
    "binary_cross_entropy_with_logits": lambda x, t: np.logaddexp(0, x) - x * t,
    "mean_squared_error": lambda x, t: np.mean(np.square(x - t)),
    "random_bits": lambda state, size: _philox(int(state[0]), int(state[1]), size),
    "dropout": lambda x, state, p: x * _keep(state, x.shape, p) / (1 - p),
}


# Gradient ops: what they should give, written out from the derivative's definition.
def _by_differences(name):
    """g * f'(x) by a complex step: exact to rounding, from the oracle's own formula."""
    f = {
        "gelu_grad": lambda x: 0.5 * x * (1 + np.tanh(0.7978845608028654 * (x + 0.044715 * x**3))),
        "silu_grad": lambda x: x / (1 + np.exp(-x)),
    }[name]
    return lambda g, x: g * np.imag(f(x + 1e-30j)) / 1e-30


def _cross_entropy_grad(g, logits, labels):
    hot = np.eye(logits.shape[-1])[labels]
    return g[..., None] * (_softmax(logits) - hot)


def _dense_grad(g, x, w, y, activation, needs):
    slope = {"none": 1, "relu": y > 0, "sigmoid": y * (1 - y), "tanh": 1 - y**2}[activation]
    gz = g * slope
    rows, xs = gz.reshape(-1, gz.shape[-1]), x.reshape(-1, x.shape[-1])
    gs = (gz @ w.T, np.einsum("ni,nj->ij", xs, rows), rows.sum(0))
    return tuple([v if need else None for v, need in zip(gs, needs, strict=True)])


def _layer_norm_grad(g, x, weight, mean, rstd, needs):
    n = x.shape[-1]
    normal = (x - mean) * rstd
    gn = g if weight is None else g * weight
    flat = lambda a: a.reshape(-1, n)  # noqa: E731
    gx = np.empty_like(x).reshape(-1, n)
    for i, (row, r) in enumerate(zip(flat(normal), rstd.reshape(-1), strict=True)):
        slope = r * (np.eye(n) - 1 / n - np.outer(row, row) / n)  # d y_j / d x_i of one row
        gx[i] = slope @ flat(gn)[i]
    gs = (gx.reshape(x.shape), flat(g * normal).sum(0), flat(g).sum(0))
    return tuple([v if need else None for v, need in zip(gs, needs, strict=True)])


ORACLES |= {
    "cast_all": lambda *xs, dtype: tuple([x.astype(dtype) for x in xs]),
    "sum_of_squares": lambda *xs: np.sum([np.sum(x.astype(float) ** 2) for x in xs]),
    "square_grad": lambda g, x: 2 * g * x,
    "tanh_grad": lambda g, y: g * (1 - y**2),
    "sigmoid_grad": lambda g, y: g * (y - y**2),
    "relu_grad": lambda g, y: g * (y > 0),
    "leaky_relu_grad": lambda g, x, slope: g * np.where(x > 0, 1, slope),
    "elu_grad": lambda g, x, alpha: g * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0))),
    "gelu_grad": _by_differences("gelu_grad"),
    "silu_grad": _by_differences("silu_grad"),
    "softmax_grad": lambda g, y, axis: y * g - y * (g * y).sum(axis, keepdims=True),
    "log_softmax_grad": lambda g, y, axis: g - np.exp(y) * g.sum(axis, keepdims=True),
    "softmax_cross_entropy_grad": _cross_entropy_grad,
    "dense_grad": _dense_grad,
    "layer_norm_grad": _layer_norm_grad,
}


# In-place ops: what the inputs hold afterwards, and the result if there is one.
def _lists(arrays, k):
    return np.array([None, *arrays], dtype=object)[1:].reshape(k, -1)


def _skipped(hyper):
    return len(hyper) > 2 and not hyper[2]


def _sgd(hyper, p, g, b=None, *, momentum, dampening, nesterov):
    d = g
    if momentum:
        b = momentum * b + (1 - (dampening if hyper[1] > 1 else 0)) * g
        d = d + momentum * b if nesterov else b
    return p - hyper[0] * d, *([] if b is None else [b])


def _adam(hyper, p, g, m, v, top=None, *, beta1, beta2, eps, amsgrad):
    t = hyper[1]
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    top = None if top is None else np.maximum(top, v)
    largest = v if top is None else top
    step = hyper[0] * (m / (1 - beta1**t)) / (np.sqrt(largest / (1 - beta2**t)) + eps)
    return p - step, m, v, *([] if top is None else [top])


def _optimizer_step(hyper, *arrays, formula, options):
    if _skipped(hyper):
        return [hyper, *arrays], None
    made = {"sgd": (_sgd, 3 if options.get("momentum") else 2), "adam": (_adam, 4)}
    step, k = made[formula]
    after, own = _lists(arrays, k), dict(options)
    maximize, l1, decay, decoupled = [
        own.pop(name) for name in ("maximize", "l1", "weight_decay", "decoupled")
    ]
    for i, (p, g, *states) in enumerate(after.T):
        g = (-g if maximize else g) + l1 * np.sign(p)
        p, g = (p - hyper[0] * decay * p, g) if decoupled else (p, g + decay * p)
        after[0, i], *states = step(hyper, p, g, *states, **own)
        for row, state in zip(after[2:], states, strict=True):
            row[i] = state
    return [hyper, *after.reshape(-1)], None


def _step_of_rows(hyper, ids, p, g, *states, formula, options):
    if _skipped(hyper):
        return [hyper, ids, p, g, *states], None
    sign = -1 if options["maximize"] else 1
    p, states = p.copy(), [a.copy() for a in states]
    for row, of in zip(ids, sign * g, strict=True):
        if formula == "adagrad":
            states[0][row] += of**2
            of = of / (np.sqrt(states[0][row]) + options["eps"])
        p[row] -= hyper[0] * of
    return [hyper, ids, p, g, *states], None


def _adafactor(hyper, p, g, *states, beta2_decay, eps1, eps2, d, weight_decay):
    (lr, t), rms = hyper, lambda a: np.sqrt(np.mean(a**2))
    axes, part = ((-1, -2) if len(states) > 1 else (None,)), t**beta2_decay
    means = [g**2 if axis is None else (g**2).mean(axis, keepdims=True) for axis in axes]
    after = [(1 - part) * s + part * mean for s, mean in zip(states, means, strict=True)]
    v = after[0]
    if len(states) > 1:
        v = np.einsum("...ij,...jk->...ik", *after) / after[0].mean(-2, keepdims=True)
    u = g / np.sqrt(v)
    rate = min(lr, t**-0.5) * max(eps2, rms(p)) / max(1, rms(u) / d)
    return [hyper, p - lr * weight_decay * p - rate * u, g, *after], None


def _lamb(hyper, p, g, m, v, beta1, beta2, eps, weight_decay):
    lr, t = hyper
    m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
    u = m / (1 - beta1**t) / (np.sqrt(v / (1 - beta2**t)) + eps) + weight_decay * p
    ratio = np.linalg.norm(np.ravel(p)) / np.linalg.norm(np.ravel(u))
    return [hyper, p - lr * ratio * u, g, m, v], None


def _muon(hyper, p, g, b, momentum, nesterov, coefficients, eps, steps, scale, weight_decay):
    """By the singular values, on which the iteration works alone."""
    b = momentum * b + (1 - momentum) * g
    u, s, vt = np.linalg.svd(momentum * b + (1 - momentum) * g if nesterov else b, False)
    s = s / np.sqrt((s**2).sum())
    for _ in range(steps):
        s = s * (coefficients[0] + coefficients[1] * s**2 + coefficients[2] * s**4)
    return [hyper, p - hyper[0] * (weight_decay * p + scale * (u * s) @ vt), g, b], None


def _product(hyper, beta1, momentum_decay):
    mu = beta1 * (1 - 0.5 * 0.96 ** (hyper[1] * momentum_decay))
    mu = mu if len(hyper) < 4 or hyper[3] else 1.0
    return [np.array([*hyper[:2], hyper[2] * mu, *hyper[3:]])], None


def _scale(scaling, finite, interval, factor, least):
    size, good = scaling
    if not finite[0]:
        size, good = size / factor, 0
    elif good + 1 < interval:
        good += 1
    else:
        size, good = size * factor, 0
    return [np.array([max(size, least), good]), finite], None


def _rescale(by, *arrays):
    after = [a * by[0] for a in arrays]
    return [by, *after], np.array([float(all(np.isfinite(a).all() for a in after))])


def _step(hyper, apply_if=None):
    if apply_if is None:
        return [hyper + [0, 1]], None
    return [np.array([hyper[0], hyper[1] + apply_if[0], apply_if[0]]), apply_if], None


WRITES = {
    "accumulate": lambda total, g: ([total + g, g], None),
    "advance_step": _step,
    "advance_scale": _scale,
    "rescale": _rescale,
    "advance_random": lambda state, blocks: ([state + np.array([0, blocks], np.uint64)], state),
    "optimizer_step": _optimizer_step,
    "step_of_rows": _step_of_rows,
    "advance_product": _product,
    "adafactor": _adafactor,
    "lamb": _lamb,
    "muon": _muon,
}
