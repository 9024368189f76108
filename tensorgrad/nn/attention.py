"""Multi-head attention with all that a modern block needs: one tensor in and out. PyTorch's is in
multihead.py."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray, beside
from ..errors import ArgumentError, ShapeError
from ..functions import (
    broadcast_to,
    dense,
    dropout,
    logical_and,
    softmax,
    split,
    where,
)
from ..ops.attention import scaled_dot_product_attention
from ..ops.shape import cast, expand_dims, reshape, swapaxes
from ..typing import ArrayLike, Count, DType, Probability
from .dense import Dense
from .lazy import LazyLayer
from .lengths import Lengths
from .positions import alibi, rotary

if TYPE_CHECKING:
    from .cache import KeyValueCache


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool = False,
    dropped: float = 0.0,
    weighed: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attention of q (n, heads, T, D) to k and v (n, fewer heads, S, D), each of them for a group
    of query heads, and the probabilities (n, heads, T, S) if `weighed`. `dropped`: of those."""
    heads, groups = q.shape[-3], k.shape[-3]
    if heads != groups and q.shape[-2] == 1 and mask is None and not (weighed or dropped):
        rows = reshape(q, shape=(*q.shape[:-3], groups, heads // groups, q.shape[-1]))
        y = scaled_dot_product_attention(rows, k, v)[0]
        return reshape(y, shape=q.shape), None
    if heads != groups:
        k, v = [_repeated(x, heads) for x in (k, v)]
    if not (weighed or dropped):
        return scaled_dot_product_attention(q, k, v, mask, causal=causal)[0], None
    visible: Any = None
    if causal:
        visible = beside(np.tri(q.shape[-2], k.shape[-2], dtype=bool), q)
    scores = (q * (1 / math.sqrt(q.shape[-1]))) @ swapaxes(k, axis1=-1, axis2=-2)
    if mask is not None:
        shown = mask
        if is_floating(mask.dtype):
            shown = mask.detach() != -math.inf
            scores = scores + where(shown, mask, 0.0)
        visible = shown if visible is None else logical_and(visible, shown)
    if visible is None:
        p = softmax(scores)
    else:  # a row that sees nothing has probabilities of 0
        p = where(visible, softmax(where(visible, scores, np.finfo(scores.dtype).min)), 0.0)
    p = dropout(p, dropped) if dropped else p
    return p @ v, p


def _repeated(x: Tensor, heads: int) -> Tensor:
    """(..., groups, S, D) -> (..., heads, S, D), each group's for its query heads."""
    *lead, groups, length, width = x.shape
    wide = broadcast_to(expand_dims(x, axis=-3), (*lead, groups, heads // groups, length, width))
    return reshape(wide, shape=(*lead, heads, length, width))


def merged(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """Two masks, True where a row attends or added to the scores, as one."""
    if a is None or b is None:
        return b if a is None else a
    if not is_floating(a.dtype) and not is_floating(b.dtype):
        return logical_and(a, b)
    if is_floating(a.dtype) and is_floating(b.dtype):
        return a + b
    seen, added = (b, a) if is_floating(a.dtype) else (a, b)
    return where(seen, added, -math.inf)


class MultiHeadAttention(LazyLayer):
    """Multi-head attention (Vaswani et al. 2017): query (..., T, width), key and value
    (..., S, width) -> (..., T, width). Query, key and value are projected and split into `heads`
    heads of width / heads features; each computes softmax(q @ k^T / sqrt(width / heads)) @ v, and
    the concatenated heads are projected again. Without a key this is self-attention; the value
    defaults to the key. (`MultiheadAttention` has PyTorch's arguments.)

    Args:
        heads: how many.
        width: of the features; the input's where left out, as in Dense.
        causal: position i attends to positions up to i.
        num_kv_heads: keys and values have fewer heads, each for a group of query heads (Ainslie et
            al. 2023); 1 is multi-query attention.
        positions: "rotary" turns queries and keys by their position (Su et al. 2021), "alibi"
            takes from the scores what grows with the distance (Press et al. 2022).
        dropout: of the probabilities, in training.
    A call takes
        mask: bool, True where a position attends, or floating and added to the scores: (T, S) for
            all examples, (n, T, S) for each (a padding mask is (n, 1, S)) or (n, heads, T, S).
        lengths: (n,), where the keys of an example end.
        need_weights: return (output, the probabilities (..., heads, T, S)).
        cache: a KeyValueCache, for tokens that follow those of earlier calls. Where a key is given,
            the encoder's output, its projections are made at the first call and kept.
    `weight` (width, width + 2 * num_kv_heads * width / heads) is the concatenated projections of
    query, key and value.

    Raises: ShapeError where `heads` does not divide `width`, or the features of an input differ.

    >>> MultiHeadAttention(2)(asarray([[[1.0, 2.0, 3.0, 4.0]]])).shape
    (1, 1, 4)
    """

    torch_names = {"weight": "in_proj_weight.T", "bias": "in_proj_bias", "output": "out_proj"}
    sized_by = "width"
    width: int | None
    forms = (
        "MultiHeadAttention(8) has 8 heads, its width is the input's; in PyTorch's form "
        "MultiheadAttention(512, 8)"
    )

    def __init__(
        self,
        heads: Count,
        width: Count | None = None,
        causal: bool = False,
        bias: bool = True,
        dtype: DType = "float32",
        *,
        num_kv_heads: Count | None = None,
        positions: Literal["rotary", "alibi"] | None = None,
        dropout: Probability = 0.0,
    ):
        super().__init__()
        self.heads, self.kv_heads = heads, num_kv_heads or heads
        if heads % self.kv_heads:
            raise ArgumentError(
                f"MultiHeadAttention: num_kv_heads={self.kv_heads} must divide the {heads} heads"
            )
        self.causal, self.use_bias = causal, bias
        self.positions, self.dropout = positions, dropout
        self.start(width, dtype)

    def make(self, length: int) -> None:
        each = length // self.heads
        if length % self.heads:
            raise ShapeError(
                f"MultiHeadAttention: {self.heads} heads cannot share a width of {length} evenly"
            )
        if self.positions == "rotary" and each % 2:
            raise ShapeError(
                f"MultiHeadAttention: rotary positions turn pairs of features; heads of {each} "
                "have an odd one"
            )
        self.parts = (length, self.kv_heads * each, self.kv_heads * each)
        self.weight = self.drawn("xavier_uniform", length, sum(self.parts))
        if self.use_bias:
            self.bias = self.drawn("zeros", sum(self.parts))
        self.output = Dense(length, length, bias=self.use_bias, dtype=self.dtype)

    @overload
    def forward(
        self,
        query: ArrayLike,
        key: ArrayLike | None = None,
        value: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        need_weights: Literal[False] = False,
        cache: KeyValueCache | None = None,
    ) -> Tensor: ...
    @overload
    def forward(
        self,
        query: ArrayLike,
        key: ArrayLike | None = None,
        value: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        need_weights: bool,
        cache: KeyValueCache | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]: ...
    def forward(
        self,
        query: ArrayLike,
        key: ArrayLike | None = None,
        value: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        need_weights: bool = False,
        cache: KeyValueCache | None = None,
    ) -> Any:
        query = self._checked("query", query)
        own = key is None and value is None
        if own:
            projected = self._split(dense(query, self.weight, self.bias))
        else:
            key = query if key is None else self._checked("key", key)
            value = key if value is None else self._checked("value", value)
            biases = self._split(self.bias) if self.bias is not None else (None,) * 3
            asked, *known = zip((query, key, value), self._split(self.weight), biases, strict=True)

            def project() -> list[Tensor]:
                return [dense(*part) for part in known]

            kept = project() if cache is None else cache.kept_of(self, key, value, project)
            projected = [dense(*asked), *kept]
        q, k, v = [self._by_head(x) for x in projected]
        start = self._start_of(cache, own)
        if self.positions == "rotary":
            q, k = rotary(q, start), rotary(k, start)
        if cache is not None and own:
            k, v = cache.append(self, k, v)
        seen = None if mask is None else _mask_of_scores(mask, q)
        if lengths is not None:
            within = Lengths("MultiHeadAttention", lengths, swapaxes(k, axis1=-3, axis2=-2)).within
            seen = merged(seen, expand_dims(within, axis=(1, 2)))
        rows, keys, causal = q.shape[-2], k.shape[-2], self.causal
        if causal and start:
            if rows > 1:
                seen = merged(seen, beside(np.tri(rows, keys, start, dtype=bool), q))
            causal = False
        if self.positions == "alibi":
            bias = alibi(self.heads, rows, keys, start).astype(q.dtype)
            seen = merged(seen, beside(bias, q))
        dropped = self.dropout if self.training else 0.0
        y, p = attend(q, k, v, seen, causal, dropped, need_weights)
        y = self.output(reshape(swapaxes(y, axis1=-2, axis2=-3), shape=query.shape))
        return (y, p) if need_weights else y

    def _split(self, x: Tensor) -> Any:
        """What belongs to query, key and value, along the last axis."""
        if self.kv_heads == self.heads:
            return split(x, 3, axis=-1)
        first, second, _ = self.parts
        return split(x, [first, first + second], axis=-1)

    def _start_of(self, cache: KeyValueCache | None, own: bool) -> int:
        """The position of the first query."""
        if cache is None:
            return 0
        if own != self.causal or (not own and self.positions is not None):
            raise ArgumentError(
                "MultiHeadAttention: a cache is for causal self-attention, where later tokens "
                "change nothing of earlier ones: give causal=True, and no key; or for attention to "
                "an encoder's output, that is neither causal nor of positions"
            )
        return cache.used(self) if own else 0

    def _checked(self, name: str, x: Any) -> Tensor:
        """x as a floating tensor (..., T, width); the first one sets the width."""
        x = asarray(x)
        if x.ndim < 2:
            raise ShapeError(
                f"MultiHeadAttention: {name} has shape {x.shape}; it needs positions and features, "
                "(..., T, width)"
            )
        return self.checked(x, name)

    def _by_head(self, x: Tensor) -> Tensor:
        """(..., T, features) -> (..., heads, T, width / heads), a view."""
        each = self.parts[0] // self.heads
        parts = (*x.shape[:-1], x.shape[-1] // each, each)
        return swapaxes(reshape(x, shape=parts), axis1=-2, axis2=-3)

    def describe(self) -> str:
        text = f"{self.heads}, width={self.width}{', causal=True' if self.causal else ''}"
        if self.kv_heads != self.heads:
            text += f", num_kv_heads={self.kv_heads}"
        return text + (f", positions={self.positions!r}" if self.positions else "")


def _mask_of_scores(mask: ArrayLike, q: Tensor) -> Tensor:
    """The mask on the backend of the queries, in their dtype if additive, with an axis of heads
    (of length 1) if it is per example."""
    made = beside(mask, q)
    if is_floating(made.dtype) and made.dtype != q.dtype:
        made = cast(made, dtype=q.dtype)
    return expand_dims(made, axis=-3) if made.ndim == 3 else made
