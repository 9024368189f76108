"""The walk back over the tape: from the cotangents of some results to those of the leaves.

Nodes are visited newest first, each once all of its cotangents have come, and their ops' rules
are run: on raw arrays, or on Tensors when the gradient is itself to be differentiated. On Tensors,
too, when an array is large: what a rule writes as `g * b` then finds the kernel. (A Function gets
raw arrays whatever their size: its author may write into copies of them.)
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush, heapreplace
from math import inf
from typing import Any

from .backend import WEAK, Array
from .core import OPS, Leaf, Node, Op, Out, Tensor, next_seq, output_of
from .dispatch import large
from .errors import FREED, STALE, AnomalyError, GraphError, TensorgradError, failed
from .ownership import add_up, own
from .switches import switches


def backprop(
    roots: list[tuple[Node, Any]],
    wanted: Iterable[Node] = (),
    oldest: int = 0,
    create_graph: bool = False,
    retain: bool = False,
) -> dict[Any, Any]:
    """Cotangents of all leaves and `wanted` nodes from those of the roots.

    Nodes older than `oldest` are not visited. Gradients are raw arrays, or Tensors on a new tape
    with `create_graph`. What nodes saved is dropped on the way unless `retain`.
    """
    before, anomaly = switches.autocast, switches.anomaly
    switches.autocast = switches.anomaly = None  # rules keep to the dtypes they find
    try:
        return _walk(roots, wanted, oldest, create_graph, retain, anomaly)
    finally:
        switches.autocast, switches.anomaly = before, anomaly


def _walk(
    roots: list, wanted: Iterable, oldest: int, create_graph: bool, retain: bool, anomaly: Any
) -> dict[Node, Any]:
    grads: dict[Node, Any] = {}  # cotangents not yet passed on
    found: dict[Node, Any] = {}
    heap: list[tuple[int, Node]] = []  # the newest node first, but for
    newest: Any = None  # the newest parent, which mostly is the next: chains do without the heap
    node: Any = roots[0][0]
    edges: Iterable = roots
    wanted, seq, top = set(wanted), next_seq(), 0  # top: when the newest in the heap was made
    raw = type(roots[0][1])
    least = inf if create_graph else large()  # size from which on raw arrays go by ops
    try:
        while True:
            for parent, g in edges:
                if parent is None:
                    continue
                if parent.written > seq:  # even where no gradient goes
                    raise GraphError(STALE.format(parent.tensor(), node.op.name))
                if g is None or parent.seq < oldest:
                    continue
                if g.shape != parent.shape or (  # undo broadcast, promotion
                    g.dtype is not parent.dtype and g.dtype != parent.dtype
                ):
                    g = OPS["sum_to"](g, shape=parent.shape, dtype=parent.dtype)
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
                    return found if create_graph else own(found, [g for _, g in roots])
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
        _tell(error, node, anomaly)
        raise


def _tell(error: Any, node: Node, anomaly: Any) -> None:
    """The error of a rule, with its op; in anomaly mode, too, with where that was called."""
    if isinstance(error, (GraphError, AnomalyError)) or node.op is None:
        return
    what = f"backward of {node.op.name}" + ("" if anomaly is None else anomaly.place(node))
    if isinstance(error, TensorgradError):
        error.notes = (*error.notes, what)
        return
    told = [failed(what, error)]
    if told[0] is not error:
        raise told.pop() from error  # held by no frame that it holds: a cycle, with all arrays here


def _by_ops(op: Any, g: Array, saved: tuple, node: Node, needed: Any) -> list:
    """The gradients of raw arrays from rules that are run on Tensors."""
    saved = op.rules.rewrap(saved, node, _bare, lambda node, i, a: Tensor(a))
    gradients = op.rules.vjp(Tensor(g), saved, node.params, needed)
    return [g._data if isinstance(g, Tensor) else g for g in gradients]


def _bare(saved: Any, node: Any) -> Any:
    """What was saved as a Tensor that is on no tape."""
    if type(saved) is tuple:
        return tuple([_bare(a, None) for a in saved])
    return saved if type(saved) in WEAK else Tensor(saved)


def _collect(out: Out, g: Any, grads: dict, heap: list) -> None:
    """Put the cotangent of one output into its op's tuple, which waits until all have come."""
    node = out.parents[0]
    if node not in grads:
        grads[node] = [None] * node.shape
        heappush(heap, (-node.seq, node))
    slots = grads[node]
    slots[out.index] = g if slots[out.index] is None else slots[out.index] + g


def _wrap(saved: Any, node: Any) -> Any:
    """A saved value back on the tape, for a backward that is itself recorded."""
    if type(saved) is tuple:
        return tuple([output_of(node, i, a) for i, a in enumerate(saved)])
    return saved if type(saved) in WEAK else Tensor(saved, node)
