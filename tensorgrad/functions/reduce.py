"""Functions that reduce over axes, and softmax, which is made of such.

`axis` is one axis, several, or None for all; negative ones count from the last. With `keepdims` the
reduced axes stay, of length 1, so that the result broadcasts against x. `where` is an array of
truth values that broadcasts to the shape of x: numbers where it is False are left out, and their
gradient is 0. Halves (float16, bfloat16) are summed in float32.
"""

from __future__ import annotations

from typing import Any

from ..backend import NUMBERS, dtype_of, is_floating
from ..core import Op, Tensor
from ..creation import beside
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops import discrete, elementwise
from ..ops import reduce as ops
from ..settings import gate
from ..typing import ArrayLike, Axes, Axis, DType
from .inputs import as_tensor, floating

# --- sums, products, means ----------------------------------------------------------------------


@gate
def sum(
    x: ArrayLike,
    axis: Axes = None,
    dtype: DType = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Tensor:
    """The sum over `axis`; 0 of no numbers.

    Args:
        x: any shape.
        axis: one axis or several; all where left out.
        dtype: to which x is cast before it is summed, and that of the result.
        keepdims: whether the reduced axes stay, of length 1.
        initial: a number that is added.
        where: which numbers count, as truth values; all where left out.
    Returns: the dtype of x; int64, or uint64, for smaller integers and truth values, the default
        float for integers with a floating `initial`.
    Raises: IndexingError if x has no such axis, ShapeError if one is named twice, or if `where`
        does not broadcast to x.

    >>> sum([[1.0, 2.0], [3.0, 4.0]], axis=0).tolist()
    [4.0, 6.0]
    >>> sum([1.0, math.nan, 3.0], where=[True, False, True]).item()
    4.0
    """
    x = _cast("sum", x, dtype)
    if where is not None:
        x = elementwise.where(_mask("sum", where, x), x, 0)
    y = ops.sum_(x, axis=axis, keepdims=keepdims)
    y = y if initial is None else elementwise.add(y, _initial("sum", initial))
    return y if dtype is None else _cast("sum", y, dtype)


@gate
def prod(
    x: ArrayLike,
    axis: Axes = None,
    dtype: DType = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Tensor:
    """The product over `axis`; 1 of no numbers. The gradient is right where numbers are 0, too.

    Args:
        x: any shape.
        axis: one axis or several; all where left out.
        dtype: to which x is cast before it is multiplied, and that of the result.
        keepdims: whether the reduced axes stay, of length 1.
        initial: a number that the product is multiplied by.
        where: which numbers count, as truth values; all where left out.
    Returns: the dtype of x; int64, or uint64, for smaller integers and truth values, the default
        float for integers with a floating `initial`.
    Raises: IndexingError if x has no such axis, ShapeError if one is named twice, or if `where`
        does not broadcast to x.

    >>> prod([[1.0, 2.0], [3.0, 4.0]], axis=1).tolist()
    [2.0, 12.0]
    """
    x = _cast("prod", x, dtype)
    if where is not None:
        x = elementwise.where(_mask("prod", where, x), x, 1)
    y = ops.prod(x, axis=axis, keepdims=keepdims)
    y = y if initial is None else elementwise.multiply(y, _initial("prod", initial))
    return y if dtype is None else _cast("prod", y, dtype)


@gate
def mean(
    x: ArrayLike,
    axis: Axes = None,
    dtype: DType = None,
    *,
    keepdims: bool = False,
    where: ArrayLike | None = None,
) -> Tensor:
    """The arithmetic mean over `axis`: sum / n; NaN of no numbers.

    Args:
        x: any shape.
        axis: one axis or several; all where left out.
        dtype: to which x is cast before its mean is taken.
        keepdims: whether the reduced axes stay, of length 1.
        where: which numbers count, as truth values; all where left out.
    Returns: the floating dtype of x; the default float for integers.
    Raises: IndexingError if x has no such axis, ShapeError if one is named twice, or if `where`
        does not broadcast to x.

    >>> mean([[1.0, 2.0], [3.0, 4.0]], axis=1, keepdims=True).tolist()
    [[1.5], [3.5]]
    """
    x = _cast("mean", x, dtype, floating=True)
    if where is None:
        return ops.mean(x, axis=axis, keepdims=keepdims)
    return ops.narrow(_mean(ops.widened(x), _mask("mean", where, x), axis, keepdims), x)


@gate
def var(
    x: ArrayLike,
    axis: Axes = None,
    dtype: DType = None,
    *,
    ddof: int | float = 0,
    correction: int | float | None = None,
    keepdims: bool = False,
    where: ArrayLike | None = None,
) -> Tensor:
    """The variance over `axis`: sum(|x - mean|^2) / (n - ddof); NaN or infinite if n <= ddof.

    Args:
        x: any shape.
        axis: one axis or several; all where left out.
        dtype: to which x is cast first.
        ddof: 0 for the variance of these very numbers, 1 for the unbiased estimate of that of what
            they were drawn from.
        correction: another word for `ddof`, the array API's; give one of the two.
        keepdims: whether the reduced axes stay, of length 1.
        where: which numbers count, as truth values; all where left out.
    Returns: the floating dtype of x, of complex numbers that of their parts; the default float for
        integers.
    Raises: IndexingError if x has no such axis, ShapeError if one is named twice, or if `where`
        does not broadcast to x.

    >>> var([1.0, 3.0]).item(), var([1.0, 3.0], ddof=1).item()
    (1.0, 2.0)
    """
    freedom = _freedom("var", ddof, correction)
    return _var("var", x, axis, dtype, freedom, keepdims, where)


@gate
def std(
    x: ArrayLike,
    axis: Axes = None,
    dtype: DType = None,
    *,
    ddof: int | float = 0,
    correction: int | float | None = None,
    keepdims: bool = False,
    where: ArrayLike | None = None,
) -> Tensor:
    """The standard deviation over `axis`: the square root of `var`.

    Args: as those of `var`.
    Returns: the floating dtype of x; the default float for integers.
    Raises: IndexingError if x has no such axis, ShapeError if one is named twice, or if `where`
        does not broadcast to x.

    The gradient of numbers that are all equal, where it has a corner, is 0.

    >>> std([1.0, 3.0]).item(), std([-3.0, 0.0, 3.0], correction=1).item()
    (1.0, 3.0)
    """
    freedom, x = _freedom("std", ddof, correction), _cast("std", x, dtype, floating=True)
    if x.dtype.kind == "c":
        from .analytic import hypot

        options: Any = {"ddof": freedom, "keepdims": keepdims, "where": where}
        return hypot(std(x.real, axis, **options), std(x.imag, axis, **options))
    if where is None:
        return ops.std(x, axis=axis, keepdims=keepdims, ddof=freedom)
    mask, wide = _mask("std", where, x), ops.widened(x)
    y = _var("std", wide - _mean(wide, mask, axis, True), axis, None, freedom, keepdims, mask)
    flat = elementwise.equal(y, 0)  # beside the root, which has no slope there
    y = elementwise.where(flat, 0.0, elementwise.sqrt(elementwise.where(flat, 1.0, y)))
    return ops.narrow(y, x)


@gate
def logsumexp(x: ArrayLike, axis: Axes = None, *, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) over `axis`, shifted by the maximum so that nothing overflows.

    Args:
        x: any shape.
        axis: one axis or several; all where left out.
        keepdims: whether the reduced axes stay, of length 1.
    Returns: the floating dtype of x; the default float for integers.
    Raises: IndexingError if x has no such axis, ShapeError if one is named twice.

    Its gradient is the softmax, and 0 where all numbers are -inf, as in masked rows.

    >>> logsumexp([1000.0, 1000.0]).numpy().round(2).tolist() == np.float32(1000.69).tolist()
    True
    """
    return ops.logsumexp(as_tensor(x), axis=axis, keepdims=keepdims)


# --- extremes -----------------------------------------------------------------------------------


@gate
def max(
    x: ArrayLike,
    axis: Axes = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Tensor:
    """The largest number over `axis`; NaN if there is one.

    Args:
        x: any shape.
        axis: one axis or several; all where left out.
        keepdims: whether the reduced axes stay, of length 1.
        initial: the least that the result may be, and the result of no numbers at all.
        where: which numbers count, as truth values; needs `initial`, for where there are none.
    Returns: the dtype of x; the default float for integers with a floating `initial`.
    Raises: IndexingError if x has no such axis; ShapeError if one is named twice, if there are no
        numbers and no `initial`, or if `where` does not broadcast to x; ArgumentError if `where`
        comes without `initial`.

    The gradient goes to the largest numbers, in equal parts where several are equal. For the larger
    of two tensors see `maximum`.

    >>> max([[1.0, 5.0], [7.0, 3.0]], axis=1).tolist()
    [5.0, 7.0]
    """
    return _extreme(ops.max_, elementwise.maximum, x, axis, keepdims, initial, where)


@gate
def min(
    x: ArrayLike,
    axis: Axes = None,
    *,
    keepdims: bool = False,
    initial: ArrayLike | None = None,
    where: ArrayLike | None = None,
) -> Tensor:
    """The smallest number over `axis`; NaN if there is one.

    Args: as those of `max`; `initial` is the most that the result may be.
    Returns: the dtype of x.
    Raises: as `max`.

    The gradient goes to the smallest numbers, in equal parts where several are equal. For the
    smaller of two tensors see `minimum`.

    >>> min([[1.0, 5.0], [7.0, 3.0]], axis=1).tolist()
    [1.0, 3.0]
    """
    return _extreme(ops.min_, elementwise.minimum, x, axis, keepdims, initial, where)


@gate
def argmax(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """The index of the largest number along `axis`, of equal ones the first; of NaNs the first.

    Args:
        x: any shape.
        axis: one axis; where left out, the index is that in the flattened array.
        keepdims: whether the reduced axes stay, of length 1.
    Returns: int64, through which no gradient passes.
    Raises: IndexingError if x has no such axis, ShapeError if there are no numbers, ArgumentError
        for several axes.

    >>> argmax([[1.0, 5.0], [7.0, 3.0]], axis=1).tolist()
    [1, 0]
    """
    return ops.argmax(as_tensor(x), axis=axis, keepdims=keepdims)


@gate
def argmin(x: ArrayLike, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """The index of the smallest number along `axis`, of equal ones the first; of NaNs the first.

    Args: as those of `argmax`.
    Returns: int64, through which no gradient passes.
    Raises: as `argmax`.

    >>> argmin([[1.0, 5.0], [7.0, 3.0]], axis=1).tolist()
    [0, 1]
    """
    return ops.argmin(as_tensor(x), axis=axis, keepdims=keepdims)


# --- truth values -------------------------------------------------------------------------------


@gate
def all(
    x: ArrayLike, axis: Axes = None, *, keepdims: bool = False, where: ArrayLike | None = None
) -> Tensor:
    """Whether all numbers over `axis` are non-zero; True of no numbers.

    Args:
        x: any shape.
        axis: one axis or several; all where left out.
        keepdims: whether the reduced axes stay, of length 1.
        where: which numbers count, as truth values; all where left out.
    Returns: truth values, through which no gradient passes.
    Raises: IndexingError if x has no such axis, ShapeError if one is named twice, or if `where`
        does not broadcast to x.

    >>> all([[True, False], [True, True]], axis=1).tolist()
    [False, True]
    """
    x = as_tensor(x)
    if where is not None:
        x = discrete.logical_or(x, discrete.logical_not(_mask("all", where, x)))
    return ops.all_(x, axis=axis, keepdims=keepdims)


@gate
def any(
    x: ArrayLike, axis: Axes = None, *, keepdims: bool = False, where: ArrayLike | None = None
) -> Tensor:
    """Whether any number over `axis` is non-zero; False of no numbers.

    Args:
        x: any shape.
        axis: one axis or several; all where left out.
        keepdims: whether the reduced axes stay, of length 1.
        where: which numbers count, as truth values; all where left out.
    Returns: truth values, through which no gradient passes.
    Raises: IndexingError if x has no such axis, ShapeError if one is named twice, or if `where`
        does not broadcast to x.

    >>> any([[True, False], [False, False]], axis=1).tolist()
    [True, False]
    """
    x = as_tensor(x)
    if where is not None:
        x = discrete.logical_and(x, _mask("any", where, x))
    return ops.any_(x, axis=axis, keepdims=keepdims)


# --- softmax ------------------------------------------------------------------------------------


@gate
def softmax(x: ArrayLike, axis: Axes = -1) -> Tensor:
    """Exponentials along `axis`, scaled to sum to 1: exp(x - max) / sum(exp(x - max)).

    Args:
        x: any shape; integers become the default float.
        axis: one axis or several; None for all.
    Returns: the shape and floating dtype of `x`; float16 is summed in float32.
    Raises: IndexingError if `x` has no such axis, ShapeError if one is named twice.

    Rows of -inf alone give NaN, as 0/0 does. For the logarithm use `log_softmax`, for a loss on
    logits `losses.cross_entropy`: both are exact where softmax underflows.

    >>> softmax([0.0, math.log(3.0)]).numpy().round(2)
    array([0.25, 0.75], dtype=float32)
    """
    return ops.softmax(floating(as_tensor(x)), axis=axis)


@gate
def log_softmax(x: ArrayLike, axis: Axes = -1) -> Tensor:
    """log(softmax(x)) along `axis`: x - max - log(sum(exp(x - max))), exact where softmax
    underflows.

    Args:
        x: any shape; integers become the default float.
        axis: one axis or several; None for all.
    Returns: the shape and floating dtype of `x`; float16 is summed in float32.
    Raises: IndexingError if `x` has no such axis, ShapeError if one is named twice.

    >>> log_softmax([0.0, 1000.0]).tolist()
    [-1000.0, 0.0]
    """
    return ops.log_softmax(floating(as_tensor(x)), axis=axis)


# --- what they share ----------------------------------------------------------------------------


def _cast(name: str, x: ArrayLike, dtype: DType, floating: bool = False) -> Tensor:
    """x as a Tensor of the dtype, if one is given."""
    x = as_tensor(x)
    if dtype is None:
        return x
    if floating and not is_floating(dtype_of(dtype)):
        raise DTypeError(f"{name}: dtype={dtype!r} holds no fractions: give a floating one")
    return x.astype(dtype)


def _mask(name: str, where: ArrayLike, x: Tensor) -> Tensor:
    """`where` as truth values that broadcast to x."""
    mask = beside(where, x)
    if mask.dtype != bool:
        raise DTypeError(f"{name}: where= holds {mask.dtype}, not truth values: give mask != 0")
    long = len(mask.shape) > len(x.shape)
    pairs = zip(reversed(mask.shape), reversed(x.shape), strict=False)
    if long or not {True}.issuperset(n in (1, m) for n, m in pairs):
        raise ShapeError(f"{name}: where= of shape {mask.shape} does not broadcast to {x.shape}")
    return mask


def _initial(name: str, value: ArrayLike) -> ArrayLike:
    if isinstance(value, NUMBERS) or getattr(value, "shape", None) == ():
        return value
    raise ArgumentError(f"{name}: initial={value!r} must be one number")


def _freedom(name: str, ddof: float, correction: float | None) -> float:
    """What is taken off the number of numbers, by whichever of its two words."""
    if correction is not None and ddof != 0:
        raise ArgumentError(
            f"{name}: ddof={ddof} and correction={correction} are two words for one number: "
            "give one of them"
        )
    return ddof if correction is None else correction


def _count(mask: Tensor, x: Tensor, axis: Axes, keepdims: bool) -> Tensor:
    """How many numbers of x count."""
    return ops.sum_(ops.broadcast_to(mask, shape=x.shape), axis=axis, keepdims=keepdims)


def _mean(x: Tensor, mask: Tensor, axis: Axes, keepdims: bool) -> Tensor:
    total = ops.sum_(elementwise.where(mask, x, 0), axis=axis, keepdims=keepdims)
    return elementwise.divide(total, _count(mask, x, axis, keepdims))


def _var(
    name: str,
    x: ArrayLike,
    axis: Axes,
    dtype: DType,
    ddof: float,
    keepdims: bool,
    where: ArrayLike | None,
) -> Tensor:
    x = _cast(name, x, dtype, floating=True)
    if x.dtype.kind == "c":
        parts = [_var(name, p, axis, None, ddof, keepdims, where) for p in (x.real, x.imag)]
        return elementwise.add(*parts)
    if where is None:
        return ops.var(x, axis=axis, keepdims=keepdims, ddof=ddof)
    mask, wide = _mask(name, where, x), ops.widened(x)
    centred = elementwise.where(mask, wide - _mean(wide, mask, axis, True), 0)
    squares = ops.sum_(elementwise.square(centred), axis=axis, keepdims=keepdims)
    n = elementwise.maximum(_count(mask, x, axis, keepdims) - ddof, 0)
    return ops.narrow(elementwise.divide(squares, n), x)


def _extreme(
    reduce: Op,
    of_two: Op,
    x: ArrayLike,
    axis: Axes,
    keepdims: bool,
    initial: ArrayLike | None,
    where: ArrayLike | None,
) -> Tensor:
    """`max` or `min`, the extreme `of_two` numbers being that of one and the other."""
    t = as_tensor(x)
    if initial is None:
        if where is not None:
            raise ArgumentError(
                f"{reduce.name}: where= may leave no numbers: give initial= for that case, such as "
                f"{'-' if reduce is ops.max_ else ''}math.inf"
            )
        return reduce(t, axis=axis, keepdims=keepdims)
    first = _initial(reduce.name, initial)
    if where is not None:
        t = elementwise.where(_mask(reduce.name, where, t), t, first)
    if t.size:
        return of_two(reduce(t, axis=axis, keepdims=keepdims), first)
    none = ops.sum_(t, axis=axis, keepdims=keepdims).astype(t.dtype)  # NumPy refuses max and min
    return elementwise.add(none, first)


amax, amin = max, min
