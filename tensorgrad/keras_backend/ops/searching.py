"""Places and counts: what is where, and how often."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

import tensorgrad as tg

from .core import Tensor, cast, common, convert_to_tensor, together, untracked


def nonzero(x: Any) -> tuple[Tensor, ...]:
    """The places of what is not 0."""
    return tuple(cast(i, "int32") for i in tg.nonzero(convert_to_tensor(x)))


def searchsorted(sorted_sequence: Any, values: Any, side: Any = "left") -> Tensor:
    """Where values belong."""
    if convert_to_tensor(sorted_sequence).ndim != 1:
        raise ValueError(
            "`searchsorted` only supports 1-D sorted sequences. You can use "
            "`keras.ops.vectorized_map` to extend it to N-D sequences. Received: "
            f"sorted_sequence.shape={convert_to_tensor(sorted_sequence).shape}"
        )
    a, v = (convert_to_tensor(x) for x in together(sorted_sequence, values))
    return cast(tg.searchsorted(a, v, side), "int32")


def unravel_index(indices: Any, shape: Any) -> Any:
    """Places by axis."""
    indices = convert_to_tensor(indices)
    return tuple(cast(i, indices.dtype) for i in tg.unravel_index(indices, tuple(shape)))


def bincount(x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False) -> Tensor:
    """How often each whole number occurs, weighted; of each row."""
    if sparse:
        raise ValueError("Keras on tensorgrad has no sparse tensors")
    x = convert_to_tensor(x)
    dtype = "int32"
    if weights is not None:
        weights = convert_to_tensor(weights)
        dtype = common(x.dtype, weights.dtype)
    rows = x.reshape(-1, x.shape[-1]) if x.ndim else x.reshape(1, 1)
    length = builtins.max(int(minlength), int(rows.numpy().max()) + 1 if rows.size else 0)
    counted_ = []
    for i in range(rows.shape[0]):
        w = None if weights is None else weights.reshape(rows.shape)[i]
        counted_.append(tg.bincount(rows[i], w, minlength=length))
    made_ = tg.stack(counted_) if counted_ else tg.zeros((0, length))
    return cast(made_.reshape(*x.shape[:-1], length), dtype)


def histogram(x: Any, bins: Any = 10, range: Any = None) -> tuple[Tensor, Tensor]:
    """How many numbers are in each bin, and the edges."""
    x = convert_to_tensor(x)
    dtype = common(x.dtype, float)
    counts, edges = np.histogram(x.detach().numpy(), bins, range)
    return convert_to_tensor(counts, "int32"), convert_to_tensor(edges, dtype)


def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: Any = None,
    size: Any = None,
    fill_value: Any = None,
) -> Any:
    """The different numbers, without a gradient."""
    untracked("unique", x)
    x = convert_to_tensor(x)
    found = np.unique(x.numpy(), True, True, True, axis, equal_nan=False)
    values, index, inverse, counts = found
    if size is not None:
        at = 0 if axis is None else axis
        values, missing = np.take(values, np.arange(builtins.min(size, values.shape[at])), at), 0
        missing = size - values.shape[at]
        filler = np.take(values, [0], at) if fill_value is None else np.full_like(
            np.take(values, [0], at), fill_value)  # fmt: skip
        values = np.concatenate([values] + [filler] * builtins.max(missing, 0), at)
        index = np.concatenate([index[:size], np.full(builtins.max(missing, 0), index[0])])
        counts = np.concatenate([counts[:size], np.zeros(builtins.max(missing, 0), counts.dtype)])
    inverse = inverse.reshape(x.shape) if axis is None else inverse.reshape(-1)
    made_ = [convert_to_tensor(values, x.dtype)]
    for wanted, a in ((return_index, index), (return_inverse, inverse), (return_counts, counts)):
        if wanted:
            made_.append(convert_to_tensor(a, "int32"))
    return made_[0] if len(made_) == 1 else tuple(made_)


def select(condlist: Any, choicelist: Any, default: Any = 0) -> Tensor:
    """The choice of the first condition that holds."""
    made = together(*choicelist, default)
    conditions = [convert_to_tensor(c, "bool") for c in condlist]
    return tg.select(conditions, made[:-1], made[-1])
