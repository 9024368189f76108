"""How ops compute all examples of vmap at once. A rule gets the op's function, its inputs and its
options, and returns the batch of the result, or of each.

Most ops need no rule of their own: maps broadcast, and an op without gradient rules is made of
others. The tables say which option of an op names axes, how many last axes of an input are its own
where others are a batch already, and which inputs have a batch axis that the examples can join.
What is in no table is computed example by example, with one warning.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..backend import BY_TYPE, WEAK, make, namespace
from ..core import OPS
from ..dispatch import beside as on_batches
from ..dispatch import clear
from ..errors import GraphError
from ..ops.index import ARRAY
from .array import Batched, Level, axes_of, batch_of, check_size, compute, is_batched, level_of
from .array import wrapped as wrap
from .indexing import getitem, scatter_add

Run = Callable[..., Any]

# Options that name axes of the first input, by op
AXES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        """sum mean max min prod any all var std softmax log_softmax logsumexp flip argsort sort
        argpartition top_indices cumsum cumprod linear_scan running_extreme rfft irfft split concat
        repeat_each""".split(),
        ("axis",),
    ),
    "fftn": ("axes",),
    "ifftn": ("axes",),
    "moveaxis": ("source", "destination"),
    "swapaxes": ("axis1", "axis2"),
}
# How many last axes of each input are the op's own; those before are a batch
OWN: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        """inv cofactor det slogdet matrix_exp cholesky eigh eigvalsh eig eigvals svd svdvals qr
        lu_factor""".split(),
        (2,),
    ),
    "solve": (2, 2),
    "solve_triangular": (2, 2),
    "matmul": (2, 2),
    "scaled_dot_product_attention": (2, 2, 2, 2),
    **dict.fromkeys("cast identity move real imag".split(), (0,)),
}
# Inputs whose first axis is a batch; the others must be the same for all examples
BATCH_FIRST: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(
        "max_pool2d avg_pool2d avg_pool2d_grad largest_places pick pick_grad".split(), (0,)
    ),
    **dict.fromkeys("gather_places scatter_places gru rnn".split(), (0, 1)),
    "lstm": (0, 1, 2),
}
CHANNELS = ("batch_norm", "channel_affine", "group_norm")
GROUPED = ("conv2d", "conv2d_input", "conv2d_weight")


def batching(op: Any) -> Run:
    """The function that computes an op of arrays of which some are batched."""

    def run(*args: Any, **params: Any) -> Any:
        level = level_of(args)
        assert level is not None
        if op.inplace:
            raise GraphError(
                f"{op.name} within vmap would write what all examples share: in evaluation mode, "
                "or without vmap, a batch is computed at once"
            )
        made_of_ops = op.differentiable and not op.has_rules and op.name not in OWN
        if made_of_ops and op.name not in RULES:
            return op.ref(*args, **params)
        y = rule(op)(_plain(op), args, params, level)
        if y is NotImplemented:
            return one_by_one(op.name, _plain(op), args, params, level)
        if isinstance(y, tuple):
            return tuple([a if a is None else _wrapped(a, level) for a in y])
        return _wrapped(y, level)

    return run


compute.append(batching)


def _wrapped(y: Any, level: Level) -> Any:
    return wrap(y if type(y) in BY_TYPE else make(y), level)


def _plain(op: Any) -> Run:
    """An op's kernel or reference, of arrays that are perhaps of an outer level."""
    return lambda *args, **params: op.kernels[type(args[0])](*args, **params)


def _beside(op: Any, run: Run) -> Run:
    """`run`, the function of an op for arrays of a library, unless some others are batched."""
    if len(op.inputs) == 1 and not op.variadic:
        return run
    batched = batching(op)

    def checked(*args: Any, **params: Any) -> Any:
        for a in args:
            if isinstance(a, Batched):
                return batched(*args, **params)
        return run(*args, **params)

    return checked


on_batches.append(_beside)
clear()


def rule(op: Any) -> Callable[[Run, Sequence[Any], dict[str, Any], Level], Any]:
    """The batching rule of an op; a loop where there is none."""
    name = op.name
    if name in RULES:
        return RULES[name]
    if op.kind == "map" or name == "frexp":
        return lambda run, args, params, level: elementwise(run, args, params, level)
    if name in AXES:
        return lambda run, args, params, level: _along_axes(op, run, args, params, level)
    if name in OWN:
        return lambda run, args, params, level: _own_axes(OWN[name], run, args, params, level)
    if name in BATCH_FIRST:
        return lambda run, args, params, level: _joined(BATCH_FIRST[name], run, args, params, level)
    return lambda *given: NotImplemented


