"""Convolution as implicit GEMM (conv.cu), or by cuDNN where it is installed (cudnn.py).

The matrix of all windows (im2col) is never materialised: a block gathers the tile of it that it
multiplies. The gradient of the images is the same GEMM, phase by phase of the stride; that of the
filters is split along its long sum (split-K), and the partial sums are added in order.
"""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from ..shapes import conv_fits, conv_grad_fits, conv_input_fits, conv_weight_fits, extent
from . import cudnn, elementwise
from .device import (
    BLOCK,
    DTYPES,
    PACKED,
    TYPES,
    Source,
    blocks,
    ctype,
    device,
    either,
    multiplies,
    packs,
    sizes,
    wide,
)

_THREADS = 128  # THREADS of register_tiles.cuh
_TILES = ((1, 1), (1, 2), (1, 4), (2, 4))  # packs of lines a thread has, warps below one another
_PHASES = 4  # of conv.cu
_SUMMED = 1 << 25  # elements in all partial sums of the filters' gradient
_PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
_ACTIVATIONS = ("none", "relu", "sigmoid", "tanh")
SOURCE = Source(
    "conv",
    [
        f"{name}<{t}, {m}, {down}>"
        for name in ("convolve", "convolve_filters")
        for t in TYPES.values()
        for m, down in _TILES
    ]
    + [f"{name}<{t}>" for name in ("reorder_filters", "add_parts") for t in TYPES.values()]
    + [f"graded<{t}, {v}>" for t, v in PACKED],
)
_AXIS = np.dtype(
    [(n, np.int32) for n in ("places", "step", "from", "count", "tap", "first", "spread", "at")]
)
_CONV = np.dtype(
    [("filters", np.int64, _PHASES * _PHASES)]
    + [(n, np.int32) for n in ("images", "groups", "lines", "inner", "height", "width")]
    + [(n, np.int32) for n in ("out_height", "out_width", "across", "activation", "has_bias")]
    + [(n, np.int32) for n in ("packed", "whole")]
    + [("rows", _AXIS, _PHASES), ("columns", _AXIS, _PHASES)],
    align=True,
)
_ORDER = np.dtype(
    [(f"{n}_{a}", np.int32) for n in ("window", "stride", "pad", "dilation", "every") for a in "hw"]
)


def _countable(images, channels, size, filters, padding, out):
    """Do all offsets fit an int? All are but those of the images of a batch."""
    n, area = images * math.prod(out), math.prod(size)
    reach = max(size) + 2 * max(padding)
    return max(n + 256, channels * area, filters) < 2**31 and reach < 2**29


