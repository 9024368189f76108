"""Loops of many formulas, written as text of LLVM IR and compiled by llvmlite, without Numba's
front end, which would take a hundred times as long.

Values are vectors of `WIDTH` numbers, which LLVM takes apart for the processor at hand; what is
left at the end of a range is one shorter vector. Nothing is contracted or reordered, so that
arithmetic has the bits of NumPy's; exp, expm1 and tanh are the polynomials of scalars.py, sines,
logarithms and powers those of the C library.
"""

from __future__ import annotations

import ast
import ctypes
import functools
import math
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from .jit import numba
from .scalars import _LN2_32, _LN2_64, _LOG2_E

WIDTH = 16
LONG = 500  # lines of a function from which on it takes LLVM too long to choose registers well
_lock = threading.Lock()
_COMPARE: dict[type, str] = {
    ast.Lt: "olt",
    ast.LtE: "ole",
    ast.Gt: "ogt",
    ast.GtE: "oge",
    ast.Eq: "oeq",
    ast.NotEq: "une",
}
_INFIX = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_INTRINSIC = {name: name for name in ("maximum", "minimum", "sqrt", "floor")} | {"abs": "fabs"}
LIBRARY = {name: name for name in ("sin", "cos", "log", "log1p")} | {"power": "pow"}
ROUNDED = ("exp", "expm1", "tanh", *LIBRARY)  # whose last bit may not be NumPy's


class Float(NamedTuple):
    """A floating type: its names, the integer of its size, and the constants of its exponential."""

    name: str
    short: str
    integer: str
    mantissa: int
    bias: int
    bytes: int
    least: float
    most: float
    terms: int
    ln2: tuple[Any, Any]


FLOATS = {
    "float32": Float("float", "f32", "i32", 23, 127, 4, -88.0, 88.8, 7, _LN2_32),
    "float64": Float("double", "f64", "i64", 52, 1023, 8, -709.2, 710.0, 13, _LN2_64),
}


@functools.cache
def parsed(formula: str) -> ast.expr:
    """The tree of a formula of one element."""
    return ast.parse(formula, mode="eval").body


@functools.cache
def calls_of(formula: str) -> frozenset[str] | None:
    """The functions that a formula calls; None where one of them, or its syntax, is not here."""
    known = {*_INTRINSIC, *ROUNDED, "where"}
    called = set()
    for node in ast.walk(parsed(formula)):
        if isinstance(node, ast.Call):
            called.add(node.func.id)  # type: ignore[attr-defined]
        if isinstance(node, (ast.BoolOp, ast.IfExp, ast.Attribute)):
            return None
        if isinstance(node, ast.BinOp) and type(node.op) not in _INFIX:
            return None
        if isinstance(node, ast.UnaryOp) and not isinstance(node.op, (ast.USub, ast.UAdd)):
            return None
    return frozenset(called) if called <= known else None


class Step(NamedTuple):
    """One formula: its inputs by name, numbers or places with how they go along with the loop, and
    the place of its result: "full"; "turned", of a matrix column by column; "row" for the last axis
    alone; "column" without it; "one"."""

    formula: str
    inputs: dict[str, Any]
    place: int


class Operand(NamedTuple):
    """Where an array is in the table of addresses."""

    slot: int
    bools: bool


