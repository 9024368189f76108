"""Numbers in a geometric progression."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend as backends
from ..core import Tensor
from ..creation import asarray, called, linspace
from ..errors import ArgumentError
from ..settings import gate
from ..typing import ArrayLike, DType, Natural
from .elementwise import divide, multiply, power

__all__ = ["geomspace", "logspace"]


@gate
def logspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: Natural = 50,
    dtype: DType = None,
    backend: str | None = None,
    *,
    device: str | None = None,
    endpoint: bool = True,
    base: ArrayLike = 10.0,
) -> Tensor:
    """`base` to the power of `num` evenly spaced numbers from `start` to `stop`, which is the last
    unless `endpoint` is False.

    Args: those of `linspace`, and `base`. Gradients flow to tensors.

    >>> logspace(0, 3, 4).tolist()
    [1.0, 10.0, 100.0, 1000.0]
    """
    if any(isinstance(x, Tensor) for x in (start, stop, base)):
        given = isinstance(start, Tensor) or isinstance(stop, Tensor)
        line = linspace if given else np.linspace
        y = power(base, line(start, stop, num, endpoint=endpoint))
        return y if dtype is None else y.astype(dtype)
    made = called("logspace", np.logspace, start, stop, num, endpoint, base)
    return _made(made, dtype, backend or device)


@gate
def geomspace(
    start: ArrayLike,
    stop: ArrayLike,
    num: Natural = 50,
    dtype: DType = None,
    backend: str | None = None,
    *,
    device: str | None = None,
    endpoint: bool = True,
) -> Tensor:
    """`num` numbers from `start` to `stop`, each of which is the one before times the same factor.
    `stop` is the last unless `endpoint` is False.

    Args: those of `linspace`. Gradients flow to tensors.
    Raises: ArgumentError for ends that are 0, or real and of two signs; of tensors the result is
    NaN there.

    >>> geomspace(1, 1000, 4).tolist()
    [1.0, 10.0, 100.0, 1000.0]
    """
    if isinstance(start, Tensor) or isinstance(stop, Tensor):
        shares = np.linspace(0, 1, num, endpoint=endpoint)
        shares = shares.reshape((num,) + (1,) * max(np.ndim(start), np.ndim(stop)))
        y = multiply(start, power(divide(stop, start), shares))
        return y if dtype is None else y.astype(dtype)
    ends = called("geomspace", np.multiply, start, stop)
    if not np.all(ends) or (np.isrealobj(ends) and np.any(ends < 0)):
        raise ArgumentError(
            f"geomspace: from {start!r} to {stop!r}: ends are not 0, and of one sign or complex"
        )
    made = called("geomspace", np.geomspace, start, stop, num, endpoint)
    return _made(made, dtype, backend or device)


def _made(numbers: np.ndarray, dtype: Any, backend: str | None) -> Tensor:
    wanted = backends.fitting(backends.DEFAULT_DTYPE, numbers.dtype) if dtype is None else dtype
    return asarray(numbers, wanted, backend or backends.default().name)
