"""Compile ahead, without waiting for arrays of every size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import matmul


@contextmanager
def in_tiles() -> Iterator[None]:
    """Within the block products are cut into tiles, however small the matrices: what compiles is
    what large ones will need."""
    before = matmul.TILED, matmul.LEAST
    matmul.TILED, matmul.LEAST = 0, 1
    try:
        yield
    finally:
        matmul.TILED, matmul.LEAST = before
