"""Losses of numbers: how far predictions are from targets, and what that says of their noise."""

from __future__ import annotations

import math

from ..core import Tensor
from ..errors import ArgumentError, ShapeError
from ..ops import elementwise, loss
from ..settings import gate
from ..typing import ArrayLike, NonNegative, Positive
from .common import Reduction, Weights, alike, pair, reduced

__all__ = [
    "gaussian_nll",
    "huber",
    "log_cosh",
    "mean_absolute_error",
    "mean_squared_error",
    "poisson_nll",
    "smooth_l1",
]


@gate
def mean_squared_error(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """Mean squared error, the mean of (prediction - target)^2. Both (...) of one shape -> (), or
    (...) with `reduction="none"`.

    Args:
        sample_weight: of the shape of the target or of its first axes: the mean is
            sum(w * loss) / sum(w), the sum that of w * loss. So in all losses.
    Raises: ShapeError where the shapes differ, even if they would broadcast.

    >>> mean_squared_error([1.0, 3.0], [1.0, 1.0]).item()
    2.0
    >>> mean_squared_error([1.0, 3.0], [1.0, 1.0], sample_weight=[3.0, 1.0]).item()
    1.0
    """
    p, t = pair("mean_squared_error", prediction, target)
    if reduction == "mean" and sample_weight is None:
        return loss.mean_squared_error(p, t)  # one op
    return reduced("mean_squared_error", elementwise.square(p - t), reduction, sample_weight)


@gate
def mean_absolute_error(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """Mean absolute error, the mean of |prediction - target|. Both (...) of one shape -> (), or
    (...) with `reduction="none"`. The gradient at 0 is 0.

    Raises: ShapeError where the shapes differ, even if they would broadcast.

    >>> mean_absolute_error([1.0, 3.0], [1.0, 1.0], reduction="sum").item()
    2.0
    """
    p, t = pair("mean_absolute_error", prediction, target)
    return reduced("mean_absolute_error", elementwise.abs_(p - t), reduction, sample_weight)


@gate
def huber(
    prediction: ArrayLike,
    target: ArrayLike,
    delta: Positive = 1.0,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """Huber loss (Huber 1964), the mean of 0.5 d^2 where |d| <= delta, else
    delta (|d| - delta / 2), for d = prediction - target. Both (...) of one shape -> (), or (...)
    with `reduction="none"`.

    Raises: ShapeError where the shapes differ; ArgumentError unless `delta` is above 0.

    >>> huber([0.5, 3.0], [0.0, 0.0], reduction="none").tolist()
    [0.125, 2.5]
    """
    p, t = pair("huber", prediction, target)
    return reduced("huber", loss.huber(p, t, delta=delta), reduction, sample_weight)


@gate
def smooth_l1(
    prediction: ArrayLike,
    target: ArrayLike,
    beta: NonNegative = 1.0,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """`huber` divided by its threshold (Girshick 2015): the mean of 0.5 d^2 / beta where
    |d| < beta, else |d| - beta / 2; with a beta of 0 the mean absolute error. Shapes as there.

    Raises: ShapeError where the shapes differ; ArgumentError unless `beta` is 0 or more.

    >>> smooth_l1([0.5, 3.0], [0.0, 0.0], beta=2.0, reduction="none").tolist()
    [0.0625, 2.0]
    """
    p, t = pair("smooth_l1", prediction, target)
    values = loss.huber(p, t, delta=beta) / beta if beta else elementwise.abs_(p - t)
    return reduced("smooth_l1", values, reduction, sample_weight)


@gate
def log_cosh(
    prediction: ArrayLike,
    target: ArrayLike,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The mean of log(cosh(prediction - target)), as d^2 / 2 near 0 and |d| - log 2 far from it,
    with a gradient, tanh(d), that is smooth everywhere. Both (...) of one shape -> (), or (...)
    with `reduction="none"`.

    Raises: ShapeError where the shapes differ.

    >>> round(log_cosh([1000.0], [0.0]).item(), 3)
    999.307
    """
    p, t = pair("log_cosh", prediction, target)
    return reduced("log_cosh", loss.log_cosh(p, t), reduction, sample_weight)


@gate
def poisson_nll(
    prediction: ArrayLike,
    target: ArrayLike,
    log_input: bool = True,
    full: bool = False,
    eps: Positive = 1e-8,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The negative log-likelihood of counts under a Poisson distribution: the mean of
    exp(x) - t x for the logarithm x of its rate. Both (...) of one shape -> (), or (...).

    Args:
        log_input: whether the prediction is log(rate); with False it is the rate, and the loss
            x - t log(x + eps).
        full: whether log(t!), which has no gradient for x, is added, by Stirling's formula,
            t log t - t + log(2 pi t) / 2, for t above 1.
    Raises: ShapeError where the shapes differ.

    >>> poisson_nll([0.0, 0.0], [1, 3]).item()
    1.0
    """
    x, t = pair("poisson_nll", prediction, target)
    values = elementwise.exp(x) - t * x if log_input else x - t * elementwise.log(x + eps)
    if full:
        n = elementwise.where(t > 1, t, 1.0)
        factorial = n * elementwise.log(n) - n + 0.5 * elementwise.log(2 * math.pi * n)
        values = values + elementwise.where(t > 1, factorial, 0.0)
    return reduced("poisson_nll", values, reduction, sample_weight)


@gate
def gaussian_nll(
    prediction: ArrayLike,
    target: ArrayLike,
    var: ArrayLike,
    full: bool = False,
    eps: Positive = 1e-6,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The negative log-likelihood under a normal distribution of predicted mean and variance (Nix
    & Weigend 1994): the mean of (log(var) + (prediction - target)^2 / var) / 2. -> (), or (...).

    Args:
        prediction, target: (...) of one shape.
        var: of that shape, without its last axis, or with one of length 1.
        full: whether the constant log(2 pi) / 2 is added.
        eps: the least variance that is computed with; the gradient passes it unchanged.
    Raises: ShapeError where the shapes do not fit; ArgumentError for a negative variance on the
        host: predict its logarithm, and give tg.exp of that.

    >>> gaussian_nll([1.0, 2.0], [1.0, 4.0], [1.0, 1.0]).item()
    1.0
    """
    x, t = pair("gaussian_nll", prediction, target)
    v = alike(var, x)
    if v.shape == x.shape[:-1] != x.shape:
        v = v.reshape(*v.shape, 1)
    if v.shape not in (x.shape, (*x.shape[:-1], 1)):
        raise ShapeError(f"gaussian_nll: var {v.shape} and prediction {x.shape}: one shape")
    if v.backend == "numpy" and v.size and v._data.min() < 0:
        raise ArgumentError(
            f"gaussian_nll: var holds {v._data.min():.3g}: give tg.exp(log_variance), or "
            "tg.softplus of what the model predicts"
        )
    v = v + (elementwise.maximum(v.detach(), eps) - v.detach())
    values = 0.5 * (elementwise.log(v) + elementwise.square(x - t) / v)
    values = values + 0.5 * math.log(2 * math.pi) if full else values
    return reduced("gaussian_nll", values, reduction, sample_weight)
