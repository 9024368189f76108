"""Convolution and pooling: against PyTorch, in layers, in training, and their errors."""

import itertools

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn


def draw(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


GEOMETRY = [
    {"stride": s, "padding": p, "dilation": d, "groups": g}
    for s, p, d, g in itertools.product((1, (2, 1)), (0, (1, 2)), (1, (1, 2)), (1, 2))
]


@pytest.mark.parametrize("geometry", GEOMETRY, ids=str)
def test_conv2d_is_pytorchs(geometry):
    torch = pytest.importorskip("torch")
    arrays = [draw(3, 4, 9, 8), draw(6, 4 // geometry["groups"], 3, 2, seed=1), draw(6, seed=2)]
    ours = [tg.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = tg.conv2d(*ours, **geometry), torch.nn.functional.conv2d(*theirs, **geometry)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    g = draw(*y.shape, seed=3)
    y.backward(g)
    z.backward(torch.tensor(g))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [None, 1, (2, 1)])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling_is_pytorchs(kind, stride, padding):
    torch = pytest.importorskip("torch")
    x = np.round(draw(2, 3, 7, 8) * 3)  # ties: the first of the largest takes the gradient
    ours, theirs = tg.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = getattr(tg, f"{kind}_pool2d")(ours, (3, 2), stride, padding)
    z = getattr(torch.nn.functional, f"{kind}_pool2d")(theirs, (3, 2), stride, padding)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy())
    g = draw(*y.shape, seed=3)
    y.backward(g)
    z.backward(torch.tensor(g))
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), atol=1e-12)


def test_nan_wins_the_pool(backend):
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    x[0, 0, 1, 0] = x[0, 0, 1, 1] = np.nan
    x = tg.tensor(x, backend=backend, requires_grad=True)
    y = tg.max_pool2d(x, 2)
    np.testing.assert_array_equal(y.numpy(), [[[[np.nan, 7], [13, 15]]]])
    y.sum().backward()
    assert x.grad.numpy()[0, 0, 1].tolist() == [1, 0, 0, 1]  # the first NaN


@pytest.mark.slow
@pytest.mark.parametrize("name", ["conv2d", "conv2d_grad", "conv2d_input", "conv2d_weight"])
@pytest.mark.parametrize(
    ("whole", "long"),
    [
        (60, 1),
        (400, 1),
        (1 << 18, 1000),
    ],
)
def test_tiles_of_any_size_give_the_same(name, whole, long, monkeypatch):
    """Tiles of several rows of an image, or of several images, as for large and deep ones."""
    from tensorgrad.kernels.cpu import conv, conv_tiles

    from .sized.conv import SIZED

    monkeypatch.setattr(conv_tiles, "_WHOLE", whole)
    monkeypatch.setattr(conv_tiles, "_LONG", long)
    monkeypatch.setattr(conv_tiles, "_TILE", 1)
    conv_tiles.plan_of.cache_clear()
    for args, params in SIZED[name](700):
        found = getattr(conv, name)(*args, **params)
        expected = tg.core.OPS[name].ref(*args, **params)
        pairs = (
            zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
        )
        for a, b in pairs:
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11)
    conv_tiles.plan_of.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "activation"), [(1, "tanh"), (8, "none")])
