"""Reverse-mode differentiation: higher orders, interfaces, ownership of gradients, in-place
updates, several outputs, threads."""

import copy
import threading

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.core import OPS, Leaf, Tensor, stamp
from tensorgrad.ops.update import _SGD
from tensorgrad.testing import GradientError


def leaf(*values):
    return tg.tensor(np.array(values, dtype=np.float64), requires_grad=True)


# --- grad, any order ------------------------------------------------------------------------------


def test_grad_nests_to_any_order():
    f = lambda x: x**6  # noqa: E731
    expected = [64.0, 192.0, 480.0, 960.0, 1440.0, 1440.0, 720.0, 0.0]
    for order, value in enumerate(expected):
        g = f
        for _ in range(order):
            g = tg.grad(g)
        assert g(tg.tensor(np.array(2.0))).item() == pytest.approx(value, rel=1e-12)


def test_grad_with_respect_to_several_arguments_and_trees():
    def f(w, x, scale):
        return (w["a"] * x[0] + w["b"] * x[1]).sum() * scale

    w = {"a": np.ones(2), "b": np.full(2, 3.0)}
    gw, gs = tg.grad(f, argnums=(0, 2))(w, [np.arange(2.0), np.ones(2)], np.array(2.0))
    np.testing.assert_array_equal(gw["a"].numpy(), [0, 2])
    np.testing.assert_array_equal(gw["b"].numpy(), [2, 2])
    assert gs.item() == 0 + 1 + 3 + 3


def test_grad_gives_zeros_for_what_is_not_used_and_leaves_grad_alone():
    p = leaf(1.0, 2.0)
    gx, gy = tg.grad(lambda x, y: (x * p).sum(), argnums=(0, 1))(np.ones(2), np.ones(3))
    np.testing.assert_array_equal(gx.numpy(), [1, 2])
    np.testing.assert_array_equal(gy.numpy(), np.zeros(3))
    assert p.grad is None


def test_grad_result_is_tracked_only_when_someone_needs_it():
    p = leaf(2.0)
    f = lambda x: (x * x * p).sum()  # noqa: E731
    assert not tg.grad(lambda x: (x * x).sum())(np.ones(1)).requires_grad
    assert tg.grad(f)(np.ones(1)).requires_grad  # a closed-over parameter does
    with tg.no_grad():
        assert not tg.grad(f)(np.ones(1)).requires_grad
        assert tg.grad(f)(np.ones(1), create_graph=True).requires_grad
    assert tg.grad(f)(leaf(1.0)).requires_grad  # a tracked argument does
    with tg.GradientTape() as tape:
        g = tg.grad(f)(np.ones(1))
        assert g.requires_grad  # an enclosing tape does
        out = (g * g).sum()
    assert tape.gradient(out, p).item() == pytest.approx(2 * (2 * 2) * 2)


def test_grad_inside_no_grad_records_what_it_needs():
    with tg.no_grad():
        g = tg.grad(lambda x: (x**3).sum())(np.array([2.0]))
        assert not (leaf(1.0) * 2).requires_grad
    assert g.item() == 12


def by_input(f, x):
    """The derivative of f at x, a single number, in each way that there is."""
    one = tg.ones_like(x)
    return {
        "grad": tg.grad(f)(x),
        "value_and_grad": tg.value_and_grad(f)(x)[1],
        "has_aux": tg.value_and_grad(lambda x: (f(x), f(x)), has_aux=True)(x)[1],
        "vjp": tg.vjp(f, x)[1](1.0)[0],
        "jvp": tg.jvp(f, [x], [one])[1],
        "linearize": tg.linearize(f, x)[1](one),
        "jacobian": tg.jacobian(f)(x),
        "hessian": tg.hessian(f)(x),
        "hvp": tg.hvp(f, [x], [one])[0],
    }


