"""Images, sequences and volumes (n, channels, ...) of another size: interpolation, shuffles of
channels and pixels, padding."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from .. import functions
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, ShapeError
from ..settings import Either, Nothing, Real, Several, Whole
from ..typing import ArrayLike, Count, Number
from .conv import spatial
from .module import Module
from .one_example import or_one

Enlarged: TypeAlias = Annotated[
    "int | tuple[int, ...] | None", Either(Nothing(), Several(Whole(1), says="one for each axis"))
]
Factor: TypeAlias = Annotated[
    "float | tuple[float, ...] | None",
    Either(Nothing(), Several(Real(above=0), says="one for each axis")),
]
Edges: TypeAlias = Annotated[
    "int | tuple[int, ...]", Several(Whole(0), says="(left, right, top, bottom, ...)")
]

__all__ = [
    "ChannelShuffle",
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "PixelShuffle",
    "PixelUnshuffle",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class Upsample(Module):
    """The input in another size, by interpolation: (n, c, ...) -> (n, c, *size), or sizes times
    `scale_factor`. Modes are "nearest", "linear", "bilinear", "trilinear" and "bicubic"; see
    `tg.interpolate`.

    >>> Upsample(scale_factor=2)([[[1.0, 2.0]]]).tolist()
    [[[1.0, 1.0, 2.0, 2.0]]]
    """

    def __init__(
        self,
        size: Enlarged = None,
        scale_factor: Factor = None,
        mode: Literal["nearest", "linear", "bilinear", "bicubic", "trilinear"] = "nearest",
        align_corners: bool | None = None,
    ):
        super().__init__()
        self.size, self.scale_factor = size, scale_factor
        self.mode, self.align_corners = mode, align_corners

    def forward(self, x: ArrayLike) -> Tensor:
        how: Any = (self.size, self.scale_factor, self.mode, bool(self.align_corners))
        return functions.interpolate(x, *how)

    def describe(self) -> str:
        given = {"size": self.size, "scale_factor": self.scale_factor, "mode": self.mode}
        return ", ".join([f"{k}={v!r}" for k, v in given.items() if v is not None])


class UpsamplingNearest2d(Upsample):
    """`Upsample` of images by the nearest pixel.

    >>> UpsamplingNearest2d(scale_factor=2)(np.ones((1, 1, 2, 2))).shape
    (1, 1, 4, 4)
    """

    def __init__(self, size: Enlarged = None, scale_factor: Factor = None):
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of images by bilinear interpolation with aligned corners.

    >>> UpsamplingBilinear2d(scale_factor=2)(np.ones((1, 1, 2, 2))).shape
    (1, 1, 4, 4)
    """

    def __init__(self, size: Enlarged = None, scale_factor: Factor = None):
        super().__init__(size, scale_factor, "bilinear", True)


class PixelShuffle(Module):
    """Channels become pixels (Shi et al. 2016): (..., c r^2, h, w) -> (..., c, h r, w r).

    >>> PixelShuffle(2)(np.ones((1, 8, 3, 3))).shape
    (1, 2, 6, 6)
    """

    def __init__(self, upscale_factor: Count):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, x: ArrayLike) -> Tensor:
        return functions.pixel_shuffle(x, self.upscale_factor)

    def describe(self) -> str:
        return f"{self.upscale_factor}"


class PixelUnshuffle(Module):
    """Pixels become channels, the inverse of `PixelShuffle`: (..., c, h r, w r) -> (..., c r^2, h,
    w).

    >>> PixelUnshuffle(2)(np.ones((1, 2, 6, 6))).shape
    (1, 8, 3, 3)
    """

    def __init__(self, downscale_factor: Count):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, x: ArrayLike) -> Tensor:
        return functions.pixel_unshuffle(x, self.downscale_factor)

    def describe(self) -> str:
        return f"{self.downscale_factor}"


class ChannelShuffle(Module):
    """Channels of several groups in turn (Zhang et al. 2018): (n, c, ...) -> (n, c, ...).

    >>> ChannelShuffle(2)([[1, 2, 3, 4]]).tolist()
    [[1, 3, 2, 4]]
    """

    def __init__(self, groups: Count):
        super().__init__()
        self.groups = groups

    def forward(self, x: ArrayLike) -> Tensor:
        return functions.channel_shuffle(x, self.groups)

    def describe(self) -> str:
        return f"{self.groups}"


# --- padding --------------------------------------------------------------------------------------


