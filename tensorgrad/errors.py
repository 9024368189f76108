"""The errors users see: what was asked, what was given, what to do."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import FrameType

_PACKAGE = str(Path(__file__).parent)


class TensorgradError(Exception):
    """Base of every error raised on purpose; `layers` is filled in by modules as it passes."""

    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"\n  in layer {'.'.join(self.layers)}" if self.layers else ""
        return super().__str__() + where


class ShapeError(TensorgradError, ValueError):
    """Shapes, or another value, do not fit the operation."""


class DTypeError(TensorgradError, TypeError):
    """A type or dtype that the operation does not take."""


class IndexingError(TensorgradError, IndexError):
    """An index or axis outside the array."""


class BackendError(TensorgradError, RuntimeError):
    """The array library asked for cannot be used, or two of them were mixed."""


class GraphError(TensorgradError, RuntimeError):
    """The recorded graph cannot be differentiated as asked."""


class OutOfMemoryError(TensorgradError, MemoryError):
    """There is no memory for a result. What was computed before is as it was."""


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
