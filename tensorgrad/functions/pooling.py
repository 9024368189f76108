"""Pooling over one, two and three axes: (n, channels, ...); and over the channels."""

from __future__ import annotations

import math
from typing import Any, Literal, overload

import numpy as np

from ..core import Tensor
from ..errors import ShapeError
from ..ops import pool
from ..ops.shape import cast, pad, reshape
from ..ops.windows import Windows, geometry, largest, means
from ..settings import gate
from ..typing import ArrayLike, Border, Border1, Border3, Count, Positive, Size, Size1, Size3
from .elementwise import where
from .inputs import as_tensor, floating

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "local_response_norm",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]


def _windows(
    name: str,
    axes: int,
    x: Tensor,
    size: Any,
    stride: Any,
    padding: Any,
    dilation: Any = (1, 1, 1),
    ceil_mode: bool = False,
) -> list[Windows]:
    """The windows along each axis, as PyTorch counts them."""
    if x.ndim != axes + 2:
        raise ShapeError(f"{name}: x has shape {x.shape}: {axes + 2} axes, (n, channels, ...)")
    made = []
    each = zip(x.shape[2:], size, stride or size, padding, dilation[:axes], strict=True)
    for n, k, s, p, d in each:
        span = d * (k - 1) + 1
        count = (n + 2 * p - span + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= n + p:  # it would begin in the padding behind
            count -= 1
        found = Windows(n, count, k, s, p, d)
        if 2 * p > span:
            raise ShapeError(f"{name}: padding {padding} is more than half of the window {size}")
        if count < 1 or not n:
            raise ShapeError(
                f"{name}: windows of {size} with dilation {dilation[:axes]} do not fit into x of "
                f"shape {x.shape} padded by {padding}"
            )
        at = found.places()
        if at.min() < 0 or at.max() >= n:
            raise ShapeError(
                f"{name}: a window of {size} with dilation {dilation} of x of shape {x.shape} has "
                "padding alone"
            )
        made.append(found)
    return made


# --- the largest ----------------------------------------------------------------------------------


def _max_pool(
    name: str, axes: int, x: ArrayLike, *how: Any, return_indices: bool
) -> Tensor | tuple[Tensor, Tensor]:
    x = as_tensor(x)
    along = _windows(name, axes, x, *how)
    if axes == 2 and all(w.plain for w in along):
        y, where = pool.max_pool2d(x, **geometry(along))
        return (y, cast(where, dtype="int64")) if return_indices else y
    found = largest(x, along)
    return found if return_indices else found[0]


@overload
def max_pool1d(
    x: ArrayLike,
    size: Size1,
    stride: Size1 | None = None,
    padding: Border1 = (0,),
    *,
    dilation: Size1 = (1,),
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool1d(
    x: ArrayLike,
    size: Size1,
    stride: Size1 | None = None,
    padding: Border1 = (0,),
    *,
    dilation: Size1 = (1,),
    ceil_mode: bool = False,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]: ...
@overload
def max_pool1d(
    x: ArrayLike,
    size: Size1,
    stride: Size1 | None = None,
    padding: Border1 = (0,),
    *,
    dilation: Size1 = (1,),
    ceil_mode: bool = False,
    return_indices: bool,
) -> Tensor | tuple[Tensor, Tensor]: ...
@gate
def max_pool1d(
    x: ArrayLike,
    size: Size1,
    stride: Size1 | None = None,
    padding: Border1 = (0,),
    *,
    dilation: Size1 = (1,),
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest number of each window: (n, c, l) -> (n, c, l'),
    l' = floor((l + 2 padding - dilation (size - 1) - 1) / stride) + 1.

    Args:
        size, stride, padding, dilation, ceil_mode, return_indices: as those of `max_pool2d`.
    Raises: as `max_pool2d`.

    >>> max_pool1d([[[1.0, 3.0, 2.0, 4.0]]], 2).tolist()
    [[[3.0, 4.0]]]
    """
    how = (size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool1d", 1, x, *how, return_indices=return_indices)


@overload
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Border = (0, 0),
    *,
    dilation: Size = (1, 1),
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Border = (0, 0),
    *,
    dilation: Size = (1, 1),
    ceil_mode: bool = False,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]: ...
@overload
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Border = (0, 0),
    *,
    dilation: Size = (1, 1),
    ceil_mode: bool = False,
    return_indices: bool,
) -> Tensor | tuple[Tensor, Tensor]: ...
@gate
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Border = (0, 0),
    *,
    dilation: Size = (1, 1),
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest number of each window: (n, c, h, w) -> (n, c, h', w'),
    h' = floor((h + 2 padding - dilation (size - 1) - 1) / stride) + 1, w' alike.

    Args:
        size: the window, one number or (rows, columns).
        stride: from window to window; `size` where left out.
        padding: rows and columns of -inf on each side, at most half of what a window spans.
        dilation: from element to element of a window.
        ceil_mode: round h' up, so that all elements are in a window; the last may reach over the
            end, but does not begin there.
        return_indices: also the place of each maximum in its plane, row * w + column, int64, as
            `max_unpool2d` takes it.
    Raises: ShapeError where the window is larger than the padded image, or the padding than half
    of the window.

    Of equal numbers the first is taken; a NaN wins. The gradient goes to that place alone.

    >>> max_pool2d([[[[1.0, 2.0], [4.0, 3.0]]]], 2).item()
    4.0
    >>> y, indices = max_pool2d([[[[1.0, 2.0], [4.0, 3.0]]]], 2, return_indices=True)
    >>> indices.item()
    2
    """
    how = (size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool2d", 2, x, *how, return_indices=return_indices)


@overload
def max_pool3d(
    x: ArrayLike,
    size: Size3,
    stride: Size3 | None = None,
    padding: Border3 = (0, 0, 0),
    *,
    dilation: Size3 = (1, 1, 1),
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool3d(
    x: ArrayLike,
    size: Size3,
    stride: Size3 | None = None,
    padding: Border3 = (0, 0, 0),
    *,
    dilation: Size3 = (1, 1, 1),
    ceil_mode: bool = False,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]: ...
@overload
def max_pool3d(
    x: ArrayLike,
    size: Size3,
    stride: Size3 | None = None,
    padding: Border3 = (0, 0, 0),
    *,
    dilation: Size3 = (1, 1, 1),
    ceil_mode: bool = False,
    return_indices: bool,
) -> Tensor | tuple[Tensor, Tensor]: ...
@gate
def max_pool3d(
    x: ArrayLike,
    size: Size3,
    stride: Size3 | None = None,
    padding: Border3 = (0, 0, 0),
    *,
    dilation: Size3 = (1, 1, 1),
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest number of each window: (n, c, d, h, w) -> (n, c, d', h', w'), each
    d' = floor((d + 2 padding - dilation (size - 1) - 1) / stride) + 1.

    Args:
        size, stride, padding, dilation, ceil_mode: as those of `max_pool2d`, one number or (depth,
            rows, columns).
        return_indices: also the place of each maximum in its volume, flattened, int64.
    Raises: as `max_pool2d`.

    >>> max_pool3d(np.arange(16.0).reshape(1, 1, 2, 2, 4), 2).tolist()
    [[[[[13.0, 15.0]]]]]
    """
    how = (size, stride, padding, dilation, ceil_mode)
    return _max_pool("max_pool3d", 3, x, *how, return_indices=return_indices)


# --- the mean -------------------------------------------------------------------------------------


def _avg_pool(
    name: str,
    axes: int,
    x: ArrayLike,
    size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    given: Tensor = floating(as_tensor(x))
    along = _windows(name, axes, given, size, stride, padding, (1, 1, 1), ceil_mode)
    counts = 1.0
    for w in along:
        start = np.arange(w.count) * w.stride - w.padding
        end = np.minimum(start + w.size, w.length + w.padding)
        inside = np.minimum(end, w.length) - np.maximum(start, 0)
        counts = np.multiply.outer(counts, end - start if count_include_pad else inside)
    y = means(given, along)
    share = math.prod(size) / (counts if divisor is None else divisor)
    return y if np.all(share == 1) else y * share


@gate
def avg_pool1d(
    x: ArrayLike,
    size: Size1,
    stride: Size1 | None = None,
    padding: Border1 = (0,),
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Count | None = None,
) -> Tensor:
    """The mean of each window: (n, c, l) -> (n, c, l'),
    l' = floor((l + 2 padding - size) / stride) + 1.

    Args:
        size, stride, padding, ceil_mode, count_include_pad, divisor_override: as those of
            `avg_pool2d`.
    Raises: as `avg_pool2d`.

    >>> avg_pool1d([[[1.0, 3.0, 2.0, 4.0]]], 2).tolist()
    [[[2.0, 3.0]]]
    """
    how = (size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool("avg_pool1d", 1, x, *how)


@gate
def avg_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Border = (0, 0),
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Count | None = None,
) -> Tensor:
    """The mean of each window: (n, c, h, w) -> (n, c, h', w'),
    h' = floor((h + 2 padding - size) / stride) + 1, w' alike.

    Args:
        size: the window, one number or (rows, columns).
        stride: from window to window; `size` where left out.
        padding: rows and columns of zeros on each side, at most size / 2.
        ceil_mode: round h' up, as in `max_pool2d`; what reaches over the padding does not count.
        count_include_pad: whether the padding counts in the mean.
        divisor_override: by what sums are divided, instead of by counts.
    Returns: the floating dtype of `x`; integers become the default float.
    Raises: ShapeError where the window is larger than the padded image, or the padding than half
    of the window.

    For the mean of whole planes use `x.mean((2, 3))`.

    >>> avg_pool2d([[[[1.0, 2.0], [4.0, 3.0]]]], 2).item()
    2.5
    """
    how = (size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool("avg_pool2d", 2, x, *how)


@gate
def avg_pool3d(
    x: ArrayLike,
    size: Size3,
    stride: Size3 | None = None,
    padding: Border3 = (0, 0, 0),
    *,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Count | None = None,
) -> Tensor:
    """The mean of each window: (n, c, d, h, w) -> (n, c, d', h', w'), each
    d' = floor((d + 2 padding - size) / stride) + 1.

    Args:
        size, stride, padding, ceil_mode, count_include_pad, divisor_override: as those of
            `avg_pool2d`, one number or (depth, rows, columns).
    Raises: as `avg_pool2d`.

    >>> avg_pool3d(np.arange(16.0).reshape(1, 1, 2, 2, 4), 2).tolist()
    [[[[[6.5, 8.5]]]]]
    """
    how = (size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    return _avg_pool("avg_pool3d", 3, x, *how)


# --- a norm ---------------------------------------------------------------------------------------


def _lp_pool(
    axes: int, x: ArrayLike, norm_type: float, size: Any, stride: Any, ceil_mode: bool
) -> Tensor:
    given: Tensor = floating(as_tensor(x))
    powers = given if norm_type == 1 else given**norm_type
    how = (size, stride, (0,) * axes, ceil_mode, True, None)
    sums = _avg_pool(f"lp_pool{axes}d", axes, powers, *how) * math.prod(size)
    if norm_type == 1:
        return sums
    zero = sums == 0
    return where(zero, 0.0, where(zero, 1.0, sums) ** (1 / norm_type))


@gate
def lp_pool1d(
    x: ArrayLike,
    norm_type: Positive,
    size: Size1,
    stride: Size1 | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window: (n, c, l) -> (n, c, l'), as `lp_pool2d`, whose arguments it takes.

    >>> lp_pool1d([[[3.0, 4.0, 0.0, 0.0]]], 2, 2).tolist()
    [[[5.0, 0.0]]]
    """
    return _lp_pool(1, x, norm_type, size, stride, ceil_mode)


@gate
def lp_pool2d(
    x: ArrayLike,
    norm_type: Positive,
    size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window, (sum x^p)^(1/p): (n, c, h, w) -> (n, c, h', w'),
    h' = floor((h - size) / stride) + 1, w' alike.

    Args:
        norm_type: p. For 1 it is the sum; the larger it is, the closer to the maximum.
        size, stride, ceil_mode: as those of `avg_pool2d`; with `ceil_mode` the mean of what is in
            a window stands for each element that is not, as in PyTorch.
    Returns: the floating dtype of `x`; NaN where a sum is negative, or p is no whole number and
        `x` negative.
    Raises: as `avg_pool2d`.

    The gradient of a window whose sum is 0, as one of zeros, is 0 (PyTorch: NaN).

    >>> lp_pool2d([[[[1.0, 1.0], [1.0, 1.0]]]], 2, 2).item()
    2.0
    """
    return _lp_pool(2, x, norm_type, size, stride, ceil_mode)


@gate
def lp_pool3d(
    x: ArrayLike,
    norm_type: Positive,
    size: Size3,
    stride: Size3 | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The p-norm of each window, as `lp_pool2d`, whose arguments it takes: (n, c, d, h, w) ->
    (n, c, d', h', w').

    >>> lp_pool3d(np.ones((1, 1, 2, 2, 2)), 1, 2).item()
    8.0
    """
    return _lp_pool(3, x, norm_type, size, stride, ceil_mode)


# --- over channels --------------------------------------------------------------------------------


@gate
def local_response_norm(
    x: ArrayLike, size: Count, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha * mean of the squares of `size` neighbouring channels)^beta, zeros beyond the
    first and the last (Krizhevsky et al. 2012): (n, c, ...) -> (n, c, ...).

    Raises: ShapeError for an x of less than three axes.

    >>> local_response_norm([[[1.0], [1.0]]], 1, alpha=3.0, beta=0.5).tolist()
    [[[0.5], [0.5]]]
    """
    y: Tensor = floating(as_tensor(x))
    if y.ndim < 3:
        raise ShapeError(f"local_response_norm: x has shape {y.shape}: (n, channels, ...)")
    n, c, places = len(y), y.shape[1], math.prod(y.shape[2:])
    before, after = size // 2, (size - 1) // 2
    squares = pad(
        reshape(y * y, shape=(n, 1, c, places)), pad_width=((0, 0), (0, 0), (before, after), (0, 0))
    )
    mean = pool.avg_pool2d(squares, size=(size, 1), stride=(1, 1))
    return y / (k + alpha * reshape(mean, shape=y.shape)) ** beta
