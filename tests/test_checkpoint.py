"""Gradient checkpointing: bit for bit the same gradients, with less memory."""

import gc
import re
import threading
import weakref
from collections import OrderedDict

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.switches import switches


def block(width=8):
    return nn.Sequential(
        [nn.Dense(width, width, activation="gelu"), nn.Dropout(0.3), nn.LayerNorm(width)]
    )


def gradients(model, x, wrap, precision=None):
    """The gradients of parameters and input, and the next random numbers."""
    tg.seed(3)
    model.zero_grad()
    x = tg.tensor(x, requires_grad=True)
    with tg.autocast(precision):
        y = x
        for layer in model.layers:
            y = wrap(layer, y)
    loss = (y.astype("float32") ** 2).sum()
    after = tg.randn(3).tolist()
    loss.backward()
    mask = nn.Dropout(0.5)(tg.ones((20,))).tolist()
    return [*[p.grad.numpy() for p in model.parameters()], x.grad.numpy(), after, mask]


@pytest.mark.parametrize("precision", [None, "bfloat16"])
def test_gradients_are_the_same_to_the_last_bit(backend, precision):
    """Parameters are closed over, not arguments; recomputation draws the same dropout mask, and
    later random numbers do not change."""
    model = nn.Sequential([block() for _ in range(3)]).to(backend)
    x = np.random.default_rng(0).standard_normal((6, 8)).astype("float32")
    x = tg.asarray(x, backend=backend)
    plain = gradients(model, x, lambda f, y: f(y), precision)
    again = gradients(model, x, tg.checkpoint, precision)
    for a, b in zip(plain, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_orders_above_the_first():
    def f(x):
        return tg.exp(tg.sin(x) * x)

    def g(x):
        return tg.checkpoint(lambda x: tg.checkpoint(tg.exp, tg.sin(x) * x), x)

    for order in range(1, 4):
        f, g = tg.grad(f), tg.grad(g)
        for at in (0.3, -1.7):
            assert f(np.float64(at)).item() == g(np.float64(at)).item(), order


def test_gradients_inside_are_as_differentiable_as_the_first_time():
    """Whether an inner gradient is recorded depends on the transformations around the
    checkpoint."""
    w, at = tg.tensor([2.0], requires_grad=True), tg.asarray([3.0])

    def f(x):
        return (tg.grad(lambda z: (z**3 * w).sum())(at) * x).sum()

    def g(x):
        return tg.checkpoint(f, x)

    x = tg.tensor([1.5], requires_grad=True)
    assert tg.grad(g)(x).item() == tg.grad(f)(x).item() == 54.0
    with tg.GradientTape() as tape:
        y = g(x)
    assert tape.gradient(y, w).item() == 40.5
    y = g(x)
    with tg.GradientTape():
        y.backward()
    assert x.grad.item() == 54.0


def test_nested_with_several_results_and_orders():
    """Saved arrays recomputed for one result serve a later backward from another."""
    found = []
    for wrap in (lambda f, x: f(x), tg.checkpoint):

        def f(x, wrap=wrap):
            return wrap(lambda x: tg.sin(tg.exp(x)), x), wrap(lambda x: tg.cos(tg.exp(x)), x)

        x = tg.tensor([0.5], requires_grad=True)
        a, b = wrap(f, x)
        b.backward(create_graph=True)
        once, x.grad = x.grad, None
        (a.sum() + (once**2).sum()).backward()
        found.append(x.grad.item())
    assert found[0] == found[1]


def test_it_runs_again_once():
    calls = []

    def f(x):
        calls.append(x)
        y = tg.checkpoint(tg.exp, x)
        return [y * i for i in range(5)]

    x = tg.tensor([0.5], requires_grad=True)
    tg.stack(tg.checkpoint(f, x)).sum().backward()
    assert len(calls) == 2


def test_arguments_are_those_of_the_first_time():
    w, x = tg.tensor([2.0], requires_grad=True), tg.asarray([1.0])
    y = tg.checkpoint(lambda x: tg.exp(x * w), x)
    x.data = np.array([5.0])  # the next batch
    y.backward()
    assert w.grad.item() == pytest.approx(np.exp(2.0))

    y, w.grad = tg.checkpoint(lambda parts: parts.pop() * parts[0], [w * 2, w * 3]), None
    y.backward()
    assert w.grad.item() == 24.0

    named = OrderedDict(a=w * 2, b=w * 3)
    y, w.grad = tg.checkpoint(lambda f, **more: type(f)(y=f["a"] * f["b"], **more), f=named), None
    assert type(y) is OrderedDict
    y["y"].backward()
    assert w.grad.item() == 24.0


def test_one_tensor_given_twice():
    """x * x of one tensor is recorded as a square, also if it has no other reference."""
    w = tg.tensor([2.0, 3.0], requires_grad=True)
    doubled = w * 2
    y = tg.checkpoint(lambda a, b: a * b, doubled, doubled)
    del doubled
    y.sum().backward()
    assert w.grad.tolist() == [16.0, 24.0]


@pytest.mark.host
def test_leaves_that_are_made_inside():
    """As in lazy initialisation, where the first call creates the weights."""
    x, layer = tg.tensor(np.ones((2, 3)), requires_grad=True), nn.Dense(4, dtype="float64")
    y, weight = tg.checkpoint(lambda x: (layer(x), layer.weight), x)
    assert weight is layer.weight
    (y.sum() + weight.sum()).backward()
    np.testing.assert_array_equal(weight.grad.numpy(), np.full((3, 4), 3.0))


def test_random_numbers_of_other_threads():
    """Each thread replays its own mask, whatever other threads draw meanwhile."""
    drawn, wrong = threading.Barrier(2), []

    def work():
        x = tg.tensor(np.ones(64), requires_grad=True)

        def f(x):
            if not switches.recomputing:
                drawn.wait()
            return nn.Dropout(0.5)(x)

        for _ in range(20):
            x.grad = None
            y = tg.checkpoint(f, x)
            y.sum().backward()
            wrong.append(not np.array_equal(x.grad.numpy(), y.numpy()))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == [False] * 40


@pytest.mark.host
def test_random_numbers_that_cannot_be_drawn_again():
    layer = nn.Dense(3)
    x = tg.tensor(np.ones((2, 2), "float32"), requires_grad=True)

    def noisy(x):
        return (layer(x) * tg.randn(2, 3)).sum()

    loss = tg.checkpoint(noisy, x)  # which draws the weights first
    with pytest.raises(tg.GraphError, match=r"other random numbers.*\n.*lazy layers"):
        loss.backward()
    tg.checkpoint(noisy, x).backward()
    tg.checkpoint(nn.Dense(3), x).sum().backward()  # draws nothing the second time

    calls = []

    def more(x):
        calls.append(0)
        return tg.stack([nn.Dropout(0.5)(x) for _ in calls]).sum()

    with pytest.raises(tg.GraphError, match="other random numbers"):
        tg.checkpoint(more, x).backward()


def test_only_arguments_are_saved():
    x = tg.tensor(np.ones(1000), requires_grad=True)
    held = []

    def f(x):
        y = tg.exp(x)
        held.append(weakref.ref(y.data))
        return tg.sin(tg.exp(y))

    loss = tg.checkpoint(f, x).sum()
    assert held[0]() is None
    loss.backward()
    assert len(held) == 2
    assert held[1]() is None
    np.testing.assert_allclose(x.grad.numpy(), np.cos(np.exp(np.e)) * np.exp(np.e) * np.e)


def test_a_checkpoint_inside_another_keeps_nothing_either():
    held = []

    def inner(x):
        return tg.exp(x)

    def outer(x):
        y = tg.sin(x)
        held.append(weakref.ref(y.data))
        return tg.checkpoint(inner, y)

    x = tg.tensor(np.linspace(0, 1, 50), requires_grad=True)
    loss = tg.checkpoint(outer, x).sum()
    assert held[0]() is None
    loss.backward()
    at = x.numpy()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(np.sin(at)) * np.cos(at))


