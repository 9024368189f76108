"""The processes that train together, their ranks: which of them this one is, and how it joins."""

from __future__ import annotations

import multiprocessing
import os
import warnings
from typing import Any

from .. import randomness
from ..backend import default
from ..errors import BackendError, DistributedError, user_level
from ..settings import gate
from ..typing import Positive

# What launchers set: the number of processes, where they say it, and a sign that there are several.
_COUNTS = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_NTASKS")
_SIGNS = (*_COUNTS, "PMI_RANK", "PMIX_RANK")
_NUMBERS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")
_OWNER = "TENSORGRAD_RANK_PROCESS"  # the process that is a rank; those it starts are none
TIMEOUT = 600.0  # seconds: a first step may compile for a minute


class Alone:
    """A world of one process, and what all worlds have: `rank`, from 0, of `size` processes;
    `local_rank` of `local_size` on this machine. What they do together (`sum`, `broadcast`,
    `gather`, `agree`) is done by all, in one order; here nothing is to be done.

    >>> world = tg.distributed.world()
    >>> world.rank, world.size, world.gather("a", "letters")
    (0, 1, ['a'])
    """

    rank, size, local_rank, local_size = 0, 1, 0, 1

    def sum(self, arrays: list[Any], what: str, flags: bytes = b"") -> bool:
        """Sum each array over the ranks, in place; whether the flags were the same on all."""
        return True

    def broadcast(self, arrays: list[Any], what: str) -> None:
        """Copy rank 0's arrays into those of the others."""

    def scatter(self, parts: list[tuple[Any, list[int]]], what: str, flags: bytes = b"") -> bool:
        """`sum` of flat arrays, of which rank r gets what is from ends[r] to ends[r + 1]; the rest
        is left undefined."""
        return True

    def collect(self, parts: list[tuple[Any, list[int]]], what: str) -> None:
        """Give all ranks each rank's part of flat arrays, as `scatter` leaves them."""

    def settle(self, what: str) -> None:
        """Wait until arrays of GPUs are exchanged, as the host waits for the device next."""

    def gather(self, value: Any, what: str) -> list[Any]:
        """A small value of each rank."""
        return [value]

    def agree(self, facts: dict[str, Any], what: str) -> None:
        """DistributedError, raised by rank 0, unless these facts are the same on all ranks."""
        found = self.gather(facts, what)
        for rank, theirs in enumerate(found):
            names = [n for n in {**found[0], **theirs} if found[0].get(n) != theirs.get(n)]
            if names:
                name = names[0]
                self.fail(
                    f"{name} differs on rank {rank}: rank 0 has {found[0].get(name, 'none')}, "
                    f"rank {rank} {theirs.get(name, 'none')}. All ranks run the same program on "
                    "the same data",
                    speaker=0,
                )

    def fail(self, text: str, speaker: int) -> None:
        """End all ranks with this text, which the `speaker` says."""
        raise DistributedError(text)


_world: Alone = Alone()


def world() -> Alone:
    """The ranks that train together; before `init`, and without a launcher, this process alone.

    >>> world().size
    1
    """
    return _world


@gate
def init(timeout: Positive | None = None) -> Alone:
    """Join the other processes that `mpiexec` or `python -m tensorgrad launch` has started; a
    process that was started alone stays so, and needs no MPI. Random generators go on as rank 0's,
    but masks (dropout) are each rank's own. Returns the world.

    Args:
        timeout: seconds that a rank waits for the others before all end with an error that names
            those missing; by default TENSORGRAD_TIMEOUT, or 600.
    Raises: BackendError where mpi4py or MPI is missing, or is another one than the launcher's.

    >>> init().size
    1
    """
    global _world
    if _world.size > 1 or not any(name in os.environ for name in _SIGNS):
        return _world
    owner = os.environ.get(_OWNER, str(os.getpid()))
    if multiprocessing.parent_process() is not None or owner != str(os.getpid()):
        return _world  # started by a rank: MPI has no place for it
    said = timeout or float(os.environ.get("TENSORGRAD_TIMEOUT", TIMEOUT))
    from .mpi import Ranks, once_all_processes_have_started

    found = Ranks(once_all_processes_have_started(said).COMM_WORLD, said)
    if (asked := started()) > 1 and found.size == 1:
        if numbered():
            raise SystemExit(1)  # the first of them speaks
        raise BackendError(
            f"{asked} processes were started, and MPI sees 1: the launcher is of another MPI than "
            f"the library, {found.name}, which mpi4py has found. `python -m tensorgrad launch -n "
            f"{asked} program.py` takes its own launcher; under SLURM start with `srun --mpi=pmi2` "
            "(MPICH) or `--mpi=pmix` (Open MPI)"
        )
    os.environ[_OWNER] = str(os.getpid())
    if found.size > 1:
        _world = found
        found.begin()
        set_threads(found)
        if default().kernels == "cuda":
            from .nccl import choose

            choose(found)
        randomness.share(found.gather(randomness.get_state(), "random state")[0], found.rank)
        found.joined()
    return _world


def started() -> int:
    """How many processes a launcher says that it has started; 1 where there is none."""
    counts = [os.environ.get(name, "") for name in _COUNTS]
    return max([int(n) for n in counts if n.isdecimal()], default=1)


def numbered() -> int:
    """This process's number, as its launcher says; 0 where there is none."""
    found = next((os.environ[name] for name in _NUMBERS if name in os.environ), "0")
    return int(found) if found.isdecimal() else 0


def unjoined() -> int:
    """How many processes were started of which none has called `init`, so that each trains alone;
    0 where that is not so."""
    alone = _world.size == 1 and started() > 1 and _OWNER not in os.environ
    return started() if alone and multiprocessing.parent_process() is None else 0


def set_threads(world: Alone) -> None:
    """An equal part of the machine's cores for each rank here, unless the user has said how many
    threads: ranks of more would wait for each other's. Of that there is a warning."""
    from ..kernels.cpu import blas, jit

    asked, here = jit.threads_asked(), world.local_size
    if asked and asked > 1 and asked * here > cores() and not world.local_rank:
        warnings.warn(
            f"{here} ranks with {asked} threads each share {cores()} cores, and wait for each "
            f"other: TENSORGRAD_NUM_THREADS={max(1, cores() // here)}, or leave it out",
            stacklevel=user_level(),
        )
    if asked is None:
        os.environ.update(threads(here))  # which Numba reads when it is first used
        blas.limit(max(1, cores() // here))


def threads(ranks: int) -> dict[str, str]:
    """The environment of one of so many ranks on this machine: how many threads it uses."""
    each = max(1, cores() // ranks)
    names = ("TENSORGRAD_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    asked = [os.environ[name] for name in names if name in os.environ]
    return {} if asked else dict.fromkeys((*names, "NUMBA_NUM_THREADS"), str(each))


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
