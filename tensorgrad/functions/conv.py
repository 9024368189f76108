"""Convolution and pooling of images (n, channels, height, width)."""

from __future__ import annotations

from typing import Any, Literal, overload

from ..core import Tensor
from ..errors import ArgumentError
from ..ops import conv as ops
from ..ops import pool, shape
from ..ops.matmul import ACTIVATIONS
from ..typing import ArrayLike, Size
from ..words import explains_names
from .inputs import as_tensor, choice, floating, operands, pair, whole


def _size(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    found = pair(name, value)
    if min(found) < least:
        raise ArgumentError(f"{name}={value!r} must be {least} or more")
    return found


@explains_names
def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Tensor:
    """activation(cross-correlation of images with filters + b): (n, c, h, w) -> (n, out, h', w'),
    h' = floor((h + 2 padding - dilation (kh - 1) - 1) / stride) + 1, w' alike.

    Args:
        w: filters (out, c / groups, kh, kw).
        b: bias (out,), or None.
        stride, padding, dilation: one number or (rows, columns). Padding is zeros on each side.
        groups: parts of the channels with filters of their own; c of them is a depthwise
            convolution.
        activation: None, "relu", "sigmoid" or "tanh".
    Returns: the dtype of `x`; halves are summed in float32.
    Raises: ShapeError where filters do not fit the channels, or windows the padded images;
    ArgumentError for a stride, dilation or group below 1 and for another activation.

    Cross-correlation: the filters are not flipped, as in all frameworks.

    >>> conv2d([[[[1.0, 2.0, 3.0]]]], [[[[1.0, -1.0]]]]).tolist()
    [[[[-1.0, -1.0]]]]
    >>> conv2d(np.zeros((8, 3, 32, 32)), np.zeros((16, 3, 3, 3)), stride=2, padding=1).shape
    (8, 16, 16, 16)
    """
    if (parts := whole("conv2d: groups", groups)) < 1:
        raise ArgumentError(f"conv2d: groups={groups!r} must be 1 or more")
    return ops.conv2d(
        *operands(x, w, b),
        stride=_size("conv2d: stride", stride),
        padding=_size("conv2d: padding", padding, 0),
        dilation=_size("conv2d: dilation", dilation),
        groups=parts,
        activation=choice("conv2d: activation", activation or "none", ACTIVATIONS),
    )


@overload
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    *,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    *,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]: ...
@overload
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    *,
    return_indices: bool,
) -> Tensor | tuple[Tensor, Tensor]: ...
@explains_names
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    *,
    return_indices: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest number of each window: (n, c, h, w) -> (n, c, h', w'),
    h' = floor((h + 2 padding - size) / stride) + 1, w' alike.

    Args:
        size: the window, one number or (rows, columns).
        stride: from window to window; `size` where left out.
        padding: rows and columns of -inf on each side, at most size / 2.
        return_indices: also the place of each maximum in its plane, row * w + column, int64.
    Raises: ShapeError where the window is larger than the padded image, or the padding than half
    of the window.

    Of equal numbers the first is taken; a NaN wins. The gradient goes to that place alone.

    >>> max_pool2d([[[[1.0, 2.0], [4.0, 3.0]]]], 2).item()
    4.0
    >>> y, indices = max_pool2d([[[[1.0, 2.0], [4.0, 3.0]]]], 2, return_indices=True)
    >>> indices.item()
    2
    """
    y, where = pool.max_pool2d(as_tensor(x), **_pool("max_pool2d", size, stride, padding))
    return (y, shape.cast(where, dtype="int64")) if return_indices else y


@explains_names
def avg_pool2d(x: ArrayLike, size: Size, stride: Size | None = None, padding: Size = 0) -> Tensor:
    """The mean of each window: (n, c, h, w) -> (n, c, h', w'),
    h' = floor((h + 2 padding - size) / stride) + 1, w' alike.

    Args:
        size: the window, one number or (rows, columns).
        stride: from window to window; `size` where left out.
        padding: rows and columns of zeros on each side, at most size / 2. They count in the mean.
    Returns: the floating dtype of `x`; integers become the default float.
    Raises: ShapeError where the window is larger than the padded image, or the padding than half
    of the window.

    For the mean of whole planes use `x.mean((2, 3))`.

    >>> avg_pool2d([[[[1.0, 2.0], [4.0, 3.0]]]], 2).item()
    2.5
    """
    return pool.avg_pool2d(floating(as_tensor(x)), **_pool("avg_pool2d", size, stride, padding))


def _pool(name: str, size: Any, stride: Any, padding: Any) -> dict[str, Any]:
    """What pooling is told of its windows."""
    return {
        "size": _size(f"{name}: size", size),
        "stride": None if stride is None else _size(f"{name}: stride", stride),
        "padding": _size(f"{name}: padding", padding, 0),
    }
