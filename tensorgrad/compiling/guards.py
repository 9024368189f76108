"""What the Python of a step reads by name: globals, closures, attributes, containers. A replay does
not run that Python, so it is good only while all of that is as it was at the capture."""

from __future__ import annotations

import dis
import functools
import random
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter, eq, getitem, is_
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from ..core import Op, Tensor
from ..randomness import current

PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype)
_LARGE = 1000  # entries of a container that are looked at
_MOST = 20_000  # values that are looked at in all
_BYTES = 1 << 16  # of a raw array that is compared with a copy in each call
_cell = attrgetter("cell_contents")


@functools.cache
def _foreign(module: str) -> bool:
    """Whether a module is Python's, of a package that is installed, or ours: it does not change."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top in ("tensorgrad", "numpy"):
        return top != "__main__"
    return "site-packages" in (getattr(sys.modules.get(top), "__file__", None) or "")


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """The globals and the attributes that a function reads, and those defined within it."""
    names, attributes = set[str](), set[str]()
    for i in dis.get_instructions(code):
        if i.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            names.add(i.argval)
        elif i.opname in ("LOAD_ATTR", "LOAD_METHOD"):
            attributes.add(i.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            more = _names(inner)
            names, attributes = names | more[0], attributes | more[1]
    return names, attributes


class Reads:
    """All that a step can reach by name, and what it was."""

    def __init__(self, *roots: Any):
        self.live: list[Any] = []  # containers
        self.copies: list[Any] = []
        self.at: list[tuple[Any, Any]] = []  # a dict and its key
        self.cells: list[CellType] = []
        self.values: list[Any] = []  # of these
        self.contents: list[Any] = []  # of the cells
        self.arrays: list[tuple[str, np.ndarray, np.ndarray]] = []
        self.generators: list[tuple[str, Any, Any]] = []
        self._seen: dict[int, Any] = {}
        todo = deque([("the step", root, True) for root in roots])
        while todo and len(self._seen) < _MOST:
            what, value, own = todo.popleft()
            todo.extend(self._visit(what, value, own))
        self._generator("random", random.getstate)
        self._generator("np.random", lambda: np.random.get_state(legacy=False))  # noqa: NPY002
        host = current().host.bit_generator
        self._generator(
            "tensorgrad's generator on the host (tg.randn, tg.rand)", lambda: host.state
        )
        self._split: tuple[list, list] = ([d for d, _ in self.at], [k for _, k in self.at])

    def _generator(self, what: str, state: Any) -> None:
        self.generators.append((what, state, repr(state())))

    def _visit(self, what: str, value: Any, own: bool) -> Iterator[tuple[str, Any, bool]]:
        """Note a value; what can be reached from it. `own`: by the user's names, and not ours."""
        if isinstance(value, (*PLAIN, Tensor, Op)) or id(value) in self._seen:
            return
        kind = type(value)
        self._seen[id(value)] = value
        if kind is np.ndarray:
            if own:
                self.arrays.append((what, value, value.copy()))
        elif isinstance(value, FunctionType):
            yield from self._function(what, value)
        elif isinstance(value, MethodType):
            yield what, value.__self__, own
            yield what, value.__func__, own
        elif isinstance(value, functools.partial):
            yield from ((what, v, own) for v in (value.func, value.args, value.keywords))
        elif isinstance(value, (dict, list, set, deque, tuple)) and kind.__module__ in _BUILT:
            yield from self._container(what, value, own)
        elif isinstance(value, np.random.Generator):
            self._generator(what, lambda: value.bit_generator.state)
        elif isinstance(value, np.random.RandomState):
            self._generator(what, lambda: value.get_state(legacy=False))
        elif isinstance(value, random.Random):
            self._generator(what, value.getstate)
        elif isinstance(value, type):
            if not _foreign(value.__module__):
                self.live.append(vars(value))
                self.copies.append(dict(vars(value)))
                yield from ((f"{what}.{k}", v, own) for k, v in vars(value).items())
        elif hasattr(value, "__dict__") and not isinstance(value, ModuleType):
            ours = kind.__module__.startswith("tensorgrad.")
            if ours or not _foreign(kind.__module__):
                yield from ((f"{what}{k}", v, not ours) for k, v, _ in self._fields(value))
                yield from ((type(c).__name__, c, own) for c in kind.__mro__)

    def _fields(self, value: Any) -> Iterator[tuple[str, Any, bool]]:
        fields, skipped = vars(value), getattr(type(value), "unguarded", ())
        if not skipped:
            self.live.append(fields)
            self.copies.append(dict(fields))
        for key, part in fields.items():
            if key in skipped:
                continue
            if skipped:
                self._note(fields, key)
            else:
                self._single(fields, key, part)
            yield f".{key}", part, True

    def _container(self, what: str, value: Any, own: bool) -> Iterator[tuple[str, Any, bool]]:
        if len(value) > _LARGE:
            return
        if not isinstance(value, tuple):
            self.live.append(value)
            self.copies.append(value.copy())
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in pairs:
            if not isinstance(value, (set, tuple)):
                self._single(value, key, part)
            yield f"{what}[{key!r}]", part, own

    def _single(self, where: Any, key: Any, part: Any) -> None:
        """Tensors of one number would be compared by it, and are to be the same object."""
        if isinstance(part, (Tensor, np.ndarray)) and part.size == 1:
            self._note(where, key)

    def _function(self, what: str, f: FunctionType) -> Iterator[tuple[str, Any, bool]]:
        if _foreign(f.__module__ or ""):
            for value in f.__closure__ or () if hasattr(f, "__wrapped__") else ():
                yield what, value.cell_contents, True
            return
        names, attributes = _names(f.__code__)
        for name in names:
            if name in f.__globals__:
                value = f.__globals__[name]
                if isinstance(value, ModuleType):
                    if not _foreign(value.__name__):
                        for key in attributes & vars(value).keys():
                            self._note(vars(value), key)
                            yield f"{name}.{key}", vars(value)[key], True
                    continue
                self._note(f.__globals__, name)
                yield name, value, True
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # not yet there
                continue
            self.cells.append(cell)
            self.contents.append(value)
            yield name, value, True
        yield from ((what, v, True) for v in (f.__defaults__, f.__kwdefaults__, f.__dict__))

    def _note(self, where: Any, key: Any) -> None:
        self.at.append((where, key))
        self.values.append(where[key])

    def hold(self) -> bool:
        """Whether all is as it was; in as few steps of Python as can be."""
        try:
            return (
                all(map(eq, self.live, self.copies))
                and all(map(is_, map(getitem, *self._split), self.values))
                and all(map(is_, map(_cell, self.cells), self.contents))
                and all(a.tobytes() == b.tobytes() for _, a, b in self.arrays)
            ) or self._hold_by_value()
        except Exception:  # a key is gone, or arrays were compared
            return False

    def _hold_by_value(self) -> bool:
        """The same, where equal numbers may be other objects."""
        now = [d[k] for d, k in zip(*self._split, strict=True)]
        cells = [_cell(c) for c in self.cells]
        old = [*self.values, *self.contents]
        if not all(_alike(a, b) for a, b in zip([*now, *cells], old, strict=True)):
            return False
        self.values, self.contents = now, cells
        return all(map(eq, self.live, self.copies)) and all(
            a.tobytes() == b.tobytes() for _, a, b in self.arrays
        )

    def changed(self) -> str | None:
        """What the step itself has changed, or None."""
        for what, state, before in self.generators:
            if repr(state()) != before:
                return f"it draws from {what}, and a replay would not: draw outside, and pass it in"
        for live, copy in zip(self.live, self.copies, strict=True):
            if (key := _differs(live, copy)) is not None:
                return f"it changes {key} of a {type(live).__name__}, and a replay would not"
        for (where, key), before in zip(self.at, self.values, strict=True):
            if not _alike(_got(where, key), before):
                return f"it changes {key}, and a replay would not"
        for cell, before in zip(self.cells, self.contents, strict=True):
            if not _alike(_cell(cell), before):
                return "it changes a variable of its closure, and a replay would not"
        for _, a, _ in self.arrays:
            if (why := self.written(a)) is not None:
                return why
        return None

    def written(self, a: np.ndarray) -> str | None:
        """Whether NumPy alone wrote to an array of the user's since it was last seen."""
        for what, array, copy in self.arrays:
            if array is a and not np.array_equal(a, copy, equal_nan=a.dtype.kind in "fc"):
                return f"NumPy writes to the array {what}: make it a tensor, tg.tensor(...)"
        return None

    def wrote(self, a: Any) -> None:
        """An array was updated by a call that is noted."""
        for i, (what, array, _) in enumerate(self.arrays):
            if array is a:
                self.arrays[i] = (what, array, a.copy())

    @contextmanager
    def owned_by_step(self) -> Iterator[None]:
        """What the block changes is done again by each replay, and so is no reason for doubt."""
        before = [_copied(live) for live in self.live]
        yield
        for i, (live, old) in enumerate(zip(self.live, before, strict=True)):
            if _differs(live, old) is None:
                continue
            if isinstance(live, dict) and not isinstance(self.copies[i], _Any):
                for key in [k for k in live if _same_at(live, old, k) and k in self.copies[i]]:
                    self.at.append((live, key))
                    self.values.append(self.copies[i][key])
            self.copies[i] = _Any()
        self._split = ([d for d, _ in self.at], [k for _, k in self.at])

    def settled(self, used: Any) -> str | None:
        """Ready for many calls of `hold`: raw arrays that the plan reads itself need no guard. Why
        that cannot be, or None."""
        arrays = []
        for what, a, _ in self.arrays:
            if id(a) not in used:
                if a.nbytes > _BYTES:
                    return (
                        f"it names the NumPy array {what}, too large to compare in each call: make "
                        "it a tensor, or pass it in"
                    )
                arrays.append((what, a, a.copy()))
        self.arrays = arrays
        pairs = [(a, b) for a, b in zip(self.live, self.copies, strict=True)
                 if not isinstance(b, _Any)]  # fmt: skip
        self.live, self.copies = [a for a, _ in pairs], [b for _, b in pairs]
        self._seen.clear()
        self.generators.clear()
        return None


_BUILT = ("builtins", "collections", "tensorgrad.kernels.steps")


class _Any:
    """Equal to whatever a container has become."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


def _got(where: Any, key: Any) -> Any:
    try:
        return where[key]
    except LookupError:
        return _Any


def _copied(live: Any) -> Any:
    return dict(live) if not hasattr(live, "copy") else live.copy()


def _alike(a: Any, b: Any) -> bool:
    return a is b or (isinstance(a, PLAIN) and type(a) is type(b) and a == b)


def _same_at(live: Any, old: Any, key: Any) -> bool:
    return key in live and key in old and _alike(live[key], old[key])


def _differs(live: Any, copy: Any) -> str | None:
    """The key in which a container differs from its copy."""
    if isinstance(copy, _Any):
        return None
    if hasattr(live, "keys"):
        for key in {**copy, **live}:
            if not _same_at(live, copy, key):
                return str(key)
        return None
    if isinstance(live, set):
        return None if live == copy else "an element"
    if len(live) != len(copy) or not all(map(_alike, live, copy)):
        return "an element"
    return None
