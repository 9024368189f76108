"""Ops that reduce over axes. Half-precision inputs are summed in float32 and cast back."""

import math
from typing import Any

import numpy as np

from ..backend import is_half, namespace
from ..core import op
from .elementwise import equal, exp, where
from .samples import Sample, calls, draw, same, shaped
from .shape import broadcast_to, concat, flip, full_like, reshape

_AXES = shaped(
    ((3, 4), {}),
    ((3, 4), {"axis": 0}),
    ((3, 4), {"axis": -1, "keepdims": True}),
    ((2, 3, 4), {"axis": (0, 2)}),
    ((5,), {"axis": 0}),
    ((2, 300), {"axis": 1}),
    ((), {}),
    ((1,), {}),
)
_EMPTY = shaped(((0, 3), {"axis": 1}), ((2, 0), {"axis": 1}), ((0,), {}))


_SINGLE = np.dtype("float32")


def wide(x):
    """The dtype to accumulate in: float32 for halves, else the library's default (None)."""
    return _SINGLE if x.dtype.itemsize == 2 and is_half(x.dtype) else None


def narrow(y: Any, x: Any) -> Any:
    """y in the dtype of a half-precision x; as it is for all others."""
    if x.dtype.itemsize == 2 and is_half(x.dtype) and y.dtype != x.dtype:
        return y.astype(x.dtype)
    return y


def widened(x: Any) -> Any:
    """x itself, or a half-precision x in float32. Works on arrays and Tensors."""
    return x.astype("float32") if x.dtype.itemsize == 2 and is_half(x.dtype) else x


def kept_shape(shape, axis):
    """The shape with `keepdims=True`."""
    if axis is None:
        return (1,) * len(shape)
    axes = {a % len(shape) for a in ((axis,) if isinstance(axis, int) else axis)}
    return tuple([1 if i in axes else n for i, n in enumerate(shape)])


def spread(g, x_shape, axis, keepdims):
    """The cotangent of a reduction, broadcast over the reduced axes."""
    if not keepdims and x_shape:
        g = reshape(g, shape=kept_shape(x_shape, axis))
    return broadcast_to(g, shape=x_shape)


def _count(x_shape, axis):
    kept = kept_shape(x_shape, axis)
    return max(1, math.prod([n for n, k in zip(x_shape, kept, strict=True) if k == 1]))


_LONG, _BLOCK = 1 << 12, 128


def _shortened(x, axis):
    """x with its long axes among those summed over in blocks, but for the last one: NumPy adds up
    rows one after the other, and a long sum of floats is deaf to small ones."""
    if type(x) is not np.ndarray or x.dtype.itemsize > 4:
        return x
    reduced = kept_shape(x.shape, axis)
    for a in range(x.ndim - 1):
        while reduced[a] == 1 and x.shape[a] >= _LONG:
            before, after, whole = x.shape[:a], x.shape[a + 1 :], x.shape[a] // _BLOCK
            blocks, rest = np.split(x, [whole * _BLOCK], axis=a)
            blocks = blocks.reshape(*before, whole, _BLOCK, *after)
            parts = blocks.sum(axis=a + 1, dtype=wide(x)), rest.sum(a, wide(x), keepdims=True)
            x = np.concatenate(parts, axis=a)
    return x


@op(x=spread, samples=lambda: _AXES() + _EMPTY(), precision="single", complex=True)
def sum_(x, *, axis=None, keepdims=False):
    """Sum over the axes."""
    y = x if x.size < _LONG else _shortened(x, axis)
    return narrow(y.sum(axis=axis, keepdims=keepdims, dtype=wide(x)), x)


@op(
    x=lambda g, x_shape, axis, keepdims: spread(  # 1 / n may be below the smallest half
        narrow(widened(g) * (1.0 / _count(x_shape, axis)), g), x_shape, axis, keepdims
    ),
    samples=_AXES,
    precision="single",
    complex=True,
)
def mean(x, *, axis=None, keepdims=False):
    """Arithmetic mean over the axes."""
    if x.size >= _LONG and (y := _shortened(x, axis)) is not x:
        total = y.sum(axis=axis, keepdims=keepdims, dtype=wide(x))
        return narrow(total / total.dtype.type(_count(x.shape, axis)), x)
    return narrow(x.mean(axis=axis, keepdims=keepdims, dtype=wide(x)), x)


