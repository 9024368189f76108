"""Ownership of memory: which gradient buffers may be stored, and which written in place."""

from __future__ import annotations

from sys import getrefcount
from typing import Any

from .backend import BY_TYPE, Array, make
from .core import OPS, Node, Tensor


def _sole(a: Array) -> bool:
    """Whether an array owns its memory and is no view. (`sole`: see kernels/cpu/buffers.py.)"""
    return a.base is None or getattr(a.base, "sole", False)


def shares_memory(a: Array) -> bool:
    """Whether an array is a view of memory that somebody else sees, too."""
    return not _sole(a) and getrefcount(a.base) != _HELD


def unshared(t: Tensor) -> bool:
    """Whether the tensor has the only reference to its array: no graph, view or variable has."""
    return getrefcount(t._data) == _HELD and _sole(t._data)


def add_up(total: Array, g: Array) -> Array:
    """total + g, accumulated in place where nobody else refers to the total."""
    if _sole(total) and getrefcount(total) == _ALONE:
        OPS["accumulate"](total, g)
        return total
    return OPS["add"](total, g)


# The count in `add_up` where backprop has the only reference
_ALONE = (lambda total: getrefcount(total))([object()].pop())


def own(found: dict[Node, Array], seeds: list[Array]) -> dict[Node, Array]:
    """Gradients as contiguous arrays that own their memory, no two of them the same, nor a seed."""
    given = {id(g) for g in seeds}
    for node, g in found.items():
        g = g if type(g) in BY_TYPE else make(g)
        if not _sole(g) or id(g) in given or not g.flags.c_contiguous:
            g = g.copy()
        given.add(id(g))
        found[node] = g
    return found


def gradient_of(p: Any) -> Array:
    """The array of p's gradient, to be written in place: a copy where it is on the tape, of another
    dtype, or where there are other references to it."""
    if (
        not isinstance(p.grad, Tensor)
        or p.grad.node is not None
        or p.grad.dtype != p.dtype
        or _holders(p) != _ONE
        or not _sole(p.grad._data)
    ):
        g = p.grad._data if isinstance(p.grad, Tensor) else make(p.grad)
        p.grad = Tensor(g.astype(p.dtype))
    return p.grad._data


def _holders(p: Any) -> tuple[int, int]:
    """The reference counts of p's gradient and of its array."""
    return getrefcount(p._grad), getrefcount(p._grad._data)


_probe: Any = Tensor([])
_HELD = getrefcount(_probe._data)  # the count in `unshared` where the tensor has the only reference
_probe._grad = Tensor([])
_ONE = _holders(_probe)
