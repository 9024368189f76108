"""Loss functions of (prediction, target), with `reduction="mean" | "sum" | "none"`. A target that
is no tensor is put on the backend of the prediction.

Mistakes that shapes, the tape or arrays on the host reveal are errors. Values on a GPU are not
checked, as that would synchronise with the device.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from .backend import is_floating
from .core import Tensor
from .creation import asarray, beside
from .errors import ArgumentError, DTypeError, ShapeError, user_level
from .ops import elementwise, loss, reduce
from .settings import gate
from .switches import switches
from .typing import ArrayLike, Positive
from .words import missing, no_other_names

Reduction: TypeAlias = Literal["mean", "sum", "none"]
_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": reduce.mean,
    "sum": reduce.sum_,
    "none": lambda values: values,
}


@gate
def mean_squared_error(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Tensor:
    """Mean squared error, the mean of (prediction - target)^2. Both (...) of one shape -> (), or
    (...) with `reduction="none"`.

    Raises: ShapeError where the shapes differ, even if they would broadcast.

    >>> mean_squared_error([1.0, 3.0], [1.0, 1.0]).item()
    2.0
    """
    p, t = _pair("mean_squared_error", prediction, target)
    if reduction == "mean":
        return loss.mean_squared_error(p, t)  # one op
    return _reduced(elementwise.square(p - t), reduction)


@gate
def mean_absolute_error(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Tensor:
    """Mean absolute error, the mean of |prediction - target|. Both (...) of one shape -> (), or
    (...) with `reduction="none"`. The gradient at 0 is 0.

    Raises: ShapeError where the shapes differ, even if they would broadcast.

    >>> mean_absolute_error([1.0, 3.0], [1.0, 1.0], reduction="sum").item()
    2.0
    """
    p, t = _pair("mean_absolute_error", prediction, target)
    return _reduced(elementwise.abs_(p - t), reduction)


@gate
def huber(
    prediction: ArrayLike,
    target: ArrayLike,
    delta: Positive = 1.0,
    *,
    reduction: Reduction = "mean",
) -> Tensor:
    """Huber loss (Huber 1964), the mean of 0.5 d^2 where |d| <= delta, else
    delta (|d| - delta / 2), for d = prediction - target. Both (...) of one shape -> (), or (...)
    with `reduction="none"`.

    Raises: ShapeError where the shapes differ; ArgumentError unless `delta` is above 0.

    >>> huber([0.5, 3.0], [0.0, 0.0], reduction="none").tolist()
    [0.125, 2.5]
    """
    p, t = _pair("huber", prediction, target)
    return _reduced(loss.huber(p, t, delta=delta), reduction)


@gate
def binary_cross_entropy(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Tensor:
    """The mean of -(t log p + (1 - t) log(1 - p)) for probabilities p and targets t in [0, 1].
    Both (...) of one shape -> (), or (...) with `reduction="none"`.

    The arguments of the logarithms are clamped to the smallest normal number, so that p = 0 and
    p = 1 give finite losses, and the gradient's denominator p (1 - p) to 1e-12, as in PyTorch (in
    float16 to that number, too); `binary_cross_entropy_with_logits` is exact. Targets may be bool.

    Raises: ShapeError where the shapes differ; ArgumentError for predictions and targets on the
        host outside [0, 1].

    >>> round(binary_cross_entropy([0.5, 0.5], [True, False]).item(), 4)
    0.6931
    """
    name = "binary_cross_entropy"
    p, t = _binary(name, prediction, target)
    if _maker(p) not in ("sigmoid", "softmax"):
        _within(
            name, "prediction", p, "end with a sigmoid, or use binary_cross_entropy_with_logits"
        )
    return _reduced(loss.binary_cross_entropy(p, t), reduction)


@gate
def binary_cross_entropy_with_logits(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(x), exact for large logits x: the mean of
    max(x, 0) - x t + log(1 + exp(-|x|)). Both (...) of one shape -> (), or (...) with
    `reduction="none"`. Targets may be bool.

    Raises: ShapeError where the shapes differ; ArgumentError for a prediction that is the output
        of a sigmoid or softmax, and for targets on the host outside [0, 1].

    >>> round(binary_cross_entropy_with_logits([0.0, 1000.0], [1, 1]).item(), 4)
    0.3466
    """
    name = "binary_cross_entropy_with_logits"
    p, t = _binary(name, prediction, target)
    if (maker := _maker(p)) in ("sigmoid", "softmax"):
        raise ArgumentError(f"{name} takes logits, {_given(maker)}, or use binary_cross_entropy")
    if maker == "relu":
        _warn(f"{name}: the logits are the output of a relu, so no probability is below 0.5")
    return _reduced(loss.binary_cross_entropy_with_logits(p, t), reduction)


