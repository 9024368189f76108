"""The only caller of `numba.njit`: what is compiled, with which flags, cached where, on which pool.

Nothing here imports Numba until a compiled function is first called, so programs on small arrays
never pay for it (0.1 s and 35 MB). Then, once per process: TBB is loaded and made Numba's thread
pool, and a folder is found that the machine code can be cached in.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import hashlib
import importlib.util
import os
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

prange = range  # numba.prange once Numba runs; kernels take the name from here

_FLAGS: dict[str, Any] = {
    # Division by zero gives inf as in NumPy. Python's checks stop vectorisation: tanh of 64K
    # float32 took 2.4 instead of 0.3 ns a number on a 2-core x86-64 server.
    "error_model": "numpy",
    "boundscheck": False,
    "nogil": True,
}
# a * b + c in one rounding, as a GPU and BLAS do; NaN, infinities and signed zeros stay exact.
_CONTRACT = frozenset({"contract"})
# Sums may also be split into several running sums, which vector instructions need.
_REASSOCIATE = frozenset({"contract", "reassoc", "nsz"})
# Only `prange` runs on several threads. Numba would make such loops of array expressions and of
# assignments like a[:] = 0, too, each of which it takes a tenth of a second to compile.
_OTHERS = ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion")
_LOOPS_ONLY = {"prange": True, **dict.fromkeys(_OTHERS, False)}

_lock = threading.RLock()
loops: list[Jitted] = []
_forked = False
_extensions: list[Callable[[ModuleType], object]] = []  # run once Numba is there


class Jitted:
    """A function that is compiled when first called, once for each dtype of its first argument.

    One dtype, one machine-code file: two processes that compile different dtypes at the same time
    then never write the same file, which Numba's cache does not survive.
    """

    def __init__(self, function: Callable, parallel_from: int | None, reassociate: bool):
        self.function = function
        self.name = "-".join([function.__qualname__, *_formulas(function)])
        self.parallel_from, self.reassociate = parallel_from, reassociate
        self.__doc__ = function.__doc__
        self._compiled: dict[Any, Callable] = {}
        loops.append(self)

    def __call__(self, *args):
        first = args[0]
        wide = self.parallel_from is not None and first.size >= self.parallel_from
        key = (first.dtype, wide)
        run = self._compiled.get(key)
        return run(*args) if run is not None else self._first_call(key, args)

    def _first_call(self, key: tuple, args: tuple) -> Any:
        """Compile or load, and run. Loops raise nothing themselves, so an error on the first call
        is one of loading: a cache entry cut short. It is dropped and compiled again, once."""
        dtype, wide = key
        with _lock:
            parallel = wide and pool().layer is not None
            run = self._compile(dtype, parallel)
            name = run.py_func.__qualname__
            with _announced(name):
                try:
                    result = run(*args)
                except Exception:
                    if not _drop(name):
                        raise
                    run = self._compile(dtype, parallel)
                    result = run(*args)
            self._compiled[key] = run
            return result

    def _compile(self, dtype: np.dtype, parallel: bool) -> Callable:
        numba, globe = _numba(), self.function.__globals__
        if "prange" in globe:
            globe["prange"] = numba.prange
        fast = set(_REASSOCIATE if self.reassociate else _CONTRACT)
        compiler = functools.partial(
            numba.njit, parallel=_LOOPS_ONLY if parallel else False, fastmath=fast
        )
        name = f"{self.name}-{dtype}" + ("-parallel" if parallel else "")
        return _cached(compiler, self.function, name)


def _cached(compiler: Callable, f: Callable, name: str) -> Any:
    """What the compiler makes of a function, under that name in the cache."""
    copy = FunctionType(f.__code__, f.__globals__, f.__name__, None, f.__closure__)
    copy.__module__, copy.__qualname__ = f.__module__, name
    config = _numba().config
    before, config.CACHE_DIR = config.CACHE_DIR, str(cache_folder())
    try:
        return compiler(cache=True, **_FLAGS)(copy)
    finally:
        config.CACHE_DIR = before


def c_function(function: Callable, signature: Any, name: str) -> Any:
    """Compile a function, or load it, as one that C could call at its `address`: machine code of
    many loops then calls a single copy of it."""
    compiler = functools.partial(_numba().cfunc, signature, fastmath=set(_CONTRACT))
    with _lock, _announced(name):
        try:
            return _cached(compiler, function, name)
        except Exception:
            if not _drop(name):
                raise
            return _cached(compiler, function, name)


def _formulas(function: Callable) -> Iterator[str]:
    """The names of the functions that a function is closed over, and of those that they are."""
    for cell in function.__closure__ or ():
        yield cell.cell_contents.__name__
        yield from _formulas(cell.cell_contents)


def jit(
    function: Callable | None = None,
    *,
    parallel_from: int | None = None,
    parallel: bool = False,
    reassociate: bool = False,
) -> Any:
    """Compile the decorated loop when it is first called.

    The loop's first argument is an array; what its closure holds are formulas. From
    `parallel_from` numbers in that array on (`parallel`: always) `prange` runs on all threads;
    below that, and where there is no TBB, on one. `reassociate` lets sums be taken in another
    order (one that depends on the shape alone).
    """
    parallel_from = 0 if parallel else parallel_from
    if function is None:
        return functools.partial(jit, parallel_from=parallel_from, reassociate=reassociate)
    return Jitted(function, parallel_from, reassociate)


def scalar(function: Callable | None = None, **by_dtype: Callable) -> Any:
    """Make a scalar function usable inside compiled loops.

    `float32=f, float64=g` give the versions for these types; in plain Python the function itself
    runs, as the definition of what they compute.
    """
    if function is None:
        return functools.partial(scalar, **by_dtype)

    def register(numba: ModuleType) -> None:
        from numba import extending

        # Inlined by force: a call left in a loop stops vectorisation (gelu_grad in float64 took
        # 6.8 instead of 0.9 ns a number, AVX-512 server).
        if by_dtype:
            extending.overload(function, jit_options={"forceinline": True})(_chooser(by_dtype))
        else:
            extending.register_jitable(forceinline=True)(function)

    extension(register)
    return function


def extension(register: Callable[[ModuleType], object]) -> Callable:
    """Call the decorated function with Numba, once that is imported, before anything compiles."""
    with _lock:
        _extensions.append(register)
        if _numba.cache_info().currsize:
            _extend(_numba())
    return register


def _extend(numba: ModuleType) -> None:
    while _extensions:
        _extensions.pop(0)(numba)


def _chooser(by_dtype: dict[str, Callable]) -> Callable:
    return lambda x: by_dtype.get(str(x))  # Numba's types have NumPy's names


# --- Numba, once per process --------------------------------------------------------------------


@functools.cache
def _numba() -> ModuleType:
    """Numba, imported with as many threads as asked for and the scalars made known to it."""
    late = "numba" in sys.modules
    n = threads_asked()
    if n and not late:  # Numba reads it on import, and complains if it changes afterwards
        os.environ.setdefault("NUMBA_NUM_THREADS", str(n))
    import numba

    if n and late:  # its pool may have started: mask the threads above n, for this thread
        numba.set_num_threads(min(n, numba.config.NUMBA_NUM_THREADS))
    _extend(numba)
    return numba


def threads_asked() -> int | None:
    """The number of threads that the environment asks for."""
    for variable in ("TENSORGRAD_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(variable, "").split(",")[0].strip()
        if text.isdecimal() and int(text) > 0:
            return int(text)
    return None


class Pool(NamedTuple):
    """The thread pool that parallel loops run on; without one (`layer` None) they run serially."""

    layer: str | None
    reason: str


def _in_forked_child() -> None:
    """A forked child has none of the pool's threads, and TBB does not always notice: when the
    parent's are slow to leave, a parallel loop in the child waits for them for ever. So loops run
    serially there; processes that are spawned have a pool of their own."""
    global _lock, _forked
    _lock, _forked = threading.RLock(), True
    pool.cache_clear()
    for loop in loops:
        loop._compiled = {key: run for key, run in loop._compiled.items() if not key[1]}


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_forked_child)


@functools.cache
def pool() -> Pool:
    """Make TBB Numba's thread pool.

    Never the workqueue, which aborts the process when two user threads meet in it, and OpenMP
    only when NUMBA_THREADING_LAYER asks for it: it kills forked children and fights with BLAS for
    the cores (an Adam step of a small network took 84 instead of 0.6 ms on 2 cores).
    """
    if _forked:
        return Pool(None, "a forked child: spawn processes to have threads in them")
    numba = _numba()
    asked = numba.config.THREADING_LAYER
    try:
        running = numba.threading_layer()
    except ValueError:  # none yet: ours to choose
        running = None
    if running is not None:
        usable = running == "tbb" or (running == "omp" and asked == "omp")
        return Pool(running if usable else None, f"Numba runs on {running} already")
    if asked == "omp":
        return Pool("omp", "NUMBA_THREADING_LAYER=omp")
    if asked == "workqueue":
        return Pool(None, "NUMBA_THREADING_LAYER=workqueue aborts under threads, so it is not used")
    place = _load_tbb()
    try:
        importlib.import_module("numba.np.ufunc.tbbpool")
    except ImportError as error:
        return Pool(None, f"no TBB ({error}): pip install tbb")
    numba.config.THREADING_LAYER = "tbb"
    return Pool("tbb", place or "the loader's own")


def _load_tbb() -> str | None:
    """Load the library of the `tbb` package, which lies where the loader does not look: beside
    the environment's other libraries. Numba would silently take OpenMP."""
    if sys.platform == "win32":
        places = [Path(sys.prefix, "Library", "bin", "tbb12.dll")]
    else:
        name = "libtbb.12.dylib" if sys.platform == "darwin" else "libtbb.so.12"
        places = [Path(prefix, "lib", name) for prefix in (sys.prefix, sys.base_prefix)]
    for place in places:
        if place.exists():
            try:
                ctypes.CDLL(str(place), mode=ctypes.RTLD_GLOBAL)
            except OSError as error:
                warnings.warn(f"{place} cannot be loaded: {error}", RuntimeWarning, stacklevel=2)
            else:
                return str(place)
    return None


