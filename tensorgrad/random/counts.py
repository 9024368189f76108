"""Distributions of whole numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..backend import dtype_of
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, DTypeError, ShapeError
from ..functions import argmax, concat, exp, floor, log, maximum, minimum, moveaxis, where
from ..functions.inputs import several
from ..randomness import Generator
from ..settings import Whole, gate
from ..typing import ArrayLike, DType, Natural, Shape
from .bits import Source, source, untracked
from .continuous import gumbels

Bound: TypeAlias = Annotated[int, Whole(-(2**63), 2**64)]  # of all whole dtypes
COUNTS = 60  # that inversion tries: of means up to 10 all but one in 10^25
ATTEMPTS = 16  # of rejection, of which three in ten fail at the most: one number in 10^8


@gate
def randint(
    low: Bound,
    high: Bound | None = None,
    size: Shape | None = None,
    *,
    dtype: DType = "int64",
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Whole numbers of [low, high), each as likely to 2^-64 times how many there are; of [0, low)
    where `high` is left out.

    Args:
        low, high: whole numbers.
        size: the shape; one number where left out.
        dtype, backend: of the result.
        generator: what to draw from; this thread's generator where left out.
    Raises: ArgumentError if the interval is empty, DTypeError if the dtype does not hold it.

    >>> x = tg.random.randint(3, 6, size=1000)
    >>> sorted(set(x.tolist())), x.dtype
    ([3, 4, 5], dtype('int64'))
    """
    first, stop = (0, low) if high is None else (low, high)
    if first >= stop:
        raise ArgumentError(f"randint: [{first}, {stop}) is empty")
    kind = dtype_of(dtype)
    if kind.kind not in "iu":
        raise DTypeError(f"randint: dtype {kind} holds no whole numbers")
    bits = 8 * kind.itemsize - (kind.kind == "i")
    least = -(2**bits) if kind.kind == "i" else 0
    if first < least or stop > 2**bits:
        raise DTypeError(f"randint: {kind} does not hold all of [{first}, {stop})")
    at, _ = source("randint", {}, size, None, backend, generator)
    words = at.long_words()
    offset = words if stop - first == 2**64 else words % np.uint64(stop - first)
    return at.made((offset + np.uint64(first % 2**64)).astype(kind))


