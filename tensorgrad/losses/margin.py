"""Margin losses: scores are to be right by a margin, and no more. Targets of two classes are -1
and 1."""

from __future__ import annotations

from ..core import Tensor
from ..errors import ArgumentError, DTypeError, ShapeError
from ..functions.indexing import take_along_axis
from ..functions.scan import cumprod
from ..ops import elementwise, loss, reduce
from ..ops.shape import expand_dims
from ..settings import gate
from ..typing import ArrayLike, Count
from .classification import checked_labels
from .common import (
    Margin,
    Reduction,
    Weights,
    alike,
    binary,
    both,
    class_weights,
    floating,
    one_shape,
    pair,
    reduced,
    signs,
)

__all__ = [
    "hinge",
    "hinge_embedding",
    "margin_ranking",
    "multi_margin",
    "multilabel_margin",
    "multilabel_soft_margin",
    "soft_margin",
    "squared_hinge",
]


@gate
def hinge(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The hinge loss of support vector machines (Cortes & Vapnik 1995): the mean of
    max(0, 1 - t x) for scores x and targets t of -1 and 1. Both (...) of one shape -> (), or (...).

    Raises: ShapeError where the shapes differ; ArgumentError for other targets on the host.

    >>> hinge([0.5, 2.0], [1, -1], reduction="none").tolist()
    [0.5, 3.0]
    """
    x, t = _signed("hinge", prediction, target)
    return reduced("hinge", elementwise.relu(1 - t * x), reduction, sample_weight)


@gate
def squared_hinge(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The square of `hinge`, the mean of max(0, 1 - t x)^2. Shapes and errors as there.

    >>> squared_hinge([0.5, 2.0], [1, -1], reduction="none").tolist()
    [0.25, 9.0]
    """
    x, t = _signed("squared_hinge", prediction, target)
    values = elementwise.square(elementwise.relu(1 - t * x))
    return reduced("squared_hinge", values, reduction, sample_weight)


@gate
def soft_margin(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The logistic loss, the mean of log(1 + exp(-t x)) for scores x and targets t of -1 and 1,
    which does not overflow. Both (...) of one shape -> (), or (...). Errors as in `hinge`.

    >>> round(soft_margin([0.0, 1000.0], [1, -1]).item(), 3)
    500.347
    """
    x, t = _signed("soft_margin", prediction, target)
    return reduced("soft_margin", elementwise.softplus(-t * x), reduction, sample_weight)


@gate
def multi_margin(
    prediction: ArrayLike,
    target: ArrayLike,
    p: Count = 1,
    margin: Margin = 1.0,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
    weight: Weights = None,
) -> Tensor:
    """The hinge loss of several classes (Crammer & Singer 2001): for the label y the sum over all
    other classes j of max(0, margin - x[y] + x[j])^p, divided by the number of classes. Scores
    (..., classes) and labels (...) -> (), or (...).

    Args:
        p: 1, or 2.
        weight: (classes,), by which margins are multiplied where the label is that class; the mean
            is over the number of rows, as in PyTorch.
    Raises: ShapeError or DTypeError for what are no labels; ArgumentError for another `p`.

    >>> multi_margin([[0.5, 1.0, 0.0]], [1]).numpy().round(4).item()
    0.16670000553131104
    """
    if p > 2:
        raise ArgumentError(f"multi_margin: p={p} must be 1 or 2")
    x, t = _scores("multi_margin", prediction, target)
    t = checked_labels("multi_margin", x, t)
    at = expand_dims(t, axis=-1)
    short = elementwise.relu(margin - take_along_axis(x, at, axis=-1) + x)
    short = short if p == 1 else elementwise.square(short)
    if weight is not None:
        short = short * expand_dims(class_weights("multi_margin", weight, x)[t], axis=-1)
    rows = reduce.mean(elementwise.where(at == _numbers(x), 0.0, short), axis=-1)
    return reduced("multi_margin", rows, reduction, sample_weight)


@gate
def multilabel_margin(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The hinge loss of rows that have several labels: the sum over labels j and all classes i
    that are none of max(0, 1 - x[j] + x[i]), divided by the number of classes. Scores
    (..., classes) -> (), or (...).

    Args:
        target: integers of the scores' shape: the labels of each row, then -1; what follows the
            first -1 is not looked at.
    Raises: ShapeError where the shapes differ, and for labels on the host outside the classes;
        DTypeError for labels in a floating dtype.

    >>> multilabel_margin([[0.5, 1.0, 0.0]], [[1, -1, -1]]).numpy().round(4).item()
    0.16670000553131104
    """
    name = "multilabel_margin"
    x, t = _scores(name, prediction, target)
    if t.dtype.kind not in "iu":
        raise DTypeError(f"{name}: labels are integers, then -1; got {t.dtype}")
    one_shape(name, prediction=x, target=t)
    real = cumprod((t >= 0).astype("int64"), axis=-1) > 0
    t = elementwise.where(real, t, 0)
    if t.backend == "numpy" and t.size and t._data.max() >= x.shape[-1]:
        raise ShapeError(
            f"{name}: a label of {t._data.max()}, the classes are 0..{x.shape[-1] - 1}"
        )
    hits = (expand_dims(t, axis=-1) == _numbers(x)) & expand_dims(real, axis=-1)
    chosen = expand_dims(take_along_axis(x, t, axis=-1), axis=-1)
    short = elementwise.relu(1 - chosen + expand_dims(x, axis=-2))
    counts = expand_dims(real, axis=-1) & ~hits.any(axis=-2, keepdims=True)
    rows = reduce.sum_(elementwise.where(counts, short, 0.0), axis=(-2, -1)) / max(1, x.shape[-1])
    return reduced(name, rows, reduction, sample_weight)


@gate
def multilabel_soft_margin(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
    weight: Weights = None,
) -> Tensor:
    """`binary_cross_entropy_with_logits` of each class by itself, the mean over the classes. Logits
    and targets of 0 and 1, both (..., classes) -> (), or (...).

    Args:
        weight: (classes,), by which the losses are multiplied.
    Raises: as `binary_cross_entropy_with_logits`.

    >>> round(multilabel_soft_margin([[0.0, 1000.0]], [[1, 1]]).item(), 4)
    0.3466
    """
    name = "multilabel_soft_margin"
    x, t = binary(name, prediction, target)
    if not x.ndim:
        raise ShapeError(f"{name} takes logits (..., classes), got a single number")
    values = loss.binary_cross_entropy_with_logits(x, t)
    values = values if weight is None else values * class_weights(name, weight, x)
    return reduced(name, reduce.mean(values, axis=-1), reduction, sample_weight)


@gate
def hinge_embedding(
    prediction: ArrayLike,
    target: ArrayLike,
    margin: Margin = 1.0,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The mean of x where the target is 1, and of max(0, margin - x) where it is -1, for distances
    x of pairs that are alike or not. Both (...) of one shape -> (), or (...). Errors as in `hinge`.

    >>> hinge_embedding([0.25, 0.25], [1, -1], reduction="none").tolist()
    [0.25, 0.75]
    """
    x, t = _signed("hinge_embedding", prediction, target)
    values = elementwise.where(t == 1, x, elementwise.relu(margin - x))
    return reduced("hinge_embedding", values, reduction, sample_weight)


@gate
def margin_ranking(
    x1: ArrayLike,
    x2: ArrayLike,
    target: ArrayLike,
    margin: Margin = 0.0,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The mean of max(0, -t (x1 - x2) + margin): a target t of 1 wants x1 above x2, -1 below. All
    (...) of one shape -> (), or (...). Errors as in `hinge`.

    >>> margin_ranking([1.0, 1.0], [3.0, 3.0], [1, -1], reduction="none").tolist()
    [2.0, 0.0]
    """
    a = floating(x1, x2)
    b, t = alike(x2, a), signs("margin_ranking", target, a)
    one_shape("margin_ranking", x1=a, x2=b, target=t)
    values = elementwise.relu(margin - t * (a - b))
    return reduced("margin_ranking", values, reduction, sample_weight)


# --- what they share ------------------------------------------------------------------------------


def _signed(name: str, prediction: ArrayLike, target: ArrayLike) -> tuple[Tensor, Tensor]:
    """Scores and targets of one shape, these -1 and 1."""
    x, t = pair(name, prediction, target)
    return x, signs(name, t, x)


def _scores(name: str, prediction: ArrayLike, target: ArrayLike) -> tuple[Tensor, Tensor]:
    x, t = both(name, prediction, target)
    if not x.ndim:
        raise ShapeError(f"{name} takes scores (..., classes), got a single number")
    return floating(x), t


def _numbers(x: Tensor) -> Tensor:
    """The numbers of the classes, on x's backend."""
    return alike(range(x.shape[-1]), x).astype("int64")
