"""Keys and values of the tokens so far, so that generating one more takes one token's work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backend import namespace
from ..core import Tensor
from ..errors import ArgumentError, GraphError, ShapeError
from ..ops.decoding import block_step
from ..settings import gate
from ..switches import switches
from ..typing import Count

_RECORDED = (
    "a KeyValueCache keeps no gradients, and these keys are recorded: call the model within "
    "tg.no_grad(), or in training without the cache"
)


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
        self._beside: dict[int, tuple[Any, ...]] = {}  # by id: the layer, what it attends to

    def __len__(self) -> int:
        return max([used for _, used in self._used.values()], default=0)

    def __bool__(self) -> bool:
        return True  # also while it is empty

    def reset(self) -> None:
        """Forget all tokens; the memory is kept."""
        self._used.clear()
        self._beside.clear()

    def used(self, layer: Any) -> int:
        """How many tokens this layer has seen."""
        return self._used.get(id(layer), (layer, 0))[1]

    def advance(self, layer: Any, used: int) -> None:
        """That many tokens this layer has seen now."""
        self._used[id(layer)] = layer, used

    def append(self, layer: Any, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """All keys and values so far, with those of the new tokens, (..., T, D), at the end."""
        if k.node is not None or v.node is not None:
            raise GraphError(_RECORDED)
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

    def step(self, layer: Any, x: Tensor, weights: list[Any], eps: float) -> Tensor | None:
        """One token (n, 1, width) more through a whole block, whose attention this layer is; None
        where it is the first one, or of another batch, or recorded."""
        kept, start = self._kept.get(id(layer)), self.used(layer)
        if (
            not 0 < start < self.length
            or kept is None
            or switches.recording
            or x.ndim != 3
            or type(x._data) is not type(kept[0])
            or (x.shape[0], x.dtype) != (kept[0].shape[0], kept[0].dtype)
        ):
            return None
        y = block_step(x._data[:, 0], *kept, *weights, start=start, eps=eps)
        self.advance(layer, start + 1)
        return Tensor(y[:, None])

    def kept_of(self, layer: Any, key: Tensor, value: Tensor, project: Callable) -> list[Tensor]:
        """What `project` makes of keys and values that stay, as an encoder's output: made once for
        these arrays."""
        kept = self._beside.get(id(layer))
        if kept is None or not (kept[1] is key._data and kept[2] is value._data):
            made = project()
            if any(x.node is not None for x in made):
                raise GraphError(_RECORDED)
            kept = self._beside[id(layer)] = layer, key._data, value._data, made
        return kept[3]  # type: ignore[no-any-return]

    def _made(self, x: Tensor) -> Any:
        shape = (*x.shape[:-2], self.length, x.shape[-1])
        return namespace(x._data).zeros(shape, dtype=x.dtype)
