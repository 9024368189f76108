"""A step captured in a CUDA graph is bit for bit the eager step, and what cannot be captured is
refused. On cudasim a capture computes nothing, and a launch replays its calls on the same
memory."""

from __future__ import annotations

import gc
import itertools
import warnings
import weakref

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.cuda import graph as graphs
from tensorgrad.optim import schedules
from tensorgrad.switches import switches
from tensorgrad.train import Callback, capturing

from .conftest import DEFAULT
from .steps import MODELS, OPTIMIZERS, RATES, training

pytestmark = pytest.mark.slow  # minutes on the simulator

STEPS = 7


def same(a, b):
    """Whether two lists of arrays hold the same bits."""
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def numbers(result):
    parts = result.values() if isinstance(result, dict) else [result]
    return [t.numpy().copy() for t in parts]


def run(step, trained, count=STEPS):
    """The results of n steps."""
    return [numbers(step(*batch)) for batch in itertools.islice(trained.batches, count)]


def both(gpu, warmup=2, **how):
    """Eager and graphed training of one kind, and their results."""
    eager = training(gpu.name, **how)
    results = run(eager.step, eager)
    after = eager.state()
    quick = training(gpu.name, **how)
    step = tg.cuda.graphed(quick.step, next(training(gpu.name, **how).batches), warmup)
    assert step.graph is None
    seen = run(step, quick)
    assert step.graph is not None
    for a, b in zip(results, seen, strict=True):
        same(a, b)
    same(after, quick.state())
    return quick, step


