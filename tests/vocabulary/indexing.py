"""Taking and replacing by indices, and reductions by an id, beside loops."""

import math

import numpy as np

from tensorgrad.testing import draw, integers

from . import Row

X, SRC = draw((3, 4)), draw((3, 4), seed=1)
AT = np.array([[0, 2, 0, -1], [1, 1, 1, 1], [2, 0, 2, 2]])
IDS = np.array([2, 0, 2, 2, 0])


def _gather(x, axis, index):
    y = np.empty(index.shape, x.dtype)
    for place in np.ndindex(index.shape):
        at = list(place)
        at[axis] = index[place]
        y[place] = x[tuple(at)]
    return y


def _put(x, indices, values, axis):
    y = x.copy()
    np.put_along_axis(y, indices, values, axis)
    return y


_REDUCE = {
    "sum": sum,
    "prod": math.prod,
    "max": max,
    "min": min,
    "mean": lambda found: sum(found) / len(found),
}


def _scattered(x, axis, index, src, reduce="last", include_self=True):
    """The reference of all that scatter: lists of what arrives at each place."""
    found = {place: [x[place]] if include_self else [] for place in np.ndindex(x.shape)}
    for place in np.ndindex(index.shape):
        at = list(place)
        at[axis] = index[place] % x.shape[axis]
        found[tuple(at)].append(src[place] if np.ndim(src) else src)
    y = x.copy()
    for place, values in found.items():
        if values:
            y[place] = values[-1] if reduce == "last" else _REDUCE[reduce](values)
    return y


def _rows(x, axis, index, source, last=True):
    y = np.moveaxis(x.copy(), axis, 0)
    for i, row in zip(index, np.moveaxis(source, axis, 0), strict=True):
        y[i] = row if last else y[i] + row
    return np.moveaxis(y, 0, axis)


def _filled(x, axis, index, value):
    return _rows(x, axis, index, np.broadcast_to(value, (2, 4)))


def _assigned(x, indices, values, accumulate=False):
    y = x.copy()
    if accumulate:
        np.add.at(y, indices, values)
    else:
        y[indices] = values
    return y


def _segments(reduce, none):
    def by_id(x, ids, count):
        y = np.full((count, *x.shape[1:]), none, x.dtype)
        for i in set(ids.tolist()):
            y[i] = reduce(x[ids == i], axis=0)
        return y

    return by_id


def _bags(reduce):
    def truth(weight, ids, offsets=None, mode=None, shares=None):
        rows = weight[ids] if shares is None else weight[ids] * shares[:, None]
        bags = rows if offsets is None else np.split(rows, offsets[1:])
        zeros = np.zeros(weight.shape[1])
        return np.stack([reduce(bag, 0) if len(bag) else zeros for bag in bags])

    return truth


def _segment_softmax(x, ids):
    y = np.empty_like(x)
    for i in set(ids.tolist()):
        e = np.exp(x[ids == i])
        y[ids == i] = e / e.sum(0)
    return y


def _reduced(reduce, include_self=True):
    return Row(
        "scatter_reduce",
        lambda x, src: _scattered(x, 1, AT, src, reduce, include_self),
        (X, SRC),
        call=lambda f, x, src: f(x, 1, AT, src, reduce, include_self=include_self),
    )


