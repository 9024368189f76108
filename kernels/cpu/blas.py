"""Matrix products inside compiled loops, on the thread that calls them.

Two thread pools on the same cores fight: OpenBLAS's threads spin for a while after a product, on
cores that Numba's then need. So our products run on one pool, Numba's, each tile of a parallel
loop a product on one thread. `gemm` takes our own (products.py) on processors where that is the
faster one, or the `cblas_?gemm` of the OpenBLAS in NumPy's wheel; `single()` keeps that one from
starting its own threads, and gives them back to the program afterwards.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

from . import jit, products
from .jit import extension

_PREFIX, _SUFFIX = "scipy_", "64_"  # of the symbols in NumPy's wheels; sizes are 64-bit
_ROW_MAJOR = 101


@functools.cache
def _library() -> Any:
    """NumPy's OpenBLAS, or None. It is loaded already: this only finds it again."""
    package = Path(np.__file__).parent
    for folder in (package.parent / "numpy.libs", package / ".dylibs"):
        for path in sorted(folder.glob("*scipy_openblas64*")):
            try:
                library = ctypes.CDLL(str(path))
                for name in ("cblas_sgemm", "cblas_dgemm", "openblas_set_num_threads"):
                    getattr(library, _PREFIX + name + _SUFFIX)
            except (OSError, AttributeError):
                continue
            return library
    return None


@functools.cache
def borrowed() -> bool:
    """Whether `gemm` is OpenBLAS's. Other libraries (MKL, Accelerate, a system's OpenBLAS) have no
    such door, and need none: there ours is taken on every processor."""
    return _library() is not None and not products.preferred()


def tiled() -> bool:
    """Whether large products are to be cut into tiles that run on Numba's pool. Where loops run
    serially for want of TBB, the BLAS library's own threads are in nobody's way."""
    return jit.pool().layer is not None or jit.threads_asked() == 1


def describe() -> str:
    """Which GEMM is used, for `python -m tensorgrad doctor`."""
    if not tiled():
        return "np.matmul, on the BLAS library's own threads: loops run serially"
    kind = "NumPy's OpenBLAS" if borrowed() else "own register tiles"
    return f"{kind}, one thread a tile on Numba's pool"


# --- threads ------------------------------------------------------------------------------------


class _Single:
    """OpenBLAS on one thread for as long as anyone is inside, then on as many as before. Threads
    may be inside at once: the first one in notes the number, the last one out restores it."""

    def __init__(self) -> None:
        self.inside, self.before, self.lock = 0, 1, threading.Lock()

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            if self.inside == 1:
                self.before = _get_threads()
                if self.before > 1:
                    _set_threads(1)

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0 and self.before > 1:
                _set_threads(self.before)

    def forget(self) -> None:
        """In a forked child: whoever was inside is not there."""
        inside, self.lock = self.inside, threading.Lock()
        if inside:
            self.inside = 0
            _set_threads(self.before)


_single = _Single()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_single.forget)


_nothing = contextlib.nullcontext()


def single(dtype: np.dtype) -> contextlib.AbstractContextManager:
    """The context in which compiled loops may call `gemm` for that dtype."""
    _prepare(dtype)
    return _single if borrowed() else _nothing


def _get_threads() -> int:
    return getattr(_library(), f"{_PREFIX}openblas_get_num_threads{_SUFFIX}")()


def _set_threads(n: int) -> None:
    getattr(_library(), f"{_PREFIX}openblas_set_num_threads{_SUFFIX}")(n)


def limit(n: int) -> None:
    """Let NumPy's OpenBLAS, where that is the library, use at most so many threads from now on."""
    if _library() is not None and _get_threads() > n:
        _set_threads(n)


# --- factors --------------------------------------------------------------------------------------


@functools.cache
def factors() -> bool:
    """Whether the library has LAPACK's factorisations, too."""
    return hasattr(_library(), f"{_PREFIX}dgetrf_{_SUFFIX}")


def factor(columns, pivots):
    """Make stacked matrices, each transposed, their factors l and u in place, with the rows that
    were exchanged, int64, from 1: on one thread, so that the bits do not follow their number."""
    kind = "s" if columns.dtype == np.float32 else "d"
    call = getattr(_library(), f"{_PREFIX}{kind}getrf_{_SUFFIX}")
    n, m = columns.shape[1:]
    refs = [ctypes.byref(ctypes.c_int64(i)) for i in (m, n, 0)]
    with _single:
        for a, p in zip(columns, pivots, strict=True):
            at, to = [ctypes.c_void_p(b.ctypes.data) for b in (a, p)]
            call(refs[0], refs[1], at, refs[0], to, refs[2])


# --- products in compiled loops -----------------------------------------------------------------


def gemm(a, b, c, beta):
    """c = a @ b + beta * c for matrices of one dtype, float32 or float64.

    a and b are contiguous along one of their axes (transposed views may be given), c along its
    rows. Called in compiled loops, on the thread that calls it, inside `single(dtype)`.
    """
    c[:] = a @ b + (beta * c if beta else 0)


def rows_of(a):
    """Whether the rows of a are contiguous, and its leading dimension."""
    if a.strides[1] == a.itemsize or a.shape[1] == 1:
        step = a.strides[0] // a.itemsize if a.shape[0] > 1 else 0
        return products.PLAIN, max(step, a.shape[1], 1)
    step = a.strides[1] // a.itemsize
    return products.TRANSPOSED, max(step, a.shape[0], 1)


@extension
def _register(numba):
    """Register `gemm` with Numba. It is called by a symbol, not by its address in this process:
    machine code that refers to the symbol can be cached."""
    from numba import extending, types

    extending.register_jitable(forceinline=True)(rows_of)

    @extending.overload(gemm, jit_options={"forceinline": True})
    def _gemm(a, b, c, beta):
        call = types.ExternalFunction(_symbol(c.dtype), products.signature(c.dtype, types.intp))
        number, order = np.dtype(str(c.dtype)).type, np.int32(_ROW_MAJOR)

        def run(a, b, c, beta):
            m, n, k = c.shape[0], c.shape[1], a.shape[1]
            turn_a, step_a = rows_of(a)
            turn_b, step_b = rows_of(b)
            step_c = rows_of(c)[1]
            places = a.ctypes.data, b.ctypes.data, c.ctypes.data
            turns = np.int32(turn_a), np.int32(turn_b)
            one, more = number(1), number(beta)
            if m > 0 and n > 0:
                call(order, turns[0], turns[1], m, n, k, one, places[0], step_a,
                     places[1], step_b, more, places[2], step_c)  # fmt: skip

        return run


def _symbol(dtype: Any) -> str:
    return f"tensorgrad_gemm_{dtype}"


@functools.cache
def _prepare(dtype: np.dtype) -> Any:
    """Let the symbol of a dtype's product stand for an address. What lies there is returned, and
    so kept."""
    from llvmlite import binding

    if borrowed():
        letter = {"float32": "s", "float64": "d"}[dtype.name]
        function = getattr(_library(), f"{_PREFIX}cblas_{letter}gemm{_SUFFIX}")
        address = ctypes.cast(function, ctypes.c_void_p).value
    else:
        function = products.compiled(dtype)
        address = function.address
    binding.add_symbol(_symbol(dtype), address)
    return function
