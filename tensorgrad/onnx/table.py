"""The ops as ONNX nodes: a table from the names of ours to functions that write theirs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import on_host
from ..errors import GraphError
from .graph import Graph

Writer = Callable[[Graph, Any], Any]
TABLE: dict[str, Writer] = {}


def writes(*names: str) -> Callable[[Writer], Writer]:
    """Put a function into the table."""

    def put(writer: Writer) -> Writer:
        TABLE.update(dict.fromkeys(names, writer))
        return writer

    return put


def _same(kind: str, **attributes: Any) -> Writer:
    """One node of the inputs, in the result's dtype."""

    def write(g: Graph, call: Any) -> Any:
        dtype = on_host(call.made[0][:0] if call.made[0].ndim else call.made[0]).dtype
        return g.node(kind, *[g.name(a, dtype) for a in call.arrays], **attributes)

    return write


def _compared(kind: str, negated: bool = False) -> Writer:
    def write(g: Graph, call: Any) -> Any:
        arrays = [a for a in call.arrays if hasattr(a, "dtype")]
        dtype = np.result_type(*[a.dtype for a in arrays])
        y = g.node(kind, *[g.name(a, dtype) for a in call.arrays])
        return g.node("Not", y) if negated else y

    return write


_SAME = """abs Abs, negative Neg, exp Exp, log Log, sqrt Sqrt, floor Floor, ceil Ceil, sign Sign,
sin Sin, cos Cos, tan Tan, arcsin Asin, arccos Acos, arctan Atan, sinh Sinh, cosh Cosh, tanh Tanh,
arcsinh Asinh, arccosh Acosh, arctanh Atanh, erf Erf, sigmoid Sigmoid, relu Relu,
softplus Softplus, reciprocal Reciprocal, identity Identity, positive Identity, add Add,
subtract Sub, multiply Mul, divide Div, power Pow, maximum Max, minimum Min, matmul MatMul,
logical_not Not, logical_and And, logical_or Or, logical_xor Xor"""
for _pair in _SAME.replace("\n", " ").split(","):
    _ours, _theirs = _pair.split()
    TABLE[_ours] = _same(_theirs)
for _pair in "equal Equal, greater Greater, less Less, isnan IsNaN, isinf IsInf".split(", "):
    _ours, _theirs = _pair.split()
    TABLE[_ours] = _compared(_theirs)
TABLE["greater_equal"], TABLE["less_equal"] = _compared("GreaterOrEqual"), _compared("LessOrEqual")
TABLE["not_equal"] = _compared("Equal", True)


def _steps(*steps: Any) -> Writer:
    """Several nodes in turn, each of one value and constants."""

    def write(g: Graph, call: Any) -> Any:
        x = call.arrays[0]
        y = g.name(x)
        for kind, *constants in steps:
            y = g.node(kind, y, *[g.constant(c, x.dtype) for c in constants])
        return y

    return write


TABLE["rsqrt"] = _steps(("Sqrt",), ("Reciprocal",))
TABLE["log1p"] = _steps(("Add", 1), ("Log",))
TABLE["expm1"] = _steps(("Exp",), ("Sub", 1))
TABLE["log2"] = _steps(("Log",), ("Mul", 1 / math.log(2)))
TABLE["log10"] = _steps(("Log",), ("Mul", 1 / math.log(10)))
TABLE["round"] = _steps(("Round",))


@writes("square")
def _square(g: Graph, call: Any) -> Any:
    x = g.name(call.arrays[0])
    return g.node("Mul", x, x)


@writes("floor_divide", "remainder")
def _floor_divide(g: Graph, call: Any) -> Any:
    dtype = call.made[0].dtype
    a, b = [g.name(x, dtype) for x in call.arrays]
    if dtype.kind in "iu" and call.op.name == "remainder":
        return g.node("Mod", a, b)
    wide = (
        [g.node("Cast", n, to=g.dtype("float64")) for n in (a, b)] if dtype.kind in "iu" else [a, b]
    )
    y = g.node("Floor", g.node("Div", *wide))
    if dtype.kind in "iu":
        return g.node("Cast", y, to=g.dtype(dtype))
    return y if call.op.name == "floor_divide" else g.node("Sub", a, g.node("Mul", y, b))


@writes("gather_places")
def _gather_places(g: Graph, call: Any) -> Any:
    flat = g.constant([0, 0, -1], "int64")
    x, where = g.name(call.arrays[0]), g.name(call.arrays[1], "int64")
    y = g.node("GatherElements", g.node("Reshape", x, flat), g.node("Reshape", where, flat), axis=2)
    return g.node("Reshape", y, g.node("Shape", where))


@writes("silu")
def _silu(g: Graph, call: Any) -> Any:
    x = g.name(call.arrays[0])
    return g.node("Mul", x, g.node("Sigmoid", x))


@writes("gelu", "gelu_erf")
def _gelu(g: Graph, call: Any) -> Any:
    how = "tanh" if call.op.name == "gelu" else "none"
    return g.node("Gelu", g.name(call.arrays[0]), approximate=how)


