"""Images, sequences and volumes (n, channels, ...) of another size, or seen through a grid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np

from ..backend import namespace
from ..core import Tensor
from ..errors import ArgumentError, ShapeError
from ..ops.embedding import mixed
from ..ops.gather import repeat_each
from ..ops.pool import gather_places, pick
from ..settings import Either, Nothing, Real, Several, Whole, gate
from ..typing import ArrayLike, Count, Shape
from . import adaptive
from .elementwise import clip, remainder, where
from .inputs import alike, as_tensor, floating
from .shape import reshape, transpose

__all__ = [
    "affine_grid",
    "channel_shuffle",
    "grid_sample",
    "interpolate",
    "pixel_shuffle",
    "pixel_unshuffle",
]

Enlarged: TypeAlias = Annotated[
    "int | Sequence[int] | None", Either(Nothing(), Several(Whole(1), says="one for each axis"))
]
Factor: TypeAlias = Annotated[
    "float | Sequence[float] | None",
    Either(Nothing(), Several(Real(above=0), says="one for each axis")),
]
Between: TypeAlias = Literal[
    "nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic", "area"
]
_AXES = {"bilinear": 2, "trilinear": 3, "bicubic": 2}


@gate
def interpolate(
    x: ArrayLike,
    size: Enlarged = None,
    scale_factor: Factor = None,
    mode: Between = "nearest",
    align_corners: bool = False,
) -> Tensor:
    """x in another size: (n, c, l), (n, c, h, w) or (n, c, d, h, w) -> (n, c, *size).

    Args:
        size: one number or one for each axis; or
        scale_factor: by what the sizes are multiplied; they are rounded down.
        mode: "nearest" takes the element at floor(i / factor), "nearest-exact" that at floor((i +
            0.5) / factor), as image libraries do. "linear" interpolates along each axis; "bilinear"
            and "trilinear" say of how many. "bicubic": cubic convolution of images (Keys 1981) with
            a = -0.75. "area": the mean, by `adaptive_avg_pool2d`.
        align_corners: whether the centres of the outermost elements stay at the ends, instead of
            their outer edges; of linear modes and "bicubic".
    Returns: the floating dtype of x; "nearest" and "nearest-exact" take any.
    Raises: ArgumentError unless one of size and scale_factor is given, for another number of them
    than axes, for align_corners of another mode; ShapeError for an x or a size without elements.

    >>> interpolate([[[1.0, 2.0]]], 4).tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    >>> interpolate([[[1.0, 2.0]]], scale_factor=2, mode="linear").tolist()
    [[[1.0, 1.25, 1.75, 2.0]]]
    """
    x = as_tensor(x)
    axes = x.ndim - 2
    if not 1 <= axes <= 3 or _AXES.get(mode, axes) != axes or 0 in x.shape[2:]:
        wanted = _AXES.get(mode, "1, 2 or 3")
        raise ShapeError(
            f"interpolate: x has shape {x.shape}; {mode!r} takes (n, channels, ...) with {wanted} "
            "more axes, none of them empty"
        )
    if (size is None) == (scale_factor is None):
        raise ArgumentError("interpolate: give either size or scale_factor")
    if align_corners and mode in ("nearest", "nearest-exact", "area"):
        raise ArgumentError(f"interpolate: align_corners is not for mode {mode!r}")
    given = size if scale_factor is None else scale_factor
    each: Any = tuple(given) if isinstance(given, Sequence) else (given,) * axes
    if len(each) != axes:
        raise ArgumentError(f"interpolate: {len(each)} sizes for {axes} axes of {x.shape}")
    sizes = list(each)
    if scale_factor is not None:
        sizes = [math.floor(n * f) for n, f in zip(x.shape[2:], each, strict=True)]
        if min(sizes) < 1:
            raise ShapeError(f"interpolate: {scale_factor=} of shape {x.shape} leaves {sizes}")
    if mode == "area":
        pool = getattr(adaptive, f"adaptive_avg_pool{axes}d")
        return pool(x, tuple(sizes))  # type: ignore[no-any-return]
    if "nearest" in mode:
        steps = [1 / f for f in each] if scale_factor is not None else None
        return _nearest(x, sizes, steps, 0.5 * (mode == "nearest-exact"))
    y: Tensor = floating(x)
    for axis, (m, given) in enumerate(zip(sizes, each, strict=True), 2):
        n = y.shape[axis]
        step = n / m if scale_factor is None else 1 / given
        at = np.arange(m) * ((n - 1) / max(m - 1, 1))
        if not align_corners:
            at = (np.arange(m) + 0.5) * step - 0.5
        if mode == "bicubic":
            y = _cubic(y, axis, at)
        elif m != n or step != 1:
            y = _linear(y, axis, np.maximum(at, 0))
    return y


def _nearest(x: Tensor, sizes: list[int], steps: list[float] | None, shift: float) -> Tensor:
    old, xp = x.shape[2:], namespace(x._data)
    steps = steps or [n / m for n, m in zip(old, sizes, strict=True)]
    places = []
    for n, m, step in zip(old, sizes, steps, strict=True):
        i = np.arange(m)
        at = (2 * i + round(2 * shift)) * n // (2 * m) if step == n / m else (i + shift) * step
        places.append(np.minimum(at.astype(int), n - 1))
    if xp is not np:  # there are no kernels for `pick`
        for axis, (n, at) in enumerate(zip(old, places, strict=True), 2):
            x = _taken(x, axis, n, at)
        return x
    if len(sizes) == 3:  # the depth first, then rows and columns at once
        x = _taken(x, 2, old[0], places[0])
    rows, columns = [Tensor(at) for at in [np.zeros(1, int), *places][-2:]]
    y = pick(x if len(sizes) > 1 else x[:, :, None], rows, columns)
    return y if len(sizes) > 1 else y[:, :, 0]  # type: ignore[no-any-return]


def _taken(x: Tensor, axis: int, n: int, at: np.ndarray) -> Tensor:
    times, rest = divmod(len(at), n)
    if not rest and np.array_equal(at, np.arange(len(at)) // times):
        return x if times == 1 else repeat_each(x, repeats=times, axis=axis)  # type: ignore[no-any-return]
    return x[(slice(None),) * axis + (at,)]


def _linear(x: Tensor, axis: int, at: np.ndarray) -> Tensor:
    low = np.minimum(at.astype(int), x.shape[axis] - 1)
    places = np.stack([low, np.minimum(low + 1, x.shape[axis] - 1)], 1)
    share = np.minimum(at - low, 1)
    return mixed(x, axis, places, np.stack([1 - share, share], 1))


def _cubic(x: Tensor, axis: int, at: np.ndarray) -> Tensor:
    low = np.floor(at).astype(int)
    places = low[:, None] + np.arange(-1, 3)
    weights = np.stack(_cubic_weights(at - low), 1)
    return mixed(x, axis, np.clip(places, 0, x.shape[axis] - 1), weights)


def _cubic_weights(t: Any) -> list:
    """Of the four elements around a place that is t after the second: Keys 1981, a = -0.75."""
    a = -0.75
    far = [((a * d - 5 * a) * d + 8 * a) * d - 4 * a for d in (t + 1, 2 - t)]
    near = [((a + 2) * d - (a + 3)) * d * d + 1 for d in (t, 1 - t)]
    return [far[0], *near, far[1]]


# --- grids ----------------------------------------------------------------------------------------


@gate
def affine_grid(theta: ArrayLike, size: Shape, align_corners: bool = False) -> Tensor:
    """The grid of an affine map for `grid_sample`: theta (n, 2, 3) and size (n, c, h, w) -> (n, h,
    w, 2), or (n, 3, 4) and (n, c, d, h, w) -> (n, d, h, w, 3).

    Each place of the result, (x, y, 1) with x and y from -1 to 1, is multiplied by theta.

    Args:
        align_corners: whether -1 and 1 are the centres of the outermost elements, or their edges.
    Raises: ShapeError for other shapes.

    >>> affine_grid([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], (1, 1, 1, 2)).tolist()
    [[[[-0.5, 0.0], [0.5, 0.0]]]]
    """
    maps: Tensor = floating(as_tensor(theta))
    sizes: tuple[int, ...] = tuple(size) if isinstance(size, Sequence) else (size,)
    axes = len(sizes) - 2
    if axes not in (2, 3) or maps.shape != (sizes[0], axes, axes + 1) or min(sizes) < 1:
        raise ShapeError(
            f"affine_grid: theta of shape {maps.shape} and size {sizes}: (n, 2, 3) is for (n, c, "
            "h, w), (n, 3, 4) for (n, c, d, h, w)"
        )
    lines = []
    for n in sizes[:1:-1]:
        line = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        lines.append(line if align_corners else line * (n - 1) / n)
    places = [a.T for a in np.meshgrid(*lines, indexing="ij")]
    rows = np.stack([*places, np.ones(sizes[2:])], -1).reshape(-1, axes + 1)
    grid = rows.astype(maps.dtype) @ transpose(maps, (0, 2, 1))
    return reshape(grid, (sizes[0], *sizes[2:], axes))


@gate
def grid_sample(
    x: ArrayLike,
    grid: ArrayLike,
    mode: Literal["bilinear", "nearest", "bicubic"] = "bilinear",
    padding_mode: Literal["zeros", "border", "reflection"] = "zeros",
    align_corners: bool = False,
) -> Tensor:
    """x at the places of a grid: (n, c, h, w) and (n, h', w', 2) -> (n, c, h', w'), or (n, c, d, h,
    w) and (n, d', h', w', 3) -> (n, c, d', h', w') (spatial transformers, Jaderberg et al. 2015).

    Args:
        grid: places (x, y) or (x, y, z), the last axis of x first; -1 and 1 are its ends.
        mode: "bilinear" interpolates along each axis; "nearest" takes one element, halves rounded
            to even; "bicubic", for images, takes 16 with the weights of `interpolate`.
        padding_mode: what is outside: zeros, the outermost element, or x mirrored.
        align_corners: whether -1 and 1 are the centres of the outermost elements, or their edges.
    Raises: ShapeError for other shapes.

    Gradients reach x, and but for "nearest" the grid.

    >>> grid_sample([[[[1.0, 3.0]]]], [[[[0.0, 0.0]]]]).item()
    2.0
    """
    image, places = alike(x, grid)
    return _sampled(image, places, mode, padding_mode, align_corners)


def _sampled(x: Tensor, grid: Tensor, mode: str, padding_mode: str, align: bool) -> Tensor:
    axes = x.ndim - 2
    if (
        axes not in (2, 3)
        or grid.ndim != x.ndim
        or grid.shape[:: len(grid.shape) - 1] != (len(x), axes)
        or 0 in x.shape[2:]
    ):
        raise ShapeError(
            f"grid_sample: x of shape {x.shape}, grid of shape {grid.shape}: (n, c, h, w) and (n, "
            "h', w', 2), or (n, c, d, h, w) and (n, d', h', w', 3)"
        )
    if mode == "bicubic" and axes != 2:
        raise ShapeError(f"grid_sample: x of shape {x.shape}: 'bicubic' is for images (n, c, h, w)")
    xp = namespace(x._data)
    ends = [(n, align) for n in x.shape[2:]]
    places = [_placed(grid[..., -1 - k], *end) for k, end in enumerate(ends)]
    if mode == "bicubic":
        return _bicubic(x, places, lambda at, k: _within(Tensor(at), padding_mode, *ends[k])._data)
    places = [_within(p, padding_mode, *end) for p, end in zip(places, ends, strict=True)]
    if mode == "nearest":
        known: Any = sum([Tensor(p._data * 0) for p in places]) + 1
        return _picked(x, [xp.rint(_known(p)) for p in places], known[:, None])
    low = [xp.floor(_known(p)) for p in places]
    y: Any = None
    for corner in itertools.product((0, 1), repeat=axes):
        weight: Any = None
        for p, at, up in zip(places, low, corner, strict=True):
            share = p - Tensor(at) if up else Tensor(at + 1) - p
            weight = share if weight is None else weight * share
        part = _picked(x, [at + up for at, up in zip(low, corner, strict=True)], weight[:, None])
        y = part if y is None else y + part
    return y  # type: ignore[no-any-return]


def _bicubic(x: Tensor, places: list[Tensor], within: Callable[[Any, int], Any]) -> Tensor:
    """From 4 x 4 elements, each of which is looked for `within` x by itself."""
    low = [namespace(x._data).floor(_known(p)) for p in places]
    shares = [_cubic_weights(p - Tensor(at)) for p, at in zip(places, low, strict=True)]
    near = [[within(at + i, k) for i in range(-1, 3)] for k, at in enumerate(low)]
    lines = []
    for row, down in zip(near[0], shares[0], strict=True):
        parts = [
            _picked(x, [row, column], across[:, None])
            for column, across in zip(near[1], shares[1], strict=True)
        ]
        lines.append(sum(parts[1:], parts[0]) * down[:, None])
    return sum(lines[1:], lines[0])


def _known(place: Tensor) -> Any:
    """The array without infinities, which are outside, and NaNs, which weights pass on."""
    xp = namespace(place._data)
    return xp.nan_to_num(place._data, nan=0.0, posinf=_FAR, neginf=-_FAR)


_FAR = 2.0**15  # in halves, too


def _placed(place: Tensor, n: int, align_corners: bool) -> Tensor:
    """From -1 to 1 into 0 to n - 1."""
    return (place + 1) * ((n - 1) / 2) if align_corners else (place + 1) * (n / 2) - 0.5


def _within(place: Tensor, padding_mode: str, n: int, align_corners: bool) -> Tensor:
    """A place outside of 0 to n - 1 as one inside, but for zeros."""
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        low, span = (0.0, n - 1) if align_corners else (-0.5, n)
        far = remainder(place - low, 2 * span) if span else place * 0
        place = where(far < span, far, 2 * span - far) + low
    return clip(place, 0, n - 1)


def _picked(x: Tensor, at: list[Any], weight: Tensor) -> Tensor:
    """The weighted elements of x at whole places along each axis, zeros outside."""
    xp, (n, c), sizes = namespace(x._data), x.shape[:2], x.shape[2:]
    inside: Any = None
    flat: Any = 0
    for i, size in zip(at, sizes, strict=True):
        within = (i >= 0) & (i < size)
        inside = within if inside is None else inside & within
        flat = flat * size + xp.clip(i, 0, size - 1).astype("int64")
    out = flat.shape[1:]
    count = math.prod(out)
    rows = xp.broadcast_to(flat.reshape(n, 1, 1, count), (n, c, 1, count))
    found = gather_places(
        reshape(x, (n, c, 1, math.prod(sizes))), Tensor(xp.ascontiguousarray(rows))
    )
    found = reshape(found, (n, c, *out))
    return where(Tensor(inside[:, None]), weight * found, 0.0)


# --- shuffles -------------------------------------------------------------------------------------


@gate
def pixel_shuffle(x: ArrayLike, upscale_factor: Count) -> Tensor:
    """Channels become pixels (Shi et al. 2016): (..., c r^2, h, w) -> (..., c, h r, w r).

    Raises: ShapeError unless the channels are a multiple of r^2.

    >>> pixel_shuffle([[[1]], [[2]], [[3]], [[4]]], 2).tolist()
    [[[1, 2], [3, 4]]]
    """
    x, r = as_tensor(x), upscale_factor
    if x.ndim < 3 or x.shape[-3] % (r * r):
        raise ShapeError(f"pixel_shuffle: x of shape {x.shape}: channels are a multiple of {r * r}")
    *lead, c, h, w = x.shape
    k = len(lead)
    y = reshape(x, (*lead, c // (r * r), r, r, h, w))
    y = transpose(y, (*range(k), k, k + 3, k + 1, k + 4, k + 2))
    return reshape(y, (*lead, c // (r * r), h * r, w * r))


@gate
def pixel_unshuffle(x: ArrayLike, downscale_factor: Count) -> Tensor:
    """The inverse of `pixel_shuffle`: (..., c, h r, w r) -> (..., c r^2, h, w).

    Raises: ShapeError unless h and w are multiples of r.

    >>> pixel_unshuffle([[[1, 2], [3, 4]]], 2).tolist()
    [[[1]], [[2]], [[3]], [[4]]]
    """
    x, r = as_tensor(x), downscale_factor
    if x.ndim < 3 or x.shape[-2] % r or x.shape[-1] % r:
        raise ShapeError(f"pixel_unshuffle: x of shape {x.shape}: sizes are multiples of {r}")
    *lead, c, h, w = x.shape
    k = len(lead)
    y = reshape(x, (*lead, c, h // r, r, w // r, r))
    y = transpose(y, (*range(k), k, k + 2, k + 4, k + 1, k + 3))
    return reshape(y, (*lead, c * r * r, h // r, w // r))


@gate
def channel_shuffle(x: ArrayLike, groups: Count) -> Tensor:
    """Channels of several groups in turn (Zhang et al. 2018): (n, c, ...) -> (n, c, ...).

    Raises: ShapeError unless the channels are a multiple of the groups.

    >>> channel_shuffle([[1, 2, 3, 4]], 2).tolist()
    [[1, 3, 2, 4]]
    """
    x = as_tensor(x)
    if x.ndim < 2 or x.shape[1] % groups:
        raise ShapeError(f"channel_shuffle: x of shape {x.shape}: channels in {groups} groups")
    n, c, *rest = x.shape
    y = transpose(reshape(x, (n, groups, c // groups, *rest)), (0, 2, 1, *range(3, x.ndim + 1)))
    return reshape(y, x.shape)
