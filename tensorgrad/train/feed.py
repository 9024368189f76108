"""What `fit`, `evaluate` and `predict` read: arrays, data sets, loaders and generators of batches,
as batches (inputs, targets, weights) on the default backend in the model's dtype."""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..backend import BY_TYPE, cast, default, fitting, is_floating, make, namespace
from ..core import Tensor
from ..data.loader import DataLoader
from ..data.sources import Arrays, Samples, iterator, source_of
from ..errors import ArgumentError, DTypeError, ShapeError, user_level
from ..settings import listed, shown
from ..trees import leaves, refill

LONG = 100_000  # batches of an epoch whose end may never come
SAID = 8  # samples that a message names


class Batch(NamedTuple):
    """Inputs, targets and weights of examples, of which there are `size`. Of several processes that
    share a batch of `whole` examples each has a part, whose loss and gradients count for `share`.
    """

    x: Any
    y: Any
    weight: Any
    size: int
    whole: int

    @property
    def share(self) -> float:
        """The part of the whole batch, 0 for rows that another process counts."""
        return self.size / self.whole


class Feed:
    """The batches of a run.

    Args:
        loader: a DataLoader, or an iterable or iterator of batches.
        dtype: to which floating arrays are cast.
        steps: batches of an epoch; None: all there are.
        targets: whether batches are (x, y) or (x, y, weights), else inputs alone.
        same: whether each epoch begins where the first did, with the same random numbers, as those
            of validation do: so a run that is resumed has the scores of one that is not.
    """

    def __init__(
        self,
        loader: Any,
        dtype: Any,
        steps: int | None = None,
        targets: bool = True,
        same: bool = False,
    ):
        if same and isinstance(loader, DataLoader):
            loader = copy.copy(loader)  # whose place is its own
        self.loader, self.dtype, self.steps, self.targets = loader, dtype, steps, targets
        self.same = same
        self.ran_dry = False  # before the steps of an epoch were done
        self.spent = False  # an iterator, of which an epoch was the whole
        self._begun: Iterator[Any] | None = None  # an iteration that goes on
        self._first: Batch | None = None  # read ahead of it
        self._moved = False  # by a checkpoint
        self.class_weight: dict[int, float] | None = None  # weighs the examples of batches
        self.sharing: Any = None  # with other processes, which each have a part of each batch
        whole = isinstance(loader, DataLoader) and steps is None
        self.examples: int | None = loader.examples if whole else None
        self.batch_size: int | None = loader.batch_size if whole else None
        if self.examples is not None and loader.drop_last:
            self.examples -= self.examples % loader.batch_size

    @property
    def place(self) -> Any:
        """What has `state_dict`: the loader, or None."""
        return self.loader if hasattr(self.loader, "state_dict") else None

    @property
    def batches(self) -> int | None:
        """How many batches an epoch has, where it is known."""
        if self.steps is not None:
            return self.steps
        try:
            return len(self.loader)
        except TypeError:
            return None

    def arrays(self) -> tuple[Any, Any] | None:
        """(x, y) where both are single arrays in memory."""
        source = getattr(self.loader, "source", None)
        if (
            isinstance(source, Arrays)
            and isinstance(source.tree, tuple)
            and len(source.arrays) == 2
            and not self.class_weight
        ):
            return source.arrays
        return None

    def sample(self, size: int) -> tuple[Tensor, Tensor]:
        """The first examples of the arrays, without going on in the loader."""
        cut = tuple([a[:size] for a in self.arrays() or ()])
        return next(iter(DataLoader(cut, size, dtype=self.dtype)))

    def first(self) -> Batch:
        """The first batch, which the next epoch begins with; ShapeError where there is none."""
        if self._first is None:
            self._begun = self._opened() if self._begun is None else self._begun
            batch = next(self._begun, None)
            if batch is None:
                raise ShapeError("the data is empty: there is no batch")
            self._first = self._made(batch)
        return self._first

    def restart(self) -> None:
        """Forget what was read ahead: the loader is at another place."""
        self._begun, self._first, self._moved = None, None, True

    def epoch(self) -> Iterator[Batch]:
        """The batches of an epoch. With `steps`, an iterator goes on where the last epoch
        ended, and what can be iterated again begins anew at its end."""
        self.ran_dry, once = False, isinstance(self.loader, Iterator)
        running = self._begun if self._begun is not None else self._opened()
        ahead, self._begun, self._first = self._first, None, None
        made: Iterator[Batch] = map(self._made, running)
        if ahead is not None:
            made = itertools.chain([ahead], made)
        if self.steps is None:
            empty, self._moved = not self._moved, False  # it may be moved to the end of an epoch
            for done, batch in enumerate(made, 1):
                empty = False
                if done == LONG and self.batches is None:
                    _warn_endless()
                yield batch
            if empty:
                raise ShapeError(
                    "the data is empty: there is no batch"
                    + ("; an iterator can be read once" if once else "")
                )
            self.spent = once
            return
        for done in range(self.steps):
            found = next(made, None)
            if found is None and not once and done:  # it can be read again
                running = self._iterated()
                made = map(self._made, running)
                found = next(made, None)
            if found is None:
                self.ran_dry = True
                return
            yield found
        self._begun = running if once or not self.same else None

    def latest(self) -> str:
        """Which samples the batch that was read last is of, for messages; "" where that is not
        known."""
        found = self.loader.latest() if isinstance(self.loader, DataLoader) else None
        if found is None or self.sharing is not None:
            return ""
        names = ", ".join(map(str, found[:SAID])) + (", ..." if len(found) > SAID else "")
        return f", samples {names}"

    def _opened(self) -> Iterator[Any]:
        if self.same and isinstance(self.loader, DataLoader):
            place: dict[str, int | None] = {"seed": self.loader.seed or 0, "epoch": 0, "batch": 0}
            self.loader.load_state_dict(place)
        return self._iterated()

    def _iterated(self) -> Iterator[Any]:
        if self.sharing is None:
            return iter(self.loader)
        if isinstance(self.loader, DataLoader):
            return self.loader.shared(self.sharing)
        return map(self.sharing.cut, self.loader)

    def _made(self, batch: Any) -> Batch:
        if self.sharing is not None:
            part, whole, own = batch
            return self._parted(part)._replace(size=own, whole=whole)
        return self._parted(batch)

    def _parted(self, batch: Any) -> Batch:
        if not self.targets:
            x = batch[0] if isinstance(batch, (tuple, list)) and len(batch) in (1, 2, 3) else batch
            parts = [self._tensors(x), None, None]
        else:
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                said = f"a dict of {list(batch)}" if isinstance(batch, dict) else shown(batch)
                raise ArgumentError(
                    "fit and evaluate take batches (x, y) or (x, y, weights of examples), got "
                    f"{said:.200}; a DataLoader's `transform` makes samples (x, y) of others"
                )
            parts = [self._tensors(part) for part in (*batch, *[None] * (3 - len(batch)))]
        found = [a for a in leaves(parts[0]) if isinstance(a, Tensor) and a.shape]
        if not found:
            raise ShapeError(f"fit and evaluate: no inputs with a first axis in {shown(batch):.80}")
        x, y, weight = parts
        if self.class_weight:
            own = self._tensor(class_weights(getattr(y, "_data", y), self.class_weight))
            weight = own if weight is None else weight * own
        return Batch(x, y, weight, len(found[0]), len(found[0]))

    def _tensors(self, tree: Any) -> Any:
        if tree is None or isinstance(tree, Tensor):  # nearly always
            return tree if tree is None else self._tensor(tree)
        return refill(tree, iter([self._tensor(a) for a in leaves(tree)]))

    def _tensor(self, value: Any) -> Any:
        if isinstance(value, str):
            return value
        a = value._data if isinstance(value, Tensor) else make(value, None, default().name)
        if a.dtype != self.dtype and is_floating(a.dtype):
            a = cast(a, fitting(self.dtype, a.dtype))
        return value if isinstance(value, Tensor) and a is value._data else Tensor(a)


