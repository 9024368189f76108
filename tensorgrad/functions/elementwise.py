"""Arithmetic, rounding and functions of each number.

Of two inputs the shapes broadcast as in NumPy (ShapeError where they do not). Two floating tensors
promote as in NumPy; beside an array, a number or an integer tensor a floating tensor keeps its
dtype. Gradients have the shape and dtype of their input.
"""

from __future__ import annotations

from ..core import Tensor
from ..ops import discrete
from ..ops import elementwise as ops
from ..settings import gate
from ..typing import ArrayLike
from .inputs import as_tensor, floating, operands

# --- arithmetic ---------------------------------------------------------------------------------


def add(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a + b, with broadcasting.

    >>> add([1.0, 2.0], 3.0).tolist()
    [4.0, 5.0]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.add.call(a, b)


def subtract(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a - b, with broadcasting.

    >>> subtract([1.0, 2.0], [[1.0], [2.0]]).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.subtract.call(a, b)


def multiply(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a * b number by number, with broadcasting. For the product of matrices see `matmul`.

    >>> multiply([1.0, 2.0], [3.0, 4.0]).tolist()
    [3.0, 8.0]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.multiply.call(a, b)


def divide(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a / b, with broadcasting; of two integers, too, a floating number.

    x / 0 is infinite and 0 / 0 NaN, as in NumPy.

    >>> divide([1.0, 3.0], 2.0).tolist()
    [0.5, 1.5]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.divide.call(a, b)


def floor_divide(a: ArrayLike, b: ArrayLike) -> Tensor:
    """floor(a / b), with broadcasting; of two integers an integer. The gradient is 0.

    >>> floor_divide([7.0, -7.0], 2.0).tolist()
    [3.0, -4.0]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return discrete.floor_divide.call(a, b)


def remainder(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a - floor(a / b) * b, with broadcasting: what `%` gives, of the sign of b. Also `mod`.

    The gradients are 1 for a and -floor(a / b) for b.

    >>> remainder([7.0, -7.0], 3.0).tolist()
    [1.0, 2.0]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return discrete.remainder.call(a, b)


def divmod(a: ArrayLike, b: ArrayLike) -> tuple[Tensor, Tensor]:
    """The pair (floor_divide(a, b), remainder(a, b)): a = quotient * b + rest.

    >>> quotient, rest = divmod([7.0, -7.0], 3.0)
    >>> quotient.tolist(), rest.tolist()
    ([2.0, -3.0], [1.0, 2.0])
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return discrete.floor_divide.call(a, b), discrete.remainder(a, b)


def power(a: ArrayLike, b: ArrayLike) -> Tensor:
    """a to the power b, with broadcasting. Also `pow`.

    The gradients are b a^(b-1) for a, and a^b log(a) for b, which is taken as 0 at a = 0. Where b
    is not whole a negative a gives NaN. Integers to a negative power are refused, as in NumPy.

    >>> power([1.0, 2.0, 3.0], 2.0).tolist()
    [1.0, 4.0, 9.0]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.power.call(a, b)


def negative(x: ArrayLike) -> Tensor:
    """-x.

    >>> negative([1.0, -2.0]).tolist()
    [-1.0, 2.0]
    """
    return ops.negative.call(x if type(x) is Tensor else as_tensor(x))


def positive(x: ArrayLike) -> Tensor:
    """+x: a copy of x, through which gradients pass.

    >>> positive([1.0, -2.0]).tolist()
    [1.0, -2.0]
    """
    return ops.positive.call(x if type(x) is Tensor else as_tensor(x))


def abs(x: ArrayLike) -> Tensor:
    """The absolute value |x|. The gradient is sign(x), so 0 at 0.

    >>> abs([-1.5, 2.0]).tolist()
    [1.5, 2.0]
    """
    return ops.abs_.call(x if type(x) is Tensor else as_tensor(x))


def square(x: ArrayLike) -> Tensor:
    """x * x.

    >>> square([1.0, -3.0]).tolist()
    [1.0, 9.0]
    """
    return ops.square.call(x if type(x) is Tensor else as_tensor(x))


def sqrt(x: ArrayLike) -> Tensor:
    """The square root; NaN below 0. The gradient 1 / (2 sqrt(x)) is infinite at 0.

    >>> sqrt([4.0, 9.0]).tolist()
    [2.0, 3.0]
    """
    return ops.sqrt.call(x if type(x) is Tensor else as_tensor(x))


# --- choice -------------------------------------------------------------------------------------


def maximum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The larger of a and b, number by number; NaN where one is NaN.

    The gradient goes to the larger one; equal numbers get half of it each. For the largest number
    of one tensor see `max`.

    >>> maximum([1.0, 5.0], 3.0).tolist()
    [3.0, 5.0]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.maximum.call(a, b)


def minimum(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The smaller of a and b, number by number; NaN where one is NaN.

    The gradient goes to the smaller one; equal numbers get half of it each. For the smallest number
    of one tensor see `min`.

    >>> minimum([1.0, 5.0], 3.0).tolist()
    [1.0, 3.0]
    """
    if type(a) is not Tensor and type(b) is not Tensor:
        a, b = operands(a, b)
    return ops.minimum.call(a, b)


@gate
def clip(x: ArrayLike, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Tensor:
    """x brought into [min, max]: minimum(maximum(x, min), max).

    Args:
        x: any shape.
        min: the lower bound, which broadcasts against x; None for none.
        max: the upper bound, likewise. Where min > max, the result is max.
    Returns: the shape of all three broadcast against each other.
    Raises: ShapeError if they do not broadcast.

    The gradient goes to the one that the result is: to x inside of the bounds and at them, else to
    the bound.

    >>> clip([-3.0, 0.5, 3.0], -1.0, 1.0).tolist()
    [-1.0, 0.5, 1.0]
    >>> clip([-3.0, 0.5, 3.0], max=[0.0, 1.0, 2.0]).tolist()
    [-3.0, 0.5, 2.0]
    """
    if type(x) is not Tensor and type(min) is not Tensor and type(max) is not Tensor:
        x, min, max = operands(x, min, max)
    return ops.clip.call(x, min, max)


def where(condition: ArrayLike, a: ArrayLike, b: ArrayLike) -> Tensor:
    """a where the condition is not 0, else b; all three broadcast.

    The gradient of each number goes to the one that was taken. What is not taken is computed all
    the same: where(x > 0, log(x), 0) has a NaN gradient at 0, where(x > 0, log(where(x > 0, x, 1)),
    0) has none.

    >>> where([True, False], [1.0, 2.0], -1.0).tolist()
    [1.0, -1.0]
    """
    if type(condition) is not Tensor and type(a) is not Tensor and type(b) is not Tensor:
        condition, a, b = operands(condition, a, b)
    return ops.where.call(condition, a, b)


# --- rounding -----------------------------------------------------------------------------------


def sign(x: ArrayLike) -> Tensor:
    """-1, 0 or 1, in x's dtype; NaN of NaN. The gradient is 0.

    >>> sign([-2.0, 0.0, 5.0]).tolist()
    [-1.0, 0.0, 1.0]
    """
    return discrete.sign.call(x if type(x) is Tensor else as_tensor(x))


def floor(x: ArrayLike) -> Tensor:
    """The largest whole number not above x, in x's dtype. The gradient is 0.

    >>> floor([1.7, -1.2]).tolist()
    [1.0, -2.0]
    """
    return discrete.floor.call(x if type(x) is Tensor else as_tensor(x))


def ceil(x: ArrayLike) -> Tensor:
    """The smallest whole number not below x, in x's dtype. The gradient is 0.

    >>> ceil([1.7, -1.2]).tolist()
    [2.0, -1.0]
    """
    return discrete.ceil.call(x if type(x) is Tensor else as_tensor(x))


def trunc(x: ArrayLike) -> Tensor:
    """The nearest whole number between x and 0, in x's dtype. The gradient is 0.

    >>> trunc([1.7, -1.2]).tolist()
    [1.0, -1.0]
    """
    return discrete.trunc.call(x if type(x) is Tensor else as_tensor(x))


@gate
def round(x: ArrayLike, decimals: int = 0) -> Tensor:
    """x to `decimals` decimals, in x's dtype; halves go to the even neighbour. The gradient is 0.

    Args:
        x: any shape; integers stay what they are unless `decimals` is negative.
        decimals: how many places after the point, or, negative, before it.
    Raises: ArgumentError if `decimals` is not a whole number.

    >>> round([0.5, 1.5, 2.5]).tolist()
    [0.0, 2.0, 2.0]
    >>> round([17, 23], -1).tolist()
    [20, 20]
    """
    return discrete.round_.call(as_tensor(x), decimals=decimals)


@gate
def fix(x: ArrayLike) -> Tensor:
    """`trunc`, by NumPy's other name.

    >>> fix([-1.5, 2.7]).tolist()
    [-1.0, 2.0]
    """
    return trunc(x)


def rint(x: ArrayLike) -> Tensor:
    """x to the nearest whole number, a floating one; halves go to the even. The gradient is 0.

    >>> rint([0.5, 1.5, 2.6]).tolist()
    [0.0, 2.0, 3.0]
    """
    return discrete.round_.call(floating(as_tensor(x)), decimals=0)


# --- functions ----------------------------------------------------------------------------------


def exp(x: ArrayLike) -> Tensor:
    """e to the power x.

    >>> exp([0.0, math.log(2.0)]).numpy().round(5).tolist()
    [1.0, 2.0]
    """
    return ops.exp.call(x if type(x) is Tensor else as_tensor(x))


def expm1(x: ArrayLike) -> Tensor:
    """exp(x) - 1, exact for small x, too.

    >>> f"{expm1(1e-10).item():.3g}"
    '1e-10'
    """
    return ops.expm1.call(x if type(x) is Tensor else as_tensor(x))


def log(x: ArrayLike) -> Tensor:
    """The natural logarithm; -inf at 0, NaN below.

    >>> log([1.0, math.e]).numpy().round(5).tolist()
    [0.0, 1.0]
    """
    return ops.log.call(x if type(x) is Tensor else as_tensor(x))


def log1p(x: ArrayLike) -> Tensor:
    """log(1 + x), exact for small x, too.

    >>> f"{log1p(1e-10).item():.3g}"
    '1e-10'
    """
    return ops.log1p.call(x if type(x) is Tensor else as_tensor(x))


def sin(x: ArrayLike) -> Tensor:
    """The sine of x in radians.

    >>> sin([0.0, math.pi / 2]).tolist()
    [0.0, 1.0]
    """
    return ops.sin.call(x if type(x) is Tensor else as_tensor(x))


def cos(x: ArrayLike) -> Tensor:
    """The cosine of x in radians.

    >>> cos([0.0, math.pi]).tolist()
    [1.0, -1.0]
    """
    return ops.cos.call(x if type(x) is Tensor else as_tensor(x))


def tanh(x: ArrayLike) -> Tensor:
    """The hyperbolic tangent (exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    Its gradient is 1 - tanh(x)^2.

    >>> tanh([0.0, 100.0]).tolist()
    [0.0, 1.0]
    """
    return ops.tanh.call(x if type(x) is Tensor else as_tensor(x))


mod, pow = remainder, power
absolute, true_divide, around = abs, divide, round  # NumPy's other names
