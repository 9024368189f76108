"""Kinds of options that optimizers have beside those of typing.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from ..settings import Kind, Of, Real, listed


class Pair(Kind):
    """Two numbers, or as many as there are kinds, as a tuple."""

    def __init__(self, *kinds: Kind):
        self.kinds = kinds if len(kinds) > 1 else kinds * 2

    def take(self, value: Any) -> tuple:
        if not listed(value) or isinstance(value, dict):
            raise TypeError
        if len(parts := list(value)) != len(self.kinds):
            raise ValueError
        return tuple([kind.take(part) for kind, part in zip(self.kinds, parts, strict=True)])

    def __str__(self) -> str:
        said = list(map(str, self.kinds))
        if len(set(said)) == 1:
            return f"{len(said)} numbers, each {said[0]}"
        return f"({', '.join(said)})"


Betas: TypeAlias = Annotated[tuple[float, float], Pair(Real(0, below=1))]
Etas: TypeAlias = Annotated[tuple[float, float], Pair(Real(above=0, below=1), Real(above=1))]
Three: TypeAlias = Annotated[tuple[float, float, float], Pair(Real(), Real(), Real())]
Sizes: TypeAlias = Annotated[tuple[float, float], Pair(Real(0))]
Schedule: TypeAlias = Annotated[
    Callable[[int], float], Of(Callable, "a schedule, such as schedules.constant(0.1)")
]
