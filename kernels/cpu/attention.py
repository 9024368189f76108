"""Attention in blocks that stay in cache (Dao et al. 2022): scores, softmax and products of a few
query rows and some hundred keys at a time, on one thread; heads and blocks on all of them.

Queries, keys and values may be strided views, such as the heads within one projection; results
lie in memory in the order of the input they belong to, so that joining the heads copies nothing.
"""

from __future__ import annotations

import math

import numpy as np

from ..accept import accepts
from ..shapes import attention_fits, attention_grad_fits
from . import blas
from . import scalars as s
from .jit import extension, jit, prange

SMALL = 512
PARALLEL = 1 << 13
# Rows of queries and of keys in a block: two blocks of scores in float32 take 512 KB of cache.
# KEYS is a multiple of ROWS: a causal row then sees something of every block it meets.
ROWS, KEYS = 128, 256
_PARTS = 64  # scratch memory is taken once for each part of the heads and blocks


@s.scalar
def _top(bits, i, n):
    """The largest of the first n numbers of row i, from their bits; see reduce.largest."""
    top = s.ordered(bits[i, 0])
    for j in range(1, n):
        top = max(top, s.ordered(bits[i, j]))
    return s.from_ordered(top)


@s.scalar
def _finite(x):
    return x if np.isfinite(x) else type(x)(0)


@extension
def _register(numba):
    # Functions of their own, not inlined: compiled within the parallel loop they took twice as long.
    numba.extending.register_jitable(_block)
    numba.extending.register_jitable(_head_grad)


@jit(parallel_from=PARALLEL, reassociate=True)
def _attention(q, k, v, mask, y, lse, kind, masked, scale, causal):
    blocks = (q.shape[2] + ROWS - 1) // ROWS
    tasks = q.shape[0] * q.shape[1] * blocks
    parts = min(tasks, _PARTS)
    for part in prange(parts):
        m, n = min(ROWS, q.shape[2]), min(KEYS, k.shape[2])
        scores, rows = np.empty((m, n), q.dtype), np.empty((2, m), q.dtype)
        scaled, sums = np.empty((m, q.shape[3]), q.dtype), np.empty((m, v.shape[3]), q.dtype)
        for task in range(part, tasks, parts):
            head, i0 = task // blocks, task % blocks * ROWS
            b, h, i1 = head // q.shape[1], head % q.shape[1], min(i0 + ROWS, q.shape[2])
            _block(
                q[b, h, i0:i1], k[b, h], v[b, h], mask[b, h, i0:i1], y[b, h, i0:i1],
                lse[b, h, i0:i1], masked, scale, causal, i0, scores, scores.view(kind.dtype), scaled,
                sums, rows[0], rows[1],
            )  # fmt: skip


def _block(
    q, k, v, mask, y, lse, masked, scale, causal, first, scores, bits, scaled, sums, tops, totals
):  # fmt: skip
    """Some rows of one head, from row `first` on; what stands behind it is scratch memory."""
    number, nothing, m = q.dtype.type, q.dtype.type(-np.inf), q.shape[0]
    for i in range(m):
        tops[i], totals[i] = nothing, 0
        for d in range(q.shape[1]):
            scaled[i, d] = q[i, d] * scale
    last = min(k.shape[0], first + m) if causal else k.shape[0]
    for j0 in range(0, last, KEYS):
        n = min(KEYS, last - j0)
        blas.gemm(scaled[:m], k[j0 : j0 + n].T, scores[:m, :n], 0)
        for i in range(m):
            for j in range(n if masked else 0):
                scores[i, j] += mask[i, j0 + j]
            seen = min(n, first + i + 1 - j0) if causal else n
            old, top = tops[i], _top(bits, i, seen)
            top = top if top > old else old
            shift, total = _finite(top), number(0)
            for j in range(seen):
                e = s.exp(scores[i, j] - shift)
                scores[i, j] = e
                total += e
            for j in range(seen, n):
                scores[i, j] = 0
            if j0:
                factor = number(0) if old == nothing else s.exp(_finite(old) - shift)
                total += totals[i] * factor
                for d in range(v.shape[1]):
                    sums[i, d] *= factor
            tops[i], totals[i] = top, total
        blas.gemm(scores[:m, :n], v[j0 : j0 + n], sums[:m], 1 if j0 else 0)
    for i in range(m):
        total = totals[i]
        per = number(0) if total == number(0) else number(1) / total
        for d in range(v.shape[1]):
            y[i, d] = sums[i, d] * per
        lse[i] = _finite(tops[i]) + np.log(total)


@jit(parallel_from=PARALLEL, reassociate=True)
def _attention_grad(g, q, k, v, mask, y, lse, gq, gk, gv, masked, scale, causal, needs):
    heads, tasks = q.shape[1], q.shape[0] * q.shape[1]
    parts = min(tasks, _PARTS)
    for part in prange(parts):
        m, n = min(ROWS, q.shape[2]), min(KEYS, k.shape[2])
        blocks, scaled = np.empty((2, m, n), q.dtype), np.empty((m, q.shape[3]), q.dtype)
        for task in range(part, tasks, parts):
            b, h = task // heads, task % heads
            _head_grad(
                g[b, h], q[b, h], k[b, h], v[b, h], mask[b, h], y[b, h], lse[b, h], gq[b, h],
                gk[b, h], gv[b, h], masked, scale, causal, needs, blocks[0], blocks[1], scaled,
            )  # fmt: skip