@op(
    x=lambda g, x_shape: broadcast_to(g, shape=x_shape),
    samples=calls(
        lambda: (draw((2, 3)), {"shape": (3,), "dtype": np.dtype("float64")}),
        lambda: (draw((2, 3)), {"shape": (2, 1), "dtype": np.dtype("float64")}),
        lambda: (draw((2, 3)), {"shape": (), "dtype": np.dtype("float64")}),
        lambda: (draw((2, 3)), {"shape": (2, 3), "dtype": np.dtype("float32")}),
        lambda: (draw((0, 3)), {"shape": (3,), "dtype": np.dtype("float64")}),
    ),
    fixed=("x",),
    complex=True,
)
def sum_to(x, *, shape, dtype):
    """x summed over the axes along which `shape` broadcasts to x's shape, and cast to `dtype`:
    the adjoint of broadcasting and of promotion. ValueError where `shape` does not broadcast."""
    if x.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        x = x.real  # what an input that became complex has no part in
    extra = x.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        [extra + i for i, n in enumerate(shape) if n == 1 and x.shape[extra + i] != 1]
    )
    if extra < 0 or any(n not in (1, m) for n, m in zip(shape, x.shape[extra:], strict=True)):
        raise ValueError(f"a gradient of shape {x.shape} does not sum to shape {tuple(shape)}")
    if axes:
        x = x if x.size < _LONG else _shortened(x, axes)
        x = x.sum(axis=axes, dtype=wide(x)).reshape(shape)
    return x.astype(dtype) if x.dtype != dtype else x


def _extremum_grad(g, x, y, axis, keepdims):
    """The cotangent goes to the extreme elements, in equal parts where there are several."""
    hit = equal(x, spread(y, x.shape, axis, keepdims))
    hit = where(hit, 1.0, 0.0).astype(wide(x) or x.dtype)  # 70,000 halves would sum to infinity
    share = hit / sum_(hit, axis=axis, keepdims=True)
    return narrow(spread(widened(g), x.shape, axis, keepdims) * share, x)


@op(x=_extremum_grad, samples=_AXES)
def max_(x, *, axis=None, keepdims=False):
    """Largest element over the axes; equal ones share the gradient."""
    return x.max(axis=axis, keepdims=keepdims)


@op(x=_extremum_grad, samples=_AXES)
def min_(x, *, axis=None, keepdims=False):
    """Smallest element over the axes; equal ones share the gradient."""
    return x.min(axis=axis, keepdims=keepdims)


def _variance(x, axis, keepdims, ddof):
    """The variance, in float32 for halves, exact of numbers far from zero though their mean is
    rounded (the corrected two-pass algorithm, Chan et al. 1983)."""
    xp, x = namespace(x), widened(x)
    centred = x - mean.ref(x, axis=axis, keepdims=True)
    total = sum_.ref(centred, axis=axis, keepdims=keepdims)  # of roundings
    centred *= centred
    n = x.size // max(1, total.size)
    squares = sum_.ref(centred, axis=axis, keepdims=keepdims) - total * total / max(1, n)
    return xp.maximum(squares, 0) / max(0, n - ddof)


def _var_grad(g, x, axis, keepdims, ddof):
    centred = x - mean(x, axis=axis, keepdims=True)
    freedom = _count(x.shape, axis) - ddof
    scale = 2.0 / freedom if freedom > 0 else math.nan
    return spread(g * scale, x.shape, axis, keepdims) * centred


@op(
    x=_var_grad,
    samples=shaped(
        ((3, 4), {}),
        ((3, 4), {"axis": 0, "ddof": 1}),
        ((2, 3, 4), {"axis": (0, 2), "keepdims": True}),
        ((5,), {"axis": 0}),
        ((), {}),
    ),
    precision="single",
)
def var(x, *, axis=None, keepdims=False, ddof=0):
    """Variance over the axes: the squared deviations' sum divided by n - ddof."""
    return narrow(_variance(x, axis, keepdims, ddof), x)


def _std_grad(g, x, y, axis, keepdims, ddof):
    """(x - mean) / (std * (n - ddof)); 0 where all are equal, and the root has a corner."""
    wide_x, freedom = widened(x), _count(x.shape, axis) - ddof
    scale = 1.0 / freedom if freedom > 0 else math.nan
    slope = widened(g) * scale / where(equal(y, 0), math.inf, widened(y))
    centred = wide_x - mean(wide_x, axis=axis, keepdims=True)
    return narrow(spread(slope, x.shape, axis, keepdims) * centred, x)


@op(x=_std_grad, samples=var.samples, precision="single")
def std(x, *, axis=None, keepdims=False, ddof=0):
    """Standard deviation over the axes, the root of `var`: exactly 0 of equal numbers."""
    return narrow(namespace(x).sqrt(_variance(x, axis, keepdims, ddof)), x)


def _before(x):
    """The exclusive cumulative product along the last axis, in log2(n) shifted products."""
    n, ones, step = x.shape[-1], full_like(x, value=1.0), 1
    scan = concat(ones[..., :1], x[..., : n - 1], axis=-1)
    while step < n:
        scan = scan * concat(ones[..., :step], scan[..., : n - step], axis=-1)
        step *= 2
    return scan


