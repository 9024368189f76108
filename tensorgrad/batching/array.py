"""Arrays within vmap: to the function each is one example's, and `batch` holds those of all.

They are arrays of a backend of their own, so that tensors, nodes, gradient rules and `grad` know
nothing of them. `rules.py` says how an op computes all examples at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from ..backend import BY_TYPE, RAW, Backend
from ..core import OPS, next_seq
from ..errors import GraphError, ShapeError
from ..operators import KNOWN


class Level:
    """One call of a function that vmap made: how many examples, and when; a later one is within."""

    def __init__(self, size: int):
        self.size, self.seq = size, next_seq()


class Batched:
    """The arrays of all examples along the first axis of `batch`, itself perhaps of an outer vmap.

    `shape`, axes and operators are those of one example.
    """

    __slots__ = ("batch", "level")

    def __init__(self, batch: Any, level: Level):
        self.batch, self.level = batch, level

    shape = property(lambda self: self.batch.shape[1:])
    ndim = property(lambda self: self.batch.ndim - 1)
    size = property(lambda self: math.prod(self.batch.shape[1:]))
    dtype = property(lambda self: self.batch.dtype)
    itemsize = property(lambda self: self.batch.dtype.itemsize)
    flags = property(lambda self: self.batch.flags)
    base = property(lambda self: self.batch)  # memory that is not to be written to
    T = property(lambda self: self.transpose())
    real = property(lambda self: OPS["real"].call(self))
    imag = property(lambda self: OPS["imag"].call(self))

    @property
    def everything(self) -> Any:
        """The numbers of all examples, of outer levels, too."""
        return getattr(self.batch, "everything", self.batch)

    def __repr__(self) -> str:
        return f"<{self.level.size} examples of shape {self.shape} within vmap>"

    def __len__(self) -> int:
        return self.shape[0]  # type: ignore[no-any-return]

    def __getitem__(self, key: Any) -> Any:
        from ..ops.index import split_key

        template, arrays = split_key(key, self)
        return OPS["getitem"](self, *arrays, template=template)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise GraphError(
            "x[i] = v within vmap: tg.where(mask, v, x), or tg.stack of the parts, makes a new one"
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        return _function(ufunc.__name__, getattr(ufunc, method))(*args, **options)

    def __array_function__(self, func: Any, types: Any, args: Any, options: Any) -> Any:
        return _function(func.__name__, func)(*args, **options)

    def no_numbers(self, *args: Any, **options: Any) -> NoReturn:
        """What asks for the numbers of one example gets an error: there are those of all."""
        raise GraphError(
            f"within vmap this array of shape {self.shape} stands for {self.level.size} examples: "
            "its numbers cannot be read, nor decide what Python does, and it is of no use after "
            "vmap; write tg.where(condition, a, b) instead of `if`, return what is needed outside, "
            "or call the function on each example"
        )

    __bool__ = __int__ = __float__ = __complex__ = __index__ = no_numbers
    __array__ = item = tolist = nonzero = no_numbers

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """In another dtype."""
        return wrapped(self.batch.astype(dtype, copy=copy), self.level)

    def copy(self) -> Any:
        """With memory of its own."""
        return wrapped(self.batch.copy(), self.level)

    def view(self) -> Any:
        """Another array object on the same memory."""
        return wrapped(self.batch, self.level)

    def reshape(self, *shape: Any) -> Any:
        """The examples under another shape."""
        shape = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
        return OPS["reshape"].call(self, shape=tuple(shape))

    def transpose(self, *axes: Any) -> Any:
        """The axes of each example permuted."""
        axes = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return OPS["transpose"].call(self, axes=tuple(axes) if axes else None)

    def swapaxes(self, axis1: int, axis2: int) -> Any:
        """Two axes of each example exchanged."""
        return OPS["swapaxes"].call(self, axis1=axis1, axis2=axis2)

    def squeeze(self, axis: Any = None) -> Any:
        """The examples without axes of length 1."""
        return OPS["squeeze"].call(self, axis=axis)

    def ravel(self) -> Any:
        """Each example as a vector."""
        return self.reshape(-1)


_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "pow": "power",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
_REDUCING = "sum mean max min prod any all argmax argmin var std".split()


def _reducing(name: str) -> Callable[..., Any]:
    def method(self: Batched, axis: Any = None, keepdims: bool = False, **options: Any) -> Any:
        over = axes_of(axis, self.ndim)
        y = getattr(self.batch, name)(axis=over, keepdims=keepdims, **options)
        return wrapped(y, self.level)

    return method


def _binary(name: str) -> tuple[Callable[..., Any], Callable[..., Any]]:
    return lambda self, other: OPS[name](self, other), lambda self, other: OPS[name](other, self)


for _name, _op in _OPERATORS.items():
    _left, _right = _binary(_op)
    setattr(Batched, f"__{_name}__", _left)
    if _name not in ("eq", "ne", "lt", "le", "gt", "ge"):
        setattr(Batched, f"__r{_name}__", _right)
for _name, _op in (("neg", "negative"), ("abs", "abs"), ("invert", "bitwise_invert")):
    setattr(Batched, f"__{_name}__", lambda self, _op=_op: OPS[_op](self))
for _name in _REDUCING:
    setattr(Batched, _name, _reducing(_name))
Batched.__hash__ = object.__hash__  # type: ignore[method-assign]


def axes_of(axis: Any, ndim: int, *, made: int | None = None) -> Any:
    """Axes of an example as axes of the batch; `made` is the number of axes they are counted in,
    where that is not the example's. None is all of them."""
    if axis is None:
        return tuple(range(1, ndim + 1))
    if not isinstance(axis, int):
        return tuple([axes_of(a, ndim, made=made) for a in axis])
    n = ndim if made is None else made
    if not -max(n, 1) <= axis < max(n, 1):
        raise IndexError(f"axis {axis} is out of bounds for an array of {n} axes")
    return (axis % n if n else 0) + 1


