"""Order statistics, reductions without NaN, counts and histograms."""

import numpy as np

from tensorgrad.functions.quantiles import METHODS
from tensorgrad.testing import draw, integers

from . import Row

X, N = draw((3, 5)), integers((12,), 5)
GAPS = np.where(draw((4, 5)) > 1, np.nan, draw((4, 5)))
EMPTY = np.array([[np.nan, np.nan], [1.0, np.nan]])
Q = [0.0, 0.1, 0.3, 0.5, 0.95, 1.0]
NANS = "nansum nanprod nanmean nanvar nanstd nanmax nanmin nancumsum nancumprod".split()


def _without_nan(name):
    """NumPy's function; without a gradient at NaN, where differences have none."""
    return Row(name, getattr(np, name), (GAPS,), {"axis": 0}, order=0)


def _mode(x):
    found = [np.unique(row, return_counts=True) for row in x]
    values = np.array([v[np.argmax(n)] for v, n in found])
    return values, np.array([row.tolist()[::-1].index(v) for row, v in zip(x, values, strict=True)])


def _last(x, axis):
    values, behind = _mode(x)
    return values, x.shape[axis] - 1 - behind


COMPLEX = draw((3, 5)) + 1j * draw((3, 5), seed=1)

ROWS = [
    Row("var", np.var, (COMPLEX,), {"axis": 1, "ddof": 1}),
    Row("std", np.std, (COMPLEX,), {"axis": 0, "where": draw((3, 5)) > -1}),
    *[Row("quantile", np.quantile, (X, Q), {"axis": 1, "method": m}) for m in METHODS],
    Row("quantile", np.quantile, (X, 0.4), {"axis": (0, 1), "keepdims": True}),
    Row("quantile", np.quantile, (integers((4, 4), 3) * 1.0, Q), {"axis": 0}, order=0),
    Row("quantile", np.quantile, (EMPTY, 0.5), {"axis": 0}, order=0),
    Row("quantile", lambda x, q: np.repeat(np.inf, 2), (np.array([1, np.inf, np.inf]), [0.5, 0.8]),
        order=0),
    Row("percentile", np.percentile, (draw((2, 3, 2)), [[20, 50]]), {"axis": (0, -1)}),
    Row("median", np.median, (draw((4, 3)),), {"axis": 0}),
    Row("nanquantile", np.nanquantile, (GAPS, Q), {"axis": 0}, order=0),
    *[Row("nanquantile", np.nanquantile, (GAPS, Q), {"axis": 1, "method": m}, order=0)
      for m in METHODS],
    Row("nanquantile", np.nanquantile, (X, 0.3), {"keepdims": True}),
    Row("nanpercentile", np.nanpercentile, (GAPS, 30), order=0),
    Row("nanmedian", np.nanmedian, (EMPTY,), {"axis": 0}, order=0),
    Row("mode", _last, (integers((3, 8), 4),), {"axis": 1}, order=0),
    *map(_without_nan, NANS),
    Row("nanmax", np.nanmax, (EMPTY,), {"axis": 0}, order=0),
    Row("nanmin", np.nanmin, (N,), order=0),
    Row("nanvar", np.nanvar, (X,), {"ddof": 1}),
    Row("nanmax", np.nanmax, (X,), {"axis": 1, "keepdims": True}),
    Row("nanargmax", np.nanargmax, (GAPS,), {"axis": 1}, order=0),
    Row("nanargmin", np.nanargmin, (GAPS,), order=0),
    Row("ptp", np.ptp, (X,), {"axis": 1, "keepdims": True}),
    Row("count_nonzero", np.count_nonzero, (N,), order=0),
    Row("average", np.average, (X,), {"axis": 0}),
    Row("average", lambda x, w: np.average(x, 1, w, True), (X, draw((5,), 1, 2)),
        call=lambda f, x, w: f(x, 1, w, True)),
    Row("average", lambda x, w: np.average(x, (2, 0), w), (draw((2, 3, 4)), draw((4, 2), 1, 2)),
        call=lambda f, x, w: f(x, (2, 0), w)),
    Row("cov", np.cov, (X,)),
    Row("cov", np.cov, (X.T, X.T[:, :1]), {"rowvar": False, "bias": True}),
    Row("cov", lambda x, a: np.cov(x, aweights=a, fweights=[1, 2, 1, 0, 3]),
        (X, draw((5,), 1, 2)),
        call=lambda f, x, a: f(x, aweights=a, fweights=[1, 2, 1, 0, 3])),
    Row("cov", np.cov, (X[0],)),
    Row("corrcoef", np.corrcoef, (X,), loose=4),
    Row("bincount", np.bincount, (N,), {"minlength": 9}, order=0),
    Row("bincount", np.bincount, (N, draw((12,)))),
    Row("histogram", np.histogram, (X,), {"bins": 4}, order=0),
    Row("histogram", np.histogram, (X, np.array([-1.0, 0.0, 1.0])), {"density": True}, order=0),
    Row("histogram", lambda x, w: np.histogram(x, 3, (-1, 1), weights=w)[0],
        (X[0], draw((5,), 1, 2)),
        call=lambda f, x, w: f(x.detach(), 3, (-1, 1), weights=w)[0], order=0),
    Row("histogramdd", lambda x: (lambda n, e: (n.astype(int), tuple(e)))(*np.histogramdd(x, 3)),
        (draw((20, 2)),), call=lambda f, x: f(x, 3), order=0),
    Row("histogramdd", lambda x: np.histogramdd(x, (2, 3), [(-1, 1), None], density=True)[0],
        (draw((20, 2)),),
        call=lambda f, x: f(x, (2, 3), [(-1, 1), None], density=True)[0], order=0),
]  # fmt: skip