def _prod_grad(g, x, axis, keepdims):
    """The gradient of an element is the product of the others: right with zeros, to any order."""
    if x.size == 0 or not x.shape:
        return spread(g, x.shape, axis, keepdims)
    axes = range(len(x.shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    last = [a % len(x.shape) for a in axes]
    order = [a for a in range(len(x.shape)) if a not in last] + last
    moved = x.transpose(order)
    flat = reshape(moved, shape=(*[x.shape[a] for a in order[: len(order) - len(last)]], -1))
    others = _before(flat) * flip(_before(flip(flat, axis=-1)), axis=-1)
    back = reshape(others, shape=moved.shape).transpose([order.index(i) for i in range(len(order))])
    return spread(g, x.shape, axis, keepdims) * back


@op(
    x=_prod_grad,
    samples=lambda: [
        *_AXES(),
        Sample((np.array([[1.5, 0.0, 2.0], [0.0, 0.0, 3.0]]),), {"axis": 1}),
    ],
    precision="single",
    complex=True,
)
def prod(x, *, axis=None, keepdims=False):
    """Product over the axes; the gradient is right where elements are zero."""
    return narrow(x.prod(axis=axis, keepdims=keepdims, dtype=wide(x)), x)


_flat: dict[str, Any] = {"differentiable": False}
_ARGS = shaped(
    ((3, 4), {}),
    ((3, 4), {"axis": 0}),
    ((5,), {"axis": -1}),
    ((3, 4), {"keepdims": True}),
    ((3, 4), {"axis": -1, "keepdims": True}),
)


@op(samples=_ARGS, **_flat)
def argmax(x, *, axis=None, keepdims=False):
    """Index of the largest element, the first of equals; in the flattened array without axis."""
    return x.argmax(axis=axis, keepdims=keepdims)


@op(samples=_ARGS, **_flat)
def argmin(x, *, axis=None, keepdims=False):
    """Index of the smallest element, the first of equals; in the flattened array without axis."""
    return x.argmin(axis=axis, keepdims=keepdims)


@op(samples=shaped(((3, 4), {}), ((3, 4), {"axis": 0})), **_flat, complex=True)
def any_(x, *, axis=None, keepdims=False):
    """Whether any element is non-zero."""
    return namespace(x).any(x, axis=axis, keepdims=keepdims)


@op(samples=shaped(((3, 4), {}), ((3, 4), {"axis": 0})), **_flat, complex=True)
def all_(x, *, axis=None, keepdims=False):
    """Whether all elements are non-zero."""
    return namespace(x).all(x, axis=axis, keepdims=keepdims)


# --- softmax and its family ---------------------------------------------------------------------

_SOFT = shaped(
    ((3, 4), {}), ((3, 4), {"axis": 0}), ((2, 3, 5), {"axis": 1}), ((33,), {}), ((1,), {})
)
_WILD = calls(lambda: (draw((3, 5), -1e4, 1e4),), lambda: (draw((2, 4), -300, 300),))


def _shifted(x, axis):
    """x minus its maximum, in float32 for halves. One of +inf makes its row NaN."""
    x = widened(x)
    return namespace(x), x - x.max(axis=axis, keepdims=True) if x.size else x


@op(samples=same(2, 0.1, 1.0, axis=-1, least=1))
def softmax_grad(g, y, *, axis):
    """Gradient of softmax from its output: y * (g - sum(g * y))."""
    return y * (g - sum_(g * y, axis=axis, keepdims=True))


@op(
    x=softmax_grad,
    samples=_SOFT,
    extreme=_WILD,
    precision="single",
)
def softmax(x, *, axis=-1):
    """exp(x) / sum(exp(x)) along the axis, shifted by the maximum against overflow."""
    xp, shifted = _shifted(x, axis)
    e = xp.exp(shifted)
    return narrow(e / e.sum(axis=axis, keepdims=True), x)


@op(samples=same(2, -3.0, -0.1, axis=-1, least=1))
def log_softmax_grad(g, y, *, axis):
    """Gradient of log_softmax from its output: g - exp(y) * sum(g)."""
    return g - exp(y) * sum_(g, axis=axis, keepdims=True)


@op(
    x=log_softmax_grad,
    samples=_SOFT,
    extreme=_WILD,
    precision="single",
)
def log_softmax(x, *, axis=-1):
    """log(softmax(x)) along the axis, without materialising the softmax."""
    xp, shifted = _shifted(x, axis)
    return narrow(shifted - xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True)), x)


def _logsumexp_grad(g, x, y, axis, keepdims):
    """g * softmax(x); 0 in rows that are all -inf (fully masked)."""
    y = where(equal(y, -math.inf), 0.0, y)
    return spread(g, x.shape, axis, keepdims) * exp(x - spread(y, x.shape, axis, keepdims))


@op(x=_logsumexp_grad, samples=_AXES, extreme=_WILD, precision="single")
def logsumexp(x, *, axis=None, keepdims=False):
    """log(sum(exp(x))) over the axes, shifted by the maximum against overflow."""
    xp, wide_x = namespace(x), widened(x)
    if not x.size:  # no library takes the maximum of nothing
        return xp.full(x.sum(axis=axis, keepdims=keepdims).shape, -math.inf, dtype=x.dtype)
    top = wide_x.max(axis=axis, keepdims=True)
    top = xp.where(xp.isfinite(top), top, 0)  # inf - inf is NaN
    y = xp.log(xp.exp(wide_x - top).sum(axis=axis, keepdims=True)) + top
    if not keepdims:
        y = y.reshape(()) if axis is None else y.squeeze(axis)
    return narrow(y, x)
