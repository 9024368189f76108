"""Tensors and variables of Keras, its control flow, and how it learns the shape of a result."""

from __future__ import annotations

import builtins
import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from keras.src import tree
from keras.src.backend.common import KerasVariable, standardize_dtype
from keras.src.backend.common.dtypes import result_type
from keras.src.backend.common.keras_tensor import KerasTensor
from keras.src.backend.common.stateless_scope import StatelessScope, in_stateless_scope
from keras.src.backend.common.symbolic_scope import SymbolicScope
from keras.src.backend.common.variables import get_autocast_scope
from keras.src.backend.config import floatx

import tensorgrad as tg
from tensorgrad.backend import default, dtype_of, is_floating
from tensorgrad.core import Leaf, stamp
from tensorgrad.creation import track
from tensorgrad.switches import switches

from ..distribution_lib import refuse_distributed

Tensor = tg.Tensor
SUPPORTS_SPARSE_TENSORS = SUPPORTS_RAGGED_TENSORS = False
SUPPORTS_COMPLEX_DTYPES = True
IS_THREAD_SAFE = False  # on a CPU callbacks in a second thread fight for the interpreter

# --- dtypes -------------------------------------------------------------------------------------

_names: dict[Any, str] = {}
_dtypes: dict[Any, np.dtype] = {}


def name_of(dtype: Any) -> str:
    """Keras's name of a dtype. (NumPy takes microseconds for `dtype.name`.)"""
    name = _names.get(dtype)
    return _names.setdefault(dtype, standardize_dtype(dtype)) if name is None else name


def numpy_dtype(dtype: Any) -> np.dtype:
    """The NumPy dtype of one of Keras's."""
    found = _dtypes.get(dtype)
    if found is None:
        found = _dtypes[dtype] = dtype_of(standardize_dtype(dtype))
    return found


_results: dict[tuple, str] = {}


def common(*kinds: Any) -> str:
    """Keras's result_type of dtypes and of Python's types; 64 bits stay 64 among themselves."""
    key = (floatx(), *kinds)
    if key not in _results:
        names = [k if isinstance(k, (str, type)) else name_of(k) for k in kinds]
        strong = {k for k in names if isinstance(k, str)}
        made = result_type(*names)
        wide = next((k for k in strong if k.endswith("64") and k != "complex64"), None)
        kept = wide and (
            made in wide.replace("64", "32") or (strong == {wide} and made[0] == wide[0])
        )
        _results[key] = wide if wide and kept else made
    return _results[key]


def kind_of(x: Any) -> Any:
    """The dtype of an array, variable or list; Python's type of a number."""
    dtype = getattr(x, "dtype", None)
    if dtype is not None:
        return dtype
    return convert_to_tensor(x).dtype if isinstance(x, (list, tuple)) else type(x)


def together(*xs: Any, floats: bool = False) -> list[Any]:
    """Arguments as Tensors of the dtype that Keras gives their result; numbers stay numbers."""
    dtype = common(*[kind_of(x) for x in xs], *([float] if floats else []))
    numbers = all(isinstance(x, (bool, int, float)) for x in xs)
    made: list[Any] = []
    for x in xs:
        plain = type(x) in (int, float) and not numbers and dtype != "bool"
        made.append(x if plain else convert_to_tensor(x, dtype))
    return made


def floating(x: Any) -> Tensor:
    """A Tensor of floating numbers: whole ones become Keras's floatx."""
    x = convert_to_tensor(x)
    return x if is_floating(x.dtype) else x.astype(numpy_dtype(common(x.dtype, float)))


# --- variables ----------------------------------------------------------------------------------


