"""Flash attention (attention.cu), or by cuDNN where it is installed (cudnn.py): one launch forward,
backward one for queries and one for keys and values.

Queries, keys and values may be strided views, such as the heads within one projection; a result has
the memory layout of the input that it belongs to, so that merging the heads copies nothing.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ..accept import accepts
from ..shapes import attention_fits, attention_grad_fits
from . import cudnn
from .device import (
    DTYPES,
    HALVES,
    TYPES,
    Source,
    ctype,
    device,
    either,
    multiplies,
    sizes,
    wide,
)

_HEADS = (32, 64, 128)  # the widths that kernels are made for; narrower heads take the next
_KERNELS = ("attention", "attention_grad_q", "attention_grad_kv")
SOURCE = Source(
    "attention",
    [
        f"{name}{'_mma' * (dtype in HALVES)}<{t}, {n}>"
        for name in _KERNELS
        for dtype, t in TYPES.items()
        for n in _HEADS
    ]
    + [f"attention_along<{t}>" for t in TYPES.values()],
)
_THREADS = 128  # THREADS of register_tiles.cuh
_STRIDED = ("q", "k", "v", "mask", "y", "g", "gq", "gk", "gv")
_SHAPE = np.dtype(
    [(name, np.int64, 3) for name in _STRIDED]
    + [("mask_key", np.int64)]
    + [(name, np.int32) for name in ("heads", "rows", "keys", "depth", "columns")]
    + [(name, np.int32) for name in ("causal", "masked", "packed")]
)


def _fits(q, k, v, mask=None, *, causal=False, scale=None):
    if not attention_fits(q, k, v, mask, scale=scale) or not multiplies(q):
        return False
    long = max(q.shape[-2], k.shape[-2])
    tiles = math.prod(q.shape[:-2]) * -(-long // _lines(q))
    return max(q.shape[-1], v.shape[-1]) <= _HEADS[-1] and max(long + 128, tiles) < 2**31


def _grad_fits(g, *inputs, causal, scale, needs):
    if not attention_grad_fits(g, *inputs, causal=causal, scale=scale, needs=needs):
        return False
    return _fits(*inputs[:4], causal=causal, scale=scale) and inputs[5].dtype == wide(g)


def _lines(x):
    """Rows that a block takes: LINES of register_tiles.cuh."""
    return _THREADS // 8 * (16 // np.dtype(wide(x)).itemsize)


def _heads(x):
    """x (..., T, D) as (batch, heads, T, D) with contiguous rows; a view where possible."""
    if x.ndim != 4:
        lead = x.shape[:-2]
        x = x.reshape(math.prod(lead[:-1]), lead[-1] if lead else 1, *x.shape[-2:])
    if x.shape[-1] > 1 and x.strides[-1] != x.itemsize:
        return device(x).xp.ascontiguousarray(x)
    return x


def _like(x, columns):
    """An uninitialised result, with the heads interleaved in memory if those of x are."""
    xp, (batch, heads, rows, _) = device(x).xp, x.shape
    if x.strides[1] < x.strides[2]:
        return xp.empty((batch, rows, heads, columns), x.dtype).swapaxes(1, 2)
    return xp.empty((batch, heads, rows, columns), x.dtype)


def _packed(*arrays):
    """Whether every row is aligned to 16 bytes and a multiple of that long."""
    for x in arrays:
        steps = [step for step, n in zip(x.strides[:-1], x.shape[:-1], strict=True) if n > 1]
        if any(n % 16 for n in (x.data.ptr, x.shape[-1] * x.itemsize, *steps)):
            return False
    return True


def _shape(q, k, v, mask, causal, **others):
    """The struct Shape of attention_common.cuh: sizes, and strides in elements."""
    arrays = {"q": q, "k": k, "v": v, **others}
    steps = tuple([(name, x.strides[:3]) for name, x in arrays.items()])
    masked = None
    if mask is not None:
        steps_of_mask = _broadcast(mask, (*q.shape[:3], k.shape[2])).strides
        masked = (mask.dtype == bool, tuple([step // mask.itemsize for step in steps_of_mask]))
    packed = _packed(*arrays.values())
    return _struct(q.shape[1:], v.shape[2:], steps, q.itemsize, masked, bool(causal), packed)


@functools.lru_cache(maxsize=1024)
def _struct(q_shape, v_shape, strides, itemsize, masked, causal, packed):
    """The same, which the steps of a training share."""
    shape = np.zeros((), _SHAPE)
    for name, steps in strides:
        shape[name] = [step // itemsize for step in steps]
    if masked is not None:
        of_bools, steps = masked
        shape["masked"], shape["mask"], shape["mask_key"] = 2 - of_bools, steps[:3], steps[3]
    shape["heads"], shape["rows"], shape["depth"] = q_shape
    shape["keys"], shape["columns"] = v_shape
    shape["causal"], shape["packed"] = causal, packed
    return shape[()]


def _broadcast(mask, shape):
    return device(mask).xp.broadcast_to(mask, shape)


def _inputs(q, k, v, mask, scale):
    """By head, and the scale as kernels take it."""
    if mask is not None and q.ndim != 4:
        mask = _heads(_broadcast(mask, (*q.shape[:-1], k.shape[-2])))
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    return _heads(q), _heads(k), _heads(v), mask, wide(q)(scale)


def _launch(kernel, q, k, v, rows, args):
    """A launch with a block for some rows of each head."""
    head, lines = next(n for n in _HEADS if n >= max(q.shape[-1], v.shape[-1])), _lines(q)
    if q.itemsize == 2:
        lines = 128 if kernel == "attention" and head <= 64 else 64  # as in attention_mma.cuh
        kernel += "_mma"
    grid = (q.shape[0] * q.shape[1] * -(-rows // lines),)
    device(q).launch(SOURCE, f"{kernel}<{ctype(q)}, {head}>", grid, (_THREADS,), args)


def _all_seen(q, k, mask, causal):
    """Whether some row sees each key, as cuDNN must have it: what it hides it multiplies by 0,
    even NaN."""
    return mask is None and not (causal and k.shape[2] > q.shape[2])


@accepts(dtypes=DTYPES, strided=("q", "k", "v"), others=("mask",), when=_fits)
def scaled_dot_product_attention(q, k, v, mask=None, *, causal=False, scale=None):
    lead = q.shape[:-1]
    q, k, v, mask, scale = _inputs(q, k, v, mask, scale)
    y, lse = _like(q, v.shape[-1]), device(q).xp.empty(lead, wide(q))
    sums = lse.reshape(*q.shape[:3], 1)
    plain = _all_seen(q, k, mask, causal)
    if plain and cudnn.attended("attention", (q, k, v), (y, sums), causal, float(scale)):
        return y.reshape(*lead, v.shape[-1]), lse
    shape = _shape(q, k, v, mask, causal, y=y)
    args = (q, k, v, either(mask, q), y, lse, shape, scale)
    _launch("attention", q, k, v, q.shape[2], args)
    return y.reshape(*lead, v.shape[-1]), lse


@accepts(
    dtypes=DTYPES,
    strided=("g", "q", "k", "v", "y"),
    others=("mask", "lse"),
    when=_grad_fits,
)
def attention_grad(g, q, k, v, mask, y, lse, *, causal, scale, needs):
    shapes, launch = [x.shape for x in (q, k, v)], device(q).launch
    q, k, v, mask, scale = _inputs(q, k, v, mask, scale)
    g, y = _heads(g), _heads(y)
    gq, gk, gv = [
        _like(x, x.shape[-1]) if n else None for x, n in zip((q, k, v), needs, strict=False)
    ]
    if _all_seen(q, k, mask, causal) and all(needs[:3]):
        inputs = (g, q, k, v, y, lse.reshape(*q.shape[:3], 1))
        if cudnn.attended("attention_grad", inputs, (gq, gk, gv), causal, float(scale)):
            return *[a.reshape(s) for a, s in zip((gq, gk, gv), shapes, strict=True)], None
    given = {name: x for name, x in (("gq", gq), ("gk", gk), ("gv", gv)) if x is not None}
    shape = _shape(q, k, v, mask, causal, y=y, g=g, **given)
    along = lse
    if needs[0] or needs[1]:
        along = device(q).xp.empty(lse.shape, lse.dtype)
        grid, block = (min(-(-lse.size // 4), 1 << 16),), (32, 4)
        args = (g, y, along, *sizes(lse.size), shape)
        launch(SOURCE, f"attention_along<{ctype(q)}>", grid, block, args)
    inputs = (g, q, k, v, either(mask, q), lse, along)
    if needs[0]:
        _launch("attention_grad_q", q, k, v, q.shape[2], (*inputs, gq, shape, scale))
    if needs[1] or needs[2]:
        wanted = (np.int32(needs[1]), np.int32(needs[2]))
        args = (*inputs, either(gk, k), either(gv, v), shape, scale, *wanted)
        _launch("attention_grad_kv", q, k, v, k.shape[2], args)
    return (
        *[None if a is None else a.reshape(s) for a, s in zip((gq, gk, gv), shapes, strict=True)],
        None,
    )
