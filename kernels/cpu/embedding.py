"""Embedding: a gather of rows on all threads; its gradient, a deterministic segment sum by id."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import flat_rows, ids_fit, ids_grad_fit
from .jit import jit, leads, prange
from .loss import outside

SMALL = 1 << 12
PARALLEL = 1 << 15
_TASKS = 64


@jit(parallel_from=PARALLEL)
def _gather(y, weight, ids, share):
    """The result is the first argument, whose size decides whether all threads run."""
    for i in prange(y.shape[0], share):
        row = ids[i]
        if 0 <= row < weight.shape[0]:
            for j in range(y.shape[1]):
                y[i, j] = weight[row, j]
    return outside(ids, weight.shape[0]) if leads(share) else 0


@jit
def _sorted(ids, starts, order):
    """A stable counting sort: the positions of id k become order[starts[k] : starts[k + 1]].
    (starts[k + 1] is first the count of k, then where its next position goes.)"""
    outside, count = 0, starts.shape[0] - 1
    for k in range(count + 1):
        starts[k] = 0
    for i in range(ids.shape[0]):
        if 0 <= ids[i] < count:
            starts[ids[i] + 1] += 1
        else:
            outside += 1
    total = 0
    for k in range(1, count + 1):
        starts[k], total = total, total + starts[k]
    for i in range(ids.shape[0]):
        if 0 <= ids[i] < count:
            order[starts[ids[i] + 1]] = i
            starts[ids[i] + 1] += 1
    return outside


@jit(parallel_from=PARALLEL)
def _sum_rows(out, g, starts, order, share):
    """Each row of the table is summed by one task, in the order of the ids, and written once. (With
    a block of columns a task, rows were read in pieces: 15 instead of 4 ms for 32768 ids of 256.)
    Frequent ids are often neighbours, so tasks take every _TASKS-th row."""
    for task in prange(_TASKS, share):
        for row in range(task, out.shape[0], _TASKS):
            for j in range(out.shape[1]):
                out[row, j] = 0
            for k in range(starts[row], starts[row + 1]):
                i = order[k]
                for j in range(out.shape[1]):
                    out[row, j] += g[i, j]


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
def embedding_grad(rows, ids, *, count):
    out = np.empty((count, rows.shape[-1]), rows.dtype)
    starts, order = np.empty(count + 1, np.int64), np.empty(ids.size, np.int64)
    _checked(_sorted(_int64(ids), starts, order), ids, count)
    _sum_rows(out, flat_rows(rows), starts, order)
    return out
