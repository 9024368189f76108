"""Sized samples of recurrent layers: many sequences, wide states, long sequences."""

import math

from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw


def layers(k, gates, states, biases):
    """`states` and `biases` given in the first call alone."""
    wide = math.isqrt(k) + 1
    for n, t, f, h in ((-(-k // 12), 2, 3, 5), (3, 2, 2, wide), (9, 1 + k // 50, 2, 3)):
        full = h == 5
        begin = [draw((n, h), seed=i) if full else None for i in range(states)]
        weights = draw((f, gates * h), -1, 1), draw((h, gates * h), -1 / h, 1 / h)
        b = [draw((gates * h,), seed=i) if full else None for i in range(biases)]
        yield Sample((draw((n, t, f)), *begin, *weights, *b))


def grads(name, k, gates, states, biases, **params):
    """With the cotangents of all outputs, or of the last state alone."""
    for i, ((x, *rest), _) in enumerate(layers(k, gates, states, biases)):
        y, *others = OPS[name].ref(x, *rest, **params)
        last, noted = others[:states], others[states:]
        gs = [draw(a.shape, seed=5 + j) for j, a in enumerate((y, *last))]
        gs = [None, gs[1], *[None] * (states - 1)] if i else gs
        args = (x, *rest[: states + 2], y, *noted, *gs)
        yield Sample(args, {**params, "needs": (True,) * (1 + states + 2 + biases)})


FAMILY = {"lstm": (4, 2, 1), "gru": (3, 1, 2), "rnn": (1, 1, 1)}
SIZED = {
    **{name: lambda k, of=of: list(layers(k, *of)) for name, of in FAMILY.items()},
    "lstm_grad": lambda k: list(grads("lstm", k, *FAMILY["lstm"])),
    "gru_grad": lambda k: list(grads("gru", k, *FAMILY["gru"])),
    "rnn_grad": lambda k: list(grads("rnn", k, *FAMILY["rnn"], activation="tanh")),
}
LARGE = dict.fromkeys(SIZED, 20_001)
