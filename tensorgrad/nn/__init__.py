"""Layers and models."""

import importlib
from typing import TYPE_CHECKING, Any

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
from .attention import MultiHeadAttention, MultiheadAttention
from .cache import KeyValueCache
from .config import from_config, load_model, register
from .container import Input, Model, Sequential, concatenate
from .conv import (
    Conv,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from .dense import Dense, Linear
from .dropout import Dropout
from .embedding import Embedding
from .lengths import Last
from .module import Buffer, Module, Parameter
from .norm import (
    BatchNorm,
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    GroupNorm,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LocalResponseNorm,
    RMSNorm,
)
from .pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveAvgPool3d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AdaptiveMaxPool3d,
    AvgPool1d,
    AvgPool2d,
    AvgPool3d,
    GlobalAvgPool,
    GlobalMaxPool,
    LPPool1d,
    LPPool2d,
    LPPool3d,
    MaxPool1d,
    MaxPool2d,
    MaxPool3d,
    MaxUnpool1d,
    MaxUnpool2d,
    MaxUnpool3d,
)
from .positions import PositionalEmbedding, SinusoidalPositions
from .shape import Flatten

if TYPE_CHECKING:  # what `__getattr__` loads when it is first named
    from .generation import *  # noqa: F403
    from .loss import *  # noqa: F403
    from .recurrent import *  # noqa: F403
    from .simple_recurrent import *  # noqa: F403
    from .transformer import *  # noqa: F403

__all__ = [
    "ELU",
    "GELU",
    "Activation",
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "BatchNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Buffer",
    "Conv",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "GroupNorm",
    "Input",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "KeyValueCache",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "Last",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
    "Model",
    "Module",
    "MultiHeadAttention",
    "MultiheadAttention",
    "Parameter",
    "PositionalEmbedding",
    "RMSNorm",
    "ReLU",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositions",
    "Softmax",
    "Softplus",
    "Tanh",
    "concatenate",
    "from_config",
    "init",
    "load_model",
    "register",
]

# Families that are imported when one of their layers is first named: the `__all__` of their files
_LATER = {
    "loss": """BCELoss BCEWithLogitsLoss CosineEmbeddingLoss CrossEntropyLoss GaussianNLLLoss
    HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss MSELoss MarginRankingLoss MultiLabelMarginLoss
    MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss PoissonNLLLoss SmoothL1Loss SoftMarginLoss
    TripletMarginLoss""",
    "generation": "generate",
    "recurrent": "RNN LSTM GRU RNNCell LSTMCell GRUCell",
    "simple_recurrent": "SimpleRNN SimpleLSTM SimpleGRU",
    "transformer": """TransformerBlock Transformer TransformerEncoder TransformerEncoderLayer
    TransformerDecoder TransformerDecoderLayer""",
}
_FAMILY = {name: family for family, names in _LATER.items() for name in names.split()}
__all__ += [*_FAMILY]  # noqa: PLE0604

if not TYPE_CHECKING:  # else every name would be one for type checkers
    _unknown = no_other_names("nn", __all__)

    def __getattr__(name: str) -> Any:
        if name not in _FAMILY:
            return _unknown(name)
        found = getattr(importlib.import_module(f"{__name__}.{_FAMILY[name]}"), name)
        return globals().setdefault(name, found)
