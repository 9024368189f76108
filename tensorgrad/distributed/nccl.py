"""Arrays of GPUs between ranks, by NCCL: all that is used of `cupy.cuda.nccl` stands here.

The ranks meet over MPI before each exchange (mpi.py), so that NCCL, which has no deadline, is asked
for nothing that some of them do not do. It works on a stream of its own, which the current one is
ordered after: the host waits for nothing but that meeting. Where it waits for the device anyway, it
polls for errors until the deadline.
"""

from __future__ import annotations

import importlib
import itertools
import platform
import time
import warnings
from typing import Any

from ..backend import default
from ..errors import BackendError, DistributedError

TYPES = {
    "float16": "NCCL_FLOAT16",
    "bfloat16": "NCCL_BFLOAT16",
    "float32": "NCCL_FLOAT32",
    "float64": "NCCL_FLOAT64",
    "int64": "NCCL_INT64",
    "uint8": "NCCL_UINT8",
}


def bindings() -> Any:
    """CuPy's module of NCCL; BackendError with the remedy where there is none."""
    with warnings.catch_warnings(record=True) as said:  # CuPy's, where the library is missing
        warnings.simplefilter("always")
        try:
            found = importlib.import_module("cupy.cuda.nccl")
            found_it = getattr(found, "available", True)
            why: Any = None if found_it else said[-1].message if said else "no libnccl"
        except ImportError as error:
            why = error
    if why is None:
        return found
    raise BackendError(
        "arrays of several GPUs are exchanged by NCCL, which is missing: "
        f"{' '.join(str(why).split()):.300}. "
        'pip install "tensorgrad-cupy[nccl]"'
    )


def choose(world: Any) -> None:
    """Let each rank of a machine have a GPU of its own."""
    cuda = default().xp.cuda
    n = cuda.runtime.getDeviceCount()
    if world.local_rank >= n > 1:
        raise BackendError(
            f"{world.local_size} ranks on this machine, which has {n} GPUs: start {n}"
        )
    cuda.Device(world.local_rank if n > 1 else 0).use()  # a launcher may show each rank one only


class Device:
    """The communicator of this rank's GPU."""

    def __init__(self, world: Any):
        self.world, self.nccl = world, bindings()
        self.cuda = default().xp.cuda
        here = platform.node(), self.cuda.Device().pci_bus_id
        places = world.gather(here, "the list of GPUs")
        for rank, place in enumerate(places):
            if (first := places.index(place)) != rank:
                world.fail(
                    f"ranks {first} and {rank} are on one GPU, {place[1]} of {place[0]}, where "
                    "NCCL would wait for ever: start one process for each GPU, of those that "
                    "CUDA_VISIBLE_DEVICES lists",
                    speaker=0,
                )
        made = self.nccl.get_unique_id() if not world.rank else None
        made = world.gather(made, "the start of NCCL")[0]
        self.comm = self.nccl.NcclCommunicator(world.size, made, world.rank)
        self.stream = self.cuda.Stream(non_blocking=True)
        self.last: Any = None  # the event at the end of the latest exchange

    def sum(self, arrays: list[Any]) -> None:
        """Sum arrays over the ranks, in place."""
        op = self.nccl.NCCL_SUM
        self._run(
            [("allReduce", (a.data.ptr, a.data.ptr, a.size, self._type(a), op)) for a in arrays]
        )

    def broadcast(self, arrays: list[Any]) -> None:
        """Copy rank 0's arrays into the others'."""
        self._run([("bcast", (a.data.ptr, a.nbytes, self.nccl.NCCL_UINT8, 0)) for a in arrays])

    def scatter(self, a: Any, ends: list[int]) -> None:
        """Sum an array over the ranks: rank r has the sum from ends[r] to ends[r + 1] only."""
        kind, op = self._type(a), self.nccl.NCCL_SUM
        self._run([("reduce", (p, p, n, kind, op, r)) for r, p, n in _parts(a, ends)])

    def collect(self, a: Any, ends: list[int]) -> None:
        """Give all ranks each rank r's part, from ends[r] to ends[r + 1]."""
        kind = self._type(a)
        self._run([("bcast", (p, n, kind, r)) for r, p, n in _parts(a, ends)])

    def _type(self, a: Any) -> Any:
        return getattr(self.nccl, TYPES[a.dtype.name])

    def _run(self, calls: list[tuple[str, tuple[Any, ...]]]) -> None:
        current = self.cuda.get_current_stream()
        self.stream.wait_event(current.record())
        self.nccl.groupStart()
        for name, arguments in calls:
            getattr(self.comm, name)(*arguments, self.stream.ptr)
        self.nccl.groupEnd()
        self.last = self.stream.record()
        current.wait_event(self.last)

    def settle(self, what: str) -> None:
        """Wait for the latest exchange. Raises: DistributedError for NCCL's errors, and in time."""
        begun = time.monotonic()
        while self.last is not None and not self.last.done:
            late = time.monotonic() - begun > self.world.timeout
            try:
                self.comm.check_async_error()
            except Exception as error:
                self.comm.abort()
                raise DistributedError(f"NCCL failed before {what}: {error}") from error
            if late:
                self.comm.abort()
                raise DistributedError(
                    f"NCCL was not done before {what} after {self.world.timeout:g} s: a rank or "
                    "its GPU hangs; NCCL_DEBUG=INFO says more"
                )
            time.sleep(1e-3)
        self.last = None


def _parts(a: Any, ends: list[int]) -> list[tuple[int, int, int]]:
    """(rank, address, count) of the parts of a flat array that are not empty."""
    spans = itertools.pairwise(ends)
    return [(r, a.data.ptr + i * a.itemsize, j - i) for r, (i, j) in enumerate(spans) if j > i]


def status() -> str:
    """What `doctor` says of NCCL."""
    try:
        return f"version {bindings().get_version()}"
    except (BackendError, RuntimeError, AttributeError) as error:
        return f"not usable: {error}"
