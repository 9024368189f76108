"""A stand-in for NVIDIA's `cudnn`: the graphs that our kernels make of it, computed by NumPy in
float32 in the memory of the simulated device, and as much of CuPy as `Cudnn` asks for."""

from __future__ import annotations

import ctypes
import functools
import math
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import cuda
from .namespace import xp

TYPES = {"HALF": "float16", "BFLOAT16": "bfloat16", "FLOAT": "float32"}
NOTES = ("TENSOR_CORE", "DOWN_CONVERT_INPUTS", "FFT", "NONDETERMINISTIC", "WINOGRAD")
NOTES += ("REDUCED_PRECISION_REDUCTION", "WINOGRAD_TILE_4x4", "WINOGRAD_TILE_6x6")
NOTES += ("WINOGRAD_TILE_13x13",)


class NotSupported(Exception):
    """`cudnnGraphNotSupportedError`, which is no RuntimeError."""


class Library:
    """The module, and what was asked of it. `refuse` and `fail` are names of operations for which
    there is no engine, or one that fails."""

    __version__ = "1.32.0"
    cudnnGraphNotSupportedError = NotSupported
    data_type = SimpleNamespace(**{name: name for name in TYPES})
    heur_mode = SimpleNamespace(A="A", FALLBACK="FALLBACK")
    numerical_note = SimpleNamespace(**{name: name for name in NOTES})

    def __init__(self) -> None:
        self.graphs: list[Graph] = []
        self.calls: list[str] = []
        self.handles = 0
        self.refuse: set[str] = set()
        self.fail: set[str] = set()
        self.pygraph = functools.partial(Graph, self)

    def backend_version(self) -> int:
        return 92800

    def backend_version_string(self) -> str:
        return f"9.{self.backend_version() // 100 % 100}"

    def create_handle(self) -> SimpleNamespace:
        self.handles += 1
        return SimpleNamespace(stream=0)

    def set_stream(self, handle: SimpleNamespace, stream: int) -> None:
        handle.stream = stream
        time.sleep(1e-4)  # now another thread might set its own


class Tensor:
    """A tensor of a graph."""

    def __init__(self, uid: int, dim: Any = None, stride: Any = None, data_type: Any = None):
        self.uid, self.dim, self.stride, self.data_type = uid, dim, stride, data_type
        self.output = False

    def get_uid(self) -> int:
        return self.uid

    def set_output(self, on: bool) -> Tensor:
        self.output = on
        return self

    def set_dim(self, dim: list[int]) -> Tensor:
        self.dim = dim
        return self

    def set_stride(self, stride: list[int]) -> Tensor:
        self.stride = stride
        return self

    def set_data_type(self, data_type: str) -> Tensor:
        self.data_type = data_type
        return self

    def at(self, pointer: int) -> np.ndarray:
        """The array at an address."""
        dtype, numbers = np.dtype(TYPES[self.data_type]), zip(self.dim, self.stride, strict=True)
        reach = dtype.itemsize * (1 + sum([(n - 1) * step for n, step in numbers]))
        memory = (ctypes.c_char * reach).from_address(pointer)
        strides = [step * dtype.itemsize for step in self.stride]
        return np.ndarray(self.dim, dtype, memory, 0, strides)


class Graph:
    """`pygraph`. The first of its plans is not cuDNN's own, the second cannot be built."""

    plans = tuple(SimpleNamespace(cpp_index=i) for i in (None, 0, 1))

    def __init__(self, library: Library, **how: Any):
        assert how["intermediate_data_type"] == how["compute_data_type"] == "FLOAT"
        self.library, self.handle, self.tensors = library, how["handle"], []
        self.notes: list[str] = []
        self.nodes: list[tuple[str, Callable, dict[str, Any], list[Tensor]]] = []
        self.workspace, self.index, self.steps = 64, None, []

    def tensor(self, **lies: Any) -> Tensor:
        assert all(type(n) is int for n in (*lies.get("dim", ()), *lies.get("stride", ())))
        self.tensors.append(Tensor(len(self.tensors) + 1, **lies))
        return self.tensors[-1]

    def _node(self, name: str, outputs: int, compute: Callable, **given: Any) -> Any:
        made = [self.tensor() for _ in range(outputs)]
        self.nodes.append((name, compute, given, made))
        return made[0] if outputs == 1 else made

    def conv_fprop(self, **given: Any) -> Tensor:
        return self._node("conv_fprop", 1, conv_fprop, **given)

    def conv_dgrad(self, **given: Any) -> Tensor:
        return self._node("conv_dgrad", 1, conv_dgrad, **given)

    def conv_wgrad(self, **given: Any) -> Tensor:
        return self._node("conv_wgrad", 1, conv_wgrad, **given)

    def bias(self, **given: Any) -> Tensor:
        return self._node("bias", 1, lambda y, input, bias: y.__iadd__(input + bias), **given)

    def sdpa(self, **given: Any) -> list[Tensor]:
        return self._node("sdpa", 2, sdpa, **given)

    def sdpa_backward(self, **given: Any) -> list[Tensor]:
        return self._node("sdpa_backward", 3, sdpa_backward, **given)

    def validate(self) -> None:
        assert not cuda.get_current_stream().is_capturing(), "a plan was made in a capture"
        self.steps.append("validate")

    def build_operation_graph(self) -> None:
        self.steps.append("build_operation_graph")

    def create_execution_plans(self, modes: list[str]) -> None:
        assert self.steps == ["validate", "build_operation_graph"]
        self.library.graphs.append(self)
        if self.library.refuse & {name for name, *_ in self.nodes}:
            raise NotSupported("No valid engine configs")

    def deselect_numeric_notes(self, notes: list[str]) -> None:
        self.notes += notes

    def deselect_workspace_greater_than(self, limit: int) -> None:
        self.limit = limit

    def build_plan_at_index(self, index: int) -> None:
        if index == 1:
            raise NotSupported("Deselecting execution plan")
        assert index == 2
        self.index = index

    def get_plan_name_at_index(self, index: int) -> str:
        return f"eng{index}"

    def get_workspace_size(self) -> int:
        return self.workspace

    def execute(self, tensors: dict[int, int], workspace: int, handle: Any) -> None:
        assert handle is self.handle
        assert handle.stream == cuda.get_current_stream().ptr
        assert not any(pointer % 16 for pointer in tensors.values())
        names = [name for name, *_ in self.nodes]
        if self.library.fail & set(names):
            raise RuntimeError("CUDNN_STATUS_EXECUTION_FAILED")
        self.library.calls += names
        cuda.note(lambda: self._computed(tensors, workspace))

    def _computed(self, tensors: dict[int, int], workspace: int) -> None:
        (ctypes.c_char * self.workspace).from_address(workspace)[:] = b"\xff" * self.workspace
        arrays = {t.uid: t.at(tensors[t.uid]) for t in self.tensors if t.uid in tensors}
        wide = {uid: a.astype(np.float32) for uid, a in arrays.items()}
        for _, compute, given, made in self.nodes:
            for t in made:  # one that is no output is of the output's shape
                wide[t.uid] = np.zeros(t.dim or self.tensors[-1].dim, np.float32)
            inputs = {k: wide[v.uid] if type(v) is Tensor else v for k, v in given.items()}
            compute(*[wide[t.uid] for t in made], **inputs)
        for t in self.tensors:
            if t.output:
                arrays[t.uid][...] = wide[t.uid]


