"""Ranks that meet over MPI, by mpi4py.

Before they exchange anything they compare what they are about to do, in one message of fixed
length: ranks at different places in the program, or with different numbers of gradients, are found
there, whereas MPI would add up what does not belong together. No wait is without a deadline, and a
rank that ends says so to the others. Of what goes wrong one rank speaks: the lowest that waits.
"""

from __future__ import annotations

import atexit
import faulthandler
import os
import pickle
import sys
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import BackendError, DistributedError
from .ranks import Alone, numbered

_SPIN = 0.005  # seconds of asking without a pause
_SLOW = 30.0  # seconds after which a warning says who is missing
_ROLL = 2.0  # seconds in which waiting ranks answer
_QUIET = 5.0  # seconds in which the others let the speaker end them
_CHUNK = 1 << 23  # bytes: longer messages are slower in one piece
_WAITS, _EXPIRED, _ENDED = range(3)  # what a message to the others says
_NOTHING = (
    "tensorgrad: {} ranks have each done all of this program's work, and exchanged nothing. A loop "
    "of your own begins with tg.distributed.broadcast(model), takes its batches from "
    "tg.distributed.shard(loader), and calls tg.distributed.average(optimizer) before "
    "optimizer.step(); model.fit does all of it"
)
_INSTALL = (
    'pip install "tensorgrad-cupy[mpi]" (the wheels of mpi4py and MPICH; or, where an MPI is '
    "installed, mpi4py alone)"
)


