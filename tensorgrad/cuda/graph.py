"""CUDA graphs: a whole training step (forward, backward and update) captured once and replayed.

A step of small layers is a few hundred kernel launches, each prepared by the host in Python. A
CUDA graph is a recording of these launches with the addresses they read and write, and is replayed
by one call. All state that changes from step to step must therefore be in device memory at fixed
addresses: batch, learning rate, step count, loss scale, random state.
"""

from __future__ import annotations

import gc
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import BY_TYPE, Backend, default, make
from ..core import Leaf, Tensor, next_seq
from ..dispatch import kernel_module, watched
from ..errors import ArgumentError, GraphError, TensorgradError, user_line
from ..memory import living
from ..switches import switches
from ..trees import leaves, refill
from ..typing import ArrayLike, Result

_NO_MEMORY = 2  # cudaErrorMemoryAllocation
_PACKAGE = str(Path(__file__).parent.parent)


def graphed(
    step: Callable[..., Result],
    sample_batch: ArrayLike | tuple[ArrayLike, ...],
    warmup: int = 3,
) -> Callable[..., Result]:
    """`step`, captured in a CUDA graph: a function that replays it, bit for bit the same.

    Args:
        step: a function of the batch that computes on the device only.
        sample_batch: a tensor or a tuple of them, with the shapes and dtypes of every batch; its
            values do not matter.
        warmup: how many calls run eagerly, on their own batches, before the capture.
    Returns: a function of a batch. After n calls of it, parameters, optimizer and random state are
        as after n calls of `step`. A batch of another shape, such as a smaller last one, runs
        eagerly. Results are new tensors, off the tape.
    Raises: GraphError naming the op that copies to or from the host, which a graph cannot; for
        inputs that require gradients; for gradients that are accumulated over several calls.

    The step's Python runs once, at the capture: its branches, modes and Python numbers are frozen
    into the graph. Learning rates and their schedules, loss scales, dropout and `tg.seed` are not.
    Clear gradients (`zero_grad`) within the step or before each call; `.grad` of the parameters is
    memory of the graph, which the next call overwrites. If a parameter's `data` was replaced, the
    step is captured again. On NumPy this is the step itself.

    >>> import tensorgrad as tg
    >>> w = tg.Parameter([1.0, 2.0]); sgd = tg.optim.SGD([w], lr=0.5)
    >>> def step(x):
    ...     sgd.zero_grad()
    ...     (loss := (w * x).sum()).backward()
    ...     sgd.step()
    ...     return loss
    >>> quick = graphed(step, tg.ones(2)); quick(tg.ones(2)).item(), w.tolist()
    (3.0, [0.5, 1.5])
    """
    if not callable(step):
        raise ArgumentError(f"graphed: the step is a function, got {type(step).__name__}")
    if not isinstance(warmup, (int, np.integer)) or warmup < 1:
        raise ArgumentError(f"graphed: warmup is at least 1 step, got {warmup!r}")
    sample = sample_batch if isinstance(sample_batch, tuple) else (sample_batch,)
    homes = [home for a in sample if (home := _home(a)) is not None]
    if len({home.name for home in homes}) != 1:
        names = (
            " and ".join(sorted({home.name for home in homes}))
            or "no backend: give a tensor or a tuple"
        )
        raise GraphError(f"graphed: the arrays of a batch are on one backend, here on {names}")
    home = homes[0]
    return Graphed(step, sample, int(warmup), home) if home.kernels == "cuda" else step


