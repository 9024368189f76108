"""What a CUDA-like backend is: an array module, a kernel launcher and a BLAS, by array type.

CuPy's are made here when its first array comes along. A test backend enters others in `DEVICES`:
the launchers of this folder know no more of a GPU than this file says.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

Array = Any

HALVES = ("float16", "bfloat16")
DTYPES = (*HALVES, "float32", "float64")
TYPES = {"float16": "__half", "bfloat16": "__nv_bfloat16", "float32": "float", "float64": "double"}
# Types, and how many numbers of each a thread may take at a time: one, or 16 bytes of them.
PACKED = [(t, v) for t in TYPES.values() for v in (1, {"float": 4, "double": 2}.get(t, 8))]
BLOCK = 256  # threads of a block where nothing speaks for another number
# Blocks enough to fill a GPU of 132 multiprocessors twice over; grid-stride loops do the rest.
MOST_BLOCKS = 2048


class Source:
    """The CUDA C text of one family and the kernels it holds, by their name expressions."""

    def __init__(self, name: str, names: Iterable[str]):
        self.name, self.names = name, tuple(names)

    def __repr__(self) -> str:
        return f"<Source {self.name}.cu>"

    @functools.cached_property
    def code(self) -> str:
        """The text of `<name>.cu` with our own headers in the place of their includes."""
        seen: set[str] = set()

        def read(file: str) -> str:
            text = (Path(__file__).parent / file).read_text()
            return re.sub(r'^#include "(\S+)"$', paste, text, flags=re.MULTILINE)

        def paste(found: re.Match[str]) -> str:
            file = found[1]
            if file in seen:
                return ""
            seen.add(file)
            return read(file)

        return read(f"{self.name}.cu")


class Launch(Protocol):
    """Runs the kernel `name` of a source. `args` are arrays on the device and NumPy scalars of
    the very type that the kernel takes, np.void for a struct; a Python number is a TypeError."""

    def __call__(
        self,
        source: Source,
        name: str,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        smem: int = 0,
    ) -> None: ...


class Blas(Protocol):
    """Matrix products: two or more dimensions, one dtype, halves summed in float32."""

    refused: dict[str, str]  # epilogue -> why `fused` last did without the library's

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array: ...

    def fused(
        self,
        epilogue: str,
        a: Array,
        b: Array,
        bias: Array | None = None,
        aux: Array | None = None,
    ) -> Array | None:
        """A product of matrices and more in one launch; None where that is not to be had.

        - "bias": a @ b + bias
        - "gelu": gelu(a @ b + bias), and a @ b + bias is written to `aux`
        - "bias_grad": a @ b, and the sum of b over its rows is written to `bias`

        There is no relu, since cuBLASLt's makes zeros of NaNs.
        """

    def release(self, stream: int) -> None:
        """Free what is kept for products on a stream, by its address, before it is destroyed."""


class Device(NamedTuple):
    """The three objects a CUDA-like backend consists of."""

    xp: Any
    launch: Launch
    blas: Blas


DEVICES: dict[type, Device] = {}


def device(x: Array) -> Device:
    """The device an array is on."""
    found = DEVICES.get(type(x))
    return found if found is not None else of(type(x))


def of(kind: type) -> Device:
    """The device of a type of arrays."""
    if kind in DEVICES:
        return DEVICES[kind]
    if kind.__module__.split(".")[0] != "cupy":
        raise TypeError(f"no CUDA-like device has arrays of type {kind.__qualname__}")
    import cupy

    from .cublas import CublasLt

    DEVICES[kind] = Device(cupy, CupyLauncher(cupy), CublasLt(cupy))
    return DEVICES[kind]


@functools.cache
def _capability(found: Device, gpu: int) -> int:
    return int(found.xp.cuda.Device(gpu).compute_capability)


def multiplies(x: Array) -> bool:
    """Whether our own GEMMs can multiply arrays like x: register_tiles.cuh takes floats, mma.cuh
    halves, which need tensor cores."""
    return x.dtype.itemsize > 2 or _capability(device(x), x.device.id) >= 80


# --- CuPy ---------------------------------------------------------------------------------------


class CompileError(RuntimeError):
    """A kernel that cannot be compiled here."""


class CupyLauncher:
    """Compiles each kernel when it is first launched (a whole family would take seconds, of which
    a step uses little) and keeps its function, for each device of the machine."""

    def __init__(self, cupy: Any):
        self.cupy, self.gpu = cupy, cupy.cuda.runtime.getDevice
        self.functions: dict[tuple[Source, str, int], Any] = {}
        self.plain = {cupy.ndarray, *[np.dtype(kind).type for kind in "?bBhHiIlLqQfd"]}

    def __call__(self, source, name, grid, block, args, smem=0):
        if not self.plain.issuperset(map(type, args)):
            args = [self._passed(name, i, arg) for i, arg in enumerate(args)]
        key = (source, name, self.gpu())
        function = self.functions.get(key)
        if function is None:
            function = self.functions[key] = self._compiled(source, name)
        function(grid, block, args, smem)

    def _passed(self, name: str, i: int, arg: Any) -> Any:
        """An argument as CuPy takes it: a struct by value is a NumPy array of one element, its
        bytes, since CuPy asks for the array's description, which NumPy makes anew from all of a
        struct's fields."""
        if isinstance(arg, np.void):
            return np.frombuffer(arg.tobytes(), f"V{arg.nbytes}")
        if isinstance(arg, (self.cupy.ndarray, np.generic)):
            return arg
        raise TypeError(
            f"kernel {name}, argument {i} is a {type(arg).__name__}: pass arrays of the "
            "device and NumPy scalars (CuPy would send a float as a double)"
        )

    def _compiled(self, source: Source, name: str) -> Any:
        try:
            module = self.cupy.RawModule(
                code=source.code, options=("--std=c++17",), name_expressions=(name,)
            )
            return module.get_function(name).kernel  # which it would look up at each call
        except MemoryError:
            raise
        except Exception as error:  # of several types; some say no more than what is missing
            lines = str(error).splitlines()
            first = [line.strip() for line in lines if "error" in line][:3] or lines[:1]
            raise CompileError(
                f"the kernel {name} of {source.name}.cu cannot be compiled: {'; '.join(first)}"
            ) from error


