"""Training on a GPU beside PyTorch (eager, compiled, in a CUDA graph) and JAX: python -m tensorgrad
bench --gpu. Steps of networks in float32 and bfloat16, single ops beside the card's own limits,
device memory, and the first step of a new process.

It needs no network and keeps to its time (`--seconds`): what does not fit is left out and named.
The last screen is the summary; all figures are in the JSON file.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gpu_kernels
import harness
from gpu_contenders import BASELINES, CONTENDERS
from gpu_kernels import said
from gpu_place import Budget, Place, calls_to_fill, within
from networks import CNN, LSTM, MLP, Net, Transformer

ROUNDS = 15
PARTS = ("steps", "limits", "ops", "first")  # training, the card's own limits, ops, new processes
LEAST = 3  # rounds; with fewer there is no median
KERNELS_S, FIRST_S = 75.0, 60.0  # seconds kept for the ops and for the new processes
CASE_S = 8.0  # a case that would have less is left out
FIRST = ("MLP 128 float32", "Transformer bfloat16")  # whose first step is timed


class Case(NamedTuple):
    """A network in one precision. Losses after `steps` steps may differ by `tolerance`."""

    name: str
    net: Net
    half: bool
    steps: int = 5

    @property
    def tolerance(self) -> float:
        return 3e-2 if self.half else 1e-3


def cases(tiny: bool) -> list[Case]:
    """The most telling first, so that time that runs out takes the others."""
    adam = partial(MLP, "adam", 1e-3)
    if tiny:
        nets = {
            "MLP 128": adam((4, 20), sizes=(20, 9, 7, 10)),
            "Transformer": Transformer("adamw", 3e-4, (2, 3, 8), classes=5, heads=2, hidden=16),
            "CNN": CNN("adam", 1e-3, (2, 1, 8, 8), filters=(3, 4), hidden=8),
            "LSTM": LSTM("adam", 1e-3, (2, 3, 5), hidden=4),
        }
    else:
        sizes = (784, 2048, 2048, 10)
        tokens = {"classes": 64, "blocks": 6, "heads": 8, "hidden": 2048}
        nets = {
            "MLP 128": adam((128, 784), sizes=sizes),
            "Transformer": Transformer("adamw", 3e-4, (16, 512, 512), **tokens),
            "MLP 8192": adam((8192, 784), sizes=sizes),
            "CNN": CNN("adam", 1e-3, (256, 1, 28, 28)),
            "LSTM": LSTM("adam", 1e-3, (64, 64, 256), hidden=512),
        }
    return [
        Case(f"{name} {'bfloat16' if half else 'float32'}", net, half)
        for name, net in nets.items()
        for half in (False, True)
    ]


# --- one case -----------------------------------------------------------------------------------


def run(case: Case, place: Place, budget: Budget, end: float) -> dict[str, Any]:
    """Sets every contender up, then gives each one sample a round until `end` seconds of the
    budget are spent."""
    running, rows, missing = {}, {}, {}
    for name, load in CONTENDERS.items():
        before, begin = place.emptied(name), time.perf_counter()
        try:
            with within(min(max(20.0, end - budget.spent()), budget.left())):
                one = load(case.net, case.half, place)
                one.step()
                first, ready = one.loss(), time.perf_counter() - begin
                for _ in range(case.steps - 1):
                    one.step()
                loss = one.loss()
                fill = calls_to_fill(one.timed, one.step, 0.0 if place.tiny else 0.05)
        except Exception as error:  # the others are measured all the same
            missing[name] = str(error) if isinstance(error, ImportError) else said(error)
            one = None
            continue
        unknown = place.tiny or name.startswith("jax")  # whose pool never gives back
        mib = None if unknown else place.held(name) - before
        rows[name] = {"framework": name, "calls": fill[0], "set_up_s": ready, "first_loss": first}
        rows[name] |= {"loss": loss, "mib": mib}
        running[name] = one
    samples: dict[str, list[float]] = {name: [] for name in running}
    rounds = 0
    while running and rounds < (2 if place.tiny else ROUNDS):
        if rounds >= LEAST and budget.spent() > end:
            break
        for name in list(running)[:: 1 if rounds % 2 == 0 else -1]:
            gc.collect()
            gc.disable()
            one = running[name]
            one.step()  # brings its code back into the caches
            samples[name].append(one.timed(one.step, rows[name]["calls"]) * 1e3)
            gc.enable()
        rounds += 1
    reference = next(iter(rows.values()))["loss"] if rows else float("nan")
    for name, row in rows.items():
        row |= harness.spread(samples[name])
        row["ratios"] = {
            b: harness.ratio(samples[name], samples[b]) for b in BASELINES if b in samples
        }
        row |= harness.compared([row["loss"]], reference, case.tolerance)
    facts = {"name": case.name, "unit": "ms per step", "steps": case.steps}
    facts |= {"tolerance": case.tolerance, "rounds": rounds, "missing": missing}
    return {**facts, "baselines": list(BASELINES), "rows": list(rows.values())}


# --- new processes ------------------------------------------------------------------------------


def first_step(case: Case, framework: str, place: Place) -> None:
    """In a process of its own: print when the first step was done, and how long the data took."""
    begin = time.time()
    case.net.draw()
    drawn = time.time() - begin
    one = CONTENDERS[framework](case.net, case.half, place)
    one.step()
    one.loss()
    print(json.dumps({"ready": time.time(), "drawn": drawn}))


def first_steps(place: Place, every: list[Case], budget: Budget) -> list[dict[str, Any]]:
    """Seconds from the start of a process to the end of its first step: with an empty cache of
    compiled kernels, with a full one, and PyTorch's."""
    found = []
    for case in [case for case in every if case.name in FIRST]:
        with tempfile.TemporaryDirectory() as cache:
            for framework, kind in (("tensorgrad", "cold"), ("tensorgrad", "warm"), ("torch", "")):
                row = {"case": case.name, "framework": f"{framework} {kind}".strip()}
                found.append(row)
                command = [sys.executable, __file__, "--first-step", case.name, framework]
                command += ["--tiny"] if place.tiny else []
                began, left = time.time(), budget.left()
                try:
                    if left < 5:
                        raise TimeoutError("no time left")
                    done = subprocess.run(
                        command,
                        capture_output=True,
                        text=True,
                        timeout=left,
                        env={**os.environ, "CUPY_CACHE_DIR": cache},
                    )
                    if done.returncode:
                        raise RuntimeError((done.stderr.strip() or "no output").splitlines()[-1])
                    seen = json.loads(done.stdout.splitlines()[-1])
                    row["seconds"] = seen["ready"] - seen["drawn"] - began
                except (RuntimeError, TimeoutError, subprocess.TimeoutExpired) as error:
                    row["error"] = said(error)
    return found


