"""The optimizers: the state of each and its formula, which is computed by its op in
ops/update.py for all parameters of a group at once."""

from __future__ import annotations

from typing import Any

from ..backend import namespace
from ..errors import ArgumentError
from ..ops.update import adam, sgd
from ..settings import gate
from ..typing import Decay, NonNegative
from .base import Optimizer, Parameters, Schedule


def _zeros(p: Any) -> Any:
    return namespace(p).zeros_like(p)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013). For a parameter p with
    gradient g and momentum buffer b, which starts at 0, a step is

        d = g + weight_decay * p
        b = momentum * b + d
        p = p - lr * (d + momentum * b if nesterov else b)

    and without momentum p = p - lr * d. It is PyTorch's formula, without dampening.

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); (p * p).sum().backward(); SGD([p], lr=0.25).step(); p.tolist()
    [0.5]
    """

    conditional = True

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 0.01,
        momentum: NonNegative = 0.0,
        nesterov: bool = False,
        weight_decay: NonNegative = 0.0,
    ):
        if nesterov and not momentum:
            raise ArgumentError(f"SGD: nesterov=True needs momentum above 0, got {momentum!r}")
        super().__init__(
            params, lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
        )

    def init_state(self, p: Any, group: dict[str, Any]) -> tuple:
        return (_zeros(p) if group["momentum"] else None,)

    def update(self, params: list, grads: list, states: list, group: dict[str, Any]) -> None:
        buffers = [buffer for (buffer,) in states if buffer is not None]
        options = {k: group[k] for k in ("momentum", "nesterov", "weight_decay")}
        sgd(group["hyper"], *params, *grads, *buffers, **options)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015). For a parameter p with gradient g, and running means m of g and v of
    g**2, which start at 0, step t = 1, 2, ... is

        g = g + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat, v_hat = m / (1 - beta1**t), v / (1 - beta2**t)
        p = p - lr * m_hat / (sqrt(v_hat) + eps)

    It is PyTorch's formula, eps outside of the square root included.

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); (p * p).sum().backward(); Adam([p], lr=0.25).step(); p.tolist()
    [0.75]
    """

    conditional, decoupled = True, False

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-3,
        beta1: Decay = 0.9,
        beta2: Decay = 0.999,
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
    ):
        super().__init__(params, lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)

    def init_state(self, p: Any, group: dict[str, Any]) -> tuple:
        return _zeros(p), _zeros(p)

    def update(self, params: list, grads: list, states: list, group: dict[str, Any]) -> None:
        ms, vs = zip(*states, strict=True)
        options = {k: group[k] for k in ("beta1", "beta2", "eps", "weight_decay")}
        adam(group["hyper"], *params, *grads, *ms, *vs, **options, decoupled=self.decoupled)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019): instead of adding to g, a step
    begins with

        p = p - lr * weight_decay * p

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); p.sum().backward()
    >>> AdamW([p], lr=0.25, weight_decay=0.5).step(); p.tolist()
    [0.625]
    """

    decoupled = True

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-3,
        beta1: Decay = 0.9,
        beta2: Decay = 0.999,
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.01,
    ):
        super().__init__(params, lr, beta1, beta2, eps, weight_decay)
