"""Training by several processes, which share each batch: on MPI, and on NCCL between GPUs."""

from .exchange import average, broadcast
from .ranks import Alone, init, world
from .sharing import shard

__all__ = ["Alone", "average", "broadcast", "init", "shard", "world"]
