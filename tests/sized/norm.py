"""Sized samples of batch and group normalisation, and of RMS normalisation."""

from tensorgrad.core import OPS
from tensorgrad.ops.samples import Sample, draw


def images(n):
    """One number a channel, images too small and large enough for a loop of their own, long ones,
    and more than a thousand planes."""
    side = max(1, n // 100) if n else 0
    shapes = ((5, n), (n, 8), (5, 2, n), (max(3, side), 4, 5, 5), (3, side, 9, 9), (side, 2, 8, 8))
    return [draw(s) for s in shapes]


def channelled(n, **params):
    return [Sample((x, draw(x.shape[1:2], 0.5, 2, 1), None), params) for x in images(n)]


def grads(name, xs, axis, **params):
    made = []
    for x in xs:
        statistics = OPS[name].ref(x, **params)[1:]
        args = (draw(x.shape, seed=2), x, draw((x.shape[axis],), 0.5, 2, 1), *statistics)
        made.append(Sample(args, {"needs": (True,) * len(OPS[name].inputs)}))
    return made


def even(n):
    return [x for x in images(n) if x.shape[1] % 2 == 0]


def rows(n):
    return [draw((3, n)), draw((n, 3))]


def running(n):
    args = (draw((n,)), draw((n,), 0.5, 2, 1), draw((1, n, 1)), draw((1, n, 1), 0.5, 2, 2))
    return [Sample(args, {"count": 7, "momentum": 0.1, "eps": 1e-5})]


SIZED = {
    "rms_norm": lambda n: [Sample((x, draw(x.shape[-1:], seed=1))) for x in rows(n)],
    "rms_norm_grad": lambda n: grads("rms_norm", rows(n), -1),
    "batch_norm": channelled,
    "batch_norm_grad": lambda n: grads("batch_norm", images(n), 1),
    "group_norm": lambda n: [s for s in channelled(n, groups=2) if s.args[0].shape[1] % 2 == 0],
    "group_norm_grad": lambda n: grads("group_norm", even(n), 1, groups=2),
    "channel_affine": channelled,
    "update_running": running,
}
