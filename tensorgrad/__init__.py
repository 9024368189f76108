"""tensorgrad: backpropagation done right on NumPy and CuPy arrays, small enough to read.

`import tensorgrad` imports NumPy and nothing else. Layers, optimizers and the rest are loaded
when first named. TENSORGRAD_BACKEND = numpy | cupy | auto says where new tensors are made.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import functions
from .autograd import (
    enable_grad,
    grad,
    jvp,
    linearize,
    no_grad,
    value_and_grad,
    vjp,
)
from .backend import (
    set_backend,
)
from .core import (
    Tensor,
)
from .creation import (
    arange,
    asarray,
    empty,
    empty_like,
    eye,
    from_dlpack,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    randn,
    tensor,
    zeros,
    zeros_like,
)
from .custom import (
    Function,
)
from .dispatch import (
    use_kernels,
)
from .errors import (
    AnomalyError,
    ArgumentError,
    BackendError,
    DistributedError,
    DTypeError,
    FileError,
    GraphError,
    IndexingError,
    LinAlgError,
    OutOfMemoryError,
    ShapeError,
    TensorgradError,
    WorkerError,
)
from .functions import *  # noqa: F403
from .jacobians import (
    hessian,
    hvp,
    jacobian,
)
from .memory import (
    memory_summary,
)
from .randomness import (
    seed,
)
from .tape import (
    GradientTape,
)

if TYPE_CHECKING:  # what `__getattr__` loads when it is first named
    from . import (
        cuda,
        data,
        distributed,
        fft,
        linalg,
        losses,
        nn,
        onnx,
        optim,
        random,
        testing,
        train,
    )
    from .anomaly import detect_anomaly
    from .batching.transform import vmap
    from .compiling.step import compile
    from .drawing import draw
    from .dtypes import *  # noqa: F403
    from .dtypes import bool_ as bool  # noqa: F401
    from .files import load, load_npz, save, save_npz
    from .functions.adaptive import *  # noqa: F403
    from .functions.analytic import *  # noqa: F403
    from .functions.comparison import *  # noqa: F403
    from .functions.complex_numbers import *  # noqa: F403
    from .functions.contraction import *  # noqa: F403
    from .functions.conv_nd import *  # noqa: F403
    from .functions.diagonals import *  # noqa: F403
    from .functions.distance import *  # noqa: F403
    from .functions.fractional import *  # noqa: F403
    from .functions.indexing import *  # noqa: F403
    from .functions.interpolation import *  # noqa: F403
    from .functions.joining import *  # noqa: F403
    from .functions.machine import *  # noqa: F403
    from .functions.masks import *  # noqa: F403
    from .functions.nans import *  # noqa: F403
    from .functions.nonlinearity import *  # noqa: F403
    from .functions.pooling import *  # noqa: F403
    from .functions.quantiles import *  # noqa: F403
    from .functions.repeating import *  # noqa: F403
    from .functions.resampling import *  # noqa: F403
    from .functions.scan import *  # noqa: F403
    from .functions.segments import *  # noqa: F403
    from .functions.sets import *  # noqa: F403
    from .functions.sorting import *  # noqa: F403
    from .functions.spaced import *  # noqa: F403
    from .functions.sparse import *  # noqa: F403
    from .functions.special import *  # noqa: F403
    from .functions.statistics import *  # noqa: F403
    from .functions.windows import *  # noqa: F403
    from .losses import (
        binary_cross_entropy,
        binary_cross_entropy_with_logits,
        cross_entropy,
        huber,
        mean_absolute_error,
        mean_squared_error,
    )
    from .nn import Parameter
    from .precision import autocast, set_tf32
    from .profiling import profile
    from .recompute import checkpoint
    from .testing import compare, gradcheck

__version__ = "0.1.0"
__array_api_version__ = "2024.12"

_MODULES = (
    "cuda",
    "data",
    "distributed",
    "fft",
    "keras",  # Keras 3 itself, on tensorgrad
    "linalg",
    "losses",
    "nn",
    "onnx",
    "optim",
    "random",
    "testing",
    "tf",
    "train",
)
_OF_DTYPES = """__array_namespace_info__ astype bool_ broadcast_shapes can_cast complex64 complex128
e finfo float16 float32 float64 iinfo inf int8 int16 int32 int64 isdtype nan newaxis
pi result_type uint8 uint16 uint32 uint64""".split()
_FROM = {
    "Parameter": "nn",
    **dict.fromkeys(_OF_DTYPES, "dtypes"),
    "autocast": "precision",
    "binary_cross_entropy": "losses",
    "binary_cross_entropy_with_logits": "losses",
    "checkpoint": "recompute",
    "compare": "testing",
    "compile": "compiling.step",
    "cross_entropy": "losses",
    "detect_anomaly": "anomaly",
    "draw": "drawing",
    "gradcheck": "testing",
    "huber": "losses",
    **dict.fromkeys(("load", "load_npz", "save", "save_npz"), "files"),
    "mean_absolute_error": "losses",
    "mean_squared_error": "losses",
    "profile": "profiling",
    "set_tf32": "precision",
    "vmap": "batching.transform",
}

__all__ = [
    "AnomalyError",
    "ArgumentError",
    "BackendError",
    "DTypeError",
    "DistributedError",
    "FileError",
    "Function",
    "GradientTape",
    "GraphError",
    "IndexingError",
    "LinAlgError",
    "OutOfMemoryError",
    "Parameter",
    "ShapeError",
    "Tensor",
    "TensorgradError",
    "WorkerError",
    "arange",
    "asarray",
    "autocast",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "checkpoint",
    "compare",
    "compile",
    "cross_entropy",
    "cuda",
    "data",
    "detect_anomaly",
    "distributed",
    "draw",
    "empty",
    "empty_like",
    "enable_grad",
    "eye",
    "fft",
    "from_dlpack",
    "full",
    "full_like",
    "grad",
    "gradcheck",
    "hessian",
    "huber",
    "hvp",
    "jacobian",
    "jvp",
    "linalg",
    "linearize",
    "linspace",
    "load",
    "load_npz",
    "losses",
    "mean_absolute_error",
    "mean_squared_error",
    "memory_summary",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "onnx",
    "optim",
    "profile",
    "rand",
    "randn",
    "random",
    "save",
    "save_npz",
    "seed",
    "set_backend",
    "set_tf32",
    "tensor",
    "testing",
    "train",
    "use_kernels",
    "value_and_grad",
    "vjp",
    "vmap",
    "zeros",
    "zeros_like",
]
__all__ += functions.__all__
__all__ += _OF_DTYPES  # noqa: PLE0605
__all__ += [*functions.FAMILY]  # noqa: PLE0604


if not TYPE_CHECKING:  # else every name would be there for type checkers

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"{__name__}.{name}")
        if name in functions.FAMILY:
            return getattr(functions, name)
        if name == "bool":  # which is not in __all__, as programs need Python's
            name = "bool_"
        if name in _FROM:
            return getattr(importlib.import_module(f"{__name__}.{_FROM[name]}"), name)
        more = "" if name[0] == "_" else f": {_hint(name)}"  # tools ask every object for those
        raise AttributeError(f"module 'tensorgrad' has no attribute {name!r}{more}")


def _hint(name: str) -> str:
    """What to write for a name that is not here, but perhaps one level below."""
    from .words import missing

    for place in ("nn", "optim", "losses", "data", "linalg", "fft"):
        if name in getattr(importlib.import_module(f"{__name__}.{place}"), "__all__", ()):
            return f"here it is tg.{place}.{name}"
    return missing("tensorgrad", name, __all__)


def __dir__() -> list[str]:
    return sorted(__all__)
