"""Functions of the vocabulary beside PyTorch's, on a million numbers: milliseconds and the ratio.

Each round times both, A B then B A; a number is the median of the rounds, a ratio the median of the
ratios within rounds. `python benchmarks/vocabulary.py [word ...]` takes the cases whose names have
one of the words.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

THREADS = int(os.environ.get("BENCH_THREADS", "2"))
for variable in ("OMP_NUM_THREADS", "TENSORGRAD_NUM_THREADS"):
    os.environ.setdefault(variable, str(THREADS))

import numpy as np  # noqa: E402
import torch  # noqa: E402

import tensorgrad as tg  # noqa: E402

N = 1_000_000
ROUNDS = 7
rng = np.random.default_rng(0)
LINE, TABLE = rng.random(N, dtype="float32"), rng.random((1000, 1000), dtype="float32")
IDS, ALONG = rng.integers(0, 1000, N), rng.integers(0, 1000, (1000, 1000))
LABELS = rng.integers(0, 10, N // 10)

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
    "median (n,)": (tg.median, torch.median, (LINE,)),
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


def timed(call: Callable[[], object], seconds: float = 0.05) -> float:
    """Milliseconds of a call, the mean of as many as fill the time."""
    calls, begin = 0, time.perf_counter()
    while (spent := time.perf_counter() - begin) < seconds or not calls:
        call()
        calls += 1
    return spent / calls * 1e3


def contenders(name: str, case: Case) -> list[Callable[[], object]]:
    """Ours and PyTorch's as functions without arguments; AssertionError where they disagree."""
    ours, theirs, arrays = case
    track = "grad" in name
    a = [tg.tensor(x, requires_grad=track and x.dtype.kind == "f") for x in arrays]
    b = [torch.tensor(x, requires_grad=track and x.dtype.kind == "f") for x in arrays]
    y, z = ours(*a), theirs(*b)
    np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), rtol=1e-3, atol=1e-3)
    if not track:
        return [lambda: ours(*a), lambda: theirs(*b)]
    u, w = tg.ones_like(y), torch.ones_like(z)
    return [lambda: ours(*a).backward(u), lambda: theirs(*b).backward(w)]


def main(words: list[str]) -> None:
    """Print a line for each case."""
    torch.set_num_threads(THREADS)
    print(f"{'':28}{'tensorgrad':>12}{'PyTorch':>10}{'ratio':>8}   (ms, {THREADS} threads)")
    for name, case in CASES.items():
        if words and not any(word in name for word in words):
            continue
        both = contenders(name, case)
        for call in both:
            call()
        rounds = []
        for i in range(ROUNDS):
            pair = [timed(call) for call in both[:: 1 if i % 2 else -1]]
            rounds.append(pair if i % 2 else pair[::-1])
        ours, theirs = [statistics.median(column) for column in zip(*rounds, strict=True)]
        ratio = statistics.median([a / b for a, b in rounds])
        print(f"{name:28}{ours:12.3f}{theirs:10.3f}{ratio:8.2f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
