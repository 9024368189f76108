"""Weighted means, covariances, counts and histograms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..backend import DEFAULT_DTYPE, is_floating, make, namespace
from ..core import Tensor
from ..creation import beside, owned
from ..errors import ArgumentError, DTypeError, IndexingError, ShapeError
from ..ops import elementwise as el
from ..ops.gather import counts
from ..ops.reduce import narrow, widened
from ..ops.shape import conj
from ..settings import Either, Nothing, Of, gate
from ..typing import ArrayLike, Axes, Count, DType, Natural
from .elementwise import clip
from .inputs import as_tensor, axis_of, several
from .products import matmul
from .reduce import max, mean, min, sum
from .segments import segment_sum
from .shape import broadcast_to, concatenate, moveaxis, reshape, transpose

__all__ = [
    "average",
    "bincount",
    "corrcoef",
    "count_nonzero",
    "cov",
    "histogram",
    "histogramdd",
    "ptp",
]


@gate
def ptp(x: ArrayLike, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """The range over `axis`: max - min.

    >>> ptp([[1.0, 5.0], [7.0, 3.0]], axis=1).tolist()
    [4.0, 4.0]
    """
    x = as_tensor(x)
    return max(x, axis, keepdims=keepdims) - min(x, axis, keepdims=keepdims)


@gate
def count_nonzero(x: ArrayLike, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """How many elements over `axis` are not 0, int64.

    >>> count_nonzero([[0, 5], [7, 3]], axis=1).tolist()
    [1, 2]
    """
    return sum(as_tensor(x) != 0, axis, keepdims=keepdims)


@gate
def average(
    x: ArrayLike,
    axis: Axes = None,
    weights: ArrayLike | None = None,
    returned: bool = False,
    *,
    keepdims: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """The weighted mean over `axis`: sum(x * weights) / sum(weights).

    Args:
        weights: of the shape of x, or of its axes that are reduced, in the order of `axis`; equal
            ones where left out. A gradient reaches them, too.
        returned: whether to return the sum of the weights, too.
    Raises: ShapeError for weights that do not fit.

    >>> average([1.0, 5.0], weights=[3.0, 1.0]).item()
    2.0
    """
    x = owned(x)
    x = x if is_floating(x.dtype) else x.astype(None)
    given = range(x.ndim) if axis is None else several(axis)
    axes = [axis_of("average", x, a) for a in given]
    if weights is None:
        y = mean(x, axis, keepdims=keepdims)
        n = math.prod([x.shape[a] for a in axes])
        return (y, y.detach() * 0 + n) if returned else y
    w = beside(weights, x)
    if w.shape != x.shape:
        if w.shape != tuple([x.shape[a] for a in axes]):
            raise ShapeError(f"average: weights of shape {w.shape} for x {x.shape}, axis {axis}")
        order = sorted(range(len(axes)), key=lambda i: axes[i])
        w = transpose(w, order) if len(order) > 1 else w
        w = reshape(w, [n if i in axes else 1 for i, n in enumerate(x.shape)])
        w = broadcast_to(w, x.shape)
    total = sum(w, axis, keepdims=keepdims)
    y = sum(x * w, axis, keepdims=keepdims) / total
    return (y, total.astype(y.dtype)) if returned else y


@gate
def cov(
    x: ArrayLike,
    y: ArrayLike | None = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: int | float | None = None,
    fweights: ArrayLike | None = None,
    aweights: ArrayLike | None = None,
    *,
    dtype: DType = None,
) -> Tensor:
    """The covariance matrix of variables from their observations: the mean of the products of two
    variables' deviations, divided by n - ddof.

    Args:
        x: a variable (n,), or one in each row, (variables, n).
        y: more variables, with observations of the same number.
        rowvar: False for a variable in each column.
        bias: whether to divide by n instead of n - 1.
        ddof: what is taken off n, instead of what `bias` says.
        fweights: how often each observation is counted, integers (n,).
        aweights: the weight of each observation, (n,).
        dtype: to which x is cast first.
    Returns: (variables, variables), a number for one variable.
    Raises: ShapeError where shapes do not fit.

    >>> cov([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """

    def rows(v: ArrayLike) -> Tensor:
        v = owned(v) if v is x else beside(v, owned(x))
        v = v if is_floating(v.dtype) and dtype is None else v.astype(dtype)
        if v.ndim > 2:
            raise ShapeError(f"cov: variables of shape {v.shape} have more than two axes")
        return reshape(v, (1, -1)) if v.ndim < 2 else v if rowvar else transpose(v)

    given = rows(x) if y is None else concatenate([rows(x), rows(y)])
    data, n = widened(given), given.shape[1]
    weights: Any = None
    repeats: Any = n
    for name, values in (("fweights", fweights), ("aweights", aweights)):
        if values is None:
            continue
        w = beside(values, data)
        if w.shape != (n,):
            raise ShapeError(f"cov: {name} of shape {w.shape} for {n} observations")
        w = w.astype(data.dtype)
        repeats = sum(w) if name == "fweights" else repeats
        weights = w if weights is None else weights * w
    ddof = (0 if bias else 1) if ddof is None else ddof
    if weights is None:
        centred = data - mean(data, 1, keepdims=True)
        product = matmul(centred, conj(centred.T))
        free: Any = n - ddof
    else:
        total = sum(weights)
        centred = data - sum(data * weights, 1, keepdims=True) / total
        product = matmul(centred * weights, conj(centred.T))
        free = repeats - ddof
        if aweights is not None:
            a = beside(aweights, data).astype(data.dtype)
            free = total - ddof * sum(weights * a) / total if ddof else total
    if isinstance(free, (int, float)):
        free = free if free > 0 else 0.0
    made = narrow(el.divide(product, free), given)
    return reshape(made, ()) if made.shape == (1, 1) else made


@gate
def corrcoef(
    x: ArrayLike, y: ArrayLike | None = None, rowvar: bool = True, *, dtype: DType = None
) -> Tensor:
    """The correlation coefficients of variables from their observations: the covariances, divided
    by both standard deviations.

    Args: as those of `cov`.
    Returns: (variables, variables), from -1 to 1.

    >>> corrcoef([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]).numpy().round(3).tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    c = cov(x, y, rowvar, dtype=dtype)
    if not c.ndim:
        return c / c
    deviation = el.sqrt(c[[*range(len(c))], [*range(len(c))]])
    return clip(c / deviation[:, None] / deviation[None, :], -1.0, 1.0)


# --- counts ---------------------------------------------------------------------------------------


@gate
def bincount(x: ArrayLike, weights: ArrayLike | None = None, minlength: Natural = 0) -> Tensor:
    """How often each whole number from 0 on is in x (n,), or the sum of the weights there.

    Args:
        weights: (n,); a gradient reaches them.
        minlength: the least length of the result, which is the largest of x + 1: a GPU is waited
            for.
    Returns: int64, or the floating dtype of the weights.
    Raises: DTypeError unless x holds integers, IndexingError for negative ones.

    >>> bincount([0, 2, 2]).tolist(), bincount([0, 2, 2], weights=[1.0, 2.0, 3.0]).tolist()
    ([1, 0, 2], [1.0, 0.0, 5.0])
    """
    x, n = as_tensor(x), minlength
    if x.dtype.kind not in "biu" and x.size:
        raise DTypeError(f"bincount: x holds {x.dtype}, not integers")
    if x.ndim != 1 or n < 0:
        raise ShapeError(f"bincount: x of shape {x.shape}, minlength {n}: (n,), from 0 on")
    ids = Tensor(x._data.astype("int64"))
    if ids.size:
        low, high = int(ids._data.min()), int(ids._data.max())
        if low < 0:
            raise IndexingError(f"bincount: x has {low}; it counts from 0")
        n = high + 1 if high >= n else n
    if weights is None:
        return Tensor(counts(ids._data, n))
    w = beside(weights, x)
    return segment_sum(w if is_floating(w.dtype) else w.astype(None), ids, n)


def _edges(name: str, x: Tensor, bins: Any, limits: Any) -> Any:
    """The edges of bins on the host, in ascending order."""
    if isinstance(bins, Tensor):
        bins = bins.numpy()
    if not isinstance(bins, (str, int, np.integer)):
        edges = make(bins, None, "numpy", np.dtype("float64"))
        if edges.dtype.kind not in "iuf":
            raise DTypeError(f"{name}: edges are real numbers, not {edges.dtype}")
        if edges.ndim != 1 or not edges.size or (edges[1:] < edges[:-1]).any():
            raise ArgumentError(f"{name}: bins are a number, or edges that increase")
        return edges
    data = x.detach()
    if x.backend != "numpy" and not isinstance(bins, str) and x.size:  # two numbers will do
        data = concatenate([reshape(min(data), 1), reshape(max(data), 1)])
    try:
        return np.histogram_bin_edges(data.numpy(), bins, limits)
    except ValueError as error:
        raise ArgumentError(f"{name}: {error}") from None


def _bins(x: Tensor, edges: Any) -> tuple[Any, Any]:
    """In which bin each number is, and whether it is in one: the last has its right edge, too."""
    xp, data = namespace(x._data), widened(x._data)
    if type(data) is np.ndarray:
        places = edges
    else:
        places = xp.asarray(edges.astype(data.dtype) if is_floating(data.dtype) else edges)
    at = xp.searchsorted(places, data, side="right") - 1
    last = len(edges) - 2
    at = xp.where(data == places[-1], last, at)
    return at, (data >= places[0]) & (data <= places[-1])


def _histogram(
    at: Any, inside: Any, n: int, weights: ArrayLike | None, x: Tensor, name: str
) -> Tensor:
    ids = namespace(at).where(inside, at, n)
    if weights is None:
        return Tensor(counts(ids, n + 1)[:n])
    w = reshape(beside(weights, x), -1)
    if w.shape != ids.shape:
        raise ShapeError(f"{name}: {w.size} weights for {ids.size} numbers")
    return segment_sum(w, Tensor(ids), n + 1)[:n]


@gate
def histogram(
    x: ArrayLike,
    bins: int | str | ArrayLike = 10,
    range: tuple[float, float] | None = None,
    density: bool | None = None,
    weights: ArrayLike | None = None,
) -> tuple[Tensor, Tensor]:
    """How many numbers of the flattened x are in each bin, and the edges of the bins.

    Args:
        bins: how many between the smallest and the largest number (a GPU is waited for), edges that
            increase, or the name of a rule of NumPy's.
        range: (low, high) instead of the smallest and the largest number; others are left out.
        density: whether counts are divided so that the integral over the range is 1.
        weights: of the shape of x, what each number counts for; a gradient reaches them.
    Returns: (n,) and (n + 1,); counts are int64, or of the dtype of the weights. No gradient
        passes from either to x.

    >>> n, edges = histogram([1.0, 2.0, 1.0], bins=[0.0, 1.0, 2.0, 3.0])
    >>> n.tolist(), edges.tolist()
    ([0, 2, 1], [0.0, 1.0, 2.0, 3.0])
    """
    x = reshape(as_tensor(x).detach(), -1)
    edges = _edges("histogram", x, bins, range)
    y = _histogram(*_bins(x, edges), len(edges) - 1, weights, x, "histogram")
    dtype = x.dtype if is_floating(x.dtype) else DEFAULT_DTYPE
    floats = edges.astype(dtype) if edges.dtype.kind == "f" else edges
    widths = beside(np.diff(edges), x).astype(dtype)
    y = y.astype(dtype) / sum(y) / widths if density else y
    return y, beside(floats, x)


_LIST = Of((list, tuple), "a list with one for each axis")
Bins: TypeAlias = Annotated["Sequence[Any]", _LIST]
Ranges: TypeAlias = Annotated["Sequence[Any] | None", Either(_LIST, Nothing())]


@gate
def histogramdd(
    x: ArrayLike,
    bins: Count | Bins = 10,
    range: Ranges = None,
    density: bool | None = None,
    weights: ArrayLike | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """How many points (n, d) are in each bin of a grid, and the edges of the bins on each axis.

    Args:
        bins: as those of `histogram`, one for all axes or a sequence of one for each.
        range: a sequence of a (low, high), or None, for each axis.
        density, weights: as those of `histogram`.
    Returns: counts with d axes, and a tuple of edges.

    >>> n, edges = histogramdd([[0.5, 0.5], [1.5, 0.5]], bins=([0, 1, 2], [0, 1]))
    >>> n.tolist()
    [[1], [1]]
    """
    x = as_tensor(x).detach()
    if x.ndim != 2:
        raise ShapeError(f"histogramdd: points of shape {x.shape}: (n, d) is what it takes")
    d = x.shape[1]
    each: list[Any] = [bins] * d if isinstance(bins, int) else list(bins)
    limits = [None] * d if range is None else list(range)
    if len(each) != d or len(limits) != d:
        raise ArgumentError(f"histogramdd: {len(each)} bins, {len(limits)} ranges for {d} axes")
    lines = [x[:, i] for i in np.arange(d).tolist()]
    edges = [_edges("histogramdd", v, b, r) for v, b, r in zip(lines, each, limits, strict=True)]
    at: Any = 0
    inside: Any = True
    for v, e in zip(lines, edges, strict=True):
        place, here = _bins(v, e)
        at, inside = at * (len(e) - 1) + place, inside & here
    shape = [len(e) - 1 for e in edges]
    y = reshape(_histogram(at, inside, math.prod(shape), weights, x, "histogramdd"), shape)
    dtype = x.dtype if is_floating(x.dtype) else DEFAULT_DTYPE
    if density:
        y = y.astype(dtype) / sum(y)
        for i, e in enumerate(edges):
            width = beside(np.diff(e), x).astype(dtype)
            y = moveaxis(moveaxis(y, i, -1) / width, -1, i)
    floats = [e.astype(dtype) if e.dtype.kind == "f" else e for e in edges]
    return y, tuple([beside(e, x) for e in floats])
