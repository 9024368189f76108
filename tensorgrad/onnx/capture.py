"""A model as an ONNX graph: the ops of one forward call, each as the nodes of table.py.

What depends on no input is a constant. The call is made twice, with batches of two sizes, or with
other numbers where the batch is fixed: what differs in the ops' options is the batch, and is
computed from the input in the graph; what differs elsewhere was computed outside of ops, which no
graph can hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..backend import is_floating, on_host
from ..core import Op, Tensor
from ..creation import asarray
from ..dispatch import watched
from ..errors import ArgumentError, GraphError, suggest
from ..files.disk import replacing
from ..settings import Own, gate
from ..switches import evaluating
from ..trees import leaves
from ..typing import PathLike
from . import layers as _layers  # noqa: F401  (their entries in the table)
from . import places as _places  # noqa: F401
from .graph import OPSET, Graph, imported
from .table import TABLE

Model: TypeAlias = Annotated[Callable[..., Any], Own("a module, or a function of tensors")]
Example: TypeAlias = Annotated[Any, Own("an input of the model, or a tuple of them")]


class Call:
    """One call of an op: its arrays and options, and what it gave."""

    def __init__(self, op: Op, arrays: tuple[Any, ...], params: dict[str, Any], made: Any):
        self.op, self.arrays, self.params = op, arrays, params
        self.made = made if isinstance(made, tuple) else (made,)


@gate
def export(model: Model, path: PathLike, example: Example, dynamic_batch: bool = True) -> None:
    """Write a model as an ONNX file, which other programs run. It is the model in evaluation mode.

    Args:
        model: a module, or a function of tensors that returns one tensor or several.
        path: of the file.
        example: an input, as an array or tensor, or a tuple of several; of 2 examples or more.
        dynamic_batch: whether the first axis of inputs and outputs is free; else as in `example`.
    Raises: GraphError for an op that ONNX has not, and for a model that computes outside of ops;
        BackendError where the package onnx is not installed.

    >>> export(tg.nn.Dense(3, 2), "m.onnx", np.zeros((2, 2), "float32"))  # doctest: +SKIP
    """
    onnx = imported()
    given = [np.asarray(leaf) if not isinstance(leaf, Tensor) else leaf for leaf in leaves(example)]
    inputs = [asarray(a) for a in given]
    if not inputs or (dynamic_batch and any(not t.shape for t in inputs)):
        raise ArgumentError("export: the example is a tensor with a first axis, or a tuple of them")
    first, out = _run(model, inputs)
    other = _larger if dynamic_batch else _other
    second, _ = _run(model, [asarray(other(t.numpy())) for t in inputs])
    if [c.op for c in first] != [c.op for c in second]:
        raise GraphError(
            "export: the model takes other steps for a batch of another size: "
            "dynamic_batch=False exports it for this one"
            if dynamic_batch
            else "export: which steps the model takes depends on the data"
        )
    sizes = (inputs[0].shape[0], inputs[0].shape[0] + 1) if dynamic_batch else (0, 0)
    graph = Graph(onnx, sizes)
    for i, t in enumerate(inputs):
        graph.input(f"input{i}" if i else "input", t._data, dynamic_batch)
    for pair in zip(first, second, strict=True):
        _put(graph, *pair, dynamic_batch)
    for i, t in enumerate(out):
        graph.output(f"output{i}" if i else "output", t._data, dynamic_batch)
    made = graph.model(OPSET)
    onnx.checker.check_model(made, full_check=True)
    with replacing(path) as temporary:
        temporary.write_bytes(made.SerializeToString())


def _larger(a: np.ndarray) -> np.ndarray:
    return np.concatenate([a, a[:1]])


def _other(a: np.ndarray) -> np.ndarray:
    """Other numbers that the model takes: indices stay such."""
    turned = np.roll(a, 1)
    return (turned * 0.75).astype(a.dtype) if is_floating(a.dtype) else turned


def _run(model: Any, inputs: list[Tensor]) -> tuple[list[Call], list[Tensor]]:
    """The calls of ops in one forward call, in order, and its outputs."""
    calls: list[Call] = []
    inside = False

    def watch(op: Op, run: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arrays: Any, **params: Any) -> Any:
            nonlocal inside
            if inside:
                return run(*arrays, **params)
            inside = True
            try:
                made = run(*arrays, **params)
            finally:
                inside = False
            calls.append(Call(op, arrays, params, made))
            return made

        return call

    with evaluating(model.modules() if hasattr(model, "modules") else ()):
        model(*inputs)  # lazy layers draw their weights
        with watched(watch):
            out = [t for t in leaves(model(*inputs)) if isinstance(t, Tensor)]
    if not out:
        raise ArgumentError("export: the model returns no tensor")
    return calls, out


def _put(graph: Graph, call: Call, other: Call, dynamic: bool) -> None:
    """The nodes of a call, or nothing where all it depends on is constant."""
    if not any(graph.depends(a) for a in call.arrays):
        return
    name = call.op.name
    if name not in TABLE:
        raise GraphError(
            f"export: the op {name} has no counterpart in ONNX: {suggest(name, TABLE)}"
        )
    for a, b in zip(call.arrays, other.arrays, strict=True):
        if not graph.depends(a) and not _alike(a, b):
            raise GraphError(
                f"export: an input of {name} was computed from the data outside of ops, so the "
                "graph would hold it as a constant"
                + ("; of the batch alone: dynamic_batch=False" if dynamic else "")
            )
    graph.other = other.params if dynamic else None
    names = TABLE[name](graph, call)
    for made, of in zip(call.made, names if isinstance(names, tuple) else (names,), strict=False):
        graph.call(made, of)


def _alike(a: Any, b: Any) -> bool:
    return a is b or np.array_equal(on_host(a), on_host(b), equal_nan=False)
