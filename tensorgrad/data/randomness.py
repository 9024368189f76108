"""The random numbers of samples: (seed, epoch, index) decides them, whoever computes the sample.

So an epoch is the same with no worker process and with several, and when it is resumed in the
middle.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..randomness import Generator, host_generator


class _Place(threading.local):
    """The sample that this thread computes, and its generator once something was drawn."""

    key: tuple[int, ...] | None = None
    generator: np.random.Generator | None = None


_place = _Place()


def rng() -> np.random.Generator:
    """The generator for the random numbers of the sample that is being computed, for data sets and
    transforms: its numbers depend on the loader's seed, the epoch and the sample's index alone.
    Outside of a loader it is the generator that `tg.seed` seeds.

    >>> from tensorgrad.data import DataLoader
    >>> class Noise:
    ...     def __len__(self): return 4
    ...     def __getitem__(self, i): return i + rng().random()
    >>> a = [x.tolist() for x in DataLoader(Noise(), batch_size=2, seed=0)]
    >>> a == [x.tolist() for x in DataLoader(Noise(), batch_size=2, seed=0)]
    True
    """
    if _place.key is None:
        return host_generator()
    if _place.generator is None:
        _place.generator = np.random.default_rng(_place.key)
    return _place.generator


def enter(key: tuple[int, ...] | None) -> None:
    """From here on `rng` is that of the sample with this key: seed, epoch, index."""
    _place.key, _place.generator = key, None


@contextmanager
def seeded(seed: int, epoch: int, batch: int, rank: int = 0) -> Iterator[None]:
    """A block in which Python's, NumPy's global and tensorgrad's generators are seeded for a batch,
    or a process's part of it, for data sets that draw from those; afterwards they go on where they
    were."""
    key = (seed, epoch, batch, rank) if rank else (seed, epoch, batch)
    words = np.random.SeedSequence(key).generate_state(4)
    before = random.getstate(), np.random.get_state()  # noqa: NPY002  # what users draw from
    random.seed(int(words[0]))
    np.random.seed(words[1:])  # noqa: NPY002
    try:
        with Generator(int(words[0])):
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        enter(None)
