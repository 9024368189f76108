"""Calls other than maps that small steps are made of, as machine code: which of them can be, and
what kernels/cpu/native.py writes for them. All else is called as it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import OPS
from .tape import Call, Ref

PRODUCT = 1 << 18  # multiplications up to which a product is no call of a kernel
NUMBERS = 1 << 16  # that are summed up, or updated, in one go on one thread
ALIASES = {
    *"reshape identity expand_dims squeeze broadcast_to cast sum_to view swapaxes transpose".split()
}
FILLED = {"ones_like": 1.0, "zeros_like": 0.0}


class Native:
    """A call as machine code: `write(text, at)` writes it, `at(place)` being an address there; a
    negative place is memory of its own, of `scratch` numbers each."""

    def __init__(self, call: Call, dtype: str, write: Callable, scratch: tuple[int, ...] = ()):
        self.calls, self.line, self.dtype = [call], call.line, dtype
        self.write, self.scratch = write, scratch
        self.labels: tuple[int, int] | None = None  # place and number of classes
        self.places = [i for i, _ in call.outs if i is not None and i not in call.writes]
        self.written: set[int] = set()  # of what is there before

    def settle(self, read: set) -> list[int]:
        """The places that it writes: all of them."""
        return self.places


def alias(call: Call, within: Any) -> tuple[int, Any, bool] | None:
    """What a call merely gives another name or shape: its place, another one or a number, and
    whether that is the matrix turned."""
    if call.writes or call.shape is not None or len(call.outs) != 1:
        return None
    place = call.outs[0][0]
    if place is None or not call.args or type(call.args[0]) is not Ref:
        return None
    if call.name in FILLED and (call.op is None or call.op.name == call.name):
        return place, FILLED[call.name], False
    if call.name == "full_like" and type(call.options.get("value")) in (int, float):
        return place, float(call.options["value"]), False
    at = call.args[0]
    x, y = within.values[at], within.values[place]
    if call.name not in ALIASES or x.dtype != y.dtype or (x.size != y.size and x.size != 1):
        return None
    if within.size(at) == 1:
        return place, at, False
    if call.name in ("swapaxes", "transpose"):
        if x.ndim != 2 or call.op is None:
            return None
        o = call.options
        odd = o["axis1"] - o["axis2"] if "axis1" in o else (o.get("axes") or (1, 0))[0]
        turned = at in within.turned
        known = turned or within.whole(at)
        return (place, at, turned != bool(odd % 2 and 1 not in x.shape)) if known else None
    return (place, at, False) if within.whole(at) else None


def native(call: Call, within: Any) -> Native | None:
    """A call as machine code in a segment, or None."""
    make = _TABLE.get(call.name)
    if make is None or call.op is None or call.op is not OPS.get(call.name):
        return None
    return make(call, within)  # type: ignore[no-any-return]


def _floats(within: Any, places: Any, loose: Any = ()) -> str | None:
    """The dtype that all of them have, where each but those that are loose lies in one piece."""
    places = [p for p in places if p is not None]
    found = {within.values[p].dtype.name for p in places}
    whole = all((p in loose or within.whole(p)) and within.values[p].size for p in places)
    ok = len(found) == 1 and whole and found <= {"float32", "float64"}
    return found.pop() if ok else None


def _refs(call: Call) -> bool:
    return all(type(a) is Ref or a is None for a in call.args)


def _made(call: Call) -> int:
    place = call.outs[0][0]
    assert place is not None
    return place


def _formula(activation: str, after: str = "") -> str | None:
    return "" if activation == "none" else OPS[activation + after].scalar


def _sizes(within: Any, x: Any, w: Any) -> tuple[int, int, int]:
    """Rows, columns and depth of the product of a dense layer."""
    k, m = within.values[w].shape
    return within.values[x].size // k, m, k


def _dense(call: Call, within: Any) -> Native | None:
    from ..kernels.cpu import native as n

    x, w, b = (*call.args, None)[:3]
    y, formula = call.outs[0][0], _formula(call.options.get("activation", "none"))
    if not _refs(call) or formula is None or (dtype := _floats(within, [x, w, b, y])) is None:
        return None
    rows, m, k = sizes = _sizes(within, x, w)
    if rows * m * k > PRODUCT:
        return None

    def write(t: Any, at: Any) -> None:
        bias = "" if b is None else at(b)
        n.product(t, sizes, (at(x), k, 1), at(w), at(y), bias, formula)

    return Native(call, dtype, write)


def _dense_grad(call: Call, within: Any) -> Native | None:
    from ..kernels.cpu import llvm
    from ..kernels.cpu import native as n

    g, x, w, y = call.args
    gx, gw, gb = [i for i, _ in call.outs]
    formula = _formula(call.options["activation"], "_grad")
    dtype = _floats(within, [g, x, w, y, gx, gw, gb]) if _refs(call) else None
    if formula is None or dtype is None:
        return None
    rows, m, k = _sizes(within, x, w)
    if rows * m * k > PRODUCT:
        return None

    def write(t: Any, at: Any) -> None:
        gz = at(g)
        if formula:
            gz = at(-1)

            def some(i: Any, width: int) -> None:
                env = {"g": t.load(at(g), i, width), "y": t.load(at(y), i, width)}
                t.store(t.value(llvm.parsed(formula), env, width, {}), gz, i, width)

            n.along(t, rows * m, some)
        if gx is not None:
            turned = at(w)
            if k > 1 and m > 1:
                n.transposed(t, k, m, at(w), turned := at(-2))
            n.product(t, (rows, k, m), (gz, m, 1), turned, at(gx))
        if gw is not None:
            n.product(t, (k, m, rows), (at(x), 1, k), gz, at(gw))
        if gb is not None:
            n.sums(t, (1, rows, m), gz, at(gb))

    return Native(call, dtype, write, (rows * m, k * m))


def _matmul(call: Call, within: Any) -> Native | None:
    from ..kernels.cpu import native as n

    (a, b), y = call.args, _made(call)
    if not _refs(call) or within.values[a].ndim != 2 or within.values[b].ndim != 2:
        return None
    (m, k), p = within.values[a].shape, within.values[b].shape[1]
    one, turned, root = within.size(a) == 1, b in within.turned, within.root(a)
    strides = (0, 0) if one else (1, m) if a in within.turned else (k, 1)
    dtype = _floats(within, [a, b, y], {*within.turned, *([a] if one else [])})
    if dtype is None or m * k * p > PRODUCT:
        return None

    def write(t: Any, at: Any) -> None:
        left, right = at(-1 if type(root) is float else a), at(-2 if turned else b)
        if type(root) is float:
            t.store(t.number(root, 1), left, 0, 1)
        if turned:
            n.transposed(t, p, k, at(b), right)
        n.product(t, (m, p, k), (left, *strides), right, at(y))

    return Native(call, dtype, write, (1, k * p if turned else 1))


def _summed(call: Call, within: Any) -> Native | None:
    """Sums and means of neighbouring axes."""
    from ..kernels.cpu import native as n

    x, y = call.args[0], _made(call)
    if len(call.args) != 1 or type(x) is not Ref or (dtype := _floats(within, [x, y])) is None:
        return None
    shape, axis = within.values[x].shape, call.options.get("axis")
    if call.name == "sum_to":
        to = (*[1] * (len(shape) - within.values[y].ndim), *within.values[y].shape)
        axes = [i for i, n in enumerate(shape) if n != to[i]]
    else:
        axes = [*range(len(shape))] if axis is None else [axis] if type(axis) is int else axis
        axes = sorted(a % len(shape) for a in axes)
    if axes != [*range(len(shape))][axes[0] : axes[-1] + 1] if axes else shape:
        return None
    if within.values[x].size > NUMBERS:
        return None
    low, high = (axes[0], axes[-1] + 1) if axes else (0, 0)
    outer, count, inner = (int(np.prod(s)) for s in (shape[:low], shape[low:high], shape[high:]))
    by = 1 / count if call.name == "mean" else 1.0
    return Native(call, dtype, lambda t, at: n.sums(t, (outer, count, inner), at(x), at(y), by))


def _squared_error(call: Call, within: Any) -> Native | None:
    from ..kernels.cpu import native as n

    (x, target), y = call.args, call.outs[0][0]
    dtype = _floats(within, [x, target, y]) if _refs(call) else None
    if (
        dtype is None
        or within.values[x].shape != within.values[target].shape
        or within.values[x].size > NUMBERS
    ):
        return None
    of = within.values[x].size
    return Native(call, dtype, lambda t, at: n.squared_error(t, of, at(x), at(target), at(y)))


def _cross_entropy(call: Call, within: Any) -> Native | None:
    from ..kernels.cpu import native as n

    if not _refs(call) or len(call.args) != (3 if call.name.endswith("grad") else 2):
        return None
    (*g, x, labels), y = call.args, call.outs[0][0]
    dtype, classes = _floats(within, [x, y]), within.values[x].shape[-1]
    rows, integer = within.values[x].size // max(classes, 1), within.values[labels].dtype
    each = within.size(g[0]) if g else 0
    if dtype is None or classes > n.CLASSES or integer not in (np.int32, np.int64):
        return None
    if not within.whole(labels) or within.values[labels].size != rows:
        return None
    if g and (within.values[g[0]].dtype != dtype or type(within.root(g[0])) is not int):
        return None
    if g and each != 1 and not within.whole(g[0]):
        return None

    def write(t: Any, at: Any) -> None:
        of = at(labels), f"i{8 * integer.itemsize}"
        n.cross_entropy(t, rows, classes, at(x), of, at(y), at(g[0]) if g else "", int(each > 1))

    made = Native(call, dtype, write)
    made.labels = (int(labels), classes)
    return made


def _advance(call: Call, within: Any) -> Native | None:
    from ..kernels.cpu import native as n

    hyper = call.args[0]
    if any(a is not None for a in call.args[1:]) or within.values[hyper].dtype != np.float64:
        return None
    made = Native(call, "float64", lambda t, at: n.advance(t, at(hyper)))
    made.written = {int(hyper)}
    return made


def _update(call: Call, within: Any) -> Native | None:
    from ..kernels.cpu import native as n
    from ..kernels.steps import step_of

    if not _refs(call) or None in call.args:
        return None
    hyper, *arrays = call.args
    options, dtype = call.options["options"], _floats(within, arrays)
    step = step_of(call.options["formula"], options)
    given = all(type(options[k]) in (int, float) for k in step.given)
    if dtype is None or not given or within.values[hyper].shape != (step.clock,):
        return None
    each = [arrays[i :: len(arrays) // step.lists] for i in range(len(arrays) // step.lists)]
    sizes = [{within.values[a].size for a in own} for own in each]
    if any(len(s) > 1 for s in sizes) or sum(within.values[a].size for a in arrays) > NUMBERS:
        return None

    def write(t: Any, at: Any) -> None:
        lists = [(*s, [at(a) for a in own]) for s, own in zip(sizes, each, strict=True)]
        n.update(t, step, at(hyper), options, lists)

    made = Native(call, dtype, write)
    made.written = {int(a) for own in each for i, a in enumerate(own) if i != 1}  # not gradients
    return made


_TABLE: dict[str, Callable] = {
    "dense": _dense,
    "dense_grad": _dense_grad,
    "matmul": _matmul,
    "sum": _summed,
    "mean": _summed,
    "sum_to": _summed,
    "mean_squared_error": _squared_error,
    "softmax_cross_entropy": _cross_entropy,
    "softmax_cross_entropy_grad": _cross_entropy,
    "advance_step": _advance,
    "optimizer_step": _update,
}
