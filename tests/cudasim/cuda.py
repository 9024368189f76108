"""`xp.cuda`: streams, events, graphs and pools, with the names and refusals of `cupy.cuda`.

Work is done when it is asked for, on whatever stream, with two exceptions. A copy from pinned
memory on another stream than the current one is put off until something waits for it: a buffer
written too early, or read too soon, then shows. And while a stream captures, nothing is computed:
each call is noted with the memory of its arrays, its results stay unwritten, and `Graph.launch`
makes the calls again in that memory.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

_ids, _clock = itertools.count(3), itertools.count(1)  # streams 1 and 2 are names in CUDA
_now = 0  # of the clock, which each allocation moves on
_born: dict[int, tuple[weakref.ref, int]] = {}  # by id: an array and when it was allocated
_pinned: list[weakref.ref] = []
in_flight: list[_Copy] = []  # copies that the host has not waited for


def poison(array: np.ndarray) -> np.ndarray:
    """Fill memory with NaN or -1, so that reading what nobody has written shows."""
    bits = b"\x01" if array.dtype == bool else b"\xff" * array.itemsize
    array[...] = np.frombuffer(bits, array.dtype)[0]
    return array


def arrays_in(value: Any) -> Iterator[np.ndarray]:
    """The arrays of a nested call."""
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from arrays_in(part)
    elif isinstance(value, dict):
        yield from arrays_in(list(value.values()))


# --- what arrays and launches ask ---------------------------------------------------------------


def run(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """A call of NumPy's on the arrays of the device, or in a capture its place in the graph."""
    recording = get_current_stream().recording
    return recording.call(function, args, kwargs) if recording else function(*args, **kwargs)


def note(call: Callable[[], Any]) -> None:
    """Make a call that writes into arrays and returns nothing; in a capture, note it."""
    recording = get_current_stream().recording
    if recording:
        recording.calls.append(call)
    else:
        call()


def allocated(array: np.ndarray) -> np.ndarray:
    """New memory of the device, from the pool in use. In a capture that must be a private one:
    blocks of the default pool are given out again, while the graph still writes to them."""
    global _now
    _now = next(_clock)
    key = id(array)
    _born[key] = weakref.ref(array, lambda _: _born.pop(key, None)), _now
    if get_current_stream().recording:
        if _local.pool is None:
            raise RuntimeError("memory of the default pool was allocated during a capture")
        _local.pool.arrays.append(array)
    return array


def transfer(name: str) -> None:
    """Complain where `name`, which waits for the device or copies to or from the host, may not."""
    if get_current_stream().recording:
        raise RuntimeError(
            f"{name}: the current stream is capturing, so H2D and D2H transfers are disallowed"
        )
    if _local.forbidden:
        raise Transfer(f"{name} copies to or from the host, or waits for the device")


def library(name: str) -> None:
    """Complain in a capture, as CuPy 14 does before it calls cuBLAS or cuSOLVER."""
    if get_current_stream().recording:
        raise NotImplementedError(
            f"calling {name} API during stream capture is currently unsupported"
        )


class Transfer(RuntimeError):
    """A transfer where there should be none."""


@contextlib.contextmanager
def no_transfers() -> Iterator[None]:
    """Within the block, what waits for the device or copies to or from the host is an error."""
    before, _local.forbidden = _local.forbidden, True
    try:
        yield
    finally:
        _local.forbidden = before


# --- GPUs ---------------------------------------------------------------------------------------

gpus = 1  # how many there are; where there are several, arrays know theirs
_places: dict[int, tuple[weakref.ref, int]] = {}  # by id: memory and its GPU


class Device:
    """A GPU; the current one where none is named. As a context manager it makes it current."""

    def __init__(self, device: int | None = None) -> None:
        self.id = _local.gpus[-1] if device is None else device
        self.compute_capability = "90"

    def __enter__(self) -> Device:
        _local.gpus.append(self.id)
        return self

    def __exit__(self, *error: object) -> None:
        _local.gpus.pop()


class runtime:
    """`cupy.cuda.runtime`."""

    getDevice = staticmethod(lambda: _local.gpus[-1])
    getDeviceCount = staticmethod(lambda: gpus)

    @staticmethod
    def memGetInfo() -> tuple[int, int]:
        """The device's memory, free and in all."""
        return 1 << 40, 1 << 40


