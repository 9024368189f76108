"""Array libraries as backends: registry, copies between host and device, dtypes, GPU diagnosis.

An array's *type* determines its backend, so several coexist in one process; `TENSORGRAD_BACKEND`
is the default for new tensors. CuPy is imported only when it is asked for, or if the program has
imported it already.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from .errors import (
    BackendError,
    DTypeError,
    UnknownOperand,
    failed,
    suggest,
    tried_twice,
    user_line,
    watch_forks,
)

Array = Any  # an array of any registered backend
DEFAULT_DTYPE = np.dtype("float32")  # of Python floats
NUMBERS = (bool, int, float)  # Python's scalars, which never promote an array's dtype


class Backend(NamedTuple):
    """An array library: its name, array type, namespace and kernels, and copies from and to it."""

    name: str
    array_type: type
    xp: Any  # the array namespace: numpy, cupy, ...
    kernels: Any  # the folder of kernels/ for its arrays, "cpu" or "cuda"; or what computes an op
    from_host: Callable[[np.ndarray], Array]
    to_host: Callable[[Array], np.ndarray]


BACKENDS: dict[str, Backend] = {}
NAMES = ("numpy", "cupy", "auto")


class _ByType(dict):
    """Array type -> Backend. NumPy's scalars and subclasses map to NumPy but are no keys: the keys
    are the types of plain arrays."""

    def __missing__(self, kind: type) -> Backend:
        if issubclass(kind, (np.ndarray, np.generic, *NUMBERS)):
            return BACKENDS["numpy"]
        if _is_cupy(kind):
            return get("cupy")
        raise DTypeError(
            f"{kind.__module__}.{kind.__qualname__} is not an array of a known backend "
            f"({', '.join(BACKENDS)}); convert it with tg.asarray(...)"
        )


BY_TYPE: dict[type, Backend] = _ByType()
WEAK = {*NUMBERS, type(None)}  # types of weakly typed scalars, and of optional inputs left out
RAW = set(WEAK)  # types that ops take besides Tensors: these, and arrays of the backends


def _is_cupy(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "cupy"


def is_host(kind: type) -> bool:
    """Whether values of a type are in the memory of the host: all but arrays of other backends."""
    return not _is_cupy(kind) and (kind not in BY_TYPE or BY_TYPE[kind].name == "numpy")


def register(backend: Backend) -> None:
    """Register a backend by name and by array type."""
    BACKENDS[backend.name] = backend
    BY_TYPE[backend.array_type] = backend
    RAW.add(backend.array_type)


register(Backend("numpy", np.ndarray, np, "cpu", lambda a: a, lambda a: a))


def namespace(first: Array, *others: Array) -> Any:
    """The array module of the first argument that is an array: `numpy`, `cupy`, ..."""
    if type(first) is np.ndarray:  # nearly always
        return np
    home = BY_TYPE.get(type(first))
    if home is not None:
        return home.xp
    for a in (first, *others):
        if a is not None and not isinstance(a, NUMBERS):
            return BY_TYPE[type(a)].xp
    return np


def on_host(a: Any) -> np.ndarray:
    """An array of any backend, or a number, as a NumPy array: without a copy on NumPy."""
    home = BY_TYPE.get(type(a))
    return np.asarray(a if home is None else home.to_host(a))


def check_gpu(what: str, names: Sequence[str], arrays: Sequence[Any]) -> None:
    """BackendError where an array is on another GPU than the current one: kernels are launched
    there, and would read memory that is not theirs."""
    here = None
    for name, a in zip(names, arrays, strict=False):
        if type(a) in BY_TYPE and BY_TYPE[type(a)].kernels == "cuda":
            here = BY_TYPE[type(a)].xp.cuda.runtime.getDevice() if here is None else here
            if a.device.id != here:
                place = f" at {line}" if (line := user_line()) else ""
                raise BackendError(
                    f"{what}{place}: {name} is on GPU {a.device.id}, the current one is GPU "
                    f"{here}; compute within `with cupy.cuda.Device({a.device.id}):`, or move it: "
                    "tg.asarray(x.numpy())"
                )


def within_vmap(a: Array) -> bool:
    """Whether an array stands for the examples of a vmap."""
    return type(a) is not np.ndarray and hasattr(type(a), "level")


def everything(a: Array) -> Array:
    """The numbers of an array: within vmap those of all examples."""
    return a if type(a) is np.ndarray else getattr(a, "everything", a)


# --- selection ----------------------------------------------------------------------------------


def why_no_gpu() -> str | None:
    """None when CuPy can use a GPU, else one line that says why not and what to do.

    Asks the driver first: without one, CuPy's own message is misleading (an insufficient driver
    version).
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return "no NVIDIA driver on this machine (libcuda not found); install the driver"
    if code := driver.cuInit(0):
        return f"the NVIDIA driver is there but cuInit failed with error {code}; see nvidia-smi"
    count = ctypes.c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    if not count.value:
        return "the driver sees no GPU; check CUDA_VISIBLE_DEVICES"
    from .kernels.interrupts import uninterrupted

    try:
        with uninterrupted():  # half imported, it could not be again
            import cupy
    except ImportError as error:
        return f'CuPy is not installed ({error}): pip install "tensorgrad-cupy[cuda13]"'
    if not cupy.cuda.is_available():
        return 'CuPy cannot use the GPU; run python -c "import cupy; cupy.show_config()"'
    return None


