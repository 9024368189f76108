"""The methods of Tensor: attributes, conversions, backward, indexing, and Python's and NumPy's
protocols. The mixins `Operators` and `Methods` have the operators and NumPy's methods.

`core.py`, which the ops import, defines Tensor with `data`, `node` and `grad` only; these methods
call functions and ops, and are therefore added to that class at the end of this file.
"""

from __future__ import annotations

import functools
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend as backends
from . import functions as F
from .backend import (
    BY_TYPE,
    Array,
    check_gpu,
    floats_beside,
    is_floating,
    make,
    within_vmap,
    zero_and_one,
)
from .backward import backprop
from .core import Leaf, Tensor, stamp
from .creation import asarray, check_off_tape, track
from .errors import ArgumentError, BackendError, DTypeError, GraphError, IndexingError, ShapeError
from .hooks import Handle, of_leaf, register, retain
from .methods import Methods
from .numpy_protocol import call_of_function, call_of_ufunc
from .operators import Operators, cast_exactly, check_writable
from .ops import index, matmul, shape
from .ownership import unshared
from .settings import gate
from .switches import recording, switches
from .typing import ArrayLike, DType
from .words import missing

if TYPE_CHECKING:
    from numpy.typing import NDArray


def seed_cotangent(y: Any, cotangent: Any, create_graph: bool) -> Any:
    """The cotangent that backward starts from, checked; by default 1 for a scalar."""
    if y.node is None:
        raise GraphError(
            "nothing to differentiate: this tensor was not computed from any tensor with "
            "requires_grad=True (or it was computed under no_grad)"
        )
    check_gpu("backward", ("the tensor",), (y._data,))
    if switches.anomaly is not None:
        switches.anomaly.backward_starts()
    if isinstance(cotangent, bool):
        raise ArgumentError(
            f"backward({cotangent}): the cotangent is an array; write retain_graph={cotangent}"
        )
    if cotangent is None and y._data.dtype.kind == "c":
        raise DTypeError(
            "backward() of complex numbers: a loss is a real number; take its .real or tg.abs(), "
            "or give a cotangent"
        )
    if cotangent is None:
        if y._data.size != 1:
            raise ShapeError(
                f"backward() of shape {y._data.shape}: a loss is a single number; take .mean() or "
                ".sum(), or give a cotangent of that shape"
            )
        if type(y._data) is np.ndarray and not (create_graph or y._data.ndim):
            return zero_and_one(y._data)[1]  # shared: no rule writes to its cotangent
        ones = BY_TYPE[type(y._data)].xp.ones_like(y._data)
        return Tensor(ones) if create_graph else ones
    g = cotangent if isinstance(cotangent, Tensor) else Tensor(make(cotangent))
    g = g.to(BY_TYPE[type(y._data)].name)  # the backend of the leaves' gradients, too
    if g._data.shape != y._data.shape:
        raise ShapeError(
            f"backward(): the cotangent has shape {g._data.shape}, the tensor {y._data.shape}"
        )
    return g if create_graph else g._data


_accumulating = threading.Lock()  # backward in several threads may reach one leaf


