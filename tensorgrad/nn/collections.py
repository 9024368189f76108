"""Lists and dicts of modules or parameters, as modules, and layers beside each other. (Plain lists
and dicts as attributes are found, too: these have PyTorch's names and methods.)"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any, Literal

from .. import functions
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, ShapeError
from ..settings import listed, shown
from ..typing import ArrayLike
from .container import Sequential, takes
from .module import Module, Parameter, parts_of

__all__ = ["ModuleDict", "ModuleList", "Parallel", "ParameterDict", "ParameterList", "Residual"]


def _module(where: str, value: Any) -> Any:
    if isinstance(value, Module):
        return value
    raise ArgumentError(
        f"{where} holds modules, got {shown(value)}"
        + (": make an object of it with ()" if isinstance(value, type) else "")
    )


def _parameter(where: str, value: Any) -> Any:
    return value if isinstance(value, Parameter) else Parameter(value)


class _List(Module, MutableSequence):  # type: ignore[type-arg]
    _taken: Callable[[str, Any], Any] = staticmethod(_module)
    __eq__, __hash__ = object.__eq__, object.__hash__  # type: ignore[assignment]

    def _hold(self, values: Iterable[Any]) -> None:
        super().__init__()
        self._items: list[Any] = []
        if not listed(values):
            raise ArgumentError(
                f"{type(self).__name__}: {self._called}={shown(values)} must be a list"
            )
        self.extend(values)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, i: Any) -> Any:
        if not isinstance(i, slice):
            return self._items[i]
        made: Any = type(self)
        return made(self._items[i])

    def __setitem__(self, i: Any, value: Any) -> None:
        self._items[i] = self._taken(type(self).__name__, value)

    def __delitem__(self, i: Any) -> None:
        del self._items[i]

    def insert(self, index: int, value: Any) -> None:
        """Put a value before the index."""
        self._items.insert(index, self._taken(type(self).__name__, value))

    def children(self) -> Iterator[tuple[str, Any]]:
        for i, value in enumerate(self._items):
            yield from parts_of(value, f"{i}")

    def arguments(self) -> dict[str, Any]:
        """What is in it now."""
        return {self._called: [*self._items]}

    _called = "modules"


class ModuleList(_List):
    """Modules in a list, which is indexed, iterated and appended to; its paths are those of
    PyTorch, `blocks.0.weight`. What to do with them is up to your `forward`.

    >>> from .dense import Dense
    >>> blocks = ModuleList([Dense(4), Dense(2)])
    >>> [len(blocks), blocks[-1].units]
    [2, 2]
    """

    def __init__(self, modules: Iterable[Module] = ()):
        self._hold(modules)


class ParameterList(_List):
    """Parameters in a list; arrays and numbers among the values become such.

    >>> [p.requires_grad for p in ParameterList([[1.0, 2.0], [3.0]])]
    [True, True]
    """

    _taken, _called = staticmethod(_parameter), "values"

    def __init__(self, values: Iterable[ArrayLike] = ()):
        self._hold(values)


class _Dict(Module, MutableMapping):  # type: ignore[type-arg]
    _taken: Callable[[str, Any], Any] = staticmethod(_module)
    __eq__, __hash__ = object.__eq__, object.__hash__  # type: ignore[assignment]

    def _hold(self, values: Any) -> None:
        super().__init__()
        self._items: dict[str, Any] = {}
        self.update(values)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str) or not key or "." in key:
            raise ArgumentError(f"{type(self).__name__}: keys are names without dots, got {key!r}")
        self._items[key] = self._taken(type(self).__name__, value)

    def __delitem__(self, key: str) -> None:
        del self._items[key]

    def children(self) -> Iterator[tuple[str, Any]]:
        for key, value in self._items.items():
            yield from parts_of(value, key)

    def arguments(self) -> dict[str, Any]:
        """What is in it now."""
        return {self._called: {**self._items}}

    _called = "modules"


class ModuleDict(_Dict):
    """Modules by name, as a dict; its paths are those of PyTorch, `heads.digit.weight`.

    >>> from .dense import Dense
    >>> list(ModuleDict({"digit": Dense(10), "parity": Dense(1)}))
    ['digit', 'parity']
    """

    def __init__(self, modules: Mapping[str, Module] = {}):
        self._hold(modules)


class ParameterDict(_Dict):
    """Parameters by name, as a dict; arrays and numbers among the values become such.

    >>> ParameterDict({"scale": [1.0]})["scale"].requires_grad
    True
    """

    _taken, _called = staticmethod(_parameter), "parameters"

    def __init__(self, parameters: Mapping[str, ArrayLike] = {}):
        self._hold(parameters)


# --- beside each other ----------------------------------------------------------------------------


class Residual(Sequential):
    """x + layers(x), or shortcut(x) + layers(x) where these change the shape (He et al. 2016).

    >>> Residual(lambda x: x * 2)([1.0]).tolist()
    [3.0]
    """

    def __init__(self, *layers: Callable[..., Any], shortcut: Callable[..., Any] | None = None):
        super().__init__(*layers)
        self.shortcut = shortcut

    def forward(self, x: ArrayLike, **options: Any) -> Tensor:
        x = asarray(x)
        y, direct = super().forward(x, **options), x if self.shortcut is None else self.shortcut(x)
        if y.shape != direct.shape:  # type: ignore[union-attr]
            raise ShapeError(
                f"Residual: the layers give {y.shape}, beside them is {direct.shape}"  # type: ignore[union-attr]
                + ("; give a shortcut=, such as a Conv of size 1" if self.shortcut is None else "")
            )
        return y + direct

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "shortcut": self.shortcut}

    def children(self) -> Iterator[tuple[str, Any]]:
        yield from super().children()
        yield from parts_of(self.shortcut, "shortcut")


class Parallel(Sequential):
    """All layers applied to the same input, and their results joined (Szegedy et al. 2015):
    concatenated along an axis, by default the channels; with `join="sum"` added; with "none" a
    tuple of them.

    >>> Parallel(abs, lambda x: x * 2)([[-1.0]]).tolist()
    [[1.0, -2.0]]
    """

    def __init__(
        self,
        *layers: Callable[..., Any],
        join: Literal["concat", "sum", "none"] = "concat",
        axis: int = 1,
    ):
        super().__init__(*layers)
        self.join, self.joined_axis = join, axis

    def forward(self, x: ArrayLike, **options: Any) -> Any:
        x = asarray(x)
        results = [
            layer(x, **{n: v for n, v in options.items() if takes(layer, n)})
            for layer in self.stack
        ]
        if self.join == "none" or not results:
            return tuple(results)
        if self.join == "sum":
            return sum(results[1:], results[0])
        return functions.concat(results, axis=self.joined_axis)

    def arguments(self) -> dict[str, Any]:
        return {**super().arguments(), "join": self.join, "axis": self.joined_axis}
