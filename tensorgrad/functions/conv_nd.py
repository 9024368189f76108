"""Convolution of sequences (n, channels, length) and volumes (n, channels, depth, height, width),
and transposed convolution, by the ops of images: a sequence is an image of one row, and the planes
of a volume that a filter sees together are the channels of one image."""

from __future__ import annotations

from typing import Any, TypeAlias

from ..core import Tensor
from ..errors import ArgumentError, ShapeError
from ..ops import conv as ops
from ..ops.index import scatter_add
from ..settings import gate
from ..typing import ArrayLike, Border, Border1, Border3, Count, Size, Size1, Size3
from .conv import Filled, Fused, _prepared
from .inputs import alike
from .padding import pad
from .shape import reshape, stack, transpose

__all__ = ["conv1d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]

Sizes: TypeAlias = Any  # along each axis: the tuples that the gate hands on
_PLANES = (0, 2, 1, 3, 4)  # (n, c, d, h, w) <-> (n, d, c, h, w)


def _convolved(
    name: str,
    axes: int,
    inputs: Any,
    stride: Sizes,
    padding: Any,
    dilation: Sizes,
    groups: int,
    activation: str | None,
) -> Tensor:
    (x, w, b), edges, out = _prepared(name, axes, inputs, groups, stride, padding, dilation)
    how: Any = {
        "stride": (1, *stride)[-2:],
        "padding": (0, *edges)[-2:],
        "dilation": (1, *dilation)[-2:],
        "groups": groups,
        "activation": activation or "none",
    }
    if axes == 1:
        x, w = x[:, :, None], w[:, :, None]
        return ops.conv2d(x, w, b, **how)[:, :, 0]  # type: ignore[no-any-return]
    n, (o, c, seen, *window) = len(x), w.shape
    x = transpose(x, _PLANES)
    if edge := edges[0]:
        x = pad(x, ((0, 0), (edge, edge), *[(0, 0)] * 3))
    planes = stack([x[:, at] for at in _depths(out[0], seen, stride[0], dilation[0])], 3)
    planes = reshape(planes, (n * out[0], groups * c * seen, *x.shape[3:]))
    w = reshape(w, (o, c * seen, *window))
    y = ops.conv2d(planes, w, b, **how)
    return transpose(reshape(y, (n, out[0], o, *out[1:])), _PLANES)


def _depths(count: int, size: int, step: int, dilation: int) -> list[slice]:
    """For each plane of a filter those of the volume that it meets."""
    reach = step * (count - 1) + 1
    return [slice(k * dilation, k * dilation + reach, step) for k in range(size)]


@gate
def conv1d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Size1 = (1,),
    padding: Border1 | Filled = (0,),
    dilation: Size1 = (1,),
    groups: Count = 1,
    activation: Fused = None,
) -> Tensor:
    """activation(cross-correlation of sequences with filters + b): (n, c, l) -> (n, out, l'),
    l' = floor((l + 2 padding - dilation (k - 1) - 1) / stride) + 1.

    Args:
        w: filters (out, c / groups, k).
        b, stride, padding, dilation, groups, activation: as those of `conv2d`.
    Raises: as `conv2d`.

    For one sequence without channels see `correlate`.

    >>> conv1d([[[1.0, 2.0, 4.0]]], [[[-1.0, 1.0]]]).tolist()
    [[[1.0, 2.0]]]
    >>> conv1d(np.zeros((8, 3, 100)), np.zeros((16, 3, 5)), padding="same").shape
    (8, 16, 100)
    """
    return _convolved("conv1d", 1, (x, w, b), stride, padding, dilation, groups, activation)


