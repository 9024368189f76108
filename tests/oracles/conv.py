"""Convolution, one window after the other."""

import itertools

import numpy as np


def windows(h, w, size, stride, padding, dilation):
    """(oy, ox, y, x, i, j): that window (oy, ox) sees pixel (y, x) at its place (i, j)."""
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, size, strict=True)]
    oh = (h + 2 * padding[0] - spans[0]) // stride[0] + 1
    ow = (w + 2 * padding[1] - spans[1]) // stride[1] + 1
    for oy, ox, i, j in itertools.product(range(oh), range(ow), range(size[0]), range(size[1])):
        y = oy * stride[0] + i * dilation[0] - padding[0]
        x = ox * stride[1] + j * dilation[1] - padding[1]
        if 0 <= y < h and 0 <= x < w:
            yield oy, ox, y, x, i, j


def extent(h, w, size, stride, padding, dilation=(1, 1)):
    """How many windows there are, down and across."""
    found = windows(h + 2 * padding[0], w + 2 * padding[1], size, stride, (0, 0), dilation)
    return tuple(np.array([f[:2] for f in found]).max(0) + 1)


def _pairs(c, o, groups):
    """(input channel, its place in the filter, output channel) that belong together."""
    for out in range(o):
        for k in range(c // groups):
            yield out // (o // groups) * (c // groups) + k, k, out


_ACTIVATIONS = {  # name -> (function, slope at its value)
    "none": (lambda z: z, lambda y: 1.0),
    "relu": (lambda z: np.maximum(z, 0), lambda y: y > 0),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda y: y - y * y),
    "tanh": (np.tanh, lambda y: 1 - y * y),
}


def _conv(x, w, b=None, *, stride, padding, dilation, groups, activation="none"):
    h, wide = x.shape[2:]
    y = np.zeros((len(x), len(w), *extent(h, wide, w.shape[2:], stride, padding, dilation)))
    for oy, ox, py, px, i, j in windows(h, wide, w.shape[2:], stride, padding, dilation):
        for c, k, o in _pairs(x.shape[1], len(w), groups):
            y[:, o, oy, ox] += x[:, c, py, px] * w[o, k, i, j]
    return _ACTIVATIONS[activation][0](y if b is None else y + b[:, None, None])


def _conv_input(dy, w, *, size, stride, padding, dilation, groups):
    x = np.zeros((len(dy), w.shape[1] * groups, *size))
    for oy, ox, py, px, i, j in windows(*size, w.shape[2:], stride, padding, dilation):
        for c, k, o in _pairs(x.shape[1], len(w), groups):
            x[:, c, py, px] += dy[:, o, oy, ox] * w[o, k, i, j]
    return x


def _conv_weight(x, dy, *, window, stride, padding, dilation, groups):
    w = np.zeros((dy.shape[1], x.shape[1] // groups, *window))
    for oy, ox, py, px, i, j in windows(*x.shape[2:], window, stride, padding, dilation):
        for c, k, o in _pairs(x.shape[1], len(w), groups):
            w[o, k, i, j] += (x[:, c, py, px] * dy[:, o, oy, ox]).sum()
    return w


def _conv_grad(g, x, w, y, *, activation, needs, **how):
    dy = g * _ACTIVATIONS[activation][1](y)
    gx = _conv_input(dy, w, size=x.shape[2:], **how) if needs[0] else None
    gw = _conv_weight(x, dy, window=w.shape[2:], **how) if needs[1] else None
    return gx, gw, np.einsum("nohw->o", dy) if needs[2] else None


ORACLES = {
    "conv2d": _conv,
    "conv2d_input": _conv_input,
    "conv2d_weight": _conv_weight,
    "conv2d_grad": _conv_grad,
}
