"""Rows of a table, copied by several threads; their gradients, summed in the order of the ids."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import flat_rows, ids_fit, ids_grad_fit
from .jit import jit, prange

SMALL = 1 << 12
PARALLEL = 1 << 15
_WIDTH = 64  # columns of the table that are one task's


@jit(parallel_from=PARALLEL)
def _gather(y, weight, ids):
    """The first argument decides what runs on all threads: the result."""
    outside = 0
    for i in prange(y.shape[0]):
        row = ids[i]
        if 0 <= row < weight.shape[0]:
            for j in range(y.shape[1]):
                y[i, j] = weight[row, j]
        else:
            outside += 1
    return outside


@jit(parallel_from=PARALLEL)
def _zero(out):
    for i in prange(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = 0


@jit(parallel_from=PARALLEL)
def _scatter(g, ids, out, width):
    """Each task has columns of its own, so no two threads write to one place, and all sums are
    taken in the order of the ids."""
    outside, n = 0, g.shape[1]
    for c in prange((n + width - 1) // width):
        start, end = c * width, min(n, (c + 1) * width)
        for i in range(g.shape[0]):
            row = ids[i]
            if 0 <= row < out.shape[0]:
                for j in range(start, end):
                    out[row, j] += g[i, j]
            else:
                outside += 1
    return outside


def _checked(outside, ids, count):
    if outside:
        low, high = ids.min(), ids.max()
        raise IndexError(f"ids run from {low} to {high}, outside the table's 0..{count - 1}")


def _int64(ids):
    return ids.reshape(-1).astype(np.int64, copy=False)


def _taken(weight, ids):
    return ids.size * weight.shape[-1]


@accepts(min_size=SMALL, size_of=_taken, others=("ids",), when=ids_fit)
def embedding(weight, ids):
    y = np.empty((*ids.shape, weight.shape[1]), weight.dtype)
    _checked(_gather(flat_rows(y), weight, _int64(ids)), ids, len(weight))
    return y


@accepts(min_size=SMALL, others=("ids",), when=ids_grad_fit)
def embedding_grad(g, ids, *, count):
    out = np.empty((count, g.shape[-1]), g.dtype)
    _zero(out)
    _checked(_scatter(flat_rows(g), _int64(ids), out, _WIDTH), ids, count)
    return out
