"""Taking elements by indices, and new tensors with other elements at indices.

Negative indices count from the last. One out of range is an IndexingError; on a GPU, which would
have to be waited for, it wraps around instead, as in x[index], but within `detect_anomaly`. Where
an index occurs twice, sums are taken in the order of the source, and of values that replace each
other the last one stays: the same bits every time, on every backend.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from ..backend import is_floating, namespace
from ..core import Tensor
from ..creation import beside, owned
from ..errors import DTypeError, ShapeError
from ..ops import elementwise as el
from ..ops.gather import added, last_writer, places, segment_extreme, taken, wrapped
from ..ops.index import ARRAY, getitem, scatter_add, split_key
from ..settings import Own, gate
from ..typing import ArrayLike, Axis, OutOfRange
from .inputs import axis_of
from .segments import segment_prod
from .shape import broadcast_to, concatenate, reshape

__all__ = [
    "gather",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "put_along_axis",
    "scatter",
    "scatter_reduce",
    "take",
    "take_along_axis",
]


def _indices(name: str, index: ArrayLike, x: Tensor) -> Any:
    """An array of integers where x is."""
    found = beside(index, x)._data
    found = found.astype("int64") if not found.size and not hasattr(index, "dtype") else found
    if found.dtype.kind not in "iu":
        raise DTypeError(f"{name}: indices are integers, not {found.dtype}; for masks, see where")
    return found


def _values(name: str, values: ArrayLike, x: Tensor) -> Tensor:
    """Numbers in the dtype of the x that takes them."""
    found = beside(values, x)
    if is_floating(found.dtype) and not is_floating(x.dtype):
        raise DTypeError(f"{name}: x holds {x.dtype}, the values are {found.dtype}")
    return found if found.dtype == x.dtype else found.astype(x.dtype)


def _written(x: Tensor, at: Any, values: Tensor) -> Tensor:
    """x with values at places of the flattened array, of equal places the last."""
    if not at.size:
        return x
    last = last_writer(at.reshape(-1), x.size).reshape(x.shape)
    chosen = taken(values, namespace(at).maximum(last, 0))
    return el.where(Tensor(last >= 0), chosen, x)


def _rows(name: str, x: Tensor, axis: int, index: ArrayLike) -> tuple[Any, Any, Any]:
    """Indices along an axis; the last position of each place in them, and whether it is there."""
    found, n = _indices(name, index, x), x.shape[axis]
    if found.ndim > 1:
        raise ShapeError(f"{name}: the index of shape {found.shape} must have one axis")
    at = wrapped(found.reshape(-1), n, f"{name}: an index")
    last = last_writer(at, n)
    return at, last, (last >= 0).reshape(-1, *[1] * (x.ndim - 1 - axis))


Keys: TypeAlias = Annotated[Any, Own("what stands in x[...]")]
Reduce: TypeAlias = Literal["sum", "prod", "mean", "max", "min", "add", "amax", "amin"]

# --- taking -------------------------------------------------------------------------------------


@gate
def take(x: ArrayLike, indices: ArrayLike, axis: Axis = None, mode: OutOfRange = "raise") -> Tensor:
    """The elements, or slices, at indices along an axis: (..., n, ...) -> (..., *indices, ...).

    Args:
        indices: integers, of any shape.
        axis: one axis; None flattens x.
        mode: of indices out of range: "raise", "wrap" around, or "clip" to the nearest, where
            negative ones are out of range, too.
    Raises: IndexingError for an index out of range, DTypeError for one that is no integer.

    >>> take([5.0, 6.0, 7.0], [0, -1]).tolist()
    [5.0, 7.0]
    """
    x = owned(x)
    x, axis = (reshape(x, -1), 0) if axis is None else (x, axis_of("take", x, axis))
    index, n = _indices("take", indices, x), x.shape[axis]
    if mode != "raise" and n:
        index = index % n if mode == "wrap" else index.clip(0, n - 1)
    return x[(*[slice(None)] * axis, index)]


@gate
def index_select(x: ArrayLike, axis: int, index: ArrayLike) -> Tensor:
    """The slices at indices (k,) along an axis: `take` with PyTorch's arguments.

    >>> index_select([[1, 2], [3, 4]], 1, [1]).tolist()
    [[2], [4]]
    """
    x = owned(x)
    return take(x, reshape(Tensor(_indices("index_select", index, x)), -1), axis)


@gate
def take_along_axis(x: ArrayLike, indices: ArrayLike, axis: Axis = -1) -> Tensor:
    """The elements at indices along an axis, for each line of x its own: with axis 1 of two,
    y[i, j] = x[i, indices[i, j]]. It brings elements into the order that `argsort` says.

    Args:
        indices: integers with as many axes as x; the other ones broadcast against those of x.
        axis: one axis; None flattens x.
    Raises: IndexingError for an index out of range, ShapeError where the other axes do not fit,
        DTypeError for indices that are no integers.

    >>> take_along_axis([[3.0, 1.0], [5.0, 9.0]], [[1, 0], [0, 0]], 1).tolist()
    [[1.0, 3.0], [5.0, 5.0]]
    """
    x = owned(x)
    x, axis = (reshape(x, -1), 0) if axis is None else (x, axis_of("take_along_axis", x, axis))
    x, index = _fitted("take_along_axis", x, _indices("take_along_axis", indices, x), axis)
    return taken(x, places(index, x.shape, axis, "take_along_axis: an index"))


def _fitted(name: str, x: Tensor, index: Any, axis: int) -> tuple[Tensor, Any]:
    """x and indices broadcast against each other, but for the axis."""
    if index.ndim != x.ndim:
        raise ShapeError(f"{name}: {index.ndim} axes of the indices, {x.ndim} of x: write them all")
    wide = []
    for i, (n, k) in enumerate(zip(x.shape, index.shape, strict=True)):
        if i != axis and n != k and 1 not in (n, k):
            raise ShapeError(f"{name}: x has shape {x.shape}, the indices {index.shape}")
        wide.append(k if n == 1 else n)
    whole, at = [(*wide[:axis], a.shape[axis], *wide[axis + 1 :]) for a in (x, index)]
    x = x if x.shape == whole else broadcast_to(x, whole)
    return x, namespace(index).broadcast_to(index, at)


@gate
def gather(x: ArrayLike, axis: int, index: ArrayLike) -> Tensor:
    """The elements at indices along an axis, as `take_along_axis` does it, with PyTorch's
    arguments: the index may be shorter than x along the other axes, and is not broadcast.

    Raises: as `take_along_axis`.

    >>> gather([[3.0, 1.0], [5.0, 9.0]], 1, [[1]]).tolist()
    [[1.0]]
    """
    x = owned(x)
    axis, at = axis_of("gather", x, axis), _indices("gather", index, x)
    return taken(x, _within("gather", x, axis, at))


def _within(name: str, x: Tensor, axis: int, index: Any) -> Any:
    """Places of indices whose other axes begin with those of x."""
    pairs = enumerate(zip(index.shape, x.shape, strict=False))
    if index.ndim != x.ndim or any(k > n for i, (k, n) in pairs if i != axis):
        raise ShapeError(f"{name}: an index of shape {index.shape} along axis {axis} of {x.shape}")
    return places(index, x.shape, axis, f"{name}: an index")


# --- replacing ------------------------------------------------------------------------------------


@gate
def put_along_axis(x: ArrayLike, indices: ArrayLike, values: ArrayLike, axis: Axis) -> Tensor:
    """x with values at indices along an axis, for each line its own: the counterpart of
    `take_along_axis`. (np.put_along_axis writes into its array; this gives a new tensor.)

    Args:
        indices: integers with as many axes as x; the other ones broadcast against those of x.
        values: broadcast to the indices. A gradient reaches x and the values that stay.
        axis: one axis; None flattens x.
    Raises: as `take_along_axis`; DTypeError for fractions in an x of integers.

    >>> put_along_axis([[3.0, 1.0], [5.0, 9.0]], [[1], [0]], 0.0, 1).tolist()
    [[3.0, 0.0], [0.0, 9.0]]
    """
    x = owned(x)
    shape = x.shape
    x, axis = (reshape(x, -1), 0) if axis is None else (x, axis_of("put_along_axis", x, axis))
    x, index = _fitted("put_along_axis", x, _indices("put_along_axis", indices, x), axis)
    at = places(index, x.shape, axis, "put_along_axis: an index")
    return reshape(
        _written(x, at, broadcast_to(_values("put_along_axis", values, x), at.shape)), shape
    )


@gate
def scatter(x: ArrayLike, axis: int, index: ArrayLike, src: ArrayLike) -> Tensor:
    """x with the elements of src at indices along an axis: with axis 1 of two,
    y[i, index[i, j]] = src[i, j]; of equal places the last one in row-major order stays.

    Args:
        index: integers with as many axes as x, along the other ones as long or shorter.
        src: a number, or of the shape of the index, or larger. A gradient reaches x and the
            elements that stay.
    Raises: IndexingError for an index out of range, ShapeError where the shapes do not fit.

    To sum, or reduce otherwise, see `scatter_reduce`.

    >>> scatter([[0.0, 0.0, 0.0]], 1, [[2, 0]], [[1.0, 5.0]]).tolist()
    [[5.0, 0.0, 1.0]]
    """
    x = owned(x)
    at = _within("scatter", x, axis_of("scatter", x, axis), _indices("scatter", index, x))
    return _written(x, at, _cut("scatter", src, x, at.shape))


def _cut(name: str, src: ArrayLike, x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The part of src that an index of a shape is for."""
    values = _values(name, src, x)
    if not values.ndim:
        return broadcast_to(values, shape)
    if values.ndim != len(shape) or any(n < k for n, k in zip(values.shape, shape, strict=True)):
        raise ShapeError(f"{name}: src has shape {values.shape}, the index {shape}")
    return values if values.shape == shape else values[tuple([slice(k) for k in shape])]


