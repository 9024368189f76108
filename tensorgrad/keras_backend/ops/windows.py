"""Convolution and pooling. Keras's default has channels last; tensorgrad's kernels have them first,
so that images are transposed in and out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from keras.src.backend.common.backend_utils import compute_conv_transpose_padding_args_for_jax
from keras.src.backend.config import standardize_data_format

import tensorgrad as tg

from .core import Tensor, cast, convert_to_tensor, floating, together


def first(x: Tensor, data_format: str) -> Tensor:
    """Channels first."""
    return tg.moveaxis(x, -1, 1) if data_format == "channels_last" else x


def last(x: Tensor, data_format: str) -> Tensor:
    """Back to the format asked for."""
    return tg.moveaxis(x, 1, -1) if data_format == "channels_last" else x


def several(value: Any, n: int) -> tuple[int, ...]:
    """One number for each axis."""
    return (int(value),) * n if isinstance(value, int) else tuple(int(v) for v in value)


def _same(size: int, window: int, stride: int) -> tuple[int, int]:
    """The border for "same": an odd one at the end."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def _bordered(x: Tensor, windows: Any, strides: Any, padding: str, value: Any = 0) -> Tensor:
    """x, channels first, with the border of `padding`."""
    if padding == "valid":
        return x
    if padding != "same":
        raise ValueError(f"`padding` must be 'valid' or 'same'. Received: padding={padding}")
    sizes = zip(x.shape[2:], windows, strides, strict=True)
    width = ((0, 0), (0, 0), *[_same(*of) for of in sizes])
    return tg.pad(x, width, constant_values=value) if any(map(any, width)) else x


def _convolved(x: Tensor, w: Tensor, strides: Any, padding: str, dilation: Any, groups: int):
    """x channels first, w (spatial..., in / groups, out)."""
    n = x.ndim - 2
    strides, dilation = several(strides, n), several(dilation, n)
    windows = [(k - 1) * d + 1 for k, d in zip(w.shape[:n], dilation, strict=True)]
    symmetric: Any = 0
    if padding == "same":
        borders = [_same(*of) for of in zip(x.shape[2:], windows, strides, strict=True)]
        if all(a == b for a, b in borders):
            symmetric, padding = tuple(a for a, _ in borders), "valid"
    x = _bordered(x, windows, strides, padding)
    w = tg.transpose(w, (n + 1, n, *range(n)))
    return getattr(tg, ("", "conv1d", "conv2d", "conv3d")[n])(
        x, w, stride=strides, padding=symmetric, dilation=dilation, groups=groups
    )


def _check(inputs: Tensor, kernel: Tensor, data_format: str) -> int:
    """The number of groups."""
    channels = inputs.shape[-1 if data_format == "channels_last" else 1]
    if channels % kernel.shape[-2]:
        raise ValueError(
            "The number of input channels must be evenly divisible by kernel's in_channels. "
            f"Received input channels {channels} and kernel in_channels {kernel.shape[-2]}. "
        )
    return channels // kernel.shape[-2]


def _floats(inputs: Any, kernel: Any) -> list[Tensor]:
    made = together(convert_to_tensor(inputs), convert_to_tensor(kernel))
    return [floating(a) for a in made]


def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """The convolution of inputs with a kernel (spatial..., in / groups, out)."""
    data_format = standardize_data_format(data_format)
    inputs, kernel = _floats(inputs, kernel)
    groups = _check(inputs, kernel, data_format)
    y = _convolved(first(inputs, data_format), kernel, strides, padding, dilation_rate, groups)
    return last(y, data_format)


def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """Each channel with kernels of its own, (spatial..., in, multiplier)."""
    kernel = convert_to_tensor(kernel)
    *spatial, channels, multiplier = kernel.shape
    wide = tg.reshape(kernel, (*spatial, 1, channels * multiplier))
    return conv(inputs, wide, strides, padding, data_format, dilation_rate)


def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """Each channel by itself, then all channels of each place."""
    y = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(y, pointwise_kernel, 1, "valid", data_format, 1)


