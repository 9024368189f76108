"""Indexing, and its adjoint: the scatter-add.

A key is split into a *template* of slices, integers, None and Ellipsis, which is metadata, and the
index arrays, which are inputs; the template has `ARRAY` in their place.
"""

import math
import operator

import numpy as np

from ..backend import is_half, namespace
from ..core import OPS, Tensor, op
from ..errors import DTypeError, IndexingError, user_line
from ..switches import switches
from .samples import Sample, draw, integers

ARRAY = "array"  # the placeholder of an index array in a template
_LARGE = 2**62


def split_key(key, x):
    """(template, index arrays) of a NumPy key; bool masks become integer arrays."""
    parts = [_part(p) for p in (key if isinstance(key, tuple) else (key,))]
    template, arrays, axis = [], [], 0
    for part in parts:
        if not hasattr(part, "dtype"):
            template.append(part)
            axis += x.ndim - sum(map(_axes, parts)) if part is ... else _axes(part)
            continue
        if part.dtype.kind == "b" and part.shape != x.shape[axis : axis + part.ndim]:
            raise IndexingError(
                f"getitem: a mask of shape {part.shape} where x, {x.shape}, has the axes "
                f"{x.shape[axis : axis + part.ndim]}: they must be the same"
            )
        found = part.nonzero() if part.dtype.kind == "b" else (part,)
        template += [ARRAY] * len(found)
        for index in found:
            arrays.append(_beside(x, index, axis))
            axis += 1
    return tuple(template), arrays


def _beside(x, index, axis):
    """An index array where x is. A GPU wraps indices out of range around and says nothing; those
    that come from the host are checked there, others in anomaly mode, as the check waits for the
    GPU."""
    here = type(index) is np.ndarray
    if type(x) is np.ndarray:
        return index
    if (here or switches.anomaly is not None) and index.size and axis < x.ndim:
        low, high, n = int(index.min()), int(index.max()), x.shape[axis]
        if low < -n or high >= n:
            place = f" at {line}" if (line := user_line()) else ""
            raise IndexingError(
                f"x[index]{place}: the indices run from {low} to {high}, axis {axis} has {n} "
                f"positions"
            )
    return namespace(x).asarray(index) if here else index


def _part(part):
    """One part of a key: a slice, an integer, None, Ellipsis, or an array of integers or bools."""
    if isinstance(part, slice):
        return _plain_slice(part)
    if part is None or part is ...:
        return part
    if isinstance(part, (int, np.integer)) and not isinstance(part, bool):
        return _within(int(part), int(part), int(part))
    raw = part._data if isinstance(part, Tensor) else part
    if not hasattr(raw, "dtype"):
        try:  # an empty list would become floats
            raw = np.asarray(raw, dtype=None if raw or raw is False else "int64")
        except (ValueError, TypeError) as error:
            raise DTypeError(f"getitem: {part!r} is not an index: {error}") from None
    if raw.dtype.kind not in "biu":
        raise DTypeError(
            f"getitem: an index of dtype {raw.dtype}; indices are integers, slices, masks, None or "
            "..."
        )
    if raw.dtype.kind == "b" and not raw.ndim:
        raise DTypeError("getitem: a single True or False is not an index; x[None] adds an axis")
    if raw.dtype == np.uint64 and raw.size and isinstance(raw, np.ndarray):
        return _within(raw, int(raw.min()), int(raw.max()))
    return raw


def _within(index, low, high):
    """An index that int64 holds. NumPy wraps others around, so that 2**64 - 1 would be -1."""
    if not -(2**63) <= low <= high < 2**63:
        raise IndexingError(f"x[index]: {high if low >= 0 else low} is out of bounds for any axis")
    return index


def _axes(part):
    """The number of axes of x that a part of a key indexes."""
    if hasattr(part, "dtype"):
        return part.ndim if part.dtype.kind == "b" else 1
    return 0 if part is None or part is ... else 1


def _plain_slice(s):
    """A slice of ints from one of Tensors or NumPy integers, none larger than an array can be:
    CuPy takes those of 64 bits only."""
    ends = (s.start, s.stop, s.step)
    try:
        ends = [None if v is None else operator.index(v) for v in ends]
        return slice(*[v if v is None else max(-_LARGE, min(v, _LARGE)) for v in ends])
    except TypeError:
        raise DTypeError(f"getitem: the ends of {s} are not whole numbers") from None


def key_of(template, index):
    """The key of a template and index arrays: the inverse of `split_key`."""
    arrays = iter(index)
    return tuple([next(arrays) if part is ARRAY else part for part in template])


def _cases():
    """Shape of x, index arrays, template."""
    return (
        ((4, 3), (), (slice(1, 3),)),
        ((4, 3), (), (-1, slice(None, None, -2))),
        ((4, 3), (), (..., None, 1)),
        ((4,), (), (2,)),
        ((), (), (None,)),
        ((4, 3), (integers((5,), 4),), (ARRAY,)),
        ((4, 3), (integers((2, 2), 4), integers((2,), 3, 1)), (ARRAY, ARRAY)),
        ((2, 4, 3), (integers((3,), 2), integers((3,), 3, 1)), (ARRAY, slice(1, 4), ARRAY)),
        ((4, 3), (integers((0,), 4),), (ARRAY,)),
    )


