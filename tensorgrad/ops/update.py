"""Optimizer steps: ops that write parameters and the optimizer's state in place; and what else is
done to all parameters at once: casts, the accumulation of gradients.

`hyper` is the float64 vector [learning rate, step] of a parameter group. It is on the device of the
parameters, so that a captured step reads its values at each launch, not those at capture. With a
third number it is conditional: the step is skipped where that is 0, and the host need not know.
The other arrays are lists one after the other: all parameters of the group, their gradients, and
their states (momentum buffers, running means); one call updates all.
"""

from contextlib import contextmanager

import numpy as np

from ..backend import is_half, namespace
from ..core import op
from .samples import Sample, draw


def _hyper(lr=0.1, step=3.0, *apply_if):
    return np.array([lr, step, *apply_if])


_APPLY, _SKIP = np.ones(1), np.zeros(1)
_SHAPES = ((3, 4), (), (0,), (33,), (7, 150))


@op(
    inplace=("hyper",),
    samples=lambda: [
        Sample((_hyper(),)),
        *[Sample((_hyper(0.1, 3.0, 1.0), flag)) for flag in (_APPLY, _SKIP)],
    ],
)
def advance_step(hyper, apply_if=None):
    """step += 1; with `apply_if`, an array of 1 or 0, step += apply_if and hyper[2] = apply_if."""
    hyper[1:2] += 1 if apply_if is None else apply_if
    if apply_if is not None:
        hyper[2:] = apply_if


@op(
    inplace=("scaling",),
    samples=lambda: [
        Sample((np.array([scale, good]), flag), {"interval": 3, "factor": 2.0, "least": least})
        for scale, good, least in ((8.0, 1.0, 0.0), (8.0, 2.0, 1.0), (8.0, 0.0, 8.0))
        for flag in (_APPLY, _SKIP)
    ],
)
def advance_scale(scaling, finite, *, interval, factor, least):
    """Dynamic loss scaling, scaling = [scale, good steps]: the scale is multiplied by `factor`
    after `interval` good steps, and divided by it where `finite`, an array of one number, is 0: the
    gradients were not, and the step was skipped. It never falls below `least`."""
    xp, good = namespace(scaling), (scaling[1:] + 1) * finite
    grown = good >= interval
    change = xp.where(finite == 0, 1 / factor, xp.where(grown, factor, 1.0))
    scaling[:1] = xp.maximum(scaling[:1] * change, least)
    scaling[1:] = xp.where(grown, 0.0, good)


@contextmanager
def undone_unless(apply_if, arrays):
    """Within the block arrays are written in place; where `apply_if` is 0 they are restored."""
    before = [a.copy() for a in arrays]
    yield
    for a, old in zip(arrays, before, strict=True):
        a[...] = namespace(a).where(apply_if != 0, a, old)


@op(
    inplace=("total",),
    samples=lambda: [Sample((draw(s), draw(s, seed=1))) for s in ((3, 4), (), (0,), (7, 150))],
    complex=True,
)
def accumulate(total, g):
    """total += g, of one shape: gradient accumulation."""
    total += g


@op(
    outputs=("*",),
    differentiable=False,
    complex=True,
    samples=lambda: [
        Sample(tuple([draw(s, seed=i) for i, s in enumerate(_SHAPES)]), {"dtype": "float32"}),
        Sample((draw((2, 3)),), {"dtype": "float64"}),
    ],
)
def cast_all(*xs, dtype):
    """Each array in another floating dtype; on a GPU in one launch."""
    return tuple([x.astype(dtype) for x in xs])


@op(
    differentiable=False,
    samples=lambda: [
        Sample(tuple([draw(s, seed=i) for i, s in enumerate(shapes)]))
        for shapes in (((3, 4),), ((3, 4), (), (0,), (7, 150)))
    ],
)
def sum_of_squares(*arrays):
    """The sum of the squares of all elements, in float64: the squared global norm of gradients."""
    return sum([(a.astype("float64") ** 2).sum() for a in arrays])


