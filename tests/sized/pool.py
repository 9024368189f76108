"""Sized samples of pooling."""

import numpy as np

from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw, integers


def pools(n):
    shapes = ((1, 1, 4, n + 3), (n, 1, 3, 4))
    return [Sample((draw(s),), {"size": (2, 2), "padding": (0, 1)}) for s in shapes]


def places(n):
    return [(draw(s), integers((*s[:2], 2, 3), 6)) for s in ((1, n, 2, 3), (n, 1, 2, 3))]


def lines(n):
    return [
        (draw((1, 2, n)), integers((3,), 2), integers((n,), max(n, 1))),
        (draw((n, 2, 1)), np.array([0, 0, 1, 1]), np.array([0])),
        (draw((1, 1, n)), np.array([0, 0]), np.arange(n).repeat(2)),
    ]


def volumes(n):
    shapes = ((1, 1, 2, 3, n + 3), (n, 1, 2, 3, 4))
    how = [{"size": (2, 2, k), "stride": (1, 2, k), "padding": (1, 0, 1)} for k in (2, 3)]
    return [Sample((draw(shape),), p) for shape, p in zip(shapes, how, strict=True)]


SIZED = {
    "largest_places": volumes,
    "max_pool2d": pools,
    "avg_pool2d": pools,
    "avg_pool2d_grad": lambda n: [
        Sample(
            (draw(OPS["avg_pool2d"].ref(*s.args, **s.params).shape),),
            {"plane": s.args[0].shape[2:], "stride": None, **s.params},
        )
        for s in pools(n)
    ],
    "gather_places": lambda n: [Sample(pair) for pair in places(n)],
    "scatter_places": lambda n: [
        Sample((draw(where.shape), where), {"size": (2, 3)}) for _, where in places(n)
    ],
    "pick": lambda n: [Sample(given) for given in lines(n)],
    "pick_grad": lambda n: [
        Sample((draw((len(x), rows.size, columns.size)), rows, columns), {"size": x.shape[-2:]})
        for x, rows, columns in lines(n)
    ],
}
LARGE = dict.fromkeys(SIZED, 20_001)
