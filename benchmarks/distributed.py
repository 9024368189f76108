"""One process and two, beside PyTorch's DistributedDataParallel (gloo), in one interleaved run.

    python benchmarks/distributed.py [--ranks 2] [--rounds 9] [--output FILE]

Each process computes on one thread. Weak scaling: the same batch a process; strong: the same batch
in all. The efficiency is the time of a step of one process, while the others wait, beside that of
all: 1 is no loss, and where processes share memory and cores, two that exchange nothing do not
reach it either: `apart`. Exchanges of a step and their bytes are counted where they are asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ONE = dict.fromkeys(("TENSORGRAD_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
STEPS = 5  # in a row, timed together
Step = Callable[[], Any]


def ours(kind: str, batch: int, exchanged: bool) -> Step:
    """A step of ours: forward, backward, the mean of gradients, Adam."""
    import tensorgrad as tg

    x, y = data(kind, batch)
    x, y = tg.tensor(x), tg.tensor(y)
    nn = tg.nn
    model: Any
    if kind == "dense":
        model = nn.Sequential(
            nn.Dense(512, 784, activation="relu"),
            nn.Dense(512, 512, activation="relu"),
            nn.Dense(10, 512),
        )
    else:
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dense(10, 1568),
        )
    adam = tg.optim.Adam(model.parameters(), lr=1e-4)
    if exchanged:
        tg.distributed.broadcast(model)

    def step() -> None:
        adam.zero_grad()
        tg.cross_entropy(model(x), y).backward()
        if exchanged:
            tg.distributed.average(adam)
        adam.step()

    return step


def theirs(kind: str, batch: int, exchanged: bool) -> Step:
    """The same step of PyTorch."""
    import torch
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    host_x, host_y = data(kind, batch)
    x, y = torch.from_numpy(host_x), torch.from_numpy(host_y)
    model: Any
    if kind == "dense":
        model = nn.Sequential(
            nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
        )
    else:
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(1568, 10),
        )
    adam = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
    wrapped = DistributedDataParallel(model) if exchanged else model

    def step() -> None:
        adam.zero_grad()
        nn.functional.cross_entropy(wrapped(x), y).backward()
        adam.step()

    return step


def data(kind: str, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and classes."""
    rng = np.random.default_rng(0)
    shape = (batch, 784) if kind == "dense" else (batch, 1, 28, 28)
    return rng.normal(size=shape).astype("float32"), rng.integers(0, 10, batch)


def rank(options: argparse.Namespace) -> None:
    """What each process does: all steps in turn, round by round."""
    import torch
    import torch.distributed as dist

    import tensorgrad as tg

    world = tg.distributed.init()
    torch.set_num_threads(1)
    where = f"file://{options.folder}/meet"
    dist.init_process_group("gloo", init_method=where, rank=world.rank, world_size=world.size)
    cases: dict[str, Step] = {}
    for kind, batches in (("dense", (64, 256)), ("conv", (32, 128))):
        for batch in batches if not options.tiny else (8,):
            for who, made in (("ours", ours), ("PyTorch", theirs)):
                cases[f"{kind} {batch} alone {who}"] = made(kind, batch, False)
                for form, n in (("weak", batch), ("strong", batch // world.size)):
                    cases[f"{kind} {batch} {form} {who}"] = made(kind, n, True)
            for form, n in (("weak", batch), ("strong", batch // world.size)):
                cases[f"{kind} {batch} {form} ours, apart"] = ours(kind, n, False)
    times: dict[str, list[float]] = {name: [] for name in cases}
    counts = counted(world, cases)
    for round_ in range(options.rounds + 1):
        for name, step in cases.items():
            world.gather(None, "a step that is timed")
            start = time.perf_counter()
            for _ in range(STEPS if not world.rank or " alone " not in name else 0):
                step()
            if round_:
                times[name].append((time.perf_counter() - start) / STEPS)
    slowest = world.gather(times, "the times")
    if world.rank == 0:
        found = {n: [max(r[n][i] for r in slowest) for i in range(options.rounds)] for n in times}
        Path(options.folder, "times.json").write_text(json.dumps([found, counts]))
    dist.destroy_process_group()


def counted(world: Any, cases: dict[str, Step]) -> dict[str, list[int]]:
    """Exchanges of a step of ours, and their bytes, the messages before them included."""
    plain, found = world._meet, {}
    for name, step in cases.items():
        if name.endswith(" ours") and " alone " not in name:
            sizes: list[int] = []

            def meet(what: str, size: int, flags: bytes = b"", sizes: list[int] = sizes) -> bool:
                sizes.append(size)
                return bool(plain(what, size, flags))

            world._meet = meet
            step()
            found[name] = [2 * len(sizes), sum(sizes) + 48 * len(sizes)]
    del world._meet
    return found


def main() -> int:
    """Run one process and several, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tiny", action="store_true", help="that everything runs")
    parser.add_argument("--output")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        rank(options)
        return 0
    n = options.ranks
    with tempfile.TemporaryDirectory() as folder:
        start = ["-m", "tensorgrad", "launch", "-n", str(n)]
        more = ["--folder", folder, "--rounds", str(options.rounds), *["--tiny"] * options.tiny]
        subprocess.run(
            [sys.executable, *start, __file__, *more], check=True, env={**os.environ, **ONE}
        )
        times, counts = json.loads(Path(folder, "times.json").read_text())
    medians = {name: statistics.median(found) for name, found in times.items()}
    print(f"| step, ms | 1 process | {n} processes | efficiency | exchanges | bytes |")
    print("|---|--:|--:|--:|--:|--:|")
    rows = {}
    for name, many in medians.items():
        kind, batch, form, who = name.split(" ", 3)
        if form == "alone":
            continue
        one = medians[f"{kind} {batch} alone {who.removesuffix(', apart')}"]
        efficiency = one / many if form == "weak" else one / (n * many)
        exchanges, size = counts.get(name, ["", ""])
        rows[name] = [one, many, efficiency, exchanges, size]
        shown = f"{1e3 * one:.2f} | {1e3 * many:.2f} | {efficiency:.2f}"
        print(f"| {name} | {shown} | {exchanges} | {size} |")
    if options.output:
        Path(options.output).write_text(json.dumps({"ranks": n, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
