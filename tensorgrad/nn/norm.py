"""Normalisation of rows, of groups of channels, and over the batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import numpy as np

from .. import functions
from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, ShapeError
from ..ops import norm
from ..settings import Either, Nothing, Real, Several, Whole
from ..switches import recording, switches
from ..typing import ArrayLike, Count, DType, NonNegative, Sizes
from .init import initial
from .lazy import LazyLayer, in_dtype_of
from .module import Buffer, Module, Parameter
from .one_example import or_one

Momentum: TypeAlias = Annotated[
    "float | Sequence[float] | None",
    Either(Nothing(), Several(Real(0, 1), says="one for each feature")),
]
_AXES = {
    "1d": ((2, 3), "(n, features) or (n, channels, length)"),
    "2d": ((4,), "(n, channels, height, width)"),
    "3d": ((5,), "(n, channels, depth, height, width)"),
}


class Norm(LazyLayer):
    """Base of the norms: a weight, initially 1, and a bias, initially 0, along one axis of the
    input, whose length may be None: they are then made at the first call. Neither where not
    `affine`."""

    affine, biased = True, True
    bias: Parameter | None = None

    def _start(
        self, length: Any, eps: Any, affine: bool, dtype: DType, biased: bool = True
    ) -> None:
        super().__init__()
        self.eps = eps
        if not affine:
            self.affine = False
        if not biased:
            self.biased = False
        self.start(length, dtype)

    def make(self, length: Any) -> None:
        shape = length if isinstance(length, tuple) else (length,)
        if self.affine:
            self.weight = self.drawn("ones", *shape)
            if self.biased:
                self.bias = self.drawn("zeros", *shape)

    def describe(self) -> str:
        size = getattr(self, self.sized_by)
        size = size[0] if isinstance(size, tuple) and len(size) == 1 else size
        text = f"{size}"
        usual = {"affine": True, "biased": self.affine and type(self).biased}
        for name, plain in usual.items():
            if (value := getattr(self, name)) != plain:
                text += f", {name.replace('biased', 'bias')}={value}"
        return text


# --- rows -----------------------------------------------------------------------------------------


class _RowNorm(Norm):
    sized_by, size = "normalized_shape", Several(Whole(1), always=True)
    normalized_shape: tuple[int, ...] | None

    def _rows(self, x: ArrayLike) -> tuple[Any, ...]:
        """x with what is normalised as its last axis, weight and bias alike, and x's shape where
        that differs."""
        x = asarray(x)
        if self.normalized_shape is None:
            if not x.shape:
                raise ShapeError(f"{type(self).__name__} takes arrays of one axis or more")
            self.build(x.shape[-1:])
        own: Any = self.normalized_shape
        if x.shape[-len(own) :] != own:
            raise ShapeError(
                f"{type(self).__name__}({self.describe()}) was made for rows of shape {own}, its "
                f"input has shape {x.shape}"
            )
        weight, bias = self.weight, self.bias
        if weight is not None:
            x = in_dtype_of(weight, x)
        elif not is_floating(x.dtype):
            x = x.astype(self.dtype)
        if len(own) == 1:
            return x, weight, bias, None
        flat = [None if p is None else functions.reshape(p, -1) for p in (weight, bias)]
        return functions.reshape(x, (*x.shape[: -len(own)], math.prod(own))), *flat, x.shape


class LayerNorm(_RowNorm):
    """Layer normalisation (Ba et al. 2016): (x - mean) / sqrt(var + eps) * weight + bias, with the
    statistics of the last axes, whose shape is `normalized_shape`: (..., *normalized_shape) ->
    the same. Where that is left out, the last axis.

    `elementwise_affine=False`: no weight and bias; `bias=False`: no bias.

    >>> LayerNorm(2)([[1.0, 3.0]]).numpy().round(3).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(
        self,
        normalized_shape: Sizes | None = None,
        eps: NonNegative = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DType = "float32",
    ):
        self._start(normalized_shape, eps, elementwise_affine, dtype, bias)

    def forward(self, x: ArrayLike) -> Tensor:
        rows, weight, bias, shape = self._rows(x)
        y = norm.layer_norm(rows, weight, bias, eps=self.eps)[0]
        return y if shape is None else functions.reshape(y, shape)


