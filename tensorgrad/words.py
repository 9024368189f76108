"""The words of Keras, PyTorch and NumPy for what is called otherwise here: one table, for the
arguments of functions and layers, and for names that are missing."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from .errors import ArgumentError, suggest

F = TypeVar("F", bound=Callable[..., Any])

# An argument of another framework -> ours, of the first that the function has.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "dim": ("axis",),
    "dims": ("axes", "axis"),
    "array": ("x",),
    "ary": ("x",),
    "tensors": ("arrays",),
    "sections": ("indices_or_sections",),
    "value": ("constant_values", "v"),
    "query": ("q",),
    "key": ("k",),
    "attn_mask": ("mask",),
    "is_causal": ("causal",),
    "kernel_size": ("size",),
    "pool_size": ("size",),
    "strides": ("stride",),
    "num_groups": ("groups",),
    "epsilon": ("eps",),
    "rate": ("p",),
    "keepdim": ("keepdims",),
    "input": ("x",),
    "unbiased": ("ddof", "correction"),
}
# ... or why there is none.
REFUSED: dict[str, str] = {
    "out": "ops write into no array, which the tape would not see: use the result",
}


def explains_names(function: F) -> F:
    """The function, whose calls with wrong arguments end in an `ArgumentError` that names ours."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # from within the function
            told = _explained(function, args, kwargs, error)
        raise told

    return call  # type: ignore[return-value]


def _explained(function: Callable, args: tuple, kwargs: dict, error: TypeError) -> ArgumentError:
    """The call that Python refused, and what the function takes."""
    known = list(inspect.signature(function).parameters)
    name = function.__qualname__.removesuffix(".__init__")
    for word in kwargs:
        if word not in known:
            return ArgumentError(f"{name}: argument {word!r}: {instead(word, known)}")
    text = str(error).partition("() ")[2] or str(error)
    if known[:1] == ["arrays"]:
        text += f"; the arrays are one sequence: {name}([a, b])"
    return ArgumentError(f"{name}({', '.join(n for n in known if n != 'self')}): {text}")


def instead(word: str, known: list[str]) -> str:
    """What to write for an argument that there is not."""
    if word in REFUSED:
        return REFUSED[word]
    ours = next((w for w in ARGUMENTS.get(word, ()) if w in known), None)
    return f"here it is {ours}=" if ours else suggest(word, [n for n in known if n != "self"])
