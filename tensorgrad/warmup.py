"""`python -m tensorgrad warmup`: compile the CPU kernels ahead of time."""

from __future__ import annotations

import importlib
import time
from typing import Any

import numpy as np

from .backend import dtype_of, is_floating
from .core import OPS, Op
from .dispatch import kernel_module
from .errors import BackendError

_FLOAT64 = ("hyper", "by")  # inputs of optimizers, in any dtype of the parameters


def warmup(dtypes: tuple[str, ...] = ("float32",)) -> str:
    """Run every CPU kernel on the samples of its op, whole and in tiles, so that Numba compiles and
    caches all loops; cached ones are only loaded. Returns a summary."""
    from tqdm import tqdm

    jit = importlib.import_module("tensorgrad.kernels.cpu.jit")
    if reason := jit.why_not():
        raise BackendError(f"warmup: {reason}: pip install numba")
    for name in sorted({op.family for op in OPS.values()}):
        kernel_module("cpu", name)  # all loops defined before the first is run
    warm = importlib.import_module("tensorgrad.kernels.cpu.warm")
    cache = importlib.import_module("tensorgrad.kernels.cpu.cache")
    work = [(op, dtype) for op in OPS.values() if _kernel(op) for dtype in dtypes]
    begin = time.perf_counter()
    with tqdm(work, desc="compiling", unit="kernel") as bar:
        for op, dtype in bar:
            bar.set_postfix_str(f"{op.name} {dtype}")
            _run(op, dtype)
            with warm.in_tiles():
                _run(op, dtype)
    seconds = time.perf_counter() - begin
    kept = f"cached in {place}" if (place := cache.folder()) else "but no folder can keep them"
    return f"{len(work)} kernels ready after {seconds:.0f} s, {kept}"


def _kernel(op: Op) -> Any:
    return getattr(kernel_module("cpu", op.family), op.name, None)


def _run(op: Op, dtype: str) -> None:
    """Run the kernel on each sample that it accepts."""
    kernel = _kernel(op)
    accept = kernel.guard(sized=False)
    for args, params in (op.samples or list)():
        args = list(args) + [None] * (len(op.inputs) - len(args))
        names = op.names(len(args))
        args = [a if n in _FLOAT64 else _cast(a, dtype) for n, a in zip(names, args, strict=True)]
        if accept(tuple(args), params):
            kernel(*args, **params)


def _cast(a: Any, dtype: str) -> Any:
    if isinstance(a, np.ndarray) and is_floating(a.dtype):
        return a.astype(dtype_of(dtype))
    return a.copy() if isinstance(a, np.ndarray) else a
