"""Shapes: arrays of any shape as matrices, and which shapes an op takes. For every array library.

The `fits` are what `@accepts(when=...)` asks: a call that does not fit goes to the reference,
which broadcasts it or says what is wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from .steps import step_of

Array = Any


def flat_rows(x: Array) -> Array:
    """x as a matrix of its last axis' rows; a view of a contiguous x."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def rows(xp: Any, axis: Any, *arrays: Array) -> tuple[list[Array], Callable[[Array], Array]]:
    """Contiguous arrays of one shape as matrices whose rows run along `axis`, and the function
    that brings a matrix back to their shape. Copies unless the axis is the last."""
    shape, ndim = arrays[0].shape, len(arrays[0].shape)
    axes = tuple(range(ndim)) if axis is None else normalize_axis_tuple(axis, ndim)
    order = [a for a in range(ndim) if a not in axes] + list(axes)
    across = math.prod([shape[a] for a in axes])
    down = math.prod(shape) // across if across else 0
    if order == list(range(ndim)):
        return [a.reshape(down, across) for a in arrays], lambda y: y.reshape(shape)
    moved = [xp.ascontiguousarray(a.transpose(order)) for a in arrays]
    inverse = [order.index(i) for i in range(ndim)]

    def back(y: Array) -> Array:
        return y.reshape(moved[0].shape).transpose(inverse)

    return [a.reshape(down, across) for a in moved], back


def any_numbers(x: Array, *_: Array, **__: Any) -> bool:
    """Rows to reduce: some dimension, some numbers."""
    return x.ndim > 0 and x.size > 0


def reduction(shape: tuple[int, ...], axis: Any) -> tuple[int, int, int] | None:
    """The shape as (before, reduced, after) where the reduced axes are adjacent, else None."""
    ndim = len(shape)
    axes = tuple(range(ndim)) if axis is None else normalize_axis_tuple(axis, ndim)
    first, last = min(axes, default=0), max(axes, default=-1) + 1
    if len(axes) != last - first:
        return None
    cuts = shape[:first], shape[first:last], shape[last:]
    return math.prod(cuts[0]), math.prod(cuts[1]), math.prod(cuts[2])


def reduced_shape(shape: tuple[int, ...], axis: Any, keepdims: bool) -> list[int]:
    """The shape that reducing over the axes gives."""
    ndim = len(shape)
    axes = range(ndim) if axis is None else normalize_axis_tuple(axis, ndim)
    kept = [1 if i in axes else n for i, n in enumerate(shape)]
    return kept if keepdims else [n for i, n in enumerate(shape) if i not in axes]


def one_reduction(x: Array, *, axis: Any = None, keepdims: bool = False) -> bool:
    """Not empty, and reduced over adjacent axes."""
    return x.size > 0 and reduction(x.shape, axis) is not None


def sums_to(x: Array, *, shape: tuple[int, ...], dtype: Any) -> bool:
    """Not empty, and reduced over leading axes only."""
    extra = x.ndim - len(shape)
    return x.size > 0 and extra > 0 and x.shape[extra:] == tuple(shape)


def product_fits(a: Array, b: Array) -> bool:
    """Matrices, or batches of them that broadcast."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        return False
    batches = zip(a.shape[-3::-1], b.shape[-3::-1], strict=False)
    return all(m == n or 1 in (m, n) for m, n in batches)


def any_product_fits(a: Array, b: Array) -> bool:
    """The same, or a vector: a row on the left, a column on the right."""
    if a.ndim > 1 and b.ndim > 1:
        return product_fits(a, b)
    return a.ndim > 0 and b.ndim > 0 and a.shape[-1] == b.shape[-2:][0]


def multiplications(a: Array, b: Array) -> int:
    """How many multiplications a @ b takes."""
    return a.size * b.shape[-1]


def dense_fits(x: Array, w: Array, b: Array | None = None, **_: Any) -> bool:
    """x (..., n_in), w (n_in, n_out) and b (n_out,) or None."""
    n_in, n_out = w.shape if w.ndim == 2 else (-1, -1)
    return x.ndim > 0 and x.shape[-1] == n_in and (b is None or b.shape == (n_out,))


def dense_grad_fits(g: Array, x: Array, w: Array, y: Array, **_: Any) -> bool:
    """The same, and g and y of the output's shape; no empty sums."""
    fits = dense_fits(x, w) and g.shape == y.shape == (*x.shape[:-1], w.shape[1])
    return fits and g.size > 0 and x.size > 0


