"""`SimArray`: a strict stand-in for `cupy.ndarray` that holds a NumPy array.

Strict means that what CuPy refuses is refused here: mixing with `numpy.ndarray`, implicit
conversion to it, names and keywords that CuPy does not have. It holds the array instead of being
one, because a subclass of `numpy.ndarray` loses its type in half of NumPy. Results of dimension 0
stay arrays.

This module is the storage, the indexing and the ways in and out; `namespace.py` attaches operators
and methods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from . import cuda


class MemoryPointer(NamedTuple):
    """What `cupy.ndarray.data` is, as far as kernels need it."""

    ptr: int
    device_id: int = 0


class Flags(NamedTuple):
    """The flags that `cupy.ndarray.flags` has; there is no `writeable`."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool

    def __getitem__(self, name: str) -> bool:  # type: ignore[override]
        if name not in ("C_CONTIGUOUS", "F_CONTIGUOUS", "OWNDATA"):
            raise KeyError(f"{name} is not defined for cupy.ndarray.flags")
        return getattr(self, name.lower())


class SimArray:
    """An array on the simulated device; made by `xp.asarray`, `xp.zeros` and so on."""

    __slots__ = ("__weakref__", "_array")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, shape: Any, dtype: Any = float, *, order: str = "C") -> None:
        self._array = poisoned(np.empty(shape, checked_dtype(dtype), order))

    # ------------------------------------------------------------------ properties

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        view = self._array.view()
        view.shape = shape  # raises where reshape would copy, as CuPy does
        self._array = view

    @property
    def dtype(self) -> np.dtype:
        return self._array.dtype

    @property
    def ndim(self) -> int:
        return self._array.ndim

    @property
    def size(self) -> int:
        return self._array.size

    @property
    def nbytes(self) -> int:
        return self._array.nbytes

    @property
    def itemsize(self) -> int:
        return self._array.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        return self._array.strides

    @property
    def T(self) -> SimArray:
        return wrap(self._array.T)

    @property
    def mT(self) -> SimArray:
        return wrap(self._array.mT)

    @property
    def real(self) -> SimArray:
        return wrap(self._array.real)

    @property
    def imag(self) -> SimArray:
        return wrap(self._array.imag)

    @property
    def base(self) -> SimArray | None:
        base = self._array.base
        return wrap(base) if isinstance(base, np.ndarray) else None

    @property
    def flags(self) -> Flags:
        flags = self._array.flags
        return Flags(flags.c_contiguous, flags.f_contiguous, flags.owndata)

    @property
    def data(self) -> MemoryPointer:
        return MemoryPointer(self._array.ctypes.data, cuda.gpu_of(self._array))

    @property
    def device(self) -> cuda.Device:
        return cuda.Device(cuda.gpu_of(self._array))

    # ------------------------------------------------------------ to the host and back

    def get(
        self,
        stream: None = None,
        order: str = "C",
        out: np.ndarray | None = None,
        blocking: bool = True,
    ) -> np.ndarray:
        """A copy in host memory."""
        del stream, blocking  # accepted as by CuPy; here is nothing to wait for
        cuda.transfer("ndarray.get")
        if out is None:
            return np.array(self._array, order=order)
        if out.dtype != self.dtype or out.shape != self.shape:
            raise ValueError(f"out is {out.dtype}{out.shape}, not {self.dtype}{self.shape}")
        out[...] = self._array
        return out

    def set(self, arr: np.ndarray, stream: cuda.Stream | None = None) -> None:
        """Copy a host array of the same shape and dtype into this one."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        cuda.copy_from_host(arr, self._array, stream)

    def item(self) -> Any:
        """The only element as a Python number."""
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        cuda.transfer("ndarray.item")
        return self._array.item()

    def __array__(self, dtype: Any = None) -> np.ndarray:  # as CuPy's, without `copy`
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __bool__(self) -> bool:
        if self.size > 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. "
                "Use a.any() or a.all()"
            )
        cuda.transfer("ndarray.__bool__")
        return bool(self._array)

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __copy__(self) -> SimArray:
        return wrap(cuda.run(np.copy, self._array))

    def __deepcopy__(self, memo: dict) -> SimArray:
        return self.__copy__()

    def __reduce__(self) -> tuple:
        return _from_host, (self.get(),)

    # -------------------------------------------------------------------- indexing

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return len(self._array)

    def __iter__(self) -> Iterator[SimArray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> SimArray:
        where = host_index(index)
        if any(isinstance(a, np.ndarray) and a.dtype == bool for a in where):
            cuda.transfer("an index of bool")  # how many are True?
        return wrap(cuda.run(lambda a, at: a[wrapped(at, a.shape)], self._array, where))

    def __setitem__(self, index: Any, value: Any) -> None:
        def write(a: np.ndarray, where: tuple, value: Any) -> None:
            a[wrapped(where, a.shape)] = value

        cuda.run(write, self._array, host_index(index), unwrap_operand(value))


def wrap(array: np.ndarray | np.generic) -> SimArray:
    """A SimArray over a NumPy array, sharing its memory; NumPy scalars become arrays again."""
    array = np.asarray(array)
    checked_dtype(array.dtype)
    cuda.place(array)
    result = object.__new__(SimArray)
    result._array = array
    return result


def wrap_all(value: Any, known: dict[int, SimArray] | None = None) -> Any:
    """Wrap every array and NumPy scalar in a result, which may be a tuple or list of them.

    `known` holds the SimArrays of the call's arguments: one that comes back is itself.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        same = known.get(id(value)) if known else None
        return wrap(value) if same is None else same
    if isinstance(value, (tuple, list)):
        parts = [wrap_all(part, known) for part in value]
        return tuple(parts) if isinstance(value, tuple) else parts
    return value


