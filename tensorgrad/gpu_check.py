"""`python -m tensorgrad gpu-check`: what the first minutes on a card should find out.

Steps in the order of what would be learnt from them, each a program in a process group of its own,
with a time limit, a log that is written as it runs, and a result file that is there, whole, as soon
as the step has ended. A run that is cut short, or killed, keeps all of that, and the same command
with the same `--out` goes on from there. No step's failure ends the run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ArgumentError

ROOT = Path(__file__).parent.parent
LEAST = 10.0  # seconds: a step that would have less is not begun
GRACE = 5.0  # seconds that a step has, once its time is over, to say how far it came
TAIL = 40  # lines of each log in the report

# The tests that only a card can decide: libraries that cudasim stands in for, tensor cores,
# captures, streams, contexts. They run first, and the rest of `pytest -m gpu` without them.
CARD = tuple(
    f"tests/test_{file}.py::test_{name}"
    for file, names in {
        "gpu": (
            "only_arrays_on_the_gpu_make_a_context a_forked_process_is_told_to_spawn "
            "a_lost_device_says_so a_kernel_that_does_not_compile_is_named "
            "training_goes_on_after_memory_ran_out "
            "a_capture_that_runs_out_of_memory_leaves_the_program_usable "
            "a_replay_writes_into_no_memory_but_its_own a_graph_runs_on_the_stream_of_the_caller"
        ),
        "cublas": (
            "epilogues an_epilogue_keeps_nan dense_layers_of_eights halves_are_summed_in_float32 "
            "each_stream_has_memory_of_its_own threads_do_not_share_pointers "
            "tf32_is_a_switch_for_float32 in_a_captured_stream"
        ),
        "graphed": (
            "every_model_is_as_eager fit_of_captured_steps a_ragged_batch_runs_as_it_is "
            "the_graph_keeps_what_it_uses_and_lets_go_of_it"
        ),
        "attention_mma": "heads_of_two_widths the_same_bits_in_any_order_of_threads",
        "conv_mma": "sums_of_any_length",
        "cudnn": "layers the_same_bits_every_time a_captured_graph_computes_the_same "
        "a_graphed_step_is_as_eager threads_take_turns",
        "prefetch": "batches_stay_what_they_are_while_later_ones_are_copied "
        "a_loop_left_early_ends_the_copies graphed_steps_over_a_loader",
        "gpu_parity": "memory_is_shared_with_pytorch float32_products_are_not_rounded_to_tf32",
    }.items()
    for name in names.split()
)


class Step(NamedTuple):
    """A program to run. In its arguments and variables `{seconds}` is the time that it has, `{out}`
    the folder of the results; the last line of its output that matches `says` is shown for it."""

    name: str
    about: str
    command: tuple[str, ...]
    seconds: float
    says: str = r".*\S.*"
    env: dict[str, str] = {}
    needs: str | None = None  # a program without which the step does not apply


def steps() -> list[Step]:
    """All of them, in order."""
    python = sys.executable
    cupy = {"TENSORGRAD_BACKEND": "cupy"}
    pytest = (python, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", "-n")
    several = str(max(1, min(8, (os.cpu_count() or 1) // 2)))  # processes, as compiling takes cores
    counts = r"\d+ (passed|failed|skipped|error|deselected).* in [\d.]+s.*"
    within = {"TENSORGRAD_GPU_SECONDS": "{seconds}"}
    bench = (python, str(ROOT / "benchmarks" / "gpu_training.py"), "--seconds", "{seconds}")
    first = ("MLP 128", "Transformer bfloat16")
    rest = "MLP 8192|Transformer float32|CNN|LSTM"

    def training(name: str, about: str, only: str, seconds: float) -> Step:
        more = ("--parts", "steps", "--only", only, "--output", f"{{out}}/{name}.figures.json")
        says = r"(best of|LOSSES) .*"
        return Step(name, about, (*bench, *more), seconds, says)

    def figures(name: str, about: str, parts: str, seconds: float, says: str) -> Step:
        more = ("--parts", parts, "--output", f"{{out}}/{name}.figures.json")
        return Step(name, about, (*bench, *more), seconds, says)

    readme = (python, "-m", "tensorgrad.gpu_check", "readme")
    train = (python, "-m", "tensorgrad", "train", "--picture", "{out}/digits.png")
    deselect = [part for test in CARD for part in ("--deselect", test)]
    sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    tools = ("memcheck", "racecheck", "synccheck", "initcheck")
    return [
        Step("doctor", "what is installed, and the card", (python, "-m", "tensorgrad", "doctor"),
             60, r"\s*(gpu 0|cupy) .*"),
        Step("readme", "README's programs on CuPy", readme, 60, env=cupy),
        Step("digits", "digits learnt on CuPy: accuracy, speed", train, 60, r"loss .*images/s",
             cupy),
        Step("card-tests", "tests that only a card can decide", (*pytest, "0", *CARD), 120, counts,
             within),
        training("mlp", "MLP beside PyTorch and JAX", first[0], 70),
        training("transformer", "Transformer in bfloat16 beside them", first[1], 60),
        Step("gpu-tests", "the rest of pytest -m gpu", (*pytest, several, *deselect), 460, counts,
             within),
        figures("ops", "ops, update, copy and GEMM beside the card's limits", "limits,ops", 75,
                r"limits: .*"),
        training("training", "the other networks beside PyTorch and JAX", rest, 240),
        figures("first-steps", "the first step of a new process", "first", 120, r"first step .*"),
        *[
            Step(
                tool, "compute-sanitizer over every kernel",
                (sanitizer, "--tool", tool, "--print-limit", "5", "--error-exitcode", "9",
                 python, "-m", "tests.every_kernel"),
                150, r".*(ERROR|RACECHECK) SUMMARY.*", {"TENSORGRAD_CUDNN": "0"}, sanitizer,
            )
            for tool in tools
        ],
    ]  # fmt: skip


# --- one step -----------------------------------------------------------------------------------


def replace(path: Path, text: str) -> None:
    """Write a file so that it is, whenever this ends, the old one or the new one, and whole."""
    draft = path.with_name(f".{path.name}.draft")
    with open(draft, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def run(step: Step, out: Path, seconds: float) -> dict[str, Any]:
    """Run a step in at most so many seconds, and write its log and its result."""
    limit = min(step.seconds, seconds)
    words = {"{seconds}": f"{max(1.0, limit - GRACE):.0f}", "{out}": str(out)}
    command, log = [_filled(part, words) for part in step.command], out / f"{step.name}.log"
    env = {name: _filled(value, words) for name, value in step.env.items()}
    if step.needs is not None and shutil.which(step.needs) is None:
        result = {"status": "does not apply", "seconds": 0.0, "exit": None}
        said = f"{Path(step.needs).name} is not installed"
    else:
        began = time.monotonic()
        with open(log, "wb") as file:
            exit = _run(command, {**os.environ, "PYTHONUNBUFFERED": "1", **env}, file, limit)
        result = {"exit": exit, "seconds": round(time.monotonic() - began, 1)}
        result["status"] = "too long" if exit is None else "failed" if exit else "passed"
        said = _said(log, step.says)
    shown = ["python" if part == sys.executable else part for part in command]
    facts = {"name": step.name, "about": step.about, "limit": round(limit, 1), "said": said}
    facts |= {"command": _anonymous(" ".join(shown), out), "date": _now(), "revision": revision()}
    result = {**facts, **result}
    replace(out / f"{step.name}.json", json.dumps(result, indent=1) + "\n")
    return result


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def _run(command: list[str], env: dict[str, str], log: Any, seconds: float) -> int | None:
    """The exit status of a program, or None for one that was ended as its time was over. Its
    children end with it, however it ends."""
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=env,
            cwd=ROOT, start_new_session=True, preexec_fn=_with_parent(),
        )  # fmt: skip
    except OSError as error:
        log.write(f"{error}\n".encode())
        return 127
    in_time = False
    try:
        in_time = _ends(process.pid, seconds)
        if not in_time:
            os.kill(process.pid, signal.SIGINT)  # pytest then says what it has found
            _ends(process.pid, GRACE)
    finally:
        with suppress(ProcessLookupError):  # its group is there at least until it is waited for
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode if in_time else None


def _ends(pid: int, seconds: float) -> bool:
    """Whether a child ends within so many seconds. It is not waited for: its number stays its."""
    end = time.monotonic() + seconds
    while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _with_parent() -> Callable[[], None] | None:
    """Called in the child, which on Linux then ends when this process is killed."""
    if sys.platform != "linux":
        return None
    import ctypes

    library = ctypes.CDLL(None)
    return lambda: library.prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


# --- what it said -------------------------------------------------------------------------------


def _lines(log: Path) -> list[str]:
    """The lines of a log's end, without what a progress bar has overwritten."""
    if not log.exists():
        return []
    with open(log, "rb") as file:
        file.seek(max(0, log.stat().st_size - 65536))
        text = file.read().decode(errors="replace")
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in lines]


