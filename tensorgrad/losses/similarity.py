"""Losses of vectors that are to be near each other, or far apart."""

from __future__ import annotations

from ..core import Tensor
from ..errors import ShapeError
from ..functions.distance import _length, cosine_similarity, normalize
from ..ops import elementwise, loss, reduce
from ..ops.shape import swapaxes
from ..settings import gate
from ..typing import ArrayLike, NonNegative, Positive
from .common import Margin, Reduction, Weights, alike, floating, one_shape, reduced, signs

__all__ = [
    "contrastive",
    "cosine_embedding",
    "info_nce",
    "triplet_margin",
]


@gate
def cosine_embedding(
    x1: ArrayLike,
    x2: ArrayLike,
    target: ArrayLike,
    margin: Margin = 0.0,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The mean of 1 - cos(x1, x2) where the target is 1, and of max(0, cos(x1, x2) - margin) where
    it is -1. Vectors (..., d) and targets (...) -> (), or (...).

    Raises: ShapeError where the shapes do not fit; ArgumentError for other targets on the host.

    >>> cosine_embedding([[1.0, 0.0]] * 2, [[0.0, 2.0]] * 2, [1, -1], reduction="none").tolist()
    [1.0, 0.0]
    """
    name = "cosine_embedding"
    a, b = _vectors(name, x1, x2)
    t = signs(name, target, a)
    if t.shape != a.shape[:-1]:
        raise ShapeError(f"{name}: target {t.shape}, one for each pair of vectors {a.shape[:-1]}")
    cosine = cosine_similarity(a, b, axis=-1)
    values = elementwise.where(t == 1, 1 - cosine, elementwise.relu(cosine - margin))
    return reduced(name, values, reduction, sample_weight)


@gate
def triplet_margin(
    anchor: ArrayLike,
    positive: ArrayLike,
    negative: ArrayLike,
    margin: Margin = 1.0,
    p: Positive = 2.0,
    eps: NonNegative = 1e-6,
    swap: bool = False,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The mean of max(0, |anchor - positive| - |anchor - negative| + margin) (Schroff et al. 2015).
    Vectors (..., d) of one shape -> (), or (...).

    Args:
        p: of the p-norm that is the distance.
        eps: is added to the differences, so that distances of 0 have a gradient.
        swap: take the distance of positive and negative where it is the smaller one (Balntas et
            al. 2016).
    Raises: ShapeError where the shapes differ.

    >>> round(triplet_margin([[0.0, 0.0]], [[0.0, 1.0]], [[3.0, 4.0]], margin=5.0).item(), 4)
    1.0
    """
    a, b = _vectors("triplet_margin", anchor, positive)
    c = alike(negative, a)
    one_shape("triplet_margin", anchor=a, negative=c)
    near, far = _length(a - b + eps, p, -1), _length(a - c + eps, p, -1)
    if swap:
        far = elementwise.minimum(far, _length(b - c + eps, p, -1))
    values = elementwise.relu(near - far + margin)
    return reduced("triplet_margin", values, reduction, sample_weight)


@gate
def contrastive(
    x1: ArrayLike,
    x2: ArrayLike,
    target: ArrayLike,
    margin: Positive = 1.0,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """The contrastive loss of pairs (Hadsell et al. 2006) at the distance d of x1 and x2, the mean
    of d^2 / 2 where the target is 1, and of max(0, margin - d)^2 / 2 where it is -1. Vectors
    (..., d) and targets (...) -> (), or (...).

    Raises: ShapeError where the shapes do not fit; ArgumentError for other targets on the host.

    >>> contrastive([[0.0, 0.0]] * 2, [[0.0, 0.5]] * 2, [1, -1], reduction="none").tolist()
    [0.125, 0.125]
    """
    a, b = _vectors("contrastive", x1, x2)
    t = signs("contrastive", target, a)
    if t.shape != a.shape[:-1]:
        raise ShapeError(f"contrastive: target {t.shape}, one for each pair is {a.shape[:-1]}")
    squares = reduce.sum_(elementwise.square(a - b), axis=-1)
    apart = elementwise.square(elementwise.relu(margin - _length(a - b, 2, -1)))
    values = 0.5 * elementwise.where(t == 1, squares, apart)
    return reduced("contrastive", values, reduction, sample_weight)


@gate
def info_nce(
    x1: ArrayLike,
    x2: ArrayLike,
    temperature: Positive = 0.1,
    symmetric: bool = False,
    *,
    reduction: Reduction = "mean",
    sample_weight: Weights = None,
) -> Tensor:
    """InfoNCE (van den Oord et al. 2018): of all rows of x2, row i is to be the nearest to row i of
    x1. It is `cross_entropy` of their cosines divided by the temperature. (n, d) -> (), or (n,).

    Args:
        symmetric: the mean of both directions, as for pairs of images and texts (Radford et al.
            2021).
    Raises: ShapeError unless both are (n, d).

    >>> round(info_nce([[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [0.0, 3.0]], 1.0).item(), 4)
    0.3133
    """
    a, b = _vectors("info_nce", x1, x2)
    if a.ndim != 2:
        raise ShapeError(f"info_nce takes vectors (n, d), got {a.shape}")
    cosines = normalize(a) @ swapaxes(normalize(b), axis1=0, axis2=1) / temperature
    labels = alike(range(len(a)), a).astype("int64")
    values = loss.softmax_cross_entropy(cosines, labels)
    if symmetric:
        back = loss.softmax_cross_entropy(swapaxes(cosines, axis1=0, axis2=1), labels)
        values = 0.5 * (values + back)
    return reduced("info_nce", values, reduction, sample_weight)


def _vectors(name: str, x1: ArrayLike, x2: ArrayLike) -> tuple[Tensor, Tensor]:
    """Two arrays of vectors of one shape and dtype."""
    a = floating(x1, x2)
    b = alike(x2, a)
    if not a.ndim or a.shape != b.shape:
        raise ShapeError(f"{name}: vectors {a.shape} and {b.shape}: both (..., d) of one shape")
    return a, b
