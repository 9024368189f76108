"""What makes a Tensor pleasant: public functions, methods and operators, all from the op table."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import backend as backends
from .backend import BY_TYPE, NUMBERS, is_floating, make
from .core import OPS, Leaf, Op, Tensor, op
from .creation import asarray, track
from .errors import BackendError, DTypeError, GraphError, ShapeError, suggest
from .ops import elementwise, index, matmul, shape
from .ops.samples import calls, draw

# --- public functions ---------------------------------------------------------------------------

_OTHER_WORDS = {"dim": "axis", "keepdim": "keepdims", "dims": "axes", "input": "x"}


def public(op: Op) -> Callable:
    """The user's function of an op: takes anything array-like and NumPy's call forms, gives
    Tensors. Positional arguments beyond the inputs are the metadata in their order."""
    n = len(op.inputs)

    def call(*args: Any, **params: Any) -> Any:
        if params or len(args) != n or type(args[0]) is not Tensor or op.variadic:
            args, params = bind(op, args, params)
        args = as_inputs(args)
        y = op(*args, **params)
        return y[0] if op.outputs and op.outputs != ("*",) else y

    call.__name__ = call.__qualname__ = op.name
    call.__doc__ = op.__doc__
    call.__module__ = "tensorgrad"
    call.__signature__ = inspect.signature(op.ref)  # type: ignore[attr-defined]
    return call


def as_inputs(args: tuple) -> list[Any]:
    """Tensors for arrays and lists; numbers stay numbers beside a Tensor, so as not to widen it."""
    made = [a if isinstance(a, (Tensor, *NUMBERS, type(None))) else asarray(a) for a in args]
    if not any(isinstance(a, Tensor) for a in made):
        made = [asarray(a) if a is not None else None for a in made]
    return made


def bind(op: Op, args: tuple, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Sort a call's arguments into the op's inputs and its metadata; DTypeError when they
    do not fit, with the word to use instead."""
    names = list(op.params)
    if op.variadic:
        seq = isinstance(args[0], (list, tuple)) if args else False
        inputs, rest = (list(args[0]), args[1:]) if seq else (list(args), ())
        if not inputs:
            raise ShapeError(f"{op.name}: needs at least one array")
    else:
        inputs, rest = list(args[: len(op.inputs)]), args[len(op.inputs) :]
        for name in op.inputs[len(inputs) :]:
            if name in given:
                inputs.append(given.pop(name))
            elif (default := _default(op, name)) is not inspect.Parameter.empty:
                inputs.append(default)
            else:
                raise DTypeError(f"{op.name}: the argument {name!r} is missing")
    if len(rest) > len(names):
        raise DTypeError(f"{op.name} takes {', '.join([*op.inputs, *names])}; got more arguments")
    params = dict(zip(names, rest, strict=False))
    for name, value in given.items():
        if name not in names or name in params:
            raise DTypeError(f"{op.name}: argument {name!r}: {_other_word(name, names)}")
        params[name] = value
    for name, default in op.params.items():
        if default is ... and name not in params:
            raise DTypeError(f"{op.name}: the argument {name!r} is missing")
    return inputs, {k: _metadata(op, k, v) for k, v in params.items()}


def _default(op: Op, name: str) -> Any:
    return inspect.signature(op.ref).parameters[name].default


def _other_word(name: str, names: list[str]) -> str:
    word = _OTHER_WORDS.get(name)
    return f"write {word}=, as in NumPy" if word in names else suggest(name, names)


_WHOLE = ("axis", "axes", "axis1", "axis2", "shape", "source", "destination")


def _metadata(op: Op, name: str, value: Any) -> Any:
    """Axes and shapes as Python ints and tuples."""
    if name not in _WHOLE or value is None:
        return value
    try:
        if hasattr(value, "__index__"):
            return (operator.index(value),) if name in ("shape", "axes") else operator.index(value)
        return tuple([operator.index(v) for v in value])
    except TypeError:
        raise DTypeError(f"{op.name}: {name}={value!r} must be whole numbers") from None


_INTERNAL = {"getitem", "scatter_add", "sum_to", "cast", "move", "full_like", "random_bits"}
PUBLIC: dict[str, Callable] = {
    o.name: public(o)
    for o in OPS.values()
    if not (o.name.endswith("_grad") or o.inplace or o.name in _INTERNAL)
}


