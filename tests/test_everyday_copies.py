"""Tensors and modules under copy, deepcopy, pickle, a process pool and joblib: what comes out is of
the same kind, computes the same, and shares nothing that the original would not."""

import concurrent.futures
import copy
import multiprocessing
import operator
import pickle

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn

pytestmark = pytest.mark.host

F = np.float32([[-2.5, -0.5, 0.5], [1.5, 2.5, 3.25]])
I = np.int64([[-7, -1, 0], [1, 5, 7]])  # noqa: E741


def clone(t):
    return pickle.loads(pickle.dumps(t))


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "pickle": clone}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("kind", ["plain", "integer", "leaf", "Parameter", "Buffer"])
def test_copies_are_of_the_same_kind(kind, how):
    t = {
        "plain": lambda: tg.tensor(F),
        "integer": lambda: tg.tensor(I),
        "leaf": lambda: tg.tensor(F, requires_grad=True),
        "Parameter": lambda: nn.Parameter(F),
        "Buffer": lambda: nn.Buffer(F),
    }[kind]()
    twin = COPIES[how](t)
    assert twin is not t
    assert (type(twin), twin.dtype, twin.requires_grad) == (type(t), t.dtype, t.requires_grad)
    np.testing.assert_array_equal(twin.numpy(), t.numpy())
    if how != "copy" and t.requires_grad:
        (twin * 2.0).sum().backward()
        assert t.grad is None
        np.testing.assert_array_equal(twin.grad.numpy(), np.full_like(F, 2))


@pytest.mark.parametrize("how", COPIES)
def test_a_copy_has_the_gradient_and_not_the_graph(how):
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    (w * w).sum().backward()
    twin = COPIES[how](w)
    assert twin.grad is None or twin.grad.tolist() == [2.0, 4.0]
    assert w.grad.tolist() == [2.0, 4.0]


@pytest.mark.parametrize("how", COPIES)
def test_a_result_on_the_tape_is_not_cut_by_a_copy(how):
    y = tg.tensor([1.0], requires_grad=True) * 2.0
    with pytest.raises(tg.GraphError, match=r"\.detach\(\)"):
        COPIES[how](y)
    assert COPIES[how](y.detach()).tolist() == [2.0]


def test_a_deep_copy_shares_what_the_original_shares():
    p = nn.Parameter(F)
    first, second = copy.deepcopy([p, p])
    assert first is second
    module = nn.Sequential(nn.Linear(2, 2))
    module.tied = module.layers[0].weight
    assert len(clone(module).parameters()) == len(module.parameters()) == 2


MODULES = {
    "Linear": (lambda: nn.Linear(3, 2), F),
    "Sequential": (lambda: nn.Sequential([nn.Dense(4, 3, activation="relu"), nn.Dense(1, 4)]), F),
    "SimpleLSTM": (lambda: nn.Sequential([nn.SimpleLSTM(4)]), F[None]),
    "BatchNorm": (lambda: nn.Sequential([nn.Dense(4, 3), nn.BatchNorm1d(4)]), F),
    "Conv2d": (lambda: nn.Sequential([nn.Conv(2, 2), nn.Flatten()]), np.ones((1, 1, 4, 4))),
}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("name", MODULES)
def test_modules_survive_copies(name, how):
    make, x = MODULES[name]
    model = make()
    model(x)
    model.eval()
    twin = COPIES[how](model)
    np.testing.assert_array_equal(twin(x).numpy(), model(x).numpy())
    assert [type(p) for p in twin.parameters()] == [nn.Parameter] * len(model.parameters())
    if how != "copy":
        twin.parameters()[0].data = twin.parameters()[0].data * 0
        assert np.any(model.parameters()[0].numpy())


def test_compiled_models_and_optimizers_survive_a_pickle():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 3)).astype(np.float32), rng.normal(size=(16, 1))
    model = nn.Sequential([nn.Dense(4, 3, activation="tanh"), nn.Dense(1, 4)])
    model.compile(tg.optim.Adam(lr=0.1), "mse")
    model.fit(x, y, epochs=2, shuffle=False, verbose=0)
    twin = clone(model)
    for m in (model, twin):
        m.fit(x, y, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_array_equal(twin.predict(x), model.predict(x))


def test_tensors_cross_into_other_processes():
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        model, x = nn.Linear(3, 2), tg.tensor(F)
        negative = pool.submit(operator.neg, x)
        predicted = pool.submit(nn.Linear.forward, model, x)
        assert negative.result().tolist() == (-F).tolist()
        with pytest.raises(tg.GraphError, match="detach"):
            predicted.result()  # on that process's tape, which does not come along


def test_joblib_hashes_and_sends_tensors():
    joblib = pytest.importorskip("joblib", reason="joblib comes with scikit-learn")
    assert joblib.hash(tg.tensor(F)) == joblib.hash(tg.tensor(F))
    assert joblib.hash(tg.tensor(F)) != joblib.hash(tg.tensor(F + 1))
    made = joblib.Parallel(n_jobs=1)(joblib.delayed(operator.add)(tg.tensor(F), k) for k in (1, 2))
    assert made[1].tolist() == (F + 2).tolist()