@pytest.mark.parametrize("way", by_input(lambda x: x**3, tg.tensor(2.0)))
def test_what_f_closes_over_gets_its_gradient(way):
    """Gradient penalties and physics-informed losses: the weights are not arguments of f."""
    p, x = leaf(2.0), tg.tensor(3.0)
    by_input(lambda x: (x**3 * p**2).sum(), x)[way].backward(tg.ones(()))
    slope = 6 * 3 if way in ("hessian", "hvp") else 3 * 3**2
    assert p.grad.item() == slope * 2 * 2
    with tg.no_grad():
        assert not by_input(lambda x: (x**3 * p**2).sum(), x)[way].requires_grad
    model = nn.Dense(1)
    model(tg.ones((1, 1)))
    by_input(lambda x: (model(x.reshape(1, 1)) ** 3).sum(), x)[way].backward(tg.ones(()))
    assert model.weight.grad.item() != 0


def test_an_aux_keeps_what_the_value_does_not_use():
    p, x = leaf(2.0), tg.tensor(3.0)
    ways = (tg.value_and_grad(f := lambda x: (x * x, p * x), has_aux=True)(x)[0][1],
            tg.vjp(f, x, has_aux=True)[2], tg.jacobian(f, has_aux=True)(x)[1])  # fmt: skip
    for aux in ways:
        p.grad = None
        aux.sum().backward()
        assert p.grad.item() == 3


def test_values_of_f_stay_on_the_tape_of_what_it_closes_over():
    p, x = leaf(2.0), tg.tensor(3.0)
    f = lambda x: ((x * p).sum(), p * 5)  # noqa: E731
    values = (*tg.value_and_grad(f, has_aux=True)(x)[0], *tg.vjp(f, x, has_aux=True)[::2])
    for value, slope in zip(values, [3, 5, 3, 5], strict=True):
        p.grad = None
        value.backward(tg.ones_like(value))
        assert p.grad.item() == slope


def test_meta_gradient_through_a_gradient_step():
    w = leaf(1.5)
    inner = lambda v: ((v - 3) ** 2).sum()  # noqa: E731
    fast = w - 0.1 * tg.grad(inner)(w, create_graph=True)
    ((fast - 1) ** 2).sum().backward()
    # d/dw (0.8 w + 0.6 - 1)^2 = 1.6 (0.8 w - 0.4)
    assert w.grad.item() == pytest.approx(1.6 * (0.8 * 1.5 - 0.4))


def test_jacobian_hessian_vjp_jvp():
    a = np.random.default_rng(0).normal(size=(3, 2))
    f = lambda x: tg.tanh(tg.matmul(a, x))  # noqa: E731
    x = np.array([0.3, -0.7])
    slope = 1 - np.tanh(a @ x) ** 2
    np.testing.assert_allclose(tg.jacobian(f)(x).numpy(), slope[:, None] * a, rtol=1e-12)
    y, dy = tg.jvp(f, [x], [np.array([1.0, 2.0])])
    np.testing.assert_allclose(dy.numpy(), slope * (a @ [1.0, 2.0]), rtol=1e-12)
    np.testing.assert_allclose(y.numpy(), np.tanh(a @ x), rtol=1e-12)
    h = tg.hessian(lambda x: (x[0] ** 2 * x[1] ** 3).sum())(np.array([2.0, 3.0]))
    np.testing.assert_allclose(h.numpy(), [[54, 108], [108, 72]], rtol=1e-12)


def test_tape_gives_none_where_there_is_no_path():
    a, b = leaf(1.0), leaf(2.0)
    with tg.GradientTape() as tape:
        y = (a * 3).sum()
    ga, gb = tape.gradient(y, [a, b])
    assert ga.item() == 3
    assert gb is None


def test_tape_gradient_of_an_intermediate_result_and_persistence():
    a = leaf(2.0)
    with tg.GradientTape(persistent=True) as tape:
        mid = a * a
        y = (mid * 3).sum()
    assert tape.gradient(y, mid).item() == 3
    assert tape.gradient(y, a).item() == 12


# --- backward -------------------------------------------------------------------------------------


def test_gradients_add_up_over_backwards_and_paths():
    x = leaf(3.0)
    y = x * x + x
    y.sum().backward()
    assert x.grad.item() == 7
    (x * 2).sum().backward()
    assert x.grad.item() == 9


