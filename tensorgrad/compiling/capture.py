"""One run of a step under a tape, what it left behind, and whether two runs were the same."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import memory
from ..core import Leaf, Tensor
from ..trees import leaves, refill
from .guards import PLAIN, Reads
from .tape import Call, Lifted, Ref, Tape, lock, noted, unwrap
from .traced import Traced

KEPT = "a tensor that the step computes is kept outside of it: return it"
GRAPH = (
    "it returns a tensor whose graph is still to be differentiated: have backward() in the step "
    "that is compiled, or return t.detach()"
)


class Captured:
    """A tape and what its step did to the world: `results` by leaf, gradients, new data, stamps."""

    def __init__(self, step: Callable, args: tuple, named: dict[str, Any], given: list[Tensor]):
        """`given` are the tensors among the arguments, in order."""
        others = [a for a in leaves((args, named)) if not isinstance(a, Tensor)]
        with lock, memory.thawed():
            self.tape = tape = Tape(Reads(step, *others))
            lifted = Lifted(tape)
            mine = [self._input(t) for t in given]
            self.inputs = [t._data.index for t in mine]
            try:
                own = iter(mine)
                tree = [next(own) if isinstance(a, Tensor) else a for a in leaves((args, named))]
                inner, options = refill((args, named), iter(tree))
                with noted(tape):
                    result = step(*inner, **options)
                del inner, options, tree, own
                self._outcome(result, lifted, mine, given)
                self.value = self._plain(
                    result, {id(m): t for m, t in zip(mine, given, strict=True)}
                )
            except BaseException:
                tape.open = False
                lifted.restore()
                unwrap(tape.kept())
                raise
            lifted.restore()
            tape.open = False
            self._hand_over(mine, given)
            del result, mine, lifted
            self._check()

    def _input(self, t: Tensor) -> Tensor:
        a = t._data.value.view() if type(t._data) is Traced else t._data.view()
        place = self.tape.places[id(a)] = self.tape.add(a)
        return Tensor(self.tape._traced(a, place))

    def _outcome(self, result: Any, lifted: Lifted, mine: list, given: list) -> None:
        tape = self.tape
        known = {id(t): t for t, *_ in lifted.tensors}
        self.owners: dict[int, Tensor] = {}  # of arrays from outside
        self.grads: list[tuple[Tensor, int | None]] = []  # as the step leaves them
        self.running: list[tuple[Tensor, int]] = []  # gradients that it goes on from
        self.fresh: list[Tensor] = []  # whose gradient was None, and is not
        self.data: list[tuple[Tensor, int]] = []  # tensors that get another array
        self.stamped: list[Leaf] = []
        places = {id(t): i for t, i in zip(mine, self.inputs, strict=True)}
        self.results = [self._leaf(part, known, places) for part in leaves(result)]
        self.tracked = [t for t in leaves(result) if isinstance(t, Tensor) and recorded(t)]
        self.form = refill(result, iter([...] * len(self.results)))
        for t, a, node, grad in sorted(lifted.tensors, key=lambda entry: id(entry[0])):
            now, after = t._data, t._grad
            own = tape.alone or tape.made(now) or tape.knows(a)
            if not (own or (after is not grad and after is not None and tape.made(after._data))):
                continue  # what was done to it, another thread did
            if tape.knows(a):
                self.owners[tape.places[id(a)]] = t
            if t.node is not node:
                tape.refuse("it switches requires_grad of a tensor")
            if type(now) is not Traced or now.value is not a:
                self.data.append((t, tape.place_of(now)))
            if type(node) is Leaf and node.written > lifted.start:
                self.stamped.append(node)
            if grad is not None and (at := tape.places.get(id(_value(grad._data)))) is not None:
                self.running.append((t, at))
            if after is not grad:
                if after is not None and after.node is not None:
                    tape.refuse("it leaves gradients that are recorded (create_graph) in .grad")
                self.grads.append((t, None if after is None else tape.place_of(after._data)))
                if grad is None and after is not None:
                    self.fresh.append(t)
        if (
            self.tracked
            and not self.stamped
            and not self.grads
            and not any(
                kind == "tensor" and t.node is None and t.dtype.kind in "fc"
                for t, (kind, _) in zip(leaves(result), self.results, strict=True)
            )
        ):  # nothing was differentiated: a model by itself
            tape.refuse(GRAPH)
        self.tracked.clear()
        for t, _ in self.grads:
            if t._grad is not None and type(t._grad._data) is Traced:
                t._grad._data = t._grad._data.value

    def _leaf(self, part: Any, known: dict, places: dict) -> tuple[str, Any]:
        """How a replay makes this leaf of the result."""
        if isinstance(part, Tensor):
            if id(part) in known:
                return "same", part
            if id(part) in places:
                return "given", self.inputs.index(places[id(part)])
            return "tensor", self.tape.place_of(part._data)
        if type(part) in (Traced, np.ndarray):
            return "array", self.tape.place_of(part)
        if not isinstance(part, PLAIN):
            self.tape.refuse(f"it returns a {type(part).__name__}")
        return "plain", part

    def _plain(self, result: Any, given: dict[int, Tensor]) -> Any:
        """The result for the caller: tensors off the tape, unless it has to go on with a graph."""
        graph = self.tape.refused.endswith(GRAPH)
        made = []
        for part, (kind, _) in zip(leaves(result), self.results, strict=True):
            if kind == "given":
                part = given[id(part)]
            elif kind == "tensor" and not graph:
                part = Tensor(_value(part._data))
            elif kind == "array":
                part = _value(part)
            made.append(part)
        return refill(result, iter(made))

    def _hand_over(self, mine: list[Tensor], given: list[Tensor]) -> None:
        """What the step did to an argument, it did to a stand-in."""
        for t, own in zip(given, mine, strict=True):
            if own.node is not None or own._grad is not None or own._data.index not in self.inputs:
                self.tape.open = True
                self.tape.refuse("it changes the gradient or the data of an argument")
                self.tape.open = False
                if own._data.index not in self.inputs:
                    t._data = _value(own._data)
                t.requires_grad = t.requires_grad or own.node is not None
                t._grad = own._grad

    def _check(self) -> None:
        tape = self.tape
        tape.effects.tape = None  # type: ignore[assignment]
        if tape.kept():
            gc.collect()
            kept = tape.kept()
            unwrap(kept)
            if any(tape.alone or tape.made(a) for a in kept):  # others hold arrays from outside
                tape.refused = tape.refused or KEPT
        tape.alive.clear()
        why = tape.reads.changed()
        tape.refused = tape.refused or why or ""


def recorded(t: Tensor) -> bool:
    """Whether a result can still be differentiated."""
    node = t.node
    if node is None or type(node) is Leaf:
        return False
    return (node if node.op is not None else node.parents[0]).saved is not None


def _value(a: Any) -> Any:
    return a.value if type(a) is Traced else a


def difference(a: Captured, b: Captured) -> str | None:
    """Why two runs of a step, on two batches, are not the same program; None where they are."""
    for old, new in zip(a.tape.calls, b.tape.calls, strict=False):
        place = f"{new.line}: " if new.line else ""
        if old.name != new.name or old.op is not new.op:
            return f"{place}{new.name} was {old.name} in the step before"
        if old.op is None and old.name == "effect" and old.f != new.f:
            return "other schedules than in the step before"
        if (why := _parts_differ((old.args, old.options), (new.args, new.options))) is not None:
            return f"{place}{new.name} {why}"
        if old.outs != new.outs or old.writes != new.writes:
            return f"{place}{new.name} gives other results than in the step before"
    if len(a.tape.calls) != len(b.tape.calls):
        return (
            f"it makes {len(b.tape.calls)} calls, and made {len(a.tape.calls)} in the step before"
        )
    if len(a.tape.values) != len(b.tape.values):
        return "it uses more or fewer arrays than in the step before"
    for i, (x, y) in enumerate(zip(a.tape.values, b.tape.values, strict=True)):
        if x.shape != y.shape or x.dtype != y.dtype:
            return f"shapes differ between steps, {x.shape} and {y.shape}"
        if (i in a.tape.externals) != (i in b.tape.externals):
            return "an array is from outside, and was computed in the step before"
    for at, array in b.tape.externals.items():
        first = a.tape.externals[at]
        if first is array or a.owners.get(at) is b.owners.get(at, 0):
            continue
        if {place for _, place in a.running} & {at} and {p for _, p in b.running} & {at}:
            continue
        if at in b.owners or first.tobytes() != array.tobytes():
            line = next((c.line for c in b.tape.calls if at in c.inputs()), "")
            was = f"an array of shape {array.shape} is another one than in the step before"
            return f"{line}: {was}: pass it in"
    for what in ("inputs", "results", "grads", "running", "fresh", "data", "stamped"):
        if not _alike(getattr(a, what), getattr(b, what)):
            return f"the {what} of two steps differ"
    return None


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(map(_alike, a, b))
    return a is b or (isinstance(a, PLAIN) and type(a) is type(b) and bool(a == b or a != a))


def _parts_differ(old: Any, new: Any) -> str | None:
    """What differs between the arguments of two calls."""
    if type(old) is not type(new):
        return f"took {_said(old)}, then {_said(new)}"
    if isinstance(old, (list, tuple)) and len(old) == len(new):
        for x, y in zip(old, new, strict=True):
            if (why := _parts_differ(x, y)) is not None:
                return why
        return None
    if isinstance(old, dict) and old.keys() == new.keys():
        return _parts_differ(list(old.values()), list(new.values()))
    if type(old) is slice:
        return _parts_differ((old.start, old.stop, old.step), (new.start, new.stop, new.step))
    if type(old) is Ref:
        return None if old == new else "took another array than in the step before"
    if old is new or (isinstance(old, PLAIN) and (old == new or (old != old and new != new))):
        return None
    if type(old) is type(new) and not isinstance(old, (PLAIN, list, tuple, dict)) and old == new:
        return None
    return f"took {_said(old)}, then {_said(new)}: pass it in as a tensor, or keep it in one"


def _said(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else type(value).__name__


def effects(captured: Captured) -> list[Call]:
    """What the host does in each step."""
    return [c for c in captured.tape.calls if c.name == "effect"]