@gate
def scatter_reduce(
    x: ArrayLike,
    axis: int,
    index: ArrayLike,
    src: ArrayLike,
    reduce: Reduce,
    *,
    include_self: bool = True,
) -> Tensor:
    """x with the elements of src reduced into the places that indices along an axis say: with axis
    1 of two, y[i, index[i, j]] is the sum, say, of all such src[i, j].

    Args:
        index: integers with as many axes as x, along the other ones as long or shorter.
        src: a number, or of the shape of the index, or larger.
        reduce: "sum", "prod", "mean", "max" or "min"; also "add", "amax" and "amin".
        include_self: whether the element of x takes part; elements that no index names stay.
    Raises: as `scatter`; ArgumentError for another word.

    Of equal extremes each gets an equal part of the gradient; that of a product is right with
    zeros, too.

    >>> scatter_reduce([1.0, 2.0], 0, [0, 0, 1], [5.0, 6.0, 7.0], "sum").tolist()
    [12.0, 9.0]
    >>> scatter_reduce([1.0, 2.0], 0, [0, 0], [5.0, 6.0], "max", include_self=False).tolist()
    [6.0, 2.0]
    """
    x = owned(x)
    axis, found = axis_of("scatter_reduce", x, axis), _indices("scatter_reduce", index, x)
    at = _within("scatter_reduce", x, axis, found)
    values = _cut("scatter_reduce", src, x, at.shape)
    other = {"add": "sum", "amax": "max", "amin": "min"}
    how = other.get(reduce, reduce)
    xp, at = namespace(at), at.reshape(-1)
    hit = Tensor((last_writer(at, x.size) >= 0).reshape(x.shape))
    if how in ("sum", "mean"):
        own = x if include_self else el.where(hit, 0, x)
        total = own + added(values, at, x.shape)
        if how == "sum":
            return total
        n = added(xp.ones(at.shape, dtype="int64"), at, x.shape) + int(include_self)
        n = Tensor(xp.maximum(n, 1))
        return total // n if not is_floating(x.dtype) else total / n
    flat = reshape(values, -1)
    if include_self:
        flat = concatenate([reshape(x, -1), flat])
        at = xp.concatenate([xp.arange(x.size), at])
    if how == "prod":
        y = segment_prod(flat, Tensor(at), x.size)
    else:
        y = segment_extreme(flat, at, count=x.size, largest=how == "max")
    y = reshape(y, x.shape)
    return y if include_self else el.where(hit, y, x)


