"""Simulated GPUs, one for each rank, and what `cupy.cuda.nccl` is to them: the same names, whose
sums are done over MPI. tests/test_distributed.py holds the names against the real module."""

import ctypes
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
CALLS = []  # what was asked of it, and on which stream
NCCL_SUM = 0
NCCL_UINT8, NCCL_INT64, NCCL_FLOAT16, NCCL_FLOAT32, NCCL_FLOAT64, NCCL_BFLOAT16 = 1, 4, 6, 7, 8, 9
_DTYPES = {1: "uint8", 4: "int64", 6: "float16", 7: "float32", 8: "float64"}
_group = []


def install():
    """Make simulated GPUs the default backend, and this module NCCL."""
    sys.path.insert(0, str(ROOT))
    from mpi4py import MPI

    import tensorgrad as tg
    from tensorgrad.distributed import nccl
    from tests import cudasim
    from tests.cudasim import cuda

    cudasim.install()
    tg.set_backend("cudasim")
    cuda.Device.use = lambda self: None
    cuda.Device.pci_bus_id = f"0000:{MPI.COMM_WORLD.rank:02x}:00.0"
    nccl.bindings = lambda: sys.modules[__name__]


def get_unique_id():
    return b"x" * 128


def get_version():
    return 22700


def groupStart():
    assert not _group
    _group.append(None)


def groupEnd():
    calls = [call for call in _group if call]
    _group.clear()
    for run in calls:
        run()


def _memory(address, count, kind):
    dtype = np.dtype(_DTYPES[kind])
    raw = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
    return np.frombuffer(raw, dtype)


class NcclCommunicator:
    """`cupy.cuda.nccl.NcclCommunicator`."""

    def __init__(self, n, unique_id, rank):
        from mpi4py import MPI

        assert unique_id == get_unique_id()
        self.mpi, self.comm = MPI, MPI.COMM_WORLD.Dup()
        assert (self.comm.size, self.comm.rank) == (n, rank)

    def _later(self, name, stream, run):
        assert stream, "on a stream of its own"
        assert _group, "within a group"
        CALLS.append(name)
        _group.append(run)

    def allReduce(self, sendbuf, recvbuf, count, datatype, op, stream):
        a, into = _memory(sendbuf, count, datatype), _memory(recvbuf, count, datatype)
        self._later("allReduce", stream, lambda: self.comm.Allreduce(a.copy(), into, self.mpi.SUM))

    def reduce(self, sendbuf, recvbuf, count, datatype, op, root, stream):
        a, into = _memory(sendbuf, count, datatype), _memory(recvbuf, count, datatype)
        into = into if self.comm.rank == root else None
        self._later("reduce", stream, lambda: self.comm.Reduce(a.copy(), into, self.mpi.SUM, root))

    def bcast(self, buff, count, datatype, root, stream):
        raw = [_memory(buff, count, datatype).view("uint8"), self.mpi.BYTE]
        self._later("bcast", stream, lambda: self.comm.Bcast(raw, root))

    def check_async_error(self):
        pass

    def abort(self):
        pass
