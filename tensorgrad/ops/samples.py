"""Inputs that ops are tested on: each builder returns a function that draws them anew.

A sample is the positional arguments (float64 arrays, integer arrays, Python numbers or None) and
the keyword metadata of one call. The tests derive dtypes, strides and backends from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Sample(NamedTuple):
    """One call: positional arguments and keyword metadata."""

    args: tuple[Any, ...]
    params: dict[str, Any] = {}


Samples = Callable[[], list[Sample]]
SHAPES = ((2, 3), (), (1,), (0, 3), (33,), (5, 41))
PAIRS = (
    ((2, 3), (2, 3)),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((), (2,)),
    ((), ()),
    ((0, 3), (3,)),
    ((7, 19), (7, 19)),
)


def draw(shape: tuple[int, ...], low: float = -2.0, high: float = 2.0, seed: int = 0) -> np.ndarray:
    """A float64 array of uniform numbers, the same on every call."""
    return np.random.default_rng([seed, len(shape), *shape]).uniform(low, high, shape)


def integers(shape: tuple[int, ...], high: int, seed: int = 0) -> np.ndarray:
    """An int64 array of numbers below `high`, the same on every call."""
    return np.random.default_rng([seed, len(shape), *shape]).integers(0, high, shape)


def unary(low: float = -2.0, high: float = 2.0, *options: dict[str, Any]) -> Samples:
    """One array, in all the shapes of SHAPES, with each of the given options."""

    def build() -> list[Sample]:
        first, *rest = options or ({},)
        made = [Sample((draw(shape, low, high),), first) for shape in SHAPES]
        return made + [Sample((draw((3, 4), low, high),), more) for more in rest]

    return build


def binary(low: float = -2.0, high: float = 2.0, low2: float | None = None) -> Samples:
    """Two arrays in broadcasting shapes, and an array with a Python number on either side."""
    low2 = low if low2 is None else low2

    def build() -> list[Sample]:
        pairs = [(draw(a, low, high, 1), draw(b, low2, high, 2)) for a, b in PAIRS]
        x, z = draw((2, 3), low, high, 3), draw((4,), low2, high, 4)
        return [Sample(p) for p in pairs] + [Sample((x, high / 2)), Sample((high / 2, z))]

    return build


def same(n: int, low: float = -2.0, high: float = 2.0, least: int = 0, **params: Any) -> Samples:
    """`n` arrays of one shape of `least` dimensions or more: what the gradient ops take."""

    def build() -> list[Sample]:
        return [
            Sample(tuple(draw(s, low, high, i) for i in range(n)), params)
            for s in SHAPES
            if len(s) >= least
        ]

    return build


def calls(*samples: Callable[[], tuple]) -> Samples:
    """The given calls: each `(arrays..., {params})`, the last entry may be a dict."""

    def build() -> list[Sample]:
        made = []
        for entry in samples:
            call = entry()
            named = isinstance(call[-1], dict)
            made.append(Sample(call[:-1], call[-1]) if named else Sample(call))
        return made

    return build


def shaped(*cases: tuple) -> Samples:
    """Calls of one array given by its shape: `(shape, {params})`."""

    def build() -> list[Sample]:
        return [Sample((draw(shape),), params) for shape, params in cases]

    return build