def labels_fit(logits: Array, labels: Array) -> bool:
    """One whole number for each row of logits."""
    fits = labels.dtype.kind == "i" and labels.shape == logits.shape[:-1]
    return fits and any_numbers(logits)


def labels_grad_fit(g: Array, logits: Array, labels: Array) -> bool:
    """The same, and a gradient for each."""
    return g.shape == labels.shape and labels_fit(logits, labels)


def norm_fits(x: Array, weight: Array | None = None, bias: Array | None = None, **_: Any) -> bool:
    """Weight and bias as long as a row, or None."""
    wanted = x.shape[-1:]
    return any_numbers(x) and all(a.shape == wanted for a in (weight, bias) if a is not None)


def _norm_grad_fits(fits: bool, g: Array, x: Array, shape: tuple, *statistics: Array) -> bool:
    """Also a gradient like x, and statistics of this shape in the dtype computed in."""
    dtype = np.float64 if x.dtype.itemsize == 8 else np.float32
    like = all(a.shape == shape and a.dtype == dtype for a in statistics)
    return fits and g.shape == x.shape and like


def norm_grad_fits(
    g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, **_: Any
) -> bool:
    """Statistics of each row."""
    return _norm_grad_fits(norm_fits(x, weight), g, x, (*x.shape[:-1], 1), mean, rstd)


def rms_grad_fits(g: Array, x: Array, weight: Array | None, rstd: Array, **_: Any) -> bool:
    """The same without a mean."""
    return _norm_grad_fits(norm_fits(x, weight), g, x, (*x.shape[:-1], 1), rstd)


def channels_fit(
    x: Array, weight: Array | None = None, bias: Array | None = None, **_: Any
) -> bool:
    """Channels on axis 1, a weight and bias for each, or None."""
    wanted = x.shape[1:2]
    fits = x.ndim > 1 and x.size > 0
    return fits and all(a.shape == wanted for a in (weight, bias) if a is not None)


def channels_grad_fit(
    g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, **_: Any
) -> bool:
    """Statistics of each channel."""
    shape = (1, *x.shape[1:2], *(1,) * (x.ndim - 2))
    return _norm_grad_fits(channels_fit(x, weight), g, x, shape, mean, rstd)


def groups_fit(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, groups: int, **_: Any
) -> bool:
    """Channels that divide into the groups, and whose numbers have 32 bits."""
    fits = channels_fit(x, weight, bias) and groups > 0
    return fits and x.shape[1] % groups == 0 and x.shape[1] < 2**32


def groups_grad_fit(
    g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, **_: Any
) -> bool:
    """Statistics of each group of each example."""
    shape = (*x.shape[:1], rstd.size // max(1, len(x)), 1)
    fits = channels_fit(x, weight) and groups_fit(x, groups=shape[1])
    return _norm_grad_fits(fits, g, x, shape, mean, rstd)


def running_fit(
    running_mean: Array, running_var: Array, mean: Array, rstd: Array, **_: Any
) -> bool:
    """A number for each channel, the batch's in the dtype computed in."""
    dtype = np.float64 if running_mean.dtype.itemsize == 8 else np.float32
    sizes = {a.size for a in (running_mean, running_var, mean, rstd)}
    return len(sizes) == 1 and running_mean.size > 0 and mean.dtype == rstd.dtype == dtype


def ids_fit(weight: Array, ids: Array) -> bool:
    """A table, and whole numbers."""
    return weight.ndim == 2 and weight.size > 0 and ids.size > 0 and ids.dtype.kind in "iu"


def edges_fit(
    x: Array, sources: Array, targets: Array, w: Array | None = None, *, count: int
) -> bool:
    """Rows, and a source, a target and a weight for each edge."""
    ids = sources.dtype.kind in "iu" and targets.dtype.kind in "iu"
    alike = sources.ndim == 1 and sources.shape == targets.shape
    return alike and ids and x.ndim == 2 and x.size > 0 and (w is None or w.shape == sources.shape)


def pairs_fit(a: Array, b: Array, at: Array, bt: Array) -> bool:
    """Rows of one length, and one of each for every pair."""
    ids = at.dtype.kind in "iu" and bt.dtype.kind in "iu"
    rows = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1] and a.size > 0 and b.size > 0
    return ids and rows and at.ndim == 1 and at.shape == bt.shape


