"""What losses share: checks of prediction and target, weights and reductions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np

from ..backend import is_floating
from ..core import Tensor
from ..creation import beside
from ..errors import ArgumentError, ShapeError, user_level
from ..functions.inputs import tensors
from ..ops import reduce
from ..ops.shape import broadcast_to
from ..settings import Real
from ..switches import switches
from ..typing import ArrayLike

Reduction: TypeAlias = Literal["mean", "sum", "none"]
Weights: TypeAlias = ArrayLike | None
Margin: TypeAlias = Annotated[float, Real()]
_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": reduce.mean,
    "sum": reduce.sum_,
    "none": lambda values: values,
}


def both(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors; ArgumentError where the tape shows that they are exchanged."""
    p = tensors(prediction, target)[0]
    t = beside(target, p)
    if t.node is not None and p.node is None and switches.recording:
        raise ArgumentError(
            f"{name}: the target requires a gradient and the prediction does not: prediction "
            f"first, target second, {name}(model(x), y)"
        )
    return p, t


def pair(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors of one shape and floating dtype; ShapeError where they would broadcast."""
    p, t = both(name, prediction, target)
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


def binary(name: str, prediction: Any, target: Any) -> tuple[Tensor, Tensor]:
    """A pair whose target is bool, or a probability; ArgumentError where it is outside [0, 1]."""
    p, t = pair(name, prediction, target)
    if getattr(target, "dtype", None) != np.dtype("bool"):
        within(name, "target", t, "classes are 0 and 1, or probabilities")
    return p, t


def reduced(
    name: str,
    values: Tensor,
    reduction: str,
    sample_weight: Any = None,
    weights: Tensor | None = None,
) -> Tensor:
    """The losses, multiplied by their weights and reduced: "mean" is sum(w * loss) / sum(w).

    `sample_weight` has the first axes of the losses; `weights` (of classes) all of them.
    """
    if sample_weight is not None:
        w = alike(sample_weight, values)
        if w.shape != values.shape[: w.ndim]:
            raise ShapeError(
                f"{name}: sample_weight of shape {w.shape}, but there are losses {values.shape}: "
                f"one for each example is {values.shape[:1]}"
            )
        w = broadcast_to(w.reshape(*w.shape, *[1] * (values.ndim - w.ndim)), shape=values.shape)
        weights = w if weights is None else w * weights
    if weights is not None:
        values = values * weights
        if reduction == "mean":
            return mean_of(values, weights)
    total = _REDUCTIONS[reduction](values)
    if reduction == "sum" and switches.part is not None:
        return total / switches.part.share
    return total


def mean_of(values: Tensor, weights: Tensor) -> Tensor:
    """sum(values) / sum(weights) of weighted losses; of a batch that processes share, by the
    weights of all of it."""
    if switches.part is None:
        return reduce.mean(values) / reduce.mean(weights)
    return reduce.sum_(values) / switches.part.total(reduce.sum_(weights))


def alike(values: Any, x: Tensor) -> Tensor:
    """Weights and the like as a tensor of x's dtype on x's backend."""
    made = beside(values, x)
    return made if made.dtype == x.dtype else made.astype(x.dtype)


def class_weights(name: str, weight: Any, x: Tensor) -> Tensor:
    """One weight for each class, the last axis of x, as a tensor like x."""
    made = alike(weight, x)
    if made.shape != x.shape[-1:]:
        raise ShapeError(
            f"{name}: weight of shape {made.shape}, one for each of {x.shape[-1]} classes is "
            f"{x.shape[-1:]}; weights of examples are sample_weight="
        )
    return made


def signs(name: str, target: Any, p: Tensor) -> Tensor:
    """Targets of -1 and 1 as a tensor like p; ArgumentError for others on the host."""
    t = alike(target, p)
    a = t._data
    if type(a) is np.ndarray and a.size and not (np.abs(a) == 1).all():
        low, high = a.min(), a.max()
        raise ArgumentError(
            f"{name}: the target is -1 or 1, got numbers from {low:.3g} to {high:.3g}; "
            "of 0 and 1 it is 2 * y - 1"
        )
    return t


def one_shape(name: str, **tensors: Tensor) -> None:
    """ShapeError where the shapes differ, even if they would broadcast."""
    if len({t.shape for t in tensors.values()}) > 1:
        said = ", ".join(f"{k} {t.shape}" for k, t in tensors.items())
        raise ShapeError(f"{name}: {said} differ in shape")


def floating(x: Any, *beside: Any) -> Tensor:
    """x as a floating tensor; a list of double precision where a tensor beside it is."""
    made: Tensor = tensors(x, *beside)[0]
    return made if is_floating(made.dtype) else made.astype("float32")


def log_probabilities(name: str, x: Tensor) -> None:
    """ArgumentError where the tape or the values on the host show that x is no logarithm of
    probabilities."""
    made_by = maker(x)
    if made_by in ("softmax", "sigmoid"):
        raise ArgumentError(
            f"{name} takes log-probabilities, and these are the output of a {made_by}: make them "
            "by log_softmax"
        )
    a = x._data
    if made_by != "log_softmax" and type(a) is np.ndarray and a.size and a.max() > 0.01:
        raise ArgumentError(
            f"{name} takes log-probabilities, which are 0 or less, got {a.max():.3g}: make them "
            "of logits by log_softmax, or use cross_entropy, which takes logits"
        )


# Ops whose output has the values of their first input, or nearly so
_THROUGH = {"cast", "clip", "expand_dims", "flip", "getitem", "identity", "moveaxis"}
_THROUGH |= {"reshape", "squeeze", "swapaxes", "transpose"}


def maker(p: Tensor) -> str:
    """The name of the op, or of its fused activation, that computed p: read from the tape, not from
    the values."""
    node = p.node
    while node is not None and node.op is not None and node.op.name in _THROUGH:
        node = node.parents[0]
    if node is None or node.op is None:
        return ""
    return node.params.get("activation", node.op.name)


def given(maker: str) -> str:
    """What is said of logits that are the output of a maker."""
    return f"and these are the output of a {maker}: leave out the final {maker}"


def warn(text: str) -> None:
    """A UserWarning at the line that called the loss."""
    warnings.warn(text, UserWarning, stacklevel=user_level())


def within(name: str, what: str, a: Tensor, remedy: str) -> None:
    """ArgumentError for values on the host outside [0, 1], with a tolerance for rounding."""
    if type(a._data) is not np.ndarray or not a.size:
        return
    low, high = a._data.min(), a._data.max()
    if low < -0.01 or high > 1.01:
        raise ArgumentError(f"{name}: the {what} is 0 to 1, got {low:.3g} to {high:.3g}: {remedy}")


def one_hot(t: Tensor) -> None:
    """ArgumentError for integer or bool rows on the host that are not one-hot."""
    if type(t._data) is np.ndarray and t.size and not (t._data.sum(-1) == 1).all():
        raise ArgumentError(
            f"cross_entropy: a target of dtype {t.dtype} and shape {t.shape}, that of the logits, "
            "is one-hot, a single 1 in each row; for multi-label targets use "
            "binary_cross_entropy_with_logits"
        )
