"""Segments, largest numbers, Fourier transforms, special functions."""

from __future__ import annotations

from typing import Any

import numpy as np

import tensorgrad as tg
from tensorgrad.backend import is_floating

from .core import Tensor, cast, convert_to_tensor, floating, numpy_dtype
from .numpy import histogram  # noqa: F401  (keras.ops.histogram looks for it here)
from .table import define, floats, made, promoted_floats, unary

_HERE = globals()
define(_HERE, "rsqrt erf erfc erfinv", lambda f: unary(f, floating))
define(_HERE, "logsumexp", lambda f: made(f, 1, floats))
define(_HERE, "cdist", lambda f: made(f, 2, promoted_floats))


def logdet(x: Any) -> Tensor:
    """The logarithm of the determinant of positive definite matrices."""
    return tg.linalg.slogdet(floating(x))[1]


# --- segments -----------------------------------------------------------------------------------


def _segment(name: str) -> Any:
    function = getattr(tg, f"segment_{name}")

    def call(data: Any, segment_ids: Any, num_segments: Any = None, sorted: bool = False):
        data, ids = convert_to_tensor(data), convert_to_tensor(segment_ids, "int32")
        n = int(ids.numpy().max(initial=-1)) + 1 if num_segments is None else int(num_segments)
        outside = tg.logical_or(ids < 0, ids >= n)  # they belong to no segment: to one more
        return function(data, tg.where(outside, n, ids), n + 1)[:n]

    return call


segment_sum, segment_max, segment_min, segment_prod = map(_segment, ("sum", "max", "min", "prod"))


# --- the largest --------------------------------------------------------------------------------


def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest numbers of the last axis, in falling order, and their places."""
    x = convert_to_tensor(x)
    if not x.ndim:
        x = x.reshape(1)
    values, places = tg.topk(x, int(k))
    return values, cast(places, "int32")


def in_top_k(targets: Any, predictions: Any, k: int) -> Tensor:
    """Whether each target is among the k largest predictions of its row."""
    targets, x = convert_to_tensor(targets, "int64"), convert_to_tensor(predictions)
    x = x.detach()
    own = tg.take_along_axis(x, tg.expand_dims(targets, -1), -1)
    own = tg.where(tg.isnan(own), -np.inf, own)  # no number is not among the largest
    return tg.sum(x > own, -1) < int(k)


# --- Fourier transforms -------------------------------------------------------------------------


def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Tensor:
    """Windows of the last axis."""
    x = convert_to_tensor(x)
    windows = tg.sliding_window_view(x, int(sequence_length), axis=-1)
    return windows[..., :: int(sequence_stride), :]


def _get_complex_tensor_from_tuple(x: Any) -> Tensor:
    """Complex numbers of the pair (real, imaginary)."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(
            f"Input `x` should be a tuple of two tensors - real and imaginary. Received: x={x}"
        )
    real, imag = (convert_to_tensor(a) for a in x)
    if real.shape != imag.shape:
        raise ValueError(
            "Input `x` should be a tuple of two tensors - real and imaginary. Both should have "
            f"the same shape. Received: x[0].shape = {real.shape}, x[1].shape = {imag.shape}"
        )
    if not is_floating(real.dtype) or not is_floating(imag.dtype):
        raise ValueError(f"At least one tensor in input `x` is not of type float. Received: x={x}.")
    return tg.complex(real, imag)


def _pair(z: Tensor) -> tuple[Tensor, Tensor]:
    return tg.real(z), tg.imag(z)


define(
    _HERE, "fft fft2 ifft2", lambda f: lambda x: _pair(f(_get_complex_tensor_from_tuple(x))), tg.fft
)


def rfft(x: Any, fft_length: Any = None) -> tuple[Tensor, Tensor]:
    """The Fourier transform of real numbers."""
    return _pair(tg.fft.rfft(floating(x), fft_length))


def irfft(x: Any, fft_length: Any = None) -> Tensor:
    """Its inverse."""
    return tg.fft.irfft(_get_complex_tensor_from_tuple(x), fft_length)


def _window(window: Any, length: int, fft_length: int, dtype: Any) -> Any:
    """The window in the middle of fft_length numbers, as an array."""
    if window is None:
        made = np.ones(length)
    elif isinstance(window, str):
        if window not in ("hann", "hamming"):
            raise ValueError(
                f"If a string is passed to `window`, it must be one of `'hann'`, `'hamming'`. "
                f"Received: window={window}"
            )
        name = {"hann": "hanning", "hamming": "hamming"}[window]
        made = getattr(np, name)(length + 1)[:-1]  # periodic
    else:
        made = convert_to_tensor(window).numpy()
        if made.shape != (length,):
            raise ValueError(
                "The shape of `window` must be equal to [sequence_length]. "
                f"Received: window shape={made.shape}"
            )
    left = (fft_length - length) // 2
    return np.pad(made, (left, fft_length - length - left)).astype(numpy_dtype(dtype))


def _check(sequence_length: int, fft_length: int) -> None:
    if fft_length < sequence_length:
        raise ValueError(
            "`fft_length` must equal or exceed `sequence_length`. "
            f"Received: sequence_length={sequence_length}, fft_length={fft_length}"
        )


def stft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    window: Any = "hann",
    center: bool = True,
) -> tuple[Tensor, Tensor]:
    """The Fourier transforms of windows along the last axis."""
    if not is_floating(convert_to_tensor(x).dtype):
        raise TypeError(f"Invalid input type. Expected `float32` or `float64`. Received: {x.dtype}")
    _check(sequence_length, fft_length)
    x = convert_to_tensor(x)
    if center:
        x = tg.pad(x, ((0, 0),) * (x.ndim - 1) + ((fft_length // 2,) * 2,), "reflect")
    frames = extract_sequences(x, fft_length, sequence_stride)
    return _pair(tg.fft.rfft(frames * _window(window, sequence_length, fft_length, x.dtype)))


def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: Any = None,
    window: Any = "hann",
    center: bool = True,
) -> Tensor:
    """The numbers whose `stft` is nearest (Griffin & Lim 1984); without a window, as Keras has it
    on every backend, the sum of the overlapping parts."""
    _check(sequence_length, fft_length)
    frames = irfft(x, fft_length)
    w = _window(window, sequence_length, fft_length, frames.dtype)
    total = fft_length + sequence_stride * (frames.shape[-2] - 1)
    place = np.arange(fft_length) + sequence_stride * np.arange(frames.shape[-2])[:, None]
    norm = np.zeros(total)
    np.add.at(norm, place, np.broadcast_to(w.astype("float64") ** 2, place.shape))
    batch = frames.shape[:-2]
    flat = tg.reshape(frames * w, (-1, place.size))
    flat = tg.segment_sum(tg.swapaxes(flat, 0, 1), place.reshape(-1), total)
    y = tg.reshape(tg.swapaxes(flat, 0, 1), (*batch, total))
    if window is not None:
        y = y / np.where(norm > 1e-11, norm, 1.0).astype(frames.dtype)
    start = fft_length // 2 if center else 0
    if length is not None:
        end = start + length
    else:
        end = total - fft_length // 2 if center else total
    y = y[..., start:end]
    missing = (end - start) - y.shape[-1]
    return tg.pad(y, ((0, 0),) * len(batch) + ((0, missing),)) if missing > 0 else y
