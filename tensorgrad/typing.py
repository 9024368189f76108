"""The types that public functions take, each written down once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import TypeVar as Variable

    from .core import Tensor


class SupportsArray(Protocol):
    """What NumPy can make an array of: NumPy's own arrays and scalars, tensors, data frames."""

    def __array__(self) -> NDArray[Any]:
        """Its numbers."""


Number: TypeAlias = bool | int | float
ArrayLike: TypeAlias = "Tensor | SupportsArray | Number | Sequence[Any]"
Axis: TypeAlias = "int | None"
Axes: TypeAlias = "int | Sequence[int] | None"
Shape: TypeAlias = "int | Sequence[int]"
Size: TypeAlias = "int | tuple[int, int]"  # of images: one number, or (rows, columns)
DType: TypeAlias = "str | type | np.dtype[Any] | None"
ActivationLike: TypeAlias = "str | Callable[[Tensor], Tensor] | None"
Initializer: TypeAlias = "str | float | Callable[[tuple[int, ...]], Any]"

Result = TypeVar("Result")
if TYPE_CHECKING:  # with what they are where nothing is said: `Model` alone is `Model[Tensor]`
    Batch = Variable("Batch", default=tuple[Tensor, ...])
    Outputs = Variable("Outputs", default=Tensor)
else:
    Batch, Outputs = TypeVar("Batch"), TypeVar("Outputs")
Result_co = TypeVar("Result_co", covariant=True)
Tree = TypeVar("Tree", bound="dict[Any, Any] | list[Any] | tuple[Any, ...]")


class Computes(Protocol[Result_co]):
    """A module, by what its `forward` gives."""

    @property
    def forward(self) -> Callable[..., Result_co]:
        """Its function."""


class Gradient(Protocol):
    """What `grad` gives: a gradient with the structure of the first argument."""

    @overload
    def __call__(self, x: SupportsArray | Number, /, *args: Any, **options: Any) -> Tensor: ...
    @overload
    def __call__(self, x: Tree, /, *args: Any, **options: Any) -> Tree: ...


class ValueAndGradient(Protocol):
    """What `value_and_grad` gives: a value, and a gradient with the structure of the first
    argument."""

    @overload
    def __call__(
        self, x: SupportsArray | Number, /, *args: Any, **options: Any
    ) -> tuple[Tensor, Tensor]: ...
    @overload
    def __call__(self, x: Tree, /, *args: Any, **options: Any) -> tuple[Tensor, Tree]: ...
