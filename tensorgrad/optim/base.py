"""What optimizers share: parameter groups, their hyper-parameter vectors, steps and clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..backend import BY_TYPE, namespace
from ..core import Tensor, stamp
from ..errors import ArgumentError, GraphError, ShapeError
from ..ops.update import advance_step, rescale, sum_of_squares, written_if
from ..ownership import gradient_of
from ..switches import each_time, switches
from .parameters import check_replaced, groups_of

Schedule = Callable[[int], float]


class Optimizer:
    """Updates parameters from their gradients. Subclasses say which state a parameter needs
    (`init_state`) and how all parameters of a group are updated (`update`, one in-place op).

    `params` is a list of parameters, or of groups `{"params": [...], "lr": ...}`; it may be left
    out and is then bound by `compile`, or by the first `apply_gradients`. `lr` is a number or a
    schedule: a function from the step number, from 0, to a rate.
    """

    defaults: dict[str, Any] = {}
    conditional = False  # whether the op of `update` itself does nothing where h[2] is 0

    def __init__(self, params: Iterable | None = None, lr: float | Schedule = 1e-3, **options: Any):
        _check_rate(type(self).__name__, lr)
        self.schedule: Schedule | None = lr if callable(lr) else None
        for option in ("momentum", "weight_decay", "eps"):
            if options.get(option, 0) < 0:
                raise ShapeError(f"{type(self).__name__}: {option} is negative: {options[option]}")
        self.options = {**self.defaults, **options}
        self.start_lr = lr(0) if callable(lr) else float(lr)
        _check_rate(type(self).__name__, self.start_lr, schedule=False)
        self.steps = 0
        self.groups: list[dict[str, Any]] = []
        self.state: dict[int, tuple] = {}  # by the parameter's place in params()
        if params is not None:
            self.bind(params)

    def bind(self, params: Iterable) -> None:
        """Take charge of these parameters."""
        for group in groups_of(type(self).__name__, params, self.params()):
            members = group["params"]
            extra = {k: v for k, v in group.items() if k not in ("params", "lr")}
            unknown = set(extra) - set(self.options)
            if unknown:
                raise ArgumentError(
                    f"{type(self).__name__}: a group has the unknown options {sorted(unknown)}; "
                    f"known are params, lr, {', '.join(self.options)}"
                )
            _check_rate(type(self).__name__, rate := group.get("lr", self.start_lr))
            own = group.get("lr", self.schedule)  # a group's rate replaces the optimizer's
            schedule = own if callable(own) else None
            rate = rate(self.steps) if callable(rate) else rate
            home = BY_TYPE[type(members[0]._data)]
            numbers = home.from_host(np.array([rate, self.steps, 1.0]))
            vectors = {"h": numbers[:2], "guarded": numbers}
            own = {"params": members, **vectors, "schedule": schedule}
            self.groups.append({**own, **self.options, **extra})

    @property
    def lr(self) -> float:
        """The learning rate of the first group. Setting it sets all groups' and ends a schedule."""
        return float(self.groups[0]["h"][0]) if self.groups else self.start_lr

    @lr.setter
    def lr(self, value: float) -> None:
        if switches.each_time is not None:
            raise GraphError(f"{type(self).__name__}: lr is set outside of the captured step")
        if callable(value):
            raise ShapeError(f"{type(self).__name__}: a schedule is given when it is made")
        _check_rate(type(self).__name__, value)
        self.start_lr, self.schedule = float(value), None
        for group in self.groups:
            group["h"][0], group["schedule"] = float(value), None

    def _called_lr(self, *value: float) -> Any:
        raise AttributeError(f"{type(self).__name__}: the learning rate is called lr")

    learning_rate = property(_called_lr, _called_lr)  # set, it would change nothing

    def params(self) -> list[Tensor]:
        """All parameters in charge."""
        return [p for group in self.groups for p in group["params"]]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.params():
            p.grad = None

    def step(self) -> None:
        """Update every parameter that has a gradient and is not frozen."""
        params = self.params()
        grads = [p.grad if p.node is not None else None for p in params]
        if any(g is None for g in grads):
            check_replaced(type(self).__name__, params)
        self._apply(grads)

    def apply_gradients(self, pairs: Iterable[tuple[Any, Tensor]]) -> None:
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

    def _apply(self, grads: list, go: Any = None) -> None:
        """One step, with a gradient or None for each of `params()`; no step where `go`, an array of
        one number, is 0."""
        name, place = type(self).__name__, 0
        work: list[Any] = []
        for group in self.groups:
            taken, arrays, given, states = [], [], [], []
            for p in group["params"]:
                g = grads[place]
                if g is not None:
                    a, g = p._data, g._data if isinstance(g, Tensor) else g
                    if g.shape != a.shape:
                        raise ShapeError(
                            f"{name}: a gradient of shape {g.shape} for one of {a.shape}"
                        )
                    if place not in self.state:
                        if switches.each_time is not None:
                            raise GraphError(
                                f"{name}: a parameter of shape {a.shape} gets its first gradient "
                                "in the captured step: the steps before it must be like it"
                            )
                        self.state[place] = self.init_state(a, group)
                    taken.append(p)
                    arrays.append(a)
                    given.append(g if g.dtype == a.dtype else g.astype(a.dtype))
                    states.append(self.state[place])
                place += 1
            work.append((group, taken, arrays, given, states))
        if not place:
            raise GraphError(f"{name} has no parameters: give them to it, or use apply_gradients")
        if not any(taken for _, taken, *_ in work):
            raise GraphError(f"{name}: no parameter has a gradient; call backward() first")
        if self._rates in (switches.each_time or ()) and any(g["schedule"] for g in self.groups):
            raise GraphError(f"{name}: two steps by a schedule cannot be captured as one")
        each_time(self._rates)  # all checked: from here on parameters are written
        for group, taken, arrays, given, states in work:
            if go is None:
                advance_step(group["h"])
            else:
                group = {**group, "h": group["guarded"]}
                advance_step(group["h"], go)
            if taken and (go is None or self.conditional):
                self.update(arrays, given, states, group)
            elif taken:
                kept = [a for state in states for a in state if a is not None]
                with written_if(go[0], [*arrays, *kept]):
                    self.update(arrays, given, states, group)
            for p in taken:
                stamp(p)

    def _rates(self) -> None:
        """What the host has to do in a step: write the rates of schedules, and count."""
        for group in self.groups:
            if group["schedule"] is not None:
                group["h"][0] = group["schedule"](self.steps)
        self.steps += 1

    def init_state(self, p: Any, group: dict[str, Any]) -> tuple:
        """The arrays kept for a parameter between steps, or None in their places."""
        raise GraphError(f"{type(self).__name__} has no init_state")

    def update(self, params: list, grads: list, states: list, group: dict[str, Any]) -> None:
        """Write new values into the arrays of a group's parameters, and into their states."""
        raise GraphError(f"{type(self).__name__} has no update")

    def clip_grad_norm(self, most: float) -> Tensor:
        """Scale all gradients together, so that their common Euclidean norm is at most `most`, in
        their memory where nobody else can see it; returns the norm before (Pascanu et al. 2013).
        Nothing waits for the device."""
        if not most > 0:
            raise ShapeError(f"clip_grad_norm: the norm must be above 0, got {most!r}")
        grads = self._gradients()
        if not grads:
            raise GraphError("clip_grad_norm: no parameter has a gradient; call backward() first")
        xp = namespace(grads[0])
        norm = xp.sqrt(xp.asarray(sum_of_squares(*grads)))
        rescaled(grads, xp.minimum(most / (norm + 1e-6), 1.0).reshape(1))
        return Tensor(norm)

    def _gradients(self) -> list:
        """The arrays of all gradients, to be written into."""
        return [gradient_of(p) for p in self.params() if p.grad is not None]

    def state_dict(self) -> dict[str, Any]:
        """Everything a run needs to go on, as NumPy arrays and numbers."""
        host = lambda a: None if a is None else BY_TYPE[type(a)].to_host(a).copy()  # noqa: E731
        states = [self.state.get(i) for i in range(len(self.params()))]
        return {
            "steps": self.steps,
            "h": [host(group["h"]) for group in self.groups],
            "state": [None if s is None else [host(a) for a in s] for s in states],
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave for the same parameters."""
        params = self.params()
        if len(saved["state"]) != len(params) or len(saved["h"]) != len(self.groups):
            raise ShapeError(
                f"{type(self).__name__}: a state of {len(saved['state'])} parameters in "
                f"{len(saved['h'])} groups for {len(params)} in {len(self.groups)}"
            )
        vectors = [np.asarray(h, np.float64) for h in saved["h"]]
        if any(h.shape != (2,) for h in vectors):
            raise ShapeError(
                f"{type(self).__name__}: h is a rate and a step count for each group, got "
                f"{saved['h']!r}"
            )
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
                    mine[...] = home.from_host(np.array(a).astype(mine.dtype))
            started[i] = own
        self.steps = steps  # all checked: from here on there is only writing
        for i, own in started.items():
            for mine, a in zip(self.state.setdefault(i, own), own, strict=True):
                if a is not None:
                    mine[...] = a  # in place: a captured step goes on with the arrays it knows
        for group, h in zip(self.groups, vectors, strict=True):
            group["h"][...] = BY_TYPE[type(group["h"])].from_host(h)

    def _group_of(self, place: int) -> dict[str, Any]:
        return [group for group in self.groups for _ in group["params"]][place]


def rescaled(arrays: list, by: Any) -> Any:
    """Multiply arrays by a number on the device, in their memory; returns there whether all are
    finite then: an array of one number, 1 or 0."""
    by_dtype: dict[Any, list] = {}
    for a in arrays:
        by_dtype.setdefault(a.dtype, []).append(a)
    flags = [rescale(by, *same) for same in by_dtype.values()]
    return math.prod(flags[1:], start=flags[0])


def _check_rate(name: str, lr: Any, schedule: bool = True) -> None:
    if callable(lr) and schedule:
        return
    if not isinstance(lr, (int, float, np.number)) or not lr >= 0:
        raise ArgumentError(f"{name}: lr must be a number >= 0 or a schedule, got {lr!r}")
