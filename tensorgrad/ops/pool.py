"""Pooling of images (n, channels, height, width), and images of another size.

Max pooling also returns the argmax of each window, so that its gradient is a scatter-add, whose
adjoint is a gather; average pooling is linear. The ops of each pair are adjoint to each other, so
derivatives of any order need no more formulas.
"""

import math

import numpy as np

from ..backend import namespace
from ..core import op
from .conv import check_images, extent, padded, shifts
from .index import ARRAY, scatter_add
from .reduce import narrow, widened
from .samples import Sample, draw, integers

_POOLS = (
    ((2, 3, 4, 6), {"size": (2, 2)}),
    ((1, 2, 5, 5), {"size": (3, 2), "stride": (2, 1)}),
    ((2, 1, 5, 4), {"size": (3, 3), "stride": (2, 2), "padding": (1, 1)}),
    ((1, 1, 1, 1), {"size": (1, 1)}),
    ((0, 2, 4, 4), {"size": (2, 2)}),
)


def _pool_extent(x, size, stride, padding):
    check_images("x", x)
    if any(2 * p > k for p, k in zip(padding, size, strict=True)):
        raise ValueError(f"padding {padding} is more than half of the window {size}")
    return extent(x.shape[2:], size, stride, padding)


def _planes(a):
    """(n, c, h, w) -> (n * c, h * w)."""
    return a.reshape(a.shape[0] * a.shape[1], a.shape[2] * a.shape[3])


def _gather_samples():
    return [
        Sample((draw((2, 3, 4, 5)), integers((2, 3, 2, 2), 20))),
        Sample((draw((1, 1, 1, 1)), integers((1, 1, 3, 1), 1))),
        Sample((draw((0, 2, 3, 3)), integers((0, 2, 1, 2), 9))),
    ]


@op(
    x=lambda g, x_shape, where: scatter_places(g, where, size=x_shape[2:]),
    samples=_gather_samples,
    kind="shape",
    fixed=("where",),
)
def gather_places(x, where):
    """The elements of each plane of x (n, c, h, w) at the flat indices `where` (n, c, oh, ow) ->
    (n, c, oh, ow)."""
    rows = namespace(x).arange(x.shape[0] * x.shape[1])[:, None]
    return _planes(x)[rows, _planes(where)].reshape(where.shape)


@op(
    x=lambda g, where: gather_places(g, where),
    samples=lambda: [
        Sample((draw(s.args[1].shape, seed=1), s.args[1]), {"size": s.args[0].shape[2:]})
        for s in _gather_samples()
    ],
    kind="shape",
    fixed=("where",),
)
def scatter_places(x, where, *, size):
    """The adjoint of gather_places, a scatter-add: zeros (n, c, *size) with the elements of x added
    at the flat indices `where` of their planes, in float32 for halves."""
    planes = x.shape[0] * x.shape[1]
    rows, shape = namespace(x).arange(planes)[:, None], (planes, size[0] * size[1])
    out = scatter_add(_planes(x), rows, _planes(where), shape=shape, template=(ARRAY, ARRAY))
    return out.reshape(*x.shape[:2], *size)


@op(
    joint=lambda g, x_shape, where, needs: (scatter_places(g[0], where, size=x_shape[2:]),),
    outputs=("y", "where"),
    samples=lambda: [Sample((draw(shape),), params) for shape, params in _POOLS],
)
def max_pool2d(x, *, size, stride=None, padding=(0, 0)):
    """The maximum of each window of x (n, c, h, w), the first of equals, NaN where there is one;
    and its flat index in the plane, int32 where that is enough. `stride` is by default the window's
    size."""
    stride = size if stride is None else stride
    out = _pool_extent(x, size, stride, padding)
    return _largest(x, padding, (*x.shape[:2], *out), [w for *_, w in shifts(size, out, stride)])


def _largest(x, padding, shape, windows):
    """The largest of each window of x (n, c, ...) and its place in the flattened axes, of slices
    that each have one number of all windows."""
    xp, lengths, whole = namespace(x), x.shape[2:], x.dtype.kind in "iu"
    wide = padded(x, padding, xp.iinfo(x.dtype).min if whole else -float("inf"))
    n = math.prod(lengths)
    places = xp.arange(n, dtype="int32" if n < 2**31 else "int64").reshape(1, 1, *lengths)
    places, y, where = padded(places, padding, -1), None, None
    for window in windows:
        value, place = wide[window], xp.broadcast_to(places[window], shape)
        if y is None:
            y, where = value, place
        else:  # written so that NaN counts as larger, and the first NaN stays
            larger = ~(value <= y) & (y == y) | (where < 0)
            y, where = xp.where(larger, value, y), xp.where(larger, place, where)
    return y, where


