"""Training steps of a large table: gradients of rows, and bags of rows, beside PyTorch's.

A table of a million rows of 64 numbers. With gradients of rows (`sparse=True`), 4096 ids a batch;
bags: 1024 sums of 32 rows each, with SGD and gradients of rows. Forward, backward and update.
"""

from __future__ import annotations

import sys
import warnings
from functools import partial
from typing import Any

import harness
import numpy as np

OPTIMIZERS = ("SGD", "Adagrad", "SparseAdam")
BATCHES = 20


def data(rows: int, ids: tuple) -> tuple[np.ndarray, list[np.ndarray]]:
    """The table and the batches of ids."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, 64), "f4"), [
        rng.integers(0, rows, ids) for _ in range(BATCHES)
    ]


def stepping(table: Any, optimizer: Any, batches: list) -> tuple:
    """The step that tensorgrad and PyTorch share word for word."""
    losses: list[float] = []

    def step():
        optimizer.zero_grad()
        loss = (table(batches[len(losses) % BATCHES]) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    return step, lambda: losses[-1]


def ours(name: str, bags: bool, rows: int, ids: tuple) -> harness.Start:
    import tensorgrad as tg

    first, batches = data(rows, ids)
    batches = [tg.tensor(b) for b in batches]

    def start():
        kind = partial(tg.nn.EmbeddingBag, mode="sum") if bags else tg.nn.Embedding
        table = kind(rows, 64, sparse=True, weight_init="zeros")
        table.weight.data = first.copy()
        optimizer = getattr(tg.optim, name)(table.parameters(), lr=0.1)
        return stepping(table, optimizer, batches)

    return start


def theirs(name: str, bags: bool, rows: int, ids: tuple) -> harness.Start:
    import torch

    warnings.filterwarnings("ignore", "Sparse")
    torch.set_num_threads(harness.THREADS)
    first, batches = data(rows, ids)
    batches = [torch.tensor(b) for b in batches]

    def start():
        kind = partial(torch.nn.EmbeddingBag, mode="sum") if bags else torch.nn.Embedding
        table = kind(rows, 64, sparse=True, _weight=torch.tensor(first))
        optimizer = getattr(torch.optim, name)(table.parameters(), lr=0.1)
        return stepping(table, optimizer, batches)

    return start


def cases(tiny: bool) -> list[harness.Case]:
    rows, few = (1000, 4) if tiny else (1_000_000, 1)
    kinds = [(name, False, (4096 // few**4,)) for name in OPTIMIZERS]
    kinds.append(("SGD", True, (1024 // few**4, 32)))
    return [
        harness.Case(
            f"{name}, {'bags of 32 rows' if bags else 'single rows'}",
            {
                "tensorgrad": partial(ours, name, bags, rows, ids),
                "torch": partial(theirs, name, bags, rows, ids),
            },
            steps=2 * BATCHES,  # each row moves at least twice before
            goal=0.8 if bags else 1.0,
            tolerance=1e-4,
        )
        for name, bags, ids in kinds
    ]


if __name__ == "__main__":
    sys.exit(harness.main(__file__, cases))