def _rank(a: Any) -> int:
    return 0 if type(a) in WEAK else a.ndim


def elementwise(run: Run, args: Sequence[Any], params: dict[str, Any], level: Level) -> Any:
    """Arrays that broadcast: axes of length 1 stand after the batch axis of those with fewer."""
    rank = max(map(_rank, args))
    return run(*[_lifted(a, rank, level) for a in args], **params)


def _lifted(a: Any, rank: int, level: Level) -> Any:
    """The batch of an array, with a number of axes for each example."""
    if not is_batched(a, level):
        return a
    return a.batch if a.ndim >= rank else _reshaped(a, (*(1,) * (rank - a.ndim), *a.shape))


def _reshaped(a: Batched, shape: Sequence[int]) -> Any:
    return a.batch.reshape(len(a.batch), *shape)


def _along_axes(op: Any, run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    ndim, params = args[0].ndim, dict(params)
    for name in AXES[op.name]:
        axis = params.get(name, op.params[name])
        if axis is ... or (axis is None and not ndim):
            continue
        if not ndim and axis is not None and op.name in ("max", "min", "sum", "mean", "prod"):
            axis = ()  # NumPy takes axis 0 or -1 of a number
        params[name] = axes_of(axis, ndim)
    if not ndim:  # of numbers, over no axis
        params = {**params, **{n: () for n in AXES[op.name] if params.get(n) in (None, ())}}
    return run(*[a if type(a) in WEAK else batch_of(a, level) for a in args], **params)


def _own_axes(own: Sequence[int], run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    """Ops that broadcast the axes before their own."""
    pairs = list(zip(args, own, strict=False))
    if any(is_batched(a, level) for a in args[len(own) :]):
        return NotImplemented
    lead = max([_rank(a) - n for a, n in pairs if a is not None])
    given = [a if a is None else _lifted(a, lead + n, level) for a, n in pairs]
    if not is_batched(args[0], level):  # others must broadcast to it
        given[0] = _lifted(wrap(batch_of(args[0], level), level), lead + own[0], level)
    return run(*given, *args[len(own) :], **params)


def _joined(first: Sequence[int], run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    """Examples that become more of what the op's batch axis has."""
    if any(is_batched(a, level) for i, a in enumerate(args) if i not in first):
        return NotImplemented
    given = list(args)
    for i in first:
        if i < len(given) and given[i] is not None:
            batch = batch_of(given[i], level)
            given[i] = batch if batch.ndim == 1 else _merged(batch)
    n = level.size
    y = run(*given, **params)
    if isinstance(y, tuple):
        return tuple([a if a is None else _split(a, n) for a in y])
    return _split(y, n)


def _split(y: Any, n: int) -> Any:
    """(examples * n, ...) -> (examples, n, ...)"""
    return y.reshape(n, y.shape[0] // max(n, 1), *y.shape[1:])


def _merged(batch: Any) -> Any:
    """(examples, n, ...) -> (examples * n, ...)"""
    return batch.reshape(batch.shape[0] * batch.shape[1], *batch.shape[2:])


def one_by_one(name: str, run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    """The examples computed in a loop, and stacked."""
    if name not in _told:
        _told.add(name)
        warnings.warn(
            f"vmap: {name} has no batching rule for these arguments: examples are computed one by "
            "one (said once)",
            RuntimeWarning,
            stacklevel=4,
        )
    rows = [run(*[_example(a, i, level) for a in args], **params) for i in range(level.size or 1)]
    if isinstance(rows[0], tuple):
        parts = [_stacked(list(part), level) for part in zip(*rows, strict=True)]
        return tuple(parts)
    return _stacked(rows, level)


_told: set[str] = set()


def _example(a: Any, i: int, level: Level) -> Any:
    if type(a) in (list, tuple):
        return type(a)([_example(part, i, level) for part in a])
    if not is_batched(a, level):
        return a
    if level.size:
        return a.batch[i]
    return BY_TYPE[type(a.batch)].xp.zeros(a.shape, dtype=a.dtype)  # for the shapes of results


def _stacked(rows: list[Any], level: Level) -> Any:
    if rows[0] is None:
        return None
    rows = [row if type(row) in BY_TYPE else make(row) for row in rows]
    check_size(level.size, rows)
    return wrap(OPS["stack"](*rows, axis=0)[: level.size], level)


# --- ops with rules of their own ------------------------------------------------------------------


def _reshape(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    (x,), shape = args, params["shape"]
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if -1 in shape:
        rest = math.prod([n for n in shape if n != -1])
        if rest == 0 or x.size % rest or shape.count(-1) > 1:
            raise ValueError(f"cannot reshape array of size {x.size} into shape {shape}")
        shape = tuple([x.size // rest if n == -1 else n for n in shape])
    return run(x.batch, shape=(level.size, *shape))


def _broadcast_to(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    shape = params["shape"]
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return run(_lifted(args[0], len(shape), level), shape=(level.size, *shape))


def _transpose(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    x, axes = args[0], params.get("axes")
    axes = range(x.ndim)[::-1] if axes is None else axes
    return run(x.batch, axes=(0, *axes_of(axes, x.ndim)))


def _squeeze(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    x, axis = args[0], params.get("axis")
    axis = tuple([i for i, n in enumerate(x.shape) if n == 1]) if axis is None else axis
    return run(x.batch, axis=axes_of(axis, x.ndim))


def _expand_dims(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    x, axis = args[0], params["axis"]
    more = 1 if isinstance(axis, int) else len(axis)
    return run(x.batch, axis=axes_of(axis, x.ndim, made=x.ndim + more))


def _stack(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    axis = axes_of(params.get("axis", 0), args[0].ndim, made=args[0].ndim + 1)
    return run(*[batch_of(a, level) for a in args], axis=axis)


def _pad(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    return run(args[0].batch, **{**params, "pad_width": ((0, 0), *params["pad_width"])})


def _argmax(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    x, axis = args[0], params.get("axis")
    if axis is not None:
        return run(x.batch, **{**params, "axis": axes_of(axis, x.ndim)})
    y = run(_reshaped(x, (x.size,)), axis=1)
    return y.reshape(level.size, *[1] * x.ndim) if params.get("keepdims") else y


def _sum_to(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    x, shape = args[0], params["shape"]
    lead = (1,) * (x.ndim - len(shape))
    y = run(x.batch, shape=(level.size, *lead, *shape), dtype=params["dtype"])
    return y.reshape(level.size, *shape) if lead else y


def _matmul(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    a, b = args
    row, column = a.ndim == 1, b.ndim == 1
    a = _vector(a, -2, level) if row else a
    b = _vector(b, -1, level) if column else b
    if not is_batched(b, level) and b.ndim == 2:  # one product with what all examples share
        y = run(a.batch.reshape(-1, a.shape[-1]), b) if a.size else run(a.batch, b)
        y = y.reshape(*a.batch.shape[:-1], b.shape[-1])
    else:
        y = _own_axes((2, 2), run, (a, b), params, level)
    shape = list(y.shape)
    if column:
        del shape[-1]
    if row:
        del shape[-1 if column else -2]
    return y.reshape(shape)


def _vector(a: Any, axis: int, level: Level) -> Any:
    """A vector as a matrix of one row or column."""
    return OPS["expand_dims"](a, axis=axis)


def _dense(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    x, w, b = (*args, None)[:3]
    if is_batched(x, level) and not is_batched(w, level) and not is_batched(b, level):
        return run(x.batch, w, b, **params)
    z = x @ w
    z = z if b is None else z + b
    if "activation" not in params:  # dense_gelu
        return OPS["gelu"](z).batch, z.batch
    name = params["activation"]
    return (z if name == "none" else OPS[name](z)).batch


def _affine(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    """layer_norm and rms_norm: over the last axis, and then a weight and a bias."""
    x, *rest = args
    if is_batched(x, level) and not any(is_batched(a, level) for a in rest):
        return run(x.batch, *rest, **params)
    y, *statistics = run(batch_of(x, level), **params)
    y = wrap(y, level)
    for operation, a in zip(("multiply", "add"), rest, strict=False):
        y = y if a is None else OPS[operation](y, a)
    return (y.batch, *statistics)


def _by_channels(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    """x (n, channels, ...): the channels of all examples beside each other."""
    x, *rest = args
    wide = _beside_each_other(x, level)
    vectors = [a if a is None else batch_of(a, level).reshape(-1) for a in rest]
    if "groups" in params:
        params = {**params, "groups": params["groups"] * max(level.size, 1)}
    y = run(wide, *vectors, **params)
    parts = y if isinstance(y, tuple) else (y,)
    found = [_apart(a, level) for a in parts]
    return tuple(found) if isinstance(y, tuple) else found[0]


def _beside_each_other(a: Any, level: Level) -> Any:
    """(n, channels, ...) of each example as (n, examples * channels, ...)."""
    batch = batch_of(a, level)
    y = OPS["moveaxis"](batch, source=0, destination=1)
    return y.reshape(y.shape[0], y.shape[1] * y.shape[2], *y.shape[3:])


def _apart(a: Any, level: Level) -> Any:
    """The inverse: (n, examples * channels, ...) as (examples, n, channels, ...)."""
    n = level.size
    y = a.reshape(a.shape[0], n, a.shape[1] // max(n, 1), *a.shape[2:])
    return OPS["moveaxis"](y, source=1, destination=0)


def _conv2d(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    """Examples join the batch of images where they share the filters; else they are groups."""
    x, w, b = (*args, None)[:3]
    if not is_batched(w, level) and not is_batched(b, level):
        return _joined((0,), run, args, params, level)
    n = level.size
    flat = [a if a is None else _merged(batch_of(a, level)) for a in (w, b) if a is not None]
    groups = params.get("groups", 1) * n
    y = run(_beside_each_other(x, level), *flat, **{**params, "groups": groups})
    return _apart(y, level)


def _conv2d_weight(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    x, dy = [_beside_each_other(a, level) for a in args]
    y = run(x, dy, **{**params, "groups": params["groups"] * level.size})
    return y.reshape(level.size, y.shape[0] // level.size, *y.shape[1:])


def _dropout(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    return run(args[0].batch, args[1], **params)  # a mask for each example


def _mean_squared_error(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    error = args[0] - args[1]
    return (error * error).mean().batch


def _searchsorted(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    if is_batched(args[0], level):
        return NotImplemented
    return run(args[0], args[1].batch, **params)


def _embedding(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    weight, ids = args
    if is_batched(weight, level):
        return OPS["getitem"](weight, ids, template=(ARRAY,)).batch
    return run(weight, ids.batch, **params)


def _embedding_grad(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    g, ids = args
    shape = (params["count"], g.shape[-1])
    return OPS["scatter_add"](g, ids, shape=shape, template=(ARRAY,)).batch


def _by_reference(name: str) -> Callable[..., Any]:
    """An op with gradient rules that is made of other ops."""
    return lambda run, args, params, level: OPS[name].ref(*args, **params).batch


def _of_whole_batches(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    return run(*[a if a is None else batch_of(a, level) for a in args], **params)


def _attention_grad(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    whole = [a if a is None or i == 4 else wrap(batch_of(a, level), level)
             for i, a in enumerate(args)]  # fmt: skip
    return _own_axes((2, 2, 2, 2, 2, 2, 1), run, whole, params, level)


def _sequences(run: Run, args: Sequence[Any], params: Any, level: Level) -> Any:
    """Losses of alignments, and their gradients: every input has an axis of sequences, the first,
    of log-probabilities over steps the second."""
    n, at = level.size, len(args) - 4  # behind a cotangent
    over_steps, given = args[at].ndim == 3, []
    for i, a in enumerate(args):
        batch = batch_of(a, level) if is_batched(a, level) else _repeated(a, n)
        steps = over_steps and i == at
        given.append(_merged(batch.swapaxes(1, 2)).swapaxes(0, 1) if steps else _merged(batch))
    y = run(*given, **params)
    if at and over_steps:
        return _split(y.swapaxes(0, 1), n).swapaxes(1, 2)
    return _split(y, n)


def _repeated(a: Any, n: int) -> Any:
    """An array that all examples share, n times."""
    return namespace(a).broadcast_to(a, (n, *a.shape))


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys("ctc ctc_grad transducer transducer_grad".split(), _sequences),
    "reshape": _reshape,
    "broadcast_to": _broadcast_to,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "expand_dims": _expand_dims,
    "stack": _stack,
    "pad": _pad,
    "argmax": _argmax,
    "argmin": _argmax,
    "sum_to": _sum_to,
    "matmul": _matmul,
    "dense": _dense,
    "dense_gelu": _dense,
    "layer_norm": _affine,
    "rms_norm": _affine,
    **dict.fromkeys(CHANNELS, _by_channels),
    "conv2d": _conv2d,
    "conv2d_input": _conv2d,
    "conv2d_weight": _conv2d_weight,
    "dropout": _dropout,
    "mean_squared_error": _mean_squared_error,
    "searchsorted": _searchsorted,
    "softmax_cross_entropy": _of_whole_batches,
    "attention_grad": _attention_grad,
    "embedding": _embedding,
    "embedding_grad": _embedding_grad,
    "gather_sum": _by_reference("gather_sum"),
    "gather_dot": _by_reference("gather_dot"),
    "getitem": getitem,
    "scatter_add": scatter_add,
}
