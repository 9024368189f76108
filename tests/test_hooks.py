"""Hooks: functions that are called with gradients, and before and after modules."""

import copy
import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn


def leaf(*values):
    return tg.tensor(np.array(values), requires_grad=True)


def numbers(tensors):
    return tuple(None if t is None else t.tolist() for t in tensors)


MAKERS = {
    "a leaf": lambda w: (w, 1.0),
    "a result": lambda w: (w * w, 2.0),
    "one of several outputs": lambda w: (tg.split(w * 1.0, 2)[0], 1.0),
    "a custom function": lambda w: (Twice.apply(w), 2.0),
}


class Twice(tg.Function):
    def forward(ctx, x):
        return 2 * x

    def backward(ctx, g):
        return 2 * g


@pytest.mark.parametrize("what", MAKERS)
def test_a_hook_sees_the_sum_of_all_uses_and_replaces_it(what):
    w = leaf(1.0, 1.0)
    t, slope = MAKERS[what](w)
    loss = (3 * t).sum() + (4 * t).sum()
    calls = []
    first = t.register_hook(lambda g: calls.append(g.tolist()))  # after it was used
    t.register_hook(lambda g: g / 7)
    loss.backward(retain_graph=True)
    half = what.startswith("one")
    assert calls == [[7.0] * len(t)]
    assert w.grad.tolist() == [slope, 0.0 if half else slope]
    first.remove()
    first.remove()
    with t.register_hook(lambda g: np.zeros(g.shape, "float32")):
        loss.backward(retain_graph=True)
    assert w.grad.tolist() == [slope, 0.0 if half else slope]
    assert w.grad.dtype == w.dtype
    assert len(calls) == 1
    loss.backward()
    assert w.grad.tolist() == [2 * slope, 0.0 if half else 2 * slope]


@pytest.mark.parametrize("what", [m for m in MAKERS if m != "one of several outputs"])
def test_tapes_and_functions_give_the_gradient_after_the_hooks(what):
    w = leaf(1.0, 1.0)
    calls = []
    with tg.GradientTape() as tape:
        t, slope = MAKERS[what](w)
        t.register_hook(lambda g: [calls.append(1), 10 * g][1])
        y = (t * 3).sum()
    gt, gw = tape.gradient(y, [t, w])
    assert gt.tolist() == [30.0, 30.0]
    assert gw.tolist() == [30 * slope] * 2
    assert calls == [1]

    def f(x):
        t, _ = MAKERS[what](x)
        t.register_hook(lambda g: 10 * g)
        return (t * t).sum()

    g = tg.grad(f)(np.array([1.0, 1.0]))
    # the gradient of the gradient passes the hook as well
    slopes = {"a leaf": 20.0, "a result": 40.0, "a custom function": 80.0}
    assert g.tolist() == [slopes[what]] * 2
    if what == "a result":
        h = tg.grad(lambda x: tg.grad(f)(x).sum())(np.array([1.0, 1.0]))
        assert np.isfinite(h.numpy()).all()


def test_complex_gradients_are_the_users_in_a_hook():
    z = tg.tensor(np.array([1.0 + 2.0j]), requires_grad=True)
    for t, last in ((z, lambda t: t * 1.0), (z * 1.0, lambda t: t)):
        z.grad = None
        seen = []
        handle = t.register_hook(lambda g: [seen.append(g.tolist()), 1j * g][1])
        tg.abs(last(t)).sum().backward()
        handle.remove()
        direction = (1 + 2j) / np.sqrt(5)
        np.testing.assert_allclose(seen[0], [direction])
        np.testing.assert_allclose(z.grad.numpy(), [1j * direction])


def test_wrong_hooks_are_errors_that_name_them():
    w = leaf(1.0, 2.0)

    def too_long(g):
        return tg.ones(3)

    (w * 2).register_hook(too_long)  # of a graph that is gone
    for t in (w, w * 2):
        handle = t.register_hook(too_long)
        with pytest.raises(tg.ShapeError, match=r"too_long returned shape \(3,\)"):
            (t * t).sum().backward()
        handle.remove()
    with pytest.raises(tg.GraphError, match="requires no gradient"):
        tg.ones(2).register_hook(too_long)
    with pytest.raises(tg.GraphError, match="requires no gradient"):
        tg.ones(2).retain_grad()


def test_a_result_retains_its_gradient_after_its_hooks():
    w = leaf(1.0, 2.0)
    y = w * w
    y.retain_grad()
    y.retain_grad()
    y.register_hook(lambda g: 2 * g)
    (y * 3).sum().backward(retain_graph=True)
    assert y.grad.tolist() == [6.0, 6.0]
    assert w.grad.tolist() == [12.0, 24.0]
    (y * 3).sum().backward()
    assert y.grad.tolist() == [12.0, 12.0]
    w.retain_grad()  # a leaf does anyway
    kept = weakref.ref(y)
    del y
    gc.disable()
    try:
        assert kept() is None
    finally:
        gc.enable()


def test_hooks_within_a_checkpoint_are_called_once():
    w, calls = leaf(1.0, 2.0), []

    def f(x):
        y = x * x
        y.register_hook(lambda g: [calls.append(1), 2 * g][1])
        return y.exp()

    tg.checkpoint(f, w).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * 2 * np.array([1, 2]) * np.exp([1.0, 4.0]))
    assert calls == [1]


