"""Gradient checkpointing: recomputation in backward instead of saved arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload
from weakref import ref

from .backend import BY_TYPE
from .core import Leaf, Node, Tensor, next_seq, record
from .errors import ArgumentError, GraphError
from .randomness import Draws
from .switches import Modes, modes, reading, recording, switches
from .trees import leaves, refill
from .typing import Computes, Result


@overload
def checkpoint(f: Computes[Result], /, *args: Any, **kwargs: Any) -> Result: ...
@overload
def checkpoint(f: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result: ...
def checkpoint(f: Any, /, *args: Any, **kwargs: Any) -> Any:
    """f(*args, **kwargs) with gradient checkpointing (Chen et al. 2016): only the arguments are
    saved, and backward recomputes f.

    The recomputation uses the random numbers, the autocast and the modes (`training`) of the first
    call. It costs one more forward pass; with a checkpoint around each block of a deep model,
    memory holds the inputs of all blocks and the saved arrays of one. Gradients are bit for bit the
    same; those of higher order may differ in the order of summation.

    Args:
        f: a function or module. It may use parameters and tensors that are not among its arguments,
            and returns tensors, alone or nested. It must record the same ops each time.
    Raises: GraphError in backward where f recorded other ops, or drew other random numbers.

    Running statistics of `nn.BatchNorm` are updated by the first call only.

    >>> w = tensor([2.0], requires_grad=True)
    >>> checkpoint(lambda x: (x * w).exp(), tensor([0.0])).backward(); w.grad.tolist()
    [0.0]
    """
    if not callable(f):
        raise ArgumentError(f"checkpoint: give a function and its arguments, got {f!r}")
    if not switches.recording:
        return f(*args, **kwargs)
    given = (args, kwargs)  # copied: the caller may write to arrays before backward
    given = refill(given, iter([a.copy() if type(a) in BY_TYPE else a for a in leaves(given)]))
    args, kwargs = given
    start, again = next_seq(), _Recompute(f, given)  # before f may modify its arguments
    saved = tuple([a._data for a in leaves((args, kwargs)) if isinstance(a, Tensor)])
    with again.draws.recorded(), reading(again.seen):
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
    """Whether the node is an op recorded since `start`. (Leaves that f makes are no part of it.)"""
    return node is not None and node.seq > start and type(node) is not Leaf


def _nodes(ends: Sequence[Node], start: int) -> list[Node]:
    """The nodes recorded since `start` that `ends` depend on, oldest first, without those that an
    inner checkpoint has freed and will refill."""
    found: dict[int, Node] = {}
    todo = list(ends)
    while todo:
        node = todo.pop()
        if node.seq not in found:
            found[node.seq] = node
            todo += [p for p in node.parents if _since(p, start)]
    nodes = [found[seq] for seq in sorted(found)]
    return [node for node in nodes if node.op is not None and node.saved is not None]


class _Recompute:
    """An op after the results of f. Backward visits it before all nodes of f; it then records f
    again, and gives the original nodes the saved arrays of the new ones."""

    name = "checkpoint"

    def __init__(self, f: Callable, given: tuple):
        self.f, self.draws = f, Draws()
        self.nodes: list[Node] = []
        self.seen: Modes = {}
        self.mode = switches.autocast, switches.differentiating
        flat = leaves(given)
        self.homes = [(ref(a), a.node) if isinstance(a, Tensor) else None for a in flat]
        # without the tensors, whose arrays are saved by the node, as with any op
        self.given = refill(given, iter([... if isinstance(a, Tensor) else a for a in flat]))

    def after(self, value: Any, saved: tuple, start: int) -> Any:
        """A result of f as the output of this op."""
        if not isinstance(value, Tensor) or not _since(value.node, start):
            return value
        y = value._data
        return Tensor(y, record(Node(), self, (value.node,), saved, {}, y.shape, y.dtype))

    @property
    def rules(self) -> _Recompute:
        """Itself, as `backprop` asks an op for its rules."""
        return self

    def rewrap(self, saved: tuple, *_: Any) -> tuple:
        """The saved arrays unchanged: the gradients of the arguments come from f's own nodes."""
        return saved

    def vjp(self, g: Any, saved: tuple, params: dict, parents: Any) -> tuple:
        """The cotangent unchanged, after the recomputation of f."""
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
                # the same tensor if it is unchanged, as f may also refer to it by a closure
                if a is None or a._data is not array or a.node is not home[1]:
                    a = made.setdefault(id(home[0]), Tensor(array, home[1]))  # one for each
            flat.append(a)
        args, kwargs = refill(self.given, iter(flat))
        before = switches.recomputing, switches.autocast, switches.differentiating
        switches.recomputing, (switches.autocast, switches.differentiating) = True, self.mode
        training = switches.training
        switches.training = {**training, **{key: [*mode] for key, mode in self.seen.items()}}
        modes.append(None)
        try:
            with recording(True), self.draws.replayed():
                result = self.f(*args, **kwargs)
        finally:
            switches.recomputing, switches.autocast, switches.differentiating = before
            switches.training = training
            modes.pop()
        ends = [v.node for v in leaves(result) if isinstance(v, Tensor) and _since(v.node, start)]
        nodes = _nodes(ends, start)
        first, second = ([(n.op.name, n.shape) for n in ns] for ns in (self.nodes, nodes))
        if first != second:
            at = next((i for i, (a, b) in enumerate(zip(first, second)) if a != b), -1)  # noqa: B905
            raise GraphError(
                f"checkpoint: {getattr(self.f, '__name__', type(self.f).__name__)} recorded "
                f"{len(first)} ops and, when recomputed for backward, {len(second)}"
                + (f": {_said(*first[at])} became {_said(*second[at])}" if at >= 0 else "")
                + "; it must compute the same each time"
            )
        for node, fresh in zip(self.nodes, nodes, strict=True):
            node.saved = fresh.saved


def _said(name: str, shape: Any) -> str:
    return f"{name} of shape {shape}"