# --- what is computed ---------------------------------------------------------------------------


def taps(
    x: np.ndarray, w: np.ndarray, y: np.ndarray, stride: Any, padding: Any, dilation: Any
) -> tuple[np.ndarray, Iterator[tuple[np.ndarray, ...]]]:
    """The padded images, and for each place of a window: what is there in all of them, that place
    of the filters, and the results. By groups."""
    (n, channels, *_), (filters, inner, *window) = x.shape, w.shape
    groups, padded = channels // inner, np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in padding]])
    images = padded.reshape(n, groups, inner, *padded.shape[2:])
    weights = w.reshape(groups, filters // groups, inner, *window)
    results = y.reshape(n, groups, filters // groups, *y.shape[2:])

    def places() -> Iterator[tuple[np.ndarray, ...]]:
        for at in np.ndindex(*window):
            rows, columns = [
                slice(d * i, d * i + s * (o - 1) + 1, s)
                for i, d, s, o in zip(at, dilation, stride, y.shape[2:], strict=True)
            ]
            yield images[..., rows, columns], weights[(..., *at)], results

    return padded, places()


def conv_fprop(y: np.ndarray, image: np.ndarray, weight: np.ndarray, **how: Any) -> None:
    for x, w, result in taps(image, weight, y, **how)[1]:
        result += np.einsum("ngchw,gkc->ngkhw", x, w)


def conv_dgrad(x: np.ndarray, loss: np.ndarray, filter: np.ndarray, **how: Any) -> None:
    padded, places = taps(x, filter, loss, **how)
    for seen, w, dy in places:
        seen += np.einsum("ngkhw,gkc->ngchw", dy, w)
    (top, left), (height, width) = how["padding"], x.shape[2:]
    x[...] = padded[:, :, top : top + height, left : left + width]


def conv_wgrad(w: np.ndarray, image: np.ndarray, loss: np.ndarray, **how: Any) -> None:
    for x, filters, dy in taps(image, w, loss, **how)[1]:
        filters[...] = np.einsum("ngchw,ngkhw->gkc", x, dy)


def scores(
    q: np.ndarray, k: np.ndarray, scale: float, diagonal_band_right_bound: int | None = None
) -> np.ndarray:
    s = np.einsum("bhqd,bhkd->bhqk", q, k) * np.float32(scale)
    if diagonal_band_right_bound is not None:
        assert diagonal_band_right_bound == 0
        s[..., ~np.tri(*s.shape[2:], dtype=bool)] = -math.inf
    return s


def sdpa(
    o: np.ndarray, stats: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray,
    attn_scale: float, generate_stats: bool, **band: Any,
) -> None:  # fmt: skip
    assert generate_stats
    s = scores(q, k, attn_scale, **band)
    top = s.max(-1, keepdims=True)
    p = np.exp(s - top)
    total = p.sum(-1, keepdims=True)
    stats[...] = top + np.log(total)
    o[...] = p @ v / total


def sdpa_backward(
    dq: np.ndarray, dk: np.ndarray, dv: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray,
    o: np.ndarray, dO: np.ndarray, stats: np.ndarray, attn_scale: float,
    use_deterministic_algorithm: bool, **band: Any,
) -> None:  # fmt: skip
    assert use_deterministic_algorithm
    p = np.exp(scores(q, k, attn_scale, **band) - stats)
    dv[...] = p.swapaxes(2, 3) @ dO
    ds = p * (dO @ v.swapaxes(2, 3) - (dO * o).sum(-1, keepdims=True)) * np.float32(attn_scale)
    dq[...] = ds @ k
    dk[...] = ds.swapaxes(2, 3) @ q


# --- CuPy ---------------------------------------------------------------------------------------


class Cupy:
    """CuPy's names, on a GPU that can be chosen."""

    def __init__(self) -> None:
        self.gpu, self.empty = 0, xp.empty
        runtime = SimpleNamespace(getDevice=lambda: self.gpu)
        self.cuda = SimpleNamespace(runtime=runtime, get_current_stream=cuda.get_current_stream)