def ids_grad_fit(g: Array, ids: Array, count: int) -> bool:
    """A row for each id."""
    fits = g.ndim > 0 and g.size > 0 and count > 0 and ids.dtype.kind in "iu"
    return fits and g.shape[:-1] == ids.shape


def extent(size: Any, window: Any, stride: Any, padding: Any, dilation: Any = (1, 1)) -> tuple:
    """How many windows fit along height and width: none where a number is below 1."""
    return tuple(
        [
            (n + 2 * p - d * (k - 1) - 1) // s + 1 if s > 0 and d > 0 and p >= 0 else 0
            for n, k, s, p, d in zip(size, window, stride, padding, dilation, strict=True)
        ]
    )


def conv_fits(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    groups: int = 1,
    activation: str = "none",
    **geometry: Any,
) -> bool:
    """Images, filters for their channels, a bias for each filter; no empty results."""
    if x.ndim != 4 or w.ndim != 4 or x.shape[1] != w.shape[1] * groups or w.shape[0] % groups:
        return False
    if activation not in ("none", "relu", "sigmoid", "tanh") or 0 in (x.size, w.size):
        return False
    if not near(x.shape[2:], **geometry):
        return False
    return (b is None or b.shape == w.shape[:1]) and min(windows(x, w.shape[2:], **geometry)) > 0


def conv_grad_fits(
    g: Array, x: Array, w: Array, y: Array, *, groups: int, activation: str, needs: Any, **how: Any
) -> bool:
    """The same, and g and y of the result's shape."""
    if not conv_fits(x, w, groups=groups, activation=activation, **how):
        return False
    return g.shape == y.shape == (len(x), len(w), *windows(x, w.shape[2:], **how))


def windows(
    x: Array, window: Any, stride: Any = (1, 1), padding: Any = (0, 0), dilation: Any = (1, 1)
) -> tuple:
    """`extent` of images, with the defaults of the ops."""
    return extent(x.shape[2:], window, stride, padding, dilation)


def conv_input_fits(dy: Array, w: Array, *, size: Any, groups: int, **geometry: Any) -> bool:
    """A result that images of that size give with the filters."""
    if dy.ndim != 4 or w.ndim != 4 or dy.shape[1] != w.shape[0] or w.shape[0] % groups:
        return False
    filled = dy.size > 0 and w.size > 0 and min(size) > 0 and near(size, **geometry)
    return filled and dy.shape[2:] == extent(size, w.shape[2:], **geometry)


def conv_weight_fits(x: Array, dy: Array, *, window: Any, groups: int, **geometry: Any) -> bool:
    """Images, and a result that they give with such filters."""
    if x.ndim != 4 or dy.ndim != 4 or x.shape[1] % groups or dy.shape[1] % groups:
        return False
    fits = x.shape[0] == dy.shape[0] and dy.shape[2:] == extent(x.shape[2:], window, **geometry)
    return fits and dy.size > 0 and x.size > 0 and near(x.shape[2:], **geometry)


def near(size: Any, stride: Any = (1, 1), padding: Any = (0, 0), dilation: Any = (1, 1)) -> bool:
    """Whether windows step no further than the padded images reach: tables grow with the steps, and
    on a GPU their places are int32. (Further, a window is the only one, or is one number.)"""
    reach = max(size) + 2 * max(padding)
    return max(*stride, *dilation) <= reach < 2**29


