"""Indices along an axis, turned into places of the flattened array: what gathering, scattering,
sorting and reducing by an id have in common. `getitem` and `scatter_add` do the rest."""

import math

import numpy as np

from ..backend import everything, is_floating, namespace
from ..core import Tensor, op
from ..errors import IndexingError, user_line
from ..switches import switches
from .elementwise import equal, where
from .index import ARRAY, getitem, scatter_add
from .reduce import narrow, sum_, wide, widened
from .samples import Sample, draw, shaped
from .shape import reshape


def wrapped(index, n, what="an index"):
    """Indices into n positions as int64 from 0: negative ones count from the last. IndexError for
    those out of range; on a GPU, which would have to be waited for, they wrap around, but in
    anomaly mode."""
    xp, given, index = namespace(index), everything(index), index.astype("int64", copy=False)
    if type(given) is not np.ndarray and switches.anomaly is None:
        return index % max(n, 1)
    if not index.size:
        return index
    low, high = int(given.min()), int(given.max())  # of uint64, too, which int64 does not hold
    if low < -n or high >= n:
        place = f" at {line}" if (line := user_line()) else ""
        raise IndexingError(f"{what}{place} runs from {low} to {high}, of {n} positions")
    return xp.where(index < 0, index + n, index) if low < 0 else index


def places(index, shape, axis, what="an index"):
    """Where the elements at indices along an axis are in a flattened array of a shape. The indices
    have the other axes of that shape, or begin with them."""
    xp, axis = namespace(index), axis % index.ndim
    at, own = wrapped(index, shape[axis], what), math.prod(shape[axis + 1 :])
    at = at if own == 1 else at * own
    for i, n in enumerate(index.shape):
        if i != axis and n > 1:
            others = xp.arange(n).reshape(-1, *[1] * (index.ndim - 1 - i))
            at = at + others * math.prod(shape[i + 1 :])
    return at


def raw(x):
    """The array of a Tensor, or an array itself."""
    return x._data if isinstance(x, Tensor) else x


def taken(x, at):
    """The elements of x, an array or a Tensor, at places of the flattened array."""
    return getitem(reshape(x, shape=(-1,)), at, template=(ARRAY,))


def added(values, at, shape):
    """Zeros of a shape with values added at places of the flattened array: the adjoint."""
    flat, at = reshape(values, shape=(-1,)), at.reshape(-1)
    return reshape(scatter_add(flat, at, shape=(math.prod(shape),), template=(ARRAY,)), shape=shape)


def _repeat_grad(g, x_shape, repeats, axis):
    shape = (*x_shape[: axis + 1], repeats, *x_shape[axis + 1 :])
    return sum_(reshape(g, shape=shape), axis=axis + 1)


@op(
    x=_repeat_grad,
    samples=shaped(
        ((3,), {"repeats": 2, "axis": 0}),
        ((2, 3), {"repeats": 3, "axis": 1}),
        ((2, 3, 2), {"repeats": 1, "axis": 1}),
        ((2, 2), {"repeats": 0, "axis": 0}),
    ),
    kind="shape",
)
def repeat_each(x, *, repeats, axis):
    """Each slice along an axis, counted from the first, repeated."""
    return namespace(x).repeat(x, repeats, axis)


# --- by an id -----------------------------------------------------------------------------------


def segment_ids(ids, count):
    """Ids of `count` segments as int64. IndexError for those below 0 or not below count; on a GPU
    they wrap around, but in anomaly mode."""
    if not count and ids.size:
        raise IndexingError(f"{ids.size} ids, and there are no segments")
    if type(ids) is np.ndarray and ids.size:
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= count:
            raise IndexingError(f"segment ids run from {low} to {high}, outside of 0..{count - 1}")
        return ids.astype("int64", copy=False)
    return wrapped(ids, count, "a segment's id")


def counts(ids, count):
    """How many of the ids are each of 0 ... count - 1."""
    if type(ids) is np.ndarray:
        return np.bincount(ids, minlength=count)
    xp = namespace(ids)
    found = xp.zeros(count, dtype="int64")
    xp.add.at(found, ids, xp.ones(ids.shape, dtype="int64"))  # of whole numbers: no order matters
    return found


def last_writer(ids, count):
    """For each of `count` places, the last position whose id it is, -1 where there is none."""
    xp = namespace(ids)
    last = xp.full(count, -1, dtype="int64")
    xp.maximum.at(last, ids, xp.arange(ids.size))  # of whole numbers: no order matters
    return last


def least_of(dtype, largest):
    """What is not larger, or not smaller, than any number of a dtype."""
    if is_floating(dtype):
        return -math.inf if largest else math.inf
    if dtype.kind == "b":
        return not largest
    return np.iinfo(dtype).min if largest else np.iinfo(dtype).max


def _segment_extreme_grad(g, x, y, ids):
    """Equal parts to the extreme elements of a segment, as `max` does."""
    hit = where(equal(x, y[ids]), 1.0, 0.0).astype(wide(x) or x.dtype)
    count = scatter_add(hit, ids, shape=y.shape, template=(ARRAY,))
    share = widened(g) / where(equal(count, 0.0), 1.0, count)
    return narrow(hit * share[ids], x)


def _segments():
    ids = np.array([2, 0, 1, 2, 0])
    made = [((5, 3), ids, 3), ((5,), ids, 3), ((0, 2), ids[:0], 0)]
    return [
        Sample((draw(shape), ids), {"count": n, "largest": bool(i % 2)})
        for i, (shape, ids, n) in enumerate(made)
    ]


@op(x=_segment_extreme_grad, samples=_segments, fixed=("ids",))
def segment_extreme(x, ids, *, count, largest):
    """(count, ...) from rows x (n, ...): the largest or smallest number of those whose id (n,) is
    i, NaN where there is one, and where there is no row what every number exceeds."""
    xp, wide = namespace(x), widened(x)
    whole = x.dtype.kind in "biu" and x.dtype.itemsize < 4
    wide = wide.astype("int64") if whole else wide
    columns, flat = math.prod(x.shape[1:]), wide.reshape(-1)
    at = (segment_ids(ids, count)[:, None] * columns + xp.arange(columns)).reshape(-1)
    least = xp.asarray(least_of(x.dtype, largest)).astype(wide.dtype)
    out = xp.broadcast_to(least, (count * columns,)).copy()
    extreme = xp.maximum if largest else xp.minimum
    if xp is np or not is_floating(wide.dtype):
        extreme.at(out, at, flat)
    else:  # atomics: an extreme does not depend on the order in which they arrive
        ranks = _ranks(out)
        extreme.at(ranks, at, _ranks(flat))
        out = _ranks(ranks).view(out.dtype)
        nan = xp.zeros(out.shape, dtype="int32")
        xp.maximum.at(nan, at, xp.isnan(flat).astype("int32"))
        out = xp.where(nan > 0, xp.asarray(xp.nan, dtype=out.dtype), out)
    out = out.reshape(count, *x.shape[1:])
    return out.astype(x.dtype) if whole else narrow(out, x)


def _ranks(x):
    """Whole numbers in the order of floating ones, or the bits of those from such: CuPy's atomics
    compare doubles as floats."""
    bits = x.view(f"int{8 * x.itemsize}")
    return bits ^ ((bits >> (8 * x.itemsize - 1)) & int(np.iinfo(bits.dtype).max))
