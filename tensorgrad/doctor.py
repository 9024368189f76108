"""`python -m tensorgrad doctor`: versions, devices, backends, and why a GPU is not usable."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterable, Iterator

import numpy as np

from . import __version__, backend

_PACKAGES: tuple[str, ...] = ("numpy", "numba", "tbb", "cupy-cuda13x", "cupy-cuda12x", "cupy")
_PACKAGES += ("ml_dtypes", "nvidia-cudnn-frontend", "nvidia-cudnn-cu13", "nvidia-cudnn-cu12")
_VARIABLES: tuple[str, ...] = ("TENSORGRAD_BACKEND", "TENSORGRAD_KERNELS", "TENSORGRAD_NUM_THREADS")
_VARIABLES += ("TENSORGRAD_TF32", "TENSORGRAD_CUDNN", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_VARIABLES += ("NUMBA_THREADING_LAYER", "NUMBA_CACHE_DIR")


def report() -> str:
    """The diagnosis as text, one fact per line."""
    sections = {
        "tensorgrad": _versions(),
        "backends": _backends(),
        "numpy's BLAS": _blas(),
        "kernels on the CPU": _cpu_kernels(),
        "several processes": _ranks(),
        "environment": [(v, os.environ[v]) for v in _VARIABLES if v in os.environ],
    }
    lines = []
    for title, facts in sections.items():
        found = [f"  {name:22} {value}" for name, value in _surviving(facts)]
        lines += [title, *(found or ["  (nothing set)"])]
    return "\n".join(lines)


def _surviving(facts: Iterable[tuple[str, object]]) -> Iterator[tuple[str, object]]:
    """The facts up to an error, and that: whatever is broken here, the rest is to be read."""
    try:
        yield from facts
    except Exception as error:
        yield "ERROR", f"{type(error).__name__}: {error}"


def _versions() -> Iterator[tuple[str, str]]:
    yield "version", __version__
    yield "python", f"{platform.python_version()} on {platform.platform()}"
    yield "processor", f"{_processor()}, {os.cpu_count()} cores"
    for name in _PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name in ("numpy", "numba", "tbb"):
                yield name, "not installed"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as info:
            names = [line.split(":", 1)[1].strip() for line in info if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def _backends() -> Iterator[tuple[str, str]]:
    yield "numpy", f"usable, {np.__version__}"
    reason = backend.why_no_gpu()
    if reason:
        yield "cupy", f"not usable: {reason}"
    else:
        yield from _gpus()
        yield from _work("cupy")
    yield "cudnn", _cudnn()
    try:
        yield "new tensors go to", backend.default().name
    except backend.BackendError as error:
        yield "new tensors go to", f"nowhere: {error}"


def _gpus() -> Iterator[tuple[str, str]]:
    import cupy

    runtime = cupy.cuda.runtime
    yield "cupy", f"{cupy.__version__}, CUDA {runtime.runtimeGetVersion()}"
    for i in range(runtime.getDeviceCount()):
        facts = runtime.getDeviceProperties(i)
        name, capability = facts["name"].decode(), f"{facts['major']}.{facts['minor']}"
        size = facts["totalGlobalMem"] / 2**30
        yield f"gpu {i}", f"{name}, compute capability {capability}, {size:.0f} GiB"


def _work(name: str) -> Iterator[tuple[str, str]]:
    """What a GPU backend is asked to do here, as a driver alone makes nothing usable: a kernel is
    compiled, which takes NVRTC and CUDA's headers, and matrices are multiplied by cuBLASLt."""
    failed = []
    for what, test in (("kernels", _compiled), ("products", _multiplied)):
        try:
            yield what, test(name)
        except Exception as error:  # of many types: the diagnosis goes on
            failed.append(what)
            yield what, f"NOT usable: {' '.join(str(error).split())}"
    yield f"so {name} is", f"not usable, for its {' and '.join(failed)}" if failed else "usable"


def _compiled(name: str) -> str:
    from .creation import ones
    from .functions import tanh

    found = tanh(ones(2, backend=name)).tolist()
    if not np.allclose(found, np.tanh(1), rtol=1e-5):
        raise backend.BackendError(f"tanh of 1 is {found[0]}, which is wrong")
    return "compiled and run"


def _multiplied(name: str) -> str:
    from .creation import ones
    from .functions import matmul
    from .kernels.cuda import device

    a, b = ones((2048, 8), "float16", backend=name), ones((8, 1024), "float16", backend=name)
    if not (matmul(a, b).numpy() == 8).all():
        raise backend.BackendError("a product of ones is wrong")
    a, b = a.data, b.data
    xp, _, blas = device.device(a)
    blas.refused.clear()
    bias, aux = xp.zeros(1024, "float16"), xp.empty((2048, 1024), "float16")
    for epilogue, more in (("bias", (bias,)), ("gelu", (bias, aux)), ("bias_grad", (bias,))):
        blas.fused(epilogue, a, b, *more)
    lost = "; ".join([f"{epilogue} is not fused: {why}" for epilogue, why in blas.refused.items()])
    return "computed; " + (lost or "bias, gelu and the bias' gradient in the same launch")


def _cudnn() -> str:
    from .kernels.cuda import cudnn

    found = cudnn.why_not() or cudnn.library()
    if isinstance(found, str):
        return f"not used: {found}"
    return f"usable, {found.backend_version_string()}, frontend {found.__version__}"


def _ranks() -> Iterator[tuple[str, str]]:
    from .distributed import launch, nccl, ranks

    try:
        yield "mpi4py", importlib.metadata.version("mpi4py")
    except importlib.metadata.PackageNotFoundError:
        yield "mpi4py", 'not installed: pip install "tensorgrad-cupy[mpi]"'
        return
    yield "MPI", launch.library_version()
    try:
        path, kind = launch.found()
    except backend.BackendError as error:
        yield "WARNING", str(error)
    else:
        yield "launcher", f"{kind}, {path}"
        other = shutil.which("mpiexec")
        if other and os.path.realpath(other) != os.path.realpath(path):
            yield "WARNING", f"{other} comes first in PATH, and may be of another MPI: use `launch`"
    cores = ranks.cores()
    said = ", ".join(f"{n} of {max(1, cores // n)}" for n in (1, 2, 4, 8) if n <= cores)
    yield "ranks and threads", f"{said}, for {cores} cores; as many ranks as GPUs on those"
    if (n := ranks.started()) > 1:
        yield "started as", f"one of {n} processes"
    yield "NCCL", nccl.status()


def _blas() -> Iterator[tuple[str, str]]:
    built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    yield "library", f"{built.get('name')} {built.get('version')}"


def _cpu_kernels() -> Iterator[tuple[str, str]]:
    from .kernels.cpu import blas, cache, jit

    if reason := jit.why_not():
        yield "WARNING", f"none can be compiled, all ops run on NumPy alone: {reason}"
        return
    yield from jit.describe().items()
    yield "products", blas.describe()
    layer, reason = jit.pool()
    if layer is None:
        yield "WARNING", f"parallel loops run on one thread: {reason}"
    for warning in cache.said:
        yield "WARNING", warning