def unwrap_all(value: Any, known: dict[int, SimArray], host: bool = False) -> Any:
    """Replace SimArrays by the arrays they hold, in nested sequences too; NumPy's own are refused.

    `host=True` lets NumPy arrays through, for the functions that move arrays to the device.
    """
    if isinstance(value, SimArray):
        known[id(value._array)] = value
        return value._array
    if type(value) in (tuple, list):
        return type(value)(unwrap_all(part, known, host) for part in value)
    foreign = isinstance(value, np.ndarray) or (
        hasattr(value, "__array__") and not isinstance(value, (np.generic, type))
    )
    if foreign and not host:
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def unwrap_operand(value: Any) -> Any:
    """The array or scalar for an operand of arithmetic, where CuPy takes nothing else."""
    if isinstance(value, SimArray):
        return value._array
    if isinstance(value, (bool, int, float, complex, np.generic)):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def host_index(index: Any) -> tuple:
    """An index for the held array. NumPy arrays and lists are fine in it, as they are for CuPy.

    The Ellipsis at the end makes NumPy return a view of dimension 0 where it would return a scalar.
    """
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, (np.ndarray, list)) for part in parts):
        cuda.transfer("an index from the host")
    unwrapped = tuple(unwrap_all(part, {}, host=True) for part in parts)
    return unwrapped if any(part is Ellipsis for part in unwrapped) else (*unwrapped, Ellipsis)


def wrapped(where: tuple, shape: tuple[int, ...]) -> tuple:
    """An index with the numbers of its arrays modulo the sizes of their axes: CuPy reports none
    that are out of range."""

    def axes(part: Any) -> int:
        boolean = isinstance(part, np.ndarray) and part.dtype == bool
        return part.ndim if boolean else int(part is not None and part is not Ellipsis)

    parts, axis = [], 0
    for part in where:
        if isinstance(part, np.ndarray) and part.dtype != bool and axis < len(shape):
            part = part % max(shape[axis], 1)
        axis += len(shape) - sum(map(axes, where)) if part is Ellipsis else axes(part)
        parts.append(part)
    return tuple(parts)


def checked_dtype(dtype: Any) -> np.dtype:
    """The dtype, or TypeError for one that a GPU does not have: object, text, long double."""
    dtype = np.dtype(dtype)
    if dtype.name == "bfloat16" or (dtype.kind in "biufc" and dtype.char not in "gG"):
        return dtype
    raise TypeError(f"Unsupported dtype {dtype}")


def poisoned(array: np.ndarray) -> np.ndarray:
    """New memory: what reads it before something was written there gets NaN or -1."""
    cuda.place(array)
    return cuda.allocated(cuda.poison(array))


def _from_host(array: np.ndarray) -> SimArray:
    return wrap(array)


def should_use_reflected(x: Any, y: Any) -> bool:
    """Does `y`, of another type, want to do `x + y` itself? CuPy's rule, which is NEP 13's."""
    missing = object()
    ufunc = getattr(y, "__array_ufunc__", missing)
    if ufunc is not missing:
        return ufunc is None
    return getattr(x, "__array_priority__", 0) < getattr(y, "__array_priority__", 0)
