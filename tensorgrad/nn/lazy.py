"""Lazy initialisation: layers whose weights are made when the first input shows their size."""

from __future__ import annotations

from typing import Any

from ..backend import is_floating
from ..core import Tensor
from ..errors import GraphError, ShapeError
from ..ops.shape import cast
from ..settings import Kind, Whole, take
from ..switches import switches
from ..typing import DType
from .init import initial
from .module import Module, Parameter


class LazyLayer(Module):
    """Base of layers whose weights depend on the length of one axis of the input. That length, the
    attribute named by `sized_by`, may be left out: the weights are then initialised at the first
    call."""

    sized_by = "in_features"
    size: Kind = Whole(1)
    axis = -1  # of the input
    forms = ""  # calls of the layer, and of its like in the other convention, for messages
    weight: Parameter = None  # type: ignore[assignment]  # once the length is known
    bias: Parameter | None = None

    def start(self, length: Any, dtype: DType) -> None:
        """Initialise the weights, unless the length is None: then at the first call. To be called
        last in `__init__`."""
        self.dtype = dtype
        setattr(self, self.sized_by, None)
        if length is not None:
            self.build(length)

    def build(self, length: Any) -> None:
        """Initialise the weights for this length; ArgumentError unless it is a whole number > 0."""
        length = take(type(self).__name__, self.sized_by, self.size, length)
        before = dict(vars(self))
        try:
            self.make(length)
        except BaseException:
            self.__dict__ = before  # all weights or none
            raise
        setattr(self, self.sized_by, length)
        if self._frozen:
            self.trainable = False

    def sizes(self) -> tuple[int, ...]:
        """What the first input told of the weights' shapes: what `build_for` takes."""
        return (getattr(self, self.sized_by),)

    def build_for(self, length: Any) -> None:
        """Initialise the weights without an input, as for the `sizes` of another such layer."""
        self.build(length)

    def make(self, length: int) -> None:
        """Create the parameters for this length; what subclasses define."""
        raise GraphError(f"{type(self).__name__} has no make")

    def drawn(self, init: Any, *shape: int) -> Parameter:
        """A new parameter of this shape, initialised by `init` (see `initial`)."""
        return Parameter(initial(init, shape, self.dtype))

    @property
    def built(self) -> bool:  # type: ignore[override]
        """Whether the weights are initialised."""
        return self.__dict__.get(self.sized_by) is not None

    def checked(self, x: Tensor, name: str = "input") -> Tensor:
        """x cast to the dtype of the weights; ShapeError unless it has the layer's length."""
        length = x.shape[self.axis]
        own = getattr(self, self.sized_by)
        if own is None:
            self.build(length)
        elif length != own:
            raise ShapeError(
                f"{type(self).__name__}({self.describe()}) was made for {self.sized_by} = {own}, "
                f"the length of axis {self.axis}; its {name} has shape {x.shape}"
                + (f". {self.forms}" if self.forms else "")
            )
        weight = self.weight
        if weight is None:  # a norm without one
            return x if is_floating(x.dtype) else cast(x, dtype=self.dtype)
        return x if x._data.dtype == weight._data.dtype else in_dtype_of(weight, x)


def in_dtype_of(weight: Tensor, x: Tensor) -> Tensor:
    """x cast to the dtype of a layer's weights, so that float64 or integer data does not promote
    the whole model. Within autocast, the ops choose between half precision and float32."""
    dtype, own = x._data.dtype, weight._data.dtype
    if dtype == own:
        return x
    mixed = switches.autocast is not None and is_floating(dtype)
    if mixed and max(dtype.itemsize, own.itemsize) < 8:
        return x
    return cast(x, dtype=own)