def _rescale_samples():
    lists = [[draw(s, seed=i) for i, s in enumerate(shapes)] for shapes in (_SHAPES[:1], _SHAPES)]
    worst = [np.where(draw((7, 150)) > 1.9, value, 1.0) for value in (np.inf, np.nan)]
    return [Sample((np.array([0.3]), *arrays)) for arrays in (*lists, *[(w,) for w in worst])]


@op(inplace=("arrays",), samples=_rescale_samples)
def rescale(by, *arrays):
    """arrays *= by, an array of one number; halves in float32. Returns an array of one float64: 1
    if all elements are finite then, and 0 if not."""
    finite = namespace(by).ones((1,))
    for a in arrays:
        wide = a.astype("float32") if is_half(a.dtype) else a
        a[...] = (wide * by.astype(wide.dtype)).astype(a.dtype)
        finite = finite * namespace(a).isfinite(a).all()
    return finite


def parts(arrays, k):
    """k lists, one after the other, as a tuple of k arrays for each parameter."""
    n = len(arrays) // k
    return zip(*[arrays[i * n : (i + 1) * n] for i in range(k)], strict=True)


def _samples(options, *spans):
    """Each shape by itself, and all in one call; `spans` are (low, high) of the lists."""
    made = []
    for shapes in (*[(s,) for s in _SHAPES], _SHAPES):
        for kept, option in options:
            lists = [draw(s, *span, i) for i, span in enumerate(spans[:kept]) for s in shapes]
            made.append(Sample((_hyper(), *lists), option))
    kept, option = options[0]
    lists = [draw((33,), *span, i) for i, span in enumerate(spans[:kept])]
    return [*made, *[Sample((_hyper(0.1, 3.0, flag), *lists), option) for flag in (0.0, 1.0)]]


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
def sgd(hyper, *arrays, momentum, nesterov, weight_decay):
    """Gradient descent with momentum, the formula of `optim.SGD`. The arrays are the parameters p,
    the gradients g and, with momentum, the momentum buffers b."""
    if len(hyper) > 2:
        options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
        with undone_unless(hyper[2], arrays):
            return sgd.ref(hyper[:2], *arrays, **options)
    lr = hyper[0, ...]  # an array of one number: NumPy takes it in half the time of a scalar
    for p, g, *buffer in parts(arrays, 3 if momentum else 2):
        d = g + weight_decay * p if weight_decay else g
        for b in buffer:
            b *= momentum
            b += d
            d = d + momentum * b if nesterov else b
        lr = lr if lr.dtype == p.dtype else hyper[0, ...].astype(p.dtype)
        p -= lr * d


def _adam_samples():
    params = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    kinds = ((0.0, False), (0.1, False), (0.1, True))
    options = [(4, {**params, "weight_decay": w, "decoupled": d}) for w, d in kinds]
    return _samples(options, *[(-2.0, 2.0)] * 3, (0.0, 1.0))


@op(inplace=("arrays",), samples=_adam_samples)
def adam(hyper, *arrays, beta1, beta2, eps, weight_decay, decoupled):
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) when `decoupled`; the formulas
    of `optim.Adam` and `optim.AdamW`. The arrays are the parameters p, the gradients g and the
    running means m of g and v of g**2. Bias corrections are computed in float64."""
    if len(hyper) > 2:
        options = {"beta1": beta1, "beta2": beta2, "eps": eps, "weight_decay": weight_decay}
        with undone_unless(hyper[2], arrays):
            return adam.ref(hyper[:2], *arrays, **options, decoupled=decoupled)
    xp, (lr, t) = namespace(hyper), (hyper[0], hyper[1])
    corrected_lr, root_correction = lr / (1 - beta1**t), xp.sqrt(1 / (1 - beta2**t))
    decay = 1 - lr * weight_decay
    for p, g, m, v in parts(arrays, 4):
        if weight_decay and decoupled:
            p *= decay.astype(p.dtype)
        elif weight_decay:
            g = g + weight_decay * p
        rate, root = corrected_lr.astype(p.dtype), root_correction.astype(p.dtype)
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        p -= rate * m / (xp.sqrt(v) * root + eps)
