"""Calls of kernels with all sizes drawn: a few of everything, and a few more or less than the
blocks that loops are cut into."""

import numpy as np

from tensorgrad.core import OPS
from tensorgrad.ops.conv import extent
from tensorgrad.ops.samples import Sample, draw

from .sized import SIZED
from .sized.recurrent import FAMILY

BLOCKS = 8, 16, 32, 64, 128, 256, 512, 1024
ACTIVATIONS = "none", "relu", "sigmoid", "tanh"


class Draw:
    """One random generator, and what is drawn with it."""

    def __init__(self, rng, largest):
        self.rng, self.largest = rng, largest

    def few(self, most=9):
        return int(self.rng.integers(1, most + 1))

    def near(self, *blocks):
        """A few more or less than a block, or a few."""
        blocks = [b for b in blocks if b <= self.largest]
        if not blocks or self.rng.random() < 0.3:
            return self.few()
        return max(1, int(self.rng.choice(blocks)) + int(self.rng.integers(-9, 10)))

    def yes(self):
        return bool(self.rng.random() < 0.5)

    def array(self, *shape):
        return draw(shape, -1, 1, seed=int(self.rng.integers(1000)))


def dense(d):
    m, k, n = [d.near(16, 32, 64) for _ in range(3)]
    if d.yes():
        k = d.near(128, 256, 512)
    elif d.yes():
        m = d.near(256, 512)
    return d.array(m, k), d.array(k, n), d.array(n)


def matmul(d):
    return Sample(dense(d)[:2])


def dense_grad(d):
    x, w, _ = dense(d)
    g, y = d.array(len(x), w.shape[1]), d.array(len(x), w.shape[1])
    return Sample(
        (g, x, w, y), {"activation": str(d.rng.choice(ACTIVATIONS)), "needs": needs(d, 3)}
    )


def needs(d, n):
    return tuple([d.yes() for _ in range(n - 1)] + [True])


def conv(d):
    """x, w, b, g and the parameters."""
    groups = d.few(3)
    window, stride, dilation, padding = [
        (d.few(n), d.few(n)) for n in (4, 3, 2, 3)
    ]  # fmt: skip
    padding = tuple([p - 1 for p in padding])
    most = 50 if d.yes() else 9
    plane = [
        max(1, (k - 1) * by + 1 - 2 * p) + d.few(most) - 1
        for k, by, p in zip(window, dilation, padding, strict=True)
    ]
    alone = d.few(4) == 1  # channel by channel
    groups = d.few(20) if alone else groups
    x = d.array(d.few(), groups * (1 if alone else d.few()), *plane)
    w = d.array(groups * d.few(4 if alone else d.few(40)), x.shape[1] // groups, *window)
    counts = extent(x.shape[2:], window, stride, padding, dilation)
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return x, w, d.array(len(w)), d.array(len(x), len(w), *counts), how


def conv2d(d):
    x, w, b, _, how = conv(d)
    return Sample(
        (x, w, b if d.yes() else None), {**how, "activation": str(d.rng.choice(ACTIVATIONS))}
    )


def conv2d_grad(d):
    x, w, _, g, how = conv(d)
    how["activation"], how["needs"] = str(d.rng.choice(ACTIVATIONS)), needs(d, 3)
    return Sample((g, x, w, d.array(*g.shape)), how)


def conv2d_input(d):
    x, w, _, g, how = conv(d)
    return Sample((g, w), {"size": x.shape[2:], **how})


def conv2d_weight(d):
    x, w, _, g, how = conv(d)
    return Sample((x, g), {"window": w.shape[2:], **how})


def attention(d):
    lead = d.few(2), d.few(3)
    rows, keys, width, values = d.near(128), d.near(256), d.near(16, 32), d.near(16)
    shapes = (rows, width), (keys, width), (keys, values)
    mask = d.array(rows, keys) if d.yes() else None
    return Sample((*[d.array(*lead, *s) for s in shapes], mask), {"causal": d.yes()})


def attention_grad(d):
    (q, k, v, mask), params = attention(d)
    y, lse = OPS["scaled_dot_product_attention"].ref(q, k, v, mask, **params)
    params = {**params, "scale": None, "needs": (*needs(d, 3), False)}
    return Sample((d.array(*y.shape), q, k, v, mask, y, lse), params)


def recurrent(d, gates, states, biases):
    n, t, f, h = d.few(20), d.few(5), d.near(16, 32), d.near(8, 16, 32)
    begin = [d.array(n, h) if d.yes() else None for _ in range(states)]
    bias = [d.array(gates * h) if d.yes() else None for _ in range(biases)]
    return Sample(
        (d.array(n, t, f), *begin, d.array(f, gates * h), d.array(h, gates * h) / h, *bias)
    )


def recurrent_grad(d, name, gates, states, biases):
    params = {"activation": str(d.rng.choice(("relu", "tanh")))} if name == "rnn" else {}
    (x, *rest), _ = recurrent(d, gates, states, biases)
    y, *others = OPS[name].ref(x, *rest, **params)
    given = [d.array(*a.shape) if d.yes() else None for a in (y, *others[:states])]
    given[1] = d.array(*others[0].shape)
    args = (x, *rest[: states + 2], y, *others[states:], *given)
    return Sample(args, {**params, "needs": (True,) * (1 + states + 2 + biases)})


DRAWN = {
    "matmul": matmul,
    "dense": lambda d: Sample(dense(d), {"activation": str(d.rng.choice(ACTIVATIONS))}),
    "dense_gelu": lambda d: Sample(dense(d)),
    "dense_grad": dense_grad,
    "conv2d": conv2d,
    "conv2d_grad": conv2d_grad,
    "conv2d_input": conv2d_input,
    "conv2d_weight": conv2d_weight,
    "scaled_dot_product_attention": attention,
    "attention_grad": attention_grad,
    **{name: lambda d, of=of: recurrent(d, *of) for name, of in FAMILY.items()},
    **{
        f"{name}_grad": lambda d, name=name, of=of: recurrent_grad(d, name, *of)
        for name, of in FAMILY.items()
    },
}


def drawn(name, seed, largest=1024):
    """A sample of an op's kernel, with no size beyond such a block."""
    d = Draw(np.random.default_rng(seed), largest)
    if name in DRAWN:
        return DRAWN[name](d)
    made = SIZED[name](d.near(*BLOCKS))
    return made[int(d.rng.integers(len(made)))]
