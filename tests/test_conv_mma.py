"""Convolution of halves, on tensor cores: the edges of fragments and tiles, in each order."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tensorgrad.core import OPS

from .test_attention_mma import halves
from .test_cuda_conv import all_of, samples
from .test_kernels import CUDA, check, exact_args, orders, placed

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_kernels")]  # minutes on the simulator


@halves
@pytest.mark.parametrize("channels", [1, 7, 8, 15, 16, 17, 31, 32, 33, 48])
def test_sums_of_any_length(dtype, channels, gpu):
    """Half a step of the inner dimension, one, and more; rows with and without vectorised loads."""
    for _ in orders(gpu):
        all_of(gpu, dtype, (1, channels, 5, 4), (17, channels, 1, 1))


@halves
@pytest.mark.parametrize("filters", [1, 17, 40, 130])
@pytest.mark.parametrize("windows", [1, 63, 64, 65, 127, 128, 129, 255, 256, 257])
def test_windows_of_any_number(dtype, filters, windows, gpu):
    """Each tile's columns, those of the images and those of the filters."""
    for _ in orders(gpu):
        all_of(gpu, dtype, (1, 3, 1, windows + 2), (filters, 3, 1, 3))
    all_of(gpu, dtype, (2, windows, 2, 3), (filters, windows, 1, 2))


@halves
@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (4, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3)])
@pytest.mark.parametrize("window", [(1, 1), (3, 3), (2, 5)])
def test_windows_of_any_kind(dtype, window, dilation, stride, gpu):
    how = {"stride": stride, "dilation": dilation, "padding": (3, 2), "activation": "relu"}
    all_of(gpu, dtype, (2, 6, 11, 16), (10, 3, *window), groups=2, **how)


@halves
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("which", "place"), list(itertools.product(range(2), (0, 17))))
def test_odd_numbers(dtype, which, place, bad, gpu):
    """Results are NaN or infinite exactly where the reference's are, and right elsewhere."""
    for name, sample in samples((2, 3, 6, 7), (5, 3, 3, 3), stride=(2, 1), padding=(1, 1)).items():
        op = OPS[name]
        exact = exact_args(op, sample, dtype)
        exact[which].reshape(-1)[place] = bad
        with np.errstate(invalid="ignore"):
            wanted = op.ref(*exact, **sample.params)
        got = CUDA[name](*placed(op, exact, dtype, gpu.from_host), **sample.params)
        for a, b in [(got, wanted)] if name != "conv2d_grad" else zip(got, wanted, strict=True):
            a = gpu.to_host(a)
            if a.shape == (2, 3, 6, 7):  # here a filter also meets zeros, beyond the result's edge
                b = np.where(np.isnan(a.astype(np.float64)), np.nan, b)
            check(f"{name} {dtype} {bad}", a, b, dtype, 100)