class _Pad(Module):
    """Numbers beyond the edges of each axis, by `tg.pad`."""

    axes, mode, value = 2, "constant", 0.0

    def __init__(self, padding: Edges):
        super().__init__()
        count = 2 * self.axes
        edges = (padding,) * count if isinstance(padding, int) else tuple(padding)
        if len(edges) != count:
            raise ArgumentError(
                f"{type(self).__name__}: padding={padding!r} must be a whole number, or {count} of "
                "them: before and after along the last axis, then along the one before it, ..."
            )
        self.padding = edges
        pairs = [edges[i : i + 2] for i in range(0, count, 2)]
        self._widths = ((0, 0), (0, 0), *pairs[::-1])

    @or_one
    def forward(self, x: ArrayLike) -> Tensor:
        x = asarray(x) if self.mode == "constant" else spatial(type(self).__name__, x, self.axes)
        if x.ndim != self.axes + 2:
            raise ShapeError(
                f"{type(self).__name__} takes (n, channels, ...) with {self.axes} axes more; got "
                f"shape {x.shape}"
            )
        mode: Any = self.mode
        how: Any = {"constant_values": self.value} if mode == "constant" and self.value else {}
        return functions.pad(x, self._widths, mode, **how)

    def describe(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    def __init__(self, padding: Edges, value: Number):
        super().__init__(padding)
        self.value = value

    def describe(self) -> str:
        return f"{self.padding}, {self.value}"


class ZeroPad1d(_Pad):
    """Sequences (n, c, l) with zeros beyond the edges: one width for all, or
    (left, right).

    >>> ZeroPad1d(1)([[[1.0, 2.0, 3.0]]])[0, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 0.0]
    """

    axes = 1


class ZeroPad2d(_Pad):
    """Images (n, c, h, w) with zeros beyond the edges: one width for all, or
    (left, right, top, bottom).

    >>> ZeroPad2d(1)(np.ones((1, 1, 3, 3))).shape
    (1, 1, 5, 5)
    """

    axes = 2


class ZeroPad3d(_Pad):
    """Volumes (n, c, d, h, w) with zeros beyond the edges: one width for all, or
    (left, right, top, bottom, front, back).

    >>> ZeroPad3d(1)(np.ones((1, 1, 3, 3, 3))).shape
    (1, 1, 5, 5, 5)
    """

    axes = 3


class ReflectionPad1d(_Pad):
    """Sequences (n, c, l) with the numbers mirrored beyond the edges: one width for all, or
    (left, right).

    >>> ReflectionPad1d(1)([[[1.0, 2.0, 3.0]]])[0, 0].tolist()
    [2.0, 1.0, 2.0, 3.0, 2.0]
    """

    axes = 1
    mode = "reflect"


class ReflectionPad2d(_Pad):
    """Images (n, c, h, w) with the numbers mirrored beyond the edges: one width for all, or
    (left, right, top, bottom).

    >>> ReflectionPad2d(1)(np.ones((1, 1, 3, 3))).shape
    (1, 1, 5, 5)
    """

    axes = 2
    mode = "reflect"


class ReflectionPad3d(_Pad):
    """Volumes (n, c, d, h, w) with the numbers mirrored beyond the edges: one width for all, or
    (left, right, top, bottom, front, back).

    >>> ReflectionPad3d(1)(np.ones((1, 1, 3, 3, 3))).shape
    (1, 1, 5, 5, 5)
    """

    axes = 3
    mode = "reflect"


class ReplicationPad1d(_Pad):
    """Sequences (n, c, l) with the outermost number beyond the edges: one width for all, or
    (left, right).

    >>> ReplicationPad1d(1)([[[1.0, 2.0, 3.0]]])[0, 0].tolist()
    [1.0, 1.0, 2.0, 3.0, 3.0]
    """

    axes = 1
    mode = "edge"


class ReplicationPad2d(_Pad):
    """Images (n, c, h, w) with the outermost number beyond the edges: one width for all, or
    (left, right, top, bottom).

    >>> ReplicationPad2d(1)(np.ones((1, 1, 3, 3))).shape
    (1, 1, 5, 5)
    """

    axes = 2
    mode = "edge"


class ReplicationPad3d(_Pad):
    """Volumes (n, c, d, h, w) with the outermost number beyond the edges: one width for all, or
    (left, right, top, bottom, front, back).

    >>> ReplicationPad3d(1)(np.ones((1, 1, 3, 3, 3))).shape
    (1, 1, 5, 5, 5)
    """

    axes = 3
    mode = "edge"


class CircularPad1d(_Pad):
    """Sequences (n, c, l) with those of the other end beyond the edges: one width for all, or
    (left, right).

    >>> CircularPad1d(1)([[[1.0, 2.0, 3.0]]])[0, 0].tolist()
    [3.0, 1.0, 2.0, 3.0, 1.0]
    """

    axes = 1
    mode = "wrap"


class CircularPad2d(_Pad):
    """Images (n, c, h, w) with those of the other end beyond the edges: one width for all, or
    (left, right, top, bottom).

    >>> CircularPad2d(1)(np.ones((1, 1, 3, 3))).shape
    (1, 1, 5, 5)
    """

    axes = 2
    mode = "wrap"


class CircularPad3d(_Pad):
    """Volumes (n, c, d, h, w) with those of the other end beyond the edges: one width for all, or
    (left, right, top, bottom, front, back).

    >>> CircularPad3d(1)(np.ones((1, 1, 3, 3, 3))).shape
    (1, 1, 5, 5, 5)
    """

    axes = 3
    mode = "wrap"


class ConstantPad1d(_ConstantPad):
    """Sequences (n, c, l) with a value beyond the edges: one width for all, or
    (left, right).

    >>> ConstantPad1d(1, 9.0)([[[1.0, 2.0, 3.0]]])[0, 0].tolist()
    [9.0, 1.0, 2.0, 3.0, 9.0]
    """

    axes = 1


class ConstantPad2d(_ConstantPad):
    """Images (n, c, h, w) with a value beyond the edges: one width for all, or
    (left, right, top, bottom).

    >>> ConstantPad2d(1, 9.0)(np.ones((1, 1, 3, 3))).shape
    (1, 1, 5, 5)
    """

    axes = 2


class ConstantPad3d(_ConstantPad):
    """Volumes (n, c, d, h, w) with a value beyond the edges: one width for all, or
    (left, right, top, bottom, front, back).

    >>> ConstantPad3d(1, 9.0)(np.ones((1, 1, 3, 3, 3))).shape
    (1, 1, 5, 5, 5)
    """

    axes = 3