class TensorMethods(Operators, Methods):
    """The attributes and methods of Tensor besides `data`, `node` and the constructor."""

    __slots__ = ()
    _data: Array
    _grad: Any
    node: Any

    # --- attributes ---

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self._data.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the elements."""
        return self._data.dtype  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size  # type: ignore[no-any-return]

    @property
    def backend(self) -> str:
        """The name of the backend that holds the array: numpy, cupy, ..."""
        return BY_TYPE[type(self._data)].name

    @property
    def device(self) -> str:
        """The backend, under the array-API standard's name."""
        return self.backend

    @property
    def T(self) -> Tensor:
        """The transpose: all axes reversed."""
        return shape.transpose(self)  # type: ignore[no-any-return]

    @property
    def mT(self) -> Tensor:
        """The matrix transpose: the last two axes exchanged."""
        return matmul.transposed(self)  # type: ignore[no-any-return]

    @property
    def real(self) -> Tensor:
        """The real part: x itself for real numbers."""
        return shape.real(self) if self._data.dtype.kind == "c" else self  # type: ignore

    @property
    def imag(self) -> Tensor:
        """The imaginary part: 0 for real numbers."""
        return shape.imag(self)  # type: ignore[no-any-return]

    @property
    def requires_grad(self) -> bool:
        """Whether this is a leaf, or was computed from one while recording. May be set to True,
        and of a leaf to False."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        if on:
            track(self)  # type: ignore[arg-type]
        elif isinstance(self.node, Leaf):
            self.node = None
        elif self.node is not None:
            raise GraphError("only a leaf can stop requiring grad; use .detach() for a result")

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` accumulated for this leaf, in its dtype; None before that,
        and for tensors that are not leaves."""
        if self._grad is None and self.node is not None and type(self.node) is not Leaf:
            warnings.warn(
                "the .grad of a tensor that is the result of an op is None: backward fills leaves, "
                "and those that were told x.retain_grad(). tg.grad, or a GradientTape, gives the "
                "gradient of any tensor",
                stacklevel=2,
            )
        return self._grad  # type: ignore[no-any-return]

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and np.shape(value) != self.shape:
            raise ShapeError(
                f"x.grad = g: x has shape {self.shape}, g {np.shape(value)}"
                + ("; x.grad = None clears it" if np.shape(value) == () else "")
            )
        if value is None or isinstance(value, Tensor):
            self._grad = value
        else:
            self._grad = asarray(value, self.dtype, self.backend)

    # --- conversions ---

    def astype(self, dtype: DType) -> Tensor:
        """A copy in another dtype. Gradients flow between floating dtypes only."""
        wanted = backends.dtype_of(dtype)
        x = self if is_floating(wanted) else self.detach()
        return shape.cast(x, dtype=wanted)  # type: ignore[no-any-return]

    def detach(self) -> Tensor:
        """A tensor off the tape that shares this one's memory."""
        return Tensor(self._data.view())

    def copy(self) -> Tensor:
        """A tensor off the tape with a copy of the data. GraphError for the result of a recorded
        op, whose gradient would be lost."""
        check_off_tape(self, "copy()")
        return Tensor(self._data.copy())

    def to_device(self, device: str, /, *, stream: Any = None) -> Tensor:
        """`to`, under the array-API standard's name."""
        return self.to(device)

    @gate
    def to(self, backend: str) -> Tensor:
        """A copy on another backend, or itself if it is there. Gradients flow back.

        To a GPU, the host's array has been read when this returns, and may be written to; the copy
        itself runs on the current stream, before what is asked of it later. To the host, this waits
        for the device.
        """
        home = BY_TYPE[type(self._data)]
        target = backends.get(backend)
        if target is home:
            return self  # type: ignore[return-value]
        return shape.move(self, backend=target.name, source=home.name)  # type: ignore[no-any-return]

    def numpy(self) -> NDArray[Any]:
        """The data as a NumPy array: without a copy on NumPy, copied from a GPU."""
        return BY_TYPE[type(self._data)].to_host(self._data)

    def item(self) -> float:
        """The single element as a Python float, int, bool or complex. Synchronises with a GPU."""
        if self._data.size != 1:
            raise ShapeError(f"item(): a tensor of shape {self.shape} holds more than one number")
        if self.node is not None and switches.tracing:
            raise GraphError(
                "item() in a function that is being differentiated is a number without gradient: "
                "compute with the tensor itself; use .detach().item() to print it"
            )
        return self.numpy().item()  # type: ignore[no-any-return]

    def tolist(self) -> Any:
        """The elements as nested Python lists."""
        return self.numpy().tolist()

    @gate
    def backward(
        self,
        cotangent: ArrayLike | None = None,
        *,
        create_graph: bool = False,
        retain_graph: bool | None = None,
    ) -> None:
        """Reverse-mode differentiation: accumulate d(self) / d(leaf) in `.grad` of every leaf that
        self was computed from.

        Args:
            cotangent: of self's shape; by default 1, for a scalar only.
            create_graph: whether the gradients are recorded, and so differentiable.
            retain_graph: whether saved arrays are retained for another call, else they are freed;
                by default as `create_graph`.
        Raises: GraphError where there is nothing to differentiate, the graph was freed, or a leaf
            was updated after it was recorded; ShapeError for a cotangent of another shape.
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
                    f"requires_grad of {tensor!r} was switched after this graph recorded it: later "
                    "in-place updates are unknown, so compute the loss again"
                )
            if leaf.params:  # hooks
                g = of_leaf(leaf, g)
            found.append((tensor, g if create_graph else Tensor(g)))
        with _accumulating:
            for tensor, g in found:
                tensor._grad = g if tensor._grad is None else tensor._grad + g

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call `hook` with the gradient of this tensor, a leaf or a result, in each backward, tape
        or `grad`; what it returns replaces that gradient, unless it is None.

        Returns: a handle, whose `remove()` takes the hook off. Hooks are called in the order of
        registering, with the sum over all uses of the tensor.

        >>> w = tensor([1.0, 2.0], requires_grad=True)
        >>> y = w * w
        >>> handle = y.register_hook(lambda g: g.clip(-1, 1))
        >>> (5 * y).sum().backward(); w.grad.tolist()
        [2.0, 4.0]
        """
        return register(self, hook)  # type: ignore[arg-type]

    def retain_grad(self) -> None:
        """Have backward store the gradient of this result in `.grad`, as that of a leaf.

        >>> w = tensor([3.0], requires_grad=True)
        >>> y = w * w; y.retain_grad()
        >>> (2 * y).sum().backward(); y.grad.tolist()
        [2.0]
        """
        retain(self)  # type: ignore[arg-type]

    # --- indexing ---

    def __getitem__(self, key: Any) -> Tensor:
        """The elements at `key`, as in NumPy.

        Raises: IndexingError for an index out of range. Index arrays on a GPU wrap around instead:
        to raise, the host would have to wait for them, which it does within `detect_anomaly`.
        """
        if not self._data.ndim and _is_mask(key):
            return self.reshape(1)[key.reshape(1)]
        template, arrays = index.split_key(key, self._data)
        return index.getitem(self, *arrays, template=template)  # type: ignore[no-any-return]

    def __setitem__(self, key: Any, value: ArrayLike) -> None:
        """Assign to the elements at `key` of a tensor off the tape, or of a leaf under `no_grad`.
        Graphs recorded before and views taken before are not affected (copy on write)."""
        x: Any = self
        check_writable(x, "x[i] = v", "tg.where(mask, v, x) gives a new tensor")
        if isinstance(value, Tensor) and value.node is not None and switches.recording:
            raise GraphError(
                "x[i] = v: v is on the tape, and x[i] would lose its gradient: "
                "tg.stack or tg.concatenate the parts, or tg.where(mask, v, x)"
            )
        if not x._data.ndim and _is_mask(key):
            if not key:
                return
            key = ()
        template, arrays = index.split_key(key, x._data)
        place = index.key_of(template, arrays)
        raw = value._data if isinstance(value, Tensor) else value
        new = make(raw, None, x.backend, floats_beside(x.dtype))
        new = new if x.dtype.kind == "b" else cast_exactly(new, x.dtype, "x[i] = v")
        data = x._data if unshared(x) else x._data.copy()
        try:
            data[place] = new
        except ValueError as error:
            raise ShapeError(f"x[i] = v: {error}") from None
        except IndexError as error:
            raise IndexingError(f"x[i] = v: {error}") from None
        x._data = data
        stamp(x)

    def __len__(self) -> int:
        if not self._data.ndim:
            raise DTypeError("a tensor of one number has no len()")
        return self._data.shape[0]  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Tensor]:
        if not self._data.ndim:
            raise DTypeError("a tensor of one number cannot be iterated over")
        return (self[i] for i in range(len(self)))

    def __contains__(self, value: ArrayLike) -> bool:
        same = self == value  # False alone for what is no number
        return bool(same.any()) if isinstance(same, Tensor) else same

    # --- scalars ---

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ShapeError(
                f"the truth of a tensor of shape {self.shape} is ambiguous: .any() or .all()? "
                "(a < x < b is (a < x) & (x < b) here)"
            )
        return bool(self.numpy().item())

    def __float__(self) -> float:
        return float(self._of_a_real("float").item())

    def __int__(self) -> int:
        return int(self._of_a_real("int").item())

    def _of_a_real(self, what: str) -> TensorMethods:
        if self._data.dtype.kind == "c":
            raise DTypeError(f"{what}(x) of a complex number: take x.real, x.imag or tg.abs(x)")
        return self

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iu":
            raise DTypeError(f"a tensor of dtype {self._data.dtype} is not an index")
        return int(self.item())

    # --- text, copies ---

    def __format__(self, spec: str) -> str:
        if spec and self._data.size != 1:
            raise ShapeError(
                f"format {spec!r} is for one number, this tensor has shape {self.shape}"
            )
        return format(self.numpy().item() if spec else str(self), spec)

    def __repr__(self) -> str:
        if within_vmap(self._data):
            return f"tensor({self._data!r}, dtype={self._data.dtype})"
        body = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=100)
        place = "" if self.backend == "numpy" else f", backend={self.backend!r}"
        grad = ", requires_grad=True" if self.node is not None else ""
        return f"tensor({body}, dtype={self._data.dtype}{place}{grad})"

    def __copy__(self) -> Tensor:
        kind, (cls, data, tracked) = self.__reduce__()
        return kind(cls, data.copy(), tracked)  # type: ignore[no-any-return]

    def __reduce__(self) -> tuple[Callable[..., Tensor], tuple[Any, ...]]:
        if self.node is not None and not isinstance(self.node, Leaf):
            raise GraphError("only leaves can be copied or pickled; .detach() the result first")
        return _rebuild, (type(self), self._data, self.node is not None)

    # --- NumPy's and others' protocols ---

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if self.node is not None:
            raise GraphError(
                "a tensor on the tape is not converted to an array implicitly, which would cut its "
                "gradient: .detach() takes it off the tape, .numpy() returns its data"
            )
        if type(self._data) is not np.ndarray:
            if within_vmap(self._data):
                self.numpy()
            raise BackendError(f"this tensor is on {self.backend}; .numpy() copies it to the host")
        return np.array(self._data, dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return call_of_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(
        self, func: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        return call_of_function(func, args, kwargs)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        if api_version not in (None, "2021.12", "2022.12", "2023.12", "2024.12"):
            raise ArgumentError(f"array-API version {api_version!r}: 2024.12 is the latest here")
        return sys.modules[__package__]

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        if self.node is not None:
            raise GraphError("a tensor on the tape is not shared by DLPack: .detach() it first")
        asked = {"max_version": max_version, "dl_device": dl_device, "copy": copy}
        given = {name: value for name, value in asked.items() if value is not None}
        return self._data.__dlpack__(stream=stream, **given)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()  # type: ignore[no-any-return]


def _is_mask(key: Any) -> bool:
    """Whether that is an array, or tensor, of one truth value: the mask of one number."""
    return getattr(getattr(key, "dtype", None), "kind", "") == "b" and not key.ndim


def _rebuild(kind: type[Tensor], data: Any, tracked: bool) -> Tensor:
    made = kind.__new__(kind)
    Tensor.__init__(made, make(data))
    return track(made) if tracked else made


def _missing(self: Tensor, name: str) -> Any:
    said = f"a Tensor has no attribute {name!r}: {_instead(name)}"
    raise AttributeError(said, name=name, obj=self)


@functools.lru_cache(256)
def _instead(name: str) -> str:
    """What to write; remembered, as libraries ask tensors of all kinds for their own attributes."""
    if name in F.FAMILY or name in F.__all__:
        return f"here it is tg.{name}(x, ...)"
    return missing("Tensor", name, [n for n in dir(Tensor) if not n.startswith("_")])


for _kind in (Operators, Methods, TensorMethods):
    for _name, _method in vars(_kind).items():
        if callable(_method) or isinstance(_method, property):
            _function = getattr(_method, "fget", _method)
            if _function.__qualname__.startswith(_kind.__name__):  # not the functions of `tg`
                _function.__qualname__ = f"Tensor.{_name}"
            setattr(Tensor, _name, _method)
setattr(Tensor, "__getattr__", _missing)  # noqa: B010  (called for missing names only)
