"""Compile ahead: every loop in both its forms, without waiting for arrays of every size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import jit, matmul


@contextmanager
def on_all_threads() -> Iterator[None]:
    """Within the block loops run on all threads and products are cut into tiles, however small
    the arrays: what compiles is what large ones will need."""
    loops = [loop for loop in jit.loops if loop.parallel_from is not None]
    before, cut = [loop.parallel_from for loop in loops], (matmul.TILED, matmul.LEAST)
    matmul.TILED, matmul.LEAST = 0, 1
    for loop in loops:
        loop.parallel_from = 0
    try:
        yield
    finally:
        matmul.TILED, matmul.LEAST = cut
        for loop, size in zip(loops, before, strict=True):
            loop.parallel_from = size
