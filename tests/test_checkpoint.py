"""Checkpointed functions: the same gradients to the last bit, for less memory."""

import gc
import re
import weakref

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn


def block(width=8):
    return nn.Sequential(
        [nn.Dense(width, width, activation="gelu"), nn.Dropout(0.3), nn.LayerNorm(width)]
    )


def gradients(model, x, wrap, precision=None):
    """Gradients of parameters and input, and what is drawn next."""
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
    """Parameters are not among the arguments; dropout draws the same mask again, and what is drawn
    later does not change."""
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


def test_only_arguments_are_kept():
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
    model, twin = (nn.Sequential([nn.BatchNorm(3)]).to(backend) for _ in range(2))
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
    with pytest.raises(tg.GraphError, match="give a function"):
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
    state = tg.creation.host_generator().bit_generator.state
    with pytest.raises(tg.OutOfMemoryError, match=r"backward of checkpoint: nothing left"):
        loss.backward()
    assert tg.creation.host_generator().bit_generator.state == state
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
        r"([0-9.]+) MiB are kept for backward by (\d+) ops; with tg.checkpoint around each of "
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
