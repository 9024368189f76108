"""Pooling into a given number of windows, and what undoes pooling: (n, channels, ...)."""

from __future__ import annotations

import math
from typing import Any, Literal, overload

from ..core import Tensor
from ..creation import beside, zeros
from ..errors import ShapeError
from ..ops.embedding import mixed
from ..ops.windows import Even, Windows, largest, means
from ..settings import gate
from ..typing import ArrayLike, Border, Border1, Border3, Size, Size1, Size3
from .indexing import scatter
from .inputs import as_tensor, floating
from .shape import reshape

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]


def _along(name: str, axes: int, x: Tensor, size: Any) -> list[Windows | Even]:
    if x.ndim != axes + 2 or 0 in x.shape[2:]:
        raise ShapeError(f"{name}: x has shape {x.shape}: {axes + 2} axes, (n, channels, ...)")
    each = zip(x.shape[2:], size, strict=True)
    return [Even(n, k) if n % k else Windows(n, k, n // k, n // k, 0) for n, k in each]


def _avg_pool(name: str, axes: int, x: ArrayLike, size: Any) -> Tensor:
    y: Tensor = floating(as_tensor(x))
    along = _along(name, axes, y, size)
    plain = [w for w in along if isinstance(w, Windows)]
    if len(plain) == axes:
        return means(y, plain)
    for axis, w in enumerate(along, 2):
        at = w.places()
        copies = (at[:, :, None] == at[:, None]).sum(2)  # which share the weight of one
        y = mixed(y, axis, at, 1 / copies / (at[:, -1:] - at[:, :1] + 1))
    return y


@gate
def adaptive_avg_pool1d(x: ArrayLike, size: Size1) -> Tensor:
    """The mean of each of `size` windows that cover x: (n, c, l) -> (n, c, size).

    See `adaptive_avg_pool2d`.

    >>> adaptive_avg_pool1d([[[1.0, 2.0, 4.0]]], 2).tolist()
    [[[1.5, 3.0]]]
    """
    return _avg_pool("adaptive_avg_pool1d", 1, x, size)


@gate
def adaptive_avg_pool2d(x: ArrayLike, size: Size) -> Tensor:
    """The mean of each of `size` windows that cover x: (n, c, h, w) -> (n, c, *size).

    Window i of n elements along an axis runs from floor(i n / size) to ceil((i + 1) n / size).

    >>> adaptive_avg_pool2d([[[[1.0, 2.0, 4.0]]]], (1, 2)).tolist()
    [[[[1.5, 3.0]]]]
    """
    return _avg_pool("adaptive_avg_pool2d", 2, x, size)


@gate
def adaptive_avg_pool3d(x: ArrayLike, size: Size3) -> Tensor:
    """The mean of each of `size` windows that cover x: (n, c, d, h, w) -> (n, c, *size).

    See `adaptive_avg_pool2d`.

    >>> adaptive_avg_pool3d([[[[[1.0, 2.0, 4.0]]]]], (1, 1, 2)).tolist()
    [[[[[1.5, 3.0]]]]]
    """
    return _avg_pool("adaptive_avg_pool3d", 3, x, size)


def _max_pool(
    name: str, axes: int, x: ArrayLike, size: Any, return_indices: bool
) -> Tensor | tuple[Tensor, Tensor]:
    x = as_tensor(x)
    found = largest(x, _along(name, axes, x, size))
    return found if return_indices else found[0]


@overload
def adaptive_max_pool1d(
    x: ArrayLike, size: Size1, *, return_indices: Literal[False] = False
) -> Tensor: ...
@overload
def adaptive_max_pool1d(
    x: ArrayLike, size: Size1, *, return_indices: Literal[True]
) -> tuple[Tensor, Tensor]: ...
@overload
def adaptive_max_pool1d(
    x: ArrayLike, size: Size1, *, return_indices: bool
) -> Tensor | tuple[Tensor, Tensor]: ...
@gate
def adaptive_max_pool1d(
    x: ArrayLike, size: Size1, *, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest number of each of `size` windows that cover x: (n, c, l) -> (n, c, size).

    Args:
        size: how many windows; they are those of `adaptive_avg_pool1d`.
        return_indices: also the place of each, as `max_pool1d` gives it.

    >>> adaptive_max_pool1d([[[1.0, 2.0, 4.0]]], 2).tolist()
    [[[2.0, 4.0]]]
    """
    return _max_pool("adaptive_max_pool1d", 1, x, size, return_indices)


@overload
def adaptive_max_pool2d(
    x: ArrayLike, size: Size, *, return_indices: Literal[False] = False
) -> Tensor: ...
@overload
def adaptive_max_pool2d(
    x: ArrayLike, size: Size, *, return_indices: Literal[True]
) -> tuple[Tensor, Tensor]: ...
@overload
def adaptive_max_pool2d(
    x: ArrayLike, size: Size, *, return_indices: bool
) -> Tensor | tuple[Tensor, Tensor]: ...
@gate
def adaptive_max_pool2d(
    x: ArrayLike, size: Size, *, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest number of each of `size` windows that cover x: (n, c, h, w) -> (n, c, *size).

    Args:
        size: how many windows; they are those of `adaptive_avg_pool2d`.
        return_indices: also the place of each, as `max_pool2d` gives it.

    >>> adaptive_max_pool2d([[[[1.0, 2.0, 4.0]]]], (1, 2)).tolist()
    [[[[2.0, 4.0]]]]
    """
    return _max_pool("adaptive_max_pool2d", 2, x, size, return_indices)


@overload
def adaptive_max_pool3d(
    x: ArrayLike, size: Size3, *, return_indices: Literal[False] = False
) -> Tensor: ...
@overload
def adaptive_max_pool3d(
    x: ArrayLike, size: Size3, *, return_indices: Literal[True]
) -> tuple[Tensor, Tensor]: ...
@overload
def adaptive_max_pool3d(
    x: ArrayLike, size: Size3, *, return_indices: bool
) -> Tensor | tuple[Tensor, Tensor]: ...
@gate
def adaptive_max_pool3d(
    x: ArrayLike, size: Size3, *, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest number of each of `size` windows that cover x: (n, c, d, h, w) -> (n, c, *size).

    Args:
        size: how many windows; they are those of `adaptive_avg_pool3d`.
        return_indices: also the place of each, as `max_pool3d` gives it.

    >>> adaptive_max_pool3d([[[[[1.0, 2.0, 4.0]]]]], (1, 1, 2)).tolist()
    [[[[[2.0, 4.0]]]]]
    """
    return _max_pool("adaptive_max_pool3d", 3, x, size, return_indices)


# --- undone ---------------------------------------------------------------------------------------


def _unpool(
    name: str,
    axes: int,
    x: ArrayLike,
    indices: ArrayLike,
    size: Any,
    stride: Any,
    padding: Any,
    output_size: Any,
) -> Tensor:
    x = as_tensor(x)
    at = beside(indices, x)
    if x.ndim != axes + 2 or at.shape != x.shape:
        raise ShapeError(
            f"{name}: x of shape {x.shape}, indices of shape {at.shape}: the same {axes + 2} axes, "
            "(n, channels, ...)"
        )
    each = zip(x.shape[2:], stride or size, padding, size, strict=True)
    whole = tuple([s * (n - 1) - 2 * p + k for n, s, p, k in each])
    whole = whole if output_size is None else tuple(output_size)
    if len(whole) != axes or min(whole) < 1:
        raise ShapeError(f"{name}: no planes of {whole} have windows of {size}")
    (n, c), places = x.shape[:2], math.prod(whole)
    empty = zeros((n, c, places), x.dtype, backend=x.backend)
    flat = (n, c, math.prod(x.shape[2:]))
    y = scatter(empty, 2, reshape(at, flat), reshape(x, flat))
    return reshape(y, (n, c, *whole))


@gate
def max_unpool1d(
    x: ArrayLike,
    indices: ArrayLike,
    size: Size1,
    stride: Size1 | None = None,
    padding: Border1 = (0,),
    *,
    output_size: Size1 | None = None,
) -> Tensor:
    """x at the places of maxima, zeros elsewhere, the partial inverse of `max_pool1d`.

    Args:
        indices, size, stride, padding, output_size: as those of `max_unpool2d`.
    Raises: as `max_unpool2d`.

    >>> max_unpool1d([[[7.0]]], [[[1]]], 2).tolist()
    [[[0.0, 7.0]]]
    """
    return _unpool("max_unpool1d", 1, x, indices, size, stride, padding, output_size)


@gate
def max_unpool2d(
    x: ArrayLike,
    indices: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Border = (0, 0),
    *,
    output_size: Size | None = None,
) -> Tensor:
    """x at the places of maxima, zeros elsewhere, the partial inverse of `max_pool2d`:
    (n, c, h', w') -> (n, c, h, w).

    Args:
        indices: what `max_pool2d` returned. Of equal ones the last stays.
        size, stride, padding: those of the pooling.
        output_size: (h, w), of which several are pooled to (h', w'); where left out
            h = (h' - 1) stride - 2 padding + size.
    Raises: ShapeError unless indices have the shape of x, IndexingError for places outside.

    >>> max_unpool2d([[[[7.0]]]], [[[[2]]]], 2).tolist()
    [[[[0.0, 0.0], [7.0, 0.0]]]]
    """
    return _unpool("max_unpool2d", 2, x, indices, size, stride, padding, output_size)


@gate
def max_unpool3d(
    x: ArrayLike,
    indices: ArrayLike,
    size: Size3,
    stride: Size3 | None = None,
    padding: Border3 = (0, 0, 0),
    *,
    output_size: Size3 | None = None,
) -> Tensor:
    """x at the places of maxima, zeros elsewhere, the partial inverse of `max_pool3d`.

    Args:
        indices, size, stride, padding, output_size: as those of `max_unpool2d`.
    Raises: as `max_unpool2d`.

    >>> max_unpool3d([[[[[7.0]]]]], [[[[[1]]]]], (1, 1, 2)).tolist()
    [[[[[0.0, 7.0]]]]]
    """
    return _unpool("max_unpool3d", 3, x, indices, size, stride, padding, output_size)
