"""tg.compile on a GPU: a step is captured in a CUDA graph, with the guards of its Python."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg

from .steps import training
from .test_graphed import run, same

pytestmark = pytest.mark.slow  # a minute on the simulator, as those of graphed


def small(gpu, strict=True, more=None):
    """A step on a GPU, compiled, and its parameter."""
    w = tg.Parameter(tg.tensor([1.0, 2.0]).to(gpu.name))
    sgd = tg.optim.SGD([w], lr=0.5)

    def step(x, by=1.0):
        sgd.zero_grad()
        loss = (w * x).sum() * by * (more(x) if more else 1)
        loss.backward()
        sgd.step()
        return loss

    return tg.compile(step, strict=strict), w


def test_a_compiled_step_is_the_eager_one(gpu):
    run_, w = small(gpu)
    ones = tg.ones(2).to(gpu.name)
    assert [run_(ones).item() for _ in range(6)] == [3.0, 2.0, 1.0, 0.0, -1.0, -2.0]
    ((_, graph),) = next(iter(run_._graphs.plans.values()))[:1]
    assert graph.graph is not None
    assert w.tolist() == [-2.0, -1.0]
    w.data = w.data * 0
    assert [run_(ones).item() for _ in range(4)] == [0.0, -1.0, -2.0, -3.0]
    assert [run_(ones, by=2.0).item() for _ in range(4)] == [-8.0, -12.0, -16.0, -20.0]
    assert [run_(x=ones).item() for _ in range(4)] == [-12.0, -13.0, -14.0, -15.0]


@pytest.mark.parametrize("rate", ["warmup", "constant"])
def test_models_train_as_eager(rate, gpu):
    states = []
    for compiled in (False, True):
        it = training(gpu.name, rate=rate, clip=0.5)
        step = tg.compile(it.step, strict=True) if compiled else it.step
        results = run(step, it)
        states.append([np.concatenate([n.ravel() for n in r]) for r in results] + it.state())
    same(*states)


def test_what_its_python_reads_by_name_is_guarded(gpu):
    factor = 1.0
    run_, _ = small(gpu, more=lambda x: factor)
    zeros = tg.zeros(2).to(gpu.name)
    for _ in range(4):
        run_(zeros)
    ones = tg.ones(2).to(gpu.name)
    before = run_(ones).item()
    factor = 10.0
    assert run_(ones).item() == 10 * (before - 1)


class Counts:
    calls = 0


def counting(x):
    Counts.calls += 1
    return 1


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (counting, "it changes calls"),
        (lambda x: float(x.sum().item()), "transfers are disallowed"),
        (lambda x: np.random.rand(), "np.random"),  # noqa: NPY002
    ],
)
def test_what_cannot_be_captured_is_refused(more, why, gpu):
    run_, _ = small(gpu, more=more)
    ones = tg.ones(2).to(gpu.name)

    def steps(run_):
        return [run_(ones).item() for _ in range(5)]

    with pytest.raises(tg.GraphError, match=why):
        steps(run_)
    run_, w = small(gpu, strict=False, more=more)
    with pytest.warns(RuntimeWarning, match=f"runs eagerly: .*({why})"):
        steps(run_)
    assert run_.eager
    assert len({*map(float, w.tolist())}) == 2


def test_a_graph_to_differentiate_other_devices_and_many_forms_are_refused(gpu):
    w = tg.Parameter(tg.tensor([1.0, 2.0]).to(gpu.name))
    model = tg.compile(lambda x: w * x, strict=True)
    ones = tg.ones(2).to(gpu.name)
    model(ones)
    with pytest.raises(tg.GraphError, match="still to be differentiated"):
        model(ones)
    both = tg.compile(lambda x, y: x * 2, strict=True)
    with pytest.raises(tg.GraphError, match="two devices"):
        both(ones, tg.ones(2).to("numpy"))
    many = tg.compile(lambda x: (x * w.sum()).detach(), strict=True)

    def forms():
        for n in range(1, 20):
            for _ in range(4):
                many(tg.ones(n).to(gpu.name))

    with pytest.raises(tg.GraphError, match="captured 8 times"):
        forms()


def test_fit_trains_with_a_compiled_step(backend):
    x = np.random.default_rng(0).normal(size=(96, 4)).astype("f")
    y = x @ np.ones((4, 1), "f")
    losses = []
    for compiled in (False, True):
        tg.seed(0)
        model = tg.nn.Sequential(tg.nn.Dense(8, 4, activation="tanh"), tg.nn.Dense(1, 8))
        model.compile("adam", "mse", compiled=compiled, graphed=False)
        losses.append(model.fit(x, y, epochs=3, batch_size=16, verbose=0).losses)
    np.testing.assert_allclose(*losses, rtol=1e-6)
    assert backend == "numpy" or losses[0] == losses[1]
