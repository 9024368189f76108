"""The types of public functions, each defined once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar, overload

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import TypeVar as Variable

    from .core import Tensor


class SupportsArray(Protocol):
    """What NumPy can convert to an array: its own arrays and scalars, tensors, data frames."""

    def __array__(self) -> NDArray[Any]:
        """Its elements as a NumPy array."""


if TYPE_CHECKING:  # the base of the mixins of Tensor, which define `__array__` only together
    ArrayBase = SupportsArray
else:
    ArrayBase = object


Number: TypeAlias = bool | int | float
ArrayLike: TypeAlias = "Tensor | SupportsArray | Number | complex | Sequence[Any]"
Axis: TypeAlias = "int | None"
Axes: TypeAlias = "int | Sequence[int] | None"
Shape: TypeAlias = "int | Sequence[int]"
Size: TypeAlias = "int | tuple[int, int]"  # of images: one number, or (rows, columns)
DType: TypeAlias = "str | type | np.dtype[Any] | None"
ActivationLike: TypeAlias = "str | Callable[[Tensor], Tensor] | None"
Initializer: TypeAlias = "str | float | Callable[[tuple[int, ...]], Any]"

Result = TypeVar("Result")
if TYPE_CHECKING:  # with defaults (PEP 696): `Model` alone is `Model[Tensor]`
    Batch = Variable("Batch", default=tuple[Tensor, ...])
    Outputs = Variable("Outputs", default=Tensor)
else:
    Batch, Outputs = TypeVar("Batch"), TypeVar("Outputs")
Result_co = TypeVar("Result_co", covariant=True)
Tree = TypeVar("Tree", bound="dict[Any, Any] | list[Any] | tuple[Any, ...]")


class ValuesIndices(NamedTuple):
    """Elements, and the indices along an axis at which they were."""

    values: Tensor
    indices: Tensor


class Computes(Protocol[Result_co]):
    """A module, by the type that its `forward` returns."""

    @property
    def forward(self) -> Callable[..., Result_co]:
        """The module's function."""


class Gradient(Protocol):
    """What `grad` returns: a function whose result has the structure of its first argument."""

    @overload
    def __call__(self, x: SupportsArray | Number, /, *args: Any, **options: Any) -> Tensor: ...
    @overload
    def __call__(self, x: Tree, /, *args: Any, **options: Any) -> Tree: ...


class ValueAndGradient(Protocol):
    """What `value_and_grad` returns: a function whose result is the value, and a gradient with the
    structure of its first argument."""

    @overload
    def __call__(
        self, x: SupportsArray | Number, /, *args: Any, **options: Any
    ) -> tuple[Tensor, Tensor]: ...
    @overload
    def __call__(self, x: Tree, /, *args: Any, **options: Any) -> tuple[Tensor, Tree]: ...
