"""Symbolic tensors: the graph of layers of a functional model, with shapes but no values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ..creation import beside, zeros
from ..errors import GraphError
from ..switches import evaluating
from ..typing import ArrayLike


class Symbol:
    """A symbolic tensor of a functional model: a shape, and the layer and inputs that it is
    computed from. The first axis, the batch, is None. Operators and layers take and return symbols.
    """

    __array_ufunc__ = None  # array + symbol is the symbol's __radd__

    def __init__(
        self, shape: tuple[Any, ...], maker: Any = None, inputs: Sequence[Any] = (), run: Any = None
    ):
        self.shape, self.maker, self.inputs = shape, maker, tuple(inputs)
        self.run = run or maker  # computes the value from those of the inputs

    def __repr__(self) -> str:
        return f"Symbol(shape={self.shape})"

    def __neg__(self) -> Symbol:
        return symbolic(partial(method, "__neg__"), [self])

    def __getitem__(self, key: Any) -> Symbol:
        return symbolic(partial(item, key), [self])

    if TYPE_CHECKING:  # set below

        def __add__(self, other: Symbol | ArrayLike) -> Symbol: ...
        def __sub__(self, other: Symbol | ArrayLike) -> Symbol: ...
        def __mul__(self, other: Symbol | ArrayLike) -> Symbol: ...
        def __truediv__(self, other: Symbol | ArrayLike) -> Symbol: ...
        def __pow__(self, other: Symbol | ArrayLike) -> Symbol: ...
        def __matmul__(self, other: Symbol | ArrayLike) -> Symbol: ...
        def __radd__(self, other: ArrayLike) -> Symbol: ...
        def __rsub__(self, other: ArrayLike) -> Symbol: ...
        def __rmul__(self, other: ArrayLike) -> Symbol: ...
        def __rtruediv__(self, other: ArrayLike) -> Symbol: ...
        def __rpow__(self, other: ArrayLike) -> Symbol: ...

    else:  # to type checkers a symbol is no array

        def __array__(self, *args: Any, **kwargs: Any) -> Any:
            raise TypeError(
                "a symbol of a functional model has no numbers yet: use operators, layers such as "
                "tg.nn.ReLU()(x), tg.nn.concatenate([a, b]), or a Module of your own"
            )

    def __array_function__(self, func: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        raise GraphError(f"np.{func.__name__} of a symbolic tensor: use layers and operators")


# Functions and partials rather than closures, which cannot be pickled


def method(name: str, a: Any, *others: Any) -> Any:
    """An operator's value."""
    return getattr(a, name)(*others)


def item(key: Any, a: Any) -> Any:
    """A value's part at a key."""
    return a[key]


def constant(name: str, other: Any, a: Any) -> Any:
    """An operator's value beside a number or an array."""
    return getattr(a, name)(beside(other, a) if isinstance(other, np.ndarray) else other)


def filled(module: Callable, inputs: Sequence, options: dict[str, Any], *values: Any) -> Any:
    """A layer's value, some of whose inputs are no symbols."""
    given = iter(values)
    return module(*[next(given) if isinstance(a, Symbol) else a for a in inputs], **options)


def _operator(name: str) -> Callable:
    def operate(self: Symbol, other: Any) -> Symbol:
        symbols = [s for s in (self, other) if isinstance(s, Symbol)]
        if len(symbols) == 2:
            return symbolic(partial(method, name), symbols)
        return symbolic(partial(constant, name, other), symbols)

    return operate


OPERATORS = ["__neg__"]
for _name in "add sub mul truediv pow matmul radd rsub rmul rtruediv rpow".split():
    OPERATORS.append(f"__{_name}__")
    setattr(Symbol, f"__{_name}__", _operator(f"__{_name}__"))


def symbolic(maker: Callable, inputs: Sequence[Symbol], run: Callable | None = None) -> Symbol:
    """The symbol of maker(*inputs). Its shape is inferred by a forward pass of one zero example."""
    trial = [zeros((1, *s.shape[1:])) for s in inputs]
    with evaluating(maker.modules() if hasattr(maker, "modules") else ()):
        y = (run or maker)(*trial)
    if not hasattr(y, "shape"):
        raise GraphError(f"a layer of a functional model gives one tensor, got {type(y).__name__}")
    return Symbol((None, *y.shape[1:]), maker, inputs, run)


def symbolic_call(module: Callable, inputs: Sequence, options: dict[str, Any]) -> Symbol:
    """The symbol of module(*inputs, **options), some of whose inputs may be tensors."""
    symbols = [a for a in inputs if isinstance(a, Symbol)]
    return symbolic(module, symbols, partial(filled, module, tuple(inputs), options))
