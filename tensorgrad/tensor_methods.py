"""What makes a Tensor pleasant: operators, methods, NumPy's protocols; mostly from the op table."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import backend as backends
from .backend import BY_TYPE, Array, is_floating, make
from .backward import backprop
from .core import OPS, Leaf, Tensor
from .creation import track
from .errors import BackendError, DTypeError, GraphError, ShapeError
from .ops import elementwise, index, matmul, shape
from .public import PUBLIC
from .switches import recording

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
        setattr(Tensor, f"__{name}__", f.call)
        setattr(Tensor, f"__r{name}__", lambda a, b, f=f: f(b, a))
    for name, f in (
        ("eq", e.equal),
        ("ne", e.not_equal),
        ("lt", e.less),
        ("le", e.less_equal),
        ("gt", e.greater),
        ("ge", e.greater_equal),
    ):
        setattr(Tensor, f"__{name}__", f.call)
    for name, method in (
        ("neg", e.negative.call),
        ("abs", e.abs_.call),
        ("hash", object.__hash__),
    ):
        setattr(Tensor, f"__{name}__", method)


def _methods() -> None:
    for name, function in PUBLIC.items():
        known = OPS.get(name)
        if name in ("std", "reshape", "transpose") or (known and known.inputs[:1] == ("x",)):
            setattr(Tensor, name, function)
    for name, f in vars(_Methods).items():
        if callable(f) or isinstance(f, property):
            setattr(Tensor, name, f)


def seed_cotangent(y: Any, cotangent: Any, create_graph: bool) -> Any:
    """The cotangent a walk starts with, checked: ones for a single number."""
    if y.node is None:
        raise GraphError(
            "nothing to differentiate: this tensor was not computed from any tensor with "
            "requires_grad=True (or it was computed under no_grad)"
        )
    if cotangent is None:
        if y._data.size != 1:
            raise ShapeError(
                f"backward() of shape {y._data.shape}: a loss is a single number; take .mean() or "
                ".sum(), or give a cotangent of that shape"
            )
        ones = BY_TYPE[type(y._data)].xp.ones_like(y._data)
        return Tensor(ones) if create_graph else ones
    g = cotangent if isinstance(cotangent, Tensor) else Tensor(make(cotangent))
    g = g.to(BY_TYPE[type(y._data)].name)  # else gradients would live elsewhere than their leaves
    if g._data.shape != y._data.shape:
        raise ShapeError(
            f"backward(): the cotangent has shape {g._data.shape}, the tensor {y._data.shape}"
        )
    return g if create_graph else g._data


_adding = threading.Lock()  # backward in several threads may add to one leaf


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
            track(self)  # type: ignore[arg-type]
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
        if target is home:
            return self  # type: ignore[return-value]
        return shape.move(self, backend=target.name, source=home.name)

    def numpy(self) -> np.ndarray:
        """The numbers as a NumPy array: the array itself on NumPy, a copy from a GPU."""
        return BY_TYPE[type(self._data)].to_host(self._data)

    def item(self) -> float | int | bool:
        """The single element as a Python number."""
        if self._data.size != 1:
            raise ShapeError(f"item(): a tensor of shape {self.shape} holds more than one number")
        return self.numpy().item()

    def tolist(self) -> Any:
        """Nested Python lists of the numbers."""
        return self.numpy().tolist()

    def backward(
        self,
        cotangent: Tensor | Array | None = None,
        *,
        create_graph: bool = False,
        retain_graph: bool | None = None,
    ) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that self was computed from.

        `cotangent` has self's shape and may be left out for a single number. `create_graph`
        makes the gradients differentiable; `retain_graph` keeps what was saved for another call.
        Raises GraphError when there is nothing to differentiate, ShapeError for wrong shapes.
        """
        g = seed_cotangent(self, cotangent, create_graph)
        retain = create_graph if retain_graph is None else retain_graph
        with recording(create_graph):
            grads = backprop([(self.node, g)], create_graph=create_graph, retain=retain)
        found = []
        for leaf, g in grads.items():
            if (tensor := leaf.tensor()) is None:
                continue
            if tensor.node is not leaf:
                raise GraphError(
                    f"requires_grad of {tensor!r} was switched after this graph had recorded it: "
                    "later writes to it are unknown, so compute the loss again"
                )
            found.append((tensor, g if create_graph else Tensor(g)))
        with _adding:
            for tensor, g in found:
                tensor.grad = g if tensor.grad is None else tensor.grad + g

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
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iu":
            raise DTypeError(f"a tensor of dtype {self._data.dtype} is not an index")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        if spec and self._data.size != 1:
            raise ShapeError(
                f"format {spec!r} is for one number, this tensor has shape {self.shape}"
            )
        return format(self.item() if spec else str(self), spec)

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
_INSTEAD = {"dot": "a @ b", "inner": "a @ b", "einsum": "a @ b", "ravel": "x.reshape(-1)"}
_INSTEAD |= {"vstack": "tg.concatenate", "hstack": "tg.concatenate", "copy": "x.copy()"}
_INSTEAD |= {
    "zeros_like": "tg.zeros_like",
    "ones_like": "tg.ones_like",
    "norm": "square, sum, sqrt",
}


