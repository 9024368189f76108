"""Layers and models."""

from . import init
from .activation import (
    ELU,
    GELU,
    Activation,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .container import Input, Model, Sequential, concatenate
from .dense import Dense, Linear
from .embedding import Embedding
from .module import Buffer, Module, Parameter
from .norm import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from .regular import Dropout, Flatten

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "BatchNorm",
    "Buffer",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GroupNorm",
    "Input",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Model",
    "Module",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "concatenate",
    "init",
]
