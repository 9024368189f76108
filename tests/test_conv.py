"""Convolution and pooling beside PyTorch's, their layers, a network that learns, their errors."""

import itertools

import numpy as np
import pytest

import tensorgrad as tg

rng = np.random.default_rng(0)


def leaves(*arrays):
    return [tg.tensor(a, requires_grad=True) for a in arrays]


def beside_torch(ours, theirs, *arrays):
    """Values and first gradients for a random cotangent, and the gradients of their squares."""
    torch = pytest.importorskip("torch")
    a, b = leaves(*arrays), [torch.tensor(x, requires_grad=True) for x in arrays]
    y, z = ours(*a), theirs(*b)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-12, atol=1e-12)
    seed = rng.normal(size=y.shape)
    y.backward(seed, create_graph=True)
    gs = torch.autograd.grad(z, b, torch.tensor(seed), create_graph=True)
    for t, g in zip(a, gs, strict=True):
        np.testing.assert_allclose(t.grad.numpy(), g.detach().numpy(), rtol=1e-10, atol=1e-11)
    total = sum([(t.grad * t.grad).sum() for t in a])
    if not total.requires_grad:
        return
    for t in a:
        t.grad = None
    total.backward()
    seconds = torch.autograd.grad(sum([(g * g).sum() for g in gs]), b, allow_unused=True)
    for t, g in zip(a, seconds, strict=True):
        expected = 0 if g is None else g.numpy()
        actual = 0 if t.grad is None else t.grad.numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


CONVS = [
    (kernel, stride, padding, dilation, groups)
    for i, (kernel, stride, padding, dilation, groups) in enumerate(
        itertools.product(
            ((1, 1), (3, 3), (2, 3)), ((1, 1), (2, 1), (3, 2)), ((0, 0), (1, 2)),
            ((1, 1), (2, 1)), (1, 2, 4),
        )
    )
    if i % 2 == 0 or groups == 1
]  # fmt: skip


