"""Multi-head attention with PyTorch's arguments and returns."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray, beside
from ..errors import DTypeError, ShapeError
from ..functions import broadcast_to, concat, dense, logical_not, split, transpose
from ..ops.shape import expand_dims, reshape
from ..typing import ArrayLike, Count, DType, Probability
from .attention import attend, merged
from .dense import Linear
from .lazy import LazyLayer


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
        self.add_bias_kv, self.add_zero_attn = add_bias_kv, add_zero_attn
        self.batch_first = batch_first
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
        _, k, v = given  # one array given twice stays one: its projections are one product
        key = query if k is None or k is given[0] else asarray(k).astype(query.dtype)
        value = key if v is None or v is k else asarray(v).astype(query.dtype)
        bias, size = vars(self).get("in_proj_bias"), self.embed_dim
        if "in_proj_weight" in vars(self):
            if key is query and value is query:
                return list(split(dense(query, self.in_proj_weight, bias), 3, axis=-1))
            weights = list(split(self.in_proj_weight, 3, axis=-1))
        else:
            weights = [vars(self)[f"{name}_proj_weight"] for name in "qkv"]
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
        found: list[Tensor | None] = []
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
