"""`python -m tensorgrad warmup` leaves nothing to compile to the programs that come after it."""

import os
import subprocess
import sys

import pytest
from tensorgrad.kernels.cpu import matmul, warm

PROGRAM = """
import sys, pathlib
import numpy as np
import tensorgrad as tg
from tensorgrad import core, warmup
from tensorgrad.ops import update
from tensorgrad.kernels.cpu import cache

for name in set(core.OPS) - {"relu", "relu_grad", "optimizer_step"}:
    del core.OPS[name]
print(warmup.warmup())
files = set(cache.folder().glob("*.code"))
assert len(files) == 6, files
relu, step = core.OPS["relu"], core.OPS["optimizer_step"]
for n in (5000, 200_000):
    a = [np.ones(n, np.float32) for _ in range(4)]
    relu(a[0])
    step(np.array([0.1, 1.0]), *a, formula="adam", options=update._ADAM)
more = set(cache.folder().glob("*.code")) - files
assert not more, more
"""


@pytest.mark.slow
def test_nothing_is_left_to_compile(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "3 kernels ready" in done.stdout


def test_sizes_are_put_back():
    before = matmul.TILED
    with warm.in_tiles():
        assert matmul.TILED == 0
    assert before == matmul.TILED
