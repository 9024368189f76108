"""Convolution on the GPU: what the samples of test_kernels.py do not reach."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from tensorgrad.kernels.cuda import conv as cuda
from tensorgrad.kernels.cuda import device

from tensorgrad import backend as backends
from tensorgrad.core import OPS
from tensorgrad.ops.conv import extent
from tensorgrad.ops.samples import Sample, draw

from .test_kernels import CUDA, check, orders, run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("own_kernels")]  # minutes on the simulator

PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}


def samples(x, w, b=True, activation="none", **how):
    """Of the forward pass, of the backward pass and of both of its parts."""
    how = {**PLAIN, **how}
    out = extent(x[2:], w[2:], how["stride"], how["padding"], how["dilation"])
    x, w, b = draw(x), draw(w, seed=1), draw(w[:1], seed=2) if b else None
    g = draw((len(x), len(w), *out), seed=3)
    y = draw(g.shape, 0.1, 0.9, 4)
    return {
        "conv2d": Sample((x, w, b), {**how, "activation": activation}),
        "conv2d_grad": Sample(
            (g, x, w, y), {**how, "activation": activation, "needs": (True, True, b is not None)}
        ),
        "conv2d_input": Sample((g, w), {"size": x.shape[2:], **how}),
        "conv2d_weight": Sample((x, g), {"window": w.shape[2:], **how}),
    }


def all_of(gpu, dtype, *shapes, **how):
    for name, sample in samples(*shapes, **how).items():
        assert run(OPS[name], CUDA[name], sample, dtype, gpu)


@pytest.mark.parametrize("filters", [1, 8, 9, 16, 17, 32, 33, 64, 65, 96, 128, 129, 192])
def test_filters_of_any_number(filters, gpu):
    """Every tile size, exactly filled and exceeded by one."""
    for dtype, inner in (("float32", 3), ("float16", 8), ("bfloat16", 5), ("float64", 4)):
        all_of(gpu, dtype, (2, inner, 6, 7), (filters, inner, 3, 2), padding=(1, 0))
        all_of(gpu, dtype, (2, filters, 5, 4), (inner, filters, 2, 2))


def test_each_tile_is_tried():
    like = SimpleNamespace
    for dtype, least in (("float32", 16), ("float64", 8)):
        x = like(dtype=np.dtype(dtype), itemsize=np.dtype(dtype).itemsize)
        used = {cuda._tile(x, n)[:2] for n in (1, 8, 9, 16, 17, 32, 33, 64, 65, 96, 128, 192)}
        assert used == set(cuda._TILES)
        assert cuda._tile(x, 1)[2] == least
        for n in range(1, 400):
            high = cuda._tile(x, n)[2]
            assert -(-n // high) * high < n + 4 * least
        assert cuda._tile(x, 1, 9)[:2] == (1, 4)  # one filter to a group: few columns, too


@pytest.mark.parametrize("stride", [(1, 1), (2, 1), (2, 2), (3, 2), (4, 4), (4, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 3), (4, 2)])
@pytest.mark.parametrize("window", [(1, 1), (3, 3), (2, 5)])
def test_windows_of_any_kind(window, dilation, stride, gpu):
    """Filter taps in all phases of the stride, in some, and in none."""
    for padding, size in (((0, 0), (9, 17)), ((3, 2), (11, 16))):
        how = {"stride": stride, "dilation": dilation, "padding": padding}
        all_of(gpu, "float32", (2, 3, *size), (5, 3, *window), **how)


@pytest.mark.parametrize("groups", [2, 3, 18])
def test_groups(groups, gpu):
    for dtype, activation in (("float32", "relu"), ("float16", "tanh")):
        all_of(gpu, dtype, (3, 18, 6, 6), (36, 18 // groups, 3, 3), activation=activation,
               groups=groups, padding=(1, 1), stride=(2, 1))  # fmt: skip


@pytest.mark.parametrize("size", [(16, 16), (15, 16), (20, 31)])
@pytest.mark.parametrize("dtype", device.DTYPES)
def test_long_sums_are_taken_in_parts(dtype, size, gpu):
    """Split-K over windows, with and without vectorised loads; the last part is shorter."""
    windows = 4 * size[0] * size[1]
    assert -(-windows // cuda._part(windows, 1, 162)) > 3
    all_of(gpu, dtype, (4, 3, *size), (6, 3, 3, 3), padding=(1, 1), activation="sigmoid")


def test_parts_are_neither_long_nor_many():
    for windows, tiles in itertools.product((1, 255, 257, 10**5, 10**7), (1, 7, 10**4)):
        per = cuda._part(windows, tiles, size := 4096 * tiles)
        assert per % 32 == 0
        assert per >= 256
        assert -(-windows // per) * size < cuda._SUMMED + size
        assert per <= 8192 or windows * size > cuda._SUMMED * 8000


@pytest.mark.parametrize("needs", list(itertools.product((True, False), repeat=3)))
@pytest.mark.parametrize("activation", ["none", "relu", "sigmoid", "tanh"])
def test_conv_grad_gives_what_is_needed(activation, needs, gpu):
    sample = samples((2, 3, 5, 5), (4, 3, 2, 2), activation=activation)["conv2d_grad"]
    sample = Sample(sample.args, {**sample.params, "needs": needs})
    assert run(OPS["conv2d_grad"], CUDA["conv2d_grad"], sample, "float32", gpu)


def test_images_that_windows_do_not_cover_or_leave_out(gpu):
    """Rows after the last window, and windows entirely in the padding."""
    all_of(gpu, "float32", (2, 3, 10, 11), (4, 3, 2, 2), stride=(4, 3))
    all_of(gpu, "float32", (1, 2, 2, 3), (3, 2, 1, 1), padding=(3, 4))
    all_of(gpu, "float32", (1, 1, 1, 1), (1, 1, 1, 1), b=False)


def test_wide_strides_of_images_gradients_are_left_to_the_reference(gpu):
    made = samples((2, 3, 10, 10), (4, 3, 5, 5), stride=(5, 5))
    taken = {"conv2d": True, "conv2d_weight": True, "conv2d_input": False, "conv2d_grad": False}
    for name, sample in made.items():
        assert run(OPS[name], CUDA[name], sample, "float32", gpu) == taken[name]
    args, params = made["conv2d_grad"]
    sample = Sample(args, {**params, "needs": (False, True, True)})
    assert run(OPS["conv2d_grad"], CUDA["conv2d_grad"], sample, "float32", gpu)


def test_what_an_int_cannot_count_is_left_to_the_reference():
    def image(*shape):
        return SimpleNamespace(ndim=4, shape=shape, size=1, dtype=np.dtype(np.float32))

    fits = cuda._conv_fits
    w = image(8, 8, 3, 3)
    assert fits(image(1 << 20, 8, 3, 3), w)
    assert not fits(image(1 << 20, 8, 60, 60), w)  # windows
    assert fits(image(1, 8, 1 << 13, 1 << 14), w)
    assert not fits(image(1, 8, 1 << 14, 1 << 14), w)  # numbers of an image
    assert not fits(image(1, 8, 3, 3), w, padding=(1 << 28, 0), stride=(1 << 20, 1))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("which", "place"), list(itertools.product(range(3), (0, 17))))
def test_odd_numbers_in_convolution(which, place, bad, gpu):
    """Results are NaN or infinite exactly where the reference's are, and right elsewhere."""
    how = {"stride": (2, 1), "padding": (1, 1), "activation": "relu"}
    for name, sample in samples((2, 3, 6, 7), (5, 3, 3, 3), **how).items():
        arrays = [a.astype(np.float32) for a in sample.args]
        changed = arrays[which % len(arrays)].reshape(-1)
        changed[place % changed.size] = bad
        wanted = OPS[name].ref(*[a.astype(np.float64) for a in arrays], **sample.params)
        got = CUDA[name](*[gpu.from_host(a) for a in arrays], **sample.params)
        pairs = [(got, wanted)] if name != "conv2d_grad" else zip(got, wanted, strict=True)
        for a, b in pairs:
            a = gpu.to_host(a)
            if a.shape == (2, 3, 6, 7):  # here a filter also meets zeros, beyond the result's edge
                b = np.where(np.isnan(a), np.nan, b)
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_arrays_that_are_not_aligned(dtype, gpu):
    """Whole vectors, the first of which is not aligned for vectorised loads."""
    kind = backends.dtype_of(dtype)
    made = samples((2, 8, 8, 8), (16, 8, 3, 3), padding=(1, 1))
    for name, start in itertools.product(made, (0, 1)):
        given, exact = [], []
        for a in made[name].args:
            whole = np.zeros(a.size + 1, kind)
            whole[start : start + a.size] = a.ravel()
            given.append(gpu.from_host(whole)[start : start + a.size].reshape(a.shape))
            exact.append(gpu.to_host(given[-1]).astype(np.float64))
        got = CUDA[name](*given, **made[name].params)
        wanted = OPS[name].ref(*exact, **made[name].params)
        pairs = [(got, wanted)] if name != "conv2d_grad" else zip(got, wanted, strict=True)
        for a, b in pairs:
            check(name, gpu.to_host(a), b, dtype, 128)


