"""A plan: the calls of a captured step as one straight function of Python, without tape, dispatch
and tensors, for arrays of the shapes that were captured."""

from __future__ import annotations

import linecache
import threading
from collections.abc import Callable
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np

from ..core import Tensor, next_seq
from ..dispatch import COMPLAINTS, explain
from ..randomness import current
from .capture import Captured
from .fuse import Segment, escaping, fused
from .tape import Call, Ref

_numbers = count()
MOST = 8  # plans of one step
MISS: Any = object()  # what a plan returns that does not fit any more


class Plan:
    """The function of a captured step, and when it may be called."""

    def __init__(self, captured: Captured, before: Captured, exact: bool | None = None):
        self.quick: Any = None  # a shorter way in (quick.py)
        self.misses = 0  # of that way
        self.captured, self.calls_made, start = captured, 0, perf_counter()
        self.exact = exact
        self.loops: dict[str, Any] = {}  # of machine code, by name
        self.lock = threading.Lock()  # they have memory of their own
        self.file = f"<compiled step {next(_numbers)}>"
        self.scope: dict[str, Any] = {"Tensor": Tensor, "next_seq": next_seq, "asarray": np.asarray}
        self.lines: dict[int, Call] = {}
        self.calls: list[Any] = live(captured)
        self.kept, self.miss = self._kinds(before), MISS
        if exact is not None:
            self.calls = fused(captured, self.calls, self.fixed(), exact)
        self.reads = captured.tape.reads
        self.run: Callable = self._compiled()
        self.seconds = perf_counter() - start

    def _kinds(self, before: Captured) -> dict[int, str]:
        """Where the arrays from outside are at each call: the same object, a tensor's own, or read
        anew as the step replaces it."""
        c, kinds = self.captured, {}
        moving = {id(t): t for t, _ in c.data}
        running = {place for _, place in c.running}
        for place, array in c.tape.externals.items():
            owner = c.owners.get(place)
            if place in running:
                kinds[place] = "gradient"
            elif owner is not None and (
                id(owner) in moving
                or (before.owners.get(place) is owner and before.tape.externals[place] is not array)
            ):
                kinds[place] = "moving"
            else:
                kinds[place] = "held" if owner is not None else "array"
        return kinds

    def fixed(self) -> set[int]:
        """The arrays from outside that stay where they are."""
        return {p for p, kind in self.kept.items() if kind in ("array", "held")}

    def stale(self) -> str | None:
        """Why this cannot be used for many calls, or None."""
        used = {id(a) for a in self.captured.tape.externals.values()}
        return self.reads.settled(used)

    def name(self, value: Any) -> str:
        """A name in the scope of the function for what stays the same."""
        made = f"c{len(self.scope)}"
        self.scope[made] = value
        return made

    def _of(self, value: Any) -> str:
        """The expression of an argument."""
        kind = type(value)
        if kind is Ref:
            return f"v{int(value)}"
        if value is None or kind in (bool, int):
            return repr(value)
        if not any(True for _ in Call(len, "", None, value, {}).inputs()):
            return self.name(value)
        if kind is slice:
            return f"slice({self._of(value.start)}, {self._of(value.stop)}, {self._of(value.step)})"
        if kind is dict:
            return "{" + ", ".join(f"{k!r}: {self._of(v)}" for k, v in value.items()) + "}"
        parts = ", ".join([self._of(v) for v in value])
        return f"[{parts}]" if kind is list else f"({parts},)"

    def line(self, call: Call) -> str:
        """The line of a call."""
        if call.name == "effect":
            return f"{self.name(call.f)}()"
        f = self.name(call.f)
        args = [self._of(a) for a in call.args]
        args += [f"{k}={self._of(v)}" for k, v in call.options.items()]
        run = f"{f}({', '.join(args)})"
        written = {*call.writes}
        outs = ["_" if i is None or i in written else f"v{i}" for i, _ in call.outs]
        if call.shape is not None:
            return f"{', '.join(outs)}, = {run}" if outs else run
        if call.outs and call.outs[0][1]:
            run = f"asarray({run})"
        return run if outs in (["_"], []) else f"{outs[0]} = {run}"

    def _guards(self) -> list[str]:
        c, lines = self.captured, []
        for place, kind in self.kept.items():
            array = c.tape.externals[place]
            if kind == "array":
                self.scope[f"v{place}"] = array
                if any(array is a for a in current().device.values()):
                    self.scope["current"] = current
                    lines.append(f"current().device.get('numpy') is not v{place}")
            elif kind == "held":
                self.scope[f"v{place}"] = array
                t = self.name(c.owners[place])
                lines.append(f"{t}._data is not v{place}")
                if c.owners[place].node is not None:
                    lines.append(f"{t}.node is not {self.name(c.owners[place].node)}")
        lines += [f"{self.name(t)}._grad is not None" for t in c.fresh]
        return lines

    def _live(self) -> list[str]:
        """The lines that read what may be another array in each call."""
        c, lines = self.captured, []
        for t, place in c.running:
            lines += [f"g = {self.name(t)}._grad", f"if g is None: return {self.name(MISS)}",
                      f"v{place} = g._data"]  # fmt: skip
            lines.append(self._form(place))
        for place, kind in self.kept.items():
            if kind == "moving":
                lines += [f"v{place} = {self.name(c.owners[place])}._data", self._form(place)]
        return lines

    def _form(self, place: int) -> str:
        a = self.captured.tape.values[place]
        return (f"if v{place}.shape != {a.shape!r} or v{place}.dtype != {self.name(a.dtype)}: "
                f"return {self.name(MISS)}")  # fmt: skip

    def _compiled(self) -> Callable:
        c = self.captured
        body = [f"def run({', '.join(f'v{i}' for i in c.inputs)}):"]
        if guards := self._guards():
            body.append(f" if {' or '.join(guards)}: return {self.name(MISS)}")
        body += [f" {line}" for line in self._live()]
        if c.stamped:
            names = [self.name(leaf) for leaf in c.stamped]
            body.append(" " + " = ".join(f"{n}.written" for n in names) + " = next_seq()")
        kept = {p for _, p in (*c.grads, *c.data)} | {v for k, v in c.results if type(v) is int}
        read = {*kept}
        for part in reversed(self.calls):
            if type(part) is Segment:
                part.settle(read)
            read.update(part.inputs())
        seen = escaping(c)
        last = {p: i for i, call in enumerate(self.calls) for p in (*call.inputs(), *made(call))}
        fixed = self.fixed()
        for i, call in enumerate(self.calls):
            if type(call) is Segment:
                lines = call.lines(self, f"part{i}", fixed, seen)
                body += [f" {line}" for line in lines]
            else:
                body.append(f" {self.line(call)}")
            self.lines[len(body)] = call
            done = {p for p in (*call.inputs(), *made(call)) if last[p] == i} - kept - fixed
            if done := done - {*c.inputs}:
                body[-1] += "; " + " = ".join(f"v{p}" for p in sorted(done)) + " = None"
        for t, p in c.grads:
            body.append(f" {self.name(t)}._grad = " + ("None" if p is None else f"Tensor(v{p})"))
        body += [f" {self.name(t)}._data = v{p}" for t, p in c.data]
        body.append(f" return ({''.join(self._result(*r) + ', ' for r in c.results)})")
        text = "\n".join(body)
        linecache.cache[self.file] = len(text), None, text.splitlines(keepends=True), self.file
        if self.loops:
            from ..kernels.cpu import llvm

            self.engine = llvm.connected([*self.loops.values()])
        made_here: dict[str, Any] = {}
        exec(compile(text, self.file, "exec"), self.scope, made_here)
        run: Callable = made_here["run"]
        return run

    def _result(self, kind: str, value: Any) -> str:
        if kind == "tensor":
            shared = value in self.kept or value in self.captured.inputs
            shared = shared or any(p == value for _, p in self.captured.grads)
            return f"Tensor(v{value}{'.view()' if shared else ''})"
        if kind == "array":
            return f"v{value}"
        return f"v{self.captured.inputs[value]}" if kind == "given" else self.name(value)

    def __call__(self, arrays: list) -> Any:
        """The leaves of the result; MISS where an array is not what it was."""
        try:
            if not self.loops:
                return self.run(*arrays)
            with self.lock:
                return self.run(*arrays)
        except COMPLAINTS as error:
            call = self._at(error)
            if call is None or call.op is None:
                raise
            told = explain(call.name, (), [], {}, error)
            told.args = (f"{told.args[0]} (captured at {call.line})", *told.args[1:])
            raise told from error

    def _at(self, error: BaseException) -> Call | None:
        trace = error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == self.file:
                return self.lines.get(trace.tb_lineno)
            trace = trace.tb_next
        return None


def made(call: Call) -> list[int]:
    """The places of what a call makes."""
    return [i for i, _ in call.outs if i is not None]


def live(captured: Captured) -> list[Call]:
    """The calls of a step without those whose results nobody asks for."""
    c = captured
    needed = {p for _, p in (*c.grads, *c.data)} | {
        v for k, v in c.results if k in ("tensor", "array")
    }
    found = []
    for call in reversed(c.tape.calls):
        if call.writes or call.name == "effect" or not needed.isdisjoint(made(call)):
            found.append(call)
            needed.update(call.inputs())
    return found[::-1]