class Variable(KerasVariable):
    """A variable is a Tensor that keeps its identity; a trainable one is a leaf of the tape."""

    __array_ufunc__ = None  # `tensor + variable` is for the variable to compute

    def _initialize(self, value: Any) -> None:
        refuse_distributed()
        a = convert_to_tensor(value, self._dtype)._data
        self._value = Tensor(a if a.base is None and a is not _data(value) else a.copy())
        self._follow()

    def _follow(self) -> None:
        """On the tape if trainable, off it if not."""
        if self._trainable and is_floating(self._value.dtype):
            track(self._value)
        else:
            self._value.node = None

    def _direct_assign(self, value: Any) -> None:
        a = value._data  # shared with whoever holds it; updates in place look for that first
        self._value._data = a.copy() if a.base is not None else a
        stamp(self._value)

    def _convert_to_tensor(self, value: Any, dtype: Any = None) -> Tensor:
        return convert_to_tensor(value, dtype=dtype)

    @property
    def value(self) -> Tensor:
        """The Tensor, or what a stateless scope has in its place."""
        if self._value is None or in_stateless_scope() or get_autocast_scope() is not None:
            return KerasVariable.value.fget(self)
        return self._value

    @property
    def trainable(self) -> bool:
        """Whether gradients are taken for it."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = bool(value)
        if self._value is not None:
            self._follow()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(convert_to_numpy(self), dtype=dtype)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """NumPy's functions take the numbers, as on Keras's other backends."""

        def numbers(x: Any) -> Any:
            return np.asarray(x) if isinstance(x, Variable) else x

        args, kwargs = tree.map_structure(numbers, (args, kwargs))
        return func(*args, **kwargs)


def _data(x: Any) -> Any:
    return x._data if isinstance(x, Tensor) else x


# --- tensors ------------------------------------------------------------------------------------


def convert_to_tensor(x: Any, dtype: Any = None, sparse: Any = None, ragged: Any = None) -> Tensor:
    """A Tensor of a Tensor, variable, array, number or nested list of them."""
    if sparse or ragged:
        raise ValueError("Keras on tensorgrad has no sparse and no ragged tensors")
    if isinstance(x, KerasVariable):
        x = x.value
    if isinstance(x, Tensor):
        if dtype is None or x.dtype == (wanted := numpy_dtype(dtype)):
            return x
        return _cast(x, wanted)
    if dtype is None:
        if isinstance(x, (bool, int, float, complex)):
            wide = type(x) is int and not -(2**31) <= x < 2**31
            dtype = "int64" if wide else common(type(x))
        elif isinstance(x, (list, tuple)):
            kinds = {getattr(a, "dtype", type(a)) for a in tree.flatten(x)}
            dtype = common(*kinds) if kinds else floatx()
        elif hasattr(x, "dtype"):
            dtype = name_of(x.dtype)
    if isinstance(x, (list, tuple)) and any(_live(a) for a in tree.flatten(x)):
        return tg.stack([convert_to_tensor(a, dtype) for a in x])
    wanted = numpy_dtype(dtype)
    if isinstance(x, (list, tuple, int, float, complex)):
        x = np.asarray(x)
        if x.dtype.kind == "O":
            raise ValueError(f"rows of different lengths, or no numbers: {x!r}")
        x = x.astype(wanted)
    return tg.asarray(x, wanted)


def _live(x: Any) -> bool:
    return isinstance(x, (Tensor, KerasVariable))


def _cast(x: Tensor, wanted: np.dtype) -> Tensor:
    if x.dtype.kind == "c" and wanted.kind != "c":
        x = tg.real(x)
    return x if x.dtype == wanted else x.astype(wanted)


def convert_to_numpy(x: Any) -> np.ndarray:
    """A NumPy array of its own."""
    if isinstance(x, KerasVariable):
        x = x.value
    if isinstance(x, Tensor):
        return np.array(x.numpy())
    if isinstance(x, (list, tuple)):
        return np.array([convert_to_numpy(a) for a in x])
    return np.array(x)


def is_tensor(x: Any) -> bool:
    """Whether x is a Tensor."""
    return isinstance(x, Tensor)


def shape(x: Any) -> tuple[int, ...]:
    """The shape, a tuple of whole numbers."""
    return tuple(x.shape)


def cast(x: Any, dtype: Any) -> Tensor:
    """x in a dtype."""
    return convert_to_tensor(x, dtype=dtype)


def untracked(name: str, *xs: Any) -> None:
    """NotImplementedError where a function without a gradient is asked for one."""
    for x in xs:
        if isinstance(x, KerasVariable):
            x = x.value
        if isinstance(x, Tensor) and x.node is not None and switches.recording:
            raise NotImplementedError(
                f"keras.ops.{name} has no gradient on tensorgrad: give it "
                "keras.ops.stop_gradient(x), or call it where none is recorded (tg.no_grad)"
            )


def compute_output_spec(fn: Callable, *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of fn's results: it is run on ones. Unknown sizes are tried with two
    numbers; what differs is unknown in the results."""

    def run(sizes: tuple[int, int]) -> Any:
        def concrete(x: Any) -> Any:
            if not isinstance(x, KerasTensor):
                return x
            known = [
                sizes[i > 0] if n is None else n  # small batches, long sequences
                for i, n in enumerate(x.shape)
            ]
            return tg.ones(tuple(known), dtype=numpy_dtype(x.dtype))

        given = tree.map_structure(concrete, (args, kwargs))
        return fn(*given[0], **given[1])

    def unknown(x: Any) -> bool:
        return isinstance(x, KerasTensor) and None in x.shape

    with StatelessScope(), SymbolicScope(), tg.no_grad():
        first = run((7, 83))
        second = first
        if any(builtins.map(unknown, tree.flatten((args, kwargs)))):
            second = run((11, 89))

    def symbol(a: Any, b: Any) -> Any:
        if not isinstance(a, Tensor):
            return a
        sizes = [n if n == m else None for n, m in zip(a.shape, b.shape, strict=True)]
        return KerasTensor(sizes, name_of(a.dtype))

    flat = [symbol(a, b) for a, b in zip(tree.flatten(first), tree.flatten(second), strict=True)]
    return tree.pack_sequence_as(first, flat)


