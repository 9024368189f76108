"""Random generators and their state: which random numbers a thread draws next.

Weights and shuffles are drawn on the host, by NumPy's generator; masks and the distributions of
`tg.random` on the device by our Philox, whose state is an array there (ops/random.py). A Generator
holds both. Each thread has one of its own, so that threads neither wait for each other nor draw the
same numbers.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, TypeAlias

import numpy as np

from . import backend as backends
from .backend import Array
from .core import OPS
from .errors import ArgumentError, GraphError, forked
from .ops import random as _random  # noqa: F401  (registers advance_random)
from .settings import Whole, gate
from .switches import switches

Seed: TypeAlias = Annotated[int, Whole(0, math.inf)]
_ODD = 0x9E3779B97F4A7C15  # keys of ranks: apart from each other, and rank 0's as it is


class Generator:
    """Streams of random numbers that a seed determines, one on the host and one for each backend.

    Args:
        seed: a whole number >= 0; None: one from the operating system.
    Raises: ArgumentError for another seed.

    Given to a function of `tg.random` it is what that draws from; within `with generator:` it is
    what all of this thread draws from, weights and dropout included. Threads must not share one.

    >>> g = Generator(7)
    >>> with g: a = randn(2).tolist()
    >>> with Generator(7): a == randn(2).tolist()
    True
    """

    @gate
    def __init__(self, seed: Seed | None = None):
        self.device: dict[str, Array] = {}  # backend -> state of Philox
        self.key = 0  # of Philox
        self.rank = 0  # of several processes, each of which has masks of its own
        self._before: list[Any] = []
        self.seed(int.from_bytes(os.urandom(7), "little") if seed is None else seed)

    @gate
    def seed(self, value: Seed) -> None:
        """Start all streams anew."""
        self._start(np.random.SeedSequence(value))

    def _start(self, seeds: Any) -> None:
        self.host = np.random.default_rng(seeds)  # for numbers that are drawn on the host
        self.key = int(seeds.generate_state(1, np.uint64)[0])
        if forked():
            self.device.clear()
        for name in self.device:
            self._set(name, 0)

    def _set(self, name: str, drawn: int) -> None:
        """Go to a place of the stream on a backend: in place, as CUDA graphs read that array."""
        key = self.key ^ (self.rank * _ODD & (2**64 - 1))
        state = backends.get(name).from_host(np.array([key, drawn], dtype=np.uint64))
        if name in self.device:
            self.device[name][...] = state
        else:
            self.device[name] = state

    def state(self, name: str, words: int) -> Array:
        """The state for an op that draws `words` 32-bit words on backend `name`, which the stream
        then skips."""
        if name not in self.device:
            self._set(name, 0)
        return OPS["advance_random"](self.device[name], blocks=(words + 3) // 4)

    def get_state(self) -> dict[str, Any]:
        """Where all streams are: numbers and strings, which `set_state` takes."""
        drawn = {n: int(backends.get(n).to_host(a)[1]) for n, a in self.device.items()}
        return {"key": self.key, "drawn": drawn, "host": self.host.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go to where the streams were at `get_state`. Raises: ArgumentError for another value."""
        try:
            key, drawn, host = state["key"], dict(state["drawn"]), state["host"]
        except (TypeError, KeyError, ValueError):
            raise ArgumentError("set_state takes what get_state has returned") from None
        self.host.bit_generator.state = host
        self.key = key
        for name in {*self.device, *drawn}:
            self._set(name, drawn.get(name, 0))

    def __enter__(self) -> Generator:
        self._before.append(switches.generator)
        switches.generator = self
        return self

    def __exit__(self, *error: object) -> None:
        switches.generator = self._before.pop()


class _Process:
    """What generators of threads are made of: the seed, and how many threads have drawn since."""

    seed: int | None = None
    threads = 0
    epoch = 0
    rank = 0
    lock = threading.Lock()


class _Own(threading.local):
    generator: Generator | None = None
    epoch: int | None = -1  # of the process's seed that it is made of; None: seeded in its thread


_own = _Own()


def current() -> Generator:
    """The generator that this thread draws from: that of a `with` block, or its own."""
    if switches.generator is not None:
        return switches.generator
    if _own.generator is None or (_own.epoch is not None and _own.epoch != _Process.epoch):
        _begin()
    assert _own.generator is not None
    return _own.generator


