"""The functions that are methods of Tensor too, under their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from . import functions as F
from .core import Tensor
from .typing import ArrayBase, ArrayLike, Axis, Count, DType, OutOfRange, SortKind, ValuesIndices


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

    def conj(self) -> Tensor:
        """The complex conjugate. See `tg.conj`."""
        return F.conj(self)

    def conjugate(self) -> Tensor:
        """The complex conjugate. See `tg.conj`."""
        return F.conj(self)

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

    def permute(self, *axes: Any) -> Tensor:
        """Axes permuted, as PyTorch calls it: `x.permute(1, 0)`. See `tg.permute`."""
        return F.transpose(self, axes[0] if len(axes) == 1 else axes)

    def flatten(self) -> Tensor:
        """One axis with all numbers in row-major order, as `x.reshape(-1)`."""
        return F.reshape(self, -1)

    def ravel(self) -> Tensor:
        """One axis with all numbers in row-major order, as `x.reshape(-1)`."""
        return F.reshape(self, -1)

    # scans, sorting, indexing

    def cumsum(self, axis: Axis = None, dtype: DType = None, *, reverse: bool = False) -> Tensor:
        """The sums of the elements up to each along an axis. See `tg.cumsum`."""
        return F.cumsum(self, axis, dtype, reverse=reverse)

    def cumprod(self, axis: Axis = None, dtype: DType = None) -> Tensor:
        """The products of the elements up to each along an axis. See `tg.cumprod`."""
        return F.cumprod(self, axis, dtype)

    def sort(
        self,
        axis: Axis = -1,
        kind: SortKind = None,
        *,
        descending: bool = False,
        stable: bool = True,
    ) -> Tensor:
        """The elements in order along an axis, as a new tensor. See `tg.sort`."""
        return F.sort(self, axis, kind, descending=descending, stable=stable)

    def argsort(
        self,
        axis: Axis = -1,
        kind: SortKind = None,
        *,
        descending: bool = False,
        stable: bool = True,
    ) -> Tensor:
        """The indices that sort along an axis. See `tg.argsort`."""
        return F.argsort(self, axis, kind, descending=descending, stable=stable)

    def partition(self, kth: int | Sequence[int], axis: Axis = -1) -> Tensor:
        """The elements parted by the one that sorting would have at `kth`. See `tg.partition`."""
        return F.partition(self, kth, axis)

    def argpartition(self, kth: int | Sequence[int], axis: Axis = -1) -> Tensor:
        """Indices that part the elements. See `tg.argpartition`."""
        return F.argpartition(self, kth, axis)

    def searchsorted(
        self, v: ArrayLike, side: Literal["left", "right"] = "left", sorter: ArrayLike | None = None
    ) -> Tensor:
        """Where numbers would be inserted in this sorted tensor. See `tg.searchsorted`."""
        return F.searchsorted(self, v, side, sorter)

    def topk(self, k: Count, axis: int = -1, *, largest: bool = True) -> ValuesIndices:
        """The k largest elements along an axis, and their indices. See `tg.topk`."""
        return F.topk(self, k, axis, largest=largest)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """A diagonal of the matrices of two axes. See `tg.diagonal`."""
        return F.diagonal(self, offset, axis1, axis2)

    # products and traces

    def dot(self, b: ArrayLike) -> Tensor:
        """NumPy's dot, of x and b. See `tg.dot`."""
        return F.dot(self, b)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: DType = None) -> Tensor:
        """The sum of a diagonal. See `tg.trace`."""
        return F.trace(self, offset, axis1, axis2, dtype)

    def take(self, indices: ArrayLike, axis: Axis = None, mode: OutOfRange = "raise") -> Tensor:
        """The elements, or slices, at indices along an axis. See `tg.take`."""
        return F.take(self, indices, axis, mode)

    def gather(self, axis: int, index: ArrayLike) -> Tensor:
        """The elements at indices along an axis, for each line its own. See `tg.gather`."""
        return F.gather(self, axis, index)

    def masked_fill(self, mask: ArrayLike, value: ArrayLike) -> Tensor:
        """A number where the mask is True, as a new tensor. See `tg.masked_fill`."""
        return F.masked_fill(self, mask, value)

    def compress(self, condition: ArrayLike, axis: Axis = None) -> Tensor:
        """The slices along an axis where the condition is non-zero. See `tg.compress`."""
        return F.compress(condition, self, axis)

    def choose(
        self, choices: Sequence[ArrayLike] | ArrayLike, mode: OutOfRange = "raise"
    ) -> Tensor:
        """For each place the element of the choice which this tensor names. See `tg.choose`."""
        return F.choose(self, choices, mode)

    def nonzero(self) -> tuple[Tensor, ...]:
        """The indices of the elements that are not 0, for each axis. See `tg.nonzero`."""
        return F.nonzero(self)

    def repeat(self, repeats: int | ArrayLike, axis: Axis = None) -> Tensor:
        """Each slice along an axis repeated. See `tg.repeat`."""
        return F.repeat(self, repeats, axis)
