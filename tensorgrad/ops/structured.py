"""Optimizer steps that look at a parameter as a whole, or as a matrix. As in update.py, `hyper` is
[learning rate, step] on the device; a call updates one parameter."""

import numpy as np

from ..backend import namespace
from ..core import op
from .matmul import matmul
from .samples import Sample, draw

_HYPER = np.array([0.1, 3.0])


def _mean_square(x):
    return (x * x).mean() if x.size else x.sum()


def _adafactor_samples():
    options = {"beta2_decay": -0.8, "eps1": 1e-16, "eps2": 1e-3, "d": 1.0, "weight_decay": 0.0}
    made = []
    for shape in ((3, 4), (2, 5, 3), (7,), ()):
        p, g = draw(shape), draw(shape, seed=1)
        states = (draw(shape, 0.1, 1.0, 2),)
        if len(shape) > 1:
            rows, columns = (*shape[:-1], 1), (*shape[:-2], 1, shape[-1])
            states = draw(rows, 0.1, 1.0, 2), draw(columns, 0.1, 1.0, 3)
        made += [Sample((_HYPER, p, g, *states), {**options, "weight_decay": w}) for w in (0, 0.1)]
    return made


@op(inplace=("p", "rows", "columns"), samples=_adafactor_samples)
def adafactor(hyper, p, g, rows, columns=None, *, beta2_decay, eps1, eps2, d, weight_decay):
    """Adafactor (Shazeer & Stern 2018): the running mean of g**2 is kept as the product of its
    means over rows and over columns; for vectors, `rows` is itself. The step is clipped to a root
    mean square of d, and relative to the parameter's."""
    xp, like = namespace(p), p.dtype
    part = (hyper[1, ...] ** beta2_decay).astype(like)
    rate = xp.minimum(hyper[0, ...], 1 / xp.sqrt(hyper[1, ...])).astype(like)
    rate = rate * xp.maximum(xp.sqrt(_mean_square(p)), eps2)
    squares = g * g
    if columns is None:
        rows += part * (squares - rows)
        v = rows
    else:
        rows += part * (squares.mean(-1, keepdims=True) - rows)
        columns += part * (squares.mean(-2, keepdims=True) - columns)
        v = rows * columns / xp.maximum(rows.mean(-2, keepdims=True), eps1)
    u = g / xp.sqrt(xp.maximum(v, eps1 * eps1))
    rate = rate / xp.maximum(xp.sqrt(_mean_square(u)) / d, 1.0)
    if weight_decay:
        p *= (1 - hyper[0, ...] * weight_decay).astype(like)
    p -= (rate * u).astype(like)


def _lamb_samples():
    options = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-6}
    made = []
    for shape in ((3, 4), (7,), ()):
        arrays = (*[draw(shape, seed=i) for i in range(3)], draw(shape, 0.1, 1.0, 3))
        made += [Sample((_HYPER, *arrays), {**options, "weight_decay": w}) for w in (0.0, 0.1)]
    return made


@op(inplace=("p", "m", "v"), samples=_lamb_samples)
def lamb(hyper, p, g, m, v, *, beta1, beta2, eps, weight_decay):
    """LAMB (You et al. 2020): Adam's step, scaled by the norm of the parameter over its own."""
    xp, like, t = namespace(p), p.dtype, hyper[1, ...]
    m += (1 - beta1) * (g - m)
    v += (1 - beta2) * (g * g - v)
    of_m, of_v = (1 / (1 - beta1**t)).astype(like), (1 / (1 - beta2**t)).astype(like)
    u = m * of_m / (xp.sqrt(v * of_v) + eps) + weight_decay * p
    own, step = xp.sqrt((p * p).sum()), xp.sqrt((u * u).sum())
    fits = (own > 0) & (step > 0)
    ratio = xp.where(fits, own / xp.where(fits, step, xp.ones_like(step)), xp.ones_like(own))
    p -= (hyper[0, ...].astype(like) * ratio * u).astype(like)


def orthogonal(x, coefficients, eps, steps):
    """A matrix with the singular vectors of x and singular values near 1, by steps of the
    Newton-Schulz iteration x = a x + (b A + c A^2) x, A = x x^T."""
    (a, b, c), xp = coefficients, namespace(x)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / xp.maximum(xp.sqrt((x * x).sum()), eps)
    for _ in range(steps):
        square = matmul(x, x.T)
        x = a * x + matmul(b * square + c * matmul(square, square), x)
    return x.T if tall else x


def _muon_samples():
    options = {"coefficients": (3.4445, -4.775, 2.0315), "eps": 1e-7, "steps": 5, "momentum": 0.9}
    made = []
    for shape, nesterov, scale in (((3, 5), True, 1.0), ((6, 2), False, 0.2)):
        arrays = [draw(shape, seed=i) for i in range(3)]
        more = {"nesterov": nesterov, "scale": scale, "weight_decay": 0.1}
        made.append(Sample((_HYPER, *arrays), {**options, **more}))
    return made


@op(inplace=("p", "b"), samples=_muon_samples)
def muon(hyper, p, g, b, *, momentum, nesterov, coefficients, eps, steps, scale, weight_decay):
    """Muon (Jordan et al. 2024) of a matrix: momentum, made orthogonal."""
    like = p.dtype
    b += (1 - momentum) * (g - b)
    u = g + momentum * (b - g) if nesterov else b
    u = orthogonal(u, coefficients, eps, steps)
    p *= (1 - hyper[0, ...] * weight_decay).astype(like)
    p -= ((hyper[0, ...] * scale).astype(like) * u).astype(like)
