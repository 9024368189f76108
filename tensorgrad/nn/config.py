"""Modules as JSON: registered names and the arguments of their constructors, and back. Nothing is
imported by name, and no name that is not registered is made.

The layers stand in one list, each after those that it is given, so that one that is used twice is
one; the last is the whole.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Annotated, Any, TypeAlias, TypeVar

import numpy as np

from .. import functions
from ..backend import dtype_of, get
from ..errors import ArgumentError, DTypeError, FileError, TensorgradError, suggest
from ..files.tensors import File
from ..files.trees import tensor_of
from ..settings import Own, gate, shown
from ..typing import DType, PathLike
from .container import Input, InputLayer, Model, joined
from .given import Left
from .module import Module
from .symbol import OPERATORS, Symbol, constant, filled, item, method, symbolic
from .weights import replace_data

T = TypeVar("T", bound="type[Module] | Callable[..., Any]")
Config: TypeAlias = Annotated[dict[str, Any], Own("what to_config gives")]
VERSION, KEY = 1, "architecture"
_PLAIN = (bool, int, float, str, type(None))
_registered: dict[str, Any] = {}


def register(made: T, name: str | None = None) -> T:
    """Make a layer of yours, or a function that layers are given, known to files by its name; a
    decorator. Raises: ArgumentError for a name that stands for something else.

    >>> @register
    ... class Double(Module):
    ...     def forward(self, x): return 2 * x
    >>> from_config(Double().to_config())
    Double()
    """
    name = made.__name__ if name is None else name
    old = _registered.get(name) or _ours(name)
    same = old is not None and old.__module__ == made.__module__
    if old is not None and not (same and old.__qualname__ == made.__qualname__):
        raise ArgumentError(f"register: {name!r} is {shown(old)} already: register(made, name)")
    if not (inspect.isfunction(made) or (inspect.isclass(made) and issubclass(made, Module))):
        raise ArgumentError(f"register takes a class of layers or a function, got {shown(made)}")
    _registered[name] = made
    return made


def _ours(name: Any) -> Any:
    """The layer or function of tensorgrad with this name, or None."""
    nn = import_module(__package__)
    if name in nn.__all__:
        made = getattr(nn, name)
        return made if inspect.isclass(made) and issubclass(made, Module) else None
    known = type(name) is str and (name in functions.__all__ or name in functions.FAMILY)
    return getattr(functions, name) if known else None


def _name_of(made: Any) -> str:
    """The name that a class or function is registered by; ArgumentError where it is not."""
    for name, known in _registered.items():
        if known is made:
            return name
    name = getattr(made, "__name__", "")
    if _ours(name) is made:
        return str(name)
    what = "@tg.nn.register above it"
    raise ArgumentError(f"{name or shown(made)} is not registered, so no file can name it: {what}")


def _known(name: Any, kind: Callable[[Any], bool]) -> Any:
    made = None
    if type(name) is str:
        made = _registered[name] if name in _registered else _ours(name)
    if made is None or not kind(made):
        known = [*_registered, *(n for n in import_module(__package__).__all__ if _ours(n))]
        raise ArgumentError(
            f"from_config: no layer is registered as {shown(name)}: {suggest(name, known)}; "
            "register yours with @tg.nn.register before"
        )
    return made


# --- modules to JSON ------------------------------------------------------------------------------


def to_config(module: Module) -> dict[str, Any]:
    """What `from_config` makes such a module of; see `Module.to_config`."""
    writer = _Writer()
    writer.module(module)
    return {"version": VERSION, "layers": writer.parts}


class _Writer:
    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self._seen: dict[int, int] = {}

    def _once(self, thing: Any, describe: Callable[[], dict[str, Any]]) -> int:
        if id(thing) not in self._seen:
            described = describe()
            self._seen[id(thing)] = len(self.parts)
            self.parts.append(described)
        return self._seen[id(thing)]

    def module(self, module: Module) -> int:
        """The place of a module in the list."""
        return self._once(module, lambda: self._module(module))

    def _module(self, module: Module) -> dict[str, Any]:
        name = _name_of(type(module))
        if isinstance(module, Model):
            for symbol in module._order:  # so that no recursion is deep
                self.symbol(symbol)
            given: dict[str, Any] = {"inputs": module._inputs, "outputs": module._outputs}
            if module.single:
                given["outputs"] = module._outputs[0]
        else:
            given = module.arguments()
        made: dict[str, Any] = {"class": name}
        made["arguments"] = {k: self.value(v, f"{name}({k}=...)") for k, v in given.items()}
        if hasattr(module, "sizes") and module.built:
            made["sizes"] = list(module.sizes())
        return made

    def symbol(self, symbol: Symbol) -> int:
        """The place of a symbol of a functional model in the list."""
        return self._once(symbol, lambda: self._symbol(symbol))

    def _symbol(self, symbol: Symbol) -> dict[str, Any]:
        inputs, run = [{"symbol": self.symbol(s)} for s in symbol.inputs], symbol.run
        if isinstance(symbol.maker, InputLayer):
            return {"symbol": "input", "shape": list(symbol.maker.shape)}
        if isinstance(run, partial) and run.func is filled:
            layer, given, options = run.args
            options = {k: self.value(v, k) for k, v in options.items()}
            inputs = [self.value(a, "an input") for a in given]
            return {
                "symbol": "layer",
                "of": self.module(layer),
                "inputs": inputs,
                "options": options,
            }
        if isinstance(run, Module):
            return {"symbol": "layer", "of": self.module(run), "inputs": inputs, "options": {}}
        kinds = {method: "method", item: "item", constant: "constant", joined: "joined"}
        if isinstance(run, partial) and run.func in kinds:
            of = [self.value(a, "a constant") for a in run.args]
            return {"symbol": kinds[run.func], "of": of, "inputs": inputs}
        raise ArgumentError(f"to_config: a symbol is made by {shown(run)}, and no layer")

    def value(self, value: Any, where: str) -> Any:
        """An argument as JSON: plain ones are themselves, all others {kind: what it is}."""
        kind = type(value)
        if kind in _PLAIN and not (kind is float and not math.isfinite(value)):
            return value
        if kind is float:
            return {"float": repr(value)}
        if kind in (list, tuple):
            return {kind.__name__: [self.value(part, where) for part in value]}
        if kind is dict:
            pairs = value.items()
            return {"dict": [[self.value(k, where), self.value(v, where)] for k, v in pairs]}
        if isinstance(value, Module):
            return {"layer": self.module(value)}
        if isinstance(value, Symbol):
            return {"symbol": self.symbol(value)}
        if value is Ellipsis:
            return {"ellipsis": True}
        if kind is slice:
            parts = (value.start, value.stop, value.step)
            return {"slice": [self.value(p, where) for p in parts]}
        if isinstance(value, np.dtype) or (kind is type and issubclass(value, np.generic)):
            return {"dtype": np.dtype(value).name}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            return {"array": value.tolist(), "dtype": value.dtype.name}
        if inspect.isfunction(value):
            return {"function": _name_of(value)}
        what = value.what if isinstance(value, Left) else f"a {kind.__name__}"
        raise ArgumentError(f"to_config: {where} is {what}, which JSON cannot hold")


# --- modules from JSON ----------------------------------------------------------------------------

_CONTAINERS = {"list": list, "tuple": tuple}


@gate
def from_config(config: Config) -> Module:
    """The module that `to_config` described, with new weights. Names are those of `tg.nn` and of
    what was registered; nothing else is looked up, imported or run.

    Raises: ArgumentError for a name that is not registered, and for what is no such description.

    >>> from .dense import Dense
    >>> from_config(tg.nn.Sequential(Dense(8, 4), Dense(1)).to_config())
    Sequential(
      layers[0]: Dense(8, in_features=4)
      layers[1]: Dense(1, in_features=None)
    )
    """
    try:
        if config["version"] > VERSION:
            raise ArgumentError(
                f"from_config: version {config['version']}, known are up to {VERSION}: update"
            )
        made: list[Any] = []
        for part in config["layers"]:
            made.append(_symbol(part, made) if "symbol" in part else _module(part, made))
        if not isinstance(made[-1], Module):
            raise ValueError
        return made[-1]
    except TensorgradError:
        raise
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError,
            OverflowError, MemoryError) as error:  # fmt: skip
        said = f"{type(error).__name__}: {str(error)[:100]}"
        raise ArgumentError(f"from_config takes what to_config gives ({said})") from error


def _module(part: dict[str, Any], made: list[Any]) -> Module:
    cls = _known(part["class"], inspect.isclass)
    bound = inspect.signature(cls.__init__).bind_partial(None)
    known = [*bound.signature.parameters][1:]
    given = {name: _value(v, made) for name, v in part["arguments"].items()}
    if unknown := [name for name in given if name not in known]:
        raise ArgumentError(f"from_config: {cls.__name__} takes no {', '.join(unknown)}")
    bound.arguments.update(given)
    module: Module = cls(*bound.args[1:], **bound.kwargs)
    if "sizes" in part and not module.built:
        module.build_for(*part["sizes"])  # type: ignore[attr-defined]
    return module


def _symbol(part: dict[str, Any], made: list[Any]) -> Symbol:
    kind = part["symbol"]
    if kind == "input":
        return Input(tuple(part["shape"]))
    inputs = [_value(v, made) for v in part["inputs"]]
    if kind == "layer":
        layer, options = made[part["of"]], part["options"].items()
        if not isinstance(layer, Module):
            raise ValueError
        found: Any = layer(*inputs, **{k: _value(v, made) for k, v in options})
        if not isinstance(found, Symbol):
            raise ValueError
        return found
    of = [_value(v, made) for v in part["of"]]
    if not all(isinstance(s, Symbol) for s in inputs):
        raise ValueError
    if kind in ("method", "constant") and of[0] not in OPERATORS:
        raise ValueError
    ways: dict[str, Callable[..., Any]] = {
        "method": method,
        "item": item,
        "constant": constant,
        "joined": joined,
    }
    return symbolic(partial(ways[kind], *of), inputs)


def _value(said: Any, made: list[Any]) -> Any:
    if type(said) in _PLAIN:
        return said
    (kind, given), *rest = said.items()
    if kind in ("layer", "symbol"):
        found = made[given]
        if given < 0 or not isinstance(found, Module if kind == "layer" else Symbol):
            raise ValueError
        return found
    if kind == "array":
        return np.asarray(given, dtype_of(dict(rest)["dtype"]))
    if kind in _CONTAINERS:
        return _CONTAINERS[kind]([_value(part, made) for part in given])
    if kind == "dict":
        return {_value(k, made): _value(v, made) for k, v in given}
    if kind == "slice":
        return slice(*[_value(part, made) for part in given])
    simple: dict[str, Callable[[Any], Any]] = {
        "float": float,
        "dtype": dtype_of,
        "ellipsis": lambda _: ...,
        "function": lambda name: _known(name, inspect.isfunction),
    }
    return simple[kind](given)


# --- whole models in one file ---------------------------------------------------------------------


def described(module: Module, wanted: bool | str) -> dict[str, str]:
    """What a file of weights says of the module itself: its configuration, or why there is none."""
    if wanted is False:
        return {}
    try:
        return {KEY: json.dumps(to_config(module))}
    except ArgumentError as error:
        if wanted is True:
            raise
        return {f"no {KEY}": str(error)}


@gate
def load_model(path: PathLike, dtype: DType = None, backend: str | None = None) -> Module:
    """The model that `model.save` wrote: its layers, by their registered names, with its weights.

    Args:
        path: of the file.
        dtype: of the floating parameters; None for those in the file.
        backend: where the parameters are; None is the default one.
    Raises: FileError for a file without layers, or that does not fit itself; ArgumentError for a
        layer that is not registered here.

    >>> from .dense import Dense
    >>> Dense(1, 2).save("m.safetensors"); load_model("m.safetensors")
    Dense(1, in_features=2)
    """
    with File(path) as file:
        if KEY not in file.text:
            why = file.text.get(f"no {KEY}", "it was saved without them, or by another program")
            raise FileError(
                f"{file.path} holds weights and no layers ({why}): make the model, then "
                "model.load_weights(path)"
            )
        try:
            config = json.loads(file.text[KEY])
        except (ValueError, RecursionError):
            raise file.refused("its architecture is no JSON") from None
        with _at_most(sum(math.prod(e.shape) for e in file.entries.values())):
            model = from_config(config)
        own = dict(model.named_state())
        if {n: p.shape for n, p in own.items()} != {n: e.shape for n, e in file.entries.items()}:
            raise file.refused("its weights are not those of its layers")
        wanted = None if dtype is None else dtype_of(dtype)
        if wanted is not None and wanted.kind not in "fV":
            raise DTypeError(f"load_model: parameters are floating numbers, got dtype {wanted}")
        for name, p in own.items():
            home = get(backend or p.backend)
            replace_data([p], [tensor_of(file.read(name), wanted, home)._data])
    return model


@contextmanager
def _at_most(numbers: int) -> Iterator[None]:
    """Refuse to draw more weights than a file has."""
    from . import init

    init.allowed.numbers = numbers
    try:
        yield
    finally:
        init.allowed.numbers = None
