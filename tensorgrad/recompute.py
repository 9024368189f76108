"""Checkpointing: what backward needs of a part of the graph is computed again, not kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload
from weakref import ref

from .autograd import leaves, refill
from .backend import BY_TYPE
from .core import Leaf, Node, Tensor, next_seq, noted
from .creation import Draws
from .errors import ArgumentError, GraphError
from .switches import recording, switches
from .typing import Computes, Result


@overload
def checkpoint(f: Computes[Result], /, *args: Any, **kwargs: Any) -> Result: ...
@overload
def checkpoint(f: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result: ...
def checkpoint(f: Any, /, *args: Any, **kwargs: Any) -> Any:
    """f(*args, **kwargs), keeping for backward the arguments alone (Chen et al. 2016).

    When backward comes to its results, f runs again, with the random numbers and the precision of
    the first time, and what its ops save lives until backward has passed them. That costs one more
    forward pass; with a checkpoint around each block of a deep model, memory holds the inputs of
    all blocks and the inside of one. Gradients are the same to the last bit; of higher orders, up
    to the order in which they are added up.

    f may be a module, may use parameters and tensors that are not among its arguments, and returns
    tensors, alone or nested. It must compute the same each time: `GraphError` when its ops differ.
    Running statistics of `nn.BatchNorm` are updated once.

    >>> w = tensor([2.0], requires_grad=True)
    >>> checkpoint(lambda x: (x * w).exp(), tensor([0.0])).backward(); w.grad.tolist()
    [0.0]
    """
    if not callable(f):
        raise ArgumentError(f"checkpoint: give a function and its arguments, got {f!r}")
    if not switches.recording:
        return f(*args, **kwargs)
    given = (args, kwargs)  # arrays of the caller's may be written to before backward
    given = refill(given, iter([a.copy() if type(a) in BY_TYPE else a for a in leaves(given)]))
    args, kwargs = given
    start, again = next_seq(), _Again(f, given)  # before f may change what it was given
    saved = tuple([a._data for a in leaves((args, kwargs)) if isinstance(a, Tensor)])
    with again.draws.noted():
        result = f(*args, **kwargs)
    values = leaves(result)
    ends = [v.node for v in values if isinstance(v, Tensor) and _since(v.node, start)]
    if not ends:
        return result
    again.nodes = _nodes(ends, start)
    for node in again.nodes:
        node.saved = None
    return refill(result, iter([again.after(v, saved, start) for v in values]))


def _since(node: Node | None, start: int) -> bool:
    """Whether an op was recorded since then. (Leaves that f makes are as all others.)"""
    return node is not None and node.seq > start and type(node) is not Leaf


def _nodes(ends: Sequence[Node], start: int) -> list[Node]:
    """What was recorded since `start` on the way to some nodes, the oldest first; but for what a
    checkpoint inside has emptied and will fill again."""
    found: dict[int, Node] = {}
    todo = list(ends)
    while todo:
        node = todo.pop()
        if node.seq not in found:
            found[node.seq] = node
            todo += [p for p in node.parents if _since(p, start)]
    nodes = [found[seq] for seq in sorted(found)]
    return [node for node in nodes if node.op is not None and node.saved is not None]


class _Again:
    """The op after the results: in backward it comes before all that f recorded, and has f record
    it once more, to give the first nodes what they saved."""

    name = "checkpoint"

    def __init__(self, f: Callable, given: tuple):
        self.f, self.draws = f, Draws()
        self.nodes: list[Node] = []
        self.mode = switches.autocast, switches.differentiating
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
        flat: list[Any] = []
        made: dict[int, Tensor] = {}
        for a, home in zip(leaves(self.given), self.homes, strict=True):
            if home is not None:
                array, a = next(arrays), home[0]()
                # the same tensor while it is as it was: f may know it by another name
                if a is None or a._data is not array or a.node is not home[1]:
                    a = made.setdefault(id(home[0]), Tensor(array, home[1]))  # one for each
            flat.append(a)
        args, kwargs = refill(self.given, iter(flat))
        before = switches.recomputing, switches.autocast, switches.differentiating
        switches.recomputing, (switches.autocast, switches.differentiating) = True, self.mode
        try:
            with recording(True), self.draws.again():
                result = self.f(*args, **kwargs)
        finally:
            switches.recomputing, switches.autocast, switches.differentiating = before
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
