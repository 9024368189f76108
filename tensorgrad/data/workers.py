"""Worker processes: batches are computed beside the training, and come in order.

A worker writes the arrays of a batch into a file in memory (`memfd_create`) and sends its
descriptor, so that they are not copied; such a file has no name, and vanishes with the last process
that holds it, however that ends. Where the system has none, arrays are sent through the pipe.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

import numpy as np

from ..errors import WorkerError
from ..kernels.interrupts import uninterrupted
from ..trees import leaves, refill

SMALL = 1 << 16  # bytes of a batch that are sent through the pipe
END = "end"  # what a worker returns after the last batch of a stream
_ALIGNED = 64


class _Array(NamedTuple):
    """Where an array of a batch is in the shared memory."""

    dtype: np.dtype
    shape: tuple[int, ...]
    offset: int


class _Placed:  # not a tuple, which would be part of the batch's structure
    def __init__(self, at: _Array):
        self.at = at


class _Failure:
    """An exception of a worker: itself where it can be pickled, and its traceback."""

    def __init__(self, error: BaseException):
        self.text = "".join(traceback.format_exception(error))
        self.data = b""
        try:
            self.data = pickle.dumps(error)
            pickle.loads(self.data)
        except Exception:
            self.data = b""

    def raised(self, worker: str) -> BaseException:
        """The exception for the user."""
        if not self.data:
            return WorkerError(f"{worker} raised an exception:\n{self.text}")
        error: BaseException = pickle.loads(self.data)
        error.add_note(f"raised in {worker}:\n{self.text}")
        return error


class _Worker:
    """A process and the connection to it."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]], before: list[_Worker], name: str):
        context: Any = multiprocessing.get_context(_method())
        self.name, self.waiting = name, list[Any]()
        self.connection, theirs = context.Pipe()
        ends = [w.connection for w in before] + [self.connection]
        inherited = ends if context.get_start_method() == "fork" else []
        self.process = context.Process(
            target=_work, args=(make, theirs, inherited), daemon=True, name=name
        )
        with warnings.catch_warnings():  # forks beside threads, of which the child uses none
            warnings.simplefilter("ignore", DeprecationWarning)
            try:
                self.process.start()
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise WorkerError(
                    f"DataLoader: workers are started by {context.get_start_method()!r} here, for "
                    f"which data set, transform and collate must be picklable: {error}"
                ) from error
        theirs.close()

    def died(self) -> WorkerError:
        """What to say of a process that has gone."""
        self.process.join(5)
        code = self.process.exitcode
        how = f"left with exit code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                how += ", as by a system that runs out of memory: fewer workers or smaller batches"
        return WorkerError(f"{self.name} (process {self.process.pid}) {how}")

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.connection.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def _method() -> str:
    """As the user has chosen; else by fork on Linux: it shares the data set and takes lambdas."""
    chosen = multiprocessing.get_start_method(allow_none=True)
    return chosen or ("fork" if sys.platform == "linux" else "spawn")


def computed(
    make: Callable[[], Callable[[Any], Any]], tasks: Iterable[Any], count: int, prefetch: int
) -> Iterator[Any]:
    """The results of the tasks in order, by `count` processes, each with up to `prefetch` tasks.

    Args:
        make: called in each process; returns the function of a task, whose result is a tree of
            arrays, or END.
    Raises: the exception of a task, as its process raised it; WorkerError for a process that died.
    """
    workers: list[_Worker] = []
    try:
        for k in range(count):
            with uninterrupted():  # Ctrl-C that meets a fork is lost in what Python runs after it
                workers.append(_Worker(make, workers, f"DataLoader's worker {k + 1} of {count}"))
        results: dict[int, Any] = {}
        numbered = enumerate(tasks)
        for _ in range(count * prefetch):
            _send(workers, numbered)
        for number in range(sys.maxsize):
            while number not in results:
                if not any(w.waiting for w in workers):
                    return
                _receive(workers, results)
            result = results.pop(number)
            if isinstance(result, str) and result == END:
                return
            _send(workers, numbered)
            yield result
    finally:
        for worker in workers:
            worker.stop()