def _begin() -> None:
    """Seed the generator of this thread: the main thread's with the seed itself, the others' with
    children of it, in the order in which they first draw."""
    with _Process.lock:
        if _Process.seed is None:
            _Process.seed = int.from_bytes(os.urandom(7), "little")
        child: tuple[int, ...] = ()
        if threading.current_thread() is not threading.main_thread():
            child, _Process.threads = (_Process.threads,), _Process.threads + 1
        _own.epoch = _Process.epoch
    _own.generator = _own.generator or Generator(0)
    _own.generator.rank = _Process.rank
    _own.generator._start(np.random.SeedSequence(_Process.seed, spawn_key=child))


@gate
def seed(value: Seed) -> None:
    """Seed the random generators: weight initialisation, dropout, shuffling and random tensors are
    determined by `value`. Without a call, each process is seeded by the operating system.

    Each thread draws from a generator of its own. Those of other threads follow from the main
    thread's seed, in the order in which they first draw; where that may vary, seed in the thread,
    which concerns it alone, or draw from a `random.Generator`.

    >>> seed(0); a = randn(2).tolist(); seed(0); a == randn(2).tolist()
    True
    """
    if switches.generator is not None:
        switches.generator.seed(value)
        return
    if threading.current_thread() is not threading.main_thread():
        _own.generator, _own.epoch = _own.generator or Generator(0), None
        _own.generator.seed(value)
        return
    with _Process.lock:
        _Process.seed, _Process.threads = value, 0
        _Process.epoch += 1
    _begin()


def share(state: dict[str, Any], rank: int) -> None:
    """Go on from rank 0's state, with masks of this rank's own."""
    generator = current()
    generator.rank = _Process.rank = rank
    generator.set_state(state)


def get_state() -> dict[str, Any]:
    """Where this thread's generator is, for `set_state`: numbers and text that JSON can hold. On a
    GPU the host waits for it.

    >>> state = tg.random.get_state(); a = tg.random.uniform(size=2).tolist()
    >>> tg.random.set_state(state); a == tg.random.uniform(size=2).tolist()
    True
    """
    return current().get_state()


@gate
def set_state(state: dict[str, Any]) -> None:
    """Go back to where this thread's generator was at `get_state`.

    Raises: ArgumentError for anything else.
    """
    current().set_state(state)


def host_generator() -> np.random.Generator:
    """The generator on the host, for weights, shuffles and random tensors."""
    if switches.replayed is not None:
        return switches.replayed[0]
    return current().host


def random_state(name: str, words: int, generator: Generator | None = None) -> Array:
    """The state for an op that draws `words` 32-bit words on backend `name`; see ops/random.py."""
    if switches.replayed is not None:
        if (state := next(switches.replayed[1], None)) is None:
            raise GraphError(_OTHERS)
    else:
        state = (generator or current()).state(name, words)
    if switches.draws is not None:
        switches.draws.states.append(state)
    return state


class Draws:
    """The random states that a function uses in this thread, so that it can be replayed: those of
    Philox on the device, and that of the host's generator before and after it."""

    def __init__(self) -> None:
        self.states: list[Array] = []
        self.start: Any = None
        self.end: Any = None

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Record the states used within the block, here and in an enclosing `Draws`."""
        outer, switches.draws = switches.draws, self
        self.start = host_generator().bit_generator.state
        try:
            yield
        finally:
            self.end = host_generator().bit_generator.state
            switches.draws = outer
            if outer is not None:
                outer.states += self.states

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Replay the recorded states within the block, and leave the generators as they are;
        GraphError where the block draws differently."""
        before = switches.draws, switches.replayed
        host = np.random.default_rng(0)
        host.bit_generator.state = self.start
        switches.draws, switches.replayed = None, (host, iter(self.states))
        try:
            yield
        finally:
            switches.draws, switches.replayed = before
        if host.bit_generator.state not in (self.start, self.end):
            raise GraphError(_OTHERS)


_OTHERS = """checkpoint: the function drew other random numbers when recomputed for backward:
initialise lazy layers by a call before, and draw in one thread at a time"""