def dense(x: Any, w: Any, b: Any = None, *, activation: str | None = None) -> Tensor:
    """activation(x @ w + b) in one op: x (..., n_in), w (n_in, n_out), b (n_out,) or None.

    `activation` is None, relu, sigmoid, tanh or gelu.

    >>> dense([[1.0, 2.0]], [[1.0], [1.0]], [-4.0], activation="relu").tolist()
    [[0.0]]
    """
    name = activation or "none"
    if name == "gelu":
        return OPS["dense_gelu"](*as_inputs((x, w, b)))[0]
    if name not in matmul.ACTIVATIONS:
        raise ShapeError(
            f"dense: activation {activation!r}: {suggest(name, [*matmul.ACTIVATIONS, 'gelu'])}"
        )
    return OPS["dense"](*as_inputs((x, w, b)), activation=name)


def std(x: Any, axis: Any = None, keepdims: bool = False, ddof: int = 0) -> Tensor:
    """Standard deviation over the axes: the square root of `var`."""
    return PUBLIC["sqrt"](PUBLIC["var"](x, axis=axis, keepdims=keepdims, ddof=ddof))


def reshape(x: Any, *shape: Any) -> Tensor:
    """The same numbers in row-major order under another shape: `reshape(x, (2, 3))` or
    `x.reshape(2, 3)`; one entry may be -1."""
    return _reshape(x, shape[0] if len(shape) == 1 else shape)


def transpose(x: Any, *axes: Any) -> Tensor:
    """Axes permuted: `transpose(x, (1, 0))` or `x.transpose(1, 0)`; reversed without any."""
    return _transpose(x, axes[0] if len(axes) == 1 else axes or None)


_reshape, _transpose = PUBLIC["reshape"], PUBLIC["transpose"]
del PUBLIC["dense_gelu"]
PUBLIC.update(dense=dense, std=std, reshape=reshape, transpose=transpose)
PUBLIC.update(concatenate=PUBLIC["concat"], permute_dims=transpose, pow=PUBLIC["power"])


# --- operators ----------------------------------------------------------------------------------


def _operators() -> None:
    e = elementwise
    for name, f in (
        ("add", e.add),
        ("sub", e.subtract),
        ("mul", e.multiply),
        ("truediv", e.divide),
        ("pow", e.power),
        ("matmul", matmul.matmul),
    ):
        setattr(Tensor, f"__{name}__", lambda a, b, f=f: f(a, b))
        setattr(Tensor, f"__r{name}__", lambda a, b, f=f: f(b, a))
    for name, f in (
        ("eq", e.equal),
        ("ne", e.not_equal),
        ("lt", e.less),
        ("le", e.less_equal),
        ("gt", e.greater),
        ("ge", e.greater_equal),
    ):
        setattr(Tensor, f"__{name}__", lambda a, b, f=f: f(a, b))
    Tensor.__neg__ = lambda a: e.negative(a)
    Tensor.__abs__ = lambda a: e.abs_(a)
    Tensor.__hash__ = object.__hash__


def _methods() -> None:
    for name, function in PUBLIC.items():
        known = OPS.get(name)
        if name in ("std", "reshape", "transpose") or (known and known.inputs[:1] == ("x",)):
            setattr(Tensor, name, function)
    for name, f in vars(_Methods).items():
        if not name.startswith("__") or name in _PROTOCOLS:
            setattr(Tensor, name, f)


@op(
    x=lambda g, backend, source: _move(g, backend=source, source=backend),
    samples=calls(lambda: (draw((2, 3)), {"backend": "numpy", "source": "numpy"})),
)
def move(x, *, backend, source):
    """x on another backend."""
    home = backends.BACKENDS[source]
    return backends.get(backend).from_host(home.to_host(x))


_move = move

_PROTOCOLS = [
    "__array__",
    "__array_ufunc__",
    "__array_function__",
    "__array_priority__",
    "__dlpack__",
    "__dlpack_device__",
    "__len__",
    "__iter__",
    "__getitem__",
    "__setitem__",
    "__bool__",
    "__float__",
    "__int__",
    "__index__",
    "__repr__",
    "__format__",
    "__reduce__",
]