def get(name: str) -> Backend:
    """The backend of that name; BackendError with the reason when it cannot be used."""
    if not isinstance(name, str):
        raise BackendError(f"a backend is given by its name, got a {type(name).__name__}")
    if name in BACKENDS:
        return BACKENDS[name]
    if name == "auto":
        reason = why_no_gpu()
        chosen = get("numpy" if reason else "cupy")
        said = f"tensorgrad: backend auto chose {chosen.name}" + (f" ({reason})" if reason else "")
        print(said, file=sys.stderr)
        BACKENDS["auto"] = chosen
        return chosen
    if name != "cupy":
        called = {"cpu": "numpy", "cuda": "cupy", "gpu": "cupy"}.get(str(name).split(":")[0])
        hint = f"it is called {called!r}. " if called else ""
        hint += suggest("" if called else name, {*BACKENDS, *NAMES})
        raise BackendError(f"backend {name!r} is unknown: {hint}")
    if reason := why_no_gpu():
        raise BackendError(
            f"backend 'cupy' cannot be used: {reason}. For the CPU set TENSORGRAD_BACKEND=numpy; "
            "python -m tensorgrad doctor shows the whole diagnosis"
        )
    import cupy

    watch_forks()
    moves = (
        _explained("a copy to the GPU", cupy.asarray),
        _explained("a copy to the host", cupy.asnumpy),
    )
    register(Backend("cupy", cupy.ndarray, cupy, "cuda", *moves))
    return BACKENDS["cupy"]


def _explained(what: str, move: Callable) -> Callable:
    """A copy between host and device that synchronises, and raises the device's errors as ours."""
    move = tried_twice(move)

    def moved(a: Array) -> Array:
        try:
            return move(a)
        except (MemoryError, RuntimeError) as error:
            if (ours := failed(what, error)) is error:
                raise
            raise ours from error

    return moved


_default: Backend | None = None


def default() -> Backend:
    """The backend of new tensors: that of `set_backend`, else of TENSORGRAD_BACKEND, else NumPy."""
    global _default
    if _default is None:
        _default = get(os.environ.get("TENSORGRAD_BACKEND", "numpy").strip().lower() or "numpy")
    return _default


def set_backend(name: str) -> None:
    """Set the default backend, on which new tensors are created: "numpy", "cupy" or "auto", which
    is CuPy where a GPU is usable. Existing tensors stay where they are.

    Raises: BackendError with the reason where it is not usable.

    >>> before = zeros(1).backend
    >>> set_backend("numpy"); zeros(1).backend
    'numpy'
    >>> set_backend(before)
    """
    global _default
    _default = get(name)


