"""Adam and its relatives: running means of gradients and of their squares. The names, arguments
and formulas are PyTorch's; those after `maximize` are ours."""

from __future__ import annotations

from typing import Any

from ..ops.update import advance_product
from ..settings import gate
from ..typing import NonNegative
from .base import Parameters
from .elementwise import Elementwise
from .kinds import Betas, Schedule


class Adam(Elementwise):
    """Adam (Kingma & Ba 2015). For a parameter p with gradient g, and running means m of g and v of
    g**2, which start at 0, its step t = 1, 2, ... is

        g = g + weight_decay * p      (with `decoupled_weight_decay`: p = p - lr * weight_decay * p)
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        p = p - lr * m_hat / (sqrt(v_hat) + eps)

    With `amsgrad` the largest v so far stands in the place of v in v_hat (Reddi et al. 2018). t
    counts the steps of this parameter: those in which it had a gradient.

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); (p * p).sum().backward(); Adam([p], lr=0.25).step(); p.tolist()
    [0.75]
    """

    formula = "adam"

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
        l1: NonNegative = 0.0,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, betas=betas, eps=eps,
            weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize,
            decoupled=decoupled_weight_decay, l1=l1,
        )  # fmt: skip


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): instead of adding to g, a step
    begins with

        p = p - lr * weight_decay * p

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); p.sum().backward()
    >>> AdamW([p], lr=0.25, weight_decay=0.5).step(); p.tolist()
    [0.625]
    """

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        l1: NonNegative = 0.0,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize,
            decoupled_weight_decay=True, l1=l1, learning_rate=learning_rate,
        )  # fmt: skip


class SparseAdam(Elementwise):
    """Adam of tables with gradients of rows, as of `Embedding(..., sparse=True)`: a step moves the
    rows that have one, and their m and v, and no others (PyTorch's "lazy" Adam):

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        p = p - lr * sqrt(1 - beta2**t) / (1 - beta1**t) * m / (sqrt(v) + eps)

    t counts the steps of the parameter. Gradients of other parameters move all of them.

    >>> from ..nn import Embedding
    >>> table = Embedding(3, 1, weight_init="zeros", sparse=True)
    >>> table([2, 2]).sum().backward(); SparseAdam(table.parameters(), lr=0.5).step()
    >>> table.weight.round(3).tolist()
    [[0.0], [0.0], [-0.5]]
    """

    formula, by_rows = "sparse_adam", ()

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        maximize: bool = False,
        *,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, betas=betas, eps=eps, maximize=maximize
        )


class Adamax(Elementwise):
    """Adam by the largest gradient (Kingma & Ba 2015, section 7.1): u takes the place of sqrt(v),

        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        p = p - lr / (1 - beta1**t) * m / u

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); p.sum().backward(); Adamax([p], lr=0.25, eps=0.0).step(); p.tolist()
    [0.75]
    """

    formula = "adamax"

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        *,
        maximize: bool = False,
        l1: NonNegative = 0.0,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, betas=betas, eps=eps,
            weight_decay=weight_decay, maximize=maximize, l1=l1,
        )  # fmt: skip


class NAdam(Elementwise):
    """Adam with Nesterov's momentum (Dozat 2016): m and v of Adam's, and the momentum of step t

        mu_t = beta1 * (1 - 0.96**(t * momentum_decay) / 2)
        p = p - lr * ((1 - mu_t) / (1 - mu_1 ... mu_t) * g
                      + mu_{t+1} / (1 - mu_1 ... mu_{t+1}) * m) / (sqrt(v_hat) + eps)

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); p.sum().backward()
    >>> NAdam([p], lr=0.25).step(); round(p.item(), 4)
    0.7359
    """

    formula, clock = "nadam", (1.0,)  # the product of all mu so far

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        momentum_decay: NonNegative = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        l1: NonNegative = 0.0,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, betas=betas, eps=eps,
            weight_decay=weight_decay, momentum_decay=momentum_decay,
            decoupled=decoupled_weight_decay, maximize=maximize, l1=l1,
        )  # fmt: skip

    def update(self, params: list, grads: list, states: list, group: dict[str, Any]) -> None:
        decay = group["momentum_decay"]
        advance_product(group["hyper"], beta1=group["betas"][0], momentum_decay=decay)
        super().update(params, grads, states, group)


class RAdam(Elementwise):
    """Rectified Adam (Liu et al. 2020): m and v of Adam's, and from the step on in which v says
    enough, rho > 5, its square root,

        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2**t / (1 - beta2**t)
        r = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
        p = p - lr * m_hat * (r * sqrt(1 - beta2**t) / (sqrt(v) + eps) if rho > 5 else 1)

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); (p * p).sum().backward(); RAdam([p], lr=0.25).step(); p.tolist()
    [0.5]
    """

    formula = "radam"

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        l1: NonNegative = 0.0,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, betas=betas, eps=eps,
            weight_decay=weight_decay, decoupled=decoupled_weight_decay, maximize=maximize, l1=l1,
        )  # fmt: skip
