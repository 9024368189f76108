"""The table of ops, a file a family: references, rules and samples, nothing else."""

from . import (
    attention,
    conv,
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