# --- dtypes -------------------------------------------------------------------------------------


met: set[str] = set()  # "bfloat16" and "complex", once an array of such a dtype has been seen
on_meeting: list[Callable[[], None]] = []  # called then: other programs do not pay for checks


class _Floating(dict):
    def __missing__(self, dtype: np.dtype) -> bool:
        self[dtype] = dtype.kind in "fc" or dtype.name == "bfloat16"
        kind = "complex" if dtype.kind == "c" else dtype.name
        if kind in ("complex", "bfloat16") and kind not in met:
            met.add(kind)
            for tell in on_meeting:
                tell()
        return self[dtype]


_floating: dict[np.dtype, bool] = _Floating()


def is_floating(dtype: np.dtype) -> bool:
    """Whether a dtype is differentiable: NumPy's floats and complex numbers, and bfloat16, which is
    not of NumPy."""
    return _floating[dtype]


def complex_of(dtype: np.dtype) -> np.dtype:
    """The complex dtype of a floating one's precision; complex64 for halves."""
    return np.dtype("complex128" if dtype.name in ("float64", "complex128") else "complex64")


def fitting(dtype: np.dtype, a: np.dtype) -> np.dtype:
    """A floating dtype for numbers that are now of dtype `a`: complex ones stay complex."""
    return complex_of(dtype) if a.kind == "c" else dtype


class _Units(dict):
    """dtype -> 0 and 1 as arrays of a floating dtype; Python's for others, which keep the dtype."""

    def __missing__(self, dtype: np.dtype) -> tuple[Any, Any]:
        units = (np.zeros((), dtype), np.ones((), dtype)) if is_floating(dtype) else (0, 1)
        return self.setdefault(dtype, units)


_units = _Units()


def zero_and_one(x: Array) -> tuple[Any, Any]:
    """0 and 1 to compute with x: in NumPy as arrays of its dtype, which it takes in half the time
    of Python's numbers (0.2 instead of 0.45 us a call)."""
    return _units[x.dtype] if type(x) is np.ndarray else (0, 1)


def is_half(dtype: np.dtype) -> bool:
    """float16 or bfloat16: summed in float32, see `ops/reduce.py`."""
    return dtype.itemsize == 2 and is_floating(dtype)


def promoted(a: np.dtype, b: np.dtype) -> np.dtype:
    """The dtype of two floating ones together, as in NumPy; of float16 and bfloat16, which it
    refuses, the default."""
    try:
        return np.promote_types(a, b)
    except TypeError:
        return DEFAULT_DTYPE


def dtype_of(dtype: Any) -> np.dtype:
    """The NumPy dtype of a dtype, type or name; None is the default, float32. 'bfloat16' needs
    ml_dtypes. DTypeError for dtypes that are not numeric.

    >>> dtype_of("float32")
    dtype('float32')
    """
    if dtype is None:
        return DEFAULT_DTYPE
    if isinstance(dtype, str) and dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError as error:
            raise DTypeError("dtype 'bfloat16' needs the package ml_dtypes: pip install") from error
        dtype = ml_dtypes.bfloat16
    try:
        found = np.dtype(dtype)
        if is_floating(found) or found.kind in "biu":
            return found
        cause: Exception | None = None
    except Exception as error:  # NumPy reads text and lists as descriptions of records
        cause = error
    names = "bool int32 int64 float16 bfloat16 float32 float64 complex64 complex128".split()
    raise DTypeError(f"dtype {dtype!r} is not one of ours: {suggest(dtype, names)}") from cause


# --- making arrays ------------------------------------------------------------------------------


def cast(a: Array, dtype: np.dtype) -> Array:
    """a in a dtype, itself where it has that. DTypeError where imaginary parts would be lost."""
    if a.dtype.kind == "c" and dtype.kind not in "cb":
        raise DTypeError(
            f"complex numbers in {dtype} would lose their imaginary parts: take .real, .imag or abs"
        )
    return a.astype(dtype, copy=False)


