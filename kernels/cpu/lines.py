"""Short rows of numbers moved a vector at a time, the last one in part.

As a plain loop such a row is a call of memcpy, another of memset for its padding, or numbers one by
one: 34 ns for 26 of them, where two masked vectors take 3.
"""

from __future__ import annotations

from .jit import extension
from .scattered import lanes


def lay(target, to, width, source, start, low, high):
    """target[to : to + width] becomes zero, and from `low` to `high` source[start:]. Both are
    flat; called in compiled loops, where nothing is checked."""
    target[to : to + width] = 0
    target[to + low : to + high] = source[start : start + high - low]


def add(target, to, width, source, start):
    """target[to : to + width] += source[start:]. Both are flat, and nothing is checked."""
    target[to : to + width] += source[start : start + width]


@extension
def _register(numba):
    from llvmlite import ir
    from numba import extending, types
    from numba.core import cgutils

    def across(context, builder, signature, args, move):
        """`move`(load, store, number of the first lane, numbers of all lanes) along a row."""
        bits, number = signature.args[0].dtype.bitwidth, signature.args[0].dtype
        n = lanes(bits // 8)
        i64, some = ir.IntType(64), ir.VectorType(ir.IntType(1), n)
        vector = ir.VectorType(context.get_value_type(number), n)
        zeros, align = ir.Constant(vector, [0.0] * n), ir.Constant(ir.IntType(32), bits // 8)
        suffix, void = f"v{n}f{bits}.p0v{n}f{bits}", ir.VoidType()

        def pointer(i, place):
            array = context.make_array(signature.args[i])(context, builder, args[i])
            return builder.bitcast(builder.gep(array.data, [place]), vector.as_pointer())

        def function(name, result, *of):
            kind = ir.FunctionType(result, of)
            return cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{suffix}")

        def load(i, place, mask):
            kinds = (vector.as_pointer(), align.type, some, vector)
            masked = function("masked.load", vector, *kinds)
            return builder.call(masked, [pointer(i, place), align, mask, zeros])

        def store(value, place, mask):
            masked = function("masked.store", void, vector, vector.as_pointer(), align.type, some)
            builder.call(masked, [value, pointer(0, place), align, mask])

        def below(first, end):
            """Which lanes, of numbers from `first` on, come before `end`."""
            left = builder.trunc(builder.sub(end, first), ir.IntType(32))
            one = builder.insert_element(
                ir.Constant(ir.VectorType(ir.IntType(32), n), ir.Undefined),
                left,
                ir.Constant(ir.IntType(32), 0),
            )
            zero = ir.Constant(ir.VectorType(ir.IntType(32), n), [0] * n)
            left = builder.shuffle_vector(one, zero, zero)
            count = ir.Constant(ir.VectorType(ir.IntType(32), n), list(range(n)))
            return builder.icmp_signed("<", count, left)

        with cgutils.for_range_slice(
            builder, ir.Constant(i64, 0), args[2], ir.Constant(i64, n), i64, inc=True
        ) as (q, _):
            move(load, store, below, q)
        return context.get_dummy_value()

    @extending.intrinsic
    def laid(typing, target, to, width, source, start, low, high):
        def generate(context, builder, signature, args):
            to, width, start, low, high = (args[i] for i in (1, 2, 4, 5, 6))

            def move(load, store, below, q):
                inside = builder.and_(below(q, high), builder.not_(below(q, low)))
                value = load(3, builder.add(start, builder.sub(q, low)), inside)
                store(value, builder.add(to, q), below(q, width))

            return across(context, builder, signature, args, move)

        whole = types.intp
        return types.void(target, whole, whole, source, whole, whole, whole), generate

    @extending.intrinsic
    def added(typing, target, to, width, source, start):
        def generate(context, builder, signature, args):
            def move(load, store, below, q):
                some, at = below(q, args[2]), builder.add(args[1], q)
                value = load(3, builder.add(args[4], q), some)
                store(builder.fadd(load(0, at, some), value), at, some)

            return across(context, builder, signature, args, move)

        whole = types.intp
        return types.void(target, whole, whole, source, whole), generate

    @extending.overload(lay, jit_options={"forceinline": True})
    def _lay(target, to, width, source, start, low, high):
        def run(target, to, width, source, start, low, high):
            laid(target, to, width, source, start, low, high)

        return run

    @extending.overload(add, jit_options={"forceinline": True})
    def _add(target, to, width, source, start):
        def run(target, to, width, source, start):
            added(target, to, width, source, start)

        return run
