"""Products of several arrays: einsum, and what is a short name for one of its equations.

All of them are made of views and `matmul`, so they run at its speed, and have derivatives of any
order. Halves are summed in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from ..core import Tensor
from ..errors import ArgumentError, ShapeError
from ..ops import contraction as ops
from ..ops.elementwise import multiply
from ..ops.matmul import conjugated, matmul, transposed
from ..ops.shape import moveaxis
from ..settings import Own, Several, Whole, gate, shown, take
from ..typing import ArrayLike, DType
from .diagonals import diagonal
from .inputs import arrays, as_tensor, tensors
from .reduce import sum
from .shape import reshape, stack

Pairs: TypeAlias = Annotated["int | Sequence[Any]", Own("a whole number, or two lists of axes")]
__all__ = [
    "bilinear",
    "cross",
    "dot",
    "einsum",
    "inner",
    "kron",
    "matrix_transpose",
    "matvec",
    "outer",
    "tensordot",
    "trace",
    "vdot",
    "vecdot",
    "vecmat",
]


@gate
def einsum(*operands: Any, optimize: bool | str | Sequence[Any] = True) -> Tensor:
    """Einstein's summation: `einsum("ij,jk->ik", a, b)` is y_ik = sum over j of a_ij b_jk.

    Args:
        operands: NumPy's subscripts and the operands, any number of them: a letter for each axis,
            `...` for axes that broadcast. Letters without a place behind the arrow are summed; one
            that is repeated in a term stands for a diagonal. Without an arrow the result has, after
            those of `...`, the letters that stand once, in order of the alphabet. Or a list of
            numbers behind each operand: `einsum(a, [0, 1], b, [1, 2], [0, 2])`.
        optimize: in which order operands meet: True or "greedy", "optimal" (slow beyond ten of
            them), False from left to right, or a path, as NumPy's and opt_einsum's.
    Returns: the dtype that the operands have in a product.
    Raises: ArgumentError for subscripts that say nothing, ShapeError for operands that do not fit.

    Each step is one product of matrices, or an elementwise one; the plan is cached by subscripts
    and shapes.

    >>> einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0]).tolist()
    [3.0, 7.0]
    >>> einsum("ii", [[1.0, 2.0], [3.0, 4.0]]).item()
    5.0
    >>> q, k = np.ones((2, 4, 5, 8)), np.ones((2, 4, 6, 8))
    >>> einsum("bhqd,bhkd->bhqk", q, k).shape
    (2, 4, 5, 6)
    """
    subscripts, given = _given(operands)
    xs = arrays(*given)
    try:
        terms = ops.parse(subscripts, tuple([len(x.shape) for x in xs]))
    except ValueError as error:
        raise ArgumentError(f"einsum({subscripts!r}): {error}") from None
    order = optimize if isinstance(optimize, (bool, str)) else tuple(map(_step, optimize))
    return _contracted(f"einsum({subscripts!r})", terms, xs, order)


def _given(operands: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """Subscripts and operands, of either call form."""
    if not operands:
        raise ArgumentError('einsum(): give subscripts and operands: einsum("ij,jk->ik", a, b)')
    if isinstance(operands[0], str):
        if len(operands) == 1:
            raise ArgumentError(f"einsum({operands[0]!r}): no operands")
        return operands[0], operands[1:]
    terms = [_numbered(labels) for labels in operands[1::2]]
    result = "->" + _numbered(operands[-1]) if len(operands) % 2 else ""
    return ",".join(terms) + result, operands[: 2 * len(terms) : 2]


def _numbered(labels: Any) -> str:
    if isinstance(labels, str) or not hasattr(labels, "__iter__"):
        raise ArgumentError(
            f'einsum: {labels!r} is no list of numbers. Give subscripts first, einsum("ij,jk->ik", '
            "a, b), or a list behind each operand, einsum(a, [0, 1], b, [1, 2], [0, 2])"
        )
    return ops.numbered([n if n is ... else take("einsum", "a label", Whole(), n) for n in labels])


def _step(step: Any) -> Any:
    return step if isinstance(step, str) else tuple(step)


def _contracted(what: str, terms: ops.Terms, xs: list[Any], order: Any = True) -> Tensor:
    if all(x.dtype.kind == "b" for x in xs):  # any of the products
        return _contracted(what, terms, [x.astype("int64") for x in xs], order) != 0
    shapes = tuple([tuple(x.shape) for x in xs])
    try:
        plan = ops.plan(terms, shapes, order)
    except ValueError as error:
        given = ", ".join(map(str, shapes))
        raise ShapeError(f"{what} of shapes {given}: {error}") from None
    return ops.contract(plan, xs)


@gate
def tensordot(a: ArrayLike, b: ArrayLike, axes: Pairs = 2) -> Tensor:
    """Products summed over several axes of each: for axes=1 it is `a @ b` of two matrices.

    Args:
        axes: how many of the last axes of `a` are summed with as many of the first of `b`, or which
            of each: a pair of axes, or of lists of axes.
    Returns: the other axes of `a`, then those of `b`.
    Raises: ShapeError where lengths differ.

    >>> tensordot(np.ones((2, 3, 4)), np.ones((3, 4, 5))).shape
    (2, 5)
    >>> tensordot(np.ones((2, 3)), np.ones((5, 3)), axes=(1, 1)).shape
    (2, 5)
    """
    x, y = arrays(a, b)
    return _tensordot(x, y, axes)


def _tensordot(a: Any, b: Any, axes: Any) -> Tensor:
    n, m = len(a.shape), len(b.shape)
    if isinstance(axes, (list, tuple)) or getattr(axes, "ndim", None):
        if len(axes) != 2:
            raise ArgumentError(f"tensordot: axes={shown(axes)}: the axes of a, and those of b")
        pair = [take("tensordot", "axes", Several(Whole()), part) for part in axes]
        left, right = [part if isinstance(part, tuple) else (part,) for part in pair]
    else:
        count = take("tensordot", "axes", Whole(), axes)
        left, right = tuple(range(n - count, n)), tuple(range(count))
    fits = len(left) == len(right)
    for i, j in zip(left, right, strict=False):
        fits = fits and -n <= i < n and -m <= j < m and a.shape[i] == b.shape[j]
    if not fits:
        raise ShapeError(
            f"tensordot of shapes {tuple(a.shape)} and {tuple(b.shape)}: the axes {left} and "
            f"{right} are not pairs of the same length"
        )
    labels = list(range(n, n + m))
    for i, j in zip(left, right, strict=True):
        labels[j] = i % n
    rest = [i for i in range(n) if i not in labels] + [j for j in labels if j >= n]
    terms = [ops.numbered(part) for part in (range(n), labels, rest)]
    return _contracted("tensordot", ops.Terms((terms[0], terms[1]), terms[2]), [a, b])


@gate
def dot(a: ArrayLike, b: ArrayLike) -> Tensor:
    """NumPy's dot: the last axis of `a` is summed with the last but one of `b`, or its only one.

    For vectors and matrices it is `a @ b`. More axes are not a batch here: (..., n, k) and
    (*s, k, m) give (..., n, *s, m), whereas `matmul` broadcasts. A number multiplies.

    Raises: ShapeError where the lengths differ.

    >>> dot([1.0, 2.0], [3.0, 4.0]).item()
    11.0
    >>> dot(np.ones((2, 3)), np.ones((5, 3, 4))).shape
    (2, 5, 4)
    """
    x, y = arrays(a, b)
    if not x.shape or not y.shape:
        return multiply(x, y)
    if len(y.shape) < 3:
        return matmul(x, y)
    return _tensordot(x, y, (-1, -2))


@gate
def inner(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Products summed over the last axis of both: (..., k) and (*s, k) give (..., *s).

    For vectors it is `a @ b`. A number multiplies. For pairs of vectors see `vecdot`.

    Raises: ShapeError where the lengths differ.

    >>> inner([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0]).tolist()
    [3.0, 7.0]
    """
    x, y = arrays(a, b)
    if not x.shape or not y.shape:
        return multiply(x, y)
    return _tensordot(x, y, (-1, -1))


