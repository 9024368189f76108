"""Random orders and choices among given things."""

from __future__ import annotations

import math

from ..backend import namespace
from ..core import Tensor
from ..creation import arange, asarray
from ..errors import ArgumentError, ShapeError
from ..functions import log, moveaxis
from ..functions.inputs import several
from ..randomness import Generator
from ..settings import Whole, gate, take
from ..typing import ArrayLike, Shape
from .bits import Source, source
from .continuous import gumbels
from .counts import randint


def _order(at: Source) -> Tensor:
    """A random order of so many things: that of 64-bit words, of which no two are equal."""
    keys = at.long_words()
    return Tensor(namespace(keys).argsort(keys))


@gate
def permutation(
    x: ArrayLike,
    axis: int = 0,
    *,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """The slices of x along an axis in a random order, each as likely; of a whole number n the
    numbers 0 to n - 1, int64. Gradients flow to x.

    Args:
        x: a tensor with the axis, or a whole number.
        axis: along which slices are reordered.
        backend, generator: see `randint`.
    Raises: ShapeError if x is a number that is not whole, IndexingError without such an axis.

    >>> sorted(tg.random.permutation(4).tolist())
    [0, 1, 2, 3]
    >>> sorted(tg.random.permutation([[1, 2], [3, 4]]).tolist())
    [[1, 2], [3, 4]]
    """
    made = (
        arange(take("permutation", "x", Whole(), x), backend=backend)
        if _is_number(x)
        else asarray(x)
    )
    rows = moveaxis(made, axis, 0)
    at, _ = source("permutation", {}, rows.shape[0], None, made.backend, generator)
    return moveaxis(rows[_order(at)], 0, axis)


def _is_number(x: ArrayLike) -> bool:
    return not isinstance(x, (list, tuple)) and getattr(x, "ndim", 0) == 0


@gate
def shuffle(x: ArrayLike, axis: int = 0, *, generator: Generator | None = None) -> Tensor:
    """A new tensor with the slices of x along an axis in a random order: `permutation` of a tensor.
    (NumPy's writes into x, which the tape would not see.)

    Raises: ShapeError if x has no axis.

    >>> sorted(tg.random.shuffle([3.0, 1.0, 2.0]).tolist())
    [1.0, 2.0, 3.0]
    """
    if _is_number(x):
        raise ShapeError("shuffle: x is a number, which has no axis")
    return permutation(x, axis, generator=generator)


@gate
def choice(
    a: ArrayLike,
    size: Shape | None = None,
    replace: bool = True,
    p: ArrayLike | None = None,
    axis: int = 0,
    *,
    backend: str | None = None,
    generator: Generator | None = None,
) -> Tensor:
    """Slices of a along an axis, drawn at random; of a whole number n those of 0 to n - 1.

    Args:
        a: a tensor with the axis, or a whole number.
        size: how many, or a shape, which the result has in the place of the axis; one where left
            out.
        replace: whether one may be drawn again.
        p: the chance of each, (n,), scaled to sum to 1; the same for all where left out.
        axis: along which slices are drawn.
        backend, generator: see `randint`.
    Raises: ArgumentError if more are asked for than there are, without replacement; ShapeError if p
        does not have one chance for each.

    >>> tg.random.choice([5.0, 7.0], size=3, p=[1.0, 0.0]).tolist()
    [5.0, 5.0, 5.0]
    """
    made = arange(take("choice", "a", Whole(), a), backend=backend) if _is_number(a) else asarray(a)
    rows = moveaxis(made, axis, 0)
    shape, n = () if size is None else several(size), rows.shape[0]
    count, home = math.prod(shape), made.backend
    if not n and count:
        raise ArgumentError("choice: there is nothing to choose from")
    if not replace and count > n:
        raise ArgumentError(f"choice: {count} of {n} without replacement: give replace=True")
    if p is None and replace:
        at = randint(n, size=shape, backend=home, generator=generator) if n else None
    else:
        at = _chosen(n, shape, replace, p, home, generator)
    taken = rows[at] if at is not None else rows
    return taken if size is None else moveaxis(taken, 0, axis) if len(shape) == 1 else taken


def _chosen(
    n: int,
    shape: tuple[int, ...],
    replace: bool,
    p: ArrayLike | None,
    home: str,
    generator: Generator | None,
) -> Tensor:
    """Indices of n things: with chances, or without replacement."""
    count = math.prod(shape)
    everything = source("choice", {}, n, "float64", home, generator)[0]
    if p is None:
        return _order(everything)[:count].reshape(shape)
    chances = asarray(p, None, home).detach().astype("float64")
    if chances.shape != (n,):
        raise ShapeError(f"choice: p of shape {chances.shape} must have {n} chances, one for each")
    if not replace:  # Gumbel numbers order as draws without replacement do (Yellott 1977)
        keys = log(chances) + gumbels(everything)
        return Tensor(namespace(keys.data).argsort(-keys.data)[:count]).reshape(shape)
    xp, at = namespace(chances.data), everything._replace(shape=shape)
    below = xp.cumsum(chances.data)
    drawn = at._replace(shape=(count,)).uniform().data * below[-1]
    return at.made(xp.minimum(xp.searchsorted(below, drawn, side="right"), n - 1))
