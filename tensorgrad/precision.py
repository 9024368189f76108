"""Mixed precision (Micikevicius et al. 2018): products in halves, sums and losses in float32.

The op table says what an op is computed in (its `precision`): "half" for products, which GPUs
compute several times faster so, "single" for what loses accuracy or overflows in half precision.
All other ops compute in the dtype of their inputs.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any

import numpy as np

from .backend import dtype_of, is_floating, is_half
from .core import OPS, Tensor, on_autocast
from .errors import DTypeError, suggest
from .switches import modes, switches
from .typing import DType

_SINGLE = np.dtype("float32")


class autocast(ContextDecorator):
    """A context manager and decorator for mixed precision, in this thread: matrix products,
    convolutions, attention and recurrent layers are computed in `dtype`, bfloat16 or float16;
    losses, norms, sums and exponentials in float32. Parameters stay float32: they are cast at each
    use, and their gradients are float32. float64 and integer inputs are not cast.

    float16 gradients underflow without loss scaling (`optim.LossScale`). Call `backward` outside of
    the block. `autocast(None)` inside a block disables it. Raises DTypeError for other dtypes.

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
        self.before, switches.autocast = switches.autocast, self.dtype
        modes.append(None)

    def __exit__(self, *error: object) -> None:
        switches.autocast = self.before
        modes.pop()


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
    return OPS["cast"](a, dtype=dtype) if known and a.dtype != dtype else a


on_autocast.append(_inputs)