def test_several_results_options_and_nested_arguments():
    w = tg.tensor([2.0, 3.0], requires_grad=True)
    u = tg.tensor([1.0, 5.0], requires_grad=True)

    def f(pair, *, scale):
        a, b = pair["a"], pair["b"]
        return {"product": a * b * scale, "parts": tg.split(a * w, 2), "n": 7, "same": b}

    made = tg.checkpoint(f, {"a": w, "b": u}, scale=tg.asarray([2.0, 2.0]))
    assert made["n"] == 7
    assert made["same"] is u
    (made["product"].sum() + made["parts"][1].sum()).backward()
    assert w.grad.tolist() == [2.0, 10.0 + 6.0]
    assert u.grad.tolist() == [4.0, 6.0]


def test_twice_over_a_retained_graph():
    w = tg.tensor([2.0, 3.0], requires_grad=True)
    y = tg.checkpoint(lambda x: tg.exp(x) * x, w).sum()
    y.backward(retain_graph=True)
    once = w.grad.numpy().copy()
    y.backward()
    np.testing.assert_array_equal(w.grad.numpy(), 2 * once)
    with pytest.raises(tg.GraphError, match="retain_graph"):
        y.backward()


def test_running_statistics_are_updated_once(backend):
    model, twin = (nn.Sequential([nn.BatchNorm1d(3)]).to(backend) for _ in range(2))
    x = tg.asarray(np.arange(12.0, dtype="float32").reshape(4, 3), backend=backend)
    model(x).sum().backward()
    tg.checkpoint(twin, x).sum().backward()
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_recording_it_is_the_function_itself():
    w = tg.tensor([1.0], requires_grad=True)
    with tg.no_grad():
        assert not tg.checkpoint(tg.exp, w).requires_grad
    assert not tg.checkpoint(tg.exp, tg.ones(2)).requires_grad