def pool_fits(x: Array, *, size: Any, stride: Any = None, padding: Any = (0, 0)) -> bool:
    """Images that hold a window, and less padding than half of one."""
    if x.ndim != 4 or any(2 * p > k for p, k in zip(padding, size, strict=True)):
        return False
    if not near(x.shape[2:], stride or size, padding) or math.prod(x.shape[2:]) >= 2**31:
        return False  # places in a plane are int32
    return min(extent(x.shape[2:], size, stride or size, padding)) > 0


def spread_fits(x: Array, *, plane: Any, size: Any, stride: Any, padding: Any) -> bool:
    """A result of pooling such planes."""
    fits = x.ndim == 4 and near(plane, stride or size, padding)
    return fits and x.shape[2:] == extent(plane, size, stride or size, padding)


def places_fit(x: Array, where: Array, *, size: Any = None) -> bool:
    """Integers for the same planes; of x's shape where x is what is scattered to them."""
    if x.ndim != 4 or where.ndim != 4 or where.dtype.kind != "i" or x.shape[:2] != where.shape[:2]:
        return False
    return size is None or x.shape == where.shape


def attention_fits(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    scale: float | None = None,
    **_: Any,
) -> bool:
    """One batch for q (..., T, D), k (..., S, D) and v (..., S, E), a scale above 0, and a mask
    that broadcasts to the scores, of q's dtype or bool."""
    if scale is not None and not scale > 0:
        return False
    if not q.ndim == k.ndim == v.ndim >= 2 or not q.shape[:-2] == k.shape[:-2] == v.shape[:-2]:
        return False
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2] or 0 in (q.size, k.size, v.size):
        return False
    if mask is None:
        return True
    sizes = zip(mask.shape[::-1], (k.shape[-2], *q.shape[-2::-1]), strict=False)
    fits = mask.ndim <= q.ndim and all(m in (1, n) for m, n in sizes)
    return fits and mask.dtype in (q.dtype, bool)


def attention_grad_fits(g: Array, *inputs: Array, needs: tuple[bool, ...], **params: Any) -> bool:
    """The same, g and y alike, a number for each row, and no gradient for the mask."""
    q, k, v, mask, y, lse = inputs
    if needs[3] or not attention_fits(q, k, v, mask, **params):
        return False
    return g.shape == y.shape == (*q.shape[:-1], v.shape[-1]) and lse.shape == q.shape[:-1]


def recurrent_fits(gates: int, x: Array, w: Array, u: Array, states: tuple, biases: tuple) -> bool:
    """x (n, t, features), w (features, gates * hidden), u (hidden, gates * hidden), states
    (n, hidden) and biases (gates * hidden,) or None; at least one step to take."""
    if x.ndim != 3 or u.ndim != 2 or not x.size or not u.size:
        return False
    hidden, wide = u.shape[0], (gates * u.shape[0],)
    return (
        u.shape[1:] == wide
        and w.shape == x.shape[2:] + wide
        and all(a is None or a.shape == (x.shape[0], hidden) for a in states)
        and all(a is None or a.shape == wide for a in biases)
    )


def recurrent_grad_fits(
    gates: int, x: Array, w: Array, u: Array, states: tuple, noted: tuple, cotangents: tuple
) -> bool:
    """The same; the gates (n, t, gates * hidden) noted first, then sequences (n, t, hidden); and
    of those the cotangents, that of the whole sequence first, then those of the last states."""
    if not recurrent_fits(gates, x, w, u, states + cotangents[1:], ()):
        return False
    sequence = (*x.shape[:2], u.shape[0])
    return (
        noted[0].shape == (*x.shape[:2], u.shape[1])
        and all(a.shape == sequence for a in noted[1:])
        and (cotangents[0] is None or cotangents[0].shape == sequence)
    )


def lstm_fits(
    x: Array, h0: Array | None, c0: Array | None, w: Array, u: Array, b: Array | None = None
) -> bool:
    """`recurrent_fits`, from the arguments of the op."""
    return recurrent_fits(4, x, w, u, (h0, c0), (b,))


