"""Convolution by tiles of products (convolve.py); pooling by a thread for each number of the
result, backward too."""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from ..shapes import (
    conv_fits,
    conv_grad_fits,
    conv_input_fits,
    conv_weight_fits,
    extent,
    places_fit,
    pool_fits,
    spread_fits,
)
from . import convolve, elementwise
from .device import BLOCK, DTYPES, TYPES, Source, blocks, ctype, device, multiplies, sizes, wide

_PLACES = {"int32": "int", "int64": "long long"}
_BAND = 2048  # BAND of conv.cu
SOURCE = Source(
    "conv",
    [f"{n}<{t}>" for n in ("max_pool2d", "avg_pool2d", "avg_pool2d_grad") for t in TYPES.values()]
    + [
        f"{name}<{t}, {place}>"
        for name in ("gather_places", "scatter_places")
        for t in TYPES.values()
        for place in _PLACES.values()
    ],
)
_PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
_PAIRS = ("plane", "out", "size", "stride", "pad")
_WINDOWS = np.dtype([(f"{name}_{axis}", np.int32) for name in _PAIRS for axis in "hw"])


# --- convolution --------------------------------------------------------------------------------


def _tiles(x, x_shape, w_shape, groups, stride, padding, dilation):
    """Can convolve.cu multiply numbers like those of x, and count the places of images and filters
    of these shapes?"""
    out = extent(x_shape[2:], w_shape[2:], stride, padding, dilation)
    channels = max(x_shape[1], w_shape[0])
    filters = math.prod(w_shape[1:]) * groups * w_shape[0]
    size = [max(n, o) for n, o in zip(x_shape[2:], out, strict=True)]
    counts = convolve.countable(x_shape[0], channels, size, filters, padding, out)
    return counts and multiplies(x)


def _conv_fits(x, w, b=None, *, groups=1, activation="none", **geometry):
    how = {"groups": groups, "activation": activation, **geometry}
    if not conv_fits(x, w, b, **how):
        return False
    return _tiles(x, x.shape, w.shape, groups, **{**_PLAIN, **geometry})


def _conv_grad_fits(g, x, w, y, *, groups, activation, needs, stride, **how):
    how = {"stride": stride, **how}
    if not conv_grad_fits(g, x, w, y, groups=groups, activation=activation, needs=needs, **how):
        return False
    near = not needs[0] or max(stride) <= convolve.PHASES
    return near and _tiles(x, x.shape, w.shape, groups, **how)


def _conv_input_fits(dy, w, *, size, groups, stride, **how):
    how = {"stride": stride, **how}
    fits = conv_input_fits(dy, w, size=size, groups=groups, **how)
    if not fits or max(stride) > convolve.PHASES:
        return False
    return _tiles(dy, (len(dy), w.shape[1] * groups, *size), w.shape, groups, **how)


