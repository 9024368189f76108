"""Activations, losses, normalisation, attention; convolution and pooling are in windows.py."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from keras.src.backend.config import epsilon, floatx

import tensorgrad as tg
from tensorgrad.ops import alignment
from tensorgrad.ops.loss import softmax_cross_entropy

from .core import Tensor, cast, common, convert_to_tensor, floating, together, untracked
from .table import define, floats, made
from .windows import (  # noqa: F401
    adaptive_average_pool,
    adaptive_max_pool,
    average_pool,
    conv,
    conv_transpose,
    depth_to_space,
    depthwise_conv,
    fold,
    max_pool,
    separable_conv,
    space_to_depth,
    unfold,
)

_HERE = globals()

# --- activations --------------------------------------------------------------------------------

define(
    _HERE,
    """relu relu6 sigmoid tanh tanh_shrink=tanhshrink softplus softsign silu log_sigmoid=logsigmoid
    hard_sigmoid=hardsigmoid hard_silu=hardswish hard_tanh=hardtanh selu glu elu celu
    threshold hard_shrink=hardshrink soft_shrink=softshrink softmax log_softmax""",
    lambda f: made(f, 1, floats),
)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Tensor:
    """A slope below 0."""
    return tg.leaky_relu(floating(x), negative_slope)


def gelu(x: Any, approximate: bool = True) -> Tensor:
    """x Phi(x) (Hendrycks & Gimpel 2016)."""
    return tg.gelu(floating(x), "tanh" if approximate else "none")


def sparsemax(x: Any, axis: int = -1) -> Tensor:
    """Sparse probabilities, as Keras has them on every backend: its threshold adds up the sums of
    the support, of which Martins & Astudillo (2016), and `tg.sparsemax`, take the last one."""
    x = floating(x)
    ordered = tg.flip(tg.sort(x, axis=axis), axis)
    sums = tg.cumsum(ordered, axis=axis)
    shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
    ranks = tg.arange(1, x.shape[axis] + 1, dtype=x.dtype).reshape(shape)
    support = ordered - (sums - 1) / ranks > 0
    counts = tg.sum(support, axis=axis, keepdims=True).astype(x.dtype)
    sums = tg.where(support, sums, tg.zeros_like(sums))
    return tg.relu(x - (tg.sum(sums, axis=axis, keepdims=True) - 1) / counts)


def squareplus(x: Any, b: float = 4) -> Tensor:
    """(x + sqrt(x^2 + b)) / 2 (Barron 2021)."""
    x = floating(x)
    return (x + tg.sqrt(tg.square(x) + b)) / 2


def sparse_plus(x: Any) -> Tensor:
    """0 below -1, x above 1, (x + 1)^2 / 4 between."""
    x = floating(x)
    return tg.where(x <= -1, tg.zeros_like(x), tg.where(x < 1, tg.square(x + 1) / 4, x))


def sparse_sigmoid(x: Any) -> Tensor:
    """0 below -1, 1 above 1, a line between."""
    return tg.clip((floating(x) + 1) / 2, 0.0, 1.0)


# --- labels and losses --------------------------------------------------------------------------


def one_hot(
    x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Tensor:
    """Labels as vectors; one that is no class gives zeros."""
    if sparse:
        raise ValueError("Keras on tensorgrad has no sparse tensors")
    x = convert_to_tensor(x).detach()
    x = x if x.dtype.kind in "iu" else x.astype("int64")
    return cast(tg.one_hot(x, int(num_classes), None, axis), dtype or floatx())


def multi_hot(
    x: Any, num_classes: int, axis: int = -1, dtype: Any = None, sparse: bool = False
) -> Tensor:
    """Which labels there are, along the last axis."""
    x = convert_to_tensor(x)
    along = 1 if x.ndim > 1 else 0
    return tg.max(one_hot(x, num_classes, axis, dtype, sparse), along)


def _pair(name: str, target: Any, output: Any) -> tuple[Tensor, Tensor]:
    target, output = convert_to_tensor(target), floating(output)
    if target.shape != output.shape:
        raise ValueError(
            "Arguments `target` and `output` must have the same shape. Received: "
            f"target.shape={target.shape}, output.shape={output.shape}"
        )
    return cast(target, output.dtype), output


def _safe(p: Tensor) -> Tensor:
    return tg.clip(p, epsilon(), 1.0 - epsilon())


def categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """-sum(target * log(output))."""
    target, output = _pair("categorical_crossentropy", target, output)
    if not target.ndim:
        raise ValueError(
            "Arguments `target` and `output` must be at least rank 1. Received: "
            f"target.shape={target.shape}, output.shape={output.shape}"
        )
    if from_logits:
        logs = tg.log_softmax(output, axis)
    else:
        logs = tg.log(_safe(output / tg.sum(output, axis, keepdims=True)))
    return -tg.sum(target * logs, axis)


def sparse_categorical_crossentropy(
    target: Any, output: Any, from_logits: bool = False, axis: int = -1
) -> Tensor:
    """-log(output) at each label; one that is no class gives 0."""
    target, output = convert_to_tensor(target, "int32"), floating(output)
    if target.ndim == output.ndim and target.shape[-1] == 1:
        target = tg.squeeze(target, -1)
    if not output.ndim:
        raise ValueError(
            f"Argument `output` must be at least rank 1. Received: output.shape={output.shape}"
        )
    if target.shape != output.shape[:-1]:
        raise ValueError(
            "Arguments `target` and `output` must have the same shape up until the last "
            f"dimension: target.shape={target.shape}, output.shape={output.shape}"
        )
    x = tg.moveaxis(output, axis, -1)
    n = x.shape[-1]
    host = type(target._data) is np.ndarray
    if from_logits and host and target.size and 0 <= target._data.min() <= target._data.max() < n:
        return softmax_cross_entropy(x, target)
    logs = tg.log_softmax(x) if from_logits else tg.log(_safe(x / tg.sum(x, -1, keepdims=True)))
    return -tg.sum(cast(tg.one_hot(target, n), x.dtype) * logs, -1)


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Tensor:
    """-target * log(output) - (1 - target) * log(1 - output)."""
    target, x = _pair("binary_crossentropy", target, output)
    if from_logits:
        return tg.softplus(x) - x * target
    x = _safe(x)
    return -(target * tg.log(x) + (1 - target) * tg.log(1 - x))


def ctc_loss(
    target: Any, output: Any, target_length: Any, output_length: Any, mask_index: int = 0
) -> Tensor:
    """-log of the probability of the labels (Graves et al. 2006). A label that is the blank is, as
    on Keras's other backends, one more class, of the blank's probability."""
    target = convert_to_tensor(target, "int32")
    steps, labels = (convert_to_tensor(a, "int32") for a in (output_length, target_length))
    x = cast(output, common(inputs_dtype(output), "float32"))
    x, blank, n = tg.log_softmax(tg.swapaxes(x, 0, 1)), int(mask_index), x.shape[-1]
    x = tg.concatenate([x, x[..., blank : blank + 1]], axis=-1)
    target = tg.where(target == blank, n, tg.where(target < n, target, n + 1))  # n + 1: refused
    return alignment.ctc(x, target, steps, labels, blank=blank)


def ctc_decode(
    inputs: Any,
    sequence_lengths: Any,
    strategy: str = "greedy",
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
    mask_index: int = 0,
) -> tuple[Tensor, Tensor]:
    """The labels that logits spell; -1 after their end. Without a gradient."""
    from .decoding import beam_search, greedy

    untracked("ctc_decode", inputs)
    x = floating(inputs).numpy().astype("float32")
    lengths = convert_to_tensor(sequence_lengths, "int32").numpy()
    if strategy == "greedy":
        labels, scores = greedy(x, lengths, merge_repeated, mask_index)
    elif strategy == "beam_search":
        labels, scores = beam_search(x, lengths, beam_width, top_paths, mask_index)
    else:
        raise ValueError(
            f"Invalid strategy {strategy}. Supported values are 'greedy' and 'beam_search'."
        )
    return convert_to_tensor(labels, "int32"), convert_to_tensor(
        scores, common(inputs_dtype(inputs), "float32")
    )


def inputs_dtype(x: Any) -> Any:
    """The floating dtype of x."""
    return floating(x).dtype


def psnr(x1: Any, x2: Any, max_val: float) -> Tensor:
    """Peak signal-to-noise ratio, in decibels."""
    x1, x2 = (floating(x) for x in together(convert_to_tensor(x1), convert_to_tensor(x2)))
    if x1.shape != x2.shape:
        raise ValueError(f"Input shapes {x1.shape} and {x2.shape} must match for PSNR calculation.")
    mse = tg.mean(tg.square(x1 - x2))
    return 20 * tg.log10(convert_to_tensor(float(max_val), x1.dtype)) - 10 * tg.log10(mse)


# --- normalisation ------------------------------------------------------------------------------


def moments(
    x: Any, axes: Any, keepdims: bool = False, synchronized: bool = False
) -> tuple[Tensor, Tensor]:
    """The mean and variance; of halves in float32."""
    if synchronized:
        raise NotImplementedError("moments(synchronized=True): there is one device here")
    x = floating(x)
    wide = x.astype("float32") if x.dtype.itemsize == 2 else x
    along = tuple(axes) if isinstance(axes, (list, tuple)) else axes
    mean = tg.mean(wide, along, keepdims=keepdims)
    variance = tg.var(wide, along, keepdims=keepdims)
    if wide is not x:
        limit = 65504.0 if x.dtype.char == "e" else 3.38e38
        mean, variance = (cast(tg.clip(a, -limit, limit), x.dtype) for a in (mean, variance))
    return mean, variance


def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    axis: int,
    offset: Any = None,
    scale: Any = None,
    epsilon: float = 1e-3,
) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) * scale + offset (Ioffe & Szegedy 2015)."""
    x = floating(x)
    sizes = [1] * x.ndim
    sizes[axis] = convert_to_tensor(mean).shape[0]
    inverse = tg.rsqrt(convert_to_tensor(variance) + epsilon)
    if scale is not None:
        inverse = inverse * convert_to_tensor(scale)
    shift = -convert_to_tensor(mean) * inverse
    if offset is not None:
        shift = shift + convert_to_tensor(offset)
    shape = tuple(sizes)
    y = x * cast(tg.reshape(inverse, shape), x.dtype)
    return y + cast(tg.reshape(shift, shape), x.dtype)


