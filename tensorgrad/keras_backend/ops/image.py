"""Images: colours, resizing, transformations of coordinates. All are formulas of tensorgrad's
functions, so that gradients flow through them to the images, and to coordinates between pixels."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from keras.src.backend.config import standardize_data_format
from keras.src.random.seed_generator import draw_seed

import tensorgrad as tg

from .core import Tensor, cast, convert_to_tensor, floating
from .windows import _convolved, first, last

RESIZE_INTERPOLATIONS = ("bilinear", "nearest", "lanczos3", "lanczos5", "bicubic", "area")
MODES = ("constant", "nearest", "wrap", "mirror", "reflect")


def _images(x: Any, name: str, data_format: Any) -> tuple[Tensor, str, int]:
    """Images, their format, and the axis of the channels; ValueError for another rank."""
    x, data_format = convert_to_tensor(x), standardize_data_format(data_format)
    if x.ndim not in (3, 4):
        raise ValueError(
            f"Invalid {name} rank: expected rank 3 (single image) or rank 4 (batch of images). "
            f"Received input with shape: {name}.shape={x.shape}"
        )
    return x, data_format, -1 if data_format == "channels_last" else -3


def rgb_to_grayscale(images: Any, data_format: Any = None) -> Tensor:
    """0.2989 red + 0.587 green + 0.114 blue (ITU-R BT.601)."""
    x, _, axis = _images(images, "images", data_format)
    y = tg.moveaxis(floating(x), axis, -1) @ convert_to_tensor(
        [[0.2989], [0.587], [0.114]], "float32"
    )
    return cast(tg.moveaxis(y, -1, axis), x.dtype)


def rgb_to_hsv(images: Any, data_format: Any = None) -> Tensor:
    """Hue, saturation and value, of [0, 1] (Smith 1978)."""
    x, _, axis = _images(images, "images", data_format)
    _floats_only("rgb_to_hsv", x)
    r, g, b = tg.unstack(x, axis)
    top, low = tg.maximum(tg.maximum(r, g), b), tg.minimum(tg.minimum(r, g), b)
    range_ = top - low
    by = tg.where(range_ > 0, range_, 1.0)
    saturation = tg.where(top > 0, range_ / tg.where(top > 0, top, 1.0), 0.0)
    hue = tg.where(r == top, (g - b) / by, tg.where(g == top, (b - r) / by + 2, (r - g) / by + 4))
    hue = tg.where(range_ > 0, hue / 6, 0.0)
    return tg.stack([tg.where(hue < 0, hue + 1, hue), saturation, top], axis)


def hsv_to_rgb(images: Any, data_format: Any = None) -> Tensor:
    """Its inverse."""
    x, _, axis = _images(images, "images", data_format)
    _floats_only("hsv_to_rgb", x)
    h, s, v = tg.unstack(x, axis)
    colours = []
    for shift in (5.0, 3.0, 1.0):
        k = tg.remainder(h * 6 + shift, 6.0)
        colours.append(v - v * s * tg.clip(tg.minimum(k, 4 - k), 0.0, 1.0))
    return tg.stack(colours, axis)


def _floats_only(name: str, x: Tensor) -> None:
    if x.dtype.kind in "biu":
        raise ValueError(
            f"Invalid images dtype: expected float dtype. Received: {x.dtype} ({name})"
        )


# --- resizing -----------------------------------------------------------------------------------


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0, 1 - np.abs(x))


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys 1981, a = -0.5."""
    x = np.abs(x)
    near, far = ((1.5 * x - 2.5) * x) * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x >= 2, 0, np.where(x >= 1, far, near))


def _lanczos(radius: float) -> Any:
    return lambda x: np.where(np.abs(x) < radius, np.sinc(x) * np.sinc(x / radius), 0)


KERNELS: dict[str, Any] = {
    **dict.fromkeys(("linear", "bilinear", "trilinear", "triangle"), _triangle),
    **dict.fromkeys(("cubic", "bicubic", "tricubic"), _cubic),
    "lanczos3": _lanczos(3.0),
    "lanczos5": _lanczos(5.0),
}


def _weights(size: int, new: int, scale: float, shift: float, kernel: Any, antialias: bool):
    """(size, new): how much of each old pixel is in each new one."""
    widen = max(1 / scale, 1.0) if antialias else 1.0
    place = (np.arange(new) + 0.5) / scale - shift / scale - 0.5
    w = kernel(np.abs(place[None] - np.arange(size)[:, None]) / widen)
    total = w.sum(0, keepdims=True)
    w = np.where(np.abs(total) > 1e-4, w / np.where(total == 0, 1, total), 0)
    return np.where((place >= -0.5) & (place <= size - 0.5), w, 0)


