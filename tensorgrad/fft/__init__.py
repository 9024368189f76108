"""Discrete Fourier transforms, with NumPy's names and arguments, differentiable to any order.

`n` (or `s`, for several axes) is the length of the transform: x is cut or padded with zeros to it.
`norm` says where the factor 1 / n stands: "backward", on the inverse transform; "forward", on the
other; "ortho", its square root on both. float64 is transformed in complex128, all else in
complex64. Gradients with respect to complex numbers are PyTorch's, see `tg.real`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeAlias

from ..core import Tensor
from ..creation import arange
from ..errors import ArgumentError, DTypeError, IndexingError, ShapeError
from ..functions.inputs import as_tensor, floating
from ..functions.repeating import roll
from ..functions.shape import concatenate
from ..ops import fft as table
from ..ops import shape as shapes
from ..settings import Either, Nothing, Word, gate
from ..typing import ArrayLike, Axes, DType
from ..words import no_other_names

__all__ = [
    "fft",
    "fft2",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifft2",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfft2",
    "irfftn",
    "rfft",
    "rfft2",
    "rfftfreq",
    "rfftn",
]
Sizes: TypeAlias = Sequence[int] | None
Norm: TypeAlias = Annotated["str | None", Either(Word("backward", "forward", "ortho"), Nothing())]


def _axis(name: str, x: Tensor, axis: int) -> int:
    if not -x.ndim <= axis < x.ndim:
        raise IndexingError(f"{name}: axis={axis}, x has shape {x.shape}")
    return axis % x.ndim


def _length(name: str, n: int | None, known: int) -> int:
    n = known if n is None else n
    if n < 1:
        raise ArgumentError(f"{name}: a transform of {n} numbers; there must be one or more")
    return n


def _axes(name: str, x: Tensor, s: Sizes, axes: Axes) -> tuple[int, ...]:
    """The axes of a transform: all, or as many of the last as there are sizes."""
    if axes is None:
        count = x.ndim if s is None else len(s)
        if count > x.ndim:
            raise ShapeError(f"{name}: {count} sizes, x has shape {x.shape}")
        return tuple(range(x.ndim - count, x.ndim))
    several = (axes,) if isinstance(axes, int) else axes
    given = tuple([_axis(name, x, a) for a in several])
    if s is not None and len(s) != len(given):
        raise ShapeError(f"{name}: {len(s)} sizes for {len(given)} axes")
    return given


def _sizes(name: str, x: Tensor, s: Sizes, axes: tuple[int, ...]) -> list[int]:
    """The length of the transform along each of the axes; -1 is that of x."""
    given = [-1] * len(axes) if s is None else list(s)
    return [
        _length(name, x.shape[a] if n == -1 else n, 0) for a, n in zip(axes, given, strict=True)
    ]


def _resized(x: Tensor, sizes: Sequence[int], axes: Sequence[int]) -> Tensor:
    """x, cut or padded with zeros at the end to these lengths of the axes."""
    for n, axis in zip(sizes, axes, strict=True):
        if n < x.shape[axis]:
            x = x[(slice(None),) * axis + (slice(n),)]
        elif n > x.shape[axis]:
            width = [(0, 0)] * x.ndim
            width[axis] = (0, n - x.shape[axis])
            x = shapes.pad(x, pad_width=tuple(width))
    return x


def _transformed(
    name: str, transform: Callable[..., Any], x: ArrayLike, s: Sizes, axes: Axes, norm: Norm
) -> Tensor:
    """A complex transform of x, along several axes."""
    given = floating(as_tensor(x))
    along = _axes(name, given, s, axes)
    given = _resized(given, _sizes(name, given, s, along), along)
    return transform(given, axes=along, norm=norm or "backward") if along else given + 0j


def _one(n: int | None) -> Sizes:
    return None if n is None else (n,)


# --- complex transforms -------------------------------------------------------------------------


@gate
def fft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None) -> Tensor:
    """sum_j x_j exp(-2 pi i jk / n) along an axis, for the frequencies k from 0 to n - 1.

    Returns: complex numbers, n along the axis.
    Raises: ArgumentError where n is less than 1, IndexingError if x has no such axis.

    >>> fft([1.0, 0.0, 0.0, 0.0]).tolist()
    [(1+0j), (1+0j), (1+0j), (1+0j)]
    """
    return _transformed("fft", table.fftn, x, _one(n), (axis,), norm)


@gate
def ifft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None) -> Tensor:
    """The inverse of `fft`: sum_k x_k exp(2 pi i jk / n) / n along an axis.

    >>> ifft(fft([1.0, 2.0, 3.0])).real.numpy().round(4).tolist()
    [1.0, 2.0, 3.0]
    """
    return _transformed("ifft", table.ifftn, x, _one(n), (axis,), norm)


@gate
def fftn(x: ArrayLike, s: Sizes = None, axes: Axes = None, norm: Norm = None) -> Tensor:
    """`fft` along several axes: all, or as many of the last as there are sizes in `s`.

    >>> fftn([[1.0, 0.0], [0.0, 0.0]]).tolist()
    [[(1+0j), (1+0j)], [(1+0j), (1+0j)]]
    """
    return _transformed("fftn", table.fftn, x, s, axes, norm)


@gate
def ifftn(x: ArrayLike, s: Sizes = None, axes: Axes = None, norm: Norm = None) -> Tensor:
    """The inverse of `fftn`.

    >>> ifftn([[4.0, 0.0], [0.0, 0.0]]).real.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return _transformed("ifftn", table.ifftn, x, s, axes, norm)


