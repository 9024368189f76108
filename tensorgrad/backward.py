"""Reverse-mode differentiation: from the cotangents of some outputs to those of the leaves.

Nodes are visited in reverse topological order, and the rules of their ops run on raw arrays, or
on Tensors if gradients are to be differentiated. Large arrays go as Tensors, too, so that `g * b`
finds the kernel. (A Function gets raw arrays of any size: it may write into copies of them.)
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush, heapreplace
from math import inf
from typing import Any

from .backend import WEAK, Array
from .core import Leaf, Node, Op, Out, Tensor, next_seq, output_of
from .dispatch import large
from .errors import FREED, STALE, AnomalyError, GraphError, TensorgradError, failed
from .ownership import add_up, conjugated, fitted, settled
from .switches import switches


def backprop(
    roots: list[tuple[Node, Any]],
    wanted: Iterable[Node] = (),
    oldest: int = 0,
    create_graph: bool = False,
    retain: bool = False,
) -> dict[Any, Any]:
    """Cotangents of all leaves and `wanted` nodes from those of the roots.

    Nodes older than `oldest` are not visited. Gradients are raw arrays, or with `create_graph`
    Tensors on the tape. Saved arrays are freed on the way unless `retain`.
    """
    before, anomaly = switches.autocast, switches.anomaly
    switches.autocast = switches.anomaly = None  # rules keep the dtypes of their inputs
    try:
        return _visit(roots, wanted, oldest, create_graph, retain, anomaly)
    finally:
        switches.autocast, switches.anomaly = before, anomaly


def _visit(
    roots: list, wanted: Iterable, oldest: int, create_graph: bool, retain: bool, anomaly: Any
) -> dict[Node, Any]:
    grads: dict[Node, Any] = {}  # accumulated cotangents of nodes to visit
    found: dict[Node, Any] = {}
    heap: list[tuple[int, Node]] = []  # nodes to visit, newest first, but for
    newest: Any = None  # the newest parent, usually the next node: chains of ops skip the heap
    node: Any = roots[0][0]
    edges: Iterable = conjugated(roots)
    wanted, seq, top = set(wanted), next_seq(), 0  # top: seq of the newest in the heap
    raw = type(roots[0][1])
    least = inf if create_graph else large()  # size from which rules are run on Tensors
    try:
        while True:
            for parent, g in edges:
                if parent is None:
                    continue
                if parent.written > seq:  # even without a cotangent
                    raise GraphError(STALE.format(parent.tensor(), node.op.name))
                if g is None or parent.seq < oldest:
                    continue
                if g.shape != parent.shape or (  # undo broadcast, promotion
                    g.dtype is not parent.dtype and g.dtype != parent.dtype
                ):
                    g = fitted(g, parent, parent in grads)
                if parent in grads:
                    if g.size < least:
                        grads[parent] = grads[parent] + g
                    else:
                        grads[parent] = add_up(grads.pop(parent), g)
                    continue
                grads[parent] = g
                if newest is None:
                    newest = parent
                    continue
                if parent.seq > newest.seq:
                    parent, newest = newest, parent
                heappush(heap, (-parent.seq, parent))
                top = -heap[0][0]
            if newest is None:
                if not heap:
                    return settled(found, None if create_graph else [g for _, g in roots])
                newest = heappop(heap)[1]
                top = -heap[0][0] if heap else 0
            elif top > newest.seq:
                newest = heapreplace(heap, (-newest.seq, newest))[1]
                top = -heap[0][0]
            node, newest = newest, None
            g, op = grads.pop(node), node.op
            seq = node.seq
            if op is None or wanted:
                edges = ()
                if type(node) is Leaf or node in wanted:
                    found[node] = g
                if type(node) is Out and node.parents[0].seq >= oldest:
                    _collect(node, g, grads, heap)
                    top = -heap[0][0]
                if op is None:
                    continue
            parents, needed, saved = node.parents, node.parents, node.saved
            if saved is None:
                raise GraphError(FREED.format(op.name))
            if oldest:
                needed = [p if p is not None and p.seq >= oldest else None for p in parents]
            if create_graph:
                saved = op.rules.rewrap(saved, node, _wrap, output_of)
            if type(g) is raw and g.size >= least and isinstance(op, Op):
                gradients = _by_ops(op, g, saved, node, needed)
            else:
                gradients = op.rules.vjp(g, saved, node.params, needed)
            if anomaly is not None:
                anomaly.check_gradients(node, g, gradients)
            edges, saved = zip(parents, gradients), None  # noqa: B905 (slower)
            if not retain:
                node.saved = None
    except (TensorgradError, MemoryError, RuntimeError) as error:
        _annotate(error, node, anomaly)
        raise


def _annotate(error: Any, node: Node, anomaly: Any) -> None:
    """Add the op to an error of its rule; within detect_anomaly, its line and layer, too."""
    if isinstance(error, (GraphError, AnomalyError)) or node.op is None:
        return
    what = f"backward of {node.op.name}" + ("" if anomaly is None else anomaly.place(node))
    if isinstance(error, TensorgradError):
        error.notes = (*error.notes, what)
        return
    told = [failed(what, error)]
    if told[0] is not error:
        raise told.pop() from error  # no frame refers to it: a cycle would keep all arrays


def _by_ops(op: Any, g: Array, saved: tuple, node: Node, needed: Any) -> list:
    """Raw gradients from rules that are run on untracked Tensors."""
    saved = op.rules.rewrap(saved, node, _bare, lambda node, i, a: Tensor(a))
    gradients = op.rules.vjp(Tensor(g), saved, node.params, needed)
    return [g._data if isinstance(g, Tensor) else g for g in gradients]


def _bare(saved: Any, node: Any) -> Any:
    """A saved value as an untracked Tensor."""
    if type(saved) is tuple:
        return tuple([_bare(a, None) for a in saved])
    return saved if type(saved) in WEAK else Tensor(saved)


def _collect(out: Out, g: Any, grads: dict, heap: list) -> None:
    """Accumulate the cotangent of one output in the tuple of cotangents of its op's node."""
    node = out.parents[0]
    if node not in grads:
        grads[node] = [None] * node.shape
        heappush(heap, (-node.seq, node))
    slots = grads[node]
    slots[out.index] = g if slots[out.index] is None else slots[out.index] + g


def _wrap(saved: Any, node: Any) -> Any:
    """A saved value as a Tensor on the tape, for a backward that is recorded."""
    if type(saved) is tuple:
        return tuple([output_of(node, i, a) for i, a in enumerate(saved)])
    return saved if type(saved) in WEAK else Tensor(saved, node)
