"""Sized samples of the embedding: wide rows and narrow ones."""

import numpy as np

from tensorgrad.ops.samples import Sample, draw, integers


def calls(n):
    """(table's shape, ids)"""
    return [((5, n), integers((2, 3), 5)), ((7, 5), integers((n,), 7))]


def edges(n):
    """Rows, sources, targets and weights: of wide rows, and of many edges, one node's many."""
    wide = draw((5, n)), integers((6,), 5), integers((6,), 3, seed=1), draw((6,), seed=2), 3
    at = np.where(integers((n,), 3) > 0, integers((n,), 7, seed=2), 4)
    return [wide, (draw((9, 5)), integers((n,), 9, seed=4), at, draw((n,), seed=5), 7)]


SIZED = {
    "gather_sum": lambda n: [
        Sample((x, sources, targets, w if i else None), {"count": count})
        for i, (x, sources, targets, w, count) in enumerate(edges(n))
    ],
    "gather_dot": lambda n: [
        Sample((x, draw((count, x.shape[1]), seed=8), sources, targets))
        for x, sources, targets, _, count in edges(n)
    ],
    "embedding": lambda n: [Sample((draw(shape), ids)) for shape, ids in calls(n)],
    "embedding_grad": lambda n: [
        Sample((draw((*ids.shape, shape[1])), ids), {"count": shape[0]}) for shape, ids in calls(n)
    ],
}
