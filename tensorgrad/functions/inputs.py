"""What every public function does with its arguments before an op gets them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np

from ..backend import DEFAULT_DTYPE, NUMBERS, is_floating, operand, promoted
from ..core import Tensor
from ..creation import asarray, beside, tracked
from ..errors import DTypeError, IndexingError


def as_tensor(x: Any) -> Tensor:
    """x itself, or a Tensor of an array, a number or a list."""
    return x if isinstance(x, Tensor) else asarray(x)


def floating(x: Any) -> Any:
    """A Tensor, array or number whose integers became the default float."""
    x = as_tensor(x) if isinstance(x, NUMBERS) else x
    return x if is_floating(x.dtype) else x.astype(DEFAULT_DTYPE)


def operands(*xs: Any) -> list[Any]:
    """The inputs of an op of several: Tensors where there is none among them. Beside a Tensor all
    stays what it is, for the op to settle dtypes and copies, but for lists of tensors on the tape,
    and lists of numbers beside double precision."""
    if any(isinstance(x, Tensor) for x in xs):
        return [_listed(x, xs) if isinstance(x, (list, tuple)) else x for x in xs]
    made = [x if x is None or isinstance(x, NUMBERS) else asarray(x) for x in xs]
    if not any(isinstance(x, Tensor) for x in made):
        made = [x if x is None else asarray(x) for x in made]
    return made


def _listed(x: Any, xs: Sequence[Any]) -> Any:
    wide = _double(xs)
    if tracked(x):
        return asarray(x)
    return x if wide is None else beside(x, wide)


def _double(xs: Sequence[Any]) -> Tensor | None:
    """A Tensor of double precision among them."""
    return next((x for x in xs if isinstance(x, Tensor) and x.dtype.char in "dD"), None)


def tensors(*xs: Any) -> list[Any]:
    """Each as a Tensor: numbers and lists in double precision where one of the Tensors is."""
    wide = _double(xs)

    def made(x: Any) -> Any:
        return x if x is None else as_tensor(x) if wide is None else beside(x, wide)

    return [made(x) for x in xs]


def arrays(*xs: Any) -> list[Any]:
    """`operands`, with arrays in the place of numbers and lists: all of them have a shape."""
    if {Tensor}.issuperset(map(type, xs)):
        return list(xs)
    made = [np.asarray(x) if isinstance(x, NUMBERS) else x for x in operands(*xs)]
    return [x if hasattr(x, "shape") else operand(x, tuple(made)) for x in made]


def alike(*xs: Any) -> list[Any]:
    """Tensors in one floating dtype, by the dtype law: that of the Tensors among them, which the
    others take. None and complex numbers stay."""
    if xs[0] is None:
        raise DTypeError("None is no array")
    found = operands(*xs)
    led = [t.dtype for t in found if isinstance(t, Tensor) and is_floating(t.dtype)]
    dtype = reduce(promoted, led) if led else np.dtype(DEFAULT_DTYPE)
    home = next(t for t in found if isinstance(t, Tensor))

    def cast(x: Any) -> Tensor:
        made = beside(x, home)
        return made if made.dtype == dtype or made.dtype.kind == "c" else made.astype(dtype)

    return [x if x is None else cast(x) for x in found]


def both(a: Any, b: Any) -> list[Any]:
    """`operands` of two, neither of which may be left out."""
    if a is None or b is None:
        raise DTypeError("None is no array")
    return operands(a, b)


def several(value: int | Sequence[int]) -> tuple[int, ...]:
    """A whole number, or several, as several."""
    return (value,) if isinstance(value, int) else tuple(value)


def axis_of(name: str, x: Tensor, axis: int) -> int:
    """One axis of x, counted from the first."""
    if not -x.ndim <= axis < x.ndim:
        raise IndexingError(f"{name}: axis {axis} of an array of shape {x.shape}, which has none")
    return axis % x.ndim
