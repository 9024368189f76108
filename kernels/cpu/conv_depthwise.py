"""Depthwise convolution: each channel by itself, with a filter of its own or a few.

A register tile of several filters would be nearly empty here. A channel's plane is copied with its
padding, by phases (conv_tiles.py); then each place of a window is one flat loop over the whole
plane: the outputs are sums of the copy, shifted, times a weight. The gradient of the images is the
same with the cotangents, that of the weights dot products of planes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import scalars as s
from .buffers import empty, empty_like
from .conv_tiles import inside, list_places, plan_of, up
from .jit import jit, prange

FILTERS = 4  # to a channel, at most: a tile of conv.py is faster with more
_CHANNELS = 16  # of an image, in a task
_EVEN = 64  # lengths of flat loops are multiples of this, and planes have room for them
_CHUNK = 1024  # outputs that stay in the L1 cache, from place to place


@s.scalar
def _slide(z, w, a, at, places):
    """z += the sum over m of w[m] * a[at + places[m] :], flat, three places at a time."""
    for first in range(0, z.size, _CHUNK):
        target = z[first : min(first + _CHUNK, z.size)]
        n, start, m = target.size, at + first, places.size % 3
        for k in range(m):
            p = start + places[k]
            a0, w0 = a[p : p + n], w[k]
            for q in range(n):
                target[q] += w0 * a0[q]
        for k in range(m, places.size, 3):
            p0, p1, p2 = start + places[k], start + places[k + 1], start + places[k + 2]
            a0, a1, a2 = a[p0 : p0 + n], a[p1 : p1 + n], a[p2 : p2 + n]
            w0, w1, w2 = w[k], w[k + 1], w[k + 2]
            for q in range(n):
                target[q] += w0 * a0[q] + w1 * a1[q] + w2 * a2[q]


def _for_each_row(move: Callable) -> Callable:
    """A loop: `move` for each row of an image and of each phase that has some of its numbers, with
    those and with their place in the phases."""

    @s.scalar
    def loop(image, phases, plane, pitch, rows, stride, padding):
        for row in range(image.shape[0]):
            r, i = (row + padding[0]) // stride[0], (row + padding[0]) % stride[0]
            for j in range(stride[1] if r < rows else 0):
                low, high = inside(j - padding[1], stride[1], image.shape[1], pitch)
                if low < high:
                    at = (i * stride[1] + j) * plane + r * pitch
                    line = image[row, low * stride[1] + j - padding[1] :]
                    move(line, phases[at + low : at + high], stride[1])

    return loop


@s.scalar
def _take(line, part, step):
    for q in range(part.size):
        part[q] = line[step * q]


@s.scalar
def _give(line, part, step):
    for q in range(part.size):
        line[step * q] = part[q]


_split, _join = _for_each_row(_take), _for_each_row(_give)


def forward(formula: Callable) -> Callable:
    """y = formula(w * x + b), w being (channels, filters of each, places)."""

    @jit(parallel=True)
    def depthwise(y, x, w, b, plan, phase, down, across, share):
        stride, padding, (oh, ow), (rows, pitch), margin, phases = plan
        channels, many, taps = w.shape
        plane, used = up(rows * pitch, _EVEN), up(oh * pitch, _EVEN)
        blocks = (channels + _CHANNELS - 1) // _CHANNELS
        for t in prange(x.shape[0] * blocks, share):
            i, first = t // blocks, t % blocks * _CHANNELS
            copy = np.zeros(phases * plane + margin + _EVEN, y.dtype)
            z, places = np.empty(used, y.dtype), np.empty(taps, np.int64)
            list_places(places, phase, down, across, phases, plane, pitch)
            for c in range(first, min(first + _CHANNELS, channels)):
                _split(x[i, c], copy, plane, pitch, rows, stride, padding)
                for k in range(many):
                    o = c * many + k
                    z[:] = b[o]
                    _slide(z, w[c, k], copy, 0, places)
                    for r in range(oh):
                        source, target = z[r * pitch : r * pitch + ow], y[i, o, r]
                        for q in range(ow):
                            target[q] = formula(source[q])

    return depthwise


def backward(formula: Callable) -> Callable:
    """Gradients from z = formula(g, y): gx, if it is not empty; and of each image that of the
    weights (images, outputs, places), if it is not empty, and that of the biases. w is (channels,
    filters, places in the order of their phases)."""

    @jit(parallel=True, reassociate=True)
    def depthwise_grad(gx, gw, gb, g, y, x, w, plan, phase, down, across, order, ends, share):
        stride, padding, (oh, ow), (rows, pitch), margin, phases = plan
        channels, many, taps = w.shape
        plane, used = up(rows * pitch, _EVEN), up(oh * pitch, _EVEN)
        blocks = (channels + _CHANNELS - 1) // _CHANNELS
        for t in prange(g.shape[0] * blocks, share):
            i, first = t // blocks, t % blocks * _CHANNELS
            copy = np.zeros(phases * plane + margin + _EVEN if gw.size else 0, g.dtype)
            sums = np.empty(phases * plane if gx.size else 0, g.dtype)
            z = np.zeros(margin + plane + _EVEN, g.dtype)  # as are its margins, always
            places, back = np.empty(taps, np.int64), np.empty(taps, np.int64)
            list_places(places, phase, down, across, phases, plane, pitch)
            for m in range(taps):
                back[m] = margin - down[order[m]] * pitch - across[order[m]]
            for c in range(first, min(first + _CHANNELS, channels)):
                if gw.size:
                    _split(x[i, c], copy, plane, pitch, rows, stride, padding)
                for k in range(many):
                    o, total = c * many + k, g.dtype.type(0)
                    for r in range(oh):
                        target = z[margin + r * pitch : margin + r * pitch + ow]
                        gs, ys = g[i, o, r], y[i, o, r]
                        for q in range(ow):
                            v = formula(gs[q], ys[q])
                            target[q] = v
                            total += v
                    gb[i, o] = total
                    if gw.size:
                        seen = z[margin : margin + used]
                        for m in range(taps):
                            part, dot = copy[places[m] : places[m] + used], g.dtype.type(0)
                            for q in range(used):
                                dot += seen[q] * part[q]
                            gw[i, o, m] = dot
                    if gx.size:
                        done = 0
                        if k == 0:
                            sums[:] = 0
                        for f in range(phases):
                            target = sums[f * plane : (f + 1) * plane]
                            _slide(target, w[c, k, done:], z, 0, back[done : ends[f]])
                            done = ends[f]
                if gx.size:
                    if phases > 1:
                        gx[i, c] = 0  # also what no window sees
                    _join(gx[i, c], sums, plane, pitch, rows, stride, padding)

    return depthwise_grad


def fits(w: np.ndarray, groups: int) -> bool:
    """Whether the filters see one channel each, and a channel has few of them. (In float64 tiles do
    for all: loops for it would take seconds to compile, for hardly anybody.)"""
    return w.shape[1] == 1 and w.shape[0] // groups <= FILTERS and w.itemsize == 4


def planned(x: np.ndarray, w: np.ndarray, stride: Any, padding: Any, dilation: Any) -> tuple:
    """The layout of a channel's plane, and the places of a window in it."""
    how = (tuple(stride), tuple(padding), tuple(dilation), 1, x.itemsize)
    plan, places = plan_of((1, 1, *x.shape[2:]), (1, 1, *w.shape[2:]), *how)
    beyond: tuple = plan.reach
    if plan.phases == 1:  # what is padded after a row is what is padded before the next
        beyond = tuple([max(0, r - p) for r, p in zip(beyond, plan.padding, strict=True)])
    rows, pitch = plan.counts[0] + beyond[0], plan.counts[1] + beyond[1]
    margin = plan.reach[0] * pitch + plan.reach[1]
    flat = (plan.stride, plan.padding, plan.counts, (rows, pitch), margin, plan.phases)
    return flat, places