# --- what launchers share -----------------------------------------------------------------------


class _CTypes(dict):
    """dtype -> CUDA C type; asking a dtype for its name takes longer than all else of a launch."""

    def __missing__(self, dtype: np.dtype) -> str:
        return self.setdefault(dtype, TYPES[dtype.name])


_ctypes = _CTypes()


def ctype(x: Array) -> str:
    """The CUDA C type of an array's elements."""
    return _ctypes[x.dtype]


def wide(x: Array) -> Any:
    """The NumPy type that kernels compute in for x: `Wide<T>` of common.cuh."""
    return np.float64 if x.dtype.itemsize == 8 else np.float32


def sizes(*numbers: int) -> list[np.int64]:
    """Sizes as kernels take them: `Index` of common.cuh."""
    return [np.int64(n) for n in numbers]


def either(a: Array | None, other: Array) -> Array:
    """An optional input, or where it is left out another array, which the kernel will not use."""
    return other if a is None else a


def given(*arrays: Array | None) -> list[np.int32]:
    """The flags that tell a kernel which of its optional inputs are there."""
    return [np.int32(a is not None) for a in arrays]


def blocks(n: int) -> tuple[int]:
    """The grid of a grid-stride loop over n numbers."""
    return (min((n + BLOCK - 1) // BLOCK, MOST_BLOCKS) or 1,)


def packs(n: int, *arrays: Array) -> int:
    """The width of vectorised loads in elements: 16 bytes where all rows of n elements are aligned
    to that, otherwise one."""
    v = 16 // arrays[0].itemsize
    if n % v:
        return 1
    for a in arrays:
        if a.data.ptr % 16:
            return 1
    return v


def row_launch(rows: int, n: int, v: int = 1) -> tuple[tuple[int], tuple[int, int]]:
    """Grid and block for a kernel over rows of n elements, v at a time: short rows take
    a warp each, four to a block, longer ones a block of their own."""
    if n <= 512:
        return (min(-(-rows // 4), 1 << 16),), (32, 4)
    return (min(rows, 1 << 16),), (min(1024, 32 * -(-n // (32 * max(4, v)))), 1)


TILE = (32, 8)  # threads of a kernel that covers a matrix in tiles of 32 columns


def parts_of(rows: int) -> tuple[int, int]:
    """Into how many partial sums of how many rows a sum over the rows of a matrix is split. It
    follows from the shape alone, so the sum is deterministic."""
    per = max(64, -(-rows // 256))
    return -(-rows // per), per
