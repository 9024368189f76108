"""Arrays of a step that is being captured: each holds real numbers, and what NumPy is asked to do
with it is done and noted on the tape.

They are arrays of a backend of their own, so that tensors, nodes, rules and layers know nothing of
them. Once the capture is over, and in other threads, they are what they hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import BY_TYPE, RAW, Backend
from ..operators import KNOWN

if TYPE_CHECKING:
    from .tape import Tape

# Functions of NumPy by what they do: tell a fact that the key of a plan fixes, give a shape that
# depends on the numbers, draw them, write to their first argument.
_FACTS = {
    *"""shape ndim size result_type can_cast broadcast_shapes iscomplexobj isrealobj common_type
    min_scalar_type may_share_memory shares_memory isscalar""".split()
}
_BY_NUMBERS = {
    *"""nonzero flatnonzero argwhere unique unique_all unique_counts unique_inverse unique_values
    compress extract bincount trim_zeros union1d intersect1d setdiff1d setxor1d histogram
    histogram2d histogramdd allclose array_equal array_equiv""".split()
}
_WRITING = {*"copyto put place putmask fill_diagonal put_along_axis fill sort partition at".split()}
_NUMBERS = "the numbers of the batch decide the shape of what follows"
READ = "it reads a number that the step computes"


class Traced:
    """A real array, its place on the tape, and whether eager steps have a NumPy scalar instead."""

    __slots__ = ("__weakref__", "index", "scalar", "tape", "value")

    def __init__(self, value: np.ndarray, index: int, tape: Tape, scalar: bool = False):
        self.value, self.index, self.tape, self.scalar = value, index, tape, scalar

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    itemsize = property(lambda self: self.value.itemsize)
    nbytes = property(lambda self: self.value.nbytes)
    strides = property(lambda self: self.value.strides)
    flags = property(lambda self: self.value.flags)
    base = property(lambda self: self.value.base)

    def __len__(self) -> int:
        return len(self.value)

    def __repr__(self) -> str:
        return repr(self.read())

    def read(self, why: str = READ) -> np.ndarray:
        """The numbers, for what is no array language: the step cannot be captured."""
        self.tape.refuse(why)
        return self.value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.read(), dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **options: Any) -> Any:
        if type(options.get("out")) is tuple and len(options["out"]) == 1:
            options["out"] = options["out"][0]
        return noted(getattr(ufunc, method), ufunc.__name__, args, options)

    def __array_function__(self, func: Any, types: Any, args: Any, options: Any) -> Any:
        return noted(func, func.__name__, args, options)

    def __getitem__(self, key: Any) -> Any:
        parts = key if isinstance(key, tuple) else (key,)
        if any(isinstance(part, (Traced, np.ndarray)) and part.dtype == bool for part in parts):
            self.tape.refuse(_NUMBERS)
        return noted(operator.getitem, "getitem", (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        noted(operator.setitem, "setitem", (self, key, value), {}, writes=True)

    def __iter__(self) -> Any:
        return iter([self[i] for i in range(len(self))])

    def nonzero(self) -> Any:
        """The indices of what is not 0, whose number the numbers decide."""
        return self.read(_NUMBERS).nonzero()


def noted(f: Callable, name: str, args: Any, options: Any, writes: bool = False) -> Any:
    """f(*args, **options) of real arrays, noted on the tape of those among them that is open."""
    tape = _tape_of((args, options))
    if tape is None or not tape.noting:
        return f(*plain(args), **plain(options))
    if name in _FACTS:
        return f(*plain(args), **plain(options))
    if name in _BY_NUMBERS or (name == "where" and len(args) == 1):
        tape.refuse(_NUMBERS)
    return tape.call(f, name, args, options, writes=writes or name in _WRITING)


def _tape_of(value: Any) -> Tape | None:
    if isinstance(value, Traced):
        return value.tape
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, (list, tuple)):
        for part in value:
            if (tape := _tape_of(part)) is not None:
                return tape
    return None


def plain(value: Any) -> Any:
    """Arguments with real arrays in the place of traced ones, in nested containers."""
    kind = type(value)
    if kind is Traced:
        return value.value
    if kind in (list, tuple):
        return kind([plain(part) for part in value])
    if kind is dict:
        return {key: plain(part) for key, part in value.items()}
    if kind is slice:
        return slice(plain(value.start), plain(value.stop), plain(value.step))
    return value


def _methods() -> None:
    reads = "bool float int complex index".split()
    for name in reads:
        setattr(Traced, f"__{name}__", lambda self, f=f"__{name}__": getattr(self.read(), f)())
    for name in "item tolist tobytes tofile dump dumps searchsorted".split():
        setattr(Traced, name, lambda self, *a, f=name, **o: getattr(self.read(), f)(*a, **o))
    pure = """astype copy reshape transpose swapaxes squeeze ravel flatten sum mean max min prod any
    all argmax argmin var std cumsum cumprod clip dot round conj conjugate diagonal trace argsort
    take repeat choose view argpartition fill sort partition put""".split()
    for name in pure:
        setattr(Traced, name, _method(name))
    for name in "T mT real imag flat".split():
        setattr(Traced, name, property(_unary(name, name, operator.attrgetter(name))))
    for short, name in _OPERATORS.items():
        compares = short in ("eq", "ne", "lt", "le", "gt", "ge")
        for prefix in ("",) if compares else ("", "r", "i"):
            setattr(Traced, f"__{prefix}{short}__", _operator(short, name, prefix))
    for short, name in _UNARY.items():
        setattr(Traced, f"__{short}__", _unary(short, name))
    Traced.__hash__ = object.__hash__  # type: ignore[method-assign]


_UNARY = {"neg": "negative", "abs": "absolute", "invert": "invert", "pos": "positive"}
_OPERATORS = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "pow": "power",
    "matmul": "matmul",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "left_shift",
    "rshift": "right_shift",
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "gt": "greater",
    "ge": "greater_equal",
}


def _unary(short: str, name: str, run: Any = None) -> Callable[..., Any]:
    run = run or getattr(operator, short)
    return lambda self: noted(run, name, (self,), {})


def _method(name: str) -> Callable[..., Any]:
    found = getattr(np.ndarray, name)
    return lambda self, *args, **options: noted(found, name, (self, *args), options)


def _operator(short: str, name: str, prefix: str) -> Callable[..., Any]:
    """An operator as Python would run it: NumPy itself chooses the loop, as `x**2` is x * x."""
    run = getattr(operator, short + ("_" if short in ("and", "or") else ""))
    within = getattr(operator, f"i{short}", None)

    def call(self: Traced, other: Any) -> Any:
        if type(other) not in KNOWN and not isinstance(other, np.generic):
            return NotImplemented
        if hasattr(other, "_data"):  # a tensor takes it from here
            return NotImplemented
        if prefix == "i":
            if self.scalar:
                return NotImplemented  # which rebinds the name, as of a number
            return noted(within, name, (self, other), {}, writes=True)  # type: ignore[arg-type]
        pair = (other, self) if prefix == "r" else (self, other)
        return noted(run, name, pair, {})

    return call


class Namespace:
    """NumPy, for references, rules and layers that ask for the namespace of a traced array."""

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def asarray(self, a: Any, dtype: Any = None, **options: Any) -> Any:
        """Traced arrays stay so."""
        if type(a) is Traced:
            same = dtype is None or np.dtype(dtype) == a.dtype
            return a if same else _method("astype")(a, dtype)
        return np.asarray(a, dtype, **options)

    def ascontiguousarray(self, a: Any) -> Any:
        """Traced arrays stay so."""
        return noted(np.ascontiguousarray, "ascontiguousarray", (a,), {})

    def array(self, a: Any, dtype: Any = None, **options: Any) -> Any:
        """A copy; a traced one of traced arrays."""
        if type(a) is Traced:
            return _method("astype")(a, a.dtype if dtype is None else dtype)
        return np.array(a, dtype, **options)


_methods()
HOME = Backend("numpy", Traced, Namespace(), "cpu", lambda a: a, lambda a: a)


def known() -> None:
    """Let ops take traced arrays; until something is compiled, no program pays for it."""
    BY_TYPE[Traced] = HOME
    RAW.add(Traced)
    KNOWN.add(Traced)