def _numpy_call(name: str, args: tuple, kwargs: dict, method: str = "__call__") -> Any:
    """np.<name>(tensor): the op of that name."""
    if kwargs.get("out") is not None:
        raise GraphError(
            f"np.{name}(..., out=...): ops write into no array. To update one in place, take "
            "arrays only: w.data -= lr * w.grad.data"
        )
    function = PUBLIC.get(_NUMPY_NAMES.get(name, name))
    if function is None or method != "__call__":
        called = name if method == "__call__" else f"{name}.{method}"
        hint = f"use {_INSTEAD[name]}, or " if name in _INSTEAD else ""
        raise DTypeError(
            f"np.{called} has no op here, so no gradient: {hint}call it on tensor.numpy(). "
            + ("" if hint else "Known: " + ", ".join(sorted(PUBLIC)))
        )
    return function(*args, **kwargs)


def _rebuild(kind: type[Tensor], data: Any, tracked: bool) -> Tensor:
    made = kind.__new__(kind)
    Tensor.__init__(made, make(data))
    return track(made) if tracked else made


_ELSEWHERE = {
    **dict.fromkeys(("view", "flatten", "ravel"), ".reshape(...)"),
    **dict.fromkeys(("permute", "t"), ".transpose(...)"),
    **dict.fromkeys(("cpu", "cuda", "device", "is_cuda"), ".to('numpy'), .to('cupy'), .backend"),
    **dict.fromkeys(("float", "double", "half", "int", "long", "type"), ".astype('float32')"),
    **dict.fromkeys(("dot", "mm", "bmm", "matmul"), "a @ b"),
    **dict.fromkeys(("add_", "sub_", "mul_", "zero_", "fill_", "fill"), ".data[...] = values"),
    **{"numel": ".size", "dim": ".ndim", "clone": ".copy(), or tg.identity to keep gradients"},
    **{"unsqueeze": ".expand_dims(axis)", "clamp": ".clip(low, high)", "pow": "x ** y"},
    **{"expand": ".broadcast_to(shape)", "chunk": ".split(n)", "masked_fill": "tg.where(m, v, x)"},
    **{"requires_grad_": ".requires_grad = True", "retain_grad": "tg.grad or GradientTape"},
}


def _missing(self: Tensor, name: str) -> Any:
    hint = f": write {_ELSEWHERE[name]}" if name in _ELSEWHERE else ""
    raise AttributeError(f"a Tensor has no attribute {name!r}{hint}", name=name, obj=self)


_operators()
_methods()
setattr(Tensor, "__getattr__", _missing)  # noqa: B010  (asked only for names that are not there)
