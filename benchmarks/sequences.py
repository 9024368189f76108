"""Sequence models beside PyTorch on the CPU, with the same weights: training steps (forward,
backward and the sum of squared outputs as loss) of recurrent layers and of a BERT encoder, and
generation of tokens with a cache of keys and values.
"""

from __future__ import annotations

import re
import sys
from functools import partial
from typing import Any

import harness
import numpy as np

import tensorgrad as tg
from tensorgrad import nn

rng = np.random.default_rng(0)
BOTH = {"num_layers": 2, "bidirectional": True, "batch_first": True}


def pytorch() -> Any:
    import torch

    torch.set_num_threads(harness.THREADS)
    return torch


def matched(ours: nn.Module, theirs: Any) -> Any:
    """PyTorch's module with our weights, the matrices transposed."""
    torch, own = pytorch(), dict(ours.named_parameters())
    with torch.no_grad():
        for name, q in theirs.named_parameters():
            a = own[re.sub(r"\.(\d+)\.", r"[\1].", name)].numpy()
            q.copy_(torch.tensor(a.T if a.ndim == 2 else a))
    return theirs


def training(made: Any, framework: str, x: np.ndarray) -> harness.Start:
    """A step: the loss of the outputs, and the gradients of all parameters."""
    model = made[framework]()
    given = tg.asarray(x) if framework == "tensorgrad" else pytorch().tensor(x)

    def start() -> tuple:
        last: list = []

        def step() -> None:
            y = model(given)
            y = y[0] if isinstance(y, tuple) else y
            loss = (y * y).mean()
            loss.backward()
            last[:] = [loss]
            model.zero_grad()

        return step, lambda: float(last[0].detach())

    return start


def layers(ours: Any, theirs: Any) -> dict[str, Any]:
    """Functions that make the model in either framework, with equal weights."""

    def made() -> nn.Module:
        tg.seed(0)
        return ours()

    return {"tensorgrad": made, "torch": lambda: matched(made(), theirs(pytorch().nn))}


def recurrent(kind: str, features: int, hidden: int) -> dict[str, Any]:
    return layers(
        lambda: getattr(nn, kind)(features, hidden, **BOTH),
        lambda home: getattr(home, kind)(features, hidden, **BOTH),
    )


def encoder(width: int, heads: int, blocks: int) -> dict[str, Any]:
    def stack(home: Any, **more: Any) -> Any:
        options = {"dropout": 0.0, "activation": "gelu", "batch_first": True}
        layer = home.TransformerEncoderLayer(width, heads, 4 * width, **options)
        return home.TransformerEncoder(layer, blocks, **more)

    return layers(lambda: stack(nn), lambda home: stack(home, enable_nested_tensor=False))


def generation(framework: str, width: int, heads: int, blocks: int, steps: int) -> harness.Start:
    """The most likely tokens after one, of pre-norm blocks; PyTorch's has the cache that users
    write: preallocated, one token a step."""
    classes = 256
    tg.seed(0)
    inner = [nn.TransformerBlock(heads, width, causal=True) for _ in range(blocks)]
    model = nn.Sequential(nn.Embedding(classes, width), *inner, nn.Dense(classes))
    model(np.zeros((1, 2), int))

    def ours() -> Any:
        return nn.generate(model, [0], steps, temperature=0).numpy()

    run = ours
    if framework == "torch":
        pytorch()  # ImportError, where it is missing
        run = partial(pytorchs_generation, model, width, heads, steps)

    def start() -> tuple:
        last: list = []

        def step() -> None:
            last[:] = [run()]

        return step, lambda: float(last[0].sum())

    return start


def pytorchs_generation(model: Any, width: int, heads: int, steps: int) -> np.ndarray:
    torch = pytorch()
    if (made := vars(model).get("_torch")) is None:
        weights = [torch.tensor(np.ascontiguousarray(p.numpy().T)) for p in model.parameters()]
        made = vars(model)["_torch"] = weights
    embed, *rest = made
    head, bias = rest[-2:]
    blocks = [rest[i : i + 12] for i in range(0, len(rest) - 2, 12)]
    caches = [torch.zeros(2, 1, heads, steps + 1, width // heads) for _ in blocks]
    F, ids = torch.nn.functional, [0]
    with torch.no_grad():
        for t in range(steps):
            x = embed.T[ids[-1]].reshape(1, 1, width)
            for (w1, b1, wqkv, bqkv, wo, bo, w2, b2, wu, bu, wd, bd), cache in zip(
                blocks, caches, strict=True
            ):
                h = F.layer_norm(x, (width,), w1, b1)
                qkv = F.linear(h, wqkv, bqkv).view(1, 1, 3, heads, -1).permute(2, 0, 3, 1, 4)
                cache[:, :, :, t] = qkv[1:, :, :, 0]
                y = F.scaled_dot_product_attention(
                    qkv[0], cache[0, :, :, : t + 1], cache[1, :, :, : t + 1]
                )
                x = x + F.linear(y.transpose(1, 2).reshape(1, 1, width), wo, bo)
                h = F.gelu(F.linear(F.layer_norm(x, (width,), w2, b2), wu, bu), approximate="tanh")
                x = x + F.linear(h, wd, bd)
            ids.append(int(F.linear(x[0, -1], head, bias).argmax()))
    return np.array(ids)


def cases(tiny: bool) -> list[harness.Case]:
    size = (2, 3, 8) if tiny else (32, 64, 128)
    hidden = 4 if tiny else 256
    x = rng.standard_normal(size).astype("float32")
    bert = (2, 3, 8) if tiny else (16, 128, 256)
    tokens = rng.standard_normal(bert).astype("float32")
    both = ("tensorgrad", "torch")
    made = [
        ("LSTM, 2 layers, both directions", recurrent("LSTM", size[2], hidden), x, 1.0),
        ("GRU, 2 layers, both directions", recurrent("GRU", size[2], hidden), x, 0.95),
        ("BERT-mini encoder", encoder(bert[2], 4, 1 if tiny else 4), tokens, 0.85),
    ]
    found = [
        harness.Case(
            name, {f: partial(training, models, f, data) for f in both}, goal=goal, tolerance=1e-3
        )
        for name, models, data, goal in made
    ]
    shape = (8, 2, 1, 3) if tiny else (256, 4, 4, 256)
    loads = {f: partial(generation, f, *shape) for f in both}
    name = "generation of 256 tokens, 4 blocks"
    return [*found, harness.Case(name, loads, "ms", goal=0.7, tolerance=0.0)]


if __name__ == "__main__":
    sys.exit(harness.main("sequences", cases))
