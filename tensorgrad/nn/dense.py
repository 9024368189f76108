"""Fully connected layers. Weights are (in, out)."""

from __future__ import annotations

import math
import operator
from typing import Any

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray, host_generator
from ..errors import DTypeError, ShapeError
from ..ops import matmul
from ..ops.shape import cast
from . import activation as activations
from .init import initial
from .module import Module, Parameter


def size(name: str, value: Any) -> int:
    """A number of features as an int; ShapeError unless it is whole and above 0."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ShapeError(f"{name} must be a whole number above 0, got {value!r}")
    return operator.index(value)


class Dense(Module):
    """activation(x @ weight + bias): (..., in) -> (..., units).

    The number of inputs may be left out: the weights are then made at the first call. The default
    initial weights are Xavier-uniform (Glorot & Bengio 2010), biases zero, as in Keras.

    >>> Dense(3, in_features=2)(asarray([[1.0, 2.0]])).shape
    (1, 3)
    """

    def __init__(
        self,
        units: int,
        in_features: int | None = None,
        activation: Any = None,
        bias: bool = True,
        weight_init: Any = "xavier_uniform",
        bias_init: Any = "zeros",
        dtype: Any = "float32",
    ):
        super().__init__()
        if isinstance(in_features, str):
            raise DTypeError(
                f"Dense: the second argument is in_features, got {in_features!r}; the activation "
                f"is given by name: Dense({units}, activation={in_features!r})"
            )
        self.units, self.in_features = size("Dense: units", units), in_features
        self.use_bias, self.dtype = bias, dtype
        self.activation = activations.get(activation)
        self.inits = (weight_init, bias_init)
        self.weight: Any = None  # a Parameter once the number of inputs is known
        self.bias: Any = None
        if in_features is not None:
            self.build(in_features)

    @property
    def built(self) -> bool:  # type: ignore[override]
        """Whether there are weights yet."""
        return self.weight is not None

    def build(self, in_features: int) -> None:
        """Make the weights for this number of inputs."""
        self.in_features = in_features = size("Dense: in_features", in_features)
        self.weight = Parameter(initial(self.inits[0], (in_features, self.units), self.dtype))
        if self.use_bias:
            self.bias = Parameter(initial(self.inits[1], (self.units,), self.dtype))

    def forward(self, x: Any) -> Tensor:
        x = asarray(x)
        shape, weight = x.shape, self.weight
        if not shape:
            raise ShapeError("Dense takes arrays of one axis or more, got a single number")
        if weight is None:
            self.build(shape[-1])
            weight = self.weight
        if shape[-1] != self.in_features:
            raise ShapeError(
                f"Dense({self.units}) was made for {self.in_features} features, got an input of "
                f"shape {shape} (weight {weight.shape})"
            )
        if not is_floating(x.dtype):
            x = cast(x, dtype=weight.dtype)
        if self.activation in matmul.ACTIVATIONS:
            return matmul.dense(x, weight, self.bias, activation=self.activation)
        if self.activation == "gelu":
            return matmul.dense_gelu(x, weight, self.bias)[0]
        return activations.apply(self.activation, matmul.dense(x, weight, self.bias))

    def describe(self) -> str:
        name = "" if self.activation == "none" else f", activation={self.activation!r}"
        return f"{self.units}, in_features={self.in_features}{name}"


class Linear(Dense):
    """x @ weight + bias with PyTorch's arguments and initial weights: both uniform within
    1 / sqrt(in_features). The weight is (in, out), the transpose of PyTorch's.

    >>> Linear(2, 3).weight.shape
    (2, 3)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, **options: Any):
        bound = 1 / math.sqrt(size("Linear: in_features", in_features))
        draw = lambda shape: host_generator().uniform(-bound, bound, shape)  # noqa: E731
        super().__init__(
            out_features, in_features, bias=bias, weight_init=draw, bias_init=draw, **options
        )
