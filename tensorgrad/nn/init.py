"""Weight initialisation. Weights are drawn on the host in float64, then cast and copied to the
device, so that they are the same on every backend."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import backend as backends
from ..creation import called
from ..errors import ArgumentError, FileError, ShapeError, suggest
from ..randomness import host_generator
from ..typing import DType, Initializer

Shape = tuple[int, ...]


class _Allowed(threading.local):
    """How many numbers may still be drawn in this thread: a model from a file has no more weights
    than the file; None for no limit."""

    numbers: int | None = None


allowed = _Allowed()


def fans(shape: Shape) -> tuple[int, int]:
    """(fan-in, fan-out): the inputs and outputs of a unit, for weights (in, out) or filters
    (out, in, ...)."""
    if len(shape) > 2:
        return math.prod(shape[1:]), shape[0] * math.prod(shape[2:])
    return (shape[0], shape[-1]) if len(shape) > 1 else (math.prod(shape), math.prod(shape))


def uniform(bound: float, shape: Shape) -> np.ndarray:
    """Uniform in [-bound, bound)."""
    return host_generator().uniform(-bound, bound, shape)


def narrow(fan_in: int) -> Callable[[Shape], np.ndarray]:
    """PyTorch's initialisation of weights and biases: uniform in +-1 / sqrt(fan_in)."""
    return partial(uniform, 1 / math.sqrt(max(1, fan_in)))


def _uniform(bound: Callable[[int, int], float]) -> Callable[[Shape], np.ndarray]:
    return lambda shape: host_generator().uniform(-1, 1, shape) * bound(*fans(shape))


def _normal(std: Callable[[int, int], float]) -> Callable[[Shape], np.ndarray]:
    return lambda shape: host_generator().standard_normal(shape) * std(*fans(shape))


def _orthogonal(shape: Shape) -> np.ndarray:
    """A random matrix with orthonormal columns, or rows if there are fewer (Saxe et al. 2014)."""
    rows, columns = math.prod(shape[:-1]), shape[-1]
    drawn = host_generator().standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(drawn)
    q *= np.where(np.diagonal(r) < 0, -1, 1)  # qr's choice of signs is not random
    return (q if rows >= columns else q.T).reshape(shape)


INITIALIZERS: dict[str, Callable[[Shape], np.ndarray]] = {
    "zeros": np.zeros,
    "ones": np.ones,
    # Glorot & Bengio 2010: variance 2 / (fan_in + fan_out)
    "xavier_uniform": _uniform(lambda fan_in, fan_out: math.sqrt(6 / max(1, fan_in + fan_out))),
    "xavier_normal": _normal(lambda fan_in, fan_out: math.sqrt(2 / max(1, fan_in + fan_out))),
    # He et al. 2015: variance 2 / fan_in, for relu
    "he_uniform": _uniform(lambda fan_in, _: math.sqrt(6 / max(1, fan_in))),
    "he_normal": _normal(lambda fan_in, _: math.sqrt(2 / max(1, fan_in))),
    # LeCun et al. 1998: variance 1 / fan_in
    "lecun_uniform": _uniform(lambda fan_in, _: math.sqrt(3 / max(1, fan_in))),
    "lecun_normal": _normal(lambda fan_in, _: math.sqrt(1 / max(1, fan_in))),
    "orthogonal": _orthogonal,
}
ALIASES = {"glorot": "xavier", "kaiming": "he"}


def initial(init: Initializer, shape: Shape, dtype: DType = "float32") -> Any:
    """An array of initial weights on the default backend.

    Args:
        init: a name in INITIALIZERS ("glorot_" and "kaiming_" are aliases of "xavier_" and "he_"),
            a constant, or a function of the shape that returns an array.
        shape: of the weights; fan-in and fan-out follow from it (`fans`).
    Raises: ArgumentError for unknown names; ShapeError where the function gives another shape.

    >>> initial("zeros", (2, 3)).shape
    (2, 3)
    """
    if allowed.numbers is not None:
        allowed.numbers -= math.prod(shape)
        if allowed.numbers < 0:
            raise FileError(f"the file has fewer weights than its layers: one more of {shape}")
    if isinstance(init, str):
        first, _, rest = init.partition("_")
        name = "_".join([ALIASES.get(first, first), rest]) if rest else init
        if name not in INITIALIZERS:
            raise ArgumentError(f"initializer {init!r} is unknown: {suggest(init, INITIALIZERS)}")
        values = called(f"the initializer {init}", INITIALIZERS[name], shape)
    else:
        values = init(shape) if callable(init) else np.full(shape, init)
    if np.shape(values) != shape:
        raise ShapeError(f"an initializer gave shape {np.shape(values)} where {shape} is needed")
    home = backends.default().name
    return backends.make(np.asarray(values).astype(backends.dtype_of(dtype)), None, home)
