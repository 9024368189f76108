"""Dropout."""

from __future__ import annotations

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray
from ..ops import random
from ..randomness import random_state
from ..typing import ArrayLike, Probability
from .module import Module


class Dropout(Module):
    """In training mode each element is zeroed with probability p, and the others are divided by
    1 - p (Srivastava et al. 2014); in evaluation mode this is the identity. Masks are drawn on the
    device from the generator that `tg.seed` seeds.

    >>> Dropout(0.5).eval()([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """

    def __init__(self, p: Probability = 0.5):
        super().__init__()
        self.p = p

    def forward(self, x: ArrayLike) -> Tensor:
        x = asarray(x)
        if not self.training or self.p == 0:
            return x
        if not is_floating(x.dtype):
            x = x.astype("float32")
        return random.dropout(x, random_state(x.backend, x.size), p=self.p)

    def describe(self) -> str:
        return f"{self.p}"
