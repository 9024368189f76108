"""Convolution straight from the image, a tile at a time.

A tile is some rows of one image, or several images where these are small. It is copied once, with
its padding; its windows are then multiplied where they lie (panel.py). In a copy whose rows are
`pitch` numbers long, the windows of output p all begin at p: what place (i, j) of a window sees
lies i * pitch + j numbers further on. The few outputs that this makes up between the ends of rows
are dropped. A stride of 2 splits the image into the even and the odd rows and columns, its phases,
in each of which windows move by one. The gradients are the same sums, taken the other way round.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from ..accept import accepts
from ..shapes import (
    conv_fits,
    conv_grad_fits,
    conv_input_fits,
    conv_weight_fits,
    windows,
)
from . import panel as panels
from . import scalars as s
from .buffers import empty, empty_like
from .jit import jit, prange
from .panel import VECTORS, panel, turn

# 1 x 2 x 24 x 24 with 4 filters take ? us here and ? in the reference. The size spares small
# programs the import of Numba.
SMALL = 1024
_TILE = 1 << 14  # numbers in the copy of a tile, at most: 64 KB of float32
_WHOLE = 1 << 18  # numbers in the copy of an image that is not cut
_LONG = 256  # outputs in a tile, at least: many for each weight that is read
_CHUNK = 128  # columns that are turned at a time
_SUMMED = 1 << 22  # numbers in all partial sums of the weights' gradient


class _Plan(NamedTuple):
    """How a convolution is cut into tiles, and where its numbers lie in them."""

    images: int  # in a tile
    rows: int  # of outputs in a tile of one image
    groups: int
    panel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    counts: tuple[int, int]  # of outputs, down and across
    beyond: tuple[int, int]  # how many more rows and columns of a phase there are than outputs
    reach: tuple[int, int]  # how many rows and columns windows are larger than one number
    phases: int


class _Places(NamedTuple):
    """Where the places of a window lie in a tile: the phase and the rows and columns further on,
    in the order of the weights; and the weights by phase."""

    phase: np.ndarray
    down: np.ndarray
    across: np.ndarray
    order: np.ndarray
    ends: np.ndarray  # how many weights lie in the first, the first two, ... phases


@functools.lru_cache(maxsize=256)
def _plan(x_shape, w_shape, stride, padding, dilation, groups, itemsize) -> tuple[_Plan, _Places]:
    kernel = w_shape[2:]
    counts = windows(x_shape[2:], kernel, stride, padding, dilation)
    moves = [(i * dilation[0], j * dilation[1]) for i, j in product(*map(range, kernel))]
    places = [divmod(i, stride[0]) + divmod(j, stride[1]) for i, j in moves]
    down, up, across, side = np.array(places, np.int64).T
    phase = up * stride[1] + side
    beyond = reach = (int(down.max()), int(across.max()))
    phases = stride[0] * stride[1]
    if phases == 1:  # what is padded after a row is what is padded before the next
        beyond = (max(0, reach[0] - padding[0]), max(0, reach[1] - padding[1]))
    line = x_shape[1] * phases * (counts[1] + beyond[1])  # numbers for a row of outputs
    size = line * (counts[0] + beyond[0])
    length = (counts[0] + beyond[0]) * (counts[1] + beyond[1])
    images, rows = max(1, min(x_shape[0], max(_TILE // size, _LONG // length))), counts[0]
    if size > _WHOLE:
        tiles = min(counts[0], -(-size // _WHOLE))
        rows, beyond = -(-counts[0] // tiles), (reach[0], beyond[1])
    shape = panels.shape(itemsize)
    plan = _Plan(images, rows, groups, shape, stride, padding, counts, beyond, reach, phases)
    order = np.argsort(phase, kind="stable")
    ends = np.searchsorted(phase[order], np.arange(phases), side="right")
    return plan, _Places(phase, down, across, order, ends)


def _round(n, to):
    return -(-n // to) * to


@s.scalar
def _up(n, to):
    return (n + to - 1) // to * to


@s.scalar
def inside(start, stride, width, n):
    """The first and last of n outputs for which `start` + their stride is inside an image."""
    low = min(n, max(0, (stride - 1 - start) // stride))
    return low, max(low, min(n, (width - 1 - start) // stride + 1))


def _walk(move: Callable) -> Callable:
    """`move` for every row of every phase of a tile: the part of an image's row that is in it."""

    @s.scalar
    def loop(copy, x, channels, top, rows, pitch, stride, padding):
        h, w, plane = x.shape[2], x.shape[3], rows * pitch * x.shape[0]
        for c in range(channels[1] - channels[0]):
            for a in range(stride[0]):
                for b in range(stride[1]):
                    start = b - padding[1]
                    low, high = inside(start, stride[1], w, pitch)
                    at = ((c * stride[0] + a) * stride[1] + b) * plane
                    for i in range(x.shape[0]):
                        for r in range(rows):
                            row = (top + r) * stride[0] + a - padding[0]
                            line = copy[at : at + pitch]
                            at += pitch
                            if row < 0 or row >= h or low == high:
                                move(line, line[:0], 0, 0, 1)
                            else:
                                seen = x[i, channels[0] + c, row, low * stride[1] + start :]
                                move(line, seen, low, high, stride[1])

    return loop


