"""Ctrl-C that waits: what is half written when it comes is finished first."""

from __future__ import annotations

from _signal import SIGINT, getsignal, signal  # those of `signal` take 6 us longer, for enums
from types import FrameType
from typing import Any


class uninterrupted:
    """A context manager whose block is finished before Ctrl-C raises KeyboardInterrupt; a second
    Ctrl-C does at once. Signals reach the main thread alone, so in others there is nothing to do.

    It is for short work, and for what could not be done again: a module of C that is half imported,
    or a compiler's lock that nobody releases.
    """

    __slots__ = ("before", "pending")
    before: Any  # the program's own handler, while ours is there
    pending: tuple[int, FrameType | None] | None

    def __enter__(self) -> None:
        self.before = self.pending = None
        before = getsignal(SIGINT)
        if callable(before):  # else nothing is raised
            try:
                signal(SIGINT, self._later)
            except ValueError:  # not the main thread
                return
            self.before = before

    def __exit__(self, *error: object) -> None:
        if self.before is not None:
            self._over()

    def _later(self, number: int, frame: FrameType | None) -> None:
        again, self.pending = self.pending, (number, frame)
        if again is not None:
            self._over()

    def _over(self) -> None:
        """Give the signal back to the program, and what came meanwhile."""
        before, self.before = self.before, None
        if before is not None:
            signal(SIGINT, before)
        if self.pending is not None and before is not None:
            before(*self.pending)
