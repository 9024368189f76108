"""The types of public functions, each defined once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)

import numpy as np

from .settings import Arrays, Dtype, Either, Nothing, Of, Real, Scalar, Several, Whole

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


# The kinds of options (settings.py): an annotation says what is taken, and the gate checks it.
Number: TypeAlias = Annotated["bool | int | float", Scalar()]  # with a place among real numbers
Element: TypeAlias = Annotated["bool | int | float | complex", Scalar("biufc")]
Count: TypeAlias = Annotated[int, Whole(1)]
Natural: TypeAlias = Annotated[int, Whole(0)]
Positive: TypeAlias = Annotated[float, Real(above=0)]
AboveOne: TypeAlias = Annotated[float, Real(above=1)]
NonNegative: TypeAlias = Annotated[float, Real(0)]
Limit: TypeAlias = Annotated[float, Real(infinite=True)]
Fraction: TypeAlias = Annotated[float, Real(0, 1)]
Probability: TypeAlias = Annotated[float, Real(0, below=1)]  # of what must not be certain
Decay: TypeAlias = Annotated[float, Real(0, below=1)]
ArrayLike: TypeAlias = Annotated[
    "Tensor | SupportsArray | bool | int | float | complex | Sequence[Any]", Arrays("an array")
]
Axis: TypeAlias = Annotated["int | None", Either(Nothing(), Whole())]
Axes: TypeAlias = Annotated["int | Sequence[int] | None", Either(Nothing(), Several(Whole()))]
Shape: TypeAlias = Annotated["int | Sequence[int]", Several(Whole(), always=True)]
_PAIR, _THREE = "(rows, columns)", "(depth, rows, columns)"
_One: TypeAlias = "int | tuple[int]"
_Two: TypeAlias = "int | tuple[int, int]"
_Three: TypeAlias = "int | tuple[int, int, int]"
Size1: TypeAlias = Annotated[_One, Several(Whole(1), 1, "(size,)")]  # of sequences
Size: TypeAlias = Annotated[_Two, Several(Whole(1), 2, _PAIR)]  # of images
Size3: TypeAlias = Annotated[_Three, Several(Whole(1), 3, _THREE)]  # of volumes
Sizes: TypeAlias = Annotated[
    "int | Sequence[int]", Several(Whole(1), says="one for each axis")
]  # of layers over any number of axes
Borders: TypeAlias = Annotated["int | Sequence[int]", Several(Whole(0), says="one for each axis")]
Border1: TypeAlias = Annotated[_One, Several(Whole(0), 1, "(size,)")]
Border: TypeAlias = Annotated[_Two, Several(Whole(0), 2, _PAIR)]
Border3: TypeAlias = Annotated[_Three, Several(Whole(0), 3, _THREE)]
DType: TypeAlias = Annotated["str | type | np.dtype[Any] | None", Either(Nothing(), Dtype())]
PathLike: TypeAlias = Annotated["str | os.PathLike[str]", Of((str, os.PathLike), "a path")]
# NumPy's words, which choose nothing here: every sort is stable
SortKind: TypeAlias = Literal["quicksort", "heapsort", "mergesort", "stable"] | None
OutOfRange: TypeAlias = Literal["raise", "wrap", "clip"]  # what becomes of such indices
ActivationLike: TypeAlias = Annotated[
    "str | Callable[[Tensor], Tensor] | None", Either(Nothing(), Of(str), Of(Callable))
]
Initializer: TypeAlias = Annotated[
    "str | float | Callable[[tuple[int, ...]], Any]", Either(Of(str), Of(Callable), Real())
]

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
