"""The table of ops, a file a family: references, rules and samples, nothing else."""

from . import elementwise, index, loss, matmul, norm, random, recurrent, reduce, shape, update

__all__ = [
    "elementwise",
    "index",
    "loss",
    "matmul",
    "norm",
    "random",
    "recurrent",
    "reduce",
    "shape",
    "update",
]
