"""The benchmark harness: its arithmetic, and that the scripts run. Nothing here is timed."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PARTS = ("chart", "harness", "networks", "distributed")  # no scripts of measurements, or by MPI
# Scripts that print a table of their own, and what makes them short
PRINTING = {
    "compiled": ["--tiny", "--only", "XOR"],
    "files": ["1", "1"],
    "keras_training": ["1", "tiny"],
}
# That of the GPU has a test file of its own.
SCRIPTS = sorted(
    p.stem
    for p in BENCHMARKS.glob("*.py")
    if p.stem not in (*PARTS, *PRINTING) and p.stem[:4] != "gpu_"
)
# JAX's compiler need not try hard here.
QUICK = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}


@pytest.fixture(scope="module")
def harness():
    spec = importlib.util.spec_from_file_location("benchmarks_harness", BENCHMARKS / "harness.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def contender(loss, log=None, name=""):
    """A contender that only counts its steps: its loss is `loss(count)`."""

    def start():
        steps = []

        def step():
            steps.append(None)
            if log is not None and log[-1:] != [name]:
                log.append(name)

        return step, lambda: loss(len(steps))

    return lambda: start


def missing():
    raise ImportError("No module named 'absent'")


def test_spread_and_ratio(harness):
    spread = harness.spread([4.0, 1.0, 2.0, 3.0, 5.0])
    assert (spread["q1"], spread["median"], spread["q3"], spread["min"]) == (2, 3, 4, 1)
    one = harness.spread([7.0])
    assert (one["q1"], one["median"], one["q3"], one["min"]) == (7, 7, 7, 7)
    assert harness.ratio([2.0, 20.0, 6.0], [1.0, 2.0, 3.0]) == 2  # not 6 / 2, the medians' ratio
    assert harness.ratio([2.0], [1.0, 9.0]) == 2  # slow contenders have fewer samples


@pytest.mark.parametrize(
    ("losses", "agrees"),
    [([1.0, 1.0], True), ([1.0, 1.0009], True), ([1.0, 1.002], False), ([0.998, 1.0], False)],
)
def test_compared(harness, losses, agrees):
    assert harness.compared(losses, 1.0, 1e-3)["agrees"] is agrees


def test_nan_never_agrees(harness):
    assert not harness.compared([1.0, math.nan], 1.0, 1e-3)["agrees"]
    assert not harness.compared([1.0], math.nan, 1e-3)["agrees"]


def test_run_interleaves_lists_the_missing_and_compares(harness):
    log = []
    case = harness.Case(
        "count",
        {
            "a": contender(float, log, "a"),
            "b": contender(lambda n: n * 1.5, log, "b"),
            "c": missing,
        },
        steps=4,
        baselines=("a", "c"),
    )
    result = harness.run(case, rounds=3, seconds=0.0, pause=0.0)
    assert log == ["a", "b", "a", "b", "a", "b"]  # calibrated a b; then a b, b a, a b
    assert result["missing"] == {"c": "No module named 'absent'"}
    assert result["baselines"] == ["a"]
    a, b = result["rows"]
    assert (a["loss"], a["agrees"], b["loss"], b["agrees"]) == (4, True, 6, False)
    assert len(a["samples"]) == len(b["samples"]) == 3
    machine = {**harness.machine(), "versions": {"python": "3"}}
    text = harness.table({"machine": machine, "rounds": 3, "cases": [result], "notes": ["note"]})
    assert "| b |" in text
    assert text.count("DISAGREES") == 1
    assert "| c | missing: No module named 'absent' |" in text
    assert text.endswith("- note")


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_run(script, tmp_path):
    pytest.importorskip("torch", reason="the scripts run beside PyTorch, in a step of .ci/run")
    output = tmp_path / "result.json"
    path = str(BENCHMARKS / f"{script}.py")
    run = [sys.executable, path, "--tiny", "--output", str(output)]
    env = {**os.environ, **QUICK}
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    result = json.loads(output.read_text())
    assert result["script"] == script
    for case in result["cases"]:
        assert any("tensorgrad" in row["framework"] for row in case["rows"]) or case["missing"]
        assert all(row["agrees"] for row in case["rows"])
    table = [sys.executable, str(BENCHMARKS / "harness.py"), "table", str(output)]
    printed = subprocess.run(table, capture_output=True, text=True, check=True).stdout
    assert printed == done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("script", PRINTING)
def test_scripts_print(script, tmp_path):
    pytest.importorskip("torch", reason="the scripts run beside PyTorch, in a step of .ci/run")
    if script == "keras_training" and importlib.util.find_spec("keras") is None:
        pytest.skip("Keras is not installed")  # importing it would choose this process's backend
    run = [sys.executable, str(BENCHMARKS / f"{script}.py"), *PRINTING[script]]
    env = {**os.environ, **QUICK}
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peaks are Linux's")
def test_fresh_processes(tmp_path):
    """Cold start and peaks of a contender that needs 64 MiB, and of one that needs nothing."""
    script = tmp_path / "memory.py"
    script.write_text(
        "import sys, harness\n"
        "def work(mib):\n"
        "    start = lambda: (lambda: len(b'x' * (mib << 20)), lambda: 1.0)\n"
        "    return lambda: start\n"
        "contenders = {'numpy': work(0), 'tensorgrad': work(64)}\n"
        "case = harness.Case('case', contenders, goal=1e9, draw=lambda: b'x' * (128 << 20))\n"
        "sys.exit(harness.main(__file__, lambda tiny: [case]))\n"
    )
    output = tmp_path / "result.json"
    env = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    run = [sys.executable, str(script), "--tiny", "--processes", "1", "--output", str(output)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert "- case: goal 1e+09: met, " in done.stdout
    (case,) = json.loads(output.read_text())["cases"]
    less, more = case["footprints"]["numpy"], case["footprints"]["tensorgrad"]
    for peak in ("peak_mib", "working_mib"):
        assert less[peak] < 16
        assert 56 < more[peak] < 80
    assert 0 < less["cold_s"] < 60
    assert f"{less['cold_s']:.2f} s, " in done.stdout


def test_goals(harness):
    row = {"framework": "tensorgrad", "ratios": {"torch": 2.0, "torch fused": 0.5}}
    case = {"name": "a", "goal": 0.6, "baselines": ["torch", "torch fused"], "rows": [row]}
    cases = [case, {**case, "goal": 0.4}, {**case, "rows": []}, {**case, "goal": None}]
    lines = harness.against_goals([*cases, {**case, "baselines": []}])
    assert lines == [
        "a: goal 0.6: met, 0.50 of torch fused",
        "a: goal 0.4: MISSED, 0.50 of torch fused",
        "a: goal 0.6: not measured, missing",
        "a: goal 0.6: not measured, no baseline",
    ]


def test_the_chart_is_drawn_and_the_same_each_time(tmp_path):
    pytest.importorskip("matplotlib")
    row = {"framework": "tensorgrad", "ratios": {"torch": 0.5}}
    case = {"name": "a case of its own", "goal": 0.6, "baselines": ["torch"], "rows": [row]}
    slow = {**row, "ratios": {"torch": 0.05}}
    cases = [case, {**case, "rows": [slow]}, {**case, "rows": []}, {"goal": None, "rows": []}]
    result = {"cases": cases, "machine": {"threads": 2, "versions": {"torch": "2.13.0+cpu"}}}
    given = tmp_path / "result.json"
    given.write_text(json.dumps(result))
    drawn = []
    for name in ("one.svg", "two.svg"):
        run = [sys.executable, str(BENCHMARKS / "chart.py"), str(given), str(tmp_path / name)]
        subprocess.run(run, check=True)
        drawn.append((tmp_path / name).read_text())
    assert drawn[0] == drawn[1]
    assert drawn[0].count("<!-- a case of its own -->") == 2
    assert "<!-- 0.50 -->" in drawn[0]
    assert "<!-- Time relative to eager PyTorch 2.13.0 (1.0)" in drawn[0]


def test_a_disagreement_is_loud(tmp_path):
    """A script in which one contender computes something else ends with exit code 1."""
    script = tmp_path / "wrong.py"
    script.write_text(
        "import sys, harness\n"
        "same = lambda loss: lambda: lambda: (lambda: None, lambda: loss)\n"
        "case = harness.Case('case', {'numpy': same(1.0), 'other': same(1.1)})\n"
        "sys.exit(harness.main(__file__, lambda tiny: [case]))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    for more, code in (([], 1), (["--only", "absent"], 2)):
        run = [sys.executable, str(script), "--tiny", *more]
        done = subprocess.run(run, capture_output=True, text=True, check=False, env=env)
        assert done.returncode == code
    assert "absent" in done.stderr
