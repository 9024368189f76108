"""Sums over rows and columns, in two passes where one would occupy few threads; softmax and its
family: one launch, a row a team of threads."""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from ..shapes import any_numbers, one_reduction, reduced_shape, reduction, rows, sums_to
from .device import (
    DTYPES,
    PACKED,
    TILE,
    TYPES,
    Source,
    ctype,
    device,
    packs,
    row_launch,
    sizes,
    wide,
)

_SOFT = ("softmax", "log_softmax", "softmax_grad", "log_softmax_grad")
_WIDE = {"double": "double"}  # what sums are formed in, if not float
# From x's numbers to those of parts, from those to the result's; and both at once.
_STEPS = {
    (x, y): vs
    for t in TYPES.values()
    for x, y in ((t, _WIDE.get(t, "float")), (_WIDE.get(t, "float"), t), (t, t))
    for vs in [[v for of, v in PACKED if of == x]]
}
SOURCE = Source(
    "reduce",
    [f"{name}<{t}, {v}>" for name in _SOFT for t, v in PACKED]
    + [
        f"{name}<{x}, {y}, {v}>"
        for name in ("row_sums", "column_sums")
        for (x, y), vs in _STEPS.items()
        for v in vs
    ],
)

# --- sums ---------------------------------------------------------------------------------------
# A part holds `_PER` numbers of a row at least, or `_ROWS` of a column, and there are as many as
# keep a GPU busy: that follows from the shape, so a sum always rounds alike.

_PER, _ROWS, _BUSY = 1 << 12, 64, 2048


def _cut(n, least, others):
    """Into how many partial sums of how many elements, a multiple of every pack, a sum is split,
    beside `others` like it."""
    parts = max(1, min(n // least, _BUSY // others))
    per = -(-n // parts)
    per = -(-per // 8) * 8
    return -(-n // per), per


def _summed(x, before, n, after, dtype, divisor=1):
    """(before, n, after) -> (before, after)."""
    if after == 1:
        parts, per = _cut(n, _PER, before)
    else:
        parts, per = _cut(n, _ROWS, before * -(-after // 128))
    if parts > 1:
        x, n = _step(x, before, n, after, parts, per, wide(x), 1), parts
    return _step(x, before, n, after, 1, n, dtype, divisor)


def _step(x, before, n, after, parts, per, dtype, divisor):
    """(before, n, after) -> (before, parts, after)."""
    xp, launch, _ = device(x)
    y = xp.empty((before * parts * after,), dtype)
    v = packs(n if after == 1 else after, x)
    if after > 1 and y.data.ptr % (v * y.itemsize):
        v = 1
    types = f"<{ctype(x)}, {ctype(y)}, {v}>"
    last = (*sizes(parts, per), wide(x)(divisor))
    if after == 1:
        args = (x, y, *sizes(before, n), *last)
        launch(SOURCE, f"row_sums{types}", *row_launch(before * parts, min(n, per), v), args)
    else:
        grid = -(-after // (32 * v)), min(before * parts, 1 << 15)
        args = (x, y, *sizes(before, n, after), *last)
        launch(SOURCE, f"column_sums{types}", grid, TILE, args)
    return y


@accepts(dtypes=DTYPES, when=one_reduction)
def sum(x, *, axis=None, keepdims=False):
    y = _summed(x, *reduction(x.shape, axis), x.dtype)
    return y.reshape(reduced_shape(x.shape, axis, keepdims))


@accepts(dtypes=DTYPES, when=one_reduction)
def mean(x, *, axis=None, keepdims=False):
    before, n, after = reduction(x.shape, axis)
    y = _summed(x, before, n, after, x.dtype, n)
    return y.reshape(reduced_shape(x.shape, axis, keepdims))


@accepts(dtypes=DTYPES, when=sums_to)
def sum_to(x, *, shape, dtype):
    width = math.prod(shape)
    at_once = dtype if dtype == x.dtype else wide(x)
    y = _summed(x, 1, x.size // width, width, at_once)
    return y.reshape(shape).astype(np.dtype(dtype), copy=False)


# --- softmax ------------------------------------------------------------------------------------


def _along(name, axis, *arrays):
    """The kernel `name` for each row along the axis."""
    xp, launch, _ = device(arrays[0])
    matrices, back = rows(xp, axis, *arrays)
    x = matrices[0]
    y = xp.empty(x.shape, x.dtype)
    v = packs(x.shape[1], *matrices, y)
    args = (*matrices, y, *sizes(*x.shape))
    launch(SOURCE, f"{name}<{ctype(x)}, {v}>", *row_launch(*x.shape, v), args)
    return back(y)


@accepts(dtypes=DTYPES, when=any_numbers)
def softmax(x, *, axis=-1):
    return _along("softmax", axis, x)


@accepts(dtypes=DTYPES, same_shape=True, when=any_numbers)
def softmax_grad(g, y, *, axis):
    return _along("softmax_grad", axis, g, y)


@accepts(dtypes=DTYPES, when=any_numbers)
def log_softmax(x, *, axis=-1):
    return _along("log_softmax", axis, x)


@accepts(dtypes=DTYPES, same_shape=True, when=any_numbers)
def log_softmax_grad(g, y, *, axis):
    return _along("log_softmax_grad", axis, g, y)
