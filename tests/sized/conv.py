"""Sized samples of convolution and pooling: wide images, many channels, many images."""

from tensorgrad.ops import conv, pool
from tensorgrad.ops.samples import Sample, draw


def _convs(n):
    """Shapes of x and w, and how they go together: products joined and by rows of the window,
    tiles of rows and of images."""
    plain = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    wide, k = max(n // 12, 1), max(n // 36, 1)
    return [
        ((2, 1, 4, wide + 1), (3, 1, 3, 2), {**plain, "padding": (1, 0)}),
        ((2, 22, 7, max(n // 300, 3)), (5, 22, 3, 3), {**plain, "padding": (2, 1)}),
        ((k, 4, 3, 3), (6, 2, 2, 2), {**plain, "stride": (1, 2), "padding": (0, 2), "groups": 2}),
        ((1, 2, wide, 6), (2, 2, 3, 2),
         {**plain, "stride": (2, 1), "padding": (1, 1), "dilation": (1, 3)}),
    ]  # fmt: skip


def _out(x, w, how):
    return conv._conv_counts(x[2:], w, x[1], **how)


def _forward(n):
    made = []
    for i, (x, w, how) in enumerate(_convs(n)):
        bias = draw(w[:1], seed=2) if i % 2 else None
        activation = ("none", "relu", "sigmoid", "tanh")[i]
        made.append(Sample((draw(x), draw(w, seed=1), bias), {**how, "activation": activation}))
    return made


def _grads(n):
    made = []
    for i, (x, w, how) in enumerate(_convs(n)):
        shape = (x[0], w[0], *_out(x, w, how))
        arrays = (draw(shape, seed=3), draw(x), draw(w, seed=1), draw(shape, 0.1, 0.9, 4))
        more = {"activation": ("none", "tanh", "relu", "sigmoid")[i], "needs": (True, i != 2, True)}
        made.append(Sample(arrays, {**how, **more}))
    return made


def _inputs(n):
    return [
        Sample((draw((x[0], w[0], *_out(x, w, how))), draw(w)), {**how, "plane": x[2:]})
        for x, w, how in _convs(n)
    ]


def _weights(n):
    return [
        Sample((draw(x), draw((x[0], w[0], *_out(x, w, how)))), {**how, "kernel": w[2:]})
        for x, w, how in _convs(n)
    ]


def _planes(n):
    return [
        ((2, 3, 4, max(n // 12, 2)), {"size": (2, 2), "stride": (2, 2), "padding": (0, 0)}),
        ((max(n // 20, 1), 1, 5, 4), {"size": (3, 2), "stride": (1, 2), "padding": (1, 1)}),
        ((1, 2, max(n // 14, 4), 7), {"size": (2, 3), "stride": (3, 1), "padding": (0, 1)}),
    ]


def _pools(n):
    return [Sample((draw(x),), how) for x, how in _planes(n)]


def _pool_grads(n):
    made = []
    for x, how in _planes(n):
        shape = (*x[:2], *conv.counts_of(x[2:], *how.values()))
        made.append(Sample((draw(shape),), {"plane": x[2:], **how}))
    return made


def _places(n):
    made = []
    for x, how in _planes(n):
        places = pool.max_pool2d.ref(draw(x), **how)[1]
        made.append(Sample((draw(places.shape), places), {"plane": x[2:]}))
    return made


SIZED = {
    "conv2d": _forward,
    "conv2d_grad": _grads,
    "conv2d_input": _inputs,
    "conv2d_weight": _weights,
    "max_pool2d": _pools,
    "max_pool2d_grad": _places,
    "avg_pool2d": _pools,
    "avg_pool2d_grad": _pool_grads,
}
