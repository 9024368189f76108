"""Transformers: a block in Keras's form, and PyTorch's encoder and decoder."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .. import functions
from ..core import Tensor
from ..creation import asarray
from ..errors import ShapeError
from ..settings import Whole, take
from ..switches import switches
from ..typing import ActivationLike, ArrayLike, Count, DType, NonNegative, Probability
from . import activation as activations
from .attention import MultiHeadAttention
from .container import Sequential
from .dense import Dense, Linear
from .dropout import Dropout
from .init import initial
from .lazy import in_dtype_of
from .module import Module
from .multihead import MultiheadAttention
from .norm import LayerNorm, RMSNorm

if TYPE_CHECKING:
    from .cache import KeyValueCache


__all__ = [
    "Transformer",
    "TransformerBlock",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]


class TransformerBlock(Module):
    """The Transformer block: x + attention(norm(x)), then x + mlp(norm(x)) (Xiong et al. 2020), or,
    where not `norm_first`, norm(x + attention(x)), then norm(x + mlp(x)) (Vaswani et al. 2017);
    with dropout on both residual branches. (..., T, width) -> (..., T, width).

    The MLP has one hidden layer of `hidden` units, by default 4 * width. `norm` is "layer" or
    "rms". `num_kv_heads` and `positions` are those of MultiHeadAttention, as are `mask`, `lengths`
    and `cache` of a call; `width` may be left out, as in Dense.

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
        *,
        norm_first: bool = True,
        norm: Literal["layer", "rms"] = "layer",
        bias: bool = True,
        num_kv_heads: Count | None = None,
        positions: Literal["rotary", "alibi"] | None = None,
    ):
        super().__init__()
        self.hidden, self.activation, self.dtype = hidden, activation, dtype
        self.norm_first, self.use_bias = norm_first, bias
        made = LayerNorm if norm == "layer" else RMSNorm
        self.attention_norm = made(eps=eps, dtype=dtype)
        self.attention = MultiHeadAttention(
            heads, None, causal, bias, dtype, num_kv_heads=num_kv_heads, positions=positions
        )
        self.mlp_norm = made(eps=eps, dtype=dtype)
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
        hidden, bias = 4 * width if self.hidden is None else self.hidden, self.use_bias
        self.mlp = Sequential(
            Dense(hidden, width, activation=self.activation, bias=bias, dtype=self.dtype),
            Dense(width, hidden, bias=bias, dtype=self.dtype),
        )
        if self._frozen:
            self.trainable = False

    def forward(
        self,
        x: ArrayLike,
        mask: ArrayLike | None = None,
        *,
        lengths: ArrayLike | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        x = asarray(x)
        if x.ndim < 2:
            raise ShapeError(
                f"TransformerBlock: x has shape {x.shape}; it needs positions and features, "
                "(..., T, width)"
            )
        if self.mlp is None:
            self.build(x.shape[-1])
        x = in_dtype_of(self.attention_norm.weight, x)
        if cache is not None and x.shape[-2] == 1 and mask is None and lengths is None:
            weights = self._step_weights()
            if weights is not None and x.dtype == weights[0].dtype:
                y = cache.step(self.attention, x, weights, self.attention_norm.eps)
                if y is not None:
                    return y

        def attention(x: Tensor) -> Tensor:
            return self.attention(x, mask=mask, lengths=lengths, cache=cache)

        return self._around(
            self.mlp_norm, self.mlp, self._around(self.attention_norm, attention, x)
        )

    def _step_weights(self) -> list[Any] | None:
        """The arrays of all weights as `block_step` takes them, None where it is another block."""
        own: Any = self.attention
        parts = [self.attention_norm, own, own.output, self.mlp_norm, *self.mlp]
        if (
            not (self.norm_first and self.use_bias)
            or [type(part) for part in parts] != _STEPPED
            or [part.activation for part in self.mlp] != ["gelu", "none"]
            or not (own.causal and own.kv_heads == own.heads and own.positions is None)
            or (self.training and self.dropout.p)
            or switches.autocast is not None
            or any("forward" in vars(part) for part in (*parts, self.mlp, self.dropout))  # hooks
            or self.attention_norm.eps != self.mlp_norm.eps
        ):
            return None
        return [a._data for part in parts for a in (part.weight, part.bias)]

    def _around(self, norm: Module, branch: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """The residual branch of x."""
        if self.norm_first:
            return x + self.dropout(branch(norm(x)))
        return norm(x + self.dropout(branch(x)))


_STEPPED = [LayerNorm, MultiHeadAttention, Dense, LayerNorm, Dense, Dense]
# --- PyTorch's ------------------------------------------------------------------------------------


def _activation(given: ActivationLike) -> Any:
    """PyTorch's gelu is the exact one."""
    return partial(functions.gelu, approximate="none") if given == "gelu" else given


class _Layer(Module):
    """What PyTorch's two layers share: the second half, the norms and the order of both."""

    def __init__(
        self,
        d_model: Count,
        nhead: Count,
        dim_feedforward: Count = 2048,
        dropout: Probability = 0.1,
        activation: ActivationLike = "relu",
        layer_norm_eps: NonNegative = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.batch_first, self.norm_first = batch_first, norm_first
        self.activation = activations.get(_activation(activation))
        more = {} if bias else {"bias": False}
        for k, name in enumerate(self._attentions, 1):
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
            )
            setattr(self, name, attention)
            setattr(self, f"norm{k}", LayerNorm(d_model, eps=layer_norm_eps, dtype=dtype, **more))
            setattr(self, f"dropout{k}", Dropout(dropout))
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype=dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype=dtype)
        k = len(self._attentions) + 1
        setattr(self, f"norm{k}", LayerNorm(d_model, eps=layer_norm_eps, dtype=dtype, **more))
        setattr(self, f"dropout{k}", Dropout(dropout))

    _attentions: tuple[str, ...] = ("self_attn",)
    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention

    def _through(self, x: Tensor, *branches: Callable[[Tensor], Tensor]) -> Tensor:
        """x and the residual branches, each with its norm and dropout, the last the MLP."""
        for k, branch in enumerate((*branches, self._mlp), 1):
            norm, drop = getattr(self, f"norm{k}"), getattr(self, f"dropout{k}")
            if self.norm_first:
                x = x + drop(branch(norm(x)))
            else:
                x = norm(x + drop(branch(x)))
        return x

    def _mlp(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(activations.apply(self.activation, self.linear1(x))))

    def _input(self, x: ArrayLike) -> Tensor:
        return in_dtype_of(self.linear1.weight, asarray(x))


class TransformerEncoderLayer(_Layer):
    """norm(x + self_attn(x)), then norm(x + mlp(x)), with PyTorch's arguments (Vaswani et al.
    2017): (T, n, d_model) -> (T, n, d_model), with `batch_first` (n, T, d_model). `norm_first`: the
    norms begin the branches (Xiong et al. 2020). Dropout is in training, on the probabilities, in
    the MLP and on both branches. `activation` is relu, the exact gelu, another's name, or a
    function. The masks are those of MultiheadAttention: True for what is hidden.

    >>> TransformerEncoderLayer(4, 2, dim_feedforward=8)(np.ones((5, 2, 4))).shape
    (5, 2, 4)
    """

    def forward(
        self,
        src: ArrayLike,
        src_mask: ArrayLike | None = None,
        src_key_padding_mask: ArrayLike | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        def attention(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, True, is_causal)[
                0
            ]

        return self._through(self._input(src), attention)


class TransformerDecoderLayer(_Layer):
    """As TransformerEncoderLayer, with attention to the encoder's output `memory` (S, n, d_model)
    between self-attention and MLP: (T, n, d_model), memory -> (T, n, d_model).

    >>> layer = TransformerDecoderLayer(4, 2, dim_feedforward=8)
    >>> layer(np.ones((5, 2, 4)), np.ones((3, 2, 4)), tgt_is_causal=True).shape
    (5, 2, 4)
    """

    _attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: ArrayLike,
        memory: ArrayLike,
        tgt_mask: ArrayLike | None = None,
        memory_mask: ArrayLike | None = None,
        tgt_key_padding_mask: ArrayLike | None = None,
        memory_key_padding_mask: ArrayLike | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        memory = self._input(memory)

        def attention(x: Tensor) -> Tensor:
            masks = tgt_key_padding_mask, False, tgt_mask, True, tgt_is_causal
            return self.self_attn(x, x, x, *masks)[0]

        def cross(x: Tensor) -> Tensor:
            masks = memory_key_padding_mask, False, memory_mask, True, memory_is_causal
            return self.multihead_attn(x, memory, memory, *masks)[0]

        return self._through(self._input(tgt), attention, cross)


class _Stack(Module):
    def _start(self, layer: Any, num_layers: int, norm: Any) -> None:
        self.layers = [deepcopy(layer) for _ in range(num_layers)]
        self.norm = norm

    def _run(self, x: Any, *given: Any) -> Any:
        for layer in self.layers:
            x = layer(x, *given)
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """`num_layers` copies of an encoder layer, one after the other, and a norm if given, with
    PyTorch's arguments: (T, n, d_model) -> (T, n, d_model). Their weights begin alike.

    >>> layer = TransformerEncoderLayer(4, 2, dim_feedforward=8, batch_first=True)
    >>> TransformerEncoder(layer, 2)(np.ones((2, 5, 4))).shape
    (2, 5, 4)
    """

    def __init__(self, encoder_layer: Module, num_layers: Count, norm: Module | None = None):
        super().__init__()
        self._start(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: ArrayLike,
        mask: ArrayLike | None = None,
        src_key_padding_mask: ArrayLike | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        return self._run(src, mask, src_key_padding_mask, bool(is_causal))


class TransformerDecoder(_Stack):
    """`num_layers` copies of a decoder layer, one after the other, and a norm if given, with
    PyTorch's arguments: (T, n, d_model), memory (S, n, d_model) -> (T, n, d_model).

    >>> layer = TransformerDecoderLayer(4, 2, dim_feedforward=8)
    >>> TransformerDecoder(layer, 2)(np.ones((5, 2, 4)), np.ones((3, 2, 4))).shape
    (5, 2, 4)
    """

    def __init__(self, decoder_layer: Module, num_layers: Count, norm: Module | None = None):
        super().__init__()
        self._start(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: ArrayLike,
        memory: ArrayLike,
        tgt_mask: ArrayLike | None = None,
        memory_mask: ArrayLike | None = None,
        tgt_key_padding_mask: ArrayLike | None = None,
        memory_key_padding_mask: ArrayLike | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        masks = tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask
        return self._run(tgt, memory, *masks, bool(tgt_is_causal), memory_is_causal)


class Transformer(Module):
    """Encoder and decoder (Vaswani et al. 2017) with PyTorch's arguments: src (S, n, d_model), tgt
    (T, n, d_model) -> (T, n, d_model), embedded and with their positions. All matrices are drawn
    Xavier-uniform, as in PyTorch.

    >>> model = Transformer(4, 2, 1, 1, 8, batch_first=True)
    >>> model(np.ones((2, 3, 4)), np.ones((2, 5, 4)), tgt_is_causal=True).shape
    (2, 5, 4)
    """

    def __init__(
        self,
        d_model: Count = 512,
        nhead: Count = 8,
        num_encoder_layers: Count = 6,
        num_decoder_layers: Count = 6,
        dim_feedforward: Count = 2048,
        dropout: Probability = 0.1,
        activation: ActivationLike = "relu",
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: NonNegative = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        *,
        dtype: DType = "float32",
    ):
        super().__init__()
        self.batch_first = batch_first
        sizes = d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps
        options = (*sizes, batch_first, norm_first, bias)
        more = {} if bias else {"bias": False}

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, dtype=dtype, **more)

        self.encoder: Any = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*options, dtype=dtype), num_encoder_layers, norm()
        )
        self.decoder: Any = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*options, dtype=dtype), num_decoder_layers, norm()
        )
        for _, p in self.named_parameters():
            if p.ndim > 1:
                p.data = initial("xavier_uniform", p.shape, p.dtype)

    def forward(
        self,
        src: ArrayLike,
        tgt: ArrayLike,
        src_mask: ArrayLike | None = None,
        tgt_mask: ArrayLike | None = None,
        memory_mask: ArrayLike | None = None,
        src_key_padding_mask: ArrayLike | None = None,
        tgt_key_padding_mask: ArrayLike | None = None,
        memory_key_padding_mask: ArrayLike | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        masks = tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask
        return self.decoder(tgt, memory, *masks, tgt_is_causal, memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: DType = "float32") -> Tensor:
        """The mask (sz, sz) that is added to causal scores: -inf for later positions, else 0.

        >>> Transformer.generate_square_subsequent_mask(2).tolist()
        [[0.0, -inf], [0.0, 0.0]]
        """
        sz = take("generate_square_subsequent_mask", "sz", Whole(0), sz)
        return asarray(np.where(np.tri(sz, dtype=bool), 0.0, -np.inf), dtype)