def _scaled(x: Tensor, new: dict, scale: Any, shift: Any, method: str, antialias: bool) -> Tensor:
    """Axes of x at new sizes: a product with a matrix along each."""
    for axis, size, s, t in zip(new, new.values(), scale, shift, strict=True):
        if x.shape[axis] == size and s == 1 and t == 0:
            continue
        w = _weights(x.shape[axis], size, s, t, KERNELS[method], antialias)
        x = tg.moveaxis(tg.moveaxis(x, axis, -1) @ tg.asarray(w.astype(x.dtype)), -1, axis)
    return x


def resize(
    images: Any,
    size: Any,
    interpolation: str = "bilinear",
    antialias: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    fill_mode: str = "constant",
    fill_value: float = 0.0,
    data_format: Any = None,
) -> Tensor:
    """Images at another size."""
    if interpolation not in (*KERNELS, "nearest"):
        raise ValueError(
            "Invalid value for argument `interpolation`. Expected of one "
            f"{RESIZE_INTERPOLATIONS}. Received: interpolation={interpolation}"
        )
    if pad_to_aspect_ratio and crop_to_aspect_ratio:
        raise ValueError(
            "Only one of `pad_to_aspect_ratio` & `crop_to_aspect_ratio` can be `True`."
        )
    if fill_mode != "constant":
        raise ValueError(
            "Invalid value for argument `fill_mode`. Only `'constant'` is supported. "
            f"Received: fill_mode={fill_mode}"
        )
    if len(size := tuple(int(n) for n in size)) != 2:
        raise ValueError(
            f"Argument `size` must be a tuple of two elements (height, width). Got {size}"
        )
    given, data_format, channel = _images(images, "images", data_format)
    x = given if given.dtype.kind == "f" else given.astype("float32")
    x = x.astype("float32") if x.dtype.itemsize == 2 else x
    rows, columns = (-3, -2) if channel == -1 else (-2, -1)
    for axis, other in ((rows, columns), (columns, rows)):
        have, want = x.shape[axis], size[0 if axis == rows else 1]
        across, wanted = x.shape[other], size[0 if other == rows else 1]
        if crop_to_aspect_ratio and (keep := int(across * want / wanted)) < have:
            start = (have - max(keep, 1)) // 2
            x = tg.moveaxis(tg.moveaxis(x, axis, 0)[start : start + max(keep, 1)], 0, axis)
        if pad_to_aspect_ratio and (need := int(across * want / wanted)) > have:
            width = [(0, 0)] * x.ndim
            width[axis] = ((need - have) // 2, need - have - (need - have) // 2)
            x = tg.pad(x, tuple(width), constant_values=fill_value)
    if interpolation == "nearest":
        for axis, new in zip((rows, columns), size, strict=True):
            place = np.floor((np.arange(new) + 0.5) * x.shape[axis] / new).astype("int64")
            x = tg.take(x, place, axis)
        return cast(x, given.dtype)
    scale = [new / x.shape[axis] for axis, new in zip((rows, columns), size, strict=True)]
    new = dict(zip((rows, columns), size, strict=True))
    y = _scaled(x, new, scale, (0, 0), interpolation, antialias)
    if given.dtype.kind in "iu":
        limits = np.iinfo(given.dtype)
        y = tg.clip(tg.round(y), float(limits.min), float(limits.max))
    return cast(y, given.dtype)


def scale_and_translate(
    images: Any,
    output_shape: Any,
    scale: Any,
    translation: Any,
    spatial_dims: Any,
    method: str,
    antialias: bool = True,
) -> Tensor:
    """Images scaled, and moved, along axes."""
    if method not in KERNELS:
        raise ValueError(
            f"Invalid value for argument `method`. Expected of one {tuple(KERNELS)}. "
            f"Received: method={method}"
        )
    given = convert_to_tensor(images)
    x = floating(given)
    scale, shift = (convert_to_tensor(a).detach().numpy().tolist() for a in (scale, translation))
    new = {int(d): int(output_shape[d]) for d in spatial_dims}
    return _scaled(x, new, scale, shift, method, antialias)


# --- coordinates --------------------------------------------------------------------------------


def _within(index: Any, size: int, mode: str) -> Any:
    """Whole places folded into [0, size)."""
    if mode in ("constant", "nearest"):
        return tg.clip(index, 0, size - 1)
    if mode == "wrap":
        return tg.remainder(index, size)
    if mode == "mirror":
        period = max(2 * (size - 1), 1)
        index = tg.remainder(index, period)
        return tg.where(index >= size, period - index, index)
    index = tg.remainder(index, 2 * size)  # reflect: the edge twice
    return tg.where(index >= size, 2 * size - 1 - index, index)


def map_coordinates(
    inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: Any = 0.0
) -> Tensor:
    """Numbers between those of an array, linear (order 1) or the nearest (order 0)."""
    x, places = convert_to_tensor(inputs), convert_to_tensor(coordinates)
    if places.shape[0] != x.ndim:
        raise ValueError(
            "First dim of `coordinates` must be the same as the rank of `inputs`. Received inputs "
            f"with shape: {x.shape} and coordinate leading dim of {places.shape[0]}"
        )
    if places.ndim < 2:
        raise ValueError(
            f"Invalid coordinates rank: expected at least rank 2. Received input with shape: "
            f"{places.shape}"
        )
    if fill_mode not in MODES:
        raise ValueError(
            f"Invalid value for argument `fill_mode`. Expected one of {set(MODES)}. "
            f"Received: fill_mode={fill_mode}"
        )
    if order not in (0, 1):
        raise ValueError(
            f"Invalid value for argument `order`. Expected one of [0, 1]. Received: {order}"
        )
    values, places = floating(x), floating(places)
    ends: list[list[tuple[Tensor, Tensor | None]]] = []  # an axis's places, and their weights
    for c in tg.unstack(places):
        if order == 0:
            low = tg.floor(c.detach() + 0.5)  # the nearest, upwards halfway
            ends.append([(low.astype("int64"), None)])
            continue
        low = tg.floor(c.detach())
        part, low = c - low, low.astype("int64")
        ends.append([(low, 1 - part), (low + 1, part)])
    total: Any = None
    for corner in itertools.product(*ends):
        keys = [_within(i, n, fill_mode) for (i, _), n in zip(corner, x.shape, strict=True)]
        picked = values[tuple(keys)]
        if fill_mode == "constant":
            valid: Any = True
            for (i, _), n in zip(corner, x.shape, strict=True):
                valid = tg.logical_and(tg.logical_and(i >= 0, i < n), valid)
            picked = tg.where(valid, picked, float(fill_value))
        for _, weight in corner:
            picked = picked if weight is None else picked * weight
        total = picked if total is None else total + picked
    return cast(tg.round(total) if x.dtype.kind in "iu" else total, x.dtype)


def _mapped(x: Tensor, places: Tensor, order: int, mode: str, value: Any) -> Tensor:
    """Images (n, h, w, c) at places (n, 2, h, w) of each."""
    made = []
    for image, place in zip(tg.unstack(x), tg.unstack(places), strict=True):
        rows, columns = place[0], place[1]
        parts = [
            map_coordinates(channel, tg.stack([rows, columns]), order, mode, value)
            for channel in tg.unstack(image, -1)
        ]
        made.append(tg.stack(parts, -1))
    return tg.stack(made)


def _order(interpolation: str) -> int:
    orders = {"nearest": 0, "bilinear": 1}
    if interpolation not in orders:
        raise ValueError(
            f"Invalid value for argument `interpolation`. Expected of one {set(orders)}. "
            f"Received: interpolation={interpolation}"
        )
    return orders[interpolation]


def _warped(images: Any, name: str, data_format: Any, grid: Any, order: int, mode: str, value: Any):
    """Images of rank 3 or 4 at the places that grid(n, h, w) gives."""
    x, data_format, _ = _images(images, name, data_format)
    if mode not in MODES:
        raise ValueError(
            f"Invalid value for argument `fill_mode`. Expected of one {set(MODES)}. "
            f"Received: fill_mode={mode}"
        )
    one = x.ndim == 3
    x = tg.expand_dims(x, 0) if one else x
    x = tg.moveaxis(x, 1, -1) if data_format == "channels_first" else x
    y = _mapped(x, grid(*x.shape[:3]), order, mode, value)
    y = tg.moveaxis(y, -1, 1) if data_format == "channels_first" else y
    return y[0] if one else y


def _grid(h: int, w: int) -> np.ndarray:
    """(3, h * w): x, y and 1 of each pixel."""
    y, x = np.mgrid[:h, :w].reshape(2, -1)
    return np.stack([x, y, np.ones_like(x)]).astype("float32")


def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: Any = 0,
    data_format: Any = None,
) -> Tensor:
    """Pixel (x, y) of the result is that of the images at (a0 x + a1 y + a2, b0 x + b1 y + b2),
    over c0 x + c1 y + 1; `transform` has these eight, for all images or each."""
    order, t = _order(interpolation), floating(transform)
    if t.ndim not in (1, 2):
        raise ValueError(
            "Invalid transform rank: expected rank 1 (single transform) or rank 2 (batch of "
            f"transforms). Received input with shape: transform.shape={t.shape}"
        )

    def grid(n: int, h: int, w: int) -> Tensor:
        rows = tg.reshape(t, (-1, 8))
        rows = tg.concatenate([rows, tg.ones((rows.shape[0], 1), dtype=rows.dtype)], 1)
        at = tg.reshape(rows, (-1, 3, 3)) @ _grid(h, w).astype(t.dtype)
        at = at[:, :2] / at[:, 2:]
        at = tg.flip(at, 1).reshape(-1, 2, h, w)
        return tg.broadcast_to(at, (n, 2, h, w))

    return _warped(images, "images", data_format, grid, order, fill_mode, fill_value)


