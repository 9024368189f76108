"""Activations by name, and as layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functions
from ..core import Tensor
from ..creation import asarray
from ..errors import ArgumentError, suggest
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


def get(activation: Any) -> str | Callable:
    """The name of an activation, or the function given; ArgumentError for unknown names."""
    if callable(activation):
        return activation
    name = ALIASES.get(activation, activation)
    if name not in NAMES:
        raise ArgumentError(f"activation {activation!r} is unknown: {suggest(activation, NAMES)}")
    return name


def apply(activation: str | Callable, x: Tensor) -> Tensor:
    """The activation of x."""
    if callable(activation):
        return activation(x)
    return x if activation == "none" else getattr(functions, activation)(x)


class Activation(Module):
    """An activation as a layer: `Activation("relu")`, or one of the named classes below.

    >>> Activation("relu")([-1.0, 1.0]).tolist()
    [0.0, 1.0]
    """

    name: Any = None

    def __init__(self, name: Any = None, **options: Any):
        super().__init__()
        self.name, self.options = get(name or self.name), options

    def forward(self, x: Any) -> Tensor:
        if self.options:
            return getattr(functions, self.name)(x, **self.options)
        return apply(self.name, asarray(x))

    def describe(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.options.items())


def _layer(class_name: str, name: str) -> type[Activation]:
    doc = f"The op `{name}` as a layer; options such as `axis` or `slope` go to the op."
    return type(class_name, (Activation,), {"name": name, "__doc__": doc, "__module__": __name__})


ReLU = _layer("ReLU", "relu")
LeakyReLU = _layer("LeakyReLU", "leaky_relu")
ELU = _layer("ELU", "elu")
GELU = _layer("GELU", "gelu")
SiLU = _layer("SiLU", "silu")
Sigmoid = _layer("Sigmoid", "sigmoid")
Tanh = _layer("Tanh", "tanh")
Softplus = _layer("Softplus", "softplus")
Softmax = _layer("Softmax", "softmax")
