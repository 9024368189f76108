"""autocast follows the op table's precision; loss scaling prevents underflow in float16."""

import threading

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import losses, nn, optim
from tensorgrad.backend import dtype_of, is_floating, namespace
from tensorgrad.core import OPS

HALVES = ("bfloat16", "float16")
COMPLEX = ("eig", "eigvals")  # whose results have another dtype
LISTED = [name for name, op in OPS.items() if op.precision and name not in COMPLEX]


def tensors(args, dtype, backend="numpy"):
    """A sample's floating arrays as tensors of that dtype."""
    made = []
    for a in args:
        floats = isinstance(a, np.ndarray) and is_floating(a.dtype)
        whole = isinstance(a, np.ndarray) and not floats
        a = tg.tensor(a, dtype=dtype, backend=backend, requires_grad=True) if floats else a
        made.append(tg.asarray(a, backend=backend) if whole else a)
    return made


def test_the_table_names_the_ops_that_matter():
    for name, precision in (("matmul", "half"), ("conv2d", "half"), ("lstm", "half"),
                            ("softmax", "single"), ("mean_squared_error", "single")):  # fmt: skip
        assert OPS[name].precision == precision
    assert all(OPS[f"{name}"].precision is None for name in OPS if name.endswith("_grad"))


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("name", LISTED)
def test_ops_are_computed_in_their_precision(name, half, backend):
    op = OPS[name]
    for given in ("float32", half, "float64"):
        wanted = given if given == "float64" else half if op.precision == "half" else "float32"
        for args, params in op.samples()[:2]:
            plain = op(*tensors(args, given, backend), **params)
            with tg.autocast(half):
                y = op(*tensors(args, given, backend), **params)
            y, plain = (y[0], plain[0]) if op.outputs else (y, plain)
            assert y.dtype == dtype_of(wanted), (given, y.dtype)
            a, b = (np.asarray(t.numpy(), np.float64) for t in (y, plain))
            size = np.abs(b).max(initial=1.0)
            np.testing.assert_allclose(a, b, atol=0.05 * size)


@pytest.mark.parametrize("half", HALVES)
def test_gradients_of_float32_weights_are_float32(half, backend):
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((16, 5)).astype("float32"), np.arange(16) % 3
    layers = (nn.Dense(8, 5, activation="tanh"), nn.LayerNorm(8), nn.Dense(3, 8))
    model = nn.Sequential(layers).to(backend)
    x, labels = tg.asarray(x, backend=backend), tg.asarray(labels, backend=backend)
    found = []
    for inside in (True, False, None):
        for p in model.parameters():
            p.grad = None
        with tg.autocast(None if inside is None else half):
            y = model(x)
            loss = losses.cross_entropy(y, labels)
            assert loss.dtype == np.float32
            if inside:
                loss.backward()
        if not inside:
            loss.backward()
        assert all(p.grad.dtype == np.float32 for p in model.parameters())
        found.append([p.grad.numpy() for p in model.parameters()])
    for within, after, exact in zip(*found, strict=True):
        np.testing.assert_array_equal(within, after)
        assert 0 < np.abs(after - exact).max() < 0.05 * np.abs(exact).max()


def test_the_switch_is_of_the_block_and_the_thread():
    a, seen = tg.ones((2, 2)), []
    half, product = dtype_of("float16"), lambda: tg.matmul(a, a).dtype
    with tg.autocast("float16"):
        assert product() == half
        with tg.autocast(None):
            assert product() == np.float32
        thread = threading.Thread(target=lambda: seen.append(product()))
        thread.start()
        thread.join()
        assert seen == [np.float32]
        with tg.no_grad():
            assert product() == half
    with pytest.raises(tg.ShapeError), tg.autocast("float16"):
        tg.matmul(a, tg.ones((3, 2)))
    assert product() == np.float32
    assert tg.autocast("float16")(product)() == half
    assert product() == np.float32


@pytest.mark.parametrize("dtype", ["float32", "int8", "floaty", np.float64])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(tg.DTypeError):
        tg.autocast(dtype)


# --- loss scaling -------------------------------------------------------------------------------


def bowl(scale, factor, backend="numpy"):
    """A step on factor * w, whose gradient is float16 in between."""
    w = tg.tensor(np.array([1.0, 2.0], "float32"), backend=backend, requires_grad=True)
    sgd = optim.SGD([w], lr=1.0)
    half = tg.asarray(np.array([factor], "float16"), backend=backend)
    loss = (w.astype("float16") * half).sum()
    scale(loss).backward()
    return w, sgd


def test_small_gradients_survive(backend):
    """2^-30 is 0 in float16."""
    w, sgd = bowl(lambda loss: loss.astype("float32") * 2.0**-30, 1.0, backend)
    assert not w.grad.numpy().any()
    scale = optim.LossScale(2.0**15)
    w, sgd = bowl(lambda loss: scale(loss.astype("float32") * 2.0**-30), 1.0, backend)
    assert scale.step(sgd)
    np.testing.assert_array_equal(w.grad.numpy(), 2.0**-30)


def test_a_step_that_overflows_is_left_out_and_the_scale_halved():
    scale = optim.LossScale(start=2.0**12, interval=2)
    w, sgd = bowl(scale, 100.0)
    assert not scale.step(sgd)
    assert (scale.value, w.tolist()) == (2.0**11, [1.0, 2.0])
    assert sgd.groups[0]["hyper"].tolist() == [1.0, 0.0]
    values = []
    for _ in range(5):
        w, sgd = bowl(scale, 2.0)
        assert scale.step(sgd)
        assert w.tolist() == [-1.0, 0.0]
        values.append(scale.value)
    assert values == [2.0**11, 2.0**12, 2.0**12, 2.0**13, 2.0**13]
    other = optim.LossScale()
    other.load_state_dict(scale.state_dict())
    assert (other.value, other.good) == (scale.value, 1)