def make(
    value: Any, dtype: Any = None, backend: str | None = None, floats: np.dtype = DEFAULT_DTYPE
) -> Array:
    """An array of an array, number or nested list, on `backend` (None: that of the array, else the
    default). Arrays keep their dtype; Python floats become `floats`.

    Raises: DTypeError for values that are not numeric.
    """
    to = None if backend is None else get(backend)
    kind = type(value)
    if kind in BY_TYPE or isinstance(value, (np.ndarray, np.generic)) or _is_cupy(kind):
        array, home = value, BY_TYPE[kind]
        if home.array_type is np.ndarray and type(array) is not np.ndarray:
            if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
                raise DTypeError(
                    "a masked array: its mask would be lost; fill it first, .filled(0)"
                )
            array = np.asarray(array)  # memory maps and other subclasses: their plain view
    else:
        to, home = to or default(), BACKENDS["numpy"]
        try:
            array = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise DTypeError(f"cannot make an array of {kind.__name__}: {error}") from error
        foreign = hasattr(value, "__array__")  # data frames, PyTorch's: they keep their dtype, too
        if dtype is None and not foreign and array.dtype in (np.float64, np.complex128):
            array = array.astype(fitting(_leading(value, floats), array.dtype), copy=False)
    if array.dtype.kind not in "biuf" and not is_floating(array.dtype):
        raise DTypeError(
            f"arrays hold numbers; got dtype {array.dtype} from {kind.__name__} "
            "(rows of different lengths, text, dates and objects must be encoded first)"
        )
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if to is not None and to is not home:
        array, home = to.from_host(home.to_host(array)), to
    if dtype is not None:
        array = cast(array, dtype_of(dtype))
    return array


def floats_beside(dtype: np.dtype) -> np.dtype:
    """What Python's floats become beside numbers of a dtype: the default, or double precision where
    those have it."""
    return np.dtype(np.float64) if dtype.char in "dD" else DEFAULT_DTYPE


def operand(value: Any, others: tuple) -> Any:
    """An operand that is neither a Tensor nor a plain array, converted to an array: NumPy scalars,
    lists, subclasses of arrays, whatever has `__array__`. It is put on the backend of the `others`.
    UnknownOperand for anything else."""
    kind = type(value)
    known = isinstance(value, (np.ndarray, np.generic, list, tuple, complex)) or _is_cupy(kind)
    if not known and (isinstance(value, str) or not hasattr(kind, "__array__")):
        raise UnknownOperand(
            f"{kind.__module__}.{kind.__qualname__} is not an array of a known backend "
            f"({', '.join(BACKENDS)}); convert it with tg.asarray(...)"
        )
    if isinstance(value, np.ndarray):
        return make(value)
    arrays = [getattr(other, "_data", other) for other in others if other is not value]
    arrays = [a for a in arrays if type(a) in BY_TYPE]
    floats = [a.dtype for a in arrays if is_floating(a.dtype)] or [DEFAULT_DTYPE]
    home = BY_TYPE[type(arrays[0])].name if arrays else None
    return make(value, None, home, reduce(promoted, floats))


def _leading(value: Any, floats: np.dtype) -> np.dtype:
    """The dtype of a nested list with floats in it: that of the floating arrays, and of NumPy's
    scalars, among them; `floats` where there is none, but Python's numbers."""
    found = {dtype for dtype in _dtypes(value) if is_floating(dtype)}
    return reduce(promoted, found) if found else floats


def _dtypes(value: Any) -> Iterator[np.dtype]:
    """The dtypes of all that has one in a nested list."""
    if isinstance(value, (list, tuple)):
        if not {float, int, bool}.issuperset(map(type, value)):
            for part in value:
                yield from _dtypes(part)
    elif isinstance(value, (np.ndarray, np.generic)):
        yield value.dtype
