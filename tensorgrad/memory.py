"""Memory accounting: parameters, gradients, arrays saved for backward, and other tensors."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from .backend import BACKENDS, BY_TYPE, Array
from .core import Leaf, Node, Tensor
from .errors import on_low_memory, on_out_of_memory
from .settings import gate
from .typing import Natural

_SAVED = "saved for backward"


class Held(NamedTuple):
    """An array that is alive."""

    size: int  # in bytes
    array: Array
    role: str

    def __str__(self) -> str:
        home = BY_TYPE[type(self.array)].name
        return (
            f"{_mib(self.size):>10}  {self.array.dtype}{list(self.array.shape)} on {home}, "
            f"{self.role}"
        )


@gate
def memory_summary(count: Natural = 5) -> str:
    """The memory that tensors hold, by role, and the `count` largest arrays.

    Arrays that share memory count once. Those "saved for backward" are freed by backward, or with
    the last reference to the loss; under `no_grad` there are none, with `checkpoint` few. Memory
    pools, of CuPy and of large results on a CPU, are listed, too.

    >>> print(memory_summary())  # doctest: +ELLIPSIS
    tensors hold ...
    """
    return _summary(living(Tensor, Node), count)


def _summary(found: list[Any], count: int) -> str:
    held = sorted(_held(found), key=lambda h: -h.size)
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


@contextmanager
def thawed() -> Iterator[None]:
    """Within the block `gc` also finds what `gc.freeze()` has hidden from it. What lives after it
    is frozen then, as there is no way to freeze a part."""
    frozen = gc.get_freeze_count()
    if frozen:
        gc.unfreeze()
    try:
        yield
    finally:
        if frozen:
            gc.freeze()


def living(*bases: type) -> list[Any]:
    """All objects of these types and of types derived from them. (What refers to its type, as every
    object of a Python class does, is found faster than a list of all objects is gone through.)"""
    kinds, todo = set[type](), [*bases]
    while todo:
        kind = todo.pop()
        if kind not in kinds:
            kinds.add(kind)
            todo += kind.__subclasses__()
    with thawed():
        return [o for o in gc.get_referrers(*kinds) if type(o) in kinds]


def _held(found: list[Any]) -> Iterator[Held]:
    """Every array of these tensors and nodes once, under the first role that it has in this
    order."""
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
                yield from new(a, f"{_SAVED} by {getattr(node.op, 'name', node.op)}")
    for t in tensors:
        yield from new(t._data, "other tensors")


def _pools() -> Iterator[str]:
    """The memory pools of the CPU kernels' results and of CuPy."""
    buffers = sys.modules.get("tensorgrad.kernels.cpu.buffers")
    if buffers is not None:
        facts = buffers.facts()
        yield f"kernels' results: {_mib(facts['used'])} in use, {_mib(facts['at hand'])} cached"
    for name, pool in _gpu_pools().items():
        limit = f", limited to {_mib(pool.get_limit())}" if pool.get_limit() else ""
        yield (
            f"{name}'s pool: {_mib(pool.used_bytes())} in use, {_mib(pool.free_bytes())} cached"
            + limit
        )


def _gpu_pools() -> dict[str, Any]:
    """The default memory pools of the backends in use that are on a GPU, by name."""
    homes = [home for home in BACKENDS.values() if home.kernels == "cuda"]
    return {home.name: home.xp.get_default_memory_pool() for home in homes}


def _saving(found: list[Any]) -> str:
    """How much gradient checkpointing would save: of n ops in sqrt(n) segments it holds the inputs
    of all segments and the saved arrays of one (Chen et al. 2016)."""
    ops = sum(1 for node in found if isinstance(node, Node) and node.saved)
    saved = sum(h.size for h in _held(found) if h.role.startswith(_SAVED))
    if ops < 16 or saved < 2**20:
        return ""
    parts = round(ops**0.5)
    return (
        f"\n{_mib(saved)} are saved for backward by {ops} ops; with tg.checkpoint around each of "
        f"{parts} equal parts of them it would be about {_mib(2 * saved / parts)}"
    )


def _free() -> None:
    """Free garbage and the pools' unused blocks."""
    gc.collect()
    for pool in _gpu_pools().values():
        pool.free_all_blocks()
    buffers = sys.modules.get("tensorgrad.kernels.cpu.buffers")
    if buffers is not None:
        buffers.trim()


def _after_failure() -> str:
    """The memory report of an out-of-memory error. Frees what nothing uses: the program goes on."""
    found = living(Tensor, Node)
    said = _summary(found, 5) + _saving(found)
    del found
    _free()
    return said


on_low_memory.append(_free)
on_out_of_memory.append(_after_failure)
