"""Convolution of sequences, images and volumes (n, channels, ...), and its transpose. All are one
implementation over the number of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from .. import functions
from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, ShapeError
from ..ops import conv, matmul
from ..settings import Whole, take
from ..typing import ActivationLike, ArrayLike, Borders, Count, DType, Initializer, Sizes
from . import activation as activations
from .init import narrow
from .lazy import LazyLayer
from .one_example import or_one

Padding: TypeAlias = Borders | Literal["same", "valid"]
Beyond: TypeAlias = Literal["zeros", "reflect", "replicate", "circular"]
_MODES: Any = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_INPUTS = {
    1: "sequences (n, channels, length)",
    2: "images (n, channels, height, width)",
    3: "volumes (n, channels, depth, height, width)",
}


def spatial(name: str, x: Any, axes: int | None) -> Tensor:
    """x as a floating tensor (n, channels, ...); ShapeError unless it has `axes` axes more."""
    x = asarray(x)
    if axes is None and not 3 <= len(x.shape) <= 5:
        raise ShapeError(f"{name} takes {', or '.join(_INPUTS.values())}; got shape {x.shape}")
    if axes is not None and len(x.shape) != axes + 2:
        raise ShapeError(
            f"{name} takes {_INPUTS[axes]}, got an input of shape {x.shape}"
            + ("; one channel needs its axis: x[:, None]" if len(x.shape) == axes + 1 else "")
        )
    return x if is_floating(x.dtype) else x.astype("float32")


def along(
    layer: Any, name: str, value: Any, axes: int, what: str = "a whole number"
) -> tuple[Any, ...]:
    """A setting along each axis: one number stands for all."""
    each = (value,) * axes if isinstance(value, (int, float)) else tuple(value)
    if len(each) != axes:
        raise ArgumentError(
            f"{type(layer).__name__}: {name}={value!r} must be {what}, or {axes} of them, one for "
            "each axis"
        )
    return each


class _Convolution(LazyLayer):
    """What convolutions share: filters, how they are drawn and laid down, and the bias."""

    axes: int | None = None  # of the input behind its channels
    sized_by, axis = "in_channels", 1
    in_channels: int | None

    def _start(
        self, in_channels: Any, kernel_size: Any, activation: Any, inits: Any, **settings: Any
    ) -> None:
        """Take the settings as attributes, and initialise the weights if in_channels is known."""
        super().__init__()
        self.kernel_size, self.inits = kernel_size, inits
        self.activation = activations.get(activation)
        dtype = settings.pop("dtype")
        vars(self).update(settings)
        if self.out_channels % self.groups:
            raise ArgumentError(
                f"{type(self).__name__}: {self.out_channels} filters cannot be cut into "
                f"{self.groups} groups"
            )
        if self.axes is not None:
            self._spread(self.axes)
        self.start(in_channels, dtype)

    def _spread(self, axes: int) -> None:
        """The settings along each axis, once their number is known."""
        self.axes = axes
        for name in self.spreads:
            if not isinstance(value := getattr(self, name), str):
                setattr(self, name, along(self, name, value, axes))

    spreads: tuple[str, ...] = ("kernel_size", "stride", "padding", "dilation")
    out_channels: int
    groups: int
    use_bias: bool
    stride: Any
    padding: Any
    dilation: Any

    def _filters(self, length: int) -> tuple[int, ...]:
        return (self.out_channels, length // self.groups, *self.kernel_size)

    def make(self, length: int) -> None:
        if length % self.groups:
            raise ShapeError(
                f"{type(self).__name__}: {length} channels cannot be cut into {self.groups} groups"
            )
        shape = self._filters(length)
        usual = narrow(math.prod(shape[1:]))
        weight_init, bias_init = [usual if init is None else init for init in self.inits]
        self.weight = self.drawn(weight_init, *shape)
        if self.use_bias:
            self.bias = self.drawn(bias_init, self.out_channels)

    def describe(self) -> str:
        usual: dict[str, Any] = {
            "stride": 1,
            "padding": 0,
            "dilation": 1,
            "output_padding": 0,
            "groups": 1,
        }
        usual |= {"padding_mode": "zeros", "use_bias": True, "activation": "none"}
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        for name, plain in usual.items():
            value = getattr(self, name, plain)
            if value != plain and value != (plain,) * (self.axes or 0):
                text += f", {name.removeprefix('use_')}={value!r}"
        return text


class _Conv(_Convolution):
    def __init__(
        self,
        in_channels: Count | None,
        out_channels: Count,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Padding = 0,
        dilation: Sizes = 1,
        groups: Count = 1,
        bias: bool = True,
        padding_mode: Beyond = "zeros",
        *,
        activation: ActivationLike = None,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        dtype: DType = "float32",
    ):
        self._start(
            in_channels,
            kernel_size,
            activation,
            (weight_init, bias_init),
            out_channels=out_channels,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            use_bias=bias,
            padding_mode=padding_mode,
            dtype=dtype,
        )

    padding_mode = "zeros"

    def _spread(self, axes: int) -> None:
        super()._spread(axes)
        spans = [d * (k - 1) for k, d in zip(self.kernel_size, self.dilation, strict=True)]
        if self.padding == "same":  # an odd one at the end, as in PyTorch
            if max(self.stride) > 1:
                raise ArgumentError(
                    f'{type(self).__name__}: padding "same" needs stride 1, got {self.stride}'
                )
            edges = [(n // 2, n - n // 2) for n in spans]
        else:
            edges = [(p, p) for p in ((0,) * axes if self.padding == "valid" else self.padding)]
        inside = self.padding_mode == "zeros" and all(before == after for before, after in edges)
        # zeros alike on both sides are the op's own
        self._zeros = tuple([before if inside else 0 for before, _ in edges])
        self._edges = () if inside else ((0, 0), (0, 0), *edges)

    @or_one
    def forward(self, x: ArrayLike) -> Tensor:
        x = self.checked(spatial(type(self).__name__, x, self.axes))
        if self._edges:
            x = functions.pad(x, self._edges, _MODES[self.padding_mode])
        fused = self.activation if self.activation in matmul.ACTIVATIONS else "none"
        how = {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}
        if self.axes == 2:
            y = conv.conv2d(x, self.weight, self.bias, padding=self._zeros, activation=fused, **how)
        else:
            convolve: Any = functions.conv1d if self.axes == 1 else functions.conv3d
            fuse = None if fused == "none" else fused
            y = convolve(x, self.weight, self.bias, padding=self._zeros, activation=fuse, **how)
        return y if fused == self.activation else activations.apply(self.activation, y)


_FORMS = "Conv{0}d(3, 16, 3) is 3 channels, 16 filters of size 3; in Keras's form Conv(16, 3)"


class Conv1d(_Conv):
    """activation(cross-correlation of sequences with filters + bias): (n, in_channels, l) -> (n,
    out_channels, l'), l' = floor((l + 2 padding - dilation (kernel_size - 1) - 1) / stride) + 1.
    Arguments as those of `Conv2d`.

    >>> Conv1d(3, 16, 5, padding="same")(np.zeros((8, 3, 100))).shape
    (8, 16, 100)
    """

    axes, forms = 1, _FORMS.format(1)


class Conv2d(_Conv):
    """activation(cross-correlation of images with filters + bias): (n, in_channels, h, w) -> (n,
    out_channels, h', w'), h' = floor((h + 2 padding - dilation (kernel_size - 1) - 1) / stride) +
    1, w' alike. The weight is (out_channels, in_channels / groups, kh, kw).

    Args:
        in_channels: or None, for what the first input has.
        kernel_size, stride, dilation: one number or (rows, columns).
        padding: numbers beyond each side; "valid" is none, "same" what keeps the size at stride 1.
        groups: parts of the channels with filters of their own; in_channels of them is a depthwise
            convolution.
        padding_mode: what is beyond: "zeros", "reflect", "replicate", "circular".
        activation: a name or function, applied to the result.
        weight_init, bias_init: by default uniform in +-1 / sqrt(fan-in), as in PyTorch.
    Raises: ShapeError unless x has four axes and the layer's channels, ArgumentError where channels
    do not divide into `groups`. `Conv` is the same in Keras's form.

    >>> Conv2d(3, 16, 3, stride=2, padding=1)(np.zeros((8, 3, 32, 32))).shape
    (8, 16, 16, 16)
    """

    axes, forms = 2, _FORMS.format(2)


class Conv3d(_Conv):
    """activation(cross-correlation of volumes with filters + bias): (n, in_channels, d, h, w) ->
    (n, out_channels, d', h', w'), each as h' of `Conv2d`, whose arguments it takes.

    >>> Conv3d(1, 4, (1, 3, 3))(np.zeros((2, 1, 4, 8, 8))).shape
    (2, 4, 4, 6, 6)
    """

    axes, forms = 3, _FORMS.format(3)


class Conv(_Conv):
    """Convolution in Keras's form: the first argument is how many filters, and the input tells its
    channels and, where the kernel is one number, its axes. The channels are first: (n, c, ...) ->
    (n, filters, ...), of sequences, images or volumes. See `Conv2d`, which has PyTorch's form.

    The weights are by default Xavier-uniform (Glorot & Bengio 2010), and zero for the bias.

    >>> Conv(16, 3, padding="same", activation="relu")(np.zeros((8, 3, 32, 32))).shape
    (8, 16, 32, 32)
    >>> Conv(16, 3)(np.zeros((8, 3, 100))).shape
    (8, 16, 98)
    """

    forms = (
        "Conv(16, 3) is 16 filters of size 3, the channels are the input's; in PyTorch's form "
        "Conv2d(3, 16, 3)"
    )

    def __init__(
        self,
        filters: Count,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Padding = "valid",
        dilation: Sizes = 1,
        groups: Count = 1,
        activation: ActivationLike = None,
        bias: bool = True,
        weight_init: Initializer = "xavier_uniform",
        bias_init: Initializer = "zeros",
        *,
        padding_mode: Beyond = "zeros",
        dtype: DType = "float32",
    ):
        several = [s for s in (kernel_size, stride, dilation, padding) if isinstance(s, tuple)]
        self.axes = len(several[0]) if several else None
        if self.axes not in (None, 1, 2, 3):
            raise ArgumentError(
                f"Conv: kernel_size={kernel_size!r} must be a whole number, or 1 to 3 of them"
            )
        super().__init__(
            None,
            filters,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            padding_mode,
            activation=activation,
            weight_init=weight_init,
            bias_init=bias_init,
            dtype=dtype,
        )

    def sizes(self) -> tuple[int, ...]:
        return (*super().sizes(), self.axes or 0)

    def build_for(self, length: Any, axes: int = 0) -> None:
        if self.axes is None:
            self._spread(take("Conv", "axes", Whole(1, 3), axes))
        super().build_for(length)

    def checked(self, x: Tensor, name: str = "input") -> Tensor:
        if self.axes is None:
            self._spread(len(x.shape) - 2)
        return super().checked(x, name)

    def describe(self) -> str:
        return super().describe().partition(", ")[2]


class _ConvTranspose(_Convolution):
    spreads = (*_Convolution.spreads, "output_padding")
    output_padding: Any

    def __init__(
        self,
        in_channels: Count | None,
        out_channels: Count,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Borders = 0,
        output_padding: Borders = 0,
        groups: Count = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: Literal["zeros"] = "zeros",
        *,
        activation: ActivationLike = None,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        dtype: DType = "float32",
    ):
        self._start(
            in_channels,
            kernel_size,
            activation,
            (weight_init, bias_init),
            out_channels=out_channels,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            groups=groups,
            use_bias=bias,
            dilation=dilation,
            dtype=dtype,
        )

    def _filters(self, length: int) -> tuple[int, ...]:
        return (length, self.out_channels // self.groups, *self.kernel_size)

    @or_one
    def forward(self, x: ArrayLike, output_size: Sequence[int] | None = None) -> Tensor:
        x = self.checked(spatial(type(self).__name__, x, self.axes))
        more = self.output_padding if output_size is None else self._missing(x, output_size)
        y = getattr(functions, f"conv_transpose{self.axes}d")(
            x,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            output_padding=more,
            groups=self.groups,
            dilation=self.dilation,
        )
        return activations.apply(self.activation, y)

    def _missing(self, x: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that gives this size."""
        name, wanted = type(self).__name__, tuple(output_size)[-len(self.kernel_size) :]
        each = zip(
            x.shape[2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True
        )
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, k, s, p, d in each]
        most = [n + s - 1 for n, s in zip(least, self.stride, strict=True)]
        if len(wanted) != len(least) or not all(
            a <= n <= b for a, n, b in zip(least, wanted, most, strict=True)
        ):
            raise ArgumentError(
                f"{name}: output_size={tuple(output_size)} for an input of shape {x.shape}: it is "
                f"from {least} to {most}"
            )
        return tuple([n - a for n, a in zip(wanted, least, strict=True)])


class ConvTranspose1d(_ConvTranspose):
    """Transposed convolution of sequences, as `ConvTranspose2d`, whose arguments it takes: (n,
    in_channels, l) -> (n, out_channels, l').

    >>> ConvTranspose1d(4, 2, 4, stride=2, padding=1)(np.zeros((1, 4, 5))).shape
    (1, 2, 10)
    """

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """Transposed convolution, the adjoint of a `Conv2d`: each element of x is laid down as a filter
    times it, a stride apart. (n, in_channels, h, w) -> (n, out_channels, h', w'), h' = (h - 1)
    stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1, w' alike. The weight is
    (in_channels, out_channels / groups, kh, kw).

    Args:
        padding: rows and columns that are cut off on each side.
        output_padding: rows and columns that are added at the end; or call the layer with
            `output_size`, the (h', w') that is wanted.
        Others as those of `Conv2d`.
    Raises: as `Conv2d`; ArgumentError for an output_size that no padding gives.

    >>> ConvTranspose2d(16, 4, 2, stride=2)(np.zeros((8, 16, 7, 7))).shape
    (8, 4, 14, 14)
    """

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """Transposed convolution of volumes, as `ConvTranspose2d`, whose arguments it takes: (n,
    in_channels, d, h, w) -> (n, out_channels, d', h', w').

    >>> ConvTranspose3d(2, 1, 2, stride=2)(np.zeros((1, 2, 2, 3, 3))).shape
    (1, 1, 4, 6, 6)
    """

    axes = 3