@gate
def conv3d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Size3 = (1, 1, 1),
    padding: Border3 | Filled = (0, 0, 0),
    dilation: Size3 = (1, 1, 1),
    groups: Count = 1,
    activation: Fused = None,
) -> Tensor:
    """activation(cross-correlation of volumes with filters + b): (n, c, d, h, w) -> (n, out, d',
    h', w'), each d' = floor((d + 2 padding - dilation (kd - 1) - 1) / stride) + 1.

    Args:
        w: filters (out, c / groups, kd, kh, kw).
        stride, padding, dilation: one number or (depth, rows, columns).
        b, groups, activation: as those of `conv2d`.
    Raises: as `conv2d`.

    The planes that a filter sees are copied side by side: kd times the memory of x.

    >>> conv3d(np.zeros((2, 3, 8, 16, 16)), np.zeros((4, 3, 3, 3, 3)), stride=2, padding=1).shape
    (2, 4, 4, 8, 8)
    """
    return _convolved("conv3d", 3, (x, w, b), stride, padding, dilation, groups, activation)


# --- transposed -----------------------------------------------------------------------------------


def _transposed(
    name: str,
    axes: int,
    inputs: tuple,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    x, w, b = alike(*inputs)
    if x.ndim != axes + 2 or w.ndim != axes + 2 or len(w) != x.shape[1] or len(w) % groups:
        raise ShapeError(
            f"{name}: x of shape {x.shape}, w of shape {w.shape}: x is (n, channels, ...) and w "
            f"(channels, out / groups, ...) with {axes} axes more each, the channels in {groups} "
            "groups"
        )
    filters = w.shape[1] * groups
    if b is not None and b.shape != (filters,):
        raise ShapeError(f"{name}: b has shape {b.shape}; w has {filters} filters")
    if any(more >= max(s, d) for more, s, d in zip(output_padding, stride, dilation, strict=True)):
        raise ArgumentError(
            f"{name}: output_padding={output_padding}: it is less than the stride {stride} or the "
            f"dilation {dilation}"
        )
    each = zip(x.shape[2:], w.shape[2:], stride, padding, dilation, output_padding, strict=True)
    size = [s * (n - 1) + d * (k - 1) + 1 - 2 * p + more for n, k, s, p, d, more in each]
    if min(*size, *x.shape[2:], *w.shape[2:]) < 1:
        raise ShapeError(
            f"{name}: x of shape {x.shape}, w of shape {w.shape} and padding {padding} leave {size}"
        )
    past = [max(0, more - s + 1) for more, s in zip(output_padding, stride, strict=True)]
    if any(past):  # where a window more would begin, so no convolution has that size
        wide = [n + 2 * p - m for n, p, m in zip(size, padding, past, strict=True)]
        y = _laid(x, w, wide, stride, (0,) * axes, groups, dilation)
        y = pad(y, ((0, 0), (0, 0), *[(0, m) for m in past]))
        y = y[(..., *[slice(p, p + n) for p, n in zip(padding, size, strict=True)])]
    else:
        y = _laid(x, w, size, stride, padding, groups, dilation)
    return y if b is None else y + reshape(b, (-1, *[1] * axes))


def _laid(
    x: Tensor,
    w: Tensor,
    size: list[int],
    stride: Sizes,
    padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    """The adjoint of a convolution of images of that size, or sequences or volumes."""
    how = {
        "stride": (1, *stride)[-2:],
        "padding": (0, *padding)[-2:],
        "dilation": (1, *dilation)[-2:],
        "groups": groups,
    }
    if len(size) == 1:
        x, w = x[:, :, None], w[:, :, None]
        return ops.conv2d_input(x, w, size=(1, *size), **how)[:, :, 0]  # type: ignore[no-any-return]
    if len(size) == 2:
        return ops.conv2d_input(x, w, size=tuple(size), **how)  # type: ignore[no-any-return]
    (n, c, depth, *plane), (_, o, seen, *window) = x.shape, w.shape
    planes = reshape(transpose(x, _PLANES), (n * depth, c, *plane))
    w = reshape(w, (c, o * seen, *window))
    y = ops.conv2d_input(planes, w, size=tuple(size[1:]), **how)
    y = reshape(y, (n, depth, o * groups, seen, *size[1:]))
    shape = (n, size[0] + 2 * padding[0], o * groups, *size[1:])
    depths = enumerate(_depths(depth, seen, stride[0], dilation[0]))
    laid = [scatter_add(y[:, :, :, k], shape=shape, template=(slice(None), at)) for k, at in depths]
    y = sum(laid[1:], laid[0])[:, padding[0] : padding[0] + size[0]]
    return transpose(y, _PLANES)


@gate
def conv_transpose1d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Size1 = (1,),
    padding: Border1 = (0,),
    output_padding: Border1 = (0,),
    groups: Count = 1,
    dilation: Size1 = (1,),
) -> Tensor:
    """The adjoint of `conv1d`: (n, c, l) -> (n, out, l'), l' = (l - 1) stride - 2 padding +
    dilation (k - 1) + output_padding + 1.

    Args:
        w: filters (c, out / groups, k).
        b, stride, padding, output_padding, groups, dilation: as those of `conv_transpose2d`.
    Raises: as `conv_transpose2d`.

    >>> conv_transpose1d([[[1.0, 2.0]]], [[[1.0, 10.0, 100.0]]], stride=2).tolist()
    [[[1.0, 10.0, 102.0, 20.0, 200.0]]]
    """
    how = (stride, padding, output_padding, groups, dilation)
    return _transposed("conv_transpose1d", 1, (x, w, b), *how)


@gate
def conv_transpose2d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Size = (1, 1),
    padding: Border = (0, 0),
    output_padding: Border = (0, 0),
    groups: Count = 1,
    dilation: Size = (1, 1),
) -> Tensor:
    """Transposed convolution, the adjoint of `conv2d`: each element of x is laid down as a filter
    times it, a stride apart. (n, c, h, w) -> (n, out, h', w'), h' = (h - 1) stride - 2 padding +
    dilation (kh - 1) + output_padding + 1, w' alike.

    Args:
        w: filters (c, out / groups, kh, kw).
        b: bias (out,), or None.
        padding: rows and columns that are cut off on each side.
        output_padding: rows and columns that are added at the end: of the sizes that a convolution
            with that stride makes equal it chooses one. Less than the stride or the dilation.
        stride, dilation, groups: those of the convolution.
    Raises: ShapeError where filters do not fit the channels, or nothing would be left;
    ArgumentError for a larger output_padding.

    >>> conv_transpose2d([[[[1.0, 2.0]]]], [[[[1.0], [3.0]]]]).tolist()
    [[[[1.0, 2.0], [3.0, 6.0]]]]
    >>> conv_transpose2d(np.zeros((8, 16, 7, 7)), np.zeros((16, 4, 2, 2)), stride=2).shape
    (8, 4, 14, 14)
    """
    how = (stride, padding, output_padding, groups, dilation)
    return _transposed("conv_transpose2d", 2, (x, w, b), *how)


@gate
def conv_transpose3d(
    x: ArrayLike,
    w: ArrayLike,
    b: ArrayLike | None = None,
    *,
    stride: Size3 = (1, 1, 1),
    padding: Border3 = (0, 0, 0),
    output_padding: Border3 = (0, 0, 0),
    groups: Count = 1,
    dilation: Size3 = (1, 1, 1),
) -> Tensor:
    """The adjoint of `conv3d`: (n, c, d, h, w) -> (n, out, d', h', w'), each d' = (d - 1) stride -
    2 padding + dilation (kd - 1) + output_padding + 1.

    Args:
        w: filters (c, out / groups, kd, kh, kw).
        b, stride, padding, output_padding, groups, dilation: as those of `conv_transpose2d`.
    Raises: as `conv_transpose2d`.

    >>> conv_transpose3d(np.zeros((2, 4, 3, 5, 5)), np.zeros((4, 3, 2, 2, 2)), stride=2).shape
    (2, 3, 6, 10, 10)
    """
    how = (stride, padding, output_padding, groups, dilation)
    return _transposed("conv_transpose3d", 3, (x, w, b), *how)
