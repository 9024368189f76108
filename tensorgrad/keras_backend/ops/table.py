"""How a row of a table becomes a function of Keras: its arrays are prepared by a rule, tensorgrad's
function computes, and whole results get Keras's dtype."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorgrad as tg
from tensorgrad.backend import is_floating

from .core import Tensor, cast, common, convert_to_tensor, floating, name_of, together


def axes(axis: Any) -> Any:
    """An axis, or several, as tensorgrad takes them."""
    if isinstance(axis, (list, tuple)):
        return tuple(int(a) for a in axis)
    return axis if axis is None else int(axis)


def promoted(*xs: Any) -> list[Any]:
    """All of Keras's common dtype; of numbers alone, Tensors."""
    return together(*xs)


def promoted_floats(*xs: Any) -> list[Any]:
    """All of the common floating dtype."""
    return together(*xs, floats=True)


def compared(*xs: Any) -> list[Any]:
    """All of the common dtype, as Tensors or numbers."""
    return together(*xs)


def each(rule: Callable) -> Callable:
    """A rule for each array by itself."""
    return lambda *xs: [rule(x) for x in xs]


kept, floats = each(convert_to_tensor), each(floating)


def whole(x: Any) -> Tensor:
    """A Tensor of at least 32 bits, as sums of whole numbers have: truth values are counted."""
    x = convert_to_tensor(x)
    kind, size = x.dtype.kind, x.dtype.itemsize
    if kind == "b" or (kind == "i" and size < 4):
        return x.astype("int32")
    return x.astype("uint32") if kind == "u" and size < 4 else x


def counted(x: Any) -> Tensor:
    """A Tensor; truth values are whole numbers."""
    x = convert_to_tensor(x)
    return x.astype("int32") if x.dtype.kind == "b" else x


SAME = "the first array's"


def made(function: Callable, arrays: int, rule: Callable, out: Any = None) -> Callable:
    """The function of a row. `arrays`: how many arguments the rule prepares; -1: a list of them.
    `out`: the result's dtype; SAME for that of the first array, as the rule prepares it; list: the
    results are a list. An axis that is not there is a ValueError, as Keras has it."""

    def call(*args: Any, **options: Any) -> Any:
        if "axis" in options:
            options["axis"] = axes(options["axis"])
        try:
            if arrays < 0:
                y = function(rule(*args[0]), *args[1:], **options)
            else:
                given = rule(*args[:arrays])
                y = function(*given, *args[arrays:], **options)
        except IndexError as error:
            raise ValueError(str(error)) from error
        if out is None or out is list:
            return list(y) if out else y
        return cast(y, given[0].dtype if out == SAME else out)

    return call


def binary(function: Callable, rule: Callable) -> Callable:
    """A function of two arrays; those of one floating dtype go to it as they are."""

    def call(x1: Any, x2: Any) -> Any:
        if type(x1) is Tensor and type(x2) is Tensor:
            dtype = x1.dtype
            if dtype is x2.dtype and dtype.kind == "f":
                return function(x1, x2)
        return function(*rule(x1, x2))

    return call


def unary(function: Callable, rule: Callable) -> Callable:
    """A function of one array."""

    def call(x: Any) -> Any:
        if type(x) is Tensor and x.dtype.kind == "f":
            return function(x)
        return function(rule(x))

    return call


def define(home: dict[str, Any], rows: str, make: Callable, source: Any = tg) -> None:
    """Functions by name in a module: `name`, or `name=the one of tensorgrad`."""
    for row in rows.split():
        name, _, target = row.partition("=")
        function = make(getattr(source, target or name))
        function.__name__ = function.__qualname__ = name
        function.__doc__ = f"keras.ops.{name}, by tensorgrad's `{target or name}`."
        home[name] = function


__all__ = [
    "SAME",
    "axes",
    "binary",
    "cast",
    "common",
    "compared",
    "convert_to_tensor",
    "counted",
    "define",
    "each",
    "floating",
    "floats",
    "is_floating",
    "kept",
    "made",
    "name_of",
    "promoted",
    "promoted_floats",
    "unary",
    "whole",
]
