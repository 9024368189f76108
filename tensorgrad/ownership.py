"""Ownership of memory: which gradient buffers may be stored, and which written in place."""

from __future__ import annotations

from sys import getrefcount
from typing import Any

from .backend import BY_TYPE, Array, make, met, within_vmap
from .core import OPS, Leaf, Node, Tensor
from .errors import BACKWARD_WITHIN, GraphError


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
    if (
        type(total) is type(g)
        and total.dtype == g.dtype
        and _sole(total)
        and getrefcount(total) == _ALONE
    ):
        OPS["accumulate"](total, g)
        return total
    return OPS["add"](total, g)


def fitted(g: Any, node: Node, more: bool) -> Any:
    """A cotangent, one of `more` or the first, in the node's shape and dtype. A leaf's that is only
    to be widened stays as it is: `own` casts those of all leaves in one launch."""
    if (
        type(node) is Leaf
        and g.shape == node.shape
        and g.dtype.itemsize < node.dtype.itemsize
        and not (more or isinstance(g, Tensor))
    ):
        return g
    return OPS["sum_to"](g, shape=node.shape, dtype=node.dtype)


# The count in `add_up` where backprop has the only reference
_ALONE = (lambda total: getrefcount(total))([object()].pop())


def conjugated(pairs: Any) -> Any:
    """Pairs of a node and its cotangent, of which the complex ones are conjugated: what users see
    is dL/dRe + i dL/dIm, the direction of ascent; rules, which are transposes, map its conjugate.
    """
    if "complex" not in met:
        return pairs
    return [(node, OPS["conj"](g) if g.dtype.kind == "c" else g) for node, g in pairs]


def settled(found: dict[Node, Any], seeds: list[Array] | None) -> dict[Node, Any]:
    """The result of a backward pass from these seeds; None where it is recorded, in Tensors."""
    found = found if seeds is None else _own(found, seeds)
    return dict(conjugated(found.items())) if "complex" in met else found


def _own(found: dict[Node, Array], seeds: list[Array]) -> dict[Node, Array]:
    """Gradients as contiguous arrays that own their memory, no two of them the same, nor a seed;
    those of leaves in the leaf's dtype."""
    given = {id(g) for g in seeds}
    narrow: dict[Any, list[Node]] = {}
    for node, g in found.items():
        g = g if type(g) in BY_TYPE else make(g)
        if g.dtype is not node.dtype and type(node) is Leaf and g.dtype != node.dtype:
            found[node] = g
            narrow.setdefault((type(g), g.dtype, node.dtype), []).append(node)
            continue
        if not _sole(g) or id(g) in given or not g.flags.c_contiguous:
            if type(node) is Leaf and within_vmap(g):
                raise GraphError(BACKWARD_WITHIN)
            g = g.copy()
        given.add(id(g))
        found[node] = g
    for (_, _, dtype), nodes in narrow.items():
        found.update(
            zip(nodes, OPS["cast_all"](*[found[n] for n in nodes], dtype=dtype), strict=True)
        )
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
    if hasattr(g := p.grad._data, "merged"):  # rows (rows.py): what is done to the others is 0
        p.grad = Tensor(g := g.copy())
        return g.values
    return g


def _holders(p: Any) -> tuple[int, int]:
    """The reference counts of p's gradient and of its array."""
    return getrefcount(p._grad), getrefcount(p._grad._data)


_probe: Any = Tensor([])
_HELD = getrefcount(_probe._data)  # the count in `unshared` where the tensor has the only reference
_probe._grad = Tensor([])
_ONE = _holders(_probe)
