"""Transforms of images, for the training of networks: functions of one image (channels, height,
width) or of a batch's samples, composed by `Compose`.

Random ones draw from `data.rng()`, so that in a DataLoader the seed, the epoch and the sample's
index decide what happens to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..backend import is_floating
from ..errors import ArgumentError, DTypeError, ShapeError
from ..settings import Own, gate
from ..typing import ArrayLike, Border, Count, Fraction, NonNegative, Positive, Size
from .collate import collate
from .randomness import rng
from .sampling import host

__all__ = [
    "Colour",
    "Compose",
    "Crop",
    "Cutout",
    "Flip",
    "Mixup",
    "Noise",
    "Normalize",
    "OnInput",
    "Rotate",
    "ToFloat",
    "windows",
]

Image: TypeAlias = "np.ndarray[Any, Any]"
Steps: TypeAlias = Annotated[Callable[[Any], Any], Own("a function of an image")]
Each: TypeAlias = Annotated["float | Sequence[float]", Own("a number, or one for each channel")]


def _image(name: str, x: Any) -> Image:
    x = np.asarray(x)
    if x.ndim != 3:
        raise ShapeError(
            f"{name} takes one image (channels, height, width), got shape {x.shape}"
            + ("; one channel needs its axis: x[None]" if x.ndim == 2 else "")
        )
    return x


def _floating(name: str, x: Any) -> Image:
    x = _image(name, x)
    if not is_floating(x.dtype):
        raise DTypeError(f"{name} takes floating images, got {x.dtype}: begin with ToFloat()")
    return x


class Compose:
    """One transform after the other.

    >>> Compose(ToFloat(), Normalize(0.5, 0.5))(np.array([[[0, 255]]], np.uint8)).tolist()
    [[[-1.0, 1.0]]]
    """

    @gate
    def __init__(self, *transforms: Steps):
        wrong = next((t for t in transforms if not callable(t)), None)
        if wrong is not None:
            raise ArgumentError(f"Compose takes functions of an image, got {wrong!r}")
        self.transforms = transforms

    def __call__(self, x: Any) -> Any:
        for transform in self.transforms:
            x = transform(x)
        return x


class OnInput:
    """A transform of the first part of a sample, such as the image of (image, label).

    >>> OnInput(ToFloat())((np.array([[[255]]], np.uint8), 3))
    (array([[[1.]]], dtype=float32), 3)
    """

    @gate
    def __init__(self, transform: Steps):
        if not callable(transform):
            raise ArgumentError(f"OnInput takes a function of an image, got {transform!r}")
        self.transform = transform

    def __call__(self, sample: Sequence[Any]) -> tuple[Any, ...]:
        if not isinstance(sample, (tuple, list)):
            raise ArgumentError(f"OnInput takes samples (x, ...), got a {type(sample).__name__}")
        return (self.transform(sample[0]), *sample[1:])


class ToFloat:
    """Integers of an image to float32 in [0, 1]; floating images stay.

    >>> ToFloat()(np.array([[[0, 51]]], np.uint8)).tolist()
    [[[0.0, 0.20000000298023224]]]
    """

    def __call__(self, x: Any) -> Image:
        x = _image("ToFloat", x)
        if is_floating(x.dtype):
            return x
        most = 1 if x.dtype == bool else np.iinfo(x.dtype).max
        return x.astype(np.float32) / np.float32(most)


class Normalize:
    """(x - mean) / std for each channel.

    >>> Normalize([1.0, 0.0], [2.0, 1.0])(np.ones((2, 1, 1), np.float32)).ravel().tolist()
    [0.0, 1.0]
    """

    @gate
    def __init__(self, mean: Each, std: Each):
        self.mean, self.std = (np.atleast_1d(host(a)).astype(np.float32) for a in (mean, std))
        if self.mean.ndim != 1 or self.std.ndim != 1 or not (self.std > 0).all():
            raise ArgumentError(
                f"Normalize: a mean and a std above 0 for each channel, got {std!r}"
            )

    def __call__(self, x: Any) -> Image:
        x = _floating("Normalize", x)
        for a in (self.mean, self.std):
            if len(a) not in (1, len(x)):
                raise ShapeError(f"Normalize has {len(a)} channels, the image {len(x)}")
        made: Image = (x - self.mean[:, None, None]) / self.std[:, None, None]
        return made.astype(x.dtype, copy=False)


class Flip:
    """Mirrors the columns with probability p, with `vertical` the rows.

    >>> Flip(p=1)(np.array([[[1, 2]]])).tolist()
    [[[2, 1]]]
    """

    @gate
    def __init__(self, p: Fraction = 0.5, vertical: bool = False):
        self.p, self.axis = p, -2 if vertical else -1

    def __call__(self, x: Any) -> Image:
        x = _image("Flip", x)
        return np.flip(x, self.axis) if rng().random() < self.p else x


class Crop:
    """A window at a random place, of the image with `padding` zeros around it; with `center`, the
    one in the middle.

    >>> Crop(2, padding=1)(np.ones((3, 2, 2))).shape
    (3, 2, 2)
    """

    @gate
    def __init__(self, size: Size, padding: Border = (0, 0), center: bool = False):
        self.size: Any = size
        self.padding: Any = padding
        self.center = center

    def __call__(self, x: Any) -> Image:
        x = _image("Crop", x)
        (h, w), (top, left) = self.size, self.padding
        if top or left:
            x = np.pad(x, ((0, 0), (top, top), (left, left)))
        rows, columns = x.shape[1] - h, x.shape[2] - w
        if min(rows, columns) < 0:
            raise ShapeError(f"Crop({h}, {w}): the image with its padding is {x.shape[1:]}")
        if self.center:
            i, j = rows // 2, columns // 2
        else:
            i, j = rng().integers(rows + 1), rng().integers(columns + 1)
        return x[:, i : i + h, j : j + w]


class Rotate:
    """Turns by a random angle of up to `degrees` on each side, and scales by a random factor of up
    to 1 + `zoom` or down to 1 / (1 + zoom), about the middle; pixels are interpolated linearly, and
    are 0 beyond the border.

    >>> Rotate(15)(np.ones((1, 8, 8), np.float32)).shape
    (1, 8, 8)
    """

    @gate
    def __init__(self, degrees: NonNegative, zoom: NonNegative = 0.0):
        self.degrees, self.zoom = degrees, zoom

    def __call__(self, x: Any) -> Image:
        x = _floating("Rotate", x)
        angle = math.radians(rng().uniform(-self.degrees, self.degrees))
        scale = math.log1p(self.zoom)
        scale = math.exp(rng().uniform(-scale, scale))
        h, w = x.shape[1:]
        rows, columns = np.mgrid[:h, :w] - np.array([(h - 1) / 2, (w - 1) / 2])[:, None, None]
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        at = cos * rows - sin * columns + (h - 1) / 2, sin * rows + cos * columns + (w - 1) / 2
        i, j = np.floor(at[0]).astype(int), np.floor(at[1]).astype(int)
        made = np.zeros(x.shape, np.float64)
        for di, dj in ((0, 0), (0, 1), (1, 0), (1, 1)):
            r, c = i + di, j + dj
            inside = (r >= 0) & (r < h) & (c >= 0) & (c < w)
            weight = np.where(inside, (1 - abs(at[0] - r)) * (1 - abs(at[1] - c)), 0)
            made += weight * x[:, r.clip(0, h - 1), c.clip(0, w - 1)]
        return made.astype(x.dtype)


class Colour:
    """Scales brightness, contrast (distance from the mean) and saturation (distance from grey) by
    random factors between 1 - v and 1 + v; floating images, clipped to [0, 1].

    >>> Colour(0.5)(np.full((3, 1, 1), 0.5, np.float32)).shape
    (3, 1, 1)
    """

    @gate
    def __init__(
        self, brightness: Fraction = 0.0, contrast: Fraction = 0.0, saturation: Fraction = 0.0
    ):
        self.by = brightness, contrast, saturation

    def __call__(self, x: Any) -> Image:
        x = _floating("Colour", x)
        bright, contrast, saturation = (rng().uniform(1 - v, 1 + v) for v in self.by)
        made = x * bright
        made = (made - made.mean()) * contrast + made.mean()
        grey = made.mean(axis=0, keepdims=True)
        made = (made - grey) * saturation + grey
        return made.clip(0, 1).astype(x.dtype, copy=False)


class Cutout:
    """Zeros in a square of side `size` about a random pixel, with probability p (DeVries & Taylor
    2017).

    >>> Cutout(9)(np.ones((1, 3, 3))).sum().item()
    0.0
    """

    @gate
    def __init__(self, size: Count, p: Fraction = 1.0):
        self.size, self.p = size, p

    def __call__(self, x: Any) -> Image:
        x = _image("Cutout", x)
        if rng().random() >= self.p:
            return x
        x = x.copy()
        i, j = rng().integers(x.shape[1]), rng().integers(x.shape[2])
        top, left = max(0, i - self.size // 2), max(0, j - self.size // 2)
        x[:, top : i - self.size // 2 + self.size, left : j - self.size // 2 + self.size] = 0
        return x


class Noise:
    """Adds Gaussian noise of the given standard deviation.

    >>> Noise(0.1)(np.zeros((1, 2, 2), np.float32)).dtype
    dtype('float32')
    """

    @gate
    def __init__(self, std: NonNegative):
        self.std = std

    def __call__(self, x: Any) -> Image:
        x = _floating("Noise", x)
        return x + (self.std * rng().standard_normal(x.shape)).astype(x.dtype)


class Mixup:
    """A collate function for samples (x, label) of `classes` classes: each x becomes l x + (1 - l)
    x' with that of another sample of the batch, and the target l and 1 - l of their classes; l from
    Beta(alpha, alpha), one for a batch (Zhang et al. 2018). Targets are float32 (n, classes), which
    `cross_entropy` takes.

    >>> x, y = Mixup(1.0, classes=3)([(np.zeros(2), 0), (np.ones(2), 2)])
    >>> y.shape, y.sum(1).tolist()
    ((2, 3), [1.0, 1.0])
    """

    @gate
    def __init__(self, alpha: Positive, classes: Count):
        self.alpha, self.classes = alpha, classes

    def __call__(self, samples: Sequence[Any]) -> tuple[Image, Image]:
        x, labels = collate(samples)
        if labels.dtype.kind not in "iu" or labels.ndim != 1:
            raise DTypeError(f"Mixup: labels are whole numbers, got {labels.dtype} {labels.shape}")
        if labels.size and not 0 <= labels.min() <= labels.max() < self.classes:
            raise ArgumentError(
                f"Mixup: labels from {labels.min()} to {labels.max()} of {self.classes} classes"
            )
        share = rng().beta(self.alpha, self.alpha)
        other = rng().permutation(len(x))
        y = np.eye(self.classes, dtype=np.float32)[labels]
        floating = x.dtype if is_floating(x.dtype) else np.dtype(np.float32)
        mixed = (share * x + (1 - share) * x[other]).astype(floating)
        return mixed, (share * y + (1 - share) * y[other]).astype(np.float32)


@gate
def windows(
    series: ArrayLike, length: Count, horizon: Count = 1, step: Count = 1
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Windows of a series (t, ...) and what follows them: x (n, length, ...) and y (n, horizon,
    ...), views of it, of which a DataLoader copies what a batch needs.

    Raises: ShapeError for a series shorter than length + horizon.

    >>> x, y = windows(np.arange(6), length=3)
    >>> x.tolist(), y.ravel().tolist()
    ([[0, 1, 2], [1, 2, 3], [2, 3, 4]], [3, 4, 5])
    """
    a = host(series)
    if a.ndim < 1 or len(a) < length + horizon:
        raise ShapeError(
            f"windows: a series of shape {a.shape} is shorter than length + horizon = "
            f"{length + horizon}"
        )
    every = np.lib.stride_tricks.sliding_window_view(a, length + horizon, axis=0)[::step]
    every = np.moveaxis(every, -1, 1)
    return every[:, :length], every[:, length:]