def test_a_gradient_with_strides(gpu):
    (g, *rest), params = samples((2, 3, 6, 6), (4, 3, 3, 3), activation="tanh")["conv2d_grad"]
    g, *rest = [a.astype(np.float32) for a in (g, *rest)]
    turned = gpu.from_host(np.ascontiguousarray(g.T)).T
    args = (turned, *[gpu.from_host(a) for a in rest])
    assert CUDA["conv2d_grad"].guard(sized=False)(args, params)
    wanted = OPS["conv2d_grad"].ref(g, *rest, **params)
    for a, b in zip(CUDA["conv2d_grad"](*args, **params), wanted, strict=True):
        check("conv2d_grad", gpu.to_host(a), b, "float32", 36)


def test_the_same_bits_in_any_order_of_threads(gpu):
    """With several parts of split-K, tiles and phases of the stride."""
    for dtype in ("float32", "float16"):
        how = {"stride": (2, 2), "padding": (1, 1), "activation": "relu"}
        for name, sample in samples((5, 20, 17, 16), (40, 20, 3, 3), **how).items():
            args = [a.astype(dtype) for a in sample.args]
            seen = set()
            for _ in orders(gpu):
                got = CUDA[name](*[gpu.from_host(a) for a in args], **sample.params)
                got = got if isinstance(got, tuple) else (got,)
                seen.add(b"".join(gpu.to_host(a).tobytes() for a in got))
            assert len(seen) == 1
