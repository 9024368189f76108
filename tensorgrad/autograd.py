"""Derivatives of functions: grad, vjp, jvp, linearize."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeVar, overload

import numpy as np

from .backend import NUMBERS
from .core import Leaf, Node, Tensor, next_seq, record
from .creation import asarray, owned, zeros_like
from .errors import ArgumentError, DTypeError, GraphError, ShapeError
from .hooks import gradients
from .ops.shape import identity
from .settings import gate, shown
from .switches import recording, switches
from .tensor_methods import seed_cotangent
from .trees import alike, leaves, refill
from .typing import Gradient, Number, Result, SupportsArray, ValueAndGradient

Aux = TypeVar("Aux")


def no_grad() -> recording:
    """A context manager and decorator under which ops are not recorded, in this thread.

    >>> w = tensor([1.0], requires_grad=True)
    >>> with no_grad(): (w * 2).requires_grad
    False
    """
    return recording(False)


def enable_grad() -> recording:
    """A context manager and decorator under which ops are recorded, even inside `no_grad`.

    >>> w = tensor([1.0], requires_grad=True)
    >>> with no_grad(), enable_grad(): (w * 2).requires_grad
    True
    """
    return recording(True)


@contextmanager
def differentiating(tracing: bool = True) -> Iterator[None]:
    """Within the block, gradients are recorded, as an outer `grad` or tape differentiates them.
    With `tracing`, `item()` of a recorded tensor is an error: it would have no gradient."""
    switches.differentiating += 1
    switches.tracing += tracing
    try:
        with recording(True):
            yield
    finally:
        switches.differentiating -= 1
        switches.tracing -= tracing


# --- the arguments of a function ------------------------------------------------------------------


def _positions(argnums: int | Sequence[int], count: int, name: str) -> list[int]:
    """`argnums` as positions from 0."""
    numbers = [argnums] if isinstance(argnums, int) else argnums
    for n in numbers:
        if not -count <= n < count:
            raise ArgumentError(
                f"{name}: argnums={argnums} but the call has {count} arguments by position"
            )
    return [n % count for n in numbers]


def _is_array(value: Any) -> bool:
    """Whether that is a number, or nested lists of numbers, which stand for one array."""
    if isinstance(value, (list, tuple)):
        return not hasattr(value, "_fields") and all(map(_is_array, value))
    return isinstance(value, (*NUMBERS, np.generic))


def as_primals(values: Sequence[Any]) -> list[Any]:
    """Arguments of which nested lists of numbers are arrays, as where one tensor is taken."""
    return [asarray(v) if _is_array(v) else v for v in values]


_modules = threading.RLock()


class Primals:
    """Arguments of a function, trees, under nodes of their own, whose cotangents are the gradients.

    A module among them is called itself, with its trained parameters under such nodes; its
    gradients are a dict by path.
    """

    def __init__(self, name: str, args: Sequence[Any], argnums: int | Sequence[int]):
        self.name, self.argnums, self.oldest = name, argnums, next_seq()
        self.flat: list[tuple[Tensor, Tensor]] = []  # what was given, and what f computes with
        self.parameters: list[tuple[Tensor, Node]] = []  # of modules, and their nodes meanwhile
        self.modules: list[tuple[Any, int]] = []  # and how many parameters each has
        self.tracked = False  # whether gradients of what was given will be asked for
        self.inner, self.shapes = list(args), list[Any]()  # for f; trees of what was given
        with _modules:  # no other thread's call has a module's parameters under nodes of its own
            self._enter(args)

    def _enter(self, args: Sequence[Any]) -> None:
        for n in _positions(self.argnums, len(args), self.name):
            inner: list[Any] = []
            given: list[Any] = []
            for leaf in leaves(args[n]):
                if hasattr(type(leaf), "named_parameters"):  # a module
                    named = dict(leaf.named_parameters())
                    self.modules.append((leaf, len(named)))
                    trained = {k: p for k, p in named.items() if p.node is not None}
                    self.parameters += [(p, self._primal(p).node) for p in trained.values()]
                    inner.append(leaf)
                    given.append(trained)
                else:
                    inner.append(self._primal(leaf))
                    given.append(leaf)
                    self.tracked = self.tracked or self.flat[-1][0].node is not None
            self.inner[n] = refill(args[n], iter(inner))
            self.shapes.append(refill(args[n], iter(given)))

    def _primal(self, value: Any) -> Tensor:
        """The same data under a new node."""
        given = owned(value)
        if given._data.dtype.kind in "biu":
            raise DTypeError(
                f"{self.name}: cannot differentiate with respect to {given._data.dtype} numbers; "
                "give floats (2.0, not 2)"
            )
        data = given._data
        node = record(Node(), identity, (given.node,), (), {}, data.shape, data.dtype)
        self.flat.append((given, Tensor(data, node)))
        return self.flat[-1][1]

    def value(self, f: Callable, options: dict[str, Any], has_aux: bool) -> tuple[Any, Any]:
        """What f returns, and its aux, or None."""
        with differentiating(), self._in_modules():
            y = f(*self.inner, **options)
        for module, count in self.modules:
            if len(dict(module.named_parameters())) != count:
                raise GraphError(
                    f"{self.name}: {type(module).__name__} made parameters in this very call, "
                    "which have no gradient yet: call it once before, as model(x)"
                )
        if not has_aux:
            return y, None
        if not (isinstance(y, tuple) and len(y) == 2):
            raise GraphError(
                f"{self.name}: with has_aux=True the function returns a pair (y, aux), not "
                + (f"{len(y)} values" if isinstance(y, tuple) else f"one {type(y).__name__}")
            )
        return y

    @contextmanager
    def _in_modules(self) -> Iterator[None]:
        """The parameters of modules are under their nodes: in one thread at a time."""
        if not self.parameters:
            yield
            return
        with _modules:
            before = [p.node for p, _ in self.parameters]
            try:
                for p, node in self.parameters:
                    p.node = node
                yield
            finally:
                for (p, _), leaf in zip(self.parameters, before, strict=True):
                    p.node = leaf

    def outputs(self, y: Any) -> list[Tensor]:
        """The tensors of what f returned."""
        ys = leaves(y)
        if not ys or not all(isinstance(t, Tensor) for t in ys):
            wrong = next((type(t).__name__ for t in ys if not isinstance(t, Tensor)), "nothing")
            raise GraphError(f"{self.name}: the function returned {wrong}, not a tensor")
        return ys

    def depends(self, y: Tensor) -> bool:
        """Whether a result was recorded by f."""
        return y.node is not None and y.node.seq >= self.oldest

    def needs_graph(self, ys: Sequence[Any]) -> bool:
        """Whether results of f, and their gradients, may be differentiated later: by an enclosing
        derivative, or by tensors that require gradients, which f was given or closes over."""
        if switches.differentiating or self.tracked:
            return True
        if not switches.recording:
            return False
        seen: set[Any] = {t.node for _, t in self.flat}  # where f begins
        left = [y.node for y in ys if isinstance(y, Tensor) and y.node is not None]
        while left:
            if (node := left.pop()) in seen:
                continue
            if type(node) is Leaf:
                return True
            seen.add(node)
            left += [p for p in node.parents if p is not None]
        return False

    def gradients(
        self, ys: list[Tensor], cotangents: Sequence[Any], create_graph: bool, retain: bool
    ) -> list[Tensor]:
        """The gradient of each primal from a cotangent of each result; None counts as zeros, or as
        1 where there is one result."""
        roots = [
            (y.node, seed_cotangent(y, g, create_graph))
            for y, g in zip(ys, cotangents, strict=True)
            if self.depends(y) and (g is not None or len(ys) == 1)
        ]
        nodes = [t.node for _, t in self.flat]
        found = [None] * len(nodes)
        if roots:
            found = gradients(roots, nodes, self.oldest, create_graph, retain)
        return [_gradient(g, given) for g, (given, _) in zip(found, self.flat, strict=True)]

    def filled(self, flat: Sequence[Any]) -> Any:
        """Values, one for each primal, in the structure of the arguments."""
        values = iter(flat)
        parts = [refill(shape, values) for shape in self.shapes]
        return parts[0] if isinstance(self.argnums, int) else tuple(parts)

    def off_tape(self, value: Any) -> Any:
        """A tree that f returned, whose tensors no longer hold the graph of f."""
        flat = [
            a.detach() if isinstance(a, Tensor) and self.depends(a) else a for a in leaves(value)
        ]
        return refill(value, iter(flat))


def _gradient(g: Any, given: Tensor) -> Tensor:
    """The gradient of a primal; zeros where there is no path to it."""
    if g is None:
        return zeros_like(given.detach())
    return g if isinstance(g, Tensor) else Tensor(g)


# --- functions to functions -----------------------------------------------------------------------


@overload
def value_and_grad(f: Callable[..., Tensor], argnums: Literal[0] = 0) -> ValueAndGradient: ...
@overload
def value_and_grad(
    f: Callable[..., Tensor], argnums: int
) -> Callable[..., tuple[Tensor, Tensor]]: ...
@overload
def value_and_grad(
    f: Callable[..., Tensor], argnums: Sequence[int]
) -> Callable[..., tuple[Tensor, tuple[Tensor, ...]]]: ...
@overload
def value_and_grad(
    f: Callable[..., tuple[Tensor, Result]],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: Literal[True],
) -> Callable[..., tuple[tuple[Tensor, Result], Any]]: ...
@gate
def value_and_grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns the value of f and its gradient; the arguments are those of `grad`.
    With `has_aux` it returns ((y, aux), gradient).

    >>> value, gradient = value_and_grad(lambda x: x**3)(2.0)
    >>> value.item(), gradient.item()
    (8.0, 12.0)
    """

    def value_and_gradient(*args: Any, create_graph: bool | None = None, **kwargs: Any) -> Any:
        primals = Primals("grad", args, argnums)
        y, aux = primals.value(f, kwargs, has_aux)
        if not isinstance(y, Tensor):
            raise GraphError(f"grad: the function returned {type(y).__name__}, not a tensor")
        if not primals.depends(y) and y.size != 1:
            raise ShapeError(f"grad: the function returned shape {y.shape}, not a single number")
        if create_graph is None:
            create_graph = primals.needs_graph([y, *leaves(aux)])
        found = primals.filled(primals.gradients([y], [None], create_graph, create_graph))
        value = y if create_graph else y.detach()
        if not has_aux:
            return value, found
        return (value, aux if create_graph else primals.off_tape(aux)), found

    return value_and_gradient