_VOLUMES = (
    ((1, 2, 4, 4, 3), ((2, 2, 3), (2, 2, 3), (0, 0, 0))),
    ((2, 1, 3, 5, 4), ((3, 3, 2), (2, 2, 2), (1, 1, 1))),
    ((0, 1, 2, 2, 2), ((1, 2, 2), (1, 1, 1), (0, 0, 0))),
)


@op(
    samples=lambda: [
        Sample((draw(shape),), dict(zip(("size", "stride", "padding"), how, strict=True)))
        for shape, how in _VOLUMES
    ],
    differentiable=False,
)
def largest_places(x, *, size, stride, padding):
    """For each window of volumes x (n, c, d, h, w) the place of its largest number, as those of
    max_pool2d, in its flattened volume: (n, c, d', h', w')."""
    out = extent(x.shape[2:], size, stride, padding, (1, 1, 1))
    windows = [
        (..., slice(k, k + stride[0] * (out[0] - 1) + 1, stride[0]), *plane[1:])
        for k in range(size[0])
        for *_, plane in shifts(size[1:], out[1:], stride[1:])
    ]
    return _largest(x, padding, (*x.shape[:2], *out), windows)[1]


@op(
    x=lambda g, x_shape, size, stride, padding: avg_pool2d_grad(
        g, plane=x_shape[2:], size=size, stride=stride, padding=padding
    ),
    samples=lambda: [Sample((draw(shape),), params) for shape, params in _POOLS],
)
def avg_pool2d(x, *, size, stride=None, padding=(0, 0)):
    """The mean of each window of x (n, c, h, w), zeros of the padding included, as in PyTorch.
    `stride` is by default the window's size."""
    stride = size if stride is None else stride
    out = _pool_extent(x, size, stride, padding)
    wide = padded(widened(x), padding)
    total = sum([wide[window] for _, _, window in shifts(size, out, stride)])
    return narrow(total * (1 / (size[0] * size[1])), x)


def _spread_samples():
    made = []
    for shape, params in _POOLS:
        params = {"stride": None, "padding": (0, 0), **params}
        y = avg_pool2d(draw(shape), **params)
        made.append(Sample((draw(y.shape),), {"plane": shape[2:], **params}))
    return made


@op(
    x=lambda g, size, stride, padding: avg_pool2d(g, size=size, stride=stride, padding=padding),
    samples=_spread_samples,
)
def avg_pool2d_grad(x, *, plane, size, stride, padding):
    """The adjoint of avg_pool2d: each element of x (n, c, oh, ow) distributed evenly over its
    window in planes of (h, w) = `plane`."""
    stride = size if stride is None else stride
    out, (ph, pw), (h, w) = extent(plane, size, stride, padding), padding, plane
    if x.shape[2:] != out:
        raise ValueError(f"x has shape {x.shape}; planes of {plane} have {out} windows")
    share = widened(x) * (1 / (size[0] * size[1]))
    wide = namespace(x).zeros((*x.shape[:2], h + 2 * ph, w + 2 * pw), dtype=share.dtype)
    for _, _, window in shifts(size, out, stride):
        wide[window] += share
    return narrow(wide[:, :, ph : ph + h, pw : pw + w], x)


# --- another size ---------------------------------------------------------------------------------


def _pick_samples():
    made = [((2, 3, 4), [0, 0, 2, 2, 1], [3, 0]), ((1, 1, 3), [0], [0, 0, 1, 1, 2, 2])]
    made += [((2, 2, 4, 1), [1, 3], [0]), ((0, 2, 2), [0, 1], [1])]
    return [
        Sample((draw(shape), np.array(rows), np.array(columns))) for shape, rows, columns in made
    ]


@op(
    x=lambda g, x_shape, rows, columns: pick_grad(g, rows, columns, size=x_shape[-2:]),
    samples=_pick_samples,
    kind="shape",
    fixed=("rows", "columns"),
)
def pick(x, rows, columns):
    """The elements of planes x (..., h, w) where those rows and columns meet: (..., h', w')."""
    return x[..., rows, :][..., columns]


@op(
    x=lambda g, rows, columns: pick(g, rows, columns),
    samples=lambda: [
        Sample(
            (draw((*s.args[0].shape[:-2], s.args[1].size, s.args[2].size), seed=1), *s.args[1:]),
            {"size": s.args[0].shape[-2:]},
        )
        for s in _pick_samples()
    ],
    kind="shape",
    fixed=("rows", "columns"),
)
def pick_grad(x, rows, columns, *, size):
    """The adjoint of pick: zeros (n, *size) with the elements of x added there, in float32 for
    halves."""
    shape, key = (*x.shape[:-2], *size), (Ellipsis, ARRAY, ARRAY)
    return scatter_add(x, rows[:, None], columns, shape=shape, template=key)
