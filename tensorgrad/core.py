"""The heart: ops, and the tape they leave. backward.py goes back over it.

An `Op` is a *reference* (a function in plain array language) and one rule per input. Calling it
on Tensors runs the kernel of that name where one accepts the arrays, else the reference, and
records a `Node`, which holds what the rules will need.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from numpy import ndarray  # noqa: F401  (in the calls that rules.py makes)

from .backend import BY_TYPE, RAW, WEAK, Array, is_floating, make, operand
from .dispatch import COMPLAINTS, Kernels, explain
from .errors import DTypeError, GraphError
from .promotion import relabelled, settled
from .rules import Compiled
from .switches import switches

if TYPE_CHECKING:
    from .tensor_methods import TensorMethods  # which it puts on Tensor
else:
    TensorMethods = object
new = object.__new__
next_seq = count(1).__next__  # one clock for nodes and writes: newest-first is topological order


class Node:
    """One recorded call. It holds arrays and older nodes, never a Tensor: no cycles."""

    __slots__ = ("dtype", "op", "params", "parents", "saved", "seq", "shape")
    op: Any  # what was called; None for a leaf, and for one output of several
    parents: Sequence[Any]  # the node of each input, or None
    saved: Any  # a tuple of what the rules need; None once backward has passed
    params: dict[str, Any]
    seq: int
    shape: Any  # of the result; their number, where there are several
    dtype: Any
    written = 0  # only leaves are ever written to


def noted(node, op, parents, saved, params, shape, dtype):
    """The node, filled in. (In the call of most ops this stands line by line: rules.py.)"""
    node.op, node.parents, node.saved, node.params = op, parents, saved, params
    node.seq, node.shape, node.dtype = next_seq(), shape, dtype
    return node


class Leaf(Node):
    """A tensor gradients are collected for. `written` is the time of the last write to it."""

    __slots__ = ("tensor", "written")

    def __init__(self, tensor: Tensor):
        data = tensor._data
        noted(self, None, (), (), {}, data.shape, data.dtype)
        self.tensor, self.written = weakref.ref(tensor), 0


class Out(Node):
    """One of the outputs of an op that has several: passes its cotangent to slot `index`."""

    __slots__ = ("index",)

    def __init__(self, parent: Node, index: int, array: Array):
        noted(self, None, (parent,), (), {}, array.shape, array.dtype)
        self.index = index


class Tensor(TensorMethods):
    """An array and its place on the tape. `data` is the NumPy or CuPy array itself."""

    __slots__ = ("__weakref__", "_data", "_grad", "node")

    def __init__(self, data: Array, node: Any = None):
        self._data, self.node, self._grad = data, node, None

    @property
    def data(self) -> Array:
        """The array underneath. Assigning another is a write that backward knows of."""
        return self._data

    @data.setter
    def data(self, value: Array) -> None:
        if self.node is not None and type(self.node) is not Leaf:
            raise GraphError("only leaves take new data; this tensor is the result of an op")
        a = make(value._data if isinstance(value, Tensor) else value, None, self.backend)
        keeps = self.node and not (isinstance(value, Tensor) and is_floating(a.dtype))
        self._data = a.astype(self.dtype, copy=False) if keeps else a  # no model turns float64
        stamp(self)


def stamp(tensor: Tensor) -> None:
    """Note that the tensor's array was written: graphs recorded before are now out of date."""
    if (leaf := tensor.node) is not None:
        leaf.written = next_seq()
        leaf.shape, leaf.dtype = tensor._data.shape, tensor._data.dtype


# --- ops ----------------------------------------------------------------------------------------

OPS: dict[str, Op] = {}
_FACTS = """samples extreme scalar kind outputs inplace differentiable fixed precision
shortcut""".split()
on_autocast: list[Callable] = []  # what casts the inputs of an op with a `precision` (precision.py)


