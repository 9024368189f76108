"""The table of ops, a file per family: references, gradient rules and samples."""

from . import (
    attention,
    conv,
    decoding,
    discrete,
    elementwise,
    embedding,
    index,
    loss,
    matmul,
    norm,
    pool,
    random,
    recurrent,
    reduce,
    shape,
    update,
)

__all__ = [
    "attention",
    "conv",
    "decoding",
    "discrete",
    "elementwise",
    "embedding",
    "index",
    "loss",
    "matmul",
    "norm",
    "pool",
    "random",
    "recurrent",
    "reduce",
    "shape",
    "update",
]
