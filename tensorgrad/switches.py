"""What holds in one thread and not in others: whether ops are recorded, and in what precision."""

from __future__ import annotations

import threading
from contextlib import ContextDecorator
from typing import Any


class _Switches(threading.local):
    recording = True
    autocast: Any = None  # the half-precision dtype within an autocast block
    differentiating = 0  # how many grad/vjp/tape are active in this thread


switches = _Switches()


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