def _conv_weight_fits(x, dy, *, window, groups, **how):
    if not conv_weight_fits(x, dy, window=window, groups=groups, **how):
        return False
    w_shape = (dy.shape[1], x.shape[1] // groups, *window)
    return _tiles(x, x.shape, w_shape, groups, **how)


@accepts(dtypes=DTYPES, when=_conv_fits)
def conv2d(
    x, w, b=None, *, stride=(1, 1), padding=(0, 0), dilation=(1, 1), groups=1, activation="none"
):
    return convolve.forward(x, w, b, groups, activation, stride, padding, dilation)


@accepts(dtypes=DTYPES, strided=("g",), when=_conv_grad_fits)
def conv2d_grad(g, x, w, y, *, stride, padding, dilation, groups, activation, needs):
    how, g, gb = (groups, stride, padding, dilation), device(g).xp.ascontiguousarray(g), None
    if needs[2]:
        g, gb = convolve.graded(g, y, activation)
    elif activation != "none":
        g = elementwise.apply(f"{activation}_grad", g, y)
    gx = convolve.images_grad(g, w, x.shape[2:], *how) if needs[0] else None
    gw = convolve.filters_grad(x, g, w.shape[2:], *how) if needs[1] else None
    return gx, gw, gb


@accepts(dtypes=DTYPES, when=_conv_input_fits)
def conv2d_input(dy, w, *, size, stride, padding, dilation, groups):
    return convolve.images_grad(dy, w, size, groups, stride, padding, dilation)


@accepts(dtypes=DTYPES, when=_conv_weight_fits)
def conv2d_weight(x, dy, *, window, stride, padding, dilation, groups):
    return convolve.filters_grad(x, dy, window, groups, stride, padding, dilation)


# --- pooling ------------------------------------------------------------------------------------


def _pool_fits(x, **how):
    return pool_fits(x, **how) and _counted(x.shape[2:])


def _spread_fits(x, *, plane, **how):
    return spread_fits(x, plane=plane, **how) and _counted(plane)


def _places_fit(x, where, *, size=None):
    shape = x.shape[2:] if size is None else size
    return places_fit(x, where, size=size) and _counted(shape) and _counted(where.shape[2:])


def _counted(plane):
    """May its places be counted by an int?"""
    return math.prod(plane) < 2**31


def _pool(kernel, y, before, plane, out, how, after=()):
    """A launch with a thread for each number of y."""
    x = before[0]
    if y.size:
        windows = np.array((*plane, *out, *how), _WINDOWS)[()]
        args = (*before, *sizes(y.size), windows, *after)
        device(x).launch(SOURCE, f"{kernel}<{ctype(x)}>", blocks(y.size), (BLOCK,), args)
    return y


def _share(x, size):
    return (wide(x)(1 / (size[0] * size[1])),)


@accepts(dtypes=DTYPES, when=_pool_fits)
def max_pool2d(x, *, size, stride=None, padding=(0, 0)):
    xp, stride = device(x).xp, size if stride is None else stride
    out = extent(x.shape[2:], size, stride, padding)
    y, where = [xp.empty((*x.shape[:2], *out), dtype) for dtype in (x.dtype, np.int32)]
    _pool("max_pool2d", y, (x, y, where), x.shape[2:], out, (*size, *stride, *padding))
    return y, where


@accepts(dtypes=DTYPES, when=_pool_fits)
def avg_pool2d(x, *, size, stride=None, padding=(0, 0)):
    stride = size if stride is None else stride
    out = extent(x.shape[2:], size, stride, padding)
    y, how = device(x).xp.empty((*x.shape[:2], *out), x.dtype), (*size, *stride, *padding)
    return _pool("avg_pool2d", y, (x, y), x.shape[2:], out, how, _share(x, size))


@accepts(dtypes=DTYPES, when=_spread_fits)
def avg_pool2d_grad(x, *, plane, size, stride, padding):
    stride = size if stride is None else stride
    y, how = device(x).xp.empty((*x.shape[:2], *plane), x.dtype), (*size, *stride, *padding)
    return _pool("avg_pool2d_grad", y, (x, y), plane, x.shape[2:], how, _share(x, size))


def _typed(where):
    """Places in a type that kernels exist for, and its name."""
    where = where if where.dtype.name in _PLACES else where.astype(np.int64)
    return where, _PLACES[where.dtype.name]


@accepts(dtypes=DTYPES, others=("where",), when=_places_fit)
def gather_places(x, where):
    xp, launch, _ = device(x)
    y, (where, kind) = xp.empty(where.shape, x.dtype), _typed(where)
    if y.size:
        args = (x, where, y, *sizes(y.size, *[math.prod(a.shape[2:]) for a in (y, x)]))
        launch(SOURCE, f"gather_places<{ctype(x)}, {kind}>", blocks(y.size), (BLOCK,), args)
    return y


@accepts(dtypes=DTYPES, others=("where",), when=_places_fit)
def scatter_places(x, where, *, size):
    xp, launch, _ = device(x)
    y, (where, kind) = xp.empty((*x.shape[:2], *size), x.dtype), _typed(where)
    n, plane = math.prod(x.shape[2:]), math.prod(size)
    if y.size:
        planes = x.shape[0] * x.shape[1]
        grid = (min(planes * -(-plane // _BAND), 1 << 16),)
        block = (32 * min(8, -(-max(n, min(plane, _BAND)) // 128)),)
        args = (x, where, y, *sizes(planes), np.int32(n), *sizes(plane))
        launch(SOURCE, f"scatter_places<{ctype(x)}, {kind}>", grid, block, args)
    return y
