"""Sorting, searching and sets."""

import numpy as np

from tensorgrad.testing import draw, integers

from . import Row

X, TIES = draw((3, 5)), integers((3, 8), 4)
NANS = np.array([[2.0, np.nan, 1.0], [np.nan, np.nan, -np.inf]])


def _down(f):
    """A function of NumPy, in descending order."""
    return lambda x, axis=-1, **_: f(-x, axis, kind="stable") * (1 if f is np.argsort else -1)


def _top(x, k, axis=-1, largest=True):
    order = np.argsort(-x if largest else x, axis, kind="stable").take(range(k), axis)
    return np.take_along_axis(x, order, axis), order


def _kth(x, k, axis=-1):
    values, order = _top(x, k, axis, False)
    return values.take(-1, axis), order.take(-1, axis)


def _halves(x, kth):
    """What a partition says: the element, and those on both sides in some order."""
    return np.sort(x[:kth]), x[kth : kth + 1], np.sort(x[kth:])


SETS = "intersect1d setdiff1d setxor1d union1d".split()
ROWS = [
    Row("sort", np.sort, (X,)),
    Row("sort", np.sort, (X,), {"axis": None}),
    Row("sort", np.sort, (NANS,), {"axis": 0}, order=0),
    Row("sort", _down(np.sort), (X,), {"axis": 0, "descending": True}),
    Row("argsort", np.argsort, (NANS,), order=0),
    Row("argsort", lambda x, axis: np.argsort(x, axis, "stable"), (TIES,), {"axis": 0}, order=0),
    Row("argsort", _down(np.argsort), (TIES,), {"descending": True}, order=0),
    Row("lexsort", np.lexsort, ([TIES, TIES[::-1]],), order=0),
    Row("topk", _top, (X, 2)),
    Row("topk", _top, (TIES, 2), {"axis": 0}, order=0),
    Row("topk", _top, (draw((2, 40)), 3), {"largest": False}),
    Row("topk", _top, (integers((3, 40), 5), 4), order=0),
    Row("kthvalue", _kth, (X, 2)),
    Row("kthvalue", _kth, (draw((2, 40)), 5), {"axis": 1}),
    Row(
        "partition",
        lambda x: _halves(np.sort(x), 3),
        (draw((9,)),),
        call=lambda f, x: [p.sort() for p in (f(x, 3)[:3], f(x, 3)[3:4], f(x, 3)[3:])],
        order=0,
    ),
    Row("partition", np.partition, (X, (1, 2, 3)), {"axis": 1}),
    Row("argpartition", np.argpartition, (draw((4,)), (0, 1, 2)), {"axis": None}, order=0),
    Row("searchsorted", np.searchsorted, (np.arange(4.0), X), order=0),
    Row("searchsorted", np.searchsorted, (np.arange(4), 2), {"side": "right"}, order=0),
    Row(
        "searchsorted",
        lambda x, v, i: np.searchsorted(x, v, sorter=i),
        (X[0], X, np.argsort(X[0])),
        call=lambda f, x, v, i: f(x, v, sorter=i),
        order=0,
    ),
    Row("digitize", np.digitize, (X, np.array([-1.0, 0.0, 0.5])), order=0),
    Row("digitize", np.digitize, (TIES, np.array([3, 1, 0])), order=0),
    Row("digitize", np.digitize, (TIES, np.array([3, 1, 0])), {"right": True}, order=0),
    Row("isin", np.isin, (TIES, np.array([1, 3])), order=0),
    *[Row(n, getattr(np, n), (TIES, np.array([3, 1, 5, 1])), order=0) for n in SETS],
    *[Row(n, getattr(np, n), (NANS, NANS[0]), order=0) for n in SETS],
    *[Row(n, getattr(np, n), (X, draw((4,), seed=3))) for n in SETS],
    Row("setdiff1d", np.setdiff1d, (X.ravel(), X[0, 1:3]), {"assume_unique": True}, order=0),
    Row("intersect1d", np.intersect1d, (TIES, TIES[:2, 5:]), {"return_indices": True}, order=0),
    Row("isin", np.isin, (X, X[0]), {"invert": True}, order=0),
    Row("unique", np.unique, (X,)),
    Row("unique", np.unique, (NANS,), {"return_counts": True, "return_index": True}, order=0),
    Row("unique", np.unique, (TIES % 2,), {"axis": 1, "return_inverse": True}, order=0),
    Row("unique_all", np.unique_all, (TIES,), order=0),
    Row("unique_counts", np.unique_counts, (NANS,), order=0),
    Row("unique_inverse", np.unique_inverse, (TIES,), order=0),
    Row("unique_values", lambda x: np.sort(np.unique_values(x)), (TIES,), order=0),
]
