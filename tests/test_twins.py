"""Programs of the gallery beside the same networks in PyTorch: from the same weights, with the same
batches and the same noise both have the same losses, step by step.

`OMP_NUM_THREADS=1 python tests/test_twins.py` writes the CPU time of steps, ours by PyTorch's, in
turns, to examples/results/twins.json, from which the gallery's table is."""

import argparse
import datetime
import importlib
import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")
nn, F = torch.nn, torch.nn.functional
EXAMPLES = Path(__file__).parent.parent / "examples"
STEPS = 80


class Classifier(nn.Module):
    def loss(self, x, y):
        return F.cross_entropy(self(x), y)


class DenseNetwork(Classifier):
    def __init__(self):
        super().__init__()
        layers = nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
        for i, layer in enumerate(layers):
            self.add_module(str(i), layer)

    def forward(self, x):
        for layer in self.children():
            x = layer(x)
        return x


class Rows(Classifier):
    def __init__(self):
        super().__init__()
        self.layer = nn.LSTM(8, 128, batch_first=True)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        return self.out(self.layer(x.reshape(-1, 8, 8))[1][0][-1])


class RowTransformer(Classifier):
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


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = (
            nn.ModuleList([nn.Linear(a, 128), nn.Linear(128, 128), nn.Linear(128, b)])
            for a, b in ((64, 4), (2, 64))
        )

    def through(self, layers, x):
        return layers[2](torch.tanh(layers[1](torch.tanh(layers[0](x)))))

    def loss(self, x):
        mean, log_var = self.through(self.encoder, x).chunk(2, dim=-1)
        noise = torch.from_numpy(tg.random.normal(size=mean.shape).numpy())
        z = mean + torch.exp(log_var / 2) * noise
        logits = self.through(self.decoder, z)
        pixels = F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1)
        divergence = (mean**2 + log_var.exp() - log_var - 1).sum(-1) / 2
        return pixels.mean() + divergence.mean()


class Diffusion(nn.Module):
    def __init__(self, width=128):
        super().__init__()
        self.time, self.label = nn.Linear(12, width), nn.Embedding(10, width)
        self.first, self.last = nn.Linear(64, width), nn.Linear(width, 64)
        self.blocks = nn.ModuleList(
            nn.ModuleList([nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)])
            for _ in range(3)
        )

    def loss(self, x, label):
        t = torch.from_numpy(tg.rand(len(x), 1).numpy())
        share = torch.cos(t * (0.99 * np.pi / 2)) ** 2
        noise = torch.from_numpy(tg.randn(*x.shape).numpy())
        h = self.first(share.sqrt() * x + (1 - share).sqrt() * noise)
        angles = t * 2.0 ** torch.arange(6)
        told = self.time(torch.cat([angles.sin(), angles.cos()], 1)) + self.label(label)
        for norm, one, two in self.blocks:
            h = h + told
            h = h + two(F.silu(one(norm(h))))
        return F.mse_loss(self.last(h), x)


class Factors(nn.Module):
    def __init__(self):
        super().__init__()
        self.user, self.item = nn.Embedding(300, 4), nn.Embedding(200, 4)
        self.user_bias, self.item_bias = nn.Embedding(300, 1), nn.Embedding(200, 1)
        for table in (self.user, self.item):
            nn.init.normal_(table.weight, std=0.3)

    def loss(self, users, items, ratings):
        biases = self.user_bias(users) + self.item_bias(items)
        return F.mse_loss((self.user(users) * self.item(items)).sum(-1) + biases[:, 0], ratings)


def digits(_program):
    return tg.data.load_digits()[0]


# program: our network, of its module, the twin, our loss, the data, of the module, what a batch is
TWINS = {
    "digits_dense": (lambda p: p.network(), DenseNetwork, digits, 64),
    "digits_rows": (lambda p: p.Rows(tg.nn.LSTM(8, 128, batch_first=True)), Rows, digits, 64),
    "digits_transformer": (lambda p: p.RowTransformer(), RowTransformer, digits, 64),
    "vae": (lambda p: p.VAE(), VAE, lambda p: digits(p)[:1], 64),
    "diffusion": (lambda p: p.Diffusion(), Diffusion, digits, 128),
    "recommender": (
        lambda p: p.Factors(300, 200, 4),
        Factors,
        lambda p: p.rank_4(np.random.default_rng(0)),
        512,
    ),
}
LOSSES = {  # of our network on a batch; of the others it is the cross-entropy
    "vae": lambda p, model, x: p.negative_elbo(model(x), x),
    "diffusion": lambda p, model, x, label: tg.mean_squared_error(model(x, label), x),
    "recommender": lambda p, model, u, i, ratings: tg.mean_squared_error(model(u, i), ratings),
}


def classifier_loss(_program, model, x, y):
    return tg.cross_entropy(model(x), y)


def trained(name):
    """Losses and seconds of the CPU (steps, 2) of both, which take turns."""
    sys.path.insert(0, str(EXAMPLES))
    program = importlib.import_module(name)
    sys.path.remove(str(EXAMPLES))
    make, twin, table, size = TWINS[name]
    torch.manual_seed(0)
    arrays, ours, theirs = table(program), make(program), twin()
    our_loss = LOSSES.get(name, classifier_loss)
    our_loss(program, ours, *(a[:1] for a in arrays))  # layers made at the first call
    ours.load_torch(theirs.state_dict())
    if isinstance(theirs, Classifier):
        ours.eval(), theirs.eval()  # without dropout
    rate = 0.03 if name == "recommender" else 1e-3
    mine = tg.optim.Adam(ours.parameters(), lr=rate)
    other = torch.optim.Adam(theirs.parameters(), lr=rate)
    steps = (
        (mine, lambda batch: our_loss(program, ours, *map(tg.tensor, batch))),
        (other, lambda batch: theirs.loss(*map(torch.from_numpy, batch))),
    )
    order, losses, seconds = np.random.default_rng(0), [], []
    for step in range(STEPS):
        chosen = order.permutation(len(arrays[0]))[:size]
        batch = [a[chosen] for a in arrays]
        pair, took = [], []
        for optimizer, loss_of in steps:
            tg.seed(step)
            start = time.process_time()
            loss = loss_of(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pair.append(loss.item())
            took.append(time.process_time() - start)
        losses.append(pair)
        seconds.append(took)
    return np.array(losses), np.array(seconds)


@pytest.mark.slow
@pytest.mark.parametrize("program", TWINS)
def test_same_losses(program):
    first, second = trained(program)[0].T
    assert second[-5:].mean() < 0.9 * second[:5].mean()  # something is learned
    np.testing.assert_allclose(first, second, rtol=5e-3, atol=2e-3)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", default=EXAMPLES / "results/twins.json", type=Path)
    path = parser.parse_args().output
    rows = {}
    for name in TWINS:
        losses, seconds = trained(name)
        ours, theirs = np.median(seconds[10:], axis=0) * 1e3
        rows[name] = {
            "loss": losses[-1].tolist(),
            "milliseconds": [round(ours, 3), round(theirs, 3)],
            "ratio": round(float(np.median(seconds[10:, 0] / seconds[10:, 1])), 2),
        }
        print(name, rows[name])
    facts = {
        "command": "OMP_NUM_THREADS=1 python tests/test_twins.py",
        "date": datetime.date.today().isoformat(),
        "versions": {"tensorgrad": tg.__version__, "torch": torch.__version__},
        "threads": torch.get_num_threads(),
    }
    path.write_text(json.dumps({**facts, "twins": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
