"""Multi-tensor optimizer steps: one launch for all parameters; hyper-parameters stay on the device.

The launch takes the addresses of all arrays by value, in a struct (`Lists` of update.cu): gradients
have new addresses in each step, and a table in device memory would need a copy each time.
"""

from __future__ import annotations

import functools

import numpy as np

from ..accept import accepts
from ..shapes import advance_fits, lists, rescale_fits, scale_fits, step_fits
from ..steps import MOST_NUMBERS, step_of
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
)

_CHUNK = 4096  # CHUNK of update.cu
# How many parameters a struct holds. A launch copies all of it, so there is a small one; the large
# one is nearly at the limit of kernel arguments, 32764 bytes (4 KiB before CUDA 12.1).
_FEW, _MANY = 64, 600
_LISTS = {
    n: np.dtype([("at", np.uint64, (5, n)), ("size", np.int64, n), ("chunk", np.int32, n)])
    for n in (_FEW, _MANY)
}
# To and from float only: a double by way of a float to a half would round twice.
_CASTS = dict.fromkeys(p for t in DTYPES for p in ((t, "float32"), ("float32", t)))
_ALL_DTYPES = ("square_parts", "rescale")
_OPTIONS = np.dtype([("at", np.float64, MOST_NUMBERS)])  # of a formula: those that are numbers
SOURCE = Source(
    "update",
    ["advance_step", "advance_scale", "sum_parts", *[f"accumulate<{t}, {v}>" for t, v in PACKED]]
    + [f"{k}<{t}, {n}>" for k in _ALL_DTYPES for t in TYPES.values() for n in _LISTS]
    + [f"cast_all<{TYPES[s]}, {TYPES[t]}, {n}>" for s, t in _CASTS for n in _LISTS],
)


@accepts(dtypes=("float64",), when=advance_fits)
def advance_step(hyper, apply_if=None):
    args = (hyper, either(apply_if, hyper), *given(apply_if), np.int32(len(hyper) - 1))
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


class Generated(Source):
    """The text of update.cu and a struct of the formula's: kernels `step<...>` of it."""

    def __init__(self, step):
        names = [f"step<{step.program.name}, {t}, {n}>" for t in TYPES.values() for n in _LISTS]
        super().__init__("update", names)
        self.step = step

    @functools.cached_property
    def code(self):
        return SOURCE.code + self.step.program.cuda(self.step.clock)


_generated: dict[str, Generated] = {}


def generated(step):
    """The source of a formula's kernels."""
    name = step.program.name
    return _generated.get(name) or _generated.setdefault(name, Generated(step))


@accepts(dtypes=DTYPES, others=("hyper",), when=step_fits)
def optimizer_step(hyper, *arrays, formula, options):
    step = step_of(formula, options)
    source, given = generated(step), np.zeros((), _OPTIONS)
    given["at"][: len(step.given)] = [options[name] for name in step.given]
    conditional = np.int32(len(hyper) > step.clock)
    for table, most, count, chunks in _tables(lists(arrays, step.lists)):
        args = (table, np.int32(count), np.int32(chunks), hyper, conditional, given[()])
        kernel = f"step<{step.program.name}, {ctype(arrays[0])}, {most}>"
        device(hyper).launch(source, kernel, (min(chunks, MOST_BLOCKS),), (BLOCK,), args)


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
