"""Short rows copied and added by masked vector instructions, strided ones by gather and scatter.

As a plain loop such a row is a call of memcpy, another of memset for its padding, or a scalar loop:
34 ns for 26 numbers, where two masked vectors take 3.
"""

from __future__ import annotations

from .gather_gemm import lanes
from .jit import extension


def copy_padded(target, to, width, source, start, low, high, step):
    """A zero-padded row: target[to : to + width] = 0, except from `low` to `high`
    source[start::step]. Both are taken as flat; called in compiled loops, without bounds checks."""
    source = source.reshape(-1)
    target[to : to + width] = 0
    target[to + low : to + high] = source[start : start + (high - low) * step : step]


def add_strided(target, to, step, width, source, start):
    """target[to::step] += source[start:], for `width` elements. Both are taken as flat; bounds are
    not checked."""
    target = target.reshape(-1)
    target[to : to + width * step : step] += source[start : start + width]


@extension
def _register(numba):
    from llvmlite import ir
    from numba import extending, types
    from numba.core import cgutils

    def across(context, builder, signature, args, width, move):
        """`move(load, store, below, q)` for each vector of a row, q being its first element."""
        bits, number = signature.args[0].dtype.bitwidth, signature.args[0].dtype
        n = lanes(bits // 8)
        i64, some = ir.IntType(64), ir.VectorType(ir.IntType(1), n)
        vector = ir.VectorType(context.get_value_type(number), n)
        zeros, align = ir.Constant(vector, [0.0] * n), ir.Constant(ir.IntType(32), bits // 8)
        one, each = f"v{n}f{bits}.p0v{n}f{bits}", f"v{n}f{bits}.v{n}p0f{bits}"

        def function(name, result, *of):
            kind = ir.FunctionType(result, of)
            return cgutils.get_or_insert_function(builder.module, kind, f"llvm.masked.{name}")

        def place(i, first, step):
            """A vector's address, or where a step is given, that of each element."""
            array = context.make_array(signature.args[i])(context, builder, args[i])
            at = builder.gep(array.data, [first])
            if step is None:
                return builder.bitcast(at, vector.as_pointer())
            apart = builder.mul(step, ir.Constant(i64, bits // 8))
            every = builder.mul(spread(apart), ir.Constant(ir.VectorType(i64, n), list(range(n))))
            every = builder.add(every, spread(builder.ptrtoint(at, i64)))
            return builder.inttoptr(every, ir.VectorType(at.type, n))

        def load(i, first, mask, step=None):
            at = place(i, first, step)
            name = f"load.{one}" if step is None else f"gather.{each}"
            masked = function(name, vector, at.type, align.type, some, vector)
            return builder.call(masked, [at, align, mask, zeros])

        def store(value, first, mask, step=None):
            at = place(0, first, step)
            name = f"store.{one}" if step is None else f"scatter.{each}"
            masked = function(name, ir.VoidType(), vector, at.type, align.type, some)
            builder.call(masked, [value, at, align, mask])

        def spread(number):
            kind = ir.VectorType(number.type, n)
            zero = ir.Constant(ir.IntType(32), 0)
            first = builder.insert_element(ir.Constant(kind, ir.Undefined), number, zero)
            every = ir.Constant(ir.VectorType(zero.type, n), [0] * n)
            return builder.shuffle_vector(first, first, every)

        def below(first, end):
            """The mask of lanes, numbered from `first` on, that come before `end`."""
            left = spread(builder.trunc(builder.sub(end, first), ir.IntType(32)))
            return builder.icmp_signed("<", ir.Constant(left.type, list(range(n))), left)

        with cgutils.for_range_slice(
            builder, ir.Constant(i64, 0), width, ir.Constant(i64, n), i64, inc=True
        ) as (q, _):
            move(load, store, below, q)

    def either(builder, step, move):
        """`move` with contiguous vectors, or strided ones."""
        alone = builder.icmp_signed("==", step, ir.Constant(step.type, 1))
        with builder.if_else(alone) as (then, otherwise):
            with then:
                move(None)
            with otherwise:
                move(step)

    @extending.intrinsic
    def laid(typing, target, to, width, source, start, low, high, step):
        def generate(context, builder, signature, args):
            to, width, start, low, high = (args[i] for i in (1, 2, 4, 5, 6))

            def row(step):
                def move(load, store, below, q):
                    inside = builder.and_(below(q, high), builder.not_(below(q, low)))
                    first = builder.sub(q, low)
                    first = first if step is None else builder.mul(first, step)
                    value = load(3, builder.add(start, first), inside, step)
                    store(value, builder.add(to, q), below(q, width))

                across(context, builder, signature, args, width, move)

            either(builder, args[7], row)
            return context.get_dummy_value()

        whole = types.intp
        return types.void(target, whole, whole, source, *[whole] * 4), generate

    @extending.intrinsic
    def added(typing, target, to, step, width, source, start):
        def generate(context, builder, signature, args):
            to, width, start = args[1], args[3], args[5]

            def row(step):
                def move(load, store, below, q):
                    some = below(q, width)
                    at = builder.add(to, q if step is None else builder.mul(q, step))
                    value = load(4, builder.add(start, q), some)
                    store(builder.fadd(load(0, at, some, step), value), at, some, step)

                across(context, builder, signature, args, width, move)

            either(builder, args[2], row)
            return context.get_dummy_value()

        whole = types.intp
        return types.void(target, whole, whole, whole, source, whole), generate

    @extending.overload(copy_padded, jit_options={"forceinline": True})
    def _copy_padded(target, to, width, source, start, low, high, step):
        def run(target, to, width, source, start, low, high, step):
            laid(target, to, width, source, start, low, high, step)

        return run

    @extending.overload(add_strided, jit_options={"forceinline": True})
    def _add_strided(target, to, step, width, source, start):
        def run(target, to, step, width, source, start):
            added(target, to, step, width, source, start)

        return run