def test_backward_twice_needs_retain_graph():
    x = leaf(3.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12
    with pytest.raises(tg.GraphError, match="retain_graph"):
        y.backward()


def test_backward_with_a_cotangent():
    x = leaf(1.0, 2.0)
    y = x * x
    with pytest.raises(tg.ShapeError, match="single number"):
        y.backward()
    with pytest.raises(tg.ShapeError, match="cotangent"):
        y.backward(np.ones(3))
    seed = np.array([1.0, 10.0])
    y.backward(seed)
    np.testing.assert_array_equal(x.grad.numpy(), [2, 40])


def test_the_cotangent_itself_never_becomes_a_gradient():
    x, y, seed = leaf(1.0, 2.0), leaf(1.0, 2.0), np.ones(2)
    (x + y).backward(seed)
    x.grad.data[...] = 5
    np.testing.assert_array_equal(seed, 1)
    np.testing.assert_array_equal(y.grad.numpy(), 1)


def test_nothing_to_differentiate_is_an_error():
    with pytest.raises(tg.GraphError, match="requires_grad"):
        tg.tensor([1.0]).sum().backward()
    x = leaf(1.0)
    with tg.no_grad():
        y = (x * 2).sum()
    with pytest.raises(tg.GraphError, match="no_grad"):
        y.backward()


def test_a_parameter_updated_between_forward_and_backward_is_refused():
    for update in (
        lambda w: setattr(w, "data", w.data - 1),
        lambda w: OPS["optimizer_step"](
            np.array([0.1, 0.0]), w, np.ones(1), formula="sgd", options=_SGD
        ),
        lambda w: (w.data.__isub__(1), stamp(w)),
    ):
        w = leaf(2.0)
        loss = (w * w * w).sum()
        update(w)
        with pytest.raises(tg.GraphError, match="was updated after"):
            loss.backward()
        (w * w).sum().backward()  # a graph recorded after the update is fine
        assert w.grad.item() == pytest.approx(2 * w.item())


def test_promotion_and_broadcasting_are_undone():
    a = tg.tensor(np.ones((3,), np.float32), requires_grad=True)
    b = leaf(*[1.0] * 6).reshape(2, 3)
    ((a * b).sum()).backward()
    assert a.grad.dtype == np.float32
    np.testing.assert_array_equal(a.grad.numpy(), [2, 2, 2])


def test_several_outputs_with_some_unused():
    x = leaf(*range(6))
    first, second, third = tg.split(x, 3)
    (first.sum() + 10 * third.sum()).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 1, 0, 0, 10, 10])
    assert second.requires_grad


def test_second_order_through_several_outputs():
    tg.gradcheck(lambda x: [p * p for p in tg.split(x, 2)], [np.arange(4.0)], order=2)
    w = np.random.default_rng(0).normal(size=(3, 2))
    tg.gradcheck(
        lambda x, w: tg.dense(x, w, activation="gelu"), [np.arange(6.0).reshape(2, 3), w], order=3
    )


@pytest.mark.host
def test_advanced_indexing_adds_repeated_places():
    x = leaf(1.0, 2.0, 3.0)
    x[[0, 0, 2]].sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 0, 1])
    m = leaf(*range(6)).reshape(2, 3)
    assert m[m > 2].tolist() == [3, 4, 5]
    assert m[tg.tensor([1, 0]), 1].tolist() == [4, 1]


# --- custom functions -----------------------------------------------------------------------------


class Cube(tg.Function):
    def forward(ctx, x):
        ctx.save(x)
        return x**3

    def backward(ctx, g):
        (x,) = ctx.saved
        return g * 3 * x * x


def test_function_of_the_user_any_order():
    assert tg.gradcheck(Cube.apply, [np.array([1.0, -2.0])], order=3)
    x = leaf(2.0)
    Cube.apply(x).sum().backward()
    assert x.grad.item() == 12


def test_gradcheck_finds_a_wrong_gradient():
    class Wrong(Cube):
        def backward(ctx, g):
            (x,) = ctx.saved
            return g * 2 * x * x

    with pytest.raises(GradientError, match="differences say"):
        tg.gradcheck(Wrong.apply, [np.array([1.0, -2.0])])


