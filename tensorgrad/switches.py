"""Thread-local state: recording, autocast, anomaly detection, recomputation, graph capture."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ContextDecorator, contextmanager
from typing import Any


class _Switches(threading.local):
    recording = True
    autocast: Any = None  # the half-precision dtype within an autocast block
    casts: Any = None  # the parameters that the autocast block has cast (precision.py)
    tracing = 0  # nesting depth of grad and vjp
    differentiating = 0  # nesting depth of grad, vjp and tapes
    anomaly: Any = None  # the active detect_anomaly (anomaly.py)
    recomputing = False  # in recomputation of a checkpoint: state was updated by the first call
    draws: Any = None  # the Draws that record random states (creation.py)
    replayed: Any = None  # the host generator and device states to draw from instead
    each_time: list[Callable[[], None]] | None = None  # host effects of the capture in progress


switches = _Switches()
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


class recording(ContextDecorator):
    """A context manager and decorator that turns recording on or off, in this thread."""

    def __init__(self, on: bool):
        self.on = on

    def _recreate_cm(self) -> recording:
        return recording(self.on)  # a decorated function may be recursive

    def __enter__(self) -> None:
        self.before, switches.recording = switches.recording, self.on
        if not self.on:
            modes.append(None)

    def __exit__(self, *error: object) -> None:
        switches.recording = self.before
        if not self.on:
            modes.pop()


@contextmanager
def evaluating(modules: Iterable[Any]) -> Iterator[None]:
    """Modules in evaluation mode, and nothing recorded. Afterwards each has its own mode again."""
    before = [(m, m.training) for m in modules]
    try:
        for m, _ in before:
            m.training = False
        with recording(False):
            yield
    finally:
        for m, mode in before:
            m.training = mode
