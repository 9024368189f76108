"""Fully connected layers, whose weights are (in, out); layers of two inputs."""

from __future__ import annotations

from typing import Any

from .. import functions
from ..core import Tensor
from ..creation import asarray
from ..errors import ShapeError
from ..ops import matmul
from ..typing import ActivationLike, ArrayLike, Count, DType, Initializer, NonNegative, Positive
from . import activation as activations
from .init import narrow
from .lazy import LazyLayer, in_dtype_of
from .module import Module


class Dense(LazyLayer):
    """activation(x @ weight + bias): (..., in) -> (..., units).

    `in_features` may be left out: the weights are then initialised at the first call. The default
    initialisation is Xavier-uniform (Glorot & Bengio 2010), and zero for the bias, as in Keras.

    Raises: ShapeError where the last axis of x is not `in_features`.

    >>> Dense(3, in_features=2)(asarray([[1.0, 2.0]])).shape
    (1, 3)
    """

    torch_names = {"weight": "weight.T"}
    in_features: int | None
    forms = "Dense(16) is 16 units, its features are the input's; in PyTorch's form Linear(3, 16)"

    def __init__(
        self,
        units: Count,
        in_features: Count | None = None,
        activation: ActivationLike = None,
        bias: bool = True,
        weight_init: Initializer = "xavier_uniform",
        bias_init: Initializer = "zeros",
        dtype: DType = "float32",
    ):
        self._start(units, in_features, activation, bias, (weight_init, bias_init), dtype)

    def _start(
        self, units: int, length: Any, activation: Any, bias: bool, inits: Any, dtype: DType
    ) -> None:
        super().__init__()
        self.units, self.activation = units, activations.get(activation)
        self.use_bias, self.inits = bias, inits
        self.start(length, dtype)

    def make(self, length: int) -> None:
        weight_init, bias_init = [narrow(length) if init is None else init for init in self.inits]
        self.weight = self.drawn(weight_init, length, self.units)
        if self.use_bias:
            self.bias = self.drawn(bias_init, self.units)

    def forward(self, x: ArrayLike) -> Tensor:
        x = asarray(x)
        if not x.shape:
            raise ShapeError("Dense takes arrays of one axis or more, got a single number")
        x = self.checked(x)
        weight = self.weight
        if self.activation in matmul.ACTIVATIONS:
            return matmul.dense(x, weight, self.bias, activation=self.activation)
        if self.activation == "gelu":
            return matmul.dense_gelu(x, weight, self.bias)[0]
        return activations.apply(self.activation, matmul.dense(x, weight, self.bias))

    def describe(self) -> str:
        name = "" if self.activation == "none" else f", activation={self.activation!r}"
        return f"{self.units}, in_features={self.in_features}{name}"


class Linear(Dense):
    """activation(x @ weight + bias) with PyTorch's arguments and initialisation: weight and bias
    are uniform in +-1 / sqrt(in_features). The weight is (in, out), the transpose of PyTorch's.
    `in_features` may be None, for what the first input has.

    >>> Linear(2, 3).weight.shape
    (2, 3)
    """

    forms = "Linear(3, 16) is 3 features in, 16 out; in Keras's form Dense(16)"

    def __init__(
        self,
        in_features: Count | None,
        out_features: Count,
        bias: bool = True,
        *,
        activation: ActivationLike = None,
        weight_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        dtype: DType = "float32",
    ):
        self._start(out_features, in_features, activation, bias, (weight_init, bias_init), dtype)

    @property
    def out_features(self) -> int:
        """The number of units."""
        return self.units

    def describe(self) -> str:
        name = "" if self.activation == "none" else f", activation={self.activation!r}"
        bias = "" if self.use_bias else ", bias=False"
        return f"{self.in_features}, {self.units}{bias}{name}"


# --- of two inputs --------------------------------------------------------------------------------


class Bilinear(LazyLayer):
    """x1^T W x2 + b for each of several matrices W: (..., in1), (..., in2) -> (..., out_features).
    The weight is (out_features, in1, in2); it and the bias are uniform in +-1 / sqrt(in1).

    >>> Bilinear(2, 3, 4)(np.ones((5, 2)), np.ones((5, 3))).shape
    (5, 4)
    """

    sized_by = "in1_features"
    in1_features: int | None

    def __init__(
        self,
        in1_features: Count,
        in2_features: Count,
        out_features: Count,
        bias: bool = True,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.in2_features, self.out_features, self.use_bias = in2_features, out_features, bias
        self.start(in1_features, dtype)

    def make(self, length: int) -> None:
        draw = narrow(length)
        self.weight = self.drawn(draw, self.out_features, length, self.in2_features)
        if self.use_bias:
            self.bias = self.drawn(draw, self.out_features)

    def forward(self, x1: ArrayLike, x2: ArrayLike) -> Tensor:
        a, b = asarray(x1), asarray(x2)
        if not a.shape or b.shape != (*a.shape[:-1], self.in2_features):
            raise ShapeError(
                f"Bilinear({self.describe()}) got inputs of shapes {a.shape} and {b.shape}"
            )
        a, b = self.checked(a), in_dtype_of(self.weight, b)
        return functions.bilinear(a, b, self.weight, self.bias)

    def describe(self) -> str:
        return f"{self.in1_features}, {self.in2_features}, {self.out_features}"


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along the axis `dim`. See `tg.cosine_similarity`.

    >>> CosineSimilarity()([[1.0, 0.0]], [[2.0, 0.0]]).tolist()
    [1.0]
    """

    def __init__(self, dim: int = 1, eps: Positive = 1e-8):
        super().__init__()
        self.dim, self.eps = dim, eps

    def forward(self, x1: ArrayLike, x2: ArrayLike) -> Tensor:
        return functions.cosine_similarity(x1, x2, self.dim, self.eps)

    def describe(self) -> str:
        return f"dim={self.dim}"


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last axis: (..., d), (..., d) -> (...). See `tg.cdist`
    for all pairs.

    >>> PairwiseDistance()([[3.0, 4.0]], [[0.0, 0.0]]).numpy().round(3).tolist()
    [5.0]
    """

    def __init__(self, p: float = 2.0, eps: NonNegative = 1e-6, keepdim: bool = False):
        super().__init__()
        self.p, self.eps, self.keepdim = p, eps, keepdim

    def forward(self, x1: ArrayLike, x2: ArrayLike) -> Tensor:
        far = functions.abs(asarray(x1) - x2 + self.eps)
        return (far**self.p).sum(-1, keepdims=self.keepdim) ** (1 / self.p)

    def describe(self) -> str:
        return f"p={self.p}"
