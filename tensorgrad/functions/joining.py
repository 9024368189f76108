"""Joining, splitting, inserting and deleting: `concatenate` and `split` in other forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..backend import make
from ..core import Tensor
from ..creation import beside, owned
from ..errors import ArgumentError, DTypeError, IndexingError, ShapeError
from ..settings import Own, gate
from ..typing import ArrayLike, Axis
from .inputs import axis_of, operands
from .shape import (
    array_split,
    broadcast_to,
    concatenate,
    expand_dims,
    moveaxis,
    reshape,
    split,
    squeeze,
)

__all__ = [
    "append",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "block",
    "column_stack",
    "delete",
    "dsplit",
    "dstack",
    "hsplit",
    "hstack",
    "insert",
    "unstack",
    "vsplit",
    "vstack",
]


# --- axes -----------------------------------------------------------------------------------------


def _several(made: list[Tensor]) -> Tensor | tuple[Tensor, ...]:
    return made[0] if len(made) == 1 else tuple(made)


Places: TypeAlias = Annotated["Any", Own("an index or several, a slice, or a mask")]
Nested: TypeAlias = Annotated[Any, Own("arrays in nested lists")]


@gate
def atleast_1d(*arrays: ArrayLike) -> Tensor | tuple[Tensor, ...]:
    """A view with one axis or more: a number becomes (1,). A tuple of them for several.

    >>> atleast_1d(3.0).shape
    (1,)
    """
    return _several([reshape(x, 1) if not x.ndim else x for x in map(owned, arrays)])


@gate
def atleast_2d(*arrays: ArrayLike) -> Tensor | tuple[Tensor, ...]:
    """A view with two axes or more: (n,) becomes (1, n). A tuple of them for several.

    >>> atleast_2d([1.0, 2.0]).shape
    (1, 2)
    """
    made = [owned(x) for x in arrays]
    return _several([x if x.ndim > 1 else reshape(x, (1, -1)) for x in made])


@gate
def atleast_3d(*arrays: ArrayLike) -> Tensor | tuple[Tensor, ...]:
    """A view with three axes or more: (n,) becomes (1, n, 1), (m, n) becomes (m, n, 1). A tuple of
    them for several.

    >>> atleast_3d([1.0, 2.0]).shape, atleast_3d([[1.0, 2.0]]).shape
    ((1, 2, 1), (1, 2, 1))
    """
    made = [owned(x) for x in arrays]
    made = [x if x.ndim > 1 else reshape(x, (1, -1)) for x in made]
    return _several([x if x.ndim > 2 else expand_dims(x, -1) for x in made])


# --- joining --------------------------------------------------------------------------------------


def _each(name: str, arrays: Sequence[ArrayLike] | ArrayLike, shaped: Any) -> list[Tensor]:
    """The arrays, shaped."""
    if getattr(arrays, "shape", None) == () or not hasattr(arrays, "__iter__"):
        raise ArgumentError(f"{name} takes its arrays as one sequence: {name}([a, b])")
    made = [shaped(x) for x in operands(*arrays)]  # type: ignore[misc]
    if not made:
        raise ArgumentError(f"{name}: needs at least one array")
    return made


@gate
def vstack(arrays: Sequence[ArrayLike] | ArrayLike) -> Tensor:
    """The arrays one below the other: joined along the first axis, (n,) as rows (1, n).

    Raises: ArgumentError for no array, ShapeError where the shapes do not fit.

    >>> vstack([[1, 2], [3, 4]]).tolist()
    [[1, 2], [3, 4]]
    """
    return concatenate(_each("vstack", arrays, atleast_2d), 0)


@gate
def hstack(arrays: Sequence[ArrayLike] | ArrayLike) -> Tensor:
    """The arrays side by side: joined along the second axis, those of one axis along it.

    Raises: ArgumentError for no array, ShapeError where the shapes do not fit.

    >>> hstack([[1, 2], [3]]).tolist(), hstack([[[1], [2]], [[3], [4]]]).tolist()
    ([1, 2, 3], [[1, 3], [2, 4]])
    """
    made = _each("hstack", arrays, atleast_1d)
    return concatenate(made, 0 if made[0].ndim == 1 else 1)


@gate
def dstack(arrays: Sequence[ArrayLike] | ArrayLike) -> Tensor:
    """The arrays one behind the other: joined along the third axis, which (n,) as (1, n, 1) and
    (m, n) as (m, n, 1) get first.

    Raises: ArgumentError for no array, ShapeError where the shapes do not fit.

    >>> dstack([[1, 2], [3, 4]]).tolist()
    [[[1, 3], [2, 4]]]
    """
    return concatenate(_each("dstack", arrays, atleast_3d), 2)


@gate
def column_stack(arrays: Sequence[ArrayLike] | ArrayLike) -> Tensor:
    """The arrays as columns of a matrix: (n,) is one column, (n, m) are m.

    Raises: ArgumentError for no array, ShapeError where the shapes do not fit.

    >>> column_stack([[1, 2], [3, 4]]).tolist()
    [[1, 3], [2, 4]]
    """

    def columns(x: ArrayLike) -> Tensor:
        x = owned(x)
        return x if x.ndim > 1 else reshape(x, (-1, 1))

    return concatenate(_each("column_stack", arrays, columns), 1)


@gate
def block(arrays: Nested) -> Tensor:
    """An array of nested lists of blocks: the innermost lists are joined along the last axis, those
    around them along the one before, and so on.

    Raises: ArgumentError for lists that are not nested to one depth, or empty; ShapeError where
        shapes do not fit.

    >>> block([[np.eye(2, dtype=int), np.zeros((2, 1), int)], [1, 2, 3]]).tolist()
    [[1, 0, 0], [0, 1, 0], [1, 2, 3]]
    """

    def depth_of(value: Any) -> int:
        if not isinstance(value, list):
            return 0
        depths = {depth_of(v) for v in value}
        if len(depths) != 1:
            raise ArgumentError("block: the lists are empty, or not nested to one depth")
        return depths.pop() + 1

    def leaves(value: Any) -> list[Any]:
        return [v for part in value for v in leaves(part)] if isinstance(value, list) else [value]

    depth, flat = depth_of(arrays), operands(*leaves(arrays))
    made = iter([owned(x) for x in flat])
    ndim = max([depth, *[np.ndim(x) if isinstance(x, (int, float)) else x.ndim for x in flat]])

    def joined(value: Any, level: int) -> Tensor:
        if not isinstance(value, list):
            x = next(made)
            return reshape(x, (1,) * (ndim - x.ndim) + x.shape)
        return concatenate([joined(v, level + 1) for v in value], level - depth)

    return joined(arrays, 0)


@gate
def append(x: ArrayLike, values: ArrayLike, axis: Axis = None) -> Tensor:
    """x with values joined to its end along an axis; both flattened where there is none.

    Raises: ShapeError where the shapes do not fit.

    >>> append([1, 2], [[3], [4]]).tolist()
    [1, 2, 3, 4]
    """
    return concatenate(operands(x, values), axis)


# --- splitting ------------------------------------------------------------------------------------


@gate
def unstack(x: ArrayLike, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices of x along an axis, which they have no more: the inverse of `stack`.

    Raises: IndexingError if x has no such axis.

    >>> [part.tolist() for part in unstack([[1, 2], [3, 4]])]
    [[1, 2], [3, 4]]
    """
    x = owned(x)
    axis = axis_of("unstack", x, axis)
    if not x.shape[axis]:
        return ()
    return tuple([squeeze(part, axis) for part in split(x, x.shape[axis], axis)])


