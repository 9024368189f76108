"""What every public function does with its arguments before an op gets them."""

from __future__ import annotations

from collections.abc import Iterable
from operator import index
from typing import Any

from ..backend import NUMBERS
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, DTypeError


def as_tensor(x: Any) -> Tensor:
    """x itself, or a Tensor of an array, a number or a list."""
    return x if isinstance(x, Tensor) else asarray(x)


def operands(*xs: Any) -> list[Any]:
    """Tensors of arrays and lists. Numbers, and None, stay what they are beside one, so that they
    do not widen it; numbers alone become Tensors."""
    made = [x if x is None or isinstance(x, (Tensor, *NUMBERS)) else asarray(x) for x in xs]
    if not any(isinstance(x, Tensor) for x in made):
        made = [x if x is None else asarray(x) for x in made]
    return made


def whole(name: str, value: Any) -> int:
    """A whole number as an int: of Python, NumPy or a Tensor. DTypeError for all else."""
    if isinstance(value, Tensor) and value.node is not None:
        raise DTypeError(f"{name} takes a whole number, and no gradient reaches a tensor there")
    try:
        return index(value)
    except TypeError:
        raise ArgumentError(f"{name}={value!r} must be a whole number") from None


def real(name: str, value: Any) -> float:
    """A number as a float: of Python, NumPy or an untracked Tensor."""
    if isinstance(value, Tensor) and value.node is not None:
        raise ArgumentError(f"{name} takes a plain number, and no gradient reaches a tensor there")
    try:
        return value.__float__()  # which text has not, that float() would read
    except (AttributeError, TypeError, ValueError):
        raise ArgumentError(f"{name}={value!r} must be a number") from None


def axes_of(name: str, value: Any) -> Any:
    """None, an axis as an int, or several as a tuple of ints."""
    if value is None:
        return None
    if isinstance(value, Iterable) and not hasattr(value, "__index__"):
        return tuple([whole(name, v) for v in value])
    return whole(name, value)


def pair(name: str, value: Any) -> tuple[int, int]:
    """A size of images as (rows, columns); one number stands for both."""
    if isinstance(value, Iterable) and not hasattr(value, "__index__"):
        both = tuple([whole(name, v) for v in value])
        if len(both) != 2:
            raise ArgumentError(f"{name}={value!r}: give one number, or (rows, columns)")
        return both
    return (whole(name, value),) * 2
