"""Sized samples of convolution and pooling."""

from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw, integers

GEOMETRY = {"stride": (1, 2), "padding": (1, 0), "dilation": (1, 1), "groups": 1}


def convs(n):
    """Wide images, and many small ones."""
    cases = (((1, 1, 3, n + 3), (2, 1, 3, 2)), ((n, 2, 4, 3), (2, 1, 2, 3)))
    groups = (1, 2)
    return [
        Sample((draw(x), draw(w, seed=1), draw(w[:1], seed=2)), {**GEOMETRY, "groups": k})
        for (x, w), k in zip(cases, groups, strict=True)
    ]


def with_result(n):
    for sample in convs(n):
        x, w, _ = sample.args
        yield x, w, draw(OPS["conv2d"].ref(x, w, **sample.params).shape, seed=3), sample.params


def pools(n):
    shapes = ((1, 1, 4, n + 3), (n, 1, 3, 4))
    return [Sample((draw(s),), {"size": (2, 2), "padding": (0, 1)}) for s in shapes]


def places(n):
    return [(draw(s), integers((*s[:2], 2, 3), 6)) for s in ((1, n, 2, 3), (n, 1, 2, 3))]


SIZED = {
    "conv2d": convs,
    "conv2d_input": lambda n: [
        Sample((dy, w), {"size": x.shape[2:], **params}) for x, w, dy, params in with_result(n)
    ],
    "conv2d_weight": lambda n: [
        Sample((x, dy), {"window": w.shape[2:], **params}) for x, w, dy, params in with_result(n)
    ],
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
