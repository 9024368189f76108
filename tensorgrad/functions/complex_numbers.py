"""Complex numbers: their parts, and tensors made of parts.

A gradient of complex numbers is dL/dRe + i dL/dIm, the direction in which the real loss L grows
most, as in PyTorch (JAX's is its conjugate). Real numbers are taken too, as those without an
imaginary part.
"""

from __future__ import annotations

import math

import numpy as np

from ..core import Tensor
from ..errors import DTypeError
from ..ops import elementwise, shape
from ..settings import gate
from ..typing import ArrayLike, NonNegative
from .elementwise import cos, sin
from .inputs import as_tensor, floating, operands
from .logic import equal, not_equal

__all__ = [
    "angle",
    "complex",
    "conj",
    "conjugate",
    "imag",
    "iscomplex",
    "isreal",
    "polar",
    "real",
    "real_if_close",
]


@gate
def real(x: ArrayLike) -> Tensor:
    """The real part, in the dtype of that precision: x itself where it holds real numbers.

    >>> real([1 + 2j, 3.0]).tolist()
    [1.0, 3.0]
    """
    return as_tensor(x).real


@gate
def real_if_close(x: ArrayLike, tol: NonNegative = 100.0) -> Tensor:
    """The real part where all imaginary parts are close to 0, else x as it is. A GPU is waited for.

    Args:
        x: any shape; real numbers are returned as they are.
        tol: what counts as 0: an absolute value below it, or, where it is above 1, below that many
            epsilons of the dtype.

    >>> real_if_close([1.0 + 1e-9j]).tolist(), real_if_close([1 + 1j]).tolist()
    ([1.0], [(1+1j)])
    """
    x = as_tensor(x)
    if x.dtype.kind != "c":
        return x
    least = tol * float(np.finfo(x.dtype).eps) if tol > 1 else tol
    return x.real if bool((abs(x.detach().imag) < least).all()) else x


@gate
def imag(x: ArrayLike) -> Tensor:
    """The imaginary part, in the dtype of that precision; 0 for real numbers.

    >>> imag([1 + 2j, 3.0]).tolist()
    [2.0, 0.0]
    """
    return as_tensor(x).imag


@gate
def conj(x: ArrayLike) -> Tensor:
    """The complex conjugate, of the dtype of x; real numbers as they are.

    >>> conj([1 + 2j]).tolist()
    [(1-2j)]
    """
    x = as_tensor(x)
    return shape.conj(x) if x.dtype.kind == "c" else x


conjugate = conj


@gate
def angle(x: ArrayLike, deg: bool = False) -> Tensor:
    """The angle of each number in the complex plane, in radians in (-pi, pi], or in degrees: for
    real numbers 0, and pi for negative ones. At 0 its gradient is 0.

    >>> angle([1j, -1.0], deg=True).tolist()
    [90.0, 180.0]
    """
    y = elementwise.angle(floating(as_tensor(x)))
    return y * (180 / math.pi) if deg else y


@gate
def complex(real: ArrayLike, imag: ArrayLike) -> Tensor:
    """real + i imag, of two floating tensors whose shapes broadcast.

    Returns: complex128 where one of them is of float64, else complex64.
    Raises: DTypeError where one is complex already.

    >>> complex([1.0, 2.0], [0.0, -1.0]).tolist()
    [(1+0j), (2-1j)]
    """
    re, im = operands(real, imag)
    for name, part in (("real", re), ("imag", im)):
        if as_tensor(part).dtype.kind == "c":
            raise DTypeError(f"complex: {name} holds complex numbers already")
    return elementwise.add(re, elementwise.multiply(im, 1j))


@gate
def polar(abs: ArrayLike, angle: ArrayLike) -> Tensor:
    """The complex numbers of these absolute values and angles in radians: abs e^(i angle).

    >>> polar([2.0, 1.0], 0.0).tolist()
    [(2+0j), (1+0j)]
    """
    size, turn = operands(abs, angle)
    return complex(elementwise.multiply(size, cos(turn)), elementwise.multiply(size, sin(turn)))


@gate
def iscomplex(x: ArrayLike) -> Tensor:
    """Whether each number has an imaginary part that is not 0.

    >>> iscomplex([1j, 2.0]).tolist()
    [True, False]
    """
    return not_equal(imag(x), 0)


@gate
def isreal(x: ArrayLike) -> Tensor:
    """Whether each number has the imaginary part 0.

    >>> isreal([1j, 2.0]).tolist()
    [False, True]
    """
    return equal(imag(x), 0)
