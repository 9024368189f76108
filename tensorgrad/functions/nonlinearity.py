"""More activations: functions of each number, gates that halve an axis, and maps to the simplex.

The result has the dtype of x; integers become the default float, but where nothing is computed.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from ..core import Tensor
from ..creation import arange, rand
from ..errors import ShapeError
from ..ops import nonlinearity as ops
from ..settings import gate
from ..typing import ArrayLike, Limit, NonNegative, Number, Positive
from . import activation
from .elementwise import abs, tanh, where
from .inputs import as_tensor, floating, tensors
from .reduce import softmax, sum
from .scan import cumsum
from .shape import flip, moveaxis, split
from .sorting import sort

__all__ = [
    "celu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "logsigmoid",
    "mish",
    "prelu",
    "relu6",
    "rrelu",
    "selu",
    "softmin",
    "softshrink",
    "softsign",
    "sparsemax",
    "tanhshrink",
    "threshold",
]

# --- cut off ------------------------------------------------------------------------------------


@gate
def hardtanh(x: ArrayLike, min: Limit = -1.0, max: Limit = 1.0) -> Tensor:
    """x between two bounds, and the bounds beyond; the gradient there, and at them, is 0. (`clip`
    passes the gradient on at a bound, and to bounds that are tensors.)

    Args:
        x: any shape.
        min, max: plain numbers.
    Raises: ArgumentError if these are no numbers.

    >>> hardtanh([-3.0, 0.5, 3.0]).tolist()
    [-1.0, 0.5, 1.0]
    """
    return ops.hardtanh.call(floating(as_tensor(x)), min=min, max=max)


def relu6(x: ArrayLike) -> Tensor:
    """min(max(x, 0), 6) (Krizhevsky 2010). The gradient at 0 and 6 is 0.

    >>> relu6([-1.0, 3.0, 9.0]).tolist()
    [0.0, 3.0, 6.0]
    """
    return hardtanh(x, 0.0, 6.0)


def hardsigmoid(x: ArrayLike) -> Tensor:
    """relu6(x + 3) / 6, sigmoid in three straight pieces.

    >>> hardsigmoid([-3.0, 0.0, 3.0]).tolist()
    [0.0, 0.5, 1.0]
    """
    return relu6(as_tensor(x) + 3.0) * (1 / 6)


def hardswish(x: ArrayLike) -> Tensor:
    """x relu6(x + 3) / 6 (Howard et al. 2019).

    >>> hardswish([-3.0, 1.0, 3.0]).numpy().round(4) + 0.0
    array([0.    , 0.6667, 3.    ], dtype=float32)
    """
    x = as_tensor(x)
    return x * hardsigmoid(x)


@gate
def threshold(x: ArrayLike, threshold: Number, value: Number) -> Tensor:
    """x above a threshold, else a value.

    >>> threshold([0.5, 2.0], 1.0, -1.0).tolist()
    [-1.0, 2.0]
    """
    x = as_tensor(x)
    return where(x > threshold, x, value)


@gate
def hardshrink(x: ArrayLike, lambd: NonNegative = 0.5) -> Tensor:
    """x where |x| > lambd, else 0.

    >>> hardshrink([-1.0, 0.2, 0.5]).tolist()
    [-1.0, 0.0, 0.0]
    """
    x = as_tensor(x)
    return where(abs(x) <= lambd, 0, x)


@gate
def softshrink(x: ArrayLike, lambd: NonNegative = 0.5) -> Tensor:
    """x moved by lambd towards 0, and 0 where |x| <= lambd: the soft threshold.

    >>> softshrink([-1.0, 0.2, 2.0]).tolist()
    [-0.5, 0.0, 1.5]
    """
    x = as_tensor(x)
    return x - hardtanh(x, -lambd, lambd) if lambd else +x


# --- smooth -------------------------------------------------------------------------------------


def softsign(x: ArrayLike) -> Tensor:
    """x / (1 + |x|) (Turian et al. 2009).

    >>> softsign([1.0, -3.0]).tolist()
    [0.5, -0.75]
    """
    x = as_tensor(x)
    return x / (1.0 + abs(x))


def tanhshrink(x: ArrayLike) -> Tensor:
    """x - tanh(x).

    >>> tanhshrink([0.0, 2.0]).numpy().round(4)
    array([0.   , 1.036], dtype=float32)
    """
    x = as_tensor(x)
    return x - tanh(x)


def logsigmoid(x: ArrayLike) -> Tensor:
    """log(sigmoid(x)), as -softplus(-x), which does not overflow.

    >>> logsigmoid([-20.0, 0.0]).numpy().round(3)
    array([-20.   ,  -0.693], dtype=float32)
    """
    return -activation.softplus(-floating(as_tensor(x)))


def mish(x: ArrayLike) -> Tensor:
    """x tanh(softplus(x)) (Misra 2019).

    >>> mish([0.0, 1.0]).numpy().round(4)
    array([0.    , 0.8651], dtype=float32)
    """
    x = as_tensor(x)
    return x * tanh(activation.softplus(x))


def selu(x: ArrayLike) -> Tensor:
    """1.0507 times x above 0, 1.7581 (exp(x) - 1) below: numbers that keep mean 0 and variance 1
    from layer to layer (Klambauer et al. 2017).

    >>> selu([-1.0, 1.0]).numpy().round(4)
    array([-1.1113,  1.0507], dtype=float32)
    """
    return 1.0507009873554805 * activation.elu(x, 1.6732632423543772)


@gate
def celu(x: ArrayLike, alpha: Positive = 1.0) -> Tensor:
    """x above 0, alpha (exp(x / alpha) - 1) below: `elu` with a gradient of 1 at 0 (Barron 2017).

    >>> celu([-2.0, 2.0], 2.0).numpy().round(4)
    array([-1.2642,  2.    ], dtype=float32)
    """
    return alpha * activation.elu(as_tensor(x) * (1 / alpha))


@gate
def prelu(x: ArrayLike, weight: ArrayLike) -> Tensor:
    """x above 0, weight * x below, with slopes that are learnt (He et al. 2015).

    Args:
        x: (n, channels, ...), or any shape for a single slope.
        weight: one slope, or one for each channel.
    Raises: ShapeError for another number of slopes.

    >>> prelu([[-1.0, -1.0]], [0.5, 0.25]).tolist()
    [[-0.5, -0.25]]
    """
    y, slope = tensors(x, weight)
    if slope.size > 1:
        if slope.ndim != 1 or y.ndim < 2 or y.shape[1] != slope.size:
            raise ShapeError(f"prelu: {slope.shape} slopes for channels of {y.shape}, its axis 1")
        slope = slope.reshape((-1,) + (1,) * (y.ndim - 2))
    else:
        slope = slope.reshape(())
    return where(y > 0, y, slope * y)


@gate
def rrelu(
    x: ArrayLike, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False
) -> Tensor:
    """`leaky_relu` with slopes drawn from [lower, upper) for each number in training, and with
    their mean else (Xu et al. 2015).

    >>> rrelu([-3.0, 2.0], 0.25, 0.75).tolist()
    [-1.5, 2.0]
    """
    y: Tensor = floating(as_tensor(x))
    if not training:
        return activation.leaky_relu(y, (lower + upper) / 2)
    slopes = lower + (upper - lower) * rand(y.shape, dtype=y.dtype, backend=y.backend)
    return where(y > 0, y, y * slopes)


# --- gates --------------------------------------------------------------------------------------

Gate: TypeAlias = Literal["sigmoid", "silu", "gelu", "relu", "tanh", "none"]


@gate
def glu(x: ArrayLike, axis: int = -1, activation: Gate = "sigmoid") -> Tensor:
    """a * activation(b), where a and b are the halves of x along an axis: a gated linear unit
    (Dauphin et al. 2017; Shazeer 2020).

    Args:
        x: any shape whose axis is even.
        axis: which one; the result has half of it.
        activation: "sigmoid", or "silu" for SwiGLU, "gelu" for GEGLU, "relu" for ReGLU, "tanh", or
            "none" for the bilinear unit.
    Raises: ShapeError if the axis is odd, ArgumentError for another activation.

    >>> glu([2.0, 4.0, 0.0, 0.0]).tolist()
    [1.0, 2.0]
    >>> glu([2.0, 4.0, -1.0, 3.0], activation="relu").tolist()
    [0.0, 12.0]
    """
    y: Tensor = floating(as_tensor(x))
    if not -y.ndim <= axis < y.ndim or y.shape[axis] % 2:
        raise ShapeError(f"glu: x of shape {y.shape} has no even axis {axis} to halve")
    a, b = split(y, 2, axis)
    return a * (b if activation == "none" else getattr(b, activation)())


# --- on the simplex -----------------------------------------------------------------------------


@gate
def softmin(x: ArrayLike, axis: int = -1) -> Tensor:
    """softmax(-x): the smallest number gets the largest share.

    >>> softmin([0.0, 0.0]).tolist()
    [0.5, 0.5]
    """
    return softmax(-floating(as_tensor(x)), axis)


@gate
def sparsemax(x: ArrayLike, axis: int = -1) -> Tensor:
    """The point of the simplex that is nearest to x: max(x - t, 0), with t such that the sum along
    the axis is 1 (Martins & Astudillo 2016). As opposed to `softmax`, small numbers get 0.

    Raises: IndexingError if x has no such axis.

    >>> sparsemax([1.0, 0.5, -1.0]).tolist()
    [0.75, 0.25, 0.0]
    """
    made: Tensor = floating(as_tensor(x))
    rows = moveaxis(made, axis, -1)
    falling = flip(sort(rows, -1), -1)
    count = arange(1, rows.shape[-1] + 1, dtype=rows.dtype, backend=rows.backend)
    above = (1 + count * falling > cumsum(falling, -1)).detach()
    excess = sum(where(above, falling, 0.0), -1, keepdims=True) - 1.0
    t = excess / sum(above.astype(rows.dtype), -1, keepdims=True)
    return moveaxis(activation.relu(rows - t), -1, axis)
