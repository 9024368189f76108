"""The commands, as a user types them."""

import re
import subprocess
import sys

import pytest


def command(*args, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "tensorgrad", *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=300,
    )


@pytest.mark.slow
def test_train_reaches_its_accuracy_and_draws(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    done = command("train", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    line = next(text for text in done.stdout.splitlines() if "test accuracy" in text)
    assert float(line.split("test accuracy ")[1].split(",")[0]) >= 0.97
    assert "images/s" in line
    assert "epoch" in done.stderr.lower() or "epoch" in done.stdout.lower()  # the progress
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")


def test_doctor():
    done = command("doctor")
    assert done.returncode == 0
    assert "numpy" in done.stdout
    assert "cupy" in done.stdout
    assert re.search(r"several processes\n  mpi4py +(\d|not installed: pip install)", done.stdout)


def test_unknown_command_lists_the_known():
    done = command("tarin")
    assert done.returncode == 2
    assert "doctor" in done.stderr
