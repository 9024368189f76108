"""Convolution over one, two and three axes, beside sums over all pairs of elements."""

import numpy as np

from tensorgrad.testing import draw

from . import Row


def _each(value, axes):
    return np.broadcast_to(value, axes)


def _meetings(size, window, stride, dilation, padding):
    """(place of a window, place in x, place in the window) of all that meet."""
    axes = len(size)
    stride, dilation, padding = [_each(v, axes) for v in (stride, dilation, padding)]
    out = [
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(size, padding, dilation, window, stride, strict=True)
    ]
    found = []
    for at in np.ndindex(*out):
        for k in np.ndindex(*window):
            place = np.array(at) * stride + np.array(k) * dilation - padding
            if (place >= 0).all() and (place < size).all():
                found.append((at, tuple(place), k))
    return out, found


def _groups(n, groups):
    return [slice(i * n // groups, (i + 1) * n // groups) for i in range(groups)]


def _conv(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    out, met = _meetings(x.shape[2:], w.shape[2:], stride, dilation, padding)
    y = np.zeros((len(x), len(w), *out))
    for cs, os in zip(_groups(x.shape[1], groups), _groups(len(w), groups), strict=True):
        for at, place, k in met:
            y[(slice(None), os, *at)] += x[(slice(None), cs, *place)] @ w[(os, slice(None), *k)].T
    return y if b is None else y + b.reshape(-1, *[1] * len(out))


def _transposed(x, w, b=None, *, stride=1, padding=0, output_padding=0, dilation=1, groups=1):
    axes = x.ndim - 2
    each = [_each(v, axes) for v in (stride, padding, output_padding, dilation)]
    size = [
        s * (n - 1) + d * (k - 1) + 1 - 2 * p + more
        for n, k, s, p, more, d in zip(x.shape[2:], w.shape[2:], *each, strict=True)
    ]
    y = np.zeros((len(x), w.shape[1] * groups, *size))
    _, met = _meetings(size, w.shape[2:], stride, dilation, padding)
    for cs, os in zip(_groups(len(w), groups), _groups(y.shape[1], groups), strict=True):
        for at, place, k in met:
            if all(i < n for i, n in zip(at, x.shape[2:], strict=True)):
                y[(slice(None), os, *place)] += x[(slice(None), cs, *at)] @ w[(cs, slice(None), *k)]
    return y if b is None else y + b.reshape(-1, *[1] * axes)


_WIDE = {"stride": 2, "padding": 1, "groups": 2}
ROWS = [
    Row("conv1d", _conv, (draw((2, 3, 6)), draw((2, 3, 3)), draw((2,)))),
    Row("conv1d", _conv, (draw((1, 4, 7)), draw((2, 2, 2))), {**_WIDE, "dilation": 2}),
    Row("conv3d", _conv, (draw((1, 2, 3, 3, 4)), draw((2, 2, 2, 1, 2)), draw((2,)))),
    Row("conv3d", _conv, (draw((1, 2, 4, 3, 3)), draw((2, 1, 2, 2, 2))), _WIDE),
    Row("conv_transpose1d", _transposed, (draw((2, 2, 3)), draw((2, 1, 2)), draw((1,)))),
    Row("conv_transpose2d", _transposed, (draw((1, 2, 2, 3)), draw((2, 1, 3, 2))), _WIDE),
    Row(
        "conv_transpose2d",
        _transposed,
        (draw((1, 1, 2, 2)), draw((1, 2, 2, 1)), draw((2,))),
        {"padding": 1, "dilation": (3, 2), "output_padding": (2, 1)},
    ),
    Row("conv_transpose3d", _transposed, (draw((1, 2, 2, 2, 1)), draw((2, 1, 2, 2, 3))), _WIDE),
]
