"""Control flow, and parts of tensors."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from keras.src import tree

import tensorgrad as tg

from .core import Tensor, convert_to_tensor

# --- control flow -------------------------------------------------------------------------------


def cond(pred: Any, true_fn: Callable, false_fn: Callable) -> Any:
    """true_fn() or false_fn()."""
    return true_fn() if pred else false_fn()


def switch(index: Any, branches: Any, *operands: Any) -> Any:
    """The branch of that number; the first or the last for one out of range."""
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


def while_loop(cond: Any, body: Any, loop_vars: Any, maximum_iterations: Any = None) -> Any:
    """body again and again while cond holds."""
    several = isinstance(loop_vars, (tuple, list))
    values = tuple(loop_vars) if several else (loop_vars,)
    values = tree.map_structure(convert_to_tensor, values)
    steps = 0
    while (maximum_iterations is None or steps < maximum_iterations) and cond(*values):
        values = body(*values)
        values = tuple(values) if isinstance(values, (list, tuple)) else (values,)
        steps += 1
    return values if several else values[0]


def fori_loop(lower: Any, upper: Any, body_fun: Callable, init_val: Any) -> Any:
    """body_fun(i, value) for each i."""
    for i in range(int(lower), int(upper)):
        init_val = body_fun(i, init_val)
    return init_val


def vectorized_map(function: Callable, elements: Any) -> Any:
    """The function of each element along the first axis."""
    flat = [convert_to_tensor(x) for x in tree.flatten(elements)]
    made = [
        function(tree.pack_sequence_as(elements, [x[i] for x in flat]))
        for i in range(flat[0].shape[0])
    ]
    return tree.map_structure(lambda *ys: tg.stack([convert_to_tensor(y) for y in ys]), *made)


def map(f: Callable, xs: Any) -> Any:
    """f of each element along the first axis."""
    return scan(lambda _, x: ((), f(x)), (), xs)[1]


def scan(
    f: Callable,
    init: Any,
    xs: Any = None,
    length: Any = None,
    reverse: bool = False,
    unroll: Any = 1,
) -> Any:
    """carry, y = f(carry, x) along the first axis; the last carry and all y."""
    if not callable(f):
        raise TypeError(f"`f` should be a callable. Received: f={f}")
    if not isinstance(unroll, bool) and (not isinstance(unroll, int) or unroll < 1):
        raise ValueError(f"`unroll` must be an positive integer or boolean. Received: {unroll}")
    if xs is None and length is None:
        raise ValueError("Got no `xs` to scan over and `length` not provided.")
    flat = [] if xs is None else [convert_to_tensor(x) for x in tree.flatten(xs)]
    n = int(length) if length is not None else flat[0].shape[0]
    carry = tree.map_structure(convert_to_tensor, init)
    zeros = tree.map_structure(tg.zeros_like, carry)
    ys: list[Any] = []
    for i in reversed(range(n)) if reverse else range(n):
        x = tree.pack_sequence_as(xs, [a[i] for a in flat]) if flat else None
        carry, y = f(carry, x)
        ys.append(zeros if y is None else y)
    if reverse:
        ys.reverse()
    return carry, tree.map_structure(lambda *a: tg.stack([convert_to_tensor(y) for y in a]), *ys)


def associative_scan(f: Callable, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """f(...f(f(x0, x1), x2)...) for each prefix, in O(log n) calls (Blelloch 1990)."""
    if not callable(f):
        raise TypeError(f"`f` should be a callable. Received: f={f}")
    flat = [convert_to_tensor(x) for x in tree.flatten(elems)]
    lengths = {x.shape[axis] for x in flat}
    if len(lengths) != 1:
        raise ValueError(
            "Array inputs to associative_scan must have the same first dimension. "
            f"(saw: {[x.shape for x in flat]})"
        )

    def part(xs: list, start: Any, stop: Any = None, step: Any = None) -> list:
        return [x[(builtins.slice(None),) * (axis % x.ndim) + (key,)]
                for key in [builtins.slice(start, stop, step)] for x in xs]  # fmt: skip

    def combined(a: list, b: list) -> list:
        return tree.flatten(f(tree.pack_sequence_as(elems, a), tree.pack_sequence_as(elems, b)))

    def prefixes(xs: list) -> list:
        n = xs[0].shape[axis]
        if n < 2:
            return xs
        odd = prefixes(combined(part(xs, 0, -1, 2), part(xs, 1, None, 2)))
        even = part(xs, 0, 1)
        if n > 2:
            rest = combined(part(odd, 0, -1) if n % 2 == 0 else odd, part(xs, 2, None, 2))
            even = [tg.concatenate([a, b], axis=axis) for a, b in zip(even, rest, strict=True)]
        order = np.argsort([*range(0, n, 2), *range(1, n, 2)])
        joined = [tg.concatenate([a, b], axis=axis) for a, b in zip(even, odd, strict=True)]
        return [tg.take(x, order, axis=axis) for x in joined]

    flat = [tg.flip(x, axis) for x in flat] if reverse else flat
    made = prefixes(flat)
    made = [tg.flip(x, axis) for x in made] if reverse else made
    return tree.pack_sequence_as(elems, made)


# --- parts of tensors ---------------------------------------------------------------------------


def scatter(indices: Any, values: Any, shape: Any) -> Tensor:
    """Zeros, to which values are added at the indices."""
    values = convert_to_tensor(values)
    zeros = tg.zeros(tuple(int(n) for n in shape), dtype=values.dtype)
    return scatter_update(zeros, indices, values, "add")


_REDUCTIONS: dict[str, Literal["amax", "amin", "prod"]] = {
    "max": "amax",
    "min": "amin",
    "mul": "prod",
}


def scatter_update(inputs: Any, indices: Any, updates: Any, reduction: Any = None) -> Tensor:
    """inputs with updates at the indices, whose last axis counts the axes of inputs."""
    inputs, indices = convert_to_tensor(inputs), convert_to_tensor(indices)
    updates = convert_to_tensor(updates, inputs.dtype)
    depth = indices.shape[-1]
    rest = inputs.shape[depth:]
    keys = tuple(tg.moveaxis(indices.reshape(-1, depth), -1, 0))
    rows = tg.reshape(updates, (-1, *rest))
    if reduction in (None, "add"):
        return tg.index_put(inputs, keys, rows, accumulate=reduction == "add")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"Unsupported reduction: {reduction}")
    place = np.ravel_multi_index([k.numpy() for k in keys], inputs.shape[:depth])
    wide = inputs.reshape(int(np.prod(inputs.shape[:depth])), int(np.prod(rest)))
    source = rows.reshape(len(place), wide.shape[1])
    index = np.broadcast_to(place[:, None], source.shape)
    how = _REDUCTIONS[reduction]
    return tg.scatter_reduce(wide, 0, index, source, how).reshape(inputs.shape)


def _starts(start_indices: Any) -> list[int]:
    return [int(i) for i in start_indices]


def slice(inputs: Any, start_indices: Any, shape: Any) -> Tensor:
    """The part of inputs of that shape that begins at the start."""
    if len(start_indices) != len(shape):
        raise ValueError(
            "Length of `start_indices` must match length of `shape`. "
            f"Received: start_indices={start_indices}, shape={shape}"
        )
    ends = zip(_starts(start_indices), shape, strict=True)
    return convert_to_tensor(inputs)[tuple(builtins.slice(i, i + int(n)) for i, n in ends)]


def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Tensor:
    """inputs with the part that begins at the start replaced."""
    inputs = convert_to_tensor(inputs)
    updates = convert_to_tensor(updates, inputs.dtype)
    ends = zip(_starts(start_indices), updates.shape, strict=True)
    return tg.index_put(inputs, np.ix_(*[np.arange(i, i + n) for i, n in ends]), updates)


def unstack(x: Any, num: Any = None, axis: int = 0) -> list[Tensor]:
    """The parts of x along an axis."""
    return list(tg.unstack(convert_to_tensor(x), axis))
