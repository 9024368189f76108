"""Softmax and its family: one launch, a row a team of threads."""

from __future__ import annotations

from ..accept import accepts
from ..shapes import any_numbers, rows
from .device import DTYPES, TYPES, Source, ctype, device, row_launch, sizes

_NAMES = ("softmax", "log_softmax", "softmax_grad", "log_softmax_grad")
SOURCE = Source("reduce", [f"{name}<{t}>" for name in _NAMES for t in TYPES.values()])


def _along(name, axis, *arrays):
    """The kernel `name` for each row along the axis."""
    xp, launch, _ = device(arrays[0])
    matrices, back = rows(xp, axis, *arrays)
    x = matrices[0]
    y = xp.empty(x.shape, x.dtype)
    launch(SOURCE, f"{name}<{ctype(x)}>", *row_launch(*x.shape), (*matrices, y, *sizes(*x.shape)))
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
