"""Convolution, pooling and resampling over any number of axes beside PyTorch in float64: values and
two orders of gradients, with options drawn at random."""

import itertools

import numpy as np
import pytest

import tensorgrad as tg

torch = pytest.importorskip("torch")
F = torch.nn.functional


def compare(ours, theirs, *arrays, order=2, what=""):
    """Two functions of arrays that return a tensor."""
    a = [tg.tensor(x, requires_grad=True) for x in arrays]
    b = [torch.tensor(x, requires_grad=True) for x in arrays]
    y, z = ours(*a), theirs(*b)
    same(y, z, what)
    if not y.size:
        return
    seed = np.random.default_rng(0).normal(size=y.shape)
    first = tg.grad(lambda xs: (ours(*xs) * seed).sum())
    gb = torch.autograd.grad((z * torch.tensor(seed)).sum(), b, create_graph=True)
    for g, t in zip(first(a), gb, strict=True):
        same(g, t, f"gradient, {what}")
    if order < 2 or not any(g.requires_grad for g in gb):
        return
    second = tg.grad(lambda xs: sum([(g * g).sum() for g in first(xs)]))(a)
    gb2 = torch.autograd.grad(sum([(g * g).sum() for g in gb]), b, allow_unused=True)
    for g, t in zip(second, gb2, strict=True):
        same(g, torch.zeros(g.shape) if t is None else t, f"second gradient, {what}")


def same(y, z, what=""):
    z = z.detach().numpy()
    assert y.shape == z.shape, what
    np.testing.assert_allclose(y.numpy(), z, rtol=1e-10, atol=1e-11, err_msg=str(what))


def drawn(rng, axes, least, below):
    """One number for all axes, or one for each."""
    each = tuple(map(int, rng.integers(least, below, axes)))
    return each[0] if rng.random() < 0.3 else each


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_convolution(axes, seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 3))
    x = rng.normal(size=(2, 2 * groups, *rng.integers(5, 8, axes)))
    w = rng.normal(size=(groups * 2, 2, *rng.integers(1, 4, axes)))
    how = {"dilation": drawn(rng, axes, 1, 3), "groups": groups}
    if seed % 3:
        how |= {"stride": drawn(rng, axes, 1, 4), "padding": drawn(rng, axes, 0, 3)}
    else:
        how |= {"padding": "same" if seed else "valid"}
    args = (x, w, rng.normal(size=len(w)))[: 2 + seed % 2]
    name = f"conv{axes}d"
    f, g = getattr(tg, name), getattr(F, name)
    compare(lambda *xs: f(*xs, **how), lambda *xs: g(*xs, **how), *args, what=how)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_transposed_convolution(axes, seed):
    rng = np.random.default_rng(seed)
    groups = int(rng.integers(1, 3))
    x = rng.normal(size=(2, 2 * groups, *rng.integers(3, 5, axes)))
    w = rng.normal(size=(2 * groups, 3, *rng.integers(1, 4, axes)))
    stride, dilation = drawn(rng, axes, 1, 4), drawn(rng, axes, 1, 3)
    most = np.broadcast_to(np.maximum(stride, dilation), axes)
    how = {
        "stride": stride,
        "dilation": dilation,
        "padding": drawn(rng, axes, 0, 2),
        "output_padding": tuple([int(rng.integers(0, m)) for m in most]),
        "groups": groups,
    }
    args = (x, w, rng.normal(size=3 * groups))[: 2 + seed % 2]
    name = f"conv_transpose{axes}d"
    f, g = getattr(tg, name), getattr(F, name)
    compare(lambda *xs: f(*xs, **how), lambda *xs: g(*xs, **how), *args, what=how)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_pooling(axes, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 4, (2, 2, *rng.integers(5, 9, axes))).astype(float)  # with ties
    size, stride = drawn(rng, axes, 2, 4), drawn(rng, axes, 1, 5)
    how = {"stride": stride, "padding": drawn(rng, axes, 0, 2), "ceil_mode": bool(seed % 2)}
    if seed == 2:
        how = {}
    f, g = getattr(tg, f"avg_pool{axes}d"), getattr(F, f"avg_pool{axes}d")
    mean = {**how, "count_include_pad": seed % 4 < 2}
    compare(lambda x: f(x, size, **mean), lambda x: g(x, size, **mean), x, what=(size, mean))
    if axes > 1:
        mean["divisor_override"] = 5
        compare(lambda x: f(x, size, **mean), lambda x: g(x, size, **mean), x, what=(size, mean))
    if seed % 4 == 3:
        how["dilation"] = drawn(rng, axes, 1, 3)
    if seed == 5:
        x[0, 0].reshape(-1)[7:8] = np.nan  # of several in a window the places would differ
    f, g = getattr(tg, f"max_pool{axes}d"), getattr(F, f"max_pool{axes}d")
    compare(lambda x: f(x, size, **how), lambda x: g(x, size, **how), x, what=(size, how))
    where = g(torch.tensor(x), size, **how, return_indices=True)[1].numpy()
    np.testing.assert_array_equal(f(x, size, **how, return_indices=True)[1].numpy(), where)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_adaptive_pooling_and_its_inverse(axes, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 9, (2, 2, *rng.integers(4, 8, axes))).astype(float)
    size = (2,) * axes if seed == 0 else drawn(rng, axes, 1, 9)
    f, g = getattr(tg, f"adaptive_avg_pool{axes}d"), getattr(F, f"adaptive_avg_pool{axes}d")
    compare(lambda x: f(x, size), lambda x: g(x, size), x, what=size)
    f, g = getattr(tg, f"adaptive_max_pool{axes}d"), getattr(F, f"adaptive_max_pool{axes}d")
    compare(lambda x: f(x, size), lambda x: g(x, size), x, what=size)
    where = g(torch.tensor(x), size, return_indices=True)[1].numpy()
    np.testing.assert_array_equal(f(x, size, return_indices=True)[1].numpy(), where)
    y, where = F.__dict__[f"max_pool{axes}d"](torch.tensor(x), 2, 2, return_indices=True)
    f, g = getattr(tg, f"max_unpool{axes}d"), getattr(F, f"max_unpool{axes}d")
    to = {"output_size": x.shape[2:]} if np.mod(x.shape, 2).any() else {}
    ours = lambda y: f(y, where.numpy(), 2, 2, **to)  # noqa: E731
    compare(ours, lambda y: g(y, where, 2, 2, **to), y.numpy(), what=(x.shape, to))


LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_interpolate(axes, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, 2, *rng.integers(2, 6, axes)))
    to = {"size": tuple(map(int, rng.integers(1, 9, axes)))}
    if seed == 1:
        # none that doubles a size but is not 2: PyTorch's "nearest" differs in its own gradient
        to = {"scale_factor": (1.6, 0.7, 2.6)[:axes]}
    if seed == 2:
        to = {"scale_factor": 2.0}
    modes = ["nearest", "nearest-exact", "area", LINEAR[axes], *["bicubic"] * (axes == 2)]
    for mode in modes:
        for align in (False, True) if mode in (LINEAR[axes], "bicubic") else (None,):
            how = {**to, "mode": mode, **({} if align is None else {"align_corners": align})}
            f, g = tg.interpolate, F.interpolate
            compare(lambda x: f(x, **how), lambda x: g(x, **how), x, order=1, what=how)


@pytest.mark.parametrize(
    ("axes", "mode"), [*itertools.product((2, 3), ("bilinear", "nearest")), (2, "bicubic")]
)
def test_grid_sample(axes, mode):
    rng = np.random.default_rng(axes)
    x = rng.normal(size=(2, 2, *rng.integers(2, 5, axes)))
    grid = rng.uniform(-2, 2, (2, *rng.integers(2, 4, axes), axes))
    for padding, align in itertools.product(("zeros", "border", "reflection"), (False, True)):
        how = {"mode": mode, "padding_mode": padding, "align_corners": align}
        f, g = tg.grid_sample, F.grid_sample
        compare(lambda *xs: f(*xs, **how), lambda *xs: g(*xs, **how), x, grid, order=1, what=how)
    grid[:, 0, 0] = np.nan  # is passed on
    assert np.isnan(tg.grid_sample(x, grid, mode).numpy()[:, :, 0, 0]).all()
    theta, size = rng.normal(size=(2, axes, axes + 1)), x.shape
    for align in (False, True):
        f, g = tg.affine_grid, F.affine_grid
        compare(lambda t: f(t, size, align), lambda t: g(t, size, align), theta)


def test_shuffles_and_local_response_norm():
    x = np.random.default_rng(0).normal(size=(2, 8, 4, 6))
    for name, n in (("pixel_shuffle", 2), ("pixel_unshuffle", 2)):
        f, g = getattr(tg, name), getattr(F, name)
        compare(lambda x: f(x, n), lambda x: g(x, n), x)
    f, g = tg.local_response_norm, F.local_response_norm
    compare(lambda x: f(x, 3, 2.0), lambda x: g(x, 3, 2.0), x)
    channels = torch.channel_shuffle(torch.tensor(x), 4)
    np.testing.assert_array_equal(tg.channel_shuffle(x, 4).numpy(), channels.numpy())


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_pad(mode, axes):
    rng = np.random.default_rng(axes)
    x = rng.normal(size=(2, 2, *[4] * axes))
    widths = rng.integers(0, 4, (axes, 2))
    ours = ((0, 0), (0, 0), *map(tuple, widths.tolist()))
    theirs = tuple(widths[::-1].ravel().tolist())
    compare(lambda x: tg.pad(x, ours, mode), lambda x: F.pad(x, theirs, mode), x, what=widths)


def test_no_examples():
    x, v, at = np.zeros((0, 2, 4, 4)), np.zeros((0, 2, 4, 4, 4)), np.zeros((0, 2, 4, 4), int)
    w, grid = np.zeros((2, 2, 2, 2, 2)), np.zeros((0, 3, 5, 2))
    for y, shape in (
        (tg.conv3d(v, w), (0, 2, 3, 3, 3)),
        (tg.conv_transpose3d(v, w), (0, 2, 5, 5, 5)),
        (tg.conv_transpose1d(x[..., 0], w[..., 0, 0]), (0, 2, 5)),
        (tg.max_pool3d(v, 2), (0, 2, 2, 2, 2)),
        (tg.max_pool2d(x, 3, ceil_mode=True), (0, 2, 2, 2)),
        (tg.avg_pool3d(v, 3, ceil_mode=True), (0, 2, 2, 2, 2)),
        (tg.adaptive_avg_pool2d(x, 3), (0, 2, 3, 3)),
        (tg.adaptive_max_pool3d(v, 3), (0, 2, 3, 3, 3)),
        (tg.max_unpool2d(x, at, 2), (0, 2, 8, 8)),
        (tg.fractional_max_pool2d(x, 2, 3), (0, 2, 3, 3)),
        (tg.interpolate(x, 7, mode="bicubic"), (0, 2, 7, 7)),
        (tg.grid_sample(x, grid), (0, 2, 3, 5)),
        (tg.pixel_unshuffle(x, 2), (0, 8, 2, 2)),
        (tg.local_response_norm(x, 3), (0, 2, 4, 4)),
    ):
        assert y.shape == shape
