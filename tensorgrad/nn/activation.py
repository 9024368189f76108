"""Activations, by name and as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functions
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, suggest
from ..typing import ActivationLike, ArrayLike
from .module import Module

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
ALIASES = {None: "none", "linear": "none", "swish": "silu"}


def get(activation: ActivationLike) -> str | Callable[[Tensor], Tensor]:
    """The name of an activation, or the function given; ArgumentError for unknown names."""
    if callable(activation):
        return activation
    name = ALIASES.get(activation, activation)
    if name not in NAMES:
        raise ArgumentError(f"activation {activation!r} is unknown: {suggest(activation, NAMES)}")
    return name


def apply(activation: str | Callable[..., Tensor], x: Tensor, **options: Any) -> Tensor:
    """The activation of x."""
    if activation == "none":
        return x
    run = activation if callable(activation) else getattr(functions, activation)
    return run(x, **options)


class Activation(Module):
    """An activation as a layer: `Activation("relu")`, or one of the named classes below.

    >>> Activation("relu")([-1.0, 1.0]).tolist()
    [0.0, 1.0]
    """

    name: str | Callable[..., Tensor] = "none"

    def __init__(self, name: ActivationLike = None, **options: Any):
        super().__init__()
        self.name, self.options = get(name or self.name), options

    def forward(self, x: ArrayLike) -> Tensor:
        return apply(self.name, asarray(x), **self.options)

    def describe(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.options.items())


class ReLU(Activation):
    """max(x, 0): `tg.relu` as a layer.

    >>> ReLU()([-1.0, 1.0]).tolist()
    [0.0, 1.0]
    """

    name = "relu"


class LeakyReLU(Activation):
    """x where x > 0, else slope * x, with the option `slope`: `tg.leaky_relu` as a layer.

    >>> LeakyReLU(slope=0.5)([-1.0, 1.0]).tolist()
    [-0.5, 1.0]
    """

    name = "leaky_relu"


class ELU(Activation):
    """x where x > 0, else alpha * (exp(x) - 1), with the option `alpha`: `tg.elu` as a layer.

    >>> ELU()([-1.0, 1.0]).numpy().round(3)
    array([-0.632,  1.   ], dtype=float32)
    """

    name = "elu"


class GELU(Activation):
    """The Gaussian error linear unit: `tg.gelu` as a layer, in its tanh form unless the option
    `approximate` is "none".

    >>> GELU()([0.0, 1.0]).numpy().round(3)
    array([0.   , 0.841], dtype=float32)
    """

    name = "gelu"


class SiLU(Activation):
    """x * sigmoid(x), also called swish: `tg.silu` as a layer.

    >>> SiLU()([0.0, 1.0]).numpy().round(3)
    array([0.   , 0.731], dtype=float32)
    """

    name = "silu"


class Sigmoid(Activation):
    """1 / (1 + exp(-x)): `tg.sigmoid` as a layer.

    >>> Sigmoid()([0.0]).tolist()
    [0.5]
    """

    name = "sigmoid"


class Tanh(Activation):
    """The hyperbolic tangent: `tg.tanh` as a layer.

    >>> Tanh()([0.0, 1.0]).numpy().round(3)
    array([0.   , 0.762], dtype=float32)
    """

    name = "tanh"


class Softplus(Activation):
    """log(1 + exp(x)): `tg.softplus` as a layer.

    >>> Softplus()([0.0]).numpy().round(3)
    array([0.693], dtype=float32)
    """

    name = "softplus"


class Softmax(Activation):
    """exp(x) / sum(exp(x)) along the option `axis`, by default the last: `tg.softmax` as a layer.

    >>> Softmax()([[0.0, 0.0]]).tolist()
    [[0.5, 0.5]]
    """

    name = "softmax"
