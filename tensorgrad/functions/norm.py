"""Normalisation. Statistics are the biased ones, of halves taken in float32."""

from __future__ import annotations

from ..core import Tensor
from ..ops import norm as ops
from ..settings import gate
from ..typing import ArrayLike, Count, NonNegative
from .inputs import floating, operands


@gate
def layer_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: NonNegative = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis (Ba et al. 2016).

    Args:
        x: (..., features); integers become the default float.
        weight, bias: (features,), or None for ones and zeros.
    Returns: the shape and floating dtype of `x`.
    Raises: ShapeError where weight or bias have another length.

    >>> layer_norm([[1.0, 3.0], [20.0, 40.0]]).numpy().round(3)
    array([[-1.,  1.],
           [-1.,  1.]], dtype=float32)
    """
    x, weight, bias = operands(x, weight, bias)
    return ops.layer_norm(floating(x), weight, bias, eps=eps)[0]


@gate
def rms_norm(x: ArrayLike, weight: ArrayLike | None = None, *, eps: NonNegative = 1e-6) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang & Sennrich 2019).

    Args:
        x: (..., features); integers become the default float.
        weight: (features,), or None for ones.
    Returns: the shape and floating dtype of `x`.
    Raises: ShapeError where the weight has another length.

    >>> rms_norm([[3.0, 4.0, 0.0, 0.0]]).numpy().round(3)
    array([[1.2, 1.6, 0. , 0. ]], dtype=float32)
    """
    x, weight = operands(x, weight)
    return ops.rms_norm(floating(x), weight, eps=eps)[0]


@gate
def batch_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    eps: NonNegative = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias for each channel, with the statistics of this
    batch: over all axes of `x` but 1 (Ioffe & Szegedy 2015).

    Args:
        x: (batch, channels, ...); integers become the default float.
        weight, bias: (channels,), or None for ones and zeros.
    Returns: the shape and floating dtype of `x`.
    Raises: ShapeError where `x` has no axis 1, or weight or bias have another length.

    The statistics are x.mean(axes) and x.var(axes), axes all but 1. Once they are fixed, as in
    evaluation, the same is `channel_affine` with scale = weight / sqrt(var + eps) and
    shift = bias - mean * scale; `nn.BatchNorm` keeps running ones.

    >>> batch_norm([[1.0, 20.0], [3.0, 40.0]]).numpy().round(3)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    """
    x, weight, bias = operands(x, weight, bias)
    return ops.batch_norm(floating(x), weight, bias, eps=eps)[0]


@gate
def group_norm(
    x: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    *,
    groups: Count,
    eps: NonNegative = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) * weight + bias, with the statistics of each example's groups
    of neighbouring channels (Wu & He 2018).

    Args:
        x: (batch, channels, ...); integers become the default float.
        weight, bias: (channels,), or None for ones and zeros.
        groups: how many; it divides the channels. As many as there are channels is instance
            normalisation (Ulyanov et al. 2016).
    Returns: the shape and floating dtype of `x`.
    Raises: ShapeError where the channels do not divide into the groups, or weight or bias have
    another length; ArgumentError for less than one group.

    >>> group_norm([[1.0, 3.0, 20.0, 40.0]], groups=2).numpy().round(3)
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """
    x, weight, bias = operands(x, weight, bias)
    return ops.group_norm(floating(x), weight, bias, groups=groups, eps=eps)[0]


@gate
def channel_affine(
    x: ArrayLike, scale: ArrayLike | None = None, shift: ArrayLike | None = None
) -> Tensor:
    """x * scale + shift with one number of each for a channel, axis 1 of `x`: what batch
    normalisation is once its statistics are fixed.

    Args:
        x: (batch, channels, ...); integers become the default float.
        scale, shift: (channels,), or None for ones and zeros.
    Returns: the shape and floating dtype of `x`.
    Raises: ShapeError where `x` has no axis 1, or scale or shift have another length.

    >>> channel_affine([[1.0, 2.0]], [10.0, 100.0], [0.0, 1.0]).tolist()
    [[10.0, 201.0]]
    """
    x, scale, shift = operands(x, scale, shift)
    return ops.channel_affine(floating(x), scale, shift)
