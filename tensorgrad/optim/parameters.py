"""The parameters that an optimizer is given, in every form that people keep them in; and those that
their module has dropped since."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..core import Leaf, Tensor
from ..errors import ArgumentError, GraphError
from ..settings import listed


def groups_of(name: str, params: Any, known: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Parameter groups of a list or generator of parameters, or of (name, parameter), of a dict of
    them by name, or of groups. A parameter that stands there twice is taken once.

    Frozen parameters are taken, too: they are updated from when they are thawed. Raises
    ArgumentError for what is no parameter, where there is none or all are frozen, and for those
    that stand in two groups, which of whose options would be theirs nobody knows.
    """
    if not listed(params) or hasattr(params, "parameters"):
        raise ArgumentError(
            f"{name}: the first argument is a list of parameters, model.parameters(), and may be "
            f"left out: {name}(lr=0.01); got {params!r}"
        )
    if isinstance(params, dict):
        params = [params] if "params" in params else params.values()
    given: list[Any] = [params] if isinstance(params, Tensor) else list(params)
    several = bool(given) and isinstance(given[0], dict)
    groups: list[dict[str, Any]] = (
        [dict(group) for group in given] if several else [{"params": given}]
    )
    taken = {id(p) for p in known}
    for group in groups:
        members = group["params"]
        if isinstance(members, dict):
            members = members.values()
        members = [members] if isinstance(members, Tensor) else list(members)
        found = {id(p): p for p in (_parameter(name, member) for member in members)}
        if taken & found.keys():
            again = next(p for i, p in found.items() if i in taken)
            raise ArgumentError(f"{name}: a parameter of shape {again.shape} is in two groups")
        taken |= found.keys()
        group["params"] = list(found.values())
        if not found:
            raise ArgumentError(
                f"{name}: there are no parameters; layers without a known input size make theirs "
                "at the first call: call the model on a batch first, or give them in_features. "
                "Tensors of your own count as nn.Parameter(...); a generator is used up by the "
                "first that goes through it"
            )
    if not any(p.requires_grad for group in groups for p in group["params"]):
        raise ArgumentError(
            f"{name}: all parameters are frozen; thaw some, model.trainable = True or "
            "p.requires_grad = True, to require gradients"
        )
    return groups


def plain(name: str, params: Any) -> list[Tensor]:
    """A list or generator of parameters as a list; ArgumentError for what is none."""
    alone = isinstance(params, Tensor)
    several = listed(params) and not isinstance(params, dict) and not hasattr(params, "parameters")
    given = [params] if alone else list(params) if several else []
    if not given or not all(isinstance(p, Tensor) for p in given):
        raise ArgumentError(
            f"{name}: the first argument is a list of parameters, model.parameters(); a generator "
            f"is used up by the first that goes through it; got {params!r}"
        )
    return given


def _parameter(name: str, member: Any) -> Tensor:
    """One parameter: alone, or after its name as from `named_parameters`."""
    if isinstance(member, tuple) and len(member) == 2 and isinstance(member[0], str):
        member = member[1]
    if not isinstance(member, Tensor):
        hint = ": give model.parameters()" if hasattr(member, "parameters") else ""
        raise ArgumentError(
            f"{name} takes parameters, tensors that require gradients, got {member!r}{hint}"
        )
    if type(member) is Tensor and member.node is None:
        raise ArgumentError(
            f"{name} takes parameters that require gradients, got {member!r}: make it with "
            "nn.Parameter(...), or set its requires_grad"
        )
    if member.node is not None and type(member.node) is not Leaf:
        raise ArgumentError(
            f"{name} takes parameters, and not results of ops, such as this one of shape "
            f"{member.shape}: gradients are collected for the tensor that it was computed from"
        )
    return member


def check_replaced(name: str, params: list[Tensor]) -> None:
    """GraphError where a parameter without a gradient has been replaced in its module by one that
    is not among these: the old one would be held on to, and the new one not trained."""
    known = {id(p) for p in params}
    for p in params:
        new = getattr(p, "successor", None) if p.grad is None else None
        inside = [new] if isinstance(new, Tensor) else new.named_parameters() if new else ()
        for q in inside:
            q = q[1] if isinstance(q, tuple) else q
            if q.requires_grad and id(q) not in known:
                raise GraphError(
                    f"{name} would not train a parameter of shape {q.shape}: it took the place of "
                    f"one of shape {p.shape} after the optimizer had been made. Make the optimizer "
                    "anew, or write new numbers into the old one: p.data = values"
                )
