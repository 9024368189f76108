"""From the formula of one number to programs: the formula is run on symbols, which note what is
computed, and the notes are written out as array language, as a loop for Numba, and as CUDA C.

What depends on no array (`uniform`) is computed once a call, in float64: `Program.numbers` in
Python, `numbers` in CUDA C, where learning rate and step are read from the device's memory.
"""

from __future__ import annotations

import linecache
import math
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

# An operation in Python (of arrays, with `xp`), of two numbers in a compiled loop, and in CUDA C.
_INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "greater": ">", "less": "<"}
_PYTHON = {
    **{name: f"{{}} {sign} {{}}" for name, sign in _INFIX.items()},
    "power": "{} ** {}",
    "negative": "-{}",
    "absolute": "abs({})",
    "sqrt": "xp.sqrt({})",
    "maximum": "xp.maximum({}, {})",
    "where": "xp.where({}, {}, {})",
}
_LOOP = {
    **_PYTHON,
    "sqrt": "sqrt({})",
    "maximum": "{0} if {0} > {1} or {0} != {0} else {1}",  # as NumPy's, NaN of NaN
    "where": "{1} if {0} else {2}",
}
_C = {
    **_PYTHON,
    "power": "pow({}, {})",
    "absolute": "m::abs({})",
    "sqrt": "m::sqrt({})",
    "maximum": "{0} > {1} || {0} != {0} ? {0} : {1}",
    "where": "{0} ? {1} : {2}",
}
_UFUNCS = ("add", "subtract", "multiply", "divide")  # which write where they are told


class Symbol:
    """A number that is not known yet: an input by name, or an operation and what it is of."""

    __slots__ = ("args", "op", "uniform")

    def __init__(self, op: str, args: tuple, uniform: bool):
        self.op, self.args, self.uniform = op, args, uniform

    def __bool__(self) -> bool:
        raise TypeError("a formula asks its options with `if`, and numbers with `where`")

    def __neg__(self):
        return _note("negative", self)

    def __abs__(self):
        return _note("absolute", self)


class Option(Symbol):
    """A number of which it is known whether it is 0; `asked` notes those that were."""

    __slots__ = ("asked", "there")

    def __init__(self, name: str, there: bool, asked: set[str]):
        super().__init__("input", (name,), True)
        self.there, self.asked = there, asked

    def __bool__(self) -> bool:
        if self.there:
            self.asked.update(self.args)
        return self.there


def _operators() -> None:
    names = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide"}
    for short, name in {**names, "pow": "power"}.items():
        setattr(Symbol, f"__{short}__", lambda a, b, name=name: _note(name, a, b))
        setattr(Symbol, f"__r{short}__", lambda a, b, name=name: _note(name, b, a))
    Symbol.__gt__ = lambda a, b: _note("greater", a, b)  # type: ignore[attr-defined]
    Symbol.__lt__ = lambda a, b: _note("less", a, b)  # type: ignore[attr-defined]


_operators()


def _note(op: str, *args: Any) -> Symbol:
    return Symbol(op, args, all(not isinstance(a, Symbol) or a.uniform for a in args))


def sqrt(x: Any) -> Any:
    """The square root."""
    return _note("sqrt", x)


