"""einsum beside PyTorch's and NumPy's: attention scores, bilinear forms, products of matrices.

Forward alone, without recording, and forward and backward, in microseconds. NumPy, which takes its
own greedy order, has no backward.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import harness
import numpy as np

EQUATIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "bhqd,bhkd->bhqk": ((4, 8, 64, 64), (4, 8, 64, 64)),
    "bhqk,bhkd->bhqd": ((4, 8, 64, 64), (4, 8, 64, 64)),
    "bqhd,bkhd->bhqk": ((4, 64, 8, 64), (4, 64, 8, 64)),
    "ij,jk->ik": ((256, 256), (256, 256)),
    "ij,kj->ki": ((128, 64), (96, 64)),
    "bi,oij,bj->bo": ((64, 64), (32, 64, 64), (64, 64)),
    "bij,jk->bik": ((32, 64, 64), (64, 64)),
    "ij,ij->i": ((1000, 64), (1000, 64)),
    "ab,bc,cd->ad": ((8, 8), (8, 8), (8, 8)),
}
TINY = {"ij,jk->ik": ((2, 3), (3, 4))}


def arrays(shapes: tuple[tuple[int, ...], ...]) -> list[np.ndarray]:
    """Standard normal numbers, the same at every call."""
    rng = np.random.default_rng(0)
    return [rng.normal(size=s).astype("float32") for s in shapes]


def contender(einsum: Callable, equation: str, given: list, pull: bool) -> harness.Start:
    """The same product at every call; the sum of the squares of its result is compared."""
    seed: Any = None

    def start():
        last: list = []

        def step():
            y = einsum(equation, *given)
            last[:] = [y]
            if pull:
                y.backward(seed)
                for x in given:
                    x.grad = None

        def size() -> float:
            y = last[0].detach() if hasattr(last[0], "detach") else last[0]
            return float((np.asarray(y, "float64") ** 2).sum())

        return step, size

    if pull:
        y = einsum(equation, *given)
        seed = (y * 0 + 1).detach()
    return start


def numpys(equation: str, shapes: Any, pull: bool) -> harness.Start:
    return contender(partial(np.einsum, optimize=True), equation, arrays(shapes), False)


def ours(equation: str, shapes: Any, pull: bool) -> harness.Start:
    import tensorgrad as tg

    given = [tg.tensor(a, requires_grad=pull) for a in arrays(shapes)]
    return contender(tg.einsum, equation, given, pull)


def torchs(equation: str, shapes: Any, pull: bool) -> harness.Start:
    import torch

    torch.set_num_threads(harness.THREADS)
    given = [torch.tensor(a, requires_grad=pull) for a in arrays(shapes)]
    return contender(torch.einsum, equation, given, pull)


def cases(tiny: bool) -> list[harness.Case]:
    """Each equation, forward and with backward."""
    made = []
    for equation, shapes in (TINY if tiny else EQUATIONS).items():
        for pull in (False, True):
            contenders = {"numpy": numpys} if not pull else {}
            contenders |= {"tensorgrad": ours, "torch": torchs}
            name = f"{equation}, {'forward and backward' if pull else 'forward'}"
            loads = {k: partial(f, equation, shapes, pull) for k, f in contenders.items()}
            made.append(harness.Case(name, loads, "us", 1e6, tolerance=1e-4, goal=1.2))
    return made


if __name__ == "__main__":
    sys.exit(harness.main("einsum", cases))
