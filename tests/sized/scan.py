"""Sized samples of scans and of the largest elements: long lines, and many columns of them."""

import numpy as np

from tensorgrad.ops.samples import Sample, draw, integers


def lines(n, inputs=1, low=-2.0, high=2.0, **params):
    """Along the last axis, the first, and one in the middle."""
    shapes = ((3, n), -1), ((n, 3), 0), ((2, 5, n), 1)
    return [
        Sample(tuple([draw(shape, low, high, i) for i in range(inputs)]), {"axis": axis, **params})
        for shape, axis in shapes
    ]


def with_ties(n):
    """Few different numbers, then NaN among them, in one long line and in columns."""
    x = integers((n, 3), 3) * 1.0
    x[n // 2 :: 3] = np.nan
    return [Sample((a,), {"axis": 0, "largest": up}) for a in (x, x[:, :1]) for up in (True, False)]


SIZED = {
    "cumsum": lambda n: [*lines(n), *lines(n, reverse=True)],
    "cumprod": lambda n: lines(n, 1, 0.9, 1.1),
    "linear_scan": lambda n: [*lines(n, 2, -1, 1), *lines(n, 2, -1, 1, reverse=True)],
    "running_extreme": lambda n: [*lines(n, largest=True), *lines(n, largest=False), *with_ties(n)],
    "top_indices": lambda n: [
        Sample((draw((3, n + 4)),), {"k": 4}),
        Sample((draw((n + 4,)),), {"k": 2, "largest": False}),
    ],
}
