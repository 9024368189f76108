"""Times the same work in several frameworks side by side, and checks that it is the same work.

A script lists `Case`s and calls `main`. Each round gives every contender one sample, A B C then
C B A, so that slow drifts of the machine meet all alike. A sample starts from the initial weights,
takes steps untimed whose loss is compared with the others', then times as many as fill 20 ms,
without garbage collector. A ratio is the median of the ratios within rounds.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

THREADS = int(os.environ.get("BENCH_THREADS", "2"))
PACKAGES = "tensorgrad-cupy numpy numba tbb cupy-cuda12x cupy-cuda13x torch jax autograd".split()
SLOW = 1.0  # seconds: contenders whose sample lasts longer get 3 rounds

Start = Callable[[], tuple[Callable[[], object], Callable[[], float]]]


@dataclass
class Case:
    """One workload. `contenders` maps a framework to a function that imports it (ImportError: it
    is listed as missing) and returns `start`; `start()` sets up the initial state and returns
    `step`, one call of the work, and `loss`, which reads the loss of the last step.

    The first contender's loss after `steps` steps is the reference: others may differ by
    `tolerance` times it. `scale` turns the seconds of a call into `unit`.
    """

    name: str
    contenders: dict[str, Callable[[], Start]]
    unit: str = "ms per step"
    scale: float = 1e3
    steps: int = 1
    tolerance: float = 1e-3
    baselines: tuple[str, ...] = ("numpy", "torch")


def timed(step: Callable[[], object], calls: int) -> float:
    """Seconds per call over `calls` calls."""
    begin = time.perf_counter()
    for _ in range(calls):
        step()
    return (time.perf_counter() - begin) / calls


def calls_to_fill(start: Start, seconds: float) -> tuple[int, float]:
    """How many calls last at least `seconds`, and how long one takes."""
    step, _ = start()
    step()
    calls = 1
    while (each := timed(step, calls)) * calls < seconds:
        calls = max(calls + 1, min(10 * calls, round(1.1 * seconds / each)))
    return calls, each


def run(case: Case, rounds: int, seconds: float, pause: float) -> dict[str, Any]:
    """All samples of one case and what follows from them, ready for the JSON file."""
    starts, missing = {}, {}
    for name, load in case.contenders.items():
        try:
            starts[name] = load()
        except ImportError as error:
            missing[name] = str(error)
    gc.collect()
    gc.freeze()  # what the frameworks hold for good need not be looked through before each sample
    fill = {name: calls_to_fill(start, seconds) for name, start in starts.items()}
    samples: dict[str, list[float]] = {name: [] for name in starts}
    losses: dict[str, list[float]] = {name: [] for name in starts}
    for turn in range(rounds):
        for name in list(starts)[:: 1 if turn % 2 == 0 else -1]:
            calls, each = fill[name]
            if turn >= 3 and calls * each > SLOW:
                continue
            time.sleep(pause)  # the threads of the last one go on spinning for a while
            gc.collect()
            gc.disable()
            step, loss = starts[name]()
            timed(step, case.steps)
            losses[name].append(float(loss()))
            samples[name].append(timed(step, calls) * case.scale)
            gc.enable()
    gc.unfreeze()
    rows, bases = [], [b for b in case.baselines if b in starts]
    for name in starts:
        row = {"framework": name, "calls": fill[name][0], **spread(samples[name])}
        row["ratios"] = {b: ratio(samples[name], samples[b]) for b in bases}
        row |= compared(losses[name], losses[next(iter(starts))][0], case.tolerance)
        rows.append(row)
    facts = {k: getattr(case, k) for k in ("name", "unit", "steps", "tolerance")}
    return {**facts, "baselines": bases, "missing": missing, "rows": rows}


def spread(samples: list[float]) -> dict[str, Any]:
    """Median, quartiles and minimum of the samples, and the samples themselves."""
    low, middle, high = statistics.quantiles(samples * 2, n=4, method="inclusive")
    return {"median": middle, "q1": low, "q3": high, "min": min(samples), "samples": samples}


def ratio(samples: list[float], base: list[float]) -> float:
    """The median of the ratios within rounds."""
    return statistics.median([s / b for s, b in zip(samples, base, strict=False)])


def compared(losses: list[float], reference: float, tolerance: float) -> dict[str, Any]:
    """The loss furthest from the reference, and whether it is near enough; NaN never is."""
    off = lambda loss: math.inf if math.isnan(loss) else abs(loss - reference)  # noqa: E731
    worst = max(losses, key=off)
    return {"loss": worst, "agrees": off(worst) <= tolerance * abs(reference)}


def machine() -> dict[str, Any]:
    """What the numbers depend on: processor, threads, versions, revision, date, load."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    installed = {d.name: d.version for d in metadata.distributions()}
    versions = {name: installed[name] for name in PACKAGES if name in installed}
    git = f'git -C "{Path(__file__).parent}" describe --always --dirty'
    failed, revision = subprocess.getstatusoutput(git)
    return {
        "cpu": cpu.partition("model name\t: ")[2].partition("\n")[0] or platform.machine(),
        "cores": os.cpu_count(),
        "threads": THREADS,
        "load": round(getattr(os, "getloadavg", lambda: [0.0])()[0], 2),
        "versions": {"python": platform.python_version(), **versions},
        "revision": "unknown" if failed else revision,
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
    }


