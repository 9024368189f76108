"""Every kernel of the CPU as machine code, and steps that are compiled whole, on arrays of any size
between pages that nobody may touch (tests/fences.py)."""

import faulthandler
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from tensorgrad.kernels.cpu import blas, buffers, jit, matmul

from tensorgrad.core import OPS

from .. import fences
from ..drawn import drawn
from ..test_kernels import CPU, ROOT, run

pytestmark = [pytest.mark.host, pytest.mark.slow]

STEPS = "compiled steps"


class Fenced:
    """A kernel, whose inputs and all that it makes lie between fences."""

    name = "numpy"

    def __init__(self, kernel, low):
        self.kernel, self.guard, self.low = kernel, kernel.guard, low

    def __call__(self, *args, **params):
        with fences.fenced(self.low):
            return self.kernel(*args, **params)

    def from_host(self, a):
        with fences.fenced(self.low):
            return a.copy()

    to_host = staticmethod(np.asarray)


def fenced_calls(names, dtypes, seeds):
    """Run each kernel on arrays between fences, in a process of its own, which says before each
    call what it is. Products are our own, on any processor."""
    faulthandler.enable()
    buffers.LEAST = sys.maxsize
    blas.borrowed, matmul.TILED = lambda: False, 0
    fences.fence_loops(jit.numba())
    for name, dtype, low in itertools.product(names, dtypes, (False, True)):
        if name == STEPS:
            print(name, seeds, low, flush=True)
            fenced_steps(seeds, low)
            continue
        fenced = Fenced(CPU[name], low)
        for sample in [*OPS[name].samples(), *[drawn(name, seed) for seed in seeds]]:
            shapes = [getattr(a, "shape", a) for a in sample.args]
            print(name, dtype, "low" if low else "high", shapes, sample.params, flush=True)
            with np.errstate(all="ignore"):
                run(OPS[name], fenced, sample, dtype, fenced)
    print("done", flush=True)
    os._exit(0)  # what is left is freed by nobody: the fences are Python's


def fenced_steps(seeds, low):
    """Machine code of whole steps, which sees addresses alone."""
    from .. import test_compile

    with fences.fenced(low):
        test_compile.test_random_small_steps_are_programs(lambda n: seeds)
        for dtype in ("float32", "float64"):
            test_compile.test_the_formulas_of_the_table_as_machine_code(dtype)


def in_fences(names, dtypes, seeds):
    """What crashed or was wrong: the last words of each process."""
    names, wrong = list(names), []
    while names:
        code = "from tests.attack import test_fences as t; t.fenced_calls"
        code += repr((names, dtypes, seeds))
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=900,
            env={**os.environ, "TENSORGRAD_NUM_THREADS": "2"},
        )  # fmt: skip
        last = done.stdout.rstrip().rpartition("\n")[2]
        if last == "done":
            break
        wrong.append(f"{last}\n{done.stderr[:1000]}\n...\n{done.stderr[-1000:]}")
        (name, *_) = [name for name in names if last.startswith(f"{name} ")] or [names[-1]]
        names = names[names.index(name) + 1 :]
    return wrong


@pytest.mark.skipif(sys.platform != "linux", reason="fences are put up by calls of Linux")
def test_machine_code_stays_between_fences(seeds):
    for seed in seeds(1):
        dtype = ("float32", "float64")[seed % 2]
        assert not in_fences([*CPU, STEPS], (dtype,), [seed, seed + 1])
