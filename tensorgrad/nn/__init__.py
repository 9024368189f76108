"""Layers and models."""

import importlib
from typing import TYPE_CHECKING, Any

from ..words import no_other_names
from . import init
from .activation import (
    CELU,
    ELU,
    GELU,
    GLU,
    SELU,
    Activation,
    Hardshrink,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    RReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softmax2d,
    Softmin,
    Softplus,
    Softshrink,
    Softsign,
    Tanh,
    Tanhshrink,
    Threshold,
)
from .attention import MultiHeadAttention
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
from .dense import (
    Bilinear,
    CosineSimilarity,
    Dense,
    Linear,
    PairwiseDistance,
)
from .dropout import (
    AlphaDropout,
    Dropout,
    Dropout1d,
    Dropout2d,
    Dropout3d,
    DropPath,
    FeatureAlphaDropout,
)
from .embedding import (
    Embedding,
    EmbeddingBag,
)
from .lengths import Last
from .module import Buffer, Module, Parameter
from .multihead import MultiheadAttention
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
from .positions import PositionalEmbedding, SinusoidalPositions
from .shape import (
    Flatten,
    Fold,
    Identity,
    Lambda,
    Permute,
    Reshape,
    Unflatten,
    Unfold,
)

if TYPE_CHECKING:  # what `__getattr__` loads when it is first named
    from . import parametrize
    from .called import *  # noqa: F403
    from .collections import *  # noqa: F403
    from .fractional import *  # noqa: F403
    from .generation import *  # noqa: F403
    from .graph import *  # noqa: F403
    from .loss import *  # noqa: F403
    from .pooling import *  # noqa: F403
    from .recurrent import *  # noqa: F403
    from .resampling import *  # noqa: F403
    from .simple_recurrent import *  # noqa: F403
    from .transformer import *  # noqa: F403

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Activation",
    "AlphaDropout",
    "BatchNorm",
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "Bilinear",
    "Buffer",
    "Conv",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "CosineSimilarity",
    "Dense",
    "DropPath",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "Embedding",
    "EmbeddingBag",
    "FeatureAlphaDropout",
    "Flatten",
    "Fold",
    "GroupNorm",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "Identity",
    "Input",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "KeyValueCache",
    "Lambda",
    "Last",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "Model",
    "Module",
    "MultiHeadAttention",
    "MultiheadAttention",
    "PReLU",
    "PairwiseDistance",
    "Parameter",
    "Permute",
    "PositionalEmbedding",
    "RMSNorm",
    "RReLU",
    "ReLU",
    "ReLU6",
    "Reshape",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositions",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
    "Unflatten",
    "Unfold",
    "concatenate",
    "from_config",
    "init",
    "load_model",
    "register",
]

# Families that are imported when one of their layers is first named: the `__all__` of their files
_LATER = {
    "called": "functional_call",
    "resampling": """Upsample UpsamplingNearest2d UpsamplingBilinear2d PixelShuffle
    PixelUnshuffle ChannelShuffle ZeroPad1d ZeroPad2d ZeroPad3d ReflectionPad1d
    ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d
    CircularPad1d CircularPad2d CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d""",
    "pooling": """MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d LPPool1d
    LPPool2d LPPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d
    AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d MaxUnpool1d MaxUnpool2d
    MaxUnpool3d GlobalAvgPool GlobalMaxPool""",
    "fractional": "FractionalMaxPool2d FractionalMaxPool3d",
    "collections": """ModuleList ParameterList ModuleDict ParameterDict Residual Parallel""",
    "loss": """BCELoss BCEWithLogitsLoss CTCLoss CosineEmbeddingLoss CrossEntropyLoss
    GaussianNLLLoss HingeEmbeddingLoss HuberLoss KLDivLoss L1Loss MSELoss MarginRankingLoss
    MultiLabelMarginLoss MultiLabelSoftMarginLoss MultiMarginLoss NLLLoss PoissonNLLLoss
    SmoothL1Loss SoftMarginLoss TripletMarginLoss""",
    "generation": "generate",
    "graph": """GATConv GATv2Conv GCNConv GINConv SAGEConv global_add_pool global_max_pool
    global_mean_pool join_graphs propagate""",
    "recurrent": "RNN LSTM GRU RNNCell LSTMCell GRUCell",
    "simple_recurrent": "SimpleRNN SimpleLSTM SimpleGRU",
    "transformer": """TransformerBlock Transformer TransformerEncoder TransformerEncoderLayer
    TransformerDecoder TransformerDecoderLayer""",
}
_FAMILY = {name: family for family, names in _LATER.items() for name in names.split()}
__all__ += [*_FAMILY, "parametrize"]  # noqa: PLE0604

if not TYPE_CHECKING:  # else every name would be one for type checkers
    _unknown = no_other_names("nn", __all__)

    def __getattr__(name: str) -> Any:
        if name == "parametrize":
            return importlib.import_module(f"{__name__}.{name}")
        if name not in _FAMILY:
            return _unknown(name)
        found = getattr(importlib.import_module(f"{__name__}.{_FAMILY[name]}"), name)
        return globals().setdefault(name, found)
