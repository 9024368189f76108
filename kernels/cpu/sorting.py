"""The few largest or smallest elements of long rows, in one pass over them."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import flat_rows
from .jit import jit

SMALL = 1 << 13
_MOST = 16  # of more, partial sorting is faster where each element is larger than the last


@jit
def _top(x, indices, largest):
    """The best so far of each row are kept in order: an element moves past all that it exceeds, so
    that of equal ones the first stays first. NaN exceeds all others."""
    k = indices.shape[1]
    best = np.empty(k, x.dtype)
    for row in range(x.shape[0]):
        count = 0
        for i in range(x.shape[1]):
            v = x[row, i]
            if count == k:
                w = best[k - 1]
                past = v > w or (v != v and w == w) if largest else v < w or (w != w and v == v)
                if not past:
                    continue
            else:
                count += 1
            at = count - 1
            while at > 0:
                w = best[at - 1]
                past = v > w or (v != v and w == w) if largest else v < w or (w != w and v == v)
                if not past:
                    break
                best[at], indices[row, at] = w, indices[row, at - 1]
                at -= 1
            best[at], indices[row, at] = v, i


def _few(x, *, k, axis=-1, largest=True):
    return x.ndim > 0 and axis in (-1, x.ndim - 1) and 0 < k <= min(_MOST, x.shape[-1])


@accepts(min_size=SMALL, when=_few)
def top_indices(x, *, k, axis=-1, largest=True):
    indices = np.empty((*x.shape[:-1], k), np.int64)
    _top(flat_rows(x), flat_rows(indices), largest)
    return indices