@gate
def outer(a: ArrayLike, b: ArrayLike) -> Tensor:
    """All products of an element of `a` and one of `b`: y_ij = a_i b_j, (a.size, b.size).

    Arrays of several axes are taken as flat.

    >>> outer([1.0, 2.0], [3.0, 4.0]).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    x, y = arrays(a, b)
    return multiply(x.reshape(-1, 1), y.reshape(1, -1))


@gate
def vdot(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The products of all elements, summed: conj(a) . b of arrays of any shape and one size.

    Raises: ShapeError where the sizes differ.

    >>> vdot([[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [1.0, 1.0]]).item()
    10.0
    """
    x, y = arrays(a, b)
    return matmul(conjugated(x.reshape(-1)), y.reshape(-1))


def _vectors(name: str, *xs: ArrayLike) -> list[Any]:
    """The arrays, which have an axis each."""
    made = arrays(*xs)
    if any(not a.shape for a in made):
        raise ShapeError(f"{name}: {[tuple(a.shape) for a in made]}: each has one axis or more")
    return made


@gate
def vecdot(x1: ArrayLike, x2: ArrayLike, axis: int = -1) -> Tensor:
    """The products of pairs of vectors: sum of conj(x1) * x2 over an axis, broadcast over others.

    Args:
        axis: the one of the vectors, in both.
    Raises: ShapeError where lengths differ.

    >>> vecdot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0]).tolist()
    [3.0, 7.0]
    """
    a, b = _vectors("vecdot", x1, x2)
    if axis != -1:
        a, b = [moveaxis(x, source=axis, destination=-1) for x in (a, b)]
    y = matmul(conjugated(a)[..., None, :], b[..., None])
    return y[..., 0, 0]