class RMSNorm(_RowNorm):
    """RMS normalisation (Zhang & Sennrich 2019): x / sqrt(mean(x^2) + eps) * weight, with the mean
    over the last axes, as `LayerNorm`. `eps` is by default the distance from 1 to the next number
    of x's dtype, as in PyTorch.

    >>> RMSNorm(2)([[3.0, 3.0]]).numpy().round(3).tolist()
    [[1.0, 1.0]]
    """

    biased = False

    def __init__(
        self,
        normalized_shape: Sizes | None = None,
        eps: NonNegative | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: DType = "float32",
    ):
        self._start(normalized_shape, eps, elementwise_affine, dtype)

    def forward(self, x: ArrayLike) -> Tensor:
        rows, weight, _, shape = self._rows(x)
        eps = _EPS.get(rows.dtype.name, _EPS["float32"]) if self.eps is None else self.eps
        y = norm.rms_norm(rows, weight, eps=eps)[0]
        return y if shape is None else functions.reshape(y, shape)


_EPS = {name: float(np.finfo(name).eps) for name in ("float32", "float64")}


# --- channels -------------------------------------------------------------------------------------


class _ChannelNorm(Norm):
    axis = 1

    def checked(self, x: ArrayLike, name: str = "input") -> Tensor:
        """x as a floating tensor; ShapeError unless it has the layer's channels."""
        x, (axes, wanted) = asarray(x), _AXES.get(type(self).__name__[-2:], ((), ""))
        if axes and len(x.shape) not in axes:
            raise ShapeError(f"{type(self).__name__} takes {wanted}; got shape {x.shape}")
        if len(x.shape) < 2:
            raise ShapeError(
                f"{type(self).__name__} takes arrays of 2 axes or more, its channels on axis 1; "
                f"got shape {x.shape}"
            )
        return super().checked(x, name)


class GroupNorm(_ChannelNorm):
    """Group normalisation (Wu & He 2018): (x - mean) / sqrt(var + eps) * weight + bias, with the
    statistics of each example over groups of neighbouring channels (axis 1) and all later axes.
    (n, num_channels, ...) -> (n, num_channels, ...). One group is layer normalisation over all
    channels; as many groups as channels are instance normalisation.

    Raises: ShapeError where the channels do not divide into the groups.

    >>> GroupNorm(2)([[1.0, 3.0, 5.0, 5.0]]).numpy().round(3).tolist()
    [[-1.0, 1.0, 0.0, 0.0]]
    """

    sized_by = "num_channels"

    def __init__(
        self,
        num_groups: Count,
        num_channels: Count | None = None,
        eps: NonNegative = 1e-5,
        affine: bool = True,
        *,
        dtype: DType = "float32",
    ):
        self.num_groups = num_groups
        self._start(num_channels, eps, affine, dtype)

    def make(self, length: int) -> None:
        if length % self.num_groups:
            raise ShapeError(
                f"GroupNorm: {length} channels do not divide into {self.num_groups} groups of one "
                "size"
            )
        super().make(length)

    def forward(self, x: ArrayLike) -> Tensor:
        x = self.checked(x)
        return norm.group_norm(x, self.weight, self.bias, groups=self.num_groups, eps=self.eps)[0]

    def describe(self) -> str:
        return f"{self.num_groups}, {super().describe()}"


class NoVariance(ShapeError):
    """A batch with one value of each feature."""