# --- modules --------------------------------------------------------------------------------------


def test_forward_hooks_see_and_replace():
    tg.seed(0)
    model, order = nn.Sequential(nn.Dense(2), nn.Dense(1)), []
    x = tg.ones((3, 2))
    plain = model(x)
    layer = model.layers[0]
    handles = [
        layer.register_forward_pre_hook(lambda m, inputs: order.append(("pre", m is layer))),
        layer.register_forward_pre_hook(lambda m, inputs: inputs[0] * 2),
        layer.register_forward_hook(lambda m, inputs, y: order.append(inputs[0].tolist()[0])),
        layer.register_forward_hook(lambda m, inputs, y: y * 0),
    ]
    changed = model(x)
    assert order == [("pre", True), [2.0, 2.0]]
    np.testing.assert_array_equal(changed.numpy(), 0 * plain.numpy() + model.layers[1].bias.numpy())
    assert [*model.state_dict()] == [*copy.deepcopy(model).state_dict()]
    other = copy.deepcopy(model)
    assert other.layers[0].forward.module is other.layers[0]
    for handle in handles:
        handle.remove()
    assert "forward" not in vars(layer)
    np.testing.assert_array_equal(model(x).numpy(), plain.numpy())


def test_a_forward_of_the_instance_is_called_and_comes_back():
    layer = nn.Dense(2)
    layer.forward = own = lambda x: x + 1
    handle = layer.register_forward_hook(lambda m, inputs, y: y * 2)
    assert layer(tg.ones(2)).tolist() == [4.0, 4.0]
    handle.remove()
    assert layer.forward is own


class Product(nn.Module):
    def forward(self, a, b, flag=True):
        return {"y": a * b, "flag": flag}


def test_full_backward_hooks():
    a, b, calls = leaf(2.0), leaf(3.0), []
    module = Product()

    def hook(m, grad_input, grad_output):
        calls.append((numbers(grad_input), numbers(grad_output)))

    first = module.register_full_backward_hook(hook)
    (5 * module(a, b, flag=False)["y"]).sum().backward()
    assert calls == [(([15.0], [10.0]), ([5.0], None))]
    second = module.register_full_backward_hook(lambda m, gi, go: (None, gi[1] * 10))
    a.grad = b.grad = None
    (5 * module(a, b)["y"]).sum().backward()
    assert a.grad is None
    assert b.grad.tolist() == [100.0]
    second.remove()
    x = tg.tensor([4.0])
    (5 * module(a, x)["y"]).sum().backward()  # an input without a gradient
    assert calls[-1] == (([20.0], None), ([5.0], None))
    third = module.register_full_backward_hook(lambda m, gi, go: gi[:1])
    with pytest.raises(tg.GraphError, match="Product returned 1 gradients for 2 inputs"):
        module(a, b)["y"].sum().backward()
    third.remove()
    first.remove()
    dense = nn.Dense(2)
    dense.register_full_backward_hook(hook)
    dense(tg.ones((1, 3))).sum().backward()
    assert calls[-1] == ((None,), ([[1.0, 1.0]],))
    g = tg.grad(lambda x: tg.grad(lambda x: (dense(x) ** 2).sum())(x).sum())(tg.ones((1, 3)))
    w = dense.weight.numpy()
    np.testing.assert_allclose(g.numpy()[0], 2 * (w @ w.T).sum(0), rtol=1e-5)


def test_hooks_as_pytorchs():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(3, 4)), rng.normal(size=(4, 2))]
    x = rng.normal(size=(5, 3))

    def run(tensor, module, matmul):
        seen = []

        class Layer(module):
            def __init__(self, w):
                super().__init__()
                self.w = w

            def forward(self, x):
                return matmul(x, self.w)

        layers = [Layer(w) for w in map(tensor, weights)]
        for layer in layers:
            layer.register_forward_pre_hook(lambda m, args: (args[0] * 0.5,))
            layer.register_forward_hook(lambda m, args, y: y + 1)
            layer.register_full_backward_hook(lambda m, gi, go: seen.extend([*gi, *go]))
            layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 2,))
        leaf = tensor(x)
        hidden = layers[0](leaf)
        hidden.retain_grad()
        y = layers[1](hidden)
        y.register_hook(lambda g: g * 3)
        (y * y).sum().backward()
        return [g.detach().numpy() for g in (leaf.grad, hidden.grad, layers[0].w.grad, *seen)]

    ours = run(lambda a: tg.tensor(a, requires_grad=True), nn.Module, tg.matmul)
    theirs = run(lambda a: torch.tensor(a, requires_grad=True), torch.nn.Module, torch.matmul)
    assert len(ours) == len(theirs) == 7
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_fit_captures_no_hook_of_the_user():
    from tensorgrad.train import Trainer
    from tensorgrad.train.capturing import foreign

    model = nn.Sequential(nn.Dense(2)).compile("sgd", "mse")
    plan = SimpleNamespace(optimizer=tg.optim.SGD, loss=tg.losses.mean_squared_error, metrics=())
    assert "hook" not in str(foreign(model, plan, Trainer(model)))
    model.layers[0].register_forward_hook(lambda m, inputs, y: None)
    assert foreign(model, plan, Trainer(model)) == "a hook of Dense"
