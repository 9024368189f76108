"""Losses of classes: of probabilities, of their logarithms, and of logits, which is exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import is_floating
from ..core import Tensor
from ..errors import ArgumentError, DTypeError, ShapeError
from ..functions.indexing import take_along_axis
from ..functions.inputs import axis_of
from ..ops import elementwise, loss, reduce
from ..ops.shape import expand_dims, moveaxis
from ..settings import gate
from ..typing import ArrayLike, Fraction, NonNegative
from .common import (
    Reduction,
    Weights,
    alike,
    binary,
    both,
    class_weights,
    given,
    log_probabilities,
    maker,
    mean_of,
    one_hot,
    reduced,
    warn,
    within,
)

__all__ = [
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "dice",
    "focal",
    "nll",
    "softmax_focal",
]


@gate
def binary_cross_entropy(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
    weight: Weights = None,
) -> Tensor:
    """The mean of -(t log p + (1 - t) log(1 - p)) for probabilities p and targets t in [0, 1].
    Both (...) of one shape -> (), or (...) with `reduction="none"`.

    The arguments of the logarithms are clamped to the smallest normal number, so that p = 0 and
    p = 1 give finite losses, and the gradient's denominator p (1 - p) to 1e-12, as in PyTorch (in
    float16 to that number, too); `binary_cross_entropy_with_logits` is exact. Targets may be bool.

    Args:
        weight: broadcasts to the losses and multiplies them; the mean is still over their number,
            as in PyTorch. That of `sample_weight` is over the sum of the weights.
    Raises: ShapeError where the shapes differ; ArgumentError for predictions and targets on the
        host outside [0, 1].

    >>> round(binary_cross_entropy([0.5, 0.5], [True, False]).item(), 4)
    0.6931
    """
    name = "binary_cross_entropy"
    p, t = binary(name, prediction, target)
    if maker(p) not in ("sigmoid", "softmax"):
        within(name, "prediction", p, "end with a sigmoid, or use binary_cross_entropy_with_logits")
    values = _scaled(name, loss.binary_cross_entropy(p, t), weight)
    return reduced(name, values, reduction, sample_weight)


@gate
def binary_cross_entropy_with_logits(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
    weight: Weights = None,
    pos_weight: Weights = None,
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(x), exact for large logits x: the mean of
    max(x, 0) - x t + log(1 + exp(-|x|)). Both (...) of one shape -> (), or (...) with
    `reduction="none"`. Targets may be bool.

    Args:
        weight: as in `binary_cross_entropy`.
        pos_weight: multiplies the part of t = 1, for classes that are rare: a number, or one for
            each class of the last axis.
    Raises: ShapeError where the shapes differ; ArgumentError for a prediction that is the output
        of a sigmoid or softmax, and for targets on the host outside [0, 1].

    >>> round(binary_cross_entropy_with_logits([0.0, 1000.0], [1, 1]).item(), 4)
    0.3466
    """
    name = "binary_cross_entropy_with_logits"
    p, t = binary(name, prediction, target)
    _no_sigmoid(name, p)
    if pos_weight is None:
        values = loss.binary_cross_entropy_with_logits(p, t)
    else:
        positive = _scaled(name, t * elementwise.softplus(-p), pos_weight, "pos_weight")
        values = positive + (1 - t) * elementwise.softplus(p)
    return reduced(name, _scaled(name, values, weight), reduction, sample_weight)