@s.scalar
def _take(line, seen, low, high, step):
    for q in range(low):
        line[q] = 0
    if step == 1:
        for q in range(high - low):
            line[low + q] = seen[q]
    else:
        for q in range(high - low):
            line[low + q] = seen[q * step]
    for q in range(high, line.size):
        line[q] = 0


@s.scalar
def _give(line, seen, low, high, step):
    if step == 1:
        for q in range(high - low):
            seen[q] += line[low + q]
    else:
        for q in range(high - low):
            seen[q * step] += line[low + q]


_copy_in, _add_back = _walk(_take), _walk(_give)


@s.scalar
def _list_places(places, phase, down, across, phases, plane, pitch):
    """Where the windows of output 0 see each place in each channel of a copy."""
    for i in range(places.size // phase.size):
        for m in range(phase.size):
            at = (i * phases + phase[m]) * plane + down[m] * pitch + across[m]
            places[i * phase.size + m] = at


def _forward(formula: Callable) -> Callable:
    """y becomes formula(windows of x times w, + b). w is (groups, panels, channels and places,
    rows of a panel), flat from the second axis on."""

    @jit(parallel=True)
    def loop(y, x, w, b, plan, phase, down, across):
        many, tile, groups, (height, width), stride, padding, (oh, ow), beyond, reach, phases = plan
        n, c, out, count = x.shape[0], x.shape[1] // groups, y.shape[1] // groups, phase.size
        pitch, tiles = ow + beyond[1], (oh + tile - 1) // tile
        starts = np.arange(height)
        for t in prange((n + many - 1) // many * tiles):
            first, top = t // tiles * many, t % tiles * tile
            last, rows = min(n, first + many), min(tile, oh - top)
            own = (rows + beyond[0]) * pitch  # numbers of one image in a phase
            plane = own * (last - first)
            copy = np.empty(c * phases * plane + reach[0] * pitch + reach[1] + width, y.dtype)
            copy[c * phases * plane :] = 0
            places = np.empty(c * count, np.int64)
            _list_places(places, phase, down, across, phases, plane, pitch)
            z = np.empty((_up(out, height), _up(plane, width)), y.dtype)
            for k in range(groups):
                _copy_in(copy, x[first:last], (k * c, (k + 1) * c), top, rows + beyond[0], pitch,
                         stride, padding)  # fmt: skip
                for o in range(z.shape[0]):
                    z[o] = b[k * out + o] if o < out else y.dtype.type(0)
                for p in range(0, plane, width):
                    for m in range(z.shape[0] // height):
                        panel(z, m * height, p, w[k, m], starts, height, copy, p, places)
                for i in range(last - first):
                    for o in range(out):
                        for r in range(rows):
                            source = z[o, i * own + r * pitch : i * own + r * pitch + ow]
                            target = y[first + i, k * out + o, top + r]
                            for q in range(ow):
                                target[q] = formula(source[q])

    return loop


@s.scalar
def _add_weights(gw, copy, starts, z, plane, out, shape):
    """Adds to gw (places, outputs) the products of what they see with z, the gradients of the
    outputs, a row of a plane each. Some columns of z at a time are turned, and stay in cache."""
    (height, width), n = shape, gw.shape[1]
    lanes, turned = width // VECTORS, np.zeros(_CHUNK * n, z.dtype)
    lines = np.arange(_CHUNK) * n
    for first in range(0, plane, _CHUNK):
        size = min(_CHUNK, plane - first)
        for p in range(0, size, lanes):
            for o in range(0, out, lanes):
                turn(turned, p * n + o, n, z, o * plane + first + p, plane)
        seen = copy[first:]
        for m in range(0, starts.size, height):
            for o in range(0, n, width):
                panel(gw, m, o, seen, starts[m : m + height], 1, turned, o, lines[:size])


@s.scalar
def _sum_images(copy, w, steps, order, ends, z, margin, plane, c, out, shape):
    """Phase by phase, what each number of a copy contributes to: the sum over outputs, and over
    the places in which windows see that phase, of w times z, from which they look back."""
    (height, width), phases, done = shape, ends.size, 0
    sums = np.empty((_up(c, height), _up(plane, width)), z.dtype)
    places, even = np.empty(out * steps.size, np.int64), np.arange(height)
    for f in range(phases):
        taps = order[done : ends[f]]
        for o in range(out):
            for m in range(taps.size):
                places[o * taps.size + m] = o * plane - steps[taps[m]]
        sums[:] = 0
        for p in range(0, plane, width):
            for m in range(sums.shape[0] // height):
                weights, used = w[m, out * done * height :], places[: out * taps.size]
                panel(sums, m * height, p, weights, even, height, z, margin + p, used)
        for i in range(c):
            copy[(i * phases + f) * plane : (i * phases + f + 1) * plane] = sums[i, :plane]
        done = ends[f]


def _backward(formula: Callable) -> Callable:
    """Gradients from z = formula(g, y): gx, if it is not empty; and in row p of gw, if that is not
    empty, and of gb the sums over the p-th part of the images.

    w is (groups, panels of channels, outputs and places by phase, rows of a panel); gw is (parts,
    groups, channels and places, outputs), both rounded up to panels.
    """

    @jit(parallel=True, reassociate=True)
    def loop(gx, gw, gb, g, y, x, w, plan, phase, down, across, order, ends):
        many, tile, groups, shape, stride, padding, (oh, ow), beyond, reach, phases = plan
        n, c, out, width = g.shape[0], x.shape[1] // groups, g.shape[1] // groups, shape[1]
        pitch, tiles, parts = ow + beyond[1], (oh + tile - 1) // tile, gb.shape[0]
        blocks, lanes = (n + many - 1) // many, width // VECTORS
        margin = reach[0] * pitch + reach[1]
        for part in prange(parts):
            gb[part] = 0
            if gw.size:
                gw[part] = 0
            own = (min(tile, oh) + beyond[0]) * pitch * many
            z = np.empty(margin + _up(out, lanes) * own + width, g.dtype)
            copy = np.empty(c * phases * own + margin + width, g.dtype)
            begin, end = part * blocks // parts * tiles, (part + 1) * blocks // parts * tiles
            for t in range(begin, end):
                first, top = t // tiles * many, t % tiles * tile
                last, rows = min(n, first + many), min(tile, oh - top)
                own = (rows + beyond[0]) * pitch
                plane = own * (last - first)  # numbers of a phase
                if top == 0 and gx.size:
                    gx[first:last] = 0
                # What z holds beyond its rows and columns is zero, so that windows may reach there
                z[:] = 0
                copy[c * phases * plane :] = 0
                for k in range(groups):
                    channels = (k * c, (k + 1) * c)
                    for o in range(out):
                        total = g.dtype.type(0)
                        for i in range(last - first):
                            for r in range(rows):
                                at = margin + o * plane + i * own + r * pitch
                                target = z[at : at + ow]
                                gs = g[first + i, k * out + o, top + r]
                                ys = y[first + i, k * out + o, top + r]
                                for q in range(ow):
                                    v = formula(gs[q], ys[q])
                                    target[q] = v
                                    total += v
                        gb[part, k * out + o] += total
                    if gw.size:
                        _copy_in(copy, x[first:last], channels, top, rows + beyond[0], pitch,
                                 stride, padding)  # fmt: skip
                        starts = np.zeros(gw.shape[2], np.int64)
                        _list_places(starts, phase, down, across, phases, plane, pitch)
                        _add_weights(gw[part, k], copy, starts, z[margin:], plane, out, shape)
                    if gx.size:
                        steps = down * pitch + across
                        _sum_images(copy, w[k], steps, order, ends, z, margin, plane, c, out, shape)
                        _add_back(copy, gx[first:last], channels, top, rows + beyond[0], pitch,
                                  stride, padding)  # fmt: skip

    return loop


@s.scalar
def _same(z):
    return z


@s.scalar
def _same_grad(g, y):
    return g


_FORMULAS = {"none": _same, "relu": s.relu, "sigmoid": s.sigmoid, "tanh": s.tanh}
_SLOPES = {"none": _same_grad, "relu": s.relu_grad, "sigmoid": s.sigmoid_grad}
_SLOPES["tanh"] = s.tanh_grad
_FORWARD = {name: _forward(formula) for name, formula in _FORMULAS.items()}
_BACKWARD = {name: _backward(formula) for name, formula in _SLOPES.items()}


def _panels(w, height):
    """Matrices (groups, rows, k) cut into panels of rows: (groups, panels, k * height)."""
    groups, rows, k = w.shape
    whole = _round(rows, height)
    if whole != rows:
        w = np.concatenate([w, np.zeros((groups, whole - rows, k), w.dtype)], axis=1)
    w = w.reshape(groups, whole // height, height, k).transpose(0, 1, 3, 2)
    return np.ascontiguousarray(w).reshape(groups, whole // height, k * height)


@accepts(min_size=SMALL, when=conv_fits)
def conv2d(
    x, w, b=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, activation="none"
):
    how = (tuple(stride), tuple(padding), tuple(dilation), groups, x.itemsize)
    plan, places = _plan(x.shape, w.shape, *how)
    y = empty((x.shape[0], w.shape[0], *plan.counts), x.dtype)
    bias = np.zeros(w.shape[0], w.dtype) if b is None else b
    matrices = _panels(w.reshape(groups, w.shape[0] // groups, -1), plan.panel[0])
    _FORWARD[activation](y, x, matrices, bias, tuple(plan), *places[:3])
    return y


@accepts(min_size=SMALL, size_of="x", strided=("g",), when=conv_grad_fits)
def conv2d_grad(g, x, w, y, *, stride, padding, dilation, groups, activation, needs):
    how = (tuple(stride), tuple(padding), tuple(dilation), groups, x.itemsize)
    plan, places = _plan(x.shape, w.shape, *how)
    (out, inner, kh, kw), (height, width) = w.shape, plan.panel
    gx: Any = empty_like(x) if needs[0] else np.empty((0, 0, 0, 0), x.dtype)
    matrices = np.empty((groups, 0, 0), x.dtype)
    if needs[0]:  # by phase, output, place
        turned = w.reshape(groups, out // groups, inner, kh * kw).transpose(0, 2, 1, 3)
        cuts = np.split(turned[..., places.order], places.ends[:-1], axis=-1)
        cuts = [part.reshape(groups, inner, -1) for part in cuts]
        matrices = _panels(np.concatenate(cuts, axis=-1), height)
    # Few enough parts that they are no burden beside the weights, enough for many threads
    parts = min(-(-x.shape[0] // plan.images), max(4, min(32, _SUMMED // w.size)))
    sums = (groups, _round(inner * kh * kw, height), _round(out // groups, width))
    gw: Any = empty((parts, *sums) if needs[1] else (0, *sums), x.dtype)
    gb = np.empty((parts, out), x.dtype)
    _BACKWARD[activation](
        gx, gw, gb, np.ascontiguousarray(g), y, x, matrices, tuple(plan), *places
    )  # fmt: skip
    if needs[1]:
        gw = gw.sum(axis=0)[:, : inner * kh * kw, : out // groups].transpose(0, 2, 1)
        gw = np.ascontiguousarray(gw).reshape(w.shape)
    return (
        gx if needs[0] else None,
        gw if needs[1] else None,
        gb.sum(axis=0) if needs[2] else None,
    )


@accepts(min_size=SMALL, when=conv_input_fits)
def conv2d_input(z, w, *, plane, stride, padding, dilation, groups):
    x = np.empty((z.shape[0], w.shape[1] * groups, *plane), z.dtype)  # never looked at
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return conv2d_grad(z, x, w, z, **how, activation="none", needs=(True, False, False))[0]


@accepts(min_size=SMALL, when=conv_weight_fits)
def conv2d_weight(x, z, *, kernel, stride, padding, dilation, groups):
    w = np.empty((z.shape[1], x.shape[1] // groups, *kernel), x.dtype)  # never looked at
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return conv2d_grad(z, x, w, z, **how, activation="none", needs=(False, True, False))[1]
