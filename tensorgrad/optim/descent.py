"""Gradient descent, with momentum, with averages, and by the sign of gradients. The names,
arguments and formulas are PyTorch's; those after `maximize` are ours."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from ..settings import gate
from ..typing import Fraction, NonNegative
from .base import Parameters
from .elementwise import Elementwise
from .kinds import Betas, Etas, Schedule, Sizes


class SGD(Elementwise):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013). For a parameter p with
    gradient g and momentum buffer b, which starts at 0, a step is

        d = g + weight_decay * p
        b = momentum * b + (1 - dampening) * d      (the first one: b = d)
        p = p - lr * (d + momentum * b if nesterov else b)

    and without momentum p = p - lr * d.

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); (p * p).sum().backward(); SGD([p], lr=0.25).step(); p.tolist()
    [0.5]
    """

    formula, by_rows = "sgd", ("momentum", "weight_decay", "l1")

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-3,
        momentum: NonNegative = 0.0,
        dampening: float = 0.0,
        weight_decay: NonNegative = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        l1: NonNegative = 0.0,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        if nesterov and not (momentum and dampening == 0):
            raise ArgumentError(
                f"SGD: nesterov=True needs momentum above 0, got {momentum!r}, and no dampening, "
                f"got {dampening!r}"
            )
        super().__init__(
            params, lr, learning_rate=learning_rate, momentum=momentum, dampening=dampening,
            weight_decay=weight_decay, nesterov=nesterov, maximize=maximize, l1=l1,
        )  # fmt: skip


class ASGD(Elementwise):
    """Averaged stochastic gradient descent (Polyak & Juditsky 1992). Step t = 1, 2, ... is

        g = g + weight_decay * p
        eta = lr / (1 + lambd * lr * (t - 1))**alpha
        p = (1 - lambd * eta) * p - eta * g
        average = average + (p - average) / max(1, t - 1 - t0)

    `average`, the state of p, is what to evaluate with.

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); p.sum().backward(); ASGD([p], lr=0.25, lambd=0.0).step(); p.tolist()
    [0.75]
    """

    formula = "asgd"

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-2,
        lambd: NonNegative = 1e-4,
        alpha: float = 0.75,
        t0: NonNegative = 1e6,
        weight_decay: NonNegative = 0.0,
        *,
        maximize: bool = False,
        l1: NonNegative = 0.0,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, lambd=lambd, alpha=alpha, t0=t0,
            weight_decay=weight_decay, maximize=maximize, l1=l1,
        )  # fmt: skip


class Rprop(Elementwise):
    """Resilient backpropagation (Riedmiller & Braun 1993), for gradients of the whole data set:
    every number has its own step size, which starts at lr,

        size = clip(size * (grow, shrink or 1: as its sign stays, changes or is 0), step_sizes)
        p = p - size * sign(g)      (not where the sign has changed)

    with etas = (shrink, grow).

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); (p * p).sum().backward(); Rprop([p], lr=0.25).step(); p.tolist()
    [0.75]
    """

    formula = "rprop"

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-2,
        etas: Etas = (0.5, 1.2),
        step_sizes: Sizes = (1e-6, 50),
        *,
        maximize: bool = False,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, etas=etas, step_sizes=step_sizes,
            maximize=maximize,
        )  # fmt: skip

    def start(self, state: str, group: dict[str, Any]) -> float:
        return float(group["hyper"][0]) if state == "size" else 0.0


class Lion(Elementwise):
    """Evolved sign momentum (Chen et al. 2023), with decoupled weight decay:

        p = p - lr * weight_decay * p - lr * sign(beta1 * m + (1 - beta1) * g)
        m = beta2 * m + (1 - beta2) * g

    Its lr is a third to a tenth of AdamW's, its weight_decay as much larger.

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); (p * p).sum().backward(); Lion([p], lr=0.25).step(); p.tolist()
    [0.75]
    """

    formula = "lion"

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-4,
        betas: Betas = (0.9, 0.99),
        weight_decay: NonNegative = 0.0,
        *,
        maximize: bool = False,
        l1: NonNegative = 0.0,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, betas=betas, weight_decay=weight_decay,
            decoupled=True, maximize=maximize, l1=l1,
        )  # fmt: skip


class Adagrad(Elementwise):
    """Adagrad (Duchi et al. 2011): with `total`, the sum of g**2 so far, step t = 1, 2, ... is

        g = g + weight_decay * p
        total = total + g**2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(total) + eps)

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); (p * p).sum().backward(); Adagrad([p], lr=0.25).step(); p.tolist()
    [0.75]
    """

    formula, by_rows = "adagrad", ("weight_decay", "l1")

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-2,
        lr_decay: NonNegative = 0.0,
        weight_decay: NonNegative = 0.0,
        initial_accumulator_value: NonNegative = 0.0,
        eps: NonNegative = 1e-10,
        *,
        maximize: bool = False,
        l1: NonNegative = 0.0,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        self.initial_accumulator_value = initial_accumulator_value
        super().__init__(
            params, lr, learning_rate=learning_rate, lr_decay=lr_decay, weight_decay=weight_decay,
            eps=eps, maximize=maximize, l1=l1,
        )  # fmt: skip

    def start(self, state: str, group: dict[str, Any]) -> float:
        return self.initial_accumulator_value


class Adadelta(Elementwise):
    """Adadelta (Zeiler 2012): with running means v of g**2 and u of steps**2,

        g = g + weight_decay * p
        v = rho * v + (1 - rho) * g**2
        step = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * step**2
        p = p - lr * step

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); p.sum().backward(); Adadelta([p], eps=0.1).step(); p.tolist()
    [0.2928932309150696]
    """

    formula = "adadelta"

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1.0,
        rho: Fraction = 0.9,
        eps: NonNegative = 1e-6,
        weight_decay: NonNegative = 0.0,
        *,
        maximize: bool = False,
        l1: NonNegative = 0.0,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, rho=rho, eps=eps, weight_decay=weight_decay,
            maximize=maximize, l1=l1,
        )  # fmt: skip


class RMSprop(Elementwise):
    """RMSprop (Tieleman & Hinton 2012): with a running mean v of g**2, and `centered` also one of
    g, which makes v a variance (Graves 2013),

        g = g + weight_decay * p
        v = alpha * v + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        step = g / (sqrt(v - mean**2 if centered else v) + eps)
        b = momentum * b + step
        p = p - lr * b      (without momentum: p - lr * step)

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); p.sum().backward()
    >>> RMSprop([p], lr=0.25, alpha=0.75).step(); p.tolist()
    [0.5]
    """

    formula = "rmsprop"

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-2,
        alpha: Fraction = 0.99,
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        momentum: NonNegative = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
        l1: NonNegative = 0.0,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, alpha=alpha, eps=eps,
            weight_decay=weight_decay, momentum=momentum, centered=centered, maximize=maximize,
            l1=l1,
        )  # fmt: skip
