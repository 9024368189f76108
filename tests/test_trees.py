"""Derivatives of functions of trees: containers, modules, several arguments, aux values."""

import sys
import threading
import time
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, trees

Pair = namedtuple("Pair", "a b")


@dataclass(frozen=True)
class Weights:
    w: Any
    b: Any = None
    name: str = field(default="dense", metadata={"static": True})


class Own:
    def __init__(self, x, label):
        self.x, self.label = x, label

    def tree_flatten(self):
        return (self.x,), self.label

    @classmethod
    def tree_unflatten(cls, label, parts):
        return cls(*parts, label)


TREES = [
    (lambda x: {"a": x, "none": None, "c": [x, (x,)]}, 3),
    (lambda x: OrderedDict(z=x, a=x), 2),
    (lambda x: Pair(x, [x]), 2),
    (lambda x: Weights(x, {"b": x}, "mine"), 2),
    (lambda x: Own(x, "mine"), 1),
    (lambda x: x, 1),
    (lambda x: None, 0),
]


@pytest.mark.parametrize(("make", "count"), TREES)
def test_the_gradient_of_a_tree_is_such_a_tree(make, count):
    x = np.array([1.0, 2.0])
    tree = make(x)
    assert [leaf is x for leaf in trees.leaves(tree)] == [True] * count
    f = lambda t: sum([(v * v * v).sum() for v in trees.leaves(t)], tg.zeros(()))  # noqa: E731
    found = tg.grad(f)(tree)
    assert type(found) is (tg.Tensor if tree is x else type(tree))
    assert getattr(found, "name", getattr(found, "label", "mine")) == "mine"
    assert [g.tolist() for g in trees.leaves(found)] == [[3.0, 12.0]] * count
    y, pull = tg.vjp(f, tree)
    assert [g.tolist() for g in trees.leaves(pull(y)[0])] == [[27 * count, 108 * count]] * count
    if count:
        assert tg.jvp(f, [tree], [make(x)])[1].item() == 27 * count
        product = tg.hvp(f, [tree], [make(np.ones(2))])[0]
        assert [g.tolist() for g in trees.leaves(product)] == [[6.0, 12.0]] * count


@pytest.mark.parametrize("library", ["optree", "jax.tree_util"])
def test_registered_classes_are_trees(library, monkeypatch):
    box = SimpleNamespace(inside=2.0)

    def tree_flatten(tree, is_leaf):
        if not isinstance(tree, SimpleNamespace):
            return [tree], None
        shape = SimpleNamespace(unflatten=lambda parts: SimpleNamespace(inside=parts[0]))
        return [tree.inside], shape

    monkeypatch.setitem(sys.modules, library, SimpleNamespace(tree_flatten=tree_flatten))
    assert tg.grad(lambda t: t.inside**2)(box).inside.item() == 4.0


def test_optree_itself():
    optree = pytest.importorskip("optree")

    class Box:
        def __init__(self, inside):
            self.inside = inside

    def of(rest, parts):
        return Box(*parts)

    everywhere = vars(optree.registry)["__GLOBAL_NAMESPACE"]
    optree.register_pytree_node(Box, lambda box: ((box.inside,), None), of, namespace=everywhere)
    assert tg.grad(lambda t: t[0].inside ** 2)([Box(2.0)])[0].inside.item() == 4.0


def test_a_module_that_makes_its_parameters_meanwhile_is_refused():
    model = nn.Sequential(nn.Dense(4), nn.Dense(1))
    f = tg.grad(lambda model: model(np.ones((2, 3))).sum())
    with pytest.raises(tg.GraphError, match="call it once before"):
        f(model)
    assert len(f(model)) == 4


