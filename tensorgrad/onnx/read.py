"""ONNX graphs as modules: each node a function of tensors, by the table READ."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

import tensorgrad as tg

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray
from ..errors import FileError, GraphError, suggest
from ..nn import Buffer, Module, Parameter
from ..settings import gate
from ..typing import PathLike
from .graph import imported

READ: dict[str, Callable[..., Any]] = {}


@gate
def load(path: PathLike) -> Graph:
    """The graph of an ONNX file as a module: its floating constants are parameters, which can be
    trained on, and its inputs, in order, those of the call.

    Raises: FileError for what is no ONNX file; GraphError for a node that is not known here.

    >>> tg.onnx.export(tg.nn.Dense(3, 2), "m.onnx", np.ones((2, 2)))  # doctest: +SKIP
    >>> tg.onnx.load("m.onnx")(np.ones((5, 2))).shape  # doctest: +SKIP
    (5, 3)
    """
    onnx = imported()
    try:
        model = onnx.load(os.fspath(path), load_external_data=False)
        onnx.checker.check_model(model)
    except FileNotFoundError:
        raise
    except Exception as error:  # of protobuf and of the checker
        raise FileError(f"{os.fspath(path)} is no ONNX file: {str(error)[:200]}") from error
    return Graph(model)


class Node:
    """A node: its kind, the names of inputs and outputs, and its attributes."""

    def __init__(self, onnx: Any, node: Any, opset: int):
        self.kind, self.opset = node.op_type, opset
        self.inputs, self.outputs = list(node.input), list(node.output)
        self.given = {a.name: _attribute(onnx, a) for a in node.attribute}

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.given.get(name, default)


def _attribute(onnx: Any, attribute: Any) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    if isinstance(value, onnx.GraphProto):
        raise GraphError("onnx.load: graphs within nodes (If, Loop, Scan) are not known here")
    return [v.decode() if isinstance(v, bytes) else v for v in value] if _several(value) else value


def _several(value: Any) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, (str, np.ndarray))


class Graph(Module):
    """A module made of an ONNX model."""

    def __init__(self, model: Any):
        onnx = imported()
        opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
        graph = model.graph
        self.nodes = tuple(Node(onnx, n, opset) for n in graph.node)
        for node, said in zip(self.nodes, graph.node, strict=True):
            if node.kind not in READ or said.domain not in ("", "ai.onnx"):
                raise GraphError(f"onnx.load: {node.kind} is not known: {suggest(node.kind, READ)}")
        self.weights: dict[str, Any] = {}
        self.constants = Held()
        for held in graph.initializer:
            a = onnx.numpy_helper.to_array(held)
            if is_floating(a.dtype) and a.ndim:
                self.weights[held.name] = Parameter(a)
            elif is_floating(a.dtype):
                self.weights[held.name] = Buffer(a)
            else:
                self.constants.arrays[held.name] = a
        known = {*self.weights, *self.constants.arrays}
        self.inputs = tuple(i.name for i in graph.input if i.name not in known)
        self.outputs = tuple(o.name for o in graph.output)

    def forward(self, *inputs: Any) -> Any:
        values = {"": None, **self.constants.arrays, **self.weights}
        values |= {n: asarray(x) for n, x in zip(self.inputs, inputs, strict=True)}
        for node in self.nodes:
            made = READ[node.kind](node, *[values[name] for name in node.inputs])
            made = made if isinstance(made, tuple) else (made,)
            values |= dict(zip(node.outputs, made, strict=False))
        found = [asarray(values[name]) for name in self.outputs]
        return found[0] if len(found) == 1 else tuple(found)


class Held:
    """Constants that are no parameters: whole numbers, such as shapes."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}


def ints(value: Any) -> list[int]:
    """The whole numbers of a constant."""
    value = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
    return [int(n) for n in value.reshape(-1)]


def _axes(node: Node, given: Any, name: str = "axes") -> Any:
    found = node.get(name) if given is None else ints(given)
    return None if found is None else tuple(found)


