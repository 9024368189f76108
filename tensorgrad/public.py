"""Public functions, one per op: they take anything array-like and NumPy's call forms."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .backend import NUMBERS
from .core import OPS, Op, Tensor
from .creation import asarray
from .errors import DTypeError, GraphError, ShapeError, suggest
from .ops import matmul

_OTHER_WORDS = {"dim": "axis", "keepdim": "keepdims", "dims": "axes", "input": "x"}


def public(op: Op) -> Callable:
    """The user's function of an op: takes anything array-like and NumPy's call forms, gives
    Tensors. Positional arguments beyond the inputs are the metadata in their order."""
    n, run = len(op.inputs), op.call
    unary = n == 1 and not (op.outputs or op.variadic)

    def call(*given: Any, **params: Any) -> Any:
        args: Any = given
        if unary and len(args) == 1 and type(args[0]) is Tensor and not params:
            return run(args[0])
        if params or len(args) != n or type(args[0]) is not Tensor or op.variadic:
            args, params = bind(op, args, params)
        args = as_inputs(args)
        y = op(*args, **params)
        return y[0] if op.outputs and op.outputs != ("*",) else y

    call.__name__ = call.__qualname__ = op.name
    call.__doc__ = op.__doc__
    call.__module__ = "tensorgrad"
    call.__signature__ = inspect.signature(op.ref)  # type: ignore[attr-defined]
    return call


def as_inputs(args: tuple) -> list[Any]:
    """Tensors for arrays and lists; numbers stay numbers beside a Tensor, so as not to widen it."""
    made = [
        a if isinstance(a, (Tensor, *NUMBERS, np.generic, type(None))) else asarray(a) for a in args
    ]
    if not any(isinstance(a, Tensor) for a in made):
        made = [asarray(a) if a is not None else None for a in made]
    return made


def bind(op: Op, args: tuple, given: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Sort a call's arguments into the op's inputs and its metadata; DTypeError when they
    do not fit, with the word to use instead."""
    names = list(op.params)
    if op.variadic:
        seq = isinstance(args[0], (list, tuple)) if args else False
        inputs, rest = (list(args[0]), args[1:]) if seq else (list(args), ())
        if not inputs:
            raise ShapeError(f"{op.name}: needs at least one array")
    else:
        inputs, rest = list(args[: len(op.inputs)]), args[len(op.inputs) :]
        for name in op.inputs[len(inputs) :]:
            if name in given:
                inputs.append(given.pop(name))
            elif (default := _default(op, name)) is not inspect.Parameter.empty:
                inputs.append(default)
            else:
                raise DTypeError(f"{op.name}: the argument {name!r} is missing")
    if len(rest) > len(names):
        raise DTypeError(f"{op.name} takes {', '.join([*op.inputs, *names])}; got more arguments")
    params = dict(zip(names, rest, strict=False))
    for name, value in given.items():
        if name not in names or name in params:
            raise DTypeError(f"{op.name}: argument {name!r}: {_other_word(name, names)}")
        params[name] = value
    for name, default in op.params.items():
        if default is ... and name not in params:
            raise DTypeError(f"{op.name}: the argument {name!r} is missing")
    return inputs, {k: _metadata(op, k, v) for k, v in params.items()}


def _default(op: Op, name: str) -> Any:
    return inspect.signature(op.ref).parameters[name].default


def _other_word(name: str, names: list[str]) -> str:
    word = _OTHER_WORDS.get(name)
    return f"write {word}=, as in NumPy" if word in names else suggest(name, names)


_PAIRS = ("stride", "padding", "dilation", "size")  # of images: one number stands for two
_WHOLE = ("axis", "axes", "axis1", "axis2", "shape", "source", "destination", *_PAIRS)


def _metadata(op: Op, name: str, value: Any) -> Any:
    """Axes and shapes as Python ints and tuples."""
    if isinstance(value, Tensor) and value.node is not None:
        raise GraphError(
            f"{op.name}: {name}= takes a plain number, and no gradient reaches a tensor there; "
            "give .item(), or write the formula out"
        )
    if name not in _WHOLE or value is None:
        return value
    try:
        if hasattr(value, "__index__"):
            n = operator.index(value)
            return (n, n) if name in _PAIRS else (n,) if name in ("shape", "axes") else n
        return tuple([operator.index(v) for v in value])
    except TypeError:
        raise DTypeError(f"{op.name}: {name}={value!r} must be whole numbers") from None


_INTERNAL = {"conv2d_input", "conv2d_weight", "gather_places", "scatter_places", "sum_of_squares"}
_INTERNAL |= {"getitem", "scatter_add", "sum_to", "cast", "move", "full_like", "random_bits"}
PUBLIC: dict[str, Callable] = {
    o.name: public(o)
    for o in OPS.values()
    if not (o.name.endswith("_grad") or o.inplace or o.name in _INTERNAL)
}


def dense(x: Any, w: Any, b: Any = None, *, activation: str | None = None) -> Tensor:
    """activation(x @ w + b) in one op: x (..., n_in), w (n_in, n_out), b (n_out,) or None.

    `activation` is None, relu, sigmoid, tanh or gelu.

    >>> dense([[1.0, 2.0]], [[1.0], [1.0]], [-4.0], activation="relu").tolist()
    [[0.0]]
    """
    name = activation or "none"
    if name == "gelu":
        return OPS["dense_gelu"](*as_inputs((x, w, b)))[0]
    if name not in matmul.ACTIVATIONS:
        raise ShapeError(
            f"dense: activation {activation!r}: {suggest(name, [*matmul.ACTIVATIONS, 'gelu'])}"
        )
    return OPS["dense"](*as_inputs((x, w, b)), activation=name)


def std(x: Any, *given: Any, **params: Any) -> Tensor:
    """Standard deviation over the axes: the square root of `var`, whose arguments it takes."""
    return PUBLIC["sqrt"](PUBLIC["var"](x, *given, **params))


def reshape(x: Any, *shape: Any, **named: Any) -> Tensor:
    """The same numbers in row-major order under another shape: `reshape(x, (2, 3))` or
    `x.reshape(2, 3)`; one entry may be -1."""
    if named:
        return _reshape(x, *shape, **named)
    return _reshape(x, shape[0] if len(shape) == 1 else shape)


def transpose(x: Any, *axes: Any, **named: Any) -> Tensor:
    """Axes permuted: `transpose(x, (1, 0))` or `x.transpose(1, 0)`; reversed without any."""
    if named:
        return _transpose(x, *axes, **named)
    return _transpose(x, axes[0] if len(axes) == 1 else axes or None)


std.__signature__ = inspect.signature(OPS["var"].ref)  # type: ignore[attr-defined]
_reshape, _transpose = PUBLIC["reshape"], PUBLIC["transpose"]
del PUBLIC["dense_gelu"]
PUBLIC.update(dense=dense, std=std, reshape=reshape, transpose=transpose)
PUBLIC.update(concatenate=PUBLIC["concat"], permute_dims=transpose, pow=PUBLIC["power"])
