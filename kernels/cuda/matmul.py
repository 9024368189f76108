"""Products through the device's BLAS, and all that surrounds those of a dense layer in one pass."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..layout import flat_rows
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


def _multiplies(a, b):
    return a.ndim > 1 and b.ndim > 1 and a.shape[-1] == b.shape[-2] and _broadcast(a, b)


def _broadcast(a, b):
    pairs = zip(a.shape[-3::-1], b.shape[-3::-1], strict=False)
    return all(m == n or 1 in (m, n) for m, n in pairs)


@accepts(dtypes=DTYPES, contiguous=False, when=_multiplies)
def matmul(a, b):
    blas = device(a).blas
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous:  # one product instead of a batch
        return blas.matmul(flat_rows(a), b).reshape(*a.shape[:-1], b.shape[1])
    return blas.matmul(a, b)


def _affine(x, w, b=None, **_):
    n_in, n_out = w.shape if w.ndim == 2 else (-1, -1)
    return x.ndim > 0 and x.shape[-1] == n_in and (b is None or b.shape == (n_out,))


@accepts(dtypes=DTYPES, when=_affine)
def dense(x, w, b=None, *, activation="none"):
    _, launch, blas = device(x)
    z = blas.matmul(flat_rows(x), w)
    if z.size and (b is not None or activation != "none"):
        kernel = f"activate<f::{activation}, {ctype(x)}>"
        args = (z if b is None else b, z, *np.int64(z.shape), np.int32(b is not None))
        launch(SOURCE, kernel, tile_grid(*z.shape), TILE, args)
    return z.reshape(*x.shape[:-1], w.shape[1])


@accepts(dtypes=DTYPES, when=_affine)
def dense_gelu(x, w, b=None):
    xp, launch, blas = device(x)
    z = blas.matmul(flat_rows(x), w)
    y = xp.empty(z.shape, z.dtype)
    if z.size:
        kernel = f"activate_beside<f::gelu, {ctype(x)}>"
        args = (z if b is None else b, z, y, *np.int64(z.shape), np.int32(b is not None))
        launch(SOURCE, kernel, tile_grid(*z.shape), TILE, args)
    shape = (*x.shape[:-1], w.shape[1])
    return y.reshape(shape), z.reshape(shape)


def _outputs(g, x, w, y, **_):
    fits = _affine(x, w) and g.shape == y.shape == (*x.shape[:-1], w.shape[1])
    return fits and g.size > 0 and x.size > 0


@accepts(dtypes=DTYPES, when=_outputs)
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
    args = (g, y, gz, sums, np.int64(rows), np.int64(n), np.int64(per))
    launch(SOURCE, f"graded<f::{activation}_grad, {t}>", grid, TILE, args)
    add = (sums, gb, np.int64(parts), np.int64(n))
    launch(SOURCE, f"add_parts<{t}>", blocks(n), (BLOCK,), add)
    return gz, gb
