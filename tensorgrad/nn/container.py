"""Containers of layers: `Sequential`, and `Model`, a graph of layers (the functional API)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from inspect import signature
from typing import Annotated, Any, Generic, TypeAlias, overload

from ..core import Tensor
from ..errors import ArgumentError, GraphError, ShapeError
from ..functions import concat
from ..functions.inputs import several
from ..settings import Own, gate, listed, shown
from ..typing import ArrayLike, Outputs, Shape
from .module import Module, parts_of
from .symbol import Symbol, symbolic

Symbols: TypeAlias = Annotated["Symbol | Sequence[Symbol]", Own("what Input and layers give")]
Parts: TypeAlias = Annotated["Sequence[Any]", Own("a list of tensors or symbols")]
Step: TypeAlias = "Callable[..., Any] | Symbol"  # a layer, a function, or an Input


class Sequential(Module):
    """Layers applied in sequence, each to the output of the one before: `Sequential([a, b])` or
    `Sequential(a, b)`. Any function of one tensor may be among them. Of the output and the state
    that an LSTM gives, the next layer gets the output. Options of a call, such as `lengths=`, go
    to all layers whose forward takes them.

    >>> from .dense import Dense
    >>> Sequential([Dense(4, activation="relu"), Dense(1)])([[1.0, 2.0]]).shape
    (1, 1)
    """

    def __init__(self, *layers: Step | Sequence[Step]):
        super().__init__()
        given: Any = (
            layers[0] if len(layers) == 1 and isinstance(layers[0], (list, tuple)) else layers
        )
        self.stack: list[Callable[..., Any]] = []
        for layer in given:
            self.add(layer)
        self._build()

    def _build(self) -> None:
        """Initialise all layers at once when the first is an Input."""
        if self.stack and isinstance(self.stack[0], InputLayer):
            symbolic(self, [Symbol((None, *self.stack[0].shape))])

    def add(self, layer: Step) -> None:
        """Append a layer, or any function of one tensor."""
        if isinstance(layer, Symbol) and isinstance(layer.maker, InputLayer) and not self.stack:
            layer = layer.maker
        if isinstance(layer, type) or not callable(layer):
            raise ArgumentError(
                f"Sequential takes layers and functions, got {layer!r}"
                + (": make an object of it with ()" if isinstance(layer, type) else "")
            )
        self._check_axes(layer)
        self.stack.append(layer)

    def _check_axes(self, layer: Any) -> None:
        """ArgumentError where a layer takes for time what the one before takes for the batch."""
        before = self.stack[-1] if self.stack else None
        axes = [getattr(part, "batch_first", None) for part in (before, layer)]
        if None not in axes and axes[0] != axes[1]:
            names = [type(part).__name__ for part in (before, layer)]
            raise ArgumentError(
                f"Sequential: {names[0]} has batch_first={axes[0]}, {names[1]} after it "
                f"batch_first={axes[1]}: give both batch_first=True, for examples in the first axis"
            )

    def forward(self, x: ArrayLike, **options: Any) -> Tensor:
        """`options`, such as `lengths` or `cache`, go to the layers whose forward has them."""
        for name in options:
            if not takes(self, name):
                raise ArgumentError(f"Sequential: no layer takes {name}=")
        last = len(self.stack) - 1
        for i, layer in enumerate(self.stack):
            given = {n: v for n, v in options.items() if takes(layer, n)} if options else options
            x = layer(x, **given)
            if type(x) is tuple and i < last and getattr(layer, "gives_state", False):
                x = x[0]
        return x  # type: ignore[return-value]  # whatever the last layer gives

    @property
    def gives_state(self) -> bool:
        """Whether the last layer gives an output and a state."""
        return bool(self.stack) and getattr(self.stack[-1], "gives_state", False)

    def children(self) -> Iterator[tuple[str, Any]]:
        for i, layer in enumerate(self.stack):
            yield from parts_of(layer, f"layers[{i}]")

    def arguments(self) -> dict[str, Any]:
        return {"layers": tuple(self.stack)}  # as they are now

    def __len__(self) -> int:
        return len(self.stack)

    def __getitem__(self, i: int) -> Callable[..., Any]:
        return self.stack[i]

    def __iter__(self) -> Iterator[Callable[..., Any]]:
        return iter(self.stack)


def takes(layer: Any, name: str) -> bool:
    """Whether a call of this layer takes an option of that name."""
    if isinstance(layer, Sequential):
        return any(takes(inner, name) for inner in layer.stack)
    return isinstance(layer, Module) and name in _options(type(layer).forward)


@lru_cache
def _options(forward: Callable) -> frozenset[str]:
    """The names of its parameters; the signature is read once."""
    return frozenset(signature(forward).parameters)


class InputLayer(Module):
    """The layer of an `Input`: checks the shape of a batch, and has no weights."""

    def __init__(self, shape: tuple[int, ...]):
        super().__init__()
        self.shape = shape

    def forward(self, x: Any) -> Tensor:
        if tuple(x.shape[1:]) != self.shape:
            raise ShapeError(f"Input{self.shape} got a batch of shape {tuple(x.shape)}")
        return x

    def describe(self) -> str:
        return f"{self.shape}"


@gate
def Input(shape: Shape) -> Symbol:
    """A symbolic input of a functional model; `shape` is that of one example.

    >>> Input((2,)).shape
    (None, 2)
    """
    shape = several(shape)
    return Symbol((None, *shape), InputLayer(shape))


@overload
def concatenate(symbols: Sequence[Symbol], axis: int = -1) -> Symbol: ...
@overload
def concatenate(symbols: Sequence[ArrayLike], axis: int = -1) -> Tensor: ...
@gate
def concatenate(symbols: Parts, axis: int = -1) -> Any:
    """Concatenate tensors, or symbols of a functional model, along an axis other than the batch.

    >>> concatenate([Input((2,)), Input((3,))]).shape
    (None, 5)
    """
    if not listed(symbols):
        raise ArgumentError(f"concatenate takes a list, got {shown(symbols)}")
    if not any(isinstance(s, Symbol) for s in symbols):
        return concat(symbols, axis=axis)
    return symbolic(partial(joined, axis), symbols)


def joined(axis: int, *xs: Any) -> Tensor:
    """`concat` of symbols' values."""
    return concat(xs, axis=axis)


