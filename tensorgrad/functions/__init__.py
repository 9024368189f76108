"""The public functions: NumPy's words, Tensors out. Each is written here, and its op in `ops/`."""

from .attention import scaled_dot_product_attention
from .conv import avg_pool2d, conv2d, max_pool2d
from .embedding import embedding
from .norm import batch_norm, channel_affine, group_norm, layer_norm, rms_norm
from .padding import pad
from .products import dense, matmul
from .random import dropout
from .recurrent import gru, lstm, rnn
from .shape import (
    array_split,
    broadcast_to,
    concat,
    concatenate,
    expand_dims,
    flip,
    identity,
    moveaxis,
    permute_dims,
    reshape,
    split,
    squeeze,
    stack,
    swapaxes,
    transpose,
)

__all__ = [
    "array_split",
    "avg_pool2d",
    "batch_norm",
    "broadcast_to",
    "channel_affine",
    "concat",
    "concatenate",
    "conv2d",
    "dense",
    "dropout",
    "embedding",
    "expand_dims",
    "flip",
    "group_norm",
    "gru",
    "identity",
    "layer_norm",
    "lstm",
    "matmul",
    "max_pool2d",
    "moveaxis",
    "pad",
    "permute_dims",
    "reshape",
    "rms_norm",
    "rnn",
    "scaled_dot_product_attention",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "transpose",
]
