"""The tape of a captured step: one flat list of the array functions that it called.

A capture runs the real step on real arrays, below autograd: while it runs, all tensors of the
process, and the states of optimizers, hold `Traced` arrays, so that forward, rules, clipping and
updates come by. What cannot be captured does not stop the step: it goes on as it would eagerly, and
the tape says why it is of no use.
"""

from __future__ import annotations

import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..backend import BY_TYPE, NUMBERS
from ..core import Node, Op, Tensor, next_seq
from ..dispatch import resolve, watched
from ..errors import user_line
from ..switches import switches
from .guards import Reads
from .traced import READ, Traced, plain

lock = threading.RLock()  # one capture at a time: it lifts the tensors of all threads
_STORES = ("Optimizer", "Clock", "LossScale")  # classes of optim/ that keep arrays


class Ref(int):
    """The place of a value on the tape, in the arguments of a call."""


class Call:
    """One call of a function of arrays; an effect of the host is a call without results."""

    __slots__ = ("args", "f", "line", "name", "op", "options", "outs", "shape", "writes")

    def __init__(self, f: Callable, name: str, op: Any, args: Any, options: dict[str, Any]):
        self.f, self.name, self.op, self.args, self.options = f, name, op, args, options
        self.outs: list[tuple[int | None, bool]] = []  # places; and whether it is NumPy's scalar
        self.shape: Any = None  # the type of several results, None of a single one
        self.writes: list[int] = []  # places of the inputs that it updates
        self.line = ""

    def inputs(self) -> list[int]:
        """The places of all that it reads."""
        return [*_refs((self.args, self.options))]


