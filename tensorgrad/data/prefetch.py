"""Batches on their way to a GPU while it computes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np

from ..backend import BY_TYPE, Array, Backend, make


def part(a: Array, where: Any) -> Array:
    """The examples of an array at a place: a slice, or numbers on the host."""
    here = BY_TYPE[type(a)]
    return a[where if here.kernels == "cpu" or type(where) is slice else here.from_host(where)]


def prefetched(arrays: tuple, places: Iterator[Any], home: Backend) -> Iterator[list[Array]]:
    """The parts of the arrays at the places, on a CUDA-like backend. What is on the host goes there
    from pinned memory on a stream of its own, one batch ahead of the one that is yielded: the copy
    runs while the device is busy with that."""
    slots = [_Slot(home), _Slot(home)]
    stream = home.xp.cuda.Stream(non_blocking=True)
    before: tuple[_Slot, list[Array]] | None = None
    try:
        for slot, where in zip(cycle(slots), places, strict=False):
            sent = slot, slot.send(arrays, where, stream)
            if before is not None:
                yield _received(*before, home)
            before = sent
        if before is not None:
            yield _received(*before, home)
    finally:  # the pinned memory, and that of a batch nobody fetched, go back to where it came from
        for slot in slots:
            slot.wait()


def _received(slot: _Slot, batch: list[Array], home: Backend) -> list[Array]:
    """The batch: what is asked of the current stream from now on comes after its copy."""
    home.xp.cuda.get_current_stream().wait_event(slot.done)
    return batch


class _Slot:
    """Pinned memory for one batch, and when it has been copied."""

    def __init__(self, home: Backend):
        self.home = home
        self.pinned: dict[int, np.ndarray] = {}
        self.done: Any = None

    def wait(self) -> None:
        """Wait until the memory may be written again."""
        if self.done is not None:
            self.done.synchronize()

    def send(self, arrays: tuple, where: Any, stream: Any) -> list[Array]:
        """Start to copy a batch; its arrays, which are not yet to be read."""
        self.wait()
        batch, copies = [], []
        for i, a in enumerate(arrays):
            if type(a) is not np.ndarray:
                batch.append(make(part(a, where), None, self.home.name))
                continue
            host = self._filled(i, a, where)
            batch.append(self.home.xp.empty(host.shape, host.dtype))
            copies.append((host, batch[-1]))
        # what had the new memory before on the current stream comes first
        stream.wait_event(self.home.xp.cuda.get_current_stream().record())
        for host, array in copies:
            array.set(host, stream=stream)
        self.done = stream.record()
        return batch

    def _filled(self, i: int, a: np.ndarray, where: Any) -> np.ndarray:
        """The part of array i in pinned memory."""
        count = where.stop - where.start if type(where) is slice else len(where)
        if i not in self.pinned:  # the first batch is the largest
            shape = (count, *a.shape[1:])
            size = max(1, a.dtype.itemsize * int(np.prod(shape)))
            memory = self.home.xp.cuda.alloc_pinned_memory(size)
            self.pinned[i] = np.ndarray(shape, a.dtype, memory)
        host = self.pinned[i][:count]
        if type(where) is slice:
            host[...] = a[where]
        else:
            np.take(a, where, axis=0, out=host, mode="clip")  # "raise" would copy twice
        return host
