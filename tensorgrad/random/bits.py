"""From random words to uniform and normal numbers, and what all distributions ask of a call."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import backend as backends
from ..core import Tensor
from ..creation import asarray
from ..errors import DTypeError, GraphError, ShapeError
from ..functions import concat, cos, log, sin, sqrt
from ..functions.inputs import several
from ..ops.random import advance_random, random_bits
from ..randomness import Generator, random_state
from ..typing import ArrayLike, DType, Shape


class Source(NamedTuple):
    """What a call draws: the shape and floating dtype, on a backend, from a generator."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    backend: str
    generator: Generator | None
    kept: Any = None  # the state of words that were put aside

    def words(self, each: int = 1) -> list[Any]:
        """`each` flat arrays of random 32-bit words, as the array library's own."""
        n = math.prod(self.shape)
        if self.kept is None:
            state = random_state(self.backend, each * n, self.generator)
        else:
            state = advance_random(self.kept, blocks=(each * n + 3) // 4)
        return list(random_bits(state, size=each * n).reshape(each, n))

    def reserve(self, words: int) -> Source:
        """The same, with words for each number put aside at once: what is left over is never drawn,
        so that the stream does not depend on how many attempts a variate took."""
        n = words * (math.prod(self.shape) + 16)
        return self._replace(kept=random_state(self.backend, n, self.generator))

    def settled(self, found: Tensor) -> bool:
        """Whether all truth values hold, where that can be asked: a GPU is not waited for."""
        return self.backend == "numpy" and bool(found.all())

    def made(self, numbers: Any) -> Tensor:
        """A tensor of the shape from a flat array."""
        return Tensor(numbers.reshape(self.shape))

    def long_words(self) -> Any:
        """A flat array of random 64-bit words."""
        high, low = self.words(2)
        return (high.astype("uint64") << 32) | low.astype("uint64")

    def uniform(self) -> Tensor:
        """Numbers of [0, 1): multiples of 2^-24, in float64 of 2^-53, in halves of fewer bits."""
        if self.dtype == np.float64:
            return self.made((self.long_words() >> 11).astype("float64") * 2.0**-53)
        digits = {"float16": 11, "bfloat16": 8}.get(self.dtype.name, 24)
        numbers = (self.words()[0] >> (32 - digits)).astype("float32") * np.float32(2.0**-digits)
        return self.made(numbers.astype(self.dtype))

    def centred(self) -> Tensor:
        """Numbers of (0, 1), symmetric about 1/2: odd multiples of 2^-24, or of 2^-53."""
        if self.dtype == np.float64:
            return self.made(((self.long_words() >> 12).astype("float64") + 0.5) * 2.0**-52)
        numbers = (self.words()[0] >> 9).astype("float32") + np.float32(0.5)
        return self.made(numbers * np.float32(2.0**-23))

    def positive(self) -> Tensor:
        """Numbers of (0, 1], of 32 bits near 0, where logarithms need them, or of 53."""
        if self.dtype == np.float64:
            return 1.0 - self.uniform()
        numbers = self.words()[0].astype("float32") * np.float32(2.0**-32)
        return self.made(numbers + np.float32(2.0**-33))

    def normal(self) -> Tensor:
        """Standard normal numbers (Box & Muller 1958): of a radius and an angle two each."""
        n = math.prod(self.shape)
        half = self._replace(shape=((n + 1) // 2,))
        radius = sqrt(-2.0 * log(half.positive()))
        angle = (2 * math.pi) * half._replace(dtype=radius.dtype).uniform()
        both = concat([radius * cos(angle), radius * sin(angle)])
        return both[:n].reshape(self.shape)


def source(
    name: str,
    parameters: dict[str, ArrayLike],
    size: Shape | None,
    dtype: DType,
    backend: str | None,
    generator: Generator | None,
) -> tuple[Source, list[Any]]:
    """The Source of a call, and its parameters: numbers, or tensors that broadcast to the shape."""
    given = [p if isinstance(p, backends.NUMBERS) else asarray(p) for p in parameters.values()]
    tensors = [p for p in given if isinstance(p, Tensor)]
    shape = () if size is None else several(size)
    if min(shape, default=0) < 0:
        raise ShapeError(f"{name}: size={shape} must not be negative")
    try:
        common = np.broadcast_shapes(*[p.shape for p in tensors])
        fits = size is None or np.broadcast_shapes(common, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        shapes = ", ".join(f"{n} {np.shape(p)}" for n, p in zip(parameters, given, strict=True))
        raise ShapeError(f"{name}: {shapes} do not broadcast" + (f" to {shape}" if size else ""))
    floats = [p.dtype for p in tensors if backends.is_floating(p.dtype)]
    wanted = backends.dtype_of(dtype) if dtype is not None or not floats else floats[0]
    if dtype is None:
        for other in floats:
            wanted = backends.promoted(wanted, other)
    if not backends.is_floating(wanted):
        raise DTypeError(f"{name}: numbers with fractions are drawn, which {wanted} does not hold")
    home = backend or (tensors[0].backend if tensors else backends.default().name)
    made = Source(shape if size is not None else common, wanted, backends.get(home).name, generator)
    return made, given


def untracked(name: str, **parameters: Any) -> None:
    """GraphError for a parameter that requires a gradient, which there is not."""
    for word, p in parameters.items():
        if isinstance(p, Tensor) and p.requires_grad:
            raise GraphError(f"{name}: no gradient reaches {word}: give {word}.detach()")
