"""The optimizers: what each keeps for a parameter, and its update op."""

from __future__ import annotations

from typing import Any

from ..backend import namespace
from ..errors import ShapeError
from ..ops.update import adam, sgd
from ..words import explains_names
from .base import Optimizer


def _zeros(p: Any) -> Any:
    return namespace(p).zeros_like(p)


class SGD(Optimizer):
    """Gradient descent, p -= lr * d with d = g + weight_decay * p; with momentum d is the buffer
    b = momentum * b + d, or with Nesterov's variant d + momentum * b. The formula is PyTorch's.

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); (p * p).sum().backward(); SGD([p], lr=0.25).step(); p.tolist()
    [0.5]
    """

    conditional = True

    @explains_names
    def __init__(
        self,
        params: Any = None,
        lr: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ):
        if nesterov and not momentum:
            raise ShapeError("SGD: nesterov needs momentum above 0")
        super().__init__(
            params, lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
        )

    def init_state(self, p: Any, group: dict[str, Any]) -> tuple:
        return (_zeros(p) if group["momentum"] else None,)

    def update(self, params: list, grads: list, states: list, group: dict[str, Any]) -> None:
        buffers = [buffer for (buffer,) in states if buffer is not None]
        names = ("momentum", "nesterov", "weight_decay")
        sgd(group["h"], *params, *grads, *buffers, **{k: group[k] for k in names})


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015): p -= lr * m' / (sqrt(v') + eps), with running means m of g and v of
    g^2 and their bias-corrected values m' = m / (1 - beta1^t), v' = v / (1 - beta2^t). Weight decay
    is added to the gradient. eps stands where PyTorch has it, and is 1e-8.
    """

    conditional, decoupled = True, False

    @explains_names
    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= beta < 1:
                raise ShapeError(f"{type(self).__name__}: {name} is in [0, 1), got {beta!r}")
        super().__init__(params, lr, beta1=beta1, beta2=beta2, eps=eps, weight_decay=weight_decay)

    def init_state(self, p: Any, group: dict[str, Any]) -> tuple:
        return _zeros(p), _zeros(p)

    def update(self, params: list, grads: list, states: list, group: dict[str, Any]) -> None:
        means, squares = zip(*states, strict=True)
        names = ("beta1", "beta2", "eps", "weight_decay")
        options = {k: group[k] for k in names}
        arrays = (*params, *grads, *means, *squares)
        adam(group["h"], *arrays, **options, decoupled=self.decoupled)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: p is scaled by 1 - lr * weight_decay first
    (Loshchilov & Hutter 2019)."""

    decoupled = True

    @explains_names
    def __init__(
        self,
        params: Any = None,
        lr: Any = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(params, lr, beta1, beta2, eps, weight_decay)
