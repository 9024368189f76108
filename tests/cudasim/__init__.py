"""cudasim: the CuPy backend without a GPU, for tests.

The kernels' CUDA C runs on the CPU (`shim.py`, `cuda_cpu.h`), and the arrays are `SimArray`s,
which refuse what CuPy refuses (`array.py`, `namespace.py`). `install()` makes it one more backend
of tensorgrad, named "cudasim": whole tests run the code that a GPU would run, kernels included.
What it cannot show: races within a warp, memory order between blocks, speed, the accuracy of the
fast intrinsics.
"""

from .array import SimArray
from .backend import install
from .namespace import xp
from .shim import FORWARD, REVERSED, SHUFFLED, KernelError, Module, order, why_not

__all__ = [
    "FORWARD",
    "REVERSED",
    "SHUFFLED",
    "KernelError",
    "Module",
    "SimArray",
    "install",
    "order",
    "why_not",
    "xp",
]
