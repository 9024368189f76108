"""Errors of a GPU are raised as one of ours, with the remedy. CUDA's errors are simulated, with or
without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tensorgrad.kernels.cuda import device

import tensorgrad as tg
from tensorgrad import backend as backends
from tensorgrad import errors

from . import every_kernel
from .conftest import _missing

pytestmark = pytest.mark.slow  # minutes on the simulator


class CUDARuntimeError(RuntimeError):
    """As CuPy's."""


CUDARuntimeError.__module__ = "cupy_backends.cuda.api.runtime"
LOST = CUDARuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")


@pytest.fixture
def broken(monkeypatch):
    """A function that makes every launch on cudasim raise an error."""
    if reason := _missing("cudasim"):
        pytest.skip(reason)
    kind = backends.get("cudasim").array_type
    there = device.DEVICES[kind]

    def install(error):
        def launch(*args, **more):
            raise error

        monkeypatch.setitem(device.DEVICES, kind, there._replace(launch=launch))

    return install


def test_a_lost_device_names_the_op_and_the_way_out(broken):
    x = tg.ones((2, 3), backend="cudasim")
    broken(LOST)
    with pytest.raises(tg.BackendError) as caught:
        tg.tanh(x)
    text = str(caught.value)
    assert text.startswith("tanh(x: float32[2, 3]) at test_device_errors.py:")
    assert "cudaErrorIllegalAddress" in text
    assert "checkpoint" in text
    assert "CUDA_LAUNCH_BLOCKING" in text
    assert caught.value.__cause__ is LOST


@pytest.mark.parametrize(
    "message",
    [
        "cudaErrorIllegalAddress: an illegal memory access was encountered",
        "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered",
        "cudaErrorMisalignedAddress: misaligned address",
        "CUDA_ERROR_MISALIGNED_ADDRESS: misaligned address",
        "cudaErrorLaunchFailure: unspecified launch failure",
        "CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure",
        "CUDA_ERROR_LAUNCH_TIMEOUT: the launch timed out and was terminated",
        "CUDA_ERROR_ASSERT: device-side assert triggered",
        "CUDA_ERROR_INVALID_PC: invalid program counter",
    ],
)
def test_a_lost_device_in_the_words_of_runtime_and_driver(message, broken):
    x = tg.ones((2, 3), backend="cudasim")
    broken(CUDARuntimeError(message))
    with pytest.raises(tg.BackendError, match=r"(?s)tanh.*the GPU is lost.*checkpoint"):
        tg.tanh(x)


def test_a_device_that_another_process_has(broken):
    x = tg.ones((2, 3), backend="cudasim")
    broken(CUDARuntimeError("cudaErrorDevicesUnavailable: device(s) is/are busy or unavailable"))
    with pytest.raises(tg.BackendError, match=r"(?s)another process.*nvidia-smi"):
        tg.tanh(x)


def test_a_device_lost_in_backward(broken):
    x = tg.tensor(np.ones((2, 3)), backend="cudasim", requires_grad=True)
    y = tg.tanh(x)
    g = tg.ones((2, 3), "float64", backend="cudasim")
    broken(LOST)
    with pytest.raises(tg.BackendError, match=r"(?s)tanh_grad.*checkpoint"):
        y.backward(g)


def test_memory_that_cuda_itself_refuses(broken):
    """Not by CuPy's pool, which raises a MemoryError."""
    x = tg.ones((2, 3), backend="cudasim")
    broken(CUDARuntimeError("cudaErrorMemoryAllocation: out of memory"))
    with pytest.raises(tg.OutOfMemoryError, match=r"(?s)tanh\(x: .*tensors hold"):
        tg.tanh(x)


@pytest.mark.parametrize(
    ("error", "kind"), [(LOST, tg.BackendError), (MemoryError("no"), tg.OutOfMemoryError)]
)
def test_tensors_that_cannot_be_made_say_why(error, kind, broken, monkeypatch):
    """Creating a tensor, the first operation of many programs on a GPU."""
    home = backends.get("cudasim")

    def refuse(*args, **more):
        raise error

    monkeypatch.setattr(home.xp, "full", refuse)
    with pytest.raises(kind, match=r"ones\(\(2,\),\): "):
        tg.ones(2, backend="cudasim")
    with pytest.raises(kind, match="a copy to the GPU"):
        backends._explained("a copy to the GPU", refuse)(np.ones(2))


def test_errors_of_others_pass_as_they_are(broken):
    x = tg.ones((2, 3), backend="cudasim")
    for error in (RuntimeError("mine"), RecursionError("deep"), NotImplementedError("not yet")):
        broken(error)
        with pytest.raises(type(error)) as caught:
            tg.tanh(x)
        assert caught.value is error


def compiling(error):
    """A launcher whose compiler fails."""
    cupy = SimpleNamespace(ndarray=np.ndarray)
    cupy.cuda = SimpleNamespace(runtime=SimpleNamespace(getDevice=lambda: 0))

    def module(**options):
        raise error

    cupy.RawModule = module
    return device.CupyLauncher(cupy)