def _said(log: Path, pattern: str) -> str:
    """The last line of the log that matches; of all lines when none does."""
    lines = [line for line in _lines(log) if line]
    found = [line for line in lines if re.fullmatch(pattern, line)] or lines
    return _anonymous(" ".join(found[-1].split()), log.parent) if found else "nothing"


def _anonymous(text: str, out: Path) -> str:
    """Text without the paths of this machine."""
    for path, name in ((out, "OUT"), (ROOT, "."), (Path(sys.prefix), "PREFIX"), (Path.home(), "~")):
        text = text.replace(str(path), name)
    return text


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())


def revision() -> str:
    """The commit that is checked out, as git describes it."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True).stdout.strip() or "unknown"
    except OSError:
        return "unknown"


# --- all of them --------------------------------------------------------------------------------


def check(every: Iterable[Step], out: Path, minutes: float, no_gpu: str | None = None) -> int:
    """Run the steps that have no result in `out` yet, the report rewritten after each; returns the
    exit status, 0 where all passed that apply. With a reason `no_gpu` only the first step runs."""
    end, every = time.monotonic() + 60 * minutes, list(every)
    kept = {step.name: _kept(step, out) for step in every}
    old = {result["revision"] for result in kept.values() if result} - {revision()}
    if old:
        raise ArgumentError(
            f"gpu-check: {out} has results of revision {', '.join(old)}, this is {revision()}: "
            "give another folder as --out"
        )
    results: list[dict[str, Any]] = []
    stopped = no_gpu
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        for number, step in enumerate(every):
            left, result = end - time.monotonic(), kept[step.name]
            if result is None and not (number and stopped) and left >= LEAST:
                print(f"{step.name}: {step.about} (at most {min(left, step.seconds):.0f} s)")
                sys.stdout.flush()
                try:
                    result = run(step, out, left)
                except KeyboardInterrupt:
                    stopped = "interrupted"
            if result is None:
                why = stopped if stopped else "the time was over"
                result = {"name": step.name, "about": step.about, "status": "not run", "said": why}
            results.append(result)
            replace(out / "report.md", report(results, every[len(results) :], out))
    finally:
        signal.signal(signal.SIGTERM, before)
    print("\n".join(["", *table(results), f"the report: {out / 'report.md'}"]))
    return 0 if all(r["status"] in ("passed", "does not apply") for r in results) else 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _kept(step: Step, out: Path) -> dict[str, Any] | None:
    path = out / f"{step.name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def table(results: list[dict[str, Any]]) -> list[str]:
    """One screen: a line a step."""
    lines = [f"{'step':12} {'status':15}{'s':>6}  said"]
    for r in results:
        seconds = f"{r['seconds']:.0f}" if "seconds" in r else "-"
        lines.append(f"{r['name']:12} {r['status']:15}{seconds:>6}  {r['said']}"[:110])
    return lines


def report(results: list[dict[str, Any]], left: list[Step], out: Path) -> str:
    """The results as a page of Markdown, with the end of each log."""
    card = next((r["said"] for r in results if r["name"] == "doctor"), "no card")
    date = next((r["date"] for r in results if "date" in r), _now())
    lines = ["# gpu-check", "", f"{date}, revision {revision()}: {card}", ""]
    lines += ["| step | | status | s | said |", "|---|---|---|--:|---|"]
    for r in results:
        seconds = f"{r['seconds']:.0f}" if "seconds" in r else "-"
        cells = [r["name"], r["about"], r["status"], seconds, r["said"].replace("|", "\\|")]
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"| {step.name} | {step.about} | to come | - | - |" for step in left]
    for r in results:
        log = [_anonymous(line, out)[:200] for line in _lines(out / f"{r['name']}.log")]
        if "command" in r and log:
            text = "\n".join(log).strip("\n").split("\n")[-TAIL:]
            lines += ["", f"## {r['name']}: {r['status']}", "", f"`{r['command']}`"[:300], ""]
            lines += ["````text", *text, "````"]
    return "\n".join(lines) + "\n"


def main(minutes: float, out: str | None) -> int:
    """The command."""
    if not (ROOT / "tests").is_dir():
        raise ArgumentError(
            "gpu-check needs the tests and benchmarks of a clone: git clone the repository, and "
            'there pip install -e ".[test,cuda13]"'
        )
    if not minutes > 0:
        raise ArgumentError(f"gpu-check: --minutes is above 0, got {minutes:g}")
    folder = Path(out or time.strftime("gpu-check-%Y-%m-%d-%H%M%S")).resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"gpu-check: --out {folder} cannot be a folder: {error}") from error
    from . import backend

    return check(steps(), folder, minutes, backend.why_no_gpu())


def run_readme() -> None:
    """Run the programs that README shows before it comes to how it works, one after the other, in
    one namespace."""
    text, names = (ROOT / "README.md").read_text().split("## How it works")[0], {}  # type: ignore[var-annotated]
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "README.md", "exec"), names)


if __name__ == "__main__":
    run_readme()
