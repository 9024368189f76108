"""Philox 4x32-10 block by block: the words of the reference, which materialises all at once."""

from __future__ import annotations

import numpy as np

from ..accept import accepts
from ..shapes import state_fits
from . import scalars as s
from .buffers import empty_like
from .jit import jit, prange

# A dropout of 512 float32 takes 2.4 us here and 58 in the reference's 64-bit arithmetic (2-core
# AVX-512 server). The size spares small programs the import of Numba.
SMALL = 512
PARALLEL = 1 << 15


@s.scalar
def _times(constant, x):
    """The high and the low half of a 64-bit product."""
    product = np.uint64(constant) * np.uint64(x)
    return np.uint32(product >> np.uint64(32)), np.uint32(product & np.uint64(0xFFFFFFFF))


@s.scalar
def philox(key, block):
    """The four words of a block (Salmon et al. 2011)."""
    c0, c1 = np.uint32(block & np.uint64(0xFFFFFFFF)), np.uint32(block >> np.uint64(32))
    k0, k1 = np.uint32(key & np.uint64(0xFFFFFFFF)), np.uint32(key >> np.uint64(32))
    c2 = c3 = np.uint32(0)
    for _ in range(10):
        high0, low0 = _times(0xD2511F53, c0)
        high1, low1 = _times(0xCD9E8D57, c2)
        c0, c1, c2, c3 = np.uint32(high1 ^ c1 ^ k0), low1, np.uint32(high0 ^ c3 ^ k1), low0
        k0, k1 = np.uint32(k0 + np.uint32(0x9E3779B9)), np.uint32(k1 + np.uint32(0xBB67AE85))
    return c0, c1, c2, c3


@jit(parallel_from=PARALLEL)
def _bits(words, key, first, share):
    n = words.size
    for i in prange((n + 3) // 4, share):
        block = philox(key, np.uint64(first + np.uint64(i)))
        for k in range(4):
            if 4 * i + k < n:
                words[4 * i + k] = block[k]


@jit(parallel_from=PARALLEL)
def _dropout(x, y, key, first, threshold, scale, share):
    n = x.size
    for i in prange((n + 3) // 4, share):
        block = philox(key, np.uint64(first + np.uint64(i)))
        for k in range(4):
            if 4 * i + k < n:
                at = 4 * i + k
                y[at] = x[at] * scale if block[k] >= threshold else x.dtype.type(0)


@accepts(dtypes=("uint64",), when=lambda state, size: size >= SMALL and state_fits(state))
def random_bits(state, *, size):
    words = np.empty(size, np.uint32)
    _bits(words, state[0], state[1])
    return words


@accepts(min_size=SMALL, others=("state",), when=lambda x, state, **_: state_fits(state))
def dropout(x, state, *, p):
    y, scale = empty_like(x), x.dtype.type(1 / (1 - p))
    threshold = np.uint32(p * 2**32)
    _dropout(x.reshape(-1), y.reshape(-1), state[0], state[1], threshold, scale)
    return y
