"""Functions of the vocabulary beside PyTorch's, on a million numbers, in milliseconds: forward,
without recording, and where the name says "grad" forward and backward.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import harness
import numpy as np

import tensorgrad as tg

torch: Any = None  # imported by its contender
N = 1_000_000
rng = np.random.default_rng(0)
LINE, TABLE = rng.random(N, dtype="float32"), rng.random((1000, 1000), dtype="float32")
IDS, ALONG = rng.integers(0, 1000, N), rng.integers(0, 1000, (1000, 1000))
LABELS = rng.integers(0, 10, N // 10)
TINY = ("cumsum rows", "roll (n,)")

# name -> (our function, PyTorch's, arrays). With "grad" in the name both are differentiated.
Case = tuple[Callable, Callable, tuple]
CASES: dict[str, Case] = {
    "cumsum (n,)": (tg.cumsum, lambda x: x.cumsum(0), (LINE,)),
    "cumsum rows": (lambda x: tg.cumsum(x, 1), lambda x: x.cumsum(1), (TABLE,)),
    "cumsum columns": (lambda x: tg.cumsum(x, 0), lambda x: x.cumsum(0), (TABLE,)),
    "cumsum (n,) grad": (tg.cumsum, lambda x: x.cumsum(0), (LINE,)),
    "cumprod (n,)": (tg.cumprod, lambda x: x.cumprod(0), (LINE,)),
    "cumprod rows grad": (lambda x: tg.cumprod(x, 1), lambda x: x.cumprod(1), (TABLE,)),
    "cummax (n,)": (lambda x: tg.cummax(x, 0)[0], lambda x: x.cummax(0)[0], (LINE,)),
    "logcumsumexp (n,)": (lambda x: tg.logcumsumexp(x, 0), lambda x: x.logcumsumexp(0), (LINE,)),
    "sort (n,)": (tg.sort, lambda x: x.sort()[0], (LINE,)),
    "argsort (n,)": (tg.argsort, lambda x: torch.argsort(x, stable=True), (LINE,)),
    "topk 10 (n,)": (lambda x: tg.topk(x, 10)[0], lambda x: x.topk(10)[0], (LINE,)),
    "topk 10 rows": (lambda x: tg.topk(x, 10)[0], lambda x: x.topk(10)[0], (TABLE,)),
    "median (n,)": (tg.median, lambda x: torch.median(x), (LINE,)),
    "take_along_axis rows": (tg.take_along_axis, lambda x, i: x.gather(1, i), (TABLE, ALONG)),
    "take_along_axis rows grad": (tg.take_along_axis, lambda x, i: x.gather(1, i), (TABLE, ALONG)),
    "scatter_reduce max": (
        lambda x, i: tg.scatter_reduce(x, 1, i, x, "max"),
        lambda x, i: x.scatter_reduce(1, i, x, "amax"),
        (TABLE, ALONG),
    ),
    "segment_sum (n,)": (
        lambda x, i: tg.segment_sum(x, i, 1000),
        lambda x, i: torch.zeros(1000).index_add(0, i, x),
        (LINE, IDS),
    ),
    "segment_sum rows": (
        lambda x, i: tg.segment_sum(x, i, 1000),
        lambda x, i: torch.zeros(1000, 1000).index_add(0, i, x),
        (TABLE, ALONG[0]),
    ),
    "one_hot (n / 10, 10)": (
        lambda i: tg.one_hot(i, 10),
        lambda i: torch.nn.functional.one_hot(i, 10).float(),
        (LABELS,),
    ),
    "repeat (n,) by 3": (lambda x: tg.repeat(x, 3), lambda x: x.repeat_interleave(3), (LINE,)),
    "roll (n,)": (lambda x: tg.roll(x, 3), lambda x: x.roll(3), (LINE,)),
    "masked_fill": (
        lambda x: tg.masked_fill(x, x > 0.5, 0.0),
        lambda x: x.masked_fill(x > 0.5, 0.0),
        (TABLE,),
    ),
    "unfold 3x3": (
        lambda x: tg.unfold(x, 3, padding=1),
        lambda x: torch.nn.functional.unfold(x, 3, padding=1),
        (LINE.reshape(1, 1, 1000, 1000),),
    ),
}
VOLUMES, IMAGES = LINE[: 1 << 19].reshape(2, 16, 16, 32, 32), LINE[: 1 << 19].reshape(8, 16, 64, 64)
for grad in ("", " grad"):
    CASES |= {
        f"max_pool3d 2{grad}": (
            lambda x: tg.max_pool3d(x, 2),
            lambda x: torch.nn.functional.max_pool3d(x, 2),
            (VOLUMES,),
        ),
        f"max_pool3d 3 / 2{grad}": (
            lambda x: tg.max_pool3d(x, 3, 2, 1),
            lambda x: torch.nn.functional.max_pool3d(x, 3, 2, 1),
            (VOLUMES,),
        ),
        f"interpolate to 128{grad}": (
            lambda x: tg.interpolate(x, (128, 128)),
            lambda x: torch.nn.functional.interpolate(x, (128, 128)),
            (IMAGES,),
        ),
        f"interpolate to 96{grad}": (
            lambda x: tg.interpolate(x, (96, 96)),
            lambda x: torch.nn.functional.interpolate(x, (96, 96)),
            (IMAGES,),
        ),
    }


def contender(function: Callable, given: list, pull: bool) -> harness.Start:
    """The same call every time; the sum of the squares of its result is compared."""

    def start():
        last: list = []

        def step():
            y = function(*given)
            last[:] = [y]
            if pull:
                y.backward((y * 0 + 1).detach())
                for x in given:
                    x.grad = None

        def size() -> float:
            return float((np.asarray(last[0].detach(), "float64") ** 2).sum())

        return step, size

    return start


def tracked(a: np.ndarray, pull: bool) -> bool:
    return pull and a.dtype.kind == "f"


def ours(function: Callable, arrays: list, pull: bool) -> harness.Start:
    given = [tg.tensor(a, requires_grad=tracked(a, pull)) for a in arrays]
    return contender(function, given, pull)


def torchs(function: Callable, arrays: list, pull: bool) -> harness.Start:
    global torch
    import torch

    torch.set_num_threads(harness.THREADS)
    given = [torch.tensor(a, requires_grad=tracked(a, pull)) for a in arrays]
    return contender(function, given, pull)


def cases(tiny: bool) -> list[harness.Case]:
    """A case for each function."""
    made = []
    for name, (mine, theirs, arrays) in CASES.items():
        if tiny and name not in TINY:
            continue
        given, pull = [a[:8] for a in arrays] if tiny else list(arrays), "grad" in name
        loads = {
            "tensorgrad": partial(ours, mine, given, pull),
            "torch": partial(torchs, theirs, given, pull),
        }
        made.append(harness.Case(name, loads, "ms", 1e3, tolerance=1e-3, goal=1.5))
    return made


if __name__ == "__main__":
    sys.exit(harness.main("vocabulary", cases))
