"""Activations: functions of each number that layers end with.

The result has the shape and dtype of x; integers become the default float (relu keeps them). `tanh`
is among the elementwise functions, `softmax` among the reductions.
"""

from __future__ import annotations

from typing import Literal

from ..core import Tensor
from ..ops import elementwise as ops
from ..settings import gate
from ..typing import ArrayLike
from .inputs import as_tensor


def relu(x: ArrayLike) -> Tensor:
    """max(x, 0); NaN stays NaN. The gradient at 0 is 0.

    >>> relu([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """
    return ops.relu.call(x if type(x) is Tensor else as_tensor(x))


@gate
def leaky_relu(x: ArrayLike, slope: float = 0.01) -> Tensor:
    """x above 0, slope * x below (Maas et al. 2013). The gradient at 0 is the slope.

    Args:
        x: any shape.
        slope: a plain number. For one that is learnt write where(x > 0, x, slope * x).
    Raises: ArgumentError if `slope` is not a number.

    >>> leaky_relu([-1.0, 2.0], 0.5).tolist()
    [-0.5, 2.0]
    """
    return ops.leaky_relu.call(as_tensor(x), slope=slope)


@gate
def elu(x: ArrayLike, alpha: float = 1.0) -> Tensor:
    """x above 0, alpha * (exp(x) - 1) below (Clevert et al. 2015). The gradient at 0 is alpha.

    Args:
        x: any shape.
        alpha: a plain number: -alpha is the limit far below 0.
    Raises: ArgumentError if `alpha` is not a number.

    >>> elu([-100.0, 2.0], 0.5).tolist()
    [-0.5, 2.0]
    """
    return ops.elu.call(as_tensor(x), alpha=alpha)


@gate
def gelu(x: ArrayLike, approximate: Literal["tanh", "none"] = "tanh") -> Tensor:
    """Gaussian error linear unit, x times the normal distribution function (Hendrycks & Gimpel
    2016).

    Args:
        x: any shape.
        approximate: "tanh" for 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), which differs by
            less than 0.001 and is the default here and in JAX; "none" for x ndtr(x) itself,
            PyTorch's default.
    Raises: ArgumentError for another word.

    >>> gelu([-1.0, 0.0, 1.0]).numpy().round(4)
    array([-0.1588,  0.    ,  0.8412], dtype=float32)
    >>> gelu([-1.0, 0.0, 1.0], approximate="none").numpy().round(4)
    array([-0.1587,  0.    ,  0.8413], dtype=float32)
    """
    x = x if type(x) is Tensor else as_tensor(x)
    if approximate == "tanh":
        return ops.gelu.call(x)
    from ..ops import special  # imported when first used

    return special.gelu_erf.call(x)


def sigmoid(x: ArrayLike) -> Tensor:
    """The logistic function 1 / (1 + exp(-x)), in a form in which nothing overflows.

    For a loss on probabilities give the logits themselves to one that takes them, such as
    `losses.binary_cross_entropy_with_logits`: it is exact where sigmoid rounds to 0 or 1.

    >>> sigmoid([-1000.0, 0.0, 1000.0]).tolist()
    [0.0, 0.5, 1.0]
    """
    return ops.sigmoid.call(x if type(x) is Tensor else as_tensor(x))


def silu(x: ArrayLike) -> Tensor:
    """x * sigmoid(x), also called swish (Ramachandran et al. 2017).

    >>> silu([0.0, 1000.0]).tolist()
    [0.0, 1000.0]
    """
    return ops.silu.call(x if type(x) is Tensor else as_tensor(x))


def softplus(x: ArrayLike) -> Tensor:
    """log(1 + exp(x)), in a form in which nothing overflows. The gradient is sigmoid(x).

    >>> softplus([-1000.0, 1000.0]).tolist()
    [0.0, 1000.0]
    """
    return ops.softplus.call(x if type(x) is Tensor else as_tensor(x))
