"""Sorting. NaN counts as larger than all numbers: it comes last in ascending order, first in
descending. Equal elements keep their order, on every backend."""

from typing import Any

import numpy as np

from ..backend import namespace
from ..core import op
from .gather import added, places, raw
from .reduce import narrow, widened
from .samples import Sample, draw, integers, shaped

_flat: dict[str, Any] = {"differentiable": False}
_ties = np.array([[2.0, 1.0, 2.0, 0.0], [1.0, 1.0, np.nan, 3.0]])


def _orders():
    plain = shaped(((5,), {}), ((3, 4), {"axis": 0}), ((2, 0), {}))()
    return [*plain, Sample((draw((3, 40)),), {"descending": True})]


@op(samples=lambda: [*_orders(), Sample((_ties,), {"descending": True})], **_flat)
def argsort(x, *, axis=-1, descending=False):
    """The indices that sort x along an axis."""
    xp, x = namespace(x), widened(x)
    if not descending:
        return xp.argsort(x, axis=axis, kind="stable")
    order = xp.argsort(xp.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - xp.flip(order, axis)


def _sort_grad(g, x, axis, descending):
    order = argsort(raw(x), axis=axis, descending=descending)
    return added(g, places(order, x.shape, axis), x.shape)


@op(x=_sort_grad, samples=_orders)
def sort(x, *, axis=-1, descending=False):
    """The elements in order along an axis."""
    xp = namespace(x)
    y = narrow(xp.sort(widened(x), axis=axis), x)
    return xp.flip(y, axis) if descending else y


@op(
    samples=lambda: [
        Sample((draw((7,)),), {"kth": 3}),
        Sample((draw((3, 8)),), {"kth": (1, -2), "axis": 0}),
    ],
    **_flat,
)
def argpartition(x, *, kth, axis=-1):
    """Indices that bring the element which sorting would have at kth there, none larger before it
    and none smaller after it."""
    xp, x = namespace(x), widened(x)
    return xp.argpartition(x, kth, axis=axis) if xp is np else argsort(x, axis=axis)


@op(
    samples=lambda: [
        Sample((draw((9,)),), {"k": 3}),
        Sample((draw((3, 40)),), {"k": 5, "largest": False}),
        Sample((draw((4, 3, 2)),), {"k": 4, "axis": 0}),
        Sample((_ties,), {"k": 3}),
        Sample((_ties,), {"k": 2, "largest": False}),
    ],
    **_flat,
)
def top_indices(x, *, k, axis=-1, largest=True):
    """The indices of the k largest or smallest elements along an axis, in that order, of equal ones
    the first."""
    xp, n = namespace(x), x.shape[axis]
    x = xp.moveaxis(widened(x), axis, -1)
    if xp is not np or not 0 < 4 * k <= n:
        order = argsort(x, axis=-1, descending=largest)[..., :k]
        return xp.moveaxis(order, -1, axis)
    # All beyond the k-th, and of those that equal it as many as are left
    at = n - k if largest else k - 1
    limit = np.partition(x, at, axis=-1)[..., at : at + 1]
    found = x >= limit if largest else x <= limit
    if (np.count_nonzero(found, axis=-1) == k).all():  # no NaN to choose, and no ties at the limit
        return _ordered(x, found, k, axis, largest)
    equal = (x == limit) | ((x != x) & (limit != limit))
    if largest:
        beyond = (x > limit) | ((x != x) & (limit == limit))
    else:
        beyond = (x < limit) | ((x == x) & (limit != limit))
    left = k - np.count_nonzero(beyond, axis=-1)[..., None]
    return _ordered(x, beyond | (equal & (equal.cumsum(axis=-1) <= left)), k, axis, largest)


def _ordered(x, found, k, axis, largest):
    """The indices of what was found, k in each row, the most extreme first."""
    found = np.flatnonzero(found).reshape(*x.shape[:-1], k) % x.shape[-1]
    order = argsort(np.take_along_axis(x, found, -1), axis=-1, descending=largest)
    return np.moveaxis(np.take_along_axis(found, order, -1), -1, axis)


@op(
    samples=lambda: [
        Sample((np.array([0.0, 1.0, 1.0, 2.0]), np.array([[1.0, -1.0], [0.5, np.nan]]))),
        Sample((np.array([0.0, 1.0, 1.0, 2.0]), np.array([1.0, 3.0])), {"side": "right"}),
        Sample((np.array([1, 3]), integers((), 4))),
    ],
    **_flat,
)
def searchsorted(sequence, values, *, side="left"):
    """Where values would be inserted in a sorted sequence."""
    return namespace(sequence).searchsorted(widened(sequence), widened(values), side=side)
