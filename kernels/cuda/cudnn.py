"""Convolution and attention by cuDNN, where NVIDIA's frontend for Python is installed.

An operation is a graph of tensors with shape, strides and dtype, for which cuDNN's heuristics
choose an engine on this GPU. Nothing is timed, so the choice is deterministic; running it is one
call on CuPy's current stream. Engines are excluded that are not deterministic, accumulate halves in
halves, spread a NaN over a tile of the image, or round float32 unasked. What cuDNN has no engine
for is left to our own kernels.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from . import cublas
from .device import ctype

Array = Any

enabled = os.environ.get("TENSORGRAD_CUDNN") != "0"

OLDEST = 91600  # until then attention copied lengths from the host, which a captured graph cannot
WORKSPACE = 1 << 30  # bytes that an engine may ask for
MOST_PLANS = 4096
LEAST = 64  # rows of attention; making a plan for the gradient of a single one crashes (9.28)
ALIGNMENT = 16  # bytes that arrays are to be aligned to
HALVES = {"__half": "HALF", "__nv_bfloat16": "BFLOAT16"}  # by the CUDA C type, which is at hand
TYPES = {**HALVES, "float": "FLOAT"}
# Engines are left out by what NVIDIA notes about them.
UNWANTED = ("NONDETERMINISTIC", "REDUCED_PRECISION_REDUCTION", "FFT", "WINOGRAD")
UNWANTED += ("WINOGRAD_TILE_4x4", "WINOGRAD_TILE_6x6", "WINOGRAD_TILE_13x13")
ROUNDING = ("TENSOR_CORE", "DOWN_CONVERT_INPUTS")  # float32 to TF32, or to halves

# --- graphs -------------------------------------------------------------------------------------


def conv2d(graph: Any, x: Any, w: Any, b: Any = None, **how: Any) -> list:
    y = graph.conv_fprop(image=x, weight=w, **how)
    return [y if b is None else graph.bias(input=y, bias=b)]


def conv2d_input(graph: Any, dy: Any, w: Any, **how: Any) -> list:
    return [graph.conv_dgrad(loss=dy, filter=w, **how)]


def conv2d_weight(graph: Any, x: Any, dy: Any, **how: Any) -> list:
    return [graph.conv_wgrad(image=x, loss=dy, **how)]


def attention(graph: Any, q: Any, k: Any, v: Any, **how: Any) -> list:
    return graph.sdpa(q=q, k=k, v=v, generate_stats=True, **how)


def attention_grad(
    graph: Any, g: Any, q: Any, k: Any, v: Any, y: Any, lse: Any, **how: Any
) -> list:
    inputs = {"q": q, "k": k, "v": v, "o": y, "dO": g, "stats": lse}
    return graph.sdpa_backward(**inputs, use_deterministic_algorithm=True, **how)


GRAPHS: dict[str, Callable[..., list]] = {
    f.__name__: f for f in (conv2d, conv2d_input, conv2d_weight, attention, attention_grad)
}


def described(cudnn: Any, x: Array) -> dict[str, Any]:
    """The attributes of an array in a graph."""
    return {
        "dim": list(x.shape),
        "stride": [step // x.itemsize for step in x.strides],
        "data_type": getattr(cudnn.data_type, TYPES[ctype(x)]),
    }


class CudnnError(RuntimeError):
    """What went wrong on the GPU."""


class Plan:
    """An operation on arrays of certain layouts, and the engine for it; RuntimeError where there
    is none. `where` is the handle of a GPU, or what describes one that is not there."""

    def __init__(
        self,
        cudnn: Any,
        op: str,
        inputs: Sequence[Array | None],
        outputs: Sequence[Array],
        how: dict[str, Any],
        **where: Any,
    ):
        wide, modes, notes = cudnn.data_type.FLOAT, cudnn.heur_mode, UNWANTED
        if ctype(outputs[0]) == "float" and not cublas.tf32:
            notes += ROUNDING
        graph = cudnn.pygraph(intermediate_data_type=wide, compute_data_type=wide, **where)
        given = [None if x is None else graph.tensor(**described(cudnn, x)) for x in inputs]
        made = GRAPHS[op](graph, *given, **how)
        for tensor, y in zip(made, outputs, strict=True):
            attributes = described(cudnn, y)
            tensor.set_output(True).set_data_type(attributes["data_type"])
            tensor.set_dim(attributes["dim"]).set_stride(attributes["stride"])
        try:
            graph.validate()
            graph.build_operation_graph()
            graph.create_execution_plans([modes.A, modes.FALLBACK])
        except (cudnn.cudnnGraphNotSupportedError, NotImplementedError) as error:
            raise RuntimeError(str(error)) from error
        graph.deselect_numeric_notes([getattr(cudnn.numerical_note, name) for name in notes])
        graph.deselect_workspace_greater_than(WORKSPACE)
        self.name = self._built(cudnn, graph)
        self.graph, self.workspace = graph, graph.get_workspace_size()
        self.tensors = [t.get_uid() for t in (*given, *made) if t is not None]

    @staticmethod
    def _built(cudnn: Any, graph: Any) -> str:
        """The name of the first engine that can be had. Those without an index are not cuDNN's, but
        are written in Python and come with the frontend."""
        reasons = []
        for i, plan in enumerate(graph.plans):
            if plan.cpp_index is not None:
                try:
                    graph.build_plan_at_index(i)
                    return graph.get_plan_name_at_index(i)
                except (cudnn.cudnnGraphNotSupportedError, RuntimeError) as error:
                    reasons.append(str(error))
        raise RuntimeError("; ".join(reasons) or "no engine")


# --- the library --------------------------------------------------------------------------------


class Cudnn:
    """cuDNN for the arrays of one module. It has a handle for each GPU, which one thread at a time
    uses, and asks the heuristics once for each layout. Plans are kept for good, as
    captured graphs run their kernels; these are made before a capture, never in one."""

    def __init__(self, cupy: Any, library: Any):
        self.cupy, self.library, self.lock = cupy, library, threading.Lock()
        self.handles: dict[int, Any] = {}
        self.plans: dict[tuple, Plan | str] = {}  # or why there is none

    def __call__(
        self, op: str, inputs: Sequence[Array | None], outputs: Sequence[Array], **how: Any
    ) -> bool:
        """Fills the outputs, or says that it cannot."""
        arrays = [x for x in (*inputs, *outputs) if x is not None]
        pointers = [x.data.ptr for x in arrays]
        if any(pointer % ALIGNMENT for pointer in pointers):
            return False
        gpu, stream = self.cupy.cuda.runtime.getDevice(), self.cupy.cuda.get_current_stream()
        lie = [(x.shape, x.strides, x.dtype) for x in arrays]
        key = (op, gpu, cublas.tf32, *how.values(), *lie)
        with self.lock:
            plan = self.plans.get(key)
            if plan is None:
                if stream.is_capturing() or len(self.plans) >= MOST_PLANS:
                    return False
                plan = self.plans[key] = self._plan(gpu, op, inputs, outputs, how)
            if isinstance(plan, str):
                return False
            memory = self.cupy.empty((plan.workspace,), "uint8")
            try:
                self.library.set_stream(self.handles[gpu], stream.ptr)
                tensors = dict(zip(plan.tensors, pointers, strict=True))
                plan.graph.execute(tensors, memory.data.ptr, self.handles[gpu])
            except Exception as error:
                said = ", ".join([f"{x.dtype} {x.shape}" for x in arrays])
                raise CudnnError(f"cuDNN: {error}, {op} by {plan.name} of {said}") from error
        return True

    def _plan(self, gpu: int, op: str, *described: Any) -> Plan | str:
        try:
            if gpu not in self.handles:
                self.handles[gpu] = self.library.create_handle()
            return Plan(self.library, op, *described, handle=self.handles[gpu])
        except RuntimeError as error:
            return str(error)


@functools.cache
def library() -> ModuleType | str:
    """NVIDIA's frontend, or why there is none."""
    # On Hopper the gradient of attention keeps all scores in memory up to this limit, and takes
    # a way with less memory and more time beyond; both give the same bits every time.
    os.environ.setdefault("CUDNN_FRONTEND_ATTN_DP_WORKSPACE_LIMIT", str(WORKSPACE // 2))
    try:
        import cudnn

        version = cudnn.backend_version()
    except Exception as error:  # not installed, or NVIDIA's library behind it is not
        return f"{type(error).__name__}: {str(error).splitlines()[0]}"
    if version < OLDEST:
        return f"cuDNN {cudnn.backend_version_string()} is older than 9.16"
    return cudnn


def why_not() -> str | None:
    """The reason why cuDNN is not used, None where it is."""
    if not enabled:
        return "TENSORGRAD_CUDNN=0"
    found = library()
    return found if isinstance(found, str) else None


LIBRARIES: dict[type, Cudnn | None] = {}  # by type of array


def _of(x: Array) -> Cudnn | None:
    kind = type(x)
    if kind not in LIBRARIES:
        here = None
        if kind.__module__.split(".")[0] == "cupy" and why_not() is None:
            import cupy

            here = Cudnn(cupy, library())
        LIBRARIES[kind] = here
    return LIBRARIES[kind] if enabled else None


# --- what takes part ----------------------------------------------------------------------------


def convolved(op: str, inputs: Sequence[Array | None], y: Array, *geometry: Sequence[int]) -> bool:
    """Whether cuDNN has written a convolution, or one of its gradients, to y. The geometry is
    stride, padding and dilation."""
    dnn = _of(y)
    if dnn is None or ctype(y) not in TYPES:
        return False
    stride, padding, dilation = [tuple(pair) for pair in geometry]
    return dnn(op, inputs, [y], stride=stride, padding=padding, dilation=dilation)


def attended(
    op: str, inputs: Sequence[Array], outputs: Sequence[Array], causal: bool, scale: float
) -> bool:
    """The same of attention without a mask, or of all of its gradients, in halves and over rows
    enough to be worth it. All arrays have four axes, of which the third one counts rows."""
    dnn, dtype = _of(outputs[0]), outputs[0].dtype
    if dnn is None or ctype(outputs[0]) not in HALVES:
        return False
    for x in (*inputs, *outputs):
        steps = (*x.strides[:3], x.shape[3] * x.itemsize) if x.dtype == dtype else ()
        if x.shape[2] < LEAST or any(n <= 0 or n % ALIGNMENT for n in steps):
            return False
    band = {"diagonal_band_right_bound": 0} if causal else {}
    return dnn(op, inputs, outputs, attn_scale=scale, **band)
