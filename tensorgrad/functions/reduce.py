"""Functions that reduce over axes."""

from __future__ import annotations

from ..core import Tensor
from ..ops import reduce as ops
from ..typing import ArrayLike, Axes
from ..words import explains_names
from .inputs import as_tensor, axes_of


@explains_names
def softmax(x: ArrayLike, axis: Axes = -1) -> Tensor:
    """Exponentials along `axis`, scaled to sum to 1: exp(x - max) / sum(exp(x - max)).

    Args:
        x: any shape; integers become the default float.
        axis: one axis or several.
    Returns: the shape and floating dtype of `x`; float16 is summed in float32.
    Raises: ShapeError if `x` has no such axis.

    Rows of -inf alone give NaN, as 0/0 does. For the logarithm use `log_softmax`, for a loss on
    logits `losses.cross_entropy`: both are exact where softmax underflows.

    >>> softmax([0.0, math.log(3.0)]).numpy().round(2)
    array([0.25, 0.75], dtype=float32)
    """
    return ops.softmax(as_tensor(x), axis=axes_of("softmax: axis", axis))