ENDLESS = np.array([[2.0, 1.0], [3.0, np.inf], [np.inf, 5.0], [0.0, 2.0], [4.0, -1.0]])
ZEROS = np.array([[2.0, 1.0], [0.0, 3.0], [0.5, 0.0], [1.5, 0.0], [4.0, -1.0]])
ROWS = [
    Row("take", np.take, (X, AT)),
    Row("take", np.take, (X, np.array([-1, 0, 0])), {"axis": 1}),
    Row("take", np.take, (X, 2), {"axis": 0}),
    Row("take", np.take, (X, np.array([5, -9])), {"axis": 1, "mode": "wrap"}),
    Row("take", np.take, (X, np.array([5, -9])), {"axis": 1, "mode": "clip"}),
    Row("index_select", lambda x, axis, i: np.take(x, i, axis), (X, 1, np.array([3, 3]))),
    Row("take_along_axis", np.take_along_axis, (X, AT, 1)),
    Row("take_along_axis", np.take_along_axis, (draw((2, 3, 2)), integers((1, 2, 1), 3), 1)),
    Row("take_along_axis", np.take_along_axis, (draw((1, 3)), AT, 1)),
    Row("take_along_axis", np.take_along_axis, (X, AT[0], None)),
    Row("gather", _gather, (X, 0, AT[:2, :3])),
    Row("put_along_axis", _put, (X, np.array([[3, 0], [1, 1], [-1, 2]]), SRC[:, :2], 1)),
    Row("put_along_axis", _put, (X, np.array([[1]]), draw(()), 0)),
    Row("scatter", _scattered, (X, 1, AT, SRC)),
    Row("scatter", _scattered, (X, 0, AT[:2, :2], SRC)),
    Row("scatter", _scattered, (AT, 0, AT[:2, :2], 7), order=0),
    *[_reduced(how) for how in _REDUCE],
    *[_reduced(how, False) for how in _REDUCE],
    Row(
        "index_add",
        lambda x, s: _rows(x, 1, [3, 0, 3], 2 * s, False),
        (X, draw((3, 3))),
        call=lambda f, x, s: f(x, 1, [3, 0, 3], s, alpha=2),
    ),
    Row("index_copy", _rows, (X, 0, np.array([2, 0, 2]), SRC)),
    Row("index_fill", _filled, (X, 0, np.array([-1, 0]), draw(()))),
    Row("index_put", _assigned, (X, np.array([2, 0, 2]), SRC)),
    Row("index_put", _assigned, (X, (slice(1), X[0] > 0), draw(()))),
    Row("index_put", _assigned, (X, np.array([2, 0, 2]), SRC[0]), {"accumulate": True}),
    Row("segment_sum", _segments(np.sum, 0), (draw((5, 2, 2)), IDS, 4)),
    Row("segment_sum", _segments(np.sum, 0), (integers((5,), 9), IDS, 3), order=0),
    Row("segment_mean", _segments(np.mean, 0), (draw((5, 2)), IDS, 4)),
    Row("segment_max", _segments(np.max, -math.inf), (draw((5, 2)), IDS, 4), order=0),
    Row("segment_max", _segments(np.max, -(2**63)), (integers((5,), 9), IDS, 4), order=0),
    Row(
        "segment_min",
        lambda x, i: _segments(np.min, 0)(x, i, 3)[[0, 2]],
        (draw((5, 2)), IDS),
        call=lambda f, x, i: f(x, i)[[0, 2]],
    ),
    Row("segment_prod", _segments(np.prod, 1), (ZEROS, IDS, 4)),
    Row("segment_prod", _segments(np.prod, 1), (ENDLESS, IDS, 4), order=0),
    Row("segment_prod", _segments(np.prod, 1), (ZEROS[:0], IDS[:0], 2), order=0),
    Row("segment_softmax", _segment_softmax, (draw((5, 2)), IDS)),
    Row("embedding_bag", _bags(np.mean), (draw((4, 3)), np.array([[1, 3], [0, 1], [2, 2]]))),
    Row("embedding_bag", _bags(np.mean), (draw((4, 3)), IDS, np.array([0, 2, 2, 3]))),
    Row("embedding_bag", _bags(np.max), (draw((4, 3)), IDS, np.array([0, 4, 5]), "max"), order=1),
    Row(
        "embedding_bag",
        _bags(np.sum),
        (draw((4, 3)), IDS, np.array([0, 2]), "sum", draw((5,), seed=3)),
    ),
    Row(
        "embedding_bag",
        lambda w, ids, mode, padding_idx: w[ids[:, 0]],
        (draw((4, 3)), np.array([[1, 3], [0, 3]])),
        {"mode": "sum", "padding_idx": -1},
    ),
]
