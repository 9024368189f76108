"""Metrics: functions of prediction and target that give one number on the device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import losses
from ..backend import is_floating, namespace
from ..core import Tensor
from ..errors import ShapeError, suggest


def accuracy(prediction: Tensor, target: Tensor) -> Any:
    """The share of right answers.

    Scores (n, classes) are compared by their largest with class numbers (n,) or with one-hot
    rows; a single column or (n,) is a probability, right when it and the target lie on the same
    side of 0.5 (for logits use `accuracy_from_logits`).
    """
    return _accuracy(prediction, target, 0.5)


def accuracy_from_logits(prediction: Tensor, target: Tensor) -> Any:
    """`accuracy`, where a single column holds logits, which are right or wrong by their sign."""
    return _accuracy(prediction, target, 0.0)


def _accuracy(prediction: Tensor, target: Tensor, threshold: float) -> Any:
    p, t = prediction._data, target._data
    if p.ndim > 1 and p.shape[-1] > 1:
        if t.shape == p.shape and is_floating(t.dtype):
            t = t.argmax(axis=-1)
        return (p.argmax(axis=-1) == t.reshape(p.shape[:-1])).mean()
    return ((p > threshold) == (t.reshape(p.shape) > 0.5)).mean()


def _of(loss: Callable) -> Callable:
    return lambda prediction, target: loss(prediction, target)._data


METRICS: dict[str, Callable] = {
    "accuracy": accuracy,
    "accuracy_from_logits": accuracy_from_logits,
    **{name: _of(losses.LOSSES[name]) for name in ("mse", "mae")},
}


def get(metric: Any) -> tuple[str, Callable]:
    """(name, function) of a metric given by name or as a function of tensors."""
    if callable(metric):
        return metric.__name__, metric
    if metric not in METRICS:
        raise ShapeError(f"metric {metric!r} is unknown: {suggest(metric, METRICS)}")
    return metric, METRICS[metric]


class Running:
    """A mean weighted by batch size, summed on the device: nothing waits until it is read."""

    def __init__(self) -> None:
        self.total: Any = None
        self.count = 0

    def add(self, value: Any, n: int) -> None:
        """Take in the mean over a batch of n."""
        value = value._data if isinstance(value, Tensor) else value
        value = namespace(value).asarray(value).astype("float64") * n
        self.total = value if self.total is None else self.total + value
        self.count += n

    def read(self) -> float:
        """The mean so far; waits for the device."""
        return float(self.total) / self.count if self.count else float("nan")
