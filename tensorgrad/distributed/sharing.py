"""Which examples of a batch are a rank's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, TypeAlias

import numpy as np

from ..core import Tensor
from ..errors import ArgumentError, ShapeError
from ..settings import Own, gate
from ..trees import leaves, refill
from . import ranks

Batches: TypeAlias = Annotated[Iterable[Any], Own("a loader, or an iterable of batches")]


class Sharing:
    """How batches are shared: rank r of n has the rows from r / n to (r + 1) / n of each, or fewer
    ranks have some where each is to have at `least` so many.

    A rank without rows of its own gets those of rank 0, which do not count: its program runs on."""

    def __init__(self, world: Any, least: int = 1):
        self.world, self.least = world, least

    def rows(self, n: int) -> tuple[slice, int]:
        """Which of n rows, and how many of these are the rank's own."""
        parts = max(1, min(self.world.size, n // self.least))
        rank = self.world.rank
        of = rank if rank < parts else 0
        start, stop = of * n // parts, (of + 1) * n // parts
        return slice(start, stop), (stop - start) * (rank < parts)

    def agreed(self, numbers: Any) -> np.ndarray:
        """Rank 0's numbers: a seed, or an order."""
        found: np.ndarray = self.world.gather(np.asarray(numbers), "the order of the examples")[0]
        return found

    def cut(self, batch: Any) -> tuple[Any, int, int]:
        """The rows of a batch that each rank has read whole, with their number and the rank's."""
        n = length(batch)
        rows, own = self.rows(n)
        return first_axis(batch, rows), n, own


def length(batch: Any) -> int:
    """The number of examples in a batch."""
    sizes = [a.shape[0] for a in leaves(batch) if getattr(a, "shape", ())]
    if not sizes:
        raise ShapeError("a batch has no array with a first axis, the examples, to be shared")
    return int(sizes[0])


def first_axis(batch: Any, rows: slice) -> Any:
    """Those rows of all arrays in a batch, and of lists of text."""
    cut = [a[rows] if getattr(a, "shape", ()) else a for a in leaves(batch)]
    return refill(batch, iter(cut))


@gate
def shard(loader: Batches) -> Iterator[Any]:
    """This rank's part of each batch, for a loop of your own. All ranks make equally many steps, in
    rank 0's order; a part is empty where a batch has fewer examples than there are ranks.

    Of a DataLoader only those samples are read; of any other iterable, which must give the same
    batches on all ranks, whole batches are.

    >>> [x.tolist() for x in shard(tg.data.DataLoader(np.arange(3), batch_size=2))]
    [[0, 1], [2]]
    """
    if not isinstance(loader, Iterable) or isinstance(loader, (str, Mapping, np.ndarray, Tensor)):
        raise ArgumentError(
            f"shard: a loader is a DataLoader or another iterable of batches, not {loader!r:.80}"
        )
    world = ranks.world()
    return iter(loader) if world.size == 1 else _shares(loader, Sharing(world))


def _shares(loader: Any, sharing: Any) -> Iterator[Any]:
    own_way = getattr(loader, "shared", None)
    parts = map(sharing.cut, loader) if own_way is None else own_way(sharing)
    for batch, _, own in parts:
        batch = refill(batch, iter([_tensor(a) for a in leaves(batch)]))
        yield batch if own else first_axis(batch, slice(0))


def _tensor(a: Any) -> Any:
    return Tensor(a) if isinstance(a, np.ndarray) else a