# --- the report ---------------------------------------------------------------------------------


def table(case: dict[str, Any]) -> list[str]:
    """All of one case: a row a contender."""
    lines = [f"{case['name']}, {case['unit']}, {case['rounds']} rounds"]
    head = f"  {'':20}{'median':>9}{'quartiles':>18}{'min':>9}{'/ torch':>9}{'MiB':>9}"
    lines.append(head + f"{'set-up s':>10}  loss after {case['steps']}")
    for row in case["rows"]:
        quartiles = f"{row['q1']:.3f}-{row['q3']:.3f}"
        ratio = f"{row['ratios']['torch']:.2f}" if "torch" in row["ratios"] else "-"
        mib = "-" if row["mib"] is None else f"{row['mib']:.0f}"
        text = f"  {row['framework']:20}{row['median']:9.3f}{quartiles:>18}{row['min']:9.3f}"
        text += f"{ratio:>9}{mib:>9}{row['set_up_s']:10.1f}  {row['loss']:.6g}"
        lines.append(text + ("" if row["agrees"] else "  DISAGREES"))
    return lines + [f"  {name:20} missing: {why}" for name, why in case["missing"].items()]


def kernel_table(rows: list[dict[str, Any]]) -> list[str]:
    """All ops: a row each."""
    lines = [f"{'op':20}{'dtype':>10}{'MiB':>8}{'us':>10}{'per second':>12}  of the limit"]
    for row in [row for row in rows if "error" not in row]:
        mib = "" if row["mib"] is None else f"{row['mib']:.3g}"
        text = f"{row['name']:20}{row['dtype']:>10}{mib:>8}{row['us']:10.1f}"
        theirs = f"; PyTorch {row['torch_us']:.1f} us" if "torch_us" in row else ""
        text += f"{row['per_second']:12.3g}  {row['fraction']:.0%} of {row['limit']}"
        lines.append(text + theirs)
    return lines


