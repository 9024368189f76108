"""What layers with weights share."""

from __future__ import annotations

import operator
from typing import Any

from ..backend import is_floating
from ..core import Tensor
from ..errors import ArgumentError, GraphError, ShapeError
from ..ops.shape import cast
from ..switches import switches
from ..typing import DType
from .init import initial
from .module import Module, Parameter


def size(name: str, value: Any) -> int:
    """A number of features as an int; ArgumentError unless it is whole and above 0."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < 1:
        raise ArgumentError(f"{name} must be a whole number above 0, got {value!r}")
    return operator.index(value)


class LazyLayer(Module):
    """A layer whose weights follow from the length of one axis of its input. That number, the
    attribute that `sized_by` names, may be left out: the weights are then made at the first call.
    """

    sized_by = "in_features"
    axis = -1  # of the input
    weight: Parameter = None  # type: ignore[assignment]  # once the number is known
    bias: Parameter | None = None

    def start(self, length: Any, dtype: DType) -> None:
        """Note the number, and make the weights if it is one. The last line of `__init__`."""
        self.dtype = dtype
        setattr(self, self.sized_by, None)
        if length is not None:
            self.build(length)

    def build(self, length: Any) -> None:
        """Make the weights for an input of this length, if it is one."""
        length = size(f"{type(self).__name__}: {self.sized_by}", length)
        before = dict(vars(self))
        try:
            self.make(length)
        except BaseException:
            self.__dict__ = before  # all weights or none
            raise
        setattr(self, self.sized_by, length)
        if self._frozen:
            self.trainable = False

    def make(self, length: int) -> None:
        """Make the weights for an input of this length."""
        raise GraphError(f"{type(self).__name__} has no make")

    def drawn(self, init: Any, *shape: int) -> Parameter:
        """A new parameter, by the name of its initial numbers or a function of the shape."""
        return Parameter(initial(init, shape, self.dtype))

    @property
    def built(self) -> bool:  # type: ignore[override]
        """Whether there are weights yet."""
        return self.weight is not None

    def checked(self, x: Tensor, name: str = "input") -> Tensor:
        """x in the dtype of the weights, if it has the length that the layer was made for."""
        length = x.shape[self.axis]
        if self.weight is None:
            self.build(length)
        own = getattr(self, self.sized_by)
        if length != own:
            raise ShapeError(
                f"{type(self).__name__}({self.describe()}) was made for {self.sized_by} = {own}, "
                f"the length of axis {self.axis}; its {name} has shape {x.shape}"
            )
        weight = self.weight
        return x if x._data.dtype == weight._data.dtype else in_dtype_of(weight, x)


def in_dtype_of(weight: Tensor, x: Tensor) -> Tensor:
    """x in the dtype of a layer's weights, so that float64 data or integers do not decide what a
    model computes in. Within autocast its ops choose among halves and float32."""
    dtype, own = x._data.dtype, weight._data.dtype
    if dtype == own:
        return x
    mixed = switches.autocast is not None and is_floating(dtype)
    if mixed and max(dtype.itemsize, own.itemsize) < 8:
        return x
    return cast(x, dtype=own)
