"""Modules and layers: paths, weights, modes, functional models, errors that name the layer."""

import copy

import numpy as np
import pytest

import tensorgrad as tg

rng = np.random.default_rng(0)


class Block(tg.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ffn = tg.nn.Dense(width, in_features=4, activation="relu")
        self.norm = tg.nn.LayerNorm(width)

    def forward(self, x):
        return self.norm(self.ffn(x))


class Net(tg.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = [Block(4), Block(4)]
        self.heads = {"a": tg.nn.Linear(4, 2), "b": tg.nn.Linear(4, 1)}
        self.scale = tg.nn.Parameter(np.ones(1, np.float32))

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.heads["a"](x) * self.scale


def test_parameters_have_paths_in_the_order_they_were_made():
    names = [name for name, _ in Net().named_parameters()]
    assert names[:4] == [
        "blocks[0].ffn.weight",
        "blocks[0].ffn.bias",
        "blocks[0].norm.weight",
        "blocks[0].norm.bias",
    ]
    assert names[-3:] == ["heads['b'].weight", "heads['b'].bias", "scale"]
    assert len(names) == 13


def test_shared_parameters_appear_once():
    net = Net()
    net.blocks.append(net.blocks[0])
    assert len(net.parameters()) == 13


def test_module_without_super_init_works():
    class Bare(tg.nn.Module):
        def __init__(self):
            self.layer = tg.nn.Dense(2, 3)

        def forward(self, x):
            return self.layer(x)

    net = Bare()
    assert net(np.ones((1, 3), np.float32)).shape == (1, 2)
    assert len(net.eval().parameters()) == 2
    assert not net.layer.training


@pytest.mark.host
def test_state_dict_round_trip_and_its_errors():
    a, b = Net(), Net()
    b.load_state_dict(a.state_dict())
    x = rng.normal(size=(3, 4)).astype(np.float32)
    np.testing.assert_array_equal(a(x).numpy(), b(x).numpy())
    state = a.state_dict()
    state["extra"] = state.pop("scale")
    state["blocks[0].ffn.bias"] = np.ones(3)
    before = b.get_weights()
    with pytest.raises(tg.ShapeError, match=r"missing scale; unexpected extra; .*bias has shape"):
        b.load_state_dict(state)
    for w, v in zip(before, b.get_weights(), strict=True):
        np.testing.assert_array_equal(w, v)


def test_get_and_set_weights():
    model = tg.nn.Sequential(tg.nn.Dense(3, 2), tg.nn.Dense(1, 3))
    assert [w.shape for w in model.get_weights()] == [(2, 3), (3,), (3, 1), (1,)]
    model.set_weights([w * 0 + 1 for w in model.get_weights()])
    assert model(np.ones((1, 2), np.float32)).item() == 3 * 3 + 1
    with pytest.raises(tg.ShapeError, match="4 parameters"):
        model.set_weights([np.ones((2, 3))])


@pytest.mark.host
def test_parameters_own_their_memory():
    given = np.ones(3)
    p = tg.nn.Parameter(given)
    layer = tg.nn.Dense(1, 2, bias=False)
    weights = np.ones((2, 1), np.float32)
    layer.set_weights([weights])
    (p.sum() + layer.weight.sum()).backward()
    tg.optim.SGD([p, layer.weight], lr=1.0).step()
    np.testing.assert_array_equal(given, 1)
    np.testing.assert_array_equal(weights, 1)
    with pytest.raises(tg.DTypeError, match="int64"):
        tg.nn.Parameter([1, 2])


def test_train_and_eval_reach_all_modules():
    model = tg.nn.Sequential(tg.nn.Dropout(0.5), tg.nn.Sequential(tg.nn.Dropout(0.5)))
    x = np.ones((4, 50), np.float32)
    assert (model(x).numpy() == 0).any()
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), x)
    assert (model.train()(x).numpy() == 0).any()


