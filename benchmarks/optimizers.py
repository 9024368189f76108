"""A step of each optimizer on 20 million numbers, beside PyTorch's foreach and fused ones.

Lion, which PyTorch has not, is put together there from its foreach functions, as LAMB would be.
The loss is the sum of the squares of the first matrix after three steps.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import harness
import numpy as np

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
FUSED = ("SGD", "Adam", "AdamW", "Adagrad")  # those that PyTorch has so
RATE = 1e-3
harness.SLOW = 30.0


def values(shapes: list) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Parameters and their gradients."""
    rng = np.random.default_rng(0)
    draw = lambda: [rng.standard_normal(s, "f4") for s in shapes]  # noqa: E731
    return draw(), draw()


def ours(name: str, shapes: list) -> harness.Start:
    import tensorgrad as tg

    weights, grads = values(shapes)

    def start():
        params = [tg.Parameter(w.copy()) for w in weights]
        for p, g in zip(params, grads, strict=True):
            p.grad = tg.tensor(g)
        step = getattr(tg.optim, name)(params, lr=RATE, **OPTIONS[name]).step
        return step, lambda: params[0].square().sum().item()

    return start


def theirs(how: str, name: str, shapes: list) -> harness.Start:
    import torch

    torch.set_num_threads(harness.THREADS)
    weights, grads = values(shapes)

    def start():
        params = [torch.tensor(w, requires_grad=True) for w in weights]
        for p, g in zip(params, grads, strict=True):
            p.grad = torch.tensor(g)
        if name == "Lion":
            step = lion(torch, params)
        else:
            step = getattr(torch.optim, name)(params, lr=RATE, **OPTIONS[name], **{how: True}).step
        return step, lambda: params[0].detach().square().sum().item()

    return start


def lion(torch: Any, params: list) -> Callable[[], object]:
    """Lion (Chen et al. 2023) by PyTorch's foreach functions."""
    moments = [torch.zeros_like(p) for p in params]

    @torch.no_grad()
    def step() -> None:
        grads = [p.grad for p in params]
        update = torch._foreach_lerp(moments, grads, 0.1)
        torch._foreach_sign_(update)
        torch._foreach_add_(params, update, alpha=-RATE)
        torch._foreach_lerp_(moments, grads, 0.01)

    return step


def cases(tiny: bool) -> list[harness.Case]:
    shapes = [(20, 20)] * 2 if tiny else [(1000, 1000)] * 20
    found = []
    for name in OPTIONS:
        ways = ["foreach", "fused"] if name in FUSED else ["foreach"]
        contenders = {"tensorgrad": partial(ours, name, shapes)}
        contenders |= {way: partial(theirs, way, name, shapes) for way in ways}
        found.append(
            harness.Case(name, contenders, steps=3, baselines=(*ways,), goal=1.0, tolerance=1e-4)
        )
    return found


if __name__ == "__main__":
    sys.exit(harness.main(__file__, cases))
