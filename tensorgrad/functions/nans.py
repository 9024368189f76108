"""Reductions that leave NaN out. Its gradient is 0."""

from __future__ import annotations

import math

from ..backend import is_floating
from ..core import Tensor
from ..errors import ShapeError
from ..ops import elementwise as el
from ..settings import gate
from ..typing import ArrayLike, Axes, Axis, DType
from . import reduce as R
from .inputs import as_tensor
from .logic import isnan, logical_not
from .scan import cumprod, cumsum

__all__ = [
    "nanargmax",
    "nanargmin",
    "nancumprod",
    "nancumsum",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanprod",
    "nanstd",
    "nansum",
    "nanvar",
]


def _known(x: ArrayLike) -> tuple[Tensor, Tensor | None]:
    """x, and where it is a number; None for integers, which always are."""
    x = as_tensor(x)
    return x, logical_not(isnan(x)) if is_floating(x.dtype) else None


def _filled(x: ArrayLike, value: float) -> Tensor:
    """x with a number for each NaN."""
    x, known = _known(x)
    return x if known is None else el.where(known, x, value)


@gate
def nansum(
    x: ArrayLike, axis: Axes = None, dtype: DType = None, *, keepdims: bool = False
) -> Tensor:
    """The sum over `axis` of what is not NaN; 0 of nothing. Arguments as those of `sum`.

    >>> nansum([1.0, math.nan]).item()
    1.0
    """
    return R.sum(_filled(x, 0), axis, dtype, keepdims=keepdims)


@gate
def nanprod(
    x: ArrayLike, axis: Axes = None, dtype: DType = None, *, keepdims: bool = False
) -> Tensor:
    """The product over `axis` of what is not NaN; 1 of nothing. Arguments as those of `prod`.

    >>> nanprod([2.0, math.nan]).item()
    2.0
    """
    return R.prod(_filled(x, 1), axis, dtype, keepdims=keepdims)


@gate
def nanmean(
    x: ArrayLike, axis: Axes = None, dtype: DType = None, *, keepdims: bool = False
) -> Tensor:
    """The mean over `axis` of what is not NaN; NaN of nothing. Arguments as those of `mean`.

    >>> nanmean([1.0, math.nan, 3.0]).item()
    2.0
    """
    x, known = _known(x)
    return R.mean(x, axis, dtype, keepdims=keepdims, where=known)


@gate
def nanvar(
    x: ArrayLike,
    axis: Axes = None,
    dtype: DType = None,
    *,
    ddof: int | float = 0,
    correction: int | float | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The variance over `axis` of what is not NaN. Arguments as those of `var`.

    >>> nanvar([1.0, math.nan, 3.0]).item()
    1.0
    """
    x, known = _known(x)
    return R.var(x, axis, dtype, ddof=ddof, correction=correction, keepdims=keepdims, where=known)


@gate
def nanstd(
    x: ArrayLike,
    axis: Axes = None,
    dtype: DType = None,
    *,
    ddof: int | float = 0,
    correction: int | float | None = None,
    keepdims: bool = False,
) -> Tensor:
    """The standard deviation over `axis` of what is not NaN. Arguments as those of `std`.

    >>> nanstd([1.0, math.nan, 3.0]).item()
    1.0
    """
    x, known = _known(x)
    return R.std(x, axis, dtype, ddof=ddof, correction=correction, keepdims=keepdims, where=known)


@gate
def nanmax(x: ArrayLike, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """The largest over `axis` of what is not NaN; NaN of nothing but NaN. See `max`.

    >>> nanmax([1.0, math.nan]).item()
    1.0
    """
    x, known = _known(x)
    if known is None:
        return R.max(x, axis, keepdims=keepdims)
    y = R.max(el.where(known, x, -math.inf), axis, keepdims=keepdims)
    return el.where(R.any(known, axis, keepdims=keepdims), y, math.nan)


@gate
def nanmin(x: ArrayLike, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """The smallest over `axis` of what is not NaN; NaN of nothing but NaN. See `min`.

    >>> nanmin([1.0, math.nan]).item()
    1.0
    """
    x, known = _known(x)
    if known is None:
        return R.min(x, axis, keepdims=keepdims)
    y = R.min(el.where(known, x, math.inf), axis, keepdims=keepdims)
    return el.where(R.any(known, axis, keepdims=keepdims), y, math.nan)


def _place(name: str, x: ArrayLike, axis: Axis, keepdims: bool, largest: bool) -> Tensor:
    x, known = _known(x)
    arg = R.argmax if largest else R.argmin
    if known is None:
        return arg(x, axis, keepdims=keepdims)
    if x.backend == "numpy" and not R.all(R.any(known, axis)):
        raise ShapeError(f"{name}: nothing but NaN along axis {axis} of shape {x.shape}")
    return arg(el.where(known, x, -math.inf if largest else math.inf), axis, keepdims=keepdims)


@gate
def nanargmax(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """The index of the largest along an axis of what is not NaN. See `argmax`.

    Raises: ShapeError for nothing but NaN; a GPU, which would have to be waited for, gives 0.

    >>> nanargmax([math.nan, 1.0, 3.0]).item()
    2
    """
    return _place("nanargmax", x, axis, keepdims, True)


@gate
def nanargmin(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """The index of the smallest along an axis of what is not NaN. See `argmin`.

    Raises: ShapeError for nothing but NaN; a GPU, which would have to be waited for, gives 0.

    >>> nanargmin([math.nan, 1.0, 3.0]).item()
    1
    """
    return _place("nanargmin", x, axis, keepdims, False)


@gate
def nancumsum(x: ArrayLike, axis: Axis = None, dtype: DType = None) -> Tensor:
    """The sums of the elements up to each along an axis, NaN counted as 0. See `cumsum`.

    >>> nancumsum([1.0, math.nan, 3.0]).tolist()
    [1.0, 1.0, 4.0]
    """
    return cumsum(_filled(x, 0), axis, dtype)


@gate
def nancumprod(x: ArrayLike, axis: Axis = None, dtype: DType = None) -> Tensor:
    """The products of the elements up to each along an axis, NaN counted as 1. See `cumprod`.

    >>> nancumprod([2.0, math.nan, 3.0]).tolist()
    [2.0, 2.0, 6.0]
    """
    return cumprod(_filled(x, 1), axis, dtype)