def compute_homography_matrix(start_points: Any, end_points: Any) -> Tensor:
    """The eight numbers that take end points to start points, (n, 4, 2) each."""
    start, end = (floating(p) for p in (start_points, end_points))
    rows = []
    for i in range(4):
        (x, y), (u, v) = (tg.unstack(p[:, i], -1) for p in (end, start))
        one, zero = tg.ones_like(x), tg.zeros_like(x)
        rows.append(tg.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1))
        rows.append(tg.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1))
    target = tg.reshape(start, (-1, 8, 1))
    return tg.linalg.solve(tg.stack(rows, 1), target)[..., 0]


def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: Any = 0,
    data_format: Any = None,
) -> Tensor:
    """Images whose four start points are moved to the end points."""
    start, end = convert_to_tensor(start_points), convert_to_tensor(end_points)
    for name, p in (("start_points", start), ("end_points", end)):
        if p.ndim not in (2, 3) or p.shape[-2:] != (4, 2):
            raise ValueError(
                f"Invalid {name} shape: expected (4,2) for a single image or (N,4,2) for a batch. "
                f"Received shape: {p.shape}"
            )
    if start.shape != end.shape:
        raise ValueError(
            "start_points and end_points must have the same shape. "
            f"Received start_points.shape={start.shape}, end_points.shape={end.shape}"
        )
    points = [tg.reshape(floating(p), (-1, 4, 2)) for p in (start, end)]
    transform = compute_homography_matrix(*points)
    return affine_transform(images, transform, interpolation, "constant", fill_value, data_format)


