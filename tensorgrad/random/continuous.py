"""Distributions of floating numbers."""

from __future__ import annotations

import math
from typing import Any

from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError
from ..functions import abs, clip, exp, log, log1p, sign, sum, where
from ..functions.inputs import several
from ..ops.incomplete import gamma_path
from ..randomness import Generator
from ..settings import gate
from ..typing import ArrayLike, DType, Limit, Shape
from .bits import Source, source

ATTEMPTS = 8  # at a gamma variate, of which one in 20 fails at the most: one number in 10^10


def _placed(drawn: Tensor, loc: Any, scale: Any, at: Source) -> Tensor:
    """loc + scale * drawn, of the call's dtype, through which gradients flow to loc and scale."""
    y = drawn if type(scale) is float and scale == 1.0 else scale * drawn
    y = y if type(loc) is float and loc == 0.0 else loc + y
    return y if y.dtype == at.dtype else y.astype(at.dtype)


@gate
def uniform(
    low: ArrayLike = 0.0,
    high: ArrayLike = 1.0,
    size: Shape | None = None,
    *,
    dtype: DType = None,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of [low, high), each as likely. Gradients flow to the bounds.

    Args:
        low, high: the bounds, numbers or tensors.
        size: the shape; that of the bounds where left out.
        dtype, backend: of the result; those of the bounds, or float32 and the default backend.
        generator: what to draw from; this thread's generator where left out.
    Raises: ShapeError if the bounds do not broadcast to `size`, DTypeError for whole dtypes.

    >>> x = tg.random.uniform(-1.0, 1.0, size=(2, 3))
    >>> x.shape, bool((abs(x) <= 1.0).all())
    ((2, 3), True)
    """
    at, (a, b) = source("uniform", {"low": low, "high": high}, size, dtype, backend, generator)
    return _placed(at.uniform(), a, b - a, at)


@gate
def normal(
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    size: Shape | None = None,
    *,
    dtype: DType = None,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Normal numbers of mean `loc` and standard deviation `scale` (Box & Muller 1958). Gradients
    flow to both.

    Args: those of `uniform`, but for loc and scale, numbers or tensors.

    >>> mean = tg.tensor([1.0, 2.0], requires_grad=True)
    >>> tg.random.normal(mean, 0.1).sum().backward(); mean.grad.tolist()
    [1.0, 1.0]
    """
    at, (m, s) = source("normal", {"loc": loc, "scale": scale}, size, dtype, backend, generator)
    return _placed(at.normal(), m, s, at)


@gate
def truncated_normal(
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    low: Limit = -2.0,
    high: Limit = 2.0,
    size: Shape | None = None,
    *,
    dtype: DType = None,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Normal numbers between loc + low * scale and loc + high * scale, by the inverse of their
    distribution function. Gradients flow to loc and scale.

    Args: those of `normal`, and
        low, high: plain numbers, the bounds in standard deviations.
    Raises: ArgumentError unless low < high.

    >>> bool((abs(tg.random.truncated_normal(size=1000)) <= 2.0).all())
    True
    """
    from ..functions.special import ndtri

    if not low < high:
        raise ArgumentError(f"truncated_normal: low={low} must be below high={high}")
    names = {"loc": loc, "scale": scale}
    at, (m, s) = source("truncated_normal", names, size, dtype, backend, generator)
    turned = low + high > 0  # by symmetry: small chances have more digits than those near 1
    a, b = (-high, -low) if turned else (low, high)
    below, above = [0.5 * math.erfc(-bound / math.sqrt(2)) for bound in (a, b)]
    drawn = ndtri(below + (above - below) * at.centred())
    return _placed(clip(-drawn if turned else drawn, low, high), m, s, at)


@gate
def exponential(
    scale: ArrayLike = 1.0,
    size: Shape | None = None,
    *,
    dtype: DType = None,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Waiting times of mean `scale`: exp(-x / scale) / scale. Gradients flow to the scale.

    Args: those of `uniform`, but for the scale, a number or a tensor.

    >>> bool((tg.random.exponential(2.0, size=100) >= 0.0).all())
    True
    """
    at, (s,) = source("exponential", {"scale": scale}, size, dtype, backend, generator)
    return _placed(-log(at.positive()), 0.0, s, at)


@gate
def laplace(
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    size: Shape | None = None,
    *,
    dtype: DType = None,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers with the density exp(-|x - loc| / scale) / (2 scale). Gradients flow to both.

    Args: those of `normal`.

    >>> tg.random.laplace(size=(2, 3)).shape
    (2, 3)
    """
    at, (m, s) = source("laplace", {"loc": loc, "scale": scale}, size, dtype, backend, generator)
    u = at.centred() - 0.5
    return _placed(-sign(u) * log1p(-2.0 * abs(u)), m, s, at)


@gate
def logistic(
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    size: Shape | None = None,
    *,
    dtype: DType = None,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers with the distribution function sigmoid((x - loc) / scale). Gradients flow to both.

    Args: those of `normal`.

    >>> tg.random.logistic(size=(2, 3)).shape
    (2, 3)
    """
    at, (m, s) = source("logistic", {"loc": loc, "scale": scale}, size, dtype, backend, generator)
    u = at.centred()
    return _placed(log(u) - log1p(-u), m, s, at)


def gumbels(at: Source) -> Tensor:
    """Standard Gumbel numbers, -log(-log(u)), whose upper tail has all bits of the words."""
    u = at.positive()
    return -log(-log1p(-where(u < 1.0 - 2.0**-24, u, 1.0 - 2.0**-24)))


@gate
def gumbel(
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    size: Shape | None = None,
    *,
    dtype: DType = None,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers with the distribution function exp(-exp(-(x - loc) / scale)): of the largest of many.
    Gradients flow to both.

    Args: those of `normal`.

    softmax((logits + tg.random.gumbel(size=logits.shape)) / t) is a differentiable sample of
    categories (Jang et al. 2017).

    >>> tg.random.gumbel(size=(2, 3)).shape
    (2, 3)
    """
    at, (m, s) = source("gumbel", {"loc": loc, "scale": scale}, size, dtype, backend, generator)
    return _placed(gumbels(at), m, s, at)


# --- of gamma variates --------------------------------------------------------------------------


def _log_gammas(at: Source, shape: Any) -> Tensor:
    """Logarithms of gamma variates (Marsaglia & Tsang 2000): of a fixed number of attempts the
    first that succeeds is taken."""
    given = asarray(shape, None, at.backend)
    a = given.detach()
    small = a < 1
    d = where(small, a + 1.0, a) - 1 / 3
    c = 1 / (9.0 * d) ** 0.5
    found: Any = None
    at = at.reserve(5 * ATTEMPTS + 2)
    # a variate of a < 1 is one of a + 1 times u^(1 / a)
    power = where(small, log(at.positive()) / a, 0.0)
    for _ in range(ATTEMPTS):
        x, u = at.normal(), at.positive()
        v = (1.0 + c * x) ** 3
        safe = where(v > 0.0, v, 1.0)
        good = (v > 0.0) & (log(u) < 0.5 * x * x + d * (1.0 - safe + log(safe)))
        candidate = where(good, safe, 0.0)
        found = candidate if found is None else where(found > 0.0, found, candidate)
        if at.settled(found > 0.0):
            break
    logs = log(d * where(found > 0.0, found, 1.0)) + power
    return gamma_path(given, logs) if given.node is not None else logs


@gate
def gamma(
    shape: ArrayLike,
    scale: ArrayLike = 1.0,
    size: Shape | None = None,
    *,
    dtype: DType = None,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers with the density x^(shape - 1) exp(-x / scale), up to a factor (Marsaglia & Tsang
    2000). Gradients flow to both, to the shape as a quantile's (implicit reparameterisation,
    Figurnov et al. 2018).

    Args: those of `uniform`, and
        shape, scale: above 0, numbers or tensors.

    >>> bool((tg.random.gamma(0.5, size=100) >= 0.0).all())
    True
    """
    names = {"shape": shape, "scale": scale}
    at, (a, s) = source("gamma", names, size, dtype, backend, generator)
    return _placed(exp(_log_gammas(at, a)), 0.0, s, at)


@gate
def beta(
    a: ArrayLike,
    b: ArrayLike,
    size: Shape | None = None,
    *,
    dtype: DType = None,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of [0, 1] with the density x^(a - 1) (1 - x)^(b - 1), up to a factor: x / (x + y) of
    two gamma variates. Gradients flow to both, as in `gamma`.

    Args: those of `uniform`, and
        a, b: above 0, numbers or tensors.

    >>> x = tg.random.beta(0.5, 0.5, size=100)
    >>> bool(((x >= 0.0) & (x <= 1.0)).all())
    True
    """
    at, (u, v) = source("beta", {"a": a, "b": b}, size, dtype, backend, generator)
    x, y = _log_gammas(at, u), _log_gammas(at, v)
    return (1.0 / (1.0 + exp(y - x))).astype(at.dtype)


@gate
def dirichlet(
    alpha: ArrayLike,
    size: Shape | None = None,
    *,
    dtype: DType = None,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Points of the simplex, whose numbers along the last axis sum to 1: gamma variates, scaled.
    Gradients flow to alpha, as in `gamma`.

    Args: those of `uniform`, and
        alpha: (..., k), above 0.
        size: the shape of the result without its last axis, of k numbers.

    >>> tg.random.dirichlet([1.0, 1.0, 1.0], size=5).sum(axis=-1).numpy().round(4).tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    from ..creation import asarray

    made = asarray(alpha)
    whole = None if size is None else (*several(size), *made.shape[-1:])
    at, (a,) = source("dirichlet", {"alpha": made}, whole, dtype, backend, generator)
    logs = _log_gammas(at, a)
    parts = exp(logs - logs.max(axis=-1, keepdims=True))
    return (parts / sum(parts, axis=-1, keepdims=True)).astype(at.dtype)
