"""Dispatch: from an op and an array type to the function to call, a kernel or the reference.

A kernel is a function in `kernels/<cpu|cuda>/<family>.py` with the op's name and signature. Arrays
that its `@accepts` guard rejects go to the reference, as do ops without a kernel. An error on
*importing* a kernel file is raised, never swallowed.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from numpy import ndarray

from .backend import BACKENDS, BY_TYPE, NUMBERS, check_gpu, is_floating, met, on_meeting
from .errors import (
    AnomalyError,
    BackendError,
    DTypeError,
    IndexingError,
    ShapeError,
    TensorgradError,
    failed,
    free_memory,
    ran_out,
    suggest,
    user_line,
)

if TYPE_CHECKING:
    from .core import Op

MODES = ("auto", "always", "reference")
_tables: list[Kernels] = []
_watchers: list[Callable[[Op, Callable], Callable]] = []
beside: list[Callable[[Op, Callable], Callable]] = []  # once there was a vmap (batching/rules.py)
_unusable: set[str] = set()  # folders of kernels that cannot be compiled here
_mode = os.environ.get("TENSORGRAD_KERNELS", "auto")


class Kernels(dict):
    """Array type -> the function that computes an op on it, resolved on first use."""

    def __init__(self, op: Op):
        super().__init__()
        self.op = op
        self.scope: dict[str, Any] = {}  # of the op's call: its fast path for small NumPy arrays
        _tables.append(self)

    def __missing__(self, kind: type) -> Callable:
        if kind in BY_TYPE:
            run, small, least = resolve(self.op, kind)
            if beside and not callable(BY_TYPE[kind].kernels):
                run, small = beside[0](self.op, run), beside[0](self.op, small)
            for watcher in _watchers:
                run = watcher(self.op, run)
            if kind is ndarray:
                self.scope.update(small=small, least=0 if _watchers else least)
        elif kind is type(None) or issubclass(kind, NUMBERS):
            run = self._by_first_array
        else:
            run = self[BY_TYPE[kind].array_type]
        self[kind] = run
        return run

    def clear(self) -> None:
        super().clear()
        self.scope["least"] = 0

    def _by_first_array(self, *arrays: Any, **params: Any) -> Any:
        """For calls whose first argument is a Python number, such as `1 - x`."""
        kinds = [type(a) for a in arrays if type(a) in BY_TYPE]
        return self[kinds[0] if kinds else BACKENDS["numpy"].array_type](*arrays, **params)


def resolve(op: Op, kind: type) -> tuple[Callable, Callable, int]:
    """(run, small, least) for arrays of one type: the guarded kernel or the reference, and the
    function for first inputs of fewer than `least` elements, for which a kernel does not pay."""
    if _mode not in MODES:
        raise BackendError(f"TENSORGRAD_KERNELS={_mode!r}: {suggest(_mode, MODES)}")
    folder = BY_TYPE[kind].kernels
    if callable(folder):  # of examples within vmap, or of rows
        found = folder(op)
        return found, found, sys.maxsize
    off = _mode == "reference" or folder in _unusable
    module = None if off else kernel_module(folder, op.family)
    kernel = getattr(module, op.name, None)
    ref = _in_float32(op.ref) if "bfloat16" in met and op.kind == "map" else op.ref
    ref = _of_reals(op, ref) if "complex" in met and not op.complex else ref
    if folder == "cuda":
        return _on_gpu(op, kind, kernel, ref)
    if kernel is None:
        return ref, ref, sys.maxsize
    accept = kernel.guard(sized=_mode == "auto")
    at, least = kernel.smallest if _mode == "auto" else (0, 0)

    def run(*arrays, **params):
        if getattr(arrays[at], "size", least) < least:  # below the kernel's threshold
            return ref(*arrays, **params)
        try:
            return kernel(*arrays, **params) if accept(arrays, params) else ref(*arrays, **params)
        except ImportError as error:  # before the kernel has computed anything
            _without(folder, error)
            return ref(*arrays, **params)

    return run, ref, 0 if at else least


def _without(folder: str, error: ImportError) -> None:
    """Go on with references alone where there is no Numba to compile the CPU's kernels."""
    if folder != "cpu":
        raise error
    if folder not in _unusable:
        _unusable.add(folder)
        clear()
        warnings.warn(
            f"tensorgrad: {error}. All ops run on NumPy alone, large ones more slowly: "
            "pip install numba, and see python -m tensorgrad doctor",
            RuntimeWarning,
            stacklevel=3,
        )


