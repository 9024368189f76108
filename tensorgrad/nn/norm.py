"""Normalisation layers: layer, RMS, group and batch normalisation."""

from __future__ import annotations

import math

from ..core import Tensor
from ..creation import asarray
from ..errors import ShapeError
from ..ops import norm
from ..switches import recording, switches
from ..typing import ArrayLike, Count, DType, Fraction, NonNegative
from .init import initial
from .lazy import LazyLayer
from .module import Buffer, Parameter


class Norm(LazyLayer):
    """Base of the norms: a weight, initially 1, and a bias, initially 0, along one axis of the
    input. `features`, the length of that axis, may be left out: they are then made at the first
    call."""

    sized_by = "features"
    features: int | None
    biased = True
    bias: Parameter = None  # type: ignore[assignment]

    def __init__(self, features: Count | None, eps: NonNegative, dtype: DType):
        super().__init__()
        self.eps = eps
        self.start(features, dtype)

    def make(self, length: int) -> None:
        self.weight = self.drawn("ones", length)
        if self.biased:
            self.bias = self.drawn("zeros", length)

    def checked(self, x: ArrayLike, name: str = "input") -> Tensor:
        """x as a floating tensor; ShapeError unless it has the layer's features."""
        x, axes = asarray(x), 1 if self.axis == -1 else self.axis + 1
        if len(x.shape) < axes:
            raise ShapeError(
                f"{type(self).__name__} takes arrays of {axes} axes or more, its features on axis "
                f"{self.axis}; got shape {x.shape}"
            )
        return super().checked(x, name)

    def describe(self) -> str:
        return f"{self.features}"


class LayerNorm(Norm):
    """Layer normalisation (Ba et al. 2016): (x - mean) / sqrt(var + eps) * weight + bias, with the
    statistics of each row along the last axis. (..., features) -> (..., features).

    >>> LayerNorm(2)([[1.0, 3.0]]).numpy().round(3).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(
        self, features: Count | None = None, eps: NonNegative = 1e-5, dtype: DType = "float32"
    ):
        super().__init__(features, eps, dtype)

    def forward(self, x: ArrayLike) -> Tensor:
        x = self.checked(x)
        return norm.layer_norm(x, self.weight, self.bias, eps=self.eps)[0]


class RMSNorm(Norm):
    """RMS normalisation (Zhang & Sennrich 2019): x / sqrt(mean(x^2) + eps) * weight, with the mean
    over the last axis. (..., features) -> (..., features).

    >>> RMSNorm(2)([[3.0, 3.0]]).numpy().round(3).tolist()
    [[1.0, 1.0]]
    """

    biased = False

    def __init__(
        self, features: Count | None = None, eps: NonNegative = 1e-6, dtype: DType = "float32"
    ):
        super().__init__(features, eps, dtype)

    def forward(self, x: ArrayLike) -> Tensor:
        x = self.checked(x)
        return norm.rms_norm(x, self.weight, eps=self.eps)[0]


class GroupNorm(Norm):
    """Group normalisation (Wu & He 2018): (x - mean) / sqrt(var + eps) * weight + bias, with the
    statistics of each example over groups of neighbouring channels (axis 1) and all later axes.
    (n, channels, ...) -> (n, channels, ...). One group is layer normalisation over all channels;
    as many groups as channels are instance normalisation.

    Raises: ShapeError where the channels do not divide into the groups.

    >>> GroupNorm(2)([[1.0, 3.0, 5.0, 5.0]]).numpy().round(3).tolist()
    [[-1.0, 1.0, 0.0, 0.0]]
    """

    axis = 1

    def __init__(
        self,
        groups: Count,
        channels: Count | None = None,
        eps: NonNegative = 1e-5,
        dtype: DType = "float32",
    ):
        self.groups = groups
        super().__init__(channels, eps, dtype)

    def make(self, length: int) -> None:
        if length % self.groups:
            raise ShapeError(
                f"GroupNorm: {length} channels do not divide into {self.groups} groups of one size"
            )
        super().make(length)

    def forward(self, x: ArrayLike) -> Tensor:
        x = self.checked(x)
        return norm.group_norm(x, self.weight, self.bias, groups=self.groups, eps=self.eps)[0]

    def describe(self) -> str:
        return f"{self.groups}, channels={self.features}"


class BatchNorm(Norm):
    """Batch normalisation (Ioffe & Szegedy 2015): (x - mean) / sqrt(var + eps) * weight + bias,
    with the statistics of each feature or channel (axis 1) over the batch and all other axes.
    (n, features, ...) -> (n, features, ...).

    In training mode the statistics are those of the batch, and update the buffers:
    running = (1 - momentum) * running + momentum * batch, with the unbiased variance, as in
    PyTorch. In evaluation mode they are `running_mean` and `running_var`.

    Raises: ShapeError in training for a batch with fewer than two values of each feature.

    >>> BatchNorm(1)([[1.0], [3.0]]).numpy().round(3).tolist()
    [[-1.0], [1.0]]
    """

    axis = 1
    bias: Parameter
    # created after weight and bias, and so listed after them
    running_mean: Buffer = None  # type: ignore[assignment]
    running_var: Buffer = None  # type: ignore[assignment]

    def __init__(
        self,
        features: Count | None = None,
        eps: NonNegative = 1e-5,
        momentum: Fraction = 0.1,
        dtype: DType = "float32",
    ):
        self.momentum = momentum
        super().__init__(features, eps, dtype)

    def make(self, length: int) -> None:
        super().make(length)
        self.running_mean = Buffer(initial("zeros", (length,), self.dtype))
        self.running_var = Buffer(initial("ones", (length,), self.dtype))

    def forward(self, x: ArrayLike) -> Tensor:
        x = self.checked(x)
        return self._train(x) if self.training else self._evaluate(x)

    def _train(self, x: Tensor) -> Tensor:
        count = math.prod(x.shape) // x.shape[1]
        if count < 2:
            raise ShapeError(
                f"BatchNorm({self.features}) in training got an input of shape {x.shape}: that is "
                f"{count} value of each feature, which has no variance. Use larger batches "
                "(DataLoader's drop_last leaves a small last one out), or .eval()"
            )
        y, mean, rstd = norm.batch_norm(x, self.weight, self.bias, eps=self.eps)
        if not switches.recomputing:
            with recording(False):
                norm.update_running(
                    self.running_mean,
                    self.running_var,
                    mean,
                    rstd,
                    count=count,
                    momentum=self.momentum,
                    eps=self.eps,
                )
        return y

    def _evaluate(self, x: Tensor) -> Tensor:
        # Computed copies: the graph must not depend on buffers that are updated in place later.
        rstd = (self.running_var + self.eps) ** -0.5
        shift = self.bias - self.weight * (self.running_mean * rstd)
        return norm.channel_affine(x, self.weight * rstd, shift)
