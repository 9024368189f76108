"""Making tensors: filled, spaced, windows of signals."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
from keras.src.backend.config import floatx

import tensorgrad as tg
from tensorgrad.backend import is_floating

from .core import Tensor, cast, common, convert_to_tensor, kind_of, numpy_dtype
from .table import promoted_floats

# --- making tensors -----------------------------------------------------------------------------


def _shape(shape: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in shape) if isinstance(shape, (list, tuple)) else (int(shape),)


def zeros(shape: Any, dtype: Any = None) -> Tensor:
    """Zeros."""
    return tg.zeros(_shape(shape), dtype=numpy_dtype(dtype or floatx()))


def ones(shape: Any, dtype: Any = None) -> Tensor:
    """Ones."""
    return tg.ones(_shape(shape), dtype=numpy_dtype(dtype or floatx()))


def empty(shape: Any, dtype: Any = None) -> Tensor:
    """Numbers to be replaced."""
    return zeros(shape, dtype)


def full(shape: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """One number everywhere."""
    return tg.broadcast_to(convert_to_tensor(fill_value, dtype or floatx()), _shape(shape))


def _like(function: Any) -> Any:
    def call(x: Any, dtype: Any = None) -> Tensor:
        x = convert_to_tensor(x).detach()
        return function(x, dtype=x.dtype if dtype is None else numpy_dtype(dtype))

    return call


zeros_like, ones_like, empty_like = _like(tg.zeros_like), _like(tg.ones_like), _like(tg.zeros_like)


def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Tensor:
    """One number everywhere, in the shape of x."""
    x = convert_to_tensor(x)
    return full(x.shape, fill_value, dtype or x.dtype)


def eye(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Ones on a diagonal."""
    m = None if M is None else int(M)
    return tg.eye(int(N), m, k=int(k), dtype=numpy_dtype(dtype or floatx()))


def identity(n: Any, dtype: Any = None) -> Tensor:
    """Ones on the main diagonal."""
    return eye(n, dtype=dtype)


def tri(N: Any, M: Any = None, k: int = 0, dtype: Any = None) -> Tensor:
    """Ones on and below a diagonal."""
    return convert_to_tensor(np.tri(N, M, k), dtype or floatx())


def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Tensor:
    """Evenly spaced numbers."""
    given = [x for x in (start, stop, step) if x is not None]
    dtype = dtype or common(*[kind_of(x) for x in given])
    start, stop, step = (x.item() if isinstance(x, Tensor) else x for x in (start, stop, step))
    return convert_to_tensor(np.arange(start, stop, 1 if step is None else step), dtype)


def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """Evenly spaced numbers between two, to which gradients flow."""
    start, stop = (convert_to_tensor(x) for x in promoted_floats(start, stop))
    dtype = dtype or start.dtype
    start, stop = tg.expand_dims(start, 0), tg.expand_dims(stop, 0)
    width = builtins.max(start.ndim, stop.ndim)
    t = np.arange(num, dtype="float64") / builtins.max(num - bool(endpoint), 1)
    t = t.reshape((num,) + (1,) * (width - 1))
    y = tg.asarray((1 - t) * start + t * stop)
    if is_floating(numpy_dtype(dtype)):
        y = cast(y, dtype)
    else:
        y = cast(tg.floor(y), dtype)
    y = tg.moveaxis(y, 0, axis)
    step = (stop - start) / builtins.max(num - bool(endpoint), 1)
    return (y, tg.squeeze(step, 0)) if retstep else y


def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10,
    dtype: Any = None,
    axis: int = 0,
) -> Tensor:
    """Powers of `base`, their exponents evenly spaced."""
    start, stop = (convert_to_tensor(x) for x in promoted_floats(start, stop))
    y = linspace(start.astype("float64"), stop.astype("float64"), num, endpoint, axis=axis)
    return cast(tg.power(convert_to_tensor(base, "float64"), y), dtype or start.dtype)


def geomspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0
) -> Tensor:
    """Numbers of one ratio."""
    start, stop = (convert_to_tensor(x) for x in promoted_floats(start, stop))
    made = start.dtype
    sign = tg.sign(start)
    first, last = (tg.log(tg.abs(x.astype("float64"))) for x in (start, stop))
    y = tg.exp(linspace(first, last, num, endpoint, axis=axis))
    return cast(y * tg.expand_dims(sign, axis), dtype or made)


def _window(name: str) -> Any:
    def call(x: Any) -> Tensor:
        return convert_to_tensor(getattr(np, name)(int(x)), floatx())

    return call


bartlett, blackman, hamming, hanning = map(_window, ("bartlett", "blackman", "hamming", "hanning"))


def kaiser(x: Any, beta: Any) -> Tensor:
    """Kaiser's window."""
    return convert_to_tensor(np.kaiser(int(x), float(beta)), floatx())


def array(x: Any, dtype: Any = None) -> Tensor:
    """A tensor of x."""
    return convert_to_tensor(x, dtype)


def copy(x: Any) -> Tensor:
    """x in memory of its own."""
    x = convert_to_tensor(x)
    return x.copy() if x.dtype.kind == "b" else +x


def meshgrid(*x: Any, indexing: Any = "xy") -> list[Tensor]:
    """Coordinates of a grid."""
    return list(tg.meshgrid(*[convert_to_tensor(a) for a in x], indexing=indexing))
