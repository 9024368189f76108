"""Repeating, rolling and turning arrays, and grids of indices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..backend import namespace
from ..core import Tensor
from ..creation import asarray, owned
from ..errors import ArgumentError, DTypeError, IndexingError, ShapeError
from ..ops.gather import repeat_each
from ..settings import gate
from ..typing import ArrayLike, Axes, Axis, DType, OutOfRange, Shape
from .inputs import as_tensor, axis_of, several
from .shape import broadcast_to, concatenate, flip, moveaxis, reshape, stack, swapaxes

__all__ = [
    "broadcast_arrays",
    "fliplr",
    "flipud",
    "indices",
    "ix_",
    "meshgrid",
    "ravel_multi_index",
    "repeat",
    "resize",
    "roll",
    "rollaxis",
    "rot90",
    "tile",
    "trim_zeros",
    "unravel_index",
]


@gate
def repeat(x: ArrayLike, repeats: int | ArrayLike, axis: Axis = None) -> Tensor:
    """Each slice along an axis repeated: [a, b] -> [a, a, b, b]. For a, b, a, b see `tile`.

    Args:
        repeats: how often, or how often each; those on a GPU are waited for.
        axis: one axis; None flattens x.
    Raises: ShapeError for repeats of another number than x has slices, ArgumentError for negative
        ones.

    >>> repeat([1, 2], 2).tolist(), repeat([1, 2], [1, 3]).tolist()
    ([1, 1, 2, 2], [1, 2, 2, 2])
    """
    x = owned(x)
    x, axis = (reshape(x, -1), 0) if axis is None else (x, axis_of("repeat", x, axis))
    many = np.asarray(repeats.numpy() if isinstance(repeats, Tensor) else repeats)
    if many.dtype.kind not in "iu" or (many.size and many.min() < 0):
        raise ArgumentError(f"repeat: repeats={repeats!r}: whole numbers from 0 on")
    if many.size == 1:
        return repeat_each(x, repeats=int(many.item()), axis=axis)
    if many.shape != (x.shape[axis],):
        raise ShapeError(f"repeat: repeats of shape {many.shape} for {x.shape[axis]} slices")
    return x[(*[slice(None)] * axis, np.repeat(np.arange(x.shape[axis]), many))]


@gate
def tile(x: ArrayLike, reps: Shape) -> Tensor:
    """x repeated as a whole along each axis: [a, b] -> [a, b, a, b].

    Args:
        reps: how often along each axis, counted from the last; missing ones are 1.

    >>> tile([1, 2], 2).tolist(), tile([1, 2], (2, 1)).tolist()
    ([1, 2, 1, 2], [[1, 2], [1, 2]])
    """
    x, many = owned(x), several(reps)
    if any(k < 0 for k in many):
        raise ArgumentError(f"tile: reps={reps}: whole numbers from 0 on")
    ndim = max(x.ndim, len(many))
    shape = (1,) * (ndim - x.ndim) + x.shape
    many = (1,) * (ndim - len(many)) + many
    apart = reshape(x, [k for n in shape for k in (1, n)])
    wide = broadcast_to(apart, [k for pair in zip(many, shape, strict=True) for k in pair])
    return reshape(wide, [k * n for k, n in zip(many, shape, strict=True)])


@gate
def resize(x: ArrayLike, new_shape: Shape) -> Tensor:
    """The elements of x in row-major order, and from the first again when they are used up, in
    another shape; zeros where x has none.

    >>> resize([1, 2, 3], (2, 2)).tolist()
    [[1, 2], [3, 1]]
    """
    x, shape = reshape(owned(x), -1), several(new_shape)
    size = math.prod(shape)
    if any(n < 0 for n in shape):
        raise ArgumentError(f"resize: new_shape={new_shape}: lengths are not negative")
    if not x.size:
        return Tensor(namespace(x._data).zeros(shape, dtype=x.dtype))
    return reshape(tile(x, -(-size // x.size))[:size], shape)


@gate
def roll(x: ArrayLike, shift: Shape, axis: Axes = None) -> Tensor:
    """The elements moved on along an axis; those that leave it at its end enter at its beginning.

    Args:
        shift: by how many places, one number or one for each axis; negative ones move back.
        axis: one axis or several; None flattens x meanwhile.
    Raises: IndexingError if x has no such axis, ShapeError for shifts of another number than axes.

    >>> roll([1, 2, 3, 4], 1).tolist()
    [4, 1, 2, 3]
    """
    x = owned(x)
    shifts = several(shift)
    if axis is None:
        return reshape(roll(reshape(x, -1), sum(shifts), 0), x.shape)
    axes = several(axis)
    if len(shifts) != len(axes) and 1 not in (len(shifts), len(axes)):
        raise ShapeError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    shifts = shifts * len(axes) if len(shifts) == 1 else shifts
    axes = axes * len(shifts) if len(axes) == 1 else axes
    for k, a in zip(shifts, axes, strict=True):
        a = axis_of("roll", x, a)
        if by := k % max(x.shape[a], 1):
            at = (slice(None),) * a
            x = concatenate([x[(*at, slice(-by, None))], x[(*at, slice(None, -by))]], a)
    return x


@gate
def rot90(x: ArrayLike, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """x turned k times by 90 degrees in the plane of two axes, from the first to the second.

    Raises: ShapeError unless the two axes are different ones.

    >>> rot90([[1, 2], [3, 4]]).tolist()
    [[2, 4], [1, 3]]
    """
    x, k = owned(x), k % 4
    two = several(axes)
    first, second = two if len(two) == 2 else (0, 0)
    first, second = axis_of("rot90", x, first), axis_of("rot90", x, second)
    if first == second:
        raise ShapeError(f"rot90: axes={axes} are two different ones")
    if k == 2:
        return flip(x, (first, second))
    if k % 2:
        x = swapaxes(x, first, second)
    return flip(x, first if k == 1 else second) if k else x


@gate
def fliplr(x: ArrayLike) -> Tensor:
    """A view with the order of the columns, the second axis, reversed.

    >>> fliplr([[1, 2], [3, 4]]).tolist()
    [[2, 1], [4, 3]]
    """
    return flip(x, 1)


@gate
def flipud(x: ArrayLike) -> Tensor:
    """A view with the order of the rows, the first axis, reversed.

    >>> flipud([[1, 2], [3, 4]]).tolist()
    [[3, 4], [1, 2]]
    """
    return flip(x, 0)


@gate
def rollaxis(x: ArrayLike, axis: int, start: int = 0) -> Tensor:
    """A view with an axis moved before the one that is at `start`; `moveaxis` is easier to read.

    >>> rollaxis(np.zeros((2, 3, 4)), 2).shape
    (4, 2, 3)
    """
    x = owned(x)
    axis = axis_of("rollaxis", x, axis)
    start = start + x.ndim if start < 0 else start
    if not 0 <= start <= x.ndim:
        raise IndexingError(f"rollaxis: start={start} of an array of shape {x.shape}")
    return moveaxis(x, axis, start - (start > axis))


@gate
def trim_zeros(x: ArrayLike, trim: Literal["f", "b", "fb", "bf"] = "fb") -> Tensor:
    """x (n,) without the zeros at its front and back. A GPU is waited for.

    Args:
        trim: "f" for the front alone, "b" for the back alone.
    Raises: ShapeError unless x has one axis.

    >>> trim_zeros([0, 0, 1, 0, 2, 0]).tolist()
    [1, 0, 2]
    """
    x = owned(x)
    if x.ndim != 1:
        raise ArgumentError(f"trim_zeros: x of shape {x.shape} must have one axis")
    (at,) = (x._data != 0).nonzero()
    if not at.size:
        return x[:0]
    return x[int(at[0]) if "f" in trim else 0 : int(at[-1]) + 1 if "b" in trim else len(x)]


# --- grids ----------------------------------------------------------------------------------------


@gate
def broadcast_arrays(*arrays: ArrayLike) -> list[Tensor]:
    """Read-only views of the arrays, all broadcast to their common shape.

    Raises: ShapeError where they have none.

    >>> [x.shape for x in broadcast_arrays([1, 2], [[3], [4]])]
    [(2, 2), (2, 2)]
    """
    made = [owned(x) for x in arrays]
    try:
        shape = np.broadcast_shapes(*[x.shape for x in made])
    except ValueError:
        shapes = [x.shape for x in made]
        raise ShapeError(f"broadcast_arrays: {shapes} have no common shape") from None
    return [broadcast_to(x, shape) for x in made]


@gate
def meshgrid(
    *arrays: ArrayLike,
    copy: bool = True,
    sparse: bool = False,
    indexing: Literal["xy", "ij"] = "xy",
) -> list[Tensor]:
    """Coordinates of a grid from those along its axes, (n,) each: a tensor for each axis.

    Args:
        copy: NumPy's word, without effect: nobody writes to the results.
        sparse: whether the results have length 1 along the other axes instead of being broadcast.
        indexing: "xy" for axes (y, x, z, ...) as of pictures, "ij" for (x, y, z, ...).

    >>> x, y = meshgrid([1, 2, 3], [4, 5])
    >>> x.tolist(), y.tolist()
    ([[1, 2, 3], [1, 2, 3]], [[4, 4, 4], [5, 5, 5]])
    """
    made = [reshape(owned(x), -1) for x in arrays]
    n = len(made)
    order = [1, 0, *range(2, n)] if indexing == "xy" and n > 1 else list(range(n))
    thin = [
        reshape(x, [-1 if a == at else 1 for a in range(n)])
        for x, at in zip(made, order, strict=True)
    ]
    return thin if sparse else broadcast_arrays(*thin)


@gate
def ix_(*arrays: ArrayLike) -> tuple[Tensor, ...]:
    """Index arrays (n,) shaped so that x[ix_(rows, columns)] is the sub-matrix of these rows and
    columns; masks stand for where they are True.

    Raises: ShapeError unless each has one axis, DTypeError for fractions.

    >>> x = tg.tensor([[1, 2, 3], [4, 5, 6]])
    >>> x[ix_([0, 1], [0, 2])].tolist()
    [[1, 3], [4, 6]]
    """
    made = []
    for i, x in enumerate(map(as_tensor, arrays)):
        if x.ndim != 1:
            raise ShapeError(f"ix_: an array of shape {x.shape} must have one axis")
        if x.dtype.kind not in "iub" and x.size:
            raise DTypeError(f"ix_: indices are integers or masks, not {x.dtype}")
        at = x._data.nonzero()[0] if x.dtype == bool else x._data.astype("int64")
        made.append(Tensor(at.reshape([-1 if a == i else 1 for a in range(len(arrays))])))
    return tuple(made)


@gate
def indices(
    dimensions: Sequence[int], dtype: DType = int, sparse: bool = False
) -> Tensor | tuple[Tensor, ...]:
    """The indices of a grid: y[i] counts along axis i. -> (len(dimensions), *dimensions), or with
    `sparse` a tuple of tensors that broadcast to them.

    >>> indices((2, 2)).tolist()
    [[[0, 0], [1, 1]], [[0, 1], [0, 1]]]
    """
    shape = several(dimensions)
    lines = [asarray(np.arange(n)).astype(dtype) for n in shape]
    made = meshgrid(*lines, sparse=sparse, indexing="ij")
    if sparse:
        return tuple(made)
    return stack(made) if made else asarray(np.zeros(0)).astype(dtype)


@gate
def unravel_index(x: ArrayLike, shape: Shape) -> tuple[Tensor, ...]:
    """Flat indices, in row-major order, as a tuple of indices for each axis of an array of a shape.

    Raises: IndexingError for an index out of range, DTypeError for one that is no integer. A GPU,
        which would have to be waited for, wraps around.

    >>> [i.tolist() for i in unravel_index([5, 2], (2, 3))]
    [[1, 0], [2, 2]]
    """
    flat, sizes = as_tensor(x)._data, several(shape)
    if flat.dtype.kind not in "iu" and flat.size:
        raise DTypeError(f"unravel_index: indices are integers, not {flat.dtype}")
    n = math.prod(sizes)
    if type(flat) is np.ndarray and flat.size and not (flat.min() >= 0 and flat.max() < n):
        raise IndexingError(f"unravel_index: indices from {flat.min()} to {flat.max()}, of {n}")
    found, flat = [], flat.astype("int64")
    for size in reversed(sizes):
        found.append(Tensor(flat % size))
        flat = flat // size
    return tuple(reversed(found))


@gate
def ravel_multi_index(
    multi_index: Sequence[ArrayLike] | ArrayLike, dims: Sequence[int], mode: OutOfRange = "raise"
) -> Tensor:
    """Indices for each axis of an array of the shape `dims` as flat ones in row-major order.

    Args:
        mode: of indices out of range: "raise", "wrap" around, or "clip" to the nearest.
    Raises: IndexingError for an index out of range (on a GPU it is not checked), ShapeError for
        another number of axes.

    >>> ravel_multi_index(([1, 0], [2, 2]), (2, 3)).tolist()
    [5, 2]
    """
    axes = [as_tensor(i)._data.astype("int64") for i in multi_index]  # type: ignore[union-attr]
    sizes = several(dims)
    if len(axes) != len(sizes):
        raise ShapeError(f"ravel_multi_index: indices of {len(axes)} axes, dims of {len(sizes)}")
    flat: Any = 0
    for i, n in zip(axes, sizes, strict=True):
        if mode != "raise":
            i = i % n if mode == "wrap" else i.clip(0, n - 1)
        elif type(i) is np.ndarray and i.size and not (i.min() >= 0 and i.max() < n):
            raise IndexingError(f"ravel_multi_index: indices from {i.min()} to {i.max()}, of {n}")
        flat = flat * n + i
    return asarray(flat)
