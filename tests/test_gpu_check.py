"""`python -m tensorgrad gpu-check`, with small programs in the place of its steps: what a run keeps
that is cut short, that nothing outlives its time, and that the real steps are what they say."""

from __future__ import annotations

import fcntl
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tensorgrad as tg
from tensorgrad import backend, gpu_check
from tensorgrad.gpu_check import Step, check, steps

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


def program(name, code, seconds=20.0, **more):
    return Step(name, f"what {name} shows", (sys.executable, "-c", code), seconds, **more)


def until(true, what):
    """Wait for something that must come."""
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come")


def free(path):
    """Whether nobody holds the lock of a file."""
    with open(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


# A child that holds a lock for as long as it lives, of a parent that says so and then hangs.
HANGS = """
import fcntl, os, signal, subprocess, sys, time
file = open({path!r}, "w")
fcntl.flock(file, fcntl.LOCK_EX)
child = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child], pass_fds=[file.fileno()])
signal.signal(signal.SIGINT, signal.SIG_IGN)
print("half of it is done", flush=True)
time.sleep({seconds})
"""


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch):
    monkeypatch.setattr(gpu_check, "GRACE", 0.3)


def test_each_step_has_its_result_whatever_becomes_of_it(tmp_path, capsys):
    lock = tmp_path / "lock"
    every = [
        program("good", "print('accuracy 0.98'); print('bye')", says=r"accuracy .*"),
        program("bad", "print('so far'); raise SystemExit(3)"),
        program("crash", "import os; os.abort()"),
        program("hangs", HANGS.format(path=str(lock), seconds=600), 1.5),
        program("asks", "import os; print(os.environ['LEFT'], input())", env={"LEFT": "{seconds}"}),
        Step("gone", "not there", (str(tmp_path / "nothing"),), 5),
        Step("other", "a tool", ("no-such-tool",), 5, needs="no-such-tool"),
        program("bar", r"print('10%\r100%\x1b[31m done\x1b[0m')"),
    ]
    assert check(every, tmp_path, 5) == 1
    found = {s.name: json.loads((tmp_path / f"{s.name}.json").read_text()) for s in every}
    assert {name: (r["status"], r["exit"]) for name, r in found.items()} == {
        "good": ("passed", 0),
        "bad": ("failed", 3),
        "crash": ("failed", -signal.SIGABRT),
        "hangs": ("too long", None),
        "asks": ("failed", 1),  # there is nobody to answer
        "gone": ("failed", 127),
        "other": ("does not apply", None),
        "bar": ("passed", 0),
    }
    said = {name: r["said"] for name, r in found.items()}
    assert said["good"] == "accuracy 0.98"
    assert said["hangs"] == "half of it is done"
    assert said["other"] == "no-such-tool is not installed"
    assert said["bar"] == "100% done"
    until(lambda: free(lock), "the end of the child")
    report, screen = (tmp_path / "report.md").read_text(), capsys.readouterr().out
    for name, r in found.items():
        assert f"| {name} | {r['about']} | {r['status']} |" in report
        assert re.search(rf"^{name} +{r['status']} .* {re.escape(r['said'])[:20]}", screen, re.M)
    assert str(tmp_path) not in report
    assert not list(tmp_path.glob(".*"))  # no drafts


def test_children_that_a_step_leaves_behind_end_with_it(tmp_path):
    lock = tmp_path / "lock"
    assert check([program("leaves", HANGS.format(path=str(lock), seconds=0))], tmp_path, 5) == 0
    until(lambda: free(lock), "the end of the child")


def test_all_passed_is_success_and_time_that_is_over_is_not(tmp_path):
    every = [program("a", "print(1)"), program("b", "print(2)")]
    assert check(every, tmp_path, 5) == 0
    (tmp_path / "b.json").unlink()
    assert check(every, tmp_path, 0.01) == 1
    assert (
        "| b | what b shows | not run | - | the time was over |"
        in (tmp_path / "report.md").read_text()
    )


def test_without_a_card_the_first_step_says_why(tmp_path):
    assert check([program("a", "print(1)"), program("b", "")], tmp_path, 5, "no driver") == 1
    assert (tmp_path / "a.json").exists()
    assert not (tmp_path / "b.json").exists()
    assert "| not run | - | no driver |" in (tmp_path / "report.md").read_text()


# --- cut short ----------------------------------------------------------------------------------

COMMAND = """
import sys
from pathlib import Path
from tensorgrad.gpu_check import Step, check

code = "import time; print('line ' * 9000, flush=True); time.sleep(0.1); print('end')"
every = [Step(f"s{i}", "", (sys.executable, "-c", code), 20) for i in range(6)]
sys.exit(check(every, Path(sys.argv[1]), 5))
"""


def started(code, *args):
    return subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("seed", range(8))
