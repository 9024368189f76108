"""The same bits always: in the process that compiles, in those that load, on one thread and on two,
and whoever imports Numba first; and the thread pool is TBB in every order."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorgrad.kernels.cpu import blas, jit

pytestmark = pytest.mark.slow

OPS = """
    dense dense_grad dense_gelu matmul conv2d conv2d_grad max_pool2d avg_pool2d avg_pool2d_grad
    scaled_dot_product_attention attention_grad softmax softmax_grad log_softmax log_softmax_grad
    softmax_cross_entropy softmax_cross_entropy_grad layer_norm layer_norm_grad rms_norm
    rms_norm_grad batch_norm batch_norm_grad lstm lstm_grad gelu gelu_grad tanh sum dropout
    optimizer_step adafactor step_of_rows
""".split()
HASHES = """
import hashlib, sys, warnings
import numpy as np
import tensorgrad as tg
for home in (tg, tg.losses):  # families are loaded when first named
    [getattr(home, name) for name in home.__all__]
from tensorgrad.core import OPS
from tests.sized import LARGE, SIZED
from tests.steps import training
from tests.test_kernels import CPU, NUMPY, exact_args, placed

def shown(name, arrays):
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))
    print(name, digest.hexdigest()[:16])

with np.errstate(all="ignore"):
    for name in sys.argv[1:]:
        op, sample = OPS[name], SIZED[name](LARGE.get(name, 70_001))[0]
        args = placed(op, exact_args(op, sample, "float32"), "float32", NUMPY.from_host)
        result = CPU[name](*args, **sample.params)
        given = [result] if isinstance(result, np.ndarray) else list(result or ())
        shown(name, [a for a in (*given, *args) if a is not None])
    for model, optimizer, size in (("mlp", "adam", 512), ("cnn", "nesterov", 64),
            ("recurrent", "adamw", 300), ("transformer", "adam", 300), ("mlp", "sgd", 2000)):
        run = training("numpy", model, optimizer, size=size)
        for _ in range(3):
            run.step(*next(run.batches))
        shown((model, optimizer), run.state())
"""


def python(code, *args, before="", **env):
    """What a new process prints, and its errors; `env` is all that it is told of threads."""
    kept = {k: v for k, v in os.environ.items() if "NUM_THREADS" not in k}
    done = subprocess.run(
        [sys.executable, "-c", before + code, *args],
        capture_output=True,
        text=True,
        env={**kept, **env},
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def compared(hashes, env):
    """What must be equal. Tiles follow the number of threads, and where their products are
    OpenBLAS's, those of few columns (the Transformer's 8 x 24) round by the height of the tile."""
    lines = hashes.splitlines()
    if blas.borrowed() and "OMP_NUM_THREADS" in env:
        lines = [line for line in lines if "transformer" not in line]
    return lines


def test_the_same_bits_always(tmp_path):
    place = {"NUMBA_CACHE_DIR": str(tmp_path)}
    cold, _ = python(HASHES, *OPS, **place)
    assert len(cold.splitlines()) == len(OPS) + 5
    for before, env in itertools.product(
        ("", "import numba\n"), ({"OMP_NUM_THREADS": "1"}, {"TENSORGRAD_NUM_THREADS": "2"}, {})
    ):
        warm, _ = python(HASHES, *OPS, before=before, **env, **place)
        assert compared(warm, env) == compared(cold, env), (before, env)


FIRST = """
import sys
import numpy as np
import tensorgrad as tg
from tensorgrad.kernels.cpu import jit
ones = lambda *shape: tg.ones(shape)
{
    "dense": lambda: tg.dense(ones(64, 300), ones(300, 300), ones(300)),
    "attention": lambda: tg.scaled_dot_product_attention(*[ones(64, 4, 16, 8)] * 3),
    "conv": lambda: tg.conv2d(ones(64, 1, 28, 28), ones(32, 1, 3, 3), ones(32)),
    "softmax": lambda: tg.softmax(ones(300, 300)),
    "embedding": lambda: tg.embedding(ones(100, 64), np.zeros(3000, int)),
}[sys.argv[1]]()
print(jit.threading_layer(), jit.threads())
"""


@pytest.mark.skipif(jit.pool().layer != "tbb", reason="loops run serially here")
@pytest.mark.parametrize("variable", ["OMP_NUM_THREADS", "TENSORGRAD_NUM_THREADS", None])
@pytest.mark.parametrize("before", ["", "import numba\n"])
@pytest.mark.parametrize("first", ["dense", "attention", "conv", "softmax", "embedding"])
def test_the_pool_is_tbb_in_every_order(first, before, variable):
    env = {variable: "2"} if variable else {}
    layer, threads = python(FIRST, first, before=before, **env)[0].split()
    assert layer == "tbb"
    assert threads == str(min(2, os.cpu_count()) if variable else os.cpu_count())
