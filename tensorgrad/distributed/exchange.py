"""Gradients, parameters and buffers of all ranks made one: in a flat buffer, by one exchange."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Annotated, Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from ..backend import namespace, on_host
from ..core import Tensor, stamp
from ..errors import ArgumentError
from ..nn import Module, Parameter
from ..optim import Optimizer
from ..ownership import gradient_of
from ..settings import Of, Own, gate
from ..typing import NonNegative
from . import ranks

Trained: TypeAlias = Annotated[Any, Own("an optimizer, or parameters")]


class Flat:
    """Arrays of these shapes and dtypes, one after the other in a buffer for each dtype that is
    summed in: float64 for itself, float32 for itself and for halves. `views` are their places. With
    `owners`, the rank of each array, those of rank r are from its buffer's ends[r] to ends[r + 1].
    """

    def __init__(self, arrays: list[Any], owners: list[int] | None = None, size: int = 1):
        self.buffers: list[Any] = []
        self.ends: list[list[int]] = []
        self.views: list[Any] = [None] * len(arrays)
        kinds: dict[Any, list[int]] = {}
        of = owners or [0] * len(arrays)
        for i in sorted(range(len(arrays)), key=of.__getitem__):
            kinds.setdefault((type(arrays[i]), summed_in(arrays[i].dtype)), []).append(i)
        for (_, dtype), places in kinds.items():
            factors = [2 if arrays[i].dtype.kind == "c" else 1 for i in places]
            sizes = [arrays[i].size * f for i, f in zip(places, factors, strict=True)]
            buffer = namespace(arrays[places[0]]).zeros(sum(sizes), dtype)
            self.buffers.append(buffer)
            pairs = list(zip(places, sizes, strict=True))
            self.ends.append([sum([n for i, n in pairs if of[i] < r]) for r in range(size + 1)])
            start = 0
            for i, size in zip(places, sizes, strict=True):
                view = buffer[start : start + size]
                start += size
                if arrays[i].dtype.kind == "c":
                    view = view.view(arrays[i].dtype)
                self.views[i] = view.reshape(arrays[i].shape)


def summed_in(dtype: Any) -> Any:
    """The real dtype in which arrays of this one are summed."""
    wide = dtype.itemsize // (2 if dtype.kind == "c" else 1) > 4
    return np.dtype("float64" if wide else "float32")


_flats: WeakKeyDictionary[Any, tuple[Any, Flat]] = WeakKeyDictionary()


def flat_of(owner: Any, params: list[Any]) -> Flat:
    """The buffer of an optimizer's parameters, which is kept."""
    layout = [(type(p._data), p.dtype, p.shape) for p in params]
    known = _flats.get(owner)
    if known is None or known[0] != layout:
        owners, size = getattr(owner, "owners", None), ranks.world().size
        known = _flats[owner] = layout, Flat([p._data for p in params], owners, size)
    return known[1]


def summed(optimizer: Any, factor: float | None = None, total: float = 1.0) -> None:
    """Replace the gradients of an optimizer's parameters by their sum over the ranks, each times
    the rank's own `factor`, divided by `total`. A parameter that has a gradient on no rank stays
    without; of a factor of 0 nothing is read. Where each parameter has an owner (sharded.py), its
    rank alone has the gradient."""
    world, params = ranks.world(), optimizer.params()
    owners = getattr(optimizer, "owners", None)
    flat = flat_of(optimizer, params)
    grads = [p._grad if p.node is not None and factor != 0 else None for p in params]
    for g, view in zip(grads, flat.views, strict=True):
        if g is None:
            view[...] = 0
        elif factor is None or factor == 1:
            view[...] = g._data
        else:
            namespace(view).multiply(g._data, factor, out=view)
    flags = bytes([g is not None for g in grads])
    there = [g is not None for g in grads]
    what = "the gradients of a step"
    if owners is None:
        same = world.sum(flat.buffers, what, flags)
    else:
        same = world.scatter(list(zip(flat.buffers, flat.ends, strict=True)), what, flags)
    if not same:
        found = world.gather(flags, "the list of gradients that are there")
        there = [any(column) for column in zip(*found, strict=True)]
    for buffer in flat.buffers if total != 1 else ():
        buffer /= total
    for i, (p, view, some) in enumerate(zip(params, flat.views, there, strict=True)):
        if owners is not None and owners[i] != world.rank:
            p._grad = None
        elif some and p._grad is None:
            p.grad = Tensor(view.astype(p.dtype))  # in memory of its own
        elif some:
            gradient_of(p)[...] = view


@gate
def average(
    optimizer: Annotated[Optimizer, Of(Optimizer, "an optimizer")],
    examples: NonNegative | None = None,
) -> None:
    """Replace the gradients of an optimizer's parameters, before its step, by their mean over the
    ranks: what `backward` of the whole batch would have given.

    Args:
        examples: of this rank, of which its loss was a mean, or the sum of their weights, where it
            was a weighted mean; the rank counts as much as them, with 0 not at all. Left out, all
            ranks count alike.
    Raises: DistributedError where the ranks are at different places, or do not come.

    `backward` may have been called any number of times before; nothing is sent until then.

    >>> w = tg.Parameter([3.0]); sgd = tg.optim.SGD([w], lr=0.5)
    >>> w.sum().backward()
    >>> average(sgd, examples=8); w.grad.tolist()
    [1.0]
    """
    world = ranks.world()
    if world.size == 1:
        return
    if examples is None:
        summed(optimizer, 1 / world.size)
        return
    count = np.array([float(examples)])
    world.sum([count], "the numbers of examples of a step")
    if not count[0]:
        raise ArgumentError("average: there are no examples on any rank, and so nothing to step by")
    summed(optimizer, float(examples), float(count[0]))


@gate
def broadcast(model: Annotated[Module, Of(Module, "a module")]) -> None:
    """Give all ranks the parameters and buffers of rank 0's model, once it is known that theirs has
    the same: a loop of your own begins with it. (`fit` does it.)

    Raises: DistributedError, which names the first that differs.

    >>> broadcast(tg.nn.Dense(1, 2))
    """
    world = ranks.world()
    if world.size == 1:
        return
    state = list(model.named_state())
    facts = {f"the model's {name}": f"{t.shape} {t.dtype}" for name, t in state}
    world.agree(facts, "the layers of the model")
    world.broadcast([t._data for _, t in state], "the parameters of the model")
    for _, t in state:
        stamp(t)


def average_buffers(model: Any) -> None:
    """Give all ranks the mean of their buffers, such as the running statistics of batch norms;
    those of other numbers are rank 0's."""
    world = ranks.world()
    if world.size == 1:
        return
    if not (found := [t for _, t in model.named_state() if not isinstance(t, Parameter)]):
        return
    means = [t for t in found if t.dtype.kind in "fc" or t.dtype.kind == "V"]
    flat = Flat([t._data for t in means])
    for t, view in zip(means, flat.views, strict=True):
        view[...] = t._data
    world.sum(flat.buffers, "the buffers of the model")
    for t, view in zip(means, flat.views, strict=True):
        t._data[...] = view / world.size
        stamp(t)
    rest = [t for t in found if t.dtype.kind not in "fcV"]
    if rest:
        world.broadcast([t._data for t in rest], "the counts of the model")


def checksum(tensors: Iterable[Any]) -> int:
    """A number that differs where the bits of tensors or arrays do."""
    code = 0
    for t in tensors:
        a = np.ascontiguousarray(on_host(t._data if isinstance(t, Tensor) else t))
        code = zlib.crc32(a.reshape(-1).view(np.uint8).data, code)
    return code
