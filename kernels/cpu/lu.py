"""The LU factorisation, by the LAPACK in NumPy's wheel."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..accept import accepts
from . import blas

SMALL = 64 * 64  # below, programs need not import Numba for a millisecond


def _fits(a: Any) -> bool:
    """Matrices; not what has a NaN, of which LAPACK says not where it goes."""
    return a.ndim > 1 and a.size > 0 and blas.factors() and bool(np.isfinite(a).all())


@accepts(min_size=SMALL, when=_fits)
def lu_factor(a):
    (m, n), batch = a.shape[-2:], a.shape[:-2]
    columns = a.reshape(-1, m, n).swapaxes(1, 2).copy()
    pivots = np.empty((len(columns), min(m, n)), np.int64)
    blas.factor(columns, pivots)
    y = columns.swapaxes(1, 2).reshape(a.shape)
    return y, pivots.reshape(*batch, min(m, n)).astype(np.int32)
