"""The shortest way into a plan that is one program: a single call of machine code sees whether all
is as it was, and runs it.

What a replay depends on are words of memory: which object is in a slot, a cell or a list, and the
tag of a dict, which CPython changes with each write to it. Gradients are written where those of the
call before are, while nobody else holds them: that is seen by their counts of references. Where a
word differs, or Python is another one, the plan's own function does the work, and knows why.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import sysconfig
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import numpy as np

from .. import dispatch
from ..backend import met
from ..core import Tensor, next_seq
from ..randomness import current
from ..switches import switches
from ..trees import opened
from .fuse import Segment
from .plan import MISS, Plan

_WORD = ctypes.sizeof(ctypes.c_void_p)
_TYPE, _FIRST, _SECOND = 8, 16, 24  # an object's type; what cells, lists and dicts hold
_DATA, _NDIM, _SHAPE, _DTYPE, _FLAGS = 16, 24, 32, 56, 64  # in NumPy's arrays
_WHOLE = 0x101  # flags of arrays that are aligned, and lie in one piece
_ALL, _COUNT = -1, 0xFFFFFFFF  # bits of a word that count; of a number of references
CHECKS = frozenset(8**k for k in range(2, 20))  # calls of a plan that run the step itself
TRIES = 8  # of taking the shorter way, and from then on in so many calls one
MOST = 1 << 22  # bytes that a program may write: meanwhile no other thread runs


def word(address: int) -> int:
    """The word at an address."""
    return ctypes.c_int64.from_address(address).value


def _offset(make: Any) -> int:
    """Where an object has what it is made with."""
    thing = object()
    made = make(thing)
    size = type(made).__basicsize__
    return next(i for i in range(_FIRST, size, _WORD) if word(id(made) + i) == id(thing))


def _with_grad(thing: Any) -> Tensor:
    t = Tensor(None)  # type: ignore[arg-type]
    t._grad = thing
    return t


@functools.cache
def _slots() -> tuple[int, int, int] | None:
    """Where tensors have data, node and gradient; None where memory is not as it is expected to be,
    which is tried out."""
    if sys.implementation.name != "cpython" or sysconfig.get_config_var("Py_GIL_DISABLED"):
        return None
    if sys.byteorder != "little" or _WORD != 8:
        return None

    class Some:
        """Something with attributes."""

    some, a = Some(), np.ones((3, 2), "float32")
    turned = a.T  # kept: its memory is read
    cell, items, fields = (lambda: some).__closure__[0], [some, 2], vars(some)  # type: ignore[index]
    proxy, tag = MappingProxyType(fields), id(fields) + _SECOND
    for i in range(60):  # as code that Python has seen often may be run in another way
        before = word(tag)
        if i % 6 == 5:
            fields.clear() if i % 4 else fields.pop("a")
        elif i % 2:
            fields["a"] = i
        else:
            some.a = i  # type: ignore[attr-defined]
        if word(tag) == before:
            return None
    want = [
        (word(id(cell) + _FIRST), id(some)),
        (word(id(items) + _FIRST), 2),
        (word(word(id(items) + _SECOND)), id(some)),
        (word(id(proxy) + _FIRST), id(fields)),
        (word(id(a) + _TYPE), id(np.ndarray)),
        (word(id(a) + _DATA), a.ctypes.data),
        (word(word(id(a) + _SHAPE)), 3),
        (word(id(a) + _DTYPE), id(a.dtype)),
        (word(id(a) + _FLAGS) & _WHOLE, _WHOLE),
        (word(id(turned) + _FLAGS) & _WHOLE, _WHOLE - 1),
        (word(id(met) + _SECOND), len(met)),
        (word(id(some)) & _COUNT, _held_by(some)),
    ]
    if any(found != value for found, value in want):
        return None
    with_node: Any = lambda node: Tensor(None, node)  # type: ignore[arg-type]  # noqa: E731
    return _offset(Tensor), _offset(with_node), _offset(_with_grad)


def _held_by(thing: Any) -> int:
    """The number of references to a thing, as if nobody had asked."""
    other = object()
    return sys.getrefcount(thing) - sys.getrefcount(other)


class Quick:
    """A way into a plan, made right after a replay of it."""

    def __init__(self, plan: Plan, segment: Segment, given: list[Tensor], args: tuple):
        self.plan, self.segment, self.given = plan, segment, len(args)
        self.whole = True  # the result comes in its structure
        self.data, self.node, self.grad = _slots()  # type: ignore[misc]
        self.table = segment.table.copy()
        self.scope: dict[str, Any] = {
            "Tensor": Tensor, "next_seq": next_seq, "empty": np.empty, "MISS": MISS, "plan": plan,
            "switches": switches, "checks": CHECKS,
            "arrays": [a for _, a, _ in plan.reads.arrays],
            "bits": [b.tobytes() for _, _, b in plan.reads.arrays],
        }  # fmt: skip
        self._at = [(self._name(d), k, self._name(v)) for d, k, v in self._pairs()]
        self.arm()
        self.run = self._compiled(given, args)

    def arm(self) -> None:
        """Take what there is now, after a replay of the plan, for what has to be."""
        plan, c = self.plan, self.plan.captured
        self.found: list[tuple[int, int, int]] = []
        self.kept: list[Any] = []
        self._reads()
        for place, kind in plan.kept.items():
            a = c.tape.externals[place]
            if kind == "held":
                self._slot(c.owners[place], self.data, a)
                self._slot(c.owners[place], self.node, c.owners[place].node)
            self._same(id(a) + _DATA, a.ctypes.data)
        for t, made in c.grads:
            g: Any = t._grad
            self._slot(t, self.grad, g)
            self._slot(g, self.data, g._data)
            self._slot(g, self.node, None)
            self._same(id(g), 2, _COUNT)  # the tensor's reference, and that of `kept`
            self._same(id(g._data), 2, _COUNT)
            self.kept += [g, g._data]
            self.table[self.segment.slots[made]] = g._data.ctypes.data  # type: ignore[index]
        if not hasattr(self, "words"):
            self.words = np.empty((len(self.found), 3), np.int64)
        self.words[...] = self.found
        self.scope["modes"] = dict(vars(switches))
        for (_, _, name), (_, _, v) in zip(self._at, self._pairs(), strict=True):
            self.scope[name] = v

    def _pairs(self) -> list[tuple[Any, Any, Any]]:
        reads = self.plan.reads
        return [(d, k, v) for (d, k), v in zip(reads.at, reads.values, strict=True)]

    def _same(self, address: int, value: int, bits: int = _ALL) -> None:
        self.found.append((address, bits, value))

    def _slot(self, owner: Any, offset: int, value: Any) -> None:
        self._same(id(owner) + offset, id(value))

    def _reads(self) -> None:
        """The words of what the step's Python reads by name."""
        reads = self.plan.reads
        for live, copy in zip(reads.live, reads.copies, strict=True):
            at = word(id(live) + _FIRST) if type(live) is MappingProxyType else id(live)
            self._same(at + _SECOND, word(at + _SECOND))  # a dict's tag, or where a list has them
            if isinstance(live, list):
                self._same(at + _FIRST, len(copy))
                for i, part in enumerate(copy):
                    self._same(word(at + _SECOND) + _WORD * i, id(part))
        for cell, content in zip(reads.cells, reads.contents, strict=True):
            self._same(id(cell) + _FIRST, id(content))
        at = id(vars(dispatch)) + _SECOND
        self._same(at, word(at))
        self._same(id(met) + _SECOND, len(met))

    def _name(self, value: Any) -> str:
        made = f"c{len(self.scope)}"
        self.scope[made] = value
        return made

    def _compiled(self, given: list[Tensor], args: tuple) -> Any:
        from ..kernels.cpu import llvm

        c, segment = self.plan.captured, self.segment
        results = [segment.root(v) for kind, v in c.results if kind == "tensor"]
        text = _entry(self, given, results)
        found, self.engine = llvm.compiled({"enter": (text, set())}, 1)
        kinds = [ctypes.py_object] * (len(given) + len(results))
        self.scope["enter"] = ctypes.PYFUNCTYPE(ctypes.c_int64, *kinds)(found["enter"])
        # The plan's own way keeps the GIL from now on, too: both use the program's inner memory.
        self.plan.loops[f"part{self.plan.calls.index(segment)}"].bind(ctypes.PYFUNCTYPE)
        named = [f"a{i}" for i in range(len(args))]
        names, opening = _opened(named, args)  # type: ignore[misc]
        same = [f"{d}[{k!r}] is not {v}" for d, k, v in self._at]
        other = " or ".join(["n in checks", "vars(switches) != modes", *same])
        if self.scope["arrays"]:
            other += " or [a.tobytes() for a in arrays] != bits"
        lines = [f"def run({', '.join(named)}):", "n = plan.calls_made + 1"]
        lines += [f"if {other}: return MISS", *opening]
        for p in results:
            a = c.tape.values[p]
            lines.append(f"v{p} = empty({a.shape!r}, {self._name(a.dtype)})")
            names.append(f"v{p}")
        lines.append(f"if enter({', '.join(names)}): return MISS")
        lines += [f"{self._name(e.f)}()" for e in segment.effects]
        if c.stamped:
            stamps = " = ".join(f"{self._name(leaf)}.written" for leaf in c.stamped)
            lines.append(f"{stamps} = next_seq()")
        parts = [
            f"Tensor(v{segment.root(v)})" if kind == "tensor" else self._name(v)
            for kind, v in c.results
        ]
        all_of = _built(c.form, iter(parts))
        if all_of is None:
            self.whole, all_of = False, f"[{', '.join(parts)}]"
        lines += ["plan.calls_made = n", f"return {all_of}"]
        made: dict[str, Any] = {}
        exec("\n ".join(lines), self.scope, made)
        return made["run"]


