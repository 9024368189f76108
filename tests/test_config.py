"""Modules as JSON of registered names and arguments, and whole models in one file."""

import json
import random

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

X = np.linspace(-1, 1, 24).reshape(2, 12)


@nn.register
class Skip(nn.Module):
    def __init__(self, inner, *more, scale=1.0, **options):
        self.inner, self.more, self.scale, self.options = inner, more, scale, options

    def forward(self, x):
        for layer in (self.inner, *self.more):
            x = x + self.scale * layer(x)
        return x


@nn.register
class Shaped(nn.Module):
    def forward(self, x):
        return x.reshape(-1, 1, 4, 3)


@nn.register
def halved(x):
    return x / 2


class Unknown(nn.Module):
    def forward(self, x):
        return x


def functional():
    a, b = nn.Input((12,)), nn.Input((3,))
    shared = nn.Dense(3, activation="tanh")
    y = nn.concatenate([shared(a) * 2 - b, -shared(a)[:, :2], b @ np.eye(3)], axis=1)
    return nn.Model([a, b], [nn.Dense(2)(y), y])


def shared():
    layer = nn.Dense(12)
    return nn.Sequential(layer, nn.ReLU(), layer, Skip(layer, scale=0.5))


MODELS = {
    "dense": lambda: nn.Dense(4, 12, "relu", bias=False, weight_init="he_normal"),
    "lazy": lambda: nn.Sequential(nn.Dense(5), nn.BatchNorm(), tg.relu, halved, nn.Linear(5, 2)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Dense(12), nn.LayerNorm()), nn.Dropout(0.3)),
    "own": lambda: Skip(nn.Dense(12), nn.Linear(12, 12), scale=float("inf"), a=(1, [2, {}])),
    "shared": shared,
    "images": lambda: nn.Sequential(Shaped(), nn.Conv(2, 3), nn.Conv2d(None, 3, 1), nn.Flatten()),
    "beside": lambda: nn.Sequential(
        nn.Residual(nn.Linear(12, 6), shortcut=nn.Dense(6)),
        nn.Parallel(nn.Tanh(), nn.Dense(2), join="concat", axis=-1),
        nn.Reshape((2, 4)),
        nn.Conv(3, 3, padding="same", activation="mish"),
    ),
    "functional": functional,
}


def run(model):
    model.eval()
    x = tg.asarray(X.astype("float32"))
    y = model([x, x[:, :3]]) if isinstance(model, nn.Model) else model(x)
    return [t.numpy() for t in (y if isinstance(y, tuple) else [y])]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("called", [False, True], ids=["new", "called"])
def test_a_model_comes_back_from_json(tmp_path, name, called):
    model = MODELS[name]()
    if called:
        run(model)
    config = json.loads(json.dumps(model.to_config()))
    twin = nn.from_config(config)
    assert repr(twin) == repr(model)
    assert json.loads(json.dumps(twin.to_config())) == config
    assert len([*twin.named_modules()]) == len([*model.named_modules()])
    expected = run(model)
    model.save(tmp_path / "m", architecture=True)
    loaded = nn.load_model(tmp_path / "m")
    assert type(loaded) is type(model)
    for a, b in zip(run(loaded), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_dtypes_are_those_of_the_file_or_as_asked(tmp_path, backend):
    model = nn.Sequential(nn.Dense(3, 2), nn.BatchNorm1d(3)).astype("float64")
    model.save(tmp_path / "m")
    assert nn.load_model(tmp_path / "m")[0].weight.dtype == np.float64
    half = nn.load_model(tmp_path / "m", dtype="bfloat16", backend="numpy")
    assert (half[0].weight.dtype.name, half[0].weight.backend) == ("bfloat16", "numpy")
    assert nn.load_model(tmp_path / "m")[0].weight.backend == backend


def test_a_layer_that_is_not_registered(tmp_path):
    model = nn.Sequential(Unknown(), nn.Dense(1, 2))
    with pytest.raises(tg.ArgumentError, match=r"Unknown is not registered.*tg\.nn\.register"):
        model.save(tmp_path / "m", architecture=True)
    model.save(tmp_path / "m")
    with pytest.raises(tg.FileError, match=r"no layers \(Unknown is not registered"):
        nn.load_model(tmp_path / "m")
    assert nn.Sequential(nn.ReLU(), nn.Dense(1, 2)).load_weights(tmp_path / "m") == ([], [])
    with pytest.raises(tg.ArgumentError, match=r"register\(made, name\)"):
        nn.register(Unknown, "Dense")
    for value in (lambda s: np.ones(s), object()):
        with pytest.raises(tg.ArgumentError, match=r"Skip\(scale=\.\.\.\)"):
            Skip(nn.ReLU(), scale=value).to_config()


ODD = {
    "nothing": {},
    "no layers": {"version": 1, "layers": []},
    "a module of Python": {"version": 1, "layers": [{"class": "os.system", "arguments": {}}]},
    "a private name": {"version": 1, "layers": [{"class": "LazyLayer", "arguments": {}}]},
    "a function": {"version": 1, "layers": [{"class": "relu", "arguments": {}}]},
    "a submodule": {"version": 1, "layers": [{"class": "init", "arguments": {}}]},
    "no text": {"version": 1, "layers": [{"class": ["Dense"], "arguments": {}}]},
    **{
        n: {"version": 1, "layers": [{"class": "Skip", "arguments": {"inner": {"layer": i}}}]}
        for n, i in (("ahead", 1), ("itself", 0), ("before", -1))
    },
    "unknown argument": {"version": 1, "layers": [{"class": "Dense", "arguments": {"unit": 1}}]},
    "self": {"version": 1, "layers": [{"class": "Dense", "arguments": {"self": 1, "units": 2}}]},
    "wrong argument": {"version": 1, "layers": [{"class": "Dense", "arguments": {"units": -1}}]},
    "an operator": {
        "version": 1,
        "layers": [
            {"symbol": "input", "shape": [1]},
            {"symbol": "method", "of": ["__class__"], "inputs": [{"symbol": 0}]},
        ],
    },
    "a symbol": {"version": 1, "layers": [{"symbol": "input", "shape": [1]}]},
    "newer": {"version": 2, "layers": []},
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_is_no_description_is_refused(name):
    with pytest.raises(tg.TensorgradError, match=r"from_config|Dense"):
        nn.from_config(ODD[name])


def test_a_file_makes_no_more_than_it_holds(tmp_path):
    model = nn.Sequential(nn.Dense(2, 2))
    model.save(tmp_path / "m")
    data = (tmp_path / "m").read_bytes()
    (tmp_path / "m").write_bytes(
        data.replace(b'2, \\"in_features\\": 2', b'2, \\"in_features\\": 9')
    )
    with pytest.raises(tg.FileError, match="fewer weights"):
        nn.load_model(tmp_path / "m")
    assert nn.Dense(3, 3).weight.shape == (3, 3)


def test_damaged_descriptions_are_refused():
    text = json.dumps(functional().to_config())
    rng, refused = random.Random(0), 0
    for _ in range(150):
        damaged = list(text)
        for _ in range(rng.randrange(1, 3)):
            damaged[rng.randrange(len(text))] = chr(rng.randrange(32, 127))
        try:
            config = json.loads("".join(damaged))
        except ValueError:
            continue
        try:
            nn.from_config(config)
        except tg.TensorgradError:
            refused += 1
    assert refused > 20
