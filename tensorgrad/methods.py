"""The functions that are methods of Tensor too, under their names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from . import functions as F
from .core import Tensor
from .typing import ArrayLike, Axes, Axis, DType, Shape, SupportsArray
from .words import explains_names

if TYPE_CHECKING:  # what the methods are put on
    Base = SupportsArray
else:
    Base = object


class Methods(Base):
    """Each is the function `tg.<name>`, where it is described."""

    __slots__ = ()

    def abs(self) -> Tensor:
        """Absolute value. See `tg.abs`."""
        return F.abs(self)

    def exp(self) -> Tensor:
        """e to the power x. See `tg.exp`."""
        return F.exp(self)

    def expm1(self) -> Tensor:
        """exp(x) - 1, exact for small x. See `tg.expm1`."""
        return F.expm1(self)

    def log(self) -> Tensor:
        """Natural logarithm. See `tg.log`."""
        return F.log(self)

    def log1p(self) -> Tensor:
        """log(1 + x), exact for small x. See `tg.log1p`."""
        return F.log1p(self)

    def sqrt(self) -> Tensor:
        """Square root. See `tg.sqrt`."""
        return F.sqrt(self)

    def square(self) -> Tensor:
        """x * x. See `tg.square`."""
        return F.square(self)

    def sin(self) -> Tensor:
        """Sine of x in radians. See `tg.sin`."""
        return F.sin(self)

    def cos(self) -> Tensor:
        """Cosine of x in radians. See `tg.cos`."""
        return F.cos(self)

    def tanh(self) -> Tensor:
        """Hyperbolic tangent. See `tg.tanh`."""
        return F.tanh(self)

    def sign(self) -> Tensor:
        """-1, 0 or 1. See `tg.sign`."""
        return F.sign(self)

    def floor(self) -> Tensor:
        """The largest whole number not above x. See `tg.floor`."""
        return F.floor(self)

    def ceil(self) -> Tensor:
        """The smallest whole number not below x. See `tg.ceil`."""
        return F.ceil(self)

    def trunc(self) -> Tensor:
        """The whole number next to x towards 0. See `tg.trunc`."""
        return F.trunc(self)

    def negative(self) -> Tensor:
        """-x. See `tg.negative`."""
        return F.negative(self)

    def isnan(self) -> Tensor:
        """Whether x is NaN. See `tg.isnan`."""
        return F.isnan(self)

    def isinf(self) -> Tensor:
        """Whether x is infinite. See `tg.isinf`."""
        return F.isinf(self)

    def isfinite(self) -> Tensor:
        """Whether x is neither infinite nor NaN. See `tg.isfinite`."""
        return F.isfinite(self)

    def relu(self) -> Tensor:
        """max(x, 0). See `tg.relu`."""
        return F.relu(self)

    def sigmoid(self) -> Tensor:
        """1 / (1 + exp(-x)). See `tg.sigmoid`."""
        return F.sigmoid(self)

    def silu(self) -> Tensor:
        """x * sigmoid(x). See `tg.silu`."""
        return F.silu(self)

    def gelu(self) -> Tensor:
        """Gaussian error linear unit, in its tanh form. See `tg.gelu`."""
        return F.gelu(self)

    def softplus(self) -> Tensor:
        """log(1 + exp(x)). See `tg.softplus`."""
        return F.softplus(self)

    def leaky_relu(self, slope: float = 0.01) -> Tensor:
        """x above 0, slope * x below. See `tg.leaky_relu`."""
        return F.leaky_relu(self, slope)

    def elu(self, alpha: float = 1.0) -> Tensor:
        """x above 0, alpha (exp(x) - 1) below. See `tg.elu`."""
        return F.elu(self, alpha)

    @explains_names
    def softmax(self, axis: Axes = -1) -> Tensor:
        """exp(x) / sum(exp(x)) along `axis`. See `tg.softmax`."""
        return F.softmax(self, axis)

    @explains_names
    def log_softmax(self, axis: Axes = -1) -> Tensor:
        """log(softmax(x)) along `axis`. See `tg.log_softmax`."""
        return F.log_softmax(self, axis)

    @explains_names
    def round(self, decimals: int = 0) -> Tensor:
        """The nearest whole number, or of so many decimals. See `tg.round`."""
        return F.round(self, decimals)

    @explains_names
    def clip(self, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Tensor:
        """x brought into [min, max]. See `tg.clip`."""
        return F.clip(self, min, max)

    @explains_names
    def sum(
        self,
        axis: Axes = None,
        dtype: DType = None,
        *,
        keepdims: bool = False,
        initial: ArrayLike | None = None,
        where: ArrayLike | None = None,
    ) -> Tensor:
        """Sum over `axis`. See `tg.sum`."""
        return F.sum(self, axis, dtype, keepdims=keepdims, initial=initial, where=where)

    @explains_names
    def prod(
        self,
        axis: Axes = None,
        dtype: DType = None,
        *,
        keepdims: bool = False,
        initial: ArrayLike | None = None,
        where: ArrayLike | None = None,
    ) -> Tensor:
        """Product over `axis`. See `tg.prod`."""
        return F.prod(self, axis, dtype, keepdims=keepdims, initial=initial, where=where)

    @explains_names
    def mean(
        self,
        axis: Axes = None,
        dtype: DType = None,
        *,
        keepdims: bool = False,
        where: ArrayLike | None = None,
    ) -> Tensor:
        """Arithmetic mean over `axis`. See `tg.mean`."""
        return F.mean(self, axis, dtype, keepdims=keepdims, where=where)

    @explains_names
    def var(
        self,
        axis: Axes = None,
        dtype: DType = None,
        *,
        ddof: float = 0,
        correction: float | None = None,
        keepdims: bool = False,
        where: ArrayLike | None = None,
    ) -> Tensor:
        """Variance over `axis`. See `tg.var`."""
        return F.var(
            self, axis, dtype, ddof=ddof, correction=correction, keepdims=keepdims, where=where
        )

    @explains_names
    def std(
        self,
        axis: Axes = None,
        dtype: DType = None,
        *,
        ddof: float = 0,
        correction: float | None = None,
        keepdims: bool = False,
        where: ArrayLike | None = None,
    ) -> Tensor:
        """Standard deviation over `axis`. See `tg.std`."""
        return F.std(
            self, axis, dtype, ddof=ddof, correction=correction, keepdims=keepdims, where=where
        )

    @explains_names
    def max(
        self,
        axis: Axes = None,
        *,
        keepdims: bool = False,
        initial: ArrayLike | None = None,
        where: ArrayLike | None = None,
    ) -> Tensor:
        """Largest number along `axis`. See `tg.max`."""
        return F.max(self, axis, keepdims=keepdims, initial=initial, where=where)

    @explains_names
    def min(
        self,
        axis: Axes = None,
        *,
        keepdims: bool = False,
        initial: ArrayLike | None = None,
        where: ArrayLike | None = None,
    ) -> Tensor:
        """Smallest number along `axis`. See `tg.min`."""
        return F.min(self, axis, keepdims=keepdims, initial=initial, where=where)

    @explains_names
    def argmax(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """Where the largest number along `axis` is. See `tg.argmax`."""
        return F.argmax(self, axis, keepdims=keepdims)

    @explains_names
    def argmin(self, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
        """Where the smallest number along `axis` is. See `tg.argmin`."""
        return F.argmin(self, axis, keepdims=keepdims)

    @explains_names
    def all(
        self,
        axis: Axes = None,
        *,
        keepdims: bool = False,
        where: ArrayLike | None = None,
    ) -> Tensor:
        """Whether all along `axis` are non-zero. See `tg.all`."""
        return F.all(self, axis, keepdims=keepdims, where=where)

    @explains_names
    def any(
        self,
        axis: Axes = None,
        *,
        keepdims: bool = False,
        where: ArrayLike | None = None,
    ) -> Tensor:
        """Whether any along `axis` is non-zero. See `tg.any`."""
        return F.any(self, axis, keepdims=keepdims, where=where)

    @explains_names
    def logsumexp(self, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
        """log(sum(exp(x))) over `axis`. See `tg.logsumexp`."""
        return F.logsumexp(self, axis, keepdims=keepdims)

    def reshape(self, *shape: Shape) -> Tensor:
        """The same numbers under another shape: `x.reshape(2, 3)` or `x.reshape((2, 3))`; one entry
        may be -1. See `tg.reshape`."""
        return F.reshape(self, shape[0] if len(shape) == 1 else shape)  # type: ignore[arg-type]

    def transpose(self, *axes: Axes) -> Tensor:
        """Axes permuted: `x.transpose(1, 0)` or `x.transpose((1, 0))`; reversed without any. See
        `tg.transpose`."""
        return F.transpose(self, axes[0] if len(axes) == 1 else axes or None)  # type: ignore[arg-type]

    def flatten(self) -> Tensor:
        """One axis with all numbers in row-major order, as `x.reshape(-1)`."""
        return F.reshape(self, -1)

    def ravel(self) -> Tensor:
        """One axis with all numbers in row-major order, as `x.reshape(-1)`."""
        return F.reshape(self, -1)

    @explains_names
    def squeeze(self, axis: Axes = None) -> Tensor:
        """Axes of length 1 removed. See `tg.squeeze`."""
        return F.squeeze(self, axis)

    @explains_names
    def expand_dims(self, axis: int | Sequence[int]) -> Tensor:
        """Axes of length 1 inserted. See `tg.expand_dims`."""
        return F.expand_dims(self, axis)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """Two axes exchanged. See `tg.swapaxes`."""
        return F.swapaxes(self, axis1, axis2)

    def moveaxis(self, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
        """Axes moved to other places. See `tg.moveaxis`."""
        return F.moveaxis(self, source, destination)

    @explains_names
    def flip(self, axis: Axes = None) -> Tensor:
        """The order of the elements reversed along `axis`. See `tg.flip`."""
        return F.flip(self, axis)

    def broadcast_to(self, shape: Shape) -> Tensor:
        """Repeated to the shape, without memory of its own. See `tg.broadcast_to`."""
        return F.broadcast_to(self, shape)

    @explains_names
    def split(self, indices_or_sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
        """Its parts along `axis`. See `tg.split`."""
        return F.split(self, indices_or_sections, axis)