def _tile(x, lines, columns=1 << 30):
    """The tile of least padding: packs of lines in a register tile, warps below one another, lines
    and columns. Of several the largest, or where it is to hold all columns the squarest."""
    p, made = 16 // np.dtype(wide(x)).itemsize, []
    for m, down in _TILES:
        high, across = 4 * p * m * down, 2 * 8 * p * (4 // down)
        work = -(-lines // high) * high * -(-columns // across) * across
        made.append((work, high + across if columns <= across else -high, m, down, high, across))
    return min(made)[2:]


def _described(images, groups, inner, size, lines, out, rows, columns):
    """The struct Conv of conv.cu, which kernels take by value."""
    s = np.zeros((), _CONV)
    s["images"], s["groups"], s["lines"], s["inner"] = images, groups, lines, inner
    s["height"], s["width"], s["out_height"], s["out_width"] = *size, *out
    s["across"] = len(columns)
    for name, axes in (("rows", rows), ("columns", columns)):
        s[name][: len(axes)] = axes
    return s


def _seen(out, window, stride, padding, dilation):
    """For each axis what windows see of an image."""
    numbers = zip(out, window, stride, padding, dilation, strict=True)
    return [[(o, s, -p, k, d, 0, 1, 0)] for o, k, s, p, d in numbers]


def _phases(n, k, stride, padding, dilation):
    """Along one axis: by which taps the places f, f + stride, ... of an image were seen."""
    every, made = stride // math.gcd(stride, dilation), []
    for f in range(stride):
        taps = [i for i in range(k) if (f + padding - i * dilation) % stride == 0]
        first = (f + padding - taps[0] * dilation) // stride if taps else 0
        places, back = -(-(n - f) // stride) if f < n else 0, every * dilation // stride
        made.append((places, 1, 0, len(taps), -back, first, stride, f))
    return made


def _convolve(x, filters, b, y, s, activation="none"):
    """Launches `convolve`: a block for each output tile of each phase."""
    m, down, lines, columns = _tile(x, int(s["lines"]))
    s["has_bias"], s["activation"] = b is not None, _ACTIVATIONS.index(activation)
    phases = s["rows"]["places"].max(), s["columns"]["places"].max()
    tiles = -(-int(s["images"]) * int(phases[0]) * int(phases[1]) // columns)
    tiles *= int(s["groups"]) * -(-int(s["lines"]) // lines)
    grid = (tiles, np.count_nonzero(s["rows"]["spread"]) * int(s["across"]))
    kernel = f"convolve<{ctype(x)}, {m}, {down}>"
    args = (x, filters, either(b, x), y, s[()])
    device(x).launch(SOURCE, kernel, grid, (_THREADS,), args)
    return y


def _forward(x, w, b, groups, activation, stride, padding, dilation):
    """activation(conv2d(x, w) + b)"""
    window, lines = w.shape[2:], w.shape[0] // groups
    out = extent(x.shape[2:], window, stride, padding, dilation)
    y = device(x).xp.empty((len(x), len(w), *out), x.dtype)
    bias = None if b is None else b.reshape(1, -1, 1, 1)
    if cudnn.convolved("conv2d", (x, w, bias), y, stride, padding, dilation):
        return y if activation == "none" else elementwise.apply(activation, y)
    axes = _seen(out, window, stride, padding, dilation)
    s = _described(len(x), groups, w.shape[1], x.shape[2:], lines, out, *axes)
    s["packed"] = packs(math.prod(w.shape[1:]), w) > 1
    s["whole"] = packs(math.prod(out), y) > 1
    return _convolve(x, w, b, y, s, activation)


def _images_grad(dy, w, size, groups, stride, padding, dilation):
    """The gradient of the images, from that of the result."""
    xp, window = device(dy).xp, w.shape[2:]
    gx = xp.empty((len(dy), w.shape[1] * groups, *size), dy.dtype)
    if cudnn.convolved("conv2d_input", (dy, w), gx, stride, padding, dilation):
        return gx
    inner, lines = w.shape[0] // groups, w.shape[1]
    numbers = zip(size, window, stride, padding, dilation, strict=True)
    rows, columns = [_phases(*n) for n in numbers]
    s = _described(len(dy), groups, inner, dy.shape[2:], lines, size, rows, columns)
    taps = [r[3] * c[3] for r in rows for c in columns]
    s["filters"][: len(taps)] = np.cumsum([0, *taps[:-1]]) * len(w) * lines
    filters = xp.empty((w.size,), w.dtype)
    every = [d // math.gcd(d, e) for d, e in zip(stride, dilation, strict=True)]
    order = np.array((*window, *stride, *padding, *dilation, *every), _ORDER)[()]
    args = (w, filters, *sizes(w.size), order, s[()])
    device(w).launch(SOURCE, f"reorder_filters<{ctype(w)}>", blocks(w.size), (BLOCK,), args)
    s["packed"] = packs(inner, filters) > 1
    s["whole"] = len(taps) == 1 and packs(math.prod(size), gx) > 1
    return _convolve(dy, filters, None, gx, s)


def _part(windows, tiles, size):
    """How many windows a split of the sum (split-K) has: few enough to occupy the whole device and
    to keep rounding errors small, but not so few that all partial sums of `size` elements take
    128 MiB. It follows from the shape alone, so that results are the same on every device."""
    per = min(8192, max(256, -(-windows * tiles // 1024)))
    return -(-max(per, -(-windows * size // _SUMMED)) // 32) * 32


def _filters_grad(x, dy, window, groups, stride, padding, dilation):
    """The gradient of the filters, from that of the result."""
    xp, inner, lines = device(x).xp, x.shape[1] // groups, dy.shape[1] // groups
    gw = xp.empty((dy.shape[1], inner, *window), x.dtype)
    if cudnn.convolved("conv2d_weight", (x, dy), gw, stride, padding, dilation):
        return gw
    out, width = dy.shape[2:], inner * math.prod(window)
    axes = _seen(out, window, stride, padding, dilation)
    s = _described(len(x), groups, inner, x.shape[2:], lines, out, *axes)
    s["packed"] = packs(math.prod(out), dy) > 1
    m, down, tile_lines, tile_columns = _tile(x, lines, width)
    tiles = groups * -(-lines // tile_lines) * -(-width // tile_columns)
    windows = len(x) * math.prod(out)
    per = _part(windows, tiles, gw.size)
    count = -(-windows // per)
    parts = xp.empty((count, gw.size), wide(x))
    kernel = f"convolve_filters<{ctype(x)}, {m}, {down}>"
    args = (x, dy, parts, np.int32(per), s[()])
    device(x).launch(SOURCE, kernel, (tiles * count,), (_THREADS,), args)
    return _added(parts, gw)


def _graded(g, y, activation):
    """The cotangent of the activation's input, and the bias' gradient: its sum per channel."""
    xp, (images, channels, height, width) = device(g).xp, g.shape
    plane, gz = height * width, g if activation == "none" else xp.empty(g.shape, g.dtype)
    v = packs(plane, g, y, gz)
    size = images * plane
    per = -(-max(1024, -(-size // 64)) // 64) * 64
    parts, gb = xp.empty((-(-size // per), channels), wide(g)), xp.empty((channels,), g.dtype)
    numbers = *sizes(channels, plane, size, per), np.int32(_ACTIVATIONS.index(activation))
    grid, block = (min(-(-parts.size // 4), 1 << 16),), (32, 4)
    kernel = f"graded<{ctype(g)}, {v}>"
    device(g).launch(SOURCE, kernel, grid, block, (g, y, gz, parts, *numbers))
    return gz, _added(parts, gb)


def _added(parts, y):
    args = (parts, y, *sizes(len(parts), y.size))
    device(y).launch(SOURCE, f"add_parts<{ctype(y)}>", blocks(y.size), (BLOCK,), args)
    return y


# --- the ops ------------------------------------------------------------------------------------


def _can_tile(x, x_shape, w_shape, groups, stride, padding, dilation):
    """Can conv.cu multiply arrays of x's dtype, and do offsets into images and filters of these
    shapes fit an int?"""
    out = extent(x_shape[2:], w_shape[2:], stride, padding, dilation)
    channels = max(x_shape[1], w_shape[0])
    filters = math.prod(w_shape[1:]) * groups * w_shape[0]
    size = [max(n, o) for n, o in zip(x_shape[2:], out, strict=True)]
    counts = _countable(x_shape[0], channels, size, filters, padding, out)
    return counts and multiplies(x)


def _conv_fits(x, w, b=None, *, groups=1, activation="none", **geometry):
    how = {"groups": groups, "activation": activation, **geometry}
    if not conv_fits(x, w, b, **how):
        return False
    return _can_tile(x, x.shape, w.shape, groups, **{**_PLAIN, **geometry})


def _conv_grad_fits(g, x, w, y, *, groups, activation, needs, stride, **how):
    how = {"stride": stride, **how}
    if not conv_grad_fits(g, x, w, y, groups=groups, activation=activation, needs=needs, **how):
        return False
    near = not needs[0] or max(stride) <= _PHASES
    return near and _can_tile(x, x.shape, w.shape, groups, **how)


def _conv_input_fits(dy, w, *, size, groups, stride, **how):
    how = {"stride": stride, **how}
    fits = conv_input_fits(dy, w, size=size, groups=groups, **how)
    if not fits or max(stride) > _PHASES:
        return False
    return _can_tile(dy, (len(dy), w.shape[1] * groups, *size), w.shape, groups, **how)


def _conv_weight_fits(x, dy, *, window, groups, **how):
    if not conv_weight_fits(x, dy, window=window, groups=groups, **how):
        return False
    w_shape = (dy.shape[1], x.shape[1] // groups, *window)
    return _can_tile(x, x.shape, w_shape, groups, **how)


@accepts(dtypes=DTYPES, when=_conv_fits)
def conv2d(
    x, w, b=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, activation="none"
):
    return _forward(x, w, b, groups, activation, stride, padding, dilation)


@accepts(dtypes=DTYPES, strided=("g",), when=_conv_grad_fits)
def conv2d_grad(g, x, w, y, *, stride, padding, dilation, groups, activation, needs):
    how, g, gb = (groups, stride, padding, dilation), device(g).xp.ascontiguousarray(g), None
    if needs[2]:
        g, gb = _graded(g, y, activation)
    elif activation != "none":
        g = elementwise.apply(f"{activation}_grad", g, y)
    gx = _images_grad(g, w, x.shape[2:], *how) if needs[0] else None
    gw = _filters_grad(x, g, w.shape[2:], *how) if needs[1] else None
    return gx, gw, gb


@accepts(dtypes=DTYPES, when=_conv_input_fits)
def conv2d_input(dy, w, *, size, stride, padding, dilation, groups):
    return _images_grad(dy, w, size, groups, stride, padding, dilation)


@accepts(dtypes=DTYPES, when=_conv_weight_fits)
def conv2d_weight(x, dy, *, window, stride, padding, dilation, groups):
    return _filters_grad(x, dy, window, groups, stride, padding, dilation)