@pytest.mark.parametrize("mode", ["always", "reference"])
@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "groups"), CONVS)
def test_conv2d_is_torchs(kernel, stride, padding, dilation, groups, mode):
    torch = pytest.importorskip("torch")
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x, w = rng.normal(size=(2, 4, 9, 8)), rng.normal(size=(8, 4 // groups, *kernel))
    b = rng.normal(size=8)
    with tg.use_kernels(mode):
        beside_torch(
            lambda x, w, b: tg.conv2d(x, w, b, **how),
            lambda x, w, b: torch.nn.functional.conv2d(x, w, b, **how),
            x, w, b,
        )  # fmt: skip


POOLS = list(itertools.product(((2, 2), (3, 2)), (None, (1, 2), (3, 3)), ((0, 0), (1, 1))))


@pytest.mark.parametrize("mode", ["always", "reference"])
@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize(("size", "stride", "padding"), POOLS)
def test_pools_are_torchs(size, stride, padding, kind, mode):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn.functional, f"{kind}_pool2d")
    ours = getattr(tg, f"{kind}_pool2d")
    x = rng.integers(0, 5, (2, 3, 9, 8)) / 4.0  # with ties
    with tg.use_kernels(mode):
        beside_torch(
            lambda x: ours(x, size, stride, padding=padding),
            lambda x: theirs(x, size, stride, padding),
            x,
        )


@pytest.mark.parametrize("mode", ["always", "reference"])
def test_places_of_the_largest_are_torchs_for_ties_nan_and_infinities(mode):
    torch = pytest.importorskip("torch")
    x = np.zeros((1, 4, 4, 6), np.float32)
    x[0, 0, 1, 1] = x[0, 0, 1, 0] = np.nan
    x[0, 1] = -np.inf
    x[0, 2, ::2] = np.inf
    x[0, 3] = rng.integers(0, 2, (4, 6))
    for how in ({"size": (2, 2)}, {"size": (3, 3), "stride": (1, 2), "padding": (1, 1)}):
        with tg.use_kernels(mode):
            y, where = tg.core.OPS["max_pool2d"](x, **how)
        size = how.pop("size")
        z, places = torch.nn.functional.max_pool2d(
            torch.tensor(x), size, return_indices=True, **how
        )
        np.testing.assert_array_equal(y, z.numpy())
        np.testing.assert_array_equal(where, places.numpy())


def test_public_functions_take_one_number_for_two():
    x, w = rng.normal(size=(1, 2, 7, 7)), rng.normal(size=(3, 2, 3, 3))
    a = tg.conv2d(x, w, stride=2, padding=1, activation="relu")
    b = tg.conv2d(x, w, stride=(2, 2), padding=[1, 1]).relu()
    np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert tg.max_pool2d(x, 2).shape == tg.avg_pool2d(x, np.int64(2)).shape == (1, 2, 3, 3)
    assert tg.tensor(x).max_pool2d(3, 1, 1).shape == (1, 2, 7, 7)


# --- layers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2, (3, 2)])
@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (2, 1), (3, 1), (4, 2), ((5, 2), (1, 3))])
def test_same_padding_gives_as_many_outputs_as_there_are_steps(kernel, dilation, stride):
    x = rng.normal(size=(1, 2, 11, 8)).astype(np.float32)
    layer = tg.nn.Conv2d(3, kernel, stride=stride, dilation=dilation, padding="same")
    steps = (stride, stride) if isinstance(stride, int) else stride
    y = layer(x)
    assert y.shape == (1, 3, -(-11 // steps[0]), -(-8 // steps[1]))
    if stride == 1:
        torch = pytest.importorskip("torch")
        z = torch.nn.functional.conv2d(
            torch.tensor(x), torch.tensor(layer.weight.numpy()), dilation=dilation, padding="same"
        )
        np.testing.assert_allclose(y.numpy(), z.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", [None, "relu", "tanh", "gelu", "softplus", tg.exp])
def test_conv2d_layer_is_convolution_bias_and_activation(activation):
    layer = tg.nn.Conv2d(
        4, 3, stride=2, padding=1, groups=2, activation=activation, bias_init="ones"
    )
    x = rng.normal(size=(2, 6, 5, 5))
    y = layer.astype("float64")(x) if layer.weight is not None else layer(x)
    w, b = layer.weight, layer.bias
    assert (w.shape, b.shape) == ((4, 3, 3, 3), (4,))
    z = tg.conv2d(x, w, stride=2, padding=1, groups=2) + b.reshape(4, 1, 1)
    f = activation if callable(activation) else getattr(tg, activation or "identity", None)
    np.testing.assert_allclose(y.numpy(), (f(z) if activation else z).numpy(), rtol=1e-5)


def test_initial_weights_follow_from_what_a_filter_sees():
    assert tg.nn.init.fans((64, 32, 3, 5)) == (32 * 15, 64 * 15)
    assert tg.nn.init.fans((4, 3)) == (4, 3)
    layer = tg.nn.Conv2d(64, 3, 32, weight_init="he_normal", bias=False)
    assert layer.weight.numpy().std() == pytest.approx(np.sqrt(2 / (32 * 9)), rel=0.05)
    assert layer.bias is None


def test_images_of_bytes_are_numbers():
    x = rng.integers(0, 256, (2, 1, 6, 6)).astype(np.uint8)
    assert tg.nn.Conv2d(2, 3)(x).dtype == np.float32


def test_global_average():
    x = rng.normal(size=(2, 3, 4, 5))
    np.testing.assert_allclose(tg.nn.GlobalAvgPool2d()(x).numpy(), x.mean(axis=(2, 3)))


def test_describe_and_summary():
    layer = tg.nn.Conv2d(4, 3, 2, stride=2, activation="relu")
    assert layer.describe() == "4, (3, 3), in_channels=2, stride=(2, 2), activation='relu'"
    assert tg.nn.MaxPool2d(2).describe() == "(2, 2), stride=(2, 2), padding=(0, 0)"


def test_a_small_network_learns_to_tell_bars_apart():
    """Horizontal from vertical bars, at any place in the image."""
    tg.seed(0)
    n = 200
    x = rng.normal(scale=0.2, size=(n, 1, 8, 8)).astype(np.float32)
    labels = np.arange(n) % 2
    for image, label in zip(x[:, 0], labels, strict=True):
        place = rng.integers(8)
        image[(place, slice(None)) if label else (slice(None), place)] += 1
    model = tg.nn.Sequential(
        tg.nn.Conv2d(4, 3, padding="same", activation="relu"),
        tg.nn.MaxPool2d(2),
        tg.nn.Conv2d(8, 3, activation="relu"),
        tg.nn.AvgPool2d(2),
        tg.nn.Flatten(),
        tg.nn.Dense(2),
    )
    model.compile(optimizer=tg.optim.Adam(lr=0.02), loss="cross_entropy",
                  metrics=["accuracy"])  # fmt: skip
    model.fit(x, labels, epochs=12, batch_size=20, verbose=0)
    assert model.evaluate(x, labels, verbose=0)["accuracy"] > 0.97


# --- errors -------------------------------------------------------------------------------------


X, W = np.zeros((1, 4, 5, 5)), np.zeros((2, 4, 3, 3))
WRONG = [
    (lambda: tg.conv2d(X[0], W), r"conv2d.*images are \(n, channels, height, width\)"),
    (lambda: tg.conv2d(X, W[:, :3]), "x has 4 channels and w takes 3"),
    (lambda: tg.conv2d(X, W, groups=3), "x has 4 channels and w takes 4 of them"),
    (lambda: tg.conv2d(X, np.zeros((3, 2, 3, 3)), groups=2), "must divide the outputs"),
    (lambda: tg.conv2d(X, W, np.zeros(3)), r"b has shape \(3,\)"),
    (lambda: tg.conv2d(X, W, dilation=3), "dilated to 7"),
    (lambda: tg.conv2d(X, np.zeros((2, 4, 6, 1))), "does not fit into images"),
    (lambda: tg.conv2d(X, W, stride=0), "stride=.*whole numbers from 1 on"),
    (lambda: tg.conv2d(X, W, padding=-1), "padding=.*whole numbers from 0 on"),
    (lambda: tg.conv2d(X, W, stride=(1, 1, 1)), "stride=.*pair"),
    (lambda: tg.conv2d(X, W, stride=1.5), "stride=1.5 must be whole numbers"),
    (lambda: tg.conv2d(X, W, activation="softmax"), "none, relu, sigmoid, tanh"),
    (lambda: tg.max_pool2d(X, 6), "does not fit into images"),
    (lambda: tg.avg_pool2d(X, 2, padding=2), "more than half"),
    (lambda: tg.max_pool2d(X.astype(int), 2), "not pooled; x.astype"),
    (lambda: tg.nn.Conv2d(2, 3, "relu"), "third argument is in_channels"),
    (lambda: tg.nn.Conv2d(2, 3, padding="full"), "'same' or 'valid'"),
    (lambda: tg.nn.Conv2d(2, 0), "kernel_size must be a whole number from 1 on"),
    (lambda: tg.nn.Conv2d(3, 3, groups=2), "3 filters do not split"),
    (lambda: tg.nn.Conv2d(4, 3, 3, groups=2), "3 input channels do not split"),
    (lambda: tg.nn.Conv2d(4, 3, 3)(X), "in_channels=3, got an input of shape"),
    (lambda: tg.nn.Conv2d(4, 3)(X[0]), "adds a missing channel"),
    (lambda: tg.nn.MaxPool2d(2)(X[0]), "MaxPool2d takes images"),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
@pytest.mark.parametrize("mode", ["always", "reference"])
def test_errors_say_what_to_do(call, message, mode):
    with tg.use_kernels(mode), pytest.raises(tg.TensorgradError, match=message):
        call()