def class_weights(labels: Any, by_class: dict[int, float]) -> Any:
    """The weight of each example by its class, float32 (n,): 1 for classes that are not named."""
    if not hasattr(labels, "dtype") or is_floating(labels.dtype) or labels.ndim != 1:
        given = f"{labels.dtype} {labels.shape}" if hasattr(labels, "dtype") else shown(labels)
        raise DTypeError(f"fit: class_weight is for integer class labels (n,), got {given}")
    weights = namespace(labels).ones(len(labels), "float32")
    for label, weight in by_class.items():
        weights[labels == label] = weight
    return weights


def feed(
    x: Any,
    y: Any,
    batch_size: int,
    dtype: Any,
    *,
    shuffle: bool = False,
    weight: Any = None,
    steps: int | None = None,
    targets: bool = True,
    join: bool = False,
    single: bool = True,
    same: bool = False,
) -> Feed:
    """What to read of the arguments of `fit`, `evaluate` or `predict`.

    Args:
        single: whether the model has one output.
        join: whether a last batch of a single example is joined to the one before.
        same: whether all epochs are alike (`Feed`).
    """
    if y is not None or (not targets and not _own_batches(x)):
        if targets:
            if single:
                y = _rows(y, len(y) if isinstance(y, list) else 0)
            x = _rows(x, _length(y if single or not isinstance(y, list) else y[0]))
        if x is not None and not leaves(x):
            raise ShapeError(f"the inputs are empty: {shown(x)} holds no array")
        parts = (x,) if not targets else (x, y) if weight is None else (x, y, weight)
        loader: Any = DataLoader(parts, batch_size, shuffle, dtype=dtype)
        loader.join_single = join
        return Feed(loader, dtype, steps, targets, same)
    if isinstance(x, DataLoader):
        return Feed(x, dtype, steps, targets, same)
    if callable(x) and not hasattr(x, "__iter__") and not hasattr(x, "__getitem__"):
        x = _Again(x)
    if hasattr(x, "__getitem__") and hasattr(x, "__len__") and not hasattr(x, "__next__"):
        if isinstance(source_of(x), Samples):
            return Feed(
                DataLoader(x, batch_size, shuffle, dtype=dtype), dtype, steps, targets, same
            )
        raise ArgumentError("fit and evaluate need targets: fit(x, y)")
    if isinstance(x, (itertools.cycle, itertools.count)) and steps is None:
        raise ArgumentError(
            f"fit and evaluate: {type(x).__name__} has no end: give steps_per_epoch= (steps= in "
            "evaluate and predict)"
        )
    if hasattr(x, "__iter__"):
        return Feed(x, dtype, steps, targets, same)
    raise ArgumentError(f"fit and evaluate take arrays, loaders or generators, got {shown(x)}")


def _rows(value: Any, n: int) -> Any:
    """A list of n arrays, the number of examples, as one array: they are its rows."""
    if isinstance(value, list) and len(value) == n and all(hasattr(a, "shape") for a in value):
        return make(value)
    return value


def _length(value: Any) -> int:
    """The number of examples in targets of a single output, or in the first of several."""
    if isinstance(value, (tuple, dict)):
        value = next(iter(leaves(value)), 0)
    return len(value) if listed(value) and hasattr(value, "__len__") else 0


def _warn_endless() -> None:
    warnings.warn(
        f"an epoch has had {LONG:,} batches, and its data may have no end: give steps_per_epoch= "
        "(validation_steps= for validation, steps= in evaluate and predict)",
        stacklevel=user_level(),
    )


class _Again:
    """An iterable of what a function returns."""

    def __init__(self, make: Any):
        self.make = make

    def __iter__(self) -> Iterator[Any]:
        return iterator(self.make)


def _own_batches(x: Any) -> bool:
    """Whether it gives batches, or samples, itself."""
    if isinstance(x, (*BY_TYPE, Tensor, tuple, list, dict)) or hasattr(x, "__array__"):
        return False
    return callable(x) or hasattr(x, "__iter__") or hasattr(x, "__getitem__")