@gate
def cross_entropy(
    prediction: ArrayLike, target: ArrayLike, *, reduction: Reduction = "mean"
) -> Tensor:
    """The mean of -log softmax(prediction)[target]. Logits (..., classes) and targets -> (), or
    (...) with `reduction="none"`.

    Args:
        prediction: logits, not probabilities; log-probabilities are logits, too.
        target: class labels from 0 in any integer dtype, (...) or (..., 1); or one-hot rows of
            integers or bools, or probabilities, (..., classes): the loss of these is
            -sum(target * log_softmax(prediction)).
    Raises: DTypeError for class labels in a floating dtype; ShapeError for targets of another
        shape, and for labels on the host outside the classes, which give NaN on a GPU, and an
        IndexingError within `detect_anomaly`; ArgumentError for a prediction that is the output of
        a softmax, and for integer rows that are not one-hot.

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
        _warn(
            "cross_entropy takes logits and applies a softmax; these are the output of a sigmoid, "
            "in [0, 1]. For binary classification use binary_cross_entropy"
        )
    columns = x.shape[-1]
    column = t.shape == (*x.shape[:-1], 1)
    if column and columns == 1 and t.dtype.kind not in "iu" and len(x.shape) > 1 and len(t) > 1:
        raise ArgumentError(
            "cross_entropy: a single column of logits is a single class, whose loss is always 0; "
            "for binary classification use binary_cross_entropy_with_logits"
        )
    if not is_floating(t.dtype) and (t.shape != x.shape or columns == 1):
        t = t.reshape(x.shape[:-1]) if column else t
        if t.dtype.kind == "b":
            t = t.astype("int64")
        return _reduced(loss.softmax_cross_entropy(x, t), reduction)
    if t.shape != x.shape:
        raise DTypeError(
            f"cross_entropy: target of dtype {t.dtype} and shape {t.shape}; give integer class "
            f"labels of shape {x.shape[:-1]} (y.astype('int64')) or probabilities {x.shape}"
        )
    if not is_floating(t.dtype):
        _one_hot(t)
    if t.dtype != x.dtype:
        t = t.astype(x.dtype)
    rows = reduce.sum_(t * reduce.log_softmax(x), axis=-1)
    return _reduced(-rows, reduction)


# --- shared by the losses -------------------------------------------------------------------------


def _both(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors; ArgumentError where the tape shows that they are exchanged."""
    p = asarray(prediction)
    t = beside(target, p)
    if t.node is not None and p.node is None and switches.recording:
        raise ArgumentError(
            f"{name}: the target requires a gradient and the prediction does not: prediction "
            f"first, target second, {name}(model(x), y)"
        )
    return p, t


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
    if not is_floating(p.dtype):  # else the target would be truncated to integers
        p = p.astype(t.dtype if is_floating(t.dtype) else "float32")
    return p, t if t.dtype == p.dtype else t.astype(p.dtype)


def _binary(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """A pair whose target is bool, or a probability; ArgumentError where it is outside [0, 1]."""
    p, t = _pair(name, prediction, target)
    if getattr(target, "dtype", None) != np.dtype("bool"):
        _within(name, "target", t, "classes are 0 and 1, or probabilities")
    return p, t


def _reduced(values: Tensor, reduction: str) -> Tensor:
    """The elementwise losses, reduced."""
    return _REDUCTIONS[reduction](values)


# Ops whose output has the values of their first input, or nearly so
_THROUGH = {"cast", "clip", "expand_dims", "flip", "getitem", "identity", "moveaxis"}
_THROUGH |= {"reshape", "squeeze", "swapaxes", "transpose"}


def _maker(p: Tensor) -> str:
    """The name of the op, or of its fused activation, that computed p: read from the tape, not from
    the values."""
    node = p.node
    while node is not None and node.op is not None and node.op.name in _THROUGH:
        node = node.parents[0]
    if node is None or node.op is None:
        return ""
    return node.params.get("activation", node.op.name)


def _given(maker: str) -> str:
    return f"and these are the output of a {maker}: leave out the final {maker}"


def _warn(text: str) -> None:
    """A UserWarning at the line that called the loss."""
    warnings.warn(text, UserWarning, stacklevel=user_level())


def _within(name: str, what: str, a: Tensor, remedy: str) -> None:
    """ArgumentError for values on the host outside [0, 1], with a tolerance for rounding."""
    if type(a._data) is not np.ndarray or not a.size:
        return
    low, high = a._data.min(), a._data.max()
    if low < -0.01 or high > 1.01:
        raise ArgumentError(f"{name}: the {what} is 0 to 1, got {low:.3g} to {high:.3g}: {remedy}")


def _one_hot(t: Tensor) -> None:
    """ArgumentError for integer or bool rows on the host that are not one-hot."""
    if type(t._data) is np.ndarray and t.size and not (t._data.sum(-1) == 1).all():
        raise ArgumentError(
            f"cross_entropy: a target of dtype {t.dtype} and shape {t.shape}, that of the logits, "
            "is one-hot, a single 1 in each row; for multi-label targets use "
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
    __getattr__ = no_other_names("losses", [f.__name__ for f in LOSSES.values()])
