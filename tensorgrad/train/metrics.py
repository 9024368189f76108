"""Metrics: functions of prediction and target that give one number on the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from .. import losses
from ..backend import namespace
from ..core import Tensor
from ..errors import ArgumentError, ShapeError, suggest

Metric: TypeAlias = "str | Callable[..., Any]"  # by name, or a function of prediction and target


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
        if t.shape == p.shape:  # one-hot
            t = t.argmax(axis=-1)
        return (p.argmax(axis=-1) == _shaped(t, p.shape[:-1])).mean()
    return _sides(p, _shaped(t, p.shape), threshold)


def _sides(p: Any, t: Any, threshold: float) -> Any:
    """The share of numbers on the same side as their targets."""
    return ((p > threshold) == (t > 0.5)).mean()


def _shaped(t: Any, shape: tuple[int, ...]) -> Any:
    if t.size != math.prod(shape):
        raise ShapeError(f"accuracy: targets of shape {t.shape} for answers of shape {shape}")
    return t.reshape(shape)


def accuracy_for(loss: Callable) -> Callable:
    """What "accuracy" means beside a loss: binary losses answer yes or no for each number, from
    probabilities or from logits."""
    if loss not in (losses.binary_cross_entropy, losses.binary_cross_entropy_with_logits):
        return accuracy
    threshold = 0.5 if loss is losses.binary_cross_entropy else 0.0
    return partial(_answers, threshold)


# Partials rather than closures, which a pickle of a compiled model could not name


def _answers(threshold: float, p: Tensor, t: Tensor) -> Any:
    return _sides(p._data, _shaped(t._data, p._data.shape), threshold)


def _value(loss: Callable, prediction: Tensor, target: Tensor) -> Any:
    return loss(prediction, target)._data


METRICS: dict[str, Callable] = {
    "accuracy": accuracy,
    "accuracy_from_logits": accuracy_from_logits,
    **{name: partial(_value, losses.LOSSES[name]) for name in ("mse", "mae")},
}


def get(metric: Any) -> tuple[str, Callable[..., Any]]:
    """(name, function) of a metric given by name or as a function of tensors."""
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), metric
    if metric not in METRICS:
        raise ArgumentError(f"metric {metric!r} is unknown: {suggest(metric, METRICS)}")
    return metric, METRICS[metric]


class Running:
    """Means over the examples, by name, summed on the device: nothing waits until they are read."""

    def __init__(self, names: Iterable[str]):
        self.totals: dict[str, Any] = dict.fromkeys(names)
        self.count = 0  # of examples, which the caller adds to

    def start(self) -> None:
        """Begin anew, in the memory that a captured step has learnt."""
        self.count = 0
        for total in self.totals.values():
            if total is not None:
                total[...] = 0

    def add(self, name: str, value: Any, n: int, xp: Any) -> None:
        """Take in a mean over a batch of n: a number there, or one on the host."""
        value = value._data if isinstance(value, Tensor) else value
        if getattr(value, "size", 1) != 1:
            raise ShapeError(f"{name}: one number for a batch, got shape {value.shape}")
        if self.totals[name] is None:
            self.totals[name] = xp.zeros((), "float64")
        if namespace(value) is xp:
            value = xp.asarray(value).reshape(()).astype("float64")
        else:  # a captured step adds the number of its capture
            value = float(np.reshape(value, ()))
        self.totals[name] += value * n

    def read(self) -> dict[str, float]:
        """The means so far; waits for the device."""
        return {
            name: float(total) / self.count if self.count else math.nan
            for name, total in self.totals.items()
        }
