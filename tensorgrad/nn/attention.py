"""Multi-head attention: in Keras's form, with all that a modern block needs, and in PyTorch's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray, beside
from ..errors import ArgumentError, DTypeError, ShapeError
from ..functions import (
    broadcast_to,
    concat,
    dense,
    dropout,
    logical_and,
    logical_not,
    softmax,
    split,
    transpose,
    where,
)
from ..ops.attention import scaled_dot_product_attention
from ..ops.shape import cast, expand_dims, reshape, swapaxes
from ..typing import ArrayLike, Count, DType, Probability
from .dense import Dense, Linear
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
        cache: a KeyValueCache, for tokens that follow those of earlier calls.
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
            projected = map(dense, (query, key, value), self._split(self.weight), biases)
        q, k, v = [self._by_head(x) for x in projected]
        start = self._start_of(cache, own)
        if self.positions == "rotary":
            q, k = rotary(q, start), rotary(k, start)
        if cache is not None:
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
        if not (own and self.causal):
            raise ArgumentError(
                "MultiHeadAttention: a cache is for causal self-attention, where later tokens "
                "change nothing of earlier ones: give causal=True, and no key"
            )
        return cache.used(self)

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


class MultiheadAttention(LazyLayer):
    """Multi-head attention (Vaswani et al. 2017) with PyTorch's arguments and returns: the output,
    (T, n, embed_dim), and the probabilities, (n, T, S), the mean of the heads' or with
    `average_attn_weights=False` each head's, (n, heads, T, S); None without `need_weights`, which
    is faster. `batch_first`: (n, T, embed_dim). Without n a single example is meant.

    Args:
        embed_dim: of the queries and the output; None for that of the first query.
        dropout: of the probabilities, in training.
        add_bias_kv: a learned key and value that all attend to; add_zero_attn: one of zeros.
        kdim, vdim: the features of keys and values, embed_dim where left out.
    A call takes, as in PyTorch and other than `MultiHeadAttention` (True: attends),
        key_padding_mask: (n, S), True for keys that are hidden, or floating and added.
        attn_mask: (T, S) or (n * heads, T, S), True for what is hidden, or floating and added.
        is_causal: position i attends to positions up to i; the mask may then be left out.
    A row that may attend to nothing gives 0, not NaN. Key and value default to the query.
    `in_proj_weight` is (embed_dim, 3 * embed_dim), the transpose of PyTorch's, as are the others.

    Raises: ShapeError where `num_heads` does not divide `embed_dim`, or an input does not fit.

    >>> x = np.ones((5, 2, 4))
    >>> y, p = MultiheadAttention(4, 2)(x, x, x)
    >>> y.shape, p.shape
    ((5, 2, 4), (2, 5, 5))
    """

    torch_names = {"*_proj_weight": "*.T"}
    sized_by, gives_state = "embed_dim", True
    embed_dim: int | None
    forms = (
        "MultiheadAttention(512, 8) has width 512 and 8 heads; in Keras's form "
        "MultiHeadAttention(8)"
    )

    def __init__(
        self,
        embed_dim: Count | None,
        num_heads: Count,
        dropout: Probability = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: Count | None = None,
        vdim: Count | None = None,
        batch_first: bool = False,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.num_heads, self.dropout, self.use_bias = num_heads, dropout, bias
        self.add_bias_kv, self.add_zero_attn, self.batch_first = (
            add_bias_kv,
            add_zero_attn,
            batch_first,
        )
        self.kdim, self.vdim = kdim, vdim
        self.start(embed_dim, dtype)

    def make(self, length: int) -> None:
        if length % self.num_heads:
            raise ShapeError(
                f"MultiheadAttention: {self.num_heads} heads cannot share embed_dim = {length} "
                "evenly"
            )
        sizes = [length if n is None else n for n in (length, self.kdim, self.vdim)]
        if sizes == [length] * 3:
            self.in_proj_weight = self.drawn("xavier_uniform", length, 3 * length)
        else:
            for name, size in zip("qkv", sizes, strict=True):
                weight = self.drawn("xavier_uniform", size, length)
                setattr(self, f"{name}_proj_weight", weight)
        if self.use_bias:
            self.in_proj_bias = self.drawn("zeros", 3 * length)
        self.out_proj = Linear(length, length, self.use_bias, dtype=self.dtype)
        if self.use_bias:
            self.out_proj.bias = self.drawn("zeros", length)
        if self.add_bias_kv:
            self.bias_k, self.bias_v = [self.drawn("xavier_normal", 1, 1, length) for _ in "kv"]

    @property
    def weight(self) -> Any:  # type: ignore[override]
        """The first projection; None until the first call."""
        own = vars(self)
        return own.get("in_proj_weight", own.get("q_proj_weight"))

    def forward(
        self,
        query: ArrayLike,
        key: ArrayLike | None = None,
        value: ArrayLike | None = None,
        key_padding_mask: ArrayLike | None = None,
        need_weights: bool = True,
        attn_mask: ArrayLike | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        q, k, v = self._projected(query, key, value)
        shape, batched = q.shape, q.ndim == 3
        time = 1 if batched and self.batch_first else 0
        length, rows = k.shape[time], q.shape[time]
        if self.add_bias_kv:
            k, v = [
                _with_one(x, broadcast_to(b, (*_one(x, time),)), time)
                for x, b in ((k, self.bias_k), (v, self.bias_v))
            ]
        if self.add_zero_attn:
            k, v = [_with_one(x, beside(np.zeros(_one(x, time), x.dtype), x), time) for x in (k, v)]
        n = shape[1 - time] if batched else 1
        mask = self._mask(key_padding_mask, attn_mask, n, rows, length, q)
        if more := k.shape[time] - length:
            if is_causal:
                mask = merged(mask, beside(np.tri(rows, length, dtype=bool), q))
                is_causal = False
            mask = None if mask is None else _wider(mask, more)
        q, k, v = [self._by_head(x) for x in (q, k, v)]
        dropped = self.dropout if self.training else 0.0
        y, p = attend(q, k, v, mask, is_causal, dropped, need_weights)
        y = self.out_proj(reshape(transpose(y, self._turned(batched)[1]), shape=shape))
        if p is not None:
            p = p.mean(axis=1) if average_attn_weights else p
            p = p if batched else p[0]
        return y, p

    def _projected(self, *given: Any) -> list[Tensor]:
        """Queries, keys and values of embed_dim features each."""
        query = asarray(given[0])
        if query.ndim not in (2, 3):
            form = "(n, T, embed_dim)" if self.batch_first else "(T, n, embed_dim)"
            raise ShapeError(
                f"MultiheadAttention takes {form}, or one example, (T, embed_dim); got a query of "
                f"shape {query.shape}"
            )
        query = self.checked(query, "query")
        key = query if given[1] is None else asarray(given[1]).astype(query.dtype)
        value = key if given[2] is None else asarray(given[2]).astype(query.dtype)
        bias, size = vars(self).get("in_proj_bias"), self.embed_dim
        if "in_proj_weight" in vars(self):
            if key is query and value is query:
                return list(split(dense(query, self.in_proj_weight, bias), 3, axis=-1))
            weights = split(self.in_proj_weight, 3, axis=-1)
        else:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        for name, x, w in (("key", key, weights[1]), ("value", value, weights[2])):
            batch = 1 - (1 if self.batch_first else 0)
            fits = x.ndim == query.ndim and x.shape[-1] == w.shape[0]
            if not fits or (x.ndim == 3 and x.shape[batch] != query.shape[batch]):
                raise ShapeError(
                    f"MultiheadAttention({size}, {self.num_heads}): the {name} has shape "
                    f"{x.shape} beside a query {query.shape}; {w.shape[0]} features and the same "
                    "examples are needed"
                )
        biases = (None,) * 3 if bias is None else split(bias, 3)
        return [
            dense(x, w, b) for x, w, b in zip((query, key, value), weights, biases, strict=True)
        ]

    def _turned(self, batched: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The axes of (..., heads, D) as (n, heads, T, D), and back."""
        if not batched:
            return (1, 0, 2), (0, 2, 1, 3)
        return ((0, 2, 1, 3), (0, 2, 1, 3)) if self.batch_first else ((1, 2, 0, 3), (2, 0, 1, 3))

    def _by_head(self, x: Tensor) -> Tensor:
        """(T, n, embed_dim) -> (n, heads, T, D), a view."""
        parts = (*x.shape[:-1], self.num_heads, x.shape[-1] // self.num_heads)
        turned = transpose(reshape(x, shape=parts), self._turned(x.ndim == 3)[0])
        return turned if turned.ndim == 4 else expand_dims(turned, axis=0)

    def _mask(
        self, padding: Any, attn_mask: Any, n: int, rows: int, keys: int, q: Tensor
    ) -> Tensor | None:
        """Both masks as one, True where a row attends or added to the scores."""
        found = []
        forms = {
            "key_padding_mask": (padding, [(keys,), (n, keys)]),
            "attn_mask": (attn_mask, [(rows, keys), (n * self.num_heads, rows, keys)]),
        }
        for name, (given, shapes) in forms.items():
            if given is None:
                found.append(None)
                continue
            made = beside(given, q)
            if made.shape not in shapes:
                raise ShapeError(
                    f"MultiheadAttention: {name} has shape {made.shape}; it is "
                    f"{' or '.join(map(str, shapes))} here"
                )
            if is_floating(made.dtype):
                made = made.astype(q.dtype)
            elif made.dtype.kind != "b":
                raise DTypeError(
                    f"MultiheadAttention: {name} is bool, True for what is hidden, or floating "
                    f"numbers that are added to the scores; got dtype {made.dtype}"
                )
            else:
                made = logical_not(made)
            found.append(made)
        hidden, masked = found
        if hidden is not None:
            hidden = reshape(hidden, shape=(-1, 1, 1, keys))
        if masked is not None and masked.ndim == 3:
            masked = reshape(masked, shape=(n, self.num_heads, rows, keys))
        return merged(hidden, masked)

    def describe(self) -> str:
        more = ", batch_first=True" if self.batch_first else ""
        return f"{self.embed_dim}, {self.num_heads}{more}"


def _one(x: Tensor, time: int) -> tuple[int, ...]:
    """The shape of one step of x."""
    return (*x.shape[:time], 1, *x.shape[time + 1 :])


def _with_one(x: Tensor, step: Tensor, time: int) -> Tensor:
    return concat([x, step], axis=time)


def _wider(mask: Tensor, more: int) -> Tensor:
    """A mask with columns for keys that all attend to."""
    shown = 0.0 if is_floating(mask.dtype) else True
    extra = np.full((*mask.shape[:-1], more), shown, mask.dtype)
    return concat([mask, beside(extra, mask)], axis=-1)
