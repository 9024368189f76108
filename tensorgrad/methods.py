"""The functions that are methods of Tensor too, under their names."""

from __future__ import annotations

from typing import Any

from . import functions as F
from .core import Tensor
from .typing import ArrayBase


class Methods(ArrayBase):
    """`x.sum(axis=0)` is `tg.sum(x, axis=0)`: the function, with x as its first input."""

    __slots__ = ()

    # of each element
    abs = F.abs
    ceil = F.ceil
    clip = F.clip
    cos = F.cos
    exp = F.exp
    expm1 = F.expm1
    floor = F.floor
    isfinite = F.isfinite
    isinf = F.isinf
    isnan = F.isnan
    log = F.log
    log1p = F.log1p
    negative = F.negative
    round = F.round
    sign = F.sign
    sin = F.sin
    sqrt = F.sqrt
    square = F.square
    tanh = F.tanh
    trunc = F.trunc

    # activations
    elu = F.elu
    gelu = F.gelu
    leaky_relu = F.leaky_relu
    relu = F.relu
    sigmoid = F.sigmoid
    silu = F.silu
    softplus = F.softplus
    log_softmax = F.log_softmax
    softmax = F.softmax

    # reductions
    all = F.all
    any = F.any
    argmax = F.argmax
    argmin = F.argmin
    logsumexp = F.logsumexp
    max = F.max
    mean = F.mean
    min = F.min
    prod = F.prod
    std = F.std
    sum = F.sum
    var = F.var

    # shapes
    broadcast_to = F.broadcast_to
    expand_dims = F.expand_dims
    flip = F.flip
    moveaxis = F.moveaxis
    split = F.split
    squeeze = F.squeeze
    swapaxes = F.swapaxes

    def reshape(self, *shape: Any) -> Tensor:
        """The same numbers under another shape: `x.reshape(2, 3)` or `x.reshape((2, 3))`; one entry
        may be -1. See `tg.reshape`."""
        return F.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """Axes permuted: `x.transpose(1, 0)` or `x.transpose((1, 0))`; reversed without any. See
        `tg.transpose`."""
        return F.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def flatten(self) -> Tensor:
        """One axis with all numbers in row-major order, as `x.reshape(-1)`."""
        return F.reshape(self, -1)

    def ravel(self) -> Tensor:
        """One axis with all numbers in row-major order, as `x.reshape(-1)`."""
        return F.reshape(self, -1)
