"""The exceptions, and messages that say what was called, what was given, and the remedy."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

_PACKAGE = str(Path(__file__).parent)


class TensorgradError(Exception):
    """Base class of all errors of tensorgrad. Modules add the layer that raised it (`layers`), and
    backprop the op (`notes`)."""

    layers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"\n  in layer {'.'.join(self.layers)}" if self.layers else ""
        return super().__str__() + where + "".join([f"\n  in the {note}" for note in self.notes])


class ShapeError(TensorgradError, ValueError):
    """Shapes that an op does not take, or that do not fit each other."""


class ArgumentError(TensorgradError, ValueError, TypeError):
    """An argument name or value that a function does not take."""


class DTypeError(TensorgradError, TypeError):
    """A type or dtype that an op does not take."""


class UnknownOperand(DTypeError):
    """A value that is no number and no array: operators return NotImplemented for it."""


class IndexingError(TensorgradError, IndexError):
    """An index or axis out of bounds."""


class BackendError(TensorgradError, RuntimeError):
    """An array library that is not usable, or arrays of two of them in one op."""


class FileError(TensorgradError, OSError, ValueError):
    """A file that cannot be written, or is not what is read here."""


class GraphError(TensorgradError, RuntimeError):
    """A graph that cannot be differentiated, or captured, as asked."""


class AnomalyError(TensorgradError, FloatingPointError):
    """An op or its gradient returned NaN within `detect_anomaly`."""


class LinAlgError(TensorgradError, np.linalg.LinAlgError):
    """A matrix that cannot be factorised, or inverted, as asked."""


class WorkerError(TensorgradError, RuntimeError):
    """A process that computes a loader's batches has died, or could not be started."""


class DistributedError(TensorgradError, RuntimeError):
    """Processes that train together are at different places, or one of them does not come."""


class OutOfMemoryError(TensorgradError, MemoryError):
    """Out of memory for a result. Earlier results are intact."""


_COMPILER = """CuPy compiles kernels when they are first used, and needs CUDA's headers and
libraries for it: pip install "cupy-cuda13x[ctk]", or cupy-cuda12x[ctk]"""
_LOST = """the GPU is lost to this process, and every later call fails alike: start it again from
its last checkpoint. The call at fault may be an earlier one; CUDA_LAUNCH_BLOCKING=1 shows which"""
_FORKED = """this process was forked from one that had used the GPU, and CUDA does not work in such:
start workers with multiprocessing.get_context("spawn"), or fork before the GPU is first used"""
_FATAL = """IllegalAddress LaunchFailure LaunchTimeout Assert ECCUncorrectable HardwareStackError
IllegalInstruction MisalignedAddress InvalidAddressSpace InvalidPc
ContextIsDestroyed"""
# As the driver calls them, which reports what the runtime does not see first
_FATAL_TO_DRIVER = """ILLEGAL_ADDRESS LAUNCH_FAILED LAUNCH_TIMEOUT ASSERT ECC_UNCORRECTABLE
HARDWARE_STACK_ERROR ILLEGAL_INSTRUCTION MISALIGNED_ADDRESS INVALID_ADDRESS_SPACE INVALID_PC
CONTEXT_IS_DESTROYED"""
_TAKEN = """another process has this GPU to itself (compute mode "exclusive"), or it is in a bad
state: nvidia-smi shows which. CUDA_VISIBLE_DEVICES chooses another GPU"""
# A part of an error message of CUDA, CuPy or a compiler -> the remedy.
_REMEDIES = {
    "CUDA headers": _COMPILER,
    "libnvrtc": _COMPILER,
    "cudaErrorNoKernelImageForDevice": "this CuPy is not built for this GPU: cupy.show_config()",
    "cudaErrorInsufficientDriver": "the driver is older than CuPy's CUDA: update it",
    "cudaErrorDevicesUnavailable": _TAKEN,
    "cudaErrorInitializationError": "see nvidia-smi, and python -m tensorgrad doctor",
    **{f"cudaError{name}:": _LOST for name in _FATAL.split()},
    **{f"CUDA_ERROR_{name}:": _LOST for name in _FATAL_TO_DRIVER.split()},
    "CUDNN_STATUS": "TENSORGRAD_CUDNN=0 leaves this to kernels that need no cuDNN",
}
_forked = False


