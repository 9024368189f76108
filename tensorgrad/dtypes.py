"""Dtypes by name, and what they hold: the array-API standard's data types and their functions.

A dtype is NumPy's; functions take its name, too: `tg.zeros(2, "float64")`, `x.astype("bfloat16")`.
"""

from __future__ import annotations

import math
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from . import backend as backends
from .backend import BACKENDS, DEFAULT_DTYPE, dtype_of, is_floating
from .core import Tensor
from .creation import asarray
from .errors import ArgumentError, DTypeError, ShapeError, suggest
from .settings import gate
from .typing import ArrayLike, DType

__all__ = [
    "__array_namespace_info__",
    "astype",
    "bool_",
    "broadcast_shapes",
    "can_cast",
    "complex64",
    "complex128",
    "e",
    "finfo",
    "float16",
    "float32",
    "float64",
    "iinfo",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "isdtype",
    "nan",
    "newaxis",
    "pi",
    "result_type",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None

bool_ = np.dtype("bool")
int8, int16, int32, int64 = map(np.dtype, ("int8", "int16", "int32", "int64"))
uint8, uint16, uint32, uint64 = map(np.dtype, ("uint8", "uint16", "uint32", "uint64"))
float16, float32, float64 = map(np.dtype, ("float16", "float32", "float64"))
complex64, complex128 = map(np.dtype, ("complex64", "complex128"))

_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def _dtype(x: Any) -> np.dtype[Any]:
    """The dtype of an array, or the one that is named."""
    return x.dtype if hasattr(x, "dtype") and not isinstance(x, type) else dtype_of(x)


class FloatLimits(NamedTuple):
    """The bits and limits of a floating dtype. `eps` is the distance from 1 to the next number."""

    bits: int
    eps: float
    max: float
    min: float
    smallest_normal: float
    dtype: np.dtype[Any]


def finfo(dtype: Any) -> FloatLimits:
    """The limits of a floating dtype, or of a tensor's; of a complex one those of its parts.

    >>> finfo("float32").bits, finfo("float16").max
    (32, 65504.0)
    """
    found = _dtype(dtype)
    if not is_floating(found):
        raise DTypeError(f"finfo is for floating dtypes, got {found}; tg.iinfo is for integers")
    if found.name == "bfloat16":
        import ml_dtypes

        limits: Any = ml_dtypes.finfo(found)
    else:
        limits = np.finfo(found)
    return FloatLimits(
        int(limits.bits),
        float(limits.eps),
        float(limits.max),
        float(limits.min),
        float(limits.smallest_normal),
        limits.dtype,
    )


def iinfo(dtype: Any) -> Any:
    """The limits of an integer dtype, or of a tensor's: `max`, `min`, `bits`, `dtype`.

    >>> iinfo("int8").max
    127
    """
    found = _dtype(dtype)
    if found.kind not in "iu":
        raise DTypeError(f"iinfo is for integer dtypes, got {found}; tg.finfo is for floating ones")
    return np.iinfo(found)


def isdtype(dtype: DType, kind: DType | tuple[DType, ...]) -> bool:
    """Whether a dtype is of a kind: 'bool', 'signed integer', 'unsigned integer', 'integral', 'real
    floating', 'complex floating', 'numeric', another dtype, or one of several such.

    >>> isdtype("float32", ("integral", "real floating"))
    True
    """
    found = dtype_of(dtype)
    if isinstance(kind, tuple):
        return any(isdtype(found, each) for each in kind)
    if isinstance(kind, str) and kind not in ("bfloat16", *np.sctypeDict):
        if kind not in _KINDS:
            raise ArgumentError(f"isdtype: kind={kind!r}: {suggest(kind, _KINDS)}")
        return found.kind in _KINDS[kind] or ("f" in _KINDS[kind] and found.name == "bfloat16")
    return found == dtype_of(kind)


def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    """The dtype of a result of these tensors, numbers and dtypes, by the dtype law: numbers have no
    say but for their kind.

    >>> result_type("int32", "int64"), result_type(ones(2), 1.5)
    (dtype('int64'), dtype('float32'))
    """
    numbers = [x for x in arrays_and_dtypes if type(x) in (bool, int, float, complex)]
    known = [_dtype(x) for x in arrays_and_dtypes if type(x) not in (bool, int, float, complex)]
    if not known:
        if not numbers:
            raise ArgumentError("result_type: give one tensor, number or dtype, or more")
        return backends.make(sum(numbers)).dtype
    dtype = reduce(_together, known)
    if any(type(x) in (float, complex) for x in numbers) and not is_floating(dtype):
        dtype = DEFAULT_DTYPE
    if any(type(x) is complex for x in numbers):
        dtype = backends.complex_of(dtype)
    return (
        np.dtype("int64") if dtype.kind == "b" and any(type(x) is int for x in numbers) else dtype
    )


def _together(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of two tensors' result; between integers and floating numbers the latter's."""
    if is_floating(a) and is_floating(b):
        return backends.promoted(a, b)
    if is_floating(a) or is_floating(b):
        return a if is_floating(a) else b
    return np.promote_types(a, b)


def can_cast(from_: Any, to: DType) -> bool:
    """Whether every number of a dtype, or a tensor's, is one of another dtype, too.

    >>> can_cast("int32", "int64"), can_cast("float64", "float32")
    (True, False)
    """
    try:
        return bool(np.can_cast(_dtype(from_), dtype_of(to)))
    except TypeError:  # bfloat16, of which NumPy does not know
        return _dtype(from_) == dtype_of(to)


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape to which these broadcast together.

    >>> broadcast_shapes((2, 1), (3,), ())
    (2, 3)
    """
    try:
        return np.broadcast_shapes(*shapes)
    except (ValueError, TypeError) as error:
        raise ShapeError(f"broadcast_shapes{shapes}: {error}") from None


@gate
def astype(x: ArrayLike, dtype: DType, *, copy: bool = True, device: str | None = None) -> Tensor:
    """x in another dtype: a copy, or x itself where it has that dtype and `copy` is False.
    `x.astype(dtype)` is the same.

    >>> astype([1.7, 2.2], "int64").tolist()
    [1, 2]
    """
    made = asarray(x, None, device)
    return made if not copy and made.dtype == dtype_of(dtype) else made.astype(dtype)


class __array_namespace_info__:
    """What this library has of the array-API standard.

    >>> __array_namespace_info__().default_dtypes()["integral"]
    dtype('int64')
    """

    def capabilities(self) -> dict[str, Any]:
        """Whether shapes may depend on data, and how many axes there may be."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> str:
        """The backend of new tensors."""
        return backends.default().name

    def devices(self) -> list[str]:
        """The backends that are in use."""
        return [name for name in BACKENDS if name != "auto"]

    def default_dtypes(self, *, device: str | None = None) -> dict[str, np.dtype[Any]]:
        """The dtypes of what is made without one."""
        return {
            "real floating": DEFAULT_DTYPE,
            "complex floating": complex64,
            "integral": int64,
            "indexing": int64,
        }

    def dtypes(
        self, *, device: str | None = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, np.dtype[Any]]:
        """The dtypes of a kind, or of several; all without one."""
        names = "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64".split()
        known = {name: np.dtype(name) for name in [*names, "complex64", "complex128"]}
        return {n: d for n, d in known.items() if kind is None or isdtype(d, kind)}