# --- gradients, devices -------------------------------------------------------------------------


def stop_gradient(variable: Any) -> Any:
    """The same numbers, off the tape."""
    return convert_to_tensor(variable).detach()


class _Custom(tg.Function):
    """The function and gradient of `custom_gradient`."""

    def forward(ctx, *arrays: Any, call: Any) -> Any:
        with tg.no_grad():
            y, ctx.gradient = call(*[Tensor(a) for a in arrays])
        return convert_to_tensor(y)._data

    def backward(ctx, g: Any) -> Any:
        g = g if isinstance(g, Tensor) else Tensor(g)
        known = inspect.signature(ctx.gradient).parameters
        named = "upstream" in known
        gs = ctx.gradient(upstream=g) if named else ctx.gradient(g)
        gs = gs if isinstance(gs, (tuple, list)) else (gs,)
        return tuple(None if x is None else convert_to_tensor(x) for x in gs)


def _variable(x: Any) -> bool:
    return isinstance(x, KerasVariable)


class custom_gradient:
    """A function that returns its result and the function of its gradient."""

    def __init__(self, fun: Callable):
        self.fun = fun

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        inputs = [convert_to_tensor(a) for a in args]

        def call(*xs: Any) -> Any:
            pairs = zip(args, xs, strict=True)
            return self.fun(*[a if _variable(a) else x for a, x in pairs], **kwargs)

        return _Custom.apply(*inputs, call=call)


def remat(f: Callable) -> Callable:
    """f, recomputed in backward instead of saved."""
    return lambda *args, **kwargs: tg.checkpoint(f, *args, **kwargs)


def random_seed_dtype() -> str:
    """The dtype of the state of a SeedGenerator."""
    return "uint32"


@contextlib.contextmanager
def device_scope(device_name: str) -> Iterator[None]:
    """New tensors on "cpu" (NumPy) or "gpu" (CuPy)."""
    if not isinstance(device_name, str):
        raise ValueError(
            "Invalid value for argument `device_name`. Expected a string like 'gpu:0' or 'cpu'. "
            f"Received: device_name='{device_name}'"
        )
    name, _, number = device_name.lower().partition(":")
    if name not in ("cpu", "gpu", "cuda") or number not in ("", "0"):
        raise ValueError(f"keras.device: {device_name!r}; here there are 'cpu' and 'gpu:0'")
    before = default().name
    tg.set_backend("numpy" if name == "cpu" else "cupy")
    try:
        yield
    finally:
        tg.set_backend(before)


def is_leaf(x: Tensor) -> bool:
    """Whether x is a leaf of the tape."""
    return type(x.node) is Leaf


from .control import (  # noqa: E402, F401  (which takes tensors from above)
    associative_scan,
    cond,
    fori_loop,
    map,
    scan,
    scatter,
    scatter_update,
    slice,
    slice_update,
    switch,
    unstack,
    vectorized_map,
    while_loop,
)