@gate
def fft2(x: ArrayLike, s: Sizes = None, axes: Axes = (-2, -1), norm: Norm = None) -> Tensor:
    """`fftn` along two axes, by default the last.

    >>> fft2(np.ones((3, 2, 2))).shape
    (3, 2, 2)
    """
    return _transformed("fft2", table.fftn, x, s, axes, norm)


@gate
def ifft2(x: ArrayLike, s: Sizes = None, axes: Axes = (-2, -1), norm: Norm = None) -> Tensor:
    """The inverse of `fft2`.

    >>> ifft2([[4.0, 0.0], [0.0, 0.0]]).real.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return _transformed("ifft2", table.ifftn, x, s, axes, norm)


# --- transforms of real numbers -----------------------------------------------------------------


def _of_reals(
    name: str, x: ArrayLike, s: Sizes, axes: Axes, norm: Norm, complex_too: bool = False
) -> tuple[Tensor, tuple[int, ...], list[int], str]:
    """x, the axes, the lengths along them, and the norm."""
    given = floating(as_tensor(x))
    if given.dtype.kind == "c" and not complex_too:
        raise DTypeError(
            f"{name} is for real numbers, x holds {given.dtype}; tg.fft.fftn is for complex ones"
        )
    along = _axes(name, given, s, axes)
    if not along:
        raise ArgumentError(f"{name}: it takes one axis or more, x has shape {given.shape}")
    return given, along, [] if complex_too else _sizes(name, given, s, along), norm or "backward"


def _forward(name: str, x: ArrayLike, s: Sizes, axes: Axes, norm: Norm) -> Tensor:
    given, along, sizes, norm = _of_reals(name, x, s, axes, norm)
    y = table.rfft(_resized(given, sizes, along), axis=along[-1], norm=norm)
    return table.fftn(y, axes=along[:-1], norm=norm) if along[1:] else y


def _inverse(name: str, x: ArrayLike, s: Sizes, axes: Axes, norm: Norm) -> Tensor:
    given, along, _, norm = _of_reals(name, x, s, axes, norm, complex_too=True)
    others, last = along[:-1], along[-1]
    n = -1 if s is None else s[-1]
    n = _length(name, 2 * (given.shape[last] - 1) if n == -1 else n, 0)
    sizes = _sizes(name, given, None if s is None else s[:-1], others)
    given = _resized(given, [*sizes, n // 2 + 1], along)
    given = table.ifftn(given, axes=others, norm=norm) if others else given
    return table.irfft(given, n=n, axis=last, norm=norm)


@gate
def rfft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None) -> Tensor:
    """`fft` of real numbers: the frequencies from 0 to n // 2, as the others are their conjugates.

    Returns: complex numbers, n // 2 + 1 along the axis.
    Raises: DTypeError where x is complex.

    >>> rfft([1.0, 1.0, 1.0, 1.0]).tolist()
    [(4+0j), 0j, 0j]
    """
    return _forward("rfft", x, _one(n), (axis,), norm)


@gate
def irfft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None) -> Tensor:
    """The inverse of `rfft`: n real numbers, by default 2 (m - 1) of m frequencies, as those of an
    odd n look alike. The imaginary part of what stands for itself, the frequency 0, counts for
    nothing.

    >>> irfft(rfft([1.0, 2.0, 3.0]), n=3).numpy().round(4).tolist()
    [1.0, 2.0, 3.0]
    """
    return _inverse("irfft", x, _one(n), (axis,), norm)


@gate
def rfftn(x: ArrayLike, s: Sizes = None, axes: Axes = None, norm: Norm = None) -> Tensor:
    """`rfft` along the last of several axes, `fft` along the others.

    >>> rfftn(np.ones((2, 4))).shape
    (2, 3)
    """
    return _forward("rfftn", x, s, axes, norm)


@gate
def irfftn(x: ArrayLike, s: Sizes = None, axes: Axes = None, norm: Norm = None) -> Tensor:
    """The inverse of `rfftn`, where `s` is the shape of its input; by default the last of the axes
    is of even length.

    >>> irfftn(rfftn(np.ones((2, 3))), s=(2, 3)).shape
    (2, 3)
    """
    return _inverse("irfftn", x, s, axes, norm)


@gate
def rfft2(x: ArrayLike, s: Sizes = None, axes: Axes = (-2, -1), norm: Norm = None) -> Tensor:
    """`rfftn` along two axes, by default the last.

    >>> rfft2(np.ones((5, 2, 4))).shape
    (5, 2, 3)
    """
    return _forward("rfft2", x, s, axes, norm)


@gate
def irfft2(x: ArrayLike, s: Sizes = None, axes: Axes = (-2, -1), norm: Norm = None) -> Tensor:
    """The inverse of `rfft2`.

    >>> irfft2(np.ones((5, 2, 3))).shape
    (5, 2, 4)
    """
    return _inverse("irfft2", x, s, axes, norm)


@gate
def hfft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None) -> Tensor:
    """The real frequencies of a signal of which x is the first half, and whose second is conjugate:
    n of them, by default 2 (m - 1) of m numbers.

    >>> hfft([1.0, 0.0, 0.0]).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    turned = table.INVERSE[norm or "backward"]
    return _inverse("hfft", as_tensor(x).conj(), _one(n), (axis,), turned)


