"""Attention."""

from __future__ import annotations

from ..core import Tensor
from ..ops import attention as ops
from ..settings import gate
from ..typing import ArrayLike
from .inputs import floating, operands


@gate
def scaled_dot_product_attention(
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """softmax(q @ k^T * scale + mask) @ v (Vaswani et al. 2017): (..., T, D), (..., S, D) and
    (..., S, E) -> (..., T, E).

    Args:
        mask: bool, True where a row may attend, or floating and added to the scores; it broadcasts
            to (..., T, S).
        causal: row i attends to the first i + 1 keys alone.
        scale: 1 / sqrt(D) where left out.
    Returns: the dtype of `q`; halves are summed in float32.
    Raises: ShapeError where the three, or the mask, do not fit; DTypeError for a mask of integers.

    A row that may attend to nothing gives 0. No matrix of all T x S scores is kept for the
    gradient: it is computed again from the log-sum-exp of each row (Dao et al. 2022).

    >>> q, v = np.zeros((1, 2, 4)), np.array([[[1.0], [3.0]]])
    >>> scaled_dot_product_attention(q, q, v).tolist()
    [[[2.0], [2.0]]]
    >>> scaled_dot_product_attention(q, q, v, causal=True).tolist()
    [[[1.0], [2.0]]]
    """
    *inputs, mask = operands(q, k, v, mask)
    return ops.scaled_dot_product_attention(
        *map(floating, inputs),
        mask,
        causal=causal,
        scale=scale,
    )[0]