def test_dropout_masks_are_the_same_on_every_backend(backend):
    x = np.ones((40, 50), np.float32)
    tg.seed(3)
    here = tg.nn.Dropout(0.3)(tg.asarray(x, backend=backend))
    tg.seed(3)
    host = tg.nn.Dropout(0.3)(tg.asarray(x, backend="numpy"))
    np.testing.assert_array_equal(here.numpy() != 0, host.numpy() != 0)
    assert abs((host.numpy() == 0).mean() - 0.3) < 0.05


def test_dropout_gradient_uses_the_mask_of_the_forward_pass():
    x = tg.tensor(np.ones((10, 10)), requires_grad=True)
    y = tg.nn.Dropout(0.5)(x)
    tg.nn.Dropout(0.5)(x)  # draws other numbers in between
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "gelu", "silu", "softmax", None])
def test_dense_is_a_product_a_bias_and_an_activation(name):
    layer = tg.nn.Dense(3, in_features=4, activation=name, dtype="float64", bias_init=0.5)
    x = rng.normal(size=(2, 5, 4))
    z = x @ layer.weight.numpy() + 0.5
    expected = z if name is None else getattr(tg, name)(z).numpy()
    np.testing.assert_allclose(layer(x).numpy(), expected, rtol=1e-12)


def test_dense_is_built_at_the_first_call_and_takes_integers():
    layer = tg.nn.Dense(3)
    assert layer.parameters() == []
    assert layer(np.ones((2, 5), np.int64)).dtype == np.float32
    assert layer.weight.shape == (5, 3)


@pytest.mark.host
@pytest.mark.parametrize("name", sorted({*tg.nn.init.INITIALIZERS} - {"dirac", "identity"}))
def test_initial_weights_have_the_variance_they_promise(name):
    w = np.asarray(tg.nn.init.initial(name, (400, 600), "float64"))
    kind, _, _ = name.partition("_")
    known = {"xavier": 2 / 1000, "he": 2 / 400, "lecun": 1 / 400, "orthogonal": 1 / 600}
    known["truncated"] = 0.0025
    expected = known.get(kind, 0)
    assert w.var() == pytest.approx(expected, rel=0.02)
    assert abs(w.mean() - (name == "ones")) < 0.001


def test_initial_names_of_others_are_known():
    for name in ("glorot_uniform", "kaiming_normal"):
        assert tg.nn.init.initial(name, (2, 3)).shape == (2, 3)
    with pytest.raises(tg.ArgumentError, match="did you mean 'he_normal'"):
        tg.nn.Dense(2, 3, weight_init="hee_normal")


def test_functional_model_with_branches_shared_layers_and_operators():
    a, b = tg.nn.Input((3,)), tg.nn.Input((3,))
    shared = tg.nn.Dense(4, activation="tanh")
    joined = tg.nn.concatenate([shared(a), shared(b) * 2 + 1])
    out = tg.nn.Dense(2)(joined)
    model = tg.nn.Model([a, b], [out, joined])
    x, y = (rng.normal(size=(5, 3)).astype(np.float32) for _ in range(2))
    first, second = model(x, y)
    assert first.shape == (5, 2)
    expected = np.concatenate([shared(x).numpy(), shared(y).numpy() * 2 + 1], axis=1)
    np.testing.assert_allclose(second.numpy(), expected, rtol=1e-6)
    assert len(model.parameters()) == 4
    with pytest.raises(tg.GraphError, match="not in `inputs`"):
        tg.nn.Model(a, out)
    with pytest.raises(tg.ArgumentError, match="2 inputs, got 1"):
        model(x)
    with pytest.raises(tg.ShapeError, match=r"Input\(3,\) got a batch of shape \(5, 2\)"):
        model(x[:, :2], y)


