"""Times the same work in several frameworks side by side, and checks that it is the same work.

A script lists `Case`s and calls `main`. Each round gives every contender one sample, A B C then
C B A, so that slow drifts of the machine meet all alike. A sample starts from the initial weights,
takes steps untimed whose loss is compared with the others', then times as many as fill 20 ms,
without garbage collector. A ratio is the median of the ratios within rounds.

Cold start and peak memory are measured in fresh processes of the same script, one per contender
and turn, so that no framework inherits what another has loaded.
"""

from __future__ import annotations

import argparse
import ctypes
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
PACKAGES += ["nvidia-cudnn-cu13", "nvidia-cudnn-frontend"]
SLOW = 1.0  # seconds: contenders whose sample lasts longer get 3 rounds

Start = Callable[[], tuple[Callable[[], object], Callable[[], float]]]


@dataclass
class Case:
    """One workload. `contenders` maps a framework to a function that imports it (ImportError: it
    is listed as missing) and returns `start`; `start()` sets up the initial state and returns
    `step`, one call of the work, and `loss`, which reads the loss of the last step.

    The first contender's loss after `steps` steps is the reference: others may differ by
    `tolerance` times it. `scale` turns the seconds of a call into `unit`. `goal` is the ratio of
    tensorgrad to the last baseline that is there. With `draw`, which makes the data so that
    contenders find it made, cold start and peak memory are measured too.
    """

    name: str
    contenders: dict[str, Callable[[], Start]]
    unit: str = "ms per step"
    scale: float = 1e3
    steps: int = 1
    tolerance: float = 1e-3
    baselines: tuple[str, ...] = ("numpy", "torch")
    goal: float | None = None
    draw: Callable[[], object] | None = None


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
    facts = {k: getattr(case, k) for k in ("name", "unit", "steps", "tolerance", "goal")}
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


# --- fresh processes ----------------------------------------------------------------------------


def measured(case: Case, framework: str) -> dict[str, float]:
    """In a process of its own: the time at the end of the first step, the seconds that the data
    took before, and peaks of memory in MiB over four steps and their set-up: `peak` over what
    import and data had left, `working` the second time, with all code loaded and compiled.

    A peak is VmHWM (Linux), set back before: ru_maxrss starts at the parent's own peak.
    """
    begin = time.time()
    case.draw()
    drawing = time.time() - begin
    start = case.contenders[framework]()
    peaks, ready = [], 0.0
    for _ in range(2):
        give_back()
        Path("/proc/self/clear_refs").write_text("5")
        before = mebibytes("VmRSS:")
        step, loss = start()
        step()
        ready = ready or time.time()
        timed(step, 3)
        peaks.append(mebibytes("VmHWM:") - before)
        del step, loss
    return {"ready": ready, "drawing": drawing, "peak": peaks[0], "working": peaks[1]}


def give_back() -> None:
    """Free memory goes to the system, or what is then taken of it would not be seen."""
    gc.collect()
    if buffers := sys.modules.get("tensorgrad.kernels.cpu.buffers"):
        buffers.trim()
    ctypes.CDLL(None).malloc_trim(0)


def mebibytes(key: str) -> float:
    """One line of this process's status."""
    return int(Path("/proc/self/status").read_text().partition(key)[2].split()[0]) / 1024


def footprints(script: str, case: Case, frameworks: list[str], turns: int, more: list[str]) -> dict:
    """Of each framework, medians over `turns` processes each: seconds from the start of the
    process to the end of the first step, the drawing of the data left out, and the peaks."""
    found: dict[str, list] = {name: [] for name in frameworks}
    for turn in range(turns):
        for name in frameworks[:: 1 if turn % 2 == 0 else -1]:
            command = [sys.executable, script, "--measure", case.name, name, *more]
            began = time.time()
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            seen = json.loads(done.stdout)
            cold = seen["ready"] - seen["drawing"] - began
            found[name].append((cold, seen["peak"], seen["working"]))
    keys = ("cold_s", "peak_mib", "working_mib")
    middle = lambda rows: [statistics.median(column) for column in zip(*rows, strict=True)]  # noqa: E731
    return {name: dict(zip(keys, middle(rows), strict=True)) for name, rows in found.items()}


# --- the result ---------------------------------------------------------------------------------


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
    notes = [f"- {note}" for note in result["notes"]]
    lines = [f"{head}{result['rounds']} rounds. " + ", ".join(map(" ".join, m["versions"].items()))]
    for case in result["cases"]:
        lines += ["", f"### {case['name']}: {case['unit']}", ""]
        over = [f"/ {b}" for b in case["baselines"]]
        titles = [
            case.get("rows are", "framework"),
            "median",
            "quartiles",
            "min",
            *over,
            f"loss after {case['steps']}",
        ]
        lines += ["| " + " | ".join(titles) + " |", "|---" + "|--:" * (len(titles) - 1) + "|"]
        for row in case["rows"]:
            cells = [row["framework"], f"{row['median']:.3g}", f"{row['q1']:.3g}-{row['q3']:.3g}"]
            cells += [f"{row['min']:.3g}", *[f"{row['ratios'][b]:.2f}" for b in case["baselines"]]]
            cells += [f"{row['loss']:.6g}" + ("" if row["agrees"] else " **DISAGREES**")]
            lines.append("| " + " | ".join(cells) + " |")
        lines += [f"| {name} | missing: {why} |" for name, why in case["missing"].items()]
    return "\n".join([*lines, *footprint_table(result["cases"]), "", *notes])


