"""Training steps of small networks of every family, on any backend, for tests of whole steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import tensorgrad as tg
from tensorgrad import losses, nn, optim
from tensorgrad.optim import schedules


class Training(NamedTuple):
    """A model, its optimizer and loss scale, its training step, and its batches."""

    model: nn.Module
    optimizer: optim.Optimizer
    scale: optim.LossScale | None
    step: Callable
    batches: Iterator[tuple]

    def state(self) -> list[np.ndarray]:
        """Copies on the host of all state that a training step changes."""
        saved = self.optimizer.state_dict()
        arrays = [*self.model.get_weights(), *saved["hyper"], np.array(saved["steps"])]
        arrays += [a for kept in saved["state"] if kept for a in kept if a is not None]
        arrays += [p.grad.numpy().copy() for p in self.model.parameters() if p.grad is not None]
        if self.scale is not None:
            arrays += [np.array(list(self.scale.state_dict().values()))]
        return arrays


def mlp() -> tuple:
    hidden = nn.Dense(16, 6, activation="relu"), nn.LayerNorm(16), nn.Dropout(0.2)
    return nn.Sequential([*hidden, nn.Dense(8, 16, activation="gelu"), nn.Dense(3, 8)]), (6,)


def cnn() -> tuple:
    first = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)
    second = nn.Dropout(0.3), nn.Conv2d(4, 6, 3), nn.GroupNorm(2, 6), nn.SiLU()
    last = nn.AvgPool2d(2), nn.Flatten(), nn.Dense(3, 6)
    return nn.Sequential([*first, *second, *last]), (2, 8, 8)


class Recurrent(nn.Module):
    """Three kinds of recurrent layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [
            nn.SimpleLSTM(5, 4, return_sequences=True),
            nn.SimpleGRU(4, 5, return_sequences=True),
        ]
        self.last, self.out = nn.SimpleRNN(4, 4), nn.Dense(3, 4)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return self.out(self.last(x))


class Transformer(nn.Module):
    """Embeddings, a block with dropout, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.place = nn.Embedding(7, 8), nn.PositionalEmbedding(5, 8)
        self.block = nn.TransformerBlock(2, 8, dropout=0.1, causal=True)
        self.norm, self.out = nn.RMSNorm(8), nn.Dense(3, 8)

    def forward(self, ids: Any) -> Any:
        x = self.place(self.embedding(ids))
        return self.out(self.norm(self.block(x)).mean(axis=1))


MODELS = {"mlp": mlp, "cnn": cnn, "recurrent": lambda: (Recurrent(), (3, 4)),
          "transformer": lambda: (Transformer(), (5,))}  # fmt: skip
OPTIMIZERS = {
    "sgd": lambda lr: optim.SGD(lr=lr, weight_decay=0.01),
    "nesterov": lambda lr: optim.SGD(lr=lr, momentum=0.9, nesterov=True),
    "adam": lambda lr: optim.Adam(lr=lr),
    "adamw": lambda lr: optim.AdamW(lr=lr),
}
RATES = {
    "constant": lambda: 0.05,
    "warmup": lambda: schedules.warmup(3, schedules.cosine(0.05, 6)),
}


def training(
    backend: str,
    model: str = "mlp",
    optimizer: str = "adam",
    rate: str = "constant",
    clip: float | None = None,
    half: str | None = None,
    size: int = 4,
) -> Training:
    """The training of one of MODELS; with `half`, under autocast and with loss scaling."""
    tg.seed(3)
    network, shape = MODELS[model]()
    network.to(backend)
    chosen = OPTIMIZERS[optimizer](RATES[rate]())
    chosen.bind(network.parameters())
    scale = optim.LossScale(2.0**8, interval=3) if half else None
    rng = np.random.default_rng(0)

    def batches() -> Iterator[tuple]:
        while True:
            x = rng.integers(0, 7, (size, *shape)) if model == "transformer" else None
            x = rng.standard_normal((size, *shape)).astype("float32") if x is None else x
            y = rng.integers(0, 3, size)
            yield tg.asarray(x, backend=backend), tg.asarray(y, backend=backend)

    def step(x: Any, y: Any) -> Any:
        with tg.autocast(half):
            loss = losses.cross_entropy(network(x), y)
        chosen.zero_grad()
        if scale is not None:
            scale(loss).backward()
            scale.unscale(chosen)
        else:
            loss.backward()
        norm = chosen.clip_grad_norm(clip) if clip else None
        if scale is not None:
            scale.step(chosen)
        else:
            chosen.step()
        return {"loss": loss, "norm": norm} if clip else loss

    return Training(network, chosen, scale, step, batches())
