"""The stand-in for cuBLASLt (cublaslt.cpp), and as much of CuPy as `CublasLt` asks for."""

from __future__ import annotations

import ctypes
import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

from .array import SimArray, poisoned, wrap
from .namespace import xp
from .shim import HERE, built


class Record(ctypes.Structure):
    """What was asked of the library last; `refuse` is a status to fail with."""

    _fields_ = [
        *[(name, ctypes.c_int) for name in ("searches", "calls", "live", "compute", "refuse")],
        *[(name, ctypes.c_uint) for name in ("scheme", "alignment")],
        *[(name, ctypes.c_void_p) for name in ("stream", "workspace")],
    ]


@functools.cache
def library() -> tuple[ctypes.CDLL, Record]:
    """The library, and its record of calls."""
    text = '#include "cuda_cpu.h"\n' + (HERE / "cublaslt.cpp").read_text()
    loaded = ctypes.CDLL(str(built(text)))
    return loaded, Record.in_dll(loaded, "record")


def aligned(shape: Any, dtype: Any) -> SimArray:
    """Memory as CuPy's pool gives it: at a multiple of 256 bytes."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    memory = np.empty(count * dtype.itemsize + 256, np.uint8)
    start = -memory.ctypes.data % 256
    numbers = memory[start : start + count * dtype.itemsize].view(dtype)
    return wrap(poisoned(numbers.reshape(shape)))


class Memory:
    """`cupy.cuda.Memory`."""

    def __init__(self, size: int) -> None:
        self.array = aligned((size,), np.uint8)
        self.ptr = self.array.data.ptr


class Cupy:
    """CuPy's names, on a GPU and a stream that can be chosen."""

    def __init__(self) -> None:
        self.gpu, self.stream = 0, SimpleNamespace(ptr=0)
        runtime = SimpleNamespace(getDevice=lambda: self.gpu)
        self.cuda = SimpleNamespace(
            runtime=runtime, Memory=Memory, get_current_stream=lambda: self.stream
        )
        self.empty = aligned

    def __getattr__(self, name: str) -> Any:
        return getattr(xp, name)
