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
from .attention import MultiHeadAttention, PositionalEmbedding, TransformerBlock
from .container import Input, Model, Sequential, concatenate
from .dense import Dense, Linear
from .module import Module, Parameter
from .regular import Dropout, Flatten, LayerNorm

__all__ = [
    "ELU",
    "GELU",
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
    "MultiHeadAttention",
    "Parameter",
    "PositionalEmbedding",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "TransformerBlock",
    "concatenate",
    "init",
]
