"""A training step of a graph convolution beside the same in PyTorch.

A graph of random edges, two layers of GCN with edges normalised once; forward, backward and SGD.
PyTorch sums messages by `index_add`, or multiplies by a sparse matrix in CSR (`sparse.mm`), whose
normalised values stay as they are.
"""

from __future__ import annotations

import sys
import warnings
from functools import partial
from typing import Any

import harness
import numpy as np

FEATURES, HIDDEN, CLASSES = 64, 64, 16
WAYS = ("index_add", "sparse.mm")


def data(nodes: int, edges: int) -> Any:
    """Features, edges, labels and the two layers' weights."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((nodes, FEATURES), "f4")
    source, labels = rng.integers(0, nodes, edges), rng.integers(0, CLASSES, nodes)
    at = np.stack([source, (source + rng.integers(1, nodes, edges)) % nodes])  # no loops
    sizes = [(FEATURES, HIDDEN), (HIDDEN, CLASSES)]
    return x, at, labels, [rng.standard_normal(s, "f4") / np.float32(s[0] ** 0.5) for s in sizes]


def ours(nodes: int, edges: int) -> harness.Start:
    import tensorgrad as tg

    *given, weights = data(nodes, edges)
    x, at, labels = map(tg.tensor, given)

    def start():
        layers = [tg.nn.GCNConv(*w.shape, cached=True, bias=False) for w in weights]
        for layer, w in zip(layers, weights, strict=True):
            layer.weight.data = w.copy()
        sgd = tg.optim.SGD([p for layer in layers for p in layer.parameters()], lr=0.1)
        losses: list[float] = []

        def step():
            sgd.zero_grad()
            loss = tg.cross_entropy(layers[1](tg.relu(layers[0](x, at)), at), labels)
            loss.backward()
            sgd.step()
            losses[:] = [loss.item()]

        return step, lambda: losses[0]

    return start


def theirs(way: str, nodes: int, edges: int) -> harness.Start:
    import torch

    warnings.filterwarnings("ignore", "Sparse")
    torch.set_num_threads(harness.THREADS)
    x, at, labels, first = data(nodes, edges)
    loops = np.arange(nodes)
    source, target = [np.concatenate([a, loops]) for a in at]
    scale = 1 / np.sqrt(np.bincount(target, minlength=nodes)).astype(np.float32)
    values = torch.tensor(scale[source] * scale[target])
    source, target = torch.tensor(source), torch.tensor(target)
    ones = torch.sparse_coo_tensor(torch.stack([target, source]), values, (nodes, nodes))
    matrix = ones.coalesce().to_sparse_csr()
    x, labels = torch.tensor(x), torch.tensor(labels)

    def reach(h):
        if way == "sparse.mm":
            return torch.sparse.mm(matrix, h)
        return torch.zeros(nodes, h.shape[1]).index_add(0, target, h[source] * values[:, None])

    def start():
        weights = [torch.tensor(w, requires_grad=True) for w in first]
        sgd = torch.optim.SGD(weights, lr=0.1, fused=True)
        losses: list[float] = []

        def step():
            sgd.zero_grad()
            h = torch.relu(reach(x @ weights[0]))
            loss = torch.nn.functional.cross_entropy(reach(h @ weights[1]), labels)
            loss.backward()
            sgd.step()
            losses[:] = [loss.item()]

        return step, lambda: losses[0]

    return start


def cases(tiny: bool) -> list[harness.Case]:
    size = (100, 500) if tiny else (10_000, 100_000)
    contenders = {"tensorgrad": partial(ours, *size)}
    contenders |= {way: partial(theirs, way, *size) for way in WAYS}
    name = f"GCN, {size[0]:,} nodes, {size[1]:,} edges"
    return [harness.Case(name, contenders, steps=3, baselines=WAYS, goal=1.0, tolerance=1e-4)]


if __name__ == "__main__":
    sys.exit(harness.main(__file__, cases))
