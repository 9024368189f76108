"""Compile CUDA C with g++ and run its kernels on NumPy arrays, one fiber per CUDA thread.

`Module` is what `cupy.RawModule` is on a GPU: the same source and the same name expressions. It is
stricter than a GPU where a mistake would go unnoticed there: see `cuda_cpu.h` for barriers and
memory, and `Module.launch` for arguments.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import mmap
import operator
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tensorgrad.kernels.cpu import turns

HERE = Path(__file__).resolve().parent
FORWARD, REVERSED, SHUFFLED = 0, 1, 2

_HEADERS = ("cuda_cpu.h", "cuda_builtins.h", "cuda_mma.h", "cuda_sanitize.h", *(
    f"include/{name}" for name in ("cuda_storage.h", "cuda_fp16.h", "cuda_bf16.h")
))  # fmt: skip
_FLAGS = (
    "-std=c++17",
    "-Og",  # half the time that -O1 takes
    "-march=native",
    "-ffp-contract=fast",  # nvcc and NVRTC contract to FMA, too
    "-fno-strict-aliasing",  # kernels read float arrays through float4 pointers
    "-fPIC",
    "-fvisibility=hidden",
    "-fcf-protection=none",  # a shadow stack does not know our fibers
    "-w",  # NVRTC's warnings count, not those of g++
)
_SANITIZE = (
    "-fsanitize=alignment,bounds,null,shift,signed-integer-overflow,integer-divide-by-zero",
    "-fsanitize-recover=all",
)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.MULTILINE)
_KNOWN_INCLUDES = {"cuda_fp16.h", "cuda_bf16.h"}
_DYNAMIC_SHARED = re.compile(
    r"extern\s+((?:(?:__shared__|__align__\s*\([^)]*\)|alignas\s*\([^)]*\))\s+)+)"
    r"([\w:<>\s]+?)\s+(\w+)\s*\[\s*\]\s*;"
)
# g++ has no name for a launch of a name expression: a table of function pointers gives it a number.
_TAIL = """
static const cudacpu::Kernel cudacpu_kernels[] = {%s};
#define CUDACPU_EXPORT extern "C" __attribute__((visibility("default")))
CUDACPU_EXPORT const char* cudacpu_parameters(int kernel) {
  return cudacpu_kernels[kernel].parameters;
}
CUDACPU_EXPORT const char* cudacpu_message() { return cudacpu::engine.message; }
CUDACPU_EXPORT int cudacpu_launch(int kernel, const unsigned* grid, const unsigned* block,
                                  size_t smem, void** args, int order, unsigned long seed) {
  return cudacpu::launch(cudacpu_kernels[kernel], grid, block, smem, args, order, seed);
}
"""

_launching = threading.Lock()  # one launch at a time in the process: an engine is one global
_default_order = (FORWARD, 1)


class KernelError(RuntimeError):
    """A kernel does not compile, or did something that is an error on a GPU."""


def why_not() -> str | None:
    """The reason why kernels cannot run here, or None when they can."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return f"cudasim needs x86-64 Linux, this is {platform.machine()} {sys.platform}"
    if shutil.which("g++") is None:
        return "cudasim needs g++ on the PATH"
    return None


def order(kind: int, seed: int = 1) -> None:
    """Set the order of threads and blocks for all launches: FORWARD, REVERSED or SHUFFLED."""
    global _default_order
    _default_order = _check_order(kind, seed)


class Module:
    """The kernels `names` of the CUDA C text `code`, built on construction unless cached.

    A name is a name expression as for NVRTC: `add`, `adam<__half>`, `tile<float, 32>`.
    `sanitize=True` builds with checks of array bounds, alignment, shifts and signed overflow.
    """

    def __init__(self, code: str, names: Sequence[str], sanitize: bool = False) -> None:
        if isinstance(names, str):
            raise TypeError(f"names is a sequence of names, not one string: ({names!r},)")
        self.names = tuple(names)
        self._library = ctypes.CDLL(str(build(code, self.names, sanitize)))
        self._library.cudacpu_message.restype = ctypes.c_char_p
        self._library.cudacpu_parameters.restype = ctypes.c_char_p
        self._index = {name: i for i, name in enumerate(self.names)}
        self._parameters = [
            self._library.cudacpu_parameters(i).decode().split() for i in range(len(self.names))
        ]
        self._order: tuple[int, int] | None = None

    def order(self, kind: int, seed: int = 1) -> None:
        """Set the order of threads and blocks for this module's launches, over the general one."""
        self._order = _check_order(kind, seed)

    def launch(
        self,
        name: str,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[np.ndarray | np.generic],
        smem: int = 0,
    ) -> None:
        """Run one kernel; `args` are arrays (for pointers) and NumPy scalars (for values).

        Raises TypeError for arguments that do not fit the kernel's parameters and KernelError for
        what the kernel did wrong. After a KernelError the arrays may be partly written.
        """
        if name not in self._index:
            raise KeyError(f"no kernel {name!r} in this module, which has {self.names}")
        pointers, keep = self._pointers(name, args)
        kind, seed = self._order or _default_order
        with _launching:
            failed = self._library.cudacpu_launch(
                self._index[name],
                _extents(grid, "grid"),
                _extents(block, "block"),
                ctypes.c_size_t(operator.index(smem)),
                pointers,
                kind,
                ctypes.c_ulong(seed),
            )
            message = self._library.cudacpu_message().decode() if failed else ""
        del keep
        if failed:
            raise KernelError(f"kernel {name!r}: {message}")

    def _pointers(self, name: str, args: Sequence[Any]) -> tuple[Any, list[Any]]:
        """The `void**` that a launch takes, and the objects that must outlive it."""
        parameters = self._parameters[self._index[name]]
        if len(args) != len(parameters):
            raise TypeError(f"kernel {name!r} takes {len(parameters)} arguments, got {len(args)}")
        pointers = (ctypes.c_void_p * len(args))()
        keep: list[Any] = []
        for i, (arg, parameter) in enumerate(zip(args, parameters, strict=True)):
            _check_argument(f"kernel {name!r}, argument {i}", arg, parameter)
            if isinstance(arg, np.ndarray):
                value = ctypes.c_void_p(arg.ctypes.data)
                pointers[i] = ctypes.addressof(value)
            else:
                value = np.asarray(arg)
                pointers[i] = value.ctypes.data
            keep.append(value)
        return pointers, keep


