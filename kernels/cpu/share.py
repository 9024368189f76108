"""Loops on all threads: `for i in prange(n, share)` runs what falls to a call.

A kernel is compiled once, as plain serial code that takes a share. Called with `ALL` it calls
itself, from the threads of Numba's pool, with a part of the range for each; so one copy of machine
code gives the same bits on one thread and on many, in the process that compiles it and in those
that load it. (Numba's own prange optimises each loop's body four times, takes twice as long, and
leaves two copies behind, of different bits.)
"""

from __future__ import annotations

import ctypes
from typing import Any

ALL, ONE = 0, 1  # shares: spread over all threads; the whole range, on the thread that calls
# That of a task is parts << _PARTS | number of the loop << _LOOP | number of the part.
_PARTS, _LOOP = 32, 24
_SYMBOLS = "tensorgrad_parallel_for", "tensorgrad_threads"


def prange(n, share):
    """In a compiled loop that runs on all threads: the part of range(n) that falls to this call.

    What stands outside such loops runs on each thread, so it has no effect but on what is local,
    or stands under `if leads(share)`.
    """
    return range(n)


def leads(share):
    """Whether this is the call from Python, and not that of a thread for its part of one loop."""
    return share <= ONE


def connect(parallel_for: int, threads: int) -> None:
    """Let machine code find the pool: the addresses of what runs tasks, and of what counts threads.
    It is called by symbols, so that it can be cached."""
    from llvmlite import binding

    for symbol, address in zip(_SYMBOLS, (parallel_for, threads), strict=True):
        binding.add_symbol(symbol, address)


@ctypes.CFUNCTYPE(ctypes.c_int)
def _one_thread():
    return 1


def disconnect() -> None:
    """Without a pool there is one thread, and nothing is spread."""
    address = ctypes.cast(_one_thread, ctypes.c_void_p).value or 0
    connect(address, address)


