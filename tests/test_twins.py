"""Programs of the gallery beside the same networks in PyTorch: from the same weights and with the
same batches both have the same losses, step by step. `pytest -m slow -s tests/test_twins.py` prints
how long steps take, ours by PyTorch's, which are measured in turns."""

import importlib
import time
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
nn = torch.nn


class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(8, 128, batch_first=True)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        return self.out(self.layer(x.reshape(-1, 8, 8))[1][0][-1])


class RowTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(8, 64)
        self.positions = nn.Embedding(8, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(64), enable_nested_tensor=False)
        self.out = nn.Linear(64, 10)

    def forward(self, x):
        x = self.embed(x.reshape(-1, 8, 8)) + self.positions.weight
        return self.out(self.encoder(x).mean(1))


def dense():
    layers = nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
    return nn.Sequential(*layers)


# program: our network, of its module, and the twin
TWINS = {
    "digits_dense": (lambda p: p.network(), dense),
    "digits_rows": (lambda p: p.Rows(tg.nn.LSTM(8, 128, batch_first=True)), Rows),
    "digits_transformer": (lambda p: p.RowTransformer(), RowTransformer),
}


@pytest.mark.slow
@pytest.mark.parametrize("program", TWINS)
def test_same_losses(program, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "examples"))
    make, twin = TWINS[program]
    torch.manual_seed(0)
    ours, theirs = make(importlib.import_module(program)), twin()
    (x, y), _ = tg.data.load_digits()
    ours(x[:1])  # the sizes of what is made at the first call
    ours.load_torch(theirs.state_dict())
    ours.eval(), theirs.eval()  # without dropout
    mine = tg.optim.Adam(ours.parameters(), lr=1e-3)
    other = torch.optim.Adam(theirs.parameters(), lr=1e-3)

    def our_step(xb, yb):
        loss = tg.cross_entropy(ours(xb), yb)
        mine.zero_grad()
        loss.backward()
        mine.step()
        return loss.item()

    def their_step(xb, yb):
        loss = nn.functional.cross_entropy(theirs(torch.tensor(xb)), torch.tensor(yb))
        other.zero_grad()
        loss.backward()
        other.step()
        return loss.item()

    order, losses, seconds = np.random.default_rng(0), [], []
    for _ in range(80):
        chosen = order.permutation(len(x))[:64]
        pair, took = [], []
        for step in (our_step, their_step):
            start = time.perf_counter()
            pair.append(step(x[chosen], y[chosen]))
            took.append(time.perf_counter() - start)
        losses.append(pair)
        seconds.append(took)
    first, second = np.array(losses).T
    a, b = np.median(seconds[10:], axis=0) * 1e3
    print(f"\n{program}: {a:.2f} ms a step, PyTorch {b:.2f} ms, ratio {a / b:.2f}")
    assert second[-5:].mean() < second[:5].mean() - 1  # something is learned
    np.testing.assert_allclose(first, second, rtol=5e-3, atol=2e-3)