class Text:
    """A function that is being written."""

    def __init__(self, kind: Float):
        self.kind, self.lines, self.count = kind, list[str](), 0
        self.declared: set[str] = set()
        self.slots: dict[int, str] = {}  # of the table -> the pointers that it is called with

    def new(self, right: str) -> str:
        self.count += 1
        self.lines.append(f"  %v{self.count} = {right}")
        return f"%v{self.count}"

    def number(self, x: float, w: int) -> str:
        value = float(np.float32(x)) if self.kind.short == "f32" else float(x)
        bits = struct.unpack("<Q", struct.pack("<d", value))[0]
        return "<" + ", ".join([f"{self.kind.name} 0x{bits:016X}"] * w) + ">"

    def loop(
        self,
        low: Any,
        high: Any,
        by: int,
        inner: Callable[..., Any],
        carried: Sequence[tuple[str, str]] = (),
    ) -> list[str]:
        """`inner(i, *values)` for i in range(low, high, by), which returns the values of the next
        pass; of each carried value, its type and the first. Returns the last ones."""
        if isinstance(low, int) and isinstance(high, int) and len(range(low, high, by)) <= 1:
            values = [first for _, first in carried]
            return [*(inner(low, *values) or ())] if low < high else values
        self.count += 1
        n, k = self.count, f"%i{self.count}"
        self.lines += [f"  br label %pre{n}", f"pre{n}:", f"  br label %head{n}", f"head{n}:"]
        place, names = len(self.lines), [f"%c{n}.{j}" for j in range(len(carried))]
        more = self.new(f"icmp slt i64 {k}, {high}")
        self.lines += [f"  br i1 {more}, label %body{n}, label %end{n}", f"body{n}:"]
        then = [*(inner(k, *names) or ())]
        last = next(line[:-1] for line in reversed(self.lines) if line.endswith(":"))
        after = self.new(f"add i64 {k}, {by}")
        self.lines[place:place] = [
            f"  {name} = phi {kind} [ {first}, %pre{n} ], [ {value}, %{last} ]"
            for name, (kind, first), value in zip(
                [k, *names], [("i64", low), *carried], [after, *then], strict=True
            )
        ]
        self.lines += [f"  br label %head{n}", f"end{n}:"]
        return names

    def index(self, op: str, a: Any, b: Any) -> Any:
        """a op b of indices, which are numbers or the names of values."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b if op == "mul" else a + b
        if op == "add" and 0 in (a, b):
            return b if a == 0 else a
        if op == "mul" and 1 in (a, b):
            return b if a == 1 else a
        return self.new(f"{op} i64 {a}, {b}")

    def element(self, p: str, i: Any, t: str) -> str:
        """The address of an element."""
        return self.new(f"getelementptr {t}, ptr {p}, i64 {i}")

    def load(self, p: str, i: Any, w: int) -> str:
        """w numbers from element i on."""
        at = self.element(p, i, self.kind.name)
        return self.new(f"load {self.of(w)}, ptr {at}, align {self.kind.bytes}")

    def address(self, slot: int) -> str:
        """The address of an array: by what it is called here, alike texts are one function."""
        return self.slots.setdefault(slot, f"%p{len(self.slots)}")

    def store(self, v: str, p: str, i: Any, w: int) -> None:
        """Write w numbers from element i on."""
        at = self.element(p, i, self.kind.name)
        self.lines.append(f"  store {self.of(w)} {v}, ptr {at}, align {self.kind.bytes}")

    def gathered(self, p: str, i: Any, by: int, w: int, t: str) -> str:
        """w entries from element i on, each `by` after the one before."""
        v = "poison"
        for y in range(w):
            one = self.new(f"load {t}, ptr {self.element(p, self.index('add', i, y * by), t)}")
            v = self.new(f"insertelement <{w} x {t}> {v}, {t} {one}, i32 {y}")
        return v

    def spread(self, v: str, w: int) -> str:
        """A vector of one number as one of w."""
        mask = f"<{w} x i32> zeroinitializer"
        one = self.of(1)
        return v if w == 1 else self.new(f"shufflevector {one} {v}, {one} poison, {mask}")

    def reduced(self, v: str, w: int, how: str = "fadd") -> str:
        """The sum, or with "fmax" the largest, of a vector."""
        if w == 1:
            return v
        t, f = self.kind.name, f"llvm.vector.reduce.{how}.v{w}{self.kind.short}"
        first = f"{t}, " if how == "fadd" else ""
        self.declared.add(f"declare {t} @{f}({first}{self.of(w)})")
        given = f"{t} 0.0, " if how == "fadd" else ""
        y = self.new(f"call reassoc {t} @{f}({given}{self.of(w)} {v})")
        return self.new(f"insertelement {self.of(1)} poison, {t} {y}, i32 0")

    def function(self, name: str = "") -> str:
        """The whole: void name(its pointers, i64 low, i64 high)."""
        given = "".join([f"ptr {p}, " for p in self.slots.values()])
        head = f"define void @{name}({given}i64 %low, i64 %high) {{\nentry:\n"
        return head + "\n".join(self.lines) + "\n  ret void\n}\n"

    def infix(self, op: str, a: str, b: str, w: int) -> str:
        return self.new(f"{op} {self.of(w)} {a}, {b}")

    def of(self, w: int) -> str:
        return f"<{w} x {self.kind.name}>"

    def call(self, name: str, w: int, *args: str) -> str:
        t, f = self.of(w), f"llvm.{name}.v{w}{self.kind.short}"
        self.declared.add(f"declare {t} @{f}({', '.join([t] * len(args))})")
        return self.new(f"call {t} @{f}({', '.join(f'{t} {a}' for a in args)})")

    def library(self, name: str, w: int, *args: str) -> str:
        """A function of the C library, number by number."""
        t, y = self.kind.name, "poison"
        f = name + ("f" if t == "float" else "")
        self.declared.add(f"declare {t} @{f}({', '.join([t] * len(args))})")
        for i in range(w):
            one = [self.new(f"extractelement {self.of(w)} {a}, i32 {i}") for a in args]
            v = self.new(f"call {t} @{f}({', '.join(f'{t} {a}' for a in one)})")
            y = self.new(f"insertelement {self.of(w)} {y}, {t} {v}, i32 {i}")
        return y

    def select(self, c: str, a: str, b: str, w: int) -> str:
        return self.new(f"select <{w} x i1> {c}, {self.of(w)} {a}, {self.of(w)} {b}")

    def compare(self, how: str, a: str, b: str, w: int) -> str:
        return self.new(f"fcmp {how} {self.of(w)} {a}, {b}")

    def splat(self, value: str, t: str, w: int) -> str:
        a = self.new(f"insertelement <{w} x {t}> poison, {t} {value}, i32 0")
        kind = f"<{w} x {t}>"
        return self.new(f"shufflevector {kind} {a}, {kind} poison, <{w} x i32> zeroinitializer")

    def clamped(self, x: str, low: float, high: float, w: int) -> str:
        for how, edge in (("olt", low), ("ogt", high)):
            most = self.number(edge, w)
            x = self.select(self.compare(how, x, most, w), most, x, w)
        return x

    def parts(self, x: str, w: int) -> tuple[str, str]:
        """s and p with exp(x) = s * (1 + p), as in scalars.py."""
        k, number = self.kind, lambda v: self.number(v, w)
        x = self.clamped(x, k.least, k.most, w)
        n = self.infix("fadd", self.infix("fmul", x, number(_LOG2_E), w), number(0.5), w)
        n, r = self.call("floor", w, n), x
        for part in k.ln2:
            r = self.infix("fsub", r, self.infix("fmul", n, number(float(part)), w), w)
        p = number(0.0)
        for i in range(k.terms, 0, -1):
            p = self.infix("fmul", self.infix("fadd", p, number(1 / math.factorial(i)), w), r, w)
        whole = f"<{w} x {k.integer}>"
        f = f"llvm.fptosi.sat.v{w}{k.integer}.v{w}{k.short}"
        self.declared.add(f"declare {whole} @{f}({self.of(w)})")
        b = self.new(f"call {whole} @{f}({self.of(w)} {n})")
        for op, v in (("add", k.bias), ("shl", k.mantissa)):
            b = self.new(f"{op} {whole} {b}, <{', '.join([f'{k.integer} {v}'] * w)}>")
        return self.new(f"bitcast {whole} {b} to {self.of(w)}"), p

    def exp(self, x: str, w: int) -> str:
        s, p = self.parts(x, w)
        return self.infix("fmul", s, self.infix("fadd", p, self.number(1, w), w), w)

    def expm1(self, x: str, w: int) -> str:
        s, p = self.parts(x, w)
        rest = self.infix("fsub", s, self.number(1, w), w)
        return self.infix("fadd", self.infix("fmul", s, p, w), rest, w)

    def tanh(self, x: str, w: int) -> str:
        e = self.expm1(self.clamped(self.infix("fadd", x, x, w), -40, 40, w), w)
        return self.infix("fdiv", e, self.infix("fadd", e, self.number(2, w), w), w)

    def value(self, node: ast.expr, env: dict[str, str], w: int, known: dict[str, str]) -> str:
        """The value of a formula; equal parts of one are computed once."""
        if isinstance(node, ast.Name):
            return env[node.id]
        if isinstance(node, ast.Constant):
            return self.number(node.value, w)  # type: ignore[arg-type]
        key = ast.dump(node)
        if key not in known:
            known[key] = self._value(node, [*ast.iter_child_nodes(node)], env, w, known)
        return known[key]

    def _value(self, node: Any, parts: list, env: Any, w: int, known: Any) -> str:
        of = lambda part: self.value(part, env, w, known)  # noqa: E731
        if isinstance(node, ast.BinOp):
            return self.infix(_INFIX[type(node.op)], of(node.left), of(node.right), w)
        if isinstance(node, ast.UnaryOp):
            a = of(node.operand)
            return a if isinstance(node.op, ast.UAdd) else self.new(f"fneg {self.of(w)} {a}")
        if isinstance(node, ast.Compare):
            a, b = of(node.left), of(node.comparators[0])
            return self.compare(_COMPARE[type(node.ops[0])], a, b, w)
        name, args = node.func.id, [of(a) for a in node.args]
        if name == "where":
            return self.select(*args, w)
        if name in LIBRARY:
            return self.library(LIBRARY[name], w, *args)
        if name in ROUNDED:
            return getattr(self, name)(*args, w)  # type: ignore[no-any-return]
        return self.call(_INTRINSIC[name], w, *args)


def written(
    steps: list[Step],
    operands: dict[int, Operand],
    stored: dict[int, Operand],
    rows: int,
    columns: int,
    dtype: str,
) -> Text:
    """The steps for rows low to high, each of `columns` numbers; or, of a single row, for the
    numbers from low to high."""
    text = Text(FLOATS[dtype])
    at = {place: text.address(o.slot) for place, o in {**operands, **stored}.items()}
    singles = {}
    for x in {x for step in steps for x in step.inputs.values() if type(x) is tuple}:
        if x[1] == "one":
            t = "i8" if operands[x[0]].bools else text.kind.name
            singles[x[0]] = text.new(f"load {t}, ptr {at[x[0]]}")

    def body(i: str, row: str, w: int) -> None:
        where = text.new(f"add i64 {row}, {i}")
        env: dict[Any, str] = {}

        def take(x: Any) -> str:
            if not isinstance(x, tuple):
                return text.number(float(x), w)
            if x not in env:
                (place, kind), o = x, operands[x[0]]
                t = "i8" if o.bools else text.kind.name
                if kind == "one":
                    v = text.splat(singles[place], t, w)
                elif kind == "column":
                    own = text.element(at[place], text.new(f"udiv i64 {row}, {columns}"), t)
                    v = text.splat(text.new(f"load {t}, ptr {own}"), t, w)
                elif kind == "turned":
                    column = text.new(f"udiv i64 {row}, {columns}")
                    first = text.index("add", text.index("mul", i, rows), column)
                    v = text.gathered(at[place], first, rows, w, t)
                else:
                    p = text.element(at[place], i if kind == "row" else where, t)
                    v = text.new(f"load <{w} x {t}>, ptr {p}, align 1")
                env[x] = text.new(f"icmp ne <{w} x i8> {v}, zeroinitializer") if o.bools else v
            return env[x]

        for step in steps:
            given = {name: take(x) for name, x in step.inputs.items()}
            v = env[step.place, "full"] = text.value(parsed(step.formula), given, w, {})
            if step.place in stored:
                bools = stored[step.place].bools
                t = "i8" if bools else text.kind.name
                if bools:
                    v = text.new(f"zext <{w} x i1> {v} to <{w} x i8>")
                p = text.new(f"getelementptr {t}, ptr {at[step.place]}, i64 {where}")
                text.lines.append(f"  store <{w} x {t}> {v}, ptr {p}, align 1")

    def whole(row: str, low: str, high: str, left: int) -> None:
        text.loop(low, high, WIDTH, lambda i: body(i, row, WIDTH))
        if left:
            body(high, row, left)

    if rows == 1:
        if columns >= WIDTH:
            text.loop("%low", "%high", WIDTH, lambda i: body(i, "0", WIDTH))
        if columns % WIDTH:  # those who take the last part have it
            left = text.new(f"icmp eq i64 %high, {columns // WIDTH * WIDTH}")
            text.lines += [f"  br i1 {left}, label %tail, label %done", "tail:"]
            body(str(columns // WIDTH * WIDTH), "0", columns % WIDTH)
            text.lines += ["  br label %done", "done:"]
    else:
        end = columns // WIDTH * WIDTH

        def one(r: str) -> None:
            row = text.new(f"mul i64 {r}, {columns}")
            whole(row, "0", str(end), columns % WIDTH)

        text.loop("%low", "%high", 1, one)
    return text


def _machine(level: int) -> Any:
    """The processor that is compiled for; an engine takes it for its own."""
    numba()
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features().flatten() + ",-prefer-256-bit"
    target = binding.Target.from_default_triple()
    cpu = binding.get_host_cpu_name()
    return target.create_target_machine(cpu=cpu, features=features, opt=level)


def _pointers(slots: dict[int, str]) -> list[str]:
    """The lines that load addresses of the table."""
    at = "  {}.at = getelementptr i64, ptr %table, i64 {}\n  {} = load ptr, ptr {}.at"
    return [at.format(p, slot, p, p) for slot, p in slots.items()]


class Program:
    """Functions of one table of addresses that run one after the other."""

    def __init__(self, name: str, texts: list, checks: list, table: np.ndarray):
        """`texts` are Texts, each with the end of its range; `checks`, what is to be found out
        about labels before: slot, integer type, how many, and of how many classes."""
        self.name, self.texts, self.checks, self.table = name, texts, checks, table
        self.run: Callable = lambda: self._run(self.at)
        self.check: Callable = lambda: self._check(self.at)
        self.at, self.addresses = table.ctypes.data, list[int]()
        self._run: Any = None
        self._check: Any = None

    def text(self, known: dict[str, str]) -> tuple[str, set[str]]:
        """i64 name(ptr table), i64 name_check(ptr table), with the functions of Texts by what these
        are."""
        from . import native

        slots = {slot: f"%s{slot}" for text, _ in self.texts for slot in text.slots}
        lines, check, bad = _pointers(slots), Text(FLOATS["float32"]), "false"
        for text, end in self.texts:
            given = "".join([f"ptr {slots[slot]}, " for slot in text.slots])
            lines.append(f"  call void {known[text.function()]}({given}i64 0, i64 {end})")
        for slot, integer, n, classes in self.checks:
            found = native.outside(check, n, (check.address(slot), integer), classes)
            bad = check.new(f"or i1 {bad}, {found}")
        lines.append("  ret i64 0")
        other = [*_pointers(check.slots), *check.lines, f"  %bad = zext i1 {bad} to i64"]
        both = ((self.name, lines), (f"{self.name}_check", [*other, "  ret i64 %bad"]))
        head = "define i64 @{}(ptr %table) {{\nentry:\n{}\n}}\n"
        return "\n".join(head.format(name, "\n".join(part)) for name, part in both), set()

    def connect(self, addresses: dict[str, int]) -> None:
        """Take the machine code at its addresses."""
        self.addresses = [addresses[self.name + end] for end in ("_check", "")]
        self.bind(ctypes.CFUNCTYPE)

    def bind(self, kind: Callable) -> None:
        """Call the machine code by functions of ctypes of this kind, which keep the GIL or not."""
        self._check, self._run = map(kind(ctypes.c_int64, ctypes.c_void_p), self.addresses)


def connected(programs: list[Program]) -> Any:
    """Compile programs; what keeps their code. ImportError where LLVM cannot compile them."""
    parts = {text.function(): text for p in programs for text, _ in p.texts}
    names = {key: f"f{i}" for i, key in enumerate(parts)}
    long = [key for key in parts if key.count("\n") > LONG]
    made = {names[key]: (text.function(names[key]), text.declared) for key, text in parts.items()}
    there, engine = (
        compiled({names[k]: made.pop(names[k]) for k in long}, 0) if long else ({}, None)
    )
    known = {
        key: f"inttoptr (i64 {there[f]} to ptr)" if f in there else f"@{f}"
        for key, f in names.items()
    }
    texts = {p.name: p.text(known) for p in programs}
    wanted = [n + e for n in texts for e in ("", "_check")]
    addresses, other = compiled(made | texts, 2, wanted)
    for p in programs:
        p.connect(addresses)
    return engine, other


def compiled(
    texts: dict[str, tuple[str, set[str]]], level: int, names: Sequence[str] = ()
) -> tuple[dict[str, int], Any]:
    """The address of each function, and what keeps them there. ImportError where the LLVM that is
    there cannot compile them."""
    declared = sorted(set().union(*[d for _, d in texts.values()]))
    whole = "\n".join([*declared, *[text for text, _ in texts.values()]])
    with _lock:
        try:
            machine = _machine(level)
            from llvmlite import binding

            module = binding.parse_assembly(whole)
            module.verify()
            engine = binding.create_mcjit_compiler(module, machine)
            engine.finalize_object()
            return {name: engine.get_function_address(name) for name in names or texts}, engine
        except (RuntimeError, AttributeError, OSError) as error:
            raise ImportError(f"llvmlite cannot compile: {error}") from error
