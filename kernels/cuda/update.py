"""Optimizer steps, one launch for all parameters; learning rate and step count stay on the device.

Where the parameters lie is told by a struct that the launch takes by value (`Lists` of update.cu):
gradients lie elsewhere in each step, and a table in device memory would have to follow them.
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
# How many parameters a struct holds. A launch carries all of it, so there is a small one; the
# large one is nearly as long as arguments may be, 32764 bytes (4 KiB before CUDA 12.1).
_FEW, _MANY = 64, 640
_LISTS = {
    n: np.dtype([("at", np.uint64, (4, n)), ("size", np.int64, n), ("chunk", np.int32, n)])
    for n in (_FEW, _MANY)
}
_OVER_ALL = ("adam", "square_parts", "rescale")
SOURCE = Source(
    "update",
    ["advance_step", "advance_scale", "sum_parts", *[f"accumulate<{t}, {v}>" for t, v in PACKED]]
    + [f"sgd<{t}, {k}, {n}>" for t in TYPES.values() for k in (2, 3) for n in _LISTS]
    + [f"{k}<{t}, {n}>" for k in _OVER_ALL for t in TYPES.values() for n in _LISTS],
)


@accepts(dtypes=("float64",), when=advance_fits)
def advance_step(h, go=None):
    device(h).launch(SOURCE, "advance_step", (1,), (1,), (h, either(go, h), *given(go)))


@accepts(dtypes=("float64",), when=scale_fits)
def advance_scale(h, go, *, interval, factor, least):
    args = (h, go, *[np.float64(number) for number in (interval, factor, least)])
    device(h).launch(SOURCE, "advance_scale", (1,), (1,), args)


@accepts(dtypes=DTYPES, same_shape=True)
def accumulate(total, g):
    n, v = total.size, packs(total.size, total, g)
    args = (total, g, *sizes(n))
    device(total).launch(SOURCE, f"accumulate<{ctype(total)}, {v}>", blocks(n // v), (BLOCK,), args)


@accepts(dtypes=DTYPES, others=("h",), when=sgd_fits)
def sgd(h, *arrays, momentum, nesterov, weight_decay):
    a, k = wide(arrays[0]), 3 if momentum else 2
    numbers = a(momentum), a(weight_decay), np.int32(nesterov)
    _update(f"sgd<{ctype(arrays[0])}, {k}", h, lists(arrays, k), numbers)


@accepts(dtypes=DTYPES, others=("h",), when=adam_fits)
def adam(h, *arrays, beta1, beta2, eps, weight_decay, decoupled):
    numbers = [np.float64(c) for c in (beta1, beta2, eps, weight_decay)]
    _update(f"adam<{ctype(arrays[0])}", h, lists(arrays, 4), [*numbers, np.int32(decoupled)])


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


def _update(kernel, h, parameters, numbers):
    for table, most, count, chunks in _tables(parameters):
        args = (table, np.int32(count), np.int32(chunks), h, np.int32(len(h) > 2), *numbers)
        grid = (min(chunks, MOST_BLOCKS),)
        device(h).launch(SOURCE, f"{kernel}, {most}>", grid, (BLOCK,), args)


def _tables(parameters):
    """For as many parameters as a launch takes at a time, each with what is kept for it: the struct
    that says where they lie, how many it could hold, how many they are, and their chunks."""
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
