"""Sizes beyond 2**31: which kernels count in 32 bits, and that those refuse what they cannot count.
Arrays are of one number, repeated by strides of 0, and so need no memory."""

import re
from pathlib import Path

import numpy as np
import pytest
from tensorgrad.kernels import shapes
from tensorgrad.kernels.cuda import attention, conv, embedding

import tensorgrad as tg

CUDA = Path(tg.__file__).parents[1] / "kernels" / "cuda"
BIG = 2**31 + 8
SMALL = {  # parameters of kernels that have 32 bits, and are no flag
    "activation": "which of four",
    "count": "arrays in a launch",
    "chunks": "of 4096 numbers",
    "last": "the place of a number in `hyper` (advance_step)",
    "n": "of one plane (scatter_places): its guard",
    "per": "windows (convolve_filters): its guard",
    "threshold": "a probability of dropout",
}
FLAG = re.compile(
    r"(has|needs)_\w+|along_outer|of_channels|on_device|conditional|nesterov|given|decoupled"
)


def ones(*shape, dtype="float32"):
    return np.broadcast_to(np.ones((), dtype), shape)


def test_kernels_count_in_64_bits():
    kernels, found = 0, set()
    for file in [*CUDA.glob("*.cu"), *CUDA.glob("*.cuh")]:
        text = re.sub(r"//.*", "", file.read_text())
        for given in re.findall(r"__global__[^{;]*?\w+\s*\(((?:[^()]|\([^()]*\))*)\)\s*\{", text):
            kernels += 1
            numbers = re.findall(r"\b(?:int|unsigned|short) (\w+)", given)
            found.update([n for n in numbers if not FLAG.fullmatch(n)])
    assert kernels > 50
    assert found == set(SMALL)


def test_kernels_that_count_in_32_bits_refuse_more():
    how = {"stride": (1, 1), "padding": (0, 0)}
    whole, square = {**how, "dilation": (1, 1)}, ones(3, 1, 2, 2)
    for rows, fits in ((2**15, True), (2**16, False)):
        images = ones(1, 1, rows, rows)
        assert shapes.pool_fits(images, size=(2, 2)) is fits
        plane = (rows, rows), 3, (0, 0), (rows - 1, rows - 1)
        assert conv._countable(1, 1, *plane) is fits
    assert conv._countable(1, 1, (8, 8), BIG, (0, 0), (7, 7)) is False
    assert conv._countable(BIG, 1, (8, 8), 1, (0, 0), (7, 7)) is False
    for far in ({"stride": (2**31, 1)}, {"dilation": (1, 2**31)}, {"padding": (2**29, 0)}):
        assert not shapes.conv_fits(ones(1, 1, 9, 9), square, **{**whole, **far})
        assert not shapes.conv_input_fits(
            ones(1, 3, 8, 8), square, size=(9, 9), groups=1, **{**whole, **far}
        )
    assert shapes.conv_fits(ones(1, 1, 9, 9), square, **whole)
    for n, fits in ((2**20, True), (2**32 - 1, False)):
        assert embedding._grad_fits(ones(n, 2), ones(n, dtype="int64"), count=3) is fits
        assert embedding._grad_fits(ones(4, 2), ones(4, dtype="int64"), count=n) is fits
    for heads, fits in ((2, True), (BIG, False)):
        q = ones(1, heads, 8, 16)
        assert attention._fits(q, q, q) is fits


@pytest.mark.slow
@pytest.mark.parametrize("step", [2**29, 2**31, 2**40, 2**62])
def test_windows_that_step_beyond_the_image(backend, step):
    """There is one of them."""
    x = tg.tensor(np.arange(2 * 36, dtype="float32").reshape(1, 2, 6, 6), requires_grad=True)
    w = tg.tensor(np.ones((3, 2, 3, 3), "float32"), requires_grad=True)
    with tg.use_kernels("always"):
        pairs = [
            (tg.conv2d(x, w, stride=step), tg.conv2d(x[:, :, :3, :3], w)),
            (tg.conv2d(x, w[:, :, :1, :1], dilation=step), tg.conv2d(x, w[:, :, :1, :1])),
            (tg.max_pool2d(x, 2, step), tg.max_pool2d(x[:, :, :2, :2], 2)),
            (tg.avg_pool2d(x, 2, (step, 1)), tg.avg_pool2d(x[:, :, :2], 2, 1)),
        ]
        for ours, want in pairs:
            assert ours.shape == want.shape
            np.testing.assert_allclose(ours.numpy(), want.numpy(), rtol=1e-6)
            gradients = []
            for y in (ours, want):
                x.grad = w.grad = None
                (y * y).sum().backward()
                gradients.append([t.grad.numpy() for t in (x, w) if t.grad is not None])
            for a, b in zip(*gradients, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.host
def test_elements_beyond_2_31():
    x = tg.broadcast_to(tg.tensor([3.0]), (BIG,))
    assert x.size == len(x) == BIG
    assert x[BIG - 1].item() == x[-BIG].item() == 3
    assert x[2**31 :].shape == (8,)
    assert x[:: 2**31].tolist() == [3, 3]
    assert x[BIG - 3 :: -(2**31)].tolist() == [3, 3]
    ids = tg.tensor(np.array([BIG - 1, 0, -1]))
    assert x[ids].tolist() == tg.take_along_axis(x, ids, 0).tolist() == [3, 3, 3]
    table = tg.broadcast_to(tg.tensor([[1.0, 2.0]]), (BIG, 2))
    assert tg.embedding(table, ids[:2]).tolist() == [[1, 2]] * 2
    assert table.T.shape == (2, BIG)
    assert table.reshape((1, BIG, 2))[:, 2**31 + 1].tolist() == [[1, 2]]
    with pytest.raises(IndexError):
        x[BIG]
