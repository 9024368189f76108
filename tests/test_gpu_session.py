"""`pytest -m gpu` itself: its time limit, and what belongs to it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tensorgrad import backend as backends

ROOT = Path(__file__).parent.parent
THREE = """
import pytest
pytestmark = pytest.mark.gpu
@pytest.mark.parametrize("i", range(3))
def test_nothing(i): pass
"""


def session(*args, seconds="450"):
    env = {**os.environ, "TENSORGRAD_GPU_SECONDS": seconds}
    run = [sys.executable, "-m", "pytest", "-n", "0", *args]
    return subprocess.run(run, capture_output=True, text=True, env=env, cwd=ROOT, timeout=300)


@pytest.mark.slow
def test_tests_that_are_not_run_for_time_are_a_failure(tmp_path):
    file = tmp_path / "test_three.py"
    file.write_text(THREE)
    given = ("-p", "tests.conftest", str(file))
    done = session("-m", "gpu", *given, seconds="0")
    assert done.returncode == 1, done.stdout
    assert "FAILED NOT RUN: 2 tests, as TENSORGRAD_GPU_SECONDS=0 are spent" in done.stdout
    assert session("-m", "gpu", *given).returncode == 0
    done = session(*given, seconds="0")  # among all other tests there is no limit
    assert done.returncode == 0
    here = "3 passed" if backends.why_no_gpu() is None else "1 passed, 2 deselected"
    assert here in done.stdout


@pytest.mark.slow
def test_compute_sanitizer_runs_on_request():
    listed = {
        marks: session(
            "--collect-only", "-m", marks, "tests/test_gpu.py", "tests/test_sanitizer.py"
        )
        for marks in ("gpu", "sanitizer")
    }
    assert "test_gpu.py" in listed["gpu"].stdout
    assert "sanitizer_finds" not in listed["gpu"].stdout
    assert "sanitizer_finds" in listed["sanitizer"].stdout
    assert "test_gpu.py" not in listed["sanitizer"].stdout
