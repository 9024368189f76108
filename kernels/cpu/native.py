"""What small steps are made of besides maps, as LLVM IR (llvm.py): products, sums, losses, and the
updates of optimizers. Each function writes its part of a function that is being written; addresses
are names of pointers, sizes are numbers. Products and sums go in another order than NumPy's, so
their last bits may differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import products
from .llvm import FLOATS, WIDTH, Text, parsed

DEPTH = 4  # passes of a product's inner loop up to which it is unrolled
CLASSES = 128  # of a cross-entropy; a row is held in registers


def pieces(n: int, start: int = 0) -> list[tuple[int, int]]:
    """range(start, n) as (start, width) of vectors, of powers of two: others are taken apart."""
    found = []
    while start < n:
        width = min(WIDTH, 1 << (n - start).bit_length() - 1)
        found.append((start, width))
        start += width
    return found


def along(t: Text, n: int, body: Callable[[Any, int], None]) -> None:
    """body(i, width) over range(n) in vectors."""
    whole = n // WIDTH * WIDTH
    t.loop(0, whole, WIDTH, lambda i: body(i, WIDTH))
    for i, w in pieces(n, whole):
        body(i, w)


def product(
    t: Text,
    sizes: tuple[int, int, int],
    a: tuple[str, int, int],
    b: str,
    c: str,
    bias: str = "",
    formula: str = "",
) -> None:
    """c[i, j] = f(sum over x of a[i, x] * b[x, j] + bias[j]) of sizes (m, n, k); of a its address
    and strides. A tile of c stays in registers."""
    (m, n, k), (at_a, step, along_k) = sizes, a
    rows, wide = 6, WIDTH * (2 if products.preferred() else 1)

    def tile(i: Any, height: int, j: Any, width: int) -> None:
        parts = [(t.index("add", j, at), w) for at, w in pieces(width)]
        first = [t.load(bias, at, w) if bias else t.number(0, w) for at, w in parts]
        starts = [t.index("mul", t.index("add", i, r), step) for r in range(height)]

        def one(x: Any, *sums: str) -> list[str]:
            row = t.index("mul", x, n)
            right = [(t.load(b, t.index("add", row, at), w), w) for at, w in parts]
            to, made = t.index("mul", x, along_k), []
            for r, start in enumerate(starts):
                left = t.load(at_a, t.index("add", start, to), 1)
                for (v, w), old in zip(right, sums[r * len(parts) :], strict=False):
                    made.append(t.call("fmuladd", w, t.spread(left, w), v, old))
            return made

        sums = first * height
        if k <= DEPTH:
            for x in range(k):
                sums = one(x, *sums)
        else:
            kinds = [t.of(w) for _, w in parts] * height
            sums = t.loop(0, k, 1, one, [*zip(kinds, sums, strict=True)])
        for r in range(height):
            row = t.index("mul", t.index("add", i, r), n)
            for (at, w), v in zip(parts, sums[r * len(parts) :], strict=False):
                v = t.value(parsed(formula), {"x": v}, w, {}) if formula else v
                t.store(v, c, t.index("add", row, at), w)

    def band(i: Any, height: int) -> None:
        whole = n // wide * wide
        t.loop(0, whole, wide, lambda j: tile(i, height, j, wide))
        if n > whole:
            tile(i, height, whole, n - whole)

    t.loop(0, m // rows * rows, rows, lambda i: band(i, rows))
    if m % rows:
        band(m // rows * rows, m % rows)


def transposed(t: Text, m: int, n: int, a: str, to: str) -> None:
    """to[j, i] = a[i, j] of an (m, n) matrix."""

    def column(j: Any) -> None:
        def some(i: Any, w: int) -> None:
            v = t.gathered(a, t.index("add", t.index("mul", i, n), j), n, w, t.kind.name)
            t.store(v, to, t.index("add", t.index("mul", j, m), i), w)

        along(t, m, some)

    t.loop(0, n, 1, column)


def sums(t: Text, sizes: tuple[int, int, int], x: str, y: str, by: float = 1.0) -> None:
    """y[o, i] = the sum of x[o, :, i], times `by`, of sizes (outer, axis, inner)."""
    outer, n, inner = sizes

    def one(o: Any) -> None:
        start = t.index("mul", o, n * inner)
        if inner == 1:
            total = total_of(t, n, lambda i, w: t.load(x, t.index("add", start, i), w))
            t.store(t.infix("fmul", total, t.number(by, 1), 1), y, o, 1)
            return

        def column(j: Any, w: int) -> None:
            def add(r: Any, total: str) -> list[str]:
                at = t.index("add", t.index("add", start, t.index("mul", r, inner)), j)
                return [t.infix("fadd", total, t.load(x, at, w), w)]

            (total,) = t.loop(0, n, 1, add, [(t.of(w), t.number(0, w))])
            v = t.infix("fmul", total, t.number(by, w), w)
            t.store(v, y, t.index("add", t.index("mul", o, inner), j), w)

        along(t, inner, column)

    t.loop(0, outer, 1, one)


def total_of(t: Text, n: int, of: Callable[[Any, int], str]) -> str:
    """The sum of of(i, width) over range(n)."""
    whole, total = n // WIDTH * WIDTH, ""
    if whole:
        add = lambda i, s: [t.infix("fadd", s, of(i, WIDTH), WIDTH)]  # noqa: E731
        (lanes,) = t.loop(0, whole, WIDTH, add, [(t.of(WIDTH), t.number(0, WIDTH))])
        total = t.reduced(lanes, WIDTH)
    for i, w in pieces(n, whole):
        rest = t.reduced(of(i, w), w)
        total = t.infix("fadd", total, rest, 1) if total else rest
    return total


def squared_error(t: Text, n: int, x: str, target: str, y: str) -> None:
    """y = mean((x - target)**2)."""

    def square(i: Any, w: int) -> str:
        d = t.infix("fsub", t.load(x, i, w), t.load(target, i, w), w)
        return t.infix("fmul", d, d, w)

    t.store(t.infix("fdiv", total_of(t, n, square), t.number(n, 1), 1), y, 0, 1)


def cross_entropy(
    t: Text, rows: int, n: int, x: str, labels: tuple[str, str], y: str, g: str = "", each: int = 1
) -> None:
    """y[i] = log(sum(exp(x[i]))) - x[i, labels[i]]; or with g, which has `each` entry a row or is
    one, y = g * (softmax(x) - onehot(labels)). Of the labels their address and integer type."""
    at_labels, integer = labels

    def row(i: Any) -> None:
        start, top, made, total = t.index("mul", i, n), "", [], ""
        parts = [(t.index("add", start, at), w) for at, w in pieces(n)]
        given = [t.load(x, at, w) for at, w in parts]
        for v, (_, w) in zip(given, parts, strict=True):
            most = t.reduced(v, w, "fmax")
            top = t.call("maxnum", 1, top, most) if top else most
        for v, (_, w) in zip(given, parts, strict=True):
            made.append(t.exp(t.infix("fsub", v, t.spread(top, w), w), w))
            part = t.reduced(made[-1], w)
            total = t.infix("fadd", total, part, 1) if total else part
        label = t.new(f"load {integer}, ptr {t.element(at_labels, i, integer)}")
        if integer != "i64":
            label = t.new(f"sext {integer} {label} to i64")
        hit = t.index("add", start, label)
        if not g:
            z = t.infix("fadd", t.call("log", 1, total), top, 1)
            t.store(t.infix("fsub", z, t.load(x, hit, 1), 1), y, i, 1)
            return
        own = t.load(g, t.index("mul", i, each), 1)
        for e, (at, w) in zip(made, parts, strict=True):
            t.store(t.infix("fdiv", e, t.spread(total, w), w), y, at, w)
        p = t.infix("fsub", t.load(y, hit, 1), t.number(1, 1), 1)
        t.store(p, y, hit, 1)
        for at, w in parts:
            t.store(t.infix("fmul", t.load(y, at, w), t.spread(own, w), w), y, at, w)

    t.loop(0, rows, 1, row)


def outside(t: Text, n: int, labels: tuple[str, str], classes: int) -> str:
    """Whether a label is none of the classes, an i1."""
    at, integer = labels

    def one(i: Any, bad: str) -> list[str]:
        v = t.new(f"load {integer}, ptr {t.element(at, i, integer)}")
        return [t.new(f"or i1 {bad}, {t.new(f'icmp uge {integer} {v}, {classes}')}")]

    return t.loop(0, n, 1, one, [("i1", "false")])[0]


_INFIX = {"add": "fadd", "subtract": "fsub", "multiply": "fmul", "divide": "fdiv"}
_CALLS = {"power": "pow", "absolute": "fabs", "sqrt": "sqrt", "maximum": "maximum"}


def _computed(t: Text, op: str, args: list[str], w: int) -> str:
    """One operation of a program."""
    if op in _INFIX:
        return t.infix(_INFIX[op], *args, w)
    if op in ("greater", "less"):
        return t.compare("ogt" if op == "greater" else "olt", *args, w)
    if op == "where":
        return t.select(*args, w)
    if op == "negative":
        return t.new(f"fneg {t.of(w)} {args[0]}")
    return t.call(_CALLS[op], w, *args)


def update(
    t: Text, step: Any, hyper: str, options: dict[str, Any], lists: list[tuple[int, list[str]]]
) -> None:
    """The step of an optimizer (steps.py) of parameters, each with its size and the addresses of
    its gradient and states. What needs no array is computed once, in float64."""
    program, kind = step.program, t.kind
    t.kind = FLOATS["float64"]
    known = {name: t.load(hyper, i, 1) for i, name in enumerate(program.scalars[: step.clock])}
    known |= {name: t.number(options[name], 1) for name in step.given}

    def take(x: str, w: int, made: dict[str, str]) -> str:
        return made[x] if x in made else t.number(float(x), w)

    for name, x in program.uniform:
        known[name] = _computed(t, x.op, [take(a, 1, known) for a in x.args], 1)
    numbers = {name: take(value, 1, known) for value, name in program.passed.items()}
    t.kind = kind
    if kind.name != "double":
        for name, v in numbers.items():
            numbers[name] = t.new(f"fptrunc <1 x double> {v} to {t.of(1)}")
    for size, arrays in lists:

        def some(i: Any, w: int, arrays: list[str] = arrays) -> None:
            env = {name: t.spread(v, w) for name, v in numbers.items()}
            places = dict(zip(program.arrays, arrays, strict=True))
            env |= {name: t.load(p, i, w) for name, p in places.items()}
            for name, x in program.body:
                env[name] = _computed(t, x.op, [env[a] for a in x.args], w)
            for home, value in program.results.items():
                t.store(env[value], places[home], i, w)

        along(t, size, some)


def advance(t: Text, hyper: str) -> None:
    """The number of the step goes on by 1."""
    kind, t.kind = t.kind, FLOATS["float64"]
    t.store(t.infix("fadd", t.load(hyper, 1, 1), t.number(1, 1), 1), hyper, 1, 1)
    t.kind = kind