def _refs(value: Any) -> Iterator[int]:
    if type(value) is Ref:
        yield value
    elif type(value) is slice:
        yield from _refs((value.start, value.stop, value.step))
    elif isinstance(value, (list, tuple, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _refs(part)


class _Effects(list):
    """What the host does in each step, as `switches.each_time` takes it: done, and noted."""

    def __init__(self, tape: Tape):
        super().__init__()
        self.tape = tape

    def append(self, effect: Callable[[], None]) -> None:
        super().append(effect)
        with self.tape.paused(), self.tape.reads.owned_by_step():
            effect()
        self.tape.calls.append(Call(effect, "effect", None, (), {}))

    def forbid(self, what: str) -> None:
        """A step that no capture can follow; it goes on."""
        self.tape.refuse(what)


class Tape:
    """The calls of one run of a step. `refused` says why it cannot be replayed."""

    def __init__(self, reads: Reads):
        self.calls: list[Call] = []
        self.values: list[Any] = []
        self.externals: dict[int, np.ndarray] = {}  # arrays from outside, read as they are then
        self.places: dict[int, int] = {}  # id of an array from outside -> its place
        self.reads, self.refused = reads, ""
        self.effects = _Effects(self)
        self.thread, self.depth, self.open = threading.get_ident(), 0, True
        self.alone = threading.active_count() == 1  # else others do things meanwhile, too
        self.alive: list[weakref.ref] = []
        self._functions: dict[Op, tuple] = {}

    @property
    def noting(self) -> bool:
        """Whether what arrays are asked now belongs to the step."""
        return self.open and not self.depth and threading.get_ident() == self.thread

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within the block nothing is noted."""
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def refuse(self, why: str) -> None:
        """Note the first reason why this step cannot be replayed, with the user's line."""
        if self.noting and not self.refused:
            line = user_line()
            self.refused = f"{line}: {why}" if line else why

    def knows(self, value: Any) -> bool:
        """Whether the step has used that array from outside, or one of those in that tuple."""
        return any(id(a) in self.places for a in (value if type(value) is tuple else [value]))

    def made(self, a: Any) -> bool:
        """Whether an array is one that the step has computed."""
        return (
            type(a) is Traced and a.tape is self and a.index >= 0 and a.index not in self.externals
        )

    def kept(self) -> list[Traced]:
        """The traced arrays that somebody still holds."""
        return [made for ref in self.alive if (made := ref()) is not None]

    def add(self, value: Any) -> int:
        """A place for a value."""
        self.values.append(value)
        return len(self.values) - 1

    def place_of(self, a: Any) -> int:
        """The place of an array; one that the step has not computed comes from outside."""
        lifted = type(a) is Traced
        if lifted and a.index >= 0:
            return a.index  # type: ignore[no-any-return]
        value = a.value if lifted else a
        place = self.places.get(id(value))
        if place is None:
            place = self.places[id(value)] = self.add(value)
            self.externals[place] = value
            if not lifted and (why := self.reads.written(value)) is not None:
                self.refuse(why)
        if lifted:
            a.index = place
        return place

    def lift(self, a: np.ndarray) -> Traced:
        """An array from outside, of which all that is done with it is to be seen."""
        return self._traced(a, -1)

    def _traced(self, value: np.ndarray, place: int, scalar: bool = False) -> Traced:
        made = Traced(value, place, self, scalar)
        self.alive.append(weakref.ref(made))
        return made

    def _referred(self, value: Any) -> Any:
        """Arguments with places for arrays."""
        kind = type(value)
        if kind is Traced or kind is np.ndarray:
            return Ref(self.place_of(value))
        if kind in (list, tuple):
            return kind([self._referred(part) for part in value])
        if kind is dict:
            return {key: self._referred(part) for key, part in value.items()}
        if kind is slice:
            return slice(*[self._referred(v) for v in (value.start, value.stop, value.step)])
        return value

    def call(
        self,
        f: Callable,
        name: str,
        args: Any,
        options: dict[str, Any],
        op: Any = None,
        writes: Any = False,
    ) -> Any:
        """Run f on real arrays, note the call, and return its results as traced arrays."""
        made = Call(f, name, op, self._referred(tuple(args)), self._referred(options))
        made.line = user_line()
        given = {id(a): a for a in _arrays((args, options))}
        self.depth += 1
        try:
            y = f(*plain(tuple(args)), **plain(options))
        finally:
            self.depth -= 1
        if isinstance(writes, bool):
            writes = ([args[0]] if writes else []) + [options.get("out")]
        written = [a for a in writes if type(a) in (Traced, np.ndarray)]
        made.writes = [self.place_of(a) for a in written]
        for a in written:
            self.reads.wrote(a)
        values = {id(a.value if type(a) is Traced else a): a for a in given.values()}
        several = isinstance(y, (tuple, list))
        made.shape = type(y) if several else None
        results = [self._result(v, values, made) for v in (y if several else [y])]
        self.calls.append(made)
        if not several:
            return results[0]
        return type(y)(*results) if hasattr(y, "_fields") else type(y)(results)

    def _result(self, v: Any, values: dict[int, Any], made: Call) -> Any:
        if v is None:
            made.outs.append((None, False))
            return None
        if (same := values.get(id(v))) is not None:
            made.outs.append((self.place_of(same), False))
            return same
        scalar = isinstance(v, np.generic)
        if not scalar and type(v) is not np.ndarray:
            self.refuse(f"{READ} ({made.name})")
            made.outs.append((None, False))
            return v
        a = np.asarray(v)
        place = self.add(a)
        made.outs.append((place, scalar))
        return self._traced(a, place, scalar)

    def watcher(self, op: Op, run: Callable) -> Callable:
        """What an op's function is in place of `run` while this step is captured."""
        array = ("Traced", "ndarray")

        def call(*args: Any, **options: Any) -> Any:
            if not self.noting:
                if not any(type(a) is Traced for a in args):
                    return run(*args, **options)
                args, options = plain(args), plain(options)  # another thread's
                large, small, least = resolve(op, np.ndarray)
                return (small if np.size(args[0]) < least else large)(*args, **options)
            for a in args:
                if type(a).__name__ not in array and a is not None and not isinstance(a, NUMBERS):
                    if BY_TYPE[type(a)].array_type is not np.ndarray and not hasattr(a, "level"):
                        self.refuse("it computes on another device: give the step its batch there")
                    return run(*args, **options)
            found = self._functions.get(op)
            if found is None:
                found = self._functions[op] = resolve(op, np.ndarray)
            few = type(args[0]) in (Traced, np.ndarray) and args[0].size < found[2]
            names = op.names(len(args))
            writes = [a for a, n in zip(args, names, strict=False) if n in op.inplace]
            return self.call(found[1 if few else 0], op.name, args, options, op, writes)

        return call


def _arrays(value: Any) -> Iterator[Any]:
    if type(value) in (Traced, np.ndarray):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _arrays(part)


# --- lifting what is there before the step --------------------------------------------------------


def _kinds(base: type) -> set[type]:
    found, todo = set(), [base]
    while todo:
        kind = todo.pop()
        if kind not in found:
            found.add(kind)
            todo += kind.__subclasses__()
    return found


class Lifted:
    """The tensors of the process as they were before the step, with `Traced` arrays meanwhile."""

    def __init__(self, tape: Tape):
        self.tape = tape
        kinds, stores = _kinds(Tensor), set[type]()
        if (optim := sys.modules.get("tensorgrad.optim")) is not None:
            for module in ("base", "clocks", "scale"):
                found = vars(sys.modules.get(f"{optim.__name__}.{module}", optim))
                stores |= {k for n in _STORES if n in found for k in _kinds(found[n])}
        self.tensors: list[tuple[Tensor, np.ndarray, Any, Any]] = []
        self._by_id: dict[int, Traced] = {}
        self._kept: list[tuple[Any, Any, Any, Any]] = []  # where, key, what was there, and is now
        objects = gc.get_objects()
        for o in objects:
            if type(o) in kinds:
                a = getattr(o, "_data", None)
                if type(a) is np.ndarray:
                    self.tensors.append((o, a, o.node, o._grad))
            elif type(o) in stores:
                self._open(vars(o))
        del objects
        # What another thread has replaced meanwhile stays: between a comparison and an assignment
        # without calls Python does not switch threads.
        for t, a, _, _ in self.tensors:
            made = self._traced(a)
            if t._data is a:
                t._data = made
        for where, key, before, now in self._kept:
            if key in where and where[key] is before:
                where[key] = now
        self.start = next_seq()

    def _traced(self, a: np.ndarray) -> Traced:
        found = self._by_id.get(id(a))
        if found is None:
            found = self._by_id[id(a)] = self.tape.lift(a)
        return found

    def _open(self, fields: dict[str, Any]) -> None:
        """The arrays of an optimizer, a clock or a loss scale."""
        for key, value in fields.items():
            if key == "state" and type(value) is dict:
                for i, arrays in value.items():
                    if type(arrays) is tuple:
                        lifted = tuple(
                            [self._traced(a) if type(a) is np.ndarray else a for a in arrays]
                        )
                        self._kept.append((value, i, arrays, lifted))
            elif key == "groups" and type(value) is list:
                for group in value:
                    self._open(group)
            elif type(value) is np.ndarray:
                self._kept.append((fields, key, value, self._traced(value)))

    def restore(self) -> None:
        """All as it is after an eager step."""
        for t, a, _, _ in self.tensors:
            now = t._data
            if type(now) is Traced:
                before = a if now is self._by_id.get(id(a)) else now.value
                if t._data is now:
                    t._data = before
        for where, key, before, now in self._kept:
            if key not in where:
                continue
            found = where[key]
            back = before if found is now else plain(found)
            if where[key] is found:
                where[key] = back
            if found is not now and (self.tape.alone or self.tape.knows(before)):
                self.tape.refuse("it replaces an array of the optimizer: write into it instead")
        self._by_id.clear()
        self._kept.clear()


def unwrap(kept: list[Traced]) -> None:
    """Put real arrays where traced ones are left, in tensors, nodes, lists and dicts."""
    for made in kept:
        for holder in gc.get_referrers(made):
            if isinstance(holder, Tensor):
                holder._data = made.value
            elif isinstance(holder, (dict, list)) and holder is not kept:
                pairs = holder.items() if isinstance(holder, dict) else enumerate(holder)
                for key in [key for key, value in pairs if value is made]:
                    holder[key] = made.value
            elif isinstance(holder, tuple):
                for node in gc.get_referrers(holder):
                    if isinstance(node, Node) and node.saved is holder:
                        node.saved = plain(holder)


@contextmanager
def noted(tape: Tape) -> Iterator[None]:
    """Within the block what this thread computes goes to the tape."""
    with watched(tape.watcher):
        switches.each_time = tape.effects
        try:
            yield
        finally:
            switches.each_time = None