# --- filters ------------------------------------------------------------------------------------


def gaussian_blur(
    images: Any, kernel_size: Any = (3, 3), sigma: Any = (1.0, 1.0), data_format: Any = None
) -> Tensor:
    """Images smoothed by a Gaussian; sizes and deviations are those along x and y."""
    x, data_format, _ = _images(images, "images", data_format)
    given, one = x, x.ndim == 3
    x = first(floating(tg.expand_dims(x, 0) if one else x), data_format)
    lines = []
    for size, s in zip(kernel_size, convert_to_tensor(sigma).numpy().tolist(), strict=True):
        g = np.exp(-0.5 * ((np.arange(size) - (size - 1) / 2) / s) ** 2)
        lines.append(g / g.sum())
    kernel = np.outer(*lines).T[:, :, None, None].repeat(x.shape[1], 3)
    w = tg.asarray(kernel.astype(x.dtype))
    y = last(_convolved(x, w, 1, "same", 1, x.shape[1]), data_format)
    return cast(y[0] if one else y, given.dtype)


def sobel_edges(images: Any, data_format: Any = None) -> Tensor:
    """The derivatives along y and x (Sobel & Feldman 1968), on a last axis, of images with zeros
    around them, as on PyTorch and JAX."""
    x, data_format, _ = _images(images, "images", data_format)
    one = x.ndim == 3
    x = first(floating(tg.expand_dims(x, 0) if one else x), data_format)
    down = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]], x.dtype)
    both = []
    for kernel in (down, down.T):
        w = tg.asarray(np.ascontiguousarray(kernel[:, :, None, None].repeat(x.shape[1], 3)))
        both.append(last(_convolved(x, w, 1, "same", 1, x.shape[1]), data_format))
    y = tg.stack(both, -1)
    return y[0] if one else y


def elastic_transform(
    images: Any,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: Any = 0.0,
    seed: Any = None,
    data_format: Any = None,
) -> Tensor:
    """Images moved by a smooth random field (Simard et al. 2003)."""
    from ..random import normal

    order, seed = _order(interpolation), draw_seed(seed)

    def grid(n: int, h: int, w: int) -> Tensor:
        size = int(6 * sigma) | 1
        moved = normal((n, h, w, 2), stddev=alpha, seed=seed)
        moved = gaussian_blur(moved, (size, size), (sigma, sigma), "channels_last")
        at = np.mgrid[:h, :w].astype("float32")
        return tg.moveaxis(moved, -1, 1) + at[None]

    return _warped(images, "images", data_format, grid, order, fill_mode, fill_value)
