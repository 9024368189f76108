"""Order statistics: of x sorted along an axis, an element or the mean of two neighbours.

The gradient goes to these elements, in the parts that they have in the result. NaN among the
elements gives NaN; the functions `nan...` leave them out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..backend import make, namespace
from ..core import Tensor
from ..errors import ArgumentError, DTypeError, GraphError, ShapeError
from ..ops import elementwise as el
from ..ops.gather import places, taken
from ..ops.reduce import kept_shape, narrow, widened
from ..ops.scan import running_extreme, shifted
from ..ops.sorting import argsort, sort
from ..settings import Word, gate
from ..typing import ArrayLike, Axes, ValuesIndices
from .inputs import as_tensor, axis_of, several
from .reduce import argmax
from .shape import moveaxis, reshape, squeeze
from .sorting import partition

__all__ = [
    "median",
    "mode",
    "nanmedian",
    "nanpercentile",
    "nanquantile",
    "percentile",
    "quantile",
]

_FEW = 32  # elements at their place, for which a host sorts only in part
Weigh = Callable[[Any, Any, Any], Any]
_between: Weigh = lambda xp, g, low: g  # noqa: E731
_first: Weigh = lambda xp, g, low: g * 0  # noqa: E731
_beyond: Weigh = lambda xp, g, low: (g > 0) * 1.0  # noqa: E731
# Hyndman & Fan (1996): where the quantile q of n elements is, counted from 0, and the part that
# the element after that place has in the result.
METHODS: dict[str, tuple[Callable[[Any, Any], Any], Weigh]] = {
    "linear": (lambda n, q: (n - 1) * q, _between),
    "lower": (lambda n, q: (n - 1) * q, _first),
    "higher": (lambda n, q: (n - 1) * q, _beyond),
    "midpoint": (lambda n, q: (n - 1) * q, lambda xp, g, low: (g > 0) * 0.5),
    "nearest": (
        lambda n, q: (n - 1) * q,
        lambda xp, g, low: ((g > 0.5) | ((g == 0.5) & (low % 2 == 1))) * 1.0,
    ),
    "inverted_cdf": (lambda n, q: n * q - 1, _beyond),
    "averaged_inverted_cdf": (
        lambda n, q: n * q - 1,
        lambda xp, g, low: xp.where(g > 0, 1.0, 0.5),
    ),
    "closest_observation": (
        lambda n, q: n * q - 1.5,
        lambda xp, g, low: ((g > 0) | (low % 2 == 0)) * 1.0,
    ),
    "interpolated_inverted_cdf": (lambda n, q: n * q - 1, _between),
    "hazen": (lambda n, q: n * q - 0.5, _between),
    "weibull": (lambda n, q: (n + 1) * q - 1, _between),
    "median_unbiased": (lambda n, q: n * q + (1 / 3 + q / 3) - 1, _between),
    "normal_unbiased": (lambda n, q: n * q + (3 / 8 + q / 4) - 1, _between),
}
Method: TypeAlias = Annotated[str, Word(*METHODS)]


def _quantile(
    name: str, x: ArrayLike, q: Any, axis: Axes, method: Method, keepdims: bool, known: bool
) -> Tensor:
    """The quantiles q; `known`: of the elements that are not NaN."""
    x = as_tensor(x)
    x = x.astype(None) if x.dtype.kind in "biu" else x
    given = range(x.ndim) if axis is None else several(axis)
    axes = [axis_of(name, x, a) for a in given]
    others = [n for i, n in enumerate(x.shape) if i not in axes]
    kept = kept_shape(x.shape, tuple(axes)) if keepdims else tuple(others)
    n = math.prod([x.shape[a] for a in axes])
    if not n:
        raise ShapeError(f"{name}: no element along axis {axis} of shape {x.shape}")
    line = reshape(moveaxis(x, axes, range(len(axes))), (n, math.prod(others)))
    line = widened(line)
    line = sort(line, axis=0) if known else line
    place, weigh = METHODS[method]
    xp, parts = (namespace(x._data), q.reshape(-1, 1)) if known else (np, q.reshape(-1))
    if known:
        many, parts = (line._data == line._data).sum(axis=0), xp.asarray(parts)
    else:
        many = n
    at = place(many, parts)
    low = xp.floor(at)
    weight = weigh(xp, at - low, low)
    first, second = [xp.clip(i.astype("int64"), 0, xp.maximum(many - 1, 0)) for i in (low, low + 1)]
    if known:
        a, b = [taken(line, places(i, line.shape, 0)) for i in (first, second)]
    else:
        wanted = np.unique([*first, *second, n - 1]).tolist()
        few = len(wanted) < _FEW and type(x._data) is np.ndarray
        line = partition(line, wanted, 0) if few else sort(line, axis=0)
        a, b, weight = line[first], line[second], weight[:, None]
    weight = Tensor(namespace(x._data).asarray(weight)).astype(line.dtype)
    # Equal ones without their difference: of infinities it is NaN
    y = el.where(el.equal(a, b), a * 0.5 + b * 0.5, a + (b - a) * weight)
    if not known:
        last = line[n - 1 :]
        y = el.where(last != last, last, y)
    return narrow(reshape(y, (*q.shape, *kept)), x)


def _parts(name: str, q: Any, most: float) -> Any:
    """q as an array of the host, between 0 and 1."""
    if isinstance(q, Tensor) and q.node is not None:
        raise GraphError(f"{name}: no gradient reaches q: give q.detach()")
    given = make(q.numpy() if isinstance(q, Tensor) else q, None, "numpy", np.dtype("float64"))
    if given.dtype.kind not in "iuf":
        raise DTypeError(f"{name}: q is real numbers, not {given.dtype}")
    found = given / most
    if found.size and not (found.min() >= 0 and found.max() <= 1):
        raise ArgumentError(f"{name}: q={q!r} must be from 0 to {most:g}")
    return found


@gate
def quantile(
    x: ArrayLike,
    q: ArrayLike,
    axis: Axes = None,
    *,
    method: Method = "linear",
    keepdims: bool = False,
) -> Tensor:
    """The q-th quantiles over `axis`: the number that the part q of all is not above.

    Args:
        x: any shape.
        q: from 0 to 1, one or several: those of x on a GPU are waited for.
        axis: one axis or several; all where left out.
        method: what is taken between elements (Hyndman & Fan 1996): "linear", "lower", "higher",
            "nearest", "midpoint", "inverted_cdf", "averaged_inverted_cdf", "closest_observation",
            "interpolated_inverted_cdf", "hazen", "weibull", "median_unbiased", "normal_unbiased".
        keepdims: whether the reduced axes stay, of length 1.
    Returns: (*q.shape, *what is left of x), in the floating dtype of x.
    Raises: ArgumentError for a q that is no part, ShapeError for no elements.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5).item()
    2.5
    >>> quantile([1.0, 2.0, 3.0, 4.0], [0.0, 0.5], method="lower").tolist()
    [1.0, 2.0]
    """
    return _quantile("quantile", x, _parts("quantile", q, 1), axis, method, keepdims, False)


@gate
def percentile(
    x: ArrayLike,
    q: ArrayLike,
    axis: Axes = None,
    *,
    method: Method = "linear",
    keepdims: bool = False,
) -> Tensor:
    """The q-th percentiles over `axis`: `quantile` of q / 100.

    >>> percentile([1.0, 2.0, 3.0, 4.0], 50).item()
    2.5
    """
    return _quantile("percentile", x, _parts("percentile", q, 100), axis, method, keepdims, False)


@gate
def median(x: ArrayLike, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """The element in the middle over `axis`, the mean of the two there where their number is even,
    as in NumPy. (PyTorch's is the lower one: `quantile(x, 0.5, method="lower")`.)

    Args: as those of `quantile`.

    >>> median([3.0, 1.0, 2.0, 9.0]).item()
    2.5
    """
    return _quantile("median", x, np.asarray(0.5), axis, "linear", keepdims, False)


@gate
def nanquantile(
    x: ArrayLike,
    q: ArrayLike,
    axis: Axes = None,
    *,
    method: Method = "linear",
    keepdims: bool = False,
) -> Tensor:
    """The q-th quantiles over `axis` of the elements that are not NaN; NaN where there are none.

    Args: as those of `quantile`.

    >>> nanquantile([1.0, math.nan, 3.0], 0.5).item()
    2.0
    """
    return _quantile("nanquantile", x, _parts("nanquantile", q, 1), axis, method, keepdims, True)


@gate
def nanpercentile(
    x: ArrayLike,
    q: ArrayLike,
    axis: Axes = None,
    *,
    method: Method = "linear",
    keepdims: bool = False,
) -> Tensor:
    """The q-th percentiles over `axis` of the elements that are not NaN: `nanquantile` of q / 100.

    >>> nanpercentile([1.0, math.nan, 3.0], 50).item()
    2.0
    """
    parts = _parts("nanpercentile", q, 100)
    return _quantile("nanpercentile", x, parts, axis, method, keepdims, True)


@gate
def nanmedian(x: ArrayLike, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """The median over `axis` of the elements that are not NaN; NaN where there are none.

    >>> nanmedian([1.0, math.nan, 3.0]).item()
    2.0
    """
    return _quantile("nanmedian", x, np.asarray(0.5), axis, "linear", keepdims, True)


@gate
def mode(x: ArrayLike, axis: int = -1, *, keepdims: bool = False) -> ValuesIndices:
    """The most frequent element along an axis, of several the smallest, and the index of its last
    occurrence.

    Returns: `values`, and `indices` in int64, without the axis unless `keepdims`.
    Raises: IndexingError if x has no such axis, ShapeError for no elements.

    >>> mode([2.0, 1.0, 2.0]).values.item()
    2.0
    """
    x = as_tensor(x)
    axis = axis_of("mode", x, axis)
    if not x.shape[axis]:
        raise ShapeError(f"mode: no element along axis {axis} of shape {x.shape}")
    order = argsort(x.detach(), axis=axis)
    ordered = taken(x.detach(), places(order._data, x.shape, axis))
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    position = reshape(Tensor(namespace(x._data).arange(x.shape[axis])), shape)
    new = el.not_equal(ordered, shifted(ordered, axis, 1))
    start = running_extreme(el.where(new, position, 0), axis=axis, largest=True)[0]
    longest = argmax(position - start, axis=axis, keepdims=True)
    at = taken(order, places(longest._data, x.shape, axis))
    found = ValuesIndices(taken(x, places(at._data, x.shape, axis)), at)
    return found if keepdims else ValuesIndices(*[squeeze(part, axis) for part in found])