def _getitem_samples():
    return [Sample((draw(s), *index), {"template": t}) for s, index, t in _cases()]


def _scatter_samples():
    made = []
    for shape, index, template in _cases():
        values = draw(draw(shape)[key_of(template, index)].shape)
        made.append(Sample((values, *index), {"shape": shape, "template": template}))
    return made


@op(
    joint=lambda g, x_shape, index, template, needs: (
        scatter_add(g, *index, shape=x_shape, template=template),
        *[None] * len(index),
    ),
    samples=_getitem_samples,
    kind="shape",
    fixed=("index",),
)
def getitem(x, *index, template):
    """x[key], with the key of the template and the index arrays."""
    return x[key_of(template, index)]


@op(
    joint=lambda g, index, template, needs: (
        getitem(g, *index, template=template),
        *[None] * len(index),
    ),
    samples=_scatter_samples,
    kind="shape",
    fixed=("index",),
)
def scatter_add(values, *index, shape, template):
    """Zeros of `shape` with `values` added at the indices. Duplicates accumulate, in float32 for
    halves, in an order that follows from the indices alone."""
    xp, key = namespace(values), key_of(template, index)
    if not index:
        out = xp.zeros(shape, dtype=values.dtype)
        out[key] = values
        return out
    if xp is not np:  # whose add.at adds by atomics, in the order in which they arrive
        return _by_rows(values, index, shape, template)
    out = xp.zeros(shape, dtype="float32" if is_half(values.dtype) else values.dtype)
    if len(shape) == 1 and template == (ARRAY,):  # of one axis it is ten times faster
        key, values = (index[0].reshape(-1),), values.reshape(-1)
    xp.add.at(out, key, values.astype(out.dtype, copy=False))
    return out.astype(values.dtype, copy=False)


def _by_rows(values, index, shape, template):
    """scatter_add as the gradient of an embedding: the indexed axes are the rows of the table, the
    others its features."""
    if values.dtype.kind == "c":
        real, imag = [_by_rows(part, index, shape, template) for part in (values.real, values.imag)]
        return real + 1j * imag
    xp, arrays, indexed, slices, axis = namespace(values), iter(index), {}, {}, 0
    for part in template:
        if part is ...:
            axis += len(shape) - sum(map(_axes, template))
        elif part is not None:
            if isinstance(part, slice):
                slices[axis] = part
            else:
                indexed[axis] = next(arrays).astype("int64") if part is ARRAY else part
            axis += 1
    ids = 0
    for axis, i in indexed.items():
        ids = ids * shape[axis] + i % max(1, shape[axis])
    others = [a for a in range(len(shape)) if a not in indexed]
    first, end = place_of(template, ids.ndim, len(shape)), values.ndim
    order = [*range(first, first + ids.ndim), *range(first), *range(first + ids.ndim, end)]
    rows = values.transpose(order)
    rows = rows.reshape(ids.size, math.prod(rows.shape[ids.ndim :]))

    count = math.prod([shape[a] for a in indexed])
    sums = OPS["embedding_grad"](xp.ascontiguousarray(rows), ids.reshape(-1), count=count)
    lengths = [len(range(shape[a])[slices.get(a, slice(None))]) for a in others]
    sums = sums.reshape(*[shape[a] for a in indexed], *lengths)
    sums = sums.transpose([[*indexed, *others].index(a) for a in range(len(shape))])
    if sums.shape == tuple(shape) and all((s.step or 1) > 0 for s in slices.values()):
        return sums
    out = xp.zeros(shape, dtype=values.dtype)
    out[tuple([slices.get(a, slice(None)) for a in range(len(shape))])] = sums
    return out


def place_of(template, ndim, axes):
    """Which axis of x[key] is the first of the index arrays', which broadcast to `ndim` axes."""
    probe = np.zeros((2,) * ndim, int)  # NumPy knows
    key = [
        probe
        if part is ARRAY
        else 0
        if isinstance(part, int)
        else slice(None)
        if isinstance(part, slice)
        else part
        for part in template
    ]
    return np.zeros((1,) * axes)[tuple(key)].shape.index(2) if ndim else 0


def segment_sum(rows, ids, count):
    """(count, m) from rows (n, m): row i is the sum of those with ids (n,) == i. A segmented scan
    over the sorted ids (Hillis & Steele 1986), without atomics, and the host waits for nothing."""
    xp, n, dtype = namespace(rows), len(rows), rows.dtype
    ids = ids.astype("int64")
    ids = xp.where((ids >= 0) & (ids < count), ids, count)
    order = xp.argsort(ids, kind="stable")
    ids, sums, last, step = ids[order], rows[order], xp.ones(n, dtype=bool), 1
    sums = sums.astype("float32") if is_half(dtype) else sums
    while step < n:
        same = (ids[step:] == ids[:-step])[:, None]
        sums[step:] = sums[step:] + xp.where(same, sums[:-step], 0)
        step *= 2
    last[:-1] = ids[1:] != ids[:-1]
    out = xp.zeros((count + 1, rows.shape[1]), dtype=dtype)
    out[xp.where(last, ids, count)] = sums.astype(dtype)
    return out[:count]
