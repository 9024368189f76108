"""Optimizer steps: ops that write parameters and the optimizer's state in place; and what else is
done to all parameters at once: casts, the accumulation of gradients.

`hyper` is the float64 vector [learning rate, step] of a parameter group. It is on the device of the
parameters, so that a captured step reads its values at each launch, not those at capture. With one
number more it is conditional: the step is skipped where that is 0, and the host need not know.
The other arrays are lists one after the other: all parameters of the group, their gradients, and
their states (momentum buffers, running means); one call updates all.
"""

import functools
import importlib
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
    """step += 1; with `apply_if`, an array of 1 or 0, step += apply_if and hyper[-1] = apply_if."""
    if apply_if is None:
        hyper[1] += 1  # a fifth of the time of a slice
    else:
        hyper[1:2] += apply_if
        hyper[-1:] = apply_if


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


_COMMON = {"maximize": False, "l1": 0.0, "weight_decay": 0.0, "decoupled": False}
_SGD = {**_COMMON, "momentum": 0.0, "dampening": 0.0, "nesterov": False}
_ADAGRAD = {**_COMMON, "lr_decay": 0.0, "eps": 1e-10}
_ADAM = {**_COMMON, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False}


@functools.cache
def _steps():
    """What traces formulas; here only once it is asked for, since a bare checkout lacks it."""
    return importlib.import_module("tensorgrad.kernels.steps")


def _step_samples():
    spans = [(-2.0, 2.0)] * 3
    nesterov = {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}
    adamw = {"weight_decay": 0.1, "decoupled": True}
    return [
        *_samples([(2, {"formula": "sgd", "options": _SGD})], *spans),
        *_samples([(3, {"formula": "sgd", "options": {**_SGD, **nesterov}})], *spans),
        *_samples([(4, {"formula": "adam", "options": _ADAM})], *spans, (0.0, 1.0)),
        *_samples([(4, {"formula": "adam", "options": {**_ADAM, **adamw}})], *spans, (0.0, 1.0)),
    ]


@op(inplace=("arrays",), samples=_step_samples)
def optimizer_step(hyper, *arrays, formula, options):
    """A step of the optimizer of that name in kernels/formulas.py. The arrays are the parameters p,
    the gradients g, and its states. What needs no array is computed in float64."""
    steps, xp, like = _steps(), namespace(hyper), arrays[0].dtype
    step = steps.step_of(formula, options)
    if xp is np:
        if len(hyper) > step.clock and not hyper[-1]:
            return
        numbers = steps.constants(step, hyper, options, like)
    else:
        if len(hyper) > step.clock:
            with undone_unless(hyper[-1], arrays):
                return optimizer_step.ref(hyper[:-1], *arrays, formula=formula, options=options)
        clock = [hyper[i, ...] for i in range(step.clock)]
        given = [options[name] for name in step.given]
        numbers = step.numbers(xp, *clock, *given)
        numbers = tuple([n.astype(like) if hasattr(n, "astype") else n for n in numbers])
    for own in parts(arrays, step.lists):
        step.reference(xp, numbers, *own)


def _row_samples():
    made = []
    for count, features, ids in ((4, 3, [0, 2, 3]), (1, 5, [0]), (9, 33, [8]), (3, 2, [])):
        at, of = np.array(ids, np.int64), (count, features)
        g, p, v = draw((len(ids), features)), draw(of, seed=1), draw(of, 0.1, 1.0, 2)
        for flag in ((), (0.0,), (1.0,)):
            given = (_hyper(0.1, 3.0, *flag), at, p, g)
            made.append(Sample(given, {"formula": "sgd", "options": _SGD}))
            made.append(Sample((*given, v), {"formula": "adagrad", "options": _ADAGRAD}))
    return made


@op(inplace=("p", "states"), samples=_row_samples)
def step_of_rows(hyper, ids, p, g, *states, formula, options):
    """`optimizer_step` of some rows of a table p (count, features) and of its states, which have
    that shape: those of `ids` (k,), no two of which are equal, with gradients g (k, features)."""
    tables = p, *states
    taken, *kept = [a[ids] for a in tables]
    optimizer_step(hyper, taken, g, *kept, formula=formula, options=options)
    for a, own in zip(tables, (taken, *kept), strict=True):
        a[ids] = own


@op(
    inplace=("hyper",),
    samples=lambda: [
        Sample((np.array([0.1, 3.0, 0.7, *flag]),), {"beta1": 0.9, "momentum_decay": 4e-3})
        for flag in ((), (0.0,), (1.0,))
    ],
)
def advance_product(hyper, *, beta1, momentum_decay):
    """hyper = [learning rate, step t, product (, whether the step is applied)]: the product of
    NAdam's momenta goes on by that of step t."""
    momentum = beta1 * (1 - 0.5 * 0.96 ** (hyper[1:2] * momentum_decay))
    if len(hyper) > 3:
        momentum = namespace(hyper).where(hyper[3:] != 0, momentum, 1.0)
    hyper[2:3] *= momentum
