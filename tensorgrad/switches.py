"""Thread-local state: recording, autocast, anomaly detection, recomputation, graph capture."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import ContextDecorator
from functools import wraps
from typing import Any, TypeVar

from .errors import GraphError


class _Switches(threading.local):
    recording = True
    autocast: Any = None  # the half-precision dtype within an autocast block
    casts: Any = None  # the parameters that the autocast block has cast (precision.py)
    tracing = 0  # nesting depth of grad and vjp
    differentiating = 0  # nesting depth of grad, vjp and tapes
    anomaly: Any = None  # the active detect_anomaly (anomaly.py)
    recomputing = False  # in recomputation of a checkpoint: state was updated by the first call
    draws: Any = None  # the Draws that record random states (randomness.py)
    generator: Any = None  # that of a `with` block, to draw from (randomness.py)
    replayed: Any = None  # the host generator and device states to draw from instead
    each_time: list[Callable[[], None]] | None = None  # host effects of the capture in progress
    training: Modes = {}  # of the modules whose mode is this thread's own
    part: Any = None  # the part of a batch that other processes share (train/together.py)
    seen: Modes | None = None  # the modes that the function of a checkpoint reads


Modes = dict[int, list[Any]]  # by id: [module, whether it is in training mode]
switches = _Switches()
_NAMES = [name for name in vars(_Switches) if not name.startswith("_")]
# One entry for each block, in any thread, that turns recording off or autocast on. While there is
# none, the call of an op does not ask thread-local state, which takes as long as a NumPy call.
# (Appending and popping are atomic.)
modes: list[None] = []


def each_time(effect: Callable[[], None]) -> None:
    """Run a host-side effect of a training step. A captured step runs it before each launch, as its
    Python runs only once (cuda/graph.py)."""
    if switches.each_time is None:
        effect()
    else:
        switches.each_time.append(effect)


def forbid(what: str) -> None:
    """Say that a step does what no capture can follow: an error within one that has to; another
    one goes on as an eager step, and is of no use."""
    if (effects := switches.each_time) is not None:
        if not hasattr(effects, "forbid"):
            raise GraphError(what)
        effects.forbid(what)


class recording(ContextDecorator):
    """A context manager and decorator that turns recording on or off, in this thread."""

    def __init__(self, on: bool):
        self.on = on

    def _recreate_cm(self) -> recording:
        return recording(self.on)  # a decorated function may be recursive

    def __enter__(self) -> None:
        if not self.on:
            modes.append(None)
        # last, with no call after it: Ctrl-C is raised between calls
        self.before, switches.recording = switches.recording, self.on

    def __exit__(self, *error: object) -> None:
        switches.recording = self.before
        if not self.on:
            modes.pop()


# Classes: a block of a generator that Ctrl-C leaves open at its end is closed at some later time.


class in_mode:
    """Modules in training or in evaluation mode, in this thread: others see them in their own,
    which they have afterwards here, too. A mode that is set within the block is for its rest."""

    def __init__(self, modules: Iterable[Any], training: bool):
        self.own = {id(m): [m, training] for m in modules}

    def __enter__(self) -> None:
        self.before = switches.training
        switches.training = {**self.before, **self.own}

    def __exit__(self, *error: object) -> None:
        switches.training = self.before


class evaluating(in_mode):
    """Modules in evaluation mode, and nothing recorded, in this thread."""

    def __init__(self, modules: Iterable[Any]):
        super().__init__(modules, False)
        self.unrecorded = recording(False)

    def __enter__(self) -> None:
        super().__enter__()
        self.unrecorded.__enter__()

    def __exit__(self, *error: object) -> None:
        self.unrecorded.__exit__()
        super().__exit__()


class reading:
    """Note the modes that are read within the block, as they were first, here and in an enclosing
    `reading`."""

    def __init__(self, seen: Modes):
        self.seen = seen

    def __enter__(self) -> None:
        self.outer, switches.seen = switches.seen, self.seen

    def __exit__(self, *error: object) -> None:
        switches.seen = self.outer
        if self.outer is not None:
            self.outer.update({k: mode for k, mode in self.seen.items() if k not in self.outer})


def mode_of(module: Any, own: bool) -> bool:
    """Whether a module is in training mode, in this thread; `own` is what it was set to."""
    entry = switches.training.get(id(module))
    on: bool = own if entry is None else entry[1]
    if switches.seen is not None:
        switches.seen.setdefault(id(module), [module, on])
    return on


Call = TypeVar("Call", bound=Callable[..., Any])


def restoring(f: Call) -> Call:
    """f, after whose errors this thread's state is as before. Blocks see to that themselves, but
    for Ctrl-C at the very moment in which one is entered or left."""

    @wraps(f)
    def call(*args: Any, **options: Any) -> Any:
        before = {name: getattr(switches, name) for name in _NAMES}
        try:
            return f(*args, **options)
        except BaseException:
            vars(switches).update(before)
            raise

    return call  # type: ignore[return-value]
