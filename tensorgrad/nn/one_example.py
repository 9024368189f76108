"""One example without its axis, as layers with PyTorch's names take it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from ..creation import asarray


def or_one(forward: Callable) -> Any:
    """The `forward` of a layer of (n, channels, ...) with `axes` axes more, that takes (channels,
    ...), too, and gives the result without n. A layer with weights takes as many channels as these
    are of: others are rather examples without channels."""

    @wraps(forward)
    def taken(self: Any, x: Any, *more: Any, **options: Any) -> Any:
        x = asarray(x)
        axes = type(self).axes  # None where the input decides
        if axes is None or len(x.shape) != axes + 1:
            return forward(self, x, *more, **options)
        if x.shape[0] != getattr(self, getattr(self, "sized_by", ""), x.shape[0]):
            return forward(self, x, *more, **options)
        y = forward(self, x[None], *more, **options)
        return tuple(part[0] for part in y) if isinstance(y, tuple) else y[0]

    return taken
