"""Products through the device's BLAS, and all that surrounds those of a dense layer in one pass."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import dense_fits, dense_grad_fits, flat_rows, product_fits
from . import elementwise
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
    sizes,
    tile_grid,
    wide,
)

_ACTIVATIONS = ("none", "relu", "sigmoid", "tanh")
SOURCE = Source(
    "matmul",
    [f"activate<f::{name}, {t}>" for name in _ACTIVATIONS for t in TYPES.values()]
    + [f"activate_beside<f::gelu, {t}>" for t in TYPES.values()]
    + [f"graded<f::{name}_grad, {t}>" for name in _ACTIVATIONS for t in TYPES.values()]
    + [f"add_parts<{t}>" for t in TYPES.values()],
)


@accepts(dtypes=DTYPES, contiguous=False, when=product_fits)
def matmul(a, b):
    blas = device(a).blas
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous:  # one product instead of a batch
        return blas.matmul(flat_rows(a), b).reshape(*a.shape[:-1], b.shape[1])
    return blas.matmul(a, b)


@accepts(dtypes=DTYPES, when=dense_fits)
def dense(x, w, b=None, *, activation="none"):
    _, launch, blas = device(x)
    z = blas.matmul(flat_rows(x), w)
    if z.size and (b is not None or activation != "none"):
        kernel = f"activate<f::{activation}, {ctype(x)}>"
        args = (z if b is None else b, z, *sizes(*z.shape), np.int32(b is not None))
        launch(SOURCE, kernel, tile_grid(*z.shape), TILE, args)
    return z.reshape(*x.shape[:-1], w.shape[1])


@accepts(dtypes=DTYPES, when=dense_fits)
def dense_gelu(x, w, b=None):
    xp, launch, blas = device(x)
    z = blas.matmul(flat_rows(x), w)
    y = xp.empty(z.shape, z.dtype)
    if z.size:
        kernel = f"activate_beside<f::gelu, {ctype(x)}>"
        args = (z if b is None else b, z, y, *sizes(*z.shape), np.int32(b is not None))
        launch(SOURCE, kernel, tile_grid(*z.shape), TILE, args)
    shape = (*x.shape[:-1], w.shape[1])
    return y.reshape(shape), z.reshape(shape)


@accepts(dtypes=DTYPES, when=dense_grad_fits)
def dense_grad(g, x, w, y, *, activation, needs):
    gz, gb = flat_rows(g), None
    if needs[2]:
        gz, gb = _graded(gz, flat_rows(y), activation)
    elif activation != "none":
        gz = elementwise.apply(f"{activation}_grad", gz, flat_rows(y))
    blas = device(g).blas
    gx = blas.matmul(gz, w.T).reshape(x.shape) if needs[0] else None
    gw = blas.matmul(flat_rows(x).T, gz) if needs[1] else None
    return gx, gw, gb


def _graded(g, y, activation):
    """The gradient before the activation, and its sum over the rows."""
    xp, launch, _ = device(g)
    (rows, n), t = g.shape, ctype(g)
    parts, per = parts_of(rows)
    gz = g if activation == "none" else xp.empty(g.shape, g.dtype)
    sums, gb = xp.empty((parts, n), wide(g)), xp.empty((n,), g.dtype)
    grid = (-(-n // TILE[0]), parts)
    args = (g, y, gz, sums, *sizes(rows, n, per))
    launch(SOURCE, f"graded<f::{activation}_grad, {t}>", grid, TILE, args)
    add = (sums, gb, *sizes(parts, n))
    launch(SOURCE, f"add_parts<{t}>", blocks(n), (BLOCK,), add)
    return gz, gb


def column_sums(x):
    """The sum of a matrix over its rows."""
    return _graded(x, x, "none")[1]
