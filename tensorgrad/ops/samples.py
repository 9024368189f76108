"""Test inputs of ops: each builder returns a function that makes a list of samples.

A sample is the positional arguments (float64 arrays, integer arrays, Python numbers or None) and
the keyword metadata of one call. The tests derive other dtypes, strides and backends from it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Sample(NamedTuple):
    """A call of an op: positional arguments and keyword metadata.

    >>> Sample((np.ones((2, 3)),), {"axis": 0}).params
    {'axis': 0}
    """

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
    """A float64 array, uniform in [low, high); the same for the same arguments.

    >>> draw((2, 3)).shape, bool((draw((2, 3)) == draw((2, 3))).all())
    ((2, 3), True)
    """
    return np.random.default_rng([seed, len(shape), *shape]).uniform(low, high, shape)


def integers(shape: tuple[int, ...], high: int, seed: int = 0) -> np.ndarray:
    """An int64 array, uniform in [0, high); the same for the same arguments.

    >>> integers((2, 3), 5).dtype
    dtype('int64')
    """
    return np.random.default_rng([seed, len(shape), *shape]).integers(0, high, shape)


def unary(low: float = -2.0, high: float = 2.0, *options: dict[str, Any]) -> Samples:
    """Samples of one array: in all SHAPES with the first of `options`, one for each of the others.

    >>> [sample.args[0].shape for sample in unary(0, 1)()]
    [(2, 3), (), (1,), (0, 3), (33,), (5, 41)]
    """

    def build() -> list[Sample]:
        first, *rest = options or ({},)
        made = [Sample((draw(shape, low, high),), first) for shape in SHAPES]
        return made + [Sample((draw((3, 4), low, high),), more) for more in rest]

    return build


def binary(low: float = -2.0, high: float = 2.0, low2: float | None = None) -> Samples:
    """Samples of two arrays whose shapes broadcast, and of an array and a Python number. `low2` is
    the second's lower bound.

    >>> [array.shape for array in binary()()[1].args]
    [(2, 3), (3,)]
    """
    low2 = low if low2 is None else low2

    def build() -> list[Sample]:
        pairs = [(draw(a, low, high, 1), draw(b, low2, high, 2)) for a, b in PAIRS]
        x, z = draw((2, 3), low, high, 3), draw((4,), low2, high, 4)
        return [Sample(p) for p in pairs] + [Sample((x, high / 2)), Sample((high / 2, z))]

    return build


def few(low: float = -2.0, high: float = 2.0, *options: dict[str, Any]) -> Samples:
    """Samples of one array: three shapes with the first of `options`, one for each of the others.

    >>> [sample.args[0].shape for sample in few(0, 1)()]
    [(3, 11), (), (0, 3)]
    """

    def build() -> list[Sample]:
        first, *rest = options or ({},)
        made = [Sample((draw(shape, low, high),), first) for shape in ((3, 11), (), (0, 3))]
        return made + [Sample((draw((3, 4), low, high),), more) for more in rest]

    return build


def few_pairs(low: float = -2.0, high: float = 2.0) -> Samples:
    """Samples of two arrays, or an array and a number, that broadcast in three ways.

    >>> [np.shape(array) for array in few_pairs()()[0].args]
    [(2, 3), (3,)]
    """
    return calls(
        lambda: (draw((2, 3), low, high, 1), draw((3,), low, high, 2)),
        lambda: (draw((), low, high, 1), draw((2, 0), low, high, 2)),
        lambda: (draw((5,), low, high, 1), high / 2),
    )


def same(n: int, low: float = -2.0, high: float = 2.0, least: int = 0, **params: Any) -> Samples:
    """Samples of `n` arrays of one shape, of at least `least` axes, as gradient ops take them.

    >>> [array.shape for array in same(3)()[0].args]
    [(2, 3), (2, 3), (2, 3)]
    """

    def build() -> list[Sample]:
        return [
            Sample(tuple(draw(s, low, high, i) for i in range(n)), params)
            for s in SHAPES
            if len(s) >= least
        ]

    return build


def calls(*samples: Callable[[], tuple]) -> Samples:
    """Samples of functions that return `(arrays..., params)`, or the arrays alone.

    >>> calls(lambda: (draw((2, 3)), {"axis": 0}))()[0].params
    {'axis': 0}
    """

    def build() -> list[Sample]:
        made = []
        for entry in samples:
            call = entry()
            named = isinstance(call[-1], dict)
            made.append(Sample(call[:-1], call[-1]) if named else Sample(call))
        return made

    return build


def shaped(*cases: tuple) -> Samples:
    """Samples of one array, each given as `(shape, params)`.

    >>> shaped(((2, 3), {"axis": 0}))()[0].args[0].shape
    (2, 3)
    """

    def build() -> list[Sample]:
        return [Sample((draw(shape),), params) for shape, params in cases]

    return build
