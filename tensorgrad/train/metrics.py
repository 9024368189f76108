"""Metrics by name: functions of prediction and target that return a scalar on the device, the mean
of which over the examples is the score, and those of sums.py."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from .. import losses
from ..core import Tensor
from ..errors import ArgumentError, ShapeError
from ..settings import gate
from ..words import missing
from . import sums
from .sums import confusion_matrix

__all__ = [
    "METRICS",
    "accuracy",
    "accuracy_from_logits",
    "confusion_matrix",
    "direction",
    "edit_distance",
    "get",
]

Metric: TypeAlias = "str | Callable[..., Any]"  # by name, or a function of prediction and target


@gate
def accuracy(prediction: Tensor, target: Tensor) -> Any:
    """The fraction of correct predictions.

    Of scores (n, classes) the argmax is compared with class labels (n,) or one-hot rows. A single
    column or (n,) is a probability, correct where it and the target are on the same side of 0.5
    (for logits use `accuracy_from_logits`).

    >>> float(accuracy(tensor([[0.9, 0.1], [0.8, 0.2]]), tensor([0, 1])))
    0.5
    """
    return _accuracy(prediction, target, 0.5)


@gate
def accuracy_from_logits(prediction: Tensor, target: Tensor) -> Any:
    """`accuracy`, where a single column holds logits: their threshold is 0.

    >>> float(accuracy_from_logits(tensor([-2.0, 0.3]), tensor([0, 1])))
    1.0
    """
    return _accuracy(prediction, target, 0.0)


def _accuracy(prediction: Tensor, target: Tensor, threshold: float) -> Any:
    p, t = prediction._data, target._data
    if p.ndim > 1 and p.shape[-1] > 1:
        if t.shape == p.shape:  # one-hot
            t = t.argmax(axis=-1)
        return (p.argmax(axis=-1) == _shaped(t, p.shape[:-1])).mean()
    return _sides(p, _shaped(t, p.shape), threshold)


@gate
def edit_distance(a: Sequence[Any], b: Sequence[Any]) -> int:
    """The fewest insertions, deletions and substitutions that make b of a (Levenshtein 1966), of
    texts, lists or rows. Divided by the length of what is right it is a word or character error
    rate.

    >>> edit_distance("kitten", "sitting"), edit_distance([1, 2, 3], [1, 3])
    (3, 1)
    """
    both: tuple[Any, ...] = (a, b)
    for given in both:
        listed = isinstance(given, str | Sequence)
        rows = getattr(given, "ndim", 0) > 0 and given.dtype.kind != "O"
        if not (listed or rows) or hasattr(given, "mask"):
            raise ArgumentError(f"edit_distance: texts, lists or rows, not {given!r:.80}")
    row = list(range(len(b) + 1))  # from the empty sequence
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            changed = diagonal + bool(x != y)
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, changed)
    return row[-1]


def _sides(p: Any, t: Any, threshold: float) -> Any:
    """The fraction of predictions on the same side of the threshold as their targets."""
    return ((p > threshold) == (t > 0.5)).mean()


def _shaped(t: Any, shape: tuple[int, ...]) -> Any:
    if t.size != math.prod(shape):
        raise ShapeError(f"accuracy: targets of shape {t.shape} for predictions of shape {shape}")
    return t.reshape(shape)


# Of losses with two classes: the prediction that is neither
_THRESHOLDS = dict.fromkeys(
    """binary_cross_entropy_with_logits focal hinge multilabel_soft_margin soft_margin
    squared_hinge""".split(),
    0.0,
) | {"binary_cross_entropy": 0.5, "dice": 0.5}


def accuracy_for(loss: Callable) -> Callable:
    """The metric "accuracy" for a loss: with a binary loss each output is a prediction of its own,
    a probability or a logit."""
    name = getattr(loss, "function", getattr(loss, "__name__", ""))  # of a module, of a function
    ours = getattr(loss, "__module__", "").partition(".")[0] == __name__.partition(".")[0]
    if not ours or name not in _THRESHOLDS:
        return accuracy
    return partial(_binary_accuracy, _THRESHOLDS[name])


# Functions and partials rather than closures, which cannot be pickled with a compiled model


def _binary_accuracy(threshold: float, p: Tensor, t: Tensor) -> Any:
    return _sides(p._data, _shaped(t._data, p._data.shape), threshold)


def _value(loss: Callable, prediction: Tensor, target: Tensor) -> Any:
    return loss(prediction, target)._data


METRICS: dict[str, Callable[[], Any]] = {
    "accuracy": lambda: accuracy,
    "accuracy_from_logits": lambda: accuracy_from_logits,
    **{name: partial(partial, _value, losses.get(name)) for name in ("mse", "mae")},
    **{
        kind.name: kind
        for kind in (
            sums.RootMeanSquaredError,
            sums.R2,
            sums.CosineSimilarity,
            sums.Precision,
            sums.Recall,
            sums.F1,
            sums.AUC,
            sums.AveragePrecision,
            sums.Perplexity,
        )
    },
    "top_5": sums.TopK,
}


def get(metric: Any, loss: Any = None) -> tuple[str, Any]:
    """(name, metric) of one given by name, as a function of tensors, or as an object with `sums` or
    `columns`. By name it is that for the loss: `accuracy` of logits has another threshold than that
    of probabilities."""
    if isinstance(metric, type):
        raise ArgumentError(f"metric {metric.__name__}: make an object of it with ()")
    if isinstance(metric, (sums.Summed, sums.Gathered)):
        return metric.name, metric
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), metric
    if not isinstance(metric, str) or metric not in METRICS:
        raise ArgumentError(f"metric {metric!r}: {missing('metrics', str(metric), METRICS)}")
    made = METRICS[metric]()
    if metric == "accuracy" and loss is not None:
        made = accuracy_for(loss)
    if hasattr(made, "threshold") and loss is losses.binary_cross_entropy_with_logits:
        made.threshold = 0.0
    return metric, made


def direction(name: str, metric: Any) -> bool | None:
    """Whether larger is better; None where that is not known."""
    if (own := getattr(metric, "higher_is_better", None)) is not None:
        return bool(own)
    if "accuracy" in name:
        return True
    if isinstance(metric, partial) and metric.func is _value:
        return False
    called = getattr(metric, "__name__", "")
    return False if called in losses.LOSSES else None
