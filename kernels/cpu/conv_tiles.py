"""Zero-padded copies of images, tile by tile, in which every window has the same offsets: the
operand of implicit GEMM.

A tile is some rows of one image, or several images where these are small. In a copy whose row
pitch is `pitch`, the window of output p begins at p, and its place (i, j) is at offset
i * pitch + j. The few outputs that this computes between the ends of rows are dropped. A stride of
2 splits the image into its even and odd rows and columns, the phases, in each of which windows have
stride 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np

from ..shapes import extent
from . import gather_gemm, vector_copy
from . import scalars as s

_TILE = 1 << 14  # elements in the copy or outputs of a tile of images: 64 KB of float32
_WHOLE = 1 << 18  # elements in the copy of an image that is not split
_LONG = 256  # outputs in a tile, at least: many for each weight that is read


class Plan(NamedTuple):
    """How a convolution is tiled, and the layout of a tile."""

    images: int  # in a tile
    rows: int  # of outputs in a tile of one image
    groups: int
    panel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    counts: tuple[int, int]  # of outputs, down and across
    beyond: tuple[int, int]  # how many more rows and columns of a phase there are than outputs
    reach: tuple[int, int]  # how many rows and columns windows are larger than one element
    phases: int


class Places(NamedTuple):
    """The offsets of a window's places in a tile: phase, rows and columns, in the order of the
    weights; and the weights sorted by phase."""

    phase: np.ndarray
    down: np.ndarray
    across: np.ndarray
    order: np.ndarray
    ends: np.ndarray  # how many weights the first, the first two, ... phases have


@functools.lru_cache(maxsize=256)
def plan_of(x_shape, w_shape, stride, padding, dilation, groups, itemsize) -> tuple[Plan, Places]:
    kernel = w_shape[2:]
    counts = extent(x_shape[2:], kernel, stride, padding, dilation)
    moves = [(i * dilation[0], j * dilation[1]) for i, j in product(*map(range, kernel))]
    places = [divmod(i, stride[0]) + divmod(j, stride[1]) for i, j in moves]
    down, up, across, side = np.array([*zip(*places, strict=True)], np.int64)  # rows: contiguous
    phase = up * stride[1] + side
    beyond = reach = (int(down.max()), int(across.max()))
    phases = stride[0] * stride[1]
    if phases == 1:  # what is padded after a row is what is padded before the next
        beyond = (max(0, reach[0] - padding[0]), max(0, reach[1] - padding[1]))
    line = x_shape[1] * phases * (counts[1] + beyond[1])  # numbers for a row of outputs
    size = line * (counts[0] + beyond[0])
    length = (counts[0] + beyond[0]) * (counts[1] + beyond[1])
    largest = max(size, w_shape[0] // groups * length)  # the copy, or its outputs
    images, rows = max(1, min(x_shape[0], max(_TILE // largest, _LONG // length))), counts[0]
    if size > _WHOLE:
        tiles = min(counts[0], -(-size // _WHOLE))
        rows, beyond = -(-counts[0] // tiles), (reach[0], beyond[1])
    shape = gather_gemm.shape(itemsize)
    plan = Plan(images, rows, groups, shape, stride, padding, counts, beyond, reach, phases)
    order = np.argsort(phase, kind="stable")
    ends = np.searchsorted(phase[order], np.arange(phases), side="right")
    return plan, Places(phase, down, across, order, ends)


def rounded(n, to):
    return -(-n // to) * to


@s.scalar
def up(n, to):
    return (n + to - 1) // to * to


@s.scalar
def inside(start, stride, width, n):
    """The first and last of n outputs for which `start` + their stride is inside an image."""
    low = min(n, max(0, (stride - 1 - start) // stride))
    return low, max(low, min(n, (width - 1 - start) // stride + 1))


def _for_each_row(move: Callable) -> Callable:
    """A loop: `move` for every row of every phase of a tile, with its part of an image."""

    @s.scalar
    def loop(copy, x, channels, top, rows, pitch, stride, padding):
        every, h, w = x.shape[1], x.shape[2], x.shape[3]
        at = 0
        for c in range(channels[0], channels[1]):
            for a in range(stride[0]):
                for b in range(stride[1]):
                    start = b - padding[1]
                    low, high = inside(start, stride[1], w, pitch)
                    for i in range(x.shape[0]):
                        for r in range(rows):
                            row = (top + r) * stride[0] + a - padding[0]
                            seen = ((i * every + c) * h + row) * w + low * stride[1] + start
                            end = high if row >= 0 and row < h else low
                            move(copy, at, pitch, x, seen, low, end, stride[1])
                            at += pitch

    return loop


@s.scalar
def _take(copy, at, pitch, x, seen, low, high, step):
    vector_copy.copy_padded(copy, at, pitch, x, seen, low, high, step)


@s.scalar
def _give(copy, at, pitch, x, seen, low, high, step):
    vector_copy.add_strided(x, seen, step, high - low, copy, at + low)


copy_in, add_back = _for_each_row(_take), _for_each_row(_give)


@s.scalar
def list_places(places, phase, down, across, phases, plane, pitch):
    """The offsets of each place in each channel, for the window of output 0."""
    for i in range(places.size // phase.size):
        for m in range(phase.size):
            at = (i * phases + phase[m]) * plane + down[m] * pitch + across[m]
            places[i * phase.size + m] = at
