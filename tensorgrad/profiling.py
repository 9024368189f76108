"""Where the time goes: each op of a block, forward and backward, with its layer."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any, Literal, NamedTuple

from .anomaly import layer_path
from .backend import BY_TYPE
from .core import Node, Op, next_seq
from .dispatch import watched
from .errors import GraphError
from .settings import gate
from .switches import switches


class Event(NamedTuple):
    """One call of an op, or of its rules in backward."""

    name: str
    layer: str
    start: float  # in seconds from the start of the block
    seconds: float
    bytes: int  # of what it returned


class Row(NamedTuple):
    """All calls of an op, or in a layer."""

    name: str
    calls: int
    seconds: float
    share: float  # of the time of all rows
    bytes: int


class profile:
    """A context manager that times every op of this thread, and what each op's rules take in
    backward, as `backward of matmul`.

    `print` it for the table, by op or by layer (`table`); `rows` has its numbers and `events` each
    call; `save("trace.json")` is for chrome://tracing or ui.perfetto.dev. On a GPU the host waits
    for each op, and a step from `cuda.graphed` runs eagerly. Raises: GraphError within
    `detect_anomaly` or another profile.

    >>> with profile() as p:
    ...     (tensor([1.0, 2.0], requires_grad=True) ** 2).sum().backward()
    >>> sorted(row.name for row in p.rows())
    ['backward of square', 'backward of sum', 'square', 'sum']
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.seconds = 0.0  # of the whole block
        self._layers: dict[int, str] = {}  # by the time of the call, as in detect_anomaly
        self._open: list[AbstractContextManager[None]] = []
        self._zero = self._last = 0.0

    def __enter__(self) -> profile:
        if switches.anomaly is not None:
            raise GraphError("profile: within detect_anomaly or another profile; use one of them")
        watch = watched(self._watch)
        self._open.append(watch)
        watch.__enter__()
        switches.anomaly = self
        self._zero = perf_counter() - self.seconds  # a second block follows the first
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = perf_counter() - self._zero
        switches.anomaly = None
        self._open.pop().__exit__(None, None, None)
        self._layers.clear()

    def _watch(self, op: Op, run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arrays: Any, **params: Any) -> Any:
            if switches.anomaly is not self:  # another thread, an op within an op, or backward
                return run(*arrays, **params)
            switches.anomaly = None
            start = perf_counter()
            try:
                y = run(*arrays, **params)
                size = _finished(y)
            finally:
                switches.anomaly = self
            layer = layer_path(2)
            self._note(op.name, layer, start, size)
            self._layers[next_seq()] = layer
            return y

        return call

    def _note(self, name: str, layer: str, start: float, size: int) -> None:
        end = perf_counter()
        self.events.append(Event(name, layer, start - self._zero, end - start, size))

    # --- what `backprop` and its callers ask of switches.anomaly ---

    def backward_starts(self) -> None:
        """Note the time."""
        self._last = perf_counter()

    def check_gradients(self, node: Node, g: Any, gradients: Sequence[Any]) -> None:
        """Note the time that a node's rules took."""
        size = _finished(gradients)
        name = f"backward of {node.op.name}"
        self._note(name, self._layers.get(int(node.seq) - 1, ""), self._last, size)
        self._last = perf_counter()

    def place(self, node: Node) -> str:
        """Where a node was recorded, for the message of an error in its rules."""
        layer = self._layers.get(int(node.seq) - 1, "")
        return f", in layer {layer}" if layer else ""

    # --- results ---

    @gate
    def rows(self, by: Literal["op", "layer"] = "op") -> list[Row]:
        """The table's rows, the longest time first."""
        found: dict[str, list[Event]] = {}
        for event in self.events:
            found.setdefault(event.name if by == "op" else event.layer, []).append(event)
        total = sum([event.seconds for event in self.events]) or 1.0
        made = []
        for name, events in found.items():
            seconds = sum([event.seconds for event in events])
            size = sum([event.bytes for event in events])
            made.append(Row(name or "(no layer)", len(events), seconds, seconds / total, size))
        return sorted(made, key=lambda row: -row.seconds)

    @gate
    def table(self, by: Literal["op", "layer"] = "op") -> str:
        """Calls, time, share of the time, and memory of the results, by op or by layer."""
        cells = [[str(by), "calls", "ms", "share", "bytes"]]
        for r in self.rows(by):
            figures = f"{r.calls} {1e3 * r.seconds:.3f} {r.share:.1%} {r.bytes:,}"
            cells.append([r.name, *figures.split()])
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = []
        for name, *rest in cells:
            right = [cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True)]
            lines.append("  ".join([name.ljust(widths[0]), *right]))
        inside = sum([event.seconds for event in self.events])
        total = f"{1e3 * inside:.3f} ms in ops of {1e3 * self.seconds:.3f} ms"
        return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], total])

    __str__ = table

    def save(self, path: str | Path) -> None:
        """Write a trace in Chrome's format: ops, below the layers they were called in."""
        spans = [
            (key, [*run]) for key, run in groupby(self.events, lambda e: (e.layer, _phase(e.name)))
        ]
        traced = [
            _slice(layer, f"layer, {phase}", run[0].start, run[-1].start + run[-1].seconds)
            for (layer, phase), run in spans
            if layer
        ]
        for e in self.events:
            made = _slice(e.name, _phase(e.name), e.start, e.start + e.seconds)
            traced.append({**made, "args": {"layer": e.layer, "bytes": e.bytes}})
        text = json.dumps({"traceEvents": traced, "displayTimeUnit": "ms"})
        Path(path).write_text(text)


def _phase(name: str) -> str:
    return "backward" if name.startswith("backward of ") else "forward"


def _slice(name: str, kind: str, start: float, end: float) -> dict[str, Any]:
    span = {"ts": 1e6 * start, "dur": 1e6 * (end - start)}
    return {"name": name, "cat": kind, "ph": "X", "pid": 1, "tid": 1, **span}


def _finished(value: Any) -> int:
    """The bytes of arrays, after the device has computed them."""
    if isinstance(value, (tuple, list)):
        return sum([_finished(part) for part in value])
    a = getattr(value, "_data", value)
    if type(a) not in BY_TYPE:
        return 0
    home = BY_TYPE[type(a)]
    if home.kernels == "cuda":
        home.xp.cuda.get_current_stream().synchronize()
    return int(a.nbytes)
