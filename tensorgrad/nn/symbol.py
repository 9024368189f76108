"""Symbols: what a layer will compute in a functional model, before there are numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..core import recording
from ..creation import zeros
from ..errors import GraphError


class Symbol:
    """What a layer will compute in a functional model: a shape, and how it comes about.

    The first axis, the batch, is None. Operators and layers take symbols and give symbols.
    """

    def __init__(self, shape: tuple, maker: Any = None, inputs: Sequence = ()):
        self.shape, self.maker, self.inputs = shape, maker, tuple(inputs)

    def __repr__(self) -> str:
        return f"Symbol(shape={self.shape})"

    def __array_function__(self, func: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        raise GraphError(f"np.{func.__name__} of a symbolic tensor: use layers and operators")


def _operator(name: str) -> Callable:
    def method(self: Symbol, other: Any) -> Symbol:
        symbols = [s for s in (self, other) if isinstance(s, Symbol)]
        if len(symbols) == 2:
            return symbolic(lambda a, b: getattr(a, name)(b), symbols)
        return symbolic(lambda a: getattr(a, name)(other), symbols)

    return method


for _name in ("add", "sub", "mul", "truediv", "pow", "radd", "rsub", "rmul", "rtruediv"):
    setattr(Symbol, f"__{_name}__", _operator(f"__{_name}__"))


def symbolic(maker: Callable, inputs: Sequence[Symbol]) -> Symbol:
    """The symbol of maker(*inputs): its shape is found by a run on a batch of one zero."""
    trial = [zeros((1, *s.shape[1:])) for s in inputs]
    modules = maker.modules() if hasattr(maker, "modules") else []
    before = [m.training for m in modules]
    for m in modules:
        m.training = False
    with recording(False):
        y = maker(*trial)
    for m, mode in zip(modules, before, strict=True):
        m.training = mode
    return Symbol((None, *y.shape[1:]), maker, inputs)
