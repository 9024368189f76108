"""What holds in one thread and not in others: whether ops are recorded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Switches(threading.local):
    recording = True
    differentiating = 0  # how many grad/vjp/tape are active in this thread


switches = _Switches()


@contextmanager
def recording(on: bool) -> Iterator[None]:
    """Record ops on the tape, or do not, within the block and in this thread only."""
    before, switches.recording = switches.recording, on
    try:
        yield
    finally:
        switches.recording = before
