"""Windows that slide along axes: as a view has them, as columns of a matrix (im2col), and the sums
of products with them."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from ..backend import is_floating
from ..core import Tensor
from ..creation import owned
from ..errors import ArgumentError, ShapeError
from ..ops.index import ARRAY, scatter_add
from ..ops.scan import correlate_valid
from ..settings import gate
from ..typing import ArrayLike, Axes, Border, Shape, Size
from .inputs import as_tensor, axis_of, operands, several
from .padding import pad
from .shape import flip, moveaxis, reshape, stack, transpose

__all__ = [
    "convolve",
    "correlate",
    "fold",
    "sliding_window_view",
    "unfold",
]

_MOST = 64  # slices that are stacked; of more, one gather is faster


def _count(n: int, size: int, step: int, dilation: int) -> int:
    """How many windows fit."""
    return (n - dilation * (size - 1) - 1) // step + 1


def _windows(x: Tensor, size: int, step: int = 1, dilation: int = 1) -> Tensor:
    """(..., n) -> (..., windows, size)."""
    count = _count(x.shape[-1], size, step, dilation)
    if size <= _MOST:
        return stack([x[..., at] for at in _slices(count, size, step, dilation)], -1)
    return x[..., _places(count, size, step, dilation)]


def _slices(count: int, size: int, step: int, dilation: int) -> list[slice]:
    """For each element of a window where the windows have it."""
    reach = step * (count - 1) + 1
    return [slice(i * dilation, i * dilation + reach, step) for i in range(size)]


def _places(count: int, size: int, step: int, dilation: int) -> list[list[int]]:
    return [[i * step + j * dilation for j in range(size)] for i in range(count)]


def _overlapped(y: Tensor, n: int, step: int, dilation: int) -> Tensor:
    """(..., windows, size) -> (..., n), the sums of the elements that they share."""
    count, size = y.shape[-2:]
    shape = (*y.shape[:-2], n)
    if size <= _MOST:
        parts = [
            scatter_add(y[..., i], shape=shape, template=(..., at))
            for i, at in enumerate(_slices(count, size, step, dilation))
        ]
        return sum(parts[1:], parts[0])
    at = Tensor(as_tensor(_places(count, size, step, dilation))._data)
    return scatter_add(y, at, shape=shape, template=(..., ARRAY))  # type: ignore[no-any-return]


@gate
def sliding_window_view(x: ArrayLike, window_shape: Shape, axis: Axes = None) -> Tensor:
    """All windows of a shape: (n,) -> (n - k + 1, k). (A copy, not a view as NumPy's.)

    Args:
        window_shape: the size of the window along each of the axes.
        axis: one axis or several, on which windows slide; all where left out.
    Returns: the axes of x, shortened, and then those of the window.
    Raises: ShapeError for a window that is larger than x, ArgumentError for sizes of another number
        than axes.

    >>> sliding_window_view([1, 2, 3, 4], 2).tolist()
    [[1, 2], [2, 3], [3, 4]]
    """
    x = owned(x)
    sizes = several(window_shape)
    along = range(x.ndim) if axis is None else several(axis)
    axes = [axis_of("sliding_window_view", x, a) for a in along]
    if len(axes) != len(sizes) or min(sizes, default=0) < 0:
        raise ArgumentError(f"sliding_window_view: window_shape={window_shape} for axes {axes}")
    for a, size in zip(axes, sizes, strict=True):
        if not 1 <= size <= x.shape[a]:
            raise ShapeError(f"sliding_window_view: a window of {size} of {x.shape[a]} elements")
        x = moveaxis(_windows(moveaxis(x, a, -1), size), -2, a)
    return x


@gate
def unfold(
    x: ArrayLike,
    size: Size,
    *,
    dilation: Size = (1, 1),
    padding: Border = (0, 0),
    stride: Size = (1, 1),
) -> Tensor:
    """The windows of images as columns (im2col): (n, c, h, w) -> (n, c * rows * columns, windows),
    for a convolution that is a matrix product of your own.

    Args:
        size: of the window; all are one number or (rows, columns).
        dilation: from element to element of a window.
        padding: zeros on each side of the images.
        stride: from window to window.
    Raises: ShapeError for other axes, or a window that is larger than the padded images.

    >>> unfold([[[[1.0, 2.0], [3.0, 4.0]]]], (1, 2)).tolist()
    [[[1.0, 3.0], [2.0, 4.0]]]
    """
    x = owned(x)
    if x.ndim != 4:
        raise ShapeError(f"unfold: x of shape {x.shape}: images (n, c, h, w) are what it takes")
    sizes, gaps, borders, steps = map(_pair, (size, dilation, padding, stride))
    counts = _extent("unfold", x.shape[2:], sizes, gaps, borders, steps)
    x = pad(x, ((0, 0), (0, 0), *[(p, p) for p in borders])) if any(borders) else x
    y = _windows(x, sizes[1], steps[1], gaps[1])
    y = _windows(moveaxis(y, 2, -1), sizes[0], steps[0], gaps[0])
    n, c = x.shape[:2]
    return reshape(transpose(y, _ORDER), (n, c * math.prod(sizes), math.prod(counts)))


# (n, c, columns of windows, columns, rows of windows, rows) and (n, c, rows, columns, rows of
# windows, columns of windows)
_ORDER = (0, 1, 5, 3, 4, 2)


@gate
def fold(
    x: ArrayLike,
    output_size: Size,
    size: Size,
    *,
    dilation: Size = (1, 1),
    padding: Border = (0, 0),
    stride: Size = (1, 1),
) -> Tensor:
    """Images from the columns of `unfold`, elements that windows share summed (col2im): (n, c *
    rows * columns, windows) -> (n, c, h, w). It is the adjoint of `unfold`, not its inverse.

    Args:
        output_size: (h, w).
        size, dilation, padding, stride: as those of `unfold`.
    Raises: ShapeError unless x has as many columns as such images have windows.

    >>> fold([[[1.0, 3.0], [2.0, 4.0]]], 2, (1, 2)).tolist()
    [[[[1.0, 2.0], [3.0, 4.0]]]]
    """
    x, image = owned(x), _pair(output_size)
    sizes, gaps, borders, steps = map(_pair, (size, dilation, padding, stride))
    counts, k = _extent("fold", image, sizes, gaps, borders, steps), math.prod(sizes)
    if x.ndim != 3 or x.shape[1] % k or x.shape[2] != math.prod(counts):
        raise ShapeError(
            f"fold: x of shape {x.shape}; images of {image} have (n, c * {k}, {math.prod(counts)})"
        )
    n, c = x.shape[0], x.shape[1] // k
    y = transpose(reshape(x, (n, c, *sizes, *counts)), _ORDER)
    (h, w), (top, left) = image, borders
    y = moveaxis(_overlapped(y, h + 2 * top, steps[0], gaps[0]), -1, 2)
    y = _overlapped(y, w + 2 * left, steps[1], gaps[1])
    return y[:, :, top : top + h, left : left + w] if any(borders) else y


def _pair(size: Size) -> tuple[int, int]:
    """A size as the gate hands it on."""
    return size  # type: ignore[return-value]


def _extent(
    name: str,
    image: tuple[int, ...],
    sizes: tuple[int, int],
    gaps: tuple[int, int],
    borders: tuple[int, int],
    steps: tuple[int, int],
) -> list[int]:
    """How many windows there are, in rows and columns."""
    made = [
        _count(n + 2 * p, k, s, d)
        for n, k, d, p, s in zip(image, sizes, gaps, borders, steps, strict=True)
    ]
    if min(made) < 1:
        raise ShapeError(f"{name}: a window of {sizes} in images of {image}, padded by {borders}")
    return made


Mode: TypeAlias = Literal["full", "same", "valid"]

# --- one axis -------------------------------------------------------------------------------------


def _two(name: str, a: ArrayLike, v: ArrayLike) -> tuple[Tensor, Tensor]:
    x, y = [as_tensor(t) for t in operands(a, v)]
    if is_floating(x.dtype) != is_floating(y.dtype):
        x, y = [t if is_floating(t.dtype) else t.astype(None) for t in (x, y)]
    x, y = [reshape(t, 1) if not t.ndim else t for t in (x, y)]
    if x.ndim != 1 or y.ndim != 1 or not (x.size and y.size):
        raise ShapeError(f"{name}: shapes {x.shape} and {y.shape}: (n,) and (m,), not empty")
    return x, y


def _slid(x: Tensor, v: Tensor, mode: str) -> Tensor:
    """v (m,), no longer than x (n,), along x between as many zeros as the mode says."""
    m = len(v)
    before, after = {"valid": (0, 0), "same": (m // 2, m - 1 - m // 2)}.get(mode, (m - 1, m - 1))
    return correlate_valid(pad(x, (before, after)) if m > 1 and mode != "valid" else x, v)


@gate
def convolve(x: ArrayLike, v: ArrayLike, mode: Mode = "full") -> Tensor:
    """The discrete convolution of two sequences: y[k] = sum(x[i] v[k - i]).

    Args:
        x, v: (n,) and (m,); zeros are thought around them.
        mode: "full" for all n + m - 1 sums; "same" for max(n, m), those in the middle; "valid" for
            those without a zero from outside.
    Raises: ShapeError unless both have one axis, and elements.

    For images and channels see `conv2d`.

    >>> convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5]).tolist()
    [0.0, 1.0, 2.5, 4.0, 1.5]
    """
    a, b = _two("convolve", x, v)
    a, b = (b, a) if len(b) > len(a) else (a, b)
    return _slid(a, flip(b), mode)


@gate
def correlate(x: ArrayLike, v: ArrayLike, mode: Mode = "valid") -> Tensor:
    """The cross-correlation of two sequences: y[k] = sum(x[k + i] v[i]).

    Args: as those of `convolve`.
    Raises: as `convolve`.

    >>> correlate([1.0, 2.0, 3.0], [0.0, 1.0, 0.5]).tolist()
    [3.5]
    """
    a, b = _two("correlate", x, v)
    return flip(_slid(b, a, mode)) if len(b) > len(a) else _slid(a, b, mode)