def maximum(a: Any, b: Any) -> Any:
    """The larger of the two."""
    return _note("maximum", a, b)


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition holds, else b."""
    return _note("where", condition, a, b)


def _host_where(condition: bool, a: float, b: float) -> float:
    return a if condition else b


# What Python's numbers are computed with, in the place of an array module.
HOST = SimpleNamespace(sqrt=math.sqrt, maximum=max, where=_host_where)


class Program:
    """What a formula computes. `arrays` and `scalars` are the names of its inputs, `results` what
    becomes of arrays, by name, in symbols."""

    def __init__(self, name: str, arrays: list[str], scalars: list[str], results: dict[str, Any]):
        self.name, self.arrays, self.scalars = name, arrays, scalars
        self.known: dict[Any, str] = {}  # a number or an operation -> the name of its value
        self.uniform: list[tuple[str, Symbol]] = []  # what is computed once, in order
        self.body: list[tuple[str, Symbol]] = []  # ... for each element
        self.used: set[str] = set()  # scalars
        self.passed: dict[str, str] = {}  # value that the elements need -> its name there
        self.results = {name: self._value(value) for name, value in results.items()}

    def _value(self, x: Any, inside: bool = True) -> str:
        """The name of a value, by lines written for it; `inside`, one that elements can use."""
        if not isinstance(x, Symbol):
            return self._pass(repr(float(x))) if inside else repr(float(x))
        if x.op == "input":
            (name,) = x.args
            self.used.add(name)
            return self._pass(name) if inside and x.uniform else name
        args = tuple([self._value(a, not x.uniform) for a in x.args])
        lines, key = self.uniform if x.uniform else self.body, (x.op, args, x.uniform)
        if key not in self.known:
            self.known[key] = f"{'u' if x.uniform else 'e'}{len(lines)}"
            lines.append((self.known[key], Symbol(x.op, args, x.uniform)))
        name = self.known[key]
        return self._pass(name) if inside and x.uniform else name

    def _pass(self, name: str) -> str:
        return self.passed.setdefault(name, f"n{len(self.passed)}")

    def _python(self, text: str, function: str, **scope: Any) -> Callable:
        file = f"<{function} of {self.name}>"
        linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
        exec(compile(text, file, "exec"), scope)
        made: Callable = scope[function]
        made.__module__ = __name__
        return made

    def numbers(self) -> Callable:
        """numbers(xp, *scalars): a tuple of what the elements need."""
        lines = [f"    {name} = {_PYTHON[x.op].format(*x.args)}" for name, x in self.uniform]
        head = f"def numbers(xp, {', '.join(self.scalars)}):"
        last = f"    return ({', '.join(self.passed)},)"
        return self._python("\n".join([head, *lines, last]), "numbers")

    def reference(self) -> Callable:
        """reference(xp, numbers, *arrays): writes the results into the arrays."""
        lines = [f"def reference(xp, numbers, {', '.join(self.arrays)}):", self._unpacked()]
        target = dict(self.results)  # array -> the value that it becomes
        first = {value: home for home, value in reversed(target.items())}
        read = [set(x.args) for _, x in self.body]
        for i, (name, x) in enumerate(self.body):
            home = first.get(name)
            later = set().union(*read[i + 1 :])
            if home and x.op in _UFUNCS and home not in later.union(self.results.values()):
                a, b = x.args
                del target[home]
                if b == home and x.op in ("add", "multiply"):
                    a, b = b, a
                if a == home:  # an operator takes less time
                    lines.append(f"    {home} {_INFIX[x.op]}= {b}")
                    if name in later.union(target.values()):
                        lines.append(f"    {name} = {home}")
                else:
                    lines.append(f"    {name} = xp.{x.op}({', '.join(x.args)}, {home})")
            else:
                lines.append(f"    {name} = {_PYTHON[x.op].format(*x.args)}")
        lines += [f"    {home}[...] = {value}" for home, value in target.items()]
        return self._python("\n".join(lines), "reference")

    def loop(self, rows: bool = False, **scope: Any) -> Callable:
        """loop(*arrays, numbers, share), for Numba, or of `rows` of tables loop(g, ids, *others,
        numbers, share), where g holds their gradients; `scope` holds `prange` and `sqrt`."""
        own = {a: f"{a}_i" for a in self.arrays}
        if rows:
            others = [a for a in self.arrays if a != "g"]
            head, at, pad = ["g", "ids", *others], "{}_row[j]", " " * 12
            each = ["    for i in prange(ids.size, share):"]
            each += [f"        {a}_row = {a}[ids[i]]" for a in others]
            each += ["        g_row = g[i]", "        for j in range(g_row.size):"]
        else:
            head, at, pad = self.arrays, "{}[i]", " " * 8
            each = [f"    for i in prange({head[0]}.size, share):"]
        lines = [f"def loop({', '.join(head)}, numbers, share):", self._unpacked(), *each]
        lines += [f"{pad}{own[a]} = {at.format(a)}" for a in self.arrays]
        for name, x in self.body:
            args = [own.get(a, a) for a in x.args]
            lines.append(f"{pad}{name} = {_LOOP[x.op].format(*args)}")
        for home, value in self.results.items():
            lines.append(f"{pad}{at.format(home)} = {own.get(value, value)}")
        made = self._python("\n".join(lines), "loop", **scope)
        made.__qualname__ = self.name + "_rows" * rows
        return made

    def _unpacked(self) -> str:
        return f"    {', '.join(self.passed.values())}, = numbers"

    def cuda(self, clock: int) -> str:
        """A struct of CUDA C: `numbers` of the scalars, of which the first `clock` are in the
        device's memory, and `of`, what becomes of an element of each array."""
        own = {a: f"at[{i}]" for i, a in enumerate(self.arrays)}
        homes = [f"hyper[{i}]" for i in range(clock)]
        homes += [f"options[{i}]" for i in range(len(self.scalars) - clock)]
        pairs = zip(self.scalars, homes, strict=True)
        said = "".join(
            f"    const double {scalar} = {home};\n"
            for scalar, home in pairs
            if scalar in self.used
        )
        said += _lines(self.uniform, "double", {})
        shared = "".join(f"    to[{i}] = A({v});\n" for i, v in enumerate(self.passed))
        taken = "".join(
            f"    const A {n} = numbers[{i}];\n" for i, n in enumerate(self.passed.values())
        )
        body = _lines(self.body, "A", own)
        stored = "".join(f"    {own[h]} = {own.get(v, v)};\n" for h, v in self.results.items())
        return f"""
struct {self.name} {{
  static constexpr int LISTS = {len(self.arrays)}, NUMBERS = {len(self.passed)}, CLOCK = {clock};
  template <class A> static __device__ __forceinline__ void
  numbers(const double* hyper, const double* options, A* to) {{
{said}{shared}  }}
  template <class A>
  static __device__ __forceinline__ void of(A (&at)[LISTS], const A (&numbers)[NUMBERS]) {{
{taken}{body}{stored}  }}
}};
"""


def _lines(lines: Iterable[tuple[str, Symbol]], kind: str, own: dict[str, str]) -> str:
    """Each operation as a line of C."""
    text = ""
    for name, x in lines:
        of = "bool" if x.op in ("greater", "less") else kind
        text += f"    const {of} {name} = {_C[x.op].format(*[own.get(a, a) for a in x.args])};\n"
    return text