class Op:
    """A differentiable function of arrays; `op()` makes one and enters it in the table."""

    def __init__(self, ref: Callable, rules: dict[str, Callable], joint: Callable | None, **facts):
        self.ref, self.name = ref, ref.__name__.rstrip("_")
        self.family = ref.__module__.rpartition(".")[2]  # its file here and in kernels/
        self.outputs: tuple[str, ...] = facts.pop("outputs", ())  # names, when there are several
        self.inplace: tuple[str, ...] = facts.pop("inplace", ())
        self.differentiable: bool = facts.pop("differentiable", not self.inplace)
        self.samples, self.extreme = facts.pop("samples", None), facts.pop("extreme", None)
        self.scalar, self.kind = facts.pop("scalar", None), facts.pop("kind", "other")
        self.fixed: tuple[str, ...] = facts.pop("fixed", ())
        self.precision, self.shortcut = facts.pop("precision", None), facts.pop("shortcut", None)
        if facts or self.precision not in (None, "half", "single"):
            raise TypeError(f"op {self.name}: unknown facts {sorted(facts)} {self.precision}")
        self.rules = Compiled(self.name, ref, rules, joint, self.outputs)
        self.inputs, self.variadic, self.params = self.rules.signature
        self.has_rules, self.special = bool(rules or joint), bool(self.outputs or self.inplace)
        if self.inplace or not self.differentiable:
            self.fixed = (*self.inputs, self.variadic or "")
        self.kernels = Kernels(self)
        self.__doc__ = ref.__doc__
        plain = self.has_rules and self.differentiable and not (self.special or self.variadic)
        self.call = self.rules.unrolled(self, plain, globals())
        self.__class__ = type("Op", (Op,), {"__call__": staticmethod(self.call)})

    __call__: Callable[..., Any]  # made for each op, below

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def names(self, n: int) -> list[str]:
        """What each of n inputs is called."""
        return [*self.inputs, *[self.variadic or ""] * (n - len(self.inputs))]

    def general(self, *args, **params):
        """Raw arrays in, raw arrays out; with a Tensor among them: Tensors out, recorded. The call
        itself is this, unrolled for the op's inputs (rules.py)."""
        arrays, parents, like, tracked = [], [], None, False
        if self.precision and switches.autocast is not None:
            args = on_autocast[0](self, args)
        for a in args:
            if isinstance(a, Tensor):
                tracked = tracked or a.node is not None
                arrays.append(like := a._data)
                parents.append(a.node)
            else:
                arrays.append(a if type(a) in RAW else _plain(self, a, args))
                parents.append(None if type(a) in WEAK else False)
        tracked = tracked and switches.recording and self.differentiable
        if tracked and not self.has_rules:  # the gradient is the gradient of the reference
            return self.ref(*args, **params)
        if like is not None:
            arrays = settled(self, arrays, parents)
            parents = [n or None for n in parents]
        try:
            y = (run := self.kernels[type(arrays[0])])(*arrays, **params)
        except COMPLAINTS as error:
            raise explain(self.name, self.inputs, arrays, params, error) from error
        if like is None:
            return y
        if self.special:
            return self._special(y, args, arrays, parents if tracked else None, params)
        if type(y) not in BY_TYPE:
            y = make(y)  # NumPy's scalars back to 0-d arrays
        if y.dtype != like.dtype:
            y, arrays = relabelled(self, y, arrays, lambda *arrays: run(*arrays, **params))
        if not tracked:
            return Tensor(y)
        saved = self.rules.pick(y, arrays)
        return Tensor(y, noted(Node(), self, parents, saved, params, y.shape, y.dtype))

    def _special(self, y, args, arrays, parents, params):
        """Results of ops with several outputs, or that write into their inputs."""
        for name, a in zip(self.names(len(args)), args, strict=False):
            if name in self.inplace and isinstance(a, Tensor):
                stamp(a)
        if not self.outputs:
            return y if y is None else Tensor(y)
        y = [a if a is None or type(a) in BY_TYPE else make(a) for a in y]
        y = [a if a is None else relabelled(self, a, arrays)[0] for a in y]
        if parents is None:
            return tuple([None if a is None else Tensor(a) for a in y])
        saved = self.rules.pick(tuple(y), arrays)
        node = noted(Node(), self, parents, saved, params, len(y), None)
        return tuple([output_of(node, i, a) for i, a in enumerate(y)])


def op(joint: Callable | None = None, **given) -> Any:
    """Register the decorated reference as an `Op`. (Any, as rules name ops that are yet to come.)

    Keywords named as an input are rules for it, functions whose argument names say what to save
    (see rules.py); `joint` is one rule for all inputs. Facts: `samples` and `extreme` (inputs to
    test on), `scalar` (the formula of one element), `kind` (map, shape or other),
    `outputs` (their names, when several), `inplace` (inputs written to), `differentiable`,
    `fixed` (inputs whose dtype is their own, such as indices: promotion.py leaves them),
    `precision` ("half" or "single": what precision.py has it computed in).
    Without a rule the reference is differentiated, so it must then be made of other ops.
    """

    def register(ref: Callable) -> Op:
        names = ref.__code__.co_varnames[: ref.__code__.co_argcount]
        rules = {k: v for k, v in given.items() if k in names or k not in _FACTS}
        made = Op(ref, rules, joint, **{k: v for k, v in given.items() if k not in rules})
        if made.name in OPS:
            raise TypeError(f"op {made.name} is registered twice")
        OPS[made.name] = made
        return made

    return register


def _plain(self: Op, a: Any, args: tuple) -> Array:
    """An argument that is neither a Tensor nor a listed array: NumPy scalars, lists, subclasses."""
    try:
        return operand(a, args)
    except DTypeError as error:
        raise type(error)(f"{self.name}: {error}") from None


def output_of(node: Node, i: int, array: Array | None) -> Tensor | None:
    """Output i of a node as a tensor on the tape; integers are not on it."""
    tracked = array is not None and is_floating(array.dtype)
    return None if array is None else Tensor(array, Out(node, i, array) if tracked else None)
