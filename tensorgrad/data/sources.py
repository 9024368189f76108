"""What a DataLoader reads: arrays, data sets with an index, or streams of samples."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import BY_TYPE, Array, cast, fitting, is_floating, make
from ..core import Tensor
from ..errors import ArgumentError, ShapeError
from ..settings import shown
from ..trees import leaves, opened, refill
from .collate import stacked
from .randomness import enter, seeded

LONGEST = 10_000_000  # indices of a sampler without end, or nearly so
END: Any = object()


def several(data: Any) -> bool:
    """Whether this is several arrays, a tuple or a list of arrays; a list of numbers is one."""
    return isinstance(data, tuple) or (
        isinstance(data, list) and bool(data) and all(hasattr(a, "shape") for a in data)
    )


def arrays_of(data: Any) -> tuple[Any, ...]:
    """The arrays of a data set; ShapeError unless they have one length, above 0."""
    return Arrays(data if several(data) else (data,)).arrays


def source_of(data: Any) -> Arrays | Samples | Stream:
    """What can be read of it: arrays and structures of them as such, others by their protocol."""
    if _is_array(data) or isinstance(data, (tuple, dict, int, float, complex)) or several(data):
        return Arrays(data)
    if isinstance(data, list):
        ragged = len({len(row) if isinstance(row, list) else 0 for row in data}) > 1
        return Samples(data) if ragged or (data and _is_sample(data[0])) else Arrays(data)
    if isinstance(data, (str, bytes)):
        return Arrays(data)  # raises: no array
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        return Samples(data)
    if hasattr(data, "__iter__") or callable(data):
        return Stream(data)
    return Arrays(data)  # raises: no array


def _is_array(value: Any) -> bool:
    kinds = ("__array__", "__array_interface__")
    return isinstance(value, (*BY_TYPE, Tensor)) or any(hasattr(value, k) for k in kinds)


def _is_sample(value: Any) -> bool:
    """Whether an element of a list is a sample, such as (array, label), not a row of numbers."""
    if not isinstance(value, (tuple, list)):
        return not (_is_array(value) or isinstance(value, (int, float, complex)))
    lists = {isinstance(part, (list, tuple)) for part in value}
    return len(lists) == 2 or any(_is_array(part) or _is_sample(part) for part in value)


def _nested(value: Any) -> bool:
    """Whether a part of a structure of arrays is a structure itself."""
    if isinstance(value, (tuple, list)):
        return bool(value) and all(_has_rows(part) or _nested(part) for part in value)
    return isinstance(value, dict)


def _has_rows(value: Any) -> bool:
    return _is_array(value) and getattr(value, "shape", (1,)) != ()


class Arrays:
    """Arrays of one length, in a structure of tuples, lists and dicts."""

    def __init__(self, data: Any):
        found: list[Array] = []
        self.tree = self._made(data, found, top=True)
        self.arrays = tuple(found)
        for a in found:
            if not a.shape:
                raise ShapeError("data must have a first axis, the examples; got a single number")
        lengths = [len(a) for a in found]
        if len(set(lengths)) > 1:
            raise ShapeError(
                f"the arrays differ in length: {', '.join(map(str, lengths))} examples"
            )
        if not lengths or not lengths[0]:
            raise ShapeError("the data is empty: there are no examples")

    def _made(self, data: Any, found: list[Array], top: bool = False) -> Any:
        if (top and several(data)) or _nested(data):
            parts, build = opened(data) or ([], list)
            return build([self._made(part, found) for part in parts])
        found.append(data._data if isinstance(data, Tensor) else make(data))
        return found[-1]

    def cast(self, dtype: Any) -> None:
        """Cast the floating arrays."""
        self.arrays = tuple([_as(a, dtype) for a in self.arrays])
        self.tree = refill(self.tree, iter(self.arrays))

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: Any) -> Any:
        return refill(self.tree, iter([a[index] for a in self.arrays]))


class Samples:
    """A data set with `__len__` and `__getitem__`."""

    def __init__(self, dataset: Any):
        self.dataset = dataset
        if not len(dataset):
            raise ShapeError("the data is empty: there are no examples")

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        return self.dataset[index]


class Stream:
    """Samples one after the other: an iterable, or a function that returns one."""

    def __init__(self, samples: Any):
        self.samples = samples

    def __iter__(self) -> Iterator[Any]:
        return iterator(self.samples) if callable(self.samples) else iter(self.samples)


def iterator(make: Callable[[], Any]) -> Iterator[Any]:
    """What a function given as data iterates over; ArgumentError where that is nothing."""
    found = make()
    if not hasattr(found, "__iter__"):
        raise ArgumentError(f"data: {shown(make)} returned {shown(found)}, which has no samples")
    return iter(found)


@dataclass
class Reader:
    """Reads, transforms and collates the samples of batches: what a worker process runs. Batches
    are trees of NumPy arrays and lists."""

    source: Any
    transform: Callable[[Any], Any] | None
    collate: Callable[[Sequence[Any]], Any] | None
    dtype: Any
    seed: int
    size: int

    def batch(self, task: tuple[int, int, Any]) -> Any:
        """The batch of the samples at some indices: (epoch, number of the batch, indices)."""
        epoch, _, indices = task
        with seeded():
            return self._collated(list(self._read(epoch, indices)), indices, epoch)

    def _read(self, epoch: int, indices: Any) -> Iterator[Any]:
        at_once = getattr(getattr(self.source, "dataset", None), "__getitems__", None)
        if at_once is not None:  # of PyTorch and Hugging Face
            enter((self.seed, epoch, int(indices[0]), 1))
            with _noting(f"the batch that starts with sample {indices[0]}"):
                samples = list(at_once([int(i) for i in indices]))
            yield from (self._transformed(s, epoch, i) for s, i in zip(samples, indices))  # noqa: B905
            return
        for i in indices:
            enter((self.seed, epoch, int(i)))
            with _noting(f"sample {i}"):
                sample = self.source[int(i)]
            yield self._transformed(sample, epoch, i, entered=True)

    def _transformed(self, sample: Any, epoch: int, index: int, entered: bool = False) -> Any:
        if self.transform is None:
            return sample
        if not entered:
            enter((self.seed, epoch, int(index)))
        with _noting(f"sample {index}"):
            return self.transform(sample)

    def _collated(self, samples: list[Any], names: Any, epoch: int) -> Any:
        enter((self.seed, epoch, int(names[0]), 2))
        with _noting(f"the batch that starts with sample {names[0]}"):
            batch = stacked(samples, names) if self.collate is None else self.collate(samples)
        return refill(batch, iter([self._host(leaf) for leaf in leaves(batch)]))

    def _host(self, leaf: Any) -> Any:
        """A part of a batch: whatever is an array, as a NumPy array of the asked dtype."""
        if isinstance(leaf, (str, bytes)) or not (
            _is_array(leaf) or isinstance(leaf, (int, float))
        ):
            return leaf
        array = leaf.numpy() if isinstance(leaf, Tensor) else make(leaf, None, "numpy")
        return array if self.dtype is None else _as(array, self.dtype)

    def stream(
        self, epoch: int, start: int, drop_last: bool, rows: Callable[[int], Any] | None
    ) -> Iterator[Any]:
        """The batches of an epoch of a Stream, from the `start`-th; with `rows` one process's part
        of each, of which alone samples are transformed, and (examples of all, its own)."""
        samples = iter(self.source)
        with seeded():  # what a stream draws before the `start`-th batch decides what comes then
            for at in range(start * self.size):
                enter((self.seed, epoch, at))
                if next(samples, END) is END:
                    return
        for number in itertools.count(start):
            with seeded():
                found: list[tuple[int, Any]] = []
                while len(found) < self.size:
                    at = number * self.size + len(found)
                    enter((self.seed, epoch, at))
                    with _noting(f"sample {at}, which comes next,"):
                        sample = next(samples, END)
                    if sample is END:
                        break
                    if rows is None:
                        sample = self._transformed(sample, epoch, at, entered=True)
                    found.append((at, sample))
                if not found or (drop_last and len(found) < self.size):
                    return
                own: tuple[int, ...] = ()
                if rows is not None:
                    span, mine = rows(n := len(found))
                    own = n, mine
                    found = [(at, self._transformed(s, epoch, at)) for at, s in found[span]]
                names = [i for i, _ in found]
                batch = self._collated([s for _, s in found], names, epoch)
            yield (batch, *own) if own else batch


def _as(array: Array, dtype: Any) -> Array:
    floating = is_floating(array.dtype)
    return cast(array, fitting(dtype, array.dtype)) if floating else array


class _noting:
    """A block whose errors say which sample they are about."""

    def __init__(self, what: str):
        self.what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, Exception):  # Ctrl-C is not about the sample
            error.add_note(f"  in {self.what} of the DataLoader's data set")


def positions(sampler: Any, n: int, seed: int, epoch: int) -> np.ndarray:
    """An epoch's order by a sampler: a function of a generator, or an iterable of indices."""
    if callable(sampler):
        found = sampler(np.random.default_rng((seed, epoch)))
    else:
        most = max(LONGEST, 100 * n)
        with seeded():  # those of others draw from global generators
            enter((seed, epoch, n, 3))
            found = list(itertools.islice(sampler, most + 1))
        if len(found) > most:
            raise ArgumentError(f"DataLoader: the sampler gives more than {most:,} indices")
    order = np.asarray(found)
    if order.ndim != 1 or (order.size and order.dtype.kind not in "iu"):
        raise ArgumentError(
            f"DataLoader: the sampler gives indices, one an example, got {order.dtype} of shape "
            f"{order.shape}; for batches of its own choice cut a data set, or give a `collate`"
        )
    if order.size and not 0 <= int(order.min()) <= int(order.max()) < n:
        raise ArgumentError(
            f"DataLoader: the sampler gives indices from {order.min()} to {order.max()}, the data "
            f"set has {n} examples"
        )
    return order
