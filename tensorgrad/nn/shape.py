"""Layers that give their input another shape."""

from __future__ import annotations

from math import prod

from ..core import Tensor
from ..creation import asarray
from ..errors import ShapeError
from ..typing import ArrayLike
from .module import Module


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` as one, by default all but the batch: (n, ...) -> (n,
    product of the rest).

    >>> Flatten()(np.zeros((2, 3, 4))).shape
    (2, 12)
    >>> Flatten(0, 1)(np.zeros((2, 3, 4))).shape
    (6, 4)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: ArrayLike) -> Tensor:
        x = asarray(x)
        n = len(x.shape)
        start, end = self.start_dim % max(n, 1), self.end_dim % max(n, 1)
        if n == 1 and (self.start_dim, self.end_dim) == (1, -1):
            return x.reshape(x.shape[0], 1)
        if not (-n <= self.start_dim < n and -n <= self.end_dim < n and start <= end):
            raise ShapeError(
                f"Flatten({self.describe()}): an input of shape {x.shape} has no such axes"
            )
        # -1 would mean nothing for an empty batch
        return x.reshape(*x.shape[:start], prod(x.shape[start : end + 1]), *x.shape[end + 1 :])

    def describe(self) -> str:
        return (
            "" if (self.start_dim, self.end_dim) == (1, -1) else f"{self.start_dim}, {self.end_dim}"
        )