def _send(workers: list[_Worker], numbered: Iterator[tuple[int, Any]]) -> None:
    """Hand the next task to the process that has the fewest."""
    task = next(numbered, None)
    if task is None:
        return
    worker = min(workers, key=lambda w: len(w.waiting))
    try:
        worker.connection.send(task)
    except (BrokenPipeError, ConnectionError):
        raise worker.died() from None
    worker.waiting.append(task[0])


def _receive(workers: list[_Worker], results: dict[int, Any]) -> None:
    """Wait for results, and take them."""
    by_connection = {w.connection: w for w in workers}
    for connection in wait(list(by_connection)):
        worker = by_connection[connection]  # type: ignore[index]
        try:
            number, tree, size = worker.connection.recv()
            if isinstance(tree, _Failure):
                raise tree.raised(f"{worker.name} (process {worker.process.pid})")
            results[number] = _read(worker.connection, tree, size)
        except (EOFError, ConnectionError):
            raise worker.died() from None
        worker.waiting.remove(number)


def _read(connection: Connection, tree: Any, size: int) -> Any:
    """The batch, whose arrays are in shared memory where its size is above 0."""
    if not size:
        return tree
    from multiprocessing.reduction import recv_handle

    descriptor = recv_handle(connection)
    try:
        memory = mmap.mmap(descriptor, size)  # freed with the last array that is in it
    finally:
        os.close(descriptor)
    return refill(tree, iter([_mapped(leaf, memory) for leaf in leaves(tree)]))


def _mapped(leaf: Any, memory: mmap.mmap) -> Any:
    if not isinstance(leaf, _Placed):
        return leaf
    at = leaf.at
    count = int(np.prod(at.shape))
    return np.frombuffer(memory, at.dtype, count, at.offset).reshape(at.shape)


def _write(connection: Connection, number: int, tree: Any, parent: int) -> None:
    """Send a batch, its arrays through shared memory."""
    parts = leaves(tree)
    sizes = [a.nbytes if isinstance(a, np.ndarray) else 0 for a in parts]
    total = sum(-(-size // _ALIGNED) * _ALIGNED for size in sizes)
    if total <= SMALL or not hasattr(os, "memfd_create"):
        connection.send((number, tree, 0))
        return
    from multiprocessing.reduction import send_handle

    descriptor = os.memfd_create("tensorgrad-batch", os.MFD_CLOEXEC)
    try:
        try:
            os.posix_fallocate(descriptor, 0, total)  # else writing would end in a bus error
            memory = mmap.mmap(descriptor, total)
        except OSError as error:
            raise WorkerError(
                f"no {total:,} bytes of shared memory for a batch ({error.strerror}): fewer "
                "workers, a smaller `prefetch` or smaller batches"
            ) from error
        placed, offset = [], 0
        for a, size in zip(parts, sizes, strict=True):
            if not isinstance(a, np.ndarray) or not size:
                placed.append(a)
                continue
            at = _Array(a.dtype, a.shape, offset)
            np.frombuffer(memory, a.dtype, a.size, offset).reshape(a.shape)[...] = a
            placed.append(_Placed(at))
            offset += -(-size // _ALIGNED) * _ALIGNED
        connection.send((number, refill(tree, iter(placed)), total))
        send_handle(connection, descriptor, parent)
    finally:
        os.close(descriptor)


def _work(
    make: Callable[[], Callable[[Any], Any]], connection: Connection, inherited: list[Connection]
) -> None:
    """A worker process: compute tasks until the connection closes, or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for end in inherited:
        end.close()  # else it would not be closed when the parent dies
    above = multiprocessing.parent_process()
    assert above is not None
    assert above.pid is not None
    run: Callable[[Any], Any] | None = None
    while connection in wait([connection, above.sentinel]):
        try:
            number, task = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            try:
                run = run or make()
                _write(connection, number, run(task), above.pid)
            except BaseException as error:
                connection.send((number, _Failure(error), 0))
        except (BrokenPipeError, ConnectionError):
            return