class _Methods:
    """Copied onto Tensor: what needs more than a line, or is not an op."""

    _data: Any
    node: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of the numbers."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def backend(self) -> str:
        """The name of the backend that holds the array: numpy, cupy, ..."""
        return BY_TYPE[type(self._data)].name

    @property
    def T(self) -> Tensor:
        """All axes reversed."""
        return shape.transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        return matmul.transposed(self)

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this tensor."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        if on:
            track(self)
        elif isinstance(self.node, Leaf):
            self.node = None
        elif self.node is not None:
            raise GraphError("only a leaf can stop requiring grad; use .detach() for a result")

    def astype(self, dtype: Any) -> Tensor:
        """The numbers in another dtype. Gradients pass between floating dtypes only."""
        dtype = backends.dtype_of(dtype)
        return shape.cast(self if is_floating(dtype) else self.detach(), dtype=dtype)

    def detach(self) -> Tensor:
        """The same array, off the tape."""
        return Tensor(self._data)

    def copy(self) -> Tensor:
        """A new untracked tensor with its own memory."""
        return Tensor(self._data.copy())

    def to(self, backend: str) -> Tensor:
        """On another backend; itself when it is there already. Gradients flow back."""
        home = BY_TYPE[type(self._data)]
        target = backends.get(backend)
        return self if target is home else move(self, backend=target.name, source=home.name)

    def numpy(self) -> np.ndarray:
        """The numbers as a NumPy array: the array itself on NumPy, a copy from a GPU."""
        return BY_TYPE[type(self._data)].to_host(self._data)

    def item(self) -> float | int | bool:
        """The single element as a Python number."""
        if self._data.size != 1:
            raise ShapeError(f"item(): a tensor of shape {self.shape} holds more than one number")
        return self._data.item()

    def tolist(self) -> Any:
        """Nested Python lists of the numbers."""
        return self.numpy().tolist()

    def __getitem__(self, key: Any) -> Tensor:
        template, arrays = index.split_key(key, self._data)
        return index.getitem(self, *arrays, template=template)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise GraphError(
            "tensors are not written in place: use tg.where(mask, a, b), or tensor.data[...] = "
            "value on data that no gradient needs"
        )

    def __len__(self) -> int:
        if not self._data.ndim:
            raise DTypeError("a tensor of one number has no len()")
        return self._data.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ShapeError(
                f"the truth of a tensor of shape {self.shape} is ambiguous: .any() or .all()?"
            )
        return bool(self._data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iu":
            raise DTypeError(f"a tensor of dtype {self._data.dtype} is not an index")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec and self._data.size == 1 else str(self), spec)

    def __repr__(self) -> str:
        body = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=100)
        place = "" if self.backend == "numpy" else f", backend={self.backend!r}"
        grad = ", requires_grad=True" if self.node is not None else ""
        return f"tensor({body}, dtype={self._data.dtype}{place}{grad})"

    def __reduce__(self) -> tuple:
        if self.node is not None and not isinstance(self.node, Leaf):
            raise GraphError("only leaves can be copied or pickled; .detach() the result first")
        return _rebuild, (type(self), self._data, self.node is not None)

    # --- NumPy's and others' protocols ---

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if type(self._data) is not np.ndarray:
            raise BackendError(f"this tensor is on {self.backend}; .numpy() copies it to the host")
        return np.array(self._data, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Tensor:
        return _numpy_call(ufunc.__name__, inputs, kwargs, method)

    def __array_function__(self, func: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        return _numpy_call(func.__name__, args, kwargs)

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()


_NUMPY_NAMES = {"absolute": "abs", "true_divide": "divide", "rint": "round", "amax": "max"}
_NUMPY_NAMES |= {"amin": "min", "array_split": "split"}


def _numpy_call(name: str, args: tuple, kwargs: dict, method: str = "__call__") -> Any:
    """np.<name>(tensor): the op of that name."""
    function = PUBLIC.get(_NUMPY_NAMES.get(name, name))
    if function is None or method != "__call__":
        called = name if method == "__call__" else f"{name}.{method}"
        raise DTypeError(
            f"np.{called} has no op here, so no gradient: call it on tensor.numpy(). "
            + suggest(name, PUBLIC)
        )
    return function(*args, **kwargs)


def _rebuild(kind: type, data: Any, tracked: bool) -> Tensor:
    made = kind.__new__(kind)
    Tensor.__init__(made, make(data))
    return track(made) if tracked else made


_operators()
_methods()
