"""What holds in one thread and not in others: whether ops are recorded, and in what precision, and
whether the step that runs is being captured."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from typing import Any


class _Switches(threading.local):
    recording = True
    autocast: Any = None  # the half-precision dtype within an autocast block
    tracing = 0  # how many functions are being differentiated in this thread (grad, vjp)
    differentiating = 0  # how many grad/vjp/tape are active in this thread
    anomaly: Any = None  # what looks for NaNs (anomaly.py)
    recomputing = False  # a checkpointed function runs again: state has been updated already
    draws: Any = None  # where the random numbers that are drawn are noted (creation.py)
    replayed: Any = None  # the host's generator and the devices' states that are drawn from instead
    each_time: list[Callable[[], None]] | None = None  # of the capture that is under way


switches = _Switches()


def each_time(effect: Callable[[], None]) -> None:
    """Do what the host has to do in every step. A captured step does it before each launch, since
    its Python runs but once (cuda/graph.py)."""
    if switches.each_time is None:
        effect()
    else:
        switches.each_time.append(effect)


class recording(ContextDecorator):
    """Record ops on the tape, or do not, within the block and in this thread only."""

    def __init__(self, on: bool):
        self.on = on

    def _recreate_cm(self) -> recording:
        return recording(self.on)  # a decorated function may call itself

    def __enter__(self) -> None:
        self.before, switches.recording = switches.recording, self.on

    def __exit__(self, *error: object) -> None:
        switches.recording = self.before
