"""Prefetching: the next batch is copied to the GPU while it computes on the current one.

A batch that is handed out may be used at once on the stream that was current then: its copy comes
before all that is asked of that stream from there on, and the host waits for nothing. Work on other
streams has to be ordered after it, by an event. No later copy writes into its arrays.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np

from ..backend import BY_TYPE, Array, Backend, make

Orders = dict[type, Array]  # a shuffled order where the arrays are, by their type; empty: as stored


def ordered(arrays: tuple, order: np.ndarray | None) -> Orders:
    """The order of the examples, copied once to each place where there are arrays."""
    if order is None:
        return {}
    return {np.ndarray: order, **{type(a): BY_TYPE[type(a)].from_host(order) for a in arrays}}


def part(a: Array, span: slice, orders: Orders) -> Array:
    """The examples of an array at a span of the order."""
    return a[orders[type(a)][span] if orders else span]


def prefetched(
    arrays: tuple, spans: Iterator[slice], orders: Orders, home: Backend
) -> Iterator[list[Array]]:
    """The batches of the arrays, on a CUDA-like backend. Host arrays are copied asynchronously,
    from pinned memory on a separate stream, one batch ahead of the one that is yielded: the copy
    overlaps with the computation on that one."""
    slots = [_Slot(home), _Slot(home)]
    stream = home.xp.cuda.Stream(non_blocking=True)
    before: tuple[_Slot, list[Array]] | None = None
    try:
        for slot, span in zip(cycle(slots), spans, strict=False):
            sent = slot, slot.send(arrays, span, orders, stream)
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

    def send(self, arrays: tuple, span: slice, orders: Orders, stream: Any) -> list[Array]:
        """Start copying a batch; returns its device arrays, to be read after `done` only."""
        self.wait()
        batch, copies = [], []
        for i, a in enumerate(arrays):
            if type(a) is not np.ndarray:
                batch.append(make(part(a, span, orders), None, self.home.name))
                continue
            host = self._filled(i, a, orders[np.ndarray][span] if orders else span)
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
            self.pinned[i] = np.ndarray(shape, a.dtype, self._pinned(size))
        host = self.pinned[i][:count]
        if type(where) is slice:
            host[...] = a[where]
        else:
            np.take(a, where, axis=0, out=host, mode="clip")  # "raise" would copy twice
        return host

    def _pinned(self, size: int) -> Any:
        """Pinned memory; where the system gives none, other memory, from which CUDA copies safely,
        but makes the host wait."""
        try:
            return self.home.xp.cuda.alloc_pinned_memory(size)
        except (MemoryError, RuntimeError) as error:
            warnings.warn(
                f"no {size} bytes of pinned host memory for a batch ({error}): copies to the GPU "
                "hold up the program; smaller batches, or a higher limit of locked memory (ulimit "
                "-l), let them run beside it",
                stacklevel=2,
            )
            return bytearray(size)
