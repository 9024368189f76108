"""Layers that give their input another shape."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from .. import functions
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, ShapeError
from ..functions.inputs import several
from ..typing import ArrayLike, Border, Shape, Size
from .module import Module
from .one_example import or_one


class Identity(Module):
    """The input itself: a place for a layer. Arguments are taken, and change nothing.

    >>> Identity(54, unused=True)([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """

    def __init__(self, *args: Any, **options: Any):
        super().__init__()

    def forward(self, x: ArrayLike) -> Tensor:
        return asarray(x)


class Lambda(Module):
    """Any function as a layer. (In a Sequential it may stand by itself; pickling needs one that has
    a name.)

    >>> Lambda(abs)([-1.0]).tolist()
    [1.0]
    """

    def __init__(self, function: Callable[..., Any]):
        super().__init__()
        self.function = function

    def forward(self, *inputs: ArrayLike, **options: Any) -> Any:
        return self.function(*[asarray(x) for x in inputs], **options)

    def describe(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` as one, by default all but the batch: (n, ...) -> (n,
    product of the rest).

    >>> Flatten()(np.zeros((2, 3, 4))).shape
    (2, 12)
    >>> Flatten(0, 1)(np.zeros((2, 3, 4))).shape
    (6, 4)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: ArrayLike) -> Tensor:
        x = asarray(x)
        n = len(x.shape)
        start, end = self.start_dim % max(n, 1), self.end_dim % max(n, 1)
        if n == 1 and (self.start_dim, self.end_dim) == (1, -1):
            return x.reshape(x.shape[0], 1)
        if not (-n <= self.start_dim < n and -n <= self.end_dim < n and start <= end):
            raise ShapeError(
                f"Flatten({self.describe()}): an input of shape {x.shape} has no such axes"
            )
        # -1 would mean nothing for an empty batch
        return x.reshape(*x.shape[:start], prod(x.shape[start : end + 1]), *x.shape[end + 1 :])

    def describe(self) -> str:
        return (
            "" if (self.start_dim, self.end_dim) == (1, -1) else f"{self.start_dim}, {self.end_dim}"
        )


class Unflatten(Module):
    """The axis `dim` as several, the inverse of `Flatten`: (n, 12) -> (n, 3, 4). One size may be
    -1, for what the others leave.

    >>> Unflatten(1, (3, -1))(np.zeros((2, 12))).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Shape):
        super().__init__()
        self.dim, self.unflattened_size = dim, several(unflattened_size)

    def forward(self, x: ArrayLike) -> Tensor:
        x, sizes = asarray(x), self.unflattened_size
        if not -x.ndim <= self.dim < x.ndim:
            raise ShapeError(f"Unflatten({self.describe()}): an input of shape {x.shape}")
        dim, known = self.dim % x.ndim, prod([n for n in sizes if n != -1])
        length = x.shape[dim]
        if known and length % known == 0:
            sizes = tuple([length // known if n == -1 else n for n in sizes])
        if prod(sizes) != length or sizes.count(-1):
            raise ShapeError(
                f"Unflatten({self.describe()}): axis {dim} of an input of shape {x.shape}"
            )
        return x.reshape(*x.shape[:dim], *sizes, *x.shape[dim + 1 :])

    def describe(self) -> str:
        return f"{self.dim}, {self.unflattened_size}"


class Reshape(Module):
    """Each example in another shape, in Keras's form: without the batch. (n, 12) -> (n, 3, 4). One
    size may be -1, for what the others leave.

    >>> Reshape((3, -1))(np.zeros((2, 12))).shape
    (2, 3, 4)
    """

    def __init__(self, target_shape: Shape):
        super().__init__()
        self.target_shape = several(target_shape)

    def forward(self, x: ArrayLike) -> Tensor:
        x, sizes = asarray(x), self.target_shape
        length, known = prod(x.shape[1:]), prod([n for n in sizes if n != -1])
        if known and sizes.count(-1) == 1:
            sizes = tuple([length // known if n == -1 else n for n in sizes])
        if not x.shape or prod(sizes) != length or sizes.count(-1):
            raise ShapeError(
                f"Reshape({self.target_shape}): an input of shape {x.shape}; the batch is first, "
                "and stays"
            )
        return x.reshape(x.shape[0], *sizes)

    def describe(self) -> str:
        return f"{self.target_shape}"


class Permute(Module):
    """The axes of each example in another order, in Keras's form: counted from 1, without the
    batch, which stays first.

    >>> Permute((2, 1))(np.zeros((5, 3, 4))).shape
    (5, 4, 3)
    """

    def __init__(self, dims: Shape):
        super().__init__()
        self.dims = several(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ArgumentError(
                f"Permute: dims={self.dims} are the axes behind the batch, from 1 on, each once; "
                "for all axes of an array tg.transpose(x, axes)"
            )

    def forward(self, x: ArrayLike) -> Tensor:
        x = asarray(x)
        if x.ndim != len(self.dims) + 1:
            raise ShapeError(f"Permute({self.dims}): an input of shape {x.shape}")
        return functions.transpose(x, (0, *self.dims))

    def describe(self) -> str:
        return f"{self.dims}"


class Fold(Module):
    """Images from columns, elements that windows share summed: (n, c * rows * columns, windows) ->
    (n, c, *output_size). See `tg.fold`.

    >>> Fold((2, 2), (1, 2))(np.ones((1, 2, 2))).shape
    (1, 1, 2, 2)
    """

    axes = 1

    def __init__(
        self,
        output_size: Size,
        kernel_size: Size,
        dilation: Size = 1,
        padding: Border = 0,
        stride: Size = 1,
    ):
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.options: Any = {"dilation": dilation, "padding": padding, "stride": stride}

    @or_one
    def forward(self, x: ArrayLike) -> Tensor:
        return functions.fold(x, self.output_size, self.kernel_size, **self.options)


class Unfold(Module):
    """The windows of images as columns: (n, c, h, w) -> (n, c * rows * columns, windows). See
    `tg.unfold`.

    >>> Unfold((1, 2))(np.ones((1, 1, 2, 2))).shape
    (1, 2, 2)
    """

    axes = 2

    def __init__(
        self, kernel_size: Size, dilation: Size = 1, padding: Border = 0, stride: Size = 1
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.options: Any = {"dilation": dilation, "padding": padding, "stride": stride}

    @or_one
    def forward(self, x: ArrayLike) -> Tensor:
        return functions.unfold(x, self.kernel_size, **self.options)
