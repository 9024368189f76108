"""A step of each optimizer on 20 million numbers, beside PyTorch's fused and foreach ones, step by
step in turn in one process: medians, and the ratio to the faster of PyTorch's (below 1 is faster).

    python benchmarks/optimizers.py [--numbers 20_000_000] [--rounds 15] [--only adam,lion]

Lion, which PyTorch has not, is put together there from its foreach functions, as LAMB would be.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import tensorgrad as tg

OPTIONS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "Adam": {},
    "AdamW": {},
    "Adagrad": {},
    "RMSprop": {},
    "Adadelta": {},
    "Adamax": {},
    "NAdam": {},
    "RAdam": {},
    "Lion": {},
    "Adafactor": {},
}
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")


def lion(params: list, lr: float) -> Callable[[], object]:
    """Lion (Chen et al. 2023) by PyTorch's foreach functions."""
    moments = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step() -> None:
        grads = [p.grad for p in params]
        update = torch._foreach_lerp(moments, grads, 0.1)
        torch._foreach_sign_(update)
        torch._foreach_add_(params, update, alpha=-lr)
        torch._foreach_lerp_(moments, grads, 0.01)

    return step


def steps_of(name: str, shapes: list[tuple[int, int]]) -> dict[str, Callable[[], object]]:
    """Who steps how: each on parameters of its own."""
    rng = np.random.default_rng(0)
    values = [rng.normal(size=s).astype("f4") for s in shapes]
    ours = [tg.nn.Parameter(v.copy()) for v in values]
    for p in ours:
        p.grad = tg.tensor(rng.normal(size=p.shape).astype("f4"))
    options = {**OPTIONS[name], "lr": 1e-6}
    made = {"tensorgrad": getattr(tg.optim, name)(ours, **options).step}
    theirs = []
    for v, p in zip(values, ours, strict=True):
        q = torch.tensor(v, requires_grad=True)
        q.grad = torch.from_numpy(p.grad.numpy().copy())
        theirs.append(q)
    if name == "Lion":
        return {**made, "foreach": lion(theirs, 1e-6)}
    kind = getattr(torch.optim, name)
    made["foreach"] = kind(theirs, **options, foreach=True).step
    if name in FUSED:
        made["fused"] = kind(theirs, **options, fused=True).step
    return made


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--numbers", type=int, default=20_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    count = max(1, given.numbers // 1_000_000)
    side = int((given.numbers / count) ** 0.5)
    only = [name.lower() for name in given.only.split(",") if name]
    print(f"{count} matrices of {side} x {side} float32, {torch.get_num_threads()} threads")
    for name in [n for n in OPTIONS if not only or n.lower() in only]:
        steps = steps_of(name, [(side, side)] * count)
        times: dict[str, list[float]] = {who: [] for who in steps}
        for turn in range(given.rounds + 2):
            for who, step in steps.items():
                begin = time.perf_counter()
                step()
                if turn > 1:
                    times[who].append(time.perf_counter() - begin)
        medians = {who: statistics.median(t) for who, t in times.items()}
        best = min(t for who, t in medians.items() if who != "tensorgrad")
        text = "  ".join(f"{who} {t * 1e3:7.1f} ms" for who, t in medians.items())
        print(f"{name:10} {medians['tensorgrad'] / best:5.2f}  {text}", flush=True)


if __name__ == "__main__":
    main()
