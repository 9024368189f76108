"""A memory pool for large results: a block is reused as soon as the last array in it is freed.

Page faults cost more than the arithmetic: the operating system clears each fresh page before its
first use (the sum of a product of 10M float32: 41 of 79 ms on a 2-core server), and the C library
unmaps large arrays every time. A block returns to the pool when its array dies, by reference count,
and the next result of about that size reuses it.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections import OrderedDict
from typing import Any

import numpy as np

LEAST = 1 << 20  # bytes; smaller arrays are NumPy's, which the C library keeps at hand
_PAGE = 1 << 16
_SLACK = 1.25  # blocks in use and at hand, over the most that ever were in use at once


class Lease(np.ndarray):
    """The base of an array in one of our blocks. When it dies, the block is free again."""

    sole = True  # an array on this base shares its memory with nobody (see core.py)
    block: Any = None  # not in views of the base, which nobody should need

    def __del__(self) -> None:
        if self.block is not None and _pool is not None:  # None: the interpreter is ending
            _pool.give(self.block)


class _Pool:
    """Free blocks, the least recently used first."""

    def __init__(self) -> None:
        self.free: OrderedDict[int, Any] = OrderedDict()  # id -> memory
        self.used = self.most = self.at_hand = 0  # bytes
        self.lock = threading.RLock()  # a garbage collection inside may give something back

    def take(self, size: int) -> Any:
        """A block of at least `size` bytes and not much more."""
        with self.lock:
            fitting = [b for b in self.free.values() if size <= len(b) <= size + size // 8]
            if fitting:
                block = min(fitting, key=len)
                del self.free[id(block)]
                self.at_hand -= len(block)
            else:
                self._shrink(size)
                try:
                    block = _map(size)
                except OSError as error:
                    self.free.clear()  # a caller that catches the error finds all that there is
                    self.at_hand = 0
                    raise MemoryError(f"Unable to allocate {size / 2**20:.0f} MiB") from error
            self.used += len(block)
            self.most = max(self.most, self.used)
            return block

    def give(self, block: Any) -> None:
        with self.lock:
            self.used -= len(block)
            self.at_hand += len(block)
            self.free[id(block)] = block
            self._shrink(0)

    def _shrink(self, coming: int) -> None:
        """Return memory to the system, so that a program whose sizes change does not hoard."""
        allowed = _SLACK * max(self.most, self.used + coming)
        while self.free and self.used + self.at_hand + coming > allowed:
            self.at_hand -= len(self.free.popitem(last=False)[1])


def _map(size: int) -> Any:
    """Fresh memory, in huge pages where the system has them."""
    if not hasattr(mmap, "MAP_ANONYMOUS"):  # Windows
        return mmap.mmap(-1, size)
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


_pool = _Pool()
if hasattr(os, "register_at_fork"):  # another thread may have held the lock
    os.register_at_fork(after_in_child=lambda: setattr(_pool, "lock", threading.RLock()))


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """`np.empty`, from the pool when it is large."""
    dtype, count = np.dtype(dtype), 1
    for n in shape:
        count *= n
    size = count * dtype.itemsize
    if size < LEAST:
        return np.empty(shape, dtype)
    block = _pool.take(-(-size // _PAGE) * _PAGE)
    lease = Lease((len(block),), np.uint8, block)
    lease.block = block
    return np.ndarray(shape, dtype, lease)


def empty_like(x: np.ndarray) -> np.ndarray:
    """`np.empty_like` of a contiguous array."""
    return empty(x.shape, x.dtype)


def trim() -> None:
    """Return all free blocks to the system."""
    with _pool.lock:
        _pool.free.clear()
        _pool.at_hand, _pool.most = 0, _pool.used


def facts() -> dict[str, int]:
    """Bytes in use, in the pool, and the peak of those in use."""
    return {"used": _pool.used, "at hand": _pool.at_hand, "most used": _pool.most}