def _symbols(name: str, given: Any) -> list[Symbol]:
    """One symbol, or several."""
    found = [given] if isinstance(given, Symbol) else given
    several = isinstance(found, (list, tuple)) and bool(found)
    if not several or not all(isinstance(s, Symbol) for s in found):
        raise ArgumentError(
            f"Model: {name} are what Input and layers called on it give, got {shown(given)}"
        )
    return list(found)


class Model(Module, Generic[Outputs]):
    """A functional model: the graph of layers from the symbolic inputs to the outputs. Both may be
    lists; several outputs are returned as a tuple.

    >>> from .dense import Dense
    >>> inp = Input((2,))
    >>> model = Model(inp, Dense(1)(Dense(8, activation="relu")(inp)))
    >>> [len(layer.get_weights()) for layer in model.layers]
    [0, 2, 2]
    """

    @overload
    def __init__(
        self: Model[Tensor], inputs: Symbol | Sequence[Symbol], outputs: Symbol
    ) -> None: ...
    @overload
    def __init__(
        self: Model[tuple[Tensor, ...]],
        inputs: Symbol | Sequence[Symbol],
        outputs: Sequence[Symbol],
    ) -> None: ...
    def __init__(self, inputs: Symbols, outputs: Symbols):
        super().__init__()
        self.single = isinstance(outputs, Symbol)
        # before the others, so that pickle meets each symbol after those it refers to
        self._order: list[Symbol] = []
        self._inputs, self._outputs = _symbols("inputs", inputs), _symbols("outputs", outputs)
        self._order += self._sorted()
        makers = {id(s.maker): s.maker for s in self._order if isinstance(s.maker, Module)}
        self._layers = list(makers.values())

    def children(self) -> Iterator[tuple[str, Any]]:
        for i, layer in enumerate(self._layers):
            yield f"layers[{i}]", layer

    def _sorted(self) -> list[Symbol]:
        """All symbols from inputs to outputs, in topological order."""
        order: list[Symbol] = list(self._inputs)
        todo, seen = list(reversed(self._outputs)), {id(s) for s in order}
        while todo:
            symbol = todo[-1]
            missing = [s for s in symbol.inputs if id(s) not in seen]
            if isinstance(symbol.maker, InputLayer) and id(symbol) not in seen:
                raise GraphError("Model: an output depends on an Input that is not in `inputs`")
            if missing:
                todo += missing
                continue
            todo.pop()
            if id(symbol) not in seen:
                seen.add(id(symbol))
                order.append(symbol)
        return order

    def forward(self, *inputs: ArrayLike) -> Outputs:
        if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
            inputs = tuple(inputs[0])
        if len(inputs) != len(self._inputs):
            raise ArgumentError(f"the model has {len(self._inputs)} inputs, got {len(inputs)}")
        known = {id(s): s.maker(x) for s, x in zip(self._inputs, inputs, strict=True)}
        for symbol in self._order[len(self._inputs) :]:
            known[id(symbol)] = symbol.run(*[known[id(s)] for s in symbol.inputs])
        results = [known[id(s)] for s in self._outputs]
        return results[0] if self.single else tuple(results)  # type: ignore[return-value]
