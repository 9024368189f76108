"""Layers and models."""

from typing import TYPE_CHECKING

from ..words import no_other_names
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
from .conv import AvgPool2d, Conv2d, GlobalAvgPool2d, MaxPool2d
from .dense import Dense, Linear
from .dropout import Dropout
from .embedding import Embedding
from .module import Buffer, Module, Parameter
from .norm import BatchNorm, GroupNorm, LayerNorm, RMSNorm
from .recurrent import SimpleGRU, SimpleLSTM, SimpleRNN
from .shape import Flatten

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "AvgPool2d",
    "BatchNorm",
    "Buffer",
    "Conv2d",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Input",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Model",
    "Module",
    "MultiHeadAttention",
    "Parameter",
    "PositionalEmbedding",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SimpleGRU",
    "SimpleLSTM",
    "SimpleRNN",
    "Softmax",
    "Softplus",
    "Tanh",
    "TransformerBlock",
    "concatenate",
    "init",
]

if not TYPE_CHECKING:  # else every name would be one for type checkers
    __getattr__ = no_other_names("nn", __all__)
