"""Gradients cut down to size, in place, before a step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

from ..backend import make, namespace
from ..core import Tensor
from ..errors import GraphError
from ..ops.update import rescale, sum_of_squares
from ..ownership import gradient_of
from ..settings import Own, Real, gate
from ..typing import Positive
from .parameters import plain

Given: TypeAlias = Annotated[Iterable[Tensor], Own("parameters")]
Norm: TypeAlias = Annotated[float, Real(above=0, infinite=True)]


@gate
def clip_grad_norm_(
    parameters: Given,
    max_norm: Norm,
    norm_type: Norm = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients by min(1, max_norm / norm), where norm is that of all of them together,
    which is returned (Pascanu et al. 2013). In place where no other tensor shares a gradient's
    memory. Nothing waits for the device, unless an infinite or NaN norm is to be an error.

    >>> from ..nn import Parameter
    >>> p = Parameter([3.0, 4.0]); (p * p / 2).sum().backward()
    >>> clip_grad_norm_([p], 1.0).item(), (p.grad * 10).numpy().round().tolist()
    (5.0, [6.0, 8.0])
    """
    grads = gradients_of("clip_grad_norm_", parameters)
    norm = _norm(grads, norm_type)
    xp = namespace(norm)
    if error_if_nonfinite and not math.isfinite(float(norm)):
        raise GraphError(f"clip_grad_norm_: the norm of all gradients is {float(norm)}")
    rescaled(grads, xp.minimum(max_norm / (norm + 1e-6), 1.0).reshape(1))
    return Tensor(norm)


@gate
def clip_grad_value_(parameters: Given, clip_value: Positive) -> None:
    """Cut all numbers of the gradients to [-clip_value, clip_value], in place.

    >>> from ..nn import Parameter
    >>> p = Parameter([3.0, 0.5]); (p * p / 2).sum().backward()
    >>> clip_grad_value_([p], 1.0); p.grad.tolist()
    [1.0, 0.5]
    """
    for g in gradients_of("clip_grad_value_", parameters):
        namespace(g).clip(g, -clip_value, clip_value, out=g)


def gradients_of(name: str, parameters: Any) -> list:
    """The arrays of all gradients, owned by them, to be written in place."""
    grads = [gradient_of(p) for p in plain(name, parameters) if p.grad is not None]
    if not grads:
        raise GraphError(f"{name}: no parameter has a gradient; call backward() first")
    return grads


def _norm(grads: list, kind: float) -> Any:
    """The norm of all gradients together, an array of float64 without axes."""
    xp = namespace(grads[0])
    if kind == 2:
        return xp.sqrt(xp.asarray(sum_of_squares(*grads)))
    sizes = [xp.abs(g.astype("float64")) for g in grads if g.size]
    if math.isinf(kind):
        return xp.max(xp.stack([a.max() for a in sizes])) if sizes else make(0.0)
    return xp.asarray(sum([(a**kind).sum() for a in sizes])) ** (1 / kind)


def rescaled(arrays: list, by: Any) -> Any:
    """Multiply arrays in place by a number on the device; returns, on the device too, whether all
    are finite then: an array of one number, 1 or 0."""
    by_dtype: dict[Any, list] = {}
    for a in arrays:
        by_dtype.setdefault(a.dtype, []).append(a)
    flags = [rescale(by, *same) for same in by_dtype.values()]
    return math.prod(flags[1:], start=flags[0])
