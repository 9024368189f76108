"""Matrix products by the device's BLAS; epilogue and backward of a dense layer in one pass each."""

from __future__ import annotations

from ..accept import accepts
from ..shapes import any_product_fits, dense_fits, dense_grad_fits, flat_rows
from . import elementwise
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
    sizes,
    wide,
)

_ACTIVATIONS = ("none", "relu", "sigmoid", "tanh")
SOURCE = Source(
    "matmul",
    [f"activate<f::{name}, {t}, {v}>" for name in _ACTIVATIONS for t, v in PACKED]
    + [f"activate_beside<f::gelu, {t}, {v}>" for t, v in PACKED]
    + [f"graded<f::{name}_grad, {t}, {v}>" for name in _ACTIVATIONS for t, v in PACKED]
    + [f"add_parts<{t}>" for t in TYPES.values()],
)


@accepts(dtypes=DTYPES, contiguous=False, when=any_product_fits)
def matmul(a, b):
    if a.ndim == 1:
        y = matmul(a[None], b)
        return y.reshape(*y.shape[:-2], y.shape[-1]) if b.ndim > 1 else y.reshape(())
    if b.ndim == 1:
        y = matmul(a, b[:, None])
        return y.reshape(y.shape[:-1])
    blas = device(a).blas
    if a.ndim > 2 and b.ndim == 2 and a.flags.c_contiguous:  # one product instead of a batch
        return blas.matmul(flat_rows(a), b).reshape(*a.shape[:-1], b.shape[1])
    return blas.matmul(a, b)


@accepts(dtypes=DTYPES, when=dense_fits)
def dense(x, w, b=None, *, activation="none"):
    blas, z, rows = device(x).blas, None, flat_rows(x)
    if b is not None and activation == "none":
        z = blas.fused("bias", rows, w, b)
    if z is None:
        z = blas.matmul(rows, w)
        if z.size and (b is not None or activation != "none"):
            _activate(f"activate<f::{activation}", b, z)
    return z.reshape(*x.shape[:-1], w.shape[1])


@accepts(dtypes=DTYPES, when=dense_fits)
def dense_gelu(x, w, b=None):
    xp, _, blas = device(x)
    rows, n = flat_rows(x), w.shape[1]
    z = xp.empty((len(rows), n), x.dtype)
    y = blas.fused("gelu", rows, w, b, z)
    if y is None:
        y = xp.empty(z.shape, z.dtype)
        blas.matmul(rows, w, out=z)
        if z.size:
            _activate("activate_beside<f::gelu", b, z, y)
    return y.reshape(*x.shape[:-1], n), z.reshape(*x.shape[:-1], n)


def _activate(kernel, b, z, *results):
    """One pass over the product z (rows, n), which takes the bias, if any, and the activation."""
    bias = either(b, z)
    v = packs(z.shape[1], z, bias, *results)
    args = (bias, z, *results, *sizes(*z.shape), *given(b))
    device(z).launch(SOURCE, f"{kernel}, {ctype(z)}, {v}>", blocks(z.size // v), (BLOCK,), args)


@accepts(dtypes=DTYPES, when=dense_grad_fits)
def dense_grad(g, x, w, y, *, activation, needs):
    xp, _, blas = device(g)
    gz, rows, gw, gb = flat_rows(g), flat_rows(x), None, None
    if needs[1] and needs[2] and activation == "none":  # else _graded sums, too
        gb = xp.empty(gz.shape[1:], g.dtype)
        gw = blas.fused("bias_grad", rows.T, gz, gb)
    if gw is None:
        if needs[2]:
            gz, gb = _graded(gz, flat_rows(y), activation)
        elif activation != "none":
            gz = elementwise.apply(f"{activation}_grad", gz, flat_rows(y))
        gw = blas.matmul(rows.T, gz) if needs[1] else None
    gx = blas.matmul(gz, w.T).reshape(x.shape) if needs[0] else None
    return gx, gw, gb


def _graded(g, y, activation):
    """The cotangent of the activation's input, and its sum over the rows (the bias' gradient)."""
    xp, launch, _ = device(g)
    (rows, n), t = g.shape, ctype(g)
    parts, per = parts_of(rows)
    gz = g if activation == "none" else xp.empty(g.shape, g.dtype)
    sums, gb = xp.empty((parts, n), wide(g)), xp.empty((n,), g.dtype)
    v = packs(n, g, y, gz)
    grid = (-(-n // (TILE[0] * v)), parts)
    args = (g, y, gz, sums, *sizes(rows, n, per))
    launch(SOURCE, f"graded<f::{activation}_grad, {t}, {v}>", grid, TILE, args)
    add = (sums, gb, *sizes(parts, n))
    launch(SOURCE, f"add_parts<{t}>", blocks(n), (BLOCK,), add)
    return gz, gb


def column_sums(x):
    """The sum of a matrix over its rows."""
    return _graded(x, x, "none")[1]
