"""The graph that is written: nodes, constants, and the names of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import on_host
from ..errors import BackendError, GraphError

OPSET = 20


def imported() -> Any:
    """The package onnx; BackendError where it is not installed."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise BackendError(f'ONNX needs its package: pip install "onnx>=1.17" ({error})') from error
    return onnx


def memory(a: Any) -> Any:
    """What arrays of the same numbers in the same memory agree in, so that a view is what it is of.
    (All are kept alive, so that no memory is used again.)"""
    if not getattr(a, "size", 0) or not hasattr(a, "strides"):
        return id(a)
    where = a.ctypes.data if isinstance(a, np.ndarray) else a.data.ptr
    return where, a.shape, a.strides, a.dtype.str


class Graph:
    """The graph that is written: nodes, constants, and the names of arrays."""

    def __init__(self, onnx: Any, batch: tuple[int, int]):
        self.onnx, self.batch = onnx, batch
        self.nodes: list[Any] = []
        self.constants: dict[tuple[Any, ...], tuple[str, np.ndarray]] = {}
        self.names: dict[Any, str] = {}
        self.kept: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.other: dict[str, Any] | None = None  # the options of this call with the other batch

    def call(self, array: Any, name: str | None) -> None:
        """An array's name; None for one that the graph has not."""
        self.kept.append(array)
        self.names[memory(array)] = name or ""

    def depends(self, array: Any) -> bool:
        """Whether an array depends on an input."""
        return memory(array) in self.names

    def name(self, array: Any, dtype: Any = None) -> str:
        """The name of an array in the graph, cast where it has another dtype."""
        if array is None:
            return ""
        if not self.depends(array):
            a = on_host(array)
            return self.constant(a if dtype is None else a.astype(dtype))
        found = self.names[memory(array)]
        if not found:
            raise GraphError("export: what an op gives for its gradient is used as a result")
        if dtype is None or on_host(array[:0] if array.ndim else array).dtype == dtype:
            return found
        return self.node("Cast", found, to=self.dtype(dtype))

    def dtype(self, dtype: Any) -> int:
        """ONNX's number of a dtype."""
        return int(self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def constant(self, value: Any, dtype: Any = None) -> str:
        """The name of a constant."""
        a = np.asarray(value, dtype)
        key = (a.dtype.str, a.shape, a.tobytes()) if a.size < 100 else (id(value),)
        if key not in self.constants:
            self.kept.append(value)
            self.constants[key] = f"c{len(self.constants)}", a
        return self.constants[key][0]

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; the name of its output, or of several."""
        names = [
            f"{kind.lower()}{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)
        ]
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else tuple(names)

    def sizes(self, shape: Any, param: str, free: bool = False) -> str:
        """A shape among a call's options as a tensor; what follows the batch is computed from the
        input, or is -1 where one may be `free`."""
        shape = [int(n) for n in shape]
        others = shape
        if self.other is not None:
            others = [int(n) for n in np.atleast_1d(self.other[param])]
        differ = [i for i, (a, b) in enumerate(zip(shape, others, strict=True)) if a != b]
        if not differ:
            return self.constant(shape, "int64")
        if free and len(differ) == 1:
            return self.constant([-1 if i in differ else n for i, n in enumerate(shape)], "int64")
        parts = []
        for i, n in enumerate(shape):
            if i not in differ:
                parts.append(self.constant([n], "int64"))
                continue
            each, rest = divmod(n, self.batch[0])
            if rest or others[i] != each * self.batch[1]:
                raise GraphError(f"export: a size of {n} is no multiple of the batch")
            batch = self.node("Shape", self.inputs[0].name, start=0, end=1)
            parts.append(self.node("Mul", batch, self.constant([each], "int64")))
        return str(self.node("Concat", *parts, axis=0))

    def input(self, name: str, array: Any, free: bool) -> None:
        """An input of the graph."""
        self.call(array, name)
        self.inputs.append(self._value(name, array, free))

    def output(self, name: str, array: Any, free: bool) -> None:
        """An output of the graph."""
        follows = free and array.ndim and array.shape[0] == self.batch[0]
        self.node_named("Identity", self.name(array), name)
        self.outputs.append(self._value(name, array, bool(follows)))

    def node_named(self, kind: str, value: str, name: str) -> None:
        """A node whose output has this name."""
        self.nodes.append(self.onnx.helper.make_node(kind, [value], [name]))

    def _value(self, name: str, array: Any, free: bool) -> Any:
        shape = [*array.shape]
        if free:
            shape[0] = "batch"
        return self.onnx.helper.make_tensor_value_info(name, self.dtype(array.dtype), shape)

    def model(self, opset: int) -> Any:
        """The whole as ONNX's model."""
        h = self.onnx.helper
        held = [self.onnx.numpy_helper.from_array(a, n) for n, a in self.constants.values()]
        graph = h.make_graph(self.nodes, "tensorgrad", self.inputs, self.outputs, held)
        made = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)])
        made.producer_name = "tensorgrad"
        made.ir_version = min(made.ir_version, 10)
        return made
