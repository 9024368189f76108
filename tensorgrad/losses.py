"""Losses: prediction first, target second, one number out. A target that is not a tensor goes where
the prediction is.

What can be told from the shapes, from the tape, or from arrays on the host, is an error here, and
not a model that learns nonsense.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from .backend import BY_TYPE, is_floating
from .core import Tensor
from .creation import asarray, owned
from .errors import ArgumentError, DTypeError, ShapeError
from .functions.inputs import real
from .ops import elementwise, loss, reduce
from .switches import switches
from .typing import ArrayLike
from .words import NAMES, explains_names, missing

Reduction: TypeAlias = Literal["mean", "sum", "none"]
_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": reduce.mean,
    "sum": reduce.sum_,
    "none": lambda values: values,
}


@explains_names
def mean_squared_error(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Tensor:
    """The mean of (prediction - target)^2. Both (...) of one shape -> (), or (...) with
    `reduction="none"`.

    Raises: ShapeError where the shapes differ, even if they would broadcast.

    >>> mean_squared_error([1.0, 3.0], [1.0, 1.0]).item()
    2.0
    """
    p, t = _pair("mean_squared_error", prediction, target)
    if reduction == "mean":
        return loss.mean_squared_error(p, t)  # one op
    return _reduced("mean_squared_error", elementwise.square(p - t), reduction)


@explains_names
def mean_absolute_error(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Tensor:
    """The mean of |prediction - target|. Both (...) of one shape -> (), or (...) with
    `reduction="none"`. The gradient at 0 is 0.

    Raises: ShapeError where the shapes differ, even if they would broadcast.

    >>> mean_absolute_error([1.0, 3.0], [1.0, 1.0], reduction="sum").item()
    2.0
    """
    p, t = _pair("mean_absolute_error", prediction, target)
    return _reduced("mean_absolute_error", elementwise.abs_(p - t), reduction)


@explains_names
def huber(
    prediction: ArrayLike,
    target: ArrayLike,
    delta: float = 1.0,
    *,
    reduction: Reduction = "mean",
) -> Tensor:
    """The mean of 0.5 d^2 where |d| <= delta, else delta (|d| - delta / 2), for d = prediction -
    target (Huber 1964). Both (...) of one shape -> (), or (...) with `reduction="none"`.

    Raises: ShapeError where the shapes differ; ArgumentError unless `delta` is above 0.

    >>> huber([0.5, 3.0], [0.0, 0.0], reduction="none").tolist()
    [0.125, 2.5]
    """
    if not (delta := real("huber: delta", delta)) > 0:
        raise ArgumentError(f"huber: delta is a number above 0, got {delta!r}")
    p, t = _pair("huber", prediction, target)
    size = elementwise.abs_(p - t)
    near = elementwise.minimum(size, delta)
    return _reduced("huber", near * (size - 0.5 * near), reduction)


@explains_names
def binary_cross_entropy(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Tensor:
    """The mean of -(t log p + (1 - t) log(1 - p)) for probabilities p and targets t in [0, 1].
    Both (...) of one shape -> (), or (...) with `reduction="none"`.

    Logarithms are taken of no less than the smallest normal number, so p = 0 and p = 1 stay finite.
    Where there are logits, `binary_cross_entropy_with_logits` is exact. Targets may be bool.

    Raises: ShapeError where the shapes differ; ArgumentError for predictions and targets outside
        [0, 1], where they are on the host: on a GPU looking would wait for it.

    >>> round(binary_cross_entropy([0.5, 0.5], [True, False]).item(), 4)
    0.6931
    """
    name = "binary_cross_entropy"
    p, t = _binary(name, prediction, target)
    if _maker(p) not in ("sigmoid", "softmax"):
        _within(
            name, "prediction", p, "end with a sigmoid, or use binary_cross_entropy_with_logits"
        )
    return _reduced(name, loss.binary_cross_entropy(p, t), reduction)


@explains_names
def binary_cross_entropy_with_logits(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(prediction), exact for large logits x: the mean of
    max(x, 0) - x t + log(1 + exp(-|x|)). Both (...) of one shape -> (), or (...) with
    `reduction="none"`. Targets may be bool.

    Raises: ShapeError where the shapes differ; ArgumentError for a prediction that a sigmoid or
        softmax gave, and for targets on the host outside [0, 1].

    >>> round(binary_cross_entropy_with_logits([0.0, 1000.0], [1, 1]).item(), 4)
    0.3466
    """
    name = "binary_cross_entropy_with_logits"
    p, t = _binary(name, prediction, target)
    if (maker := _maker(p)) in ("sigmoid", "softmax"):
        raise ArgumentError(f"{name} takes logits, {_given(maker)}, or use binary_cross_entropy")
    if maker == "relu":
        _doubt(f"{name}: the logits come from a relu, so no probability is below one half")
    return _reduced(name, loss.binary_cross_entropy_with_logits(p, t), reduction)