def test_results_do_not_depend_on_the_number_of_threads(groups, activation):
    import numba

    x = draw(9, 8, 20, 20).astype("float32")
    w = draw(16, 8 // groups, 3, 3, seed=1).astype("float32")
    how = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": groups}
    before, seen = numba.get_num_threads(), set()
    try:
        for threads in {1, before}:
            numba.set_num_threads(threads)
            y = tg.core.OPS["conv2d"](x, w, **how, activation=activation)
            more = {"activation": activation, "needs": (True,) * 3}
            parts = tg.core.OPS["conv2d_grad"](y, x, w, y, **how, **more)
            seen.add(b"".join(a.tobytes() for a in (y, *parts)))
    finally:
        numba.set_num_threads(before)
    assert len(seen) == 1


@pytest.mark.slow
def test_channel_by_channel():
    """Filters that see one channel each, against the reference in float64: of sizes around a task's
    channels, a row that no window sees, padding wider than a window, phases without a place."""
    from tensorgrad.kernels.cpu import conv

    channels, filters = (1, 2, 15, 16, 17, 33), (1, 2, 4, 5)
    strides, paddings, windows = ((1, 1), (2, 2), (3, 1)), ((0, 0), (1, 2), (4, 3)), (1, 2, 3, 5)
    table = itertools.product(strides, paddings, windows, ((1, 1), (2, 1)))
    for i, (stride, padding, window, dilation) in enumerate(table):
        c, many = channels[i % 6], filters[i % 4]
        how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": c}
        x = draw(1 + i % 3, c, 9 + i % 4, 9 + i % 31, seed=i)
        w, b = draw(c * many, 1, window, 2, seed=i + 1), draw(c * many, seed=2)
        x, w, b = [a.astype("float32") for a in (x, w, b)]
        y = conv.conv2d(x, w, b, **how)
        g = draw(*y.shape, seed=3).astype("float32")
        more = {"activation": "none", "needs": (True,) * 3}
        found = y, *conv.conv2d_grad(g, x, w, y, **how, **more)
        g, x, w, b, y = [a.astype("float64") for a in (g, x, w, b, y)]
        expected = (
            tg.core.OPS["conv2d"].ref(x, w, b, **how, activation="none"),
            *tg.core.OPS["conv2d_grad"].ref(g, x, w, y, **how, **more),
        )
        for a, e in zip(found, expected, strict=True):
            assert a.dtype == np.float32
            np.testing.assert_allclose(a, e, rtol=2e-5, atol=2e-5, err_msg=str((c, many, how)))


@pytest.mark.host
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "gelu", "softplus", tg.exp])
def test_activations_in_the_op_or_after_it(activation):
    layer = nn.Conv(4, 3, stride=2, padding=1, activation=activation, bias_init="ones")
    x = draw(2, 6, 5, 5).astype("float32")
    y = layer(x)
    z = tg.conv2d(x, layer.weight, stride=2, padding=1) + layer.bias.reshape(4, 1, 1)
    f = activation if callable(activation) else getattr(tg, activation)
    np.testing.assert_allclose(y.numpy(), f(z).numpy(), rtol=1e-5, atol=1e-6)


