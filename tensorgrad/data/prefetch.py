"""Prefetching: the next batch is copied to the GPU while it computes on the current one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np

from ..backend import BY_TYPE, Array, Backend, make


def part(a: Array, where: Any) -> Array:
    """The examples of an array at `where`: a slice, or an index array on the host."""
    here = BY_TYPE[type(a)]
    return a[where if here.kernels == "cpu" or type(where) is slice else here.from_host(where)]


def prefetched(arrays: tuple, places: Iterator[Any], home: Backend) -> Iterator[list[Array]]:
    """The batches of the arrays at `places`, on a CUDA-like backend. Host arrays are copied
    asynchronously, from pinned memory on a separate stream, one batch ahead of the one that is
    yielded: the copy overlaps with the computation on that one."""
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
    finally:  # pinned memory, and a batch nobody fetched, are freed only after the copies from them
        for slot in slots:
            slot.wait()


def _received(slot: _Slot, batch: list[Array], home: Backend) -> list[Array]:
    """The batch, once the current stream is ordered after its copy."""
    home.xp.cuda.get_current_stream().wait_event(slot.done)
    return batch


class _Slot:
    """The pinned memory of one batch, and the event at the end of its copy."""

    def __init__(self, home: Backend):
        self.home = home
        self.pinned: dict[int, np.ndarray] = {}
        self.done: Any = None

    def wait(self) -> None:
        """Synchronise the host with the copy: the pinned memory may then be overwritten."""
        if self.done is not None:
            self.done.synchronize()

    def send(self, arrays: tuple, where: Any, stream: Any) -> list[Array]:
        """Start copying a batch; returns its device arrays, to be read after `done` only."""
        self.wait()
        batch, copies = [], []
        for i, a in enumerate(arrays):
            if type(a) is not np.ndarray:
                batch.append(make(part(a, where), None, self.home.name))
                continue
            host = self._filled(i, a, where)
            batch.append(self.home.xp.empty(host.shape, host.dtype))
            copies.append((host, batch[-1]))
        # the new arrays may reuse memory that the current stream is still working on
        stream.wait_event(self.home.xp.cuda.get_current_stream().record())
        for host, array in copies:
            array.set(host, stream=stream)
        self.done = stream.record()
        return batch

    def _filled(self, i: int, a: np.ndarray, where: Any) -> np.ndarray:
        """The examples of array i, gathered in pinned memory."""
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
