"""Loops of many formulas, written as text of LLVM IR and compiled by llvmlite, without Numba's
front end, which would take a hundred times as long.

Values are vectors of `WIDTH` numbers, which LLVM takes apart for the processor at hand; what is
left at the end of a range is one shorter vector. Nothing is contracted or reordered, so that
arithmetic has the bits of NumPy's; exp, expm1 and tanh are the polynomials of scalars.py.
"""

from __future__ import annotations

import ast
import ctypes
import functools
import math
import struct
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .jit import numba
from .scalars import _LN2_32, _LN2_64, _LOG2_E

WIDTH = 16
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
ROUNDED = ("exp", "expm1", "tanh")  # whose last bit may not be NumPy's


class Float(NamedTuple):
    """A floating type: its names, the integer of its size, and the constants of its exponential."""

    name: str
    short: str
    integer: str
    mantissa: int
    bias: int
    least: float
    most: float
    terms: int
    ln2: tuple[Any, Any]


FLOATS = {
    "float32": Float("float", "f32", "i32", 23, 127, -88.0, 88.8, 7, _LN2_32),
    "float64": Float("double", "f64", "i64", 52, 1023, -709.2, 710.0, 13, _LN2_64),
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
    """One formula: its inputs by name, numbers or places, and the place of its result."""

    formula: str
    inputs: dict[str, Any]
    place: int


class Operand(NamedTuple):
    """Where an array is in the table of addresses, and how it goes along with the loop."""

    slot: int
    kind: str  # "full"; "row" for the last axis alone; "one" for a single number
    bools: bool


class _Text:
    """A function that is being written."""

    def __init__(self, kind: Float):
        self.kind, self.lines, self.count = kind, list[str](), 0
        self.declared: set[str] = set()

    def new(self, right: str) -> str:
        self.count += 1
        self.lines.append(f"  %v{self.count} = {right}")
        return f"%v{self.count}"

    def number(self, x: float, w: int) -> str:
        value = float(np.float32(x)) if self.kind.short == "f32" else float(x)
        bits = struct.unpack("<Q", struct.pack("<d", value))[0]
        return "<" + ", ".join([f"{self.kind.name} 0x{bits:016X}"] * w) + ">"

    def infix(self, op: str, a: str, b: str, w: int) -> str:
        return self.new(f"{op} {self.of(w)} {a}, {b}")

    def of(self, w: int) -> str:
        return f"<{w} x {self.kind.name}>"

    def call(self, name: str, w: int, *args: str) -> str:
        t, f = self.of(w), f"llvm.{name}.v{w}{self.kind.short}"
        self.declared.add(f"declare {t} @{f}({', '.join([t] * len(args))})")
        return self.new(f"call {t} @{f}({', '.join(f'{t} {a}' for a in args)})")

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
        if name in ROUNDED:
            return getattr(self, name)(*args, w)  # type: ignore[no-any-return]
        return self.call(_INTRINSIC[name], w, *args)


def _pointers(text: _Text, operands: dict[int, Operand]) -> tuple[dict, dict]:
    """The address of each array, and single numbers themselves."""
    at, singles = {}, {}
    for place, operand in operands.items():
        p = text.new(f"getelementptr i64, ptr %table, i64 {operand.slot}")
        at[place] = text.new(f"load ptr, ptr {p}")
        if operand.kind == "one":
            t = "i8" if operand.bools else text.kind.name
            singles[place] = text.new(f"load {t}, ptr {at[place]}")
    return at, singles


def written(
    name: str,
    steps: list[Step],
    operands: dict[int, Operand],
    stored: dict[int, Operand],
    rows: int,
    columns: int,
    dtype: str,
) -> tuple[str, set[str]]:
    """void name(ptr table, i64 low, i64 high): the steps for rows low to high, each of `columns`
    numbers; or, of a single row, for the numbers from low to high."""
    text = _Text(FLOATS[dtype])
    at, singles = _pointers(text, {**operands, **stored})

    def body(i: str, row: str, w: int) -> None:
        where = text.new(f"add i64 {row}, {i}")
        env: dict[Any, str] = {}

        def take(x: Any) -> str:
            if not isinstance(x, tuple):
                return text.number(float(x), w)
            if x[0] not in env:
                o = operands[x[0]]
                t = "i8" if o.bools else text.kind.name
                if o.kind == "one":
                    v = text.splat(singles[x[0]], t, w)
                else:
                    element = i if o.kind == "row" else where
                    p = text.new(f"getelementptr {t}, ptr {at[x[0]]}, i64 {element}")
                    v = text.new(f"load <{w} x {t}>, ptr {p}, align 1")
                env[x[0]] = text.new(f"icmp ne <{w} x i8> {v}, zeroinitializer") if o.bools else v
            return env[x[0]]

        for step in steps:
            given = {name: take(x) for name, x in step.inputs.items()}
            v = env[step.place] = text.value(parsed(step.formula), given, w, {})
            if step.place in stored:
                bools = stored[step.place].bools
                t = "i8" if bools else text.kind.name
                if bools:
                    v = text.new(f"zext <{w} x i1> {v} to <{w} x i8>")
                p = text.new(f"getelementptr {t}, ptr {at[step.place]}, i64 {where}")
                text.lines.append(f"  store <{w} x {t}> {v}, ptr {p}, align 1")

    def loop(low: str, high: str, by: int, inner: Callable[[str], None]) -> None:
        text.count += 1
        k, n = f"%i{text.count}", text.count
        text.lines += [f"  br label %pre{n}", f"pre{n}:", f"  br label %head{n}", f"head{n}:"]
        place = len(text.lines)
        text.lines.append("")
        more = text.new(f"icmp slt i64 {k}, {high}")
        text.lines += [f"  br i1 {more}, label %body{n}, label %end{n}", f"body{n}:"]
        inner(k)
        last = next(line[:-1] for line in reversed(text.lines) if line.endswith(":"))
        then = text.new(f"add i64 {k}, {by}")
        text.lines[place] = f"  {k} = phi i64 [ {low}, %pre{n} ], [ {then}, %{last} ]"
        text.lines += [f"  br label %head{n}", f"end{n}:"]

    def whole(row: str, low: str, high: str, left: int) -> None:
        loop(low, high, WIDTH, lambda i: body(i, row, WIDTH))
        if left:
            body(high, row, left)

    if rows == 1:
        if columns >= WIDTH:
            loop("%low", "%high", WIDTH, lambda i: body(i, "0", WIDTH))
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

        loop("%low", "%high", 1, one)
    head = f"define void @{name}(ptr noalias %table, i64 %low, i64 %high) {{\nentry:\n"
    return head + "\n".join(text.lines) + "\n  ret void\n}\n", text.declared


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


def compiled(texts: dict[str, tuple[str, set[str]]]) -> tuple[dict[str, int], Any]:
    """The address of each function, and what keeps them there. ImportError where the LLVM that is
    there cannot compile them."""
    declared = sorted(set().union(*[d for _, d in texts.values()]))
    whole = "\n".join([*declared, *[text for text, _ in texts.values()]])
    level = 1 if whole.count("\n") < 2000 else 0  # a longer one takes too long
    with _lock:
        try:
            machine = _machine(level)
            from llvmlite import binding

            module = binding.parse_assembly(whole)
            module.verify()
            engine = binding.create_mcjit_compiler(module, machine)
            engine.finalize_object()
            return {name: engine.get_function_address(name) for name in texts}, engine
        except (RuntimeError, AttributeError, OSError) as error:
            raise ImportError(f"llvmlite cannot compile: {error}") from error


class Loop:
    """A compiled function with its table of addresses, to be called without arguments."""

    __slots__ = ("at", "end", "run", "table", "text")

    def __init__(self, text: tuple[str, set[str]], table: np.ndarray, end: int):
        self.text, self.table, self.at, self.end = text, table, table.ctypes.data, end
        self.run: Any = None

    def connect(self, address: int) -> None:
        """Take the machine code at an address."""
        kinds = None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
        self.run = ctypes.CFUNCTYPE(*kinds)(address)

    def __call__(self) -> None:
        self.run(self.at, 0, self.end)