def library() -> Any:
    """`mpi4py.MPI`; BackendError with the remedy where it cannot be imported."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        why = " ".join(str(error).split())
        raise BackendError(
            f"several processes need mpi4py and MPI: {why:.300}. {_INSTALL}"
        ) from error
    return MPI


def once_all_processes_have_started(timeout: float) -> Any:
    """`mpi4py.MPI`, which no process can import before the last has come to it. If one never does,
    having ended before `init`, the others hold Python's lock meanwhile: what then ends them, after
    the deadline, prints where they wait, which is why this function is called what it is."""
    late = 0.5 * numbered()  # for one of them to speak
    faulthandler.dump_traceback_later(timeout + late, exit=True, file=2)
    try:
        return library()
    finally:
        faulthandler.cancel_dump_traceback_later()


class Ranks(Alone):
    """The processes of an MPI communicator. Its methods take arrays of NumPy, and of CuPy where
    there is NCCL."""

    def __init__(self, comm: Any, timeout: float):
        self.mpi, self.timeout = library(), timeout
        self.name = self.mpi.Get_library_version().split(",")[0].splitlines()[0]
        self.rank, self.size = comm.rank, comm.size
        self.calls = 0  # of what all do together
        self.device: Any = None  # what exchanges arrays of GPUs
        self._at: dict[int, int] = {}  # in which call ranks have said that they wait
        self._ended: dict[int, int] = {}  # after how many calls others have ended
        self._sent: list[Any] = []
        self._told = -1  # the call in which this rank has said that it waits
        self._expired = self._failing = False
        self._begun = 0  # the calls that `init` makes
        self._head = np.zeros(6, np.int64)
        self.control: Any = None
        self.control = self._copied(comm)
        self.comm = self._copied(comm)
        local = comm.Split_type(self.mpi.COMM_TYPE_SHARED)
        self.local_rank, self.local_size = local.rank, local.size

    def _copied(self, comm: Any) -> Any:
        copy, request = comm.Idup()
        self._done(request, "the start")
        return copy

    def joined(self) -> None:
        """`init` is done: from here on, calls are the program's."""
        self._begun = self.calls

    def begin(self) -> None:
        """Watch over the end of this process: an error ends the others, too."""
        folder, pid = os.environ.get("TENSORGRAD_LAUNCH"), os.getpid()
        if folder:
            (Path(folder) / f"{self.rank}.tmp").write_text(str(pid))
            (Path(folder) / f"{self.rank}.tmp").rename(Path(folder) / f"{self.rank}.pid")
        before = sys.excepthook

        def report(kind: Any, error: Any, trace: Any) -> None:
            before(kind, error, trace)
            if os.getpid() == pid:
                if not isinstance(error, DistributedError):
                    text = f"rank {self.rank} of {self.size} ended with {kind.__name__}"
                    print(f"tensorgrad: {text}; all ranks stop", file=sys.stderr, flush=True)
                self.abort(error)

        def end() -> None:
            if os.getpid() != pid:
                return
            self._note("ended")
            if not self._failing:
                self._tell(_ENDED)
                if self.calls == self._begun and not self.rank:
                    print(_NOTHING.format(self.size), file=sys.stderr, flush=True)

        sys.excepthook = report
        atexit.register(end)

    def abort(self, error: BaseException) -> None:
        """Have MPI end all ranks when this process exits."""
        from mpi4py.run import set_abort_status

        self._failing = True
        self._note("said")
        set_abort_status(error)

    def _note(self, what: str) -> None:
        """Tell the launcher, where it is ours."""
        if folder := os.environ.get("TENSORGRAD_LAUNCH"):
            (Path(folder) / f"{self.rank}.{what}").touch()

    # --- what all do together ---

    def sum(self, arrays: list[Any], what: str, flags: bytes = b"") -> bool:
        same = self._meet(what, sum([a.nbytes for a in arrays]), flags)
        host = [a for a in arrays if type(a) is np.ndarray]
        if len(host) < len(arrays):
            self._on_device().sum([a for a in arrays if type(a) is not np.ndarray])
        requests = []
        for a in host:
            step = max(1, _CHUNK // a.itemsize)
            for i in range(0, a.size, step):
                part = a[i : i + step]
                requests.append(self.comm.Iallreduce(self.mpi.IN_PLACE, part, self.mpi.SUM))
        for request in requests:
            self._done(request, what)
        return same

    def scatter(self, parts: list[tuple[Any, list[int]]], what: str, flags: bytes = b"") -> bool:
        same = self._meet(what, sum([a.nbytes for a, _ in parts]), flags)
        for a, ends in parts:
            if type(a) is not np.ndarray:
                self._on_device().scatter(a, ends)
                continue
            mine = a[ends[self.rank] : ends[self.rank + 1]]
            into = np.empty_like(mine)
            self._done(
                self.comm.Ireduce_scatter(a, into, np.diff(ends).tolist(), self.mpi.SUM), what
            )
            mine[...] = into
        return same

    def collect(self, parts: list[tuple[Any, list[int]]], what: str) -> None:
        self._meet(what, sum([a.nbytes for a, _ in parts]))
        for a, ends in parts:
            if type(a) is not np.ndarray:
                self._on_device().collect(a, ends)
                continue
            sizes = [n * a.itemsize for n in np.diff(ends).tolist()]
            into = [a.view(np.uint8), sizes, [n * a.itemsize for n in ends[:-1]], self.mpi.BYTE]
            self._done(self.comm.Iallgatherv(self.mpi.IN_PLACE, into), what)

    def settle(self, what: str) -> None:
        if self.device is not None:
            self.device.settle(what)

    def broadcast(self, arrays: list[Any], what: str) -> None:
        self._meet(what, sum([a.nbytes for a in arrays]))
        on_device = [a for a in arrays if type(a) is not np.ndarray]
        if on_device:
            self._on_device().broadcast(on_device)
        for a in arrays:
            if type(a) is not np.ndarray:
                continue
            whole = np.ascontiguousarray(a)
            raw = [whole.reshape(-1).view(np.uint8), self.mpi.BYTE]
            self._done(self.comm.Ibcast(raw, root=0), what)
            if whole is not a:
                a[...] = whole

    def gather(self, value: Any, what: str) -> list[Any]:
        self._meet(what, 0)
        return self._collected(value, what)

    def _collected(self, value: Any, what: str) -> list[Any]:
        data = np.frombuffer(pickle.dumps(value), np.uint8)
        counts = np.zeros(self.size, np.int64)
        self._done(self.comm.Iallgather(np.array([len(data)]), counts), what)
        found = np.empty(counts.sum(), np.uint8)
        into = [found, counts.tolist(), np.r_[0, counts[:-1]].cumsum().tolist(), self.mpi.BYTE]
        self._done(self.comm.Iallgatherv([data, self.mpi.BYTE], into), what)
        ends = np.r_[0, counts].cumsum()
        return [pickle.loads(found[ends[i] : ends[i + 1]].tobytes()) for i in range(self.size)]

    def _on_device(self) -> Any:
        if self.device is None:
            from .nccl import Device

            self.device = Device(self)
        return self.device

    # --- the meeting before ---

    def _meet(self, what: str, size: int, flags: bytes = b"") -> bool:
        """All ranks are about to do the same, with as many bytes; whether with the same flags."""
        self.calls += 1
        head, code, more = self._head, zlib.crc32(what.encode()), zlib.crc32(flags)
        head[:] = code, size, more, -code, -size, -more
        self._done(self.comm.Iallreduce(self.mpi.IN_PLACE, head, self.mpi.MAX), what)
        if head[0] != -head[3] or head[1] != -head[4]:
            self._differ(what, size)
        return bool(head[2] == -head[5])

    def _differ(self, what: str, size: int) -> None:
        found = self._collected((what, size), what)
        if len({name for name, _ in found}) > 1:
            said = "; ".join(f"rank {r} is at {name}" for r, (name, _) in enumerate(found))
            self.fail(
                f"the ranks are at different places of the program: {said}. Have they equally "
                "many batches, and is none of these calls for some ranks only?",
                speaker=0,
            )
        said = ", ".join(f"rank {r} {n:,}" for r, (_, n) in enumerate(found))
        self.fail(f"{what}: the ranks exchange different numbers of bytes: {said}", speaker=0)

    def fail(self, text: str, speaker: int) -> None:
        self._failing = True
        if self.rank == speaker:
            raise DistributedError(text)
        time.sleep(_QUIET)  # the speaker's end is that of all
        raise DistributedError(f"rank {speaker} says: {text}")

    # --- waiting ---

    def _done(self, request: Any, what: str) -> None:
        """Wait for a request, until the deadline."""
        if request.Test():
            return
        begun = time.monotonic()
        warned, roll = False, 0.0
        while not request.Test():
            waited = time.monotonic() - begun
            if waited < _SPIN:
                os.sched_yield()
                continue
            time.sleep(min(1e-3, waited / 50))
            self._listen(what)
            if waited > _SLOW and not warned and not self._expired:
                self._tell(_WAITS)
                if waited > _SLOW + _ROLL:
                    warned = True
                    self._warn(what, waited)
            if waited > self.timeout or self._expired:
                roll = roll or time.monotonic()
                self._tell(_EXPIRED)
                if time.monotonic() - roll > _ROLL:
                    missing = self._missing()
                    there = [r for r in range(self.size) if r not in missing]
                    self._left(f"after {self.timeout:g} s", what, missing, there[0])
        self._expired = False

    def _listen(self, what: str) -> None:
        """Read what the others say; an end before this call is an error."""
        if self.control is None:
            return
        status = self.mpi.Status()
        while self.control.Iprobe(self.mpi.ANY_SOURCE, self.mpi.ANY_TAG, status):
            said, source = np.zeros(2, np.int64), status.Get_source()
            self.control.Recv(said, source)
            kind, calls = said.tolist()
            (self._ended if kind == _ENDED else self._at)[source] = calls
            if kind != _ENDED and calls == self.calls:
                self._tell(kind)
                self._expired = self._expired or kind == _EXPIRED
        gone = [r for r, calls in self._ended.items() if calls < self.calls]
        there = [r for r in range(self.size) if r not in gone]
        if gone and self.rank == there[0]:
            self._left("", what, gone, self.rank)

    def _tell(self, kind: int) -> None:
        """Say something to all others: once in a call."""
        if kind != _ENDED:
            if self._told == (said := 2 * self.calls + kind):
                return
            self._told = said
        note = np.array([kind, self.calls], np.int64)
        others = [r for r in range(self.size) if r != self.rank]
        self._sent = [s for s in self._sent if not s[1].Test()]
        self._sent += [(note, self.control.Isend(note, r)) for r in others]

    def _missing(self) -> list[int]:
        others = [r for r in range(self.size) if r != self.rank]
        return [r for r in others if self._at.get(r) != self.calls]

    def _warn(self, what: str, waited: float) -> None:
        missing = self._missing()
        if missing and self.rank == min(set(range(self.size)) - {*missing}):
            warnings.warn(
                f"{_names(missing, self.size)} {'have' if len(missing) > 1 else 'has'} not come to "
                f"{what} for {waited:.0f} s; the others wait for at most {self.timeout:g} s",
                stacklevel=2,
            )

    def _left(self, when: str, what: str, missing: list[int], speaker: int) -> None:
        names = _names(missing, self.size)
        if not when:
            self.fail(
                f"{names} ended early, while others wait for {what}: all ranks stop. Every rank "
                "makes as many steps, and none leaves before",
                speaker,
            )
        if not missing:
            self.fail(f"{when} {what} was not done, though all ranks had come to it", speaker)
        self.fail(
            f"{when} {names} had not come to {what}: hung, on another step, or at work for longer "
            "than init(timeout=) and TENSORGRAD_TIMEOUT say",
            speaker,
        )


def _names(ranks: list[int], size: int) -> str:
    listed = ", ".join(map(str, ranks))
    return f"rank{'s' if len(ranks) > 1 else ''} {listed} of {size}"