@gate
def cross_entropy(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
    weight: Weights = None,
    ignore_index: int | None = None,
    label_smoothing: Fraction = 0.0,
    axis: int = -1,
) -> Tensor:
    """The mean of -log softmax(prediction)[target]. Logits (..., classes) and targets -> (), or
    (...) with `reduction="none"`.

    Args:
        prediction: logits, not probabilities; log-probabilities are logits, too.
        target: class labels from 0 in any integer dtype, (...) or (..., 1); or one-hot rows of
            integers or bools, or probabilities, (..., classes): the loss of these is
            -sum(target * log_softmax(prediction)).
        weight: (classes,), by which the loss of each class is multiplied. The mean of labels is
            sum(weight[target] * loss) / sum(weight[target]), that of probabilities over the number
            of rows, as in PyTorch.
        ignore_index: a label whose rows count for nothing, in the mean neither.
        label_smoothing: the share of the target that is spread over all classes (Szegedy et al.
            2016).
        axis: that of the classes: 1 for images (n, classes, h, w) with labels (n, h, w).
    Raises: DTypeError for class labels in a floating dtype; ShapeError for targets of another
        shape, and for labels on the host outside the classes, which give NaN on a GPU, and an
        IndexingError within `detect_anomaly`; ArgumentError for a prediction that is the output of
        a softmax, and for integer rows that are not one-hot.

    >>> round(cross_entropy([[0.0, 0.0]], [1]).item(), 4)
    0.6931
    >>> round(cross_entropy([[0.0, 0.0]], [[0.5, 0.5]]).item(), 4)
    0.6931
    """
    name = "cross_entropy"
    x, t = _classes(name, prediction, target, axis)
    if (made_by := maker(x)) == "softmax":
        raise ArgumentError(f"cross_entropy takes logits, {given(made_by)}")
    if made_by == "sigmoid":
        warn(
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
    w = None if weight is None else class_weights(name, weight, x)
    if not is_floating(t.dtype) and (t.shape != x.shape or columns == 1):
        t = t.reshape(x.shape[:-1]) if column else t
        t, kept = _labels(name, x, t, ignore_index)
        rows, of_row = _weighted(loss.softmax_cross_entropy(x, t), w, t)
        if label_smoothing:
            log_p = reduce.log_softmax(x)
            even = reduce.mean(log_p if w is None else log_p * w, axis=-1)
            rows = (1 - label_smoothing) * rows - label_smoothing * even
        return _of_rows(name, rows, kept, of_row, reduction, sample_weight)
    t = _probabilities(x, t, ignore_index)
    if label_smoothing:
        t = t * (1 - label_smoothing) + label_smoothing / columns
    log_p = reduce.log_softmax(x)
    rows = reduce.sum_(t * (log_p if w is None else log_p * w), axis=-1)
    return reduced(name, -rows, reduction, sample_weight)


@gate
def nll(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
    weight: Weights = None,
    ignore_index: int | None = None,
    axis: int = -1,
) -> Tensor:
    """The mean of -prediction[target] for log-probabilities (..., classes) and labels (...):
    `cross_entropy` after a log_softmax. -> (), or (...) with `reduction="none"`. Its options are
    those of `cross_entropy`.

    Raises: DTypeError for labels in a floating dtype; ShapeError for targets of another shape, and
        for labels on the host outside the classes; ArgumentError for a prediction that is the
        output of a softmax, or on the host above 0.

    >>> nll([[-0.5, -1.0]], [1]).item()
    1.0
    """
    x, t = _classes("nll", prediction, target, axis)
    log_probabilities("nll", x)
    w = None if weight is None else class_weights("nll", weight, x)
    t = t.reshape(x.shape[:-1]) if t.shape == (*x.shape[:-1], 1) else t
    t, kept = _labels("nll", x, t, ignore_index)
    inside = _inside("nll", x, t)
    rows = -take_along_axis(x, expand_dims(elementwise.where(inside, t, 0), axis=-1), axis=-1)
    rows, of_row = _weighted(elementwise.where(inside, rows[..., 0], math.nan), w, t)
    return _of_rows("nll", rows, kept, of_row, reduction, sample_weight)


@gate
def focal(
    prediction: ArrayLike,
    target: ArrayLike,
    gamma: NonNegative = 2.0,
    alpha: Fraction | None = 0.25,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The focal loss of binary logits (Lin et al. 2017), for detection, where nearly all examples
    are easy: the mean of alpha_t (1 - p_t)^gamma times `binary_cross_entropy_with_logits`, p_t
    being the probability of the true class. Both (...) of one shape -> (), or (...).

    Args:
        gamma: how much less examples count that are right already; 0 for none.
        alpha: the weight of targets 1, that of 0 being 1 - alpha; None for 1 and 1.
    Raises: as `binary_cross_entropy_with_logits`.

    >>> round(focal([0.0], [1], alpha=None).item(), 4)  # log(2) / 4
    0.1733
    """
    x, t = binary("focal", prediction, target)
    _no_sigmoid("focal", x)
    p = elementwise.sigmoid(x)
    wrong = p + t - 2 * p * t  # 1 - p_t
    values = wrong**gamma * loss.binary_cross_entropy_with_logits(x, t)
    values = values if alpha is None else values * (alpha * t + (1 - alpha) * (1 - t))
    return reduced("focal", values, reduction, sample_weight)


@gate
def softmax_focal(
    prediction: ArrayLike,
    target: ArrayLike,
    gamma: NonNegative = 2.0,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
    weight: Weights = None,
    ignore_index: int | None = None,
    axis: int = -1,
) -> Tensor:
    """The focal loss of several classes (Lin et al. 2017): the mean of (1 - p)^gamma (-log p) for
    p = softmax(prediction)[target]. Logits (..., classes) and labels (...) -> (), or (...). Its
    options are those of `cross_entropy`; with a gamma of 0 it is that.

    Raises: as `cross_entropy`.

    >>> round(softmax_focal([[0.0, 0.0]], [1]).item(), 4)
    0.1733
    """
    name = "softmax_focal"
    x, t = _classes(name, prediction, target, axis)
    if (made_by := maker(x)) in ("softmax", "sigmoid"):
        raise ArgumentError(f"{name} takes logits, {given(made_by)}")
    w = None if weight is None else class_weights(name, weight, x)
    t = t.reshape(x.shape[:-1]) if t.shape == (*x.shape[:-1], 1) else t
    t, kept = _labels(name, x, t, ignore_index)
    entropy = loss.softmax_cross_entropy(x, t)
    rows, of_row = _weighted((-elementwise.expm1(-entropy)) ** gamma * entropy, w, t)
    return _of_rows(name, rows, kept, of_row, reduction, sample_weight)


@gate
def dice(
    prediction: ArrayLike,
    target: ArrayLike,
    smooth: NonNegative = 1.0,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The Dice loss of segmentation (Milletari et al. 2016), 1 - (2 sum(p t) + smooth) /
    (sum(p) + sum(t) + smooth) for probabilities p and targets t in [0, 1]. Both (n, ...) of one
    shape, each example by itself -> (), or (n,) with `reduction="none"`.

    Raises: ShapeError where the shapes differ, or have no axis; ArgumentError for predictions and
        targets on the host outside [0, 1].

    >>> dice([[0.5, 1.0, 0.0]], [[1, 1, 0]], smooth=0.0).numpy().round(3).item()
    0.14300000667572021
    """
    p, t = binary("dice", prediction, target)
    if not p.ndim:
        raise ShapeError("dice takes arrays (n, ...), got a single number")
    if maker(p) not in ("sigmoid", "softmax"):
        within("dice", "prediction", p, "end with a sigmoid or a softmax")
    axes = tuple(range(1, p.ndim))
    both_of, p, t = [reduce.sum_(a, axis=axes) if axes else a for a in (p * t, p, t)]
    values = 1 - (2 * both_of + smooth) / (p + t + smooth)
    return reduced("dice", values, reduction, sample_weight)


# --- what they share ------------------------------------------------------------------------------


def _no_sigmoid(name: str, x: Tensor) -> None:
    if (made_by := maker(x)) in ("sigmoid", "softmax"):
        raise ArgumentError(f"{name} takes logits, {given(made_by)}, or use binary_cross_entropy")
    if made_by == "relu":
        warn(f"{name}: the logits are the output of a relu, so no probability is below 0.5")


def _scaled(name: str, values: Tensor, weight: Any, word: str = "weight") -> Tensor:
    """The losses times a weight that broadcasts to them."""
    if weight is None:
        return values
    w = alike(weight, values)
    try:
        fits = np.broadcast_shapes(w.shape, values.shape) == values.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(
            f"{name}: {word} of shape {w.shape} does not broadcast to the losses {values.shape}"
        )
    return values * w


def _classes(name: str, prediction: Any, target: Any, axis: int) -> tuple[Tensor, Tensor]:
    """Floating logits with the classes last, and a target whose classes, if any, are last, too."""
    x, t = both(name, prediction, target)
    if not x.shape:
        raise ShapeError(f"{name} takes logits (..., classes), got a single number")
    if not is_floating(x.dtype):
        x = x.astype("float32")
    if axis != -1 and (axis := axis_of(name, x, axis)) != x.ndim - 1:
        t = moveaxis(t, source=axis, destination=-1) if t.ndim == x.ndim else t
        x = moveaxis(x, source=axis, destination=-1)
    elif x.ndim > 2 and t.shape == (x.shape[0], *x.shape[2:]) and t.shape != x.shape[:-1]:
        raise ShapeError(
            f"{name}: logits {x.shape} and labels {t.shape}: the classes are on the last axis; "
            "where they are on the second, give axis=1"
        )
    return x, t


def _labels(name: str, x: Tensor, t: Tensor, ignored: int | None) -> tuple[Tensor, Tensor | None]:
    """Labels, and which of them are not ignored (None for all), whose places have label 0."""
    if t.dtype.kind not in "iub" or t.shape != x.shape[:-1]:
        kind = DTypeError if is_floating(t.dtype) else ShapeError
        raise kind(
            f"{name}: target of dtype {t.dtype} and shape {t.shape}; give integer class labels of "
            f"shape {x.shape[:-1]}, as y.astype('int64')"
        )
    t = t.astype("int64") if t.dtype.kind == "b" else t
    if ignored is None:
        return t, None
    kept = t != ignored
    return elementwise.where(kept, t, 0), kept


def checked_labels(name: str, x: Tensor, t: Tensor) -> Tensor:
    """Labels of the rows of x; an error for what are none."""
    t = t.reshape(x.shape[:-1]) if t.shape == (*x.shape[:-1], 1) else t
    t, _ = _labels(name, x, t, None)
    _inside(name, x, t)
    return t


def _inside(name: str, x: Tensor, t: Tensor) -> Tensor:
    """Which labels are classes; ShapeError where one on the host is not."""
    inside = (t >= 0) & (t < x.shape[-1])
    if t.backend == "numpy" and not inside._data.all():
        raise ShapeError(
            f"{name}: labels run from {t._data.min()} to {t._data.max()}, outside the classes "
            f"0..{x.shape[-1] - 1}"
        )
    return inside


def _weighted(rows: Tensor, w: Tensor | None, t: Tensor) -> tuple[Tensor, Tensor | None]:
    """The losses times the weights of their labels, and these."""
    if w is None:
        return rows, None
    of_row = w[t]
    return rows * of_row, of_row


def _of_rows(
    name: str,
    rows: Tensor,
    kept: Tensor | None,
    of_row: Tensor | None,
    reduction: str,
    sample_weight: Any,
) -> Tensor:
    """The losses of labels, weighted already, reduced: their mean is over the sum of the weights
    of those that are not ignored."""
    if kept is not None:
        rows = elementwise.where(kept, rows, 0.0)
        of_row = kept.astype(rows.dtype) if of_row is None else elementwise.where(kept, of_row, 0.0)
    if reduction != "mean" or of_row is None:
        return reduced(name, rows, reduction, sample_weight)
    over = reduced(name, of_row, "none", sample_weight)
    return mean_of(reduced(name, rows, "none", sample_weight), over)


def _probabilities(x: Tensor, t: Tensor, ignored: int | None) -> Tensor:
    """Targets of the logits' shape in their dtype."""
    if t.shape != x.shape:
        raise DTypeError(
            f"cross_entropy: target of dtype {t.dtype} and shape {t.shape}; give integer class "
            f"labels of shape {x.shape[:-1]} (y.astype('int64')) or probabilities {x.shape}"
        )
    if ignored is not None and ignored >= 0:
        raise ArgumentError(
            f"cross_entropy: ignore_index={ignored} is a label; targets of probabilities or of "
            "one-hot rows have none: give sample_weight=, with 0 for what is to be ignored"
        )
    if not is_floating(t.dtype):
        one_hot(t)
    return t if t.dtype == x.dtype else t.astype(x.dtype)
