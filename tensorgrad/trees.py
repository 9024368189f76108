"""Trees: values in nested containers, taken apart into leaves and put together with others.

Containers are lists, tuples, named tuples, dicts, dataclasses, None (which has no leaves), classes
with JAX's methods `tree_flatten` and `tree_unflatten`, and what is registered with optree or JAX
where those are imported. Fields of a dataclass that are no leaves have `field(metadata={"static":
True})`, as in JAX.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

from .backend import BY_TYPE
from .core import Tensor
from .errors import ArgumentError

Build = Callable[[list[Any]], Any]


def leaves(tree: Any) -> list[Any]:
    """The leaves of a tree, in order.

    >>> leaves({"w": [1, 2], "b": None, "s": (3,)})
    [1, 2, 3]
    """
    found: list[Any] = []
    try:
        _leaves(tree, found)
    except RecursionError:
        raise ArgumentError(
            "lists, tuples or dicts that are nested deeper than Python's stack, or in themselves"
        ) from None
    return found


def _leaves(tree: Any, found: list[Any]) -> None:
    node = opened(tree)
    if node is None:
        found.append(tree)
    else:
        for part in node[0]:
            _leaves(part, found)


def refill(tree: Any, values: Iterator[Any]) -> Any:
    """The same structure with other leaves, taken from an iterator.

    >>> refill({"w": [1, 2], "s": (3,)}, iter("abc"))
    {'w': ['a', 'b'], 's': ('c',)}
    """
    node = opened(tree)
    if node is None:
        return next(values)
    return node[1]([refill(part, values) for part in node[0]])


def alike(tree: Any, other: Any, what: str) -> list[Any]:
    """The leaves of `other`, one for each leaf of a tree, whose structure it has; `what` names both
    in the ArgumentError where it does not."""
    node = opened(tree)
    if node is None:
        return [other]
    if isinstance(tree, dict) and isinstance(other, dict) and {*tree} == {*other}:
        other = {key: other[key] for key in tree}
    there = opened(other)
    if there is None or len(node[0]) != len(there[0]) or _keys(tree) != _keys(other):
        raise ArgumentError(f"{what}: {_said(other, there)} stands for {_said(tree, node)}")
    pairs = zip(node[0], there[0], strict=True)
    return [leaf for part, its in pairs for leaf in alike(part, its, what)]


def _keys(tree: Any) -> Any:
    """What trees of one structure agree in. (A list may stand for a tuple.)"""
    if isinstance(tree, dict):
        return [*tree]
    return tuple if isinstance(tree, list) else type(tree)


def _said(tree: Any, node: Any) -> str:
    name = type(tree).__name__
    if isinstance(tree, dict):
        return f"a {name} of {', '.join(map(repr, tree))}"
    return f"a {name}" if node is None else f"a {name} of {len(node[0])}"


def opened(tree: Any) -> tuple[list[Any], Build] | None:
    """The parts of a container, and a function from other parts to such a container; None for a
    leaf."""
    kind = type(tree)
    if kind is Tensor or kind in BY_TYPE:
        return None
    if kind is list or kind is tuple:
        return list(tree), kind
    if isinstance(tree, (list, tuple)):
        return list(tree), kind._make if hasattr(kind, "_make") else kind
    if isinstance(tree, dict):
        return list(tree.values()), lambda parts: _dict(tree, parts)
    if tree is None:
        return [], lambda parts: None
    if hasattr(kind, "tree_flatten") and hasattr(kind, "tree_unflatten"):
        parts, rest = tree.tree_flatten()
        return list(parts), lambda parts: kind.tree_unflatten(rest, tuple(parts))
    if is_dataclass(kind):
        return _opened_dataclass(tree)
    for library in ("optree", "jax.tree_util"):
        if library in sys.modules:
            parts, shape = sys.modules[library].tree_flatten(tree, is_leaf=lambda t: t is not tree)
            if len(parts) != 1 or parts[0] is not tree:
                return parts, shape.unflatten
    return None


def _dict(tree: Any, parts: list[Any]) -> Any:
    filled = copy(tree)  # of its own class
    filled.update(zip(tree, parts, strict=True))
    return filled


def _opened_dataclass(tree: Any) -> tuple[list[Any], Build]:
    names = [f.name for f in fields(tree) if not f.metadata.get("static")]
    old = [getattr(tree, name) for name in names]

    def build(parts: list[Any]) -> Any:
        if all(a is b for a, b in zip(old, parts, strict=True)):
            return tree
        made = copy(tree)
        for name, part in zip(names, parts, strict=True):
            object.__setattr__(made, name, part)  # it may be frozen
        return made

    return old, build
