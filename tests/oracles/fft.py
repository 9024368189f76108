"""Transforms as sums: a matrix of exponentials along each axis."""

import numpy as np


def matrix(n, sign, norm):
    factor = {"backward": n if sign > 0 else 1, "forward": n if sign < 0 else 1, "ortho": n**0.5}
    return np.exp(sign * 2j * np.pi * np.outer(range(n), range(n)) / n) / factor[norm]


def along(x, m, axis):
    return np.moveaxis(np.moveaxis(x, axis, -1) @ m, -1, axis)


def transform(sign):
    def fftn(x, axes, norm="backward"):
        for axis in axes:
            x = along(x, matrix(x.shape[axis], sign, norm), axis)
        return x

    return fftn


def rfft(x, axis=-1, norm="backward"):
    n = x.shape[axis]
    return along(x, matrix(n, -1, norm)[:, : n // 2 + 1], axis)


def irfft(x, n, axis=-1, norm="backward"):
    m, h = matrix(n, 1, norm), n // 2 + 1
    twice = np.where((np.arange(h) == 0) | (np.arange(h) * 2 == n), 1.0, 2.0)[:, None]
    return along(x, m[:h] * twice, axis).real


ORACLES = {"fftn": transform(-1), "ifftn": transform(1), "rfft": rfft, "irfft": irfft}
