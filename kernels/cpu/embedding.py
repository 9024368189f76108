"""Embedding: a gather of rows on all threads; its gradient, a deterministic segment sum by id; and
both in one, weighted sums of rows along edges."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import edges_fit, flat_rows, ids_fit, ids_grad_fit, pairs_fit
from .buffers import empty
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
    y = empty((*ids.shape, weight.shape[1]), weight.dtype)
    _checked(_gather(flat_rows(y), weight, _int64(ids)), ids, len(weight))
    return y


@accepts(min_size=SMALL, others=("ids",), when=ids_grad_fit)
def embedding_grad(rows, ids, *, count):
    out = empty((count, rows.shape[-1]), rows.dtype)
    starts, order = np.empty(count + 1, np.int64), np.empty(ids.size, np.int64)
    _checked(_sorted(_int64(ids), starts, order), ids, count)
    _sum_rows(out, flat_rows(rows), starts, order)
    return out


# --- along edges --------------------------------------------------------------------------------


@jit
def _by_target(targets, sources, w, starts, rows, weights):
    """The sources and weights of edges in the order of their targets: those of target k are from
    starts[k] to starts[k + 1]. (As `_sorted`, whose order would be one more indirection.)"""
    outside, count = 0, starts.shape[0] - 1
    for k in range(count + 1):
        starts[k] = 0
    for e in range(targets.shape[0]):
        if 0 <= targets[e] < count:
            starts[targets[e] + 1] += 1
        else:
            outside += 1
    total = 0
    for k in range(1, count + 1):
        starts[k], total = total, total + starts[k]
    for e in range(targets.shape[0]):
        if 0 <= targets[e] < count:
            at = starts[targets[e] + 1]
            starts[targets[e] + 1] = at + 1
            rows[at], weights[at] = sources[e], w[e] if w.shape[0] else weights.dtype.type(1)
    return outside


@jit(parallel_from=PARALLEL)
def _sum_edges(out, x, starts, rows, weights, share):
    """Four edges at a time, so that a row of the result is read and written less often."""
    for task in prange(_TASKS, share):
        for i in range(task, out.shape[0], _TASKS):
            begin, end = starts[i], starts[i + 1]
            four = begin + (end - begin) // 4 * 4
            for j in range(out.shape[1]):
                out[i, j] = 0
            for k in range(begin, four, 4):
                w0, w1, w2, w3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
                x0, x1, x2, x3 = x[rows[k]], x[rows[k + 1]], x[rows[k + 2]], x[rows[k + 3]]
                for j in range(out.shape[1]):
                    out[i, j] += (w0 * x0[j] + w1 * x1[j]) + (w2 * x2[j] + w3 * x3[j])
            for k in range(four, end):
                for j in range(out.shape[1]):
                    out[i, j] += weights[k] * x[rows[k], j]


@jit(parallel_from=PARALLEL, reassociate=True)
def _dot_edges(y, a, b, at, bt, share):
    for e in prange(y.shape[0], share):
        total = y.dtype.type(0)
        for j in range(a.shape[1]):
            total += a[at[e], j] * b[bt[e], j]
        y[e] = total


def _inside(ids, count):
    """IndexError for ids that are no rows: the loops read without asking."""
    if ids.size and not 0 <= ids.min() <= ids.max() < count:
        _checked(1, ids, count)


def _moved(x, sources, targets, w=None):
    return sources.size * x.shape[-1]


@accepts(min_size=SMALL, size_of=_moved, others=("sources", "targets"), when=edges_fit)
def gather_sum(x, sources, targets, w=None, *, count):
    _inside(sources, len(x))
    out, starts = empty((count, x.shape[1]), x.dtype), np.empty(count + 1, np.int64)
    rows, weights = np.empty(sources.size, np.int64), np.empty(sources.size, x.dtype)
    given = np.empty(0, x.dtype) if w is None else w
    outside = _by_target(_int64(targets), _int64(sources), given, starts, rows, weights)
    _checked(outside, targets, count)
    _sum_edges(out, x, starts, rows, weights)
    return out


@accepts(min_size=SMALL, size_of=lambda a, b, at, bt: at.size * a.shape[-1], others=("at", "bt"),
         when=pairs_fit)  # fmt: skip
def gather_dot(a, b, at, bt):
    _inside(at, len(a))
    _inside(bt, len(b))
    y = np.empty(at.size, a.dtype)
    _dot_edges(y, a, b, _int64(at), _int64(bt))
    return y
