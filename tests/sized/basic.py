"""Sized samples of reductions, products, losses and updates."""

import numpy as np

from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw, integers


def vector(n, *lows, **params):
    """`n` arrays of one dimension, one for each (low, high)."""
    return [Sample(tuple([draw((n,), *span, i) for i, span in enumerate(lows)]), params)]


def repeated(name):
    """An elementwise op's own samples, repeated to any size."""
    same = [s for s in OPS[name].samples() if len({np.shape(a) for a in s.args}) == 1]
    columns = [
        np.concatenate([np.ravel(a) for a in xs])
        for xs in zip(*[s.args for s in same], strict=True)
    ]
    return lambda n: [Sample(tuple([np.resize(c, n) for c in columns]), same[0].params)]


def matrices(n, inputs, low=-2.0, high=2.0, **params):
    """Long rows, and many short ones."""
    return [Sample(tuple([draw(s, low, high, i) for i in range(inputs)]), params)
            for s in ((3, n), (n, 3))]  # fmt: skip


def sums(n):
    """Over all, the first, the last and the middle axis, and over two."""
    shapes = ((n,), None), ((n, 3), 0), ((3, n), -1), ((2, n, 3), 1), ((n, 2, 3), (1, 2))
    return [Sample((draw(s),), {"axis": axis, "keepdims": n % 2 == 0}) for s, axis in shapes]


def denses(n, **params):
    shapes = ((3, 5, n), (n, 4, 3), (2, n, 3))
    return [Sample((draw((m, k)), draw((k, p)), draw((p,))), params) for m, k, p in shapes]


def dense_grads(n):
    made = []
    for (x, w, _), params in denses(n, activation="tanh"):
        g, y = draw((len(x), w.shape[1])), draw((len(x), w.shape[1]), -0.9, 0.9, 1)
        made += [Sample((g, x, w, y), {**params, "needs": (True, True, b)}) for b in (True, False)]
    return made


def norm_grads(n):
    made = []
    for (x,), _ in matrices(n, 1):
        _, mean, rstd = OPS["layer_norm"].ref(x, None, None)
        args = (draw(x.shape, seed=1), x, draw(x.shape[-1:], seed=2), mean, rstd)
        made += [Sample(args, {"needs": (True,) * 3})]
    return made


def classes(n):
    return [(draw(s, -3, 3), integers(s[:-1], s[-1])) for s in ((3, n), (n, 3)) if s[-1]]


def factored(n):
    """Adafactor's, of few long rows and of many."""
    options = {"beta2_decay": -0.8, "eps1": 1e-7, "eps2": 1e-3, "d": 1.0, "weight_decay": 0.1}
    made = []
    for (p, g), _ in matrices(n, 2):
        states = draw((len(p), 1), 0.1, 1.0, 2), draw((1, p.shape[1]), 0.1, 1.0, 3)
        made.append(Sample((H, p, g, *states), options))
    return made


def tables(n):
    """Few wide rows of a table, and many narrow ones of which some are left out."""
    made = []
    for count, features, ids in ((7, n, np.array([5, 0, 2])), (n + 3, 5, np.arange(n) + 1)):
        arrays = [draw((count, features)), draw((len(ids), features), seed=1)]
        made.append(Sample((H, ids, *arrays), STEPS["plain"]))
    return made


STATE = np.array([2**63 + 9, 2**32 - 2], np.uint64)
H = np.array([0.1, 3.0])
SCALE = {"interval": 32, "factor": 2.0, "least": 1.0}
COMMON = {"maximize": False, "l1": 0.0, "weight_decay": 0.1, "decoupled": True}
SGD = {**COMMON, "decoupled": False, "momentum": 0.9, "dampening": 0.0, "nesterov": True}
ADAM = {**COMMON, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False}
PLAIN = {**SGD, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
STEPS = {"sgd": {"formula": "sgd", "options": SGD}, "adam": {"formula": "adam", "options": ADAM}}
STEPS["plain"] = {"formula": "sgd", "options": PLAIN}
WIDE = (-4.0, 4.0)
SIZED = {
    **{n: lambda k: matrices(k, 1) for n in ("softmax", "log_softmax")},
    **dict.fromkeys(("sum", "mean"), sums),
    "sum_to": lambda k: [
        Sample((draw((3, k)),), {"shape": (k,), "dtype": np.dtype("float64")}),
        Sample((draw((k, 3)),), {"shape": (3,), "dtype": np.dtype("float64")}),
    ],
    "softmax_grad": lambda k: matrices(k, 2, 0.0, 1.0, axis=-1),
    "log_softmax_grad": lambda k: matrices(k, 2, -3.0, -0.1, axis=-1),
    "softmax_cross_entropy": lambda k: [Sample(c) for c in classes(k)],
    "softmax_cross_entropy_grad": lambda k: [
        Sample((draw(labels.shape), logits, labels)) for logits, labels in classes(k)
    ],
    "matmul": lambda k: [
        Sample((draw(a), draw(b))) for a, b in (((3, k), (k, 2)), ((k, 2), (2, 3)))
    ],
    "dense": lambda k: denses(k, activation="sigmoid"),
    "dense_gelu": denses,
    "dense_grad": dense_grads,
    "layer_norm": lambda k: [
        Sample((x, draw(x.shape[-1:], seed=1), None)) for (x,), _ in matrices(k, 1)
    ],
    "layer_norm_grad": norm_grads,
    "random_bits": lambda k: [Sample((STATE,), {"size": k})],
    "dropout": lambda k: [Sample((draw((k,)), STATE), {"p": 0.3})],
    "advance_random": lambda k: [Sample((STATE,), {"blocks": k})],
    "accumulate": lambda k: vector(k, WIDE, WIDE),
    "sum_of_squares": lambda k: [Sample((*vector(k, *[WIDE] * 2)[0].args, draw((5000,))))],
    "cast_all": lambda k: [
        Sample((*vector(k, *[WIDE] * 2)[0].args, draw((5000,))), {"dtype": "float32"})
    ],
    "advance_step": lambda k: [Sample((H,))],
    "advance_scale": lambda k: [
        Sample((np.array([8.0, float(k)]), np.ones(1)), SCALE)
    ],
    "rescale": lambda k: [Sample((np.array([0.3]), *vector(k, *[WIDE] * 3)[0].args))],
    "adafactor": factored,
    "step_of_rows": tables,
    "optimizer_step": lambda k: [  # two parameters
        Sample((H, *vector(k, *[WIDE] * 6)[0].args), STEPS["sgd"]),
        Sample((H, *vector(k, *[WIDE] * 6, *[(0.0, 1.0)] * 2)[0].args), STEPS["adam"]),
    ],
}  # fmt: skip
LARGE = {"dropout": 40_001, "random_bits": 40_001}
