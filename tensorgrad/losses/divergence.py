"""Divergences of distributions: of classes, and of the normal ones of a variational autoencoder."""

from __future__ import annotations

from ..core import Tensor
from ..errors import ShapeError
from ..functions.analytic import xlogy
from ..ops import elementwise, reduce
from ..settings import gate
from ..typing import ArrayLike, Axes
from .common import (
    Reduction,
    Weights,
    alike,
    floating,
    log_probabilities,
    one_shape,
    pair,
    reduced,
    within,
)

__all__ = ["kl_divergence", "kl_normal"]


@gate
def kl_divergence(
    prediction: ArrayLike,
    target: ArrayLike,
    log_target: bool = False,
    *,
    axis: Axes = -1,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The Kullback-Leibler divergence of the target from the prediction, the mean over all rows of
    sum(t (log t - x)) for log-probabilities x. Both (..., classes) -> (), or (...).

    Args:
        prediction: log-probabilities, as of `log_softmax`.
        target: probabilities, or with `log_target` their logarithms, which is exact for small ones.
        axis: that of the classes, or several; None for a divergence of each number by itself.
    Raises: ShapeError where the shapes differ; ArgumentError for a prediction that is the output
        of a softmax, or on the host above 0, and for targets on the host that are no probabilities.

    >>> round(kl_divergence([[-0.6931, -0.6931]], [[1.0, 0.0]]).item(), 4)
    0.6931
    """
    x, t = pair("kl_divergence", prediction, target)
    log_probabilities("kl_divergence", x)
    if log_target:
        values = elementwise.exp(t) * (t - x)
    else:
        within("kl_divergence", "target", t, "logarithms are given with log_target=True")
        values = xlogy(t, t) - t * x
    values = values if axis is None or not x.ndim else reduce.sum_(values, axis=axis)
    return reduced("kl_divergence", values, reduction, sample_weight)


@gate
def kl_normal(
    mean: ArrayLike,
    log_var: ArrayLike,
    prior_mean: Weights = None,
    prior_log_var: Weights = None,
    *,
    axis: Axes = -1,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The Kullback-Leibler divergence of independent normal distributions from a prior, by default
    of mean 0 and variance 1: the term of a variational autoencoder's bound (Kingma & Welling 2014),
    the sum over the latent numbers of (log_var_p - log_var + (exp(log_var) + (mean - mean_p)^2) /
    exp(log_var_p) - 1) / 2. All (..., d) -> (), or (...).

    Args:
        axis: that of the latent numbers, or several; None for a divergence of each by itself.
        reduction: "mean" is over the examples. Beside it belongs a reconstruction loss that is
            summed over each example's numbers, too.
    Raises: ShapeError where the shapes differ.

    >>> kl_normal([[1.0, 0.0]], [[0.0, 0.0]]).item()
    0.5
    """
    m = floating(mean, log_var)
    s = alike(log_var, m)
    one_shape("kl_normal", mean=m, log_var=s)
    try:
        far = m if prior_mean is None else m - alike(prior_mean, m)
        ratio = s if prior_log_var is None else s - alike(prior_log_var, m)
    except ShapeError as error:
        raise ShapeError(f"kl_normal: a prior that does not fit {m.shape}: {error}") from error
    squares = elementwise.square(far)
    if prior_log_var is not None:
        squares = squares * elementwise.exp(-alike(prior_log_var, m))
    values = 0.5 * (elementwise.expm1(ratio) - ratio + squares)
    if values.shape != m.shape:
        raise ShapeError(f"kl_normal: a prior that broadcasts {m.shape} to {values.shape}")
    values = values if axis is None or not m.ndim else reduce.sum_(values, axis=axis)
    return reduced("kl_normal", values, reduction, sample_weight)
