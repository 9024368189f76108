"""compute-sanitizer over every kernel: on request, `pytest -m sanitizer`, as a tool takes minutes.
What does not run there is a failure."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tensorgrad import backend as backends

ROOT = Path(__file__).parent.parent


@pytest.mark.sanitizer
@pytest.mark.parametrize("tool", ["memcheck", "racecheck", "synccheck", "initcheck"])
def test_compute_sanitizer_finds_nothing(tool):
    """Out-of-bounds and misaligned accesses, races in shared memory, barriers that not all meet,
    memory that is read before it is written."""
    if reason := backends.why_no_gpu():
        pytest.skip(reason)
    sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.access(sanitizer, os.X_OK):
        pytest.fail("compute-sanitizer is not installed: it comes with the CUDA toolkit")
    program = [sys.executable, "-m", "tests.every_kernel"]
    ours = {**os.environ, "TENSORGRAD_CUDNN": "0"}
    done = subprocess.run(
        [sanitizer, "--tool", tool, "--print-limit", "5", *program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=ours,
        timeout=900,
    )
    said = done.stdout + done.stderr
    found = re.search(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)", said)
    assert found is not None, f"compute-sanitizer does not work here: {said.strip()[-500:]}"
    assert int(found[1]) == 0, said[-3000:]
    assert "ops ran" in said
