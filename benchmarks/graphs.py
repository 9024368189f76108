"""A training step of a graph convolution beside the same in PyTorch, in one interleaved run.

    python benchmarks/graphs.py [repetitions]

A graph of random edges, two layers of GCN with edges normalised once; forward, backward and SGD.
PyTorch sums messages by `index_add`, or multiplies by a sparse matrix in CSR (`sparse.mm`), whose
normalised values stay as they are. Medians of the interleaved repetitions, and ratios to PyTorch:
below 1 is faster.
"""

import statistics
import sys
import time
import warnings

import numpy as np
import torch

import tensorgrad as tg

NODES, EDGES, FEATURES, HIDDEN, CLASSES = 10_000, 100_000, 64, 64, 16
REPEATS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
rng = np.random.default_rng(0)
X = rng.normal(size=(NODES, FEATURES)).astype(np.float32)
AT = rng.integers(0, NODES, (2, EDGES))
LABELS = rng.integers(0, CLASSES, NODES)
WEIGHTS = [
    (rng.normal(size=(a, b)) / np.sqrt(a)).astype(np.float32)
    for a, b in ((FEATURES, HIDDEN), (HIDDEN, CLASSES))
]


def ours():
    layers = [tg.nn.GCNConv(*w.shape, cached=True, bias=False) for w in WEIGHTS]
    for layer, w in zip(layers, WEIGHTS, strict=True):
        layer.weight.data = w
    sgd = tg.optim.SGD([p for layer in layers for p in layer.parameters()], lr=0.1)
    x, edges, labels = tg.tensor(X), tg.tensor(AT), tg.tensor(LABELS)

    def step():
        sgd.zero_grad()
        loss = tg.cross_entropy(layers[1](tg.relu(layers[0](x, edges)), edges), labels)
        loss.backward()
        sgd.step()
        return loss.item()

    return step


def theirs(by):
    loops = np.arange(NODES)
    source, target = [np.concatenate([a, loops]) for a in AT]
    scale = 1 / np.sqrt(np.bincount(target, minlength=NODES)).astype(np.float32)
    values = torch.tensor(scale[source] * scale[target])
    source, target = torch.tensor(source), torch.tensor(target)
    ones = torch.sparse_coo_tensor(torch.stack([target, source]), values, (NODES, NODES))
    matrix = ones.coalesce().to_sparse_csr()

    def reach(h):
        if by == "sparse.mm":
            return torch.sparse.mm(matrix, h)
        return torch.zeros(NODES, h.shape[1]).index_add(0, target, h[source] * values[:, None])

    weights = [torch.tensor(w, requires_grad=True) for w in WEIGHTS]
    sgd = torch.optim.SGD(weights, lr=0.1, fused=True)
    x, labels = torch.tensor(X), torch.tensor(LABELS)

    def step():
        sgd.zero_grad()
        h = torch.relu(reach(x @ weights[0]))
        loss = torch.nn.functional.cross_entropy(reach(h @ weights[1]), labels)
        loss.backward()
        sgd.step()
        return loss.item()

    return step


def main():
    warnings.filterwarnings("ignore", "Sparse")
    steps = {"tensorgrad": ours(), **{by: theirs(by) for by in ("index_add", "sparse.mm")}}
    first = {name: [step() for _ in range(3)] for name, step in steps.items()}
    for name, values in first.items():
        assert np.allclose(values, first["tensorgrad"], rtol=1e-4), (name, first)
    times = {name: [] for name in steps}
    for _ in range(REPEATS):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - begun)
    mine = statistics.median(times["tensorgrad"])
    print(f"GCN, {NODES:,} nodes, {EDGES:,} edges, a training step: {1e3 * mine:.1f} ms")
    for name in ("index_add", "sparse.mm"):
        print(f"  ratio to PyTorch's {name}: {mine / statistics.median(times[name]):.2f}")


if __name__ == "__main__":
    main()