def _head_grad(
    g, q, k, v, mask, y, lse, gq, gk, gv, masked, scale, causal, needs, p, gs, scaled
):  # fmt: skip
    """One head: the sums over its rows are taken here, block after block in their order."""
    number, nothing = q.dtype.type, q.dtype.type(-np.inf)
    for j in range(k.shape[0]):
        for d in range(k.shape[1]):
            gk[j, d] = 0
        for d in range(v.shape[1]):
            gv[j, d] = 0
    for i0 in range(0, q.shape[0], ROWS):
        m = min(ROWS, q.shape[0] - i0)
        gi, yi, gqi = g[i0 : i0 + m], y[i0 : i0 + m], gq[i0 : i0 + m]
        for i in range(m):
            for d in range(q.shape[1]):
                scaled[i, d] = q[i0 + i, d] * scale
        last = min(k.shape[0], i0 + m) if causal else k.shape[0]
        for j0 in range(0, last, KEYS):
            n = min(KEYS, last - j0)
            kj, vj, pj, gsj = k[j0 : j0 + n], v[j0 : j0 + n], p[:m, :n], gs[:m, :n]
            blas.gemm(scaled[:m], kj.T, pj, 0)
            blas.gemm(gi, vj.T, gsj, 0)
            for i in range(m):
                for j in range(n if masked else 0):
                    p[i, j] += mask[i0 + i, j0 + j]
                along, shift = number(0), lse[i0 + i]
                shift = number(0) if shift == nothing else shift
                for d in range(v.shape[1]):
                    along += gi[i, d] * yi[i, d]
                seen = min(n, i0 + i + 1 - j0) if causal else n
                for j in range(seen):
                    e = s.exp(p[i, j] - shift)
                    p[i, j] = e
                    gs[i, j] = e * (gs[i, j] - along)
                for j in range(seen, n):
                    p[i, j] = 0
                    gs[i, j] = 0
            if needs[2]:
                blas.gemm(pj.T, gi, gv[j0 : j0 + n], 1)
            if needs[0]:
                blas.gemm(gsj, kj, gqi, 1 if j0 else 0)
            if needs[1]:
                blas.gemm(gsj.T, scaled[:m], gk[j0 : j0 + n], 1)
        for i in range(m):
            for d in range(q.shape[1]):
                gqi[i, d] *= scale


def _heads(x):
    """x (..., T, D) as (batch, heads, T, D)."""
    lead = x.shape[:-2]
    return (
        x
        if len(lead) == 2
        else x.reshape(math.prod(lead[:-1]), *(lead[-1:] or (1,)), *x.shape[-2:])
    )


def _added(mask, q, k):
    """What is added to each score, over all heads."""
    if mask is None:
        mask = q.dtype.type(0)
    elif mask.dtype == bool:
        mask = np.where(mask, q.dtype.type(0), q.dtype.type(-np.inf))
    return _heads(np.broadcast_to(mask, (*q.shape[:-1], k.shape[-2])))


def _scale(q, scale):
    return q.dtype.type(1 / math.sqrt(q.shape[-1]) if scale is None else scale)


_MATRICES = {"strided": ("g", "q", "k", "v", "y"), "others": ("mask",)}


@accepts(
    min_size=SMALL, when=lambda *a, **o: attention_fits(*a, **o) and blas.available(), **_MATRICES
)
def scaled_dot_product_attention(q, k, v, mask=None, *, causal=False, scale=None):
    y, lse = np.empty_like(q, shape=(*q.shape[:-1], v.shape[-1])), np.empty(q.shape[:-1], q.dtype)
    arrays = [_heads(q), _heads(k), _heads(v), _added(mask, q, k)]
    kind = np.empty(0, f"i{q.itemsize}")
    results = _heads(y), lse.reshape(arrays[0].shape[:-1])
    with blas.single():
        _attention(*arrays, *results, kind, mask is not None, _scale(q, scale), causal)
    return y, lse


@accepts(
    min_size=SMALL,
    when=lambda *a, **o: attention_grad_fits(*a, **o) and blas.available(),
    **_MATRICES,
)
def attention_grad(g, q, k, v, mask, y, lse, *, causal, scale, needs):
    grads = [np.empty_like(x) for x in (q, k, v)]
    arrays = [_heads(g), _heads(q), _heads(k), _heads(v), _added(mask, q, k), _heads(y)]
    arrays += [lse.reshape(arrays[0].shape[:-1]), *map(_heads, grads)]
    with blas.single():
        _attention_grad(*arrays, mask is not None, _scale(q, scale), causal, needs[:3])
    return (*[a if n else None for a, n in zip(grads, needs, strict=False)], None)
