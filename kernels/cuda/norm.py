"""Norms: a team of threads a row, and for batch norm two-pass reductions over channels.

The split into partial sums follows from shape and alignment alone: results are deterministic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..accept import accepts
from ..shapes import (
    channels_fit,
    channels_grad_fit,
    groups_fit,
    groups_grad_fit,
    norm_fits,
    norm_grad_fits,
    rms_grad_fits,
    running_fit,
)
from .device import (
    BLOCK,
    DTYPES,
    PACKED,
    TILE,
    TYPES,
    Source,
    blocks,
    ctype,
    device,
    either,
    given,
    packs,
    parts_of,
    row_launch,
    sizes,
    wide,
)

_BY_ROW = [f"{t}, {v}, {c}" for t, v in PACKED for c in ("true", "false")]
_BY_PLANE = ("group_norm", "plane_statistics", "plane_sums", "normalise", "normalise_grad")
_BY_COLUMN = ("column_statistics", "column_sums", "finish_statistics", "finish_sums")
SOURCE = Source(
    "norm",
    [f"{name}<{types}>" for name in ("row_norm", "row_norm_grad") for types in _BY_ROW]
    + [f"{name}<{t}, {v}>" for name in (*_BY_PLANE, "channel_affine") for t, v in PACKED]
    + [f"parameter_grads<{t}, {c}>" for t in TYPES.values() for c in ("true", "false")]
    + [
        f"{name}<{t}>"
        for name in (*_BY_COLUMN, "group_means", "update_running", "add_parts")
        for t in TYPES.values()
    ],
)
_PART = 1 << 14  # elements of a plane in one partial sum, a multiple of every pack
_SMALL = 64  # planes of fewer elements are summed as columns


# --- rows: layer and RMS norm -------------------------------------------------------------------


def _extent(x):
    return math.prod(x.shape[:-1]), x.shape[-1]


def _row_norm(x, weight, bias, eps, centred):
    xp, launch, _ = device(x)
    a, (rows, n) = wide(x), _extent(x)
    y, rstd = xp.empty(x.shape, x.dtype), xp.empty((*x.shape[:-1], 1), a)
    mean = xp.empty(rstd.shape, a) if centred else rstd
    arrays = (x, either(weight, x), either(bias, x), y)
    v = packs(n, *arrays)
    args = (*arrays, mean, rstd, *sizes(rows, n), a(eps), *given(weight, bias))
    kernel = f"row_norm<{ctype(x)}, {v}, {str(centred).lower()}>"
    launch(SOURCE, kernel, *row_launch(rows, n, v), args)
    return y, mean, rstd


def _row_norm_grad(g, x, weight, mean, rstd, needs):
    xp, launch, _ = device(x)
    (rows, n), t, gx, gweight, gbias = _extent(x), ctype(x), None, None, None
    centred, mean = str(mean is not None).lower(), either(mean, rstd)
    if needs[0]:
        gx = xp.empty(x.shape, x.dtype)
        w = either(weight, x)
        v = packs(n, g, x, w, gx)
        args = (g, x, w, mean, rstd, gx, *sizes(rows, n), *given(weight))
        launch(SOURCE, f"row_norm_grad<{t}, {v}, {centred}>", *row_launch(rows, n, v), args)
    if needs[1] or needs[2]:
        parts, per = parts_of(rows)
        sums = [xp.empty((parts, n), wide(x)) for _ in range(2)]
        args = (g, x, mean, rstd, *sums, *sizes(rows, n, per))
        launch(SOURCE, f"parameter_grads<{t}, {centred}>", (-(-n // TILE[0]), parts), TILE, args)
        gweight, gbias = [
            _added(s, xp.empty((n,), x.dtype)) if need else None
            for s, need in zip(sums, needs[1:], strict=True)
        ]
    return gx, gweight, gbias


def _added(sums, y):
    args = (sums, y, *sizes(*sums.shape))
    device(y).launch(SOURCE, f"add_parts<{ctype(y)}>", blocks(y.size), (BLOCK,), args)
    return y


@accepts(dtypes=DTYPES, when=norm_fits)
def layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    return _row_norm(x, weight, bias, eps, True)


@accepts(dtypes=DTYPES, others=("mean", "rstd"), when=norm_grad_fits)
def layer_norm_grad(g, x, weight, mean, rstd, *, needs):
    return _row_norm_grad(g, x, weight, mean, rstd, needs)


@accepts(dtypes=DTYPES, when=norm_fits)
def rms_norm(x, weight=None, *, eps=1e-6):
    return _row_norm(x, weight, None, eps, False)[::2]


@accepts(dtypes=DTYPES, others=("rstd",), when=rms_grad_fits)
def rms_norm_grad(g, x, weight, rstd, *, needs):
    return _row_norm_grad(g, x, weight, None, rstd, (*needs, False))[:2]


# --- planes: batch and group norm ---------------------------------------------------------------


class _Parts(NamedTuple):
    """How channels are split into partial sums: (outer, channels, inner) of them, of `per` elements
    each of `whole` along the outer axis or along the inner."""

    outer: int
    channels: int
    inner: int
    per: int
    whole: int
    columns: bool

    def empty(self, x):
        shape = (self.outer, self.channels, self.inner)
        return [device(x).xp.empty(shape, wide(x)) for _ in range(2)]


def _images(x):
    """x as images (images, channels, elements of a plane)."""
    return len(x), x.shape[1], math.prod(x.shape[2:])


def _cut(x, columns=True):
    images, channels, hw = _images(x)
    if columns and hw < _SMALL:
        parts, per = parts_of(images)
        return _Parts(parts, channels, hw, per, images, True)
    per = min(hw, _PART)
    return _Parts(images, channels, -(-hw // per), per, hw, False)


def _sum_parts(kernel, x, cut, arrays, *channels):
    """The first step: `plane_<kernel>` or `column_<kernel>` of arrays like x and what it needs
    besides; `channels` are the extents that say which statistics belong to a plane."""
    (images, c, hw), t, (_, launch, _) = _images(x), ctype(x), device(x)
    parts = cut.empty(x)
    if cut.columns:
        n = c * hw
        args = (*arrays, *parts, *sizes(images, n, hw, cut.per))
        launch(SOURCE, f"column_{kernel}<{t}>", (-(-n // TILE[0]), cut.outer), TILE, args)
    else:
        v, planes = packs(hw, *[a for a in arrays if a.shape == x.shape]), images * c
        args = (*arrays, *parts, *sizes(planes, c, hw, *channels, cut.inner, cut.per))
        grid = row_launch(planes * cut.inner, cut.per, v)
        launch(SOURCE, f"plane_{kernel}<{t}, {v}>", *grid, args)
    return parts


def _add_parts(kernel, x, cut, args):
    """The second step: a column of threads for each channel reduces its partial sums, or where they
    are more than 1024 a block."""
    grid = (cut.channels if cut.outer * cut.inner > 1024 else -(-cut.channels // 32),)
    device(x).launch(SOURCE, f"{kernel}<{ctype(x)}>", grid, (32, 32), args)


def _each(kernel, args, *like_x):
    """The third step: an elementwise pass over the arrays like x, which are among `args`."""
    x = like_x[0]
    v = packs(_images(x)[2], *like_x)
    grid = blocks(-(-x.size // v))
    device(x).launch(SOURCE, f"{kernel}<{ctype(x)}, {v}>", grid, (BLOCK,), args)


@accepts(dtypes=DTYPES, when=channels_fit)
def batch_norm(x, weight=None, bias=None, *, eps=1e-5):
    xp, a, (images, channels, hw) = device(x).xp, wide(x), _images(x)
    cut, y = _cut(x), xp.empty(x.shape, x.dtype)
    mean, rstd = [xp.empty((1, channels, *(1,) * (x.ndim - 2)), a) for _ in range(2)]
    parts = _sum_parts("statistics", x, cut, (x,))
    extents = sizes(cut.outer, channels, hw, cut.inner, cut.per, cut.whole)
    numbers = np.int32(cut.columns), np.int64(images * hw), a(eps)
    _add_parts("finish_statistics", x, cut, (x, *parts, mean, rstd, *extents, *numbers))
    arrays = (x, mean, rstd, either(weight, x), either(bias, x), y)
    args = (*arrays, *sizes(x.size, channels, hw), *given(weight, bias))
    _each("normalise", args, x, y)
    return y, mean, rstd


@accepts(dtypes=DTYPES, others=("mean", "rstd"), when=channels_grad_fit)
def batch_norm_grad(g, x, weight, mean, rstd, *, needs):
    return _planes_grad(g, x, weight, mean, rstd, needs, 0)


@accepts(dtypes=DTYPES, when=groups_fit)
def group_norm(x, weight=None, bias=None, *, groups, eps=1e-5):
    xp, a, (images, channels, hw) = device(x).xp, wide(x), _images(x)
    rows, together = images * groups, channels // groups
    y = xp.empty(x.shape, x.dtype)
    mean, rstd = [xp.empty((images, groups, 1), a) for _ in range(2)]
    v, n = packs(hw, x, y), together * hw
    arrays = (x, either(weight, x), either(bias, x), y, mean, rstd)
    args = (*arrays, *sizes(rows, groups, together, hw), a(eps), *given(weight, bias))
    device(x).launch(SOURCE, f"group_norm<{ctype(x)}, {v}>", *row_launch(rows, n, v), args)
    return y, mean, rstd


@accepts(dtypes=DTYPES, others=("mean", "rstd"), when=groups_grad_fit)
def group_norm_grad(g, x, weight, mean, rstd, *, needs):
    return _planes_grad(g, x, weight, mean, rstd, needs, x.shape[1] // rstd.shape[1])


def _planes_grad(g, x, weight, mean, rstd, needs, together):
    """Gradients where statistics belong to groups of `together` channels of each image, or if
    that is 0 to channels of all images."""
    (xp, launch, _), (_, channels, hw) = device(x), _images(x)
    cut, w = _cut(x, columns=not together), either(weight, x)
    parts = _sum_parts("sums", x, cut, (g, x, mean, rstd), together)
    count = np.int64(x.size // rstd.size)
    grads = [xp.empty((channels,), x.dtype) for _ in range(2)]
    means = [xp.empty(rstd.shape, rstd.dtype) for _ in range(2)]
    if needs[1] or needs[2] or not together:
        extents = (*sizes(cut.outer, channels, cut.inner), count)
        flags = *given(weight), np.int32(not together)
        _add_parts("finish_sums", x, cut, (*parts, w, *grads, *means, *extents, *flags))
    gx = None
    if needs[0]:
        if together:
            rows = rstd.size
            extents = sizes(rows, rstd.shape[1], together, cut.inner)
            grid = row_launch(rows, together * cut.inner)
            args = (*parts, w, *means, *extents, count, *given(weight))
            launch(SOURCE, f"group_means<{ctype(x)}>", *grid, args)
        gx = xp.empty(x.shape, x.dtype)
        extents = sizes(x.size, channels, hw, together)
        args = (g, x, w, mean, rstd, *means, gx, *extents, *given(weight))
        _each("normalise_grad", args, g, x, gx)
    return gx, *[a if need else None for a, need in zip(grads, needs[1:], strict=True)]


# --- fixed and running statistics ---------------------------------------------------------------


@accepts(dtypes=DTYPES, when=channels_fit)
def channel_affine(x, scale=None, shift=None):
    y, (_, channels, hw) = device(x).xp.empty(x.shape, x.dtype), _images(x)
    arrays = (x, either(scale, x), either(shift, x), y)
    args = (*arrays, *sizes(x.size, channels, hw), *given(scale, shift))
    _each("channel_affine", args, x, y)
    return y


@accepts(dtypes=DTYPES, others=("mean", "rstd"), when=running_fit)
def update_running(running_mean, running_var, mean, rstd, *, count, momentum, eps):
    a, n = wide(running_mean), running_mean.size
    numbers = a(momentum), a(eps), a(count / (count - 1))
    args = (running_mean, running_var, mean, rstd, *sizes(n), *numbers)
    kernel = f"update_running<{ctype(running_mean)}>"
    device(mean).launch(SOURCE, kernel, blocks(n), (BLOCK,), args)