def stripes(n):
    """Images of horizontal and vertical stripes, and which they are."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 2, n)
    wave = np.sign(np.sin(np.arange(8)[None] * 1.6 + rng.uniform(0, 6, n)[:, None]))
    x = np.where(kinds[:, None, None] == 1, wave[:, None, :], wave[:, :, None])
    return (x[:, None] + rng.normal(0, 0.5, (n, 1, 8, 8))).astype("float32"), kinds


def test_a_small_network_learns():
    tg.seed(0)
    x, y = stripes(256)
    layers = [nn.Conv(4, 3, padding="same", activation="relu"), nn.MaxPool2d(2), nn.Flatten()]
    model = nn.Sequential([*layers, nn.Dense(2)])
    model.compile(tg.optim.Adam(lr=0.01), "cross_entropy", metrics=["accuracy"])
    model.fit(x[:192], y[:192], epochs=15, batch_size=32, verbose=0)
    assert model.evaluate(x[192:], y[192:])["accuracy"] > 0.95


def test_layers():
    x = draw(2, 3, 6, 7).astype("float32")
    layer = nn.Conv(4, (3, 5), stride=(1, 2), padding=(1, 2), groups=1, activation="tanh")
    assert layer(x).shape == (2, 4, 6, 4)
    assert layer.weight.shape == (4, 3, 3, 5)
    bound = np.sqrt(6 / (3 * 15 + 4 * 15))
    assert 0.9 * bound < np.abs(layer.weight.numpy()).max() <= bound
    assert nn.Conv2d(3, 4, 3, bias=False).bias is None
    assert nn.Conv2d(3, 4, 3, padding="same", dilation=2)(x).shape == (2, 4, 6, 7)
    assert nn.GlobalAvgPool()(x).shape == (2, 3)
    assert nn.AvgPool2d(2, stride=1)(x).shape == (2, 3, 5, 6)
    assert "(4, kernel_size=(3, 5), stride=(1, 2), padding=(1, 2), activation=" in repr(layer)
    assert nn.Conv(2, 1)(np.ones((1, 1, 2, 2), int)).dtype == np.float32


WRONG = {
    "channels": (
        lambda x: nn.Conv2d(5, 4, 3)(x),
        "for in_channels = 5, the length of axis 1;",
    ),
    "axes": (lambda x: nn.Conv2d(3, 4, 3)(x[:, 0]), r"one channel needs its axis: x\[:, None\]"),
    "flat": (lambda x: nn.MaxPool2d(2)(x[0, 0]), r"\(n, channels, height, width\)"),
    "kernel": (lambda x: nn.Conv(4, 0), "kernel_size=.* must be a whole number"),
    "kernel 3": (lambda x: nn.Conv2d(3, 4, (3, 3, 3)), "kernel_size=.* must be a whole number"),
    "kernel 4": (
        lambda x: nn.Conv(4, (3,) * 4),
        "kernel_size=.* must be a whole number, or 1 to 3",
    ),
    "axes of stride": (lambda x: nn.Conv(4, 3, (2, 2, 2))(x), "takes volumes"),
    "same": (lambda x: nn.Conv(4, 2, 2, padding="same")(x), "same. needs stride 1"),
    "Keras's form": (lambda x: nn.Conv2d(4, 3), r"kernel_size'. Conv2d\(3, 16, 3\) is 3 channels"),
    "Keras's words": (lambda x: nn.Conv2d(filters=4, kernel_size=3), r"Keras's form Conv\(16, 3"),
    "PyTorch's words": (lambda x: nn.Conv(3, out_channels=4), r"PyTorch's form Conv2d\(3, 16, 3"),
    "word": (lambda x: nn.Conv(4, 2, padding="full"), "Known: same, valid"),
    "groups": (lambda x: nn.Conv(4, 3, groups=2)(x), "3 channels cannot be cut into 2 groups"),
    "filters": (lambda x: nn.Conv(3, 3, groups=2), "3 filters cannot be cut into 2 groups"),
    "large": (lambda x: nn.Conv(4, 9)(x), "do not fit into an image of"),
    "pool": (lambda x: nn.MaxPool2d(8)(x), "do not fit into an image of"),
    "padding": (lambda x: nn.MaxPool2d(2, padding=2)(x), "more than half of the window"),
    "weights": (lambda x: tg.conv2d(x, np.ones((4, 2, 3, 3))), "x has 3 channels; weights of"),
    "rank": (lambda x: tg.conv2d(x, np.ones((4, 3, 3))), r"weights are \(out, channels / groups"),
    "bias": (lambda x: tg.conv2d(x, np.ones((4, 3, 3, 3)), np.ones(3)), "w has 4 filters"),
    "stride": (lambda x: tg.conv2d(x, np.ones((4, 3, 3, 3)), stride=0), "1 or more"),
    "activation": (
        lambda x: tg.conv2d(x, np.ones((4, 3, 3, 3)), activation="softmax"),
        "none, relu, sigmoid, tanh",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_errors(name):
    call, message = WRONG[name]
    with pytest.raises(tg.TensorgradError, match=message):
        call(draw(2, 3, 6, 7))


ONE = {
    "Conv": (3, 2, 3), "ConvTranspose": (3, 2, 3), "MaxPool": (2,), "AvgPool": (2,),
    "LPPool": (2, 2), "AdaptiveAvgPool": (2,), "AdaptiveMaxPool": (2, True), "ZeroPad": (1,),
    "ReflectionPad": (1,), "InstanceNorm": (3,), "Dropout": (0.0,),
}  # fmt: skip


def test_what_undoes_windows_takes_one_example_as_well():
    rng = np.random.default_rng(0)
    for axes in (1, 2, 3):
        layer = getattr(nn, f"MaxUnpool{axes}d")(2)
        x = rng.integers(0, 99, (2, 3, *(4, 6, 8)[:axes])) * 1.0
        pooled, at = getattr(tg, f"max_pool{axes}d")(x, 2, return_indices=True)
        many = layer(pooled, at)
        np.testing.assert_array_equal(layer(pooled[1], at[1]).numpy(), many.numpy()[1])
        np.testing.assert_array_equal(
            layer(pooled.tolist()[1], at.tolist()[1], x.shape[1:]).numpy(), many.numpy()[1]
        )
        with pytest.raises(tg.ShapeError, match=r"max_unpool.*indices of shape"):
            layer(pooled[1], at)
    columns = nn.Unfold(2)(x := rng.normal(size=(2, 3, 4, 5)))
    np.testing.assert_array_equal(nn.Unfold(2)(x[1]).numpy(), columns.numpy()[1])
    fold = nn.Fold((4, 5), 2)
    np.testing.assert_array_equal(fold(columns[1]).numpy(), fold(columns).numpy()[1])


@pytest.mark.parametrize("name", ONE)
def test_one_example_may_come_without_its_axis(name):
    rng = np.random.default_rng(0)
    for axes in (1, 2, 3):
        layer = getattr(nn, f"{name}{axes}d")(*ONE[name])
        x = rng.normal(size=(2, 3, *(4, 5, 6)[:axes])).astype("float32")
        many, one = layer(x), layer(x[1])
        parts = zip(many, one, strict=True) if isinstance(many, tuple) else [(many, one)]
        for batch, alone in parts:
            np.testing.assert_allclose(alone.numpy(), batch.numpy()[1], rtol=1e-5, atol=1e-6)
    if name == "Conv":  # what is rather examples without channels, or says nothing of them
        for layer in (nn.Conv2d(2, 4, 3), nn.Conv2d(None, 4, 3), nn.Conv(4, (3, 3))):
            with pytest.raises(tg.ShapeError):
                layer(x[0, ..., 0])