def test_errors_name_the_path_of_the_layer():
    net = Net()
    net.blocks[1].ffn = tg.nn.Dense(4, in_features=7)
    with pytest.raises(tg.ShapeError) as caught:
        net(np.ones((2, 4), np.float32))
    assert "made for in_features = 7" in str(caught.value)
    assert "in layer blocks[1].ffn (Dense of Net)" in str(caught.value)
    model = tg.nn.Sequential([tg.nn.Dense(3, 2), tg.nn.Sequential([tg.nn.Dense(1, 5)])])
    with pytest.raises(tg.ShapeError, match=r"in layer layers\[1\]\.layers\[0\]"):
        model(np.ones((2, 2), np.float32))


@pytest.mark.host
def test_errors_of_ops_inside_a_layer_name_it_too():
    class Bad(tg.nn.Module):
        def forward(self, x):
            return x + np.ones(3)

    model = tg.nn.Sequential(tg.nn.Dense(2, 2), Bad())
    with pytest.raises(tg.ShapeError, match=r"add\((.|\n)*in layer layers\[1\] \(Bad of Sequen"):
        model(np.ones((2, 2), np.float32))


def test_summary_and_repr(capsys):
    model = tg.nn.Sequential(tg.nn.Dense(3, 2, activation="relu"), tg.nn.Dropout(0.1))
    text = model.summary()
    assert text in capsys.readouterr().out
    assert "(2, 3) (3,)" in text
    assert text.endswith("\n9 parameters")
    assert "Dense(3, in_features=2, activation='relu')" in repr(model)


def test_modules_can_be_copied_and_cast_and_moved(backend):
    net = tg.nn.Sequential(tg.nn.Dense(3, 2))
    twin = copy.deepcopy(net)
    twin.set_weights([w + 1 for w in twin.get_weights()])
    assert not np.array_equal(net.get_weights()[0], twin.get_weights()[0])
    assert twin.parameters()[0].node is not net.parameters()[0].node
    assert net.astype("float64").parameters()[0].dtype == np.float64
    net.to(backend)
    assert {p.backend for p in net.parameters()} == {backend}


BAD = {
    "units": (lambda: tg.nn.Dense(0), "units=0 must be"),
    "activation": (lambda: tg.nn.Dense(2, activation="rleu"), "did you mean 'relu'"),
    "a number": (lambda: tg.nn.Dense(2)(1.0), "one axis or more"),
    "probability": (lambda: tg.nn.Dropout(1.5), "p=1.5 must be a number from 0 to below 1"),
    "class instead of layer": (lambda: tg.nn.Sequential(tg.nn.ReLU), r"make an object of it"),
    "no forward": (lambda: tg.nn.Module()(1.0), r"has no forward"),
    "model of tensors": (lambda: tg.nn.Model(tg.ones(2), tg.ones(2)), "what Input"),
    "numpy on symbols": (
        lambda: np.polyfit(tg.nn.Dense(2)(tg.nn.Input(3)), 1, 1),
        "np.polyfit of a symbolic tensor: use layers",
    ),
    "layer norm width": (
        lambda: tg.nn.LayerNorm(3)(np.ones((2, 4), np.float32)),
        r"LayerNorm\(3\) was made for rows of shape \(3,\), its input has shape",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(tg.TensorgradError, match=message):
        call()


@pytest.mark.parametrize("kind", [tg.nn.Dense, tg.nn.SimpleGRU, tg.nn.BatchNorm])
def test_weights_are_all_made_or_none(kind, monkeypatch):
    """If lazy initialisation fails, the layer is unchanged, and the next call initialises it."""
    layer, failing = kind() if kind is tg.nn.BatchNorm else kind(3), ["zeros"]
    x = np.ones((2, 4, 5), "float32")

    def drawn(init, *shape):
        if init in failing:
            raise MemoryError("nothing left")
        return kind.drawn(layer, init, *shape)

    monkeypatch.setattr(layer, "drawn", drawn, raising=False)
    with pytest.raises(MemoryError):
        layer(x)
    assert not layer.built
    assert layer.state_dict() == {}
    failing.clear()
    layer(x)
    twin = tg.nn.BatchNorm1d(4) if kind is tg.nn.BatchNorm else kind(3, 5)
    assert list(layer.state_dict()) == list(twin.state_dict())