def test_a_scale_comes_back_from_the_bottom(backend):
    w = nn.Parameter(tg.ones(2, backend=backend))
    sgd, scale = optim.SGD([w], lr=0.0), optim.LossScale(2.0**-125, interval=1)
    values = []
    for factor in (np.inf, np.inf, np.inf, 1.0, 1.0):
        sgd.zero_grad()
        scale((w * factor).sum()).backward()
        scale.step(sgd)
        values.append(np.log2(scale.value))
    assert values == [-126, -126, -126, -125, -124]


def test_gradients_are_divided_each_once(backend):
    a, b, c = (nn.Parameter(tg.ones(2, backend=backend)) for _ in range(3))
    sgd, scale = optim.SGD([a, b, c], lr=0.0), optim.LossScale(4.0)
    loss = scale((a * b + c).sum())
    a.grad = b.grad = tg.asarray(np.array([8.0, 4.0]), "float32", backend)  # one array for both
    c.grad = tg.grad(lambda x: (x**2).sum())(c, create_graph=True)  # on a tape
    kept = c.grad
    assert scale.unscale(sgd)
    assert a.grad.tolist() == b.grad.tolist() == [2.0, 1.0]
    assert (c.grad.tolist(), kept.tolist()) == ([0.5] * 2, [2.0] * 2)
    assert loss.requires_grad


@pytest.mark.parametrize("start", [2.0**16, 1e6, 2.0**26])
def test_gradients_of_halves_are_divided_by_large_scales(start, backend):
    """1 / 2^26 is 0 in float16, and 1 / 1e6 is only near to itself."""
    w = nn.Parameter(tg.ones(2, dtype="float16", backend=backend))
    sgd, scale = optim.SGD([w], lr=1.0), optim.LossScale(start)
    (scale((w.astype("float32") * 2.0**-12).sum())).backward()
    assert scale.unscale(sgd)
    assert w.grad.dtype == np.float16
    np.testing.assert_allclose(w.grad.numpy(), 2.0**-12, rtol=2e-3)


class Signs(optim.Optimizer):
    """A user's optimizer, whose update is unconditional: skipped steps must be undone."""

    def init_state(self, p, group):
        return (namespace(p).zeros_like(p),)

    def update(self, params, grads, states, group):
        for p, g, (count,) in zip(params, grads, states, strict=True):
            count += 1
            p -= group["hyper"][0] * (g > 0).astype(p.dtype)


def test_any_optimizer_leaves_a_step_out(backend):
    ps = [tg.tensor(np.ones(shape), backend=backend, requires_grad=True) for shape in ((), (3,))]
    opt, scale = Signs(ps, lr=0.5), optim.LossScale(2.0**8)
    for factor, wanted in ((np.inf, 1.0), (2.0, 0.5), (np.nan, 0.5), (3.0, 0.0)):
        opt.zero_grad()
        scale(sum((p * factor).sum() for p in ps)).backward()
        assert bool(scale.step(opt)) == np.isfinite(factor)
        for p in ps:
            np.testing.assert_array_equal(p.numpy(), wanted)
    assert [state[0].tolist() for state in opt.state.values()] == [2.0, [2.0] * 3]
    assert (opt.steps, float(opt.groups[0]["hyper"][1])) == (4, 2.0)


def test_gradients_are_unscaled_once():
    scale = optim.LossScale(2.0**10)
    w, sgd = bowl(scale, 2.0)
    assert scale.unscale(sgd)
    assert sgd.clip_grad_norm(1.0).item() == pytest.approx(8**0.5)
    assert scale.step(sgd)
    np.testing.assert_allclose(w.numpy(), [1 - 0.5**0.5, 2 - 0.5**0.5], rtol=1e-5)


def test_what_a_loss_scale_refuses():
    for options in ({"start": 0}, {"start": np.inf}, {"interval": 0}, {"factor": 1.0}):
        with pytest.raises(tg.ArgumentError):
            optim.LossScale(**options)
    scale, w = optim.LossScale(), nn.Parameter(np.ones(2, "float32"))
    with pytest.raises(tg.ArgumentError, match="LossScale: the loss is a tensor, got float"):
        scale(3.0)
    with pytest.raises(tg.ArgumentError, match="give an optimizer, got Parameter"):
        scale.step(w)
    with pytest.raises(tg.GraphError, match="backward"):
        scale.step(optim.SGD([w]))
    _, sgd = bowl(scale, 2.0)
    scale.unscale(sgd)
    with pytest.raises(tg.GraphError, match="optimizer"):
        scale.step(bowl(lambda loss: loss, 1.0)[1])


@pytest.mark.host
def test_a_network_learns_in_half_precision():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 6)).astype("float32")
    labels = (x[:, 0] > x[:, 1]).astype(int)
    for half in HALVES:
        tg.seed(0)
        model = nn.Sequential([nn.Dense(16, 6, activation="relu"), nn.Dense(2, 16)])
        adam, scale = optim.Adam(model.parameters(), lr=0.02), optim.LossScale()
        for _ in range(60):
            with tg.autocast(half):
                loss = losses.cross_entropy(model(x), labels)
            adam.zero_grad()
            scale(loss).backward()
            scale.step(adam)
        assert loss.item() < 0.1