@writes("elu", "leaky_relu")
def _sloped(g: Graph, call: Any) -> Any:
    kind = {"elu": "Elu", "leaky_relu": "LeakyRelu"}[call.op.name]
    alpha = call.params.get("alpha", call.params.get("slope", 1.0 if kind == "Elu" else 0.01))
    return g.node(kind, g.name(call.arrays[0]), alpha=float(alpha))


@writes("clip", "hardtanh")
def _clip(g: Graph, call: Any) -> Any:
    x = call.arrays[0]
    ends = call.arrays[1:] or [call.params.get("min", -1.0), call.params.get("max", 1.0)]
    y = g.name(x)
    for kind, end in zip(("Max", "Min"), ends, strict=True):
        y = y if end is None else g.node(kind, y, g.name(end, x.dtype))
    return y


@writes("where")
def _where(g: Graph, call: Any) -> Any:
    condition, a, b = call.arrays
    dtype = call.made[0].dtype
    return g.node("Where", g.name(condition, "bool"), g.name(a, dtype), g.name(b, dtype))


@writes("softmax", "log_softmax")
def _softmax(g: Graph, call: Any) -> Any:
    kind = "Softmax" if call.op.name == "softmax" else "LogSoftmax"
    x, axis = call.arrays[0], call.params.get("axis", -1)
    axes = [axis] if isinstance(axis, int) else list(axis or range(x.ndim))
    if len(axes) != 1:
        raise GraphError(f"export: {call.op.name} over several axes has no counterpart in ONNX")
    return g.node(kind, g.name(x), axis=axes[0])


_REDUCE = {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin",
           "prod": "ReduceProd", "logsumexp": "ReduceLogSumExp"}  # fmt: skip


def _axes(g: Graph, call: Any) -> list[str]:
    axis = call.params.get("axis")
    if axis is None:
        return []
    return [g.constant([axis] if isinstance(axis, int) else list(axis), "int64")]


@writes(*_REDUCE)
def _reduce(g: Graph, call: Any) -> Any:
    keep = int(call.params.get("keepdims", False))
    x = g.name(call.arrays[0], call.made[0].dtype)
    return g.node(_REDUCE[call.op.name], x, *_axes(g, call), keepdims=keep)


@writes("all", "any")
def _truth(g: Graph, call: Any) -> Any:
    kind = "ReduceMin" if call.op.name == "all" else "ReduceMax"
    x = g.node("Cast", g.name(call.arrays[0], "bool"), to=g.dtype("int32"))
    y = g.node(kind, x, *_axes(g, call), keepdims=int(call.params.get("keepdims", False)))
    return g.node("Cast", y, to=g.dtype("bool"))


@writes("var", "std")
def _spread(g: Graph, call: Any) -> Any:
    x, (*axes,) = call.arrays[0], _axes(g, call)
    name = g.name(x)
    d = g.node("Sub", name, g.node("ReduceMean", name, *axes, keepdims=1))
    keep = int(call.params.get("keepdims", False))
    y = g.node("ReduceMean", g.node("Mul", d, d), *axes, keepdims=keep)
    if ddof := call.params.get("ddof", 0):
        count = x.size // max(1, call.made[0].size)
        y = g.node("Mul", y, g.constant(count / (count - ddof), x.dtype))
    return g.node("Sqrt", y) if call.op.name == "std" else y


@writes("argmax", "argmin")
def _arg(g: Graph, call: Any) -> Any:
    kind = "ArgMax" if call.op.name == "argmax" else "ArgMin"
    x, axis = g.name(call.arrays[0]), call.params.get("axis")
    if axis is None:
        x, axis = g.node("Reshape", x, g.constant([-1], "int64")), 0
    keep = int(call.params.get("keepdims", False))
    y = g.node(kind, x, axis=axis, keepdims=keep)
    return g.node("Cast", y, to=g.dtype(call.made[0].dtype))


@writes("cumsum")
def _cumsum(g: Graph, call: Any) -> Any:
    axis = g.constant(call.params["axis"], "int64")
    back = int(call.params.get("reverse", False))
    return g.node("CumSum", g.name(call.arrays[0], call.made[0].dtype), axis, reverse=back)


# --- shapes ---------------------------------------------------------------------------------------


@writes("reshape")
def _reshape(g: Graph, call: Any) -> Any:
    return g.node("Reshape", g.name(call.arrays[0]), g.sizes(call.params["shape"], "shape", True))


@writes("broadcast_to")
def _broadcast(g: Graph, call: Any) -> Any:
    return g.node("Expand", g.name(call.arrays[0]), g.sizes(call.params["shape"], "shape"))


@writes("full_like")
def _full(g: Graph, call: Any) -> Any:
    shape = g.node("Shape", g.name(call.arrays[0]))
    return g.node("Expand", g.constant(call.params["value"], call.made[0].dtype), shape)