@gate
def index_add(
    x: ArrayLike, axis: int, index: ArrayLike, source: ArrayLike, *, alpha: float = 1
) -> Tensor:
    """x with the slices of source times alpha added at indices (k,) along an axis; those of equal
    indices are all added.

    Args:
        source: of the shape of x, but for k along the axis.
    Raises: IndexingError for an index out of range, ShapeError where the source does not fit.

    >>> index_add([1.0, 2.0], 0, [0, 0], [10.0, 100.0]).tolist()
    [111.0, 2.0]
    """
    x = owned(x)
    axis = axis_of("index_add", x, axis)
    at, _, _ = _rows("index_add", x, axis, index)
    values = _source("index_add", source, x, axis, at.size)
    values = values if alpha == 1 else values * alpha
    template = (*[slice(None)] * axis, ARRAY)
    return x + scatter_add(values, at, shape=x.shape, template=template)


def _source(name: str, source: ArrayLike, x: Tensor, axis: int, k: int) -> Tensor:
    values, shape = _values(name, source, x), (*x.shape[:axis], k, *x.shape[axis + 1 :])
    if values.shape != shape:
        raise ShapeError(f"{name}: the source has shape {values.shape}, {shape} would fit")
    return values


@gate
def index_copy(x: ArrayLike, axis: int, index: ArrayLike, source: ArrayLike) -> Tensor:
    """x with the slices of source at indices (k,) along an axis; of equal indices the last stays.

    Args:
        source: of the shape of x, but for k along the axis.
    Raises: as `index_add`.

    >>> index_copy([[1, 2], [3, 4]], 0, [1], [[9, 9]]).tolist()
    [[1, 2], [9, 9]]
    """
    x = owned(x)
    axis = axis_of("index_copy", x, axis)
    at, last, hit = _rows("index_copy", x, axis, index)
    values = _source("index_copy", source, x, axis, at.size)
    if not at.size:
        return x
    chosen = take(values, Tensor(namespace(at).maximum(last, 0)), axis)
    return el.where(Tensor(hit), chosen, x)


