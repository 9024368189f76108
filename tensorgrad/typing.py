"""The types that public functions take, each written down once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from .core import Tensor


class SupportsArray(Protocol):
    """What NumPy can make an array of: NumPy's own arrays and scalars, tensors, data frames."""

    def __array__(self) -> np.ndarray[Any, Any]:
        """Its numbers."""


Number: TypeAlias = bool | int | float
ArrayLike: TypeAlias = "Tensor | SupportsArray | Number | Sequence[Any]"
Axis: TypeAlias = "int | None"
Axes: TypeAlias = "int | Sequence[int] | None"
Shape: TypeAlias = "int | Sequence[int]"
Size: TypeAlias = "int | tuple[int, int]"  # of images: one number, or (rows, columns)
DType: TypeAlias = "str | type | np.dtype[Any] | None"
