"""Metrics: functions of prediction and target that return a scalar on the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from .. import losses
from ..backend import BY_TYPE, namespace
from ..core import Tensor
from ..errors import ArgumentError, ShapeError, suggest
from ..settings import gate

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


METRICS: dict[str, Callable] = {
    "accuracy": accuracy,
    "accuracy_from_logits": accuracy_from_logits,
    **{name: partial(_value, losses.get(name)) for name in ("mse", "mae")},
}


def get(metric: Any) -> tuple[str, Callable[..., Any]]:
    """(name, function) of a metric given by name or as a function of tensors."""
    if callable(metric):
        return getattr(metric, "__name__", type(metric).__name__), metric
    if metric not in METRICS:
        raise ArgumentError(f"metric {metric!r} is unknown: {suggest(metric, METRICS)}")
    return metric, METRICS[metric]


class Running:
    """Running means over examples, by name, accumulated on the device: only `read` synchronises."""

    def __init__(self, names: Iterable[str]):
        self.totals: dict[str, Any] = dict.fromkeys(names)
        self.count = 0  # of examples, which the caller adds to

    def start(self) -> None:
        """Reset to 0 in place: a captured step holds the addresses of the totals."""
        self.count = 0
        for total in self.totals.values():
            if total is not None:
                total[...] = 0

    def add(self, name: str, value: Any, n: int, xp: Any) -> None:
        """Accumulate the mean over a batch of n examples, a scalar on the device or the host."""
        value = value._data if isinstance(value, Tensor) else value
        if getattr(value, "size", 1) != 1:
            raise ShapeError(f"{name}: one number for a batch, got shape {value.shape}")
        if self.totals[name] is None:
            self.totals[name] = xp.zeros((), "float64")
        if namespace(value) is xp:
            value = xp.asarray(value).reshape(()).astype("float64")
        else:  # a host scalar, which a captured step would repeat from its capture
            value = float(np.reshape(value, ()))
        self.totals[name] += value * n

    def read(self) -> dict[str, float]:
        """The means so far; synchronises with the device."""
        return {
            name: float(total) / self.count if self.count else math.nan
            for name, total in self.totals.items()
        }

    def state_dict(self) -> dict[str, Any]:
        """The totals so far, on the host."""
        host = {n: None if t is None else _host(t) for n, t in self.totals.items()}
        return {"count": self.count, "totals": host}

    def load_state_dict(self, state: dict[str, Any], home: Any) -> None:
        """Go on from there, on a backend: in place where there are totals."""
        self.count = state["count"]
        for name, total in state["totals"].items():
            if total is not None and self.totals[name] is None:
                self.totals[name] = home.xp.zeros((), "float64")
            if total is not None:
                self.totals[name][...] = home.from_host(np.asarray(total))


def _host(total: Any) -> np.ndarray:
    return np.array(BY_TYPE[type(total)].to_host(total))