def summary(result: dict[str, Any]) -> list[str]:
    """One screen."""
    m = result["machine"]
    versions = ", ".join(f"{name} {v}" for name, v in m["versions"].items())
    lines = [f"{m['gpu']}; {versions}"]
    if top := result["ceilings"]:
        ops = [f"{k} {v['per_second'] / 1e12:.3g}" for k, v in top.items() if k != "copy"]
        copy = top["copy"]["per_second"] / 1e12
        lines.append(f"limits: copy {copy:.3g} TB/s; TFLOP/s: {', '.join(ops)}")
    names = list(CONTENDERS)
    short = [name.replace("tensorgrad", "tg") for name in names]
    lines += [
        "",
        f"{'ms per step':21}" + "".join(f"{name:>14}" for name in short) + "  MiB tg/torch",
    ]
    for case in result["cases"]:
        rows = {row["framework"]: row for row in case["rows"]}
        cells = [f"{rows[n]['median']:.3f}" if n in rows else "-" for n in names]
        held = [rows.get(n, {}).get("mib") for n in ("tensorgrad", "torch")]
        cells.append("/".join("-" if mib is None else f"{mib:.0f}" for mib in held))
        lines.append(f"{case['name']:21}" + "".join(f"{cell:>14}" for cell in cells))
    lines += ["", *fractions(result["kernels"])]
    cold = [
        f"{r['framework']} {r['seconds']:.1f} s" if "seconds" in r else f"{r['framework']} -"
        for r in result["first_steps"]
    ]
    for name in dict.fromkeys(row["case"] for row in result["first_steps"]):
        of = [c for c, r in zip(cold, result["first_steps"], strict=True) if r["case"] == name]
        lines.append(f"first step of a new process, {name}: {', '.join(of)}")
    return [*lines, "", *result["notes"]]


def fractions(rows: list[dict[str, Any]]) -> list[str]:
    """Percent of the limit, float32 / bfloat16, of the largest size; several ops a line."""
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if "error" not in row and row["mib"] in (None, rows[0]["mib"]):
            found.setdefault(row["name"], {})[row["dtype"]] = f"{100 * row['fraction']:.0f}"
    cells = [
        f"{name} {by.get('float32', '-')}/{by.get('bfloat16', '-')}" for name, by in found.items()
    ]
    cells = [f"{cell:28}" for cell in cells]
    lines = ["".join(cells[i : i + 4]).rstrip() for i in range(0, len(cells), 4)]
    return ["percent of the limit, float32/bfloat16:", *lines] if lines else []


def notes(result: dict[str, Any], dropped: list[str], budget: Budget) -> list[str]:
    """What a reader must know besides the figures."""
    rows = [(case["name"], row) for case in result["cases"] for row in case["rows"]]
    wrong = [f"{name}: {row['framework']}" for name, row in rows if not row["agrees"]]
    lines = ["LOSSES DISAGREE in " + "; ".join(wrong) if wrong else "all losses agree"]
    lines = lines if rows else []
    if best := [
        f"{case['name']} {over:.2f}" for case in result["cases"] if (over := over_torch(case))
    ]:
        lines.insert(0, "best of tensorgrad / best of PyTorch: " + ", ".join(best))
    few = [f"{c['name']} ({c['rounds']})" for c in result["cases"] if c["rounds"] < ROUNDS]
    if few and result["machine"]["gpu"][:4] != "none":
        lines.append(f"fewer than {ROUNDS} rounds, for time: " + ", ".join(few))
    if dropped:
        lines.append("LEFT OUT, for time: " + ", ".join(dropped))
    missing: dict[str, list[str]] = {}
    for case in result["cases"]:
        for name, why in case["missing"].items():
            missing.setdefault(f"{name}: {why}", []).append(case["name"])
    for why, names in missing.items():
        every = "" if len(names) == len(result["cases"]) else f" ({', '.join(names)})"
        lines.append(f"missing {why}{every}"[:160])
    lines += [f"FAILED {text}"[:160] for text in failures(result)]
    return [*lines, f"{budget.spent():.0f} of {budget.seconds:.0f} s"]


def over_torch(case: dict[str, Any]) -> float | None:
    """The shortest median of tensorgrad's ways to train, over the shortest of PyTorch's."""
    ours, theirs = (
        [row["median"] for row in case["rows"] if row["framework"].startswith(name)]
        for name in ("tensorgrad", "torch")
    )
    return min(ours) / min(theirs) if ours and theirs else None


def failures(result: dict[str, Any]) -> list[str]:
    """Ops that raised, and processes that ended early."""
    ops = [f"{r['name']} {r['dtype']}: {r['error']}" for r in result["kernels"] if "error" in r]
    first = [
        f"first step, {r['case']}, {r['framework']}: {r['error']}"
        for r in result["first_steps"]
        if "error" in r and r["framework"] != "torch"
    ]
    return ops + first