def _put(names: str, make: Callable[[str], Callable[..., Any]]) -> None:
    for pair in names.replace("\n", " ").split(","):
        theirs, ours = pair.split()
        READ[theirs] = make(ours)


def _plain(name: str) -> Callable[..., Any]:
    return lambda node, *xs: getattr(tg, name)(*xs)


_put(
    """Abs abs, Neg negative, Exp exp, Log log, Sqrt sqrt, Floor floor, Ceil ceil, Sign sign,
    Sin sin, Cos cos, Tan tan, Asin arcsin, Acos arccos, Atan arctan, Sinh sinh, Cosh cosh,
    Tanh tanh, Asinh arcsinh, Acosh arccosh, Atanh arctanh, Erf erf, Sigmoid sigmoid, Relu relu,
    Softplus softplus, Reciprocal reciprocal, Add add, Sub subtract, Mul multiply,
    MatMul matmul, Not logical_not, And logical_and, Or logical_or, Xor logical_xor,
    Equal equal, Greater greater, Less less, GreaterOrEqual greater_equal, LessOrEqual less_equal,
    IsNaN isnan, Where where, Round round, BitwiseAnd bitwise_and, BitwiseOr bitwise_or,
    BitwiseXor bitwise_xor, BitwiseNot bitwise_invert""",
    _plain,
)


