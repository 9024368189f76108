"""The first training step of a new process, with an empty cache of compiled kernels and a full one.

A sample is a process of its own: the seconds from its start, imports included, to the end of its
first step. Each round has one with its cache in an empty folder, then one with that cache. Peers
are not in this: their cold starts are in cpu_training.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import harness

EMPTY, FULL = "tensorgrad, empty cache", "tensorgrad, full cache"
STEPS = 3


def dense(nn: Any, width: int) -> list:
    relu = [nn.Dense(n * width, activation="relu") for n in (4, 2)]
    return [*relu, nn.Dense(10)]


def lstm(nn: Any, width: int) -> list:
    return [nn.SimpleLSTM(4 * width), nn.Dense(10)]


def cnn(nn: Any, width: int) -> list:
    first, second = [nn.Conv(n * width, 3, activation="relu") for n in (1, 2)]
    head = [nn.Flatten(), nn.Dense(2 * width, activation="relu"), nn.Dense(10)]
    return [first, nn.MaxPool2d(2), second, nn.MaxPool2d(2), *head]


def resnet(nn: Any, width: int) -> list:
    def conv(n: int, stride: int = 1) -> list:
        return [nn.Conv(n, 3, stride=stride, padding=1), nn.BatchNorm()]

    def block(n: int) -> list:
        inner = [*conv(n), nn.ReLU(), *conv(n)]
        return [nn.Residual(nn.Sequential(inner)), nn.ReLU()]

    stem, down = [*conv(width), nn.ReLU()], [*conv(2 * width, 2), nn.ReLU()]
    return [*stem, *block(width), *down, *block(2 * width), nn.Flatten(), nn.Dense(10)]


def transformer(nn: Any, width: int) -> list:
    return [nn.TransformerBlock(4, 4 * width), nn.Flatten(), nn.Dense(10)]


# The layers, a batch, and a tiny one
NETS: dict[str, tuple[Callable[[Any, int], list], tuple[int, ...], tuple[int, ...]]] = {
    "dense net": (dense, (64, 784), (2, 8)),
    "LSTM": (lstm, (32, 64, 64), (2, 3, 4)),
    "CNN": (cnn, (64, 1, 28, 28), (2, 1, 10, 10)),
    "ResNet": (resnet, (32, 3, 32, 32), (2, 3, 6, 6)),
    "Transformer": (transformer, (8, 128, 256), (2, 3, 16)),
}


def child(name: str, tiny: bool) -> dict[str, float]:
    """In a fresh process: when its first step has ended, and the loss after all steps."""
    import numpy as np

    import tensorgrad as tg
    from tensorgrad import losses, nn, optim

    tg.seed(0)
    layers, full, small = NETS[name]
    model, shape = nn.Sequential(layers(nn, 4 if tiny else 64)), small if tiny else full
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal(shape, "float32"), rng.integers(0, 10, shape[0])
    optimizer, ready = None, 0.0
    for _ in range(STEPS):
        loss = losses.cross_entropy(model(x), t)
        optimizer = optimizer or optim.Adam(model.parameters(), lr=1e-5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ready = ready or time.time()
    return {"ready": ready, "loss": loss.item()}


def sample(name: str, cache: str, tiny: bool) -> tuple[float, float]:
    """Seconds to the end of the first step of a process with that cache, and its loss."""
    command = [sys.executable, __file__, "--measure", name, cache, *(["--tiny"] if tiny else [])]
    env = {**os.environ, "NUMBA_CACHE_DIR": cache}
    began = time.time()
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, env=env
    )
    seen = json.loads(done.stdout)
    return seen["ready"] - began, seen["loss"]


def measured(name: str, options: Any) -> dict[str, Any]:
    """One case: a row for each state of the cache."""
    found: dict[str, list[tuple[float, float]]] = {EMPTY: [], FULL: []}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as cache:
            for row in found.values():
                row.append(sample(name, cache, options.tiny))
    base, rows = [seconds for seconds, _ in found[FULL]], []
    for row, samples in found.items():
        seconds, values = map(list, zip(*samples, strict=True))
        ratios = {FULL: harness.ratio(seconds, base)}
        agreed = harness.compared(values, found[EMPTY][0][1], 1e-3)
        rows.append({"framework": row, **harness.spread(seconds), "ratios": ratios} | agreed)
    facts = {"name": f"{name}, first step", "unit": "s from the start of the process"}
    facts |= {"steps": STEPS, "goal": None, "baselines": [FULL], "missing": {}}
    return {**facts, "rows": rows}


def main() -> int:
    options = harness.parsed(rounds=3)
    options.rounds = 1 if options.tiny else options.rounds
    harness.keep_to(harness.THREADS)
    if options.measure:
        print(json.dumps(child(options.measure[0], options.tiny)))
        return 0
    result = {"script": "cold_start", "machine": harness.machine(), "rounds": options.rounds}
    names = [name for name in NETS if not options.tiny or name in ("ResNet", "Transformer")]
    names = harness.chosen(names, str, options.only)
    result["cases"] = [measured(name, options) for name in names]
    result["notes"] = []
    return harness.finish(result, options)


if __name__ == "__main__":
    sys.exit(main())