def layer_normalization(
    x: Tensor, gamma: Any, beta: Any, axes: Any, epsilon: float
) -> Tensor | None:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta over the last axes as one (Ba et al.
    2016), for the branch that hook.py adds; None for other axes, which Keras has a formula for."""
    n, m = x.ndim, len(axes)
    sizes = x.shape[n - m :]
    given = [p for p in (gamma, beta) if p is not None]
    if not m or [a % n for a in axes] != [*range(n - m, n)] or any(p.shape != sizes for p in given):
        return None
    if m > 1:
        gamma, beta = (None if p is None else tg.reshape(p, (-1,)) for p in (gamma, beta))
        flat = tg.reshape(x, (*x.shape[: n - m], math.prod(sizes)))
        return tg.reshape(tg.layer_norm(flat, gamma, beta, eps=epsilon), x.shape)
    return tg.layer_norm(x, gamma, beta, eps=epsilon)


# --- attention ----------------------------------------------------------------------------------


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: Any = None,
    is_causal: bool = False,
    flash_attention: Any = None,
    attn_logits_soft_cap: Any = None,
) -> Tensor:
    """softmax(query key^T * scale + bias) value (Vaswani et al. 2017), heads on the third axis.
    `flash_attention` is accepted: no kernel here keeps all scores."""
    q, k, v = (floating(a) for a in together(*[convert_to_tensor(a) for a in (query, key, value)]))
    if q.ndim != 4:
        raise ValueError(
            "`dot_product_attention` only supports 4D inputs. "
            f"Received: query.shape={q.shape}, key.shape={k.shape}, value.shape={v.shape}."
        )
    if q.shape[2] % k.shape[2]:
        raise ValueError(f"{q.shape[2]} heads of queries for {k.shape[2]} of keys")
    if (groups := q.shape[2] // k.shape[2]) > 1:  # queries in groups share keys
        k, v = (tg.repeat(a, groups, axis=2) for a in (k, v))
    q, k, v = (tg.swapaxes(a, 1, 2) for a in (q, k, v))
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    mask = None if mask is None else convert_to_tensor(mask, "bool")
    bias = None if bias is None else convert_to_tensor(bias)
    if attn_logits_soft_cap is None and (bias is None or mask is None):
        extra = bias if mask is None else mask
        y = tg.scaled_dot_product_attention(q, k, v, extra, causal=is_causal, scale=scale)
        return tg.swapaxes(y, 1, 2)
    scores = cast(tg.matmul(q, tg.swapaxes(k, -1, -2)), "float32") * scale
    if bias is not None:
        scores = scores + bias
    if attn_logits_soft_cap is not None:
        scores = tg.tanh(scores / attn_logits_soft_cap) * attn_logits_soft_cap
    if is_causal:
        ones = convert_to_tensor(np.tri(*scores.shape[-2:], dtype=bool))
        mask = ones if mask is None else tg.logical_and(mask, ones)
    if mask is not None:
        scores = tg.where(mask, scores, -0.7 * float(np.finfo("float32").max))
    y = tg.matmul(cast(tg.softmax(scores), q.dtype), v)
    return tg.swapaxes(y, 1, 2)
