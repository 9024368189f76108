"""tensorgrad: backpropagation done right on NumPy and CuPy arrays, small enough to read.

`import tensorgrad` imports NumPy and nothing else. Layers, optimizers and the rest are loaded
when first named. TENSORGRAD_BACKEND = numpy | cupy | auto says where new tensors are made.
"""

import importlib

from .autograd import (
    Function,
    GradientTape,
    enable_grad,
    grad,
    hessian,
    jacobian,
    jvp,
    no_grad,
    value_and_grad,
    vjp,
)
from .backend import set_backend
from .core import Tensor
from .creation import (
    arange,
    asarray,
    eye,
    from_dlpack,
    full,
    linspace,
    ones,
    ones_like,
    rand,
    randn,
    seed,
    tensor,
    zeros,
    zeros_like,
)
from .dispatch import use_kernels
from .errors import (
    AnomalyError,
    ArgumentError,
    BackendError,
    DTypeError,
    GraphError,
    IndexingError,
    OutOfMemoryError,
    ShapeError,
    TensorgradError,
)
from .memory import memory_summary
from .public import PUBLIC as _PUBLIC

__version__ = "0.1.0"
globals().update(_PUBLIC)

_LAZY = ("cuda", "nn", "optim", "losses", "data", "train", "testing")
_FROM = {
    "checkpoint": "recompute",
    "detect_anomaly": "anomaly",
    "gradcheck": "testing",
    "compare": "testing",
    "Parameter": "nn",
}
_FROM.update(autocast="precision", set_tf32="precision")

__all__ = [  # noqa: PLE0604
    "AnomalyError",
    "ArgumentError",
    "BackendError",
    "DTypeError",
    "Function",
    "GradientTape",
    "GraphError",
    "IndexingError",
    "OutOfMemoryError",
    "ShapeError",
    "Tensor",
    "TensorgradError",
    "arange",
    "asarray",
    "enable_grad",
    "eye",
    "from_dlpack",
    "full",
    "grad",
    "hessian",
    "jacobian",
    "jvp",
    "linspace",
    "memory_summary",
    "no_grad",
    "ones",
    "ones_like",
    "rand",
    "randn",
    "seed",
    "set_backend",
    "tensor",
    "use_kernels",
    "value_and_grad",
    "vjp",
    "zeros",
    "zeros_like",
    *_PUBLIC,
    *_LAZY,
    *_FROM,
]


def __getattr__(name: str):
    if name in _LAZY:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _FROM:
        return getattr(importlib.import_module(f"{__name__}.{_FROM[name]}"), name)
    raise AttributeError(f"module 'tensorgrad' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