def table(result: dict[str, Any]) -> str:
    """The result as text that is also GitHub's markdown."""
    m = result["machine"]
    head = f"{m['date']}, revision {m['revision']}: {m['cpu']}, {m['cores']} cores, {m['threads']} "
    head += f"threads for all, load {m['load']} at the start{' (BUSY)' if m['load'] > 1 else ''}; "
    lines = [f"{head}{result['rounds']} rounds. " + ", ".join(map(" ".join, m["versions"].items()))]
    for case in result["cases"]:
        lines += ["", f"### {case['name']}: {case['unit']}", ""]
        over = [f"/ {b}" for b in case["baselines"]]
        titles = ["framework", "median", "quartiles", "min", *over, f"loss after {case['steps']}"]
        lines += ["| " + " | ".join(titles) + " |", "|---" + "|--:" * (len(titles) - 1) + "|"]
        for row in case["rows"]:
            cells = [row["framework"], f"{row['median']:.3g}", f"{row['q1']:.3g}-{row['q3']:.3g}"]
            cells += [f"{row['min']:.3g}", *[f"{row['ratios'][b]:.2f}" for b in case["baselines"]]]
            cells += [f"{row['loss']:.6g}" + ("" if row["agrees"] else " **DISAGREES**")]
            lines.append("| " + " | ".join(cells) + " |")
        lines += [f"| {name} | missing: {why} |" for name, why in case["missing"].items()]
    return "\n".join([*lines, "", *[f"- {note}" for note in result["notes"]]])


def main(script: str, cases: Callable[[bool], list[Case]], notes: Callable = lambda _: []) -> int:
    """Run a script's `cases(tiny)`, print table and `notes(results)`, write JSON; the exit code."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--rounds", type=int, help="samples per contender (15)")
    parser.add_argument("--only", default="", help="run the cases whose name contains this")
    parser.add_argument("--output", type=Path, help="JSON file (results/<script>-<date>.json)")
    parser.add_argument("--tiny", action="store_true", help="a quick look that everything runs")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:THREADS])
    wanted = {f"{k}_NUM_THREADS": str(THREADS) for k in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    if any(os.environ.get(k) != v for k, v in wanted.items()):  # read when libraries are loaded
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **wanted})
    rounds, seconds, pause = (2, 0.0, 0.0) if options.tiny else (15, 0.02, 0.03)
    result = {"script": Path(script).stem, "machine": machine(), "rounds": options.rounds or rounds}
    chosen = [case for case in cases(options.tiny) if options.only in case.name]
    if not chosen:
        parser.error(f"no case has {options.only!r} in its name")
    result["cases"] = [run(case, result["rounds"], seconds, pause) for case in chosen]
    result["notes"] = notes(result["cases"])
    print(table(result))
    name = f"results/{result['script']}-{result['machine']['date'][:10]}.json"
    path = options.output or Path(__file__).parent / name
    if options.output or not options.tiny:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n")
    rows = [(case["name"], row) for case in result["cases"] for row in case["rows"]]
    wrong = [f"{name}: {row['framework']}" for name, row in rows if not row["agrees"]]
    if wrong:
        print("LOSSES DISAGREE in " + "; ".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "table":
        sys.exit("usage: python benchmarks/harness.py table benchmarks/results/<file>.json")
    print(table(json.loads(Path(sys.argv[2]).read_text())))
