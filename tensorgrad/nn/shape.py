"""Layers that reshape their input."""

from __future__ import annotations

from math import prod

from ..core import Tensor
from ..creation import asarray
from ..typing import ArrayLike
from .module import Module


class Flatten(Module):
    """All axes but the batch as one: (n, ...) -> (n, product of the rest).

    >>> Flatten()(np.zeros((2, 3, 4))).shape
    (2, 12)
    """

    def forward(self, x: ArrayLike) -> Tensor:
        x = asarray(x)
        return x.reshape(x.shape[0], prod(x.shape[1:]))  # -1 means nothing for an empty batch
