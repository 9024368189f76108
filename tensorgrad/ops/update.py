"""Optimizer updates: ops that write the parameter and the optimizer's state in place.

`h` is the float64 vector [learning rate, step] of a parameter group. It lives beside the
parameters, so that a captured step reads the numbers of today and not of the day of capture.
"""

import numpy as np

from ..backend import namespace
from ..core import op
from .samples import Sample, draw


def _h(lr=0.1, step=3.0):
    return np.array([lr, step])


@op(inplace=("h",), samples=lambda: [Sample((_h(),))])
def advance_step(h):
    """h's step count, increased by one."""
    h[1] += 1


_SHAPES = ((3, 4), (), (0,), (33,), (7, 150))
_SGD = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}


def _sgd_samples():
    options = (
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
        {"weight_decay": 0.1},
    )
    made = []
    for shape in _SHAPES:
        for option in options:
            buffer = draw(shape, seed=2) if "momentum" in option else None
            args = (draw(shape), draw(shape, seed=1), buffer, _h())
            made.append(Sample(args, {**_SGD, **option}))
    return made


@op(inplace=("p", "buffer"), samples=_sgd_samples)
def sgd(p, g, buffer, h, *, momentum, nesterov, weight_decay):
    """p -= lr * d, where d = g + weight_decay * p, or with momentum the running
    buffer = momentum * buffer + d (Nesterov: d + momentum * buffer). `buffer` is None without
    momentum. The formula is PyTorch's, without dampening."""
    d = g if weight_decay == 0 else g + weight_decay * p
    if momentum:
        buffer *= momentum
        buffer += d
        d = d + momentum * buffer if nesterov else buffer
    p -= h[0].astype(p.dtype) * d


def _adam_samples():
    made = []
    for shape in _SHAPES:
        for weight_decay, decoupled in ((0.0, False), (0.1, False), (0.1, True)):
            args = (
                draw(shape),
                draw(shape, seed=1),
                draw(shape, seed=2),
                draw(shape, 0, 1, 3),
                _h(),
            )
            params = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
            made.append(
                Sample(args, {**params, "weight_decay": weight_decay, "decoupled": decoupled})
            )
    return made


@op(inplace=("p", "m", "v"), samples=_adam_samples)
def adam(p, g, m, v, h, *, beta1, beta2, eps, weight_decay, decoupled):
    """Adam (Kingma & Ba 2015), or AdamW (Loshchilov & Hutter 2019) when `decoupled`:

    m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2,
    p -= lr / (1 - beta1^t) * m / (sqrt(v / (1 - beta2^t)) + eps)

    with t = h[1]. Weight decay is added to g, or when decoupled scales p by 1 - lr * weight_decay.
    Bias corrections are formed in float64. eps stands where PyTorch has it.
    """
    xp = namespace(p)
    lr, t = h[0], h[1]
    rate = (lr / (1 - beta1**t)).astype(p.dtype)
    root = xp.sqrt(1 / (1 - beta2**t)).astype(p.dtype)
    if weight_decay and decoupled:
        p *= (1 - lr * weight_decay).astype(p.dtype)
    elif weight_decay:
        g = g + weight_decay * p
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    p -= rate * m / (xp.sqrt(v) * root + eps)