# --- a backend of its own -------------------------------------------------------------------------

_kinds: dict[type, type[Batched]] = {}  # by the type of what holds the numbers
compute: list[Callable[[Any], Callable[..., Any]]] = []  # an op's function of these (rules.py)


def wrapped(batch: Any, level: Level) -> Any:
    """The examples along the first axis of an array."""
    kind = _kinds.get(type(batch))
    return (kind or _registered(type(batch)))(batch, level)


def _registered(kind: type) -> type[Batched]:
    """A type of examples for arrays of that type, known to the dispatch of ops."""
    home = BY_TYPE[kind]
    made = type(f"Batched_{home.name}", (Batched,), {"__slots__": ()})
    BY_TYPE[made] = Backend(
        home.name, made, Namespace(home.xp), compute[0], home.from_host, Batched.no_numbers
    )
    RAW.add(made)
    KNOWN.add(made)
    _kinds[kind] = _kinds[made] = made
    return made


class Namespace:
    """The functions of an array library, of examples, too: for what an op's reference, or a
    function here, asks of it."""

    def __init__(self, xp: Any):
        self._xp = xp

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._xp, name)
        if type(found) is type(np):
            return Namespace(found)
        if isinstance(found, type) or not callable(found):
            return found
        return _function(name, found)


_EACH = """where zeros_like ones_like full_like isclose nan_to_num real imag conj angle asarray
ascontiguousarray copy clip abs round""".split()  # besides ufuncs
_OPTIONS = {  # functions that are ops, and the names of their options
    "broadcast_to": ("shape",),
    "expand_dims": ("axis",),
    "moveaxis": ("source", "destination"),
    "swapaxes": ("axis1", "axis2"),
    "flip": ("axis",),
}


def _function(name: str, found: Callable[..., Any]) -> Callable[..., Any]:
    from .rules import elementwise, one_by_one  # which needs this file

    def call(*args: Any, **options: Any) -> Any:
        level = level_of(args)
        if level is None:
            return found(*args, **options)
        if name in _OPTIONS:
            return OPS[name](args[0], **dict(zip(_OPTIONS[name], args[1:], strict=False)))
        if name in ("concatenate", "stack"):
            name_, axis = {"concatenate": "concat"}.get(name, name), options.get("axis", 0)
            return OPS[name_](*args[0], axis=axis)
        if name in _REDUCING and isinstance(args[0], Batched):
            return getattr(args[0], name)(*args[1:], **options)
        if name in _EACH or "ufunc" in type(getattr(found, "__self__", found)).__name__:
            return wrapped(elementwise(call, args, options, level), level)
        return one_by_one(f"np.{name}", found, args, options, level)

    return call


def level_of(args: Sequence[Any]) -> Level | None:
    """The innermost level of the arrays among the arguments, and in lists of them."""
    found = None
    for a in args:
        inner = a.level if isinstance(a, Batched) else None
        if type(a) in (list, tuple):
            inner = level_of(a)
        if inner is not None and (found is None or inner.seq > found.seq):
            found = inner
    return found


def batch_of(a: Any, level: Level) -> Any:
    """The batch of an array: of one that all examples share, a view that repeats it."""
    if isinstance(a, Batched) and a.level is level:
        return a.batch
    return OPS["broadcast_to"](a, shape=(level.size, *a.shape))


def is_batched(a: Any, level: Level) -> bool:
    """Whether an argument differs between the examples of a level."""
    return isinstance(a, Batched) and a.level is level


def check_size(size: int, rows: list[Any]) -> None:
    """ShapeError unless the results of all examples have one shape."""
    shapes = {getattr(row, "shape", ()) for row in rows}
    if len(shapes) > 1:
        raise ShapeError(
            f"vmap: the {size} examples have results of different shapes, {sorted(shapes)[:3]}"
        )
