"""Averages of weights over the steps of training: what to evaluate with, and Lookahead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..backend import BY_TYPE, on_host
from ..core import Tensor, stamp
from ..errors import GraphError, ShapeError
from ..settings import Of, Own, gate
from ..switches import each_time, forbid
from ..typing import Count, Decay, Fraction
from .base import Optimizer
from .parameters import plain

Given: TypeAlias = Annotated[Iterable[Tensor], Own("parameters")]


class EMA:
    """An exponential moving average of parameters (Polyak & Juditsky 1992; Izmailov et al. 2018),

        average = decay * average + (1 - decay) * p

    after each `update()`, the first of which takes p itself; without decay, `decay=None`, the mean
    of all. Within `with ema:` the parameters hold their averages.

    >>> from ..nn import Parameter
    >>> p = Parameter([0.0]); ema = EMA([p], decay=0.5)
    >>> for value in (1.0, 3.0):
    ...     p.data = [value]; ema.update()
    >>> with ema: print(p.tolist())
    [2.0]
    >>> p.tolist()
    [3.0]
    """

    @gate
    def __init__(self, params: Given, decay: Decay | None = 0.999):
        self.params, self.decay, self.updates = plain("EMA", params), decay, 0
        self.averages = [p._data.copy() for p in self.params]
        self._kept: list | None = None

    @gate
    def update(self) -> None:
        """Take in the parameters as they are now."""
        if self._kept is not None:
            raise GraphError("EMA: update() within `with ema:`, where parameters are averages")
        part = 1 / (self.updates + 1) if self.decay is None else 1 - self.decay
        if not self.updates:
            part = 1.0
        if self.decay is None or not self.updates:
            forbid("EMA: its first update, and one without decay, cannot be captured")
        for average, p in zip(self.averages, self.params, strict=True):
            average += part * (p._data - average)
        each_time(self._count)

    def _count(self) -> None:
        self.updates += 1

    def __enter__(self) -> EMA:
        if self._kept is not None:
            raise GraphError("EMA: `with ema:` within itself")
        self._kept = [p._data.copy() for p in self.params]
        self._write(self.averages)
        return self

    def __exit__(self, *error: object) -> None:
        kept, self._kept = self._kept, None
        self._write(kept or [])

    def _write(self, arrays: list) -> None:
        for p, a in zip(self.params, arrays, strict=True):
            p._data[...] = a
            stamp(p)

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to resume, as NumPy arrays and numbers."""
        arrays = [on_host(a).copy() for a in self.averages]
        return {"updates": self.updates, "averages": arrays}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Resume from what `state_dict` gave for the same parameters."""
        shapes = [a.shape for a in self.averages]
        theirs = [np.shape(a) for a in saved["averages"]]
        if shapes != theirs:
            raise ShapeError(f"EMA: averages of shapes {theirs} for parameters of {shapes}")
        for mine, a in zip(self.averages, saved["averages"], strict=True):
            mine[...] = BY_TYPE[type(mine)].from_host(np.array(a, mine.dtype))
        self.updates = saved["updates"]


class Lookahead(Optimizer):
    """Lookahead (Zhang et al. 2019): after each k steps of the optimizer that it is given,

        slow = slow + alpha * (p - slow)
        p = slow

    where `slow` starts at p as it was before the first step.

    >>> from ..nn import Parameter
    >>> from .descent import SGD
    >>> p = Parameter([1.0]); opt = Lookahead(SGD([p], lr=0.25), k=1, alpha=0.5)
    >>> (p * p).sum().backward(); opt.step(); p.tolist()
    [0.75]
    """

    @gate
    def __init__(
        self,
        optimizer: Annotated[Optimizer, Of(Optimizer, "an optimizer")],
        k: Count = 5,
        alpha: Fraction = 0.5,
    ):
        self.inner, self.k, self.alpha = optimizer, k, alpha
        self.slow: dict[int, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)  # groups, steps, state, options, ...

    def bind(self, params: Any) -> None:
        self.inner.bind(params)

    @property
    def lr(self) -> float:
        """The learning rate of the optimizer within."""
        return self.inner.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self.inner.lr = value

    def _apply(self, grads: list, apply_if: Any = None) -> None:
        forbid("Lookahead: its steps differ, so that they cannot be captured as one")
        params = self.params()
        for i, p in enumerate(params):
            if i not in self.slow:
                self.slow[i] = p._data.copy()
        self.inner._apply(grads, apply_if)
        if self.inner.steps % self.k == 0:
            for i, p in enumerate(params):
                self.slow[i] += self.alpha * (p._data - self.slow[i])
                p._data[...] = self.slow[i]
                stamp(p)

    def state_dict(self) -> dict[str, Any]:
        """Everything a run needs to resume, as NumPy arrays and numbers."""
        slow = {i: on_host(a).copy() for i, a in self.slow.items()}
        return {"inner": self.inner.state_dict(), "slow": slow}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Resume from what `state_dict` gave for the same parameters."""
        self.inner.load_state_dict(saved["inner"])
        params = self.params()
        for i, a in saved["slow"].items():
            home = BY_TYPE[type(params[i]._data)]
            self.slow[i] = home.from_host(np.array(a))
