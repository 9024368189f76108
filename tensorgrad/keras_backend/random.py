"""Random numbers: each call draws from a Philox stream of its own, whose key is Keras's seed."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras.src.backend.config import floatx
from keras.src.random.seed_generator import SeedGenerator, draw_seed, make_default_seed

import tensorgrad as tg
from tensorgrad.backend import BY_TYPE

from .ops.core import Tensor, cast, convert_to_tensor, floating, numpy_dtype


class _Stream(tg.random.Generator):
    """Numbers that a seed determines: its two words are the key of Philox, and stay on the device.

    It draws on one backend, that of the seed: a number, a SeedGenerator, which goes on, or None.
    """

    def __init__(self, seed: Any):
        words = draw_seed(seed)
        xp = BY_TYPE[type(words._data)].xp
        key = words._data.astype(np.uint64) * xp.asarray([2**32, 1], dtype=np.uint64)
        self.start = xp.stack([key.sum(), key[0] * 0])
        self.device, self.key, self.rank = {words.backend: self.start}, 0, 0


def _size(shape: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in shape)


def normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Normal numbers."""
    return _drawn(tg.random.normal, (mean, stddev), shape, dtype, seed)


def uniform(
    shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Numbers of [minval, maxval)."""
    return _drawn(tg.random.uniform, (minval, maxval), shape, dtype, seed)


def truncated_normal(
    shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Any = None
) -> Tensor:
    """Normal numbers within two standard deviations."""
    y = _drawn(tg.random.truncated_normal, (), shape, dtype, seed)
    return y * _number(stddev) + _number(mean)


def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Any = None) -> Tensor:
    """Gamma numbers of scale 1."""
    return _drawn(tg.random.gamma, (alpha,), shape, dtype, seed)


def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Any = None) -> Tensor:
    """Beta numbers."""
    return _drawn(tg.random.beta, (alpha, beta), shape, dtype, seed)


def binomial(
    shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Any = None
) -> Tensor:
    """How many of `counts` trials succeed."""
    counts, p = convert_to_tensor(counts).astype("int64"), _number(probabilities)
    y = tg.random.binomial(counts, p, _size(shape), generator=_Stream(seed))
    return cast(y, dtype or floatx())


def _number(x: Any) -> Any:
    return x if isinstance(x, (int, float)) else convert_to_tensor(x)


def _drawn(function: Any, given: tuple, shape: Any, dtype: Any, seed: Any) -> Tensor:
    """Numbers of a distribution; of halves, drawn in float32."""
    dtype = numpy_dtype(dtype or floatx())
    wide = dtype if dtype.itemsize > 2 else np.dtype("float32")
    given = tuple(x if isinstance(x, (int, float)) else cast(x, wide) for x in given)
    return cast(function(*given, size=_size(shape), dtype=wide, generator=_Stream(seed)), dtype)


def randint(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Any = None) -> Tensor:
    """Whole numbers of [minval, maxval)."""
    low, high = (x if isinstance(x, int) else convert_to_tensor(x).item() for x in (minval, maxval))
    low, high = int(low), int(high)
    return cast(tg.random.randint(low, high, _size(shape), generator=_Stream(seed)), dtype)


def categorical(logits: Any, num_samples: int, dtype: Any = "int64", seed: Any = None) -> Tensor:
    """Classes (n, num_samples), each as likely as its logit says."""
    drawn = tg.random.categorical(floating(logits), size=num_samples, generator=_Stream(seed))
    drawn = tg.transpose(drawn)
    return cast(drawn, dtype)


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Tensor:
    """Numbers zeroed with probability `rate`, the others divided by 1 - rate."""
    x = floating(inputs)
    if noise_shape is None and rate < 1:
        return tg.dropout(x, float(rate), state=_Stream(seed).start)
    shape = [n if m is None else m for n, m in zip(x.shape, noise_shape or x.shape, strict=True)]
    keep = tg.random.uniform(size=_size(shape), generator=_Stream(seed)) >= rate
    return tg.where(keep, x / ((1 - rate) or 1), tg.zeros_like(x))


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Tensor:
    """x with its parts along an axis in random order."""
    return tg.random.permutation(convert_to_tensor(x), axis=axis, generator=_Stream(seed))


__all__ = ["SeedGenerator", "make_default_seed"]  # which Keras looks for here, too
