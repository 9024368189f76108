"""The errors users see: what was asked, what was given, what to do."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType

_PACKAGE = str(Path(__file__).parent)


class TensorgradError(Exception):
    """Base of every error raised on purpose; `layers` is filled in by modules as it passes, `notes`
    by a walk back over the tape."""

    layers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"\n  in layer {'.'.join(self.layers)}" if self.layers else ""
        return super().__str__() + where + "".join([f"\n  in the {note}" for note in self.notes])


class ShapeError(TensorgradError, ValueError):
    """Shapes that do not fit the operation, or each other."""


class ArgumentError(TensorgradError, ValueError, TypeError):
    """An argument's name or value that the function does not take."""


class DTypeError(TensorgradError, TypeError):
    """A type or dtype that the operation does not take."""


class UnknownOperand(DTypeError):
    """A value that is no number and no array: operators leave it to the value's own type."""


class IndexingError(TensorgradError, IndexError):
    """An index or axis outside the array."""


class BackendError(TensorgradError, RuntimeError):
    """The array library asked for cannot be used, or two of them were mixed."""


class GraphError(TensorgradError, RuntimeError):
    """The recorded graph cannot be differentiated as asked."""


class AnomalyError(TensorgradError, FloatingPointError):
    """An op, or its gradient, gave a number that is none; see `detect_anomaly`."""


class OutOfMemoryError(TensorgradError, MemoryError):
    """There is no memory for a result. What was computed before is as it was."""


_COMPILER = """CuPy compiles kernels when they are first used, and needs CUDA's headers and
libraries for it: pip install "cupy-cuda13x[ctk]", or cupy-cuda12x[ctk]"""
_LOST = """the GPU is lost to this process, and every later call fails alike: start it again from
its last checkpoint. The call at fault may be an earlier one; CUDA_LAUNCH_BLOCKING=1 shows which"""
_FORKED = """this process was forked from one that had used the GPU, and CUDA does not work in such:
start workers with multiprocessing.get_context("spawn"), or fork before the GPU is first used"""
_FATAL = """IllegalAddress LaunchFailure LaunchTimeout Assert ECCUncorrectable HardwareStackError
IllegalInstruction MisalignedAddress InvalidAddressSpace InvalidPc
ContextIsDestroyed"""
_TAKEN = """another process has this GPU to itself (compute mode "exclusive"), or it is in a bad
state: nvidia-smi shows which. CUDA_VISIBLE_DEVICES chooses another GPU"""
# A word of what CUDA, CuPy or a compiler says -> what to do about it.
_REMEDIES = {
    "CUDA headers": _COMPILER,
    "libnvrtc": _COMPILER,
    "cudaErrorNoKernelImageForDevice": "this CuPy is not built for this GPU: cupy.show_config()",
    "cudaErrorInsufficientDriver": "the driver is older than CuPy's CUDA: update it",
    "cudaErrorDevicesUnavailable": _TAKEN,
    "cudaErrorInitializationError": "see nvidia-smi, and python -m tensorgrad doctor",
    **{f"cudaError{name}:": _LOST for name in _FATAL.split()},
    "CUDA_ERROR_ILLEGAL_ADDRESS": _LOST,
    "CUDA_ERROR_LAUNCH_FAILED": _LOST,
    "CUDNN_STATUS": "TENSORGRAD_CUDNN=0 leaves this to kernels that need no cuDNN",
}
_forked = False


def watch_forks() -> None:
    """From now on, a process forked from this one knows that the GPU is beyond its reach."""

    def note() -> None:
        global _forked
        _forked = True

    if hasattr(os, "register_at_fork"):  # not on Windows, which has no forks
        os.register_at_fork(after_in_child=note)


def forked() -> bool:
    """Whether a GPU was in use when this process began as a fork of another."""
    return _forked


def device_error(what: str, error: RuntimeError) -> Exception:
    """A complaint of CUDA, CuPy or a kernel's compiler as one of ours, with what to do about it;
    any other error as it is."""
    text, module = str(error), type(error).__module__
    means = next((remedy for word, remedy in _REMEDIES.items() if word in text), "")
    theirs = module.split(".")[0] in ("cupy", "cupy_backends", "cuda") or ".kernels.cuda" in module
    if isinstance(error, (TensorgradError, NotImplementedError)) or not (means or theirs):
        return error
    means = (_FORKED if _forked else means).replace("\n", " ")
    return BackendError(f"{what}: {text}" + (f"\n{means}" if means else ""))


on_out_of_memory: list[Callable[[], str]] = []  # who says what the memory is full of (memory.py)
# what CUDA itself says, where the memory is not of CuPy's pool; that raises a MemoryError
_NO_MEMORY = ("cudaErrorMemoryAllocation", "CUDA_ERROR_OUT_OF_MEMORY")


def failed(what: str, error: MemoryError | RuntimeError) -> Exception:
    """What is not the caller's mistake: the device's complaint and what to do about it, or that
    there is no memory, and who holds it. Any other error as it is."""
    if isinstance(error, TensorgradError):
        return error
    if isinstance(error, RuntimeError) and not any(word in str(error) for word in _NO_MEMORY):
        return device_error(what, error)
    facts = "\n".join([say() for say in on_out_of_memory])
    return OutOfMemoryError(f"{what}: {error}\n{facts}")


STALE = """{!r} was updated after {} had recorded it, so its gradient would be wrong: call
backward() before the optimizer's step, or compute the loss again"""
FREED = "a backward() has already used and freed the graph of {}; give that one retain_graph=True"


def suggest(name: object, choices: Iterable[str]) -> str:
    """A sentence naming the nearest choice and all of them.

    >>> suggest("simgoid", ["relu", "sigmoid"])
    "did you mean 'sigmoid'? Known: relu, sigmoid"
    """
    choices = sorted(choices)
    near = difflib.get_close_matches(str(name).lower(), choices, n=1, cutoff=0.5)
    known = ", ".join(choices) or "none"
    return (f"did you mean {near[0]!r}? " if near else "") + "Known: " + known


def user_line() -> str:
    """`file.py:12` of the innermost frame outside the package, or an empty string."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith((_PACKAGE, "<")):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame else ""