class _Tracking(_ChannelNorm):
    """A norm that may keep running statistics, to be used in evaluation mode."""

    sized_by = "num_features"
    num_features: int | None
    # created after weight and bias, and so listed after them
    running_mean: Buffer = None  # type: ignore[assignment]
    running_var: Buffer = None  # type: ignore[assignment]
    num_batches_tracked: Buffer = None  # type: ignore[assignment]
    _kept: Any = ()  # the momenta of the features, and these on their device

    def _keep(self, momentum: Any, track: bool, *rest: Any) -> None:
        if momentum == ():
            raise ArgumentError(f"{type(self).__name__}: momentum=() has a number for no feature")
        self.momentum, self.track_running_stats = momentum, track
        self._start(*rest)

    def make(self, length: int) -> None:
        if isinstance(self.momentum, tuple) and len(self.momentum) != length:
            raise ArgumentError(
                f"{type(self).__name__}: momentum has {len(self.momentum)} numbers, and there are "
                f"{length} features: one number for all, or one for each"
            )
        super().make(length)
        if self.track_running_stats:
            self.running_mean = Buffer(initial("zeros", (length,), self.dtype))
            self.running_var = Buffer(initial("ones", (length,), self.dtype))
            if self.momentum is None:
                self.num_batches_tracked = Buffer(np.zeros(()))

    def forward(self, x: ArrayLike) -> Tensor:
        x = self.checked(x)
        if not self.training and self.track_running_stats:
            return self._evaluate(x)
        count = self._count(x)
        if self.training and count < 2:
            raise NoVariance(
                f"{type(self).__name__}({self.num_features}) in training got an input of shape "
                f"{x.shape}: that is {count} value of each feature, which has no variance. Use "
                "larger batches (DataLoader's drop_last leaves a small last one out), or .eval()"
            )
        y, mean, rstd = self._normalised(x)
        if self.track_running_stats and not switches.recomputing:
            with recording(False):
                self._track(mean, rstd, count)
        return y

    def _count(self, x: Tensor) -> int:
        """How many numbers a statistic is of."""
        return math.prod(x.shape) // max(x.shape[1], 1)

    def _normalised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return norm.batch_norm(x, self.weight, self.bias, eps=self.eps)  # type: ignore[no-any-return]

    def _track(self, mean: Tensor, rstd: Tensor, count: int) -> None:
        if not (self.momentum is None or isinstance(self.momentum, tuple)):
            how = {"count": count, "momentum": self.momentum, "eps": self.eps}
            norm.update_running(self.running_mean, self.running_var, mean, rstd, **how)
            return
        var = (rstd**-2 - self.eps) * (count / (count - 1))
        if self.momentum is None:
            self.num_batches_tracked += 1
            share = 1 / self.num_batches_tracked
        else:
            share = self._shares(mean.backend)
        for running, batch in ((self.running_mean, mean), (self.running_var, var)):
            running += (batch.reshape(running.shape) - running) * share

    def _shares(self, home: str) -> Tensor:
        """The momenta of the features, an option and no state, on a backend."""
        if not self._kept or self._kept[0] is not self.momentum or self._kept[1].backend != home:
            self._kept = self.momentum, asarray(np.array(self.momentum), backend=home)
        return self._kept[1]  # type: ignore[no-any-return]

    def _evaluate(self, x: Tensor) -> Tensor:
        # Computed copies: the graph must not depend on buffers that are updated in place later.
        rstd = (self.running_var + self.eps) ** -0.5
        scale = rstd if self.weight is None else self.weight * rstd
        shift = -self.running_mean * scale
        return norm.channel_affine(x, scale, shift if self.bias is None else self.bias + shift)  # type: ignore[no-any-return]


def _flipped(momentum: Any) -> Any:
    """Keras's momentum as ours."""
    return np.round(1 - np.asarray(momentum), 12).tolist()


class BatchNorm(_Tracking):
    """Batch normalisation (Ioffe & Szegedy 2015): (x - mean) / sqrt(var + eps) * weight + bias,
    with the statistics of each feature or channel (axis 1) over the batch and all other axes.
    (n, features, ...) -> (n, features, ...). The first input tells how many features there are;
    `BatchNorm1d`, `BatchNorm2d` and `BatchNorm3d` are PyTorch's form.

    In training mode the statistics are those of the batch, and update the buffers:
    running = (1 - momentum) * running + momentum * batch, with the unbiased variance, as in
    PyTorch (Keras's momentum is 1 - momentum). In evaluation mode they are `running_mean` and
    `running_var`.

    Args:
        momentum: the share of the new batch, one number, or one for each feature; None for the
            mean of all batches.
        affine: whether there are a weight and a bias.
        track_running_stats: False for no buffers: evaluation, too, takes the batch's statistics.
    Raises: ShapeError in training for a batch with fewer than two values of each feature;
    ArgumentError for a momentum above 0.5, which is Keras's.

    >>> BatchNorm()([[1.0], [3.0]]).numpy().round(3).tolist()
    [[-1.0], [1.0]]
    """

    forms = "BatchNorm() learns its features from the input; in PyTorch's form BatchNorm2d(16)"

    def __init__(
        self,
        *,
        momentum: Momentum = 0.1,
        eps: NonNegative = 1e-5,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: DType = "float32",
    ):
        if momentum is not None and np.max(momentum, initial=0.0) > 0.5:
            raise ArgumentError(
                f"BatchNorm: momentum={momentum} is the share of the new batch, as in PyTorch: "
                f"Keras's momentum={momentum} is {_flipped(momentum)} here. If it is meant, "
                "take BatchNorm1d, 2d or 3d"
            )
        self._keep(momentum, track_running_stats, None, eps, affine, dtype)


