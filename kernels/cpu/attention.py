"""Flash attention (Dao et al. 2022): the matrix of scores is never materialised. A thread takes a
few query rows of one head, and loops over some hundred keys at a time, which stay in cache.

Queries, keys and values may be strided views, such as the heads within one projection; a result has
the memory layout of the input that it belongs to, so that merging the heads copies nothing.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..accept import accepts
from ..shapes import attention_fits, attention_grad_fits
from . import blas
from . import scalars as s
from .jit import extension, jit, prange

# Multiplications for the scores. (4, 4, 16, 16) takes as long here as in the reference's calls,
# (8, 8, 32, 16) half as long forward and a third backward (2-core AVX-512 server).
SMALL = 1 << 16
# Rows of queries and of keys in a block: two blocks of scores in float32 take 512 KB of cache.
# KEYS is a multiple of ROWS: a causal row then sees something of every block it meets.
ROWS, KEYS = 128, 256
_PARTS = 64  # scratch memory is allocated once for each part of the heads and blocks


@s.scalar
def _top(bits, i, n):
    """The maximum of the first n elements of row i, from their bits; see reduce.largest."""
    top = s.ordered(bits[i, 0])
    for j in range(1, n):
        top = max(top, s.ordered(bits[i, j]))
    return s.from_ordered(top)


@s.scalar
def _finite(x):
    return x if np.isfinite(x) else type(x)(0)


@jit(parallel=True, reassociate=True)
def _attention(q, k, v, mask, y, lse, kind, masked, scale, causal, share):
    heads, rows = q.shape[2], q.shape[3]
    blocks = (rows + ROWS - 1) // ROWS
    tasks = q.shape[1] * heads * blocks
    parts = min(tasks, _PARTS)
    for part in prange(parts, share):
        m, n = min(ROWS, rows), min(KEYS, k.shape[3])
        scores, extremes = np.empty((m, n), q.dtype), np.empty((2, m), q.dtype)
        sums = np.empty((m, v.shape[4]), q.dtype)
        scratch = scores, scores.view(kind.dtype), sums, extremes[0], extremes[1]
        for task in range(part, tasks, parts):
            head, i0 = task // blocks, task % blocks * ROWS
            b, h, i1 = head // heads, head % heads, min(i0 + ROWS, rows)
            results = y[0, b, h, i0:i1], lse[head * rows + i0 : head * rows + i1]
            arrays = q[0, b, h, i0:i1], k[0, b, h], v[0, b, h], mask[0, b, h, i0:i1]
            _block(arrays, results, scratch, masked, scale, causal, i0)


@s.scalar
def _block(arrays, results, scratch, masked, scale, causal, first):
    """Some rows of one head, from row `first` on."""
    (q, k, v, mask), (y, lse) = arrays, results
    scores, bits, sums, tops, totals = scratch
    number, nothing, m = q.dtype.type, q.dtype.type(-np.inf), q.shape[0]
    factor = number(1) if masked else scale  # what is still to be multiplied into the scores
    for i in range(m):
        tops[i], totals[i] = nothing, 0
    last = min(k.shape[0], first + m) if causal else k.shape[0]
    for j0 in range(0, last, KEYS):
        n = min(KEYS, last - j0)
        blas.gemm(q, k[j0 : j0 + n].T, scores[:m, :n], 0)
        for i in range(m):
            for j in range(n if masked else 0):
                added = mask[i, j0 + j]  # -inf hides a NaN
                scores[i, j] = nothing if added == nothing else scores[i, j] * scale + added
            seen = min(n, first + i + 1 - j0) if causal else n
            old, top = tops[i], s.multiply(_top(bits, i, seen), factor)
            top = top if top > old else old
            shift, total = _finite(top), number(0)
            for j in range(seen):
                # Rounded like the maximum, and like backward's: a product that is fused with the
                # sum would differ by as much as large scores are apart, and not cancel.
                e = s.exp(s.multiply(scores[i, j], factor) - shift)
                scores[i, j] = e
                total += e
            for j in range(seen, n):
                scores[i, j] = 0
            if j0:
                less = number(0) if old == nothing else s.exp(_finite(old) - shift)
                total += totals[i] * less
                for d in range(v.shape[1]):
                    sums[i, d] *= less
            tops[i], totals[i] = top, total
        hiding = mask, masked, causal, first
        _product(scores[:m, :n], v[j0 : j0 + n], sums[:m], j0, hiding, False)
    for i in range(m):
        total = totals[i]
        per = number(0) if total == number(0) else number(1) / total
        for d in range(v.shape[1]):
            y[i, d] = sums[i, d] * per
        lse[i] = _finite(tops[i]) + np.log(total)


@jit(parallel=True, reassociate=True)
def _attention_grad(g, q, k, v, mask, y, lse, gq, gk, gv, masked, scale, causal, needs, share):
    heads, rows, tasks = q.shape[2], q.shape[3], q.shape[1] * q.shape[2]
    parts = min(tasks, _PARTS)
    for part in prange(parts, share):
        m, n = min(ROWS, rows), min(KEYS, k.shape[3])
        blocks, along = np.empty((2, m, n), q.dtype), np.empty(m, q.dtype)
        for task in range(part, tasks, parts):
            b, h = task // heads, task % heads
            of_rows = g[0, b, h], q[0, b, h], y[0, b, h], lse[task * rows : (task + 1) * rows]
            arrays = k[0, b, h], v[0, b, h], mask[0, b, h]
            results = gq[0, b, h], gk[0, b, h], gv[0, b, h]
            scratch = blocks[0], blocks[1], along
            _head_grad(of_rows, arrays, results, scratch, masked, scale, causal, needs)


def _product(p, x, out, j0, hiding, turned):
    """out = p @ x, or out += p^T @ x if `turned`, for probabilities of some rows and keys. It adds
    up over the blocks of keys, from j0 on. What a row does not see counts as nothing, even NaN."""
    mask, masked, causal, first = hiding
    left, number = (p.T, p.dtype.type) if turned else (p, p.dtype.type)
    wrong = number(0)
    if masked or causal:
        for j in range(x.shape[0]):
            for d in range(x.shape[1]):
                wrong += x[j, d] * number(0)
    if wrong == number(0):
        blas.gemm(left, x, out, 1 if j0 or turned else 0)
        return
    for i in range(0 if j0 or turned else out.shape[0]):
        for d in range(out.shape[1]):
            out[i, d] = 0
    for i in range(p.shape[0]):
        for j in range(p.shape[1]):
            if (causal and j0 + j > first + i) or (masked and mask[i, j0 + j] == -np.inf):
                continue
            at, of = (j, i) if turned else (i, j)
            for d in range(x.shape[1]):
                out[at, d] += p[i, j] * x[of, d]


@extension
def _register(numba):
    numba.extending.register_jitable(_product)  # not inlined: four copies take long to compile


@s.scalar
def _head_grad(of_rows, arrays, results, scratch, masked, scale, causal, needs):
    """One head: gradients of keys and values accumulate here, block after block, in order."""
    (g, q, y, lse), (k, v, mask) = of_rows, arrays
    (gq, gk, gv), (p, gs, along) = results, scratch
    number, nothing = q.dtype.type, q.dtype.type(-np.inf)
    factor = number(1) if masked else scale
    for j in range(k.shape[0]):
        for d in range(k.shape[1]):
            gk[j, d] = 0
        for d in range(v.shape[1]):
            gv[j, d] = 0
    for i0 in range(0, q.shape[0], ROWS):
        m = min(ROWS, q.shape[0] - i0)
        gi, qi, gqi = g[i0 : i0 + m], q[i0 : i0 + m], gq[i0 : i0 + m]
        for i in range(m):
            total = number(0)
            for d in range(v.shape[1]):
                total += gi[i, d] * y[i0 + i, d]
            along[i] = total
        hiding = mask[i0 : i0 + m], masked, causal, i0
        last = min(k.shape[0], i0 + m) if causal else k.shape[0]
        for j0 in range(0, last, KEYS):
            n = min(KEYS, last - j0)
            kj, vj, pj, gsj = k[j0 : j0 + n], v[j0 : j0 + n], p[:m, :n], gs[:m, :n]
            blas.gemm(qi, kj.T, pj, 0)
            blas.gemm(gi, vj.T, gsj, 0)
            for i in range(m):
                for j in range(n if masked else 0):
                    added = mask[i0 + i, j0 + j]
                    p[i, j] = nothing if added == nothing else p[i, j] * scale + added
                shift, less = lse[i0 + i], along[i]
                shift = number(0) if shift == nothing else shift
                fine = np.isfinite(shift) and np.isfinite(less)
                seen = min(n, i0 + i + 1 - j0) if causal else n
                for j in range(seen):
                    e = s.exp(s.multiply(p[i, j], factor) - shift)
                    p[i, j] = e
                    of_score = e * (gs[i, j] - less) * scale
                    gs[i, j] = number(0) if fine and e == number(0) else of_score  # hides NaN
                for j in range(0 if fine or not masked else n):
                    if mask[i0 + i, j0 + j] == nothing:
                        p[i, j] = 0
                        gs[i, j] = 0
                for j in range(seen, n):
                    p[i, j] = 0
                    gs[i, j] = 0
            if needs[2]:
                _product(pj, gi, gv[j0 : j0 + n], j0, hiding, True)
            if needs[0]:
                _product(gsj, kj, gqi, j0, hiding, False)
            if needs[1]:
                _product(gsj, qi, gk[j0 : j0 + n], j0, hiding, True)


def _heads(x, writeable=False):
    """x (..., T, D) as (batch, heads, T, D), behind an axis of repeats: with it no array counts
    as contiguous, so that all layouts are of one type and the loops are compiled once."""
    if x.ndim != 4:
        lead = x.shape[:-2]
        x = x.reshape(math.prod(lead[:-1]), lead[-1] if lead else 1, *x.shape[-2:])
    return as_strided(x, (2, *x.shape), (0, *x.strides), writeable=writeable)


def _has_rows(x):
    """Whether rows are contiguous, and ascend in memory."""
    line, step = x.strides[-2:]
    apart = line >= x.shape[-1] * x.itemsize and line % x.itemsize == 0
    return (apart or x.shape[-2] == 1) and (step == x.itemsize or x.shape[-1] == 1)


def _in_rows(*arrays):
    """The arrays, made contiguous where GEMM cannot take their layout."""
    return [_heads(x if _has_rows(x) else np.ascontiguousarray(x)) for x in arrays]


def _like(x, columns):
    """An uninitialised result with the memory layout of x, where that has rows."""
    shape = (*x.shape[:-1], columns)
    made = np.empty_like(x, shape=shape)
    return made if x.ndim <= 4 and _has_rows(made) else np.empty(shape, x.dtype)


def _added(mask, q, k):
    """What is added to each score, over all heads."""
    if mask is None:
        mask = q.dtype.type(0)
    elif mask.dtype == bool:
        mask = np.where(mask, q.dtype.type(0), q.dtype.type(-np.inf))
    return _heads(np.broadcast_to(mask, (*q.shape[:-1], k.shape[-2])))


def _scale(q, scale):
    return q.dtype.type(1 / math.sqrt(q.shape[-1]) if scale is None else scale)


def _work(q, k, *_):
    return q.size * k.shape[-2] if k.ndim > 1 else 0


def _grad_work(g, *inputs):
    return _work(*inputs)


@accepts(
    min_size=SMALL, size_of=_work, strided=("q", "k", "v"), others=("mask",), when=attention_fits
)
def scaled_dot_product_attention(q, k, v, mask=None, *, causal=False, scale=None):
    y, lse = _like(q, v.shape[-1]), np.empty(q.shape[:-1], q.dtype)
    arrays = [*_in_rows(q, k, v), _added(mask, q, k), _heads(y, writeable=True)]
    kind = np.empty(0, f"i{q.itemsize}")
    with blas.single(q.dtype):
        _attention(*arrays, lse.reshape(-1), kind, mask is not None, _scale(q, scale), causal)
    return y, lse


@accepts(
    min_size=SMALL,
    size_of=_grad_work,
    strided=("g", "q", "k", "v", "y"),
    others=("mask",),
    when=attention_grad_fits,
)
def attention_grad(g, q, k, v, mask, y, lse, *, causal, scale, needs):
    grads = [_like(x, x.shape[-1]) for x in (q, k, v)]
    arrays = [*_in_rows(g, q, k, v), _added(mask, q, k), _heads(y)]
    results = [_heads(x, writeable=True) for x in grads]
    with blas.single(q.dtype):
        _attention_grad(
            *arrays, lse.reshape(-1), *results, mask is not None, _scale(q, scale), causal, needs
        )
    return (*[a if n else None for a, n in zip(grads, needs, strict=False)], None)
