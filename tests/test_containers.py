"""Lists and dicts of modules, layers beside each other, and what dropout of all kinds drops."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

pytestmark = pytest.mark.host


def test_a_list_of_modules_is_a_list_and_a_module():
    blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 3)])
    blocks.append(nn.ReLU())
    blocks.insert(0, nn.Tanh())
    del blocks[1]
    blocks[0] = nn.Sigmoid()
    assert [type(b).__name__ for b in blocks] == ["Sigmoid", "Linear", "ReLU"]
    assert [n for n, _ in blocks.named_parameters()] == ["1.weight", "1.bias"]
    assert type(blocks[:2]) is nn.ModuleList
    assert len(blocks[:2]) == 2
    assert all(not m.training for m in blocks.eval())
    outer = nn.Module()
    outer.blocks, outer.heads = blocks, nn.ModuleDict({"a": nn.Linear(3, 1, bias=False)})
    outer.scales = nn.ParameterDict({"s": [1.0]})
    assert [n for n, _ in outer.named_parameters()] == [
        "blocks.1.weight", "blocks.1.bias", "heads.a.weight", "scales.s"]  # fmt: skip
    assert outer.heads.pop("a").units == 1
    assert blocks == blocks != nn.ModuleList(blocks)
    assert len({blocks, outer.heads}) == 2


def test_residual_and_parallel():
    x = np.ones((2, 3, 4, 4), "float32")
    y = nn.Parallel(nn.Conv(2, 1), nn.Conv(5, 3, padding="same"), nn.Identity())(x)
    assert y.shape == (2, 10, 4, 4)
    double = lambda x: x * 2  # noqa: E731
    assert nn.Parallel(double, double, join="sum")([1.0]).tolist() == [4.0]
    assert len(nn.Parallel(double, abs, join="none")([1.0])) == 2
    block = nn.Residual(nn.Conv(6, 3, stride=2, padding=1), shortcut=nn.Conv(6, 1, stride=2))
    assert block(x).shape == (2, 6, 2, 2)
    assert len(block.parameters()) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.ModuleList([3]), "ModuleList holds modules, got 3"),
        (lambda: nn.ModuleList([nn.ReLU, nn.Tanh]), r"make an object of it with \(\)"),
        (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), "names without dots"),
        (lambda: nn.ParameterList(0.5), "must be a list"),
        (lambda: nn.Residual(nn.Dense(2))(np.ones((1, 3))), "give a shortcut="),
        (lambda: nn.Permute((0, 1)), "from 1 on"),
        (lambda: nn.Reshape((2, 2))(np.ones((4, 3))), "the batch is first"),
        (lambda: nn.ZeroPad2d((1, 2, 3)), "or 4 of them"),
        (lambda: nn.Dropout2d()(np.ones((2, 3))), "drops channels of"),
        (lambda: nn.Embedding(3, 2, padding_idx=3), "padding_idx=3 is no row of 3"),
        (lambda: nn.Conv(3, 3)(np.ones((2, 3))), "Conv takes sequences"),
        (lambda: nn.ConvTranspose1d(1, 1, 2)(np.ones((1, 1, 3)), (9,)), r"it is from \[4\] to"),
    ],
)
def test_mistakes(call, message):
    with pytest.raises(tg.TensorgradError, match=message):
        call()


def test_what_dropout_drops():
    tg.seed(0)
    x = np.random.default_rng(0).normal(size=(2000, 50))
    for layer in (nn.AlphaDropout(0.3), nn.FeatureAlphaDropout(0.3)):
        y = layer(x).numpy()
        assert abs(y.mean()) < 0.02
        assert abs(y.std() - 1) < 0.02
    y = nn.DropPath(0.25)(x).numpy()
    np.testing.assert_allclose((y / x)[y != 0], 4 / 3)
    gone = (y == 0).all(1)
    assert abs(gone.mean() - 0.25) < 0.03
    assert (y[~gone] != 0).all()
    for axes, kind in enumerate((nn.Dropout1d, nn.Dropout2d, nn.Dropout3d), 1):
        y = kind(0.25)(np.ones((300, 8, *[2] * axes))).numpy().reshape(2400, -1)
        assert (y == y[:, :1]).all()
        assert set(np.unique(y).round(6)) == {0.0, 1.333333}
        assert abs((y == 0).mean() - 0.25) < 0.04
        assert kind(0.25).eval()(np.ones((1, 1, *[2] * axes))).numpy().all()
