"""Gradients of tables that hold the rows looked up alone, and steps by them."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.rows import Rows

IDS = np.array([[3, 0], [3, 6]])


def table(backend="numpy", **options):
    tg.seed(0)
    made = nn.Embedding(7, 3, sparse=True, dtype="float64", **options)
    made.weight.data = tg.tensor(made.weight.numpy(), backend=backend).data
    return made


def whole(made, loss):
    """The gradient of a loss of the table by the dense path."""
    w = tg.tensor(made.weight.numpy(), requires_grad=True)
    loss(lambda ids: tg.embedding(w, ids), w).backward()
    return w.grad.numpy()


LOSSES = {
    "one lookup": lambda e, w: (e(IDS) ** 2).sum(),
    "several lookups": lambda e, w: (e(IDS) ** 2).sum() + (e([6, 6, 1]) ** 3).sum(),
    "no ids": lambda e, w: e(np.zeros(0, int)).sum(),
    "and the whole table": lambda e, w: (w**2).sum() + (e(IDS) ** 2).sum() + w.mean(),
    "a multiple of the table": lambda e, w: (tg.embedding(2 * w, IDS, sparse=True) ** 2).sum(),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_dense_path(name, backend):
    made = table(backend)
    LOSSES[name](made, made.weight).backward()
    g = made.weight.grad
    assert (g.shape, g.backend) == ((7, 3), backend)
    assert isinstance(g.data, Rows) == ("lookup" in name or name == "no ids")
    np.testing.assert_allclose(g.numpy(), whole(made, LOSSES[name]), rtol=1e-14)


def test_rows_accumulate_scale_and_are_clipped_as_rows(backend):
    made, loss = table(backend), LOSSES["several lookups"]
    dense = whole(made, loss)
    for _ in range(2):
        loss(made, made.weight).backward()
    assert (made.weight.grad / 4).data.ids.tolist() == [0, 1, 3, 6]
    assert made.weight.grad.data.ids.tolist() == [0, 1, 3, 6]
    norm = optim.clip_grad_norm_(made.parameters(), 0.5)
    assert float(norm) == pytest.approx(2 * np.linalg.norm(dense))
    assert isinstance(made.weight.grad.data, Rows)
    np.testing.assert_allclose(
        made.weight.grad.numpy(), dense * 0.5 / np.linalg.norm(dense), rtol=1e-5
    )
    np.testing.assert_allclose((made.weight.grad + 1).numpy(), made.weight.grad.numpy() + 1)
    assert made.weight.grad.sum().item() == pytest.approx(made.weight.grad.numpy().sum())


def test_gradients_that_are_differentiated_are_whole():
    made = table()
    first = tg.grad(lambda w: (tg.embedding(w, IDS, sparse=True) ** 3).sum())(made.weight)
    made_of = tg.tensor(made.weight.numpy(), requires_grad=True)
    np.testing.assert_allclose(first.numpy(), whole(made, lambda e, w: (e(IDS) ** 3).sum()))
    (tg.embedding(made_of, IDS, sparse=True) ** 3).sum().backward(create_graph=True)
    g, made_of.grad = made_of.grad, None
    g.sum().backward()
    expected = np.zeros((7, 3))
    np.add.at(expected, IDS, 6 * made.weight.numpy()[IDS])
    np.testing.assert_allclose(made_of.grad.numpy(), expected)
    rows = tg.vmap(tg.grad(lambda w, i: (tg.embedding(w, i, sparse=True) ** 2).sum()), (None, 0))
    assert rows(made.weight, IDS).shape == (2, 7, 3)


STEPS = [
    ("SGD", {"lr": 0.1, "maximize": True}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.01, "initial_accumulator_value": 0.1}),
    ("SparseAdam", {"lr": 0.1, "betas": (0.8, 0.9)}),
]


@pytest.mark.parametrize(("name", "options"), STEPS)
@pytest.mark.parametrize("layer", ["Embedding", "EmbeddingBag"])
def test_steps_are_pytorchs_and_leave_other_rows(name, options, layer, backend):
    torch, rng = pytest.importorskip("torch"), np.random.default_rng(0)
    ours = getattr(nn, layer)(9, 3, sparse=True, dtype="float64")
    theirs = getattr(torch.nn, layer)(9, 3, sparse=True, dtype=torch.float64)
    start = ours.weight.numpy()
    theirs.weight.data[:] = torch.tensor(start)
    ours.weight.data = tg.tensor(start, backend=backend).data
    a = getattr(optim, name)(ours.parameters(), **options)
    b = getattr(torch.optim, name)(theirs.parameters(), **options)
    for step in range(6):
        a.zero_grad(), b.zero_grad()
        for _ in range(1 + step % 2):
            ids = rng.integers(0, 8, (2, 3))
            (ours(ids) ** 2).sum().backward()
            (theirs(torch.tensor(ids)) ** 2).sum().backward()
        a.step(), b.step()
        np.testing.assert_allclose(ours.weight.numpy(), theirs.weight.detach().numpy(), rtol=1e-12)
    assert (ours.weight.numpy()[8] == start[8]).all()


def test_a_skipped_step_leaves_rows_and_states():
    made, scale = table(), optim.LossScale()
    adam = optim.SparseAdam(made.parameters(), lr=0.1)
    for factor in (1.0, np.inf, 1.0):
        before = made.weight.numpy().copy()
        adam.zero_grad()
        scale(made(IDS).sum() * factor).backward()
        assert bool(scale.step(adam)) == np.isfinite(factor)
        assert (made.weight.numpy() == before).all() == (not np.isfinite(factor))
    assert adam.groups[0]["hyper"][1] == 2


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda p: optim.Adam(p), "Adam moves all rows of a table: take SparseAdam"),
        (lambda p: optim.SGD(p, momentum=0.9), "SGD moves only these without momentum"),
        (lambda p: optim.Adagrad(p, weight_decay=0.1), "without weight_decay"),
        (lambda p: optim.Muon(p), "Muon moves all rows"),
    ],
)
def test_an_optimizer_that_moves_other_rows_refuses(make, told):
    made = table()
    made(IDS).sum().backward()
    with pytest.raises(tg.GraphError, match=told):
        make(made.parameters()).step()


def test_frequencies_and_rows_exclude_each_other():
    with pytest.raises(tg.ArgumentError, match="leave out one"):
        nn.Embedding(4, 2, scale_grad_by_freq=True, sparse=True)
