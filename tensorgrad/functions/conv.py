"""Convolution and pooling of images (n, channels, height, width)."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, overload

from ..core import Tensor
from ..ops import conv as ops
from ..ops import pool, shape
from ..ops.matmul import ACTIVATIONS
from ..settings import Either, Nothing, Word, gate
from ..typing import ArrayLike, Border, Count, Size
from .inputs import as_tensor, fitted, floating, operands

Fused: TypeAlias = Annotated["str | None", Either(Word(*ACTIVATIONS), Nothing())]
Filled: TypeAlias = Literal["same", "valid"]


@gate
def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Size = (1, 1),
    padding: Border | Filled = (0, 0),
    dilation: Size = (1, 1),
    groups: Count = 1,
    activation: Fused = None,
) -> Tensor:
    """activation(cross-correlation of images with filters + b): (n, c, h, w) -> (n, out, h', w'),
    h' = floor((h + 2 padding - dilation (kh - 1) - 1) / stride) + 1, w' alike.

    Args:
        w: filters (out, c / groups, kh, kw).
        b: bias (out,), or None.
        stride, padding, dilation: one number or (rows, columns). Padding is zeros on each side;
            "valid" is none, "same" what keeps the size at stride 1, an odd one at the end.
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
    inputs = operands(x, w, b)
    if isinstance(padding, str):
        inputs, padding, _ = fitted("conv2d", 2, inputs, groups, stride, padding, dilation)
    return ops.conv2d(
        *inputs,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        activation=activation or "none",
    )


@overload
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Border = (0, 0),
    *,
    return_indices: Literal[False] = False,
) -> Tensor: ...
@overload
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Border = (0, 0),
    *,
    return_indices: Literal[True],
) -> tuple[Tensor, Tensor]: ...
@overload
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Border = (0, 0),
    *,
    return_indices: bool,
) -> Tensor | tuple[Tensor, Tensor]: ...
@gate
def max_pool2d(
    x: ArrayLike,
    size: Size,
    stride: Size | None = None,
    padding: Border = (0, 0),
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
    y, where = pool.max_pool2d(as_tensor(x), size=size, stride=stride, padding=padding)
    return (y, shape.cast(where, dtype="int64")) if return_indices else y


@gate
def avg_pool2d(
    x: ArrayLike, size: Size, stride: Size | None = None, padding: Border = (0, 0)
) -> Tensor:
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
    return pool.avg_pool2d(floating(as_tensor(x)), size=size, stride=stride, padding=padding)
