"""The count of steps of each parameter, on the device: learning rate and step of those that were
updated in the same steps are one vector, as the op that updates them takes it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import BY_TYPE, on_host
from ..errors import ShapeError
from ..switches import forbid


class Clock:
    """[learning rate, step, more...] and a last number, whether the step is applied: `hyper` is
    without it, `conditional` with it."""

    def __init__(self, memory: Any):
        self.conditional, self.hyper = memory, memory[:-1]

    def host(self) -> np.ndarray:
        """`hyper`, copied to the host."""
        copied = on_host(self.hyper).copy()
        return copied


def started(group: dict[str, Any], clock: Clock) -> None:
    """Let all parameters of a group go by one clock."""
    group["clocks"] = [clock] * len(group["params"])
    group["hyper"], group["conditional_hyper"] = clock.hyper, clock.conditional


def one(group: dict[str, Any]) -> bool:
    """Whether all parameters of a group go by one clock."""
    clocks = group["clocks"]
    return clocks.count(clocks[0]) == len(clocks)  # type: ignore[no-any-return]


def distinct(group: dict[str, Any]) -> list[Clock]:
    """The clocks of a group, each once."""
    clocks = group["clocks"]
    if one(group):
        return clocks[:1]
    return list({id(clock): clock for clock in clocks}.values())


def running(group: dict[str, Any], taken: list[int]) -> list[tuple[Clock, list[int]]]:
    """The clocks of those parameters, each with their places in the list of them. A clock that only
    some of its parameters go on by is left to these, and the others get a copy that stands still.
    """
    clocks, now = group["clocks"], set(taken)
    for clock in distinct(group):
        own = [j for j, c in enumerate(clocks) if c is clock]
        still = [j for j in own if j not in now]
        if still and len(still) < len(own):
            forbid(
                "another set of parameters has gradients in the captured step than in those "
                "before it, which it must be like"
            )
            copy = Clock(clock.conditional.copy())
            for j in still:
                clocks[j] = copy
    by_clock: dict[int, tuple[Clock, list[int]]] = {}
    for place, j in enumerate(taken):
        by_clock.setdefault(id(clocks[j]), (clocks[j], []))[1].append(place)
    return list(by_clock.values())


def checked(name: str, group: dict[str, Any], saved: Any) -> list[np.ndarray]:
    """What clocks of a group were saved as, for each of its parameters; or one for all."""
    width, n = len(group["hyper"]), len(group["params"])
    vectors = [np.asarray(v, np.float64) for v in (saved if isinstance(saved, list) else [saved])]
    vectors = vectors * n if len(vectors) == 1 else vectors
    if len(vectors) != n or any(v.shape != (width,) for v in vectors):
        raise ShapeError(
            f"{name}: hyper is a learning rate and a step count for each group, or for each "
            f"parameter of it, got {saved!r}"
        )
    return vectors


def restored(group: dict[str, Any], vectors: list[np.ndarray]) -> None:
    """Set the clocks of a group: in place where they divide its parameters as before, since a
    captured step holds them."""
    wanted: dict[bytes, list[int]] = {}
    for j, vector in enumerate(vectors):
        wanted.setdefault(vector.tobytes(), []).append(j)
    used: set[int] = set()
    clocks = list(group["clocks"])
    for members in wanted.values():
        clock = clocks[members[0]]
        if id(clock) in used:
            clock = Clock(clock.conditional.copy())
        used.add(id(clock))
        home = BY_TYPE[type(clock.hyper)]
        clock.hyper[...] = home.from_host(vectors[members[0]])
        for j in members:
            group["clocks"][j] = clock
    group["hyper"], group["conditional_hyper"] = clocks[0].hyper, clocks[0].conditional
