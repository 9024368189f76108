"""tensorgrad: backpropagation on NumPy and CuPy arrays, small enough to read."""

from .core import Tensor
from .creation import *
from .tensor_methods import PUBLIC as _PUBLIC

globals().update(_PUBLIC)
