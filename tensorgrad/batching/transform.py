"""vmap: a function of one example as one of a batch.

The function is called once. Its tensors hold `Batched` arrays, and are otherwise tensors as any
other: `grad` in it records nodes of one example's shape. Where the tape crosses the border of the
call stand four linear maps, each other's adjoints in pairs: examples are entered and left, and what
all share is spread over them, whose cotangents are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Annotated, Any, TypeAlias

from ..autograd import as_primals
from ..backend import RAW
from ..core import OPS, Node, Tensor, record
from ..creation import asarray
from ..errors import ArgumentError, GraphError, ShapeError
from ..settings import Either, Nothing, Own, Whole, gate, shown
from ..switches import switches
from ..trees import leaves, opened, refill
from . import rules  # noqa: F401  (how ops compute)
from .array import Level, batch_of, is_batched, wrapped

ExampleAxes: TypeAlias = Annotated[Any, Either(Nothing(), Own("an axis, or a tree of them"))]


@gate
def vmap(
    f: Callable[..., Any], in_axes: ExampleAxes = 0, out_axes: ExampleAxes = 0
) -> Callable[..., Any]:
    """A function of one example as a function of a batch, as in JAX: it is called once, and each op
    computes all examples.

    Args:
        f: a function of tensors, or trees of them as in `grad`, that returns tensors. Within it
            shapes and axes are those of one example. What it takes from outside, parameters of a
            module for instance, all examples share.
        in_axes: the axis of the examples in each argument: a whole number, None for what all share,
            or a list with one for each argument, of which each may be a tree. Keyword arguments
            have them in axis 0.
        out_axes: the axis that they get in the results, a whole number or a tree; None for results
            that are the same for all examples.
    Returns: a function; it may itself be differentiated, and f may contain `grad`, `jacobian`,
        `jvp` and other `vmap`s. Random numbers drawn in f are the same for all examples, but for
        `dropout` of batched numbers.
    Raises: ShapeError where arguments have different numbers of examples, ArgumentError for axes
        that do not fit, GraphError where f reads the numbers of an example (`if x > 0`, `item()`).

    An op without a batching rule computes the examples one by one, which a warning says.

    The gradients of a loss for each example of a batch:

    >>> loss = lambda w, x, y: (w @ x - y) ** 2
    >>> w, xs, ys = tensor([1.0, 2.0]), tensor([[1.0, 0.0], [1.0, 1.0]]), tensor([0.0, 1.0])
    >>> vmap(grad(loss), in_axes=(None, 0, 0))(w, xs, ys).tolist()
    [[2.0, 0.0], [4.0, 4.0]]
    >>> vmap(lambda x, y: x @ y, in_axes=(0, 1))(np.ones((2, 3)), np.ones((3, 2))).tolist()
    [3.0, 3.0]
    """
    if isinstance(in_axes, dict):
        raise ArgumentError(
            f"vmap: in_axes={shown(in_axes)} must be one axis for all arguments by position, or a "
            "list with one for each"
        )
    in_axes, out_axes = _axes("in_axes", in_axes), _axes("out_axes", out_axes)

    @wraps(f)
    def batched(*args: Any, **options: Any) -> Any:
        args = tuple([as_primals([a])[0] if isinstance(a, (list, tuple)) else a for a in args])
        axes = _argument_axes(in_axes, args)
        given = [(leaf, _axis(leaf, axis)) for leaf, axis in _pairs(args, axes, "in_axes")]
        named = [(leaf, _axis(leaf, 0)) for leaf, _ in _pairs(options, 0, "in_axes")]
        level = Level(_size([*given, *named]))
        entered = refill(args, iter([_entered(leaf, axis, level) for leaf, axis in given]))
        keywords = refill(options, iter([_entered(leaf, axis, level) for leaf, axis in named]))
        y = f(*entered, **keywords)
        left = [_left(leaf, axis, level) for leaf, axis in _pairs(y, out_axes, "out_axes")]
        _share(left, level)
        return refill(y, iter(left))

    return batched


# --- arguments and results ------------------------------------------------------------------------


def _axes(what: str, axes: Any) -> Any:
    """A tree of axes; ArgumentError where one of them is none."""
    try:
        found = [_AXIS.take(a) for a in leaves(axes)]
    except (TypeError, ValueError, AttributeError):
        raise ArgumentError(
            f"vmap: {what}={shown(axes)}: an axis is a whole number, or None, and there may be a "
            "tree of them"
        ) from None
    return refill(axes, iter(found))


_AXIS = Whole()


def _argument_axes(in_axes: Any, args: Sequence[Any]) -> Any:
    """`in_axes` as one for each argument, or one for all."""
    if in_axes is None or isinstance(in_axes, int):
        return in_axes
    if not isinstance(in_axes, (list, tuple)) or len(in_axes) != len(args):
        raise ArgumentError(
            f"vmap: in_axes={shown(in_axes)} and {len(args)} arguments by position: give one axis "
            "for all, or a list with one for each"
        )
    return tuple(in_axes)


def _pairs(tree: Any, axes: Any, what: str) -> list[tuple[Any, Any]]:
    """Each leaf of a tree with its axis; `axes` is a tree that ends where one axis is for all."""
    if axes is None or isinstance(axes, int):
        return [(leaf, axes) for leaf in leaves(tree)]
    node, named = opened(tree), opened(axes)
    if isinstance(tree, dict) and isinstance(axes, dict) and {*tree} == {*axes}:
        named = opened({key: axes[key] for key in tree})
    if node is None or named is None or len(node[0]) != len(named[0]):
        raise ArgumentError(
            f"vmap: {what}={shown(axes)} does not have the structure of {shown(tree)}; an axis is "
            "a whole number or None"
        )
    return [
        pair
        for part, its in zip(node[0], named[0], strict=True)
        for pair in _pairs(part, its, what)
    ]


def _axis(leaf: Any, axis: int | None) -> int | None:
    """The axis of the examples in an argument, counted from the first. None for a module, which all
    examples share, and for what is no array."""
    if axis is None or hasattr(type(leaf), "named_parameters"):
        return None
    ndim = getattr(leaf, "ndim", None)
    if ndim is None:
        raise ArgumentError(
            f"vmap: an argument {shown(leaf)} has no axis {axis}: in_axes has None for what all "
            "examples share"
        )
    if not -ndim <= axis < ndim:
        raise ArgumentError(
            f"vmap: in_axes asks for axis {axis} of an argument of shape {leaf.shape}"
            + ("; None is for what all examples share" if not ndim else "")
        )
    return axis % ndim


def _size(given: list[tuple[Any, int | None]]) -> int:
    """The number of examples."""
    sizes = [leaf.shape[axis] for leaf, axis in given if axis is not None]
    if not sizes:
        raise ArgumentError("vmap: no argument has an axis of examples: in_axes is None for all")
    if len({*sizes}) > 1:
        raise ShapeError(
            f"vmap: arguments of {', '.join(map(str, sizes))} examples: the axes that in_axes "
            "names have one length"
        )
    return int(sizes[0])


def _entered(leaf: Any, axis: int | None, level: Level) -> Any:
    return leaf if axis is None else enter(asarray(leaf), axis, level)


def _left(leaf: Any, axis: int | None, level: Level) -> Any:
    """A result, its examples along an axis."""
    if not isinstance(leaf, Tensor):
        if axis is not None and type(leaf) not in RAW:
            raise GraphError(f"vmap: the function returned {type(leaf).__name__}, not a tensor")
        leaf = asarray(leaf)
    own = is_batched(leaf._data, level)
    if axis is None:
        if own:
            raise ArgumentError(
                "vmap: out_axes is None for a result that differs between the examples: give it "
                "an axis"
            )
        return leave(leaf, 0, level)[0] if _is_within(leaf, level) else leaf
    ndim = leaf.ndim + 1
    if not -ndim <= axis < ndim:
        raise ArgumentError(
            f"vmap: out_axes asks for axis {axis} of results of shape {leaf.shape}, one an example"
        )
    return leave(leaf, axis % ndim, level)


def _is_within(y: Tensor, level: Level) -> bool:
    return y.node is not None and y.node.seq > level.seq


# --- the border on the tape -----------------------------------------------------------------------


class Border:
    """The op of a node at the border of a vmap: a linear map, and `adjoint`, that of its cotangent.

    It takes arrays, for a gradient, and tensors, for one that is recorded.
    """

    name = "vmap"

    def __init__(self, adjoint: Callable[[Any], Any], enters: Level | None = None):
        self.adjoint, self.enters = adjoint, enters

    @property
    def rules(self) -> Border:
        """Itself, as `backprop` asks an op for its rules."""
        return self

    def rewrap(self, saved: Any, *how: Any) -> Any:
        """Nothing is saved."""
        return saved

    def vjp(self, g: Any, saved: Any, params: Any, parents: Any) -> tuple[Any]:
        """The gradient of the one input."""
        return (self.adjoint(g),)


def _mapped(
    x: Any, f: Callable[[Any], Any], adjoint: Callable[[Any], Any], enters: Level | None = None
) -> Any:
    """f of an array, or of a tensor's, under a node."""
    if not isinstance(x, Tensor):
        return f(x)
    y = f(x._data)
    if x.node is None or not switches.recording:
        return Tensor(y)
    return Tensor(y, record(Node(), Border(adjoint, enters), (x.node,), (), {}, y.shape, y.dtype))


