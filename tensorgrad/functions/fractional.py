"""Max pooling whose windows lie at random distances: (n, channels, ...)."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias, overload

import numpy as np

from ..backend import everything
from ..core import Tensor
from ..creation import beside, zeros
from ..errors import ArgumentError, ShapeError
from ..ops import pool
from ..ops.random import random_bits
from ..randomness import random_state
from ..settings import Either, Nothing, Real, Several, gate
from ..typing import ArrayLike, Size, Size3
from .elementwise import clip, floor
from .inputs import as_tensor
from .reduce import argmax
from .shape import concatenate, reshape

__all__ = ["fractional_max_pool2d", "fractional_max_pool3d"]

_SHARE = Real(above=0, below=1)
Ratio2: TypeAlias = Annotated[
    "float | tuple[float, float] | None",
    Either(Nothing(), Several(_SHARE, 2, "(rows, columns)")),
]
Ratio3: TypeAlias = Annotated[
    "float | tuple[float, float, float] | None",
    Either(Nothing(), Several(_SHARE, 3, "(depth, rows, columns)")),
]


def _samples(name: str, x: Tensor, given: ArrayLike | None) -> Tensor:
    """A number of [0, 1) for each example, channel and axis, at least in single precision."""
    shape, dtype = (*x.shape[:2], x.ndim - 2), "float64" if x.dtype == "float64" else "float32"
    if given is None:
        words = random_bits(
            Tensor(random_state(x.backend, math.prod(shape))), size=math.prod(shape)
        )
        return reshape((words >> 8).astype(dtype) * 2.0**-24, shape)
    found = beside(given, x)
    if found.shape != shape:
        raise ShapeError(
            f"{name}: random_samples of shape {found.shape}; x of shape {x.shape} takes {shape}, "
            "one number for each example, channel and axis"
        )
    values = everything(found._data)
    if type(values) is np.ndarray and not ((values >= 0) & (values < 1)).all():
        raise ArgumentError(f"{name}: random_samples are numbers of [0, 1)")
    return found.detach().astype(dtype)


def _starts(sample: Tensor, free: int, count: int) -> Tensor:
    """Where windows begin, (n, c, count): the last one at `free`, those before it at distances of
    free / (count - 1) on average."""
    last = (sample * 0 + free)[..., None]
    if count == 1:
        return last.astype("int64")
    alpha = sample.dtype.type(free) / sample.dtype.type(count - 1)
    steps = beside(np.arange(count - 1, dtype=sample.dtype), sample)
    first = floor((sample[..., None] + steps) * alpha) - floor(sample * alpha)[..., None]
    # a sample on a GPU is not looked at: one out of range must not leave the input
    return concatenate([clip(first, 0, free), last], -1).astype("int64")


def _pool(
    name: str,
    axes: int,
    x: ArrayLike,
    size: Any,
    output_size: Any,
    output_ratio: Any,
    return_indices: bool,
    random_samples: ArrayLike | None,
) -> Tensor | tuple[Tensor, Tensor]:
    x = as_tensor(x)
    if x.ndim != axes + 2 or 0 in x.shape[1:]:
        raise ShapeError(f"{name}: x has shape {x.shape}: {axes + 2} axes, (n, channels, ...)")
    if (output_size is None) == (output_ratio is None):
        raise ArgumentError(f"{name}: give either output_size or output_ratio")
    lengths = x.shape[2:]
    if output_size is None:
        output_size = tuple([int(n * r) for n, r in zip(lengths, output_ratio, strict=True)])
    each = [*zip(lengths, size, output_size, strict=True)]
    if any(not 1 <= out <= n - k + 1 for n, k, out in each):
        raise ShapeError(
            f"{name}: {output_size} windows of {size} do not fit into x of shape {x.shape}: along "
            "each axis from 1 to length - size + 1"
        )
    samples = _samples(name, x, random_samples)
    # PyTorch's order of the samples: of images columns first, of volumes depth first
    order = (1, 0) if axes == 2 else (0, 1, 2)
    n, c = x.shape[:2]
    at = zeros((1, 1, 1, 1), "int64", backend=x.backend)  # of the elements of each window
    for axis, (length, k, out) in enumerate(each):
        starts = _starts(samples[:, :, order[axis]], length - k, out)
        places = starts[:, :, None, :, None, None] + beside(np.arange(k), x)
        at = at[:, :, :, None, :, None] * length + places  # (n, c, windows, out, elements, k)
        at = reshape(at, (n, c, at.shape[2] * out, at.shape[4] * k))
    windows, elements = at.shape[2:]
    flat = reshape(x, (n, c, 1, math.prod(lengths)))
    best = argmax(pool.gather_places(flat.detach(), at), -1)
    best = best + beside(np.arange(windows) * elements, x)
    where = pool.gather_places(at, reshape(best, (n, c, 1, windows)))
    y = reshape(pool.gather_places(flat, where), (n, c, *output_size))
    return (y, reshape(where, y.shape)) if return_indices else y


@overload
def fractional_max_pool2d(
    x: ArrayLike,
    size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio2 = None,
    *,
    return_indices: Literal[False] = False,
    random_samples: ArrayLike | None = None,
) -> Tensor: ...
@overload
def fractional_max_pool2d(
    x: ArrayLike,
    size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio2 = None,
    *,
    return_indices: Literal[True],
    random_samples: ArrayLike | None = None,
) -> tuple[Tensor, Tensor]: ...
@overload
def fractional_max_pool2d(
    x: ArrayLike,
    size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio2 = None,
    *,
    return_indices: bool,
    random_samples: ArrayLike | None = None,
) -> Tensor | tuple[Tensor, Tensor]: ...
@gate
def fractional_max_pool2d(
    x: ArrayLike,
    size: Size,
    output_size: Size | None = None,
    output_ratio: Ratio2 = None,
    *,
    return_indices: bool = False,
    random_samples: ArrayLike | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest number of each of `output_size` windows, which lie at distances that are random
    and a fraction on average (Graham 2014): (n, c, h, w) -> (n, c, *output_size).

    Args:
        size: of each window, one number or (rows, columns).
        output_size: how many windows, along each axis at most h - size + 1.
        output_ratio: instead: which share of h and w, of (0, 1), rounded down.
        return_indices: also the place of each maximum in its plane, int64, as `max_unpool2d` takes
            it.
        random_samples: numbers u of [0, 1), (n, c, 2), for columns and rows, as PyTorch takes them;
            drawn from the generator that `seed` sets where left out.
    Raises: ArgumentError unless either size or ratio is given, and for samples out of range (on a
    GPU, which would have to be waited for, those move windows); ShapeError where the windows do
    not fit into the image.

    With a = (h - size) / (output_size - 1), window i begins at floor((i + u) a) - floor(u a), the
    last at h - size. Of equal numbers the first is taken; a NaN wins.

    >>> x = np.arange(25.0).reshape(1, 1, 5, 5)
    >>> fractional_max_pool2d(x, 2, (2, 3), random_samples=[[[0.5, 0.0]]]).tolist()
    [[[[6.0, 8.0, 9.0], [21.0, 23.0, 24.0]]]]
    """
    how = (size, output_size, output_ratio, return_indices, random_samples)
    return _pool("fractional_max_pool2d", 2, x, *how)


