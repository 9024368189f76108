"""Learning-rate schedules: functions from the step number, from 0, to a rate.

`Adam(lr=schedules.cosine(1e-3, steps=1000))`: the optimizer asks before each step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """The same rate at every step."""
    return lambda step: lr


def step_decay(lr: float, every: int, factor: float = 0.1) -> Schedule:
    """`lr`, multiplied by `factor` after each `every` steps."""
    return lambda step: lr * factor ** (step // every)


def exponential(lr: float, factor: float) -> Schedule:
    """lr * factor^step."""
    return lambda step: lr * factor**step


def cosine(lr: float, steps: int, end: float = 0.0) -> Schedule:
    """From `lr` down to `end` over `steps` steps along half a cosine (Loshchilov & Hutter 2017).

    >>> [round(cosine(1.0, 2)(i), 3) for i in range(3)]
    [1.0, 0.5, 0.0]
    """
    return lambda step: end + (lr - end) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))


def warmup(steps: int, after: Schedule) -> Schedule:
    """From 0 up to the rate of `after` over `steps` steps, then `after`, counted from there.

    >>> [warmup(2, constant(1.0))(i) for i in range(4)]
    [0.5, 1.0, 1.0, 1.0]
    """
    return lambda step: after(0) * (step + 1) / steps if step < steps else after(step - steps)
