"""The table of ops, a file a family: references, rules and samples, nothing else."""

from . import conv, elementwise, index, loss, matmul, norm, pool, random, reduce, shape, update

__all__ = [
    "conv",
    "elementwise",
    "index",
    "loss",
    "matmul",
    "norm",
    "pool",
    "random",
    "reduce",
    "shape",
    "update",
]
