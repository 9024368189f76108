"""Learning-rate schedules: functions from the step number, from 0, to a rate.

`Adam(lr=schedules.cosine(1e-3, steps=1000))`: the optimizer asks before each step. They are
partials of the formulas below rather than closures, so that an optimizer can be pickled.
"""

from __future__ import annotations

import math
from functools import partial

from ..settings import gate
from ..typing import Count, Natural, NonNegative, Positive
from .base import Schedule


@gate
def constant(lr: NonNegative) -> Schedule:
    """The same rate at every step."""
    return partial(_constant, lr)


@gate
def step_decay(lr: NonNegative, every: Count, factor: Positive = 0.1) -> Schedule:
    """`lr`, multiplied by `factor` after each `every` steps."""
    return partial(_step_decay, lr, every, factor)


@gate
def exponential(lr: NonNegative, factor: Positive) -> Schedule:
    """lr * factor^step."""
    return partial(_exponential, lr, factor)


@gate
def cosine(lr: NonNegative, steps: Count, end: NonNegative = 0.0) -> Schedule:
    """From `lr` down to `end` over `steps` steps along half a cosine (Loshchilov & Hutter 2017).

    >>> [round(cosine(1.0, 2)(i), 3) for i in range(3)]
    [1.0, 0.5, 0.0]
    """
    return partial(_cosine, lr, steps, end)


@gate
def warmup(steps: Natural, after: Schedule) -> Schedule:
    """From 0 up to the rate of `after` over `steps` steps, then `after`, counted from there.

    >>> [warmup(2, constant(1.0))(i) for i in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """
    return partial(_warmup, steps, after)


def _constant(lr: float, step: int) -> float:
    return lr


def _step_decay(lr: NonNegative, every: Count, factor: Positive, step: int) -> float:
    return lr * factor ** (step // every)


def _exponential(lr: float, factor: float, step: int) -> float:
    return lr * factor**step


def _cosine(lr: NonNegative, steps: Count, end: NonNegative, step: int) -> float:
    return end + (lr - end) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))


def _warmup(steps: Natural, after: Schedule, step: int) -> float:
    return after(0) * (step + 1) / steps if step < steps else after(step - steps)