def test_a_run_that_is_killed_keeps_what_was_done_and_goes_on(seed, tmp_path):
    moment = random.Random(seed)
    awaited = tmp_path / f"s{moment.randrange(6)}{moment.choice(['.log', '.json'])}"
    running = started(COMMAND, str(tmp_path))
    until(awaited.exists, awaited.name)
    time.sleep(moment.uniform(0, 0.15))
    running.kill()
    running.communicate()
    kept = {path: path.read_bytes() for path in tmp_path.glob("*.json")}
    assert {path.name for path in kept} == {f"s{i}.json" for i in range(len(kept))}
    for path, text in kept.items():
        result = json.loads(text)
        assert (result["status"], result["said"]) == ("passed", "end")
        assert path.with_suffix(".log").read_text().splitlines()[-1] == "end"
    report = tmp_path / "report.md"
    if report.exists():
        rows = re.findall(r"^\| s\d .*\|$", report.read_text(), re.M)
        assert len(rows) == 6
        assert len(kept) - 1 <= sum("passed" in row for row in rows) <= len(kept)
    again = started(COMMAND, str(tmp_path))
    again.communicate()
    assert again.returncode == 0
    assert report.read_text().count("| passed |") == 6
    assert {path: path.read_bytes() for path in kept} == kept  # not run again


ONE = """
import sys
from pathlib import Path
from tensorgrad.gpu_check import Step, check

hangs = Step("hangs", "", (sys.executable, "-c", sys.argv[2]), 600)
every = [hangs, Step("next", "", ("true",), 9)]
sys.exit(check(every, Path(sys.argv[1]), 20))
"""
WAITS = """
import fcntl, time
file = open({path!r}, "w")
fcntl.flock(file, fcntl.LOCK_EX)
print("begun", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_step_ends_with_the_command(how, tmp_path):
    lock, log = tmp_path / "lock", tmp_path / "hangs.log"
    running = started(ONE, str(tmp_path), WAITS.format(path=str(lock)))
    until(lambda: log.exists() and "begun" in log.read_text(), "its first line")
    running.send_signal(how)
    screen, _ = running.communicate(timeout=60)
    until(lambda: free(lock), "the end of the step")
    assert not (tmp_path / "hangs.json").exists()  # it has no result: it will run again
    if how != signal.SIGKILL:
        assert running.returncode == 1
        assert len(re.findall(r"not run +-  interrupted", screen)) == 2


def test_results_of_another_revision_are_not_mixed_in(tmp_path, monkeypatch):
    check([program("a", "")], tmp_path, 5)
    monkeypatch.setattr(gpu_check, "revision", lambda: "another")
    with pytest.raises(tg.ArgumentError, match="give another folder as --out"):
        check([program("a", "")], tmp_path, 5)


# --- the real steps -----------------------------------------------------------------------------


def test_the_tests_for_a_card_are_tests_of_the_suite():
    """All are there and run on CuPy, and leaving them out leaves out no others."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-m", "gpu", "--collect-only"]
    done = subprocess.run([*command, *gpu_check.CARD], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = re.findall(r"^tests/.*::.*", done.stdout, re.M)
    assert {test.partition("[")[0] for test in tests} == set(gpu_check.CARD)
    assert 60 <= len(tests) <= 120
    for test in gpu_check.CARD:
        file, _, name = test.partition("::")
        names = re.findall(r"^def (test_\w+)", (ROOT / file).read_text(), re.M)
        assert [other for other in names if other.startswith(name)] == [name]


def test_the_steps_are_programs_that_take_their_options(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_training

    every = steps()
    assert [s.name for s in every[:3]] == ["doctor", "readme", "digits"]
    assert len({s.name for s in every}) == len(every)
    covered = []
    for step in every:
        words = {"{seconds}": "60", "{out}": str(tmp_path)}
        command = [gpu_check._filled(part, words) for part in step.command]
        re.compile(step.says)
        if command[1].endswith("gpu_training.py"):
            monkeypatch.setattr(sys, "argv", command[1:])
            options = gpu_training.parsed()
            wanted = options.only.split("|")
            if "steps" in options.parts:
                covered += [c.name for c in gpu_training.cases(False)
                            if any(part in c.name for part in wanted)]  # fmt: skip
    assert sorted(covered) == sorted(c.name for c in gpu_training.cases(False))  # each case once


def test_what_the_readme_shows_runs():
    command = [sys.executable, "-m", "tensorgrad.gpu_check", "readme"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "[0. 1. 1. 0.]" in done.stdout


@pytest.mark.skipif(backend.why_no_gpu() is None, reason="there is a GPU")
def test_the_command(tmp_path):
    for more, status in ((["--out", str(tmp_path / "new")], 1), (["--minutes", "-1"], 2)):
        command = [sys.executable, "-m", "tensorgrad", "gpu-check", *more]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == status, done.stdout + done.stderr
    assert "--minutes is above 0" in done.stderr
    assert os.listdir(tmp_path) == ["new"]
    assert sorted(os.listdir(tmp_path / "new")) == ["doctor.json", "doctor.log", "report.md"]
