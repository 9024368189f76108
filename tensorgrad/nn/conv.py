"""Convolution and pooling of images (n, channels, height, width)."""

from __future__ import annotations

from typing import Any, Literal

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, ShapeError
from ..ops import conv, matmul, pool
from ..typing import ActivationLike, ArrayLike, Border, Count, DType, Initializer, Size
from . import activation as activations
from .lazy import LazyLayer
from .module import Module


def images(name: str, x: Any) -> Tensor:
    """x as a floating tensor (n, channels, height, width); ShapeError unless it has four axes."""
    x = asarray(x)
    if len(x.shape) != 4:
        raise ShapeError(
            f"{name} takes images (n, channels, height, width), got an input of shape {x.shape}"
            + ("; one channel needs its axis: x[:, None]" if len(x.shape) == 3 else "")
        )
    return x if is_floating(x.dtype) else x.astype("float32")


class Conv2d(LazyLayer):
    """activation(cross-correlation with `filters` filters + bias): (n, c, h, w) -> (n, filters,
    oh, ow), oh = (h + 2 padding - dilation (kernel - 1) - 1) // stride + 1, ow alike.

    Sizes are one number or (height, width). `padding` is the number of zeros on each side, "valid"
    (none) or "same" (stride 1 only: the size stays). `in_channels` may be left out: the weights
    (filters, c / groups, kh, kw) are then initialised at the first call, by default Xavier-uniform
    as in Dense.

    Raises: ShapeError unless x has four axes and the layer's channels; ArgumentError where the
        filters do not divide into `groups`.

    >>> Conv2d(8, 3, padding="same")(asarray([[[[1.0, 2.0]]]])).shape
    (1, 8, 1, 2)
    """

    sized_by, axis = "in_channels", 1
    in_channels: int | None

    def __init__(
        self,
        filters: Count,
        kernel_size: Size,
        in_channels: Count | None = None,
        stride: Size = (1, 1),
        padding: Border | Literal["same", "valid"] = (0, 0),
        dilation: Size = (1, 1),
        groups: Count = 1,
        activation: ActivationLike = None,
        bias: bool = True,
        weight_init: Initializer = "xavier_uniform",
        bias_init: Initializer = "zeros",
        dtype: DType = "float32",
    ):
        super().__init__()
        self.filters = filters
        self.kernel_size: Any = kernel_size
        self.stride: Any = stride
        self.dilation: Any = dilation
        self.groups = groups
        self.padding = self._padding(padding)
        self.activation = activations.get(activation)
        self.use_bias, self.inits = bias, (weight_init, bias_init)
        if filters % groups:
            raise ArgumentError(f"Conv2d: {filters} filters cannot be cut into {groups} groups")
        self.start(in_channels, dtype)

    def _padding(self, padding: Any) -> tuple[int, int]:
        if padding == "valid":
            return 0, 0
        if padding != "same":
            if isinstance(padding, str):
                raise ArgumentError(
                    f'Conv2d: padding is "same", "valid" or numbers, got {padding!r}'
                )
            return padding
        (kh, kw), (dh, dw) = self.kernel_size, self.dilation
        if self.stride != (1, 1) or dh * (kh - 1) % 2 or dw * (kw - 1) % 2:
            raise ArgumentError(
                'Conv2d: padding "same" needs stride 1 and windows of odd size; got kernel_size '
                f"{self.kernel_size}, dilation {self.dilation}, stride {self.stride}"
            )
        return dh * (kh - 1) // 2, dw * (kw - 1) // 2

    def make(self, length: int) -> None:
        if length % self.groups:
            raise ShapeError(f"Conv2d: {length} channels cannot be cut into {self.groups} groups")
        shape = (self.filters, length // self.groups, *self.kernel_size)
        self.weight = self.drawn(self.inits[0], *shape)
        if self.use_bias:
            self.bias = self.drawn(self.inits[1], self.filters)

    def forward(self, x: ArrayLike) -> Tensor:
        x = self.checked(images("Conv2d", x))
        geometry = {k: getattr(self, k) for k in ("stride", "padding", "dilation", "groups")}
        fused = self.activation if self.activation in matmul.ACTIVATIONS else "none"
        y = conv.conv2d(x, self.weight, self.bias, **geometry, activation=fused)
        return y if fused == self.activation else activations.apply(self.activation, y)

    def describe(self) -> str:
        name = "" if self.activation == "none" else f", activation={self.activation!r}"
        return f"{self.filters}, {self.kernel_size}, in_channels={self.in_channels}{name}"


class _Pool(Module):
    def __init__(self, size: Size = (2, 2), stride: Size | None = None, padding: Border = (0, 0)):
        super().__init__()
        self.size, self.padding = size, padding
        self.stride = size if stride is None else stride

    def describe(self) -> str:
        return f"{self.size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool):
    """The maximum of each window: (n, c, h, w) -> (n, c, oh, ow), oh = (h + 2 padding - size) //
    stride + 1. `stride` is by default the size, so that windows do not overlap; the padding is
    -inf. See `tg.max_pool2d`.

    >>> MaxPool2d(2)([[[[1.0, 2.0], [3.0, 4.0]]]]).tolist()
    [[[[4.0]]]]
    """

    def forward(self, x: ArrayLike) -> Tensor:
        x = images("MaxPool2d", x)
        return pool.max_pool2d(x, size=self.size, stride=self.stride, padding=self.padding)[0]


class AvgPool2d(_Pool):
    """The mean of each window, zeros of the padding included: (n, c, h, w) -> (n, c, oh, ow), as
    in MaxPool2d. See `tg.avg_pool2d`.

    >>> AvgPool2d(2)([[[[1.0, 2.0], [3.0, 4.0]]]]).tolist()
    [[[[2.5]]]]
    """

    def forward(self, x: ArrayLike) -> Tensor:
        x = images("AvgPool2d", x)
        return pool.avg_pool2d(x, size=self.size, stride=self.stride, padding=self.padding)


class GlobalAvgPool2d(Module):
    """Global average pooling (Lin et al. 2014), the mean of each channel: (n, c, h, w) -> (n, c).

    >>> GlobalAvgPool2d()([[[[1.0, 2.0], [3.0, 4.0]]]]).tolist()
    [[2.5]]
    """

    def forward(self, x: ArrayLike) -> Tensor:
        return images("GlobalAvgPool2d", x).mean(axis=(2, 3))
