"""The heart: Tensor, Op, and the tape of Nodes that ops record. backward.py differentiates it.

An `Op` is a *reference* (a function in plain array language) and a rule per input. Calling it runs
the kernel of that name if it accepts the arrays, else the reference, and records a `Node`.
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
from .promotion import coerced, recomputed
from .rules import Compiled
from .switches import modes, switches

if TYPE_CHECKING:
    from .tensor_methods import TensorMethods  # which it puts on Tensor
else:
    TensorMethods = object
new = object.__new__
next_seq = count(1).__next__  # orders nodes and writes: descending is reverse topological order


class Node:
    """One recorded call. It refers to arrays and older nodes, never to Tensors: no cycles."""

    __slots__ = ("dtype", "op", "params", "parents", "saved", "seq", "shape")
    op: Any  # that was called; None for a leaf, and for one output of several
    parents: Sequence[Any]  # the node of each input, or None
    saved: Any  # a tuple of arrays that the rules need; None once backward has freed it
    params: dict[str, Any]
    seq: int
    shape: Any  # of the output; the number of outputs, where there are several
    dtype: Any
    written = 0  # only leaves are updated in place


def record(node, op, parents, saved, params, shape, dtype):
    """Initialise a node. (Inlined in the generated calls of most ops: rules.py.)"""
    node.op, node.parents, node.saved, node.params = op, parents, saved, params
    node.seq, node.shape, node.dtype = next_seq(), shape, dtype
    return node


class Leaf(Node):
    """The node of a tensor that gets a gradient; `written`: the seq of its last in-place update."""

    __slots__ = ("cast_with", "tensor", "written")  # cast_with: what autocast casts with it

    def __init__(self, tensor: Tensor):
        data = tensor._data
        record(self, None, (), (), {}, data.shape, data.dtype)
        self.tensor, self.written, self.cast_with = weakref.ref(tensor), 0, ()


class Out(Node):
    """One output of an op that has several; its cotangent goes to slot `index` of the parent's."""

    __slots__ = ("index",)

    def __init__(self, parent: Node, index: int, array: Array):
        record(self, None, (parent,), (), {}, array.shape, array.dtype)
        self.index = index


