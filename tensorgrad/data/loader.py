"""Batches of arrays, shuffled anew each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, overload

import numpy as np

from ..backend import default, dtype_of, is_floating, make
from ..core import Tensor
from ..creation import host_generator
from ..errors import ArgumentError, ShapeError
from ..typing import ArrayLike, Batch, DType, Number, SupportsArray
from ..words import explains_names
from .prefetch import part, prefetched


def several(data: Any) -> bool:
    """Whether this is several arrays: a tuple, or a list of arrays; lists of numbers are one."""
    return isinstance(data, tuple) or (
        isinstance(data, list) and bool(data) and all(hasattr(a, "shape") for a in data)
    )


def arrays_of(data: Any) -> tuple[Any, ...]:
    """The arrays of a data set, checked to be of one length above zero."""
    given = data if several(data) else (data,)
    arrays = tuple([a._data if isinstance(a, Tensor) else make(a) for a in given])
    for a in arrays:
        if not a.shape:
            raise ShapeError("data must have a first axis, the examples; got a single number")
    lengths = [len(a) for a in arrays]
    if len(set(lengths)) > 1:
        raise ShapeError(f"the arrays differ in length: {', '.join(map(str, lengths))} examples")
    if not lengths or not lengths[0]:
        raise ShapeError("the data is empty: there are no examples")
    return arrays


class DataLoader(Generic[Batch]):
    """Iterates over arrays in batches of Tensors on the default backend. Batches of host arrays are
    copied to a GPU while the step before runs.

    `data` is one array, or a tuple such as (x, y) whose first axes have one length. Shuffling
    draws a new order for each pass from the stream that `tg.seed` sets. `dtype` casts floating
    arrays. Raises ShapeError for empty data and lengths that differ, ArgumentError for batch sizes
    below 1.

    >>> [x.tolist() for x in DataLoader(np.arange(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    @overload
    def __init__(
        self: DataLoader[tuple[Tensor, ...]],
        data: tuple[ArrayLike, ...],
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        dtype: DType = None,
    ) -> None: ...
    @overload
    def __init__(
        self: DataLoader[Tensor],
        data: SupportsArray | Sequence[Number] | Sequence[Sequence[Any]],
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        dtype: DType = None,
    ) -> None: ...
    @overload
    def __init__(
        self: DataLoader[tuple[Tensor, ...]],
        data: list[Any],
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        dtype: DType = None,
    ) -> None: ...
    @explains_names
    def __init__(
        self,
        data: Any,
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        dtype: DType = None,
    ) -> None:
        if hasattr(batch_size, "shape") and batch_size.shape:
            raise ArgumentError(
                "DataLoader: several arrays are given as one tuple: DataLoader((x, y))"
            )
        self.single = not several(data)
        self.arrays = arrays_of(data)
        if not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
            raise ArgumentError(f"DataLoader: batch_size must be at least 1, got {batch_size!r}")
        self.batch_size, self.shuffle, self.drop_last = int(batch_size), shuffle, drop_last
        if dtype is not None:
            wanted = dtype_of(dtype)
            if not is_floating(wanted):
                raise ArgumentError(f"DataLoader: dtype is for floating arrays, got {wanted}")
            self.arrays = tuple(
                [a.astype(wanted) if is_floating(a.dtype) else a for a in self.arrays]
            )

    @property
    def examples(self) -> int:
        """How many examples there are."""
        return len(self.arrays[0])

    def __len__(self) -> int:
        whole, rest = divmod(self.examples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        n, home = self.examples, default()
        order = host_generator().permutation(n) if self.shuffle else None
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        spans = [slice(start, min(start + self.batch_size, n)) for start in starts]
        places = iter(spans) if order is None else (order[span] for span in spans)
        if home.kernels == "cuda":
            batches = prefetched(self.arrays, places, home)
        else:
            batches = (
                [make(part(a, where), None, home.name) for a in self.arrays] for where in places
            )
        for batch in batches:
            tensors: Any = tuple([Tensor(a) for a in batch])
            yield tensors[0] if self.single else tensors