def test_compare_points_out_a_transposed_gradient():
    a = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert "transposed" in tg.compare([a], [a.T])
    assert "transpose" in tg.compare([np.ones((2, 3))], [np.ones((3, 2))])


# --- threads and copies -------------------------------------------------------------------------


def test_recording_is_switched_per_thread():
    inside, outside = threading.Event(), threading.Event()
    seen = {}

    def worker():
        inside.wait(5)
        seen["other"] = (leaf(1.0) * 2).requires_grad
        outside.set()

    thread = threading.Thread(target=worker)
    thread.start()
    with tg.no_grad():
        inside.set()
        outside.wait(5)
        seen["here"] = (leaf(1.0) * 2).requires_grad
    thread.join()
    assert seen == {"other": True, "here": False}


def test_eight_threads_give_what_one_gives():
    def run(seed):
        rng = np.random.default_rng(seed)
        w = tg.tensor(rng.normal(size=(5, 5)), requires_grad=True)
        for _ in range(30):
            y = tg.tanh(tg.matmul(rng.normal(size=(4, 5)), w)).sum()
            w.grad = None
            y.backward()
            w.data = w.data - 0.01 * w.grad.data
        return w.numpy()

    serial = [run(i) for i in range(8)]
    parallel = [None] * 8
    threads = [
        threading.Thread(target=lambda i=i: parallel.__setitem__(i, run(i))) for i in range(8)
    ]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for a, b in zip(serial, parallel, strict=True):
        np.testing.assert_array_equal(a, b)


def test_leaves_can_be_copied():
    x = leaf(1.0, 2.0)
    y = copy.deepcopy(x)
    assert isinstance(y.node, Leaf)
    assert y.node is not x.node
    y.data[0] = 9
    assert x.numpy()[0] == 1
    with pytest.raises(tg.GraphError, match="detach"):
        copy.deepcopy(x * 2)


def test_moving_between_backends_is_differentiable(backend):
    x = tg.tensor([1.0, 2.0], requires_grad=True, backend="numpy")
    y = x.to(backend)
    assert y.backend == backend
    (y * y).sum().backward()
    assert x.grad.backend == "numpy"
    np.testing.assert_array_equal(x.grad.numpy(), [2, 4])


def test_a_public_function_and_an_op_differ_only_in_what_they_take():
    raw = np.ones(3)
    assert isinstance(tg.exp(raw), Tensor)
    assert isinstance(OPS["exp"](raw), np.ndarray)


@pytest.mark.host
def test_pulling_back_through_a_rewritten_tensor_is_refused():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    _, pull = tg.vjp(lambda x: w * x, np.ones(2))  # w is of an older graph
    _, own = tg.vjp(lambda x: x * x, w)
    chosen = tg.where(w, tg.tensor([3.0, 4.0], requires_grad=True), 0.0).sum()
    w.data *= 0
    for call in (lambda: pull(np.ones(2)), lambda: own(np.ones(2)), chosen.backward):
        with pytest.raises(tg.GraphError, match="updated after"):
            call()


def test_a_pull_back_survives_the_gradient_of_a_pull_back():
    for f in (tg.layer_norm, lambda x: tg.dense(x, np.ones((3, 2)), activation="gelu")):
        y, pull = tg.vjp(f, np.arange(6.0).reshape(2, 3) ** 2)
        v = np.ones(y.shape)
        before = pull(v)[0].numpy()
        tg.grad(lambda v, pull=pull: (pull(v, create_graph=True)[0] * 2).sum())(v)
        assert np.array_equal(pull(v)[0].numpy(), before)


class _Exp(tg.Function):
    def forward(ctx, x):
        y = ctx.xp.exp(x)
        ctx.save(y)
        return y

    def backward(ctx, g):
        (y,) = ctx.saved
        return g * y


class _Times(tg.Function):
    def forward(ctx, a, b):
        ctx.save(a, b)
        return a * b

    def backward(ctx, g):
        a, b = ctx.saved
        return g * b, g * a


class _InPlace(tg.Function):
    def forward(ctx, x):
        return 0.5 * x

    def backward(ctx, g):
        g *= 0.5
        return g