# --- the cache ----------------------------------------------------------------------------------


@functools.cache
def cache_folder() -> Path:
    """A folder for machine code that can be written: NUMBA_CACHE_DIR if set, beside the kernels,
    the user's cache, or a temporary one. Its name changes with the kernels' sources, Numba and
    the processor: Numba itself would notice neither a change in another file nor another CPU."""
    name = f"tensorgrad-{_fingerprint()}"
    for base in _cache_bases():
        folder = base / name
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):  # dates the folder, too
                _remove_unused(base)
                return folder
        except OSError:
            continue
    folder = Path(tempfile.mkdtemp(prefix="tensorgrad-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _remove_unused(base: Path, days: int = 30) -> None:
    """Delete the folders of other versions that no process has used for some time."""
    for folder in base.glob("tensorgrad-*"):
        with contextlib.suppress(OSError):  # another process may do the same
            if time.time() - folder.stat().st_mtime > days * 86400:
                shutil.rmtree(folder)


def _cache_bases() -> list[Path]:
    given = os.environ.get("NUMBA_CACHE_DIR")
    bases = [Path(given)] if given else [Path(__file__).parent / "__pycache__"]
    if sys.platform == "win32":
        user = os.environ.get("LOCALAPPDATA")
    else:
        user = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return [*bases, Path(user, "tensorgrad")] if user else bases


def _fingerprint() -> str:
    from llvmlite import binding

    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    features = binding.get_host_cpu_features().flatten()
    numpys = (np.__version__, np.__file__)  # whose BLAS the code may call
    for fact in (*numpys, _numba().__version__, binding.get_host_cpu_name(), features):
        digest.update(fact.encode())
    return digest.hexdigest()[:16]


def _entries(name: str) -> list[Path]:
    """The files of a compiled function in the cache."""
    plain = name.replace("<", "").replace(">", "")
    return list(cache_folder().glob(f"*/*.{plain}-*.nb[ic]"))


def _drop(name: str) -> bool:
    """Delete the cache entries of a compiled function; whether there were any."""
    entries = _entries(name)
    for entry in entries:
        entry.unlink(missing_ok=True)
    return bool(entries)


@contextlib.contextmanager
def _announced(name: str) -> Iterator[None]:
    """Say on a terminal that something compiles: it may take seconds, and happens once."""
    if not sys.stderr.isatty() or _entries(name):
        yield
        return
    shown = name.replace(".<locals>.", " ")
    sys.stderr.write(f"\rtensorgrad: compiling {shown} for this processor, once\x1b[K")
    sys.stderr.flush()
    yield
    sys.stderr.write("\r\x1b[K")


# --- facts --------------------------------------------------------------------------------------


def threads() -> int:
    """How many threads parallel loops run on."""
    return _numba().get_num_threads() if pool().layer else 1


def threading_layer() -> str | None:
    """The thread pool of parallel loops: 'tbb', 'omp' if asked for, or None: they run serially."""
    return pool().layer


def describe() -> dict[str, str]:
    """What the CPU kernels run on, for `python -m tensorgrad doctor`."""
    if importlib.util.find_spec("numba") is None:
        return {"numba": "not installed: kernels are not available"}
    layer, reason = pool()
    return {
        "numba": _numba().__version__,
        "threads": str(threads()),
        "threading layer": f"{layer or 'none, loops run serially'} ({reason})",
        "cache": str(cache_folder()),
    }
