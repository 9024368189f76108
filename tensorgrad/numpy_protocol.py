"""NumPy's protocols: np.<function>(tensor) calls our function of that name, so that gradients flow;
where there is none, NumPy's own on the arrays of untracked tensors."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from . import creation
from . import functions as F
from .backend import BY_TYPE
from .core import Tensor, stamp
from .errors import ArgumentError, DTypeError, GraphError, IndexingError, ShapeError
from .operators import check_writable
from .words import NAMES

_OTHER_WORDS = {"a_min": "min", "a_max": "max", "a": "x", "arr": "x", "arrays": "arrays"}
_OTHER_WORDS |= dict.fromkeys("m ar ary f p A filt element sample".split(), "x") | {"obj": "at"}


# Functions without an op, as they have no gradient.
_ATTRIBUTES: dict[str, Callable[..., Any]] = {
    "shape": lambda x: x.shape,
    "ndim": lambda x: x.ndim,
    "size": lambda x, axis=None: np.size(x._data, axis),
    "empty_like": creation.empty_like,
    "zeros_like": creation.zeros_like,
    "ones_like": creation.ones_like,
    "full_like": creation.full_like,
    "linspace": creation.linspace,
}
_REFUSALS = (ArgumentError, DTypeError, IndexingError, ShapeError)
# What writes into its first argument.
_WRITING = {"copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"}


def _ours(name: str, module: str = "numpy") -> Callable[..., Any] | None:
    if module in ("numpy.fft", "numpy.linalg"):
        ours = importlib.import_module(module.replace("numpy", __package__ or ""))
        return getattr(ours, name) if name in ours.__all__ else None
    if name in F.__all__ or name in F.FAMILY:
        return getattr(F, name)
    return _ATTRIBUTES.get(name)


def call_of_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """np.<ufunc>(...) with a Tensor among the inputs, or one of the ufunc's methods."""
    kwargs = _given(ufunc.__name__, kwargs)
    function = _ours(ufunc.__name__) if method == "__call__" and not kwargs else None
    if function is not None:
        return function(*inputs)
    called = ufunc.__name__ + ("" if method == "__call__" else f".{method}")
    if method == "at" and isinstance(inputs[0], Tensor):
        return _written(called, ufunc.at, inputs, kwargs)
    y = _on_arrays(called, getattr(ufunc, method), inputs, kwargs)
    return Tensor(y) if type(y) in BY_TYPE else y


def call_of_function(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """np.<function>(...) with a Tensor among the arguments."""
    kwargs = _given(func.__name__, kwargs)
    function = _ours(func.__name__, func.__module__)
    writes = func.__name__ in _WRITING or (func is np.nan_to_num and kwargs.get("copy") is False)
    if writes and args and isinstance(args[0], Tensor):
        return _written(func.__name__, func, args, kwargs)
    if function is None or (func is np.where and len(args) == 1):
        return _on_arrays(func.__name__, func, args, kwargs)
    try:
        return function(*args, **_renamed(func, function, kwargs) if kwargs else {})
    except _REFUSALS as error:  # NumPy takes arguments, and orders of them, that we do not
        try:
            y = _on_arrays(func.__name__, func, args, kwargs)
        except Exception:
            raise error from None
        return Tensor(y) if type(y) in BY_TYPE else y


def _renamed(func: Any, ours: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """NumPy's keywords under the names that they have here, without those that say what is the
    default in NumPy and have no name here, such as `casting`."""
    known, named = inspect.signature(ours).parameters, {}
    for word, value in kwargs.items():
        word = word if word in known else _OTHER_WORDS.get(word, word)
        if word in known or not _is_default(func, word, value):
            named[word] = value
    return named


def _is_default(func: Any, word: str, value: Any) -> bool:
    if value is not None and not isinstance(value, str):
        return False
    try:
        parameter = inspect.signature(func).parameters.get(word)
    except ValueError:  # of a function in C
        return False
    return parameter is not None and parameter.default == value


def _written(name: str, func: Callable[..., Any], args: tuple[Any, ...], kwargs: Any) -> Any:
    """NumPy's function, the first argument of which it writes into: new numbers for that tensor, as
    by x[i] = v, so that graphs recorded before keep theirs."""
    x, *others = args
    check_writable(x, f"np.{name}(x, ...)", "tg.where(mask, v, x) gives a new tensor")
    data = x._data.copy()
    y = _on_arrays(name, func, (data, *others), kwargs)
    x._data = data
    stamp(x)
    return x if y is data else y


def _given(name: str, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords that were given; GraphError for `out`."""
    if kwargs.get("out") is not None:
        raise GraphError(
            f"np.{name}(..., out=...), as in array += tensor: ops do not write to arrays. To "
            "update one in place, use arrays only: w.data -= lr * w.grad.data, array += t.numpy()"
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
