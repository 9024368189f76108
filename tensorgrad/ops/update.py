"""Optimizer updates: ops that write parameters and the optimizer's state in place; and the sum of
gradients, which needs no array of its own for each.

`h` is the float64 vector [learning rate, step] of a parameter group. It lives beside the
parameters, so that a captured step reads the numbers of today and not of the day of capture. With a
third number, the update is left out where that is 0: nothing waits for the host to know it. The
other arrays are lists one after the other: all parameters of the group, their gradients, and what
is kept for each; one call updates them all.
"""

from contextlib import contextmanager

import numpy as np

from ..backend import is_half, namespace
from ..core import op
from .samples import Sample, draw


def _h(lr=0.1, step=3.0, *go):
    return np.array([lr, step, *go])


_GO, _STOP = np.ones(1), np.zeros(1)
_SHAPES = ((3, 4), (), (0,), (33,), (7, 150))


@op(
    inplace=("h",),
    samples=lambda: [Sample((_h(),)), *[Sample((_h(0.1, 3.0, 1.0), g)) for g in (_GO, _STOP)]],
)
def advance_step(h, go=None):
    """h's step count, increased by one; or by `go`, an array of 1 or 0, which h[2] then holds."""
    h[1:2] += 1 if go is None else go
    if go is not None:
        h[2:] = go


@op(
    inplace=("h",),
    samples=lambda: [
        Sample((_h(scale, good), go), {"interval": 3, "factor": 2.0, "least": least})
        for scale, good, least in ((8.0, 1.0, 0.0), (8.0, 2.0, 1.0), (8.0, 0.0, 8.0))
        for go in (_GO, _STOP)
    ],
)
def advance_scale(h, go, *, interval, factor, least):
    """h = [loss scale, good steps]: the scale multiplied by `factor` after `interval` good steps,
    and divided by it where `go`, an array of one number, is 0: the step was left out; never
    below `least`."""
    xp, good = namespace(h), (h[1:] + 1) * go
    grown = good >= interval
    h[:1] = xp.maximum(h[:1] * xp.where(go == 0, 1 / factor, xp.where(grown, factor, 1.0)), least)
    h[1:] = xp.where(grown, 0.0, good)


@contextmanager
def written_if(go, arrays):
    """Within the block arrays are written; where `go` is 0 they are afterwards as they were."""
    before = [a.copy() for a in arrays]
    yield
    for a, old in zip(arrays, before, strict=True):
        a[...] = namespace(a).where(go != 0, a, old)


@op(
    inplace=("total",),
    samples=lambda: [Sample((draw(s), draw(s, seed=1))) for s in ((3, 4), (), (0,), (7, 150))],
)
def accumulate(total, g):
    """total += g, of one shape."""
    total += g


@op(
    differentiable=False,
    samples=lambda: [
        Sample(tuple([draw(s, seed=i) for i, s in enumerate(shapes)]))
        for shapes in (((3, 4),), ((3, 4), (), (0,), (7, 150)))
    ],
)
def sum_of_squares(*arrays):
    """The sum of the squares of all numbers, in float64: a gradient's squared norm."""
    return sum([(a.astype("float64") ** 2).sum() for a in arrays])


def _rescale_samples():
    lists = [[draw(s, seed=i) for i, s in enumerate(shapes)] for shapes in (_SHAPES[:1], _SHAPES)]
    worst = [np.where(draw((7, 150)) > 1.9, value, 1.0) for value in (np.inf, np.nan)]
    return [Sample((np.array([0.3]), *arrays)) for arrays in (*lists, *[(w,) for w in worst])]


@op(inplace=("arrays",), samples=_rescale_samples)
def rescale(by, *arrays):
    """All arrays multiplied by one number, halves in float32; returns an array of one float64: 1
    if all numbers are finite then, and 0 if not."""
    finite = namespace(by).ones((1,))
    for a in arrays:
        wide = a.astype("float32") if is_half(a.dtype) else a
        a[...] = (wide * by.astype(wide.dtype)).astype(a.dtype)
        finite = finite * namespace(a).isfinite(a).all()
    return finite


def parts(arrays, k):
    """The k lists that stand one after the other, as one tuple of k arrays for each parameter."""
    n = len(arrays) // k
    return zip(*[arrays[i * n : (i + 1) * n] for i in range(k)], strict=True)


def _samples(options, *spans):
    """Each shape by itself, and all in one call; `spans` are (low, high) of the lists."""
    made = []
    for shapes in (*[(s,) for s in _SHAPES], _SHAPES):
        for kept, option in options:
            lists = [draw(s, *span, i) for i, span in enumerate(spans[:kept]) for s in shapes]
            made.append(Sample((_h(), *lists), option))
    kept, option = options[0]
    lists = [draw((33,), *span, i) for i, span in enumerate(spans[:kept])]
    return [*made, *[Sample((_h(0.1, 3.0, go), *lists), option) for go in (0.0, 1.0)]]


def _sgd_samples():
    plain = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    options = (
        (2, plain),
        (3, {**plain, "momentum": 0.9}),
        (3, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        (2, {**plain, "weight_decay": 0.1}),
    )
    return _samples(options, *[(-2.0, 2.0)] * 3)


@op(inplace=("arrays",), samples=_sgd_samples)
def sgd(h, *arrays, momentum, nesterov, weight_decay):
    """p -= lr * d, where d = g + weight_decay * p, or with momentum the running
    buffer = momentum * buffer + d (Nesterov: d + momentum * buffer). The arrays are the p, the g
    and with momentum the buffers. The formula is PyTorch's, without dampening."""
    if len(h) > 2:
        options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        with written_if(h[2], arrays):
            return sgd.ref(h[:2], *arrays, **options)
    lr = h[0, ...]  # an array of one number: NumPy takes it in half the time of a scalar
    for p, g, *buffer in parts(arrays, 3 if momentum else 2):
        d = g + weight_decay * p if weight_decay else g
        for b in buffer:
            b *= momentum
            b += d
            d = d + momentum * b if nesterov else b
        lr = lr if lr.dtype == p.dtype else h[0, ...].astype(p.dtype)
        p -= lr * d


def _adam_samples():
    params = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    kinds = ((0.0, False), (0.1, False), (0.1, True))
    options = [(4, {**params, "weight_decay": w, "decoupled": d}) for w, d in kinds]
    return _samples(options, *[(-2.0, 2.0)] * 3, (0.0, 1.0))


@op(inplace=("arrays",), samples=_adam_samples)
def adam(h, *arrays, beta1, beta2, eps, weight_decay, decoupled):
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) when `decoupled`:

    m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
    p -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)

    with t = h[1]. The arrays are the p, the g, the m and the v. Weight decay is added to g, or
    when decoupled scales p by 1 - lr * weight_decay. Bias corrections are formed in float64. eps
    stands where PyTorch has it.
    """
    if len(h) > 2:
        options = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
        with written_if(h[2], arrays):
            return adam.ref(h[:2], *arrays, **options, decoupled=decoupled)
    xp, (lr, t) = namespace(h), (h[0], h[1])
    rate, root = lr / (1 - beta1**t), xp.sqrt(1 / (1 - beta2**t))
    keep = 1 - lr * weight_decay
    for p, g, m, v in parts(arrays, 4):
        if weight_decay and decoupled:
            p *= keep.astype(p.dtype)
        elif weight_decay:
            g = g + weight_decay * p
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        p -= rate.astype(p.dtype) * m / (xp.sqrt(v) * root.astype(p.dtype) + eps)
