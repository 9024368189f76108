"""Sized samples of pooling."""

from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw, integers


def pools(n):
    shapes = ((1, 1, 4, n + 3), (n, 1, 3, 4))
    return [Sample((draw(s),), {"size": (2, 2), "padding": (0, 1)}) for s in shapes]


def places(n):
    return [(draw(s), integers((*s[:2], 2, 3), 6)) for s in ((1, n, 2, 3), (n, 1, 2, 3))]


SIZED = {
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
}
LARGE = dict.fromkeys(SIZED, 20_001)
