"""Runs of elementwise calls as one loop of machine code, from the formulas of the table of ops.

A group holds maps of one shape that follow each other on the tape, with operands of that shape, of
its last axis, or of one number. What nothing outside of it reads is never stored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..core import OPS
from .capture import Captured
from .tape import Call, Ref

MOST, LEAST = 100, 3  # calls in a group: LLVM's time grows faster, and a call of it costs two
SMALL = 1 << 14  # bytes up to which arrays are copied into memory of the plan
_NAMES = {"absolute": "abs", "true_divide": "divide"}  # NumPy's for ops


class Map(NamedTuple):
    """A call as a formula of its inputs."""

    formula: str
    inputs: dict[str, Any]
    place: int
    dtype: str
    columns: int  # of operands that go along the last axis alone; 0 where there is none


class Group:
    """Calls that run as one loop."""

    name, op, shape, writes = "group", None, None, ()

    def __init__(self, first: Call, values: list):
        self.calls: list[Call] = []
        self.maps: list[Map] = []
        self.values, self.line = values, first.line
        self.outs: list[tuple[int | None, bool]] = []  # what is read outside, once that is known
        self.table: Any = None

    def takes(self, call: Call, found: Map) -> bool:
        """Whether a call can join."""
        if not self.maps:
            return True
        first = self.maps[0]
        columns = {m.columns for m in (*self.maps, found)} - {0}
        same = self.values[first.place].size == self.values[found.place].size
        return same and first.dtype == found.dtype and len(columns) < 2 and len(self.calls) < MOST

    def add(self, call: Call, found: Map) -> None:
        """Let a call join."""
        self.calls.append(call)
        self.maps.append(found)

    def inputs(self) -> list[int]:
        """The places of what it reads from outside."""
        made = {m.place for m in self.maps}
        read = dict.fromkeys(i for call in self.calls for i in call.inputs())
        return [i for i in read if i not in made]

    def settle(self, read: set[int | None]) -> None:
        """Keep what is read outside."""
        self.outs = [(m.place, False) for m in self.maps if m.place in read]

    def lines(self, plan: Any, name: str, fixed: set[int], seen: set[int]) -> list[str]:
        """The lines of Python that run it, and its memory in the scope of the plan; `seen` is the
        memory that somebody sees after the step."""
        from ..kernels.cpu import llvm

        given, outs = self.inputs(), [p for p, _ in self.outs if p is not None]
        slots = {p: i for i, p in enumerate((*given, *outs))}
        size = self.values[self.maps[0].place].size
        columns = max(m.columns for m in self.maps) or size
        rows = size // columns
        steps = [llvm.Step(m.formula, m.inputs, m.place) for m in self.maps]
        operands = {p: llvm.Operand(slots[p], self._kind(p, size), self._bools(p)) for p in slots}
        text = llvm.written(
            name,
            steps,
            {p: operands[p] for p in given},
            {p: operands[p] for p in outs},
            rows,
            columns,
            self.maps[0].dtype,
        )
        self.table = np.zeros(len(slots), np.int64)
        end = columns // llvm.WIDTH * llvm.WIDTH if rows == 1 else rows
        loop = plan.loops[name] = llvm.Loop(text, self.table, end)
        run, table, lines = plan.name(loop), plan.name(self.table), list[str]()
        after = list[str]()
        for p in given:
            a = self.values[p]
            if p in fixed:
                self.table[slots[p]] = plan.scope[f"v{p}"].ctypes.data
            elif a.nbytes <= SMALL:
                room = np.empty(a.shape, a.dtype)
                self.table[slots[p]] = room.ctypes.data
                lines.append(f"{plan.name(room)}[...] = v{p}")
            else:
                plan.scope["contiguous"] = np.ascontiguousarray
                lines.append(f"k{p} = contiguous(v{p}); {table}[{slots[p]}] = k{p}.ctypes.data")
                after.append(f"k{p} = None")
        for p in outs:
            a = self.values[p]
            if owner(a) in seen or a.nbytes > SMALL:
                plan.scope["empty"] = np.empty
                how = f"{a.shape!r}, {plan.name(a.dtype)}"
                lines.append(f"v{p} = empty({how}); {table}[{slots[p]}] = v{p}.ctypes.data")
            else:
                room = plan.scope[f"v{p}"] = np.empty(a.shape, a.dtype)
                self.table[slots[p]] = room.ctypes.data
                fixed.add(p)
        return [*lines, f"{run}()", *after]

    def _bools(self, place: int) -> bool:
        return bool(self.values[place].dtype == np.bool_)

    def _kind(self, place: int, size: int) -> str:
        own = self.values[place].size
        return "full" if own == size else "one" if own == 1 else "row"


def as_map(call: Any, values: list, exact: bool) -> Map | None:
    """A call as a formula, or None."""
    from ..kernels.cpu import llvm

    op = call.op or OPS.get(_NAMES.get(call.name, call.name))
    if op is None or op.kind != "map" or call.writes or call.shape is not None:
        return None
    if len(call.outs) != 1 or call.outs[0][0] is None or (call.op is None and call.options):
        return None
    formula, names, place = op.scalar, op.inputs, call.outs[0][0]
    by = call.args[-1] if call.args else None
    if op.name == "power" and type(by) in (int, float) and by == 2:
        formula = "a * a"
    if formula is None or len(call.args) > len(names):
        return None
    called, out = llvm.calls_of(formula), values[place]
    if called is None or (exact and called & {*llvm.ROUNDED}) or not out.size:
        return None
    given = {**{k: v for k, v in op.params.items() if v is not ...}, **call.options}
    inputs: dict[str, Any] = {}
    columns, floats = 0, set()
    for name, a in [*zip(names, call.args, strict=False), *given.items()]:
        if type(a) is not Ref:
            if type(a) not in (int, float):
                return None
            inputs[name] = a
            continue
        x = values[a]
        bools = name == "condition" and x.dtype == np.bool_
        if not x.flags.c_contiguous or not (bools or x.dtype.name in llvm.FLOATS):
            return None
        if not bools:
            floats.add(x.dtype.name)
        if x.size not in (1, out.size):
            if x.size != out.shape[-1] or x.shape[-1] != x.size:
                return None
            columns = x.size
        inputs[name] = (int(a),)
    if len(floats) != 1 or (out.dtype != np.bool_ and {out.dtype.name} != floats):
        return None
    return Map(formula, inputs, place, floats.pop(), columns)


def fused(captured: Captured, calls: list[Call], exact: bool) -> list[Any]:
    """The calls, runs of maps among them as groups."""
    values = captured.tape.values
    found: list[Any] = []
    for call in calls:
        made = as_map(call, values, exact) if call.name != "effect" else None
        if made is None:
            found.append(call)
            continue
        last = found[-1] if found and isinstance(found[-1], Group) else None
        if last is None or not last.takes(call, made):
            last = Group(call, values)
            found.append(last)
        last.add(call, made)
    parted: list[Any] = []
    for part in found:
        short = isinstance(part, Group) and len(part.calls) < LEAST
        parted += part.calls if short else [part]
    return parted


def escaping(captured: Captured) -> set[int]:
    """The ids of the memory that somebody sees after the step."""
    c = captured
    kept = {p for _, p in (*c.grads, *c.data) if p is not None}
    kept |= {v for kind, v in c.results if kind in ("tensor", "array")}
    return {owner(c.tape.values[p]) for p in kept}


def owner(a: np.ndarray) -> int:
    """The id of the array whose memory this one looks at."""
    while isinstance(a.base, np.ndarray):
        a = a.base
    return id(a)