def _opened(names: list[str], args: tuple) -> tuple[list[str], list[str]] | None:
    """The names of the tensors in arguments of these names, and the lines that take them out of
    lists and tuples; None where there is anything else."""
    found, lines = list[str](), list[str]()
    for name, a in zip(names, args, strict=True):
        if type(a) is Tensor:
            found.append(name)
        elif type(a) in (list, tuple) and a and all(type(t) is Tensor for t in a):
            own = [f"{name}_{i}" for i in range(len(a))]
            kind = type(a).__name__
            lines.append(f"if type({name}) is not {kind} or len({name}) != {len(a)}: return MISS")
            lines.append(f"{', '.join(own)}, = {name}")
            found += own
        else:
            return None
    return found, lines


def _built(form: Any, parts: Iterator[str]) -> str | None:
    """A structure of lists and tuples with other leaves, as an expression; None for others."""
    if type(form) is list or type(form) is tuple:
        of = [_built(part, parts) for part in form]
        if None in of:
            return None
        inner = ", ".join(of)  # type: ignore[arg-type]
        return f"[{inner}]" if type(form) is list else f"({inner}{',' * (len(of) == 1)})"
    return next(parts) if opened(form) is None else None


def _entry(q: Quick, given: list[Tensor], results: list[int]) -> str:
    """i64 enter(tensors, arrays of the results): 0 where all was as it was, and the program ran."""
    segment, words = q.segment, q.words
    addresses = q.plan.loops[f"part{q.plan.calls.index(segment)}"].addresses
    names = [f"%t{i}" for i in range(len(given))] + [f"%r{i}" for i in range(len(results))]
    lines = [
        f"define i64 @enter({', '.join(f'ptr {n}' for n in names)}) {{", "entry:",
        f"  %words = inttoptr i64 {words.ctypes.data} to ptr",
        f"  %table = inttoptr i64 {q.table.ctypes.data} to ptr", "  br label %head", "head:",
        "  %i = phi i64 [ 0, %entry ], [ %next, %good ]",
        f"  %more = icmp slt i64 %i, {3 * len(words)}",
        "  br i1 %more, label %body, label %arrays", "body:",
    ]  # fmt: skip
    count = 0

    def new(right: str) -> str:
        nonlocal count
        count += 1
        lines.append(f"  %x{count} = {right}")
        return f"%x{count}"

    def load(kind: str, at: str, offset: Any = 0) -> str:
        return new(f"load {kind}, ptr {new(f'getelementptr i8, ptr {at}, i64 {offset}')}")

    def need(a: str, kind: str, value: Any) -> None:
        same = new(f"icmp eq {kind} {a}, {value}")
        lines.append(f"  br i1 {same}, label %g{count}, label %other")
        lines.append(f"g{count}:")

    entry = [new(f"getelementptr i64, ptr %words, i64 {new(f'add i64 %i, {k}')}") for k in range(3)]
    at, bits, value = (new(f"load i64, ptr {e}") for e in entry)
    found = new(f"load i64, ptr {new(f'inttoptr i64 {at} to ptr')}")
    same = new(f"icmp eq i64 {new(f'and i64 {found}, {bits}')}, {value}")
    lines.append(f"  br i1 {same}, label %good, label %other")
    lines += ["good:", "  %next = add i64 %i, 3", "  br label %head", "arrays:"]
    slots = segment.slots
    for name, t, place in zip(names, given, q.plan.captured.inputs, strict=False):
        a = t._data
        need(load("i64", name, _TYPE), "i64", id(Tensor))
        need(load("i64", name, q.node), "i64", id(None))
        own = load("ptr", name, q.data)
        need(load("i64", own, _TYPE), "i64", id(np.ndarray))
        need(load("i32", own, _NDIM), "i32", a.ndim)
        need(load("i64", own, _DTYPE), "i64", id(a.dtype))
        need(new(f"and i32 {load('i32', own, _FLAGS)}, {_WHOLE}"), "i32", _WHOLE)
        shape = load("ptr", own, _SHAPE)
        for axis, n in enumerate(a.shape):
            need(load("i64", shape, _WORD * axis), "i64", n)
        if place in slots:
            slot = new(f"getelementptr i64, ptr %table, i64 {slots[place]}")
            lines.append(f"  store ptr {load('ptr', own, _DATA)}, ptr {slot}")
    for name, place in zip(names[len(given) :], results, strict=True):
        slot = new(f"getelementptr i64, ptr %table, i64 {slots[place]}")
        lines.append(f"  store ptr {load('ptr', name, _DATA)}, ptr {slot}")
    check, run = (f"call i64 inttoptr (i64 {a} to ptr)(ptr %table)" for a in addresses)
    need(new(check), "i64", 0)
    new(run)
    lines += ["  ret i64 0", "other:", "  ret i64 1", "}", ""]
    return "\n".join(lines)