def ours_failed(result: dict[str, Any]) -> bool:
    """Whether tensorgrad's own part is not whole: a loss that disagrees, an op or case that ends
    with an error. Peers may fail."""
    rows = [row for case in result["cases"] for row in case["rows"]]
    gone = [case["name"] for case in result["cases"] if "tensorgrad" in case["missing"]]
    return not all(row["agrees"] for row in rows) or bool(gone or failures(result))


# --- the script ---------------------------------------------------------------------------------


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=420, help="for the whole run (420)")
    parser.add_argument("--only", default="", help="cases with this in their name; a|b for several")
    parser.add_argument("--parts", default=",".join(PARTS), help="which: " + ",".join(PARTS))
    parser.add_argument("--output", type=Path, help="JSON file (./gpu_training-<date>.json)")
    parser.add_argument("--tiny", action="store_true", help="that all runs; needs no GPU")
    parser.add_argument("--first-step", nargs=2, metavar=("CASE", "FRAMEWORK"), help="one process")
    options = parser.parse_args()
    path = options.output or Path("here.json")
    if path.is_dir() or not os.access(path.parent, os.W_OK):  # said now, not after the measurements
        parser.error(f"no file can be written to {path if options.output else Path.cwd()}")
    options.parts = options.parts.split(",")
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"--parts: {', '.join(sorted(unknown))} is none of {', '.join(PARTS)}")
    if "ops" in options.parts and "limits" not in options.parts:
        parser.error("--parts: ops are measured beside the limits: give limits, too")
    return options


def kept(result: dict[str, Any], path: Path | None) -> None:
    """Write what there is so far, whole at any moment: a run may be cut short."""
    if path is not None:
        draft = path.with_name(f".{path.name}.draft")
        draft.write_text(json.dumps(result, indent=1) + "\n")
        draft.replace(path)


def main() -> int:
    options = parsed()
    budget, place, every = Budget(options.seconds), Place(options.tiny), cases(options.tiny)
    if not options.tiny:
        from tensorgrad import backend

        if reason := backend.why_no_gpu():
            print(f"no GPU to measure: {reason}", file=sys.stderr)
            return 1
    if options.first_step:
        (case,) = [case for case in every if case.name == options.first_step[0]]
        first_step(case, options.first_step[1], place)
        return 0
    wanted = options.only.split("|")
    every = [case for case in every if any(part in case.name for part in wanted)]
    if not every:
        print(f"no case has {options.only!r} in its name", file=sys.stderr)
        return 2
    machine = {**harness.machine(), **place.describe()}
    path = options.output or Path(f"gpu_training-{machine['date'][:10]}.json")
    path = path if options.output or not options.tiny else None
    result: dict[str, Any] = {"script": "gpu_training", "machine": machine, "cases": []}
    result |= {"ceilings": {}, "kernels": [], "first_steps": [], "notes": []}
    dropped = []
    after = {"ops": KERNELS_S, "first": FIRST_S}  # seconds kept for what comes after the training
    reserve = sum(seconds for part, seconds in after.items() if part in options.parts)
    reserve = reserve if options.seconds > 2 * reserve else 0.0
    pending = list(every) if "steps" in options.parts else []
    while pending:
        share = (budget.left() - reserve) / len(pending)
        if share < CASE_S:
            dropped.insert(0, pending.pop().name)
            continue
        result["cases"].append(run(pending.pop(0), place, budget, budget.spent() + share))
        kept(result, path)
        print("\n".join(["", *table(result["cases"][-1])]), flush=True)
    try:
        if "limits" in options.parts:
            result["ceilings"] = gpu_kernels.ceilings(place)
            kept(result, path)
        if "ops" in options.parts:
            reserve = FIRST_S if reserve and "first" in options.parts else 0.0
            result["kernels"] = gpu_kernels.measured(place, result["ceilings"], budget, reserve)
            kept(result, path)
    except Exception as error:
        result["kernels"] += [{"name": "ops", "dtype": "all", "mib": None, "error": said(error)}]
    print("\n".join(["", *kernel_table(result["kernels"])]), flush=True)
    if "first" in options.parts:
        result["first_steps"] = first_steps(place, every, budget)
    result["notes"] = notes(result, dropped, budget)
    kept(result, path)
    if path is not None:
        result["notes"].append(f"all figures: {path}")
    print("\n".join(["", "=" * 110, *summary(result)]))
    return 1 if ours_failed(result) else 0


if __name__ == "__main__":
    sys.exit(main())