def memory_of(array: np.ndarray) -> np.ndarray:
    """The array that owns the memory of a view."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def place(array: np.ndarray) -> None:
    """Memory that is new is the current GPU's, and the default pool's."""
    if gpus > 1 or default_pool.limit:
        owner = memory_of(array)
        default_pool.take(owner)
        key = id(owner)
        if key not in _places:
            _places[key] = weakref.ref(owner, lambda _: _places.pop(key, None)), _local.gpus[-1]


def gpu_of(array: np.ndarray) -> int:
    """Where an array is."""
    return _places.get(id(memory_of(array)), (None, 0))[1]


# --- streams and events -------------------------------------------------------------------------


class Event:
    """A place in the work of a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False) -> None:
        self.after: list[_Copy] = []
        self.clock = (0, 0)

    def record(self, stream: Stream | None = None) -> None:
        """Take the place that the stream, or the current one, has reached."""
        (stream or get_current_stream()).record(self)

    def synchronize(self) -> None:
        """Have the host wait for all work of the stream before the event."""
        for copy in self.after:
            copy.end()

    @property
    def done(self) -> bool:
        """Whether that work is done."""
        return all(copy.made for copy in self.after)


class Stream:
    """An order of work."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, priority: Any = None):
        self.ptr = 0 if null else next(_ids)
        self.pending: list[_Copy] = []
        self.knows: dict[int, int] = {}  # how far it has waited for other streams
        self.recording: _Recording | None = None

    def __enter__(self) -> Stream:
        _local.streams.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        _local.streams.pop()

    def record(self, event: Event | None = None) -> Event:
        """An event at the end of what was asked of this stream."""
        event = event or Event()
        event.after, event.clock = list(self.pending), (self.ptr, _now)
        return event

    def wait_event(self, event: Event) -> None:
        """What is asked of this stream from now on comes after the event."""
        for copy in event.after:
            copy.make()
        ptr, clock = event.clock
        self.knows[ptr] = max(clock, self.knows.get(ptr, 0))

    def synchronize(self) -> None:
        """Wait for all work."""
        if self.recording:
            self.recording.broken = True
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: operation not permitted")
        for copy in list(self.pending):
            copy.end()

    def begin_capture(self, mode: int | None = None) -> None:
        """From now on note what is asked of the stream instead of doing it."""
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self.recording = _Recording()

    def end_capture(self) -> Graph:
        """The graph of what was noted."""
        recording, self.recording = self.recording, None
        if recording is None or recording.broken:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        return Graph(recording.calls)

    def is_capturing(self) -> bool:
        """Whether work is noted instead of done."""
        return self.recording is not None


Stream.null = Stream(null=True)


class _Local(threading.local):
    def __init__(self) -> None:
        self.streams, self.gpus = [Stream.null], [0]
        self.pool: MemoryPool | None = None
        self.forbidden = False


_local = _Local()


def get_current_stream() -> Stream:
    """The stream that work is asked of in this thread."""
    return _local.streams[-1]


class _Copy:
    """A copy from pinned memory. It is made when a stream waits for it, and has ended for the host
    when that has waited, too."""

    def __init__(self, host: np.ndarray, array: np.ndarray, stream: Stream):
        self.host, self.array, self.made, self.stream = host, weakref.ref(array), False, stream
        stream.pending.append(self)
        in_flight.append(self)

    def end(self) -> None:
        self.make()
        if self in in_flight:
            in_flight.remove(self)
            self.stream.pending.remove(self)

    def make(self) -> None:
        if not self.made:
            self.made = True
            if (array := self.array()) is None:
                raise RuntimeError("a copy went on into memory that had been given back")
            array[...] = self.host


def copy_from_host(host: np.ndarray, array: np.ndarray, stream: Stream | None) -> None:
    """What `ndarray.set` does."""
    transfer("ndarray.set")
    here = get_current_stream()
    if stream is None or stream is here:
        array[...] = host
        return
    known, born = _born.get(id(array), (None, 0))
    if known is None or known() is not array or stream.knows.get(here.ptr, 0) < born:
        raise RuntimeError("the stream does not wait for those that had the memory before")
    if any(np.may_share_memory(host, copy.host) for copy in in_flight):
        raise RuntimeError("pinned memory was written while a copy from it was under way")
    if any(np.may_share_memory(host, p) for p in (ref() for ref in _pinned) if p is not None):
        _Copy(host, array, stream)
    else:
        array[...] = host  # from pageable memory: CUDA is done with it when the call returns


# --- graphs and memory --------------------------------------------------------------------------


class _Recording:
    """The calls of a capture."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []
        self.broken = False
        self.pool = _local.pool

    def call(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        """Results of the right shapes, unwritten; whatever the call wrote is undone."""
        given = list(arrays_in((args, kwargs)))
        before = [a.copy() for a in given]
        result = _as_arrays(function(*args, **kwargs))
        for a, numbers in zip(given, before, strict=True):
            if a.flags.writeable:
                a[...] = numbers
        made = {
            i: allocated(poison(y))
            for i, y in enumerate(arrays_in(result))
            if not any(np.may_share_memory(y, a) for a in given)  # views are no work
        }

        def again() -> None:
            values = list(arrays_in(_as_arrays(function(*args, **kwargs))))
            for i, y in made.items():
                y[...] = values[i]

        self.calls.append(again)
        return result


def _as_arrays(value: Any) -> Any:
    if isinstance(value, np.generic):
        return np.array(value)
    return type(value)(map(_as_arrays, value)) if type(value) in (tuple, list) else value


class Graph:
    """The calls of a capture, to be made again. Its memory is the pool's."""

    def __init__(self, calls: list[Callable[[], Any]]):
        self.calls, self.pool = calls, weakref.ref(_local.pool) if _local.pool else lambda: self

    def launch(self, stream: Stream | None = None) -> None:
        """Make all calls."""
        if self.pool() is None:
            raise RuntimeError("the memory pool of the graph is gone")
        for call in self.calls:
            call()


class OutOfMemoryError(MemoryError):
    """`cupy.cuda.memory.OutOfMemoryError`."""


class MemoryPool:
    """Memory that is given out again only within the pool. Under a limit that is played: a block
    that was freed counts until it is used again, for an array of its size, or given back."""

    def __init__(self, allocator: Any = None):
        self.arrays: list[np.ndarray] = []
        self.limit, self.held, self.cached = 0, dict[int, int](), list[int]()

    def malloc(self, size: int) -> Any:
        """What `using_allocator` takes."""
        raise NotImplementedError("memory is NumPy's here")

    def take(self, owner: np.ndarray) -> None:
        """Count an array's memory, if that is new."""
        key, size = id(owner), owner.nbytes
        if not self.limit or key in self.held:
            return
        if size in self.cached:
            self.cached.remove(size)
        if self.total_bytes() + size > self.limit:
            raise OutOfMemoryError(
                f"Out of memory allocating {size:,} bytes (allocated so far: "
                f"{self.total_bytes():,} bytes, limit set to: {self.limit:,} bytes)."
            )
        self.held[key] = size
        weakref.finalize(owner, self._give, key)

    def _give(self, key: int) -> None:
        if key in self.held:
            self.cached.append(self.held.pop(key))

    def free_all_blocks(self, stream: Stream | None = None) -> None:
        """Give back what nothing uses."""
        self.cached.clear()

    def set_limit(self, size: int | None = None, fraction: float | None = None) -> None:
        """How much memory the pool may hold, counted from now on; 0 is without limit."""
        self.limit = size or 0
        self.held.clear()
        self.cached.clear()

    def get_limit(self) -> int:
        """The limit in bytes."""
        return self.limit

    def used_bytes(self) -> int:
        """What arrays use."""
        return sum(self.held.values())

    def free_bytes(self) -> int:
        """What nothing uses."""
        return sum(self.cached)

    def total_bytes(self) -> int:
        """Both."""
        return self.used_bytes() + self.free_bytes()


default_pool = MemoryPool()


@contextlib.contextmanager
def using_allocator(allocator: Any = None) -> Iterator[None]:
    """Within the block and thread, memory comes from the pool whose `malloc` this is."""
    before, _local.pool = _local.pool, allocator.__self__
    try:
        yield
    finally:
        _local.pool = before


def alloc_pinned_memory(size: int) -> np.ndarray:
    """Host memory that copies can go on from while the program does other things."""
    memory = np.empty(size, np.uint8)
    _pinned[:] = [ref for ref in _pinned if ref() is not None] + [weakref.ref(memory)]
    return memory
