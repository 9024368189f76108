"""The random numbers of samples: (seed, epoch, index) decides them, whoever computes the sample.

So an epoch is the same with no worker process and with several, and when it is resumed in the
middle. That holds for `rng`, for `tg.random`, and for the global generators of Python, NumPy and
PyTorch, from which the data sets and transforms of others draw.
"""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..randomness import Generator, host_generator

Key = tuple[int, ...]  # seed, epoch, index, and what else tells apart what is drawn


class _OfSample(Generator):
    """The generator of the sample that is being computed, seeded when something is drawn."""

    def __init__(self) -> None:
        self._before: list[Any] = []

    def enter(self, key: Key) -> None:
        before = self._before
        vars(self).clear()
        self._before, self.place = before, key

    def __getattr__(self, name: str) -> Any:  # of what is not there yet
        if name not in ("host", "key", "device", "rank"):
            raise AttributeError(name)
        self.device, self.rank = {}, 0
        self._start(np.random.SeedSequence(self.place))
        return getattr(self, name)


class _Current(threading.local):
    """What this thread reads a batch with; None outside of one."""

    generator: _OfSample | None = None


_current = _Current()


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
    return host_generator()


def enter(key: Key) -> None:
    """From here on, within `seeded`, all generators are those of the sample with this key."""
    assert _current.generator is not None
    _current.generator.enter(key)
    word = _mixed(key)
    random.seed(word)
    np.random.seed(word & 0xFFFFFFFF)  # noqa: NPY002  # what users draw from
    if (theirs := _torch()) is not None:
        theirs.manual_seed(word)


@contextmanager
def seeded() -> Iterator[None]:
    """A block in which `enter` seeds the generators that samples draw from; afterwards Python's,
    NumPy's and PyTorch's go on where they were."""
    before, outer = of_others(), _current.generator
    own = _current.generator = _OfSample()
    try:
        with own:
            yield
    finally:
        _current.generator = outer
        set_others(before)


def of_others() -> dict[str, Any]:
    """Where the global generators of Python, NumPy and, if it is loaded, PyTorch are: numbers, text
    and arrays."""
    version, words, gauss = random.getstate()
    kind, keys, at, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    state: dict[str, Any] = {
        "python": [version, np.array(words, np.uint32), gauss],
        "numpy": [kind, keys, at, has_gauss, cached],
    }
    if (theirs := _torch()) is not None:
        state["torch"] = theirs.get_state().numpy()
    return state


def set_others(state: dict[str, Any]) -> None:
    """Go to where the generators were at `of_others`."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(np.asarray(words).tolist()), gauss))
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.asarray(keys), *rest))  # noqa: NPY002
    if "torch" in state and (theirs := _torch()) is not None:
        theirs.set_state(sys.modules["torch"].tensor(np.asarray(state["torch"])))


def _torch() -> Any:
    """PyTorch's generator of the CPU, where PyTorch is loaded."""
    return getattr(sys.modules.get("torch"), "default_generator", None)


def _mixed(key: Key) -> int:
    """63 bits of a key: SplitMix64 (Steele et al. 2014), a word at a time, as it is done for each
    sample and NumPy's SeedSequence takes longer than reading many of them."""
    z = 0
    for part in key:
        z = (z + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        z ^= z >> 31
    return z >> 1
