"""PyTorch's state dicts into our layers and back: the same outputs, and the same after training."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

torch = pytest.importorskip("torch")
T = torch.nn
RNG = np.random.default_rng(0)


class Blocks(nn.Module):
    def __init__(self, make):
        self.blocks = [make(), make()]
        self.heads = {"a": nn.Linear(4, 2)}

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.heads["a"](x)


class TheirBlocks(T.Module):
    def __init__(self, make):
        super().__init__()
        self.blocks = T.ModuleList([make(), make()])
        self.heads = T.ModuleDict({"a": T.Linear(4, 2)})

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.heads["a"](x)


def attended(layer):
    return lambda x: layer(x, x, x)[0]


SEQ, IMG, ROW = (2, 5, 4), (2, 4, 5, 5), (6, 4)
PAIRS = {  # ours, theirs, the shape of an input
    "Linear": (lambda: nn.Linear(4, 3), lambda: T.Linear(4, 3), SEQ),
    "Dense": (lambda: nn.Dense(3, 4), lambda: T.Linear(4, 3), ROW),
    "Conv1d": (
        lambda: nn.Conv1d(4, 6, 3, groups=2), lambda: T.Conv1d(4, 6, 3, groups=2), (2, 4, 5),
    ),
    "Conv2d": (lambda: nn.Conv2d(4, 3, 3, 2, 1), lambda: T.Conv2d(4, 3, 3, 2, 1), IMG),
    "Conv": (lambda: nn.Conv(3, 3), lambda: T.Conv2d(4, 3, 3), IMG),
    "ConvTranspose2d": (
        lambda: nn.ConvTranspose2d(4, 3, 3, 2), lambda: T.ConvTranspose2d(4, 3, 3, 2), IMG,
    ),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(4), lambda: T.BatchNorm2d(4), IMG),
    "LayerNorm": (lambda: nn.LayerNorm(4), lambda: T.LayerNorm(4), SEQ),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), lambda: T.GroupNorm(2, 4), IMG),
    "Embedding": (lambda: nn.Embedding(7, 4), lambda: T.Embedding(7, 4), None),
    "LSTM": (
        lambda: nn.LSTM(4, 3, 2, batch_first=True, bidirectional=True),
        lambda: T.LSTM(4, 3, 2, batch_first=True, bidirectional=True), SEQ,
    ),
    "GRU": (lambda: nn.GRU(4, 3), lambda: T.GRU(4, 3), SEQ),
    "RNN": (lambda: nn.RNN(4, 3), lambda: T.RNN(4, 3), SEQ),
    "LSTMCell": (lambda: nn.LSTMCell(4, 3), lambda: T.LSTMCell(4, 3), ROW),
    "MultiheadAttention": (
        lambda: nn.MultiheadAttention(4, 2, batch_first=True),
        lambda: T.MultiheadAttention(4, 2, batch_first=True), SEQ,
    ),
    "TransformerEncoderLayer": (
        lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True),
        lambda: T.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True), SEQ,
    ),
    "Sequential": (
        lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Sequential(nn.Linear(3, 2))),
        lambda: T.Sequential(T.Linear(4, 3), T.ReLU(), T.Sequential(T.Linear(3, 2))), ROW,
    ),
    "lists and dicts": (
        lambda: Blocks(lambda: nn.Linear(4, 4)), lambda: TheirBlocks(lambda: T.Linear(4, 4)), ROW,
    ),
}  # fmt: skip


def first(y):
    return first(y[0]) if isinstance(y, tuple) else y


def prepared(name):
    tg.seed(0)
    torch.manual_seed(0)
    make, make_theirs, shape = PAIRS[name]
    ours, theirs = make(), make_theirs().double()
    x = RNG.integers(0, 7, (2, 3)) if shape is None else RNG.normal(size=shape)
    inputs = (x,) * (3 if name == "MultiheadAttention" else 1)
    tx = [torch.tensor(a) for a in inputs]
    with tg.no_grad():
        ours(*inputs)  # lazy ones learn their sizes
    ours.astype("float64")
    for p in theirs.buffers():
        if p.is_floating_point():
            p.data = torch.rand_like(p) + 0.5
    return ours, theirs, inputs, tx


@pytest.mark.parametrize("name", PAIRS)
def test_the_same_outputs_and_the_same_after_training(name):
    ours, theirs, x, tx = prepared(name)
    assert ours.load_torch(theirs.state_dict()) == ([], [])
    ours.eval(), theirs.eval()
    got, expected = first(ours(*x)), first(theirs(*tx))
    np.testing.assert_allclose(got.numpy(), expected.detach().numpy(), rtol=1e-10, atol=1e-12)
    ours.train(), theirs.train()
    sgd = tg.optim.SGD(ours.parameters(), lr=0.1)
    their_sgd = torch.optim.SGD(theirs.parameters(), lr=0.1)
    for _ in range(2):
        sgd.zero_grad(), their_sgd.zero_grad()
        (first(ours(*x)) ** 2).mean().backward()
        (first(theirs(*tx)) ** 2).mean().backward()
        sgd.step(), their_sgd.step()
    back = {k: torch.from_numpy(a) for k, a in ours.to_torch_state().items()}
    state = theirs.state_dict()
    assert back.keys() == state.keys()
    for key, value in state.items():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_allclose(back[key], value, rtol=1e-8, atol=1e-10, err_msg=key)
    theirs.load_state_dict(back)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_layers_of_keras_form_take_them_too(kind):
    ours = getattr(nn, f"Simple{kind}")(3, 4, return_sequences=True, dtype="float64")
    theirs = getattr(T, kind)(4, 3, batch_first=True).double()
    ours.load_torch(theirs)
    x = RNG.normal(size=SEQ)
    np.testing.assert_allclose(ours(x).numpy(), theirs(torch.tensor(x))[0].detach(), rtol=1e-9)
    again = getattr(T, kind)(4, 3, batch_first=True).double()
    again.load_state_dict({k: torch.from_numpy(a) for k, a in ours.to_torch_state().items()})
    np.testing.assert_allclose(ours(x).numpy(), again(torch.tensor(x))[0].detach(), rtol=1e-9)


def test_attention_of_keras_form_takes_them_too():
    ours = nn.MultiHeadAttention(2, 4, bias=True, dtype="float64")
    theirs = T.MultiheadAttention(4, 2, batch_first=True).double()
    ours.load_torch(theirs)
    x = RNG.normal(size=SEQ)
    tx = torch.tensor(x)
    np.testing.assert_allclose(ours(x).numpy(), theirs(tx, tx, tx)[0].detach(), rtol=1e-9)


def test_names_that_differ_and_files(tmp_path):
    theirs = T.Sequential()
    theirs.add_module("fc1", T.Linear(4, 3))
    theirs.add_module("out", T.Linear(3, 2))
    save = pytest.importorskip("safetensors.torch").save_file
    save({f"module.{k}": v.bfloat16() for k, v in theirs.state_dict().items()}, tmp_path / "m")
    ours = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    names = {"layers[0]": "fc1", "layers[1]": "out"}
    ours.load_torch(tmp_path / "m", names=names)
    np.testing.assert_allclose(ours[0].weight.numpy(), theirs.fc1.weight.detach().T, rtol=0.01)
    assert [*ours.to_torch_state(names)] == [*theirs.state_dict()]
    with pytest.raises(tg.ShapeError, match=r"missing 0\.weight.*unexpected fc1\.weight.*names="):
        ours.load_torch(theirs)
    left = ours.load_torch(theirs, strict=False)
    assert left.missing == ["0.weight", "0.bias", "1.weight", "1.bias"]
    with pytest.raises(tg.ShapeError, match=r"fc1.weight has shape \(3, 4\), .* \(3, 3\), its"):
        nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)).load_torch(theirs, names=names)
    with pytest.raises(tg.ArgumentError, match=r"has no layers\[7\]"):
        ours.load_torch(theirs, names={"layers[7]": "fc1"})
    torch.save(theirs.state_dict(), tmp_path / "pickle.pt")
    with pytest.raises(tg.FileError, match="pickle"):
        ours.load_torch(tmp_path / "pickle.pt")
    with pytest.raises(tg.ArgumentError, match="state dict"):
        ours.load_torch(3)
