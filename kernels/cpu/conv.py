"""Convolution as products of tiles that stay in cache, and pooling a plane at a time.

A tile is some rows of one image, or several images where these are small. Its windows are laid out
as the columns of a matrix, which the weights are multiplied with on the thread that made it; the
bias and the activation follow while the result is still in cache. Nothing of the size of all
windows is ever stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..accept import accepts
from ..shapes import (
    conv_fits,
    conv_grad_fits,
    conv_input_fits,
    conv_weight_fits,
    pool_fits,
    pool_places_fit,
    windows,
)
from . import blas
from . import scalars as s
from .buffers import empty, empty_like
from .jit import jit, prange

SMALL = 1024
PARALLEL = 1 << 15
_TILE = 1 << 18  # numbers in the columns of a tile: 1 MB of float32
_SUMMED = 1 << 22  # numbers in all partial sums of the weights' gradient
_DEEP = 64  # so deep a product is efficient without joining the rows of a window


class _Plan(NamedTuple):
    """How the work is cut: images and rows of outputs in a tile, and products that a tile takes.

    With `taps` = 1 the columns hold whole windows. Windows that move by one row at a time see rows
    that others see too: these are stored once (`taps` is then the window's height), and there is a
    product for each row of the window, over columns that begin `dilation` rows later.
    """

    images: int
    rows: int
    taps: int


def _plan(n, w_shape, counts, stride):
    _, inner, kh, kw = w_shape
    shared = stride[0] == 1 and kh > 1 and inner * kw >= _DEEP
    depth = inner * kw * (1 if shared else kh)
    length = max(64, min(1024, _TILE // depth))
    plane = counts[0] * counts[1]
    if 2 * plane <= length:
        return _Plan(min(n, length // plane), counts[0], 1)
    tiles = max(1, round(plane / length))
    return _Plan(1, -(-counts[0] // tiles), kh if shared else 1)


@s.scalar
def _outputs(k, kw, how, width, ow):
    """Of place k % kw of a window: where it lies before any stride, and the first and last of the
    `ow` outputs for which that is inside the image."""
    stride, left, dilation = how
    start = k % kw * dilation - left
    low = min(ow, max(0, (stride - 1 - start) // stride))
    return start, low, max(low, min(ow, (width - 1 - start) // stride + 1))


@s.scalar
def _lay_out(columns, image, first, step, how, ow):
    """Row c * kw + j of columns becomes what place j of the windows sees of channel c, for rows of
    `ow` outputs: the first sees row `first` of the image, the others `step` rows more each."""
    kw, stride, (h, w) = columns.shape[0] // image.shape[0], how[0], image.shape[1:]
    for k in range(columns.shape[0]):
        start, low, high = _outputs(k, kw, how, w, ow)
        for r in range(columns.shape[1] // ow):
            row, target = first + r * step, columns[k, r * ow : (r + 1) * ow]
            if row < 0 or row >= h or low == high:
                for q in range(ow):
                    target[q] = 0
                continue
            source = image[k // kw, row, low * stride + start :]
            for q in range(low):
                target[q] = 0
            if stride == 1:
                for q in range(high - low):
                    target[low + q] = source[q]
            else:
                for q in range(high - low):
                    target[low + q] = source[q * stride]
            for q in range(high, ow):
                target[q] = 0


@s.scalar
def _add_back(columns, image, first, step, how, ow):
    """The adjoint of `_lay_out`: adds each number where it was taken from."""
    kw, stride, (h, w) = columns.shape[0] // image.shape[0], how[0], image.shape[1:]
    for k in range(columns.shape[0]):
        start, low, high = _outputs(k, kw, how, w, ow)
        for r in range(columns.shape[1] // ow):
            row, source = first + r * step, columns[k, r * ow : (r + 1) * ow]
            if row < 0 or row >= h or low == high:
                continue
            target = image[k // kw, row, low * stride + start :]
            if stride == 1:
                for q in range(high - low):
                    target[q] += source[low + q]
            else:
                for q in range(high - low):
                    target[q * stride] += source[low + q]


def _tiles(move: Callable) -> Callable:
    """`move` for all images and rows of windows of a tile, between columns and x."""

    @s.scalar
    def loop(columns, x, channels, taps, top, vertical, across, ow):
        kh, step, above, dilation = vertical
        seen, part = columns.shape[1] // x.shape[0], columns.shape[0] // (kh // taps)
        for i in range(x.shape[0]):
            image = x[i, channels[0] : channels[1]]
            for a in range(kh // taps):
                at = columns[a * part : (a + 1) * part, i * seen : (i + 1) * seen]
                move(at, image, top * step + a * dilation - above, step, across, ow)

    return loop


_lay_out_all, _add_back_all = _tiles(_lay_out), _tiles(_add_back)


def _forward(formula: Callable) -> Callable:
    """y becomes formula(windows of x times w, + b). Outputs of an image lie in a row in y; w is
    (groups, outputs, kh * channels * kw)."""

    @jit(parallel=True)
    def loop(y, x, w, b, plan, vertical, across, counts):
        (many, tile, taps), (oh, ow), (groups, out) = plan, counts, w.shape[:2]
        n, c, depth, ahead = x.shape[0], x.shape[1] // groups, w.shape[2] // taps, vertical[3] * ow
        tiles = (oh + tile - 1) // tile
        for t in prange((n + many - 1) // many * tiles):
            first, top = t // tiles * many, t % tiles * tile
            last, size = min(n, first + many), min(tile, oh - top) * ow
            length = (last - first) * size
            columns = np.empty((depth, (last - first) * (size + (taps - 1) * ahead)), y.dtype)
            z = np.empty((out, length), y.dtype)
            for k in range(groups):
                channels = (k * c, (k + 1) * c)
                _lay_out_all(columns, x[first:last], channels, taps, top, vertical, across, ow)
                for a in range(taps):
                    part = w[k][:, a * depth : (a + 1) * depth]
                    seen = columns[:, a * ahead : a * ahead + length]
                    blas.gemm(part, seen, z, y.dtype.type(a > 0))
                for i in range(last - first):
                    for o in range(out):
                        bias, source = b[k * out + o], z[o, i * size : (i + 1) * size]
                        target = y[first + i, k * out + o, top * ow : top * ow + size]
                        for q in range(size):
                            target[q] = formula(source[q] + bias)

    return loop


def _backward(formula: Callable) -> Callable:
    """Gradients from z = formula(g, y): gx, if it is not empty; and in row p of gw, if that is not
    empty, and of gb the sums over the p-th part of the images."""

    @jit(parallel=True)
    def loop(gx, gw, gb, g, y, x, w, plan, vertical, across, counts):
        (many, tile, taps), (oh, ow), (groups, out) = plan, counts, w.shape[:2]
        c, depth, ahead = x.shape[1] // groups, w.shape[2] // taps, vertical[3] * ow
        n, tiles, parts = g.shape[0], (oh + tile - 1) // tile, gb.shape[0]
        blocks, one = (n + many - 1) // many, g.dtype.type(1)
        for p in prange(parts):
            gb[p] = 0
            if gw.size:
                gw[p] = 0
            for t in range(p * blocks // parts * tiles, (p + 1) * blocks // parts * tiles):
                first, top = t // tiles * many, t % tiles * tile
                last, size = min(n, first + many), min(tile, oh - top) * ow
                length = (last - first) * size
                if top == 0 and gx.size:
                    gx[first:last] = 0
                columns = np.empty((depth, (last - first) * (size + (taps - 1) * ahead)), g.dtype)
                z = np.empty((out, length), g.dtype)
                for k in range(groups):
                    channels = (k * c, (k + 1) * c)
                    for i in range(last - first):
                        for o in range(out):
                            gs = g[first + i, k * out + o, top * ow : top * ow + size]
                            ys = y[first + i, k * out + o, top * ow : top * ow + size]
                            total, target = g.dtype.type(0), z[o, i * size : (i + 1) * size]
                            for q in range(size):
                                v = formula(gs[q], ys[q])
                                target[q] = v
                                total += v
                            gb[p, k * out + o] += total
                    if gw.size:
                        images = x[first:last]
                        _lay_out_all(columns, images, channels, taps, top, vertical, across, ow)
                        for a in range(taps):
                            seen = columns[:, a * ahead : a * ahead + length]
                            blas.gemm(z, seen.T, gw[p, k][:, a * depth : (a + 1) * depth], one)
                    if gx.size:
                        if taps > 1:
                            columns[:] = 0
                        for a in range(taps):
                            part = w[k][:, a * depth : (a + 1) * depth]
                            seen = columns[:, a * ahead : a * ahead + length]
                            blas.gemm(part.T, z, seen, g.dtype.type(taps > 1))
                        images = gx[first:last]
                        _add_back_all(columns, images, channels, taps, top, vertical, across, ow)

    return loop


@s.scalar
def _same(z):
    return z


@s.scalar
def _same_grad(g, y):
    return g


_FORWARD = {
    "none": _forward(_same),
    "relu": _forward(s.relu),
    "sigmoid": _forward(s.sigmoid),
    "tanh": _forward(s.tanh),
}
_BACKWARD = {
    "none": _backward(_same_grad),
    "relu": _backward(s.relu_grad),
    "sigmoid": _backward(s.sigmoid_grad),
    "tanh": _backward(s.tanh_grad),
}


def _matrices(w, groups):
    """The weights as (groups, outputs, kh * channels * kw)."""
    out, inner, kh, kw = w.shape
    turned = np.ascontiguousarray(w.transpose(0, 2, 1, 3))
    return turned.reshape(groups, out // groups, kh * inner * kw)


def _axes(kernel, stride, padding, dilation):
    """What the loops need to know of the vertical and the horizontal axis."""
    return (kernel[0], stride[0], padding[0], dilation[0]), (stride[1], padding[1], dilation[1])


def _flat(y):
    return y.reshape(*y.shape[:2], y.shape[2] * y.shape[3])


@accepts(min_size=SMALL, when=conv_fits)
def conv2d(
    x, w, b=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, activation="none"
):
    kernel = w.shape[2:]
    counts = windows(x.shape[2:], kernel, stride, padding, dilation)
    y = empty((x.shape[0], w.shape[0], *counts), x.dtype)
    plan = _plan(x.shape[0], w.shape, counts, stride)
    bias = np.zeros(w.shape[0], w.dtype) if b is None else b
    loop, axes = _FORWARD[activation], _axes(kernel, stride, padding, dilation)
    with blas.single():
        loop(_flat(y), x, _matrices(w, groups), bias, plan, *axes, counts)
    return y


@accepts(min_size=SMALL, size_of="x", strided=("g",), when=conv_grad_fits)
def conv2d_grad(g, x, w, y, *, stride, padding, dilation, groups, activation, needs):
    out, inner, kh, kw = w.shape
    counts = g.shape[2:]
    plan, weights = _plan(g.shape[0], w.shape, counts, stride), _matrices(w, groups)
    # Few enough parts that they are no burden beside the weights, enough for many threads
    parts = min(-(-g.shape[0] // plan.images), max(4, min(32, _SUMMED // w.size)))
    gx = empty_like(x) if needs[0] else np.empty((0, 0, 0, 0), x.dtype)
    gw = empty((parts if needs[1] else 0, *weights.shape), g.dtype)
    gb = np.empty((parts, out), g.dtype)
    g = np.ascontiguousarray(g)
    axes = _axes((kh, kw), stride, padding, dilation)
    with blas.single():
        _BACKWARD[activation](gx, gw, gb, _flat(g), _flat(y), x, weights, plan, *axes, counts)
    if needs[1]:
        gw = gw.sum(axis=0).reshape(out, kh, inner, kw).transpose(0, 2, 1, 3)
        gw = np.ascontiguousarray(gw)
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


# --- pooling ------------------------------------------------------------------------------------


@jit(parallel_from=PARALLEL)
def _max_pool(x, y, where, size, stride, padding):
    """A row of windows at a time: for each place in the windows, all of them move on to what they
    see there if that is larger."""
    h, w = x.shape[1:]
    for p in prange(x.shape[0]):
        for r in range(y.shape[1]):
            best, place = y[p, r], where[p, r]
            top = r * stride[0] - padding[0]
            for q in range(y.shape[2]):
                best[q] = -np.inf
                place[q] = max(0, top) * w + max(0, q * stride[1] - padding[1])
            for i in range(max(0, top), min(h, top + size[0])):
                for j in range(size[1]):
                    start, low, high = _outputs(
                        j, size[1], (stride[1], padding[1], 1), w, len(best)
                    )
                    seen = x[p, i, low * stride[1] + start :]
                    for q in range(high - low):
                        v = seen[q * stride[1]]
                        if v > best[low + q] or v != v:
                            best[low + q] = v
                            place[low + q] = i * w + (low + q) * stride[1] + start


@jit(parallel_from=PARALLEL)
def _scatter(x, where, y):
    for p in prange(x.shape[0]):
        y[p] = 0
        for q in range(x.shape[1]):
            y[p, where[p, q]] += x[p, q]


@accepts(min_size=SMALL, when=pool_fits)
def max_pool2d(x, *, size, stride=None, padding=(0, 0)):
    stride = size if stride is None else stride
    shape = (*x.shape[:2], *windows(x.shape[2:], size, stride, padding))
    y, where = empty(shape, x.dtype), empty(shape, np.int32)
    planes = [a.reshape(-1, *a.shape[2:]) for a in (x, y, where)]
    _max_pool(*planes, size, stride, padding)
    return y, where


@accepts(min_size=SMALL, others=("where",), when=pool_places_fit)
def max_pool2d_grad(x, where, *, plane):
    y = empty((*x.shape[:2], *plane), x.dtype)
    _scatter(*[a.reshape(x.shape[0] * x.shape[1], -1) for a in (x, where, y)])
    return y
