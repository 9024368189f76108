"""Anomaly detection: the op, line and layer of the first NaN in forward or backward, and indices
out of range on a GPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ContextDecorator
from types import FrameType
from typing import Any

from .backend import BY_TYPE, is_floating
from .core import Node, Op, next_seq
from .dispatch import watched
from .errors import AnomalyError, IndexingError, user_line
from .switches import switches

_MOST = 200_000  # recorded calls; when there are more, the older half is dropped


# Op -> name, array and end of its indices, which start at 0. (Keys are checked by ops/index.py.)
_INDICES: dict[str, Callable[..., tuple[str, Any, int]]] = {
    "embedding": lambda weight, ids: ("ids", ids, weight.shape[0]),
    "softmax_cross_entropy": lambda logits, labels: ("labels", labels, logits.shape[-1]),
}


class detect_anomaly(ContextDecorator):
    """A context manager and decorator under which the first NaN, in this thread, is an
    `AnomalyError`: it names the op that returned it, or whose gradient it is, the line where that
    op was called, and the layer.

    An index out of range is an IndexingError on a GPU, too, which otherwise says nothing: there
    `x[index]` wraps around, an id of an embedding and a label give NaN.

    Other errors in backward, such as running out of memory, name line and layer, too. Every result
    is checked, which synchronises with a GPU each time: for debugging, not for training. A step
    from `cuda.graphed` runs eagerly.

    >>> x = tensor([0.0, 1.0], requires_grad=True)
    >>> with detect_anomaly():
    ...     (x.sqrt() * 0).sum().backward()
    Traceback (most recent call last):
    tensorgrad.errors.AnomalyError: backward of sqrt...
    """

    def __init__(self) -> None:
        self._places: dict[int, tuple[str, str]] = {}  # seq -> op, and where it was called
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
            if switches.anomaly is not self:  # another thread, an op within an op, or backward
                return run(*arrays, **params)
            switches.anomaly = None
            try:
                y = run(*arrays, **params)
            finally:
                switches.anomaly = self
            if op.name in _INDICES:
                _check_indices(
                    f"{op.name}{_at(user_line())}", *_INDICES[op.name](*arrays, **params)
                )
            if _has_nan(y):
                raise AnomalyError(
                    f"{op.name}{_at(user_line())} gave NaN"
                    + _given([*zip(op.names(len(arrays)), arrays, strict=False)])
                )
            if len(self._places) >= _MOST:
                for time in list(self._places)[: _MOST // 2]:
                    del self._places[time]
            self._places[next_seq()] = op.name, _at(user_line()) + _in_layer(layer_path(2))
            return y

        return call

    def place(self, node: Node) -> str:
        """' at file.py:12, in layer ...' of the call that recorded a node; '' if unknown."""
        name, place = self._places.get(node.seq - 1, ("", ""))
        return place if name == getattr(node.op, "name", None) else ""

    def backward_starts(self) -> None:
        """Nothing is to be noted."""

    def check_gradients(self, node: Node, g: Any, gradients: Sequence) -> None:
        """AnomalyError where the gradients from a node's rule contain NaN."""
        if _has_nan(gradients):
            names = node.op.names(len(gradients)) if isinstance(node.op, Op) else ()
            wrong = [n for n, x in zip(names, gradients, strict=False) if _has_nan(x)]
            inputs = [("the cotangent", g), ("the saved arrays", node.saved)]
            raise AnomalyError(
                f"backward of {node.op.name}{self.place(node)} gave NaN"
                + (f" for {' and '.join(wrong)}" if wrong else "")
                + _given(inputs)
            )


def _check_indices(what: str, name: str, index: Any, end: int) -> None:
    """IndexingError for indices out of range: on a GPU nothing else reports them."""
    if type(index) in BY_TYPE and index.size:
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= end:
            raise IndexingError(f"{what}: {name} run from {low} to {high}, outside 0..{end - 1}")


def _has_nan(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_has_nan(a) for a in value)
    a = getattr(value, "_data", value)
    return type(a) in BY_TYPE and is_floating(a.dtype) and bool((a != a).any())


def _given(inputs: list[tuple[str, Any]]) -> str:
    """Which of the inputs contain NaN; if none does, their ranges."""
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


def _in_layer(path: str) -> str:
    return f", in layer {path}" if path else ""


def layer_path(depth: int) -> str:
    """The path, in the outermost module, of the innermost one on the call stack from `depth` on."""
    frame: FrameType | None = sys._getframe(depth)
    calls: list[Any] = []
    while frame is not None:
        if frame.f_code.co_name == "__call__":
            module = frame.f_locals.get("self")
            if hasattr(module, "path_of"):
                calls.append(module)
        frame = frame.f_back
    return calls[-1].path_of(calls[0]) if calls else ""