def lstm_grad_fits(
    x: Array,
    h0: Array | None,
    c0: Array | None,
    w: Array,
    u: Array,
    *rest: Array | None,
    needs: Any,
) -> bool:
    """`recurrent_grad_fits`, and no cotangents of what was noted."""
    y, gates, cells, gy, gh, gc, *others = *rest, *[None] * (8 - len(rest))
    noted, plain = (gates, cells, y), all(a is None for a in others)
    return plain and recurrent_grad_fits(4, x, w, u, (h0, c0), noted, (gy, gh, gc))


def gru_fits(
    x: Array,
    h0: Array | None,
    w: Array,
    u: Array,
    b: Array | None = None,
    bu: Array | None = None,
) -> bool:
    """`recurrent_fits`, from the arguments of the op."""
    return recurrent_fits(3, x, w, u, (h0,), (b, bu))


def gru_grad_fits(
    x: Array, h0: Array | None, w: Array, u: Array, *rest: Array | None, needs: Any
) -> bool:
    """`recurrent_grad_fits`, and no cotangents of what was noted."""
    y, gates, products, gy, gh, *others = *rest, *[None] * (7 - len(rest))
    noted, plain = (gates, products, y), all(a is None for a in others)
    return plain and recurrent_grad_fits(3, x, w, u, (h0,), noted, (gy, gh))


def rnn_fits(
    x: Array,
    h0: Array | None,
    w: Array,
    u: Array,
    b: Array | None = None,
    *,
    activation: str = "tanh",
) -> bool:
    """`recurrent_fits`, from the arguments of the op."""
    return activation in ("tanh", "relu") and recurrent_fits(1, x, w, u, (h0,), (b,))


def rnn_grad_fits(
    x: Array,
    h0: Array | None,
    w: Array,
    u: Array,
    y: Array,
    gy: Array | None = None,
    gh: Array | None = None,
    *,
    activation: str,
    needs: Any,
) -> bool:
    """`recurrent_grad_fits`, from the arguments of the op."""
    return recurrent_grad_fits(1, x, w, u, (h0,), (y,), (gy, gh))


def state_fits(state: Array) -> bool:
    """The key and the counter of the random stream."""
    return state.dtype == np.uint64 and state.shape == (2,)


def hyper_fits(hyper: Array) -> bool:
    """[learning rate, step], perhaps a third number, and whether the step is applied."""
    return hyper.shape in ((2,), (3,), (4,)) and hyper.dtype == np.float64


def advance_fits(hyper: Array, apply_if: Array | None = None) -> bool:
    """These, and with `apply_if` a place for it as the last."""
    return hyper_fits(hyper) and (apply_if is None or (apply_if.shape == (1,) and len(hyper) > 2))


def scale_fits(scaling: Array, finite: Array, **_: Any) -> bool:
    """[loss scale, good steps], and one number."""
    return scaling.shape == (2,) and finite.shape == (1,)


def rescale_fits(by: Array, *arrays: Array) -> bool:
    """One float64, and arrays to be multiplied by it."""
    return by.shape == (1,) and by.dtype == "float64" and len(arrays) > 0


def lists(arrays: tuple, k: int) -> list[tuple]:
    """k lists, one after the other, as a tuple of k arrays for each parameter."""
    n = len(arrays) // k
    return list(zip(*[arrays[i * n : (i + 1) * n] for i in range(k)], strict=True))


def total_size(hyper: Array, *arrays: Array) -> int:
    """How many elements an update reads."""
    return sum([a.size for a in arrays])


def all_sizes(*arrays: Array) -> int:
    """How many elements there are in all."""
    return sum([a.size for a in arrays])


def step_fits(hyper: Array, *arrays: Array, formula: str, options: dict) -> bool:
    """Lists of the same shapes, as many as the formula takes with these options."""
    step = step_of(formula, options)
    fits = hyper_fits(hyper) and len(hyper) - step.clock in (0, 1)
    return fits and _lists_fit(arrays, step.lists)


def _lists_fit(arrays: tuple, k: int) -> bool:
    if len(arrays) % k:
        return False
    return all(a.shape == one[0].shape for one in lists(arrays, k) for a in one)