@gate
def bernoulli(
    p: ArrayLike = 0.5,
    size: Shape | None = None,
    *,
    dtype: DType = "bool",
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """True with probability p, False else; or 1 and 0 of another dtype.

    Args: those of `randint`, but for p, a number or a tensor.
    Raises: GraphError where p requires a gradient.

    >>> tg.random.bernoulli([0.0, 1.0]).tolist(), tg.random.bernoulli(1.0, dtype="int64").item()
    ([False, True], 1)
    """
    at, (chance,) = source("bernoulli", {"p": p}, size, None, backend, generator)
    untracked("bernoulli", p=chance)
    at = at._replace(dtype=dtype_of("float64" if at.dtype.itemsize == 8 else "float32"))
    return (at.uniform() < chance).astype(dtype_of(dtype))


@gate
def categorical(
    logits: ArrayLike,
    axis: int = -1,
    size: Shape | None = None,
    *,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Indices, int64, drawn with the probabilities softmax(logits) along an axis: the largest of
    the logits plus Gumbel numbers (Gumbel 1954).

    Args:
        logits: any shape with the axis; -inf for what is never drawn. Of probabilities give log(p).
        axis: which one; the result has not got it.
        size: axes in front of the result: how many draws.
        backend, generator: see `randint`.
    Raises: IndexingError if there is no such axis.

    >>> tg.random.categorical([0.0, -math.inf, -math.inf], size=4).tolist()
    [0, 0, 0, 0]
    """
    rows = moveaxis(asarray(logits).detach(), axis, -1)
    front = () if size is None else several(size)
    shape = (*front, *rows.shape)
    at, (given,) = source("categorical", {"logits": rows}, shape, None, backend, generator)
    return argmax(given + gumbels(at), axis=-1)


def _doubles(at: Source) -> Source:
    """To draw doubles, for inversion and all attempts of rejection."""
    return at._replace(dtype=dtype_of("float64")).reserve(2 + 4 * ATTEMPTS)


def _inverted(at: Source, first: Any, ratio: Any) -> Tensor:
    """The count whose distribution function passes a uniform number, from the chance of 0 and
    ratio(k) of that of k + 1 to that of k."""
    u = at.uniform()
    chance, below, count = first, first, 0.0 * u
    for k in range(COUNTS):
        above = u > below
        if at.settled(~above):
            break
        count = count + above
        chance = chance * ratio(k)
        below = below + chance
    return count


def _rejected(
    at: Source, a: Any, b: Any, centre: Any, factor: Any, log_chance: Callable[[Tensor], Tensor]
) -> Tensor:
    """Counts by transformed rejection (Hoermann 1993), -1 where none was accepted: k is taken from
    a hat with the parameters a and b, where factor times a uniform number, over the hat, is below
    the chance of k."""
    found: Any = None
    for _ in range(ATTEMPTS):
        u, v = at.uniform() - 0.5, at.positive()
        us = maximum(0.5 - abs(u), 1e-300)
        k = floor((2.0 * a / us + b) * u + centre)
        good = (k >= 0.0) & (log(v * factor / (a / (us * us) + b)) <= log_chance(maximum(k, 0.0)))
        candidate = where(good, k, -1.0)
        found = candidate if found is None else where(found >= 0.0, found, candidate)
        if at.settled(found >= 0.0):
            break
    return where(found >= 0.0, found, floor(centre))


@gate
def poisson(
    lam: ArrayLike = 1.0,
    size: Shape | None = None,
    *,
    dtype: DType = "int64",
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Counts of events of which `lam` are expected: lam^k exp(-lam) / k!, by inversion for
    lam < 10, else by transformed rejection (Hoermann 1993).

    Args: those of `randint`, but for lam, >= 0, a number or a tensor.
    Raises: GraphError where lam requires a gradient.

    >>> tg.random.poisson(0.0, size=3).tolist()
    [0, 0, 0]
    """
    from ..functions.special import lgamma

    at, (given,) = source("poisson", {"lam": lam}, size, None, backend, generator)
    untracked("poisson", lam=given)
    at = _doubles(at)
    mean = asarray(given, None, at.backend).detach().astype("float64")
    low = minimum(mean, 10.0)
    few = _inverted(at, exp(-low), lambda k: low / (k + 1))
    if at.settled(mean < 10.0):
        return few.astype(dtype_of(dtype))
    high = maximum(mean, 10.0)
    b = 0.931 + 2.53 * high**0.5
    factor = 1.1239 + 1.1328 / (b - 3.4)
    many = _rejected(
        at,
        -0.059 + 0.02483 * b,
        b,
        high + 0.43,
        factor,
        lambda k: k * log(high) - high - lgamma(k + 1.0),
    )
    return where(mean < 10.0, few, many).astype(dtype_of(dtype))


@gate
def binomial(
    n: ArrayLike,
    p: ArrayLike,
    size: Shape | None = None,
    *,
    dtype: DType = "int64",
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Counts of successes of n trials of chance p: by inversion where less than 10 successes, or
    failures, are expected, else by transformed rejection (Hoermann 1993).

    Args: those of `randint`, and
        n: whole numbers >= 0.
        p: of [0, 1].
    Raises: GraphError where p requires a gradient.

    >>> tg.random.binomial(5, [0.0, 1.0]).tolist()
    [0, 5]
    """
    at, (trials, chance) = source("binomial", {"n": n, "p": p}, size, None, backend, generator)
    untracked("binomial", n=trials, p=chance)
    drawn = _binomial(_doubles(at), *[asarray(x, None, at.backend) for x in (trials, chance)])
    return drawn.astype(dtype_of(dtype))


def _binomial(at: Source, n: Tensor, p: Tensor) -> Tensor:
    from ..functions.special import lgamma

    n, p = n.detach().astype("float64"), p.detach().astype("float64")
    turned = p > 0.5
    q = where(turned, 1.0 - p, p)
    few = n * q < 10.0
    small = where(few, q, 0.0)
    odds = small / (1.0 - small)
    low = minimum(_inverted(at, (1.0 - small) ** n, lambda k: (n - k) / (k + 1) * odds), n)
    if at.settled(few):
        return where(turned, n - low, low)
    # transformed rejection from n = 40 of chance 1/2, where it is not needed
    many, r = where(few, 40.0, n), where(few, 0.5, q)
    spread = (many * r * (1.0 - r)) ** 0.5
    b = 1.15 + 2.53 * spread
    mode = floor((many + 1.0) * r)

    def log_ways(k: Tensor) -> Tensor:
        return lgamma(k + 1.0) + lgamma(many - k + 1.0)

    def log_chance(k: Tensor) -> Tensor:
        within = minimum(k, many)
        chance = log_ways(mode) - log_ways(within) + (within - mode) * log(r / (1.0 - r))
        return where(k > many, -math.inf, chance)

    a, factor = -0.0873 + 0.0248 * b + 0.01 * r, (2.83 + 5.1 / b) * spread
    drawn = _rejected(at, a, b, many * r + 0.5, factor, log_chance)
    drawn = where(few, low, drawn)
    return where(turned, n - drawn, drawn)


@gate
def multinomial(
    n: Natural,
    p: ArrayLike,
    size: Shape | None = None,
    *,
    dtype: DType = "int64",
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """How often each of k outcomes occurs in n trials: binomial counts, one outcome after another.

    Args: those of `randint`, and
        n: a whole number >= 0.
        p: (..., k), the chances, which are scaled to sum to 1.
        size: the shape of the result without its last axis, of k counts.

    >>> tg.random.multinomial(10, [0.5, 0.5, 0.0], size=3).sum(axis=-1).tolist()
    [10, 10, 10]
    """
    chances = asarray(p).detach().astype("float64")
    if not chances.ndim or not chances.shape[-1]:
        raise ShapeError(f"multinomial: p of shape {chances.shape} must have an axis of chances")
    chances = chances / chances.sum(axis=-1, keepdims=True)
    shape = chances.shape[:-1] if size is None else several(size)
    parts = [chances[..., i] for i in range(chances.shape[-1])]
    at, _ = source("multinomial", {"p": parts[0]}, shape, None, backend, generator)
    left = asarray(float(n), "float64", at.backend)
    rest, counts = asarray(1.0, "float64", at.backend), []
    for chance in parts[:-1]:
        share = where(rest > 0.0, chance / where(rest > 0.0, rest, 1.0), 0.0)
        counts.append(_binomial(_doubles(at), left, minimum(share, 1.0)))
        left, rest = left - counts[-1], rest - chance
    counts.append(left.broadcast_to(shape))
    return concat([c[..., None] for c in counts], axis=-1).astype(dtype_of(dtype))
