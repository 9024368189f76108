"""Pooling of images, (n, channels, height, width). Each op has an adjoint, a linear op of which it
(or, for the maximum, taking what lies in given places) is the derivative in turn."""

from ..backend import is_floating, namespace
from ..core import op
from .conv import check, counts_of, cropped, padded, views
from .reduce import narrow, widened
from .samples import Sample, draw, integers


def _pool_cases():
    """The shape of x, and how it is pooled."""
    return (
        ((2, 3, 4, 6), {"size": (2, 2)}),
        ((1, 2, 5, 4), {"size": (3, 2), "stride": (1, 2), "padding": (1, 1)}),
        ((2, 1, 5, 7), {"size": (2, 3), "stride": (3, 2)}),
        ((0, 2, 4, 4), {"size": (2, 2)}),
        ((3, 2, 1, 1), {"size": (1, 1)}),
    )


def _pool_samples():
    return [Sample((draw(shape),), params) for shape, params in _pool_cases()]


def _average_grad_samples():
    made = []
    for shape, params in _pool_cases():
        how = {"stride": params["size"], "padding": (0, 0), **params}
        counts = counts_of(shape[2:], *[how[k] for k in ("size", "stride", "padding")])
        made.append(Sample((draw((*shape[:2], *counts)),), {"plane": shape[2:], **how}))
    return made


def _positions(shape, plane):
    """A place in the plane for each number, some of them twice."""
    return integers(shape, plane[0] * plane[1]).astype("int32")


def _scatter_samples():
    shapes = (((2, 3, 2, 2), (4, 3)), ((1, 1, 3, 4), (2, 2)), ((0, 2, 2, 2), (4, 4)))
    return [Sample((draw(s), _positions(s, plane)), {"plane": plane}) for s, plane in shapes]


def _gather_samples():
    shapes = (((2, 3, 4, 3), (2, 2)), ((1, 1, 2, 2), (3, 4)), ((0, 2, 4, 4), (2, 2)))
    return [Sample((draw(s), _positions((*s[:2], *to), s[2:]))) for s, to in shapes]


def _pool_counts(x, size, stride, padding):
    """The height and width of the output, and the stride: where none is given, the size."""
    if not is_floating(x.dtype):
        raise TypeError(f"numbers of dtype {x.dtype} are not pooled; x.astype('float32') are")
    stride = size if stride is None else stride
    check(x, size=size, stride=stride, padding=padding)
    if any(2 * p > k for p, k in zip(padding, size, strict=True)):
        raise ValueError(f"padding={padding} is more than half of size={size}")
    return counts_of(x.shape[2:], size, stride, padding), stride


@op(
    x=lambda g, x_shape, where: max_pool2d_grad(g[0], where, plane=x_shape[2:]),
    outputs=("y", "where"),
    samples=_pool_samples,
    kind="reduce",
)
def max_pool2d(x, *, size, stride=None, padding=(0, 0)):
    """The largest number in each window of x (n, c, h, w), and its place in the plane of
    height and width h, w, counted row by row: the first of equals, the last NaN.

    Windows lie side by side unless a `stride` is given. What is padded is never the largest.
    """
    counts, stride = _pool_counts(x, size, stride, padding)
    xp, width = namespace(x), x.shape[3]
    starts = [xp.arange(n, dtype="int32") * s - p
              for n, s, p in zip(counts, stride, padding, strict=True)]  # fmt: skip
    places = starts[0][:, None] * width + starts[1]
    best = xp.full((*x.shape[:2], *counts), -float("inf"), dtype=widened(x[:0]).dtype)
    first = xp.maximum(starts[0], 0)[:, None] * width + xp.maximum(starts[1], 0)
    where = xp.zeros(best.shape, dtype="int32") + first
    for (i, j), seen in views(padded(widened(x), padding, -float("inf")), size, counts, stride):
        better = (seen > best) | (seen != seen)
        best = xp.where(better, seen, best)
        where = xp.where(better, places + (i * width + j), where)
    return narrow(best, x), where.astype("int32")


@op(
    x=lambda g, where: max_pool2d_take(g, where),
    samples=_scatter_samples,
    kind="other",
)
def max_pool2d_grad(x, where, *, plane):
    """Zeros of height and width `plane` with each number of x added in its place of the plane."""
    xp, (n, c) = namespace(x), x.shape[:2]
    size, wide = plane[0] * plane[1], widened(x)
    made = xp.zeros(n * c * size, dtype=wide.dtype)
    index = where.reshape(n * c, where.shape[2] * where.shape[3]).astype("int64")
    index = index + size * xp.arange(n * c)[:, None]
    xp.add.at(made, index.reshape(-1), wide.reshape(-1))
    return narrow(made.reshape(n, c, *plane), x)


@op(
    x=lambda g, x_shape, where: max_pool2d_grad(g, where, plane=x_shape[2:]),
    samples=_gather_samples,
    kind="other",
)
def max_pool2d_take(x, where):
    """The numbers of x (n, c, h, w) that lie in the given places of their planes."""
    (n, c, h, w), (oh, ow) = x.shape, where.shape[2:]
    flat, places = x.reshape(n, c, h * w), where.reshape(n, c, oh * ow).astype("int64")
    return namespace(x).take_along_axis(flat, places, axis=2).reshape(where.shape)


@op(
    x=lambda g, x_shape, size, stride, padding: avg_pool2d_grad(
        g, plane=x_shape[2:], size=size, stride=stride or size, padding=padding
    ),
    samples=_pool_samples,
    kind="reduce",
)
def avg_pool2d(x, *, size, stride=None, padding=(0, 0)):
    """The mean of each window of x (n, c, h, w); what is padded counts as zero.

    Windows lie side by side unless a `stride` is given.
    """
    counts, stride = _pool_counts(x, size, stride, padding)
    seen = views(padded(widened(x), padding), size, counts, stride)
    total = sum([view for _, view in seen])
    return narrow(total * (1.0 / (size[0] * size[1])), x)


@op(
    x=lambda g, size, stride, padding: avg_pool2d(g, size=size, stride=stride, padding=padding),
    samples=_average_grad_samples,
    kind="other",
)
def avg_pool2d_grad(x, *, plane, size, stride, padding):
    """The gradient of avg_pool2d for images of height and width `plane`: each number of x in equal
    parts to all of its window."""
    xp, share = namespace(x), widened(x) * (1.0 / (size[0] * size[1]))
    (h, w), (ph, pw) = plane, padding
    made = xp.zeros((*x.shape[:2], h + 2 * ph, w + 2 * pw), dtype=share.dtype)
    for _, view in views(made, size, x.shape[2:], stride):
        view += share
    return narrow(cropped(made, padding), x)
