"""The micro-kernel of a gather-GEMM in vector instructions: a register tile of a few rows by two
vectors, whose operands are read through lists of offsets instead of strides.

So the windows of an image are multiplied where they are, without materialising them (im2col), and
the vectors are as wide as the processor has them (OpenBLAS takes half of that on AMD's: 111 GFLOP/s
where this reaches 270, 64 x 288 times 288 x 624 in float32 on one core of an EPYC 9005).
"""

from __future__ import annotations

import functools

from .jit import extension

VECTORS = 2  # of a row of the register tile


@functools.cache
def shape(itemsize: int) -> tuple[int, int]:
    """Rows and columns of the register tile (a panel) for elements of that size."""
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    if features.get("avx512f", False):
        return 8, VECTORS * 64 // itemsize
    return 6, VECTORS * (32 if features.get("avx2", False) else 16) // itemsize


def lanes(itemsize: int) -> int:
    """Elements of that size in a vector register."""
    return shape(itemsize)[1] // VECTORS


def panel(c, row, column, a, starts, step, b, start, places):
    """The tile of c from (row, column) on += the sum over k of the outer products of the column
    a[starts + k * step] and the row b[start + places[k] :].

    a and b are flat. Called in compiled loops, without bounds checks: a and b must hold what a
    whole tile reads, even where less of it is used.
    """
    rows, columns = shape(c.itemsize)
    for k, place in enumerate(places):
        line = b[start + place : start + place + columns]
        c[row : row + rows, column : column + columns] += a[starts + k * step][:, None] * line


def transpose_square(target, to, width, source, start, step):
    """Transposes a square as wide as one vector: target[to + i * width + j] =
    source[start + j * step + i]. Both are flat; bounds are not checked."""
    for i in range(lanes(target.itemsize)):
        for j in range(lanes(target.itemsize)):
            target[to + i * width + j] = source[start + j * step + i]


def _transposed(builder, ir, lines):
    """A square of vectors transposed in registers, by shuffles of ever larger blocks."""
    lines, every, size = list(lines), range(len(lines)), 1
    while size < len(lines):
        for i in every:
            if not i & size:
                a, b, n = lines[i], lines[i + size], len(lines)
                low = [k if not k & size else n + k - size for k in every]
                high = [k + size if not k & size else n + k for k in every]
                kind = ir.VectorType(ir.IntType(32), n)
                lines[i] = builder.shuffle_vector(a, b, ir.Constant(kind, low))
                lines[i + size] = builder.shuffle_vector(a, b, ir.Constant(kind, high))
        size *= 2
    return lines


@extension
def _register(numba):
    from llvmlite import ir
    from numba import extending, types
    from numba.core import cgutils

    @extending.intrinsic
    def square(typing, target, to, width, source, start, step):
        def generate(context, builder, signature, args):
            bits, number = target.dtype.bitwidth, context.get_value_type(target.dtype)
            n = lanes(bits // 8)
            vector = ir.VectorType(number, n)

            def lines(i, first, apart):
                pointer = context.make_array(signature.args[i])(context, builder, args[i]).data
                for k in range(n):
                    place = builder.add(first, builder.mul(apart, ir.Constant(apart.type, k)))
                    yield builder.bitcast(builder.gep(pointer, [place]), vector.as_pointer())

            read = [builder.load(line, align=bits // 8) for line in lines(3, args[4], args[5])]
            written = lines(0, args[1], args[2])
            for value, line in zip(_transposed(builder, ir, read), written, strict=True):
                builder.store(value, line, align=bits // 8)
            return context.get_dummy_value()

        whole = types.intp
        return types.void(target, whole, whole, source, whole, whole), generate

    @extending.overload(transpose_square, jit_options={"forceinline": True})
    def _transpose_square(target, to, width, source, start, step):
        def run(target, to, width, source, start, step):
            square(target, to, width, source, start, step)

        return run

    @extending.intrinsic
    def compute(typing, c, row, column, a, starts, step, b, start, places):
        def generate(context, builder, signature, args):
            bits, number = c.dtype.bitwidth, context.get_value_type(c.dtype)
            rows, _ = shape(bits // 8)
            n = lanes(bits // 8)
            vector, i64 = ir.VectorType(number, n), ir.IntType(64)
            fma = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{n}f{bits}"
            )
            nowhere = ir.Constant(vector, ir.Undefined)
            first_lane = ir.Constant(ir.IntType(32), 0)
            everywhere = ir.Constant(ir.VectorType(ir.IntType(32), n), [0] * n)

            def array(i):
                return context.make_array(signature.args[i])(context, builder, args[i])

            def at(pointer, place):
                place = ir.Constant(i64, place) if isinstance(place, int) else place
                return builder.gep(pointer, [place])

            def wide(pointer, v):
                return builder.bitcast(at(pointer, v * n), vector.as_pointer())

            def spread(factor):
                one = builder.insert_element(nowhere, factor, first_lane)
                return builder.shuffle_vector(one, nowhere, everywhere)

            lines = builder.udiv(
                builder.extract_value(array(0).strides, 0), ir.Constant(i64, bits // 8)
            )
            target = at(array(0).data, builder.add(builder.mul(args[1], lines), args[2]))
            targets = [at(target, builder.mul(lines, ir.Constant(i64, m))) for m in range(rows)]
            starting = array(4).data
            factors = [at(array(3).data, builder.load(at(starting, m))) for m in range(rows)]
            base, listed = at(array(6).data, args[7]), array(8)
            count = builder.extract_value(listed.shape, 0)
            before = [
                [builder.load(wide(line, v), align=bits // 8) for v in range(VECTORS)]
                for line in targets
            ]
            entry = builder.block
            loop, done = builder.append_basic_block("k"), builder.append_basic_block("done")
            builder.branch(loop)

            builder.position_at_end(loop)
            k, along = builder.phi(i64), builder.phi(i64)
            sums = [[builder.phi(vector) for _ in range(VECTORS)] for _ in range(rows)]
            source = at(base, builder.load(at(listed.data, k)))
            seen = [builder.load(wide(source, v), align=bits // 8) for v in range(VECTORS)]
            totals = []
            for m in range(rows):
                factor = spread(builder.load(at(factors[m], along)))
                totals.append(
                    [builder.call(fma, [factor, s, t]) for s, t in zip(seen, sums[m], strict=True)]
                )
                for total, now, then in zip(sums[m], totals[m], before[m], strict=True):
                    total.add_incoming(then, entry)
                    total.add_incoming(now, loop)
            for counter, more in ((k, ir.Constant(i64, 1)), (along, args[5])):
                counter.add_incoming(ir.Constant(i64, 0), entry)
                counter.add_incoming(builder.add(counter, more), loop)
            again = builder.icmp_signed("<", k.incomings[1][0], count)
            builder.cbranch(again, loop, done)

            builder.position_at_end(done)
            for line, parts in zip(targets, totals, strict=True):
                for v, total in enumerate(parts):
                    builder.store(total, wide(line, v), align=bits // 8)
            return context.get_dummy_value()

        whole = types.intp
        return types.void(c, whole, whole, a, starts, whole, b, whole, places), generate

    @extending.overload(panel, jit_options={"forceinline": True})
    def _panel(c, row, column, a, starts, step, b, start, places):
        def run(c, row, column, a, starts, step, b, start, places):
            if places.size:
                compute(c, row, column, a, starts, step, b, start, places)

        return run
