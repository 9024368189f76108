"""Mini-batches of arrays, shuffled each epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Generic, TypeAlias, overload

from ..backend import cast, default, dtype_of, fitting, is_floating, make
from ..core import Tensor
from ..errors import ArgumentError, ShapeError
from ..randomness import host_generator
from ..settings import Whole, gate
from ..typing import ArrayLike, Batch, DType, Number, SupportsArray
from .prefetch import ordered, part, prefetched

BatchSize: TypeAlias = Annotated[
    int, Whole(1, hint="several arrays are one tuple: DataLoader((x, y))")
]


def several(data: Any) -> bool:
    """Whether this is several arrays, a tuple or a list of arrays; a list of numbers is one."""
    return isinstance(data, tuple) or (
        isinstance(data, list) and bool(data) and all(hasattr(a, "shape") for a in data)
    )


def arrays_of(data: Any) -> tuple[Any, ...]:
    """The arrays of a data set; ShapeError unless they have one length, above 0."""
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
    """Iterates over arrays in mini-batches of Tensors on the default backend.

    For a GPU, batches of host arrays are prefetched, without being asked: the next is copied from
    pinned memory, on a stream of its own, while the current step runs. A batch may be used at once
    (on the stream that was current when it came), and is the caller's to keep. Arrays that are on
    the GPU already stay there, and are cut there.

    Args:
        data: one array, or a tuple such as (x, y) of arrays with first axes of one length.
        batch_size: examples in a batch.
        shuffle: whether each epoch has a new random order, from the generator that `tg.seed` seeds.
        drop_last: whether a last, smaller batch is left out.
        dtype: to which floating arrays are cast.
    Raises: ShapeError for empty data and for lengths that differ; ArgumentError for a batch size
        below 1, and for a dtype that is not floating.

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
    @gate
    def __init__(
        self,
        data: ArrayLike,
        batch_size: BatchSize = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        dtype: DType = None,
    ) -> None:
        self.single = not several(data)
        self.arrays = arrays_of(data)
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        if dtype is not None:
            wanted = dtype_of(dtype)
            if not is_floating(wanted):
                raise ArgumentError(f"DataLoader: dtype is for floating arrays, got {wanted}")
            self.arrays = tuple(
                [
                    cast(a, fitting(wanted, a.dtype)) if is_floating(a.dtype) else a
                    for a in self.arrays
                ]
            )

    @property
    def examples(self) -> int:
        """The number of examples."""
        return len(self.arrays[0])

    def __len__(self) -> int:
        whole, rest = divmod(self.examples, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Batch]:
        n, home = self.examples, default()
        order = host_generator().permutation(n) if self.shuffle else None
        starts = range(0, len(self) * self.batch_size, self.batch_size)
        spans = iter([slice(start, min(start + self.batch_size, n)) for start in starts])
        orders = ordered(self.arrays, order)
        if home.kernels == "cuda":
            batches = prefetched(self.arrays, spans, orders, home)
        else:
            batches = (
                [make(part(a, span, orders), None, home.name) for a in self.arrays]
                for span in spans
            )
        for batch in batches:
            tensors: Any = tuple([Tensor(a) for a in batch])
            yield tensors[0] if self.single else tensors