class Tensor(TensorMethods):
    """An array, `data`, and its node on the tape. `tensor` creates one from data of any kind.

    >>> Tensor(np.ones(2, "float32")) + 1
    tensor([2., 2.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_data", "_grad", "node")

    def __init__(self, data: Array, node: Any = None):
        self._data, self.node, self._grad = data, node, None

    @property
    def data(self) -> Array:
        """The NumPy or CuPy array itself. Assigning another one is an in-place update."""
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
    """Mark an in-place update of a leaf: backward refuses graphs that were recorded before it."""
    if (leaf := tensor.node) is not None:
        leaf.written = next_seq()
        leaf.shape, leaf.dtype = tensor._data.shape, tensor._data.dtype


# --- ops ----------------------------------------------------------------------------------------

OPS: dict[str, Op] = {}
_FACTS = """samples extreme scalar kind outputs inplace differentiable fixed precision
shortcut complex""".split()
on_autocast: list[Callable] = []  # casts inputs of an op with a `precision` (precision.py)


class Op:
    """A differentiable function of arrays; `op()` makes one and registers it in OPS."""

    def __init__(self, ref: Callable, rules: dict[str, Callable], joint: Callable | None, **facts):
        self.ref, self.name = ref, ref.__name__.rstrip("_")
        self.family = ref.__module__.rpartition(".")[2]  # its file here and in kernels/
        self.outputs, self.inplace = facts.pop("outputs", ()), facts.pop("inplace", ())  # names
        self.differentiable: bool = facts.pop("differentiable", not self.inplace)
        self.samples, self.extreme = facts.pop("samples", None), facts.pop("extreme", None)
        self.scalar, self.kind = facts.pop("scalar", None), facts.pop("kind", "other")
        self.fixed: tuple[str, ...] = facts.pop("fixed", ())
        self.complex: bool = facts.pop("complex", self.kind == "shape")
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

    __call__: Callable[..., Any]  # generated for each op

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def names(self, n: int) -> list[str]:
        """The names of n inputs."""
        return [*self.inputs, *[self.variadic or ""] * (n - len(self.inputs))]

    def general(self, *args, **params):
        """Raw arrays in and out, or Tensors, recorded; `call` is this unrolled (rules.py)."""
        arrays, parents, like, tracked = [], [], None, False
        if modes and self.precision and switches.autocast is not None:
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
        if tracked and not self.has_rules:  # differentiate the reference
            return self.ref(*args, **params)
        if like is not None and len(arrays) > 1:  # of several, the dtypes may differ
            arrays = coerced(self, arrays, parents)
            parents = [n or None for n in parents]
        try:
            y = self.kernels[type(arrays[0])](*arrays, **params)
        except COMPLAINTS as error:
            raise explain(self.name, self.inputs, arrays, params, error) from error
        if like is None:
            return y
        if self.special:
            return self._special(y, args, arrays, parents if tracked else None, params)
        if type(y) not in BY_TYPE:
            y = make(y)  # NumPy's scalars back to 0-d arrays
        if y.dtype is not like.dtype:
            y, arrays = recomputed(self, y, arrays, params)
        if not tracked:
            return Tensor(y)
        saved = self.rules.pick(y, arrays)
        return Tensor(y, record(Node(), self, parents, saved, params, y.shape, y.dtype))

    def _special(self, y, args, arrays, parents, params):
        """The result of an op with several outputs, or that updates inputs in place."""
        for name, a in zip(self.names(len(args)), args, strict=False):
            if name in self.inplace and isinstance(a, Tensor):
                stamp(a)
        if not self.outputs:
            return y if y is None else Tensor(y)
        y = [a if a is None or type(a) in BY_TYPE else make(a) for a in y]
        y = [a if a is None else recomputed(self, a, arrays)[0] for a in y]
        if parents is None:
            return tuple([None if a is None else Tensor(a) for a in y])
        saved = self.rules.pick(tuple(y), arrays)
        node = record(Node(), self, parents, saved, params, len(y), None)
        return tuple([output_of(node, i, a) for i, a in enumerate(y)])


def op(joint: Callable | None = None, **given) -> Any:
    """Register the decorated reference as an `Op`. (Any, as rules name ops that are yet to come.)

    Keywords named as an input are its rules, whose argument names say what to save (rules.py);
    `joint` is one rule for all inputs. Facts: `samples` and `extreme` (test inputs), `scalar` (the
    formula of an element), `kind` (map, shape or other), `outputs` (names, if several), `inplace`
    (inputs that are updated), `differentiable`, `fixed` (inputs exempt from promotion, as indices),
    `precision` (of autocast: "half" or "single"), `complex` (whether it takes complex numbers).
    Without a rule the reference is differentiated, so it must then be made of other ops.
    """

    def register(ref: Callable) -> Op:
        names = ref.__code__.co_varnames[: ref.__code__.co_argcount]
        rules = {k: v for k, v in given.items() if k in names or k not in _FACTS}
        made = Op(ref, rules, joint, **{k: v for k, v in given.items() if k not in rules})
        if (old := OPS.get(made.name)) and old.ref.__code__ != ref.__code__:  # not imported again
            raise TypeError(f"op {made.name} is registered twice")
        OPS[made.name] = made
        return made

    return register


def _plain(self: Op, a: Any, args: tuple) -> Array:
    """An argument that is neither Tensor nor plain array, converted: scalars, lists, subclasses."""
    try:
        return operand(a, args)
    except DTypeError as error:
        raise type(error)(f"{self.name}: {error}") from None


def output_of(node: Node, i: int, array: Array | None) -> Tensor | None:
    """Output i of a node as a Tensor, on the tape if it is floating."""
    tracked = array is not None and is_floating(array.dtype)
    return None if array is None else Tensor(array, Out(node, i, array) if tracked else None)
