"""No kernel of the CPU reads or writes beyond an array. Machine code checks no index, and what it
reads beyond is mostly there, and thrown away.

Here the loops run as plain Python, on arrays that refuse an index outside of any axis, and negative
ones, which wrap. In attack/test_fences.py their machine code runs between pages that nobody may
touch: that sees what goes by addresses and vectors, too, but not what stays within an array.
"""

import contextlib
import itertools
import sys

import numpy as np
import pytest
from tensorgrad.kernels.cpu import conv_tiles, gather_gemm, jit, share

from tensorgrad import backend as backends
from tensorgrad.core import OPS

from .drawn import drawn
from .sized import SIZED
from .test_kernels import CPU, length, run

NUMPY = backends.get("numpy")
LONGEST = 1000  # numbers in a sample that plain Python is given
# What loops cut their work into, so small that a few numbers are several blocks.
BLOCKS = {
    "attention": {"ROWS": 4, "KEYS": 8},
    "conv": {"_CHUNK": 16},
    "conv_depthwise": {"_CHANNELS": 2, "_EVEN": 4, "_CHUNK": 6},
    "conv_tiles": {"_TILE": 64, "_WHOLE": 512, "_LONG": 8},
    "conv_weights": {"_BLOCK": 3},
    "embedding": {"_TASKS": 3},
    "matmul": {"_PARTIAL": 8, "TILED": 0, "LEAST": 1},
    "norm": {"_PARTIAL": 8, "_LONG": 4},
    "reduce": {"_RUN": 4, "_WIDTH": 4, "_FEW": 3, "_PARTS": 5},
    "structured": {"_FEW": 2, "_PARTS": 3},
    "update": {"_BLOCK": 4},
}


class Checked(np.ndarray):
    """It refuses indices outside of an axis, also of slices, which would be cut."""

    def __getitem__(self, key):
        inside(self.shape, key)
        return super().__getitem__(key)

    def __setitem__(self, key, value):
        inside(self.shape, key)
        super().__setitem__(key, value)


def inside(shape, key):
    axis = 0
    for part in key if type(key) is tuple else (key,):
        if part is None:
            continue
        if part is Ellipsis:
            return
        n = shape[axis]
        axis += 1
        if isinstance(part, slice):
            step = part.step or 1
            start, stop = part.start or 0, n if part.stop is None else part.stop
            last = start + (stop - start - 1) // step * step
            fine = stop <= start or (start >= 0 and step > 0 and last < n)
        elif isinstance(part, np.ndarray):
            fine = not part.size or (part.min() >= 0 and part.max() < n)
            key = "" if fine else f"{part.min()} to {part.max()}"
        else:
            fine = 0 <= part < n
        if not fine:
            raise IndexError(f"{key} leads out of an array of shape {shape}")


def checked(a):
    if isinstance(a, tuple):
        return tuple([checked(b) for b in a])
    return a.view(Checked) if type(a) is np.ndarray else a


@contextlib.contextmanager
def as_python(monkeypatch, tile):
    """Loops are not compiled. What they are given, and what they make, is checked; convolutions
    take that register tile."""

    def call(loop, *args):
        _MakesChecked.inside = True
        try:
            more = [share.ONE] * (loop.parallel_from is not None)
            return loop.function(*[checked(a) for a in args], *more)
        finally:
            _MakesChecked.inside = False

    for module in MODULES:
        monkeypatch.setattr(module, "np", _MakesChecked())
    monkeypatch.setattr(jit.Jitted, "__call__", call)
    monkeypatch.setattr(gather_gemm, "shape", lambda itemsize: tile)
    for name, sizes in BLOCKS.items():
        for constant, size in sizes.items():
            monkeypatch.setattr(f"tensorgrad.kernels.cpu.{name}.{constant}", size)
    conv_tiles.plan_of.cache_clear()
    try:
        yield
    finally:
        conv_tiles.plan_of.cache_clear()


class _MakesChecked:
    """NumPy, whose new arrays are checked, in loops."""

    inside = False

    def __getattr__(self, name):
        value = getattr(np, name)
        if self.inside and name in ("empty", "zeros", "full", "empty_like", "zeros_like"):
            return lambda *args, **options: value(*args, **options).view(Checked)
        return value


MODULES = [
    module
    for name, module in sys.modules.items()
    if name.startswith("tensorgrad.kernels.cpu.") and hasattr(module, "np")
]
TILES = {"conv": [(6, 16), (8, 32)]}  # of AVX2 and of AVX-512


@pytest.mark.parametrize(
    "sizes", [(), pytest.param((1, 2, 4, 7, 9), marks=pytest.mark.slow)], ids=["few", "more"]
)
@pytest.mark.parametrize("name", CPU)
def test_every_index_is_within_its_axis(name, sizes, monkeypatch):
    drawings = [drawn(name, seed, largest=16) for seed in sizes]
    samples = [*OPS[name].samples(), *drawings, *itertools.chain(*map(SIZED[name], sizes))]
    for tile in TILES.get(OPS[name].family, [(6, 16)]):
        with monkeypatch.context() as patch, as_python(patch, tile):
            for sample in samples:
                if length(sample) < LONGEST:
                    run(OPS[name], CPU[name], sample, "float32", NUMPY)
