"""Scans: each result along an axis depends on all elements before it.

Sums and products are accumulated in float64. What CuPy has no scan for takes log2(n) steps (Hillis
& Steele 1986), in an order that follows from the shape alone.
"""

import numpy as np

from ..backend import fitting, is_floating, namespace
from ..core import op
from .gather import added, places, raw
from .reduce import narrow, widened
from .samples import Sample, calls, draw, shaped
from .shape import concat, flip, full_like, pad

_AXES = shaped(
    ((5,), {"axis": 0}), ((3, 4), {"axis": -1}), ((2, 3, 2), {"axis": 1}), ((0, 2), {"axis": 0})
)


def _in_double(x, scan, axis):
    """The scan accumulated in double precision; of integers as NumPy has it."""
    if not is_floating(x.dtype):
        return scan(x, axis=axis)
    double = fitting(np.dtype("float64"), x.dtype)
    return scan(x.astype(double, copy=False), axis=axis).astype(x.dtype, copy=False)


def _along(axis, start, stop):
    """The key of start:stop along an axis counted from the first."""
    return (slice(None),) * axis + (slice(start, stop),)


def shifted(x, axis, by, value=0.0):
    """x moved along an axis by one place, up (1) or down (-1); `value` at the place that is free.
    Works on arrays and Tensors."""
    axis, n = axis % len(x.shape), x.shape[axis]
    free = full_like(x[_along(axis, 0, 1)], value=value)
    rest = x[_along(axis, 0, n - 1) if by > 0 else _along(axis, 1, n)]
    return concat(*((free, rest) if by > 0 else (rest, free)), axis=axis)


@op(
    x=lambda g, axis, reverse: cumsum(g, axis=axis, reverse=not reverse),
    samples=lambda: [
        *_AXES(),
        Sample((draw((3, 4)),), {"axis": 0, "reverse": True}),
        Sample((draw((2, 300)),), {"axis": 1}),
    ],
    precision="single",
    complex=True,
)
def cumsum(x, *, axis, reverse=False):
    """Sums of the elements up to each along an axis, or with `reverse` of those from it on."""
    if reverse:
        return flip(cumsum(flip(x, axis=axis), axis=axis), axis=axis)
    return _in_double(x, namespace(x).cumsum, axis)


@op(
    joint=lambda g, a, y, axis, reverse, needs: _linear_scan_grad(g, a, y, axis, reverse, needs),
    samples=calls(
        lambda: (draw((5,)), draw((5,), seed=1), {"axis": 0}),
        lambda: (draw((3, 4)), draw((3, 4), seed=1), {"axis": 0, "reverse": True}),
        lambda: (draw((2, 9, 2)), draw((2, 9, 2), seed=1), {"axis": 1}),
        lambda: (draw((2, 0)), draw((2, 0)), {"axis": 1}),
    ),
    precision="single",
    complex=True,
)
def linear_scan(a, x, *, axis, reverse=False):
    """y[i] = a[i] * y[i - 1] + x[i] along an axis, y[-1] = 0; with `reverse` from the last on. The
    recurrence of discounted sums, exponential averages and state space models."""
    if a.shape != x.shape:
        raise ValueError(f"a has shape {a.shape}, x {x.shape}: they must be the same")
    xp = namespace(a)
    if reverse:
        return flip(linear_scan(flip(a, axis=axis), flip(x, axis=axis), axis=axis), axis=axis)
    f, y = [xp.moveaxis(widened(v), axis, 0).copy() for v in (a, x)]
    n, step = len(y), 1
    if xp is np and y.size > n * n:  # rather long rows than many
        for i in range(1, n):
            y[i] += f[i] * y[i - 1]
        step = n
    while step < n:  # compose the maps of neighbours, of pairs, ...
        y[step:] += f[step:] * y[:-step]
        f[step:] = f[step:] * f[:-step]
        step *= 2
    return narrow(xp.ascontiguousarray(xp.moveaxis(y, 0, axis)), a)


def _linear_scan_grad(g, a, y, axis, reverse, needs):
    """The adjoint is the scan in the other direction."""
    up = -1 if reverse else 1
    gx = linear_scan(shifted(a, axis, -up), g, axis=axis, reverse=not reverse)
    return gx * shifted(y, axis, up) if needs[0] else None, gx


def _cumprod_grad(g, x, y, axis):
    """Sums of the products that follow, times those before: right with zeros, to any order."""
    after = linear_scan(shifted(x, axis, -1), g, axis=axis, reverse=True)
    return after * shifted(y, axis, 1, 1.0)


@op(
    x=_cumprod_grad,
    samples=lambda: [
        *_AXES(),
        Sample((np.array([[1.5, 0.0, 2.0, 3.0], [0.5, 0.0, 0.0, 3.0]]),), {"axis": 1}),
    ],
    precision="single",
    complex=True,
)
def cumprod(x, *, axis):
    """Products of the elements up to each along an axis."""
    return _in_double(x, namespace(x).cumprod, axis)


def _accumulated(of_two, x, axis):
    """The extreme of two accumulated along an axis, NaN once there was one."""
    if type(x) is np.ndarray:
        return of_two.accumulate(x, axis=axis)
    xp = namespace(x)
    y, step = xp.moveaxis(x, axis, 0).copy(), 1
    while step < len(y):
        y[step:] = of_two(y[step:], y[:-step])
        step *= 2
    return xp.moveaxis(y, 0, axis)


@op(
    joint=lambda g, x_shape, indices, axis, needs: (
        None if g[0] is None else added(g[0], places(raw(indices), x_shape, axis), x_shape),
    ),
    outputs=("y", "indices"),
    samples=lambda: [
        Sample((draw(shape),), {"axis": axis, "largest": largest})
        for shape, axis, largest in (((5,), 0, True), ((3, 4), -1, False), ((3, 7, 2), 1, True))
    ],
)
def running_extreme(x, *, axis, largest):
    """The largest, or smallest, element up to each along an axis and its index, of equals the last;
    a NaN stays."""
    xp, of_two = namespace(x), "maximum" if largest else "minimum"
    wide = widened(x)
    y = _accumulated(getattr(xp, of_two), wide, axis)
    at = xp.arange(x.shape[axis]).reshape(-1, *[1] * (x.ndim - 1 - axis % x.ndim))
    hit = xp.where((wide == y) | (wide != wide), at, 0)
    return narrow(y, x), _accumulated(xp.maximum, hit, axis)


def _padded(g, n):
    """g (k,) between n - 1 zeros on each side."""
    return pad(g, pad_width=((n - 1, n - 1),))


@op(
    x=lambda g, v: correlate_valid(_padded(g, v.shape[0]), flip(v)),
    v=lambda g, x: correlate_valid(x, g),
    samples=calls(
        lambda: (draw((7,)), draw((3,), seed=1)),
        lambda: (draw((4,)), draw((4,), seed=1)),
        lambda: (draw((90,)), draw((1,), seed=1)),
    ),
    precision="half",
)
def correlate_valid(x, v):
    """The products of v (m,) with each window of x (n,), n >= m: (n - m + 1,)."""
    return narrow(namespace(x).correlate(widened(x), widened(v), mode="valid"), x)
