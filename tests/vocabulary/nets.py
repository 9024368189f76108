"""Convolution, pooling and resampling over one, two and three axes, element by element."""

import itertools

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


def _windows(x, size, stride=None, padding=0, dilation=1, ceil_mode=False):
    """(place, the places in x along each axis) of each window; and their counts."""
    axes, along = x.ndim - 2, []
    stride = size if stride is None else stride
    for n, k, s, p, d in zip(
        x.shape[2:], *[_each(v, axes) for v in (size, stride, padding, dilation)], strict=True
    ):
        starts = [i for i in range(-p, n, s) if i + d * (k - 1) < n + p or ceil_mode]
        if ceil_mode and len(starts) > 1 and starts[-2] + d * (k - 1) >= n + p - 1:
            starts.pop()  # the one before reaches the end
        along.append([np.arange(i, min(i + d * (k - 1) + 1, n + p), d) for i in starts])
    return along


def _even(x, size):
    axes = zip(x.shape[2:], _each(size, x.ndim - 2), strict=True)
    return [[np.arange(i * n // k, -(-(i + 1) * n // k)) for i in range(k)] for n, k in axes]


def _pool(along, one):
    """`one` of the flat places of each window and of those in the padding."""
    y = {}
    for at in itertools.product(*[range(len(a)) for a in along]):
        y[at] = one([a[i] for a, i in zip(along, at, strict=True)])
    counts = tuple([len(a) for a in along])
    return np.stack([y[at] for at in np.ndindex(*counts)], -1).reshape(*y[at].shape, *counts)


def _inside(x, lines):
    kept = [i[(i >= 0) & (i < n)] for i, n in zip(lines, x.shape[2:], strict=True)]
    places = np.ravel_multi_index(np.meshgrid(*kept, indexing="ij"), x.shape[2:]).ravel()
    return x.reshape(*x.shape[:2], -1)[..., places], places


def _max(x, size, return_indices=False, windows=_windows, **how):
    def one(lines):
        values, places = _inside(x, lines)
        return np.stack([values.max(-1), places[values.argmax(-1)]])

    y, where = _pool(windows(x, size, **how), one)
    return (y, where.astype(int)) if return_indices else y


def _mean(x, size, windows=_windows, count_include_pad=True, divisor_override=None, **how):
    def one(lines):
        values, _ = _inside(x, lines)
        n = np.prod([len(i) for i in lines]) if count_include_pad else values.shape[-1]
        return values.sum(-1) / (divisor_override or n)

    return _pool(windows(x, size, **how), one)


def _norm(x, p, size, stride=None, ceil_mode=False):
    return (_mean(x**p, size, stride=stride, ceil_mode=ceil_mode) * size ** (x.ndim - 2)) ** (1 / p)


def _unpool(x, indices, size, **how):
    y = np.zeros((*x.shape[:2], 24))
    np.put_along_axis(y, indices.reshape(*x.shape[:2], -1), x.reshape(*x.shape[:2], -1), 2)
    return y.reshape(*x.shape[:2], *{3: (24,), 4: (4, 6), 5: (2, 2, 6)}[x.ndim])


_ADAPTIVE = {
    "adaptive_avg_pool": lambda x, size: _mean(x, size, _even),
    "adaptive_max_pool": lambda x, size, **how: _max(x, size, windows=_even, **how),
}


def _fractional(
    x, size, output_size=None, output_ratio=None, return_indices=False, *, random_samples
):
    """Each plane has windows of its own."""
    lengths, (n, c) = x.shape[2:], x.shape[:2]
    counts = output_size or [int(m * output_ratio) for m in lengths]
    parts = [[], []]
    for plane in np.ndindex(n, c):
        along, u = [], random_samples[plane]
        for m, count, share in zip(lengths, counts, u[::-1] if len(u) == 2 else u, strict=True):
            a = (m - size) / (count - 1)
            first = [int((i + share) * a) - int(share * a) for i in range(count - 1)]
            along.append([np.arange(i, i + size) for i in (*first, m - size)])
        found = _max(x[plane][None, None], None, True, lambda x, size, along=along: along)
        for part, array in zip(parts, found, strict=True):
            part.append(array)
    y, where = [np.concatenate(part).reshape(n, c, *counts) for part in parts]
    return (y, where) if return_indices else y


def _response(x, size, alpha=1e-4, beta=0.75, k=1.0):
    channels = [
        (x[:, max(0, i - size // 2) : i + (size - 1) // 2 + 1] ** 2).sum(1) / size
        for i in range(x.shape[1])
    ]
    return x / (k + alpha * np.stack(channels, 1)) ** beta


_UNPOOLED = {
    1: (draw((1, 1, 12)), np.arange(12).reshape(1, 1, 12) * 2 + 1, 2),
    2: (draw((1, 2, 2, 3)), np.array([0, 3, 5, 12, 20, 23] * 2).reshape(1, 2, 2, 3), 2),
    3: (draw((1, 1, 1, 1, 3)), np.array([7, 20, 4]).reshape(1, 1, 1, 1, 3), 2),
}
_SHAPES = {1: (2, 2, 9), 2: (1, 2, 7, 5), 3: (1, 2, 4, 5, 3)}
_LAST = {"stride": 2, "padding": 1, "ceil_mode": True}
POOLS = [
    row
    for axes, shape in _SHAPES.items()
    for x, name in [(draw(shape), f"{{}}_pool{axes}d")]
    for row in [
        Row(name.format("max"), _max, (x, 2)),
        Row(name.format("max"), _max, (x, 3), {**_LAST, "return_indices": True}),
        Row(name.format("max"), _max, (x, 2), {"dilation": 2, "stride": 1}),
        Row(name.format("avg"), _mean, (x, 2)),
        Row(name.format("avg"), _mean, (x, 3), _LAST),
        Row(name.format("avg"), _mean, (x, 3), {**_LAST, "count_include_pad": False}),
        Row(name.format("avg"), _mean, (x, 2), {"divisor_override": 3}),
        Row(name.format("lp"), _norm, (x, 2, 2)),
        Row(name.format("lp"), _norm, (abs(x), 3.5, 3), {"stride": 2, "ceil_mode": True}),
        *[Row(name.format(n.removesuffix("_pool")), f, (x, 2)) for n, f in _ADAPTIVE.items()],
        Row(name.format("max").replace("pool", "unpool"), _unpool, _UNPOOLED[axes]),
    ]
]
_SAMPLES = {n: np.random.default_rng(n).random((*_SHAPES[n][:2], n)) for n in (2, 3)}
FRACTIONAL = [
    Row("fractional_max_pool2d", _fractional, (draw(_SHAPES[2]), 2, (4, 3)),
        {"random_samples": _SAMPLES[2], "return_indices": True}),
    Row("fractional_max_pool3d", _fractional, (draw(_SHAPES[3]), 1),
        {"random_samples": _SAMPLES[3], "output_ratio": 0.7}),
]  # fmt: skip


def _each_line(x, sizes, line):
    for axis, m in enumerate(sizes, 2):
        x = np.apply_along_axis(line, axis, x, m)
    return x


def _linear(x, size, mode=None, align_corners=False):
    def line(values, m):
        n = len(values)
        at = np.linspace(0, n - 1, m) if align_corners else (np.arange(m) + 0.5) * n / m - 0.5
        return np.interp(at, np.arange(n), values)

    return _each_line(x, size, line)


def _nearest(x, size, mode="nearest"):
    shift = 0.5 if mode == "nearest-exact" else 0
    return _each_line(x, size, lambda v, m: v[((np.arange(m) + shift) * len(v) / m).astype(int)])


def _tent(d):
    return np.maximum(0, 1 - d)


def _keys(d, a=-0.75):
    near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _sampled(x, grid, padding_mode="zeros", mode=None):
    """Each pixel counts by its distance."""
    weight = _keys if mode == "bicubic" else _tent
    places = []
    for k, n in enumerate(x.shape[2:]):
        at = ((grid[..., -1 - k] + 1) * n - 1) / 2
        at = np.clip(at, 0, n - 1) if padding_mode == "border" else at
        places.append(weight(np.abs(at[..., None] - np.arange(n))))
    axes = "ijk"[: len(places)]
    flat = [p.reshape(len(x), -1, p.shape[-1]) for p in places]
    y = np.einsum(f"bc{axes},{','.join([f'bp{a}' for a in axes])}->bcp", x, *flat)
    return y.reshape(*x.shape[:2], *grid.shape[1:-1])


def _affine(theta, size):
    lines = [(np.arange(n) * 2 + 1) / n - 1 for n in size[2:]]
    places = np.stack([*np.meshgrid(*lines, indexing="ij")[::-1], np.ones(size[2:])], -1)
    return np.einsum("nij,...j->n...i", theta, places)


def _shuffled(x, r):
    n, c, h, w = x.shape
    y = np.empty((n, c // r**2, h * r, w * r), x.dtype)
    for i, j in np.ndindex(r, r):
        y[:, :, i::r, j::r] = x[:, i * r + j :: r * r]
    return y


def _unshuffled(x, r):
    parts = [x[:, :, i::r, j::r] for i, j in np.ndindex(r, r)]
    return np.stack(parts, 2).reshape(len(x), -1, x.shape[2] // r, x.shape[3] // r)


_GRID = draw((2, 2, 3, 2), -1.3, 1.3, 5)
_PLANE = draw((2, 2, 3, 4))
RESAMPLED = [
    Row("interpolate", _linear, (draw((2, 2, 3)), (5,)), {"mode": "linear"}),
    Row("interpolate", _linear, (_PLANE, (5, 2)), {"mode": "bilinear", "align_corners": True}),
    Row("interpolate", _nearest, (_PLANE, (6, 3))),
    Row("interpolate", _nearest, (_PLANE, (5, 7)), {"mode": "nearest-exact"}),
    Row("interpolate", lambda x, size, mode: _mean(x, size, _even), (_PLANE, 2), {"mode": "area"}),
    Row("grid_sample", _sampled, (_PLANE, _GRID)),
    Row("grid_sample", _sampled, (_PLANE, _GRID), {"padding_mode": "border"}),
    Row("grid_sample", _sampled, (draw((1, 2, 2, 2, 3)), draw((1, 2, 1, 2, 3), -0.9, 0.9, 3))),
    Row("grid_sample", _sampled, (_PLANE, _GRID), {"mode": "bicubic"}),
    Row("affine_grid", _affine, (draw((2, 2, 3)), (2, 1, 3, 2))),
    Row("affine_grid", _affine, (draw((1, 3, 4)), (1, 1, 2, 3, 2))),
    Row("pixel_shuffle", _shuffled, (draw((2, 8, 2, 3)), 2)),
    Row("pixel_unshuffle", _unshuffled, (draw((2, 2, 4, 6)), 2)),
    Row("channel_shuffle", lambda x, g: x[:, [0, 3, 1, 4, 2, 5]], (draw((2, 6, 3)), 2)),
]
_WIDE = {"stride": 2, "padding": 1, "groups": 2}
ROWS = [
    *POOLS,
    *FRACTIONAL,
    Row("local_response_norm", _response, (draw((2, 5, 3)), 4)),
    Row("local_response_norm", _response, (draw((1, 3, 2, 2)), 3, 2.0, 0.5, 1.5)),
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
    *RESAMPLED,
]
