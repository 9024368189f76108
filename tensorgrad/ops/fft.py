"""Discrete Fourier transforms. They are linear, and so are their gradients: the matrix of a complex
transform is symmetric, its own transpose; a real one's transpose is the inverse one, but for its
factor, and for the frequencies that stand for two."""

from ..backend import namespace
from ..core import op
from .reduce import narrow, widened
from .samples import shaped
from .shape import concat, conj

# The norm with which the inverse transform has the factor that this one has.
INVERSE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}

_COMPLEX = shaped(
    ((4,), {"axes": (0,)}),
    ((3, 5), {"axes": (-1,), "norm": "forward"}),
    ((2, 3, 4), {"axes": (0, 2), "norm": "ortho"}),
)


@op(x=lambda g, axes, norm: fftn(g, axes=axes, norm=norm), samples=_COMPLEX, complex=True)
def fftn(x, *, axes, norm="backward"):
    """sum_j x_j exp(-2 pi i jk / n) over each of the axes."""
    return namespace(x).fft.fftn(widened(x), axes=axes, norm=norm)


@op(x=lambda g, axes, norm: ifftn(g, axes=axes, norm=norm), samples=_COMPLEX, complex=True)
def ifftn(x, *, axes, norm="backward"):
    """sum_k x_k exp(2 pi i jk / n) / n over each of the axes."""
    return namespace(x).fft.ifftn(widened(x), axes=axes, norm=norm)


def _times(y, n, axis, factor):
    """The frequencies of a real transform of length n that stand for their conjugates, too: all
    but 0 and, of an even n, the last."""
    head, end = (slice(None),) * (axis % y.ndim), (n + 1) // 2
    parts = [y[(*head, slice(*ends))] for ends in ((0, 1), (1, end), (end, None))]
    return concat(parts[0], parts[1] * factor, parts[2], axis=axis)


def _rfft_x(g, x_shape, axis, norm):
    n = x_shape[axis]
    return irfft(_times(conj(g), n, axis, 0.5), n=n, axis=axis, norm=INVERSE[norm])


def _irfft_x(g, n, axis, norm):
    return _times(conj(rfft(g, axis=axis, norm=INVERSE[norm])), n, axis, 2.0)


@op(
    x=_rfft_x,
    samples=shaped(
        ((6,), {}),
        ((3, 5), {"norm": "ortho"}),
        ((4, 2), {"axis": 0, "norm": "forward"}),
        ((1,), {}),
    ),
)
def rfft(x, *, axis=-1, norm="backward"):
    """The frequencies 0 to n // 2 of the transform of real numbers; the others are conjugates."""
    return namespace(x).fft.rfft(widened(x), axis=axis, norm=norm)


@op(
    x=_irfft_x,
    samples=shaped(
        ((4,), {"n": 6}),
        ((2, 3), {"n": 5, "norm": "ortho"}),
        ((2, 3), {"n": 3, "axis": 0, "norm": "forward"}),
        ((1,), {"n": 1}),
    ),
    complex=True,
)
def irfft(x, *, n, axis=-1, norm="backward"):
    """The n real numbers whose frequencies 0 to n // 2 are x."""
    return narrow(namespace(x).fft.irfft(widened(x), n=n, axis=axis, norm=norm), x)
