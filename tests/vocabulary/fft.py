"""Fourier transforms, in the forms that the samples of their ops do not have."""

import numpy as np

from tensorgrad.testing import draw

from . import Row

R, V = draw((3, 4, 5)), draw((6,))
Z = R + 1j * draw((3, 4, 5), seed=1)
U = V + 1j * draw((6,), seed=1)


def rows(name, x, *options):
    truth = getattr(np.fft, name)
    return [Row(f"fft.{name}", truth, (x,), o) for o in options]


LENGTHS = ({}, {"n": 4}, {"n": 9, "norm": "ortho"}, {"n": 7, "axis": 0, "norm": "forward"})
AXES = (
    {},
    {"axes": (0, 2), "norm": "ortho"},
    {"s": (6, 3), "axes": (1, 0)},
    {"axes": (-1,), "norm": "forward"},
)
ROWS = [
    *[row for n in ("fft", "ifft", "hfft", "irfft") for row in rows(n, U, *LENGTHS)],
    *[row for n in ("fft", "ifft", "rfft", "ihfft") for row in rows(n, V, *LENGTHS)],
    *[
        row
        for n in ("fft2", "ifft2", "fftn", "ifftn", "irfft2", "irfftn")
        for row in rows(n, Z, *AXES)
    ],
    *[row for n in ("rfft2", "rfftn", "fftn") for row in rows(n, R, *AXES)],
    *[
        row
        for n in ("fftshift", "ifftshift")
        for row in rows(n, R, {}, {"axes": (0, -1)}, {"axes": 1})
    ],
    *rows("fftshift", Z, {}),
]
