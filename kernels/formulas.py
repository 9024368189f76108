"""Optimizers, each as the formula of one number: what a step makes of a parameter p, its gradient g
and its states.

They are plain Python on numbers, arrays or the symbols of tracing.py, which makes of each the
reference in array language, a compiled loop and CUDA C. An `if` asks options: each answer is a
program of its own. What holds no array, such as a bias correction, is computed once a step, in
float64. States start at 0 unless the optimizer says otherwise; `lr` is the learning rate, `t` the
number of the step, from 1. One that is kept only with an option is named in `@formula`, else None.

All of them take `maximize`, `l1`, `weight_decay` and `decoupled` besides, which `pulled` adds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .tracing import maximum, sqrt, where

FORMULAS: dict[str, Callable] = {}
COMMON = ("maximize", "l1", "weight_decay", "decoupled")


def formula(**only_with: str) -> Callable[[Callable], Callable]:
    """Register a formula; `state="option"` says which states are kept with an option only."""

    def register(function: Callable) -> Callable:
        code = function.__code__
        function.states = code.co_varnames[2 : code.co_argcount]  # type: ignore[attr-defined]
        function.only_with = only_with  # type: ignore[attr-defined]
        FORMULAS[function.__name__] = function
        return function

    return register


def states_of(name: str, options: dict[str, Any]) -> list[str]:
    """The names of the states that a formula keeps under these options."""
    made: Any = FORMULAS[name]
    return [s for s in made.states if s not in made.only_with or options[made.only_with[s]]]


def pulled(p: Any, g: Any, lr: Any, maximize: Any, l1: Any, weight_decay: Any, decoupled: Any):
    """p and g with the decay of weights: the gradient of l1 * |p| + weight_decay / 2 * p**2 added
    to g, or `decoupled` from it (Loshchilov & Hutter 2019), a step of p towards 0."""
    g = -g if maximize else g
    if l1:
        g = g + l1 * sign(p)
    if weight_decay and decoupled:
        p = p * (1 - lr * weight_decay)
    elif weight_decay:
        g = g + weight_decay * p
    return p, g


def sign(x: Any) -> Any:
    """-1, 0 or 1; NaN of NaN."""
    return where(x > 0, 1, where(x < 0, -1, x))


@formula(b="momentum")
def sgd(p, g, b, *, lr, t, momentum, dampening, nesterov):
    """Gradient descent with momentum (Polyak 1964; Nesterov 1983; Sutskever et al. 2013)."""
    if momentum:
        b = momentum * b + where(t > 1, 1 - dampening, 1) * g if dampening else momentum * b + g
        g = g + momentum * b if nesterov else b
    return p - lr * g, b


@formula(b="momentum", mean="centered")
def rmsprop(p, g, v, mean, b, *, lr, t, alpha, eps, momentum, centered):
    """RMSprop (Tieleman & Hinton 2012); centered as in Graves 2013."""
    v = alpha * v + (1 - alpha) * g * g
    if centered:
        mean = alpha * mean + (1 - alpha) * g
    step = g / (sqrt(v - mean * mean if centered else v) + eps)
    if momentum:
        b = momentum * b + step
    return p - lr * (b if momentum else step), v, mean, b


@formula()
def adagrad(p, g, total, *, lr, t, lr_decay, eps):
    """Adagrad (Duchi et al. 2011)."""
    total = total + g * g
    return p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(total) + eps), total


@formula()
def adadelta(p, g, v, moved, *, lr, t, rho, eps):
    """Adadelta (Zeiler 2012)."""
    v = rho * v + (1 - rho) * g * g
    step = sqrt(moved + eps) / sqrt(v + eps) * g
    moved = rho * moved + (1 - rho) * step * step
    return p - lr * step, v, moved


@formula(top="amsgrad")
def adam(p, g, m, v, top, *, lr, t, beta1, beta2, eps, amsgrad):
    """Adam (Kingma & Ba 2015); AMSGrad (Reddi et al. 2018)."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    if amsgrad:
        top = maximum(top, v)
    root = sqrt(1 / (1 - beta2**t))
    return p - lr / (1 - beta1**t) * m / (sqrt(top if amsgrad else v) * root + eps), m, v, top


@formula()
def sparse_adam(p, g, m, v, *, lr, t, beta1, beta2, eps):
    """Adam of the rows that have a gradient, with eps beside the root of v as it is kept."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return p - lr * sqrt(1 - beta2**t) / (1 - beta1**t) * m / (sqrt(v) + eps), m, v


@formula()
def adamax(p, g, m, u, *, lr, t, beta1, beta2, eps):
    """Adamax (Kingma & Ba 2015, section 7.1)."""
    m = beta1 * m + (1 - beta1) * g
    u = maximum(beta2 * u, abs(g) + eps)
    return p - lr / (1 - beta1**t) * m / u, m, u


@formula()
def nadam(p, g, m, v, *, lr, t, product, beta1, beta2, eps, momentum_decay):
    """NAdam (Dozat 2016): `product` is that of the momenta of all steps so far."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    now = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
    then = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
    of_g, of_m = lr * (1 - now) / (1 - product), lr * then / (1 - product * then)
    return p - (of_g * g + of_m * m) / (sqrt(v) * sqrt(1 / (1 - beta2**t)) + eps), m, v


@formula()
def radam(p, g, m, v, *, lr, t, beta1, beta2, eps):
    """RAdam (Liu et al. 2020): plain momentum until the variance of 1/sqrt(v) is known."""
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    most = 2 / (1 - beta2) - 1
    rho = most - 2 * t * beta2**t / (1 - beta2**t)
    sure = maximum(rho, 5)
    r = sqrt((sure - 4) * (sure - 2) * most / ((most - 4) * (most - 2) * sure))
    adaptive = r * sqrt(1 - beta2**t) / (sqrt(v) + eps)
    return p - lr / (1 - beta1**t) * m * where(rho > 5, adaptive, 1), m, v


@formula()
def asgd(p, g, average, *, lr, t, lambd, alpha, t0):
    """Averaged gradient descent (Polyak & Juditsky 1992): `average` is what to evaluate with."""
    eta = lr / (1 + lambd * lr * (t - 1)) ** alpha
    p = p * (1 - lambd * eta) - eta * g
    return p, average + (p - average) / maximum(t - 1 - t0, 1)


@formula()
def rprop(p, g, before, size, *, lr, t, shrink, grow, least, most):
    """Rprop (Riedmiller & Braun 1993), of whole batches: steps of a size for each number, that
    grows while the sign of its gradient stays."""
    same = g * before
    size = size * where(same > 0, grow, where(same < 0, shrink, 1))
    size = maximum(where(size > most, most, size), least)
    g = where(same < 0, 0, g)
    return p - size * sign(g), g, size


@formula()
def lion(p, g, m, *, lr, t, beta1, beta2):
    """Lion (Chen et al. 2023)."""
    return p - lr * sign(beta1 * m + (1 - beta1) * g), beta2 * m + (1 - beta2) * g
