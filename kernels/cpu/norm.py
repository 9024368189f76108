"""Layer normalisation, a row at a time; weight and bias gradients in the same pass."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import flat_rows, norm_fits, norm_grad_fits
from .jit import jit, prange

# 16x64 float32 take 3.1 us here and 11 in the reference's calls, their gradients 5.2 and 29
# (2-core AVX-512 server). The size spares small programs the import of Numba.
SMALL = 1024
PARALLEL = 1 << 15
_PARTIAL = 1 << 14  # numbers summed into one partial gradient; see matmul.py


@jit(parallel_from=PARALLEL, reassociate=True)
def _layer_norm(x, weight, bias, y, mean, rstd, eps):
    n = x.dtype.type(x.shape[1])
    for i in prange(x.shape[0]):
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += x[i, j]
        mu = total / n
        total = x.dtype.type(0)
        for j in range(x.shape[1]):
            total += (x[i, j] - mu) * (x[i, j] - mu)
        r = x.dtype.type(1) / np.sqrt(total / n + eps)
        mean[i], rstd[i] = mu, r
        for j in range(x.shape[1]):
            y[i, j] = (x[i, j] - mu) * r * weight[j] + bias[j]


@jit(parallel_from=PARALLEL, reassociate=True)
def _layer_norm_grad(g, x, weight, mean, rstd, gx, gweight, gbias):
    """Row c of gweight and gbias becomes the sum over the c-th part of the rows."""
    rows, parts, n = g.shape[0], gweight.shape[0], g.shape[1]
    per = g.dtype.type(1) / g.dtype.type(n)
    for c in prange(parts):
        for j in range(n):
            gweight[c, j] = 0
            gbias[c, j] = 0
        for i in range(c * rows // parts, (c + 1) * rows // parts):
            mu, r = mean[i], rstd[i]
            total, along = g.dtype.type(0), g.dtype.type(0)
            for j in range(n):
                normal = (x[i, j] - mu) * r
                gn = g[i, j] * weight[j]
                gx[i, j] = gn
                total += gn
                along += gn * normal
                gweight[c, j] += g[i, j] * normal
                gbias[c, j] += g[i, j]
            total, along = total * per, along * per
            for j in range(n):
                normal = (x[i, j] - mu) * r
                gx[i, j] = r * (gx[i, j] - total - normal * along)


def _row(a, fill, x):
    """The weight or bias, or the one that changes nothing."""
    return np.full(x.shape[-1], fill, x.dtype) if a is None else a


@accepts(min_size=SMALL, when=norm_fits)
def layer_norm(x, weight=None, bias=None, *, eps=1e-5):
    rows, y = flat_rows(x), np.empty_like(x)
    mean, rstd = np.empty((2, *x.shape[:-1], 1), x.dtype)
    weight, bias = _row(weight, 1, x), _row(bias, 0, x)
    statistics = mean.reshape(-1), rstd.reshape(-1)
    _layer_norm(rows, weight, bias, flat_rows(y), *statistics, x.dtype.type(eps))
    return y, mean, rstd


@accepts(min_size=SMALL, when=norm_grad_fits)
def layer_norm_grad(g, x, weight, mean, rstd, *, needs):
    rows, n = flat_rows(x), x.shape[-1]
    parts = max(1, min(x.size // _PARTIAL, rows.shape[0], 64))
    gx, sums = np.empty_like(x), np.empty((2, parts, n), x.dtype)
    statistics = mean.reshape(-1), rstd.reshape(-1)
    _layer_norm_grad(
        flat_rows(g), rows, _row(weight, 1, x), *statistics, flat_rows(gx), sums[0], sums[1]
    )
    gweight, gbias = [sums[k].sum(axis=0) if needs[k + 1] else None for k in (0, 1)]
    return gx if needs[0] else None, gweight, gbias
