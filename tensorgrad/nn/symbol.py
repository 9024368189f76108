"""Symbolic tensors: the graph of layers of a functional model, with shapes but no values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import functions
from ..core import Tensor
from ..creation import beside, zeros
from ..errors import GraphError
from ..switches import evaluating
from ..typing import ArrayLike


class Symbol:
    """A symbolic tensor of a functional model: a shape, and the layer and inputs that it is
    computed from. The first axis, the batch, is None. Operators, layers, the methods of tensors,
    NumPy's functions and those of this package that have options take and return symbols.
    """

    def __init__(
        self, shape: tuple[Any, ...], maker: Any = None, inputs: Sequence[Any] = (), run: Any = None
    ):
        self.shape, self.maker, self.inputs = shape, maker, tuple(inputs)
        self.run = run or maker  # computes the value from those of the inputs

    def __repr__(self) -> str:
        return f"Symbol(shape={self.shape})"

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __neg__(self) -> Symbol:
        return symbolic(partial(method, "__neg__"), [self])

    def __abs__(self) -> Symbol:
        return symbolic(partial(method, "__abs__"), [self])

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
            error = TypeError(
                "a symbol of a functional model has no numbers yet: use operators, methods such as "
                "x.exp(), NumPy's functions such as np.exp(x), layers, or a Module of your own"
            )
            error.symbolic = applied  # which the gate of a public function looks for
            raise error

        def __getattr__(self, name: str) -> Any:
            """A method of tensors, as one of the symbol."""
            if name.startswith("_") or not callable(getattr(Tensor, name, None)):
                raise AttributeError(f"a symbol of a functional model has no attribute {name!r}")
            return partial(_of_method, name, self)

    def __array_ufunc__(self, ufunc: Any, how: str, *inputs: Any, **options: Any) -> Any:
        if how != "__call__" or options:
            raise GraphError(f"np.{ufunc.__name__} of a symbolic tensor takes no options")
        return self._of_numpy(ufunc.__name__, inputs, {})

    def __array_function__(self, func: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        return self._of_numpy(func.__name__, args, kwargs)

    def _of_numpy(self, name: str, args: Any, options: Any) -> Any:
        if not callable(ours := getattr(functions, name, None)):
            raise GraphError(f"np.{name} of a symbolic tensor: use layers, methods and operators")
        return applied(ours, args, options)


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


def evaluated(function: Callable, args: Any, options: Any, *values: Any) -> Any:
    """The value of a function, among whose arguments symbols stand for values."""
    given = iter(values)

    def known(value: Any) -> Any:
        if isinstance(value, (list, tuple)) and any(isinstance(v, Symbol) for v in value):
            return [known(v) for v in value]
        return next(given) if isinstance(value, Symbol) else value

    args = [known(a) for a in args]
    return function(*args, **{name: known(v) for name, v in options.items()})


def applied(function: Callable, args: Sequence[Any], options: dict[str, Any]) -> Any:
    """The symbol of function(*args, **options), with symbols among them or in lists of them."""
    found: list[Symbol] = []
    for value in (*args, *options.values()):
        within = value if isinstance(value, (list, tuple)) else [value]
        found += [s for s in within if isinstance(s, Symbol)]
    return symbolic(partial(evaluated, function, args, options), found)


def _of_method(name: str, symbol: Symbol, *args: Any, **options: Any) -> Any:
    return applied(partial(_called, name), (symbol, *args), options)


def _called(name: str, x: Any, *args: Any, **options: Any) -> Any:
    return getattr(x, name)(*args, **options)


def _operator(name: str) -> Callable:
    def operate(self: Symbol, other: Any) -> Symbol:
        symbols = [s for s in (self, other) if isinstance(s, Symbol)]
        if len(symbols) == 2:
            return symbolic(partial(method, name), symbols)
        return symbolic(partial(constant, name, other), symbols)

    return operate


OPERATORS = ["__neg__", "__abs__"]
_BINARY = """add sub mul truediv pow matmul radd rsub rmul rtruediv rpow rmatmul floordiv
rfloordiv mod rmod lt le gt ge and or"""
for _name in _BINARY.split():
    OPERATORS.append(f"__{_name}__")
    setattr(Symbol, f"__{_name}__", _operator(f"__{_name}__"))


def symbolic(maker: Callable, inputs: Sequence[Symbol], run: Callable | None = None) -> Symbol:
    """The symbol of maker(*inputs), or a tuple of symbols where it gives several tensors. Shapes
    are inferred by a forward pass of one zero example, and of two where the batch may not be the
    first axis."""
    run, modules = run or maker, maker.modules() if hasattr(maker, "modules") else ()

    def trial(batch: int) -> Any:
        with evaluating(modules):
            return run(*[zeros([batch if n is None else n for n in s.shape]) for s in inputs])

    y = trial(1)
    if isinstance(y, (tuple, list)):
        return _several(y, trial(2), Symbol((), maker, inputs, run))
    if not hasattr(y, "shape"):
        raise GraphError(f"a layer of a functional model gives tensors, got {type(y).__name__}")
    first = y.shape[:1] == (1,) and all(s.shape[:1] == (None,) for s in inputs)
    if not first or len(y.shape) == 0:
        return Symbol(_free(y, trial(2)), maker, inputs, run)
    return Symbol((None, *y.shape[1:]), maker, inputs, run)


def _free(one: Any, two: Any) -> tuple[Any, ...]:
    """The shape, with None for what differs between batches of one and two."""
    return tuple([n if n == m else None for n, m in zip(one.shape, two.shape, strict=True)])


def _several(one: Any, two: Any, whole: Symbol) -> Any:
    """Symbols of the parts of a tuple, which may be tuples."""
    made = []
    for i, (a, b) in enumerate(zip(one, two, strict=True)):
        part = Symbol((), partial(item, i), [whole])
        if isinstance(a, (tuple, list)):
            made.append(_several(a, b, part))
        elif a is None:
            made.append(None)
        else:
            part.shape = _free(a, b)
            made.append(part)
    return tuple(made)


def symbolic_call(module: Callable, inputs: Sequence, options: dict[str, Any]) -> Symbol:
    """The symbol of module(*inputs, **options), some of whose inputs may be tensors."""
    symbols = [a for a in inputs if isinstance(a, Symbol)]
    return symbolic(module, symbols, partial(filled, module, tuple(inputs), options))
