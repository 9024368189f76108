"""Pooling of images: a thread for each element of the result, backward too."""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from ..shapes import extent, places_fit, pool_fits, spread_fits
from .device import BLOCK, DTYPES, TYPES, Source, blocks, ctype, device, sizes, wide

_PLACES = {"int32": "int", "int64": "long long"}
_BAND = 2048  # BAND of pool.cu
SOURCE = Source(
    "pool",
    [f"{n}<{t}>" for n in ("max_pool2d", "avg_pool2d", "avg_pool2d_grad") for t in TYPES.values()]
    + [
        f"{name}<{t}, {place}>"
        for name in ("gather_places", "scatter_places")
        for t in TYPES.values()
        for place in _PLACES.values()
    ],
)
_PAIRS = ("plane", "out", "size", "stride", "pad")
_WINDOWS = np.dtype([(f"{name}_{axis}", np.int32) for name in _PAIRS for axis in "hw"])


def _pool_fits(x, **how):
    return pool_fits(x, **how) and _counted(x.shape[2:])


def _spread_fits(x, *, plane, **how):
    return spread_fits(x, plane=plane, **how) and _counted(plane)


def _places_fit(x, where, *, size=None):
    shape = x.shape[2:] if size is None else size
    return places_fit(x, where, size=size) and _counted(shape) and _counted(where.shape[2:])


def _counted(plane):
    """Do its offsets fit an int?"""
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