def _on_gpu(op: Op, kind: type, kernel: Any, ref: Callable) -> tuple[Callable, Callable, int]:
    """What `resolve` returns for arrays on a GPU. A call that runs out of memory is made once more,
    after what nothing uses was freed."""
    accept = kernel.guard(sized=_mode == "auto") if kernel else None
    at, least = kernel.smallest if kernel and _mode == "auto" else (0, 0)

    def made(again: Callable | None) -> Callable:
        def run(*arrays, **params):
            try:
                large = accept is not None and getattr(arrays[at], "size", least) >= least
                if large and accept(arrays, params):
                    return kernel(*arrays, **params)
                for a in arrays:  # CuPy takes NumPy arrays as indices; backward would then fail
                    if type(a) is not kind and type(a) in BY_TYPE:
                        raise TypeError("arrays of two backends")  # which explain() explains
                return ref(*arrays, **params)
            except (MemoryError, RuntimeError) as error:
                if again is None or not ran_out(error):
                    raise
            free_memory()
            return again(*arrays, **params)

        return run

    run = made(None if op.inplace else made(None))
    if BY_TYPE[kind].xp.cuda.runtime.getDeviceCount() > 1:
        run = _on_current_gpu(op, run)
    return run, run, 0


def _on_current_gpu(op: Op, run: Callable) -> Callable:
    """`run`, after a check that all arrays are on the current GPU."""

    def checked(*arrays, **params):
        check_gpu(op.name, op.names(len(arrays)), arrays)
        return run(*arrays, **params)

    return checked


def large() -> float:
    """The size from which rules are run on Tensors, so that their arithmetic is done by kernels."""
    return {"always": 2, "auto": 1 << 17}.get(_mode, float("inf"))


def kernel_module(folder: str, family: str) -> ModuleType | None:
    """The module with the kernels of a family for "cpu" or "cuda", None where there is none."""
    if importlib.util.find_spec("tensorgrad.kernels") is None:
        raise BackendError(
            "tensorgrad.kernels is not installed: this looks like a bare checkout; "
            "run pip install -e . in it"
        )
    name = f"tensorgrad.kernels.{folder}.{family}"
    return importlib.import_module(name) if importlib.util.find_spec(name) else None


def _of_reals(op: Op, ref: Callable) -> Callable:
    """The reference of an op that knows no complex numbers, or orders numbers, which they are not:
    an error instead of NumPy's answer. No kernel takes them, so that all go to the reference."""

    def run(*arrays, **params):
        for name, a in zip(op.names(len(arrays)), arrays, strict=False):
            if type(a) in BY_TYPE and a.dtype.kind == "c":
                raise DTypeError(
                    f"{op.name} is for real numbers, {name} is {_describe(a)}: give its .real or "
                    ".imag, or tg.abs(x) or tg.angle(x)"
                )
        return ref(*arrays, **params)

    return run


def _in_float32(ref: Callable) -> Callable:
    """The reference, computed in float32 for bfloat16 arrays: NumPy promotes these with Python
    numbers. Used once a bfloat16 array was seen, so that other programs do not pay for checks."""

    def run(*arrays, **params):
        dtypes = {a.dtype for a in arrays if type(a) in BY_TYPE and is_floating(a.dtype)}
        half = next((d for d in dtypes if d.name == "bfloat16"), None)
        if half is None or len(dtypes) > 1:
            return ref(*arrays, **params)
        wide = [
            a.astype("float32") if type(a) in BY_TYPE and a.dtype == half else a for a in arrays
        ]
        y = ref(*wide, **params)
        return y.astype(half) if is_floating(y.dtype) else y

    return run


