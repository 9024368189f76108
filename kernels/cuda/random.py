"""Philox 4x32-10, with its state in device memory: no launch synchronises with the host."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import state_fits
from .device import BLOCK, DTYPES, PACKED, Source, blocks, ctype, device, packs, sizes, wide

SOURCE = Source(
    "random", ["random_bits", "advance_random", *[f"dropout<{t}, {v}>" for t, v in PACKED]]
)


@accepts(dtypes=("uint64",), when=lambda state, **_: state_fits(state))
def random_bits(state, *, size):
    xp, launch, _ = device(state)
    words = xp.empty((size,), np.uint32)
    if size:
        grid = blocks(-(-size // 4))
        launch(SOURCE, "random_bits", grid, (BLOCK,), (state, words, *sizes(size)))
    return words


@accepts(dtypes=("uint64",), when=lambda state, **_: state_fits(state))
def advance_random(state, *, blocks):
    xp, launch, _ = device(state)
    taken = xp.empty(state.shape, state.dtype)
    launch(SOURCE, "advance_random", (1,), (1,), (state, taken, np.uint64(blocks)))
    return taken


@accepts(dtypes=DTYPES, others=("state",), when=lambda x, state, **_: state_fits(state))
def dropout(x, state, *, p):
    xp, launch, _ = device(x)
    y = xp.empty(x.shape, x.dtype)
    numbers = np.uint32(p * 2**32), wide(x)(1 / (1 - p))
    if x.size:
        v = packs(x.size, x, y)
        args = (x, state, y, *sizes(x.size), *numbers)
        grid = blocks(-(-x.size // max(4, v)))
        launch(SOURCE, f"dropout<{ctype(x)}, {v}>", grid, (BLOCK,), args)
    return y