@overload
def fractional_max_pool3d(
    x: ArrayLike,
    size: Size3,
    output_size: Size3 | None = None,
    output_ratio: Ratio3 = None,
    *,
    return_indices: Literal[False] = False,
    random_samples: ArrayLike | None = None,
) -> Tensor: ...
@overload
def fractional_max_pool3d(
    x: ArrayLike,
    size: Size3,
    output_size: Size3 | None = None,
    output_ratio: Ratio3 = None,
    *,
    return_indices: Literal[True],
    random_samples: ArrayLike | None = None,
) -> tuple[Tensor, Tensor]: ...
@overload
def fractional_max_pool3d(
    x: ArrayLike,
    size: Size3,
    output_size: Size3 | None = None,
    output_ratio: Ratio3 = None,
    *,
    return_indices: bool,
    random_samples: ArrayLike | None = None,
) -> Tensor | tuple[Tensor, Tensor]: ...
@gate
def fractional_max_pool3d(
    x: ArrayLike,
    size: Size3,
    output_size: Size3 | None = None,
    output_ratio: Ratio3 = None,
    *,
    return_indices: bool = False,
    random_samples: ArrayLike | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """The largest number of each of `output_size` windows at random distances, as
    `fractional_max_pool2d`: (n, c, d, h, w) -> (n, c, *output_size).

    Args:
        size, output_size, output_ratio, return_indices: as there, of three axes.
        random_samples: (n, c, 3), for depth, rows and columns.
    Raises: as there.

    >>> fractional_max_pool3d(np.ones((2, 1, 4, 5, 6)), 2, output_ratio=0.5).shape
    (2, 1, 2, 2, 3)
    """
    how = (size, output_size, output_ratio, return_indices, random_samples)
    return _pool("fractional_max_pool3d", 3, x, *how)
