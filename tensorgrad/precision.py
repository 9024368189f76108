"""Mixed precision (Micikevicius et al. 2018): products in halves, sums and losses in float32.

The op table says what an op is computed in (its `precision`): "half" for products, which GPUs
compute several times faster so, "single" for what loses accuracy or overflows in half precision.
All other ops compute in the dtype of their inputs.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any, NamedTuple

import numpy as np

from .backend import BY_TYPE, dtype_of, is_floating, is_half
from .core import OPS, Leaf, Node, Tensor, on_autocast, record
from .errors import DTypeError, suggest
from .switches import modes, switches
from .typing import DType

_SINGLE = np.dtype("float32")
_AT_ONCE = 1 << 25  # elements that are cast ahead of their use, 64 MiB of halves


class autocast(ContextDecorator):
    """A context manager and decorator for mixed precision, in this thread: matrix products,
    convolutions, attention and recurrent layers are computed in `dtype`, bfloat16 or float16;
    losses, norms, sums and exponentials in float32. Parameters stay float32: they are cast at each
    use, and their gradients are float32. float64 and integer inputs are not cast.

    float16 gradients underflow without loss scaling (`optim.LossScale`). Call `backward` outside of
    the block. `autocast(None)` inside a block disables it. Raises DTypeError for other dtypes.

    On a GPU parameters are cast together, when the first of them is used, in the order of the block
    before; those that an optimizer, `p.data = ...` or `p += ...` updates meanwhile are cast again,
    but writing into the array itself (`p.data[0] = 1`) is not noticed until the next block.

    >>> import tensorgrad as tg
    >>> with autocast("float16"): tg.matmul(tg.ones((2, 3)), tg.ones((3, 1))).dtype
    dtype('float16')
    """

    def __init__(self, dtype: DType = "bfloat16"):
        self.dtype = None if dtype is None else dtype_of(dtype)
        if self.dtype is not None and not is_half(self.dtype):
            known = ("bfloat16", "float16")
            raise DTypeError(f"autocast({dtype!r}): {suggest(str(dtype), known)}")

    def _recreate_cm(self) -> autocast:
        return autocast(self.dtype)

    def __enter__(self) -> None:
        modes.append(None)
        casts = _Casts()
        # last, with no call after it: Ctrl-C is raised between calls
        self.before = switches.autocast, switches.casts
        switches.autocast, switches.casts = self.dtype, casts

    def __exit__(self, *error: object) -> None:
        casts = switches.casts
        switches.autocast, switches.casts = self.before
        modes.pop()
        casts.plan()


def set_tf32(on: bool) -> None:
    """Whether float32 matrix products on a GPU, and cuDNN's convolutions, round their operands to
    TF32 for tensor cores: it has the range of float32 and 10 of its 23 mantissa bits. Off by
    default, unless the environment variable TENSORGRAD_TF32 is 1. For all threads; CUDA graphs
    captured before are not affected.

    >>> set_tf32(False)
    """
    from .kernels.cuda import cublas

    cublas.tf32 = bool(on)


def _inputs(op: Any, args: tuple) -> tuple:
    """The inputs of an op, cast to the precision that it is computed in."""
    dtype = switches.autocast if op.precision == "half" else _SINGLE
    return tuple([_cast(a, dtype) if isinstance(a, Tensor) else a for a in args])


def _cast(a: Tensor, dtype: np.dtype[Any]) -> Tensor:
    known = a.dtype == _SINGLE or (is_floating(a.dtype) and is_half(a.dtype))
    if not known or a.dtype == dtype:
        return a
    ahead = type(a.node) is Leaf and dtype is not _SINGLE and not switches.recomputing
    if ahead and switches.casts and BY_TYPE[type(a._data)].kernels == "cuda":
        return switches.casts.cast(a, dtype)
    return OPS["cast"](a, dtype=dtype)


class _Cast(NamedTuple):
    """A parameter in another dtype, and when it was made: it is good until the next update."""

    array: Any
    written: int
    capture: Any  # the CUDA graph's: what was computed before its capture, no launch repeats

    def holds(self, a: Tensor, dtype: np.dtype[Any]) -> bool:
        """Whether it is what casting the parameter would give now."""
        now = self.written == a.node.written and self.capture is switches.each_time
        return now and self.array.dtype == dtype


class _Casts:
    """The parameters that a block casts. They are remembered by the first of them, in
    `Leaf.cast_with`, and the next block that begins with it casts all in one launch. Each cast is
    used once: its memory is the graph's, then."""

    def __init__(self) -> None:
        self.used: dict[Any, None] = {}  # leaves, in order
        self.ready: dict[Leaf, _Cast] = {}

    def cast(self, a: Tensor, dtype: np.dtype[Any]) -> Tensor:
        """A parameter in the dtype, on the tape as by the op `cast`."""
        leaf: Any = a.node
        if leaf.cast_with and leaf not in self.used and leaf not in self.ready:
            self._together(a, dtype)
        self.used[leaf] = None
        made = self.ready.pop(leaf, None)
        if made is None or not made.holds(a, dtype):
            return OPS["cast"](a, dtype=dtype)
        y, params = made.array, {"dtype": dtype}
        if not switches.recording:
            return Tensor(y)
        return Tensor(y, record(Node(), OPS["cast"], (leaf,), (), params, y.shape, y.dtype))

    def _together(self, first: Tensor, dtype: np.dtype[Any]) -> None:
        found = {first.node: first}
        for t in [ref() for ref in first.node.cast_with]:
            if t is not None and t.node not in self.ready and _alike(t, first):
                found[t.node] = t
        made = OPS["cast_all"](*[t._data for t in found.values()], dtype=dtype)
        for leaf, y in zip(found, made, strict=True):
            self.ready[leaf] = _Cast(y, leaf.written, switches.each_time)

    def plan(self) -> None:
        """Note for the next block which parameters to cast together: at most so many numbers."""
        size, group = _AT_ONCE, list[Any]()
        for leaf in self.used:
            if (t := leaf.tensor()) is None:
                continue
            size += t.size
            if size > _AT_ONCE:
                size, group = t.size, []
                leaf.cast_with = group  # type: ignore[assignment]
            else:
                group.append(leaf.tensor)


def _alike(t: Tensor, first: Tensor) -> bool:
    """Whether a leaf's array is of the first one's kind."""
    return type(t.node) is Leaf and type(t._data) is type(first._data) and t.dtype == first.dtype


on_autocast.append(_inputs)
