"""Anomaly mode: which op made the first NaN, and where the op of a wrong gradient was called."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ContextDecorator
from types import FrameType
from typing import Any

from .backend import BY_TYPE, is_floating
from .core import Node, Op, next_seq
from .dispatch import watched
from .errors import AnomalyError, user_line
from .switches import switches

_MOST = 200_000  # places that are remembered, and then half of them


class detect_anomaly(ContextDecorator):
    """Within the block, in this thread, the first NaN is an `AnomalyError`: it names the op that
    made it, or whose gradient it is, the line where that op was called, and the layer.

    Errors in backward name line and layer of the op, too, such as one for which there is no memory.
    Every result is looked at, so a GPU is waited for: for finding a mistake, not for training.
    A step from `cuda.graphed` runs as it is.

    >>> x = tensor([0.0, 1.0], requires_grad=True)
    >>> with detect_anomaly():
    ...     (x.sqrt() * 0).sum().backward()
    Traceback (most recent call last):
    tensorgrad.errors.AnomalyError: backward of sqrt...
    """

    def __init__(self) -> None:
        self._places: dict[int, tuple[str, str]] = {}  # time -> op, and where it was called
        self._open: list[tuple[Any, AbstractContextManager]] = []

    def __enter__(self) -> detect_anomaly:
        watch = watched(self._watch)
        self._open.append((switches.anomaly, watch))
        watch.__enter__()
        switches.anomaly = self
        return self

    def __exit__(self, *error: Any) -> None:
        switches.anomaly, watch = self._open.pop()
        watch.__exit__(*error)

    def _watch(self, op: Op, run: Callable) -> Callable:
        def call(*arrays: Any, **params: Any) -> Any:
            if switches.anomaly is not self:  # in another thread, within an op, or in backward
                return run(*arrays, **params)
            switches.anomaly = None
            try:
                y = run(*arrays, **params)
            finally:
                switches.anomaly = self
            if _has_nan(y):
                raise AnomalyError(
                    f"{op.name}{_at(user_line())} gave NaN"
                    + _given([*zip(op.names(len(arrays)), arrays, strict=False)])
                )
            if len(self._places) >= _MOST:
                for time in list(self._places)[: _MOST // 2]:
                    del self._places[time]
            self._places[next_seq()] = op.name, _at(user_line()) + _in_layer()
            return y

        return call

    def place(self, node: Node) -> str:
        """' at file.py:12, in layer ...' of the call that made a node, as far as that is known."""
        name, place = self._places.get(node.seq - 1, ("", ""))
        return place if name == getattr(node.op, "name", None) else ""

    def check_gradients(self, node: Node, g: Any, gradients: Sequence) -> None:
        """AnomalyError where the gradients that a node's rule gave hold NaN."""
        if _has_nan(gradients):
            names = node.op.names(len(gradients)) if isinstance(node.op, Op) else ()
            wrong = [n for n, x in zip(names, gradients, strict=False) if _has_nan(x)]
            inputs = [("the gradient that came to it", g), ("what it had saved", node.saved)]
            raise AnomalyError(
                f"backward of {node.op.name}{self.place(node)} gave NaN"
                + (f" for {' and '.join(wrong)}" if wrong else "")
                + _given(inputs)
            )


def _has_nan(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_has_nan(a) for a in value)
    a = getattr(value, "_data", value)
    return type(a) in BY_TYPE and is_floating(a.dtype) and bool((a != a).any())


def _given(inputs: list[tuple[str, Any]]) -> str:
    """Which of the inputs hold NaN already; if none does, between what numbers they lie."""
    bad = [name for name, a in inputs if _has_nan(a)]
    if bad:
        return f": NaN was in {' and '.join(bad)} already"
    said = [f"{name} in {text}" for name, a in inputs if (text := _range(a))]
    return " from " + ", ".join(said) if said else ""


def _range(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return " and ".join([text for a in value if (text := _range(a))])
    a = getattr(value, "_data", value)
    if type(a) not in BY_TYPE or not is_floating(a.dtype) or not a.size:
        return ""
    return f"[{float(a.min()):.6g}, {float(a.max()):.6g}]"


def _at(line: str) -> str:
    return f" at {line}" if line else ""


def _in_layer() -> str:
    """The innermost module that is being called, by its path in the outermost."""
    frame: FrameType | None = sys._getframe(2)
    calls: list[Any] = []
    while frame is not None:
        if frame.f_code.co_name == "__call__":
            module = frame.f_locals.get("self")
            if hasattr(module, "path_of"):
                calls.append(module)
        frame = frame.f_back
    return f", in layer {calls[-1].path_of(calls[0])}" if calls else ""
