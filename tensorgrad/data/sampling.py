"""Samplers: in which order an epoch visits the examples, and which.

A sampler of ours is a function of the epoch's generator that returns indices, so that a seed and an
epoch decide the order. DataLoader takes any iterable of indices as well, such as a sampler of
PyTorch.
"""

from __future__ import annotations

from typing import Annotated, Any, Protocol, TypeAlias

import numpy as np

from ..backend import make
from ..core import Tensor
from ..errors import ArgumentError
from ..settings import Own, Whole, gate, take
from ..typing import ArrayLike, Count, Natural

Indices: TypeAlias = "np.ndarray[Any, np.dtype[np.int64]]"


def host(values: Any) -> np.ndarray:
    """Numbers, one an example, as a NumPy array."""
    return values.numpy() if isinstance(values, Tensor) else make(values, None, "numpy")


class Sampler(Protocol):
    """The order of an epoch."""

    def __call__(self, generator: np.random.Generator) -> Indices:
        """The indices of an epoch's examples, in order."""


class Weighted:
    """Draws `count` examples (as many as there are weights where left out) with probabilities in
    proportion to their weights, with replacement unless told otherwise: for rare classes.

    Raises: ArgumentError for weights that are negative, not finite, or all zero, and for more
        examples than can be drawn without replacement.

    >>> Weighted([0.0, 1.0, 0.0], count=2)(np.random.default_rng(0)).tolist()
    [1, 1]
    """

    @gate
    def __init__(self, weights: ArrayLike, count: Count | None = None, replacement: bool = True):
        w = host(weights).astype(np.float64)
        if w.ndim != 1 or not w.size or not np.isfinite(w).all() or (w < 0).any() or not w.any():
            raise ArgumentError(
                f"Weighted: weights are numbers >= 0, not all 0, one an example; got {w!r}"
            )
        self.probabilities, self.replacement = w / w.sum(), replacement
        self.count = len(w) if count is None else count
        if not replacement and self.count > np.count_nonzero(w):
            raise ArgumentError(
                f"Weighted: {self.count} examples without replacement, of "
                f"{np.count_nonzero(w)} that have a weight"
            )

    def __call__(self, generator: np.random.Generator) -> Indices:
        n = len(self.probabilities)
        return generator.choice(n, self.count, self.replacement, self.probabilities)

    def __len__(self) -> int:
        return self.count


class Stratified:
    """Every example once, shuffled so that each batch has the classes in nearly the proportions of
    the whole: the examples of each class are spread evenly over the epoch.

    >>> order = Stratified([0, 0, 1, 1])(np.random.default_rng(0))
    >>> sorted(order.tolist()), {int(i) // 2 for i in order[:2]}
    ([0, 1, 2, 3], {0, 1})
    """

    @gate
    def __init__(self, labels: ArrayLike):
        _, self.classes = np.unique(host(labels), return_inverse=True)
        if self.classes.ndim != 1 or not self.classes.size:
            raise ArgumentError("Stratified: labels are one an example, (n,)")

    def __call__(self, generator: np.random.Generator) -> Indices:
        order = generator.permutation(len(self.classes))
        order = order[np.argsort(self.classes[order], kind="stable")]  # by class, shuffled within
        counts = np.bincount(self.classes)
        within = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
        places = (within + generator.random(len(counts)).repeat(counts)) / counts.repeat(counts)
        return order[np.argsort(places, kind="stable")]

    def __len__(self) -> int:
        return len(self.classes)


class ByLength:
    """Every example once, in batches of similar lengths, which need little padding: within `window`
    batches of a shuffled order examples are sorted by length; the batches are then shuffled.

    >>> order = ByLength([5, 1, 5, 1], batch_size=2)(np.random.default_rng(0))
    >>> sorted(sorted(order[i : i + 2].tolist()) for i in (0, 2))
    [[0, 2], [1, 3]]
    """

    @gate
    def __init__(self, lengths: ArrayLike, batch_size: Count, window: Count = 64):
        self.lengths = host(lengths)
        if self.lengths.ndim != 1 or not self.lengths.size:
            raise ArgumentError("ByLength: lengths are one number an example, (n,)")
        self.batch_size, self.window = batch_size, window

    def __call__(self, generator: np.random.Generator) -> Indices:
        order, size = generator.permutation(len(self.lengths)), self.batch_size
        for start in range(0, len(order), size * self.window):
            part = order[start : start + size * self.window]
            part[...] = part[np.argsort(self.lengths[part], kind="stable")]
        whole = len(order) // size * size  # a smaller last batch stays the last
        batches = order[:whole].reshape(-1, size)
        return np.concatenate([batches[generator.permutation(len(batches))].ravel(), order[whole:]])

    def __len__(self) -> int:
        return len(self.lengths)


class Shard:
    """The part of another order that falls to one of several processes: every `world`-th example,
    from `rank`. All have equally many: the order is filled up from its start.

    Args:
        of: a sampler, or the number of examples, which are then shuffled.
    Raises: ArgumentError unless rank is below world.

    >>> Shard(5, rank=1, world=2)(np.random.default_rng(0)).size
    3
    """

    @gate
    def __init__(self, of: Annotated[Sampler | int, Own("a sampler")], rank: Natural, world: Count):
        if rank >= world:
            raise ArgumentError(f"Shard: rank {rank} of {world}: ranks are numbered from 0")
        sized = hasattr(of, "__len__") and callable(of)
        self.of = of if sized else take("Shard", "of", Whole(1, hint="or a sampler"), of)
        self.rank, self.world = rank, world

    def __call__(self, generator: np.random.Generator) -> Indices:
        of = self.of
        order = generator.permutation(of) if isinstance(of, int) else np.asarray(of(generator))
        size = len(self) * self.world
        return np.resize(order, size)[self.rank :: self.world]

    def __len__(self) -> int:
        n = self.of if isinstance(self.of, int) else len(self.of)  # type: ignore[arg-type]
        return (n + self.world - 1) // self.world
