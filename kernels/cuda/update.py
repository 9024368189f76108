"""Multi-tensor optimizer steps: one launch for all parameters; hyper-parameters stay on the device.

The launch takes the addresses of all arrays by value, in a struct (`Lists` of update.cu): gradients
have new addresses in each step, and a table in device memory would need a copy each time.
"""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import adam_fits, advance_fits, lists, rescale_fits, scale_fits, sgd_fits
from .device import (
    BLOCK,
    DTYPES,
    MOST_BLOCKS,
    PACKED,
    TYPES,
    Source,
    blocks,
    ctype,
    device,
    either,
    given,
    packs,
    sizes,
    wide,
)

_CHUNK = 4096  # CHUNK of update.cu
# How many parameters a struct holds. A launch copies all of it, so there is a small one; the large
# one is nearly at the limit of kernel arguments, 32764 bytes (4 KiB before CUDA 12.1).
_FEW, _MANY = 64, 640
_LISTS = {
    n: np.dtype([("at", np.uint64, (4, n)), ("size", np.int64, n), ("chunk", np.int32, n)])
    for n in (_FEW, _MANY)
}
# To and from float only: a double by way of a float to a half would round twice.
_CASTS = dict.fromkeys(p for t in DTYPES for p in ((t, "float32"), ("float32", t)))
_ALL_DTYPES = ("adam", "square_parts", "rescale")
SOURCE = Source(
    "update",
    ["advance_step", "advance_scale", "sum_parts", *[f"accumulate<{t}, {v}>" for t, v in PACKED]]
    + [f"sgd<{t}, {k}, {n}>" for t in TYPES.values() for k in (2, 3) for n in _LISTS]
    + [f"{k}<{t}, {n}>" for k in _ALL_DTYPES for t in TYPES.values() for n in _LISTS]
    + [f"cast_all<{TYPES[s]}, {TYPES[t]}, {n}>" for s, t in _CASTS for n in _LISTS],
)


@accepts(dtypes=("float64",), when=advance_fits)
def advance_step(hyper, apply_if=None):
    args = (hyper, either(apply_if, hyper), *given(apply_if))
    device(hyper).launch(SOURCE, "advance_step", (1,), (1,), args)


@accepts(dtypes=("float64",), when=scale_fits)
def advance_scale(scaling, finite, *, interval, factor, least):
    args = (scaling, finite, *[np.float64(number) for number in (interval, factor, least)])
    device(scaling).launch(SOURCE, "advance_scale", (1,), (1,), args)


@accepts(dtypes=DTYPES, same_shape=True)
def accumulate(total, g):
    n, v = total.size, packs(total.size, total, g)
    args = (total, g, *sizes(n))
    device(total).launch(SOURCE, f"accumulate<{ctype(total)}, {v}>", blocks(n // v), (BLOCK,), args)


@accepts(dtypes=DTYPES, others=("hyper",), when=sgd_fits)
def sgd(hyper, *arrays, momentum, nesterov, weight_decay):
    a, k = wide(arrays[0]), 3 if momentum else 2
    numbers = a(momentum), a(weight_decay), np.int32(nesterov)
    _update(f"sgd<{ctype(arrays[0])}, {k}", hyper, lists(arrays, k), numbers)


@accepts(dtypes=DTYPES, others=("hyper",), when=adam_fits)
def adam(hyper, *arrays, beta1, beta2, eps, weight_decay, decoupled):
    numbers = *[np.float64(c) for c in (beta1, beta2, eps, weight_decay)], np.int32(decoupled)
    _update(f"adam<{ctype(arrays[0])}", hyper, lists(arrays, 4), numbers)


@accepts(dtypes=DTYPES, others=("by",), when=rescale_fits)
def rescale(by, *arrays):
    finite, launch = device(by).xp.ones((1,)), device(by).launch
    for table, most, count, chunks in _tables([(a,) for a in arrays]):
        args = (table, np.int32(count), np.int32(chunks), by, finite)
        kernel = f"rescale<{ctype(arrays[0])}, {most}>"
        launch(SOURCE, kernel, (min(chunks, MOST_BLOCKS),), (BLOCK,), args)
    return finite


@accepts(dtypes=DTYPES)
def sum_of_squares(*arrays):
    xp, launch, _ = device(arrays[0])
    tables = list(_tables([(a,) for a in arrays]))
    starts = np.cumsum([0, *[chunks for *_, chunks in tables]])
    parts, total = xp.empty(int(starts[-1]), "float64"), xp.empty((), "float64")
    for (table, most, count, chunks), start in zip(tables, starts, strict=False):
        args = (table, np.int32(count), np.int32(chunks), parts[start:])
        kernel = f"square_parts<{ctype(arrays[0])}, {most}>"
        launch(SOURCE, kernel, (min(chunks, MOST_BLOCKS),), (BLOCK,), args)
    launch(SOURCE, "sum_parts", (1,), (BLOCK,), (parts, total, *sizes(parts.size)))
    return total


def _casts(*xs, dtype):
    return (xs[0].dtype.name, np.dtype(dtype).name) in _CASTS


@accepts(dtypes=DTYPES, when=_casts)
def cast_all(*xs, dtype):
    xp, launch, _ = device(xs[0])
    ys = tuple([xp.empty(x.shape, dtype) for x in xs])
    types = f"{ctype(xs[0])}, {ctype(ys[0])}"
    for table, most, count, chunks in _tables(zip(xs, ys, strict=True)):
        args = (table, np.int32(count), np.int32(chunks))
        kernel = f"cast_all<{types}, {most}>"
        launch(SOURCE, kernel, (min(chunks, MOST_BLOCKS),), (BLOCK,), args)
    return ys


def _update(kernel, hyper, parameters, numbers):
    conditional = np.int32(len(hyper) > 2)
    for table, most, count, chunks in _tables(parameters):
        args = (table, np.int32(count), np.int32(chunks), hyper, conditional, *numbers)
        grid = (min(chunks, MOST_BLOCKS),)
        device(hyper).launch(SOURCE, f"{kernel}, {most}>", grid, (BLOCK,), args)


def _tables(parameters):
    """For as many parameters as a launch takes, each a tuple of its arrays: the struct of their
    addresses and sizes, its capacity, their number, and how many chunks they have."""
    parameters = [arrays for arrays in parameters if arrays[0].size]
    for start in range(0, len(parameters), _MANY):
        part = parameters[start : start + _MANY]
        count, most = len(part), _FEW if len(part) <= _FEW else _MANY
        lengths = [arrays[0].size for arrays in part]
        ends = np.cumsum([-(-n // _CHUNK) for n in lengths])
        table = np.zeros((), _LISTS[most])
        table["size"][:count], table["chunk"][1:count] = lengths, ends[:-1]
        for i, arrays in enumerate(zip(*part, strict=True)):
            table["at"][i, :count] = [a.data.ptr for a in arrays]
        yield table[()], most, count, int(ends[-1])
