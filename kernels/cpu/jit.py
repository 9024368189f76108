"""The only caller of `numba.njit`: what is compiled, with which flags, cached where, on which pool.

Nothing here imports Numba until a compiled function is first called, so programs on small arrays
never pay for it (0.1 s and 35 MB). Then, once per process: TBB is loaded and made Numba's thread
pool, and a folder is found that the machine code can be kept in (cache.py).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

from ..interrupts import uninterrupted
from . import cache, forks, library, share
from .share import leads, prange

__all__ = ["leads", "prange"]  # kernels take both from here

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

_lock = threading.RLock()
loops: list[Jitted] = []  # all that are defined
_widest = share.ONE  # the share of a large loop: ALL once there is a pool
_forked = _held = False
_spoken = threading.Event()  # set once this process has said that it compiles
_FORKED = """a forked process runs its loops on one thread and compiles those that it does not find,
which may take seconds; processes of multiprocessing.get_context("spawn") need not"""
_extensions: list[Callable[[ModuleType], object]] = [share.register]  # run once Numba is there


class Jitted:
    """A function that is compiled when first called, once for each dtype of its first argument."""

    def __init__(self, function: Callable, parallel_from: int | None, reassociate: bool):
        self.function = function
        self.name = "-".join([function.__qualname__, *_formulas(function)])
        self.parallel_from, self.reassociate = parallel_from, reassociate
        self.__doc__ = function.__doc__
        self._compiled: dict[Any, Callable] = {}
        loops.append(self)

    def __call__(self, *args):
        first = args[0]
        if self.parallel_from is not None:
            args = *args, _widest if first.size >= self.parallel_from else share.ONE
        run = self._compiled.get(first.dtype)
        return run(*args) if run is not None else self._first_call(first.dtype, args)

    def _first_call(self, dtype: Any, args: tuple) -> Any:
        """Compile or load, and run."""
        with _lock, uninterrupted():
            pool()  # the code calls it
            name = f"{self.name}-{dtype}"
            run = self._compile(name)
            with run._cache, _announced(name), library.once():
                result = run(*args)
            self._compiled[dtype] = run
            return result

    def _compile(self, name: str) -> Callable:
        fast = set(_REASSOCIATE if self.reassociate else _CONTRACT)
        function = _named(self.function, name)
        run = numba().njit(fastmath=fast, **_FLAGS)(function)
        run._cache = cache.Kept(function, name)
        return run


def _named(f: Callable, name: str) -> Callable:
    """A copy of a function under another name."""
    copy = FunctionType(f.__code__, f.__globals__, f.__name__, None, f.__closure__)
    copy.__module__, copy.__qualname__ = f.__module__, name
    return copy


def c_function(function: Callable, signature: Any, name: str) -> Any:
    """Compile a function, or load it, as one that C could call at its `address`: machine code of
    many loops then calls a single copy of it."""
    numba()
    from numba.core.ccallback import CFunc  # which `numba.cfunc` makes and compiles at once

    function, options = _named(function, name), {"fastmath": set(_CONTRACT), **_FLAGS}
    with (
        _lock,
        uninterrupted(),
        cache.Kept(function, name) as kept,
        _announced(name),
        library.once(),
    ):
        made = CFunc(function, (signature.args, signature.return_type), {}, options)
        made._cache = kept
        made.compile()
        return made


def _formulas(function: Callable) -> Iterator[str]:
    """The names of the functions that a function is closed over, and of those that they are; with
    their file's, as two files may each have a `gelu`."""
    for cell in function.__closure__ or ():
        file = cell.cell_contents.__module__.rpartition(".")[2]
        yield ("" if file == "scalars" else f"{file}.") + cell.cell_contents.__name__
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
    below that, and where there is no TBB, on one. Such a loop has a last parameter `share`
    (share.py), which callers do not give. `reassociate` lets sums be taken in another order (one
    that depends on the shape alone).
    """
    parallel_from = 0 if parallel else parallel_from
    if function is None:
        return functools.partial(jit, parallel_from=parallel_from, reassociate=reassociate)
    return Jitted(function, parallel_from, reassociate)


def scalar(function: Callable | None = None, *, literal: bool = False, **by_dtype: Callable) -> Any:
    """Make a scalar function usable inside compiled loops.

    `float32=f, float64=g` give the versions for these types; in plain Python the function itself
    runs, as the definition of what they compute. A `literal` one is rounded as it is written, also
    in a loop that reassociates its sums: nothing is moved past it or fused with it.
    """
    if function is None:
        return functools.partial(scalar, literal=literal, **by_dtype)

    def register(numba: ModuleType) -> None:
        from numba import extending

        # Inlined by force: a call left in a loop stops vectorisation (gelu_grad in float64 took
        # 6.8 instead of 0.9 ns a number, AVX-512 server).
        options: dict[str, Any] = {"forceinline": True}
        if literal:  # or else the loop's flags hold
            options["fastmath"] = False
        if by_dtype:
            extending.overload(function, jit_options=options)(_chooser(by_dtype))
        else:
            extending.register_jitable(**options)(function)

    extension(register)
    return function


def extension(register: Callable[[ModuleType], object]) -> Callable:
    """Call the decorated function with Numba, once that is imported, before anything compiles."""
    with _lock:
        _extensions.append(register)
        if numba.cache_info().currsize:
            _extend(numba())
    return register


def _extend(numba: ModuleType) -> None:
    while _extensions:
        _extensions[0](numba)
        del _extensions[0]


def _chooser(by_dtype: dict[str, Callable]) -> Callable:
    return lambda x: by_dtype.get(str(x))  # Numba's types have NumPy's names


# --- Numba, once per process --------------------------------------------------------------------


@functools.cache
def numba() -> ModuleType:
    """Numba, imported with as many threads as asked for and the scalars made known to it."""
    n = threads_asked()
    if n and "numba" not in sys.modules:  # which complains if it changes afterwards
        os.environ.setdefault("NUMBA_NUM_THREADS", str(n))
    with uninterrupted():
        try:
            module = importlib.import_module("numba")
        except Exception as error:  # of another NumPy, without its LLVM, ...
            raise ImportError(f"Numba cannot be imported: {error}") from error
        _extend(module)
    return module


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


def _before_fork() -> None:
    """Wait until nothing compiles: the child could not, if one of its locks were taken by a thread
    that it does not have."""
    global _held
    _held = _lock.acquire(timeout=60)
    running = pool.cache_info().currsize and pool().layer == "tbb"
    if running and threading.active_count() > 1:
        forks.mute()


def _in_parent() -> None:
    forks.unmute()
    if _held:
        _lock.release()


def _in_forked_child() -> None:
    """A forked child has none of the pool's threads, and TBB does not always notice: when the
    parent's are slow to leave, a parallel loop in the child waits for them for ever. So loops run
    serially there; processes that are spawned have a pool of their own."""
    global _lock, _forked, _widest
    forks.unmute()
    _lock, _forked = threading.RLock(), True
    pool.cache_clear()
    _widest = share.ONE


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_forked_child
    )


@functools.cache
def pool() -> Pool:
    """Choose and start Numba's thread pool, and let compiled loops find it."""
    global _widest
    chosen = _chosen_pool()
    if chosen.layer is None:
        share.disconnect()
        return chosen
    n = threads_asked()
    importlib.import_module("numba.np.ufunc.parallel")._launch_threads()
    if n and n < numba().get_num_threads():  # Numba was imported before: for this thread
        numba().set_num_threads(n)
    library = importlib.import_module(f"numba.np.ufunc.{chosen.layer}pool")
    share.connect(library.parallel_for, library.get_num_threads)
    _widest = share.ALL
    return chosen


