"""Pooling over one, two and three axes by the ops of images: a sequence is an image of one row, a
volume is first pooled in its planes and then along its depth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np

from ..backend import namespace
from ..core import Tensor
from . import pool
from .shape import cast, pad, reshape


@dataclass(frozen=True)
class Windows:
    """Those along an axis of `length`: window i has the places i * stride - padding + k * dilation,
    k < size, of which some may be outside."""

    length: int
    count: int
    size: int
    stride: int
    padding: int
    dilation: int = 1

    @property
    def plain(self) -> bool:
        """Whether they are what the ops of images know."""
        reach = (self.count - 1) * self.stride + self.size
        return self.dilation == 1 and reach <= self.length + 2 * self.padding

    def places(self) -> np.ndarray:
        """(count, size): those outside are replaced by the nearest of the same window."""
        start = np.arange(self.count)[:, None] * self.stride - self.padding
        first, last = -(start // self.dilation), (self.length - 1 - start) // self.dilation
        return start + np.clip(np.arange(self.size), first, last) * self.dilation


@dataclass(frozen=True)
class Even:
    """`count` windows of about the same size, which cover an axis: those of adaptive pooling."""

    length: int
    count: int
    plain: ClassVar[bool] = False

    def places(self) -> np.ndarray:
        """(count, size): those of smaller windows end with copies of the last."""
        i = np.arange(self.count)
        first, end = i * self.length // self.count, -(-(i + 1) * self.length // self.count)
        inside = np.arange((end - first).max(initial=0))
        return first[:, None] + np.minimum(inside, (end - first - 1)[:, None])


Slid: TypeAlias = "Windows | Even"
_ONE = Windows(1, 1, 1, 1, 0)


def geometry(along: Sequence[Windows]) -> dict[str, tuple[int, ...]]:
    """What the ops of images take."""
    return {w: tuple([getattr(a, w) for a in along]) for w in ("size", "stride", "padding")}


def _argmax(x: Tensor, rows: Slid, columns: Slid) -> Tensor:
    """Where in its plane the largest of each window is: (n, c, h, w) -> (n, c, h', w')."""
    if isinstance(rows, Windows) and isinstance(columns, Windows) and rows.plain and columns.plain:
        return cast(pool.max_pool2d(x, **geometry((rows, columns)))[1], dtype="int64")
    down, across = rows.places(), columns.places()
    taken = x[:, :, down.reshape(-1)][:, :, :, across.reshape(-1)]
    _, where = pool.max_pool2d(taken, size=(down.shape[1], across.shape[1]))
    row, column = [Tensor(namespace(x._data).asarray(at.reshape(-1))) for at in (down, across)]
    return row[where // across.size] * x.shape[3] + column[where % across.size]


def largest(x: Tensor, along: Sequence[Slid]) -> tuple[Tensor, Tensor]:
    """The largest of each window, and its place in the flattened axes, int64."""
    (n, c), sizes, counts = x.shape[:2], x.shape[2:], tuple([w.count for w in along])
    hidden, plain = x.detach(), [w for w in along if isinstance(w, Windows) and w.plain]
    if len(sizes) < 3:
        planes = hidden if len(sizes) == 2 else hidden[:, :, None]
        where = _argmax(planes, *[_ONE, *along][-2:])
    elif namespace(x._data) is np and len(plain) == 3:
        where = pool.largest_places(hidden, **geometry(plain))  # whose kernel is the processor's
    else:
        depth, plane, out = sizes[0], math.prod(sizes[1:]), math.prod(counts[1:])
        planes = reshape(hidden, shape=(n, c * depth, *sizes[1:]))
        inside = _argmax(planes, *along[1:])
        best = reshape(pool.gather_places(planes, inside), shape=(n, c, depth, out))
        at = _argmax(best, along[0], Windows(out, out, 1, 1, 0))
        where = at // out * plane + pool.gather_places(reshape(inside, shape=best.shape), at)
    where = reshape(where, shape=(n, c, 1, math.prod(counts)))
    y = pool.gather_places(reshape(x, shape=(n, c, 1, math.prod(sizes))), where)
    where = cast(reshape(where, shape=(n, c, *counts)), dtype="int64")
    return reshape(y, shape=(n, c, *counts)), where


def means(x: Tensor, along: Sequence[Windows]) -> Tensor:
    """The mean of each window, with zeros for what is outside."""
    over = [max(0, (w.count - 1) * w.stride + w.size - w.length - 2 * w.padding) for w in along]
    if any(over):
        x = pad(x, pad_width=((0, 0), (0, 0), *[(0, n) for n in over]))
    (n, c), sizes = x.shape[:2], x.shape[2:]
    if len(along) == 3:
        x = reshape(x, shape=(n, c * sizes[0], *sizes[1:]))
    elif len(along) == 1:
        x = x[:, :, None]
    y = pool.avg_pool2d(x, **geometry((_ONE, *along)[-2:]))
    if len(along) == 3:
        y = reshape(y, shape=(n, c, sizes[0], math.prod(y.shape[2:])))
        y = pool.avg_pool2d(y, **geometry((along[0], _ONE)))
    return reshape(y, shape=(n, c, *[w.count for w in along]))