def register(numba: Any) -> None:
    """Make `prange` and `leads` known to Numba."""
    from llvmlite import ir
    from numba import extending, types
    from numba.core import callconv, cgutils, imputils, typing

    extending.register_jitable(forceinline=True)(leads)
    i32, i64, byte = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
    whole = types.range_state64_type

    @extending.type_callable(prange)
    def _typed(context):
        return lambda n, share: typing.signature(whole, types.int64, types.int64)

    @imputils.lower_builtin(prange, types.int64, types.int64)
    def _lowered(context, builder, signature, args):
        (n, share), function, module = args, builder.function, builder.module
        function.attributes.add("noinline")  # a second copy might round otherwise
        for argument in function.args[2:]:  # no array that a loop writes to overlaps another
            if isinstance(argument.type, ir.PointerType) and argument.type != byte:
                argument.add_attribute("noalias")
        loop = sum(f.name.startswith(f"{function.name}.task") for f in module.functions)
        low, high = [cgutils.alloca_once_value(builder, i64(0)) for _ in range(2)]
        first = builder.icmp_signed("<=", share, i64(ONE))
        with builder.if_else(first) as (calls, called):
            with calls:  # all is done in calls from here, and nothing is left for this one
                _call_parts(builder, n, share, loop)
            with called:
                of = builder.and_(builder.lshr(share, i64(_LOOP)), i64((1 << _PARTS - _LOOP) - 1))
                own = builder.icmp_signed("==", of, i64(loop))
                part = builder.and_(share, i64((1 << _LOOP) - 1))
                for place, number in ((low, part), (high, builder.add(part, i64(1)))):
                    edge = builder.udiv(builder.mul(n, number), builder.lshr(share, i64(_PARTS)))
                    builder.store(builder.select(own, edge, i64(0)), place)
        state = cgutils.create_struct_proxy(whole)(context, builder)
        # an index that may be negative, or overflow, would be tested for it in each pass
        seen = i64((1 << 62) - 1)
        state.start = builder.and_(builder.load(low), seen)
        state.stop, state.step = builder.and_(builder.load(high), seen), i64(1)
        return imputils.impl_ret_untracked(context, builder, whole, state._getvalue())

    def _call_parts(builder, n, share, loop):
        """Run the loop of that number, in one part or in as many as there are threads."""
        function, module = builder.function, builder.module
        room_of = ir.LiteralStructType([i64, i32, function.args[1].type.pointee]
                       + [a.type for a in function.args[2:]])  # fmt: skip
        threads = cgutils.alloca_once_value(builder, i64(1))
        with builder.if_then(builder.icmp_signed("==", share, i64(ALL))):
            count = cgutils.get_or_insert_function(module, ir.FunctionType(i32, []), _SYMBOLS[1])
            builder.store(builder.sext(builder.call(count, []), i64), threads)
        many = builder.load(threads)
        parts = builder.select(builder.icmp_signed("<", n, many), n, many)
        room = cgutils.alloca_once(builder, room_of)
        # Arrays without owners: threads would fight for the counts of their references.
        given = [a.type(None) if a.type == byte and a.name.endswith(".0") else a
                 for a in function.args[2:]]  # fmt: skip
        for k, piece in enumerate([parts, i32(0), room_of.elements[2](None), *given]):
            builder.store(piece, cgutils.gep_inbounds(builder, room, 0, k))
        task = _task(function, room_of, loop)
        first, size, step = [
            cgutils.alloca_once_value(builder, v) for v in (byte(None), parts, i64(1))
        ]
        args = first, size, step, builder.bitcast(room, byte)
        with builder.if_else(builder.icmp_signed(">", parts, i64(1))) as (several, one):
            with several:
                kinds = [byte, byte.as_pointer(), *[i64.as_pointer()] * 2, byte, i64, i64, i32]
                run = ir.FunctionType(ir.VoidType(), kinds)
                run = cgutils.get_or_insert_function(module, run, _SYMBOLS[0])
                more = i64(0), i64(1), builder.trunc(many, i32)
                builder.call(run, [builder.bitcast(task, byte), *args, *more])
            with one:
                builder.call(task, args)
        code = builder.load(cgutils.gep_inbounds(builder, room, 0, 1))
        with builder.if_then(builder.icmp_signed("!=", code, i32(0)), likely=False):
            error = builder.load(cgutils.gep_inbounds(builder, room, 0, 2))
            builder.store(error, function.args[1])
            builder.ret(code)

    def _task(function, room_of, loop):
        """void task(char **first, int64 *count, int64 *step, void *room), as the pool calls it: the
        parts from `first` on."""
        kinds = [byte.as_pointer(), i64.as_pointer(), i64.as_pointer(), byte]
        kind = ir.FunctionType(ir.VoidType(), kinds)
        task = ir.Function(function.module, kind, f"{function.name}.task{loop}")
        task.linkage = "internal"
        builder = ir.IRBuilder(task.append_basic_block())
        room = builder.bitcast(task.args[3], room_of.as_pointer())
        result = cgutils.alloca_once(builder, function.args[0].type.pointee)
        error = cgutils.alloca_once(builder, room_of.elements[2])
        places = [cgutils.gep_inbounds(builder, room, 0, k) for k in range(len(room_of.elements))]
        parts, *given = [builder.load(p) for p in (places[0], *places[3:-1])]
        first = builder.ptrtoint(builder.load(task.args[0]), i64)
        common = builder.or_(builder.shl(parts, i64(_PARTS)), i64(loop << _LOOP))
        with cgutils.for_range(builder, builder.load(task.args[1])) as passes:
            share = builder.or_(common, builder.add(first, passes.index))
            code = builder.call(function, [result, error, *given, share])
            failed = builder.and_(
                builder.icmp_signed("!=", code, callconv.RETCODE_OK),
                builder.icmp_signed("!=", code, callconv.RETCODE_NONE),
            )
            with builder.if_then(failed, likely=False):
                builder.store(builder.load(error), places[2])
                builder.store(code, places[1])
        builder.ret_void()
        return task