def reads(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Put a function into the table."""

    def put(reader: Callable[..., Any]) -> Callable[..., Any]:
        READ.update(dict.fromkeys(names, reader))
        return reader

    return put


READ["Identity"] = lambda node, x: x
READ["Constant"] = lambda node: np.asarray(next(iter(node.given.values())))
READ["Shape"] = lambda node, x: np.array(x.shape, np.int64)[node.get("start", 0) : node.get("end")]
READ["Size"] = lambda node, x: np.array(math.prod(x.shape), np.int64)
READ["Gelu"] = lambda node, x: tg.gelu(x, node.get("approximate", "none"))
READ["Elu"] = lambda node, x: tg.elu(x, node.get("alpha", 1.0))
READ["LeakyRelu"] = lambda node, x: tg.leaky_relu(x, node.get("alpha", 0.01))
READ["Transpose"] = lambda node, x: tg.transpose(x, node.get("perm"))
READ["Concat"] = lambda node, *xs: tg.concatenate(xs, axis=node.get("axis"))
READ["Cast"] = lambda node, x: _cast(x, node.get("to"))
READ["CastLike"] = lambda node, x, y: asarray(x).astype(y.dtype)
READ["Sum"] = lambda node, *xs: sum(xs[1:], asarray(xs[0]))
READ["Mean"] = lambda node, *xs: sum(xs[1:], asarray(xs[0])) / len(xs)
READ["Swish"] = lambda node, x: x * tg.sigmoid(node.get("alpha", 1.0) * x)
READ["Softsign"] = lambda node, x: x / (1 + tg.abs(x))
READ["HardSigmoid"] = lambda node, x: tg.clip(
    node.get("alpha", 0.2) * x + node.get("beta", 0.5), 0.0, 1.0
)
READ["PRelu"] = lambda node, x, slope: tg.where(x < 0, slope * x, x)
READ["Expand"] = lambda node, x, shape: tg.broadcast_to(
    x, np.broadcast_shapes(x.shape, tuple(ints(shape)))
)
READ["Tile"] = lambda node, x, repeats: tg.tile(x, tuple(ints(repeats)))
READ["ConstantOfShape"] = lambda node, shape: np.full(
    ints(shape), node.get("value", np.zeros(1, "float32")).reshape(())
)
READ["Einsum"] = lambda node, *xs: tg.einsum(node.get("equation"), *xs)
READ["GatherElements"] = lambda node, x, i: tg.take_along_axis(
    x, _index(x, i, node), node.get("axis", 0)
)
READ["Trilu"] = lambda node, x, k=None: (tg.triu if node.get("upper", 1) else tg.tril)(
    x, 0 if k is None else ints(k)[0]
)


def _cast(x: Any, to: int) -> Any:
    dtype = imported().helper.tensor_dtype_to_np_dtype(to)
    return asarray(x).astype(dtype) if isinstance(x, Tensor) else np.asarray(x).astype(dtype)


def _index(x: Any, i: Any, node: Node) -> Any:
    i = asarray(i)
    return tg.where(i < 0, i + x.shape[node.get("axis", 0)], i)


@reads("Dropout")
def _dropout(node: Node, x: Any, ratio: Any = None, training: Any = None) -> Any:
    if len(node.outputs) > 1 or (training is not None and any(ints(training))):
        raise GraphError("onnx.load: Dropout with a mask, or in training, is not known")
    return x


@reads("Pow")
def _pow(node: Node, a: Any, b: Any) -> Any:
    return tg.power(a, b).astype(a.dtype)


@reads("Range")
def _range(node: Node, *ends: Any) -> Any:
    start, stop, step = [asarray(e).numpy() for e in ends]
    count = max(0, math.ceil((stop - start) / step))
    return (start + np.arange(count) * step).astype(start.dtype)


@reads("Max", "Min")
def _extreme(node: Node, first: Any, *rest: Any) -> Any:
    join = tg.maximum if node.kind == "Max" else tg.minimum
    for x in rest:
        first = join(first, x)
    return first


@reads("Div")
def _div(node: Node, a: Any, b: Any) -> Any:
    a = asarray(a)
    if is_floating(a.dtype):
        return a / b
    quotient = tg.floor_divide(tg.abs(a), tg.abs(asarray(b)))  # towards 0
    return (quotient * tg.sign(a) * tg.sign(asarray(b))).astype(a.dtype)


@reads("Mod")
def _mod(node: Node, a: Any, b: Any) -> Any:
    return tg.fmod(a, b) if node.get("fmod", 0) else tg.remainder(a, b)


@reads("Clip")
def _clip(node: Node, x: Any, low: Any = None, high: Any = None) -> Any:
    low = node.get("min") if low is None else low
    high = node.get("max") if high is None else high
    x = x if low is None else tg.maximum(x, low)
    return x if high is None else tg.minimum(x, high)


@reads("Softmax", "LogSoftmax")
def _softmax(node: Node, x: Any) -> Any:
    function = tg.softmax if node.kind == "Softmax" else tg.log_softmax
    if node.opset >= 13:
        return function(x, axis=node.get("axis", -1))
    axis = node.get("axis", 1) % x.ndim  # of rows behind that axis
    flat = x.reshape(math.prod(x.shape[:axis]), -1)
    return function(flat, axis=-1).reshape(x.shape)


_REDUCE: dict[str, Callable[..., Any]] = {
    "ReduceSum": tg.sum,
    "ReduceMean": tg.mean,
    "ReduceMax": tg.max,
    "ReduceMin": tg.min,
    "ReduceProd": tg.prod,
    "ReduceL1": lambda x, **how: tg.sum(tg.abs(x), **how),
    "ReduceL2": lambda x, **how: tg.sqrt(tg.sum(x * x, **how)),
    "ReduceSumSquare": lambda x, **how: tg.sum(x * x, **how),
    "ReduceLogSum": lambda x, **how: tg.log(tg.sum(x, **how)),
    "ReduceLogSumExp": lambda x, **how: tg.logsumexp(x, **how),
}


@reads(*_REDUCE)
def _reduce(node: Node, x: Any, axes: Any = None) -> Any:
    where = _axes(node, axes)
    if where in (None, ()):
        if node.get("noop_with_empty_axes", 0):
            return x
        where = None
    y = _REDUCE[node.kind](x, axis=where, keepdims=bool(node.get("keepdims", 1)))
    return y.astype(x.dtype)


@reads("ArgMax", "ArgMin")
def _arg(node: Node, x: Any) -> Any:
    axis = node.get("axis", 0)
    pick = tg.argmax if node.kind == "ArgMax" else tg.argmin
    keep = bool(node.get("keepdims", 1))
    if not node.get("select_last_index", 0):
        return pick(x, axis=axis, keepdims=keep).astype("int64")
    last = x.shape[axis] - 1
    return (last - pick(tg.flip(x, axis), axis=axis, keepdims=keep)).astype("int64")


@reads("CumSum")
def _cumsum(node: Node, x: Any, axis: Any) -> Any:
    along = ints(axis)[0]
    x = tg.flip(x, along) if node.get("reverse", 0) else x
    y = tg.cumsum(x, axis=along).astype(x.dtype)
    y = y - x if node.get("exclusive", 0) else y
    return tg.flip(y, along) if node.get("reverse", 0) else y


@reads("Reshape")
def _reshape(node: Node, x: Any, shape: Any) -> Any:
    sizes = ints(shape)
    if not node.get("allowzero", 0):
        sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)]
    return x.reshape(sizes) if isinstance(x, np.ndarray) else tg.reshape(x, tuple(sizes))


@reads("Flatten")
def _flatten(node: Node, x: Any) -> Any:
    axis = node.get("axis", 1)
    axis += x.ndim if axis < 0 else 0
    return tg.reshape(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


@reads("Squeeze", "Unsqueeze")
def _squeeze(node: Node, x: Any, axes: Any = None) -> Any:
    where = _axes(node, axes)
    xp = np if isinstance(x, np.ndarray) else tg
    return xp.squeeze(x, where) if node.kind == "Squeeze" else xp.expand_dims(x, where)  # type: ignore[attr-defined]


@reads("Split")
def _split(node: Node, x: Any, sizes: Any = None) -> Any:
    axis = node.get("axis", 0)
    n, parts = x.shape[axis], len(node.outputs)
    given = node.get("split") if sizes is None else ints(sizes)
    each = -(-n // parts)
    lengths = given or [each] * (parts - 1) + [n - each * (parts - 1)]
    return tuple(tg.split(x, [int(k) for k in np.cumsum(lengths)[:-1]], axis=axis))


@reads("Slice")
def _slice(node: Node, x: Any, starts: Any = None, ends: Any = None, *rest: Any) -> Any:
    first = node.get("starts") if starts is None else ints(starts)
    last = node.get("ends") if ends is None else ints(ends)
    axes, steps = [None if r is None else ints(r) for r in (*rest, None, None)[:2]]
    axes = node.get("axes") or list(range(len(first))) if axes is None else axes
    key: list[Any] = [slice(None)] * x.ndim
    for a, b, axis, step in zip(first, last, axes, steps or [1] * len(first), strict=True):
        n = x.shape[axis]
        a = min(max(a + n if a < 0 else a, 0), n - (step < 0))
        b = min(max(b + n if b < 0 else b, -1 if step < 0 else 0), n)
        key[axis] = slice(a, None if b < 0 else b, step)
    return x[tuple(key)]


@reads("Gather")
def _gather(node: Node, x: Any, index: Any) -> Any:
    if isinstance(x, np.ndarray):
        return np.take(x, np.asarray(index if not isinstance(index, Tensor) else index.numpy()),
                       axis=node.get("axis", 0))  # fmt: skip
    return tg.take(x, _index(x, index, node), axis=node.get("axis", 0))


@reads("Pad")
def _pad(node: Node, x: Any, pads: Any = None, value: Any = None, axes: Any = None) -> Any:
    widths = node.get("pads") if pads is None else ints(pads)
    where = list(range(x.ndim)) if axes is None else ints(axes)
    each = [(0, 0)] * x.ndim
    for i, axis in enumerate(where):
        each[axis] = widths[i], widths[i + len(where)]
    mode = node.get("mode", "constant")
    if mode != "constant":
        return tg.pad(x, each, mode)
    value = node.get("value", 0.0) if value is None else asarray(value).item()
    return tg.pad(x, each, constant_values=value)
