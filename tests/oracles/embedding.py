"""Oracles of the embedding: a product with the one-hot matrix, and with its transpose."""

import numpy as np


def _hot(ids, count):
    return np.equal.outer(ids, np.arange(count)).astype(float)


ORACLES = {
    "embedding": lambda weight, ids: _hot(ids, len(weight)) @ weight,
    "embedding_grad": lambda g, ids, count: (
        _hot(ids, count).reshape(-1, count).T @ g.reshape(-1, g.shape[-1])
    ),
}
