"""GEMM of a few rows with a packed matrix, for products with the same matrix again and again, as in
the steps of a recurrent layer; and the micro-kernel of products.py.

BLAS packs the right matrix on every call. For 16 rows that costs more than the product; here it is
packed into panels once. A panel is as wide as two vector registers. A register tile, that wide and
a few rows high, accumulates the whole sum. Numba would spill it, so the micro-kernel is written in
LLVM's own instructions: 16x256x1024 in float32 runs at 230 GFLOP/s a core where
OpenBLAS reaches 76 (AVX-512 server, AMD Zen 5).

Each element is one sum from first to last, whatever the other rows and the number of threads.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .jit import extension

ROWS = 8  # the rows of a product are a multiple of this
_VECTORS = 2  # to a panel
DEEP = 256  # rows of a panel that stay in the L1 cache


@functools.cache
def _registers() -> tuple[int, int]:
    """Bytes of a vector register, and the rows of a register tile that fits into all of them."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 8
    return (32, 4) if features.get("avx") else (16, 8 if features.get("neon") else 4)


def width_of(dtype: Any) -> int:
    """How many columns of that dtype a panel has."""
    return _VECTORS * _registers()[0] // np.dtype(dtype).itemsize


def _up(n: int, step: int) -> int:
    return -(-n // step) * step


def panels(b: np.ndarray) -> np.ndarray:
    """b (k, n) packed into panels of columns (n / width, k, width), the last one zero-padded."""
    (k, n), width = b.shape, width_of(b.dtype)
    count, full = _up(n, width) // width, n // width
    room = np.empty(count * k * width + 64 // b.itemsize, b.dtype)
    start = -room.ctypes.data % 64 // b.itemsize  # else each vector would cross two cache lines
    made = room[start : start + count * k * width].reshape(count, k, width)
    made[:full] = b[:, : full * width].reshape(k, full, width).transpose(1, 0, 2)
    if full < count:
        made[full] = 0
        made[full, :, : n - full * width] = b[:, full * width :]
    return made


def multiply(a, b, c):
    """c += a @ b, where b (p, k, width) is packed. a and c have a multiple of ROWS rows, a at
    least k columns, of which the first k count, and c the p * width columns of all panels."""
    c += a[:, : b.shape[1]] @ b.transpose(1, 0, 2).reshape(b.shape[1], -1)


def copy_lines(source, target):
    """target = source, for two matrices of as many rows with contiguous lines. In compiled loops
    the lines are of the length that `lines` says: 8 numbers, or the width of a panel."""
    target[...] = source


@extension
def _register(numba):
    """Register `multiply` and `copy_lines` with Numba."""
    from llvmlite import ir
    from numba import extending, types
    from numba.core import cgutils

    size, rows = _registers()
    byte, index = ir.IntType(8).as_pointer(), ir.IntType(64)

    @extending.intrinsic
    def tile(context, a, i, b, p, c):
        """c[i : i + rows, panel p] += a[i : i + rows] @ b[p]."""
        item = a.dtype.bitwidth // 8
        lanes = size // item

        def emit(context, build, signature, args):
            number = context.get_value_type(a.dtype)
            vector = ir.VectorType(number, lanes)
            arrays = [
                context.make_array(signature.args[k])(context, build, args[k]) for k in (0, 2, 4)
            ]
            (step_a, along), (step_b, line_b, _), (step_c, _) = [
                cgutils.unpack_tuple(build, array.strides) for array in arrays
            ]
            starts = [build.bitcast(array.data, byte) for array in arrays]

            def shifted(start, n, by):
                """The address n * by bytes further on."""
                by = ir.Constant(index, by) if isinstance(by, int) else by
                n = ir.Constant(index, n) if isinstance(n, int) else n
                return build.gep(start, [build.mul(n, by)])

            def at(start, kind):
                return build.bitcast(start, kind.as_pointer())

            i, p = args[1], args[3]
            lines = [build.add(i, ir.Constant(index, r)) for r in range(rows)]
            left = [shifted(starts[0], line, step_a) for line in lines]
            right = shifted(starts[1], p, step_b)
            corner = shifted(starts[2], p, _VECTORS * size)
            places = [
                [at(shifted(shifted(corner, line, step_c), v, size), vector)
                 for v in range(_VECTORS)]
                for line in lines
            ]  # fmt: skip
            sums = [
                [cgutils.alloca_once_value(build, build.load(place, align=item)) for place in line]
                for line in places
            ]
            everywhere = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
            first, nothing = ir.Constant(ir.IntType(32), 0), ir.Constant(vector, ir.Undefined)
            depth = cgutils.unpack_tuple(build, arrays[1].shape)[1]
            with cgutils.for_range(build, depth) as loop:
                line = shifted(right, loop.index, line_b)
                columns = [
                    build.load(at(shifted(line, v, size), vector), align=item)
                    for v in range(_VECTORS)
                ]
                for start, kept in zip(left, sums, strict=True):
                    one = build.load(at(shifted(start, loop.index, along), number))
                    one = build.insert_element(nothing, one, first)
                    one = build.shuffle_vector(one, one, everywhere)
                    for total, column in zip(kept, columns, strict=True):
                        more = build.fmul(one, column, flags=["contract"])
                        more = build.fadd(build.load(total), more, flags=["contract"])
                        build.store(more, total)
            for line, kept in zip(places, sums, strict=True):
                for place, total in zip(line, kept, strict=True):
                    build.store(build.load(total), place, align=item)
            return context.get_dummy_value()

        return types.void(a, i, b, p, c), emit

    def copier(lanes):
        """Rows of `lanes` numbers each, as vectors: Numba takes them number by number."""

        @extending.intrinsic
        def copy(context, source, target):
            item = source.dtype.bitwidth // 8

            def emit(context, build, signature, args):
                vector = ir.VectorType(context.get_value_type(source.dtype), lanes).as_pointer()
                arrays = [
                    context.make_array(kind)(context, build, value)
                    for kind, value in zip(signature.args, args, strict=True)
                ]
                starts = [build.bitcast(array.data, byte) for array in arrays]
                steps = [cgutils.unpack_tuple(build, array.strides)[0] for array in arrays]
                count = cgutils.unpack_tuple(build, arrays[0].shape)[0]
                with cgutils.for_range(build, count) as loop:
                    here, there = [
                        build.bitcast(build.gep(start, [build.mul(loop.index, step)]), vector)
                        for start, step in zip(starts, steps, strict=True)
                    ]
                    build.store(build.load(here, align=item), there, align=item)
                return context.get_dummy_value()

            return types.void(source, target), emit

        return copy

    copy_few = copier(ROWS)

    @extending.overload(copy_lines, jit_options={"forceinline": True})
    def _copy_lines(source, target):
        width = width_of(np.dtype(str(source.dtype)))
        copy_panel = copier(width)

        def run(source, target):
            if target.shape[1] == width:
                copy_panel(source, target)
            else:
                copy_few(source, target)

        return run

    @extending.overload(multiply, jit_options={"forceinline": True})
    def _multiply(a, b, c):
        def run(a, b, c):
            for p in range(b.shape[0]):
                for i in range(0, a.shape[0], rows):
                    tile(a, i, b, p, c)

        return run
