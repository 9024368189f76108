"""A module as a function of its parameters."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, TypeAlias

from ..core import Tensor
from ..creation import beside
from ..errors import ArgumentError, ShapeError
from ..settings import Own, gate
from ..typing import ArrayLike
from .module import Module

__all__ = ["functional_call"]

Given: TypeAlias = Annotated["Mapping[str, ArrayLike]", Own("a dict of tensors by path")]
_lock = threading.RLock()


@gate
def functional_call(module: Module, parameters: Given, *inputs: Any, **options: Any) -> Any:
    """module(*inputs, **options) with other tensors in the place of its parameters and buffers, by
    path as in `state_dict`; those that are not named stay. Gradients reach the given tensors, to
    any order, so that a step of learning is itself differentiated (MAML, Finn et al. 2017).

    Buffers that the module updates are updated in the arrays that are given. In one thread at a
    time.
    Raises: ArgumentError for a path that there is not, ShapeError for another shape.

    >>> layer = tg.nn.Linear(2, 1, bias=False)
    >>> functional_call(layer, {"weight": [[1.0], [10.0]]}, [[2.0, 3.0]]).tolist()
    [[32.0]]
    """
    with _lock, _exchanged(module, parameters):
        return module(*inputs, **options)


@contextmanager
def _exchanged(module: Module, given: Any) -> Iterator[None]:
    """The parameters have the data, and are under the nodes, of what is given."""
    if not isinstance(given, Mapping):
        raise ArgumentError(f"functional_call: parameters are a dict by path, got {type(given)}")
    own = dict(module.named_state())
    if unknown := [path for path in given if path not in own]:
        raise ArgumentError(
            f"functional_call: {type(module).__name__} has no {', '.join(map(str, unknown))}; its "
            f"parameters and buffers are {', '.join(own)}"
        )
    exchange: list[tuple[Tensor, Tensor]] = []
    for path, value in given.items():
        made = beside(value, own[path])
        if made.shape != own[path].shape:
            raise ShapeError(
                f"functional_call: {path} has shape {made.shape}, the module's {own[path].shape}"
            )
        if made.dtype != own[path].dtype:
            made = made.astype(own[path].dtype)
        exchange.append((own[path], made))
    before = [(p._data, p.node) for p, _ in exchange]
    try:
        for p, made in exchange:
            p._data, p.node = made._data, made.node
        yield
    finally:
        for (p, _), (data, node) in zip(exchange, before, strict=True):
            p._data, p.node = data, node
