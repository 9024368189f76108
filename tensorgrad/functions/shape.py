"""Functions that rearrange numbers: views, joining and splitting. Padding is in padding.py.

Those that move no number return a view: it shares the memory of a Tensor that was given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Annotated, Any, TypeAlias

from ..backend import NUMBERS, is_floating, namespace
from ..core import Tensor
from ..creation import asarray, owned
from ..errors import ArgumentError
from ..ops import elementwise
from ..ops import shape as ops
from ..settings import Either, Nothing, Own, Whole, gate
from ..typing import ArrayLike, Axes, Shape
from .inputs import axis_of, operands

# --- axes and shapes ------------------------------------------------------------------------------


@gate
def reshape(x: ArrayLike, shape: Shape, *, copy: bool | None = None) -> Tensor:
    """The same numbers in row-major order under another shape: a view where memory allows it.

    Args:
        shape: a whole number or several; one may be -1, which stands for what is left.
        copy: True for memory of its own, False for an error where a view is not possible.
    Raises: ShapeError where the sizes differ, ArgumentError where `copy` forbids a copy.

    >>> reshape([1.0, 2.0, 3.0, 4.0], (2, -1)).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    x = owned(x)
    y: Tensor = ops.reshape(x, shape=shape)
    if copy is None:
        return y
    shared = namespace(x._data).may_share_memory(x._data, y._data)
    if not copy and not shared and x.size:
        raise ArgumentError(f"reshape(copy=False): {x.shape} to {y.shape} needs a copy here")
    return elementwise.add(y, y.dtype.type(0)) if copy and shared else y


@gate
def ravel(x: ArrayLike) -> Tensor:
    """One axis with all numbers in row-major order, as `reshape(x, -1)`.

    >>> ravel([[1, 2], [3, 4]]).tolist()
    [1, 2, 3, 4]
    """
    return reshape(x, -1)


@gate
def transpose(x: ArrayLike, axes: Axes = None) -> Tensor:
    """A view with the axes permuted; `permute_dims` and `permute` are the same function.

    Args:
        axes: axis i of the result is axis axes[i] of `x`; all reversed where left out.
    Raises: ShapeError unless `axes` names each axis of `x` once.

    For two axes alone use `swapaxes`, for the matrices of a batch `x.mT`.

    >>> transpose(np.zeros((2, 3, 4))).shape
    (4, 3, 2)
    >>> transpose(np.zeros((2, 3, 4)), (1, 0, -1)).shape
    (3, 2, 4)
    """
    return ops.transpose(owned(x), axes=(axes,) if isinstance(axes, int) else axes)


permute_dims = permute = transpose


