"""The norms and the embedding: against PyTorch's, in training, saved and loaded, and misused."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.core import OPS
from tensorgrad.ops import norm

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_numbers():
    """The generator is reset, so that a test does not depend on which others run."""
    rng.bit_generator.state = np.random.default_rng(0).bit_generator.state


SHAPES = ((6, 4), (5, 4, 3), (3, 4, 2, 5), (2, 4, 3, 2, 2))
IDS = np.array([[1, 0, 1], [4, 4, 1]])


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def pair(torch, shape, *affine):
    """The same random arrays as leaves of both."""
    arrays = [rng.normal(size=shape) * 2 + 1, *[rng.normal(size=s) for s in affine]]
    return (
        [tg.tensor(a, requires_grad=True) for a in arrays],
        [torch.tensor(a, requires_grad=True) for a in arrays],
    )


def same(ours, theirs, rtol=1e-9):
    actual = ours.numpy() if hasattr(ours, "numpy") else ours
    np.testing.assert_allclose(actual, theirs.detach().numpy(), rtol=rtol, atol=1e-11)


def same_gradients(torch, y, a, z, b):
    """First and second order, of a random projection of the output."""
    same(y, z)
    seed = rng.normal(size=y.shape)
    (y * y * seed).sum().backward(create_graph=True)
    gb = torch.autograd.grad((z * z * torch.tensor(seed)).sum(), b, create_graph=True)
    ga = [t.grad for t in a]
    for g, h in zip(ga, gb, strict=True):
        same(g, h, 1e-7)
    for t in a:
        t.grad = None
    sum([(g * g).sum() for g in ga]).backward()
    for t, h in zip(a, torch.autograd.grad(sum([(h * h).sum() for h in gb]), b), strict=True):
        same(t.grad, h, 1e-6)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_norms_have_torchs_values_and_gradients(torch, shape):
    functional = torch.nn.functional
    a, b = pair(torch, shape, 4, 4)
    batch = functional.batch_norm(b[0], None, None, b[1], b[2], training=True)
    same_gradients(torch, tg.batch_norm(*a), a, batch, b)
    for groups in (1, 2, 4):
        a, b = pair(torch, shape, 4, 4)
        theirs = functional.group_norm(b[0], groups, b[1], b[2])
        same_gradients(torch, tg.group_norm(*a, groups=groups), a, theirs, b)
    a, b = pair(torch, shape, shape[-1])
    theirs = functional.rms_norm(b[0], shape[-1:], b[1], 1e-6)
    same_gradients(torch, tg.rms_norm(*a), a, theirs, b)


@pytest.mark.host
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_trains_and_evaluates_as_torchs(torch, shape):
    kind = {2: "BatchNorm1d", 3: "BatchNorm1d", 4: "BatchNorm2d", 5: "BatchNorm3d"}[len(shape)]
    ours = getattr(nn, kind)(4, momentum=0.3, eps=1e-3, dtype="float64")
    theirs = getattr(torch.nn, kind)(4, momentum=0.3, eps=1e-3, dtype=torch.float64)
    weight, bias = rng.normal(size=(2, 4))
    ours.set_weights([weight, bias, np.zeros(4), np.ones(4)])
    theirs.load_state_dict({**theirs.state_dict(), "weight": torch.tensor(weight),
                            "bias": torch.tensor(bias)})  # fmt: skip
    for training in (True, True, False):
        ours.train(training), theirs.train(training)
        (a,), (b,) = pair(torch, shape)
        parameters = [a, ours.weight, ours.bias], [b, theirs.weight, theirs.bias]
        same_gradients(torch, ours(a), parameters[0], theirs(b), parameters[1])
        for p in parameters[0]:
            p.grad = None
        same(ours.running_mean, theirs.running_mean)
        same(ours.running_var, theirs.running_var)


def test_embedding_is_torchs(torch):
    (w,), (v,) = pair(torch, (5, 3))
    same_gradients(torch, tg.embedding(w, IDS), [w], torch.nn.functional.embedding(
        torch.tensor(IDS), v), [v])  # fmt: skip


# --- modules ------------------------------------------------------------------------------------


def net():
    return nn.Sequential(nn.Dense(16, 4), nn.BatchNorm(), nn.ReLU(), nn.RMSNorm(), nn.Dense(1, 16))


def test_a_net_with_batch_norm_trains_and_evaluation_agrees():
    tg.seed(0)
    x = (rng.normal(size=(256, 4)) * [1, 10, 100, 1] + 5).astype(np.float32)
    y = (x[:, :1] - x[:, 1:2] / 10 > 4.5).astype(np.float32)
    model = net().compile(tg.optim.Adam(lr=0.02), "binary_cross_entropy_with_logits", ["accuracy"])
    history = model.fit(x, y, epochs=40, batch_size=64, verbose=0)
    assert history.losses[-1] < 0.2 < history.losses[0]
    assert model.evaluate(x, y)["accuracy"] > 0.9
    assert model.training
    before = model.get_weights()
    model.predict(x)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)  # evaluation moves no statistics
    one = np.concatenate([model.predict(row[None]) for row in x[:5]])
    np.testing.assert_allclose(one, model.predict(x[:5]), rtol=1e-4, atol=1e-5)


def test_buffers_are_saved_and_copied_but_not_trained():
    model = net()
    x = rng.normal(size=(32, 4)).astype(np.float32)
    model(x)
    names = [n for n, _ in model.named_parameters()]
    assert names[2:4] == ["layers[1].weight", "layers[1].bias"]
    assert len(names) == len(model.parameters()) == 7
    state = model.state_dict()
    assert [n for n in state if n not in names] == [
        "layers[1].running_mean",
        "layers[1].running_var",
    ]
    assert not np.allclose(state["layers[1].running_mean"], 0)
    twin = net().eval()
    twin(x)
    twin.load_state_dict(state)
    twins = twin, copy.deepcopy(model).eval(), pickle.loads(pickle.dumps(model)).eval()
    expected = model.eval()(x).numpy()
    for other in twins:
        assert isinstance(other[1].running_mean, nn.Buffer)
        np.testing.assert_array_equal(other(x).numpy(), expected)
    twin.train()(x * 3)
    np.testing.assert_array_equal(model.state_dict()["layers[1].running_var"],
                                  state["layers[1].running_var"])  # fmt: skip
    weights = model.get_weights()
    assert [len(w) for w in weights[2:6]] == [16] * 4
    np.testing.assert_array_equal(weights[4], state["layers[1].running_mean"])
    twin.set_weights(weights)
    np.testing.assert_array_equal(twin.eval()(x).numpy(), expected)
    with pytest.raises(tg.ShapeError, match=r"missing layers\[1\].running_var"):
        model.load_state_dict({k: v for k, v in state.items() if not k.endswith("var")})


def test_buffers_are_cast_and_moved_with_the_parameters(backend):
    tg.set_backend("numpy")
    model = net()
    x = rng.normal(size=(8, 4)).astype(np.float32)
    model(x)
    expected = model.eval()(x).numpy()
    model.to(backend)
    assert {t.backend for _, t in model.named_state()} == {backend}
    y = model(tg.asarray(x, backend=backend))
    assert y.backend == backend
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-5)
    model.train()(tg.asarray(x, backend=backend)).sum().backward()
    model.to("numpy").astype("float64")
    assert {t.dtype.name for _, t in model.named_state()} == {"float64"}
    for dtype, atol in (("float16", 0.02), ("bfloat16", 0.15)):
        for mode in (model.train, model.eval):
            half = tg.asarray(x, dtype)
            mode()
            y = model.astype(dtype)(half)
            assert y.dtype.name == dtype
            wide = model.astype("float64")(half.astype("float64"))
            np.testing.assert_allclose(y.astype("float64").numpy(), wide.numpy(), atol=atol)


def test_buffers_are_found_in_containers_once():
    class Counts(nn.Module):
        def __init__(self):
            self.seen = [nn.Buffer([0.0]), nn.Buffer([1, 2])]
            self.again = self.seen[0]

        def forward(self, x):
            return x

    module = Counts()
    assert [n for n, _ in module.named_state()] == ["seen[0]", "seen[1]"]
    assert module.parameters() == []
    assert module.astype("float64").seen[1].dtype == np.int64


@pytest.mark.host
def test_running_statistics_follow_momentum_in_place():
    layer = nn.BatchNorm1d(2, momentum=0.25, dtype="float64")
    array = layer.running_mean.data
    x = np.array([[0.0, 1.0], [4.0, 1.0]])
    layer(x)
    assert layer.running_mean.data is array
    np.testing.assert_allclose(array, [0.5, 0.25])
    np.testing.assert_allclose(layer.running_var.numpy(), [0.75 + 0.25 * 8, 0.75], atol=1e-12)


@pytest.mark.parametrize("kind", ["BatchNorm1d", "InstanceNorm1d"])
def test_each_feature_may_have_a_momentum_of_its_own(kind):
    momenta = (0.1, 0.0, 1.0)
    made = {"affine": False, "track_running_stats": True, "dtype": "float64"}
    layer = getattr(nn, kind)(3, momentum=np.array(momenta), **made)
    again = nn.from_config(layer.to_config())
    assert [name for name, _ in again.named_state()] == ["running_mean", "running_var"]
    alike = [getattr(nn, kind)(3, momentum=m, **made) for m in momenta]

    def step(x):
        with tg.no_grad():
            return layer(x)

    compiled = tg.compile(step)
    for x in rng.normal(2, 3, size=(4, 5, 3, 4)):
        for run in (compiled, again, *alike):
            run(tg.asarray(x))
    for found in (layer, again):
        for name in ("running_mean", "running_var"):
            wanted = [getattr(one, name).numpy()[i] for i, one in enumerate(alike)]
            np.testing.assert_allclose(getattr(found, name).numpy(), wanted, rtol=1e-12)
    layer.momentum = (0.0, 0.0, 0.0)  # read in each call
    before = layer.running_mean.numpy().copy()
    layer(x)
    np.testing.assert_array_equal(layer.running_mean.numpy(), before)


@pytest.mark.host
def test_evaluation_may_be_differentiated_after_the_statistics_moved():
    layer = nn.BatchNorm1d(3, dtype="float64").eval()
    x = tg.tensor(rng.normal(size=(5, 3)), requires_grad=True)
    y = layer(x)
    layer.train()(x.detach())
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 1 / np.sqrt(1 + 1e-5))
    np.testing.assert_allclose(layer.weight.grad.numpy(), x.numpy().sum(0) / np.sqrt(1 + 1e-5))


def test_layers_are_built_at_the_first_call_and_in_functional_models():
    inp = nn.Input((6, 5))
    h = nn.GroupNorm(3)(nn.BatchNorm()(inp))
    model = nn.Model(inp, nn.LayerNorm()(nn.RMSNorm()(h)))
    assert [w.shape for w in model.get_weights()] == [(6,)] * 6 + [(5,)] * 3
    ids = nn.Input((7,))
    words = nn.Model(ids, nn.Dense(2)(nn.Flatten()(nn.Embedding(11, 4)(ids))))
    assert words(np.arange(7)[None]).shape == (1, 2)
    assert nn.BatchNorm()(np.ones((3, 4), np.int64)).dtype == np.float32
    assert repr(nn.GroupNorm(2, 4)) == "GroupNorm(2, 4)"


def test_embedding_rows_are_normal_and_learn():
    tg.seed(1)
    layer = nn.Embedding(100, 50)
    w = layer.weight.numpy()
    assert abs(w.mean()) < 0.05
    assert abs(w.std() - 1) < 0.05
    model = nn.Sequential(nn.Embedding(6, 3), nn.Flatten(), nn.Dense(1, 6))
    ids = rng.integers(0, 6, (64, 2))
    target = (ids[:, :1] == ids[:, 1:]).astype(np.float32)
    model.compile(tg.optim.Adam(lr=0.05), "mse")
    history = model.fit(ids, target, epochs=40, verbose=0)
    assert history.losses[-1] < history.losses[0] / 2
    y = layer([3.0, 4.0])  # whole numbers
    np.testing.assert_array_equal(y.numpy(), layer.weight.numpy()[[3, 4]])


def test_statistics_of_a_batch_carry_gradients(backend):
    """mean and rstd are outputs, too: a loss may depend on them."""
    for f in (norm.batch_norm, lambda *a: norm.group_norm(*a, groups=2)):
        x = tg.tensor(rng.normal(size=(6, 4)), requires_grad=True, backend=backend)
        _, mean, rstd = f(x, None, None)
        (mean.sum() + rstd.sum()).backward()
        assert np.abs(x.grad.numpy()).max() > 0


def test_an_empty_batch_has_no_gradient_and_no_warning():
    for f in (tg.batch_norm, lambda x: tg.group_norm(x, groups=2), tg.rms_norm, tg.layer_norm):
        x = tg.tensor(np.zeros((0, 4)), requires_grad=True)
        f(x).sum().backward()
        assert x.grad.shape == (0, 4)


# --- kernels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("needs", list(itertools.product((True, False), repeat=3)), ids=str)
@pytest.mark.parametrize("name", ["rms_norm", "group_norm", "batch_norm"])
def test_gradient_kernels_give_what_is_needed(name, needs):
    options = {"groups": 2} if name == "group_norm" else {}
    for shape in ((20, 6), (3, 6, 9, 9)):
        x, g = rng.normal(size=(2, *shape)).astype("float32")
        weights = rng.normal(size=6 if options or name == "batch_norm" else shape[-1])
        for weight in (None, weights.astype("float32")):
            statistics = OPS[name](x, weight, **options)[1:]
            wanted = needs[: 1 + len(statistics)]
            both = []
            for mode in ("always", "reference"):
                with tg.use_kernels(mode):
                    args = (g, x, weight, *statistics)
                    both.append(OPS[f"{name}_grad"](*args, needs=wanted))
            for a, b, need in zip(*both, wanted, strict=True):
                assert (a is not None) == (b is not None) == need
                if need:
                    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * abs(b).max())


@pytest.mark.parametrize("shape", [(4000, 3), (500, 3, 4), (50, 3, 80)], ids=str)
def test_a_small_variance_beside_a_large_mean_is_exact(shape):
    """E[x^2] - E[x]^2 would cancel all digits."""
    x = (1000 + 0.1 * rng.normal(size=shape)).astype(np.float32)
    with tg.use_kernels("always"):
        y, mean, rstd = OPS["batch_norm"](x, eps=1e-5)
    exact = OPS["batch_norm"](x.astype(np.float64), eps=1e-5)
    np.testing.assert_allclose(mean, exact[1], rtol=5e-6)
    np.testing.assert_allclose(rstd, exact[2], rtol=1e-3)
    np.testing.assert_allclose(y, exact[0], atol=2e-2)


@pytest.mark.parametrize("bad", [-1, 50, 2**40])
def test_an_id_outside_is_said_as_by_the_reference(bad):
    ids = rng.integers(0, 50, (300, 2))
    ids[7, 1] = bad
    for call in (
        lambda: OPS["embedding"](np.ones((50, 16), np.float32), ids),
        lambda: OPS["embedding_grad"](np.ones((300, 2, 16), np.float32), ids, count=50),
    ):
        said = []
        for mode in ("always", "reference"):
            with tg.use_kernels(mode), pytest.raises(tg.IndexingError, match="ids run") as raised:
                call()
            said.append(str(raised.value).rpartition(":")[2])
        assert said[0] == said[1]


# --- mistakes -----------------------------------------------------------------------------------

X = np.ones((4, 6), np.float32)
MISTAKES = {
    "one number a feature": (lambda: nn.BatchNorm1d(6)(X[:1]), tg.ShapeError, "no variance"),
    "no axis of channels": (lambda: nn.BatchNorm()(X[0]), tg.ShapeError, "2 axes or more"),
    "other features": (
        lambda: nn.BatchNorm1d(5)(X),
        tg.ShapeError,
        "num_features = 5, .* of axis 1;",
    ),
    "other rows": (lambda: nn.RMSNorm(5)(X), tg.ShapeError, r"made for rows of shape \(5,\)"),
    "momentum": (lambda: nn.BatchNorm1d(2, momentum=1.5), tg.ArgumentError, "from 0 to 1"),
    "momenta": (
        lambda: nn.BatchNorm(momentum=[0.1, 0.2])(np.ones((4, 3))),
        tg.ArgumentError,
        "momentum has 2 numbers, and there are 3 features",
    ),
    "Keras's momenta": (
        lambda: nn.BatchNorm(momentum=[0.1, 0.9]),
        tg.ArgumentError,
        r"is \[0.9, 0.1\] here",
    ),
    "Keras's momentum": (
        lambda: nn.BatchNorm(momentum=0.99),
        tg.ArgumentError,
        "momentum=0.99 is 0.01 here",
    ),
    "images of rows": (lambda: nn.BatchNorm2d(6)(X), tg.ShapeError, "BatchNorm2d takes .n, chan"),
    "groups": (lambda: nn.GroupNorm(4, 6), tg.ShapeError, "do not divide into 4 groups"),
    "late groups": (lambda: nn.GroupNorm(4)(X), tg.ShapeError, "do not divide into 4 groups"),
    "no groups": (lambda: tg.group_norm(X, groups=0), tg.ArgumentError, "groups=0"),
    "op on a row": (lambda: tg.batch_norm(X[0]), tg.ShapeError, "channels are axis 1"),
    "weight": (lambda: tg.batch_norm(X, np.ones(4)), tg.ShapeError, "weight has shape"),
    "bias": (lambda: tg.layer_norm(X, None, np.ones(4)), tg.ShapeError, "bias has shape"),
    "no table": (lambda: tg.embedding(X[0], [0]), tg.ShapeError, "a table of shape"),
    "float ids": (lambda: tg.embedding(X, [0.0]), tg.DTypeError, "integers"),
    "an id too high": (lambda: tg.embedding(X, [0, 4]), tg.IndexingError, "from 0 to 4, .*0..3"),
    "an id below 0": (lambda: nn.Embedding(4, 2)([-1]), tg.IndexingError, "from -1 to -1"),
    "fractions": (lambda: nn.Embedding(4, 2)([0.5]), tg.DTypeError, "whole numbers"),
    "count": (
        lambda: nn.Embedding(0, 2),
        tg.ArgumentError,
        "num_embeddings=0 must be a whole number",
    ),
}


@pytest.mark.host
@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_said(name):
    call, kind, message = MISTAKES[name]
    with pytest.raises(kind, match=message):
        call()


def test_an_id_outside_gives_nan_on_the_gpu(backend):
    if backend == "numpy":
        pytest.skip("said by an error there")
    w = tg.tensor(np.ones((3, 2), np.float32), backend=backend)
    y = tg.embedding(w, tg.asarray(np.array([0, 3, -1, 2]), backend=backend))
    np.testing.assert_array_equal(np.isnan(y.numpy()).all(1), [False, True, True, False])
