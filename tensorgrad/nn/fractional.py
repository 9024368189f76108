"""Max pooling of images and volumes (n, channels, ...) in windows at random distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeAlias

from .. import functions
from ..errors import ArgumentError
from ..settings import Either, Nothing, Real, Several
from ..typing import ArrayLike, Sizes
from .conv import along, spatial
from .module import Buffer, Module
from .one_example import or_one

__all__ = ["FractionalMaxPool2d", "FractionalMaxPool3d"]

Ratio: TypeAlias = Annotated[
    "float | Sequence[float] | None",
    Either(Nothing(), Several(Real(above=0, below=1), says="one for each axis")),
]


class _FractionalMaxPool(Module):
    axes = 2
    _random_samples: Buffer | None = None

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: Ratio = None,
        return_indices: bool = False,
        random_samples: ArrayLike | None = None,
    ):
        super().__init__()
        if (output_size is None) == (output_ratio is None):
            name = type(self).__name__
            raise ArgumentError(f"{name}: give either output_size or output_ratio")
        self.kernel_size = along(self, "kernel_size", kernel_size, self.axes)
        self.output_size, self.output_ratio = output_size, output_ratio
        if output_size is not None:
            self.output_size = along(self, "output_size", output_size, self.axes)
        else:
            self.output_ratio = along(self, "output_ratio", output_ratio, self.axes, "a number")
        self.return_indices = return_indices
        if random_samples is not None:
            self._random_samples = Buffer(random_samples)

    @or_one
    def forward(self, x: ArrayLike) -> Any:
        x = spatial(type(self).__name__, x, self.axes)
        return getattr(functions, f"fractional_max_pool{self.axes}d")(
            x,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            return_indices=self.return_indices,
            random_samples=self._random_samples,
        )

    def describe(self) -> str:
        given = {"output_size": self.output_size, "output_ratio": self.output_ratio}
        return f"{self.kernel_size}, " + ", ".join([f"{k}={v}" for k, v in given.items() if v])


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest number of each of `output_size` windows, at distances that are random and a
    fraction on average (Graham 2014), in evaluation, too, as in PyTorch: (n, c, h, w) -> (n, c,
    *output_size). `output_ratio` is which share of h and w that is, of (0, 1).

    `random_samples`, (n, c, 2) of [0, 1), say where the windows lie, PyTorch's `_random_samples`;
    where left out, each call draws them. With `return_indices` a pair of the numbers and their
    places, for `MaxUnpool2d`. See `tg.fractional_max_pool2d`.

    >>> FractionalMaxPool2d(2, output_ratio=0.7)(np.ones((1, 1, 10, 20))).shape
    (1, 1, 7, 14)
    """

    axes = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest number of each of `output_size` windows at random distances, as
    `FractionalMaxPool2d`, whose arguments it takes: (n, c, d, h, w) -> (n, c, *output_size).

    >>> FractionalMaxPool3d(2, 3)(np.ones((1, 1, 4, 5, 6))).shape
    (1, 1, 3, 3, 3)
    """

    axes = 3