def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: Any = None,
    dilation_rate: Any = 1,
) -> Tensor:
    """The adjoint of a convolution, with a kernel (spatial..., out, in)."""
    data_format = standardize_data_format(data_format)
    inputs, kernel = _floats(inputs, kernel)
    x, n = first(inputs, data_format), inputs.ndim - 2
    if x.shape[1] != kernel.shape[-1]:
        raise ValueError(
            "The number of input channels must match the kernel's in_channels. "
            f"Received input channels {x.shape[1]} and kernel in_channels {kernel.shape[-1]}."
        )
    strides, dilation = several(strides, n), several(dilation_rate, n)
    borders = compute_conv_transpose_padding_args_for_jax(
        (1, *x.shape[2:], 1), kernel.shape, strides, padding, output_padding, dilation
    )
    w = tg.transpose(kernel, (n + 1, n, *range(n)))
    name = ("", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")[n]
    y = getattr(tg, name)(x, w, stride=strides, dilation=dilation)
    keys: list[Any] = [slice(None), slice(None)]
    wide = [(0, 0), (0, 0)]
    for size, k, d, ends in zip(y.shape[2:], kernel.shape, dilation, borders, strict=False):
        low, high = (int(end) - (k - 1) * d for end in ends)  # fewer: cut off; more: zeros
        keys.append(slice(max(-low, 0), size - max(-high, 0)))
        wide.append((max(low, 0), max(high, 0)))
    y = y[tuple(keys)]
    return last(tg.pad(y, tuple(wide)) if any(map(any, wide)) else y, data_format)


# --- pooling ------------------------------------------------------------------------------------


def _pool(name: str, x: Tensor, size: tuple, strides: tuple) -> Tensor:
    return getattr(tg, f"{name}{len(size)}d")(x, size, strides)


def max_pool(
    inputs: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: Any = None,
) -> Tensor:
    """The largest number of each window; a border does not count."""
    data_format = standardize_data_format(data_format)
    given = convert_to_tensor(inputs)
    x, n = first(floating(given), data_format), given.ndim - 2
    size = several(pool_size, n)
    strides = size if strides is None else several(strides, n)
    y = _pool("max_pool", _bordered(x, size, strides, padding, -np.inf), size, strides)
    return cast(last(y, data_format), given.dtype)


def average_pool(
    inputs: Any,
    pool_size: Any,
    strides: Any = None,
    padding: str = "valid",
    data_format: Any = None,
) -> Tensor:
    """The mean of each window; a border does not count."""
    data_format = standardize_data_format(data_format)
    x = floating(inputs)
    x, n = first(x, data_format), x.ndim - 2
    size = several(pool_size, n)
    strides = size if strides is None else several(strides, n)
    wide = _bordered(x, size, strides, padding)
    y = _pool("avg_pool", wide, size, strides)
    if wide is not x:
        ones = _bordered(tg.ones((1, 1, *x.shape[2:]), dtype=x.dtype), size, strides, padding)
        y = y / _pool("avg_pool", ones, size, strides)
    return last(y, data_format)


def _adaptive(name: str) -> Callable:
    def call(inputs: Any, output_size: Any, data_format: Any = None) -> Tensor:
        data_format = standardize_data_format(data_format)
        x = first(floating(inputs), data_format)
        n = x.ndim - 2
        return last(getattr(tg, f"{name}{n}d")(x, several(output_size, n)), data_format)

    return call


adaptive_average_pool, adaptive_max_pool = map(
    _adaptive, ("adaptive_avg_pool", "adaptive_max_pool")
)


# --- windows as columns -------------------------------------------------------------------------


def unfold(
    input: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The windows of images, channels first, as columns."""
    sizes: Any = (several(a, 2) for a in (kernel_size, dilation, padding, stride))
    size, dilation, padding, stride = sizes
    return tg.unfold(floating(input), size, dilation=dilation, padding=padding, stride=stride)


def fold(
    x: Any,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Images of the sums of columns, the adjoint of `unfold`."""
    sizes: Any = (several(a, 2) for a in (output_size, kernel_size, dilation, padding, stride))
    shape, size, dilation, padding, stride = sizes
    return tg.fold(floating(x), shape, size, dilation=dilation, padding=padding, stride=stride)


def depth_to_space(x: Any, block_size: int, data_format: Any = "channels_last") -> Tensor:
    """Channels as blocks of places."""
    data_format = standardize_data_format(data_format)
    x, b = convert_to_tensor(x), block_size
    if data_format == "channels_last":
        n, h, w, c = x.shape
        y = tg.transpose(tg.reshape(x, (n, h, w, b, b, c // b**2)), (0, 1, 3, 2, 4, 5))
        return tg.reshape(y, (n, h * b, w * b, c // b**2))
    n, c, h, w = x.shape
    y = tg.transpose(tg.reshape(x, (n, b, b, c // b**2, h, w)), (0, 3, 4, 1, 5, 2))
    return tg.reshape(y, (n, c // b**2, h * b, w * b))


def space_to_depth(x: Any, block_size: int, data_format: Any = "channels_last") -> Tensor:
    """Blocks of places as channels."""
    data_format = standardize_data_format(data_format)
    x, b = convert_to_tensor(x), block_size
    if data_format == "channels_last":
        n, h, w, c = x.shape
        y = tg.transpose(tg.reshape(x, (n, h // b, b, w // b, b, c)), (0, 1, 3, 2, 4, 5))
        return tg.reshape(y, (n, h // b, w // b, c * b**2))
    n, c, h, w = x.shape
    y = tg.transpose(tg.reshape(x, (n, c, h // b, b, w // b, b)), (0, 3, 5, 1, 2, 4))
    return tg.reshape(y, (n, c * b**2, h // b, w // b))
