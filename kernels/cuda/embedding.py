"""Embedding: a gather of rows by id; its gradient, a segment sum over sorted ids, no atomics."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import ids_fit, ids_grad_fit
from .device import (
    BLOCK,
    DTYPES,
    MOST_BLOCKS,
    PACKED,
    Source,
    blocks,
    ctype,
    device,
    packs,
    sizes,
    wide,
)

_IDS = {"int32": "int", "int64": "long long"}
_SORTED = 2048  # SORTED of embedding.cu
_TILE = 32  # sorted ids that a warp sums
SOURCE = Source(
    "embedding",
    [f"embedding<{t}, {v}, {i}>" for t, v in PACKED for i in _IDS.values()]
    + [*[f"sort_chunks<{i}>" for i in _IDS.values()], "merge_runs"]
    + [f"sum_tiles<{t}, {v}>" for t, v in PACKED]
    + [f"sum_runs<{t}, {min(4, v)}>" for t, v in PACKED],
)


def _typed(ids):
    """Ids in a type that kernels exist for, and its name."""
    ids = ids if ids.dtype.name in _IDS else ids.astype(np.int64)
    return ids, _IDS[ids.dtype.name]


@accepts(dtypes=DTYPES, others=("ids",), when=ids_fit)
def embedding(weight, ids):
    xp, launch, _ = device(weight)
    (count, features), (ids, kind) = weight.shape, _typed(ids)
    y = xp.empty((*ids.shape, features), weight.dtype)
    v = packs(features, weight, y)
    args = (weight, ids, y, *sizes(ids.size, features, count))
    launch(SOURCE, f"embedding<{ctype(weight)}, {v}, {kind}>", blocks(y.size // v), (BLOCK,), args)
    return y


def _grad_fits(g, ids, *, count):
    return ids_grad_fit(g, ids, count) and max(ids.size, count) < 2**32 - 1  # halves of a key


@accepts(dtypes=DTYPES, others=("ids",), when=_grad_fits)
def embedding_grad(rows, ids, *, count):
    xp, launch, _ = device(rows)
    n, features, t, a = ids.size, rows.shape[-1], ctype(rows), wide(rows)
    keys, out = _sorted(ids, count), xp.zeros((count, features), rows.dtype)
    tiles = -(-n // _TILE)
    partial = xp.empty((tiles, 2, features), a)
    v, extents = packs(features, rows), sizes(n, features, count)
    warps = tiles * -(-features // (32 * v))
    grid = (min(-(-warps // 8), 1 << 16),)
    args = (rows, keys, out, partial, *extents)
    launch(SOURCE, f"sum_tiles<{t}, {v}>", grid, (32, 8), args)
    if tiles > 1:
        v = min(v, 16 // partial.itemsize)
        grid = (min((tiles - 1) * -(-features // (32 * v)), MOST_BLOCKS),)
        launch(SOURCE, f"sum_runs<{t}, {v}>", grid, (32, 8), (keys, partial, out, *extents))
    return out


def _sorted(ids, count):
    """Ids and their positions as sorted keys."""
    xp, launch, _ = device(ids)
    n, (ids, kind) = ids.size, _typed(ids)
    keys, other = xp.empty((n,), np.uint64), None
    grid = (min(-(-n // _SORTED), MOST_BLOCKS),)
    launch(SOURCE, f"sort_chunks<{kind}>", grid, (_SORTED // 2,), (ids, keys, *sizes(n, count)))
    run = _SORTED
    while run < n:
        other = xp.empty((n,), np.uint64) if other is None else other
        launch(SOURCE, "merge_runs", blocks(n), (BLOCK,), (keys, other, *sizes(n, run)))
        keys, other, run = other, keys, 2 * run
    return keys
