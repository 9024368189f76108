"""Sized samples of convolution."""

from tensorgrad.ops.conv import extent
from tensorgrad.ops.samples import Sample, draw

PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}


def convs(n):
    """Wide images and many small ones, in tiles of rows and of images, with all options."""
    wide, many = max(n // 12, 1), max(n // 36, 1)
    cases = (
        ((2, 1, 4, wide + 1), (3, 1, 3, 2), {"padding": (1, 0)}),
        ((2, 22, 7, max(n // 300, 3)), (5, 22, 3, 3), {"padding": (2, 1)}),
        ((many, 4, 3, 3), (6, 2, 2, 2), {"stride": (1, 2), "padding": (0, 2), "groups": 2}),
        ((1, 2, wide, 6), (2, 2, 3, 2), {"stride": (2, 1), "padding": (1, 1), "dilation": (1, 3)}),
        ((1, 2, 3 * max(n // 24, 1), 9), (1, 2, 2, 2), {"stride": (3, 2), "padding": (3, 1)}),
    )
    activations = ("none", "relu", "sigmoid", "tanh", "none")
    return [
        Sample(
            (draw(x), draw(w, seed=1), draw(w[:1], seed=2) if i % 2 else None),
            {**PLAIN, **how, "activation": activations[i]},
        )
        for i, (x, w, how) in enumerate(cases)
    ]


def with_result(n):
    for sample in convs(n):
        (x, w, _), params = sample.args, dict(sample.params)
        params.pop("activation")
        out = extent(x.shape[2:], w.shape[2:], *list(params.values())[:3])
        yield x, w, draw((len(x), len(w), *out), seed=3), params


def gradients(n):
    for i, (x, w, g, params) in enumerate(with_result(n)):
        more = {"activation": ("tanh", "relu", "none", "sigmoid", "none")[i]}
        more["needs"] = (i != 2, i != 3, i != 1)
        yield Sample((g, x, w, draw(g.shape, 0.1, 0.9, 4)), {**params, **more})


SIZED = {
    "conv2d": convs,
    "conv2d_input": lambda n: [
        Sample((dy, w), {"size": x.shape[2:], **params}) for x, w, dy, params in with_result(n)
    ],
    "conv2d_weight": lambda n: [
        Sample((x, dy), {"window": w.shape[2:], **params}) for x, w, dy, params in with_result(n)
    ],
    "conv2d_grad": lambda n: list(gradients(n)),
}
LARGE = dict.fromkeys(SIZED, 20_001)
