"""Where a token is in its sequence: vectors added to its embedding, rotations of queries and keys,
and penalties of distance."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray, beside
from ..errors import DTypeError, ShapeError
from ..functions import concat
from ..randomness import host_generator
from ..typing import ArrayLike, Count, DType, Natural, Positive
from .init import initial
from .lazy import in_dtype_of
from .module import Module, Parameter

if TYPE_CHECKING:
    from .cache import KeyValueCache


def _embedded(layer: Module, x: ArrayLike, width: int | None, length: float, start: int) -> Tensor:
    """x as embedded tokens (..., T, width), whose last position is below `length`."""
    x, name = asarray(x), f"{type(layer).__name__}({layer.describe()})"
    if x.ndim < 2 or x.shape[-1] != (x.shape[-1] if width is None else width):
        raise ShapeError(f"{name} takes (..., T, {width or 'width'}), got shape {x.shape}")
    if start + x.shape[-2] > length:
        raise ShapeError(
            f"{name} takes (..., T, {width}) with T up to {length}, got shape {x.shape}"
            + (f" after {start} positions" if start else "")
        )
    if not is_floating(x.dtype):
        raise DTypeError(f"{name} takes embedded tokens, got dtype {x.dtype}: embed them first")
    return x


class PositionalEmbedding(Module):
    """x + weight[:T], a learned vector for each position: (..., T, width) -> (..., T, width), for
    T up to `length`. Initialised from the normal distribution of standard deviation 0.02, as in
    GPT-2. With a `cache` the positions go on from those of earlier calls.

    >>> PositionalEmbedding(8, 2)(asarray([[1.0, 2.0], [3.0, 4.0]])).shape
    (2, 2)
    """

    def __init__(self, length: Count, width: Count, dtype: DType = "float32"):
        super().__init__()
        shape = (length, width)
        drawn = 0.02 * host_generator().standard_normal(shape)
        self.weight = Parameter(initial(lambda shape: drawn, shape, dtype))

    def forward(self, x: ArrayLike, *, cache: KeyValueCache | None = None) -> Tensor:
        start = 0 if cache is None else cache.used(self)
        length, width = self.weight.shape
        x = _embedded(self, x, width, length, start)
        end = start + x.shape[-2]
        if cache is not None:
            cache.advance(self, end)
        return in_dtype_of(self.weight, x) + self.weight[start:end]

    def describe(self) -> str:
        return ", ".join(map(str, self.weight.shape))


class SinusoidalPositions(Module):
    """x + p (Vaswani et al. 2017): (..., T, width) -> (..., T, width), with p[t, 2 i] =
    sin(t / base^(2 i / width)) and p[t, 2 i + 1] the cosine; nothing is learned, and T is not
    limited. With a `cache` the positions go on from those of earlier calls.

    >>> SinusoidalPositions()(np.zeros((2, 4), "float32")).numpy().round(2).tolist()
    [[0.0, 1.0, 0.0, 1.0], [0.8399999737739563, 0.5400000214576721, 0.009999999776482582, 1.0]]
    """

    def __init__(self, base: Positive = 10000.0):
        super().__init__()
        self.base = base

    def forward(self, x: ArrayLike, *, cache: KeyValueCache | None = None) -> Tensor:
        start = 0 if cache is None else cache.used(self)
        x = _embedded(self, x, None, math.inf, start)
        length, width = x.shape[-2:]
        if cache is not None:
            cache.advance(self, start + length)
        angles = _angles(start, length, width, self.base)
        table = np.empty((length, width))
        table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles[:, : width // 2])
        return x + beside(table.astype(x.dtype), x)


def _angles(start: int, length: int, width: int, base: float) -> np.ndarray:
    """t / base^(2 i / width), (length, width / 2)."""
    return np.outer(np.arange(start, start + length), base ** (-np.arange(0, width, 2) / width))


def rotary(x: Tensor, start: Natural = 0, base: Positive = 10000.0) -> Tensor:
    """Rotary positions (Su et al. 2021): (..., T, D) -> (..., T, D), D even. The pair of feature i
    and i + D / 2 is turned by t / base^(2 i / D), for t from `start` on, so that the product of a
    query and a key depends on how far apart they are.
    """
    length, width = x.shape[-2:]
    angles = _angles(start, length, width, base)
    cos, sin = (beside(f(angles).astype(x.dtype), x) for f in (np.cos, np.sin))
    a, b = x[..., : width // 2], x[..., width // 2 :]
    return concat([a * cos - b * sin, b * cos + a * sin], axis=-1)


def alibi(heads: int, rows: int, keys: int, start: int = 0) -> np.ndarray:
    """Attention with linear biases (Press et al. 2022): -slope * |i - j| for queries i from `start`
    on and keys j, (heads, rows, keys). The slopes are 2^(-8 / heads), its square, and so on."""
    whole = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (k + 1) / whole) for k in range(whole)]
    slopes += [2 ** (-4 * (2 * k + 1) / whole) for k in range(heads - whole)]
    apart = np.abs(np.arange(start, start + rows)[:, None] - np.arange(keys))
    return -np.multiply.outer(slopes, apart)