@gate
def matvec(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Matrices times vectors: (..., m, n) and (..., n) -> (..., m), broadcast.

    Raises: ShapeError where lengths differ.

    >>> matvec(np.ones((5, 2, 3)), np.ones((5, 3))).shape
    (5, 2)
    """
    a, b = _vectors("matvec", x1, x2)
    return matmul(a, b[..., None])[..., 0]


@gate
def vecmat(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """Vectors, conjugated, times matrices: (..., n) and (..., n, m) -> (..., m), broadcast.

    Raises: ShapeError where lengths differ.

    >>> vecmat(np.ones((5, 2)), np.ones((5, 2, 3))).shape
    (5, 3)
    """
    a, b = _vectors("vecmat", x1, x2)
    return matmul(conjugated(a)[..., None, :], b)[..., 0, :]


@gate
def kron(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Kronecker's product: `a`, each of its elements times the whole of `b`.

    (m, n) and (p, q) -> (m p, n q); likewise for any number of axes, of which the smaller array
    gets more in front.

    >>> kron([[1.0, 2.0]], [[1.0], [10.0]]).tolist()
    [[1.0, 2.0], [10.0, 20.0]]
    """
    x, y = arrays(a, b)
    n = max(len(x.shape), len(y.shape))
    left, right = [(1,) * (n - len(z.shape)) + tuple(z.shape) for z in (x, y)]
    x = x.reshape([k for i in left for k in (i, 1)])
    y = y.reshape([k for i in right for k in (1, i)])
    return reshape(multiply(x, y), [i * j for i, j in zip(left, right, strict=True)])


@gate
def cross(
    a: ArrayLike,
    b: ArrayLike,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Tensor:
    """The cross product of vectors of three elements, broadcast over the other axes.

    Args:
        axisa, axisb: the axis of the vectors in each.
        axisc: where it stands in the result.
        axis: all three at once.
    Raises: ArgumentError for vectors of another length.

    >>> cross([1.0, 0.0, 0.0], [0.0, 1.0, 0.0]).tolist()
    [0.0, 0.0, 1.0]
    """
    x, y = arrays(a, b)
    if axis is not None:
        axisa = axisb = axisc = axis
    u = moveaxis(x, source=axisa, destination=0)
    v = moveaxis(y, source=axisb, destination=0)
    if u.shape[0] != 3 or v.shape[0] != 3:
        raise ArgumentError(
            f"cross of shapes {tuple(x.shape)} and {tuple(y.shape)}: the vectors have "
            f"{u.shape[0]} and {v.shape[0]} elements; it is defined for three"
        )
    (u0, u1, u2), (v0, v1, v2) = u, v
    parts = [u1 * v2 - u2 * v1, u2 * v0 - u0 * v2, u0 * v1 - u1 * v0]
    return stack(parts, axisc)


@gate
def bilinear(
    x1: ArrayLike, x2: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None
) -> Tensor:
    """x1^T W x2 + b for each of several matrices W: (..., n) and (..., m) -> (..., k).

    Args:
        weight: (k, n, m).
        bias: (k,), or None.
    Raises: ShapeError where shapes do not fit.

    >>> bilinear(np.ones((5, 2)), np.ones((5, 3)), np.ones((4, 2, 3))).shape
    (5, 4)
    """
    y = einsum("...i,kij,...j->...k", x1, weight, x2)
    return y if bias is None else y + tensors(y, bias)[1]


# --- traces and transposes ------------------------------------------------------------------------


@gate
def trace(
    x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: DType = None
) -> Tensor:
    """The sum of a diagonal of two axes: sum over i of x[i, i + offset].

    Args:
        offset, axis1, axis2: those of `diagonal`.
        dtype: that of the sum.

    >>> trace([[1.0, 2.0], [3.0, 4.0]]).item()
    5.0
    """
    return sum(diagonal(x, offset, axis1, axis2), -1, dtype)


@gate
def matrix_transpose(x: ArrayLike) -> Tensor:
    """A view with the last two axes exchanged, as `x.mT`: (..., n, m) -> (..., m, n).

    Raises: ShapeError for less than two axes.

    >>> matrix_transpose(np.zeros((5, 2, 3))).shape
    (5, 3, 2)
    """
    x = as_tensor(x)
    if x.ndim < 2:
        raise ShapeError(f"matrix_transpose of shape {x.shape}: a matrix has two axes or more")
    return transposed(x)
