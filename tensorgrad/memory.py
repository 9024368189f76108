"""Who holds the memory: tensors, their gradients, and what the tape keeps for backward."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from .backend import BY_TYPE, Array
from .core import Leaf, Node, Tensor
from .errors import on_out_of_memory

_KEPT = "kept for backward"


class Held(NamedTuple):
    """An array that something still refers to."""

    size: int  # bytes
    array: Array
    role: str

    def __str__(self) -> str:
        home = BY_TYPE[type(self.array)].name
        return (
            f"{_mib(self.size):>10}  {self.array.dtype}{list(self.array.shape)} on {home}, "
            f"{self.role}"
        )


def memory_summary(count: int = 5) -> str:
    """How much memory tensors hold, by what it is for, and the `count` largest arrays.

    Arrays that share memory count once. What is "kept for backward" goes when backward has passed,
    or when the loss dies; `no_grad` keeps none, and `checkpoint` little. On a GPU, and for large
    results on a CPU, the pool that freed memory returns to is listed, too.

    >>> print(memory_summary())  # doctest: +ELLIPSIS
    tensors hold ...
    """
    held = sorted(_held(), key=lambda h: -h.size)
    roles: dict[str, int] = {}
    for h in held:
        role = h.role.partition(" by ")[0]
        roles[role] = roles.get(role, 0) + h.size
    parts = ", ".join([f"{role} {_mib(n)}" for role, n in sorted(roles.items())])
    total = f"tensors hold {_mib(sum(roles.values()))} in {len(held)} arrays"
    lines = [total + (f": {parts}" if parts else "")]
    return "\n".join([*lines, *_pools(), *[str(h) for h in held[:count]]])


def _mib(size: float) -> str:
    return f"{size / 2**20:.1f} MiB" if size >= 1e5 else f"{size / 1024:.1f} KiB"


def _held() -> Iterator[Held]:
    """Every array once: under the first of these roles that it has."""
    found = [o for o in gc.get_objects() if issubclass(type(o), (Tensor, Node))]
    tensors = [o for o in found if isinstance(o, Tensor)]
    seen: set[int] = set()

    def new(array: Any, role: str) -> Iterator[Held]:
        if type(array) is tuple:
            for a in array:
                yield from new(a, role)
        elif type(array) in BY_TYPE:
            owner = array
            while type(owner.base) in BY_TYPE:
                owner = owner.base
            if id(owner) not in seen:
                seen.add(id(owner))
                yield Held(owner.nbytes, owner, role)

    for t in tensors:
        if t._grad is not None:
            yield from new(t._grad._data, "gradients")
    for t in tensors:
        if type(t.node) is Leaf:
            yield from new(t._data, "parameters")
    for node in found:
        if isinstance(node, Node):
            for a in node.saved or ():
                yield from new(a, f"{_KEPT} by {getattr(node.op, 'name', node.op)}")
    for t in tensors:
        yield from new(t._data, "other tensors")


def _pools() -> Iterator[str]:
    """The memory that the kernels' results and CuPy's arrays come from."""
    buffers = sys.modules.get("tensorgrad.kernels.cpu.buffers")
    if buffers is not None:
        facts = buffers.facts()
        yield f"kernels' results: {_mib(facts['used'])} in use, {_mib(facts['at hand'])} at hand"
    cupy = sys.modules.get("cupy")
    if cupy is not None and "cupy" in [BY_TYPE[kind].name for kind in list(BY_TYPE)]:
        pool = cupy.get_default_memory_pool()
        yield f"CuPy's pool: {_mib(pool.used_bytes())} in use of {_mib(pool.total_bytes())}"


def _saving() -> str:
    """What checkpointing would leave of what is kept for backward: of n ops in sqrt(n) parts the
    inputs of all parts and the inside of one (Chen et al. 2016)."""
    ops = sum(1 for o in gc.get_objects() if issubclass(type(o), Node) and o.saved)
    kept = sum(h.size for h in _held() if h.role.startswith(_KEPT))
    if ops < 16 or kept < 2**20:
        return ""
    parts = round(ops**0.5)
    return (
        f"\n{_mib(kept)} are kept for backward by {ops} ops; with tg.checkpoint around each of "
        f"{parts} equal parts of them it would be about {_mib(2 * kept / parts)}"
    )


def _after_failure() -> str:
    """What an out-of-memory error says besides; what nothing refers to goes back to the device."""
    said = memory_summary() + _saving()
    gc.collect()
    cupy = sys.modules.get("cupy")
    if cupy is not None and cupy.cuda.is_available():
        cupy.get_default_memory_pool().free_all_blocks()
    buffers = sys.modules.get("tensorgrad.kernels.cpu.buffers")
    if buffers is not None:
        buffers.trim()
    return said


on_out_of_memory.append(_after_failure)