@gate
def ihfft(x: ArrayLike, n: int | None = None, axis: int = -1, norm: Norm = None) -> Tensor:
    """The inverse of `hfft`: the first n // 2 + 1 numbers of the signal with real frequencies x.

    >>> ihfft([1.0, 1.0, 1.0, 1.0]).tolist()
    [(1-0j), -0j, -0j]
    """
    turned = table.INVERSE[norm or "backward"]
    return _forward("ihfft", x, _one(n), (axis,), turned).conj()


# --- frequencies --------------------------------------------------------------------------------


@gate
def fftfreq(
    n: int,
    d: float = 1.0,
    dtype: DType = None,
    backend: str | None = None,
    *,
    device: str | None = None,
) -> Tensor:
    """The frequencies of `fft` in cycles a unit, where samples are `d` units apart: 0, 1, ..., -1,
    divided by n d. `dtype` None is float32.

    >>> fftfreq(4, d=0.5).tolist()
    [0.0, 0.5, -1.0, -0.5]
    """
    n = _length("fftfreq", n, 0)
    ranks = concatenate(
        [
            arange((n + 1) // 2, backend=backend or device),
            arange(-(n // 2), 0, backend=backend or device),
        ]
    )
    return ranks.astype(dtype) / (n * d)


@gate
def rfftfreq(
    n: int,
    d: float = 1.0,
    dtype: DType = None,
    backend: str | None = None,
    *,
    device: str | None = None,
) -> Tensor:
    """The frequencies of `rfft` in cycles a unit, where samples are `d` units apart: 0 to n // 2,
    divided by n d. `dtype` None is float32.

    >>> rfftfreq(4, d=0.5).tolist()
    [0.0, 0.5, 1.0]
    """
    n = _length("rfftfreq", n, 0)
    return arange(n // 2 + 1, backend=backend or device).astype(dtype) / (n * d)


def _rolled(name: str, x: ArrayLike, axes: Axes, shift: Callable[[int], int]) -> Tensor:
    """x rolled along each axis by `shift` of its length."""
    y = as_tensor(x)
    along = _axes(name, y, None, axes)
    return roll(y, [shift(y.shape[a]) for a in along], along) if along else y


@gate
def fftshift(x: ArrayLike, axes: Axes = None) -> Tensor:
    """Frequencies in ascending order, with 0 in the middle: those of `fft` start at 0.

    >>> fftshift([0.0, 1.0, 2.0, -2.0, -1.0]).tolist()
    [-2.0, -1.0, 0.0, 1.0, 2.0]
    """
    return _rolled("fftshift", x, axes, lambda n: n // 2)


@gate
def ifftshift(x: ArrayLike, axes: Axes = None) -> Tensor:
    """The inverse of `fftshift`.

    >>> ifftshift([-2.0, -1.0, 0.0, 1.0, 2.0]).tolist()
    [0.0, 1.0, 2.0, -2.0, -1.0]
    """
    return _rolled("ifftshift", x, axes, lambda n: -(n // 2))


__getattr__ = no_other_names("fft", __all__)
