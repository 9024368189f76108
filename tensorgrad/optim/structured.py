"""Optimizers that look at a parameter as a whole, or as a matrix: their formulas are the ops of
ops/structured.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from ..backend import namespace
from ..dtypes import finfo
from ..errors import ShapeError
from ..ops import structured as ops
from ..settings import Either, Nothing, Real, gate
from ..typing import Count, Fraction, NonNegative, Positive
from .base import Optimizer, Parameters
from .kinds import Betas, Pair, Schedule, Three

Epsilons: TypeAlias = Annotated[
    "tuple[float | None, float]", Pair(Either(Nothing(), Real(0)), Real(0))
]
Exponent: TypeAlias = Annotated[float, Real(most=0)]


class Adafactor(Optimizer):
    """Adafactor (Shazeer & Stern 2018), whose state of a matrix is a row and a column. With
    part = t**beta2_decay at step t, and eps = (eps1, eps2), where None is the dtype's own,

        v = (1 - part) * v + part * g**2      (matrices: v = r c / mean(r), where r and c are such
                                               running means of the means over rows and columns)
        u = g / sqrt(max(v, eps1**2))
        rate = min(lr, 1 / sqrt(t)) * max(eps2, rms(p)) / max(1, rms(u) / d)
        p = p - lr * weight_decay * p - rate * u

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0]); p.sum().backward(); Adafactor([p], lr=0.25).step(); p.tolist()
    [0.75]
    """

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-2,
        beta2_decay: Exponent = -0.8,
        eps: Epsilons = (None, 1e-3),
        d: Positive = 1.0,
        weight_decay: NonNegative = 0.0,
        *,
        maximize: bool = False,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, beta2_decay=beta2_decay, eps=eps, d=d,
            weight_decay=weight_decay, maximize=maximize,
        )  # fmt: skip

    def init_state(self, p: Any, group: dict[str, Any]) -> tuple:
        xp = namespace(p)
        if p.ndim < 2:
            return (xp.zeros_like(p),)
        columns = (*p.shape[:-2], 1, p.shape[-1])
        return xp.zeros((*p.shape[:-1], 1), p.dtype), xp.zeros(columns, p.dtype)

    def update(self, params: list, grads: list, states: list, group: dict[str, Any]) -> None:
        options = {k: group[k] for k in ("beta2_decay", "d", "weight_decay")}
        for p, g, state in zip(params, grads, states, strict=True):
            eps1, eps2 = group["eps"]
            least = finfo(p.dtype).eps if eps1 is None else eps1
            g = -g if group["maximize"] else g
            ops.adafactor(group["hyper"], p, g, *state, eps1=least, eps2=eps2, **options)


class LAMB(Optimizer):
    """LAMB (You et al. 2020), for large batches: with m_hat and v_hat of Adam's,

        u = m_hat / (sqrt(v_hat) + eps) + weight_decay * p
        p = p - lr * (norm(p) / norm(u) or 1) * u

    >>> from ..nn import Parameter
    >>> p = Parameter([2.0]); p.sum().backward(); LAMB([p], lr=0.25).step(); p.tolist()
    [1.5]
    """

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-6,
        weight_decay: NonNegative = 0.0,
        *,
        maximize: bool = False,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, betas=betas, eps=eps,
            weight_decay=weight_decay, maximize=maximize,
        )  # fmt: skip

    def init_state(self, p: Any, group: dict[str, Any]) -> tuple:
        return namespace(p).zeros_like(p), namespace(p).zeros_like(p)

    def update(self, params: list, grads: list, states: list, group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        options = {"beta1": beta1, "beta2": beta2, "eps": group["eps"]}
        for p, g, state in zip(params, grads, states, strict=True):
            g = -g if group["maximize"] else g
            decay = group["weight_decay"]
            ops.lamb(group["hyper"], p, g, *state, weight_decay=decay, **options)


class Muon(Optimizer):
    """Muon (Jordan et al. 2024), for the matrices within a network; give the others to AdamW.

        b = momentum * b + (1 - momentum) * g
        u = orthogonal(momentum * b + (1 - momentum) * g if nesterov else b)
        p = p - lr * weight_decay * p - lr * scale * u

    where `orthogonal` makes singular values about 1, by `ns_steps` Newton-Schulz iterations, and
    scale is sqrt(max(1, rows / columns)), or with adjust_lr_fn="match_rms_adamw"
    0.2 * sqrt(max(rows, columns)). It is computed in the dtype of the parameters (PyTorch's in
    bfloat16).

    >>> from ..nn import Parameter
    >>> p = Parameter([[1.0, 0.0], [0.0, 1.0]]); (p * p).sum().backward()
    >>> Muon([p], lr=0.25).step(); (10 * p.numpy()).round().tolist()
    [[7.0, 0.0], [0.0, 7.0]]
    """

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-3,
        weight_decay: NonNegative = 0.1,
        momentum: Fraction = 0.95,
        nesterov: bool = True,
        ns_coefficients: Three = (3.4445, -4.775, 2.0315),
        eps: NonNegative = 1e-7,
        ns_steps: Count = 5,
        adjust_lr_fn: Literal["original", "match_rms_adamw"] | None = None,
        *,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        super().__init__(
            params, lr, learning_rate=learning_rate, weight_decay=weight_decay, momentum=momentum,
            nesterov=nesterov, ns_coefficients=ns_coefficients, eps=eps, ns_steps=ns_steps,
            adjust_lr_fn=adjust_lr_fn,
        )  # fmt: skip

    def bind(self, params: Parameters) -> None:
        before = len(self.groups)
        super().bind(params)
        for p in [p for group in self.groups[before:] for p in group["params"] if p.ndim != 2]:
            del self.groups[before:]
            raise ShapeError(
                f"Muon: parameters are matrices, got one of shape {p.shape}: give such to an "
                "optimizer of their own, AdamW for instance"
            )

    def init_state(self, p: Any, group: dict[str, Any]) -> tuple:
        return (namespace(p).zeros_like(p),)

    def update(self, params: list, grads: list, states: list, group: dict[str, Any]) -> None:
        options = {k: group[k] for k in ("momentum", "nesterov", "eps", "weight_decay")}
        options |= {"coefficients": group["ns_coefficients"], "steps": group["ns_steps"]}
        for p, g, (b,) in zip(params, grads, states, strict=True):
            rows, columns = p.shape
            scale = max(1, rows / max(columns, 1)) ** 0.5
            if group["adjust_lr_fn"] == "match_rms_adamw":
                scale = 0.2 * max(rows, columns) ** 0.5
            ops.muon(group["hyper"], p, g, b, scale=scale, **options)
