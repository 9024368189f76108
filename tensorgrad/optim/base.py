"""What optimizers share: parameter groups, their hyper-parameter vectors, steps and clipping."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..backend import BY_TYPE, cast, make, on_host
from ..core import Tensor, stamp
from ..errors import ArgumentError, GraphError, ShapeError
from ..kernels.interrupts import uninterrupted
from ..ops.update import advance_step, undone_unless
from ..ownership import gradient_of
from ..rows import Rows
from ..settings import Own, Real, gate, kinds_of, take
from ..switches import each_time, forbid, recording, switches
from ..typing import ArrayLike, NonNegative, Positive
from . import clocks, rows
from .clipping import Norm, clip_grad_norm_, clip_grad_value_
from .clocks import Clock
from .kinds import Schedule
from .parameters import check_replaced, groups_of

# parameters, (name, parameter), groups of them with options, or a dict by name
Parameters: TypeAlias = Annotated[
    Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]] | dict[str, Any],
    Own("parameters, or groups of them"),
]


class Optimizer:
    """Updates parameters from their gradients. Subclasses say which state a parameter needs
    (`init_state`) and how all parameters of a group are updated (`update`, one in-place op).

    `params` is a list of parameters, or of groups `{"params": [...], "lr": ...}`; it may be left
    out and is then bound by `compile`, or by the first `apply_gradients`. `lr` is the learning
    rate, a number or a schedule: a function from the step number, from 0, to a rate.

    A group is a dict of its parameters, its options, and arrays beside the parameters, so that a
    captured step reads what they hold at each launch: `hyper`, [learning rate, step], and
    `conditional_hyper`, the same memory with one number more, whether the step is applied. Steps
    are counted for each parameter: one without a gradient in some of them has a clock of its own.

    >>> from ..nn import Parameter
    >>> class SignSGD(Optimizer):
    ...     def init_state(self, p, group): return ()
    ...     def update(self, params, grads, states, group):
    ...         for p, g in zip(params, grads): p -= group["hyper"][0] * np.sign(g)
    >>> p = Parameter([1.0]); (p * p).sum().backward(); SignSGD([p], lr=0.25).step(); p.tolist()
    [0.75]
    """

    defaults: dict[str, Any] = {}
    by_rows: tuple[str, ...] | None = None  # options without which only rows with gradients move
    conditional = False  # whether the op of `update` itself does nothing where the flag is 0
    clock: tuple[float, ...] = ()  # what else `hyper` holds at first
    has_rows = False  # whether there was a gradient of rows

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1e-3,
        *,
        learning_rate: NonNegative | Schedule | None = None,
        **options: Any,
    ):
        if learning_rate is not None:
            lr = learning_rate
        self.schedule: Schedule | None = lr if callable(lr) else None
        self.options = {**self.defaults, **options}
        self.start_lr = self._taken("lr", lr(0)) if callable(lr) else lr
        self.steps = 0
        self.groups: list[dict[str, Any]] = []
        self.state: dict[int, tuple] = {}  # by the parameter's index in params()
        if params is not None:
            self.bind(params)

    def bind(self, params: Parameters) -> None:
        """Add these parameters, or groups of them, to those that are updated."""
        for group in groups_of(type(self).__name__, params, self.params()):
            members = group["params"]
            extra = {k: v for k, v in group.items() if k not in ("params", "lr")}
            unknown = set(extra) - set(self.options)
            if unknown:
                raise ArgumentError(
                    f"{type(self).__name__}: a group has the unknown options {sorted(unknown)}; "
                    f"known are params, lr, {', '.join(self.options)}"
                )
            extra = {option: self._taken(option, value) for option, value in extra.items()}
            rate = group.get("lr", self.start_lr)
            own = group.get("lr", self.schedule)  # a group's rate replaces the optimizer's
            schedule = own if callable(own) else None
            rate = self._taken("lr", rate(self.steps) if callable(rate) else rate)
            home = BY_TYPE[type(members[0]._data)]
            memory = home.from_host(np.array([rate, 0.0, *self.clock, 1.0]))
            made = {"params": members, "schedule": schedule, **self.options, **extra}
            clocks.started(made, Clock(memory))
            self.groups.append(made)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add a group of parameters, `{"params": [...], "lr": ..., ...}`."""
        self.bind([group])

    @property
    def lr(self) -> float:
        """The learning rate of the first group. Setting it sets all groups' and ends a schedule."""
        return float(self.groups[0]["hyper"][0]) if self.groups else self.start_lr

    @lr.setter
    def lr(self, value: float) -> None:
        forbid(f"{type(self).__name__}: lr is set outside of the captured step")
        if callable(value):
            raise ArgumentError(
                f"{type(self).__name__}: lr is set to a number; give a schedule to the constructor"
            )
        self.start_lr, self.schedule = self._taken("lr", value), None
        for group in self.groups:
            group["schedule"] = None
            for clock in clocks.distinct(group):
                clock.hyper[0] = self.start_lr

    @property
    def learning_rate(self) -> float:
        """`lr`, by its other name."""
        return self.lr

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.lr = value

    def _taken(self, option: str, value: Any) -> Any:
        """The value of an option in its plain form: a rate, or as the constructor says."""
        kind = Real(0) if option == "lr" else kinds_of(type(self).__init__).get(option)
        return value if kind is None else take(type(self).__name__, option, kind, value)

    def params(self) -> list[Tensor]:
        """The parameters of all groups, in order."""
        return [p for group in self.groups for p in group["params"]]

    @gate
    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.params():
            p._grad = None

    @gate
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient and is not frozen. Before, a closure is called
        that forgets the gradients and computes the loss and its backward(); the loss is returned.
        """
        loss = None
        if closure is not None:
            with recording(True):
                loss = closure()
        params = self.params()
        grads = [p._grad if p.node is not None else None for p in params]
        if [1 for g in grads if g is None]:  # half the time of any()
            check_replaced(type(self).__name__, params)
        self._apply(grads)
        return loss

    def apply_gradients(self, pairs: Iterable[tuple[ArrayLike | None, Tensor]]) -> None:
        """Update variables from (gradient, variable) pairs; a gradient of None skips its own.

        Raises GraphError when all are None, ShapeError when a shape does not fit.
        """
        pairs = list(pairs)
        if not self.groups:
            self.bind([v for _, v in pairs])
        known = {id(p) for p in self.params()}
        for _, v in pairs:
            if id(v) not in known:
                raise GraphError(f"{type(self).__name__} is bound to other parameters than {v!r}")
        given = {id(v): g for g, v in pairs}
        self._apply([given.get(id(p)) for p in self.params()])

    def _apply(self, grads: list, apply_if: Any = None) -> None:
        """One step, with a gradient or None for each of `params()`; skipped where `apply_if`, an
        array of one number on the device, is 0."""
        name, index = type(self).__name__, 0
        work: list[Any] = []
        for group in self.groups:
            taken, arrays, given, states, begin = [], [], [], [], index
            for p in group["params"]:
                g = grads[index]
                if g is not None:
                    a, g = p._data, g._data if isinstance(g, Tensor) else make(g)
                    if g.shape != a.shape:
                        raise ShapeError(
                            f"{name}: a gradient of shape {g.shape} for one of {a.shape}"
                        )
                    if index not in self.state:
                        forbid(
                            f"{name}: a parameter of shape {a.shape} gets its first gradient in "
                            "the captured step: the steps before it must be like it"
                        )
                        self.state[index] = self.init_state(a, group)
                    if type(g) is not type(a) and isinstance(g, Rows):
                        rows.refuse(self, group, a.shape)
                        self.has_rows = True
                    taken.append(p)
                    arrays.append(a)
                    given.append(g if g.dtype == a.dtype else g.astype(a.dtype))
                    states.append(self.state[index])
                index += 1
            if len(taken) == len(group["clocks"]) and clocks.one(group):
                work.append((group, group["clocks"][0], taken, arrays, given, states))
            elif taken:
                places = [i for i, g in enumerate(grads[begin:index]) if g is not None]
                for clock, own in clocks.running(group, places):
                    lists: Any = (taken, arrays, given, states)
                    if len(own) < len(taken):
                        lists = tuple([[a[i] for i in own] for a in lists])
                    work.append((group, clock, *lists))
        if not index:
            raise GraphError(f"{name} has no parameters: give them to it, or use apply_gradients")
        if not work:
            raise GraphError(f"{name}: no parameter has a gradient; call backward() first")
        if self._rates in (switches.each_time or ()) and any(g["schedule"] for g in self.groups):
            forbid(f"{name}: two steps by a schedule cannot be captured as one")
        with uninterrupted():  # all checked: from here on parameters are written
            self._write(work, apply_if)

    def _write(self, work: list, apply_if: Any) -> None:
        each_time(self._rates if any(g["schedule"] for g in self.groups) else self._count)
        for group, clock, taken, arrays, given, states in work:
            hyper = clock.hyper if apply_if is None else clock.conditional
            if hyper is not group["hyper"]:
                group = {**group, "hyper": hyper}
            if apply_if is None:
                advance_step(hyper)
            else:
                advance_step(hyper, apply_if)
            if apply_if is None or self.conditional:
                self.update(arrays, given, states, group)
            else:
                buffers = [a for state in states for a in state if a is not None]
                with undone_unless(apply_if[0], [*arrays, *buffers]):
                    self.update(arrays, given, states, group)
            for p in taken:
                stamp(p)

    def _rates(self) -> None:
        """What the host does in each step: write the learning rates of schedules, and count."""
        for group in self.groups:
            if group["schedule"] is not None:
                rate = group["schedule"](self.steps)
                for clock in clocks.distinct(group):
                    clock.hyper[0] = rate
        self._count()

    def _count(self) -> None:
        self.steps += 1

    _count.late = True  # type: ignore[attr-defined]  # changes no array (compiling/quick.py)

    def init_state(self, p: Any, group: dict[str, Any]) -> tuple:
        """A parameter's state: the arrays that persist between steps, such as a momentum buffer;
        None in the place of one that is not needed."""
        raise GraphError(f"{type(self).__name__} has no init_state")

    def update(self, params: list, grads: list, states: list, group: dict[str, Any]) -> None:
        """Write the new values of a group's parameters and states, all arrays, in place.
        `group["hyper"]` holds [learning rate, step]."""
        raise GraphError(f"{type(self).__name__} has no update")

    @gate
    def clip_grad_norm(self, max_norm: Norm) -> Tensor:
        """Scale all gradients by min(1, max_norm / norm), where norm is the Euclidean norm of all
        of them together, which is returned: `clip_grad_norm_` of the parameters."""
        return clip_grad_norm_(self.params(), max_norm)

    @gate
    def clip_grad_value(self, clip_value: Positive) -> None:
        """Cut all numbers of the gradients to [-clip_value, clip_value]."""
        clip_grad_value_(self.params(), clip_value)

    def _agreed(self, finite: Any) -> Any:
        """Whether all gradients are finite, on the device, of those that are here."""
        return finite

    def _gradients(self) -> list:
        """The arrays of all gradients, owned by them, to be written in place."""
        return [gradient_of(p) for p in self.params() if p.grad is not None]

    def state_dict(self) -> dict[str, Any]:
        """Everything a run needs to resume, as NumPy arrays and numbers."""
        host = lambda a: None if a is None else on_host(a).copy()  # noqa: E731
        states = [self.state.get(i) for i in range(len(self.params()))]
        return {
            "steps": self.steps,
            "hyper": [_saved(group) for group in self.groups],
            "state": [None if s is None else [host(a) for a in s] for s in states],
            "schedules": [_of_schedule(group["schedule"]) for group in self.groups],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Resume from what `state_dict` gave for the same parameters."""
        params = self.params()
        if len(saved["state"]) != len(params) or len(saved["hyper"]) != len(self.groups):
            raise ShapeError(
                f"{type(self).__name__}: a state of {len(saved['state'])} parameters in "
                f"{len(saved['hyper'])} groups for {len(params)} in {len(self.groups)}"
            )
        name = type(self).__name__
        pairs = zip(self.groups, saved["hyper"], strict=True)
        vectors = [clocks.checked(name, group, hyper) for group, hyper in pairs]
        started, steps = {}, saved["steps"]
        for i, (p, arrays) in enumerate(zip(params, saved["state"], strict=True)):
            home = BY_TYPE[type(p._data)]
            own = self.init_state(p._data, self._group_of(i))
            if arrays is None:
                if i in self.state:
                    started[i] = own
                continue
            ours = [None if a is None else a.shape for a in own]
            theirs = [None if a is None else np.shape(a) for a in arrays]
            if ours != theirs:
                raise ShapeError(
                    f"{type(self).__name__}: a state of shapes {theirs} where {ours} is kept: it "
                    "was saved by another optimizer or for another model"
                )
            for mine, a in zip(own, arrays, strict=True):
                if a is not None:
                    mine[...] = home.from_host(cast(np.array(a), mine.dtype))
            started[i] = own
        self.steps = steps  # all checked: from here on there is only writing
        for i, own in started.items():
            for mine, a in zip(self.state.setdefault(i, own), own, strict=True):
                if a is not None:
                    mine[...] = a  # in place: a captured step holds these arrays
        for group, hyper in zip(self.groups, vectors, strict=True):
            clocks.restored(group, hyper)
        for group, kept in zip(self.groups, saved.get("schedules", ()), strict=False):
            if kept is not None:
                group["schedule"].load_state_dict(kept)

    def _group_of(self, index: int) -> dict[str, Any]:
        return [group for group in self.groups for _ in group["params"]][index]


def _saved(group: dict[str, Any]) -> Any:
    """[learning rate, step] of a group, or a list of them where its parameters differ."""
    vectors = {id(clock): clock.host() for clock in clocks.distinct(group)}
    own = [vectors[id(clock)] for clock in group["clocks"]]
    return own if len(vectors) > 1 else own[0]


def _of_schedule(schedule: Any) -> Any:
    """What a schedule needs to resume, where it is more than the number of the step."""
    return schedule.state_dict() if hasattr(schedule, "state_dict") else None
