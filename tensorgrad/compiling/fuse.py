"""Runs of calls as machine code: elementwise ones as loops from the formulas of the table of ops,
the others of small steps as lower.py has them.

A group holds maps of one shape that follow each other, with operands of that shape, of its last
axis, or of one number. What nothing outside of it reads is never stored. Groups and native calls
that follow each other are a segment: one call of machine code, with one table of addresses.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np

from ..core import OPS
from .capture import Captured
from .lower import Native, alias, native
from .tape import Call, Ref

MOST, LEAST = 100, 3  # calls in a group: LLVM's time grows faster, and a call of it costs two
FEW = 1 << 10  # numbers up to which functions of the C library are called one by one
SMALL = 1 << 14  # bytes up to which arrays are copied into memory of the plan
INNER = 1 << 20  # ... and up to which there is memory for what nothing outside of a program reads
_NAMES = {"absolute": "abs", "true_divide": "divide"}  # NumPy's for ops
_COPIES = ("copy", "broadcast_to")


class Map(NamedTuple):
    """A call as a formula of its inputs."""

    formula: str
    inputs: dict[str, Any]
    place: int
    dtype: str
    columns: int  # of operands that go along the last axis alone; 0 where there is none


class Group:
    """Maps that run as one loop."""

    scratch: tuple[int, ...] = ()
    labels = None

    def __init__(self, segment: Segment, first: Map):
        self.calls: list[Call] = []
        self.maps: list[Map] = []
        self.segment, self.dtype = segment, first.dtype
        self.size, self.places = segment.values[first.place].size, list[int]()

    def takes(self, found: Map) -> bool:
        """Whether a map can join."""
        columns = {m.columns for m in (*self.maps, found)} - {0}
        same = self.size == self.segment.values[found.place].size and self.dtype == found.dtype
        turned = {a[0] for a in found.inputs.values() if type(a) is tuple and a[1] == "turned"}
        same = same and turned.isdisjoint(m.place for m in self.maps)
        return same and len(columns) < 2 and len(self.maps) < MOST

    def settle(self, read: set[int]) -> list[int]:
        """Keep what is read outside; the places of that."""
        self.places = [m.place for m in self.maps if m.place in read]
        return self.places

    def ends(self) -> tuple[int, int, int]:
        """Rows, columns, and the end of the range of its loop."""
        from ..kernels.cpu import llvm

        columns = max(m.columns for m in self.maps) or self.size
        rows = self.size // columns
        return rows, columns, columns // llvm.WIDTH * llvm.WIDTH if rows == 1 else rows

    def text(self, slots: dict[int, int]) -> Any:
        """Its loop."""
        from ..kernels.cpu import llvm

        def operand(p: int) -> Any:
            return llvm.Operand(slots[p], bool(self.segment.values[p].dtype == np.bool_))

        made = {m.place for m in self.maps}
        read = [a[0] for m in self.maps for a in m.inputs.values() if type(a) is tuple]
        steps = [llvm.Step(m.formula, m.inputs, m.place) for m in self.maps]
        given = {p: operand(p) for p in read if p not in made}
        stored = {p: operand(p) for p in self.places}
        return llvm.written(steps, given, stored, *self.ends()[:2], self.dtype)


class Segment:
    """Groups and native calls that run as one call."""

    name, op, shape, writes = "segment", None, None, ()

    def __init__(self, captured: Captured, fixed: set[int], exact: bool, clean: bool):
        """`fixed` are the arrays from outside that stay where they are; `clean`, that nothing has
        been written before it, so that the step can still be run anew."""
        self.captured, self.fixed, self.exact, self.clean = captured, fixed, exact, clean
        self.values: list = captured.tape.values
        self.calls: list[Call] = []
        self.parts: list[Any] = []
        self.effects: list[Call] = []  # of the host, before it runs
        self.alias: dict[int, Any] = {}  # place -> another one, or a number
        self.turned: set[int] = set()  # those of them that are its matrix turned
        self.born: set[int | None] = set()  # what its calls make
        self.written: set[int] = set()
        self.outs: list[tuple[int, bool]] = []  # what is read outside, once that is known
        self.views: list[Call] = []  # ... of that, what Python makes of it

    def root(self, place: int) -> Any:
        """The place whose memory this one is, or a number."""
        return self.alias.get(int(place), int(place))

    def roots(self, part: Any) -> list[int]:
        """The places that a part reads; 1 is one, and the number 1.0 is none."""
        found = [self.root(i) for c in part.calls for i in c.inputs()]
        return [p for p in found if type(p) is int]

    def size(self, place: int) -> int:
        """How many numbers there are in the memory of a place."""
        root = self.root(place)
        return self.values[root].size if type(root) is int else 1

    def whole(self, place: int) -> bool:
        """Whether the memory of a place lies in one piece, as all does that is made here, or copied
        for it."""
        if place not in self.born and place in self.fixed:
            return bool(self.values[place].flags.c_contiguous)
        same = self.size(place) == self.values[place].size and type(self.root(place)) is int
        return same and place not in self.turned

    def takes(self, call: Call) -> bool:
        """Take a call, if that can be."""
        if call.name == "effect":
            owned = self.captured.owners.keys() | {*self.captured.inputs}
            others = self.captured.tape.externals.keys() - owned
            early = getattr(call.f, "late", False) or others.isdisjoint(self.inputs())
            if early and self.calls:
                self.effects.append(call)
            return early and bool(self.calls)
        if self._stale(call):
            return False
        if (found := alias(call, self)) is not None:
            place, of, turned = found
            self.alias[place] = of if type(of) is float else self.root(of)
            if turned:
                self.turned.add(place)
        elif (made := as_map(call, self, self.exact)) is not None:
            last = self.parts[-1] if self.parts and type(self.parts[-1]) is Group else None
            if last is None or not last.takes(made):
                self.parts.append(last := Group(self, made))
            last.maps.append(made)
            last.calls.append(call)
        elif self.exact or (lowered := native(call, self)) is None or not self._safe(lowered):
            return False
        else:
            self.parts.append(lowered)
            self.written.update(lowered.written)
        self.calls.append(call)
        self.born.update(p for p, _ in call.outs if p not in call.writes)
        return True

    def _stale(self, call: Call) -> bool:
        """Whether it reads what was copied for this program, of memory written since: a view."""
        read = {self.root(i) for i in call.inputs()} if self.written else set()
        copied = [p for p in read - self.born - self.fixed if type(p) is int]
        a = self.values
        return any(np.may_share_memory(a[p], a[w]) for p in copied for w in self.written)

    def _safe(self, part: Native) -> bool:
        if part.labels is not None and (not self.clean or part.labels[0] in self.born):
            return False
        return part.written <= self.fixed

    def inputs(self) -> list[int]:
        """The places of what it reads from outside."""
        read = dict.fromkeys(int(i) for c in self.calls for i in c.inputs())
        return [i for i in read if i not in self.born]

    def settle(self, read: set[int | None]) -> None:
        """Keep what is read outside: by the calls after it, and by views of what it has made."""
        read = {*read}
        for call in reversed(self.calls):
            if any(p in self.alias and p in read for p, _ in call.outs):
                self.views.insert(0, call)
                read.update(call.inputs())
        outs, within = [], {*read}
        for part in reversed(self.parts):
            outs += [p for p in part.settle(within) if p in read]
            within.update(self.roots(part))
        self.outs = [(p, False) for p in dict.fromkeys(outs[::-1])]

    def lines(self, plan: Any, name: str, fixed: set[int], seen: set[int]) -> list[str]:
        """The lines of Python that run it, and its memory in the scope of the plan; `seen` is the
        memory that somebody sees after the step."""
        from ..kernels.cpu import llvm

        made = [p for part in self.parts for p in part.places]
        outs = {p for p, _ in self.outs}
        read = dict.fromkeys(p for part in self.parts for p in self.roots(part))
        given = [p for p in read if p not in self.born]
        slots = self.slots = {p: i for i, p in enumerate((*given, *made))}
        self.made = made
        each = zip_longest(*[part.scratch for part in self.parts], fillvalue=0)
        scratch = [max(sizes) for sizes in each]  # which one part uses after another
        self.table = table = np.zeros(len(slots) + len(scratch), np.int64)
        for i, n in enumerate(scratch):
            room = np.empty(n)
            table[len(slots) + i], plan.scope[f"{name}_{i}"] = room.ctypes.data, room
        loop = plan.loops[name] = llvm.Program(
            name, [*self._texts(slots)], self._checks(slots), table
        )
        run, at, lines = plan.name(loop.run), plan.name(table), list[str]()
        after = list[str]()
        for p in given:
            a = self.values[p]
            if p in fixed:
                table[slots[p]] = plan.scope[f"v{p}"].ctypes.data
            elif a.nbytes <= SMALL:
                room = np.empty(a.shape, a.dtype)
                table[slots[p]] = room.ctypes.data
                lines.append(f"{plan.name(room)}[...] = v{p}")
            else:
                plan.scope["contiguous"] = np.ascontiguousarray
                lines.append(f"k{p} = contiguous(v{p}); {at}[{slots[p]}] = k{p}.ctypes.data")
                after.append(f"k{p} = None")
        inner = self._inner(outs)
        for p in made:
            a = self.values[p]
            if p in inner:
                table[slots[p]], plan.scope[f"v{p}"] = inner[p].ctypes.data, inner[p]
            elif (p in outs and owner(a) in seen) or a.nbytes > SMALL:
                plan.scope["empty"] = np.empty
                how = f"{a.shape!r}, {plan.name(a.dtype)}"
                lines.append(f"v{p} = empty({how}); {at}[{slots[p]}] = v{p}.ctypes.data")
                if p not in outs:
                    after.append(f"v{p} = None")
            else:
                room = plan.scope[f"v{p}"] = np.empty(a.shape, a.dtype)
                table[slots[p]] = room.ctypes.data
                fixed.add(p)
        if loop.checks:
            lines.append(f"if {plan.name(loop.check)}(): return {plan.name(plan.miss)}")
        lines += [plan.line(c) for c in self.effects]
        return [*lines, f"{run}()", *[plan.line(c) for c in self.views], *after]

    def _inner(self, outs: set[int]) -> dict[int, np.ndarray]:
        """Memory for what only its parts read, used again after the last of them."""
        last = {p: k for k, part in enumerate(self.parts) for p in self.roots(part)}
        found: dict[int, np.ndarray] = {}
        free: list[int] = []  # places that are not read any more
        for k, part in enumerate(self.parts):
            for p in part.places:
                n = self.values[p].nbytes
                if p in outs or n > INNER:
                    continue
                fits = [q for q in free if found[q].size >= n]
                if fits:
                    free.remove(fit := min(fits, key=lambda q: found[q].size))
                found[p] = found[fit] if fits else np.empty(n, np.uint8)
            done = dict.fromkeys((*part.places, *self.roots(part)))
            free += [p for p in done if p in found and last.get(p, k) == k]
        return found

    def _texts(self, slots: dict[int, int]) -> Iterator[tuple[Any, int]]:
        """What is written of its parts, each with the end of its range."""
        from ..kernels.cpu import llvm

        for part in self.parts:
            if type(part) is Group:
                yield part.text(slots), part.ends()[2]
                continue
            text = llvm.Text(llvm.FLOATS[part.dtype])

            def at(place: int, text: Any = text) -> str:
                slot = slots[self.root(place)] if place >= 0 else len(slots) - place - 1
                return text.address(slot)  # type: ignore[no-any-return]

            part.write(text, at)
            yield text, 0

    def _checks(self, slots: dict[int, int]) -> list[tuple[int, str, int, int]]:
        """Of labels: slot, integer type, how many, and the number of classes."""
        found = {part.labels for part in self.parts if part.labels is not None}
        return [
            (slots[p], f"i{8 * self.values[p].itemsize}", self.values[p].size, n) for p, n in found
        ]


def as_map(call: Any, within: Segment, exact: bool) -> Map | None:
    """A call as a formula, or None."""
    from ..kernels.cpu import llvm

    values = within.values

    op = call.op or OPS.get(_NAMES.get(call.name, call.name))
    options = call.options
    if call.name in _COPIES:
        op, options = OPS["positive"], {}
    if op is None or op.kind != "map" or call.writes or call.shape is not None:
        return None
    if len(call.outs) != 1 or call.outs[0][0] is None or (call.op is None and options):
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
    if called & {*llvm.LIBRARY} and out.size > FEW:
        return None
    given = {**{k: v for k, v in op.params.items() if v is not ...}, **options}
    inputs: dict[str, Any] = {}
    columns, floats = 0, set()
    for name, a in [*zip(names, call.args, strict=False), *given.items()]:
        if type(a) is not Ref:
            if type(a) not in (int, float):
                return None
            inputs[name] = a
            continue
        x, n = values[a], within.size(a)
        root = within.root(a)
        if type(root) is float and x.dtype.name in llvm.FLOATS:
            inputs[name] = root
            floats.add(x.dtype.name)
            continue
        bools = name == "condition" and x.dtype == np.bool_
        turned = a in within.turned
        whole = within.whole(a) or n == 1 or (turned and x.shape == out.shape)
        if not whole or not (bools or x.dtype.name in llvm.FLOATS):
            return None
        if not bools:
            floats.add(x.dtype.name)
        kind = "full" if n == out.size else "one"
        if turned:
            kind, columns = "turned", out.shape[-1]
        elif n not in (1, out.size):
            kind = "row" if n == out.shape[-1] == x.shape[-1] else "column"
            if kind == "column" and (*x.shape[:-1], out.shape[-1]) != out.shape:
                return None
            columns = out.shape[-1]
        inputs[name] = (root, kind)
    if len(floats) != 1 or (out.dtype != np.bool_ and {out.dtype.name} != floats):
        return None
    return Map(formula, inputs, place, floats.pop(), columns)


def fused(captured: Captured, calls: list[Call], fixed: set[int], exact: bool) -> list[Any]:
    """The calls, runs of them as segments."""
    found: list[Any] = []
    clean = True
    for call in calls:
        last = found[-1] if found and type(found[-1]) is Segment else None
        if last is not None and last.takes(call):
            continue
        if last is not None:
            clean = clean and not last.written and not last.effects
        fresh = Segment(captured, fixed, exact, clean)
        if fresh.takes(call):
            found.append(fresh)
        else:
            found.append(call)
            clean = clean and not call.writes and call.name != "effect"
    parted: list[Any] = []
    for part in found:
        few = type(part) is Segment and sum(len(p.calls) for p in part.parts) < LEAST
        parted += [*part.calls, *part.effects] if few else [part]
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
