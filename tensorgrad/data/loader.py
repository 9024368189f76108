"""Mini-batches of arrays, data sets and streams, shuffled each epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import repeat
from typing import Annotated, Any, Generic, TypeAlias, overload

import numpy as np

from ..backend import BY_TYPE, default, dtype_of, is_floating, make
from ..core import Tensor
from ..errors import ArgumentError, ShapeError
from ..randomness import host_generator
from ..settings import Own, Whole, gate, shown
from ..trees import leaves, refill
from ..typing import ArrayLike, Batch, Count, DType, Natural, Number, SupportsArray
from .prefetch import Part, ordered, part, prefetched
from .sampling import Sampler, host
from .sources import Arrays, Reader, Stream, arrays_of, positions, several, source_of
from .workers import END, computed

__all__ = ["DataLoader", "arrays_of", "several"]

BatchSize: TypeAlias = Annotated[
    int, Whole(1, hint="several arrays are one tuple: DataLoader((x, y))")
]
Data: TypeAlias = Annotated[Any, Own("arrays, a data set or an iterable")]
Seed: TypeAlias = Annotated[int, Whole(0, 2**63 - 1)]
Order: TypeAlias = Annotated["Sampler | Iterable[int]", Own("a sampler")]


class DataLoader(Generic[Batch]):
    """Iterates over data in mini-batches of Tensors on the default backend.

    Args:
        dataset: arrays with first axes of one length, in a tuple such as (x, y), a dict, or nested;
            a data set, which is whatever has `__len__` and `__getitem__` (a list of samples,
            PyTorch's, Hugging Face's); or a stream, an iterable of samples or a function that
            returns one. Samples are numbers, arrays, text, and tuples, lists and dicts of them.
        batch_size: examples in a batch.
        shuffle: whether each epoch has a new random order.
        drop_last: whether a last, smaller batch is left out.
        sampler: the order of an epoch instead: of `data.Weighted` and its like, or an iterable of
            indices.
        collate: makes a batch of a list of samples; by default they are stacked (`data.collate`).
        workers: processes that read, transform and collate samples. They change no batch.
        prefetch: batches that each of them computes ahead.
        seed: what orders and samples' random numbers depend on; by default one from the generator
            that `tg.seed` seeds.
        dtype: to which floating arrays are cast.
        transform: a function of a sample, applied to each. It draws from `data.rng()`.
    Raises: ShapeError for empty data, for lengths that differ and samples that cannot be stacked;
        ArgumentError for a batch size below 1, and for a dtype that is not floating. An exception
        of a data set or a transform names the sample; a worker that dies is a WorkerError.

    For a GPU, batches of host arrays are prefetched, without being asked: the next is copied from
    pinned memory, on a stream of its own, while the current step runs. A batch may be used at once
    (on the stream that was current when it came), and is the caller's to keep. Arrays that are on
    the GPU already stay there, and are cut there.

    (seed, epoch, index) decides the random numbers of a sample, whoever reads it: `data.rng()`,
    `tg.random`, and the global generators of Python, NumPy and PyTorch are seeded so for each.

    >>> [x.tolist() for x in DataLoader(np.arange(5), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    >>> pairs = [([0.0, 1.0], "a"), ([2.0, 3.0], "b")]
    >>> for x, names in DataLoader(pairs): print(x.shape, names)
    (2, 2) ['a', 'b']
    """

    @overload
    def __init__(
        self: DataLoader[tuple[Tensor, ...]],
        dataset: tuple[ArrayLike, ...],
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        sampler: Sampler | Iterable[int] | None = None,
        collate: Callable[[Sequence[Any]], Any] | None = None,
        workers: int = 0,
        prefetch: int = 2,
        seed: int | None = None,
        dtype: DType = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: DataLoader[Tensor],
        dataset: SupportsArray | Sequence[Number] | Sequence[Sequence[Number]],
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        sampler: Sampler | Iterable[int] | None = None,
        collate: Callable[[Sequence[Any]], Any] | None = None,
        workers: int = 0,
        prefetch: int = 2,
        seed: int | None = None,
        dtype: DType = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: DataLoader[Any],
        dataset: Any,
        batch_size: int = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        sampler: Sampler | Iterable[int] | None = None,
        collate: Callable[[Sequence[Any]], Any] | None = None,
        workers: int = 0,
        prefetch: int = 2,
        seed: int | None = None,
        dtype: DType = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None: ...
    @gate
    def __init__(
        self,
        dataset: Data,
        batch_size: BatchSize = 32,
        shuffle: bool = False,
        drop_last: bool = False,
        sampler: Order | None = None,
        collate: Callable[[Sequence[Any]], Any] | None = None,
        workers: Natural = 0,
        prefetch: Count = 2,
        seed: Seed | None = None,
        dtype: DType = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.source = source_of(dataset)
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self.sampler, self.collate, self.transform = sampler, collate, transform
        self.workers, self.prefetch, self.seed = workers, prefetch, seed
        self.join_single = False  # a last batch of one example to the batch before (`fit`)
        self.dtype = None if dtype is None else dtype_of(dtype)
        # the latest epoch, its seed, and how many of its batches were handed out
        self._seed, self._epoch, self._batch = seed, -1, 0
        self._next: tuple[int | None, int, int] | None = (seed, 0, 0)  # where the next starts
        if self.dtype is not None and not is_floating(self.dtype):
            raise ArgumentError(f"DataLoader: dtype is for floating arrays, got {self.dtype}")
        if isinstance(self.source, Stream) and (shuffle or sampler is not None):
            raise ArgumentError(
                "DataLoader: a stream comes in its own order, so it takes no shuffle and no "
                "sampler: shuffle what it reads, or give a data set with __len__ and __getitem__"
            )
        if hasattr(sampler, "__array__"):
            sampler = self.sampler = host(sampler)
        if sampler is not None and not callable(sampler) and not _indices(sampler):
            raise ArgumentError(
                "DataLoader: the sampler is a function of a generator, such as data.Weighted(...), "
                f"or an iterable of indices, got {shown(sampler)}"
            )
        if shuffle and sampler is not None:
            raise ArgumentError("DataLoader: the sampler chooses the order: leave out shuffle")
        if isinstance(self.source, Arrays):
            if self.dtype is not None:
                self.source.cast(self.dtype)
            on_gpu = [a for a in self.source.arrays if type(a) is not np.ndarray]
            if on_gpu and self._by_samples:
                raise ArgumentError(
                    "DataLoader: transform, collate and workers are for arrays on the host; these "
                    "are on the GPU"
                )

    @property
    def _by_samples(self) -> bool:
        """Whether samples are read one by one."""
        asked = self.transform is not None or self.collate is not None or self.workers
        return bool(asked) or not isinstance(self.source, Arrays)

    @property
    def arrays(self) -> tuple[Any, ...]:
        """The arrays, where the data is arrays. ArgumentError for data sets and streams."""
        if not isinstance(self.source, Arrays):
            raise ArgumentError("DataLoader.arrays: the data is samples, not arrays")
        return self.source.arrays

    @property
    def examples(self) -> int | None:
        """The number of examples in an epoch; None for a stream."""
        if isinstance(self.source, Stream):
            return None
        chosen: Any = self.sampler
        if callable(chosen) and not hasattr(chosen, "__len__"):  # a function: as many as it gives
            chosen = chosen(np.random.default_rng(0))
        return len(chosen if hasattr(chosen, "__len__") else self.source)

    def __len__(self) -> int:
        n = self.examples
        if n is None:
            raise ArgumentError("DataLoader: the length of a stream is not known")
        return self._count(n)

    def _count(self, n: int) -> int:
        """The number of batches of n examples."""
        whole, rest = divmod(n, self.batch_size)
        joined = rest == 1 and whole > 0 and self.join_single
        return whole + (rest > 0 and not self.drop_last and not joined)

    def state_dict(self) -> dict[str, int | None]:
        """The place in the data: the seed of the epoch (None before it has begun, where none was
        given), the epoch, and how many of its batches were handed out. A loader that loads it goes
        on with the next batch."""
        seed, epoch, batch = self._next or (self._seed, self._epoch, self._batch)
        return {"seed": seed, "epoch": epoch, "batch": batch}

    def load_state_dict(self, state: dict[str, int | None]) -> None:
        """Go to the place of `state_dict`, from which the next iteration starts. Raises:
        ArgumentError for another value."""
        try:
            seed, epoch, batch = (state[k] for k in ("seed", "epoch", "batch"))
            good = all(type(n) is int and n >= 0 for n in (seed or 0, epoch, batch))
        except (TypeError, KeyError, ValueError):
            good = False
        if not good:
            raise ArgumentError(f"load_state_dict takes what state_dict has returned, got {state}")
        self._next = seed, int(epoch or 0), int(batch or 0)

    def __iter__(self) -> Iterator[Batch]:
        return self._epoch_of(None)

    def shared(self, sharing: Any) -> Iterator[tuple[Batch, int, int]]:
        """Iterate as one of several processes (tensorgrad/distributed/sharing.py): its part of each
        batch, with the number of examples in the batch and how many of them are its own."""
        return self._epoch_of(sharing)

    def _epoch_of(self, sharing: Any) -> Iterator[Any]:
        seed, epoch, start = self._next or (self.seed, self._epoch + 1, 0)
        drawn = self.shuffle or self.sampler is not None or self._by_samples
        if seed is None and not drawn:
            seed = 0
        elif seed is None:
            seed = int(host_generator().integers(2**63 - 1))
        if sharing is not None:
            seed = int(sharing.agreed(seed))
        self._seed, self._epoch, self._batch, self._next = seed, epoch, start, None
        home = default()
        batches = self._batches(seed, epoch if self.seed is not None else 0, start, sharing)
        made = (
            prefetched(batches, home)
            if home.kernels == "cuda"
            else (
                (tree, [make(a[w], None, home.name) for a, w in parts]) for tree, parts in batches
            )
        )
        number = start
        for number, (tree, arrays) in enumerate(made, start + 1):
            if self._epoch == epoch:  # else a later iteration has begun
                self._batch = number
            yield refill(tree, _filled(tree, iter(arrays)))
        if number == 0 and isinstance(self.source, Stream):
            raise ShapeError(
                "the data is empty: the stream gave no example"
                + ("; an iterator can be read once: give what makes one" if epoch else "")
            )
        if self._epoch == epoch:
            self._next = self.seed, epoch + 1, 0

    def _batches(
        self, seed: int, epoch: int, start: int, sharing: Any
    ) -> Iterator[tuple[Any, list[Part]]]:
        """The batches of an epoch from the `start`-th: trees, and the arrays in them. Those of one
        of several processes are (batch, examples of all, its own)."""
        if isinstance(self.source, Stream):
            yield from map(_parts, self._streamed(seed, epoch, start, sharing))
            return
        order = self._order(seed, epoch)
        if sharing is not None and self.sampler is not None:
            order = sharing.agreed(order)
        n = len(self.source) if order is None else len(order)
        count, size = self._count(n), self.batch_size
        ends = [min(i * size, n) for i in range(count + 1)]
        if not self.drop_last:
            ends[-1] = n
        spans = [slice(*ends[i : i + 2]) for i in range(start, count)]
        counts: list[tuple[int, ...]] = [()] * len(spans)
        if sharing is not None:
            spans, counts = _shared(spans, sharing)
        if isinstance(self.source, Arrays) and not self._by_samples:
            orders = ordered(self.source.arrays, order)
            for span, own in zip(spans, counts, strict=True):
                tree = (self.source.tree, *own) if own else self.source.tree
                yield tree, [part(a, span, orders) for a in self.source.arrays]
            return
        where = np.arange(n) if order is None else order
        tasks = ((epoch, i, where[span]) for i, span in enumerate(spans, start))
        run = self._reader(seed).batch
        if self.workers:
            made = computed(lambda: run, tasks, self.workers, self.prefetch)
        else:
            made = map(run, tasks)
        for batch, own in zip(made, counts, strict=False):
            yield _parts((batch, *own) if own else batch)

    def _order(self, seed: int, epoch: int) -> np.ndarray | None:
        n = len(self.source)  # type: ignore[arg-type]
        if self.sampler is not None:
            return positions(self.sampler, n, seed, epoch)
        if self.shuffle:
            return np.random.default_rng((seed, epoch)).permutation(n)
        return None

    def latest(self) -> np.ndarray | None:
        """The indices of the samples in the batch that was handed out last, for messages; None
        where they are not known."""
        again = self.sampler is None or callable(self.sampler) or hasattr(self.sampler, "__len__")
        if isinstance(self.source, Stream) or not again or self._seed is None or not self._batch:
            return None
        order = self._order(self._seed, self._epoch if self.seed is not None else 0)
        start = (self._batch - 1) * self.batch_size
        last = self._batch == len(self) and not self.drop_last
        which = slice(start, None if last else start + self.batch_size)
        return (np.arange(len(self.source)) if order is None else order)[which]

    def _reader(self, seed: int) -> Reader:
        return Reader(self.source, self.transform, self.collate, self.dtype, seed, self.batch_size)

    def _streamed(self, seed: int, epoch: int, start: int, sharing: Any) -> Iterator[Any]:
        """The batches of a stream: read by one process, however many workers there are."""
        rows = None if sharing is None else sharing.rows
        begin = partial(self._reader(seed).stream, epoch, start, self.drop_last, rows)
        if not self.workers:
            return begin()
        return computed(partial(_reading, begin), repeat(None), 1, self.prefetch * self.workers)


def _shared(spans: list[slice], sharing: Any) -> tuple[list[slice], list[tuple[int, ...]]]:
    """The part of one of several processes in each batch, and (examples of all, its own)."""
    cut, counts = [], list[tuple[int, ...]]()
    for span in spans:
        n = span.stop - span.start
        rows, own = sharing.rows(n)
        cut.append(slice(span.start + rows.start, span.start + rows.stop))
        counts.append((n, own))
    return cut, counts


def _indices(sampler: Any) -> bool:
    return hasattr(sampler, "__iter__") and not isinstance(sampler, (str, bytes, dict))


def _reading(begin: Callable[[], Iterator[Any]]) -> Callable[[Any], Any]:
    """The function of a worker that reads a stream: each task is the next batch."""
    batches = begin()
    return lambda task: next(batches, END)


def _parts(batch: Any) -> tuple[Any, list[Part]]:
    """A batch, and the arrays that it holds."""
    return batch, [(a, ...) for a in leaves(batch) if isinstance(a, np.ndarray)]


def _filled(tree: Any, arrays: Iterator[Any]) -> Iterator[Any]:
    """The leaves of a batch for the caller: tensors, and what is no array as it is."""
    for leaf in leaves(tree):
        yield Tensor(next(arrays)) if type(leaf) in BY_TYPE else leaf
