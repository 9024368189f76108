"""Pooling of sequences, images and volumes (n, channels, ...), and what undoes it. All are one
implementation over the number of axes, by the functions of `tg` of that name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

from .. import functions
from ..core import Tensor
from ..creation import asarray, beside
from ..ops import pool
from ..settings import Either, Nothing, Several, Whole
from ..typing import ArrayLike, Borders, Count, Positive, Sizes
from .conv import along, spatial
from .module import Module
from .one_example import or_one

Wanted: TypeAlias = Annotated[
    "int | Sequence[int | None] | None",
    Several(Either(Nothing(), Whole(1)), says="one for each axis, None for the input's"),
]

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]


class _Pool(Module):
    axes = 2

    def _start(self, kernel_size: Any, stride: Any, **others: Any) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        for name, value in {"kernel_size": kernel_size, "stride": stride, **others}.items():
            spread = name in ("kernel_size", "stride", "padding", "dilation")
            setattr(self, name, along(self, name, value, self.axes) if spread else value)

    kernel_size: Any
    stride: Any
    padding: Any = 0

    def describe(self) -> str:
        return f"{self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Borders = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        self._start(kernel_size, stride, padding=padding, dilation=dilation)
        self.return_indices, self.ceil_mode = return_indices, ceil_mode
        self._plain = self.axes == 2 and self.dilation == (1, 1)
        self._plain = self._plain and not (return_indices or ceil_mode)

    dilation: Any

    @or_one
    def forward(self, x: ArrayLike) -> Any:
        x = spatial(type(self).__name__, x, self.axes)
        if self._plain:
            how = {"size": self.kernel_size, "stride": self.stride, "padding": self.padding}
            return pool.max_pool2d(x, **how)[0]
        return getattr(functions, f"max_pool{self.axes}d")(
            x,
            self.kernel_size,
            self.stride,
            self.padding,
            dilation=self.dilation,
            ceil_mode=self.ceil_mode,
            return_indices=self.return_indices,
        )


class MaxPool1d(_MaxPool):
    """The largest number of each window: (n, c, l) -> (n, c, l'), as `MaxPool2d`, whose arguments
    it takes.

    >>> MaxPool1d(2)([[[1.0, 3.0, 2.0, 4.0]]]).tolist()
    [[[3.0, 4.0]]]
    """

    axes = 1


class MaxPool2d(_MaxPool):
    """The largest number of each window: (n, c, h, w) -> (n, c, h', w'), h' = floor((h + 2 padding
    - dilation (kernel_size - 1) - 1) / stride) + 1, w' alike. `stride` is by default the
    kernel_size, so that windows do not overlap; beyond the sides is -inf. With `return_indices` a
    pair of that and the places, for `MaxUnpool2d`. See `tg.max_pool2d`.

    >>> MaxPool2d(2)([[[[1.0, 2.0], [3.0, 4.0]]]]).tolist()
    [[[[4.0]]]]
    """

    axes = 2


class MaxPool3d(_MaxPool):
    """The largest number of each window: (n, c, d, h, w) -> (n, c, d', h', w'), as `MaxPool2d`,
    whose arguments it takes.

    >>> MaxPool3d((1, 2, 2))(np.ones((1, 1, 3, 4, 4))).shape
    (1, 1, 3, 2, 2)
    """

    axes = 3


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Borders = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: Count | None = None,
    ):
        self._start(kernel_size, stride, padding=padding)
        self.options = {
            "ceil_mode": ceil_mode,
            "count_include_pad": count_include_pad,
            "divisor_override": divisor_override,
        }
        plain = not ceil_mode and count_include_pad and divisor_override is None
        self._plain = self.axes == 2 and plain

    @or_one
    def forward(self, x: ArrayLike) -> Tensor:
        x = spatial(type(self).__name__, x, self.axes)
        if self._plain:
            how = {"size": self.kernel_size, "stride": self.stride, "padding": self.padding}
            return pool.avg_pool2d(x, **how)
        average = getattr(functions, f"avg_pool{self.axes}d")
        return average(x, self.kernel_size, self.stride, self.padding, **self.options)  # type: ignore[no-any-return]


class AvgPool1d(_AvgPool):
    """The mean of each window: (n, c, l) -> (n, c, l'), as `AvgPool2d`, whose arguments it takes.

    >>> AvgPool1d(2)([[[1.0, 3.0, 2.0, 4.0]]]).tolist()
    [[[2.0, 3.0]]]
    """

    axes = 1


class AvgPool2d(_AvgPool):
    """The mean of each window: (n, c, h, w) -> (n, c, h', w'), sizes as in `MaxPool2d`. Zeros of
    the padding count unless `count_include_pad=False`; `divisor_override` is what sums are divided
    by instead of counts. See `tg.avg_pool2d`.

    >>> AvgPool2d(2)([[[[1.0, 2.0], [3.0, 4.0]]]]).tolist()
    [[[[2.5]]]]
    """

    axes = 2


class AvgPool3d(_AvgPool):
    """The mean of each window: (n, c, d, h, w) -> (n, c, d', h', w'), as `AvgPool2d`, whose
    arguments it takes.

    >>> AvgPool3d(2)(np.ones((1, 1, 4, 4, 4))).shape
    (1, 1, 2, 2, 2)
    """

    axes = 3


class _LPPool(_Pool):
    def __init__(
        self,
        norm_type: Positive,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
    ):
        self._start(kernel_size, stride)
        self.norm_type, self.ceil_mode = norm_type, ceil_mode

    @or_one
    def forward(self, x: ArrayLike) -> Tensor:
        x = spatial(type(self).__name__, x, self.axes)
        f = getattr(functions, f"lp_pool{self.axes}d")
        return f(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)  # type: ignore[no-any-return]


class LPPool1d(_LPPool):
    """The p-norm of each window, as `LPPool2d`, whose arguments it takes: (n, c, l) -> (n, c, l').

    >>> LPPool1d(2, 2)([[[3.0, 4.0]]]).tolist()
    [[[5.0]]]
    """

    axes = 1


class LPPool2d(_LPPool):
    """The p-norm of each window, (sum x^p)^(1/p) with p = `norm_type`, NaN where the sum is < 0:
    (n, c, h, w) -> (n, c, h', w'), sizes as in `MaxPool2d`. For p = 1 it is the sum, for p = inf it
    would be the maximum. See `tg.lp_pool2d`.

    >>> LPPool2d(2, 2)([[[[1.0, 1.0], [1.0, 1.0]]]]).tolist()
    [[[[2.0]]]]
    """

    axes = 2


class LPPool3d(_LPPool):
    """The p-norm of each window, as `LPPool2d`, whose arguments it takes: (n, c, d, h, w) -> (n, c,
    d', h', w').

    >>> LPPool3d(1, 2)(np.ones((1, 1, 2, 2, 2))).item()
    8.0
    """

    axes = 3


class _AdaptivePool(Module):
    axes, kind = 2, "avg"

    def __init__(self, output_size: Wanted):
        super().__init__()
        self.output_size = output_size

    def _size(self, x: Tensor) -> tuple[int, ...]:
        given = (self.output_size,) * self.axes if self.output_size is None else self.output_size
        sizes = along(self, "output_size", given, self.axes)
        return tuple([n if s is None else s for n, s in zip(x.shape[2:], sizes, strict=True)])

    @or_one
    def forward(self, x: ArrayLike) -> Any:
        x = spatial(type(self).__name__, x, self.axes)
        return getattr(functions, f"adaptive_{self.kind}_pool{self.axes}d")(x, self._size(x))

    def describe(self) -> str:
        return f"{self.output_size}"


class AdaptiveAvgPool1d(_AdaptivePool):
    """The mean of each of `output_size` windows that cover the input: (n, c, l) -> (n, c,
    output_size). See `tg.adaptive_avg_pool2d`.

    >>> AdaptiveAvgPool1d(2)([[[1.0, 2.0, 4.0]]]).tolist()
    [[[1.5, 3.0]]]
    """

    axes = 1


class AdaptiveAvgPool2d(_AdaptivePool):
    """The mean of each of `output_size` windows that cover the input: (n, c, h, w) -> (n, c,
    *output_size). None for a size, or one of two, keeps the input's. See `tg.adaptive_avg_pool2d`;
    `GlobalAvgPool` for one number of each channel.

    >>> AdaptiveAvgPool2d((1, None))([[[[1.0, 2.0], [3.0, 4.0]]]]).tolist()
    [[[[2.0, 3.0]]]]
    """

    axes = 2


class AdaptiveAvgPool3d(_AdaptivePool):
    """The mean of each of `output_size` windows that cover the input: (n, c, d, h, w) -> (n, c,
    *output_size), as `AdaptiveAvgPool2d`.

    >>> AdaptiveAvgPool3d(1)(np.ones((2, 3, 4, 4, 4))).shape
    (2, 3, 1, 1, 1)
    """

    axes = 3


class _AdaptiveMaxPool(_AdaptivePool):
    kind = "max"

    def __init__(self, output_size: Wanted, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    @or_one
    def forward(self, x: ArrayLike) -> Any:
        x = spatial(type(self).__name__, x, self.axes)
        pooled = getattr(functions, f"adaptive_max_pool{self.axes}d")
        return pooled(x, self._size(x), return_indices=self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The largest number of each of `output_size` windows that cover the input: (n, c, l) -> (n, c,
    output_size), as `AdaptiveMaxPool2d`.

    >>> AdaptiveMaxPool1d(2)([[[1.0, 2.0, 4.0]]]).tolist()
    [[[2.0, 4.0]]]
    """

    axes = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest number of each of `output_size` windows that cover the input: (n, c, h, w) -> (n,
    c, *output_size), windows as those of `AdaptiveAvgPool2d`. With `return_indices` a pair of that
    and the places.

    >>> AdaptiveMaxPool2d(1)([[[[1.0, 2.0], [3.0, 4.0]]]]).item()
    4.0
    """

    axes = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The largest number of each of `output_size` windows that cover the input: (n, c, d, h, w) ->
    (n, c, *output_size), as `AdaptiveMaxPool2d`.

    >>> AdaptiveMaxPool3d(1)(np.ones((2, 3, 4, 4, 4))).shape
    (2, 3, 1, 1, 1)
    """

    axes = 3


class _MaxUnpool(_Pool):
    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Borders = 0):
        self._start(kernel_size, stride, padding=padding)

    def forward(
        self, x: ArrayLike, indices: ArrayLike, output_size: Sequence[int] | None = None
    ) -> Tensor:
        x = asarray(x)
        if len(x.shape) == self.axes + 1:  # of one example, as its places
            return self.forward(x[None], beside(indices, x)[None], output_size)[0]
        x = spatial(type(self).__name__, x, self.axes)
        size = None if output_size is None else tuple(output_size)[-self.axes :]
        how = (self.kernel_size, self.stride, self.padding)
        unpooled = getattr(functions, f"max_unpool{self.axes}d")
        return unpooled(x, indices, *how, output_size=size)  # type: ignore[no-any-return]


class MaxUnpool1d(_MaxUnpool):
    """The partial inverse of a `MaxPool1d` with `return_indices`, as `MaxUnpool2d`: (n, c, l') ->
    (n, c, l).

    >>> MaxUnpool1d(2)(*MaxPool1d(2, return_indices=True)([[[1.0, 3.0]]])).tolist()
    [[[0.0, 3.0]]]
    """

    axes = 1


class MaxUnpool2d(_MaxUnpool):
    """The partial inverse of a `MaxPool2d` with `return_indices`: called with what that returned,
    maxima at their places and zeros elsewhere. (n, c, h', w') -> (n, c, h, w), h = (h' - 1) stride
    - 2 padding + kernel_size unless `output_size` is given to the call.

    >>> MaxUnpool2d(2)([[[[7.0]]]], [[[[2]]]]).tolist()
    [[[[0.0, 0.0], [7.0, 0.0]]]]
    """

    axes = 2


class MaxUnpool3d(_MaxUnpool):
    """The partial inverse of a `MaxPool3d` with `return_indices`, as `MaxUnpool2d`: (n, c, d', h',
    w') -> (n, c, d, h, w).

    >>> MaxUnpool3d((1, 1, 2))([[[[[7.0]]]]], [[[[[1]]]]]).tolist()
    [[[[[0.0, 7.0]]]]]
    """

    axes = 3


class _GlobalPool(Module):
    mode: Literal["mean", "max"] = "mean"

    def __init__(self, keepdims: bool = False):
        super().__init__()
        self.keepdims = keepdims

    def forward(self, x: ArrayLike) -> Tensor:
        x = spatial(type(self).__name__, x, None)
        reduce = getattr(functions, self.mode)
        return reduce(x, tuple(range(2, x.ndim)), keepdims=self.keepdims)  # type: ignore[no-any-return]


class GlobalAvgPool(_GlobalPool):
    """Global average pooling (Lin et al. 2014), the mean of each channel: (n, c, ...) -> (n, c), of
    sequences, images or volumes; with `keepdims` their axes stay, of length 1.

    >>> GlobalAvgPool()([[[[1.0, 2.0], [3.0, 4.0]]]]).tolist()
    [[2.5]]
    """


class GlobalMaxPool(_GlobalPool):
    """The largest number of each channel: (n, c, ...) -> (n, c), as `GlobalAvgPool`.

    >>> GlobalMaxPool()([[[[1.0, 2.0], [3.0, 4.0]]]]).tolist()
    [[4.0]]
    """

    mode = "max"
