"""Filters in the order in which convolution reads them, and their gradients put back from it. (As
NumPy's transposes these took longer than the products, for a few small images of many channels.)"""

from __future__ import annotations

from typing import Any

import numpy as np

from .buffers import empty
from .conv_tiles import rounded
from .jit import jit, prange

_LARGE = 1 << 15  # numbers, from which on all threads do it
_BLOCK = 16  # places whose gradients are turned together, a cache line of float32


@jit(parallel_from=_LARGE)
def _packed(panels, w, rows, apart, offsets, share):
    """panels[g, m, j, i] = w[g, row * apart + offsets[j]] of the row m * height + i, 0 beyond the
    last."""
    groups, count, places, height = panels.shape
    for t in prange(groups * count, share):
        g, first = t // count, t % count * height
        n = min(height, rows - first)
        for j in range(places):
            start, line = first * apart + offsets[j], panels[g, t % count, j]
            for i in range(n):
                line[i] = w[g, start + i * apart]
            for i in range(n, height):
                line[i] = 0


@jit(parallel_from=_LARGE)
def _unpacked(gw, parts, share):
    """gw (groups, outputs, places) = the sum of parts (parts, groups, places, outputs), whose last
    axes may be longer, from the first to the last. They are summed where the first is."""
    groups, out, places = gw.shape
    blocks = (places + _BLOCK - 1) // _BLOCK
    for t in prange(groups * blocks, share):
        g, first = t // blocks, t % blocks * _BLOCK
        last = min(first + _BLOCK, places)
        for j in range(first, last):
            for p in range(1, parts.shape[0]):
                total, more = parts[0, g, j], parts[p, g, j]
                for o in range(out):
                    total[o] += more[o]
        for o in range(out):
            for j in range(first, last):
                gw[g, o, j] = parts[0, g, j, o]


def by_output(w: Any, groups: int, height: int) -> Any:
    """Filters (out, channels, kh, kw) as (groups, panels of outputs, channels and places * height),
    padded with zeros to whole panels."""
    each, size = w.shape[0] // groups, w[0].size
    panels = empty((groups, rounded(each, height) // height, size, height), w.dtype)
    _packed(panels, w.reshape(groups, each * size), each, size, np.arange(size))
    return panels.reshape(groups, -1, size * height)


def by_channel(w: Any, groups: int, height: int, order: Any, ends: Any) -> Any:
    """The same as (groups, panels of channels, outputs and places * height), phase by phase."""
    each, inner, taps = w.shape[0] // groups, w.shape[1], w.shape[2] * w.shape[3]
    starts = np.arange(each)[:, None] * (inner * taps)
    offsets = [(starts + part).ravel() for part in np.split(order, ends[:-1])]
    panels = empty((groups, rounded(inner, height) // height, each * taps, height), w.dtype)
    _packed(panels, w.reshape(groups, -1), inner, taps, np.concatenate(offsets))
    return panels.reshape(groups, -1, each * taps * height)


def from_parts(parts: Any, shape: tuple[int, ...]) -> Any:
    """The gradient of filters of that shape, from partial sums (parts, groups, channels and places,
    outputs), which are padded to whole panels."""
    groups = parts.shape[1]
    gw = empty((groups, shape[0] // groups, shape[1] * shape[2] * shape[3]), parts.dtype)
    _unpacked(gw, parts)
    return gw.reshape(shape)
