"""Layers for images, (n, channels, height, width): convolution and pooling."""

from __future__ import annotations

import operator
from typing import Any

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray
from ..errors import DTypeError, ShapeError
from ..ops import conv, matmul, pool
from ..ops.shape import cast, pad
from . import activation as activations
from .dense import size
from .init import initial
from .module import Module, Parameter


def pair(name: str, value: Any, least: int = 1) -> tuple[int, int]:
    """One number for height and width, or two, as two ints; ShapeError unless whole and large
    enough.

    >>> pair("stride", 2)
    (2, 2)
    """
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or any(
        isinstance(v, bool) or not hasattr(v, "__index__") or operator.index(v) < least
        for v in values
    ):
        raise ShapeError(
            f"{name} must be a whole number from {least} on, or two for height and width; "
            f"got {value!r}"
        )
    return operator.index(values[0]), operator.index(values[1])


def images(layer: str, x: Any) -> Tensor:
    """x as a Tensor; ShapeError unless it has the axes of images."""
    x = asarray(x)
    if len(x.shape) != 4:
        raise ShapeError(
            f"{layer} takes images of shape (n, channels, height, width), got {x.shape}; "
            "x[:, None] adds a missing channel, x.transpose(0, 3, 1, 2) moves channels forward"
        )
    return x


class Conv2d(Module):
    """activation(convolution with `filters` windows + bias): (n, c, h, w) -> (n, filters, oh, ow).

    The number of input channels may be left out: the weights, (filters, c / groups, kh, kw), are
    then made at the first call. `padding` is a number of zeros around the image, "valid" (none) or
    "same": as many as give ceil(h / stride) outputs, the odd one below and to the right, as in
    Keras. Initial weights as in Dense.

    >>> Conv2d(8, 3, padding="same")(asarray([[[[1.0, 2.0], [3.0, 4.0]]]])).shape
    (1, 8, 2, 2)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        in_channels: int | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        activation: Any = None,
        bias: bool = True,
        weight_init: Any = "xavier_uniform",
        bias_init: Any = "zeros",
        dtype: Any = "float32",
    ):
        super().__init__()
        if isinstance(in_channels, str):
            raise DTypeError(
                f"Conv2d: the third argument is in_channels, got {in_channels!r}; the activation "
                f"is given by name: Conv2d({filters}, {kernel_size}, activation={in_channels!r})"
            )
        self.filters, self.in_channels = size("Conv2d: filters", filters), in_channels
        self.kernel_size = pair("Conv2d: kernel_size", kernel_size)
        self.stride = pair("Conv2d: stride", stride)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ShapeError(f"Conv2d: padding {padding!r}: a number, 'same' or 'valid'")
            self.padding: Any = padding if padding == "same" else (0, 0)
        else:
            self.padding = pair("Conv2d: padding", padding, least=0)
        self.dilation = pair("Conv2d: dilation", dilation)
        self.groups = size("Conv2d: groups", groups)
        if self.filters % self.groups:
            raise ShapeError(f"Conv2d: {filters} filters do not split into groups={groups}")
        self.use_bias, self.dtype = bias, dtype
        self.activation = activations.get(activation)
        self.inits = (weight_init, bias_init)
        self.weight: Any = None  # a Parameter once the number of channels is known
        self.bias: Any = None
        if in_channels is not None:
            self.build(in_channels)

    @property
    def built(self) -> bool:  # type: ignore[override]
        """Whether there are weights yet."""
        return self.weight is not None

    def build(self, in_channels: int) -> None:
        """Make the weights for this number of channels."""
        self.in_channels = in_channels = size("Conv2d: in_channels", in_channels)
        if in_channels % self.groups:
            raise ShapeError(
                f"Conv2d: {in_channels} input channels do not split into groups={self.groups}"
            )
        shape = (self.filters, in_channels // self.groups, *self.kernel_size)
        self.weight = Parameter(initial(self.inits[0], shape, self.dtype))
        if self.use_bias:
            self.bias = Parameter(initial(self.inits[1], (self.filters,), self.dtype))

    def forward(self, x: Any) -> Tensor:
        x = images("Conv2d", x)
        if self.weight is None:
            self.build(x.shape[1])
        if x.shape[1] != self.in_channels:
            raise ShapeError(
                f"Conv2d(filters={self.filters}, kernel_size={self.kernel_size}) was made for "
                f"in_channels={self.in_channels}, got an input of shape {x.shape}"
            )
        if not is_floating(x.dtype):
            x = cast(x, dtype=self.weight.dtype)
        x, padding = self._padded(x)
        fused = self.activation if self.activation in matmul.ACTIVATIONS else "none"
        y = conv.conv2d(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=padding,
            dilation=self.dilation,
            groups=self.groups,
            activation=fused,
        )
        return y if self.activation == fused else activations.apply(self.activation, y)

    def _padded(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """x and the zeros still to add on all of its sides."""
        if self.padding != "same":
            return x, self.padding
        axes = zip(x.shape[2:], self.kernel_size, self.stride, self.dilation, strict=True)
        totals = [max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n) for n, k, s, d in axes]
        odd = [total % 2 for total in totals]
        if any(odd):
            x = pad(x, pad_width=((0, 0), (0, 0), (0, odd[0]), (0, odd[1])))
        return x, (totals[0] // 2, totals[1] // 2)

    def describe(self) -> str:
        text = f"{self.filters}, {self.kernel_size}, in_channels={self.in_channels}"
        plain = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
        for name, usual in {**plain, "activation": "none"}.items():
            if (value := getattr(self, name)) != usual:
                text += f", {name}={value!r}"
        return text


class _Pool2d(Module):
    def __init__(self, size: Any, stride: Any = None, padding: Any = 0):
        super().__init__()
        name = type(self).__name__
        self.size = pair(f"{name}: size", size)
        self.stride = self.size if stride is None else pair(f"{name}: stride", stride)
        self.padding = pair(f"{name}: padding", padding, least=0)

    def pool(self, x: Tensor, **how: Any) -> Tensor:
        """The op of the class."""
        raise NotImplementedError

    def forward(self, x: Any) -> Tensor:
        x = images(type(self).__name__, x)
        return self.pool(x, size=self.size, stride=self.stride, padding=self.padding)

    def describe(self) -> str:
        return f"{self.size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool2d):
    """The largest number in each window of an image; windows lie side by side without a stride.

    >>> MaxPool2d(2)([[[[1.0, 2.0], [3.0, 4.0]]]]).tolist()
    [[[[4.0]]]]
    """

    def pool(self, x: Tensor, **how: Any) -> Tensor:
        return pool.max_pool2d(x, **how)[0]


class AvgPool2d(_Pool2d):
    """The mean of each window of an image, zeros where it is padded; windows lie side by side
    without a stride.

    >>> AvgPool2d(2)([[[[1.0, 2.0], [3.0, 4.0]]]]).tolist()
    [[[[2.5]]]]
    """

    def pool(self, x: Tensor, **how: Any) -> Tensor:
        return pool.avg_pool2d(x, **how)


class GlobalAvgPool2d(Module):
    """The mean of each channel over the whole image: (n, c, h, w) -> (n, c).

    >>> GlobalAvgPool2d()([[[[1.0, 2.0], [3.0, 4.0]]]]).tolist()
    [[2.5]]
    """

    def forward(self, x: Any) -> Tensor:
        return images("GlobalAvgPool2d", x).mean(axis=(2, 3))
