"""Learning-rate schedules: functions from the step number, from 0, to a rate.

`Adam(lr=schedules.cosine(1e-3, steps=1000))`: the optimizer asks before each step. Any function is
one; those made here can be looked at, `schedule.values(1000)`, and pickled.

>>> cosine(1.0, 4).values(6).round(3).tolist()
[1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..settings import Several, Whole, gate, listed
from ..typing import Count, Fraction, Natural, NonNegative, Positive
from .kinds import Schedule

Steps: TypeAlias = Annotated[Sequence[int], Several(Whole(0), says="a list of them", always=True)]


class Curve:
    """A schedule by a formula and its numbers: `curve(step)` is the rate of that step."""

    def __init__(self, formula: Callable[..., float], *numbers: Any):
        self.formula, self.numbers = formula, numbers

    def __call__(self, step: int) -> float:
        return self.formula(*self.numbers, step)

    def values(self, steps: int) -> NDArray[np.float64]:
        """The rates of steps 0, 1, ..., to be read or plotted."""
        return np.array([self(step) for step in range(steps)], np.float64)

    def __repr__(self) -> str:
        return f"{self.formula.__name__.strip('_')}({', '.join(map(repr, self.numbers))})"


@gate
def constant(lr: NonNegative) -> Curve:
    """The same rate at every step."""
    return Curve(_constant, lr)


@gate
def step_decay(lr: NonNegative, every: Count, factor: Positive = 0.1) -> Curve:
    """`lr`, multiplied by `factor` after each `every` steps."""
    return Curve(_step_decay, lr, every, factor)


@gate
def multi_step(lr: NonNegative, milestones: Steps, factor: Positive = 0.1) -> Curve:
    """`lr`, multiplied by `factor` at each of the milestones, which are steps.

    >>> multi_step(1.0, [2, 3], factor=0.5).values(5).tolist()
    [1.0, 1.0, 0.5, 0.25, 0.25]
    """
    return Curve(_multi_step, lr, sorted(milestones), factor)


@gate
def exponential(lr: NonNegative, factor: Positive) -> Curve:
    """lr * factor^step."""
    return Curve(_exponential, lr, factor)


@gate
def polynomial(
    lr: NonNegative, steps: Count, power: NonNegative = 1.0, end: NonNegative = 0.0
) -> Curve:
    """From `lr` to `end` over `steps` steps, as a power of what remains of them.

    >>> polynomial(1.0, 4, power=2).values(5).tolist()
    [1.0, 0.5625, 0.25, 0.0625, 0.0]
    """
    return Curve(_polynomial, lr, steps, power, end)


@gate
def cosine(lr: NonNegative, steps: Count, end: NonNegative = 0.0) -> Curve:
    """From `lr` down to `end` over `steps` steps along half a cosine (Loshchilov & Hutter 2017).

    >>> [round(cosine(1.0, 2)(i), 3) for i in range(3)]
    [1.0, 0.5, 0.0]
    """
    return Curve(_cosine, lr, steps, end)


@gate
def cosine_restarts(
    lr: NonNegative, steps: Count, growth: Count = 1, end: NonNegative = 0.0
) -> Curve:
    """`cosine` again and again, from `lr` anew after `steps` steps, each cycle `growth` times as
    long as the one before (Loshchilov & Hutter 2017).

    >>> cosine_restarts(1.0, 2, growth=2).values(7).round(2).tolist()
    [1.0, 0.5, 1.0, 0.85, 0.5, 0.15, 1.0]
    """
    return Curve(_cosine_restarts, lr, steps, growth, end)


@gate
def inverse_sqrt(lr: NonNegative, warmup: Count = 4000) -> Curve:
    """Up to `lr` over `warmup` steps, then as 1/sqrt(step) (Vaswani et al. 2017).

    >>> inverse_sqrt(1.0, 2).values(8).round(3).tolist()
    [0.5, 1.0, 0.816, 0.707, 0.632, 0.577, 0.535, 0.5]
    """
    return Curve(_inverse_sqrt, lr, warmup)


@gate
def one_cycle(
    lr: NonNegative,
    steps: Count,
    warmup: Fraction = 0.3,
    anneal: Literal["cos", "linear"] = "cos",
    div_factor: Positive = 25.0,
    final_div_factor: Positive = 1e4,
    three_phase: bool = False,
) -> Curve:
    """From lr / div_factor up to `lr` over the first part, `warmup`, of the steps, and down to
    lr / (div_factor * final_div_factor) at the last (Smith & Topin 2018); with `three_phase` at
    first down to where it began, in as many steps as up.

    >>> one_cycle(1.0, 5, warmup=0.5, anneal="linear").values(5).round(3).tolist()
    [0.04, 0.68, 0.8, 0.4, 0.0]
    """
    first = lr / div_factor
    ends, rates = [warmup * steps - 1, steps - 1.0], [first, lr, first / final_div_factor]
    if three_phase:
        ends, rates = [ends[0], 2 * warmup * steps - 2, ends[1]], [*rates[:2], first, rates[2]]
    return Curve(_one_cycle, ends, rates, anneal == "cos")


@gate
def cyclic(
    low: NonNegative,
    high: NonNegative,
    up: Count = 2000,
    down: Count | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    factor: Positive = 1.0,
) -> Curve:
    """From `low` to `high` in `up` steps and back in `down`, again and again (Smith 2017). The
    height stays, is halved each cycle ("triangular2"), or is factor^step of it ("exp_range").

    >>> cyclic(0.0, 1.0, 2, mode="triangular2").values(8).tolist()
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25]
    """
    return Curve(_cyclic, low, high, up, up if down is None else down, mode, factor)


@gate
def warmup(steps: Natural, after: Schedule, start: Fraction = 0.0) -> Curve:
    """From 0, or from `start` of it, up to the first rate of `after` over `steps` steps, then
    `after`, counted from there.

    >>> warmup(2, constant(1.0)).values(4).tolist()
    [0.5, 1.0, 1.0, 1.0]
    """
    return Curve(_warmup, steps, after, start)


@gate
def sequence(schedules: Sequence[Any], milestones: Steps) -> Curve:
    """One schedule after the other: the next begins at each milestone, and counts from there.

    >>> sequence([constant(1.0), exponential(0.5, 0.5)], [2]).values(5).tolist()
    [1.0, 1.0, 0.5, 0.25, 0.125]
    """
    parts = list(schedules) if listed(schedules) else []
    if len(parts) != len(milestones) + 1 or not all(map(callable, parts)):
        raise ArgumentError(
            "sequence: give schedules, and a milestone between each two of them, "
            f"got {schedules!r} and {milestones!r}"
        )
    if list(milestones) != sorted(milestones):
        raise ArgumentError(f"sequence: milestones are in order, got {milestones!r}")
    return Curve(_sequence, parts, list(milestones))


class Plateau:
    """A rate that is multiplied by `factor` once what it is told of has not got better for more
    than `patience` times. It is told by `observe(value)`, of a validation loss for instance.

    Better is below the best by more than `threshold`, a part of it or absolute ("abs"), above with
    mode "max". After a change `cooldown` values are not counted. Its state is saved with the
    optimizer's.

    >>> rate = Plateau(1.0, patience=1)
    >>> for loss in (3.0, 2.0, 2.0, 2.0): rate.observe(loss)
    >>> rate(0)
    0.1
    """

    @gate
    def __init__(
        self,
        lr: NonNegative,
        factor: Positive = 0.1,
        patience: Natural = 10,
        threshold: NonNegative = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: Natural = 0,
        min_lr: NonNegative = 0.0,
        eps: NonNegative = 1e-8,
        mode: Literal["min", "max"] = "min",
    ):
        if factor >= 1:
            raise ArgumentError(f"Plateau: factor={factor!r} must be below 1")
        self.rate, self.factor, self.patience, self.threshold = lr, factor, patience, threshold
        self.threshold_mode, self.cooldown, self.min_lr, self.eps = (
            threshold_mode, cooldown, min_lr, eps,
        )  # fmt: skip
        self.mode = mode
        self.best, self.bad, self.resting = math.inf if mode == "min" else -math.inf, 0, 0

    def __call__(self, step: int) -> float:
        return self.rate

    def values(self, steps: int) -> NDArray[np.float64]:
        """The rates of steps to come, as long as nothing is observed."""
        return np.full(steps, self.rate)

    def observe(self, value: float) -> None:
        """Note one value, and change the rate if it is time."""
        value = float(value)
        if self._better(value):
            self.best, self.bad = value, 0
        else:
            self.bad += 1
        if self.resting:
            self.resting, self.bad = self.resting - 1, 0
        if self.bad > self.patience:
            self.resting, self.bad = self.cooldown, 0
            lower = max(self.rate * self.factor, self.min_lr)
            if self.rate - lower > self.eps:
                self.rate = lower

    def _better(self, value: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * value < sign * self.best * (1 - sign * self.threshold)
        return sign * value < sign * self.best - self.threshold

    def state_dict(self) -> dict[str, float]:
        """What it needs to go on."""
        return {name: getattr(self, name) for name in ("rate", "best", "bad", "resting")}

    def load_state_dict(self, saved: dict[str, float]) -> None:
        """Go on from what `state_dict` gave."""
        for name in ("rate", "best", "bad", "resting"):
            setattr(self, name, saved[name])


# --- the formulas: functions of the module, which can be pickled -------------------------------


def _constant(lr: float, step: int) -> float:
    return lr


def _step_decay(lr: float, every: int, factor: float, step: int) -> float:
    return lr * factor ** (step // every)


def _multi_step(lr: float, milestones: list[int], factor: float, step: int) -> float:
    return lr * factor ** bisect.bisect_right(milestones, step)


def _exponential(lr: float, factor: float, step: int) -> float:
    return lr * factor**step


def _polynomial(lr: float, steps: int, power: float, end: float, step: int) -> float:
    return end + (lr - end) * (1 - min(step / steps, 1)) ** power


def _between(start: float, end: float, part: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * part))


def _cosine(lr: float, steps: int, end: float, step: int) -> float:
    return _between(lr, end, min(step / steps, 1))


def _cosine_restarts(lr: float, steps: int, growth: int, end: float, step: int) -> float:
    if growth == 1:
        step %= steps
    while step >= steps:
        step, steps = step - steps, steps * growth
    return _between(lr, end, step / steps)


def _inverse_sqrt(lr: float, warmup: int, step: int) -> float:
    return lr * min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))


def _one_cycle(ends: list[float], rates: list[float], cos: bool, step: int) -> float:
    place, begin = min(float(step), ends[-1]), 0.0
    i = min(bisect.bisect_left(ends, place), len(ends) - 1)
    begin = ends[i - 1] if i else 0.0
    part = (place - begin) / (ends[i] - begin) if ends[i] > begin else 1.0
    if cos:
        return _between(rates[i], rates[i + 1], part)
    return rates[i] + (rates[i + 1] - rates[i]) * part


def _cyclic(
    low: float, high: float, up: int, down: int, mode: str, factor: float, step: int
) -> float:
    cycle, place = divmod(step, up + down)
    height = (high - low) * (place / up if place <= up else (up + down - place) / down)
    return low + height * {"triangular": 1.0, "triangular2": 0.5**cycle}.get(mode, factor**step)


def _warmup(steps: int, after: Schedule, start: float, step: int) -> float:
    if step >= steps:
        return after(step - steps)
    return after(0) * (start + (1 - start) * (step + 1) / steps)


def _sequence(parts: list[Schedule], milestones: list[int], step: int) -> float:
    i = bisect.bisect_right(milestones, step)
    return parts[i](step - (milestones[i - 1] if i else 0))
