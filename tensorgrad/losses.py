"""Losses: prediction first, target second, one number out: the mean over everything. A target that
is a NumPy array goes where the prediction is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .backend import is_floating
from .core import Tensor
from .creation import asarray, beside
from .errors import DTypeError, ShapeError, suggest
from .ops import elementwise, loss, reduce


def _pair(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape and floating dtype; ShapeError where they would broadcast."""
    p = asarray(prediction)
    t = beside(target, p)
    if p.shape != t.shape:
        raise ShapeError(
            f"{name}: prediction {p.shape} and target {t.shape} differ in shape; a target of one "
            "column needs a last axis of length 1: y[:, None]"
        )
    if not is_floating(p.dtype):  # else the target would be cut to whole numbers
        p = p.astype(t.dtype if is_floating(t.dtype) else "float32")
    return p, t if t.dtype == p.dtype else t.astype(p.dtype)


def mean_squared_error(prediction: Any, target: Any) -> Tensor:
    """mean((prediction - target)^2); both of one shape.

    >>> mean_squared_error([1.0, 3.0], [1.0, 1.0]).item()
    2.0
    """
    return loss.mean_squared_error(*_pair("mean_squared_error", prediction, target))


def mean_absolute_error(prediction: Any, target: Any) -> Tensor:
    """mean(|prediction - target|); both of one shape."""
    p, t = _pair("mean_absolute_error", prediction, target)
    return reduce.mean(elementwise.abs_(p - t))


def huber(prediction: Any, target: Any, delta: float = 1.0) -> Tensor:
    """mean of 0.5 d^2 where |d| <= delta, else delta (|d| - delta / 2) (Huber 1964)."""
    p, t = _pair("huber", prediction, target)
    size = elementwise.abs_(p - t)
    near = elementwise.minimum(size, delta)
    return reduce.mean(near * (size - 0.5 * near))


def binary_cross_entropy(prediction: Any, target: Any) -> Tensor:
    """mean(-(t log p + (1 - t) log(1 - p))) of probabilities p and targets t in [0, 1]."""
    pair = _pair("binary_cross_entropy", prediction, target)
    return reduce.mean(loss.binary_cross_entropy(*pair))


def binary_cross_entropy_with_logits(prediction: Any, target: Any) -> Tensor:
    """`binary_cross_entropy` of sigmoid(prediction), exact for large logits."""
    pair = _pair("binary_cross_entropy_with_logits", prediction, target)
    return reduce.mean(loss.binary_cross_entropy_with_logits(*pair))


def cross_entropy(logits: Any, target: Any) -> Tensor:
    """mean(-log softmax(logits)[target]): logits (..., classes) and integer class numbers (...),
    or target probabilities of the logits' shape.

    >>> round(cross_entropy([[0.0, 0.0]], [1]).item(), 4)
    0.6931
    """
    x = asarray(logits)
    t = beside(target, x)
    if not is_floating(t.dtype):
        if t.shape == (*x.shape[:-1], 1):
            t = t.reshape(x.shape[:-1])
        return reduce.mean(loss.softmax_cross_entropy(x, t))
    if t.shape != x.shape:
        raise DTypeError(
            f"cross_entropy: target of dtype {t.dtype} and shape {t.shape}; give integer class "
            f"numbers of shape {x.shape[:-1]} (y.astype('int64')) or probabilities {x.shape}"
        )
    rows = reduce.sum_(t.astype(x.dtype) * reduce.log_softmax(x), axis=-1)
    return -reduce.mean(rows)


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


_LOGITS = "'cross_entropy', which takes logits: leave out a final softmax"
KERAS = {
    "binary_crossentropy": "'binary_cross_entropy'",
    "categorical_crossentropy": _LOGITS,
    "sparse_categorical_crossentropy": _LOGITS,
}


def get(name: str | Callable) -> Callable[..., Tensor]:
    """The loss of that name, or the function given; ShapeError for unknown names."""
    if callable(name):
        return name
    if name in KERAS:
        raise ShapeError(f"loss {name!r}: here it is {KERAS[name]}")
    if name not in LOSSES:
        raise ShapeError(f"loss {name!r} is unknown: {suggest(name, LOSSES)}")
    return LOSSES[name]
