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
from .module import Module, Parameter
from .recurrent import GRU, LSTM, SimpleRNN
from .regular import Dropout, Flatten, LayerNorm

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "Activation",
    "Dense",
    "Dropout",
    "Flatten",
    "Input",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Model",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SimpleRNN",
    "Softmax",
    "Softplus",
    "Tanh",
    "concatenate",
    "init",
]
