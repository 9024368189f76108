"""Arrays as matrices: what row kernels see of an array of any shape. For every array library."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numpy.lib.array_utils import normalize_axis_tuple

Array = Any


def flat_rows(x: Array) -> Array:
    """x as a matrix of its last axis' rows; a view of a contiguous x."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def rows(xp: Any, axis: Any, *arrays: Array) -> tuple[list[Array], Callable[[Array], Array]]:
    """Contiguous arrays of one shape as matrices whose rows run along `axis`, and the function
    that brings a matrix back to their shape. Copies unless the axis is the last."""
    shape, ndim = arrays[0].shape, len(arrays[0].shape)
    axes = tuple(range(ndim)) if axis is None else normalize_axis_tuple(axis, ndim)
    order = [a for a in range(ndim) if a not in axes] + list(axes)
    across = math.prod([shape[a] for a in axes])
    down = math.prod(shape) // across if across else 0
    if order == list(range(ndim)):
        return [a.reshape(down, across) for a in arrays], lambda y: y.reshape(shape)
    moved = [xp.ascontiguousarray(a.transpose(order)) for a in arrays]
    inverse = [order.index(i) for i in range(ndim)]

    def back(y: Array) -> Array:
        return y.reshape(moved[0].shape).transpose(inverse)

    return [a.reshape(down, across) for a in moved], back