@pytest.mark.parametrize(
    "half", [None, "float16", pytest.param("bfloat16", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_as_eager(model, half, gpu):
    both(gpu, model=model, half=half, clip=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("clip", [0.1, None])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_as_eager(optimizer, rate, clip, gpu):
    both(gpu, optimizer=optimizer, rate=rate, clip=clip)
    both(gpu, optimizer=optimizer, rate=rate, clip=clip, half="float16", warmup=1)


def test_steps_that_overflow_are_left_out_in_the_graph_too(gpu):
    results = []
    for capture in (False, True):
        it = training(gpu.name, half="float16", rate="warmup")
        it.scale.load_state_dict({"value": 2.0**24, "good": 0})
        step = tg.cuda.graphed(it.step, next(it.batches), 1) if capture else it.step
        if not capture:
            next(it.batches)
        run(step, it, 20)
        results.append(it.state())
        count = it.optimizer.groups[0]["hyper"][1]
        assert 0 < float(count) < it.optimizer.steps == 20
    same(*results)


# --- what the host does in a step, and between steps --------------------------------------------


def disturbed(gpu, disturb, graph, **how):
    """The state after some steps, `disturb(training)`, and more steps."""
    it = training(gpu.name, **{"half": "float16", "rate": "warmup", **how})
    step = tg.cuda.graphed(it.step, next(training(gpu.name, **how).batches)) if graph else it.step
    results = run(step, it, 5)
    disturb(it)
    results += run(step, it, 3)
    return [np.concatenate([n.ravel() for n in r]) for r in results] + it.state(), step


def seeded(it):
    tg.seed(11)


def set_rate(it):
    it.optimizer.lr = 0.001


def new_data(it):
    p = it.model.parameters()[1]
    p.data = p.data * 0.5


def loaded(it):
    other = training(it.model.parameters()[0].backend, half="float16")
    run(other.step, other, 2)
    it.model.load_state_dict(other.model.state_dict())
    it.optimizer.load_state_dict(other.optimizer.state_dict())
    it.scale.load_state_dict(other.scale.state_dict())


def started_anew(it):
    it.optimizer.load_state_dict(training("numpy").optimizer.state_dict())


def another_scale(it):
    it.scale.load_state_dict({"value": 4.0, "good": 2})


def gradients_gone(it):
    it.optimizer.zero_grad()


def frozen(it):
    it.model.parameters()[0].requires_grad = False


DISTURBING = (
    seeded,
    set_rate,
    new_data,
    loaded,
    started_anew,
    another_scale,
    gradients_gone,
    frozen,
)


@pytest.mark.parametrize("disturb", DISTURBING)
def test_what_happens_between_steps_is_heeded(disturb, gpu):
    a, _ = disturbed(gpu, disturb, False)
    b, step = disturbed(gpu, disturb, True)
    same(a, b)
    assert step.graph is not None


def test_a_ragged_batch_runs_as_it_is(gpu):
    results = []
    for graph in (False, True):
        it = training(gpu.name, half="float16", rate="warmup")
        step = tg.cuda.graphed(it.step, next(training(gpu.name).batches), 1) if graph else it.step
        for k in range(8):
            x, y = next(it.batches)
            results.append(numbers(step(x[:3], y[:3]) if k in (0, 4, 7) else step(x, y)))
        results.append(it.state())
    for a, b in zip(results[:9], results[9:], strict=True):
        same(a, b)


def test_results_are_the_callers_and_gradients_the_graphs(gpu):
    it = training(gpu.name)
    step = tg.cuda.graphed(it.step, next(it.batches), 1)
    losses = [step(*next(it.batches)) for _ in range(4)]
    assert len({loss.item() for loss in losses}) == 4
    assert all(loss.node is None for loss in losses)
    w = it.model.parameters()[0]
    grad = w.grad
    step(*next(it.batches))
    assert w.grad is grad


def test_backward_knows_of_the_writes(gpu):
    it = training(gpu.name)
    step = tg.cuda.graphed(it.step, next(it.batches), 1)
    run(step, it, 3)
    loss = (it.model.parameters()[0] ** 2).sum()
    run(step, it, 1)
    with pytest.raises(tg.GraphError, match="was updated after"):
        loss.backward()


def test_gradients_may_be_cleared_before_each_call(gpu):
    w = nn.Parameter(tg.ones(3, backend=gpu.name))
    sgd = optim.SGD([w], lr=0.5)

    def step(x):
        (w * x).sum().backward()
        sgd.step()

    quick, x = tg.cuda.graphed(step, tg.ones(3, backend=gpu.name)), tg.ones(3, backend=gpu.name)
    for _ in range(6):
        sgd.zero_grad()
        assert quick(x) is None
    assert w.tolist() == [-2.0] * 3
    with pytest.raises(tg.GraphError, match=r"call zero_grad\(\)"):
        quick(x)  # they would add up
    sgd.zero_grad()
    quick(x)
    assert (w.tolist(), w.grad.tolist()) == ([-2.5] * 3, [1.0] * 3)


def test_gradients_of_several_batches_may_add_up_within_a_step(gpu):
    def build():
        w = nn.Parameter(tg.asarray(np.arange(4.0), backend=gpu.name))
        adam = optim.Adam([w], lr=0.1)

        def step(x):
            adam.zero_grad()
            for part in tg.split(x, 2):
                (w * w * part).sum().backward()
            adam.step()
            return w.grad, (adam.clip_grad_norm(1.0), "text")

        return w, step

    (w, step), (v, other) = build(), build()
    x = tg.asarray(np.arange(8.0).reshape(2, 4), backend=gpu.name)
    quick = tg.cuda.graphed(other, x, 1)
    for k in range(4):
        (g, (norm, text)), (g2, (norm2, text2)) = step(x * k), quick(x * k)
        same([g.numpy(), norm.numpy(), w.numpy()], [g2.numpy(), norm2.numpy(), v.numpy()])
        assert text == text2 == "text"


def test_what_is_no_array_belongs_to_the_form_of_a_batch(gpu):
    w = nn.Parameter(tg.ones(2, backend=gpu.name))
    calls = []

    def step(x, sign):
        calls.append(sign)
        return (w * x).sum() * sign

    x = tg.ones(2, backend=gpu.name)
    quick = tg.cuda.graphed(step, (x, 1.0), 1)
    assert [quick(x, s).item() for s in (1.0, 1.0, 1.0, -1.0, 1.0)] == [2, 2, 2, -2, 2]
    assert calls == [1.0, 1.0, -1.0]
    assert quick(x._data, 1.0).item() == 2
    assert len(calls) == 3  # an array is lifted


def test_a_graphed_step_within_another_is_part_of_it(gpu):
    results = []
    for graph in (False, True):
        it = training(gpu.name)
        inner = tg.cuda.graphed(it.step, next(training(gpu.name).batches), 1) if graph else it.step
        outer = lambda x, y: inner(x, y) * 2  # noqa: E731
        batch = next(training(gpu.name).batches)
        results.append(run(tg.cuda.graphed(outer, batch, 1) if graph else outer, it))
        results[-1].append(it.state())
    for a, b in zip(*results, strict=True):
        same(a, b)


# --- refusals -----------------------------------------------------------------------------------


def refused(gpu, wrong, message, kind=tg.GraphError):
    """The capture of a step with `wrong(loss, training)` is refused and changes no state; without
    it, the step is captured and equals the eager one."""
    it, eager = [training(gpu.name, model="recurrent") for _ in range(2)]
    on = [True]

    def step(x, y):
        loss = it.step(x, y)
        if on[0]:
            wrong(loss, it)
        return loss

    quick = tg.cuda.graphed(step, next(training(gpu.name, model="recurrent").batches), 2)
    run(quick, it, 2)
    batch, before = next(it.batches), it.state()
    for _ in range(2):
        with pytest.raises(kind, match=message) as caught:
            quick(*batch)
    same(before, it.state())
    assert switches.each_time is None
    assert not gpu.xp.cuda.get_current_stream().is_capturing()
    assert not quick.stream.is_capturing()
    on[0] = False
    after = [numbers(quick(*batch)), *run(quick, it, 3)]
    run(eager.step, eager, 2)
    for a, b in zip(after, run(eager.step, eager, 4), strict=True):
        same(a, b)
    same(it.state(), eager.state())
    return str(caught.value)


def library_product(it):
    with tg.use_kernels("reference"):
        w = it.model.parameters()[0]
        return tg.matmul(w.detach(), w.detach().T)


WRONG = {
    "a number read": (lambda loss, it: float(loss), r"the step at test_graphed.py:\d+ cannot be"),
    "a branch": (lambda loss, it: bool(loss > 0), r"the step at test_graphed.py:\d+ cannot be cap"),
    "a copy to the host": (lambda loss, it: loss.numpy(), "the step at test_graphed.py"),
    "a mask": (lambda loss, it: tg.ones_like(it.model.parameters()[0])[
        it.model.parameters()[0] > 0], "the step at test_graphed.py.*disallowed"),
    "a list of places": (lambda loss, it: it.model.parameters()[0][[0, 1]], "disallowed"),
    "numbers from the host": (lambda loss, it: loss * tg.asarray(
        [1.0], backend=loss.backend), "the step at test_graphed.py.*disallowed"),
    "a library": (lambda loss, it: library_product(it), r"^matmul at test_graphed.py:\d+ can"),
    "a new rate": (lambda loss, it: setattr(it.optimizer, "lr", 0.05), "lr is set outside"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_captured_is_refused(name, gpu):
    refused(gpu, *WRONG[name])


def test_errors_of_the_step_pass_and_end_the_capture(gpu):
    seen = []

    def wrong(loss, it):
        seen.append(loss)
        if len(seen) > 2:
            raise KeyError("mine")

    refused(gpu, wrong, "mine", KeyError)


def test_new_data_within_the_step_is_refused(gpu):
    w = nn.Parameter(tg.ones(2, backend=gpu.name))

    def step(x):
        w.grad = None
        (w * x).sum().backward()
        w.data = w.data - 0.1 * w.grad.data

    quick, x = tg.cuda.graphed(step, tg.ones(2, backend=gpu.name), 1), tg.ones(2, backend=gpu.name)
    quick(x)
    with pytest.raises(tg.GraphError, match=r"t.data\[...\] = value"):
        quick(x)

    def in_place(x):
        w.grad = None
        (w * x).sum().backward()
        w.data -= 0.1 * w.grad.data

    quick, start = tg.cuda.graphed(in_place, x, 1), w.numpy()
    for _ in range(4):
        quick(x)
    np.testing.assert_allclose(w.numpy(), start - 0.4, rtol=1e-6)


def test_state_that_is_made_in_the_capture_is_refused(gpu):
    w, v = [nn.Parameter(tg.ones(2, backend=gpu.name)) for _ in range(2)]
    adam, calls = optim.Adam([w, v]), []

    def step(x):
        calls.append(x)
        adam.zero_grad()
        (w * x + (v if len(calls) > 1 else 0.0)).sum().backward()
        adam.step()

    x = tg.ones(2, backend=gpu.name)
    quick = tg.cuda.graphed(step, x, 1)
    quick(x)
    with pytest.raises(tg.GraphError, match="first gradient in the captured step"):
        quick(x)
    scale = optim.LossScale()
    quick = tg.cuda.graphed(lambda x: scale(x.sum()) if len(calls) > 2 else calls.append(x), x, 1)
    quick(x)
    with pytest.raises(tg.GraphError, match="LossScale"):
        quick(x)


def test_two_steps_by_a_schedule_are_refused(gpu):
    w = nn.Parameter(tg.ones(2, backend=gpu.name))
    sgd = optim.SGD([w], lr=optim.schedules.constant(0.5))

    def step(x):
        for _ in range(2):
            sgd.zero_grad()
            (w * x).sum().backward()
            sgd.step()

    x = tg.ones(2, backend=gpu.name)
    quick = tg.cuda.graphed(step, x, 1)
    quick(x)
    with pytest.raises(tg.GraphError, match="two steps by a schedule"):
        quick(x)


@pytest.mark.host
def test_bad_arguments():
    x, w = tg.ones(2), nn.Parameter(np.ones(2))
    for call, message in (
        (lambda: tg.cuda.graphed(3, x), "the step is a function, got int"),
        (lambda: tg.cuda.graphed(print, x, 0), "warmup is at least 1"),
        (lambda: tg.cuda.graphed(print, x, 1.5), "warmup is at least 1"),
        (lambda: tg.cuda.graphed(print, ()), "no backend"),
        (lambda: tg.cuda.graphed(print, [x, w]), "give a tensor or a tuple"),
        (lambda: tg.cuda.graphed(print, (1, "x")), "no backend"),
    ):
        with pytest.raises(tg.TensorgradError, match=message):
            call()
    assert tg.cuda.graphed(print, (x, w)) is print  # on NumPy the step itself


@pytest.mark.host
def test_batches_are_data_of_one_backend(gpu):
    x, y = tg.ones(2, backend=gpu.name), tg.ones(2, backend="numpy")
    with pytest.raises(tg.GraphError, match="numpy"):
        tg.cuda.graphed(print, (x, y))
    quick = tg.cuda.graphed(lambda x: x, x)
    with pytest.raises(tg.GraphError, match="detach"):
        quick(nn.Parameter(x))


def test_arrays_among_the_results_are_copies_too(gpu):
    quick = tg.cuda.graphed(lambda x: {"twice": (x * 2.0).data}, tg.ones(2, backend=gpu.name), 1)
    seen = [quick(tg.full((2,), float(i), backend=gpu.name))["twice"] for i in range(4)]
    np.testing.assert_array_equal([gpu.to_host(a)[0] for a in seen], [0, 2, 4, 6])


# --- memory -------------------------------------------------------------------------------------


def test_the_graph_keeps_what_it_uses_and_lets_go_of_it(gpu):
    it = training(gpu.name)
    step = tg.cuda.graphed(it.step, next(it.batches), 1)
    run(step, it, 3)
    used = {id(a) for a in step.graph.kept}
    assert {id(p._data) for p in it.model.parameters()} <= used
    assert {id(a) for kept in it.optimizer.state.values() for a in kept} <= used
    before = weakref.ref(step.graph)  # and with it the pool
    it.model.parameters()[0].data = it.model.parameters()[0].data * 1.0
    run(step, it, 1)
    gc.collect()
    assert before() is None  # captured anew


def test_small_ops_of_other_threads_are_none_of_its_business(gpu):
    import threading

    it, seen = training(gpu.name), []

    def step(x, y):
        if switches.each_time is not None:
            thread = threading.Thread(target=lambda: seen.append(tg.ones(3, backend=gpu.name) * 2))
            thread.start()
            thread.join()
        return it.step(x, y)

    run(tg.cuda.graphed(step, next(it.batches), 1), it, 3)
    assert seen[0].tolist() == [2.0] * 3


# --- fit ----------------------------------------------------------------------------------------


def test_fit_of_captured_steps(backend):
    """With dropout, metrics, a smaller last batch, validation and a schedule: the history and
    weights of eager training."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((46, 4)).astype("float32"), rng.integers(0, 3, 46)
    found = []
    for graphed in (False, True, "auto"):
        tg.seed(2)
        model = nn.Sequential([nn.Dense(8, 4, activation="relu"), nn.Dropout(0.2), nn.Dense(3)])
        adam = optim.Adam(lr=schedules.cosine(0.05, 20))
        model.compile(adam, "cross_entropy", ["accuracy"], graphed=graphed)
        history = model.fit(x, y, epochs=4, batch_size=8, validation_data=(x, y), verbose=0)
        found.append((history.history, model.get_weights()))
    plain, weights = found[0]
    for captured, others in found[1:]:
        assert plain == captured
        same(weights, others)
    assert set(plain) == {"loss", "accuracy", "val_loss", "val_accuracy"}


class Asking(nn.Module):
    def forward(self, x):
        return x * float(x.sum().item() > 0)


def test_fit_of_a_step_that_cannot_be_captured(backend):
    x, y = np.ones((20, 4), "float32"), np.ones((20, 3), "float32")
    model = nn.Sequential([nn.Dense(3, 4), Asking()]).compile("sgd", "mse", graphed=True)
    if backend == "numpy":
        model.fit(x, y, batch_size=4, verbose=0)
        return
    with pytest.raises(tg.GraphError, match=r"test_graphed\.py:\d+ cannot be captured"):
        model.fit(x, y, batch_size=4, verbose=0)


# --- fit, which captures unasked where that is safe ---------------------------------------------

X, Y = np.random.default_rng(0).normal(size=(46, 4)).astype("float32"), np.arange(46) % 3


@pytest.fixture
def captures(gpu, monkeypatch):
    """A list with an entry for each capture; the GPU is the default backend."""
    found = []
    init = graphs._Capture.__init__

    def counted(self, *args):
        init(self, *args)
        found.append(self)

    monkeypatch.setattr(graphs._Capture, "__init__", counted)
    tg.set_backend(gpu.name)
    yield found
    tg.set_backend(DEFAULT)


class Twice(nn.Module):
    def forward(self, x):
        return x * 2.0


def fitted(graphed, layers=(), loss="cross_entropy", metrics=(), optimizer=None, **how):
    """The history and weights of a model, and what `fit` warned of."""
    tg.seed(2)
    model = nn.Sequential([nn.Dense(8, 4, activation="relu"), nn.Dropout(0.2), nn.Dense(3)])
    model = nn.Sequential([*model.layers, *[layer() for layer in layers]])
    model.compile(optimizer or optim.Adam(lr=0.05), loss, metrics, graphed)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(2):
            past = model.fit(X, Y, **{"epochs": 4, "batch_size": 8, "verbose": 0, **how})
    told = [str(w.message) for w in told if "eagerly" in str(w.message)]
    return past.history, model.get_weights(), told


def as_eager(**how):
    """Such a run has the numbers of an eager one; what it warned of."""
    history, weights, told = fitted("auto", **how)
    plain, others, silent = fitted(False, **how)
    assert history == plain
    assert not silent
    same(weights, others)
    return told


def test_fit_captures_unasked(captures):
    assert as_eager(metrics=["accuracy", tg.losses.cross_entropy]) == []
    assert len(captures) == 2  # each fit once


def test_a_short_fit_is_not_worth_a_capture(captures):
    assert as_eager(epochs=2) == []
    assert not captures


def own_loss(z, t):
    return tg.losses.cross_entropy(z, t)


def half(z, t):
    return 0.5


class Slow(optim.SGD):
    pass


FOREIGN = {
    "the layer Twice": {"layers": [Twice]},
    "Dense.activation": {"layers": [lambda: nn.Dense(3, 3, activation=lambda x: x * 3.0)]},
    "Sequential.stack": {"layers": [lambda: lambda x: x * 3.0]},
    "the loss": {"loss": own_loss},
    "the metric half": {"metrics": [half]},
    "the optimizer Slow": {"optimizer": Slow},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_python_of_the_users_own_runs_for_each_batch(name, captures):
    how, told = FOREIGN[name], []
    for graphed in ("auto", False):
        made = {"optimizer": how["optimizer"](lr=0.1)} if "optimizer" in how else {}
        found = fitted(graphed, **{**how, **made})
        told.append(found)
    assert told[0][0] == told[1][0]
    same(told[0][1], told[1][1])
    (message,) = told[0][2]  # once for both fits
    assert f"{name} is Python of yours" in message
    assert "graphed=True" in message
    assert not captures


def asking(monkeypatch):
    monkeypatch.setattr(capturing, "foreign", lambda model, plan, trainer: None)
    return nn.Sequential([nn.Dense(3, 4), Asking()])


def with_an_array_of_the_host(monkeypatch):
    inp = nn.Input(4)
    return nn.Model(inp, np.float32([1, 2, 3]) * nn.Dense(3)(inp))


@pytest.mark.parametrize("build", [asking, with_an_array_of_the_host])
def test_what_refuses_to_be_captured_trains_eagerly(build, captures, monkeypatch):
    found = []
    for graphed in ("auto", False):
        tg.seed(4)
        model = build(monkeypatch).compile(optim.SGD(lr=0.1), "cross_entropy", graphed=graphed)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            past = [model.fit(X, Y, epochs=4, batch_size=8, verbose=0).history for _ in range(2)]
        found.append((past, model.get_weights(), [str(w.message) for w in told]))
    (past, weights, told), (plain, others, silent) = found
    assert past == plain
    same(weights, others)
    assert not silent
    (message,) = told  # once for both fits
    assert "cannot be captured in a CUDA graph" in message
    assert not captures


def test_where_memory_is_short_steps_run_eagerly(captures, gpu, monkeypatch):
    if gpu.name != "cudasim":
        pytest.skip("a card's memory is not short")
    xp = gpu.xp
    monkeypatch.setattr(xp.cuda.runtime, "memGetInfo", lambda: (3 << 20, 1 << 40))
    monkeypatch.setattr(xp.cuda.MemoryPool, "total_bytes", lambda self: 2 << 20)
    (message,) = as_eager()
    assert "3 MiB of the device are free, and a graph may need 2 and more" in message
    assert not captures


class Changing(Callback):
    def __init__(self, change):
        self.change = change

    def train_begin(self, model, names):
        self.first = not hasattr(self, "first")

    def epoch_end(self, model, epoch, scores):
        if epoch == 1 and self.first:
            self.change(model)


def less_dropout(model):
    model.layers[1].p = 0.7


def thaw(model):
    model.layers[0].trainable = True


def another_beta(model):
    model.plan.optimizer.groups[0]["betas"] = (0.1, 0.999)


def halved(model):
    model.plan.optimizer.lr = 0.01


def no_dropout(model):
    model.layers[1].eval()


CHANGES = (less_dropout, thaw, another_beta, halved, no_dropout)


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_callback_changes_is_heeded(change, captures):
    found = []
    for graphed in ("auto", True, False):
        tg.seed(2)
        model = nn.Sequential([nn.Dense(8, 4, activation="relu"), nn.Dropout(0.2), nn.Dense(3, 8)])
        model.layers[0].trainable = change is not thaw
        model.compile(optim.Adam(lr=0.05), "cross_entropy", graphed=graphed)
        fit = {"epochs": 6, "batch_size": 8, "verbose": 0, "callbacks": Changing(change)}
        found.append((model.fit(X, Y, **fit).history, model.get_weights()))
    for history, weights in found[:2]:
        assert history == found[2][0]
        same(weights, found[2][1])
    assert len(captures) == (2 if change is halved else 4)


def test_a_refused_capture_leaves_tensors_as_they_were(captures):
    w = nn.Parameter(tg.ones(3))
    before, node = w._data, w.node

    def step(x):
        w.data = w.data * 2.0 if switches.each_time is not None else w.data
        return (w * x).sum()

    quick = tg.cuda.graphed(step, tg.ones(3), 1)
    quick(tg.ones(3))
    with pytest.raises(tg.GraphError, match="new data"):
        quick(tg.ones(3))
    assert w._data is before
    assert w.node is node


@pytest.mark.parametrize("graphed", ["yes", None, 1, "True"])
def test_graphed_is_a_switch_or_auto(graphed):
    with pytest.raises(tg.ArgumentError, match=r"graphed=.*auto"):
        nn.Sequential([nn.Dense(1, 1)]).compile(graphed=graphed)