@writes("transpose", "swapaxes", "moveaxis")
def _transpose(g: Graph, call: Any) -> Any:
    x, p = call.arrays[0], call.params
    places = np.arange(x.ndim)
    if call.op.name == "swapaxes":
        i, j = p["axis1"], p["axis2"]
        places[[i, j]] = places[[j, i]]
    elif call.op.name == "moveaxis":
        dummy = np.empty(tuple(range(1, x.ndim + 1)))
        moved = np.moveaxis(dummy, p["source"], p["destination"])
        places = np.array([n - 1 for n in moved.shape])
    else:
        places = places[::-1] if p.get("axes") is None else np.array(p["axes"]) % x.ndim
    return g.node("Transpose", g.name(x), perm=[int(n) for n in places])


@writes("expand_dims", "squeeze")
def _unsqueeze(g: Graph, call: Any) -> Any:
    kind = "Unsqueeze" if call.op.name == "expand_dims" else "Squeeze"
    return g.node(kind, g.name(call.arrays[0]), *_axes(g, call))


@writes("concat", "stack")
def _concat(g: Graph, call: Any) -> Any:
    axis, dtype = call.params.get("axis", 0), call.made[0].dtype
    names = [g.name(a, dtype) for a in call.arrays]
    if call.op.name == "stack":
        names = [g.node("Unsqueeze", n, g.constant([axis], "int64")) for n in names]
    return g.node("Concat", *names, axis=axis)


@writes("split")
def _split(g: Graph, call: Any) -> Any:
    axis = call.params.get("axis", 0)
    lengths = g.constant([part.shape[axis] for part in call.made], "int64")
    names = g.node("Split", g.name(call.arrays[0]), lengths, outputs=len(call.made), axis=axis)
    return names if isinstance(names, tuple) else (names,)


@writes("flip")
def _flip(g: Graph, call: Any) -> Any:
    x, axis = call.arrays[0], call.params.get("axis")
    axes = list(range(x.ndim)) if axis is None else [axis] if isinstance(axis, int) else list(axis)
    return _sliced(g, g.name(x), [(-1, -(2**62), -1, a) for a in axes])


def _sliced(g: Graph, x: str, cuts: list[tuple[int, int, int, int]]) -> Any:
    start, stop, step, axis = [g.constant(list(n), "int64") for n in zip(*cuts, strict=True)]
    return g.node("Slice", x, start, stop, axis, step)


@writes("getitem")
def _getitem(g: Graph, call: Any) -> Any:
    x, *index = call.arrays
    template = list(call.params["template"])
    taken = sum(part is not None and part is not Ellipsis for part in template)
    if Ellipsis in template:
        at = template.index(Ellipsis)
        template[at : at + 1] = [slice(None)] * (x.ndim - taken)
    if g.other is not None and str(g.other["template"]) != str(call.params["template"]):
        raise GraphError("export: a key of x[key] follows the batch, which ONNX cannot slice by")
    y, axis, cuts = g.name(x), 0, []
    whole: list[int] = []
    new: list[int] = []
    arrays = [i for i, part in enumerate(template) if isinstance(part, str)]
    if len(arrays) > 1:
        raise GraphError("export: x[i, j] with two index arrays has no counterpart in ONNX here")
    gathered = None
    for part in template:
        if part is None:
            new.append(axis - len(whole) + len(new))
            continue
        if isinstance(part, str):
            gathered = axis
        elif isinstance(part, slice):
            start, stop, step = part.start, part.stop, 1 if part.step is None else part.step
            if (start, stop, step) != (None, None, 1):
                first, last = (0, 2**62) if step > 0 else (-1, -(2**62))
                cuts.append(
                    (first if start is None else start, last if stop is None else stop, step, axis)
                )
        else:
            stop = 2**62 if part == -1 else part + 1
            cuts.append((part, stop, 1, axis))
            whole.append(axis)
        axis += 1
    if cuts:
        y = _sliced(g, y, cuts)
    if gathered is not None:
        if whole or new:
            raise GraphError("export: x[key] of arrays beside integers or None: in two steps")
        return g.node("Gather", y, g.name(index[0], "int64"), axis=gathered)
    if whole:
        y = g.node("Squeeze", y, g.constant(whole, "int64"))
    return g.node("Unsqueeze", y, g.constant(new, "int64")) if new else g.node("Identity", y)


@writes("pad")
def _pad(g: Graph, call: Any) -> Any:
    x, widths = call.arrays[0], call.params["pad_width"]
    pads = np.broadcast_to(np.asarray(widths), (x.ndim, 2)).T.reshape(-1)
    value = g.constant(call.params.get("value", 0.0), x.dtype)
    return g.node("Pad", g.name(x), g.constant(pads, "int64"), value)


@writes("cast")
def _cast(g: Graph, call: Any) -> Any:
    return g.node("Cast", g.name(call.arrays[0]), to=g.dtype(call.made[0].dtype))


@writes("move")
def _move(g: Graph, call: Any) -> Any:
    return g.node("Identity", g.name(call.arrays[0]))
