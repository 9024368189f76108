"""Dropout of elements, of channels, and of whole examples."""

from __future__ import annotations

import math

from ..backend import is_floating
from ..core import Tensor
from ..creation import asarray, ones
from ..errors import ShapeError
from ..ops import random
from ..randomness import random_state
from ..typing import ArrayLike, Probability
from .module import Module
from .one_example import or_one


class Dropout(Module):
    """In training mode each element is zeroed with probability p, and the others are divided by
    1 - p (Srivastava et al. 2014); in evaluation mode this is the identity. Masks are drawn on the
    device from the generator that `tg.seed` seeds. (`inplace` is taken, and changes nothing:
    results are new.)

    >>> Dropout(0.5).eval()([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """

    def __init__(self, p: Probability = 0.5, inplace: bool = False):
        super().__init__()
        self.p = p

    def forward(self, x: ArrayLike) -> Tensor:
        x = asarray(x)
        if not self.training or self.p == 0:
            return x
        return self._dropped(x if is_floating(x.dtype) else x.astype("float32"))

    def _dropped(self, x: Tensor) -> Tensor:
        return random.dropout(x, random_state(x.backend, x.size), p=self.p)  # type: ignore[no-any-return]

    def _mask(self, x: Tensor, axes: int) -> Tensor:
        """0 or 1 / (1 - p) for each index along the first axes."""
        shape = (*x.shape[:axes], *[1] * (len(x.shape) - axes))
        state = random_state(x.backend, math.prod(shape))
        return random.dropout(ones(shape, x.dtype, backend=x.backend), state, p=self.p)  # type: ignore[no-any-return]

    def describe(self) -> str:
        return f"{self.p}"


class _ChannelDropout(Dropout):
    axes = 2

    @or_one
    def forward(self, x: ArrayLike) -> Tensor:
        x = asarray(x)
        if len(x.shape) != self.axes + 2:
            raise ShapeError(
                f"{type(self).__name__} drops channels of (n, channels, ...) with {self.axes} axes "
                f"more; got shape {x.shape}"
            )
        return super().forward(x)

    def _dropped(self, x: Tensor) -> Tensor:
        return x * self._mask(x, 2)


class Dropout1d(_ChannelDropout):
    """`Dropout` of whole channels of sequences (n, channels, length), as `Dropout2d`.

    >>> Dropout1d(0.5).eval()([[[1.0, 2.0]]]).tolist()
    [[[1.0, 2.0]]]
    """

    axes = 1


class Dropout2d(_ChannelDropout):
    """`Dropout` of whole channels of images (n, channels, h, w) (Tompson et al. 2015): neighbouring
    pixels are alike, so that zeroing them one by one would hide little.

    >>> Dropout2d(0.5).eval()([[[[1.0, 2.0]]]]).tolist()
    [[[[1.0, 2.0]]]]
    """

    axes = 2


class Dropout3d(_ChannelDropout):
    """`Dropout` of whole channels of volumes (n, channels, d, h, w), as `Dropout2d`.

    >>> Dropout3d(0.5).eval()([[[[[1.0, 2.0]]]]]).tolist()
    [[[[[1.0, 2.0]]]]]
    """

    axes = 3


_SATURATED = -1.7580993408473766  # what selu tends to far below 0


class AlphaDropout(Dropout):
    """`Dropout` for `SELU` (Klambauer et al. 2017): dropped elements become what that tends to
    below 0, and the result is moved and scaled so that mean 0 and variance 1 stay.

    >>> AlphaDropout(0.5).eval()([1.0, 2.0]).tolist()
    [1.0, 2.0]
    """

    axes: int | None = None  # of the mask: all of them

    def _dropped(self, x: Tensor) -> Tensor:
        keep = self._mask(x, len(x.shape) if self.axes is None else self.axes) * (1 - self.p)
        scale = ((1 - self.p) * (1 + self.p * _SATURATED**2)) ** -0.5
        return (x * keep + (1 - keep) * _SATURATED) * scale - scale * _SATURATED * self.p


class FeatureAlphaDropout(AlphaDropout):
    """`AlphaDropout` of whole channels: (n, channels, ...) -> the same.

    >>> FeatureAlphaDropout(0.5).eval()([[1.0, 2.0]]).tolist()
    [[1.0, 2.0]]
    """

    axes = 2


class DropPath(Dropout):
    """Stochastic depth (Huang et al. 2016): in training mode each example is zeroed with
    probability p, and the others are divided by 1 - p; for the branch of a residual block, which
    that example then passes by. (n, ...) -> the same. See `Residual`.

    >>> DropPath(0.5).eval()([[1.0, 2.0]]).tolist()
    [[1.0, 2.0]]
    """

    def _dropped(self, x: Tensor) -> Tensor:
        return x * self._mask(x, 1)
