"""Layers that keep training well-behaved: dropout, layer norm; and Flatten."""

from __future__ import annotations

from typing import Any

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray, random_state
from ..errors import ShapeError
from ..ops import norm, random
from .init import initial
from .module import Module, Parameter


class Dropout(Module):
    """In training, each number is zeroed with probability p and the rest divided by 1 - p
    (Srivastava et al. 2014); in evaluation, x itself.

    >>> Dropout(0.5).eval()([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """

    def __init__(self, p: float = 0.5):
        super().__init__()
        if not 0 <= p < 1:
            raise ShapeError(f"Dropout: p is a probability below 1, got {p!r}")
        self.p = p

    def forward(self, x: Any) -> Tensor:
        x = asarray(x)
        if not self.training or self.p == 0:
            return x
        return random.dropout(x, random_state(x.backend, x.size), p=self.p)

    def describe(self) -> str:
        return f"{self.p}"


class LayerNorm(Module):
    """Normalises over the last axis (Ba et al. 2016): (x - mean) / sqrt(var + eps) * weight + bias.

    >>> LayerNorm(2)([[1.0, 3.0]]).numpy().round(3).tolist()
    [[-1.0, 1.0]]
    """

    def __init__(self, features: int | None = None, eps: float = 1e-5, dtype: Any = "float32"):
        super().__init__()
        self.features, self.eps, self.dtype = features, eps, dtype
        self.weight: Parameter | None = None
        self.bias: Parameter | None = None
        if features is not None:
            self.build(features)

    @property
    def built(self) -> bool:  # type: ignore[override]
        """Whether there are weights yet."""
        return self.weight is not None

    def build(self, features: int) -> None:
        """Make weight and bias for this many features."""
        self.features = features
        self.weight = Parameter(initial("ones", (features,), self.dtype))
        self.bias = Parameter(initial("zeros", (features,), self.dtype))

    def forward(self, x: Any) -> Tensor:
        x = asarray(x)
        if self.weight is None:
            self.build(x.shape[-1])
        if x.shape[-1:] != (self.features,):
            raise ShapeError(
                f"LayerNorm({self.features}) got an input of shape {x.shape}; its last axis "
                f"must have length {self.features}"
            )
        if not is_floating(x.dtype):
            x = x.astype(self.weight.dtype)  # type: ignore[union-attr]
        return norm.layer_norm(x, self.weight, self.bias, eps=self.eps)[0]

    def describe(self) -> str:
        return f"{self.features}"


class Flatten(Module):
    """All axes but the first as one: (n, ...) -> (n, product of the rest)."""

    def forward(self, x: Any) -> Tensor:
        x = asarray(x)
        return x.reshape(x.shape[0], -1) if x.size else x.reshape(x.shape[0], 0)
