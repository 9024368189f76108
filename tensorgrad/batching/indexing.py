"""Batching rules of indexing and of its adjoint. NumPy puts the axes of index arrays in front where
something stands between them, so that what is added to a key may move them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..backend import BY_TYPE
from ..core import OPS
from ..ops.index import ARRAY, place_of
from .array import Level, batch_of, is_batched


def getitem(run: Callable[..., Any], args: Sequence[Any], params: Any, level: Level) -> Any:
    """x[key] of each example, where x, index arrays of the key, or both are batched."""
    x, *index = args
    template, k = params["template"], max([i.ndim for i in index], default=0)
    if not any(is_batched(i, level) for i in index):
        y = run(x.batch, *index, template=(slice(None), *template))
        return _moved(y, k, 0) if _in_front(template, k, x.ndim) else y
    index = [_lifted(i, k, level) for i in index]
    place = place_of(template, k + 1, x.ndim)
    if not is_batched(x, level):
        return _moved(run(x, *index, template=template), place, 0)
    y = run(x.batch, _rows(x.batch, k), *index, template=(ARRAY, *template))
    return _moved(y, range(1, k + 1), range(1 + place, 1 + place + k)) if place and k else y


def scatter_add(run: Callable[..., Any], args: Sequence[Any], params: Any, level: Level) -> Any:
    """Its adjoint: zeros of a shape for each example, with values added at the key."""
    values, *index = args
    template, shape = params["template"], tuple(params["shape"])
    k, batch = max([i.ndim for i in index], default=0), batch_of(values, level)
    if not any(is_batched(i, level) for i in index):
        batch = _moved(batch, 0, k) if _in_front(template, k, len(shape)) else batch
        template = (slice(None), *template)
        return run(batch, *index, shape=(level.size, *shape), template=template)
    index = [_lifted(i, k, level) for i in index]
    place = place_of(template, k + 1, len(shape))
    if place and k:
        batch = _moved(batch, range(1 + place, 1 + place + k), range(1, k + 1))
    rows = _rows(batch, k)
    return run(batch, rows, *index, shape=(level.size, *shape), template=(ARRAY, *template))


def _in_front(template: Sequence[Any], k: int, axes: int) -> bool:
    """Whether the axes of index arrays come before the batch axis, whose slice is the first."""
    return k > 0 and place_of((slice(None), *template), k, axes + 1) == 0


def _moved(y: Any, source: Any, destination: Any) -> Any:
    if source == destination:
        return y
    one = isinstance(source, int)
    ends = (source, destination) if one else (tuple(source), tuple(destination))
    return OPS["moveaxis"](y, source=ends[0], destination=ends[1])


def _lifted(index: Any, k: int, level: Level) -> Any:
    """A batch of index arrays of k axes each."""
    if not is_batched(index, level):
        return index
    return index.batch.reshape(level.size, *(1,) * (k - index.ndim), *index.shape)


def _rows(batch: Any, k: int) -> Any:
    """The number of each example, to broadcast with index arrays of k axes."""
    rows = BY_TYPE[type(batch)].xp.arange(batch.shape[0])
    return rows.reshape(-1, *(1,) * k)
