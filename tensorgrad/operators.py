"""The operators of Tensor, and what `x += u` means for a tensor on the tape, and off it."""

from __future__ import annotations

from collections.abc import Callable
from sys import getrefcount
from typing import Any, Self

import numpy as np

from . import functions as F
from .backend import NUMBERS, Array, cast, is_floating
from .core import Leaf, Tensor, stamp
from .errors import DTypeError, GraphError, ShapeError
from .ops import discrete, elementwise, matmul
from .ownership import shares_memory
from .switches import switches
from .typing import ArrayBase, ArrayLike

# The functions that the operators call: those of the ops, without a detour.
_add = elementwise.add.call
_sub = elementwise.subtract.call
_mul = elementwise.multiply.call
_div = elementwise.divide.call
_pow = elementwise.power.call
_matmul = matmul.matmul.call
_floordiv = discrete.floor_divide.call
_mod = discrete.remainder.call
_and = discrete.bitwise_and.call
_or = discrete.bitwise_or.call
_xor = discrete.bitwise_xor.call
_lshift = discrete.bitwise_left_shift.call
_rshift = discrete.bitwise_right_shift.call
_eq = elementwise.equal.call
_ne = elementwise.not_equal.call
_lt = elementwise.less.call
_le = elementwise.less_equal.call
_gt = elementwise.greater.call
_ge = elementwise.greater_equal.call

KNOWN: set[type] = {Tensor, np.ndarray, list, tuple, complex, *NUMBERS}


def known(other: Any) -> bool:
    """Whether an operator takes the other operand: arrays and all that NumPy makes arrays of, but
    those that keep operators to themselves (`__array_ufunc__ = None`, as NumPy has it)."""
    kind = type(other)
    if kind in KNOWN:
        return True
    if issubclass(kind, Tensor) or (
        hasattr(kind, "__array__") and getattr(kind, "__array_ufunc__", known) is not None
    ):
        KNOWN.add(kind)
        return True
    return hasattr(kind, "__cuda_array_interface__")


def check_writable(x: Any, what: str, instead: str, unnamed: bool = False) -> None:
    """GraphError unless the tensor may be given new numbers: it is off the tape, or a leaf while
    nothing is recorded, and no view of another's memory. (A view without a name, as in `x[i] += u`,
    is assigned to x[i] by Python itself.)"""
    if x.node is not None and type(x.node) is not Leaf:
        raise GraphError(f"{what}: x is the result of an op, and backward needs it: {instead}")
    if x.node is not None and switches.recording:
        raise GraphError(
            f"{what}: x requires gradients, and a recorded write would change what it was: "
            f"update it under tg.no_grad(); {instead}"
        )
    if shares_memory(x._data) and not unnamed:
        raise GraphError(
            f"{what}: x is a view of the memory of another tensor or array, which would not see "
            f"the new numbers: write to that one (x[i] = v), or to a .copy(); {instead}"
        )


def cast_exactly(a: Array, dtype: np.dtype[Any], what: str) -> Array:
    """An array in the dtype of the tensor that takes its numbers. DTypeError where that would
    change them: fractions become whole ones, or whole ones are out of range."""
    if a.dtype == dtype or is_floating(dtype):
        return cast(a, dtype)
    made = a.astype(dtype)
    if is_floating(a.dtype) or not (made == a).all():
        raise DTypeError(f"{what}: x holds {dtype}, which cannot hold these numbers of {a.dtype}")
    return made


def _updated(x: Any, operation: Callable[..., Any], other: Any, sign: str) -> Any:
    """x after `x op= other`, of the same shape and dtype. A recorded tensor gives a new one. Any
    other is given a new array, so that graphs recorded before keep their numbers."""
    if not known(other):
        return NotImplemented
    unnamed = getrefcount(x) == _UNNAMED
    recorded = x.node is not None and type(x.node) is not Leaf
    if not recorded:
        check_writable(x, f"x {sign} u", f"x = x {sign[:-1]} u makes a new tensor", unnamed)
    y = operation(x, other)
    if y.shape != x.shape:
        raise ShapeError(f"x {sign} u: x has shape {x.shape}, the result would have {y.shape}")
    if y.dtype != x.dtype:
        if not np.can_cast(y.dtype, x.dtype, "same_kind"):
            said = f"x {sign} u: x holds {x.dtype}, the result would be {y.dtype}"
            raise DTypeError(f"{said}: x = x {sign[:-1]} u makes a new tensor")
        y = y.astype(x.dtype) if y.node else Tensor(cast_exactly(y._data, x.dtype, f"x {sign} u"))
    if recorded or unnamed or y.node is not None:
        return y
    x._data = y._data
    stamp(x)
    return x


class _Counted:
    """Its `+=` appends to the list on the right how many references `_updated` sees to the left."""

    def __iadd__(self, counts: list[int]) -> Any:
        return _count(self, None, counts, "+=")


class _Items:
    """A container that makes its items when asked for them, as a tensor does."""

    def __getitem__(self, key: int) -> Any:
        return _Counted()

    def __setitem__(self, key: int, value: Any) -> None:
        pass


def _count(x: Any, operation: Any, counts: list[int], sign: str) -> Any:
    counts.append(getrefcount(x))
    return x