@contextmanager
def use_kernels(mode: str) -> Iterator[None]:
    """A context manager that selects kernels: 'auto' (the default), 'always' (also below their size
    thresholds) or 'reference' (none). For tests and for bisecting a wrong result. It affects the
    whole process. Raises: BackendError for another mode.

    >>> with use_kernels("reference"): exp([0.0]).tolist()
    [1.0]
    """
    global _mode
    if mode not in MODES:
        raise BackendError(f"use_kernels({mode!r}): {suggest(mode, MODES)}")
    before, _mode = _mode, mode
    try:
        clear()
        yield
    finally:
        _mode = before
        clear()


@contextmanager
def watched(watcher: Callable[[Op, Callable], Callable]) -> Iterator[None]:
    """Within the block each op's function, kernel or reference, is replaced by
    `watcher(op, function)`. It affects the whole process; watchers of several threads nest."""
    _watchers.append(watcher)
    try:
        clear()
        yield
    finally:
        _watchers.remove(watcher)
        clear()


def clear() -> None:
    """Have all ops look for their functions again."""
    for table in _tables:
        table.clear()


on_meeting.append(clear)


COMPLAINTS = (  # errors of array libraries and kernels that `explain` translates
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
)


def explain(name: str, inputs: tuple, arrays: list, params: dict, error: Exception) -> Exception:
    """An error of an array library as one of ours, with op, operands, line and remedy. Any other
    error is raised unchanged."""
    told = _explained(name, inputs, arrays, params, error)
    if told is not error:
        return told
    try:
        raise error
    finally:
        del error, told  # a reference cycle by the traceback, which keeps all arrays alive


def _explained(name: str, inputs: tuple, arrays: list, params: dict, error: Exception) -> Exception:
    if isinstance(error, TensorgradError):  # from an op inside this one, which is more specific
        return error
    homes = {BY_TYPE[type(a)].name for a in arrays if type(a) in BY_TYPE}
    names = [*inputs, *[f"#{i}" for i in range(len(inputs), len(arrays))]]
    given = ", ".join(f"{n}: {_describe(a)}" for n, a in zip(names, arrays, strict=False))
    options = "".join(f", {k}={v!r}" for k, v in params.items())
    place = f" at {line}" if (line := user_line()) else ""
    if isinstance(error, (MemoryError, RuntimeError)):
        return failed(f"{name}({given}{options}){place}", error)
    if len(homes) > 1:
        return BackendError(
            f"{name}({given}){place}: arrays of {' and '.join(sorted(homes))} were mixed; "
            "move one with .to('numpy') or .to('cupy')"
        )
    kind, remedy = next((ours, do) for theirs, ours, do in _KINDS if isinstance(error, theirs))
    if isinstance(error, AttributeError):  # a number or None where the op needs an array
        error = TypeError(f"it takes arrays here ({error})")
    if any(word in str(error) for word in _NO_AXIS):
        kind, remedy = IndexingError, ""
    if "negative integer powers" in str(error):
        kind, remedy = DTypeError, "; make it floating: .astype('float32')"
    return kind(f"{name}({given}{options}){place}: {error}{remedy}")


_NO_AXIS = ("large to convert to C", "fit into a C int", "signed integer is")  # a number of one
# A complaint of an array library -> ours, and what to do.
_KINDS: tuple[tuple[type[Exception], type[TensorgradError], str], ...] = (
    (IndexError, IndexingError, ""),
    (TypeError, DTypeError, ""),
    (AttributeError, DTypeError, ""),
    (FloatingPointError, AnomalyError, " (np.seterr asks for this error)"),
    (ArithmeticError, DTypeError, "; a wider dtype holds it: .astype('int64'), .astype('float32')"),
    (Exception, ShapeError, ""),
)


def _describe(a: Any) -> str:
    return f"{a.dtype}{list(a.shape)}" if type(a) in BY_TYPE else repr(a)
