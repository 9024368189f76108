"""NumPy's protocols: np.<function>(tensor) calls our function of that name, so that gradients flow;
where there is none, NumPy's own on the arrays of untracked tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import creation
from . import functions as F
from .core import Tensor
from .errors import GraphError
from .words import NAMES

_OTHER_NAMES = {
    "absolute": "abs",
    "true_divide": "divide",
    "rint": "round",
    "around": "round",
    "amax": "max",
    "amin": "min",
    "fabs": "abs",
    "float_power": "power",
    "mod": "remainder",
    "invert": "bitwise_invert",
    "left_shift": "bitwise_left_shift",
    "right_shift": "bitwise_right_shift",
}
_OTHER_WORDS = {"a_min": "min", "a_max": "max", "a": "x", "arr": "x", "arrays": "arrays"}


# Functions without an op, as they have no gradient.
_ATTRIBUTES: dict[str, Callable[..., Any]] = {
    "shape": lambda x: x.shape,
    "ndim": lambda x: x.ndim,
    "size": lambda x, axis=None: x.size if axis is None else x.shape[axis],
    "zeros_like": creation.zeros_like,
    "ones_like": creation.ones_like,
    "full_like": creation.full_like,
    "ravel": lambda x: x.ravel(),
}


def _ours(name: str) -> Callable[..., Any] | None:
    name = _OTHER_NAMES.get(name, name)
    return getattr(F, name) if name in F.__all__ else _ATTRIBUTES.get(name)


def call_of_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """np.<ufunc>(...) with a Tensor among the inputs, or one of the ufunc's methods."""
    kwargs = _given(ufunc.__name__, kwargs)
    function = _ours(ufunc.__name__) if method == "__call__" and not kwargs else None
    if function is not None:
        return function(*inputs)
    called = ufunc.__name__ + ("" if method == "__call__" else f".{method}")
    y = _on_arrays(called, getattr(ufunc, method), inputs, kwargs)
    return Tensor(y) if isinstance(y, np.ndarray) else y


def call_of_function(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """np.<function>(...) with a Tensor among the arguments."""
    kwargs = _given(func.__name__, kwargs)
    function = _ours(func.__name__)
    if function is None or (func is np.where and len(args) == 1):
        return _on_arrays(func.__name__, func, args, kwargs)
    return function(*args, **{_OTHER_WORDS.get(word, word): v for word, v in kwargs.items()})


def _given(name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords that were given; GraphError for `out`."""
    if kwargs.get("out") is not None:
        raise GraphError(
            f"np.{name}(..., out=...): ops do not write to arrays. To update one in place, use "
            "arrays only: w.data -= lr * w.grad.data"
        )
    return {word: v for word, v in kwargs.items() if v is not np._NoValue and word != "out"}


def _on_arrays(name: str, func: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """NumPy's (or CuPy's) function, called on the arrays of untracked tensors."""

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            if value.node is not None:
                hint = NAMES["tensorgrad"].get(name.partition(".")[0], "")
                raise GraphError(
                    f"np.{name} has no op here, so no gradient: "
                    + (f"write {hint}, or " if hint else "")
                    + "call it on tensor.detach() or tensor.numpy() if none is needed"
                )
            return value._data
        if type(value) in (list, tuple):
            return type(value)([plain(v) for v in value])
        return value

    return func(*plain(args), **{word: plain(v) for word, v in kwargs.items()})
