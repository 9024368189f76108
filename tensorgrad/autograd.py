"""Derivatives of functions: grad, vjp, jvp, jacobian, hessian, GradientTape, custom Functions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, Literal, overload

from .backend import make, namespace
from .backward import backprop
from .core import OPS, Node, Tensor, next_seq, record
from .creation import asarray, owned, track, zeros_like
from .errors import ArgumentError, DTypeError, GraphError, ShapeError
from .functions import broadcast_to, stack
from .ops.shape import identity
from .switches import recording, switches
from .tensor_methods import seed_cotangent
from .typing import ArrayLike, Gradient, Tree, ValueAndGradient


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
def _differentiating(tracing: bool = True) -> Iterator[None]:
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


# --- trees: a tensor, or lists, tuples and dicts of them ------------------------------------------


def leaves(tree: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dicts, in order."""
    try:
        return _leaves(tree)
    except RecursionError:
        raise ArgumentError(
            "lists, tuples or dicts that are nested deeper than Python's stack, or in themselves"
        ) from None


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for key in tree for leaf in _leaves(tree[key])]
    if isinstance(tree, (list, tuple)):
        return [leaf for part in tree for leaf in _leaves(part)]
    return [tree]


def refill(tree: Any, values: Any) -> Any:
    """The same structure with other leaves, taken from an iterator."""
    if isinstance(tree, dict):
        filled = copy(tree)  # of its own class
        filled.update({key: refill(part, values) for key, part in tree.items()})
        return filled
    if isinstance(tree, (list, tuple)):
        parts = [refill(part, values) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return next(values)


# --- functions to functions -----------------------------------------------------------------------


def _positions(argnums: int | Sequence[int], args: tuple, name: str) -> tuple[int, ...]:
    """`argnums` as a tuple of positions from 0."""
    try:
        numbers = tuple([operator.index(n) for n in argnums])  # type: ignore[union-attr]
    except TypeError:
        if not hasattr(argnums, "__index__"):
            raise ArgumentError(
                f"{name}: argnums={argnums!r} is neither an integer nor a sequence of integers"
            ) from None
        numbers = (operator.index(argnums),)  # type: ignore[arg-type]
    for n in numbers:
        if not -len(args) <= n < len(args):
            raise ArgumentError(
                f"{name}: argnums={argnums} but the call has {len(args)} arguments by position"
            )
    return tuple([n % len(args) for n in numbers])


def _primal(value: Any, name: str) -> tuple[Tensor, Tensor]:
    """The caller's tensor, and the same data under a new node, whose cotangent is the gradient."""
    given = owned(value)
    if given._data.dtype.kind in "biu":
        raise DTypeError(
            f"{name}: cannot differentiate with respect to {given._data.dtype} numbers; "
            "give floats (2.0, not 2)"
        )
    data = given._data
    node = record(Node(), identity, (given.node,), (), {}, data.shape, data.dtype)
    return given, Tensor(data, node)


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
def value_and_grad(
    f: Callable[..., Tensor], argnums: int | Sequence[int] = 0
) -> Callable[..., Any]:
    """A function that returns the value of f and its gradient; the arguments are those of `grad`.

    >>> value, gradient = value_and_grad(lambda x: x**3)(2.0)
    >>> value.item(), gradient.item()
    (8.0, 12.0)
    """

    def value_and_gradient(*args: Any, create_graph: bool | None = None, **kwargs: Any) -> Any:
        numbers = _positions(argnums, args, "grad")
        oldest = next_seq()
        pairs = {n: [_primal(v, "grad") for v in leaves(args[n])] for n in numbers}
        flat = [pair for n in numbers for pair in pairs[n]]
        if create_graph is None:
            create_graph = switches.differentiating > 0 or any(t.node for t, _ in flat)
        inner = list(args)
        for n in numbers:
            inner[n] = refill(args[n], iter([t for _, t in pairs[n]]))
        with _differentiating():
            y = f(*inner, **kwargs)
        if not isinstance(y, Tensor):
            raise GraphError(f"grad: the function returned {type(y).__name__}, not a tensor")
        found: dict[Node, Any] = {}
        if y.node is not None and y.node.seq >= oldest:
            seed = seed_cotangent(y, None, create_graph)
            wanted = [t.node for _, t in flat]
            with recording(create_graph):
                found = backprop([(y.node, seed)], wanted, oldest, create_graph, create_graph)
        elif y.size != 1:
            raise ShapeError(f"grad: the function returned shape {y.shape}, not a single number")
        parts = []
        for n in numbers:
            gs = [_gradient(found, inner_t, t) for t, inner_t in pairs[n]]
            parts.append(refill(args[n], iter(gs)))
        value = y if create_graph else y.detach()
        return value, parts[0] if hasattr(argnums, "__index__") else tuple(parts)

    return value_and_gradient


def _gradient(found: dict[Node, Any], inner: Tensor, given: Tensor) -> Tensor:
    """The gradient of a primal; zeros where there is no path to it."""
    g = found.get(inner.node)
    if g is None:
        return zeros_like(given.detach())
    return g if isinstance(g, Tensor) else Tensor(g)


@overload
def grad(f: Callable[..., Tensor], argnums: Literal[0] = 0) -> Gradient: ...
@overload
def grad(f: Callable[..., Tensor], argnums: int) -> Callable[..., Tensor]: ...
@overload
def grad(f: Callable[..., Tensor], argnums: Sequence[int]) -> Callable[..., tuple[Tensor, ...]]: ...
def grad(f: Callable[..., Tensor], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The gradient of a function of scalar output, as a function of the same arguments.

    Args:
        f: a function of tensors that returns a tensor of one element.
        argnums: the position of the argument to differentiate, or several positions. It may be a
            number, an array, a tensor, or nested lists, tuples and dicts of them.
    Returns: a function; its result has the structure of the argument, with zeros for what f does
        not use, and is itself differentiable if called with `create_graph=True`, inside another
        `grad`, or on tracked tensors. `.grad` is not written.
    Raises: ShapeError where f returns more than one number; DTypeError for integer arguments;
        GraphError where f returns no tensor.

    >>> f = lambda x: x ** 4
    >>> grad(grad(grad(f)))(2.0).item()
    48.0
    """
    both: Callable[..., Any] = value_and_grad(f, argnums)

    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def vjp(
    f: Callable[..., Tensor], *primals: ArrayLike
) -> tuple[Tensor, Callable[..., tuple[Tensor, ...]]]:
    """f(*primals), and its pullback: a function from a cotangent v of its shape to the
    vector-Jacobian products v^T J, one for each primal.

    >>> y, pull = vjp(lambda x: x * x, tensor([1.0, 3.0]))
    >>> pull(tensor([1.0, 1.0]))[0].tolist()
    [2.0, 6.0]
    """
    oldest = next_seq()
    pairs = [_primal(p, "vjp") for p in primals]
    with _differentiating():
        y = f(*[t for _, t in pairs])
    if not isinstance(y, Tensor):
        raise GraphError(f"vjp: the function returned {type(y).__name__}, not a tensor")

    def pull(cotangent: ArrayLike, create_graph: bool | None = None) -> tuple[Tensor, ...]:
        g = asarray(cotangent)
        if create_graph is None:
            create_graph = switches.differentiating > 0 or g.node is not None
        found: dict[Node, Any] = {}
        if y.node is not None and y.node.seq >= oldest:
            seed = seed_cotangent(y, g, create_graph)
            wanted = [t.node for _, t in pairs]
            with recording(create_graph):
                found = backprop([(y.node, seed)], wanted, oldest, create_graph, True)
        return tuple([_gradient(found, t, given) for given, t in pairs])

    return y.detach() if switches.differentiating == 0 else y, pull


def jvp(
    f: Callable[..., Tensor], primals: Sequence[ArrayLike], tangents: Sequence[ArrayLike]
) -> tuple[Tensor, Tensor]:
    """f(*primals), and the Jacobian-vector product: its directional derivative along the tangents,
    which have the shapes of the primals.

    Computed by two reverse passes: the pullback is linear in its cotangent, and the vjp of the
    pullback is the jvp (Townsend 2017).

    >>> jvp(lambda x: x * x, [tensor([1.0, 3.0])], [tensor([1.0, 0.0])])[1].tolist()
    [2.0, 0.0]
    """
    xs, ts = [asarray(p) for p in primals], [asarray(t) for t in tangents]
    if [x.shape for x in xs] != [t.shape for t in ts]:
        raise ShapeError(
            f"jvp: primals of shapes {[x.shape for x in xs]} and tangents of "
            f"{[t.shape for t in ts]}: give one of the same shape for each, in two lists"
        )
    y, pull = vjp(f, *xs)
    cotangent = zeros_like(y.detach())

    def pulled(v: Tensor) -> Tensor:
        parts = pull(v, create_graph=True)
        total = [inner(p, t) for p, t in zip(parts, ts, strict=True)]
        return sum(total[1:], total[0])

    return y, grad(pulled)(cotangent)


def inner(a: Tensor, b: Tensor) -> Tensor:
    """The real inner product of two tensors of one shape, with complex numbers as pairs."""
    if "c" not in (a.dtype.kind, b.dtype.kind):
        return (a * b).sum()
    return (a.real * b.real + a.imag * b.imag).sum()


def jacobian(f: Callable[..., Tensor]) -> Callable[[ArrayLike], Tensor]:
    """The Jacobian of a function of one tensor, as a function of x: J[i, j] = d f(x)[i] / d x[j],
    of shape f(x).shape + x.shape. One reverse pass for each element of f(x). Complex numbers are
    for holomorphic functions.

    Raises: DTypeError where f makes complex numbers of real ones, or real of complex ones.

    >>> jacobian(lambda x: x * x)(tensor([1.0, 3.0])).tolist()
    [[2.0, 0.0], [0.0, 6.0]]
    """

    def jac(x: ArrayLike) -> Tensor:
        x = asarray(x)
        y, pull = vjp(f, x)
        if (y.dtype.kind == "c") != (x.dtype.kind == "c"):
            raise DTypeError(
                f"jacobian: f maps {x.dtype} to {y.dtype}; give it the real and imaginary parts as "
                "numbers of their own"
            )
        basis = namespace(y._data).eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
        rows = [pull(row)[0] for row in basis]
        if not rows:  # of no numbers
            return zeros_like(broadcast_to(x.detach(), (*y.shape, *x.shape)))
        rows = [row.conj() for row in rows] if x.dtype.kind == "c" else rows
        return stack(rows).reshape(*y.shape, *x.shape)

    return jac


def hessian(f: Callable[..., Tensor]) -> Callable[[ArrayLike], Tensor]:
    """The Hessian of a scalar function of one tensor, as a function of x:
    H[i, j] = d^2 f / d x[i] d x[j], of shape x.shape + x.shape.

    >>> hessian(lambda x: (x ** 3).sum())(tensor([1.0, 2.0])).tolist()
    [[6.0, 0.0], [0.0, 12.0]]
    """
    return jacobian(grad(f))


class GradientTape:
    """TensorFlow's interface to gradients, on the same tape.

    Parameters and tensors with `requires_grad` are watched automatically; `watch` adds others.
    `gradient` frees the saved arrays unless `persistent`.

    >>> x = tensor([3.0])
    >>> with GradientTape() as tape:
    ...     tape.watch(x)
    ...     y = (x * x).sum()
    >>> tape.gradient(y, x).tolist()
    [6.0]
    """

    def __init__(self, persistent: bool = False):
        self.persistent = persistent

    def __enter__(self) -> GradientTape:
        self._block = _differentiating(tracing=False)
        self._block.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._block.__exit__(*error)

    def watch(self, *tensors: Tensor | Tree) -> None:
        """Make these tensors, or nested lists and dicts of them, leaves of the tape."""
        for t in leaves(tensors):
            track(t)

    @overload
    def gradient(
        self, target: Tensor, sources: Tensor, cotangent: ArrayLike | None = None
    ) -> Tensor | None: ...
    @overload
    def gradient(  # type: ignore[overload-overlap]  # a tuple is a Sequence, too
        self,
        target: Tensor,
        sources: tuple[Tensor, ...],
        cotangent: ArrayLike | None = None,
    ) -> tuple[Tensor | None, ...]: ...
    @overload
    def gradient(
        self,
        target: Tensor,
        sources: Sequence[Tensor],
        cotangent: ArrayLike | None = None,
    ) -> list[Tensor | None]: ...
    @overload
    def gradient(
        self, target: Tensor, sources: Tree, cotangent: ArrayLike | None = None
    ) -> Tree: ...
    def gradient(self, target: Tensor, sources: Any, cotangent: ArrayLike | None = None) -> Any:
        """d(target) / d(source) for each source, in their structure; None where there is no path
        from source to target. Inside another tape or `grad` the result is differentiable.
        """
        create = switches.differentiating > 0
        seed = seed_cotangent(target, cotangent, create)
        given = leaves(sources)
        for source in given:
            if not isinstance(source, Tensor) or source.node is None:
                raise GraphError(f"tape.gradient: {source!r} is not watched; call tape.watch(it)")
        retain = self.persistent or create
        wanted = [s.node for s in given]
        found = backprop([(target.node, seed)], wanted, 0, create, retain)
        gs = [found.get(s.node) for s in given]
        return refill(sources, iter([g if g is None or create else Tensor(g) for g in gs]))


# --- custom functions -----------------------------------------------------------------------------


class Function:
    """Base class of custom differentiable functions: `forward` computes on raw arrays, `backward`
    maps the cotangent of the output to the gradients of the inputs.

    `ctx` is an instance per call: `ctx.save(*arrays)` saves inputs or outputs, which `backward`
    finds in `ctx.saved`; `ctx.xp` is the array module, numpy or cupy. `backward` returns one
    gradient per positional input, None for those without; written with tensorgrad's functions it
    can be differentiated again.

    >>> class Double(Function):
    ...     def forward(ctx, x): return 2 * x
    ...     def backward(ctx, g): return 2 * g
    >>> Double.apply(tensor([1.0])).tolist()
    [2.0]
    """

    saved: tuple[Any, ...] = ()
    xp: Any = None

    def save(ctx, *arrays: Any) -> None:
        """Save arrays for `backward`, as `ctx.saved` in this order."""
        ctx.saved = arrays

    def forward(ctx, *args: Any, **params: Any) -> Any:
        """The output array, from raw arrays."""
        raise GraphError(f"{type(ctx).__name__} has no forward(ctx, *arrays)")

    def backward(ctx, g: Any) -> Any:
        """The gradients of the inputs, from the cotangent of the output."""
        raise GraphError(f"{type(ctx).__name__} has no backward(ctx, g)")

    @classmethod
    def apply(cls, *args: Any, **params: Any) -> Tensor:
        """Call the function on tensors, arrays or numbers; the result is on the tape."""
        inputs = [owned(a) for a in args]
        arrays = [t._data for t in inputs]
        for i, a in enumerate(arrays):  # views of an array given twice, to tell what is saved
            if any(a is b for b in arrays[:i]):
                arrays[i] = a.view()
        ctx = cls()
        ctx.xp = namespace(*arrays)
        raw = cls.forward(ctx, *arrays, **params)  # may be a static method, as in PyTorch
        try:
            y = make(raw)
        except DTypeError as error:
            raise DTypeError(f"{cls.__name__}.forward gave no array: {error}") from None
        parents = [t.node for t in inputs]
        if not (switches.recording and any(n is not None for n in parents)):
            return Tensor(y)
        saved, ctx.saved = ctx.saved, ()  # owned by the node, which frees them after backward
        call = _Call(ctx, arrays, raw, saved)
        return Tensor(y, record(Node(), call, parents, saved, params, y.shape, y.dtype))


class _Call:
    """The op of the node of one call of a Function."""

    def __init__(self, ctx: Function, inputs: list, y: Any, saved: tuple):
        self.ctx, self.name = ctx, type(ctx).__name__
        ids = {id(a): i for i, a in enumerate(inputs)}
        self.origins = [-1 if a is y else ids.get(id(a)) for a in saved]

    @property
    def rules(self) -> _Call:
        """Itself; not an attribute, which would be a reference cycle."""
        return self

    def rewrap(self, saved: tuple, node: Node, wrap: Callable, output: Callable) -> tuple:
        """The saved arrays as tensors on the tape, under the nodes they came from."""
        homes = [node if o == -1 else None if o is None else node.parents[o] for o in self.origins]
        return tuple([wrap(a, n) for a, n in zip(saved, homes, strict=True)])

    def vjp(self, g: Any, saved: tuple, params: dict, parents: Sequence) -> tuple:
        """A gradient or None per input; raw arrays for a raw cotangent, else Tensors."""
        self.ctx.saved = saved
        if g.dtype.kind == "c":  # outside of backprop a cotangent is its conjugate
            g = OPS["conj"](g)
        try:
            own = g if isinstance(g, Tensor) else g.copy()  # which it may write to: g is shared
            gs = type(self.ctx).backward(self.ctx, own)
        finally:
            self.ctx.saved = ()  # tensors there refer to this call: a reference cycle
        gs = gs if isinstance(gs, tuple) else (gs,)
        if len(gs) != len(parents):
            raise GraphError(
                f"{self.name}.backward returned {len(gs)} gradients for {len(parents)} inputs"
            )
        for x, p in zip(gs, parents, strict=True):
            if x is not None and not hasattr(x, "dtype"):
                raise DTypeError(
                    f"{self.name}.backward returned {type(x).__name__}; it gives one array or "
                    "None per input, in a tuple when there are several"
                )
            if x is not None and x.dtype.kind == "c" and p is not None and p.dtype.kind != "c":
                raise DTypeError(
                    f"{self.name}.backward gave a complex gradient of {p.dtype} numbers: take .real"
                )
        gs = tuple([OPS["conj"](x) if x is not None and x.dtype.kind == "c" else x for x in gs])
        if isinstance(g, Tensor):
            gs = tuple([None if x is None else asarray(x) for x in gs])
        else:  # views, so that backprop does not write into arrays that the function still holds
            gs = tuple([x._data if isinstance(x, Tensor) else x for x in gs])
            gs = tuple([None if x is None else x[...] for x in gs])
        return tuple([x if n is not None else None for x, n in zip(gs, parents, strict=True)])
