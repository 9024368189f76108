"""The dtype law, in one place: in which dtype an op computes when its inputs differ.

- Floating Tensors among themselves promote as NumPy's arrays do.
- Between a floating Tensor and anything else (an array, a NumPy scalar, a number, an integer
  Tensor) the Tensor's dtype wins: no constant makes a float32 model a float64 one.
- Integers whose function is not whole (a / b, mean, cos) are computed in the default dtype.
- Complex numbers beside a real Tensor make the result complex, in the Tensor's precision.

What says something of its own (indices, masks, random state) is `fixed` in the op table. Operations
on raw arrays alone are the array library's, as rules need them.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from .backend import (
    BY_TYPE,
    DEFAULT_DTYPE,
    WEAK,
    Array,
    complex_of,
    fitting,
    is_floating,
    make,
    promoted,
)
from .errors import DTypeError
from .switches import switches


def coerced(op: Any, arrays: list, nodes: list) -> list:
    """The arrays of a call in the dtypes of the law. `nodes` has False for those that were given
    raw: what the op saves of these is copied, as their owner may write to them before backward."""
    names, arrays = op.names(len(arrays)), _together(arrays, nodes)
    promotes = _promoting(op, arrays)
    given = [(a, node) for a, node, yes in zip(arrays, nodes, promotes, strict=True) if yes]
    dtype, record = _leading(given), switches.recording and any(nodes)
    present = any(a.dtype == dtype for a, _ in given)  # else none of them would lead NumPy to it
    return [
        _coerce(a, node, yes, dtype, present, record and name in op.rules.slots)
        for a, node, yes, name in zip(arrays, nodes, promotes, names, strict=True)
    ]


def _promoting(op: Any, arrays: list) -> list[bool]:
    """Which inputs take part in promotion: arrays that do not say something of their own."""
    names = op.names(len(arrays))
    return [type(a) not in WEAK and n not in op.fixed for a, n in zip(arrays, names, strict=True)]


def _together(arrays: list, nodes: list) -> list:
    """The arrays of a call, with raw NumPy arrays moved to where its Tensors are."""
    homes = [BY_TYPE[type(a)] for a, n in zip(arrays, nodes, strict=True)
             if n is not False and type(a) not in WEAK]  # fmt: skip
    if not homes or homes[0].array_type is np.ndarray:
        return arrays
    return [homes[0].from_host(a) if n is False and type(a) is np.ndarray else a
            for a, n in zip(arrays, nodes, strict=True)]  # fmt: skip


def _leading(given: list[tuple[Array, Any]]) -> np.dtype | None:
    """The floating dtype that the others take: that of the Tensors, else of raw arrays; numbers
    have none, be they NumPy's."""
    floats = [(a, node) for a, node in given if is_floating(a.dtype)]
    arrays = [a.dtype for a, node in floats if node is not False]
    arrays = arrays or [a.dtype for a, _ in floats if a.shape]
    if not floats:
        return None
    dtype = reduce(promoted, arrays) if arrays else DEFAULT_DTYPE
    return complex_of(dtype) if any(a.dtype.kind == "c" for a, _ in floats) else dtype


def _leads_to(dtype: np.dtype, a: np.dtype) -> bool:
    """Whether NumPy itself takes numbers of `a` beside `dtype` for the latter."""
    try:
        return np.promote_types(a, dtype) == dtype
    except TypeError:  # bfloat16, of which it does not know how it compares to others
        return False


def _coerce(
    a: Any, node: Any, promotes: bool, dtype: np.dtype | None, present: bool, save: bool
) -> Array:
    """One array of a call in `dtype`, the one that leads; `present`: some input has it already."""
    if node is False and a.dtype.kind not in "biuf" and not is_floating(a.dtype):
        raise DTypeError(f"an operand of dtype {a.dtype}: tensors hold numbers")
    follows = node is False or (promotes and not is_floating(a.dtype))
    if promotes and follows and dtype is not None and not (present and _leads_to(dtype, a.dtype)):
        return a.astype(dtype)
    return a.copy() if save and node is False and type(a) not in WEAK else a


def recomputed(
    op: Any, y: Array, arrays: list, params: dict[str, Any] | None = None
) -> tuple[Array, list]:
    """The result of a call, whose dtype is not that of its last Tensor, in the dtype of the law;
    and the inputs, likewise. It is computed again where these are cast: integers to the default
    dtype for a function that is not whole, of which NumPy computes bytes in halves. Without
    `params` (several outputs, whose floating inputs are settled) only the result is cast."""
    if not is_floating(y.dtype):
        return y, arrays
    promotes = _promoting(op, arrays)
    if any(yes and is_floating(a.dtype) for a, yes in zip(arrays, promotes, strict=True)):
        if params is None:
            return y, arrays
        lawful = coerced(op, arrays, [None] * len(arrays))
    elif params is None or not any(promotes):  # where(mask, 1.0, 0.0): nothing but numbers
        return y.astype(fitting(DEFAULT_DTYPE, y.dtype)), arrays
    else:
        lawful = [a.astype(DEFAULT_DTYPE) if yes else a
                  for a, yes in zip(arrays, promotes, strict=True)]  # fmt: skip
    if params is None or all(a is b for a, b in zip(arrays, lawful, strict=True)):
        return y, arrays
    y = op.kernels[type(lawful[0])](*lawful, **params)
    return y if type(y) in BY_TYPE else make(y), lawful