class _BatchNorm(_Tracking):
    def __init__(
        self,
        num_features: Count | None,
        eps: NonNegative = 1e-5,
        momentum: Momentum = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        dtype: DType = "float32",
    ):
        self._keep(momentum, track_running_stats, num_features, eps, affine, dtype)


class BatchNorm1d(_BatchNorm):
    """`BatchNorm` in PyTorch's form, of (n, num_features) or (n, num_features, length).

    >>> BatchNorm1d(1)([[1.0], [3.0]]).numpy().round(3).tolist()
    [[-1.0], [1.0]]
    """

    forms = "BatchNorm1d(16) is of 16 features; BatchNorm() learns their number from the input"


class BatchNorm2d(_BatchNorm):
    """`BatchNorm` in PyTorch's form, of images (n, num_features, height, width).

    >>> BatchNorm2d(3)(np.ones((2, 3, 4, 4))).shape
    (2, 3, 4, 4)
    """

    forms = "BatchNorm2d(16) is of 16 channels; BatchNorm() learns their number from the input"


class BatchNorm3d(_BatchNorm):
    """`BatchNorm` in PyTorch's form, of volumes (n, num_features, depth, height, width).

    >>> BatchNorm3d(3)(np.ones((2, 3, 2, 4, 4))).shape
    (2, 3, 2, 4, 4)
    """

    forms = "BatchNorm3d(16) is of 16 channels; BatchNorm() learns their number from the input"


class _InstanceNorm(_Tracking):
    axes: int  # behind the channels

    def __init__(
        self,
        num_features: Count | None,
        eps: NonNegative = 1e-5,
        momentum: Momentum = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        dtype: DType = "float32",
    ):
        self._keep(momentum, track_running_stats, num_features, eps, affine, dtype)

    @or_one
    def forward(self, x: ArrayLike) -> Tensor:
        return super().forward(x)

    def _count(self, x: Tensor) -> int:
        if len(x.shape) < 3:
            raise ShapeError(f"{type(self).__name__} takes (n, channels, length); got {x.shape}")
        return math.prod(x.shape[2:])

    def _normalised(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        how = {"groups": x.shape[1], "eps": self.eps}
        return norm.group_norm(x, self.weight, self.bias, **how)  # type: ignore[no-any-return]

    def _track(self, mean: Tensor, rstd: Tensor, count: int) -> None:
        shape = (-1, len(self.running_mean))
        var = rstd.reshape(shape) ** -2 - self.eps
        # the means over the examples, in the form in which batch_norm gives them
        super()._track(mean.reshape(shape).mean(0), (var.mean(0) + self.eps) ** -0.5, count)


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of sequences (n, num_features, length), as `InstanceNorm2d`.

    >>> InstanceNorm1d(1)([[[1.0, 3.0]]]).numpy().round(3).tolist()
    [[[-1.0, 1.0]]]
    """

    axes = 1


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation (Ulyanov et al. 2016): (x - mean) / sqrt(var + eps), with the
    statistics of each channel of each example: (n, num_features, h, w) -> the same.

    `affine` adds a weight and a bias, and `track_running_stats` running statistics, the means over
    the examples of a batch, which evaluation then takes; see `BatchNorm`.

    >>> InstanceNorm2d(1)([[[[1.0, 3.0]]]]).numpy().round(3).tolist()
    [[[[-1.0, 1.0]]]]
    """

    axes = 2


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of volumes (n, num_features, d, h, w), as `InstanceNorm2d`.

    >>> InstanceNorm3d(2)(np.ones((1, 2, 3, 4, 4))).shape
    (1, 2, 3, 4, 4)
    """

    axes = 3


class LocalResponseNorm(Module):
    """x / (k + alpha * mean of the squares of `size` neighbouring channels)^beta (Krizhevsky et al.
    2012): (n, c, ...) -> (n, c, ...). See `tg.local_response_norm`.

    >>> LocalResponseNorm(1, alpha=3.0, beta=0.5)([[[1.0], [1.0]]]).tolist()
    [[[0.5], [0.5]]]
    """

    def __init__(self, size: Count, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: ArrayLike) -> Tensor:
        return functions.local_response_norm(x, self.size, self.alpha, self.beta, self.k)

    def describe(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
