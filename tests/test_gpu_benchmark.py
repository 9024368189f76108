"""`python -m tensorgrad bench`: that the whole script runs; how it keeps to its time. On NumPy."""

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tensorgrad import backend

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
# Others' compilers need not try hard here, PyTorch's not at all.
QUICK = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
QUICK["TORCHDYNAMO_DISABLE"] = "1"


def command(*args, cwd=None):
    run = [sys.executable, "-m", "tensorgrad", "bench", *args]
    env = {**os.environ, **QUICK}
    return subprocess.run(run, capture_output=True, text=True, cwd=cwd, env=env, timeout=600)


@pytest.fixture
def module(monkeypatch):
    """Imports a file of the folder, as its scripts do."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


@pytest.mark.slow
def test_all_of_it_runs(tmp_path):
    output = tmp_path / "result.json"
    done = command("--tiny", "--output", str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(output.read_text())
    cases = {case["name"] for case in result["cases"]}
    assert {f"{net} {dtype}" for net in ("MLP 128", "CNN", "LSTM", "Transformer")
            for dtype in ("float32", "bfloat16")} == cases  # fmt: skip
    for case in result["cases"]:
        rows = {row["framework"]: row for row in case["rows"]}
        assert "tensorgrad" in rows
        assert all(row["agrees"] and row["median"] > 0 for row in rows.values())
        assert set(rows) | set(case["missing"]) == {
            "tensorgrad", "tensorgrad graphed", "torch", "torch compile", "torch graphed", "jax jit"
        }  # fmt: skip
    assert set(result["ceilings"]) == {"copy", "product float32", "product bfloat16"}
    assert len(result["kernels"]) > 50
    assert not [row for row in result["kernels"] if "error" in row]
    steps = [row["framework"] for row in result["first_steps"] if "seconds" in row]
    assert steps.count("tensorgrad cold") == steps.count("tensorgrad warm") == 2
    screen = done.stdout.partition("=" * 110)[2].strip().splitlines()
    assert len(screen) <= 45
    assert "all losses agree" in screen
    assert screen[-1].startswith("all figures: ")


def test_a_file_that_cannot_be_written_is_refused_before_the_measurements(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere" / "result.json"):
        done = command("--tiny", "--output", str(path))
        assert done.returncode == 2
        assert f"no file can be written to {path}" in done.stderr
        assert not done.stdout


@pytest.mark.skipif(backend.why_no_gpu() is None, reason="there is a GPU")
def test_without_a_gpu_it_says_why_in_a_line(tmp_path):
    done = command("--gpu", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("no GPU to measure: ")
    assert done.stderr.count("\n") == 1
    assert not done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_cases_are_left_out_when_the_time_is_spent(tmp_path):
    output = tmp_path / "result.json"
    done = command("--tiny", "--seconds", "6", "--output", str(output), "--only", "MLP")
    result = json.loads(output.read_text())
    assert not result["cases"]
    assert "LEFT OUT, for time: MLP 128 float32, MLP 128 bfloat16" in done.stdout


def test_a_case_that_does_not_exist_is_refused():
    done = command("--tiny", "--only", "no such case")
    assert done.returncode != 0
    assert "no such case" in done.stderr


def test_what_takes_too_long_is_stopped(module):
    place = module("gpu_place")
    began = time.monotonic()
    with pytest.raises(TimeoutError, match="not ready after"), place.within(0.2):
        time.sleep(30)
    assert time.monotonic() - began < 10
    with place.within(5):
        pass
    time.sleep(0.01)  # the alarm is off


def test_calls_fill_the_time_that_is_asked_for(module):
    place = module("gpu_place")
    calls, each = place.calls_to_fill(lambda step, n: 0.002, lambda: None, 0.05)
    assert (calls, each) == (25, 0.002)
    assert place.calls_to_fill(lambda step, n: 1.0, lambda: None, 0.05) == (1, 1.0)


def test_a_pytorch_for_the_cpu_is_not_asked_about_the_gpu(module, monkeypatch):
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))
    pool = SimpleNamespace(free_all_blocks=lambda: None)
    runtime = SimpleNamespace(deviceSynchronize=lambda: None)
    cupy = SimpleNamespace(
        cuda=SimpleNamespace(runtime=runtime), get_default_memory_pool=lambda: pool
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert module("gpu_place").Place(tiny=False).emptied("torch") == 0