def convolve(loop: Callable, x: Any, w: Any, b: Any, groups: int, how: tuple) -> Any:
    """y, of a loop that `forward` made."""
    plan, places = planned(x, w, *how)
    y = empty((x.shape[0], w.shape[0], *plan[2]), x.dtype)
    bias = np.zeros(w.shape[0], w.dtype) if b is None else b
    loop(y, x, w.reshape(groups, w.shape[0] // groups, -1), bias, plan, *places[:3])
    return y


def differentiate(
    loop: Callable, g: Any, x: Any, w: Any, y: Any, groups: int, needs: Any, how: tuple
) -> tuple:
    """The gradients of x, w and b, of a loop that `backward` made."""
    plan, places = planned(x, w, *how)
    n, out, taps = x.shape[0], w.shape[0], w.shape[2] * w.shape[3]
    gx: Any = empty_like(x) if needs[0] else np.empty((0, 0, 0, 0), x.dtype)
    gw: Any = np.empty((n, out, taps) if needs[1] else (0, 0, 0), x.dtype)
    gb = np.empty((n, out), x.dtype)
    filters = np.ascontiguousarray(w.reshape(groups, out // groups, taps)[..., places.order])
    loop(gx, gw, gb, np.ascontiguousarray(g), y, x, filters, plan, *places)
    return (
        gx if needs[0] else None,
        gw.sum(axis=0).reshape(w.shape) if needs[1] else None,
        gb.sum(axis=0) if needs[2] else None,
    )
