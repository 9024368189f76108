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
from .conv import AvgPool2d, Conv2d, GlobalAvgPool2d, MaxPool2d
from .dense import Dense, Linear
from .module import Module, Parameter
from .regular import Dropout, Flatten, LayerNorm

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "AvgPool2d",
    "Conv2d",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "Input",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Model",
    "Module",
    "Parameter",
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