def test_the_gradient_of_a_module_is_a_dict_by_path():
    model = nn.Sequential(nn.Dense(4, activation="tanh"), nn.BatchNorm(), nn.Dense(1))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    model(x)
    model.layers[0].bias.requires_grad = False

    def loss(model, x):
        return (model(x) ** 2).mean()

    model.eval()
    found, gx = tg.grad(loss, argnums=(0, 1))(model, x)
    assert all(
        p.grad is None and type(p.node).__name__ == "Leaf" for p in model.trainable_variables
    )
    assert not any(g.requires_grad for g in found.values())
    loss(model, x).backward()
    named = {k: p.grad for k, p in model.named_parameters() if p.requires_grad}
    assert [*found] == [*named]
    for k, g in named.items():
        np.testing.assert_array_equal(found[k].numpy(), g.numpy())
    np.testing.assert_array_equal(gx.numpy(), tg.grad(lambda x: loss(model, x))(x).numpy())

    product = tg.hvp(loss, [model, x], [found, tg.zeros(x.shape)])[0]
    step = {k: 1e-2 * g for k, g in found.items()}
    before = model.state_dict()
    ahead = [
        (
            model.load_state_dict(
                {**before, **{k: before[k] + s * d.numpy() for k, d in step.items()}}
            ),
            tg.grad(loss)(model, x),
        )[1]
        for s in (1, -1)
    ]
    for k in found:
        slope = (ahead[0][k] - ahead[1][k]).numpy() / 2e-2
        np.testing.assert_allclose(product[k].numpy(), slope, rtol=1e-2, atol=1e-4)
    model.load_state_dict(before)

    with pytest.raises(ZeroDivisionError):
        tg.grad(lambda model: 1 / 0)(model)
    assert all(type(p.node).__name__ == "Leaf" for p in model.trainable_variables)


def test_threads_may_differentiate_one_module():
    model, x = nn.Dense(1), tg.ones((2, 3))
    model(x)
    expected = tg.grad(lambda m: m(x).sum())(model)["weight"].tolist()
    gate, wrong = threading.Barrier(4), []

    def work():
        gate.wait()
        for _ in range(20):
            g = tg.grad(lambda m: [time.sleep(1e-4), m(x).sum()][1])(model)["weight"]
            if g.tolist() != expected:
                wrong.append(g)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert all(type(p.node).__name__ == "Leaf" for p in model.parameters())


def test_linearize_runs_the_function_once():
    calls = []

    def f(p, x):
        calls.append(1)
        return {"y": tg.sin(p["w"]) * x, "z": x**2}

    y, push = tg.linearize(f, {"w": np.array([0.5, 1.0])}, np.array(3.0))
    assert not trees.leaves(y)[0].requires_grad
    for dw, dx in (([1.0, 0.0], 0.0), ([0.0, 1.0], 0.0), ([0.3, -2.0], 0.7)):
        dy = push({"w": np.array(dw)}, np.array(dx))
        expected = np.cos([0.5, 1.0]) * dw * 3 + np.sin([0.5, 1.0]) * dx
        np.testing.assert_allclose(dy["y"].numpy(), expected, rtol=1e-12)
        assert dy["z"].item() == pytest.approx(6 * dx)
    assert calls == [1]
    slope = tg.grad(lambda x: tg.linearize(tg.sin, x)[1](2.0))(np.array(0.5))
    assert slope.item() == pytest.approx(-2 * np.sin(0.5))
    for wrong in ((1.0,), ({"w": np.ones(3)}, np.array(1.0)), ({"v": np.ones(2)}, 1.0)):
        with pytest.raises(tg.TensorgradError, match="jvp"):
            push(*wrong)


def test_jacobians_and_hessians_of_several_arguments_and_trees():
    f = lambda p, x: {"y": p["a"] * x, "s": (p["b"] * x**2).sum()}  # noqa: E731
    p, x = {"a": np.array([2.0, 3.0]), "b": np.array(0.5)}, np.array([1.0, -1.0])
    jp, jx = tg.jacobian(f, argnums=(0, 1))(p, x)["y"]
    assert jp["a"].tolist() == [[1.0, 0.0], [0.0, -1.0]]
    assert jp["b"].tolist() == [0.0, 0.0]
    assert jx.tolist() == [[2.0, 0.0], [0.0, 3.0]]
    assert tg.jacobian(f, 1)(p, x)["s"].tolist() == [1.0, -1.0]
    h = tg.hessian(lambda a, b: (a**2 * b).sum(), argnums=(0, 1))(2.0, np.array([3.0, 4.0]))
    assert [[m.tolist() for m in row] for row in h] == [
        [14.0, [4.0, 4.0]],
        [[4.0, 4.0], [[0.0] * 2] * 2],
    ]
    tree = tg.hessian(lambda p: p["a"] ** 2 * p["b"])({"a": 2.0, "b": 3.0})
    assert {k: {j: v.item() for j, v in row.items()} for k, row in tree.items()} == {
        "a": {"a": 6.0, "b": 4.0},
        "b": {"a": 4.0, "b": 0.0},
    }