class Graphed:
    """A step and, after the warmup, its graph. With `refused`, a step that cannot be captured, or
    for which `shortage` names a reason, is no error: the reason is passed there, and all further
    steps run eagerly."""

    def __init__(
        self,
        step: Callable,
        sample: tuple,
        warmup: int,
        home: Backend,
        refused: Callable[[object], None] | None = None,
        shortage: Callable[[Backend], str | None] = lambda home: None,
    ):
        self.step, self.warmup, self.home = step, warmup, home
        self.refused, self.shortage, self.eager = refused, shortage, False
        self.stream = home.xp.cuda.Stream(non_blocking=True)  # the default one cannot be captured
        blas = kernel_module("cuda", "device").of(home.array_type).blas  # type: ignore[union-attr]
        weakref.finalize(self, blas.release, self.stream.ptr).atexit = False
        sample = tuple([self._lift(a) for a in sample])
        self.form = [_form(a) for a in sample]
        self.inputs = tuple(
            [
                Tensor(home.xp.empty(a.shape, a.dtype)) if isinstance(a, Tensor) else a
                for a in sample
            ]
        )
        self.graph: _Capture | None = None

    def __call__(self, *batch: Any) -> Any:
        batch = tuple([self._lift(a) for a in batch])
        aside = switches.each_time is not None or switches.anomaly is not None
        if self.eager or aside or [_form(a) for a in batch] != self.form:
            return _map(Tensor.detach, self.step(*batch))
        for mine, given in zip(self.inputs, batch, strict=True):
            if isinstance(mine, Tensor):
                mine._data[...] = given._data
        if self.graph is not None and self.graph.stale():
            if self.graph.replaced():
                self.warmup = 1  # an optimizer may have to part step counts, which no graph can
            self.graph = None  # frees its memory before the next capture
        if self.warmup:
            with _aside(self.home.xp.cuda, self.stream):
                result = self.step(*self.inputs)
            self.warmup -= 1
            return _map(_copied, result)
        if self.graph is None:
            self.graph = self._captured()
        if self.graph is None:
            return _map(Tensor.detach, self.step(*batch))
        return self.graph.launch()

    def _captured(self) -> _Capture | None:
        try:
            if reason := self.shortage(self.home):
                raise GraphError(reason)
            return _Capture(self.step, self.inputs, self.home, self.stream)
        except Exception as error:  # one of the step itself will come again
            if self.refused is None:
                raise
            self.refused(error)
            self.eager = True
            return None  # the memory of the attempt goes with the error

    def _lift(self, a: Any) -> Any:
        """Arrays as tensors on the step's backend."""
        if isinstance(a, Tensor):
            if a.node is not None:
                raise GraphError(
                    "graphed: a batch is data, and this tensor requires gradients: detach() it, or "
                    "let the step use it without passing it in"
                )
            return a
        return a if _home(a) is None else Tensor(make(a, None, self.home.name))


class _Capture:
    """The graph of a step, its memory pool, and the side effects of its Python."""

    def __init__(self, step: Callable, inputs: tuple, home: Backend, stream: Any):
        cuda = home.xp.cuda
        array_type: Any = home.array_type
        gc.collect()
        home.xp.get_default_memory_pool().free_all_blocks(stream)  # of the warmup steps
        self.pool = cuda.MemoryPool(_allocator(cuda))  # nobody else gets blocks that the graph uses
        self.pool.set_limit(size=0)
        self.each_time: list[Callable[[], None]] = []
        before = [(t, t._data, t.node, t._grad) for t in _tensors(array_type)]
        start, alone = next_seq(), threading.active_count() == 1
        used: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()

        def touched() -> list:
            """What the step may have done something to: the rest is other threads'."""
            return [e for e in before if alone or id(e[1]) in used or id(e[0]._data) in used]

        def watcher(op: Any, run: Callable) -> Callable:
            def call(*arrays: Any, **params: Any) -> Any:
                if switches.each_time is not self.each_time:  # another thread
                    return run(*arrays, **params)
                for a in arrays:
                    while type(a) is array_type and id(a) not in used:
                        used[id(a)] = a
                        a = a.base
                try:
                    return run(*arrays, **params)
                except TensorgradError:
                    raise
                except RuntimeError as error:
                    raise _refusal(op.name, user_line(), error) from error

            return call

        with _aside(cuda, stream), cuda.using_allocator(self.pool.malloc), watched(watcher):
            switches.each_time = self.each_time
            try:
                with _capturing(stream) as self.graph:
                    self.result = _map(Tensor.detach, step(*inputs))
                before = touched()
                _check(before, used)
            except BaseException as error:
                for t, data, node, grad in touched():
                    t._data, t.node, t.grad = data, node, grad
                if isinstance(error, RuntimeError) and not isinstance(error, TensorgradError):
                    raise _refusal("the step", _line(error, array_type), error) from error
                raise
            finally:
                switches.each_time = None
        # What the step's Python did to existing tensors, once, is to be repeated at each launch
        self.held = [(t, a, node) for t, a, node, _ in before if id(a) in used]
        self.kept = list(used.values())
        self.grads = [(t, t._grad) for t, _, _, grad in before if t._grad is not grad]
        self.fresh = [t for t, _, _, grad in before if grad is None and t._grad is not None]
        leaves = [node for _, _, node, _ in before if type(node) is Leaf]
        self.written = [leaf for leaf in leaves if leaf.written > start]

    def stale(self) -> bool:
        """Whether the step must be captured again: `replaced`, or there are gradients where there
        were none."""
        return self.replaced() or any(t._grad is not None for t in self.fresh)

    def replaced(self) -> bool:
        """Whether a tensor has another array, or another `requires_grad`, than when captured."""
        return any(t._data is not a or t.node is not node for t, a, node in self.held)

    def launch(self) -> Any:
        """Replay the step on the contents of the inputs; returns copies of its results."""
        for effect in self.each_time:
            effect()
        self.graph[0].launch()
        for t, grad in self.grads:
            t.grad = grad
        now = next_seq()
        for leaf in self.written:
            leaf.written = now
        return _map(_copied, self.result)