def _chosen_pool() -> Pool:
    """Make TBB Numba's thread pool.

    Never the workqueue, which aborts the process when two user threads meet in it, and OpenMP
    only when NUMBA_THREADING_LAYER asks for it: it kills forked children and fights with BLAS for
    the cores (an Adam step of a small network took 84 instead of 0.6 ms on 2 cores).
    """
    if _forked:
        return Pool(None, "a forked child: spawn processes to have threads in them")
    config = numba().config
    asked = config.THREADING_LAYER
    try:
        running = numba().threading_layer()
    except ValueError:  # none yet: ours to choose, before anything starts one
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
    config.THREADING_LAYER = "tbb"
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


@contextlib.contextmanager
def _announced(name: str) -> Iterator[None]:
    """Say that something compiles: on a terminal at once, elsewhere in one line a process, when it
    takes longer than a second."""
    if cache.has(name):
        yield
        return
    if _forked:
        cache.warn_once(_FORKED)
    text = f"tensorgrad: compiling {name.replace('.<locals>.', ' ')} for this processor, once"
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()
        yield
        sys.stderr.write("\r\x1b[K")
        return
    timer = threading.Timer(1, _say, [f"{text} (python -m tensorgrad warmup does all ahead)"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _say(text: str) -> None:
    if not _spoken.is_set():
        _spoken.set()
        print(text, file=sys.stderr, flush=True)


# --- facts --------------------------------------------------------------------------------------


def threads() -> int:
    """How many threads parallel loops run on."""
    return numba().get_num_threads() if pool().layer else 1


def threading_layer() -> str | None:
    """The thread pool of parallel loops: 'tbb', 'omp' if asked for, or None: they run serially."""
    return pool().layer


def why_not() -> str | None:
    """Why nothing can be compiled here, or None."""
    try:
        numba()
    except ImportError as error:
        return str(error)
    return None


def describe() -> dict[str, str]:
    """What the CPU kernels run on, for `python -m tensorgrad doctor`."""
    layer, reason = pool()
    return {
        "numba": numba().__version__,
        "threads": str(threads()),
        "threading layer": f"{layer or 'none, loops run serially'} ({reason})",
        "cache": cache.describe(),
    }