def footprint_table(cases: list[dict[str, Any]]) -> list[str]:
    """A row a case, a column a framework: seconds of a cold start, peaks of memory."""
    cases = [case for case in cases if case.get("footprints")]
    names = list(dict.fromkeys(name for case in cases for name in case["footprints"]))
    if not names:
        return []
    cell = "{cold_s:.2f} s, {peak_mib:.3g}, {working_mib:.3g}".format_map
    title = "cold start to the end of the first step; peak MiB of first and of later steps"
    lines = ["", f"### {title}", ""]
    lines += ["| case | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for case in cases:
        cells = [cell(f) if (f := case["footprints"].get(name)) else "-" for name in names]
        lines.append("| " + " | ".join([case["name"], *cells]) + " |")
    return lines


def against_goals(results: list[dict[str, Any]]) -> list[str]:
    """A note for each case with a goal: met or missed, or that nothing can be said."""
    lines = []
    for case in results:
        if case.get("goal") is None:
            continue
        rows = {row["framework"]: row for row in case["rows"]}
        line, base = f"{case['name']}: goal {case['goal']:g}: ", (case["baselines"] or [None])[-1]
        if "tensorgrad" in rows and base:
            over = rows["tensorgrad"]["ratios"][base]
            line += f"{'met' if over <= case['goal'] else 'MISSED'}, {over:.2f} of {base}"
        else:
            line += f"not measured, {'no baseline' if 'tensorgrad' in rows else 'missing'}"
        lines.append(line)
    return lines


def parsed(rounds: int = 15) -> argparse.Namespace:
    """The options that all scripts share."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("--rounds", type=int, help=f"samples per contender ({rounds})")
    parser.add_argument("--only", default="", help="run the cases whose name contains this")
    parser.add_argument("--output", type=Path, help="JSON file (results/<script>-<date>.json)")
    parser.add_argument("--tiny", action="store_true", help="a quick look that everything runs")
    parser.add_argument("--processes", type=int, help="fresh processes per contender (3)")
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "FRAMEWORK"), help="be such a one")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.tiny else rounds)
    if options.processes is None:
        options.processes = 0 if options.tiny or not Path("/proc/self/clear_refs").exists() else 3
    return options


def keep_to(threads: int) -> None:
    """The first cores, and as many threads for every library; they read it when loaded, so the
    process may have to begin again."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    wanted = {f"{k}_NUM_THREADS": str(threads) for k in ("OMP", "OPENBLAS", "MKL", "NUMBA")}
    if any(os.environ.get(k) != v for k, v in wanted.items()):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **wanted})


def chosen(items: list, name: Callable[[Any], str], only: str) -> list:
    """Those whose name contains `only`; exits with code 2 when there are none."""
    found = [item for item in items if only in name(item)]
    if not found:
        print(f"no case has {only!r} in its name", file=sys.stderr)
        sys.exit(2)
    return found


def finish(result: dict[str, Any], options: argparse.Namespace) -> int:
    """Print the table, write the JSON file, name the losses that disagree; the exit code."""
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


def main(script: str, cases: Callable[[bool], list[Case]], notes: Callable = against_goals) -> int:
    """Run a script's `cases(tiny)`, print table and `notes(results)`, write JSON; the exit code."""
    options = parsed()
    keep_to(THREADS)
    every = cases(options.tiny)
    if options.measure:
        (case,) = [case for case in every if case.name == options.measure[0]]
        print(json.dumps(measured(case, options.measure[1])))
        return 0
    seconds, pause = (0.0, 0.0) if options.tiny else (0.02, 0.03)
    result = {"script": Path(script).stem, "machine": machine(), "rounds": options.rounds}
    result["cases"] = []
    more = ["--tiny"] if options.tiny else []
    for case in chosen(every, lambda case: case.name, options.only):
        found = run(case, options.rounds, seconds, pause)
        if case.draw and options.processes:
            names = [row["framework"] for row in found["rows"]]
            found["footprints"] = footprints(script, case, names, options.processes, more)
        result["cases"].append(found)
    result["notes"] = notes(result["cases"])
    return finish(result, options)


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "table":
        sys.exit("usage: python benchmarks/harness.py table benchmarks/results/<file>.json")
    print(table(json.loads(Path(sys.argv[2]).read_text())))