def test_aux_comes_back_beside_the_derivative():
    def f(x):
        return (x**3).sum(), {"half": x / 2, "note": "kept"}

    x = np.array([2.0])
    (y, aux), g = tg.value_and_grad(f, has_aux=True)(x)
    assert (y.item(), g.tolist(), aux["half"].tolist(), aux["note"]) == (8.0, [12.0], [1.0], "kept")
    assert not aux["half"].requires_grad
    assert tg.grad(f, has_aux=True)(x)[1]["note"] == "kept"
    assert tg.vjp(f, x, has_aux=True)[2]["half"].tolist() == [1.0]
    assert tg.jvp(f, [x], [x], has_aux=True)[1:][0].item() == 24.0
    assert tg.linearize(f, x, has_aux=True)[2]["note"] == "kept"
    assert tg.jacobian(f, has_aux=True)(x)[0].tolist() == [12.0]
    h, aux = tg.hessian(f, has_aux=True)(x)
    assert (h.tolist(), aux["note"], aux["half"].requires_grad) == ([[12.0]], "kept", False)
    inner = tg.grad(lambda x: tg.grad(f, has_aux=True)(x)[1]["half"].sum())  # aux is on the tape
    assert inner(x).tolist() == [0.5]
    for wrong in (lambda x: x, lambda x: (x, x, x)):
        with pytest.raises(tg.GraphError, match=r"pair \(y, aux\)"):
            tg.grad(wrong, has_aux=True)(1.0)


# --- GradientTape ---------------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [True, False])
def test_tapes_nest_and_a_persistent_one_is_asked_more_than_once(persistent):
    x = tg.tensor(np.array(0.5))
    with tg.GradientTape(persistent) as third:
        third.watch(x)
        with tg.GradientTape(persistent) as second:
            with tg.GradientTape(persistent) as first:
                y = tg.sin(x) * x
            slope = first.gradient(y, x)
        bend = second.gradient(slope, {"x": x})["x"]
    s, c = np.sin(0.5), np.cos(0.5)
    assert slope.item() == pytest.approx(c * 0.5 + s)
    assert bend.item() == pytest.approx(2 * c - 0.5 * s)
    if persistent:  # outside of all blocks, and the graph of each order is still there
        assert third.gradient(y, x).item() == pytest.approx(slope.item())
        assert second.gradient(slope, x).item() == pytest.approx(bend.item())
    assert third.gradient(bend, x, np.array(2.0)).item() == pytest.approx(2 * (-3 * s - 0.5 * c))
    if not persistent:
        with pytest.raises(tg.GraphError, match="freed"):
            third.gradient(bend, x)
    assert not first.gradient(tg.sin(x), x).requires_grad


def test_a_tape_takes_trees_and_leaves_recording_as_it_was():
    w = Weights(tg.tensor([2.0]), {"b": tg.tensor([3.0])})
    with tg.no_grad():
        with pytest.raises(ZeroDivisionError), tg.GradientTape():
            1 / 0  # noqa: B018
        with tg.GradientTape() as tape:
            tape.watch(w)
            y = (w.w * w.b["b"]).sum()
        assert not (w.w * 2).requires_grad
    g = tape.gradient(y, w)
    assert (g.w.tolist(), g.b["b"].tolist(), g.name) == ([3.0], [2.0], "dense")
    with pytest.raises(tg.GraphError, match="not watched"):
        tape.gradient(y, [tg.ones(2)])
