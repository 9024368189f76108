"""No cliff where thread pools meet: a step against the sum of its parts, each measured alone.

A step is a dense layer forward and backward (products on BLAS), an Adam update and an elementwise
kernel (Numba's pool). Libraries whose threads wait by spinning keep the other's from the cores;
then the step costs many times its parts, or more in one order of imports than in another.
Measured with 1, 2 and 4 threads and with numpy, numba, torch and tensorgrad imported in every
order, each in a fresh process.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import permutations
from typing import Any

import harness

MODULES = ("numpy", "numba", "torch", "tensorgrad")
SHAPES = ((32, 784, 256), (128, 512, 512))  # rows, inputs, units
THREADS = (1, 2, 4)
STEPS = 20  # after which the weights are compared
PARTS, BEST = "sum of parts", "fastest order"
VARIABLES = ("TENSORGRAD", "OMP", "OPENBLAS", "MKL", "NUMBA")


def parts(rows: int, inputs: int, units: int) -> tuple[dict[str, Callable], Callable[[], float]]:
    """The parts of a step by name, and the number that tells whether all computed the same."""
    import numpy as np

    import tensorgrad as tg
    from tensorgrad import nn, optim

    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.standard_normal(shape, "float32")  # noqa: E731
    layer = nn.Dense(units, inputs, "relu")
    layer.set_weights([draw(inputs, units) * np.float32(inputs**-0.5), np.zeros(units, "float32")])
    optimizer = optim.Adam(layer.parameters(), lr=1e-3)
    x = tg.tensor(draw(rows, inputs), requires_grad=True)
    seed, wide = tg.asarray(draw(rows, units)), tg.asarray(draw(512, 512))

    def dense():
        x.grad = None
        layer.zero_grad()
        layer(x).backward(seed)

    dense()  # so that there are gradients for an update alone
    made = {"dense": dense, "Adam": optimizer.step, "elementwise": lambda: tg.tanh(wide)}
    return made, lambda: float(np.abs(layer.weight.numpy()).sum())


def sampled(step: Callable, seconds: float, rounds: int, pause: float) -> list[float]:
    """Milliseconds per call, a sample a round, after threads of others have gone to sleep."""
    calls, _ = harness.calls_to_fill(lambda: (step, None), seconds)
    samples = []
    for _ in range(rounds):
        time.sleep(pause)
        samples.append(harness.timed(step, calls) * 1e3)
    return samples


def child(order: list[str], rounds: int, tiny: bool) -> list[dict[str, Any]]:
    """In a fresh process: import in this order, then time steps and parts of each shape."""
    for name in order:
        importlib.import_module(name)
    seconds, pause = (0.0, 0.0) if tiny else (0.02, 0.05)
    found = []
    for shape in SHAPES:
        made, total = parts(*shape)

        def step():
            for part in made.values():
                part()

        for _ in range(STEPS):
            step()
        check = total()
        whole = sampled(step, seconds, rounds, pause)
        alone = {name: sampled(part, seconds, rounds, pause) for name, part in made.items()}
        found.append({"loss": check, "samples": whole, "alone": alone})
    return found


def measured(order: tuple[str, ...], threads: int, options: Any) -> list[dict[str, Any]]:
    """The results of a child with this import order and number of threads."""
    env = {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in VARIABLES}}
    command = [sys.executable, __file__, "--measure", ",".join(order), str(threads)]
    command += ["--rounds", str(options.rounds), *(["--tiny"] if options.tiny else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=env)
    return json.loads(done.stdout)


def notes(cases: list[dict[str, Any]]) -> list[str]:
    """The worst ratios of each case."""
    lines = []
    for case in cases:
        worst = {base: max(row["ratios"][base] for row in case["rows"]) for base in (PARTS, BEST)}
        line = ", ".join(f"{over:.2f} of the {base}" for base, over in worst.items())
        lines.append(f"{case['name']}: at worst {line}")
    return lines


def main() -> int:
    options = harness.parsed(rounds=5)
    if options.measure:
        print(json.dumps(child(options.measure[0].split(","), options.rounds, options.tiny)))
        return 0
    present = [name for name in MODULES if importlib.util.find_spec(name)]
    missing = {name: f"No module named {name!r}" for name in MODULES if name not in present}
    orders, counts = list(permutations(present)), [2] if options.tiny else THREADS
    orders = orders[-1:] if options.tiny else orders
    counts = harness.chosen(counts, "{} threads".format, options.only)
    facts = {"threads": ", ".join(map(str, counts))}
    result = {"script": "threads", "machine": harness.machine() | facts, "rounds": options.rounds}
    cases = {
        (threads, shape): {
            "name": "{} threads, {} x {} x {}".format(threads, *shape),
            **{
                "unit": "ms per step",
                "steps": STEPS,
                "baselines": [PARTS, BEST],
                "rows are": "imports",
            },
            **{"missing": missing, "rows": []},
        }
        for threads in counts
        for shape in SHAPES
    }
    for threads in counts:
        for order in orders:
            for shape, found in zip(SHAPES, measured(order, threads, options), strict=True):
                whole = harness.spread(found["samples"])
                alone = {name: statistics.median(s) for name, s in found["alone"].items()}
                row = {"framework": ", ".join(order), **whole, "alone": alone}
                row["ratios"] = {PARTS: whole["median"] / sum(alone.values())}
                rows = cases[threads, shape]["rows"]
                reference = rows[0]["loss"] if rows else found["loss"]
                rows.append(row | harness.compared([found["loss"]], reference, 1e-3))
    result["cases"] = list(cases.values())
    for case in result["cases"]:
        least = min(row["median"] for row in case["rows"])
        for row in case["rows"]:
            row["ratios"][BEST] = row["median"] / least
    result["notes"] = notes(result["cases"])
    return harness.finish(result, options)


if __name__ == "__main__":
    sys.exit(main())
