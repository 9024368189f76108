"""Layer normalisation: a row a team of threads; weight and bias gradients in a second pass."""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from ..shapes import norm_fits, norm_grad_fits
from .device import (
    BLOCK,
    DTYPES,
    TILE,
    TYPES,
    Source,
    blocks,
    ctype,
    device,
    parts_of,
    row_launch,
    sizes,
    wide,
)

_NAMES = ("layer_norm", "layer_norm_grad", "parameter_grads", "add_parts")
SOURCE = Source("norm", [f"{name}<{t}>" for name in _NAMES for t in TYPES.values()])


def _extent(x):
    return math.prod(x.shape[:-1]), x.shape[-1]


def _or(a, other):
    """An input, or where it is left out another array, which the kernel will not read."""
    return other if a is None else a


@accepts(dtypes=DTYPES, when=norm_fits)
def layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    xp, launch, _ = device(x)
    a, (rows, n) = wide(x), _extent(x)
    y = xp.empty(x.shape, x.dtype)
    mean, rstd = (xp.empty((*x.shape[:-1], 1), a) for _ in range(2))
    given = np.int32(weight is not None), np.int32(bias is not None)
    arrays = (x, _or(weight, x), _or(bias, x), y, mean, rstd)
    args = (*arrays, *sizes(rows, n), a(eps), *given)
    launch(SOURCE, f"layer_norm<{ctype(x)}>", *row_launch(rows, n), args)
    return y, mean, rstd


@accepts(dtypes=DTYPES, others=("mean", "rstd"), when=norm_grad_fits)
def layer_norm_grad(g, x, weight, mean, rstd, *, needs):
    xp, launch, _ = device(x)
    (rows, n), t, gx, gweight, gbias = _extent(x), ctype(x), None, None, None
    if needs[0]:
        gx = xp.empty(x.shape, x.dtype)
        arrays = (g, x, _or(weight, x), mean, rstd, gx)
        args = (*arrays, *sizes(rows, n), np.int32(weight is not None))
        launch(SOURCE, f"layer_norm_grad<{t}>", *row_launch(rows, n), args)
    if needs[1] or needs[2]:
        parts, per = parts_of(rows)
        sums = [xp.empty((parts, n), wide(x)) for _ in range(2)]
        args = (g, x, mean, rstd, *sums, *sizes(rows, n, per))
        launch(SOURCE, f"parameter_grads<{t}>", (-(-n // TILE[0]), parts), TILE, args)
        gweight, gbias = [
            _added(s, xp.empty((n,), x.dtype)) if need else None
            for s, need in zip(sums, needs[1:], strict=True)
        ]
    return gx, gweight, gbias


def _added(sums, y):
    args = (sums, y, *sizes(*sums.shape))
    device(y).launch(SOURCE, f"add_parts<{ctype(y)}>", blocks(y.size), (BLOCK,), args)
    return y
