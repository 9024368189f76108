"""Keys and values of the tokens so far, so that generating one more takes one token's work."""

from __future__ import annotations

from typing import Any

from ..backend import namespace
from ..core import Tensor
from ..errors import ArgumentError, GraphError, ShapeError
from ..settings import gate
from ..typing import Count


class KeyValueCache:
    """Memory for the keys and values of up to `length` tokens, for all attention layers of a model.
    A call with `cache=` takes the tokens that follow those of the calls before:

        cache = KeyValueCache(256)
        with tg.no_grad():
            logits = model(prompt, cache=cache)      # (n, T, classes)
            logits = model(next_ids, cache=cache)    # (n, 1, classes)

    The arrays are made at a layer's first call, and written in place, so without gradients; a layer
    that a model calls twice for one token has no place here. `len(cache)` is how many tokens it
    holds, `reset()` forgets them.

    Raises: ArgumentError for more than `length` tokens; GraphError for keys that are recorded.

    >>> len(KeyValueCache(8))
    0
    """

    @gate
    def __init__(self, length: Count):
        self.length = length
        self._used: dict[int, tuple[Any, int]] = {}  # by id: the layer, tokens so far
        self._kept: dict[int, tuple[Any, Any]] = {}

    def __len__(self) -> int:
        return max([used for _, used in self._used.values()], default=0)

    def __bool__(self) -> bool:
        return True  # also while it is empty

    def reset(self) -> None:
        """Forget all tokens; the memory is kept."""
        self._used.clear()

    def used(self, layer: Any) -> int:
        """How many tokens this layer has seen."""
        return self._used.get(id(layer), (layer, 0))[1]

    def advance(self, layer: Any, used: int) -> None:
        """That many tokens this layer has seen now."""
        self._used[id(layer)] = layer, used

    def append(self, layer: Any, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values so far, with those of the new tokens, (..., T, D), at the end."""
        if k.node is not None or v.node is not None:
            raise GraphError(
                "a KeyValueCache keeps no gradients, and these keys are recorded: call the model "
                "within tg.no_grad(), or in training without the cache"
            )
        start = self.used(layer)
        end = start + k.shape[-2]
        if end > self.length:
            raise ArgumentError(
                f"the KeyValueCache has room for {self.length} tokens; with these it is {end}"
            )
        if start == 0:
            old = self._kept.get(id(layer))
            if old is None or any(
                (*a.shape[:-2], a.shape[-1], a.dtype) != (*x.shape[:-2], x.shape[-1], x.dtype)
                for a, x in zip(old, (k, v), strict=True)
            ):
                self._kept[id(layer)] = self._made(k), self._made(v)
        arrays = self._kept[id(layer)]
        for array, x in zip(arrays, (k, v), strict=True):
            if array.shape[:-2] != x.shape[:-2]:
                raise ShapeError(
                    f"the KeyValueCache was begun with keys of shape {array.shape[:-2]} before the "
                    f"tokens, now it is {x.shape[:-2]}: a new batch needs reset(), or a new cache"
                )
            array[..., start:end, :] = x._data
        self.advance(layer, end)
        k, v = [Tensor(array[..., :end, :]) for array in arrays]
        return k, v

    def _made(self, x: Tensor) -> Any:
        shape = (*x.shape[:-2], self.length, x.shape[-1])
        return namespace(x._data).zeros(shape, dtype=x.dtype)
