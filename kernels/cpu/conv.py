"""Convolution as implicit GEMM: no im2col matrix is materialised.

Images are copied tile by tile, with their padding (conv_tiles.py); the windows of a tile are
multiplied where they are in that copy (gather_gemm.py), and bias and activation are the epilogue,
while the results are in cache. The gradients are the same sums with the operands exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..accept import accepts
from ..shapes import conv_fits, conv_grad_fits, conv_input_fits, conv_weight_fits
from . import conv_depthwise, conv_weights, vector_copy
from . import scalars as s
from .buffers import empty, empty_like
from .conv_tiles import add_back, copy_in, list_places, plan_of, rounded, up
from .gather_gemm import VECTORS, panel, transpose_square
from .jit import jit, prange

# 1x2x24x24 with 4 3x3 filters takes 16 us here and 19 in the reference, its gradients 38 and 60
# (2-core AVX-512 server). The size spares small programs the import of Numba.
SMALL = 1024
_CHUNK = 128  # columns that are transposed at a time
_SUMMED = 1 << 22  # elements in all partial sums of the weights' gradient


def _forward(formula: Callable) -> Callable:
    """y = formula(w @ im2col(x) + b), the formula being the epilogue. w is packed: (groups, panels,
    channels and places, rows of a panel), flat from the second axis on."""

    @jit(parallel=True)
    def loop(y, x, w, b, plan, phase, down, across, share):
        many, tile, groups, (height, width), stride, padding, (oh, ow), beyond, reach, phases = plan
        n, c, out, count = x.shape[0], x.shape[1] // groups, y.shape[1] // groups, phase.size
        pitch, tiles = ow + beyond[1], (oh + tile - 1) // tile
        starts = np.arange(height)
        for t in prange((n + many - 1) // many * tiles, share):
            first, top = t // tiles * many, t % tiles * tile
            last, rows = min(n, first + many), min(tile, oh - top)
            own = (rows + beyond[0]) * pitch  # numbers of one image in a phase
            plane = own * (last - first)
            seen = plane - beyond[0] * pitch  # up to the last output
            copy = np.empty(c * phases * plane + reach[0] * pitch + reach[1] + width, y.dtype)
            copy[c * phases * plane :] = 0
            places = np.empty(c * count, np.int64)
            list_places(places, phase, down, across, phases, plane, pitch)
            z = np.empty((up(out, height), up(plane, width)), y.dtype)
            for k in range(groups):
                copy_in(copy, x[first:last], (k * c, (k + 1) * c), top, rows + beyond[0], pitch,
                         stride, padding)  # fmt: skip
                for o in range(z.shape[0]):
                    z[o] = b[k * out + o] if o < out else y.dtype.type(0)
                for p in range(0, seen, width):
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
def _add_weights(gw, copy, starts, z, plane, used, out, shape):
    """gw (places, outputs) += im2col(copy) @ z.T, with z the cotangents of the outputs, a row of a
    plane each, which are zero from element `used` on. z is transposed some columns at a time, which
    stay in cache."""
    (height, width), n = shape, gw.shape[1]
    lanes, transposed = width // VECTORS, np.zeros(_CHUNK * n, z.dtype)
    lines = np.arange(_CHUNK) * n
    for first in range(0, used, _CHUNK):
        size = min(_CHUNK, used - first)
        for p in range(0, size, lanes):
            for o in range(0, out, lanes):
                transpose_square(transposed, p * n + o, n, z, o * plane + first + p, plane)
        seen = copy[first:]
        for m in range(0, starts.size, height):
            for o in range(0, n, width):
                panel(gw, m, o, seen, starts[m : m + height], 1, transposed, o, lines[:size])


@s.scalar
def _sum_images(copy, w, steps, order, ends, z, margin, plane, c, out, shape):
    """The cotangent of a copy, phase by phase: for each element the sum over outputs, and over the
    places of a window that see that phase, of w times z."""
    (height, width), phases, done = shape, ends.size, 0
    sums = np.empty((up(c, height), up(plane, width)), z.dtype)
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
            vector_copy.copy_padded(
                copy, (i * phases + f) * plane, plane, sums, i * sums.shape[1], 0, plane, 1
            )
        done = ends[f]


def _backward(formula: Callable) -> Callable:
    """Gradients from z = formula(g, y), the cotangent of the activation's input: gx, if it is not
    empty; and in row p of gw, if that is not empty, and of gb the partial sums over the p-th part
    of the images.

    w is packed: (groups, panels of channels, outputs and places by phase, rows of a panel); gw is
    (parts, groups, channels and places, outputs); both are padded to whole panels.
    """

    @jit(parallel=True, reassociate=True)
    def loop(gx, gw, gb, g, y, x, w, plan, phase, down, across, order, ends, share):
        many, tile, groups, shape, stride, padding, (oh, ow), beyond, reach, phases = plan
        n, c, out, width = g.shape[0], x.shape[1] // groups, g.shape[1] // groups, shape[1]
        pitch, tiles, parts = ow + beyond[1], (oh + tile - 1) // tile, gb.shape[0]
        blocks, lanes = (n + many - 1) // many, width // VECTORS
        margin = reach[0] * pitch + reach[1]
        for part in prange(parts, share):
            gb[part] = 0
            if gw.size:
                gw[part] = 0
            own = (min(tile, oh) + beyond[0]) * pitch * many
            z = np.empty(margin + up(out, lanes) * own + width, g.dtype)
            copy = np.empty(c * phases * own + margin + width, g.dtype)
            steps = np.empty(phase.size, np.int64)
            for m in range(phase.size):
                steps[m] = down[m] * pitch + across[m]
            begin, end = part * blocks // parts * tiles, (part + 1) * blocks // parts * tiles
            for t in range(begin, end):
                first, top = t // tiles * many, t % tiles * tile
                last, rows = min(n, first + many), min(tile, oh - top)
                own = (rows + beyond[0]) * pitch
                plane = own * (last - first)  # numbers of a phase
                if top == 0 and gx.size:
                    gx[first:last] = 0
                # z is zero-padded beyond its rows and columns, where windows reach, too
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
                        copy_in(copy, x[first:last], channels, top, rows + beyond[0], pitch,
                                 stride, padding)  # fmt: skip
                        starts = np.zeros(gw.shape[2], np.int64)  # those of padding stay at 0
                        list_places(starts[: c * phase.size], phase, down, across, phases, plane,
                                    pitch)  # fmt: skip
                        used = plane - beyond[0] * pitch
                        _add_weights(gw[part, k], copy, starts, z[margin:], plane, used, out, shape)
                    if gx.size:
                        _sum_images(copy, w[k], steps, order, ends, z, margin, plane, c, out, shape)
                        add_back(copy, gx[first:last], channels, top, rows + beyond[0], pitch,
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
_DEPTHWISE = {name: conv_depthwise.forward(formula) for name, formula in _FORMULAS.items()}
_DEPTHWISE_GRAD = {name: conv_depthwise.backward(formula) for name, formula in _SLOPES.items()}


@accepts(min_size=SMALL, when=conv_fits)
def conv2d(
    x, w, b=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, activation="none"
):
    if conv_depthwise.fits(w, groups):
        loop, geometry = _DEPTHWISE[activation], (stride, padding, dilation)
        return conv_depthwise.convolve(loop, x, w, b, groups, geometry)
    how = (tuple(stride), tuple(padding), tuple(dilation), groups, x.itemsize)
    plan, places = plan_of(x.shape, w.shape, *how)
    y = empty((x.shape[0], w.shape[0], *plan.counts), x.dtype)
    bias = np.zeros(w.shape[0], w.dtype) if b is None else b
    matrices = conv_weights.by_output(w, groups, plan.panel[0])
    _FORWARD[activation](y, x, matrices, bias, tuple(plan), *places[:3])
    return y


@accepts(min_size=SMALL, size_of="x", strided=("g",), when=conv_grad_fits)
def conv2d_grad(g, x, w, y, *, stride, padding, dilation, groups, activation, needs):
    if conv_depthwise.fits(w, groups):
        loop, geometry = _DEPTHWISE_GRAD[activation], (stride, padding, dilation)
        return conv_depthwise.differentiate(loop, g, x, w, y, groups, needs, geometry)
    how = (tuple(stride), tuple(padding), tuple(dilation), groups, x.itemsize)
    plan, places = plan_of(x.shape, w.shape, *how)
    (out, inner, kh, kw), (height, width) = w.shape, plan.panel
    gx: Any = empty_like(x) if needs[0] else np.empty((0, 0, 0, 0), x.dtype)
    matrices = np.empty((groups, 0, 0), x.dtype)
    if needs[0]:
        matrices = conv_weights.by_channel(w, groups, height, places.order, places.ends)
    # Few enough partial sums to be cheap beside the weights, enough for many threads
    parts = min(-(-x.shape[0] // plan.images), max(4, min(32, _SUMMED // w.size)))
    sums = (groups, rounded(inner * kh * kw, height), rounded(out // groups, width))
    gw: Any = empty((parts, *sums) if needs[1] else (0, *sums), x.dtype)
    gb = np.empty((parts, out), x.dtype)
    _BACKWARD[activation](
        gx, gw, gb, np.ascontiguousarray(g), y, x, matrices, tuple(plan), *places
    )  # fmt: skip
    return (
        gx if needs[0] else None,
        conv_weights.from_parts(gw, w.shape) if needs[1] else None,
        gb.sum(axis=0) if needs[2] else None,
    )


@accepts(min_size=SMALL, when=conv_input_fits)
def conv2d_input(dy, w, *, size, stride, padding, dilation, groups):
    x = np.empty((dy.shape[0], w.shape[1] * groups, *size), dy.dtype)  # never looked at
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return conv2d_grad(dy, x, w, dy, **how, activation="none", needs=(True, False, False))[0]


@accepts(min_size=SMALL, when=conv_weight_fits)
def conv2d_weight(x, dy, *, window, stride, padding, dilation, groups):
    w = np.empty((dy.shape[1], x.shape[1] // groups, *window), x.dtype)  # never looked at
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return conv2d_grad(dy, x, w, dy, **how, activation="none", needs=(False, True, False))[1]