def guarded(array: np.ndarray) -> np.ndarray:
    """A copy of `array` whose end is the end of a readable page: one step beyond it is a SIGSEGV.

    That kills the process, so use it in a process of its own. The copy is never unmapped.
    """
    page = mmap.PAGESIZE
    room = -(-array.nbytes // page) * page
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    start = libc.mmap(None, ctypes.c_size_t(room + page), 0, flags, -1, ctypes.c_long(0))
    readable = mmap.PROT_READ | mmap.PROT_WRITE
    if start in (None, ctypes.c_void_p(-1).value) or libc.mprotect(
        ctypes.c_void_p(start), ctypes.c_size_t(room), readable
    ):
        raise OSError(ctypes.get_errno(), "cannot map memory for a guarded array")
    memory = (ctypes.c_char * array.nbytes).from_address(start + room - array.nbytes)
    copy = np.frombuffer(memory, dtype=array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def build(code: str, names: Sequence[str], sanitize: bool = False) -> Path:
    """Compile a kernel source to a shared library in the cache folder and return its path."""
    reason = why_not()
    if reason:
        raise KernelError(reason)
    return built(_translation_unit(code, names), _SANITIZE if sanitize else ())


def built(text: str, more: Sequence[str] = ()) -> Path:
    """The shared library of a C++ text, from the cache folder or made there."""
    flags = (*_FLAGS, *more)
    header = _kept("", flags, "h.gch", partial(_compile_header, flags))
    return _kept(text, flags, "so", partial(_compile, text, (*flags, f"-I{header}")))


def _kept(text: str, flags: Sequence[str], end: str, make: Callable[[Path], None]) -> Path:
    """What the compiler makes of a text, from the cache folder or made there."""
    key = hashlib.sha256("\0".join((text, *flags, _fingerprint(), _headers())).encode()).hexdigest()
    path = cache_folder() / f"{key[:40]}.{end}"
    if not path.exists():
        turns.take(path, patience=300)  # other workers need the same
        try:
            if not path.exists():
                make(path)
        finally:
            turns.give_back(path)
    return path


@functools.cache
def cache_folder() -> Path:
    """Where built kernels are kept: a folder that only this user can write to."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(os.environ.get("TENSORGRAD_CUDASIM_CACHE") or Path(base) / "tensorgrad-cudasim")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
    except OSError:  # a read-only home, as in some containers
        return Path(_private_folder().name)
    # a library that someone else could have put there must not be loaded
    private = state.st_uid == os.getuid() and not state.st_mode & 0o022
    usable = private and os.access(folder, os.W_OK | os.X_OK)
    return folder if usable else Path(_private_folder().name)


@functools.cache
def _private_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="tensorgrad-cudasim-")  # removed at exit


def _translation_unit(code: str, names: Sequence[str]) -> str:
    foreign = set(_INCLUDE.findall(code)) - _KNOWN_INCLUDES
    if foreign:
        raise KernelError(
            f"cannot include {', '.join(sorted(foreign))}: "
            f"cudasim has only {', '.join(sorted(_KNOWN_INCLUDES))}"
        )
    code = _DYNAMIC_SHARED.sub(r"\2* \3 = (\2*)cudacpu::dynamic_shared();", code)
    table = ", ".join(f"cudacpu::make_kernel({name})" for name in names)
    # #line: errors and barriers are reported with the kernel source's own line numbers
    return f'#include "cuda_cpu.h"\n#line 1 "kernel.cu"\n{code}\n{_TAIL % table}'


def _compile_header(flags: Sequence[str], place: Path) -> None:
    """The headers of all kernels, parsed once: a folder in which g++ looks for them first."""
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="build-") as folder:
        made = Path(folder) / "made"
        made.mkdir()
        header = ("-x", "c++-header", str(HERE / "cuda_cpu.h"), "-o", str(made / "cuda_cpu.h.gch"))
        _run_gcc(*flags, f"-I{HERE / 'include'}", *header)
        with contextlib.suppress(OSError):  # another process has made it
            os.rename(made, place)


def _compile(text: str, flags: Sequence[str], library: Path) -> None:
    """Build under names of our own and rename: others may build the same at the same time."""
    with tempfile.TemporaryDirectory(dir=library.parent, prefix="build-") as folder:
        source, objects, built = (Path(folder) / f"kernel.{end}" for end in ("cpp", "o", "so"))
        source.write_text(text)
        includes = (f"-I{HERE}", f"-I{HERE / 'include'}")
        # two steps: linking with -fsanitize would pull in libubsan, whose place our handlers take
        _run_gcc(*flags, *includes, "-c", str(source), "-o", str(objects))
        _run_gcc("-shared", str(objects), "-o", str(built))
        os.replace(built, library)


def _run_gcc(*arguments: str) -> None:
    done = subprocess.run(["g++", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise KernelError(f"g++ failed:\n{done.stderr[:20000]}")


@functools.cache
def _fingerprint() -> str:
    """The compiler and what -march=native means here: a cache folder may be shared by machines."""
    outputs = [
        subprocess.run(["g++", *arguments], capture_output=True, text=True, check=True).stdout
        for arguments in (("--version",), ("-march=native", "-Q", "--help=target"))
    ]
    return "\n".join(outputs)


@functools.cache
def _headers() -> str:
    return "\0".join((HERE / name).read_text() for name in _HEADERS)


def _check_order(kind: int, seed: int) -> tuple[int, int]:
    if kind not in (FORWARD, REVERSED, SHUFFLED):
        raise ValueError(f"order is FORWARD, REVERSED or SHUFFLED (0, 1, 2), not {kind!r}")
    return kind, operator.index(seed)


def _extents(extents: Sequence[int], what: str) -> Any:
    if not isinstance(extents, (tuple, list)) or not 1 <= len(extents) <= 3:
        raise TypeError(f"{what} must be a tuple of one to three integers, not {extents!r}")
    values = [operator.index(extent) for extent in extents] + [1] * (3 - len(extents))
    if not all(0 <= value < 2**32 for value in values):
        raise KernelError(f"invalid {what} {tuple(extents)}")
    return (ctypes.c_uint * 3)(*values)


def _check_argument(where: str, arg: Any, parameter: str) -> None:
    """Raise TypeError unless `arg` fits the parameter, one word as `cuda_cpu.h` describes it."""
    place, kind, size = parameter[0], parameter[1], int(parameter[2:])
    wanted = f"{_NAMES[kind]} of {size} bytes"
    if place == "p":
        wanted = f"a pointer to {wanted}"
    if isinstance(arg, np.ndarray):
        if place != "p" or not _same_kind(arg.dtype, kind, size):
            raise TypeError(f"{where} is an array of {arg.dtype}, but the kernel takes {wanted}")
    elif isinstance(arg, np.generic):
        same_kind = kind == "V" or _number_kind(arg.dtype) in _ACCEPTS[kind]
        if place == "p" or arg.dtype.itemsize != size or not same_kind:
            given = f"a {arg.dtype} scalar of {arg.dtype.itemsize} bytes"
            raise TypeError(f"{where} is {given}, but the kernel takes {wanted}")
    else:
        hint = {bool: "np.bool_", int: "np.int64", float: "np.float32"}.get(type(arg))
        remedy = f": type it, as in {hint}({arg!r})" if hint else ""
        raise TypeError(
            f"{where} is a {type(arg).__name__}, not an array or a NumPy scalar{remedy} "
            "(CuPy would send an int as 8 bytes and a float as a double, whatever the kernel takes)"
        )


_NAMES = {
    "f": "a floating-point value",
    "i": "an integer",
    "u": "an unsigned integer",
    "b": "a bool",
    "e": "a half",
    "E": "a bfloat16",
    "V": "a struct",
}
# a scalar is passed as bits, so the sign of an integer does not matter; its kind does
_ACCEPTS = {"f": "f", "i": "iu", "u": "iu", "b": "b", "e": "e", "E": "E"}


def _number_kind(dtype: np.dtype) -> str:
    if dtype.name == "bfloat16":
        return "E"
    return "e" if dtype == np.float16 else dtype.kind


def _same_kind(dtype: np.dtype, kind: str, size: int) -> bool:
    """May a kernel see this array's memory as values of that kind?

    Bytes, void, structs and vectors (float4) may look at anything, and unsigned integers at the raw
    bits of any value of their size; otherwise the wrong specialisation of a template was named.
    """
    if kind == "V" or (size <= 1 and kind in "iu"):
        return True
    if dtype.itemsize != size:
        return False
    return kind == "u" or _number_kind(dtype) in _ACCEPTS[kind]