def quick(plan: Plan, given: list[Tensor], args: tuple) -> Quick | None:
    """A way into a plan that was just replayed with those arguments; None where there is none."""
    c, segments = plan.captured, [p for p in plan.calls if type(p) is Segment]
    if len(segments) != 1 or len(plan.calls) != 1 or _slots() is None:
        return None
    (segment,), reads = segments, plan.reads
    places = [v for kind, v in c.results if kind == "tensor"]
    results = [segment.root(v) for v in places]
    fresh, made = [*results, *(p for _, p in c.grads)], {p for p, _ in segment.outs}
    views = {p for call in segment.views for p, _ in call.outs}  # only to give them another name
    random = [*map(id, current().device.values())]
    if (
        any(kind not in ("tensor", "plain") for kind, _ in c.results)
        or not {*fresh} <= made
        or len({*fresh}) != len(fresh)
        or any(id(a) in random for a in c.tape.externals.values())
        or not views <= {*places}
        or any(
            segment.values[p].shape != segment.values[r].shape
            for p, r in zip(places, results, strict=True)
        )
        or not segment.turned.isdisjoint(places)
        or (c.data or c.running or c.fresh or _opened([""] * len(args), args) is None)
        or any(not getattr(e.f, "late", False) for e in segment.effects)
        or any(kind not in ("array", "held") for kind in plan.kept.values())
        or any(not isinstance(live, (dict, list, MappingProxyType)) for live in reads.live)
        or any(type(t) is not Tensor for t in given)
        or sum(segment.values[p].nbytes for p in segment.made) > MOST
    ):
        return None
    return Quick(plan, segment, given, args)


def shorter(plan: Plan, given: Any, args: tuple) -> Quick | None:
    """The shorter way into a plan that was just replayed, as things are now."""
    if plan.calls_made < 2 or plan.misses > TRIES + plan.calls_made // TRIES:
        return None  # not worth it: what it needs differs from call to call
    plan.misses += 1
    with plan.lock:
        if plan.quick is None:
            plan.quick = quick(plan, given, args) or False
        elif plan.quick:
            plan.quick.arm()
    return plan.quick or None