def test_a_function_may_write_to_its_cotangent():
    """Which it shares: with other branches of the graph, with the caller, and, where backward
    starts, with all other losses."""
    for _ in range(2):
        assert tg.grad(_InPlace.apply)(3.0).item() == 0.5
    assert tg.sigmoid(0.0).item() == 0.5
    x, cotangent = tg.ones(3, requires_grad=True), np.ones(3, np.float32)
    (_InPlace.apply(x) + _InPlace.apply(x) + x).backward(cotangent)
    assert x.grad.tolist() == [2.0] * 3
    assert cotangent.tolist() == [1.0] * 3


def test_functions_of_single_numbers_are_differentiable_twice():
    # NumPy makes a scalar of a 0-d result, so the saved output is not the array that is kept
    assert tg.grad(tg.grad(_Exp.apply))(np.array(2.0)).item() == pytest.approx(np.exp(2.0))


def test_a_function_tells_a_tensor_from_the_same_array_detached():
    x = np.array([3.0])

    def first(x):  # x * b at b = x, differentiated for x with b held: the gradient is b
        b = tg.tensor(x.numpy())
        b._data = x._data
        return tg.grad(lambda a: _Times.apply(a, b).sum())(x).sum()

    assert tg.grad(first)(x).tolist() == [0.0]

    def second(x):
        return tg.grad(lambda b: _Times.apply(x.detach(), b).sum() + 0 * x.sum())(x).sum()

    assert tg.grad(second)(x).tolist() == [0.0]


@pytest.mark.host
def test_a_function_leaves_no_cycle_and_drops_what_it_saved():
    import gc

    for create_graph in (False, True):
        gc.collect()
        gc.disable()
        try:
            x = tg.tensor(np.ones(3), requires_grad=True)
            y = _Exp.apply(x)
            y.sum().backward(create_graph=create_graph)
            assert y.node.op.ctx.saved == ()
            x.grad = None
            del x, y
            assert gc.collect() == 0
        finally:
            gc.enable()


@pytest.mark.parametrize("wrong", [0.0, [1.0]])
def test_a_backward_that_returns_no_array_is_named(wrong):
    class Odd(tg.Function):
        def forward(ctx, x):
            return x * 2

        def backward(ctx, g):
            return wrong

    with pytest.raises(tg.DTypeError, match=r"Odd\.backward"):
        Odd.apply(tg.tensor([1.0], requires_grad=True)).sum().backward()


def test_threads_lose_no_gradient_and_share_no_dropout_mask():
    import sys

    from tensorgrad.randomness import random_state

    w = tg.tensor(np.zeros(3), requires_grad=True)
    states = [[] for _ in range(8)]

    def work(own):
        for _ in range(200):
            (w * 1.0).sum().backward()
            own.append(tuple(random_state("numpy", 40).tolist()))

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(own,)) for own in states]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    finally:
        sys.setswitchinterval(before)
    assert w.grad.tolist() == [1600.0] * 3
    assert len({s for own in states for s in own}) == 1600