def _copied(t: Tensor) -> Tensor:
    """The numbers of a result, off the tape."""
    return t.detach().copy()


@contextmanager
def _aside(cuda: Any, stream: Any) -> Iterator[None]:
    """Within the block work goes to `stream`, ordered after earlier and before later work of the
    current stream."""
    here = cuda.get_current_stream()
    stream.wait_event(here.record())
    try:
        with stream:
            yield
    finally:
        here.wait_event(stream.record())


@contextmanager
def _capturing(stream: Any) -> Iterator[list]:
    """Capture the block's work on the stream; the graph is appended to the list at its end."""
    graph: list[Any] = []
    stream.begin_capture()
    try:
        yield graph
    except BaseException:
        with suppress(Exception):  # the stream must not stay in capture, and may have left it
            stream.end_capture()
        raise
    graph.append(stream.end_capture())


def _allocator(cuda: Any) -> Callable[[int], Any]:
    """An allocator whose failure is final: on CUDA's own error CuPy's pool would free its unused
    blocks and retry, but the graph still uses those."""

    def allocate(size: int) -> Any:
        try:
            return cuda.MemoryPointer(cuda.Memory(size), 0)
        except cuda.runtime.CUDARuntimeError as error:
            if error.status != _NO_MEMORY:
                raise
            raise MemoryError(f"no {size} bytes for a CUDA graph: {error}") from error

    return allocate


def _check(before: list, used: Any) -> None:
    """GraphError for a step whose replay would use stale memory."""
    for t, data, _, grad in before:
        if t._data is not data:
            raise GraphError(
                f"graphed: the step gave a tensor of shape {t.shape} new data, but a graph replays "
                "with the old array: write into that, t.data[...] = value"
            )
        if grad is not None and id(grad._data) in used:
            raise GraphError(
                f"graphed: the step reads a gradient of shape {grad.shape} from before it, as when "
                "gradients accumulate over several calls: call zero_grad() before backward()"
            )


def _tensors(array_type: type) -> list[Tensor]:
    """All live tensors with arrays of this type."""
    return [t for t in living(Tensor) if type(getattr(t, "_data", None)) is array_type]


def _home(a: Any) -> Backend | None:
    """The backend on which an array of a batch is computed; None for what is no array."""
    if isinstance(a, Tensor):
        return BY_TYPE[type(a._data)]
    if isinstance(a, np.ndarray):
        return default()
    return BY_TYPE[type(a)] if hasattr(a, "dtype") and hasattr(a, "shape") else None


def _form(a: Any) -> tuple:
    """What all batches have in common: type, shape and dtype; the value of what is no array."""
    return (type(a._data), a.shape, a.dtype) if isinstance(a, Tensor) else (type(a), a)


def _map(f: Callable, value: Any) -> Any:
    """Nested tuples, lists and dicts with f applied to tensors, and arrays copied."""

    def of(part: Any) -> Any:
        return (
            f(part) if isinstance(part, Tensor) else part.copy() if type(part) in BY_TYPE else part
        )

    return refill(value, iter([of(part) for part in leaves(value)]))


def _refusal(what: str, line: str, error: Exception) -> GraphError:
    return GraphError(
        f"{what}{f' at {line}' if line else ''} cannot be captured in a CUDA graph: {error}"
    )


def _line(error: BaseException, array_type: type) -> str:
    """`file.py:12` of the innermost frame that is neither ours nor the array library's."""
    library = array_type.__module__.rpartition(".")[0] or array_type.__module__
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        file, module = frame.f_code.co_filename, frame.f_globals.get("__name__", "")
        if not file.startswith((_PACKAGE, "<")) and not module.startswith(library):
            found = f"{Path(file).name}:{line}"
    return found
