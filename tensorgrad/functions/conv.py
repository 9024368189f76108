"""Convolution of images (n, channels, height, width). That of other axes is in conv_nd.py."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from ..core import Tensor
from ..errors import ArgumentError, ShapeError
from ..ops import conv as ops
from ..ops.matmul import ACTIVATIONS
from ..ops.shape import pad
from ..settings import Either, Nothing, Word, gate
from ..typing import ArrayLike, Border, Count, Size
from .inputs import alike, operands

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
        inputs, padding, _ = _prepared("conv2d", 2, inputs, groups, stride, padding, dilation)
    return ops.conv2d(
        *inputs,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        activation=activation or "none",
    )


def _prepared(
    name: str, axes: int, inputs: Any, groups: int, stride: Any, padding: Any, dilation: Any
) -> tuple[list[Any], Any, Any]:
    """x, w and b in one dtype, the zeros on each side of x, and how many windows there are."""
    x, w, b = alike(*inputs)
    if padding == "same" and max(stride) > 1:
        raise ArgumentError(f'{name}: padding "same" needs stride 1, got {stride}')
    try:
        ops.check_images("x", x, axes)
        ops.check_filters(x.shape, w.shape, b, groups)
        if padding in ("same", "valid"):
            spans = zip(w.shape[2:], dilation, strict=True)
            zeros = [d * (k - 1) if padding == "same" else 0 for k, d in spans]
            padding = tuple([n // 2 for n in zeros])
            if any(n % 2 for n in zeros):  # one more at the end, as in PyTorch
                x = pad(x, pad_width=((0, 0), (0, 0), *[(0, n % 2) for n in zeros]))
        return [x, w, b], padding, ops.extent(x.shape[2:], w.shape[2:], stride, padding, dilation)
    except ValueError as error:
        raise ShapeError(f"{name}: {error}") from None
