"""tg.compile: a step that is captured once and replayed."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import dispatch
from ..backend import BY_TYPE, make, met
from ..core import Tensor
from ..errors import ArgumentError, GraphError, user_level
from ..settings import gate
from ..switches import switches
from ..trees import leaves, refill
from ..typing import Result
from .capture import Captured, difference
from .plan import MISS, MOST, Plan
from .quick import CHECKS, Quick, shorter
from .tape import lock
from .traced import known

_TENSOR = {Tensor}
_TOLD = 4  # plans, from which on it is said that something varies


@gate
def compile(
    step: Callable[..., Result], *, strict: bool = False, exact: bool = False
) -> Callable[..., Result]:
    """`step`, a function or a module, to be captured as one flat list of array functions, which is
    replayed without tape, dispatch and layers.

    Args:
        step: a function of the batch: forward, backward and update; or without a backward, a
            model under `no_grad`.
        strict: whether a step that cannot be captured is an error; else it runs eagerly, and a
            warning says why, once.
        exact: whether all numbers have the bits of the eager step; else exponentials, sines and
            logarithms may differ from NumPy's in the last bit or two, and sums be in another order.
    Returns: a function of the same arguments. Results are new tensors, off the tape.
    Raises: GraphError, with the line, where a spot check finds that a replay is not what the step
        has come to do; with `strict`, for all that cannot be captured.

    The first call runs as it is, two more are captured and compared, and from then on the list is
    replayed: once for each form of the batch (shapes, dtypes, other arguments), mode and value of
    what the step's Python reads by name. A step on a GPU is captured in a CUDA graph, with the same
    guards (`cuda.graphed` makes one without).

    >>> import tensorgrad as tg
    >>> w = tg.Parameter([1.0, 2.0]); sgd = tg.optim.SGD([w], lr=0.5)
    >>> @tg.compile
    ... def step(x):
    ...     sgd.zero_grad()
    ...     (loss := (w * x).sum()).backward()
    ...     sgd.step()
    ...     return loss
    >>> [step(tg.ones(2)).item() for _ in range(5)]
    [3.0, 2.0, 1.0, 0.0, -1.0]
    """
    if not callable(step):
        raise ArgumentError(f"compile: a step is a function, got {type(step).__name__}")
    return Compiled(step, strict, exact)


class Compiled:
    """A step and its plans."""

    def __init__(self, step: Callable, strict: bool = False, exact: bool = False):
        self.step, self.strict, self.exact = step, strict, exact
        self.plans: dict[Any, list[Plan]] = {}
        self.pending: dict[Any, list[Captured]] = {}  # captured once
        self.warm: set[Any] = set()  # keys of which there was an eager step
        self.told = False  # that loops cannot be compiled
        self._way: Quick | None = None  # into the plan that was replayed last
        self.eager: str | None = None  # why nothing more is captured
        self._lock = threading.RLock()
        self._graphs: Any = None  # on a GPU
        self.__doc__ = getattr(step, "__doc__", None)
        self.__name__ = getattr(step, "__name__", type(step).__name__)
        self.__wrapped__ = step
        known()

    def __getattr__(self, name: str) -> Any:
        if name == "step":  # not yet there, as in unpickling
            raise AttributeError(name)
        return getattr(self.step, name)

    def __reduce__(self) -> tuple:
        return Compiled, (self.step, self.strict, self.exact)

    def explain(self) -> str:
        """What was captured and how it is replayed: the loops, and the calls between them."""
        from .explain import explained

        return explained(self.__name__, self.eager, self.plans)

    def __repr__(self) -> str:
        return f"<compiled {self.__name__}>"

    def __call__(self, *args: Any, **named: Any) -> Any:
        way = self._way
        if way is not None and not named and len(args) == way.given:
            y = way.run(*args)
            if y is not MISS:
                return y if way.whole else _filled(way.plan.captured, y, args)
        if self.eager is not None or _aside():
            return self.step(*args, **named)
        if not named and {*map(type, args)} <= _TENSOR:  # nearly always
            given: Any = args
            arrays = [t._data for t in args]
            key: Any = _modes(len(args), tuple([(a.shape, a.dtype) for a in arrays]))
        else:
            tree: Any = (args, named)
            flat = leaves(tree)
            if any(isinstance(a, np.ndarray) for a in flat):
                flat = [Tensor(make(a)) if isinstance(a, np.ndarray) else a for a in flat]
                args, named = tree = refill(tree, iter(flat))
            given = [a for a in flat if isinstance(a, Tensor)]
            arrays = [t._data for t in given]
            key = _key(tree, flat)
        for plan in self.plans.get(key, ()):
            if plan.reads.hold():
                plan.calls_made += 1
                if plan.calls_made in CHECKS:
                    return self._checked(plan, args, named, given)
                if (y := plan(arrays)) is not MISS:
                    self._way = None if named else shorter(plan, given, args)
                    return _filled(plan.captured, y, given)
        if not lock.acquire(blocking=False):  # another thread captures, and has lifted tensors
            with lock:
                pass
            return self(*args, **named)
        lock.release()
        return self._first(key, args, named, given)

    def _first(self, key: Any, args: tuple, named: dict[str, Any], given: list[Tensor]) -> Any:
        """A call for which there is no plan."""
        home = None if not given else BY_TYPE.get(type(given[0]._data))
        if (why := _unfit(given, home)) is not None:
            self._refuse(why)
            return self.step(*args, **named)
        if key not in self.warm:  # lazy layers and states of optimizers are made by an eager step
            result = self.step(*args, **named)
            self.warm.add(key)
            return refill(result, iter([_detached(part) for part in leaves(result)]))
        with self._lock:
            if home is not None and home.kernels == "cuda":
                if self._graphs is None:
                    from .on_gpu import OnGPU

                    self._graphs = OnGPU(self.step, self._refuse)
                return self._graphs(key, args, named, home)
            waiting = self.pending.setdefault(key, [])
            before = next((c for c in waiting if c.tape.reads.hold()), None)
            captured = Captured(self.step, args, named, given)
            if captured.tape.refused:
                self._refuse(captured.tape.refused)
                return captured.value
            if before is None:
                waiting[MOST:] = []
                waiting.insert(0, captured)
                return captured.value
            waiting.remove(before)
            if (why := difference(before, captured)) is not None:
                self._refuse(why)
                return captured.value
            self.warm.discard(key)
            plan = self._planned(captured, before)
            if (why := plan.stale()) is not None:
                self._refuse(why)
                return captured.value
            value, captured.value = captured.value, None
            self.plans.setdefault(key, []).insert(0, plan)
            self._count()
        return value

    def _planned(self, captured: Captured, before: Captured) -> Plan:
        """The plan of two runs, with loops of machine code where they can be compiled here."""
        try:
            return Plan(captured, before, self.exact)
        except ImportError as error:
            if not self.told:
                self.told = True
                warnings.warn(
                    f"compile: {error}; loops are not fused. pip install -U numba llvmlite",
                    RuntimeWarning,
                    stacklevel=user_level(),
                )
            return Plan(captured, before)

    def _count(self) -> None:
        many = [p for plans in self.plans.values() for p in plans]
        if len(many) >= MOST:
            self._refuse(f"it was captured {len(many)} times, for {self._varying()}")
        elif len(many) == _TOLD:
            warnings.warn(
                f"compile: {self.__name__} is captured for the {len(many)}th time: "
                f"{self._varying()}; after {MOST} it runs eagerly. Pad batches to one shape, and "
                "pass numbers that change as tensors",
                stacklevel=user_level(),
            )

    def _varying(self) -> str:
        forms = [key[-1] for key in self.plans]
        shapes = {tuple([a[0] for a in form if type(a) is tuple]) for form in forms}
        if len(shapes) > 1:
            return f"batches of the shapes {sorted(map(str, shapes))[:3]}"
        return "other arguments" if len(forms) > 1 else "values that its Python reads by name"

    def _checked(self, plan: Plan, args: tuple, named: dict[str, Any], given: list) -> Any:
        """Every now and then the step itself is run, and compared with what is replayed."""
        captured = Captured(self.step, args, named, given)
        why = captured.tape.refused or difference(plan.captured, captured)
        if why:
            self.eager, self._way = why, None
            raise GraphError(
                f"compile: {self.__name__} is not what was captured any more, for up to "
                f"{plan.calls_made * 7 // 8} calls: {why}"
            )
        return captured.value

    def _refuse(self, why: str) -> None:
        self.eager, self._way = why, None
        self.plans.clear()
        self.pending.clear()
        if self.strict:
            raise GraphError(f"compile: {self.__name__} cannot be captured: {why}")
        warnings.warn(
            f"compile: {self.__name__} runs eagerly: {why}",
            RuntimeWarning,
            stacklevel=user_level(),
        )


def _aside() -> bool:
    """Whether this is no time to capture or replay: within a capture, a recomputation, ..."""
    s = switches
    busy = s.each_time is not None or s.anomaly is not None or s.autocast is not None
    return bool(busy or s.recomputing or s.differentiating)


def _unfit(given: list[Tensor], home: Any) -> str | None:
    """Why this batch cannot be captured."""
    if any(t.node is not None for t in given):
        return "an argument requires gradients: let the step use it without passing it in"
    kinds = {type(t._data) for t in given}
    if len(kinds) > 1:
        return "the batch is on two devices: give the step all of it on one, x.to(...)"
    if kinds and kinds != {np.ndarray} and (home is None or home.kernels != "cuda"):
        return f"the batch holds arrays of the type {kinds.pop().__name__}"
    return None


def _key(tree: Any, flat: list) -> Any:
    """What all calls of one plan have in common."""
    form = tuple(
        [
            (a._data.shape, a._data.dtype) if isinstance(a, Tensor) else (type(a), _hashable(a))
            for a in flat
        ]
    )
    plain = not tree[1] and {*map(type, tree[0])} <= _TENSOR
    return _modes(len(flat) if plain else _structure(tree), form)


def _modes(shape: Any, form: tuple) -> Any:
    """What calls have in common besides their arguments, of that structure and form."""
    s = switches
    modes = tuple([(k, v[1]) for k, v in s.training.items()]) if s.training else ()
    return s.recording, dispatch._mode, len(met), modes, shape, form


def _structure(tree: Any) -> Any:
    if isinstance(tree, dict):
        return tuple([(k, _structure(v)) for k, v in tree.items()])
    if isinstance(tree, (list, tuple)):
        return (type(tree), *[_structure(v) for v in tree])
    return tree is None


def _hashable(a: Any) -> Any:
    try:
        hash(a)
    except TypeError:
        return id(a)
    return a


def _detached(part: Any) -> Any:
    if isinstance(part, Tensor) and part.node is not None and type(part) is Tensor:
        node = part.node
        node = node if node.op is not None or not node.parents else node.parents[0]
        return part.detach() if node.saved is None else part
    return part


def _filled(captured: Captured, y: Any, given: Any) -> Any:
    """The result in its structure."""
    if captured.form is ... and captured.results[0][0] != "given":
        return y[0]
    parts = [
        given[v] if kind == "given" else part
        for part, (kind, v) in zip(y, captured.results, strict=True)
    ]
    return parts[0] if captured.form is ... else refill(captured.form, iter(parts))