@overload
def grad(f: Callable[..., Tensor], argnums: Literal[0] = 0) -> Gradient: ...
@overload
def grad(f: Callable[..., Tensor], argnums: int) -> Callable[..., Tensor]: ...
@overload
def grad(f: Callable[..., Tensor], argnums: Sequence[int]) -> Callable[..., tuple[Tensor, ...]]: ...
@overload
def grad(
    f: Callable[..., tuple[Tensor, Result]],
    argnums: int | Sequence[int] = 0,
    *,
    has_aux: Literal[True],
) -> Callable[..., tuple[Any, Result]]: ...
@gate
def grad(
    f: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """The gradient of a function of scalar output, as a function of the same arguments.

    Args:
        f: a function of tensors that returns a tensor of one element.
        argnums: the position of the argument to differentiate, or several positions. It may be a
            number, an array, a tensor, or a tree of them: lists, tuples, dicts, dataclasses. The
            gradient of an `nn.Module` is a dict of those of its trained parameters, by path.
        has_aux: whether f returns (y, aux), y to be differentiated and aux anything; the result is
            then (gradient, aux).
    Returns: a function; its result has the structure of the argument, with zeros for what f does
        not use. It is itself differentiable if called with `create_graph=True`, inside another
        `grad`, on tensors that require gradients, or if f uses such tensors besides, as weights
        are (not under `no_grad`, which saves that). `.grad` is not written.
    Raises: ShapeError where f returns more than one number; DTypeError for integer arguments;
        GraphError where f returns no tensor.

    >>> f = lambda x: x ** 4
    >>> grad(grad(grad(f)))(2.0).item()
    48.0
    >>> grad(lambda p: p["w"] * p["b"])({"w": 2.0, "b": 3.0})["w"].item()
    3.0
    """
    both: Callable[..., Any] = value_and_grad(f, argnums, has_aux=has_aux)  # type: ignore

    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, found = both(*args, **kwargs)
        return (found, value[1]) if has_aux else found

    return gradient


@overload
def vjp(
    f: Callable[..., Tensor], *primals: SupportsArray | Number
) -> tuple[Tensor, Callable[..., tuple[Tensor, ...]]]: ...
@overload
def vjp(
    f: Callable[..., Result], *primals: Any, has_aux: Literal[False] = False
) -> tuple[Result, Callable[..., tuple[Any, ...]]]: ...
@overload
def vjp(
    f: Callable[..., tuple[Result, Aux]], *primals: Any, has_aux: Literal[True]
) -> tuple[Result, Callable[..., tuple[Any, ...]], Aux]: ...
@gate
def vjp(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """f(*primals), and its pullback: a function from a cotangent v of its shape to the
    vector-Jacobian products v^T J, one for each primal.

    Primals and the value of f are tensors or trees, as in `grad`; nested lists of numbers are an
    array. With `has_aux` f returns (y, aux), and the result is (y, pullback, aux).

    >>> y, pull = vjp(lambda x: x * x, tensor([1.0, 3.0]))
    >>> pull(tensor([1.0, 1.0]))[0].tolist()
    [2.0, 6.0]
    """
    inputs = Primals("vjp", as_primals(primals), range(len(primals)))
    y, aux = inputs.value(f, {}, has_aux)
    ys = inputs.outputs(y)

    def pull(cotangent: Any, create_graph: bool | None = None) -> tuple[Any, ...]:
        gs = [asarray(g) for g in alike(y, cotangent, "vjp: the cotangent")]
        if create_graph is None:
            create_graph = inputs.needs_graph([*ys, *gs])
        found: tuple[Any, ...] = inputs.filled(inputs.gradients(ys, gs, create_graph, True))
        return found

    if not inputs.needs_graph([*ys, *leaves(aux)]):
        y, aux = inputs.off_tape(y), inputs.off_tape(aux)
    return (y, pull, aux) if has_aux else (y, pull)


@overload
def linearize(
    f: Callable[..., Tensor], *primals: SupportsArray | Number
) -> tuple[Tensor, Callable[..., Tensor]]: ...
@overload
def linearize(
    f: Callable[..., Result], *primals: Any, has_aux: Literal[False] = False
) -> tuple[Result, Callable[..., Result]]: ...
@overload
def linearize(
    f: Callable[..., tuple[Result, Aux]], *primals: Any, has_aux: Literal[True]
) -> tuple[Result, Callable[..., Result], Aux]: ...
@gate
def linearize(f: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """f(*primals), and its linear approximation there: a function from tangents, one for each
    primal, to the Jacobian-vector product J t. f itself is run once, for any number of tangents.

    Each product is one pass: the pullback is linear in its cotangent, and the vjp of the pullback
    is the jvp (Townsend 2017). With `has_aux` the result is (y, function, aux).

    >>> y, push = linearize(lambda x, y: x * y, 2.0, 5.0)
    >>> y.item(), push(1.0, 0.0).item(), push(0.0, 1.0).item()
    (10.0, 5.0, 2.0)
    """
    y, pull, *aux = vjp(f, *primals, has_aux=has_aux)  # type: ignore[call-overload]
    zeros = [zeros_like(t.detach()) for t in leaves(y)]
    parts, transposed = vjp(lambda v: pull(v, create_graph=True), refill(y, iter(zeros)))

    def push(*tangents: Any) -> Any:
        given = alike(parts, tuple(as_primals(tangents)), "jvp: the tangents")
        shapes = [t.shape for t in leaves(parts)]
        given = [asarray(t) for t in given]
        if shapes != [t.shape for t in given]:
            raise ShapeError(
                f"jvp: primals of shapes {shapes} and tangents of {[t.shape for t in given]}: "
                "give one of the same shape for each"
            )
        return transposed(refill(parts, iter(given)))[0]

    return (y, push, *aux)


@overload
def jvp(
    f: Callable[..., Tensor],
    primals: Sequence[SupportsArray | Number],
    tangents: Sequence[SupportsArray | Number],
) -> tuple[Tensor, Tensor]: ...
@overload
def jvp(
    f: Callable[..., Result],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    has_aux: Literal[False] = False,
) -> tuple[Result, Result]: ...
@overload
def jvp(
    f: Callable[..., tuple[Result, Aux]],
    primals: Sequence[Any],
    tangents: Sequence[Any],
    *,
    has_aux: Literal[True],
) -> tuple[Result, Result, Aux]: ...
@gate
def jvp(
    f: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False
) -> Any:
    """f(*primals), and the Jacobian-vector product: its directional derivative along the tangents,
    which have the structure and shapes of the primals; with `has_aux` also the aux of f.
    `linearize` gives products with more than one.

    >>> jvp(lambda x: x * x, [tensor([1.0, 3.0])], [tensor([1.0, 0.0])])[1].tolist()
    [2.0, 0.0]
    """
    check_lists("jvp", primals, tangents)
    y, push, *aux = linearize(f, *primals, has_aux=has_aux)  # type: ignore[call-overload]
    return (y, push(*tangents), *aux)


def check_lists(name: str, primals: Any, tangents: Any) -> None:
    """ShapeError unless these are two lists, of a tangent for each primal."""
    two = isinstance(primals, (list, tuple)) and isinstance(tangents, (list, tuple))
    if not two or len(primals) != len(tangents):
        raise ShapeError(
            f"{name}: give two lists, of the primals and of a tangent for each, got "
            f"{shown(primals)} and {shown(tangents)}"
        )


def inner(a: Tensor, b: Tensor) -> Tensor:
    """The real inner product of two tensors of one shape, with complex numbers as pairs."""
    if "c" not in (a.dtype.kind, b.dtype.kind):
        return (a * b).sum()
    return (a.real * b.real + a.imag * b.imag).sum()