@gate
def index_fill(x: ArrayLike, axis: int, index: ArrayLike, value: ArrayLike) -> Tensor:
    """x with one number in the slices at indices (k,) along an axis.

    Raises: IndexingError for an index out of range, ShapeError unless the value is one number.

    >>> index_fill([[1, 2], [3, 4]], 1, [0], 7).tolist()
    [[7, 2], [7, 4]]
    """
    x = owned(x)
    axis = axis_of("index_fill", x, axis)
    fill = _values("index_fill", value, x)
    if fill.size != 1:
        raise ShapeError(f"index_fill: the value has shape {fill.shape}: it is one number")
    return el.where(Tensor(_rows("index_fill", x, axis, index)[2]), reshape(fill, ()), x)


@gate
def index_put(
    x: ArrayLike, indices: Keys, values: ArrayLike, *, accumulate: bool = False
) -> Tensor:
    """x with values at x[indices]: what `x[indices] = values` writes, as a new tensor, so that
    gradients reach x and the values that stay.

    Args:
        indices: whatever x[...] takes: an array of integers, a mask, a slice, a tuple of such. A
            list of tensors is a tuple, as in PyTorch, one of numbers an array, as in NumPy.
        values: broadcast to the shape of x[indices].
        accumulate: whether they are added, those of equal indices all, instead of replacing.
    Raises: IndexingError for an index out of range, ShapeError where the values do not fit.

    >>> index_put([1.0, 2.0, 3.0], ([0, 0],), [5.0, 6.0]).tolist()
    [6.0, 2.0, 3.0]
    >>> index_put([1.0, 2.0, 3.0], ([0, 0],), [5.0, 6.0], accumulate=True).tolist()
    [12.0, 2.0, 3.0]
    """
    x = owned(x)
    if isinstance(indices, list) and any(hasattr(i, "dtype") for i in indices):
        indices = tuple(indices)
    template, arrays = split_key(indices, x._data)
    xp, values = namespace(x._data), _values("index_put", values, x)
    at = xp.arange(x.size).reshape(x.shape)
    at = getitem(at, *arrays, template=template)
    values = broadcast_to(values, at.shape)
    if accumulate:
        return x + scatter_add(values, *arrays, shape=x.shape, template=template)
    return _written(x, at, values)
