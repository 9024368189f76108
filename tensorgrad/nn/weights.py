"""Weights as they leave and enter a module: copies of all parameters and buffers, by path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, TypeAlias

import numpy as np

from ..core import Tensor, stamp
from ..creation import asarray
from ..errors import ArgumentError, ShapeError
from ..kernels.interrupts import uninterrupted
from ..settings import Own, gate, shown
from ..typing import ArrayLike

if TYPE_CHECKING:
    from numpy.typing import NDArray


State: TypeAlias = Annotated[Mapping[str, ArrayLike], Own("a dict of arrays by path")]


class Loaded(NamedTuple):
    """What loading left out: parameters and buffers that were not given, and names that are not the
    module's. Both are empty unless `strict=False`."""

    missing: list[str]
    unexpected: list[str]


class Weights:
    """The methods of a Module that give and take weights."""

    named_state: Any
    named_modules: Any

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all parameters and buffers as NumPy arrays, by path."""
        return {name: p.numpy().copy() for name, p in self.named_state()}

    @gate
    def load_state_dict(self, state: State, strict: bool = True) -> Loaded:
        """Set all parameters and buffers from arrays by path, cast to their dtype. All or nothing:
        ShapeError names every missing, unexpected and mis-shaped entry. With `strict=False` missing
        and unexpected ones are returned instead, and what is missing stays as it is.

        >>> from .dense import Dense
        >>> Dense(1, 2).load_state_dict({"weight": [[1.0], [2.0]]}, strict=False).missing
        ['bias']
        """
        if not isinstance(state, Mapping):
            raise ArgumentError(
                f"load_state_dict takes a dict of arrays by path, got {shown(state)}"
            )
        if waiting := [path or "(self)" for path, m in self.named_modules() if not m.built]:
            raise ShapeError(
                f"load_state_dict of {type(self).__name__}: the layers {', '.join(waiting)} have "
                "no parameters yet; call the model on a batch first, or give them in_features"
            )
        own = dict(self.named_state())
        left = Loaded([n for n in own if n not in state], [n for n in state if n not in own])
        given = {name: p for name, p in own.items() if name in state}
        wrong = [f"missing {name}" for name in left.missing if strict]
        wrong += [f"unexpected {name}" for name in left.unexpected if strict]
        wrong += [
            f"{name} has shape {_shape(state[name])}, the module's {p.shape}"
            for name, p in given.items()
            if _shape(state[name]) != p.shape
        ]
        if wrong:
            raise ShapeError(f"load_state_dict of {type(self).__name__}: {'; '.join(wrong)}")
        made = [asarray(state[k], p.dtype, p.backend)._data.copy() for k, p in given.items()]
        replace_data(given.values(), made, keeps_gradients=True)
        return left

    def get_weights(self) -> list[NDArray[Any]]:
        """Copies of all parameters and buffers as NumPy arrays, in the order they were made."""
        return list(self.state_dict().values())

    def set_weights(self, weights: Iterable[ArrayLike]) -> None:
        """Set all parameters and buffers from arrays in the order of `get_weights`."""
        weights, names = list(weights), [name for name, _ in self.named_state()]
        if len(weights) != len(names):
            raise ShapeError(
                f"set_weights: {type(self).__name__} has {len(names)} parameters and buffers "
                f"({', '.join(names)}), got {len(weights)} arrays"
            )
        self.load_state_dict(dict(zip(names, weights, strict=True)))


def replace_data(
    tensors: Iterable[Tensor], arrays: list[Any], keeps_gradients: bool = False
) -> None:
    """New arrays of parameters and buffers, of all or, where making one failed, of none."""
    with uninterrupted():
        for t, a in zip(tensors, arrays, strict=True):
            t._data = a
            if not keeps_gradients:
                t._grad = None
            stamp(t)


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if hasattr(value, "shape") else np.shape(value)