def _references_to_the_unnamed() -> int:
    """How many references `_updated` sees to x[i] in `x[i] += u`; -1 where Python does not
    distinguish it from a variable."""
    counts: list[int] = []
    variable, items = _Counted(), _Items()
    variable += counts
    items[0] += counts
    return counts[1] if counts[1] < counts[0] else -1


_UNNAMED = _references_to_the_unnamed()


class Operators(ArrayBase):
    """What they do not know is left to the other operand's type."""

    __slots__ = ()

    def __add__(self, other: ArrayLike) -> Tensor:
        return _add(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __radd__(self, other: ArrayLike) -> Tensor:
        return _add(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __sub__(self, other: ArrayLike) -> Tensor:
        return _sub(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rsub__(self, other: ArrayLike) -> Tensor:
        return _sub(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __mul__(self, other: ArrayLike) -> Tensor:
        return _mul(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rmul__(self, other: ArrayLike) -> Tensor:
        return _mul(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __truediv__(self, other: ArrayLike) -> Tensor:
        return _div(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rtruediv__(self, other: ArrayLike) -> Tensor:
        return _div(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __floordiv__(self, other: ArrayLike) -> Tensor:
        return _floordiv(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rfloordiv__(self, other: ArrayLike) -> Tensor:
        return _floordiv(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __mod__(self, other: ArrayLike) -> Tensor:
        return _mod(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rmod__(self, other: ArrayLike) -> Tensor:
        return _mod(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __divmod__(self, other: ArrayLike) -> tuple[Tensor, Tensor]:
        return F.divmod(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rdivmod__(self, other: ArrayLike) -> tuple[Tensor, Tensor]:
        return F.divmod(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __pow__(self, other: ArrayLike) -> Tensor:
        return _pow(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rpow__(self, other: ArrayLike) -> Tensor:
        return _pow(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __matmul__(self, other: ArrayLike) -> Tensor:
        return _matmul(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rmatmul__(self, other: ArrayLike) -> Tensor:
        return _matmul(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __and__(self, other: ArrayLike) -> Tensor:
        return _and(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rand__(self, other: ArrayLike) -> Tensor:
        return _and(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __or__(self, other: ArrayLike) -> Tensor:
        return _or(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __ror__(self, other: ArrayLike) -> Tensor:
        return _or(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __xor__(self, other: ArrayLike) -> Tensor:
        return _xor(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rxor__(self, other: ArrayLike) -> Tensor:
        return _xor(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __lshift__(self, other: ArrayLike) -> Tensor:
        return _lshift(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rlshift__(self, other: ArrayLike) -> Tensor:
        return _lshift(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __rshift__(self, other: ArrayLike) -> Tensor:
        return _rshift(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __rrshift__(self, other: ArrayLike) -> Tensor:
        return _rshift(other, self) if type(other) in KNOWN or known(other) else NotImplemented

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return _eq(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return _ne(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __lt__(self, other: ArrayLike) -> Tensor:
        return _lt(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __le__(self, other: ArrayLike) -> Tensor:
        return _le(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __gt__(self, other: ArrayLike) -> Tensor:
        return _gt(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    def __ge__(self, other: ArrayLike) -> Tensor:
        return _ge(self, other) if type(other) in KNOWN or known(other) else NotImplemented

    __hash__ = object.__hash__  # of the tensor, not of its numbers

    def __neg__(self) -> Tensor:
        return F.negative(self)

    def __pos__(self) -> Tensor:
        return F.positive(self)

    def __abs__(self) -> Tensor:
        return F.abs(self)

    def __invert__(self) -> Tensor:
        return F.bitwise_invert(self)

    def __round__(self, decimals: int = 0) -> Tensor:
        return F.round(self, decimals)

    def __floor__(self) -> Tensor:
        return F.floor(self)

    def __ceil__(self) -> Tensor:
        return F.ceil(self)

    def __trunc__(self) -> Tensor:
        return F.trunc(self)

    # --- operators in place: new numbers for the same tensor (see `_updated`) ---

    def __iadd__(self, other: ArrayLike) -> Self:
        return _updated(self, _add, other, "+=")

    def __isub__(self, other: ArrayLike) -> Self:
        return _updated(self, _sub, other, "-=")

    def __imul__(self, other: ArrayLike) -> Self:
        return _updated(self, _mul, other, "*=")

    def __itruediv__(self, other: ArrayLike) -> Self:
        return _updated(self, _div, other, "/=")

    def __ifloordiv__(self, other: ArrayLike) -> Self:
        return _updated(self, _floordiv, other, "//=")

    def __imod__(self, other: ArrayLike) -> Self:
        return _updated(self, _mod, other, "%=")

    def __ipow__(self, other: ArrayLike) -> Self:
        return _updated(self, _pow, other, "**=")

    def __imatmul__(self, other: ArrayLike) -> Self:
        return _updated(self, _matmul, other, "@=")

    def __iand__(self, other: ArrayLike) -> Self:
        return _updated(self, _and, other, "&=")

    def __ior__(self, other: ArrayLike) -> Self:
        return _updated(self, _or, other, "|=")

    def __ixor__(self, other: ArrayLike) -> Self:
        return _updated(self, _xor, other, "^=")

    def __ilshift__(self, other: ArrayLike) -> Self:
        return _updated(self, _lshift, other, "<<=")

    def __irshift__(self, other: ArrayLike) -> Self:
        return _updated(self, _rshift, other, ">>=")