def enter(x: Any, axis: int, level: Level) -> Any:
    """The slices of an array along an axis, as examples."""
    return _mapped(
        x,
        lambda a: wrapped(OPS["moveaxis"](a, source=axis, destination=0), level),
        lambda g: leave(g, axis, level),
        enters=level,
    )


def leave(y: Any, axis: int, level: Level) -> Any:
    """The examples along an axis of one array; of what they share, repeated."""
    return _mapped(
        y,
        lambda a: OPS["moveaxis"](batch_of(a, level), source=0, destination=axis),
        lambda g: enter(g, axis, level),
    )


def total(g: Any, level: Level) -> Any:
    """The sum over the examples of a cotangent, of which one that they share counts for each."""

    def summed(a: Any) -> Any:
        return OPS["sum"](a.batch, axis=0) if is_batched(a, level) else a * level.size

    return _mapped(g, summed, lambda h: spread(h, level))


def spread(x: Any, level: Level) -> Any:
    """An array that all examples share: itself."""
    return _mapped(x, lambda a: a, lambda g: total(g, level))


class Shared(Node):
    """The node, within a vmap, of a tensor outside of it. All of a call have the number of its
    beginning, as nothing orders them."""

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:
        return id(self) < id(other)


def _share(results: Iterable[Any], level: Level) -> None:
    """Put a node between those that the call recorded and those from outside, for whose gradients
    the examples' are summed."""
    shared: dict[Node, Node] = {}
    seen: set[Node] = set()
    heap = [t.node for t in results if isinstance(t, Tensor) and _is_within(t, level)]
    while heap:
        node: Any = heap.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node.op, Border) and node.op.enters is level:
            continue
        outside = [p is not None and p.seq < level.seq for p in node.parents]
        if any(outside):
            node.parents = tuple(
                [
                    _shared(p, level, shared) if out else p
                    for p, out in zip(node.parents, outside, strict=True)
                ]
            )
        heap += [p for p in node.parents if p is not None and p.seq > level.seq]


def _shared(node: Node, level: Level, shared: dict[Node, Node]) -> Node:
    if node not in shared:
        op = Border(lambda g: total(g, level))
        made = record(Shared(), op, (node,), (), {}, node.shape, node.dtype)
        made.seq = level.seq
        shared[node] = made
    return shared[node]
