"""Whose memory a gradient lies in: what may be kept, and what may be written to."""

from __future__ import annotations

from sys import getrefcount
from typing import Any

from .backend import BY_TYPE, Array, make
from .core import OPS, Node, Tensor


def _sole(a: Array) -> bool:
    """Whether an array's memory is its own: it is no view. (Of `sole`, see buffers.py.)"""
    return a.base is None or getattr(a.base, "sole", False)


def shares_memory(a: Array) -> bool:
    """Whether an array is a view of memory that somebody else sees, too."""
    return not _sole(a) and getrefcount(a.base) != _HELD


def unshared(t: Tensor) -> bool:
    """Whether nobody but the tensor refers to its array: no graph, no view, no name."""
    return getrefcount(t._data) == _HELD and _sole(t._data)


def add_up(total: Array, g: Array) -> Array:
    """total + g, in the memory of the total where nobody else can see that."""
    if _sole(total) and getrefcount(total) == _ALONE:
        OPS["accumulate"](total, g)
        return total
    return OPS["add"](total, g)


# What `add_up` counts where the walk alone holds an array
_ALONE = (lambda total: getrefcount(total))([object()].pop())


def own(found: dict[Node, Array], seeds: list[Array]) -> dict[Node, Array]:
    """Give each gradient a buffer of its own: no view, no array that someone else holds."""
    given = {id(g) for g in seeds}
    for node, g in found.items():
        g = g if type(g) in BY_TYPE else make(g)
        if not _sole(g) or id(g) in given or not g.flags.c_contiguous:
            g = g.copy()
        given.add(id(g))
        found[node] = g
    return found


def gradient_of(p: Any) -> Array:
    """The array of p's gradient, to be written into: a copy where it is part of a graph, or where
    somebody else can see it, such as who passed it in."""
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
    """How many refer to p's gradient, and to the array in that."""
    return getrefcount(p._grad), getrefcount(p._grad._data)


_probe: Any = Tensor([])
_HELD = getrefcount(_probe._data)  # what `unshared` counts where the tensor alone holds it
_probe._grad = Tensor([])
_ONE = _holders(_probe)
