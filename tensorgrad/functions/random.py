"""Functions that draw random numbers."""

from __future__ import annotations

from ..core import Tensor
from ..ops import random as ops
from ..randomness import random_state
from ..settings import gate
from ..typing import ArrayLike, Probability
from .inputs import as_tensor, floating, operands


@gate
def dropout(x: ArrayLike, p: Probability = 0.5, *, state: ArrayLike | None = None) -> Tensor:
    """Each number zeroed with probability `p`, the rest divided by 1 - p (Srivastava et al. 2014).

    Args:
        x: any shape; integers become the default float.
        p: from 0 to below 1.
        state: key and counter of a Philox stream, uint64 (2,), which is not advanced: the same
            state gives the same mask, on every backend. Drawn from the generator that `seed` sets
            where left out.
    Returns: the shape and floating dtype of `x`.
    Raises: ArgumentError for another `p`.

    It drops whenever it is called; the layer `nn.Dropout` does so in training alone.

    >>> tg.seed(0)
    >>> y = dropout(np.ones(1000), 0.25)
    >>> sorted(set(y.numpy().round(3).tolist()))
    [0.0, 1.333]
    """
    made: Tensor = floating(as_tensor(x))
    drawn = random_state(made.backend, made.size) if state is None else state
    return ops.dropout(*operands(made, drawn), p=p)