def test_a_function_may_have_static_methods_as_in_pytorch():
    class Square(tg.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return 2 * ctx.saved[0] * g

    x = tg.tensor([3.0], requires_grad=True)
    Square.apply(x).sum().backward()
    assert x.grad.tolist() == [6.0]
    assert tg.grad(tg.grad(Square.apply))(3.0).item() == 2.0


def test_no_gradient_is_lost_on_the_way_into_an_op():
    a, b = (tg.tensor(v, requires_grad=True) for v in (2.0, 3.0))
    (tg.prod([a, b, 2.0]) + tg.sum([[a, 1.0], [b, b]])).backward()
    assert (a.grad.item(), b.grad.item()) == (7.0, 6.0)
    a.grad = None
    (tg.asarray(a, dtype="float64") * 3).backward()
    assert a.grad.dtype == np.float32
    assert a.grad.item() == 3.0
    assert not tg.asarray(a, dtype="int64").requires_grad
    with tg.no_grad():
        assert not tg.asarray([a, b]).requires_grad
    x = tg.tensor([-1.0, 2.0], requires_grad=True)
    for call in (
        lambda: tg.leaky_relu(x, slope=a),
        lambda: tg.elu(x, alpha=a),
        lambda: tg.pad(x, 1, constant_values=a),
        lambda: tg.layer_norm(x, eps=a),
    ):
        with pytest.raises(tg.GraphError, match="plain number"):
            call()


def test_a_leaf_that_was_frozen_and_written_is_refused():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    y = (w * w).sum()
    w.requires_grad = False
    w.data -= 100  # not stamped: it has no leaf now
    w.requires_grad = True
    with pytest.raises(tg.GraphError, match="switched"):
        y.backward()
    assert w.grad is None


def test_whole_numbers_given_to_a_leaf_become_its_floats():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    w.data = np.array([3, 4])
    (w * 2.5).sum().backward()
    assert w.dtype == w.grad.dtype == np.float32
    assert w.grad.tolist() == [2.5, 2.5]


@pytest.mark.host
def test_shortcuts_are_recorded_as_the_simpler_op():
    x = leaf(2.0, -3.0)
    for square in (lambda x: x * x, lambda x: x**2, lambda x: x**2.0, lambda x: tg.power(x, 2)):
        assert square(x).node.op.name == "square"
        first = tg.grad(lambda x, f=square: f(x).sum())
        np.testing.assert_array_equal(first(x).numpy(), [4, -6])
        np.testing.assert_array_equal(tg.grad(lambda x, f=first: f(x).sum())(x).numpy(), [2, 2])
    for y in (x * (x + 0), x**3, x ** tg.tensor(2.0)):
        assert y.node.op.name != "square"
    for whole in (np.array([1, 2]), np.array([True, False]), np.array([7], "uint8"), np.array(3)):
        for b in (2, 2.0):
            y = tg.tensor(whole) ** b
            assert y.dtype == ((whole**b).dtype if isinstance(b, int) else "float32"), (whole, b)
            np.testing.assert_array_equal(y, whole**b)


class _Keep(tg.Function):
    """A function that returns a gradient and also holds a reference to it."""

    kept: list = []

    def forward(ctx, x):
        return x + 0.0

    def backward(ctx, g):
        _Keep.kept.append(g * 2)
        return _Keep.kept[-1]


@pytest.mark.host
def test_large_gradients_add_up_in_place_where_nobody_sees_it(monkeypatch):
    totals, add = [], OPS["accumulate"]
    spy = lambda total, g: totals.append(id(total)) or add(total, g)  # noqa: E731
    monkeypatch.setitem(OPS, "accumulate", spy)
    x, seed = leaf(1.0, 2.0, 3.0), np.ones(3)
    with tg.use_kernels("always"):  # large means two numbers
        (x * 3.0 + _Keep.apply(x)).backward(seed)
        assert not totals  # what comes first, the newest, is kept: the sum is a new array
        (_Keep.apply(x) + x * 3.0 + x.reshape(3)).backward(seed)
        assert len(totals) == 1  # the first is a view, to which the second is added anew
        (_Keep.apply(x) + x * 3.0).backward(seed)
        assert len(totals) == 2
    np.testing.assert_array_equal(x.grad, [16, 16, 16])
    np.testing.assert_array_equal(_Keep.kept, [[2, 2, 2]] * 3)
    np.testing.assert_array_equal(seed, [1, 1, 1])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: tg.embedding(x, IDS),
        lambda x: x[IDS],
        lambda x: x[:, IDS % 3, None],
        lambda x: tg.max_pool2d(x.reshape(1, 1, 5, 3), 2),
        lambda x: tg.cross_entropy(x, [0, 2, 1, 1, 0], reduction="none"),
        lambda x: tg.where(x > 0.1, x, 0.5 * x),
    ],
    ids=["embedding", "rows", "columns", "max_pool2d", "cross_entropy", "where"],
)
def test_second_order_where_the_cotangent_depends_on_the_input(f, backend):
    """Of ops with indices and masks: the square makes their gradient's cotangent tracked."""
    x = np.random.default_rng(0).normal(size=(5, 3))
    assert tg.gradcheck(lambda x: (f(x) ** 2).sum(), [tg.tensor(x)], order=2)


IDS = np.array([[1, 0, 1], [4, 4, 1]])
