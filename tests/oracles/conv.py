"""Oracles of convolution and pooling: a window at a time."""

import numpy as np


def _around(x, padding, value=0.0):
    return np.pad(x, ((0, 0), (0, 0), *[(p, p) for p in padding]), constant_values=value)


def _windows(shape, kernel, stride, padding, dilation=(1, 1)):
    """Place in the output, and the slices of the padded image that it sees."""
    h, w = [n + 2 * p for n, p in zip(shape[2:], padding, strict=True)]
    (kh, kw), (dh, dw) = kernel, dilation
    for r, top in enumerate(range(0, h - dh * (kh - 1), stride[0])):
        for q, left in enumerate(range(0, w - dw * (kw - 1), stride[1])):
            yield (r, q), (slice(None), slice(None), slice(top, top + dh * (kh - 1) + 1, dh),
                           slice(left, left + dw * (kw - 1) + 1, dw))  # fmt: skip


def _full(w, groups):
    """Weights as if there were no groups: zero where an output does not see a channel."""
    out, inner = w.shape[:2]
    full = np.zeros((out, inner * groups, *w.shape[2:]))
    for o in range(out):
        first = o // (out // groups) * inner
        full[o, first : first + inner] = w[o]
    return full


def _parts(full, groups):
    """The weights that count, out of full ones."""
    out, inner = full.shape[0], full.shape[1] // groups
    firsts = [o // (out // groups) * inner for o in range(out)]
    return np.array([full[o, i : i + inner] for o, i in enumerate(firsts)])


_ACTIVATIONS = {
    "none": (lambda z: z, lambda y: 1.0),
    "relu": (lambda z: np.maximum(z, 0), lambda y: y > 0),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda y: y - y * y),
    "tanh": (np.tanh, lambda y: 1 - y * y),
}


def _conv(
    x, w, b=None, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, activation="none"
):
    places = list(_windows(x.shape, w.shape[2:], stride, padding, dilation))
    y = np.zeros((len(x), len(w), places[-1][0][0] + 1, places[-1][0][1] + 1))
    for (r, q), at in places:
        y[:, :, r, q] = np.einsum("ncij,ocij->no", _around(x, padding)[at], _full(w, groups))
    return _ACTIVATIONS[activation][0](y + (0 if b is None else b.reshape(1, -1, 1, 1)))


def _conv_input(z, w, plane, stride, padding, dilation, groups):
    shape = (len(z), w.shape[1] * groups, *plane)
    x = _around(np.zeros(shape), padding)
    for (r, q), at in _windows(shape, w.shape[2:], stride, padding, dilation):
        x[at] += np.einsum("no,ocij->ncij", z[:, :, r, q], _full(w, groups))
    return x[:, :, padding[0] :, padding[1] :][:, :, : plane[0], : plane[1]]


def _conv_weight(x, z, kernel, stride, padding, dilation, groups):
    full = np.zeros((z.shape[1], x.shape[1], *kernel))
    for (r, q), at in _windows(x.shape, kernel, stride, padding, dilation):
        full += np.einsum("ncij,no->ocij", _around(x, padding)[at], z[:, :, r, q])
    return _parts(full, groups)


def _conv_grad(g, x, w, y, stride, padding, dilation, groups, activation, needs):
    z, how = g * _ACTIVATIONS[activation][1](y), (stride, padding, dilation, groups)
    gx = _conv_input(z, w, x.shape[2:], *how) if needs[0] else None
    gw = _conv_weight(x, z, w.shape[2:], *how) if needs[1] else None
    return gx, gw, np.einsum("nohw->o", z) if needs[2] else None


def _max_pool(x, size, stride=None, padding=(0, 0)):
    wide, pairs = _around(x, padding, -np.inf), []
    planes = np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
    planes = np.pad(planes, [(p, p) for p in padding])
    for (r, q), at in _windows(x.shape, size, stride or size, padding):
        seen = wide[at].reshape(*x.shape[:2], size[0] * size[1])
        pairs.append(((r, q), seen.max(-1), planes[at[2:]].ravel()[seen.argmax(-1)]))
    last = pairs[-1][0]
    y = np.zeros((*x.shape[:2], last[0] + 1, last[1] + 1))
    where = np.zeros(y.shape, int)
    for (r, q), values, places in pairs:
        y[:, :, r, q], where[:, :, r, q] = values, places
    return y, where


def _scatter(x, where, plane):
    out = np.zeros((*x.shape[:2], plane[0] * plane[1]))
    for (n, c, r, q), v in np.ndenumerate(x):
        out[n, c, where[n, c, r, q]] += v
    return out.reshape(*x.shape[:2], *plane)


def _take(x, where):
    out = np.zeros(where.shape)
    for (n, c, r, q), place in np.ndenumerate(where):
        out[n, c, r, q] = x[n, c].flat[place]
    return out


def _avg_pool(x, size, stride=None, padding=(0, 0)):
    places = list(_windows(x.shape, size, stride or size, padding))
    y = np.zeros((*x.shape[:2], places[-1][0][0] + 1, places[-1][0][1] + 1))
    for (r, q), at in places:
        y[:, :, r, q] = _around(x, padding)[at].mean(axis=(2, 3))
    return y


def _avg_pool_grad(x, plane, size, stride, padding):
    out = _around(np.zeros((*x.shape[:2], *plane)), padding)
    for (r, q), at in _windows((*x.shape[:2], *plane), size, stride, padding):
        out[at] += x[:, :, r, q][:, :, None, None] / (size[0] * size[1])
    return out[:, :, padding[0] :, padding[1] :][:, :, : plane[0], : plane[1]]


ORACLES = {
    "conv2d": _conv,
    "conv2d_input": _conv_input,
    "conv2d_weight": _conv_weight,
    "conv2d_grad": _conv_grad,
    "max_pool2d": _max_pool,
    "max_pool2d_grad": _scatter,
    "max_pool2d_take": _take,
    "avg_pool2d": _avg_pool,
    "avg_pool2d_grad": _avg_pool_grad,
}
