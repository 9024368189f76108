"""What constructors of modules were given: kept by each module, for its description in files."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from .hooks import Hookable

_PLAIN = (bool, int, float, str, type(None))


class Left:
    """In the place of an argument that no file can hold, and that is not kept alive for it."""

    def __init__(self, value: Any):
        self.what = f"a {type(value).__name__}"


class Given:
    """The arguments that a module was made with. (No tuple, in which modules would be found.)"""

    def __init__(self, args: tuple[Any, ...], options: dict[str, Any]):
        self.args = [_kept(a) for a in args]
        self.options = {name: _kept(a) for name, a in options.items()}

    def named(self, module: Any) -> dict[str, Any]:
        """The arguments by the names of the constructor's parameters."""
        bound = inspect.signature(type(module).__init__).bind(module, *self.args, **self.options)
        return dict([*bound.arguments.items()][1:])


def _kept(value: Any, depth: int = 0) -> Any:
    kind = type(value)
    if kind in _PLAIN or isinstance(value, (Hookable, np.dtype)) or kind is type:
        return value
    if isinstance(value, np.generic):
        return value.item()
    if kind in (list, tuple) and depth < 20 and len(value) < 10_000:
        return kind([_kept(part, depth + 1) for part in value])
    if kind is dict and depth < 20:
        return {k: _kept(v, depth + 1) for k, v in value.items()}
    if isinstance(value, np.ndarray) and value.size <= 1024:
        return value.copy()
    if inspect.isfunction(value) and "<" not in value.__qualname__:  # no lambda, no closure
        return value
    return Left(value)
