"""Oracles of the embedding: a product with the one-hot matrix, and with its transpose."""

import numpy as np


def _hot(ids, count):
    return np.equal.outer(ids, np.arange(count)).astype(float)


ORACLES = {
    "embedding": lambda weight, ids: _hot(ids, len(weight)) @ weight,
    "gather_sum": lambda x, sources, targets, w, count: (
        (_hot(targets, count).T * (1 if w is None else w)) @ _hot(sources, len(x)) @ x
    ),
    "gather_dot": lambda a, b, at, bt: np.diag(_hot(at, len(a)) @ a @ b.T @ _hot(bt, len(b)).T),
    "embedding_grad": lambda g, ids, count: (
        _hot(ids, count).reshape(-1, count).T @ g.reshape(-1, g.shape[-1])
    ),
}