@explains_names
def cross_entropy(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Tensor:
    """The mean of -log softmax(prediction)[target]. Logits (..., classes) and targets -> (), or
    (...) with `reduction="none"`.

    Args:
        prediction: logits, not probabilities; logarithms of probabilities are logits, too.
        target: class numbers from 0 in any integer dtype, (...) or (..., 1); one-hot rows of
            integers or bools, or probabilities, (..., classes), whose loss is
            -sum(target * log_softmax(prediction)).
    Raises: DTypeError for class numbers in a floating dtype; ShapeError for targets of another
        shape, and for class numbers on the host outside the classes; ArgumentError for a prediction
        that a softmax gave, and for integer rows that are not one-hot.

    >>> round(cross_entropy([[0.0, 0.0]], [1]).item(), 4)
    0.6931
    >>> round(cross_entropy([[0.0, 0.0]], [[0.5, 0.5]]).item(), 4)
    0.6931
    """
    x, t = _both("cross_entropy", prediction, target)
    if not x.shape:
        raise ShapeError("cross_entropy takes logits (..., classes), got a single number")
    if not is_floating(x.dtype):
        x = x.astype("float32")
    if (maker := _maker(x)) == "softmax":
        raise ArgumentError(f"cross_entropy takes logits, {_given(maker)}")
    if maker == "sigmoid":
        _doubt(
            "cross_entropy takes logits and applies a softmax; these come from a sigmoid, which "
            "keeps them within 0 and 1. For yes-or-no answers use binary_cross_entropy"
        )
    columns = x.shape[-1]
    column = t.shape == (*x.shape[:-1], 1)
    if column and columns == 1 and t.dtype.kind not in "iu" and len(x.shape) > 1 and len(t) > 1:
        raise ArgumentError(
            "cross_entropy: one column of logits is one class, and its loss 0 whatever it is; for "
            "yes-or-no answers use binary_cross_entropy_with_logits"
        )
    if not is_floating(t.dtype) and (t.shape != x.shape or columns == 1):
        t = t.reshape(x.shape[:-1]) if column else t
        if t.dtype.kind == "b":
            t = t.astype("int64")
        return _reduced("cross_entropy", loss.softmax_cross_entropy(x, t), reduction)
    if t.shape != x.shape:
        raise DTypeError(
            f"cross_entropy: target of dtype {t.dtype} and shape {t.shape}; give integer class "
            f"numbers of shape {x.shape[:-1]} (y.astype('int64')) or probabilities {x.shape}"
        )
    if not is_floating(t.dtype):
        _one_hot(t)
    if t.dtype != x.dtype:
        t = t.astype(x.dtype)
    rows = reduce.sum_(t * reduce.log_softmax(x), axis=-1)
    return _reduced("cross_entropy", -rows, reduction)


# --- what the losses have in common ---------------------------------------------------------------


def _both(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors; ArgumentError where they were exchanged."""
    p = asarray(prediction)
    if not isinstance(target, Tensor):
        there = BY_TYPE[type(target)].name if type(target) in BY_TYPE else "numpy"
        target = owned(target, p.backend if there == "numpy" else None)
    if target.node is not None and p.node is None and switches.recording:
        raise ArgumentError(
            f"{name}: the target requires a gradient and the prediction does not: prediction "
            f"first, target second, {name}(model(x), y)"
        )
    return p, target


def _pair(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape and floating dtype; ShapeError where they would broadcast."""
    p, t = _both(name, prediction, target)
    if p.shape != t.shape:
        raise ShapeError(
            f"{name}: prediction {p.shape} and target {t.shape} differ in shape"
            + (
                "; a target of one column needs a last axis of length 1: y[:, None], or "
                "np.reshape(y, (-1, 1))"
                if p.size == t.size
                else ""
            )
        )
    if not is_floating(p.dtype):  # else the target would be cut to whole numbers
        p = p.astype(t.dtype if is_floating(t.dtype) else "float32")
    return p, t if t.dtype == p.dtype else t.astype(p.dtype)


def _binary(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """A pair whose target is yes or no, or a probability."""
    p, t = _pair(name, prediction, target)
    if getattr(target, "dtype", None) != np.dtype("bool"):
        _within(name, "target", t, "classes are 0 and 1, or probabilities")
    return p, t


def _reduced(name: str, values: Tensor, reduction: str) -> Tensor:
    """The losses of all examples as one number, or as they are."""
    if reduction not in _REDUCTIONS:
        raise ArgumentError(
            f"{name}: reduction {reduction!r}: give one of {', '.join(map(repr, _REDUCTIONS))}"
        )
    return _REDUCTIONS[reduction](values)


# Ops that leave the numbers of their first input what they are, or nearly so
_THROUGH = {"cast", "clip", "expand_dims", "flip", "getitem", "identity", "moveaxis"}
_THROUGH |= {"reshape", "squeeze", "swapaxes", "transpose"}


def _maker(p: Tensor) -> str:
    """The op that gave these numbers, or the activation that it ended with: what the tape says,
    without a look at the numbers."""
    node = p.node
    while node is not None and node.op is not None and node.op.name in _THROUGH:
        node = node.parents[0]
    if node is None or node.op is None:
        return ""
    return node.params.get("activation", node.op.name)


def _given(maker: str) -> str:
    return f"and these are what a {maker} gave: leave out the final {maker}"


def _doubt(text: str) -> None:
    """A warning for a program that may be right, at the line that called the loss."""
    warnings.warn(text, UserWarning, stacklevel=4)


def _within(name: str, what: str, a: Tensor, remedy: str) -> None:
    """ArgumentError for numbers on the host outside [0, 1], by more than rounding gives."""
    if type(a._data) is not np.ndarray or not a.size:
        return
    low, high = a._data.min(), a._data.max()
    if low < -0.01 or high > 1.01:
        raise ArgumentError(f"{name}: the {what} is 0 to 1, got {low:.3g} to {high:.3g}: {remedy}")


def _one_hot(t: Tensor) -> None:
    """ArgumentError for rows of integers or bools on the host that do not name one class each."""
    if type(t._data) is np.ndarray and t.size and not (t._data.sum(-1) == 1).all():
        raise ArgumentError(
            f"cross_entropy: a target of dtype {t.dtype} and shape {t.shape}, that of the logits, "
            "is one-hot, a single 1 in each row; for several answers at once use "
            "binary_cross_entropy_with_logits"
        )


# --- by name --------------------------------------------------------------------------------------

LOSSES: dict[str, Callable[..., Tensor]] = {
    "mean_squared_error": mean_squared_error,
    "mse": mean_squared_error,
    "mean_absolute_error": mean_absolute_error,
    "mae": mean_absolute_error,
    "huber": huber,
    "binary_cross_entropy": binary_cross_entropy,
    "bce": binary_cross_entropy,
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "cross_entropy": cross_entropy,
}


def get(name: str | Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss of that name, or the function given; ArgumentError for unknown names.

    >>> get("mse") is mean_squared_error
    True
    """
    if isinstance(name, type):
        raise ArgumentError(f"loss {name!r}: give an object of it, or a function")
    if callable(name):
        return name
    if name not in LOSSES:
        raise ArgumentError(f"loss {name!r}: {missing('losses', str(name), LOSSES)}")
    return LOSSES[name]


if not TYPE_CHECKING:  # else every name would be there for type checkers

    def __getattr__(name: str) -> Any:
        hint = f": {missing('losses', name, ())}" if name in NAMES["losses"] else ""
        raise AttributeError(f"module 'tensorgrad.losses' has no attribute {name!r}{hint}")