def watch_forks() -> None:
    """Have processes forked from this one know that CUDA does not work in them."""

    def note() -> None:
        global _forked
        _forked = True

    if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
        os.register_at_fork(after_in_child=note)


def forked() -> bool:
    """Whether this process was forked from one that had used a GPU."""
    return _forked


def device_error(what: str, error: RuntimeError) -> Exception:
    """An error of CUDA, CuPy or a kernel's compiler as a BackendError with the remedy; any other
    error unchanged."""
    text, module = str(error), type(error).__module__
    means = next((remedy for word, remedy in _REMEDIES.items() if word in text), "")
    theirs = module.split(".")[0] in ("cupy", "cupy_backends", "cuda") or ".kernels.cuda" in module
    if isinstance(error, (TensorgradError, NotImplementedError)) or not (means or theirs):
        return error
    means = (_FORKED if _forked else means).replace("\n", " ")
    return BackendError(f"{what}: {text}" + (f"\n{means}" if means else ""))


on_out_of_memory: list[Callable[[], str]] = []  # reports for the message (memory.py)
on_low_memory: list[Callable[[], None]] = []  # free what nothing uses (memory.py)
# CUDA's own errors, for memory outside of CuPy's pool, which raises a MemoryError
_NO_MEMORY = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY")


def ran_out(error: Exception) -> bool:
    """Whether that is for want of memory."""
    return isinstance(error, MemoryError) or any(word in str(error) for word in _NO_MEMORY)


def free_memory() -> None:
    """Give back what memory pools hold and nothing uses. Not within the handler of an error: its
    traceback refers to arrays."""
    for free in on_low_memory:
        free()


def tried_twice(call: Callable[..., Any]) -> Callable[..., Any]:
    """`call`; where memory runs out, once more after what nothing uses was freed."""

    def run(*args: Any, **options: Any) -> Any:
        try:
            return call(*args, **options)
        except (MemoryError, RuntimeError) as error:
            if not ran_out(error):
                raise
        free_memory()
        return call(*args, **options)

    return run


def failed(what: str, error: MemoryError | RuntimeError) -> Exception:
    """A MemoryError as an OutOfMemoryError with a report of the memory; an error of the device as a
    BackendError with the remedy; any other error unchanged."""
    if isinstance(error, TensorgradError):
        return error
    if isinstance(error, RuntimeError) and not ran_out(error):
        return device_error(what, error)
    facts = "\n".join([say() for say in on_out_of_memory])
    return OutOfMemoryError(f"{what}: {error}\n{facts}")


STALE = """{!r} was updated after {} had recorded it, so its gradient would be wrong: call
backward() before the optimizer's step, or compute the loss again"""
BACKWARD_WITHIN = "backward() within vmap: tg.vmap(tg.grad(f), ...) gives gradients of each example"
FREED = "a backward() has already used and freed the graph of {}; give that one retain_graph=True"


def suggest(name: object, choices: Iterable[str]) -> str:
    """A hint for a misspelt name: the nearest choice, and all choices.

    >>> suggest("simgoid", ["relu", "sigmoid"])
    "did you mean 'sigmoid'? Known: relu, sigmoid"
    """
    choices = sorted(choices)
    lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1, cutoff=0.5)
    known = ", ".join(choices) or "none"
    return (f"did you mean {lower[near[0]]!r}? " if near else "") + "Known: " + known


def user_line() -> str:
    """`file.py:12` of the innermost stack frame outside of the package, or an empty string."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_PACKAGE, "<")):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame else ""


def user_level() -> int:
    """The `stacklevel` at which a warning of the caller names that frame."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith((_PACKAGE, "<")):
        frame, level = frame.f_back, level + 1
    return level
