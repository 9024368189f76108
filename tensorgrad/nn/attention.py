"""Multi-head attention, the Transformer block, and learned positional embeddings."""

from __future__ import annotations

from typing import Any

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray, beside
from ..errors import DTypeError, ShapeError
from ..functions import dense
from ..ops.attention import scaled_dot_product_attention
from ..ops.shape import cast, expand_dims, reshape, split, swapaxes
from ..randomness import host_generator
from ..settings import Whole, take
from ..typing import ActivationLike, ArrayLike, Count, DType, NonNegative, Probability
from .container import Sequential
from .dense import Dense
from .dropout import Dropout
from .init import initial
from .lazy import LazyLayer, in_dtype_of
from .module import Module, Parameter
from .norm import LayerNorm


class MultiHeadAttention(LazyLayer):
    """Multi-head attention (Vaswani et al. 2017): query (..., T, width), key and value
    (..., S, width) -> (..., T, width). Query, key and value are projected and split into `heads`
    heads of width / heads features; each computes softmax(q @ k^T / sqrt(width / heads)) @ v, and
    the concatenated heads are projected again.

    Without a key this is self-attention; the value defaults to the key. A bool mask is True where
    a position attends, a floating one is added to the scores: (T, S) for all examples, (n, T, S)
    per example (a padding mask is (n, 1, S)) or (n, heads, T, S). With `causal`, position i attends
    to positions up to i. `weight` (width, 3 * width) is the concatenated projections of query, key
    and value; `width` may be left out, as in Dense.

    Raises: ShapeError where `heads` does not divide `width`, or the features of an input differ.

    >>> MultiHeadAttention(2)(asarray([[[1.0, 2.0, 3.0, 4.0]]])).shape
    (1, 1, 4)
    """

    sized_by = "width"
    width: int | None

    def __init__(
        self,
        heads: Count,
        width: Count | None = None,
        causal: bool = False,
        bias: bool = True,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.heads = heads
        self.causal, self.use_bias = causal, bias
        self.start(width, dtype)

    def make(self, length: int) -> None:
        if length % self.heads:
            raise ShapeError(
                f"MultiHeadAttention: {self.heads} heads cannot share a width of {length} evenly"
            )
        self.weight = self.drawn("xavier_uniform", length, 3 * length)
        if self.use_bias:
            self.bias = self.drawn("zeros", 3 * length)
        self.output = Dense(length, length, bias=self.use_bias, dtype=self.dtype)

    def forward(
        self,
        query: ArrayLike,
        key: ArrayLike | None = None,
        value: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> Tensor:
        query = self._checked("query", query)
        if key is None and value is None:
            projected = split(dense(query, self.weight, self.bias), sections=3, axis=-1)
        else:
            key = query if key is None else self._checked("key", key)
            value = key if value is None else self._checked("value", value)
            weights = split(self.weight, sections=3, axis=-1)
            biases = split(self.bias, sections=3) if self.use_bias else (None,) * 3
            projected = tuple(map(dense, (query, key, value), weights, biases))
        q, k, v = [self._by_head(x) for x in projected]
        scores_mask = None if mask is None else _mask_of_scores(mask, q)
        y = scaled_dot_product_attention(q, k, v, scores_mask, causal=self.causal)[0]
        return self.output(reshape(swapaxes(y, axis1=-2, axis2=-3), shape=projected[0].shape))

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
        """(..., T, width) -> (..., heads, T, width / heads), a view."""
        parts = (*x.shape[:-1], self.heads, x.shape[-1] // self.heads)
        return swapaxes(reshape(x, shape=parts), axis1=-2, axis2=-3)

    def describe(self) -> str:
        return f"{self.heads}, width={self.width}{', causal=True' if self.causal else ''}"


def _mask_of_scores(mask: ArrayLike, q: Tensor) -> Tensor:
    """The mask on the backend of the queries, in their dtype if additive, with an axis of heads
    (of length 1) if it is per example."""
    made = beside(mask, q)
    if is_floating(made.dtype) and made.dtype != q.dtype:
        made = cast(made, dtype=q.dtype)
    return expand_dims(made, axis=-3) if made.ndim == 3 else made


class TransformerBlock(Module):
    """The pre-norm Transformer block (Xiong et al. 2020): x + attention(norm(x)), then
    x + mlp(norm(x)), with dropout on both residual branches. (..., T, width) -> (..., T, width).

    The MLP has one hidden layer of `hidden` units, by default 4 * width. The mask is that of
    MultiHeadAttention; `width` may be left out, as in Dense.

    >>> TransformerBlock(2)(asarray([[[1.0, 2.0, 3.0, 4.0]]])).shape
    (1, 1, 4)
    """

    def __init__(
        self,
        heads: Count,
        width: Count | None = None,
        hidden: Count | None = None,
        causal: bool = False,
        dropout: Probability = 0.0,
        activation: ActivationLike = "gelu",
        eps: NonNegative = 1e-5,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.hidden, self.activation, self.dtype = hidden, activation, dtype
        self.attention_norm = LayerNorm(eps=eps, dtype=dtype)
        self.attention = MultiHeadAttention(heads, causal=causal, dtype=dtype)
        self.mlp_norm = LayerNorm(eps=eps, dtype=dtype)
        self.mlp: Any = None  # a Sequential once the width is known
        self.dropout = Dropout(dropout)
        if width is not None:
            self.build(width)

    @property
    def built(self) -> bool:  # type: ignore[override]
        """Whether the weights are initialised."""
        return self.mlp is not None

    def build(self, width: int) -> None:
        """Initialise the weights for this number of features."""
        width = take("TransformerBlock", "width", Whole(1), width)
        self.attention.build(width)
        self.attention_norm.build(width)
        self.mlp_norm.build(width)
        hidden = 4 * width if self.hidden is None else self.hidden
        self.mlp = Sequential(
            Dense(hidden, width, activation=self.activation, dtype=self.dtype),
            Dense(width, hidden, dtype=self.dtype),
        )
        if self._frozen:
            self.trainable = False

    def forward(self, x: ArrayLike, mask: ArrayLike | None = None) -> Tensor:
        x = asarray(x)
        if x.ndim < 2:
            raise ShapeError(
                f"TransformerBlock: x has shape {x.shape}; it needs positions and features, "
                "(..., T, width)"
            )
        if self.mlp is None:
            self.build(x.shape[-1])
        x = in_dtype_of(self.attention_norm.weight, x)
        x = x + self.dropout(self.attention(self.attention_norm(x), mask=mask))
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class PositionalEmbedding(Module):
    """x + weight[:T], a learned vector for each position: (..., T, width) -> (..., T, width), for
    T up to `length`. Initialised from the normal distribution of standard deviation 0.02, as in
    GPT-2.

    >>> PositionalEmbedding(8, 2)(asarray([[1.0, 2.0], [3.0, 4.0]])).shape
    (2, 2)
    """

    def __init__(self, length: Count, width: Count, dtype: DType = "float32"):
        super().__init__()
        shape = (length, width)
        drawn = 0.02 * host_generator().standard_normal(shape)
        self.weight = Parameter(initial(lambda shape: drawn, shape, dtype))

    def forward(self, x: ArrayLike) -> Tensor:
        x = asarray(x)
        length, width = self.weight.shape
        if x.ndim < 2 or x.shape[-1] != width or x.shape[-2] > length:
            raise ShapeError(
                f"PositionalEmbedding({length}, {width}) takes (..., T, {width}) with T up to "
                f"{length}, got shape {x.shape}"
            )
        if not is_floating(x.dtype):
            raise DTypeError(
                f"PositionalEmbedding takes embedded tokens, got dtype {x.dtype}: embed them first"
            )
        return in_dtype_of(self.weight, x) + self.weight[: x.shape[-2]]

    def describe(self) -> str:
        return ", ".join(map(str, self.weight.shape))
