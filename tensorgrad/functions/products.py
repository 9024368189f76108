"""Matrix products."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from ..core import Tensor
from ..ops import matmul as ops
from ..settings import Either, Nothing, Word, gate
from ..typing import ArrayLike
from .inputs import operands

Fused: TypeAlias = Annotated["str | None", Either(Word(*ops.ACTIVATIONS, "gelu"), Nothing())]


def matmul(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Matrix product over the last two axes: (..., n, k) @ (..., k, m) -> (..., n, m), broadcast
    over the others. `a @ b` is another way to write it.

    An array of one axis is a row on the left and a column on the right; that axis is gone in the
    result. Products of halves are summed in float32.

    Raises: ShapeError where the inner lengths differ, or one of the two is a number.

    >>> matmul([[1.0, 2.0]], [[3.0], [4.0]]).tolist()
    [[11.0]]
    >>> matmul(np.ones((5, 2, 3)), np.ones(3)).shape
    (5, 2)
    """
    return ops.matmul(*operands(a, b))


@gate
def dense(
    x: ArrayLike, w: ArrayLike, b: ArrayLike | None = None, *, activation: Fused = None
) -> Tensor:
    """activation(x @ w + b) in one op: (..., n_in) -> (..., n_out).

    Args:
        w: weights (n_in, n_out).
        b: bias (n_out,), or None.
        activation: None, "relu", "sigmoid", "tanh" or "gelu".
    Raises: ShapeError where `x` and `w` do not agree in n_in, ArgumentError for another activation.

    >>> dense([[1.0, 2.0]], [[1.0], [1.0]], [-4.0], activation="relu").tolist()
    [[0.0]]
    """
    inputs = operands(x, w, b)
    name = activation or "none"
    if name == "gelu":  # whose gradient needs x @ w + b, its second output
        return ops.dense_gelu(*inputs)[0]
    return ops.dense(*inputs, activation=name)