def _split(name: str, x: ArrayLike, sections: int | Sequence[int], axis: int, least: int) -> Any:
    x = owned(x)
    if x.ndim < least:
        raise ShapeError(f"{name}: x of shape {x.shape} has less than {least} axes")
    if isinstance(sections, int) and (sections < 1 or x.shape[axis] % sections):
        raise ShapeError(
            f"{name}: {x.shape[axis]} do not part into {sections} equal ones; see array_split"
        )
    return array_split(x, sections, axis)


@gate
def vsplit(x: ArrayLike, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Views of the parts of x along the first axis of two or more, as `split`.

    >>> [part.tolist() for part in vsplit([[1, 2], [3, 4]], 2)]
    [[[1, 2]], [[3, 4]]]
    """
    made: tuple[Tensor, ...] = _split("vsplit", x, indices_or_sections, 0, 2)
    return made


@gate
def hsplit(x: ArrayLike, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Views of the parts of x along the second axis, or the only one, as `split`.

    >>> [part.tolist() for part in hsplit([[1, 2], [3, 4]], 2)]
    [[[1], [3]], [[2], [4]]]
    """
    x = owned(x)
    made: tuple[Tensor, ...] = _split("hsplit", x, indices_or_sections, min(1, x.ndim - 1), 1)
    return made


@gate
def dsplit(x: ArrayLike, indices_or_sections: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Views of the parts of x along the third axis of three or more, as `split`.

    >>> [part.shape for part in dsplit(np.zeros((2, 3, 4)), 2)]
    [(2, 3, 2), (2, 3, 2)]
    """
    made: tuple[Tensor, ...] = _split("dsplit", x, indices_or_sections, 2, 3)
    return made


# --- slices in and out ----------------------------------------------------------------------------


def _places(name: str, at: Places, n: int) -> Any:
    """Indices, slices or masks as an array of places from 0 to n, on the host."""
    if isinstance(at, slice):
        return np.arange(*at.indices(n))
    found = make(at.numpy() if isinstance(at, Tensor) else at, None, "numpy")
    if found.size and found.dtype.kind not in "iub":
        raise DTypeError(f"{name}: indices are integers, not {found.dtype}")
    if found.dtype == bool:
        return found.reshape(-1).nonzero()[0]
    found = found.astype(int, casting="unsafe").reshape(-1)
    return np.where(found < 0, found + n, found)


@gate
def delete(x: ArrayLike, at: Places, axis: Axis = None) -> Tensor:
    """x without the slices at indices along an axis.

    Args:
        at: an integer or several, a slice, or a mask; those on a GPU are waited for.
        axis: one axis; None flattens x.
    Raises: IndexingError for an index out of range.

    >>> delete([1, 2, 3, 4], [0, -1]).tolist()
    [2, 3]
    """
    x = owned(x)
    x, axis = (reshape(x, -1), 0) if axis is None else (x, axis_of("delete", x, axis))
    n, keep = x.shape[axis], np.ones(x.shape[axis], bool)
    gone = _places("delete", at, n)
    if gone.size and not (gone.min() >= 0 and gone.max() < n):
        raise IndexingError(f"delete: an index is out of the range of {n} positions")
    keep[gone] = False
    return x[(*[slice(None)] * axis, keep.nonzero()[0])]


@gate
def insert(x: ArrayLike, at: Places, values: ArrayLike, axis: Axis = None) -> Tensor:
    """x with values inserted before indices along an axis.

    Args:
        at: an integer or several, or a slice, in x as it is before; those on a GPU are waited for.
        values: broadcast to as many slices as there are indices; before a single index several
            may be inserted.
        axis: one axis; None flattens x.
    Raises: IndexingError for an index out of range, ShapeError for values that do not fit.

    >>> insert([1, 2, 3], 1, 9).tolist(), insert([1, 2, 3], [0, 2], [8, 9]).tolist()
    ([1, 9, 2, 3], [8, 1, 2, 9, 3])
    """
    x = owned(x)
    x, axis = (reshape(x, -1), 0) if axis is None else (x, axis_of("insert", x, axis))
    n, where = x.shape[axis], _places("insert", at, x.shape[axis])
    if where.size and not (where.min() >= 0 and where.max() <= n):
        raise IndexingError(f"insert: an index is out of the range of {n} positions")
    v = beside(values, x).astype(x.dtype)
    single = np.ndim(at) == 0 and not isinstance(at, slice)
    if single and v.ndim == x.ndim:
        where = np.repeat(where, v.shape[axis])
    elif single and v.ndim:  # as many slices as the first axis says, as NumPy has it
        v = moveaxis(reshape(v, (1,) * (x.ndim - v.ndim) + v.shape), 0, axis)
        where = np.repeat(where, v.shape[axis])
    v = broadcast_to(v, (*x.shape[:axis], len(where), *x.shape[axis + 1 :]))
    order = np.argsort(np.concatenate([where, np.arange(n)]), kind="stable")
    return concatenate([v, x], axis)[(*[slice(None)] * axis, order)]
