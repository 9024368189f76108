"""The ends of tensorgrad that cudasim connects to: kernel launcher, BLAS and backend registry."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorgrad.kernels.cuda import device

from . import cuda
from .array import SimArray, wrap
from .namespace import xp
from .shim import KernelError, Module, why_not

_modules: dict[int, tuple[Any, Module]] = {}  # by id of the source, which the entry keeps alive
_building = threading.Lock()


def install(name: str = "cudasim") -> None:
    """Register the backend. Raises KernelError, with the reason, where kernels cannot run."""
    from tensorgrad import backend

    reason = why_not()
    if reason:
        raise KernelError(reason)
    device.DEVICES[SimArray] = device.Device(xp=xp, launch=launch, blas=Blas())
    backend.register(
        backend.Backend(
            name=name,
            array_type=SimArray,
            xp=xp,
            kernels="cuda",
            from_host=backend._explained("a copy to the GPU", xp.asarray),
            to_host=backend._explained("a copy to the host", xp.asnumpy),
        )
    )


class Launcher(device.CupyLauncher):
    """CuPy's, whose kernels are built here and take arguments as CuPy's do."""

    def _compiled(self, source: Any, name: str) -> Any:
        module = _module(source)

        def function(grid: Any, block: Any, args: Sequence[Any], smem: int = 0) -> None:
            arrays = [_pointer(arg) for arg in args]
            cuda.note(lambda: module.launch(name, grid, block, arrays, smem))

        return function


def _pointer(arg: Any) -> Any:
    """An argument as CuPy's function of this name takes it: of NumPy's arrays, which it passes by
    value, those of one element."""
    if isinstance(arg, SimArray):
        return arg._array
    if not isinstance(arg, np.ndarray):
        return arg
    if arg.size != 1:
        raise TypeError(
            f"You are trying to pass a numpy.ndarray of shape {arg.shape} as a kernel parameter. "
            "Only numpy.ndarrays of size one can be passed by value."
        )
    return arg.reshape(())[()]


launch = Launcher(xp)


class Blas:
    """Matrix products as cuBLAS computes them: operands of one dtype, halves summed in float32."""

    def __init__(self) -> None:
        self.refused: dict[str, str] = {}

    def matmul(self, a: SimArray, b: SimArray, out: SimArray | None = None) -> SimArray:
        """`a @ b` for two or more dimensions, the leading ones broadcast."""
        _check_operands(a, b)
        if out is None:
            return wrap(cuda.run(_product, a._array, b._array))
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) + (a.shape[-2], b.shape[-1])
        if out.shape != shape or out.dtype != a.dtype:
            raise ValueError(f"out is {out.dtype} {out.shape}, the product {a.dtype} {shape}")
        cuda.note(lambda: _product(a._array, b._array, out._array))
        return out

    def fused(
        self,
        epilogue: str,
        a: SimArray,
        b: SimArray,
        bias: SimArray | None = None,
        aux: SimArray | None = None,
    ) -> SimArray | None:
        """The same and more, as the kernels' `Blas` says."""
        _check_operands(a, b)
        more = [None if x is None else x._array for x in (bias, aux)]
        return wrap(cuda.run(_fused, epilogue, a._array, b._array, *more))

    def release(self, stream: int) -> None:
        """Nothing is kept."""


def _check_operands(a: SimArray, b: SimArray) -> None:
    for operand in (a, b):
        if not isinstance(operand, SimArray):
            raise TypeError(f"Unsupported type {type(operand)}")
        if operand.dtype != a.dtype:
            raise TypeError(f"a BLAS takes one dtype, not {a.dtype} and {operand.dtype}")
        if operand.ndim < 2:
            raise ValueError(f"a BLAS takes matrices, not an array of shape {operand.shape}")
    if not (a.dtype.itemsize == 2 or a.dtype in (np.float32, np.float64)):
        raise TypeError(f"a BLAS has no product of {a.dtype}")


def _wide_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`a @ b` in the precision that is summed in."""
    return np.matmul(*[x.astype(np.float32) if x.dtype.itemsize == 2 else x for x in (a, b)])


def _product(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    product = _wide_product(a, b).astype(a.dtype, copy=False)
    if out is not None:
        out[...] = product
    return product


def _fused(
    epilogue: str, a: np.ndarray, b: np.ndarray, bias: np.ndarray | None, aux: np.ndarray | None
) -> np.ndarray:
    z = _wide_product(a, b)
    if epilogue == "bias_grad":
        assert bias is not None
        bias[...] = b.sum(0, dtype=z.dtype)
    elif bias is not None:
        z += bias.astype(z.dtype)
    if epilogue == "gelu":
        assert aux is not None
        aux[...] = z
        z = z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) / 2
    return z.astype(a.dtype, copy=False)


def _module(source: Any) -> Module:
    """The built kernels of a source; TENSORGRAD_CUDASIM_SANITIZE=1 builds them with checks."""
    with _building:
        if id(source) not in _modules:
            sanitize = os.environ.get("TENSORGRAD_CUDASIM_SANITIZE", "0") == "1"
            _modules[id(source)] = source, Module(source.code, source.names, sanitize)
        return _modules[id(source)][1]