@gate
def moveaxis(x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """A view with the axes `source` moved to the places `destination`, the others kept in order.

    Raises: ShapeError where the two are not of one length, IndexingError for an axis that `x` has
    not.

    >>> moveaxis(np.zeros((2, 3, 4)), 0, -1).shape
    (3, 4, 2)
    """
    return ops.moveaxis(
        owned(x),
        source=source,
        destination=destination,
    )


@gate
def swapaxes(x: ArrayLike, axis1: int, axis2: int) -> Tensor:
    """A view with two axes exchanged.

    Raises: IndexingError for an axis that `x` has not.

    >>> swapaxes(np.zeros((2, 3, 4)), 0, -1).shape
    (4, 3, 2)
    """
    return ops.swapaxes(owned(x), axis1=axis1, axis2=axis2)


@gate
def squeeze(x: ArrayLike, axis: Axes = None) -> Tensor:
    """A view without axes of length 1.

    Args:
        axis: which to remove, one or several; all of length 1 where left out.
    Raises: ShapeError for an axis that is longer, IndexingError for one that `x` has not.

    >>> squeeze(np.zeros((1, 3, 1)), axis=-1).shape
    (1, 3)
    """
    return ops.squeeze(owned(x), axis=axis)


@gate
def expand_dims(x: ArrayLike, axis: int | Sequence[int]) -> Tensor:
    """A view with axes of length 1 inserted; `x[:, None]` is another way to write it.

    Args:
        axis: where they stand in the result, one or several.
    Raises: IndexingError for a place outside the result.

    >>> expand_dims([1.0, 2.0], axis=(0, -1)).shape
    (1, 2, 1)
    """
    return ops.expand_dims(owned(x), axis=(axis,) if isinstance(axis, int) else axis)


@gate
def flip(x: ArrayLike, axis: Axes = None) -> Tensor:
    """A view with the order of the elements reversed along `axis`, along all where left out.

    Raises: IndexingError for an axis that `x` has not.

    >>> flip([[1.0, 2.0], [3.0, 4.0]], axis=1).tolist()
    [[2.0, 1.0], [4.0, 3.0]]
    """
    return ops.flip(owned(x), axis=axis)


@gate
def broadcast_to(x: ArrayLike, shape: Shape) -> Tensor:
    """`x` repeated to a shape, as a read-only view: no number is copied. The gradient is summed
    over the repetitions.

    Raises: ShapeError unless each axis of `x`, counted from the last, is 1 or as long as asked.

    >>> broadcast_to([1.0, 2.0], (2, 2)).tolist()
    [[1.0, 2.0], [1.0, 2.0]]
    """
    return ops.broadcast_to(owned(x), shape=shape)


def identity(x: ArrayLike) -> Tensor:
    """The same numbers as a tensor of its own, through which gradients pass unchanged.

    >>> x = tg.tensor(3.0, requires_grad=True)
    >>> y = identity(x)
    >>> y is x, y.item()
    (False, 3.0)
    """
    return ops.identity(owned(x))


# --- joining and splitting ------------------------------------------------------------------------

_ORDER = "the arrays are one sequence, then comes the axis: concatenate([a, b], axis=0)"
Arrays: TypeAlias = Annotated["Sequence[ArrayLike] | ArrayLike", Own("a list of arrays")]
Along: TypeAlias = Annotated["int | None", Either(Whole(hint=_ORDER), Nothing())]
NewAxis: TypeAlias = Annotated[int, Whole(hint=_ORDER.replace("concatenate", "stack"))]


def _several(name: str, arrays: Any, axis: Any) -> tuple[list[Any], Any]:
    """The arrays to join and the axis. Numbers take the dtype of the floating tensors."""
    if not isinstance(arrays, Iterable) or getattr(arrays, "shape", None) == ():
        raise ArgumentError(
            f"{name} takes its arrays as one sequence, then the axis: {name}([a, b], axis=0)"
        )
    made = operands(*arrays)
    if not made:
        raise ArgumentError(f"{name}: needs at least one array, got {arrays!r}")
    if any(isinstance(x, NUMBERS) for x in made):
        tensors = [x for x in made if isinstance(x, Tensor)]
        dtype = next((x.dtype for x in tensors if is_floating(x.dtype)), None)
        home = tensors[0].backend
        made = [asarray(x, dtype, home) if isinstance(x, NUMBERS) else x for x in made]
    return made, axis


@gate
def concatenate(arrays: Arrays, axis: Along = 0) -> Tensor:
    """The arrays joined along an axis that they have; `concat` is the same function.

    Args:
        arrays: a sequence of arrays whose shapes agree but for `axis`.
        axis: None joins all of them flattened.
    Returns: their common dtype.
    Raises: ArgumentError for no array, ShapeError where the shapes do not fit.

    To join along a new axis use `stack`.

    >>> concatenate([[1.0, 2.0], [3.0]]).tolist()
    [1.0, 2.0, 3.0]
    >>> concatenate([np.zeros((2, 1)), np.zeros((2, 3))], axis=-1).shape
    (2, 4)
    """
    made, along = _several("concatenate", arrays, axis)
    if along is None:
        made, along = [ops.reshape(x, shape=(-1,)) for x in made], 0
    return ops.concat(*made, axis=along)


concat = concatenate


@gate
def stack(arrays: Arrays, axis: NewAxis = 0) -> Tensor:
    """The arrays, all of one shape, joined along a new axis.

    Args:
        arrays: a sequence of arrays, or of numbers.
        axis: where the new axis stands in the result.
    Returns: their common dtype.
    Raises: ArgumentError for no array, ShapeError where the shapes differ.

    >>> stack([[1.0, 2.0], [3.0, 4.0]], axis=1).tolist()
    [[1.0, 3.0], [2.0, 4.0]]
    """
    made, along = _several("stack", arrays, axis)
    return ops.stack(*made, axis=along)


@gate
def split(
    x: ArrayLike, indices_or_sections: int | Sequence[int], axis: int = 0
) -> tuple[Tensor, ...]:
    """Views of the parts of `x` along an axis.

    Args:
        indices_or_sections: a whole number of equal parts, or the indices to cut before.
    Raises: ShapeError where the parts would not be equal, or the indices are not in order.

    For parts of nearly one length use `array_split`.

    >>> [part.tolist() for part in split([1, 2, 3, 4], 2)]
    [[1, 2], [3, 4]]
    >>> [part.tolist() for part in split([1, 2, 3, 4], [1, 3])]
    [[1], [2, 3], [4]]
    """
    x = owned(x)
    return ops.split(x, sections=indices_or_sections, axis=axis_of("split", x, axis))


@gate
def array_split(
    x: ArrayLike, indices_or_sections: int | Sequence[int], axis: int = 0
) -> tuple[Tensor, ...]:
    """Views of the parts of `x` along an axis, as `split`, which need not be equal: of n numbers
    in k parts the first n % k have one number more.

    Raises: ArgumentError for less than one part.

    >>> [part.tolist() for part in array_split([1, 2, 3, 4], 3)]
    [[1, 2], [3], [4]]
    """
    x = owned(x)
    axis = axis_of("array_split", x, axis)
    sections = indices_or_sections
    if isinstance(sections, int):
        if sections < 1:
            raise ArgumentError(f"array_split: {sections} parts; give 1 or more")
        least, more = divmod(x.shape[axis], sections)
        lengths = [least + (i < more) for i in range(sections)]
        sections = tuple(accumulate(lengths[:-1]))
    return ops.split(x, sections=sections, axis=axis)
