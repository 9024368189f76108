"""Parameters that are computed, initialisers, and modules as functions of their parameters."""

import copy
import pickle

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.nn import init, parametrize

pytestmark = pytest.mark.host
rng = np.random.default_rng(0)
X = rng.normal(size=(4, 6))
IMAGES = rng.normal(size=(2, 3, 5, 5))
MAKE = {
    "Linear": (lambda lib, **o: lib.Linear(6, 3, **o), X),
    "Conv2d": (lambda lib, **o: lib.Conv2d(3, 4, 3, **o), IMAGES),
    "ConvTranspose2d": (lambda lib, **o: lib.ConvTranspose2d(3, 4, 3, **o), IMAGES),
}


def pair(torch, name):
    make, x = MAKE[name]
    ours, theirs = make(nn, dtype="float64"), make(torch.nn).double()
    for path, p in ours.named_parameters():
        flip = name == "Linear" and p.ndim == 2
        given = torch.tensor(p.numpy().T.copy() if flip else p.numpy())
        getattr(theirs, path).data = given
    return ours, theirs, x


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("kind", ["weight_norm", "weight_norm of all", "spectral_norm"])
def test_norms_of_weights_are_torchs(name, kind):
    torch = pytest.importorskip("torch")
    theirs_of = torch.nn.utils.parametrizations
    ours, theirs, x = pair(torch, name)
    flip = lambda a: a.T if name == "Linear" and a.ndim == 2 else a  # noqa: E731
    if kind == "spectral_norm":
        parametrize.spectral_norm(ours, eps=1e-9)
        theirs_of.spectral_norm(theirs, eps=1e-9)
        of = theirs.parametrizations.weight[0]
        norm = ours.parametrizations["weight"].functions[0]
        norm.u.data, norm.v.data = of._u.numpy().copy(), of._v.numpy().copy()
    else:
        dim = None if "all" in kind else 0
        parametrize.weight_norm(ours, dim=dim)
        theirs_of.weight_norm(theirs, dim=dim)
    for training in (True, True, False):
        ours.train(training), theirs.train(training)
        y, z = ours(tg.asarray(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-10)
        ours.zero_grad(), theirs.zero_grad()
        (y * y).sum().backward(), (z * z).sum().backward()
        wanted = {k: p.grad.numpy() for k, p in theirs.named_parameters()}
        assert {k for k, _ in ours.named_parameters()} == set(wanted)
        for path, p in ours.named_parameters():
            given = flip(wanted[path]).reshape(p.shape)
            np.testing.assert_allclose(p.grad.numpy(), given, rtol=1e-9, atol=1e-9)


def trained(layer, x=X):
    sgd = tg.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        sgd.zero_grad()
        (layer(x) ** 2).sum().backward()
        sgd.step()
    return layer


def test_a_mask_stays_and_is_saved():
    layer = parametrize.prune(nn.Linear(6, 4, dtype="float64"), amount=0.5)
    gone = layer.weight.numpy() == 0
    assert gone.sum() == 12
    small = abs(layer.parametrizations["weight"].original.numpy())
    assert small[gone].max() <= small[~gone].min()
    trained(layer)
    np.testing.assert_array_equal(layer.weight.numpy() == 0, gone)
    twin = parametrize.prune(nn.Linear(6, 4, dtype="float64"), by="random")
    twin.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(twin(X).numpy(), layer(X).numpy())
    parametrize.prune(layer, amount=0.5)  # of those that are left
    assert (layer.weight.numpy() == 0).sum() == 18
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert [n for n, _ in layer.named_parameters()] == ["bias", "weight"]
    assert (layer.weight.numpy() == 0).sum() == 18


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_computed_weights_are_copied_and_pickled(copied):
    layer = nn.Sequential(parametrize.orthogonal(nn.Linear(6, 6, dtype="float64")), nn.ReLU())
    twin = copied(layer)
    trained(layer)
    w = layer[0].weight.numpy()
    np.testing.assert_allclose(w @ w.T, np.eye(6), atol=1e-12)
    assert abs(w - twin[0].weight.numpy()).max() > 1e-3
    twin.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(twin(X).numpy(), layer(X).numpy())
    assert parametrize.is_parametrized(twin[0], "weight")


class Doubled(nn.Module):
    def forward(self, w):
        return 2 * w

    def right_inverse(self, w):
        return w / 2


def test_parametrizations_follow_each_other():
    layer = nn.Linear(2, 2)
    before = layer.weight.numpy().copy()
    parametrize.register_parametrization(layer, "weight", Doubled())
    np.testing.assert_allclose(layer.weight.numpy(), before, rtol=1e-6)
    parametrize.register_parametrization(layer, "weight", tg.triu)
    np.testing.assert_allclose(layer.weight.numpy(), np.triu(before), rtol=1e-6)
    parametrize.register_parametrization(layer, "bias", abs)
    assert (layer.bias.numpy() >= 0).all()
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    np.testing.assert_allclose(layer.weight.numpy(), before / 2, rtol=1e-6)
    assert parametrize.is_parametrized(layer, "bias")


WRONG = {
    "no such": (lambda m: parametrize.weight_norm(m, "weights"), "no parameter 'weights'"),
    "lazy": (lambda m: parametrize.weight_norm(nn.Dense(3)), "yet: call it"),
    "shape": (
        lambda m: parametrize.register_parametrization(m, "weight", lambda w: w[0]),
        r"has shape \(6, 3\), of it the function makes \(3,\)",
    ),
    "written": (lambda m: setattr(parametrize.weight_norm(m), "weight", 1), "is computed: set its"),
    "mask": (lambda m: parametrize.prune(m, mask=[1.0]), "a mask of shape"),
    "path": (lambda m: nn.functional_call(m, {"w": X}, X), "has no w; its"),
    "shape given": (lambda m: nn.functional_call(m, {"weight": X}, X), "weight has shape .4, 6"),
    "no dict": (lambda m: nn.functional_call(m, [X], X), "a dict by path"),
    "no tensor": (lambda m: init.zeros_(X), "writes into a parameter|must be a Tensor"),
    "cut": (lambda m: init.trunc_normal_(m.weight, 0.0, 1.0, 3.0, 2.0), "little of the"),
}


@pytest.mark.parametrize("name", WRONG)
def test_mistakes(name):
    call, message = WRONG[name]
    with pytest.raises(tg.TensorgradError, match=message):
        call(nn.Linear(6, 3))


# --- modules as functions -------------------------------------------------------------------------


def test_a_step_of_learning_is_differentiated():
    """MAML: the gradient through a step of gradient descent is that of finite differences."""
    model = nn.Sequential(
        nn.Linear(6, 5, dtype="float64"), nn.Tanh(), nn.Linear(5, 1, dtype="float64")
    )
    y = rng.normal(size=(4, 1))
    names = [n for n, _ in model.named_parameters()]

    def loss(params, x):
        return ((nn.functional_call(model, params, x) - y) ** 2).mean()

    def adapted(params):
        grads = tg.grad(loss)(params, X)
        return loss({n: params[n] - 0.1 * grads[n] for n in names}, X[::-1].copy())

    start = {n: tg.asarray(p.numpy().copy()) for n, p in model.named_parameters()}
    found = tg.grad(adapted)(start)
    before = {n: p.numpy().copy() for n, p in model.named_parameters()}
    for n in names:
        e, at = 1e-6, (0,) * start[n].ndim
        values = []
        for sign in (1, -1):
            moved = {k: tg.asarray(v.numpy().copy()) for k, v in start.items()}
            moved[n][at] = moved[n][at] + sign * e
            values.append(adapted(moved).item())
        assert abs((values[0] - values[1]) / (2 * e) - found[n].numpy()[at]) < 1e-7
    for n, p in model.named_parameters():
        np.testing.assert_array_equal(p.numpy(), before[n])
        assert p.grad is None


def test_functional_call_takes_lists_and_buffers_and_leaves_the_module():
    class Net(nn.Module):
        def __init__(self):
            self.scales = [nn.Parameter([1.0, 2.0])]
            self.norm = nn.BatchNorm1d(2)

        def forward(self, x):
            return self.norm(x) * self.scales[0]

    net, x = Net().eval(), np.ones((3, 2), "float32")
    mean = tg.asarray([1.0, 1.0])
    y = nn.functional_call(net, {"scales[0]": [3.0, 3.0], "norm.running_mean": mean}, x)
    np.testing.assert_array_equal(y.numpy(), np.zeros((3, 2)))
    assert net.scales[0].tolist() == [1.0, 2.0]
    with pytest.raises(tg.ShapeError):
        nn.functional_call(net, {"scales[0]": [3.0, 3.0]}, x[:, :1])
    assert net.norm.running_mean.tolist() == [0.0, 0.0]


# --- initialisers -------------------------------------------------------------------------------

SPREAD = {  # in place -> the standard deviation of (200, 300), in 200, out 300
    "uniform_": (lambda w: init.uniform_(w, -1, 1), 1 / np.sqrt(3)),
    "normal_": (lambda w: init.normal_(w, 1.0, 0.5), 0.5),
    "trunc_normal_": (lambda w: init.trunc_normal_(w, std=0.5, a=-1.0, b=1.0), 0.5 * 0.8796),
    "xavier_uniform_": (lambda w: init.xavier_uniform_(w, 2.0), 2 * np.sqrt(2 / 500)),
    "xavier_normal_": (lambda w: init.xavier_normal_(w), np.sqrt(2 / 500)),
    "kaiming_uniform_": (lambda w: init.kaiming_uniform_(w, nonlinearity="relu"), 0.1),
    "kaiming_normal_": (lambda w: init.kaiming_normal_(w, 1.0, "fan_out"), np.sqrt(1 / 300)),
    "truncated_normal": (
        lambda w: nn.Dense(300, 200, weight_init="truncated_normal").weight,
        np.sqrt(1 / 200),
    ),
}


@pytest.mark.parametrize("name", SPREAD)
def test_the_spread_of_initial_weights(name):
    tg.seed(0)
    draw, std = SPREAD[name]
    w = draw(nn.Parameter(np.zeros((200, 300)))).numpy()
    assert abs(w.std() / std - 1) < 0.02
    assert len(np.unique(w)) > 1000


def test_initialisers_with_a_shape():
    w = init.orthogonal_(nn.Parameter(np.zeros((3, 2, 3))), gain=2.0).numpy().reshape(3, 6)
    np.testing.assert_allclose(w @ w.T, 4 * np.eye(3), atol=1e-6)
    x = rng.normal(size=(1, 4, 9)).astype("float32")
    layer = nn.Conv1d(4, 4, 3, padding=1, groups=2, bias=False)
    init.dirac_(layer.weight, groups=2)
    np.testing.assert_array_equal(layer(x).numpy(), x)
    assert nn.Dense(3, 3, weight_init="identity").weight.numpy().trace() == 3
    sparse = init.sparse_(nn.Parameter(np.ones((10, 4))), 0.3).numpy()
    assert ((sparse == 0).sum(0) == 3).all()


def test_gains_are_torchs():
    torch = pytest.importorskip("torch")
    for name in "linear sigmoid tanh relu leaky_relu selu conv2d".split():
        assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert init.calculate_gain("leaky_relu", 0.3) == pytest.approx(
        torch.nn.init.calculate_gain("leaky_relu", 0.3)
    )
