"""Sized samples of the embedding: wide rows and narrow ones."""

from tensorgrad.ops.samples import Sample, draw, integers


def calls(n):
    """(table's shape, ids)"""
    return [((5, n), integers((2, 3), 5)), ((7, 5), integers((n,), 7))]


SIZED = {
    "embedding": lambda n: [Sample((draw(shape), ids)) for shape, ids in calls(n)],
    "embedding_grad": lambda n: [
        Sample((draw((*ids.shape, shape[1])), ids), {"count": shape[0]}) for shape, ids in calls(n)
    ],
}
