"""Norms, condition numbers and ranks."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np

from ..backend import is_half
from ..core import Tensor
from ..creation import beside, owned
from ..errors import ArgumentError, ShapeError
from ..functions import elementwise, reduce
from ..functions.inputs import floating
from ..functions.shape import expand_dims, moveaxis
from ..ops import linalg as ops
from ..ops.reduce import narrow, widened
from ..settings import Real, gate
from ..typing import ArrayLike, Axes
from .decompositions import eigvalsh, matrices, svdvals

Order: TypeAlias = Annotated[float, Real(infinite=True)]
MatrixOrder: TypeAlias = Order | Literal["fro", "nuc"]


@gate
def vector_norm(
    x: ArrayLike, *, axis: Axes = None, keepdims: bool = False, ord: Order = 2
) -> Tensor:
    """The norm of all elements along `axis`: (sum of |x|^ord)^(1 / ord).

    Args:
        axis: one axis or several; all where left out.
        keepdims: whether these stay, of length 1.
        ord: any number: 1, 2, ..., math.inf for the largest absolute value, -math.inf for the
            smallest, 0 for how many are not 0.
    Raises: IndexingError if x has no such axis.

    At 0, where a norm has no derivative, the gradient is 0, which is one of the subgradients, as
    in PyTorch (JAX has NaN).

    >>> vector_norm([[3.0, 4.0], [0.0, 1.0]], axis=1).tolist()
    [5.0, 1.0]
    """
    given, p = floating(owned(x)), ord
    return narrow(_vector_norm(widened(given), p, axis, keepdims), given)


def _vector_norm(x: Tensor, p: float, axis: Any, keepdims: bool) -> Tensor:
    if p == math.inf:
        return reduce.max(elementwise.abs(x), axis, keepdims=keepdims)
    if p == -math.inf:
        return reduce.min(elementwise.abs(x), axis, keepdims=keepdims)
    if p == 0:
        return reduce.sum((x != 0).astype(x.dtype), axis, keepdims=keepdims)
    size: Any = x if p == 2 and x.dtype.kind != "c" else elementwise.abs(x)
    if p == 1:
        return reduce.sum(size, axis, keepdims=keepdims)
    if 0 < p < 1:  # the slope at 0 is infinite: the gradient is 0 there
        zero = x == 0
        powers = elementwise.where(zero, 0, elementwise.where(zero, 1, size) ** p)
    else:
        powers = size**p
    total = reduce.sum(powers, axis, keepdims=keepdims)
    zero = total == 0
    safe = elementwise.where(zero, 1, total)
    root = elementwise.sqrt(safe) if p == 2 else safe ** (1 / p)
    return elementwise.where(zero, 0, root) if p > 0 else root


@gate
def matrix_norm(x: ArrayLike, *, keepdims: bool = False, ord: MatrixOrder | None = "fro") -> Tensor:
    """Norms of matrices: (..., n, m) -> (...).

    Args:
        keepdims: whether the last two axes stay, of length 1.
        ord: "fro" or None for the root of the sum of squares, "nuc" for the sum of singular values,
            2 for the largest of them and -2 for the smallest, 1 for the largest sum of absolute
            values of a column and -1 for the smallest, math.inf and -math.inf likewise of a row.
    Raises: ArgumentError for another ord.

    Where several values are the largest, they share the gradient, which is then a subgradient.

    >>> matrix_norm([[3.0, 0.0], [0.0, 4.0]]).item()
    5.0
    >>> matrix_norm([[3.0, 0.0], [0.0, 4.0]], ord="nuc").item()
    7.0
    """
    given = matrices("matrix_norm", x)
    return narrow(_matrix_norm(widened(given), ord, keepdims), given)


def _matrix_norm(x: Tensor, ord: Any, keepdims: bool) -> Tensor:
    if ord is None or ord == "fro":
        return _vector_norm(x, 2, (-2, -1), keepdims)
    if ord in ("nuc", 2, -2):
        s = svdvals(x)
        y = (
            reduce.sum(s, -1)
            if ord == "nuc"
            else reduce.max(s, -1)
            if ord == 2
            else reduce.min(s, -1)
        )
    elif ord in (1, -1, math.inf, -math.inf):
        sums = reduce.sum(elementwise.abs(x), -2 if abs(ord) == 1 else -1)
        y = reduce.max(sums, -1) if ord > 0 else reduce.min(sums, -1)
    else:
        raise ArgumentError(
            f"the norm of a matrix, ord={ord!r}: it is 'fro', 'nuc', 1, -1, 2, -2, math.inf or "
            "-math.inf"
        )
    return expand_dims(y, (-2, -1)) if keepdims else y


@gate
def norm(
    x: ArrayLike, ord: MatrixOrder | None = None, axis: Axes = None, keepdims: bool = False
) -> Tensor:
    """The norm of a vector or a matrix, as np.linalg.norm: that of `vector_norm` or `matrix_norm`.

    Args:
        ord: None for the root of the sum of squares; else that of `vector_norm`, or, for two axes,
            of `matrix_norm`.
        axis: one for vectors, two for matrices. Where left out, `ord` says None: all elements, or x
            has one axis or two.
        keepdims: whether the axes stay, of length 1.
    Raises: ArgumentError for another ord, ShapeError for more axes.

    >>> norm([3.0, 4.0]).item()
    5.0
    >>> norm([[1.0, -2.0], [3.0, 4.0]], 1).item()
    6.0
    """
    given, axes = floating(owned(x)), axis
    a = widened(given)
    if axes is None and ord is not None:
        axes = tuple(range(a.ndim))
    axes = (axes,) if isinstance(axes, int) else axes
    if axes is None or (ord is None and len(axes) == 2):
        y = _vector_norm(a, 2, axes, keepdims)
    elif len(axes) == 1:
        if isinstance(ord, str):
            raise ArgumentError(f"norm: ord={ord!r} is for matrices, and there is one axis")
        y = _vector_norm(a, 2 if ord is None else ord, axes, keepdims)
    elif len(axes) == 2:
        y = _matrix_norm(moveaxis(a, axes, (-2, -1)), ord, False)
        if keepdims:
            y = expand_dims(y, sorted([i % a.ndim for i in axes]))
    else:
        raise ShapeError(f"norm of shape {a.shape}, axis={axis}: it takes one axis, or two")
    return narrow(y, given)


@gate
def cond(x: ArrayLike, p: MatrixOrder | None = None) -> Tensor:
    """The condition number of matrices, |x| |x^-1|: (..., n, m) -> (...); infinite for singular
    ones.

    Args:
        p: the ord of `matrix_norm`; None is 2, for which matrices need not be square.
    Raises: ArgumentError for another p.

    >>> cond([[1.0, 0.0], [0.0, 4.0]]).item()
    4.0
    """
    a = matrices("cond", x)
    if p in (None, 2, -2):
        s = svdvals(a)
        large, small = (s[..., -1], s[..., 0]) if p == -2 else (s[..., 0], s[..., -1])
        undefined = (large == 0) & (small == 0)
        ratio = large / elementwise.where(undefined, 1, small)
        return elementwise.where(undefined, math.inf, ratio)
    singular = ops.slogdet(a.detach())[0] == 0
    safe = elementwise.where(singular[..., None, None], ops.eye_of(a), a)
    both = matrix_norm(safe, ord=p) * matrix_norm(ops.inv(safe), ord=p)
    return elementwise.where(singular, math.inf, both)


@gate
def matrix_rank(
    A: ArrayLike,
    tol: ArrayLike | None = None,
    hermitian: bool = False,
    *,
    rtol: ArrayLike | None = None,
) -> Tensor:
    """How many singular values are not 0: (..., n, m) -> (...), int64. It has no gradient.

    Args:
        tol: what is at most that counts as 0, one for all or for each matrix.
        hermitian: whether A is symmetric, of which eigenvalues are found more quickly.
        rtol: the same relative to the largest singular value; by default max(n, m) epsilons.
    Raises: ArgumentError where both are given.

    >>> matrix_rank([[1.0, 2.0], [2.0, 4.0]]).item()
    1
    """
    if tol is not None and rtol is not None:
        raise ArgumentError("matrix_rank: give tol or rtol, not both")
    a = floating(owned(A)).detach()
    if a.ndim < 2:  # as in NumPy
        return (a != 0).any().astype("int64")
    s = elementwise.abs(eigvalsh(a)) if hermitian else svdvals(a)
    if tol is None:
        eps = np.finfo("float32" if is_half(a.dtype) else a.dtype).eps
        r = max(a.shape[-2:]) * float(eps) if rtol is None else beside(rtol, a).detach()
        bound = reduce.max(s, -1, keepdims=True) * (r if isinstance(r, float) else r[..., None])
    else:
        bound = beside(tol, a).detach()[..., None]
    return (s > bound).sum(-1)
