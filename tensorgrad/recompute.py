"""Checkpointing: what backward needs of a part of the graph is computed again, not kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from weakref import ref

from .autograd import leaves, refill
from .core import Node, Tensor, next_seq, noted
from .creation import random_snapshot, replayed
from .errors import GraphError
from .switches import recording, switches


def checkpoint(f: Callable, *args: Any, **kwargs: Any) -> Any:
    """f(*args, **kwargs), keeping for backward the arguments alone (Chen et al. 2016).

    When backward comes to its results, f runs again, with the random numbers and the precision of
    the first time, and what its ops save lives until backward has passed them. That costs one more
    forward pass; with a checkpoint around each block of a deep model, memory holds the inputs of
    all blocks and the inside of one. Gradients are the same to the last bit, of any order.

    f may be a module, may use parameters and tensors that are not among its arguments, and returns
    tensors, alone or nested. It must compute the same each time: `GraphError` when its ops differ.
    Running statistics of `nn.BatchNorm` are updated once.

    >>> w = tensor([2.0], requires_grad=True)
    >>> checkpoint(lambda x: (x * w).exp(), tensor([0.0])).backward(); w.grad.tolist()
    [0.0]
    """
    if not callable(f):
        raise GraphError(f"checkpoint: give a function and its arguments, got {f!r}")
    if not switches.recording:
        return f(*args, **kwargs)
    start, snapshot = next_seq(), random_snapshot()
    result = f(*args, **kwargs)
    values = leaves(result)
    ends = [v.node for v in values if isinstance(v, Tensor) and _since(v.node, start)]
    if not ends:
        return result
    again = _Again(f, (args, kwargs), _nodes(ends, start), snapshot)
    saved = tuple([a._data for a in leaves((args, kwargs)) if isinstance(a, Tensor)])
    for node in again.nodes:
        node.saved = None
    return refill(result, iter([again.after(v, saved, start) for v in values]))


def _since(node: Node | None, start: int) -> bool:
    return node is not None and node.seq > start


def _nodes(ends: Sequence[Node], start: int) -> list[Node]:
    """What was recorded since `start` on the way to some nodes, the oldest first."""
    found: dict[int, Node] = {}
    todo = list(ends)
    while todo:
        node = todo.pop()
        if node.seq not in found:
            found[node.seq] = node
            todo += [p for p in node.parents if _since(p, start)]
    return [found[seq] for seq in sorted(found) if found[seq].op is not None]


class _Again:
    """The op after the results: in backward it comes before all that f recorded, and has f record
    it once more, to give the first nodes what they saved."""

    name = "checkpoint"

    def __init__(self, f: Callable, given: tuple, nodes: list[Node], snapshot: Any):
        self.f, self.nodes, self.snapshot = f, nodes, snapshot
        self.autocast = switches.autocast
        flat = leaves(given)
        self.homes = [(ref(a), a.node) if isinstance(a, Tensor) else None for a in flat]
        # the arrays are what the node saves, as with any op
        self.given = refill(given, iter([None if isinstance(a, Tensor) else a for a in flat]))

    def after(self, value: Any, saved: tuple, start: int) -> Any:
        """A result of f behind this op."""
        if not isinstance(value, Tensor) or not _since(value.node, start):
            return value
        y = value._data
        return Tensor(y, noted(Node(), self, (value.node,), saved, {}, y.shape, y.dtype))

    @property
    def rules(self) -> _Again:
        """Itself, as the walk asks an op for its rules."""
        return self

    def rewrap(self, saved: tuple, *_: Any) -> tuple:
        """The arguments, as they are: their gradients come by way of f's own nodes."""
        return saved

    def vjp(self, g: Any, saved: tuple, params: dict, parents: Any) -> tuple:
        """The cotangent, once all that it meets next has been computed again."""
        if any(node.saved is None for node in self.nodes):
            self._refill(saved)
        return (g,)

    def _refill(self, saved: tuple) -> None:
        arrays, start = iter(saved), next_seq()
        flat = []
        for a, home in zip(leaves(self.given), self.homes, strict=True):
            if home is not None:  # the same tensor while it lives: f may know it by another name
                array, tensor = next(arrays), home[0]()
                a = Tensor(array, home[1]) if tensor is None else tensor
            flat.append(a)
        args, kwargs = refill(self.given, iter(flat))
        before = switches.autocast, switches.recomputing
        switches.autocast, switches.recomputing = self.autocast, True
        try:
            with recording(True), replayed(self.snapshot):
                result = self.f(*args, **kwargs)
        finally:
            switches.autocast, switches.recomputing = before
        ends = [v.node for v in leaves(result) if isinstance(v, Tensor) and _since(v.node, start)]
        nodes = _nodes(ends, start)
        first, second = ([(n.op.name, n.shape) for n in ns] for ns in (self.nodes, nodes))
        if first != second:
            at = next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), -1)  # noqa: B905
            raise GraphError(
                f"checkpoint: {getattr(self.f, '__name__', type(self.f).__name__)} recorded "
                f"{len(first)} ops and, run again for backward, {len(second)}"
                + (f": {_said(*first[at])} became {_said(*second[at])}" if at >= 0 else "")
                + "; it must compute the same each time"
            )
        for node, fresh in zip(self.nodes, nodes, strict=True):
            node.saved = fresh.saved


def _said(name: str, shape: Any) -> str:
    return f"{name} of shape {shape}"
