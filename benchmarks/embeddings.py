"""A training step of a large embedding with gradients of rows, beside PyTorch's `sparse=True`, in
one interleaved run: medians, and ratios to PyTorch (below 1 is faster).

    python benchmarks/embeddings.py [repetitions]

A table of a million rows of 64 numbers, 4096 ids a batch; forward, backward and the optimizer.
"""

import statistics
import sys
import time
import warnings

import numpy as np
import torch

import tensorgrad as tg

ROWS, FEATURES, BATCH = 1_000_000, 64, 4096
REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
rng = np.random.default_rng(0)
BATCHES = [rng.integers(0, ROWS, BATCH) for _ in range(20)]
START = rng.standard_normal((ROWS, FEATURES), dtype=np.float32)
torch.set_num_threads(2)


def ours(name):
    table = tg.nn.Embedding(ROWS, FEATURES, sparse=True, weight_init="zeros")
    table.weight.data = START.copy()
    optimizer = getattr(tg.optim, name)(table.parameters(), lr=0.1)
    batches = [tg.tensor(ids) for ids in BATCHES]

    def step(i):
        optimizer.zero_grad()
        loss = (table(batches[i % len(batches)]) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def theirs(name):
    table = torch.nn.Embedding.from_pretrained(torch.tensor(START), freeze=False, sparse=True)
    optimizer = getattr(torch.optim, name)(table.parameters(), lr=0.1)
    batches = [torch.tensor(ids) for ids in BATCHES]

    def step(i):
        optimizer.zero_grad()
        loss = (table(batches[i % len(batches)]) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def main():
    warnings.filterwarnings("ignore", "Sparse")
    for name in ("SGD", "Adagrad", "SparseAdam"):
        steps = ours(name), theirs(name)
        for i in range(2 * len(BATCHES)):  # each row moves at least twice before
            first, second = [step(i) for step in steps]
            assert np.isclose(first, second, rtol=1e-4), (name, i, first, second)
        times = [], []
        for i in range(REPEATS):
            for step, spent in zip(steps, times, strict=True):
                begun = time.perf_counter()
                step(i)
                spent.append(time.perf_counter() - begun)
        mine, other = map(statistics.median, times)
        print(f"{name}: {1e3 * mine:.2f} ms a step, ratio to PyTorch {mine / other:.2f}")


if __name__ == "__main__":
    main()
