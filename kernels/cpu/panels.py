"""Products of few rows with one matrix, again and again: what a recurrent step is.

BLAS copies the right matrix into an order of its own on every call. For 32 rows that costs as
much as the product; a recurrent layer has the same matrix in every step, so here it is brought
into panels once. A panel is as wide as two vector registers. A tile of the result, that wide and
a few rows high, stays in registers for the whole sum. Numba would not keep it there, so the
tile's instructions are given to LLVM one by one: 32x256x1024 takes MEASURED.

Each number is one sum from first to last, whatever the rows around it and the threads.
"""

from __future__ import annotations

import functools

import numpy as np

from .jit import extension

ROWS = 8  # a product's rows are a multiple of this
_VECTORS = 2


@functools.cache
def registers() -> tuple[int, int]:
    """Bytes of a vector register, and the rows of a tile that fits into all of them."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 8
    return (32, 4) if features.get("avx") else (16, 8 if features.get("neon") else 4)


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """A new array that begins at a cache line: vectors of 64 bytes would else all cross two."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.empty(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(dtype).reshape(shape)


def panels(b: np.ndarray) -> np.ndarray:
    """The columns of b (k, n) in panels (n / width, k, width), the last one filled with zeros."""
    width = _VECTORS * registers()[0] // b.itemsize
    k, n = b.shape
    full = n // width
    made = aligned((-(-n // width), k, width), b.dtype)
    made[:full] = b[:, : full * width].reshape(k, full, width).transpose(1, 0, 2)
    if full < len(made):
        made[full] = 0
        made[full, :, : n - full * width] = b[:, full * width :]
    return made


def multiply(a, b, c):
    """c = a @ b, where b is in panels and a and c have a multiple of ROWS rows, c as many columns
    as all panels; the rows of a and c are contiguous."""
    c[...] = a @ b.transpose(1, 0, 2).reshape(b.shape[1], -1)


@extension
def _register(numba):
    from llvmlite import ir
    from numba import extending, types
    from numba.core import cgutils

    size, rows = registers()

    @extending.intrinsic
    def tile(context, a, i, b, p, c):
        """c[i : i + rows, panel p] = a[i : i + rows] @ b[p]."""
        lanes = size // (a.dtype.bitwidth // 8)

        def emit(context, builder, signature, args):
            number = context.get_value_type(a.dtype)
            vector, byte = ir.VectorType(number, lanes), ir.IntType(8).as_pointer()
            index = ir.IntType(64)

            def place(which, *at):
                """The address of an element."""
                array = context.make_array(signature.args[which])(context, builder, args[which])
                steps = cgutils.unpack_tuple(builder, array.strides)
                start = builder.bitcast(array.data, byte)
                for step, n in zip(steps, at, strict=False):
                    start = builder.gep(start, [builder.mul(step, n)])
                return start

            def load(start, kind, offset, align):
                at = builder.bitcast(builder.gep(start, [offset]), kind.as_pointer())
                return builder.load(at, align=align)

            def times(n, by):
                return builder.mul(n, ir.Constant(index, by))

            i, p, item = args[1], args[3], a.dtype.bitwidth // 8
            lines = [builder.add(i, ir.Constant(index, r)) for r in range(rows)]
            left = [place(0, line) for line in lines]
            right, zero = place(2, p), ir.Constant(vector, None)
            length = cgutils.unpack_tuple(
                builder, context.make_array(b)(context, builder, args[2]).shape
            )[1]
            sums = [
                [cgutils.alloca_once_value(builder, zero) for _ in range(_VECTORS)] for _ in lines
            ]
            with cgutils.for_range(builder, length) as loop:
                line = times(loop.index, _VECTORS * size)
                columns = [
                    load(right, vector, builder.add(line, ir.Constant(index, v * size)), size)
                    for v in range(_VECTORS)
                ]
                for start, kept in zip(left, sums, strict=True):
                    one = load(start, number, times(loop.index, item), item)
                    first = builder.insert_element(
                        ir.Constant(vector, ir.Undefined), one, ir.Constant(ir.IntType(32), 0)
                    )
                    pattern = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
                    all_of_it = builder.shuffle_vector(first, first, pattern)
                    for place_of, column in zip(kept, columns, strict=True):
                        product = builder.fmul(all_of_it, column, flags=["contract"])
                        total = builder.fadd(builder.load(place_of), product, flags=["contract"])
                        builder.store(total, place_of)
            for line, kept in zip(lines, sums, strict=True):
                start = place(
                    4,
                    line,
                )
                for v, place_of in enumerate(kept):
                    offset = builder.add(times(p, _VECTORS * size), ir.Constant(index, v * size))
                    at = builder.bitcast(builder.gep(start, [offset]), vector.as_pointer())
                    builder.store(builder.load(place_of), at, align=item)
            return context.get_dummy_value()

        return types.void(a, i, b, p, c), emit

    @extending.overload(multiply, jit_options={"forceinline": True})
    def _multiply(a, b, c):
        def run(a, b, c):
            for p in range(b.shape[0]):
                for i in range(0, a.shape[0], rows):
                    tile(a, i, b, p, c)

        return run