def test_what_it_refuses():
    w, calls = tg.tensor([1.0], requires_grad=True), []

    def fickle(x):
        calls.append(0)
        return tg.exp(x) if len(calls) == 1 else tg.sin(x)

    loss = tg.checkpoint(fickle, w)
    with pytest.raises(tg.GraphError, match=r"fickle.*exp of shape \(1,\) became sin"):
        loss.backward()
    with pytest.raises(tg.ArgumentError, match="give a function"):
        tg.checkpoint(w)
    loss = tg.checkpoint(tg.exp, w)
    w.data = tg.ones(1) * 2
    with pytest.raises(tg.GraphError, match="updated"):
        loss.backward()


class Failing(nn.Module):
    def __init__(self):
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        if self.calls > 1:
            raise MemoryError("nothing left")
        return tg.exp(x)


def test_a_failure_on_the_second_run_leaves_all_as_it_was():
    w, state = tg.tensor([1.0], requires_grad=True), None
    loss = tg.checkpoint(Failing(), w)
    tg.randn(1)
    state = tg.randomness.host_generator().bit_generator.state
    with pytest.raises(tg.OutOfMemoryError, match=r"backward of checkpoint: nothing left"):
        loss.backward()
    assert tg.randomness.host_generator().bit_generator.state == state
    assert w.grad is None


def test_an_error_says_what_checkpoints_would_save():
    gc.collect()
    x, ys = tg.tensor(np.ones(1 << 16, "float32"), requires_grad=True), []
    y = x
    for _ in range(36):
        y = tg.exp(y)
        ys.append(y)
    with pytest.raises(tg.OutOfMemoryError) as raised:
        tg.zeros((10**14,))
    found = re.search(
        r"([0-9.]+) MiB are saved for backward by (\d+) ops; with tg.checkpoint around each of "
        r"(\d) equal parts of them it would be about ([0-9.]+) MiB",
        str(raised.value),
    )
    assert found is not None, raised.value
    assert float(found[1]) == pytest.approx(36 / 4, abs=0.5)
    assert int(found[2]) >= 36
    assert float(found[4]) == pytest.approx(2 * float(found[1]) / int(found[3]), abs=0.1)


def test_in_a_captured_step(gpu):
    """Half precision, dropout, loss scale: step by step and as a CUDA graph."""
    found = []
    for graphed in (False, True):
        tg.seed(1)
        model = nn.Sequential([block(), block(), nn.Dense(1, 8)]).to(gpu.name)
        adam, scale = tg.optim.Adam(model.parameters(), lr=0.01), tg.optim.LossScale(2.0**8)

        def step(x, model=model, adam=adam, scale=scale):
            adam.zero_grad()
            with tg.autocast("float16"):
                y = tg.checkpoint(model.layers[1], tg.checkpoint(model.layers[0], x))
                loss = (model.layers[2](y) ** 2).mean()
            scale(loss).backward()
            scale.step(adam)
            return loss

        batches = np.random.default_rng(0).standard_normal((7, 4, 8)).astype("float32")
        batches = [tg.asarray(b, backend=gpu.name) for b in batches]
        take = tg.cuda.graphed(step, batches[0], warmup=2) if graphed else step
        found.append([*[take(b).item() for b in batches], *model.get_weights()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
