"""What only a real GPU can show: contexts, running out of memory, reuse of memory, forks, lost
devices. Tests with the fixture `gpu` run there, too."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import backend as backends

from .steps import training

WHY_NOT = backends.why_no_gpu()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]


def run(code):
    """What a program of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


CONTEXT = """
import ctypes
import os
import numpy as np, tensorgrad as tg
from tensorgrad import backend, nn, optim

def active():
    driver, flags, on = ctypes.CDLL("libcuda.so.1"), ctypes.c_uint(), ctypes.c_int()
    assert driver.cuInit(0) == 0
    assert driver.cuDevicePrimaryCtxGetState(0, ctypes.byref(flags), ctypes.byref(on)) == 0
    return on.value

model = nn.Sequential([nn.Dense(2, 3)])
model.compile("adam", "mse").fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
before = active(), backend.why_no_gpu(), active()
tg.ones(2, backend="cupy")
print(before, active())
"""


def test_only_arrays_on_the_gpu_make_a_context():
    assert ctypes.CDLL("libcuda.so.1") is not None
    assert run(CONTEXT) == "(0, None, 0) 1\n"


FORK = """
import os, tensorgrad as tg
x = tg.ones(2, backend="cupy") * 2
print(x.tolist(), flush=True)
if not os.fork():
    try:
        (tg.ones(3, backend="cupy") * 2).tolist()
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    os._exit(0)
os.wait()
print((x * 2).tolist())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_is_told_to_spawn():
    out = run(FORK)
    assert out.startswith("[2.0, 2.0]\n")
    assert out.endswith("[4.0, 4.0]\n")
    assert "spawn" in out


LOST = """
import cupy, tensorgrad as tg
x = tg.ones(4, backend="cupy")
print(x.tolist(), flush=True)
wild = cupy.RawKernel('extern "C" __global__ void f(float* p) { p[1ull << 44] = 1; }', "f")
wild((1,), (1,), (x.data,))
try:
    print((x + 1.0).tolist())
except tg.BackendError as error:
    print(error, flush=True)
import os
os._exit(0)
"""


def test_a_lost_device_says_so():
    out = run(LOST)  # runtime and driver have names of their own for it, and so have GPUs
    assert re.search("illegal_?address|launch_?fail|address_?space", out, re.IGNORECASE), out
    assert "checkpoint" in out


def test_a_kernel_that_does_not_compile_is_named():
    from tensorgrad.kernels.cuda import device

    x = tg.ones(2, backend="cupy").data
    source = device.Source("wrong", ["wrong"])
    source.__dict__["code"] = "__global__ void wrong(float* x) { x[0] = INFINTY; }"
    with pytest.raises(device.CompileError, match=r"kernel wrong of wrong.cu .*INFINTY.*undefined"):
        device.device(x).launch(source, "wrong", (1,), (1,), (x,))


def huge():
    """An array larger than the memory of any GPU."""
    return tg.broadcast_to(tg.ones(1, backend="cupy"), (1 << 24, 1 << 20)) * 2.0


def test_training_goes_on_after_memory_ran_out():
    it = training("cupy")
    wanted, got = [it.step(*next(it.batches)).item() for _ in range(6)], []
    it = training("cupy")
    for _ in range(6):
        with pytest.raises(tg.OutOfMemoryError, match="multiply"):
            huge()
        got.append(it.step(*next(it.batches)).item())
    assert got == wanted


def test_a_capture_that_runs_out_of_memory_leaves_the_program_usable():
    it, on = training("cupy"), [False]

    def step(x, y):
        if on[0]:
            huge()
        return it.step(x, y)

    quick = tg.cuda.graphed(step, next(training("cupy").batches), 1)
    quick(*next(it.batches))
    before, on[0] = it.state(), True
    with pytest.raises(tg.OutOfMemoryError):
        quick(*next(it.batches))
    for a, b in zip(before, it.state(), strict=True):
        np.testing.assert_array_equal(a, b)
    on[0] = False
    for _ in range(3):
        assert np.isfinite(quick(*next(it.batches)).item())


def test_a_replay_writes_into_no_memory_but_its_own():
    it = training("cupy", model="cnn")
    quick = tg.cuda.graphed(it.step, next(training("cupy", model="cnn").batches), 1)
    for _ in range(3):
        quick(*next(it.batches))
    others = [tg.full((size,), 7.0, backend="cupy") for size in (1, 16, 144, 1024, 9000) * 40]
    for _ in range(3):
        quick(*next(it.batches))
    for a in others:
        assert (a.numpy() == 7).all()


def test_a_graph_runs_on_the_stream_of_the_caller():
    import cupy

    it, wanted = training("cupy", model="recurrent"), training("cupy", model="recurrent")
    quick = tg.cuda.graphed(it.step, next(training("cupy", model="recurrent").batches), 1)
    stream = cupy.cuda.Stream(non_blocking=True)
    for k in range(6):
        batches = next(it.batches), next(wanted.batches)
        cupy.cuda.get_current_stream().synchronize()
        if k % 2:
            with stream:
                got = quick(*batches[0])
            stream.synchronize()
        else:
            got = quick(*batches[0])
        assert got.item() == wanted.step(*batches[1]).item()
        cupy.cuda.Device().synchronize()
