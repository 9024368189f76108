"""Hooks: functions of the user's that backward calls with the gradient of a tensor, and which may
replace it. They stand in the op of that tensor's node; other nodes know nothing of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any
from weakref import ref

from .backend import BY_TYPE, make
from .backward import backprop
from .core import OPS, Leaf, Node, Out, Tensor, output_of, record
from .creation import asarray
from .errors import DTypeError, GraphError, ShapeError
from .switches import recording

_numbers = count()


class Handle:
    """What registering a hook returns: `remove()` takes the hook off, as does leaving a `with`.

    >>> x = tensor([1.0], requires_grad=True)
    >>> with x.register_hook(lambda g: 10 * g):
    ...     (2 * x).sum().backward()
    >>> x.grad.tolist()
    [20.0]
    """

    def __init__(self, hooks: dict[Any, Any], hook: Callable[..., Any], then: Any = None):
        self._hooks, self._key, self._then = hooks, next(_numbers), then
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook off; more than once is as good as once."""
        self._hooks.pop(self._key, None)
        if self._then is not None:
            self._then()

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


class Hooked:
    """The op of a node in place of its own: its cotangent goes through hooks first."""

    def __init__(self, op: Any):
        self.op, self.name = op, "hook" if op is None else op.name
        self.hooks: dict[int, Callable[[Tensor], Any]] = {}
        self.retained: Any = None  # a weak reference to the tensor that retains its gradient
        self.wanted = False  # whether somebody asks for the gradient after this pass
        self.last: Any = None  # which is this

    @property
    def rules(self) -> Hooked:
        """Itself, as `backprop` asks an op for its rules."""
        return self

    def rewrap(self, saved: Any, *how: Any) -> Any:
        """The saved arrays as tensors on the tape."""
        return saved if self.op is None else self.op.rules.rewrap(saved, *how)

    def vjp(self, g: Any, saved: Any, params: dict[str, Any], parents: Sequence[Any]) -> Any:
        """What the op's rules make of the gradient that the hooks gave."""
        g = after(self.hooks.values(), g)
        if self.wanted:
            self.last = g
        if self.retained is not None and (tensor := self.retained()) is not None:
            kept = seen(g) if isinstance(g, Tensor) else Tensor(seen(g)._data.copy())
            tensor._grad = kept if tensor._grad is None else tensor._grad + kept
        return (g,) if self.op is None else self.op.rules.vjp(g, saved, params, parents)


class HookedOut(Out):
    """One output of an op that has several, with hooks; its parent is the output without."""

    __slots__ = ()


def _array(g: Any) -> Any:
    return g if type(g) in BY_TYPE else make(g)  # rules may give NumPy's scalars


def seen(g: Any) -> Tensor:
    """A cotangent of `backprop` as users see it: dL/dRe + i dL/dIm of complex numbers."""
    t = g if isinstance(g, Tensor) else Tensor(_array(g).view())
    return OPS["conj"](t) if t._data.dtype.kind == "c" else t  # type: ignore[no-any-return]


def used(new: Any, g: Any, what: str = "the hook") -> Any:
    """What a hook returned, for `backprop` in place of a cotangent."""
    t = asarray(new).to(g.backend if isinstance(g, Tensor) else Tensor(_array(g)).backend)
    if t.shape != g.shape:
        raise ShapeError(f"{what} returned shape {t.shape} for a gradient of shape {g.shape}")
    if t.dtype.kind == "c" and g.dtype.kind != "c":
        raise DTypeError(f"{what} returned a complex gradient of {g.dtype} numbers: take .real")
    t = t if t.dtype == g.dtype else OPS["cast"](t, dtype=g.dtype)
    t = OPS["conj"](t) if g.dtype.kind == "c" else t
    return t if isinstance(g, Tensor) else t._data[...]  # a view: others may hold the array


def after(hooks: Iterable[Callable[[Tensor], Any]], g: Any) -> Any:
    """A cotangent of `backprop` after hooks."""
    for hook in [*hooks]:
        new = hook(seen(g))
        g = g if new is None else used(new, g, f"hook {getattr(hook, '__name__', hook)}")
    return g


def _hooked(tensor: Tensor, what: str) -> Hooked:
    """The op of a result's node, made one with hooks."""
    node = tensor.node
    if node is None:
        raise GraphError(f"{what}: this tensor requires no gradient, so that there is none to see")
    if isinstance(node.op, Hooked):
        return node.op
    if type(node) is Out:
        plain = record(Out.__new__(Out), None, node.parents, (), {}, node.shape, node.dtype)
        plain.seq, plain.index = node.seq - 0.5, node.index  # after the op, and before the hooks
        node.__class__, node.parents = HookedOut, (plain,)
    node.op = Hooked(node.op)
    return node.op  # type: ignore[no-any-return]


def register(tensor: Tensor, hook: Callable[[Tensor], Any]) -> Handle:
    """See Tensor.register_hook."""
    if type(tensor.node) is Leaf:
        return Handle(tensor.node.params, hook)
    return Handle(_hooked(tensor, "register_hook").hooks, hook)


def retain(tensor: Tensor) -> None:
    """See Tensor.retain_grad."""
    if type(tensor.node) is not Leaf:
        _hooked(tensor, "retain_grad").retained = ref(tensor)


def of_leaf(leaf: Leaf, g: Any) -> Any:
    """The gradient of a leaf after its hooks; whoever stores it owns it."""
    new = after(leaf.params.values(), OPS["conj"](g) if g.dtype.kind == "c" else g)
    new = OPS["conj"](new) if g.dtype.kind == "c" else new
    return new if isinstance(new, Tensor) else new.copy()


def gradients(
    roots: list[tuple[Node, Any]],
    nodes: list[Node],
    oldest: int,
    create_graph: bool,
    retain_graph: bool,
) -> list[Any]:
    """The gradients of nodes, after their hooks, from the cotangents of roots; None for those
    without a path."""
    hooked = [node for node in nodes if isinstance(node.op, Hooked)]
    for node in hooked:
        node.op.wanted = True
    try:
        with recording(create_graph):
            found = backprop(roots, nodes, oldest, create_graph, retain_graph)
            for node in hooked:
                if node in found:
                    g = seen(node.op.last)
                    found[node] = g if create_graph else g._data.copy()
            for node in {*nodes}:
                if type(node) is Leaf and node.params and node in found:
                    found[node] = of_leaf(node, found[node])
    finally:
        for node in hooked:
            node.op.wanted, node.op.last = False, None
    return [found.get(node) for node in nodes]


class _Passing:
    """The op of a node through which the cotangents of several tensors go to a function."""

    name = "hook"

    def __init__(self, call: Callable[[list[Any]], Sequence[Any]]):
        self.call = call

    @property
    def rules(self) -> _Passing:
        """Itself, as `backprop` asks an op for its rules."""
        return self

    def rewrap(self, saved: Any, *how: Any) -> Any:
        """Nothing is saved."""
        return saved

    def vjp(self, g: Any, saved: Any, params: dict[str, Any], parents: Sequence[Any]) -> Any:
        """What the function makes of the cotangents, None for those that did not come."""
        return tuple(self.call(list(g)))


def through(tensors: Sequence[Tensor], call: Callable[[list[Any]], Sequence[Any]]) -> list[Tensor]:
    """The same tensors behind one node, whose cotangents go through a function."""
    node = record(Node(), _Passing(call), [t.node for t in tensors], (), {}, len(tensors), None)
    return [output_of(node, i, t._data) for i, t in enumerate(tensors)]  # type: ignore[misc]
