"""Activations, by name and as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from .. import functions
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, suggest
from ..typing import (
    ActivationLike,
    ArrayLike,
    Count,
    DType,
    Limit,
    NonNegative,
    Number,
    Positive,
)
from .init import initial
from .module import Module, Parameter

NAMES: tuple[str, ...] = (
    "relu",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "sigmoid",
    "tanh",
    "softplus",
    "softmax",
)
NAMES += ("log_softmax", "none")
NAMES += tuple(
    """relu6 selu celu mish glu hardtanh hardsigmoid hardswish hardshrink softshrink softsign
    softmin logsigmoid tanhshrink""".split()
)
ALIASES = {None: "none", "linear": "none", "swish": "silu"}


def get(activation: ActivationLike) -> str | Callable[[Tensor], Tensor]:
    """The name of an activation, or the function given; ArgumentError for unknown names."""
    if callable(activation):
        return activation
    name = ALIASES.get(activation, activation)
    if name not in NAMES:
        raise ArgumentError(f"activation {activation!r} is unknown: {suggest(activation, NAMES)}")
    return name


def apply(activation: str | Callable[..., Tensor], x: Tensor, /, **options: Any) -> Tensor:
    """The activation of x."""
    if activation == "none":
        return x
    run = activation if callable(activation) else getattr(functions, activation)
    return run(x, **options)


class Activation(Module):
    """An activation as a layer: `Activation("relu")`, or one of the classes below, which have
    PyTorch's names and arguments. (What these call `inplace` is taken, and changes nothing: results
    are new.)

    >>> Activation("relu")([-1.0, 1.0]).tolist()
    [0.0, 1.0]
    """

    name: str | Callable[..., Tensor] = "none"
    options: dict[str, Any] = {}

    def __init__(self, name: ActivationLike = None, **options: Any):
        super().__init__()
        self.name, self.options = get(name or self.name), options

    def _set(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, x: ArrayLike) -> Tensor:
        return apply(self.name, asarray(x), **self.options)

    def describe(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.options.items())


class _Plain(Activation):
    def __init__(self, inplace: bool = False):
        self._set()


class _Fixed(Activation):
    def __init__(self) -> None:
        self._set()


# --- without options ------------------------------------------------------------------------------


class ReLU(_Plain):
    """max(x, 0): `tg.relu` as a layer.

    >>> ReLU()([-1.0, 1.0]).tolist()
    [0.0, 1.0]
    """

    name = "relu"


class ReLU6(_Plain):
    """min(max(x, 0), 6): `tg.relu6` as a layer.

    >>> ReLU6()([-1.0, 3.0, 9.0]).tolist()
    [0.0, 3.0, 6.0]
    """

    name = "relu6"


class SELU(_Plain):
    """The self-normalising `tg.selu` as a layer.

    >>> SELU()([-1.0, 1.0]).numpy().round(3)
    array([-1.111,  1.051], dtype=float32)
    """

    name = "selu"


class SiLU(_Plain):
    """x * sigmoid(x), also called swish: `tg.silu` as a layer.

    >>> SiLU()([0.0, 1.0]).numpy().round(3)
    array([0.   , 0.731], dtype=float32)
    """

    name = "silu"


class Mish(_Plain):
    """x * tanh(softplus(x)): `tg.mish` as a layer.

    >>> Mish()([0.0, 1.0]).numpy().round(3)
    array([0.   , 0.865], dtype=float32)
    """

    name = "mish"


class Hardswish(_Plain):
    """x * relu6(x + 3) / 6: `tg.hardswish` as a layer.

    >>> Hardswish()([0.0, 3.0]).tolist()
    [0.0, 3.0]
    """

    name = "hardswish"


class Hardsigmoid(_Plain):
    """relu6(x + 3) / 6: `tg.hardsigmoid` as a layer.

    >>> Hardsigmoid()([-3.0, 0.0, 3.0]).tolist()
    [0.0, 0.5, 1.0]
    """

    name = "hardsigmoid"


class Sigmoid(_Fixed):
    """1 / (1 + exp(-x)): `tg.sigmoid` as a layer.

    >>> Sigmoid()([0.0]).tolist()
    [0.5]
    """

    name = "sigmoid"


class Tanh(_Fixed):
    """The hyperbolic tangent: `tg.tanh` as a layer.

    >>> Tanh()([0.0, 1.0]).numpy().round(3)
    array([0.   , 0.762], dtype=float32)
    """

    name = "tanh"


class LogSigmoid(_Fixed):
    """log(sigmoid(x)): `tg.logsigmoid` as a layer.

    >>> LogSigmoid()([0.0]).numpy().round(3)
    array([-0.693], dtype=float32)
    """

    name = "logsigmoid"


class Softsign(_Fixed):
    """x / (1 + |x|): `tg.softsign` as a layer.

    >>> Softsign()([1.0, -3.0]).tolist()
    [0.5, -0.75]
    """

    name = "softsign"


class Tanhshrink(_Fixed):
    """x - tanh(x): `tg.tanhshrink` as a layer.

    >>> Tanhshrink()([0.0, 2.0]).numpy().round(3)
    array([0.   , 1.036], dtype=float32)
    """

    name = "tanhshrink"


# --- with options ---------------------------------------------------------------------------------


class LeakyReLU(Activation):
    """x where x > 0, else negative_slope * x: `tg.leaky_relu` as a layer.

    >>> LeakyReLU(0.5)([-1.0, 1.0]).tolist()
    [-0.5, 1.0]
    """

    name = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        self._set(slope=negative_slope)


class RReLU(Activation):
    """`LeakyReLU` with slopes drawn from [lower, upper) for each number in training mode, and their
    mean in evaluation mode: `tg.rrelu` as a layer.

    >>> RReLU(0.25, 0.75).eval()([-3.0, 2.0]).tolist()
    [-1.5, 2.0]
    """

    name = "rrelu"

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False):
        self._set(lower=lower, upper=upper)

    def forward(self, x: ArrayLike) -> Tensor:
        return functions.rrelu(asarray(x), **self.options, training=self.training)


class ELU(Activation):
    """x where x > 0, else alpha * (exp(x) - 1): `tg.elu` as a layer.

    >>> ELU()([-1.0, 1.0]).numpy().round(3)
    array([-0.632,  1.   ], dtype=float32)
    """

    name = "elu"

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        self._set(alpha=alpha)


class CELU(Activation):
    """x where x > 0, else alpha * (exp(x / alpha) - 1): `tg.celu` as a layer.

    >>> CELU(2.0)([-2.0, 2.0]).numpy().round(3)
    array([-1.264,  2.   ], dtype=float32)
    """

    name = "celu"

    def __init__(self, alpha: Positive = 1.0, inplace: bool = False):
        self._set(alpha=alpha)


class GELU(Activation):
    """The Gaussian error linear unit: `tg.gelu` as a layer, by default exact as in PyTorch;
    `approximate="tanh"` is the form that is faster, and that `Activation("gelu")` takes.

    >>> GELU()([0.0, 1.0]).numpy().round(3)
    array([0.   , 0.841], dtype=float32)
    """

    name = "gelu"

    def __init__(self, approximate: Literal["none", "tanh"] = "none"):
        self._set(approximate=approximate)


class Hardtanh(Activation):
    """x between two bounds, and the bounds beyond: `tg.hardtanh` as a layer.

    >>> Hardtanh(-2.0, 2.0)([-3.0, 0.5, 3.0]).tolist()
    [-2.0, 0.5, 2.0]
    """

    name = "hardtanh"

    def __init__(self, min_val: Limit = -1.0, max_val: Limit = 1.0, inplace: bool = False):
        self._set(min=min_val, max=max_val)


class Hardshrink(Activation):
    """x where |x| > lambd, else 0: `tg.hardshrink` as a layer.

    >>> Hardshrink()([-1.0, 0.2]).tolist()
    [-1.0, 0.0]
    """

    name = "hardshrink"

    def __init__(self, lambd: NonNegative = 0.5):
        self._set(lambd=lambd)


class Softshrink(Activation):
    """x moved by lambd towards 0, and 0 within: `tg.softshrink` as a layer.

    >>> Softshrink()([-1.0, 0.2, 2.0]).tolist()
    [-0.5, 0.0, 1.5]
    """

    name = "softshrink"

    def __init__(self, lambd: NonNegative = 0.5):
        self._set(lambd=lambd)


class Threshold(Activation):
    """x above the threshold, else the value: `tg.threshold` as a layer.

    >>> Threshold(1.0, -1.0)([0.5, 2.0]).tolist()
    [-1.0, 2.0]
    """

    name = "threshold"

    def __init__(self, threshold: Number, value: Number, inplace: bool = False):
        self._set(threshold=threshold, value=value)


class Softplus(Activation):
    """log(1 + exp(beta x)) / beta: `tg.softplus` as a layer. It does not overflow, so that
    `threshold`, above which PyTorch takes x itself for it, counts only where it is not 20.

    >>> Softplus()([0.0]).numpy().round(3)
    array([0.693], dtype=float32)
    """

    name = "softplus"

    def __init__(self, beta: Positive = 1.0, threshold: float = 20.0):
        self._set(beta=beta, threshold=threshold)

    def forward(self, x: ArrayLike) -> Tensor:
        beta, threshold = self.options["beta"], self.options["threshold"]
        x = asarray(x)
        y = functions.softplus(x if beta == 1 else x * beta)
        y = y if beta == 1 else y * (1 / beta)
        return y if threshold == 20 else functions.where(x * beta > threshold, x, y)


class Softmax(Activation):
    """exp(x) / sum(exp(x)) along the axis `dim`, by default the last: `tg.softmax` as a layer.

    >>> Softmax()([[0.0, 0.0]]).tolist()
    [[0.5, 0.5]]
    """

    name = "softmax"

    def __init__(self, dim: int = -1):
        self._set(axis=dim)


class LogSoftmax(Activation):
    """log(softmax(x)) along the axis `dim`, by default the last: `tg.log_softmax` as a layer.

    >>> LogSoftmax()([[0.0, 0.0]]).numpy().round(3)
    array([[-0.693, -0.693]], dtype=float32)
    """

    name = "log_softmax"

    def __init__(self, dim: int = -1):
        self._set(axis=dim)


class Softmin(Activation):
    """softmax(-x) along the axis `dim`, by default the last: `tg.softmin` as a layer.

    >>> Softmin()([0.0, 0.0]).tolist()
    [0.5, 0.5]
    """

    name = "softmin"

    def __init__(self, dim: int = -1):
        self._set(axis=dim)


class Softmax2d(_Fixed):
    """softmax over the channels of images: (n, c, h, w) -> (n, c, h, w).

    >>> Softmax2d()([[[[0.0]], [[0.0]]]]).ravel().tolist()
    [0.5, 0.5]
    """

    name = "softmax"

    def forward(self, x: ArrayLike) -> Tensor:
        return functions.softmax(asarray(x), -3)


class GLU(Activation):
    """a * sigmoid(b) of the halves a and b of x along the axis `dim`: `tg.glu` as a layer, with the
    option `activation` for SwiGLU ("silu"), GEGLU ("gelu"), ReGLU ("relu") and others.

    >>> GLU()([2.0, 4.0, 0.0, 0.0]).tolist()
    [1.0, 2.0]
    """

    name = "glu"

    def __init__(
        self,
        dim: int = -1,
        *,
        activation: Literal["sigmoid", "silu", "gelu", "relu", "tanh", "none"] = "sigmoid",
    ):
        self._set(axis=dim, activation=activation)


class PReLU(Module):
    """x where x > 0, else weight * x, with slopes that are learnt, one or one for each channel (He
    et al. 2015): (n, channels, ...) -> the same. See `tg.prelu`.

    >>> PReLU()([-1.0, 1.0]).tolist()
    [-0.25, 1.0]
    """

    def __init__(self, num_parameters: Count = 1, init: float = 0.25, *, dtype: DType = "float32"):
        super().__init__()
        self.weight = Parameter(initial(init, (num_parameters,), dtype))

    def forward(self, x: ArrayLike) -> Tensor:
        return functions.prelu(asarray(x), self.weight)

    def describe(self) -> str:
        return f"{self.weight.size}"
