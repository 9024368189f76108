"""Training by several processes, which share each batch: on MPI, and on NCCL between GPUs."""

from .exchange import average, broadcast
from .ranks import Alone, init, world
from .sharded import Sharded
from .sharing import shard

__all__ = ["Alone", "Sharded", "average", "broadcast", "init", "shard", "world"]
