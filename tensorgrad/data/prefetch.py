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
Part = tuple[Array, Any]  # an array, and which of it: a slice, ..., or indices where the array is


def ordered(arrays: tuple, order: np.ndarray | None) -> Orders:
    """The order of the examples, copied once to each place where there are arrays."""
    if order is None:
        return {}
    return {np.ndarray: order, **{type(a): BY_TYPE[type(a)].from_host(order) for a in arrays}}


def part(a: Array, span: slice, orders: Orders) -> Part:
    """The examples of an array at a span of the order."""
    return a, orders[type(a)][span] if orders else span


def prefetched(
    batches: Iterator[tuple[Any, list[Part]]], home: Backend
) -> Iterator[tuple[Any, list[Array]]]:
    """Batches, each with something that goes with it, on a CUDA-like backend. Host arrays are
    copied asynchronously, from pinned memory on a separate stream, one batch ahead of the one that
    is yielded: the copy overlaps with the computation on that one."""
    slots = [_Slot(home), _Slot(home)]
    stream = home.xp.cuda.Stream(non_blocking=True)
    before: tuple[Any, _Slot, list[Array]] | None = None
    try:
        for slot, (beside, parts) in zip(cycle(slots), batches, strict=False):
            sent = beside, slot, slot.send(parts, stream)
            if before is not None:
                yield _received(*before, home)
            before = sent
        if before is not None:
            yield _received(*before, home)
    finally:  # pinned memory, and a batch nobody fetched, are freed only after the copies from them
        for slot in slots:
            slot.wait()


def _received(
    beside: Any, slot: _Slot, batch: list[Array], home: Backend
) -> tuple[Any, list[Array]]:
    """The batch, once the current stream is ordered after its copy."""
    home.xp.cuda.get_current_stream().wait_event(slot.done)
    return beside, batch


class _Slot:
    """The pinned memory of one batch, and the event at the end of its copy."""

    def __init__(self, home: Backend):
        self.home = home
        self.pinned: dict[int, tuple[Any, int]] = {}  # memory and its bytes, for each array
        self.done: Any = None

    def wait(self) -> None:
        """Synchronise the host with the copy: the pinned memory may then be overwritten."""
        if self.done is not None:
            self.done.synchronize()

    def send(self, parts: list[Part], stream: Any) -> list[Array]:
        """Start copying a batch; returns its device arrays, to be read after `done` only."""
        self.wait()
        batch, copies = [], []
        for i, (a, where) in enumerate(parts):
            if type(a) is not np.ndarray:
                batch.append(make(a[where], None, self.home.name))
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
        if type(where) is np.ndarray:
            shape: tuple[int, ...] = (len(where), *a.shape[1:])
        else:
            shape = a[where].shape
        size = max(1, a.dtype.itemsize * int(np.prod(shape)))
        if i not in self.pinned or self.pinned[i][1] < size:
            self.pinned[i] = self._pinned(size), size
        host = np.ndarray(shape, a.dtype, self.pinned[i][0])
        if type(where) is not np.ndarray:
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