SOURCE = device.Source("update", ["advance_step"])
NVRTC = """kernel.cu(3): warning #177-D: variable "i" was declared but never referenced
kernel.cu(7): error: identifier "INFINTY" is undefined
      y = INFINTY;
          ^
kernel.cu(9): error: expected a ";"
2 errors detected in the compilation of "kernel.cu".
"""


def test_a_kernel_that_does_not_compile_is_named_with_the_first_errors():
    with pytest.raises(device.CompileError) as caught:
        compiling(Exception(NVRTC))(SOURCE, "advance_step", (1,), (1,), ())
    text = str(caught.value)
    assert text.startswith("the kernel advance_step of update.cu cannot be compiled: kernel.cu(7)")
    assert 'error: expected a ";"' in text
    assert "warning" not in text
    ours = errors.device_error("advance_step(...)", caught.value)
    assert isinstance(ours, tg.BackendError)
    assert text in str(ours)


@pytest.mark.parametrize(
    "message",
    [
        "Failed to find CUDA headers. Please install CUDA toolkit headers (e.g., pip install ...)",
        'Failure finding "libnvrtc.so": No such file: libnvrtc.so*',
    ],
)
def test_missing_headers_and_libraries_say_what_to_install(message):
    with pytest.raises(device.CompileError) as caught:
        compiling(RuntimeError(message))(SOURCE, "advance_step", (1,), (1,), ())
    for error in (caught.value, RuntimeError(message)):  # of our kernels, and of CuPy's own
        text = str(errors.device_error("tanh(...)", error))
        assert message.split(".")[0] in text
        assert 'pip install "cupy-cuda13x[ctk]"' in text


def test_no_memory_while_compiling_is_no_memory():
    with pytest.raises(MemoryError):
        compiling(MemoryError())(SOURCE, "advance_step", (1,), (1,), ())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_says_so():
    code = """
import os, sys
from tensorgrad import errors
class CUDARuntimeError(RuntimeError): pass
CUDARuntimeError.__module__ = "cupy_backends.cuda.api.runtime"
error = CUDARuntimeError("cudaErrorInitializationError: initialization error")
if sys.argv[1] == "used":
    errors.watch_forks()
if not os.fork():
    print(errors.device_error("add(...)", error), flush=True)
    os._exit(0)
os.wait()
assert "forked" not in str(errors.device_error("add(...)", error))
"""
    for used in ("used", "unused"):
        done = subprocess.run([sys.executable, "-c", code, used], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert ("spawn" in done.stdout) == (used == "used")
        assert done.stdout.startswith("add(...): cudaErrorInitializationError")


# --- nothing touches the GPU before it is asked for ---------------------------------------------

FAKE = '''
"""A CuPy that notes what is asked of it."""
import os

def _note(what):
    with open(os.environ["CUPY_LOG"], "a") as log:
        log.write(what + "\\n")

_note("import")

def __getattr__(name):
    if not name.startswith("__"):
        _note(name)
    raise AttributeError(name)
'''
PROGRAM = """
import numpy as np
import tensorgrad as tg
from tensorgrad import cuda, data, losses, nn, optim, precision, testing, train
x, y = np.ones((8, 3), "float32"), np.arange(8) % 2
model = nn.Sequential([nn.Dense(4, 3, activation="tanh"), nn.Dropout(0.1), nn.Dense(2, 4)])
model.compile("adam", "cross_entropy").fit(x, y, epochs=2, verbose=0)
step = tg.cuda.graphed(lambda x: model(x), (x,))
step(x)
tg.memory_summary()
repr(tg.ones(3) + np.float32(1))
"""


@pytest.mark.parametrize("first", ["", "import cupy\n"])
def test_programs_on_numpy_touch_no_gpu(first, tmp_path):
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").write_text(FAKE)
    log = tmp_path / "log"
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "CUPY_LOG": str(log)}
    env.pop("TENSORGRAD_BACKEND", None)
    done = subprocess.run(
        [sys.executable, "-c", first + PROGRAM], capture_output=True, text=True, env=env
    )
    assert done.returncode == 0, done.stderr
    assert (log.read_text() if log.exists() else "") == ("import\n" if first else "")


def test_the_program_for_compute_sanitizer_launches_all_sources(monkeypatch):
    if reason := _missing("cudasim"):
        pytest.skip(reason)
    home, launched = backends.get("cudasim"), set()
    there = device.DEVICES[home.array_type]

    def launch(source, name, *rest):
        launched.add(source)
        there.launch(source, name, *rest)

    monkeypatch.setitem(device.DEVICES, home.array_type, there._replace(launch=launch))
    assert every_kernel.main("cudasim") == len(every_kernel.CUDA)
    sources = Path(device.__file__).parent.glob("*.cu")
    assert {source.name for source in launched} == {path.stem for path in sources}
