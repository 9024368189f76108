"""vmap against a loop over the examples: every op of the table, programs, and PyTorch's."""

import warnings

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.batching import rules
from tensorgrad.core import OPS

from .oracles.linalg import gauged
from .test_ops import close, each, floating, length

PURE = [op for op in OPS.values() if not op.inplace]
# What is computed example by example, for some of its arguments or for all
LOOPS = {*"cast_all correlate_valid gru lstm pinv rnn searchsorted segment_extreme".split()}
LOOPS |= {"gamma_path", "sum_of_squares", "pick", "pick_grad"}  # the last, where indices differ
ALIGNED = ("targets", "input_lengths", "target_lengths")  # which are not any whole numbers
rng = np.random.default_rng(0)


def variants(args):
    """Which arguments are batched: all arrays, and each array alone."""
    arrays = [i for i, a in enumerate(args) if isinstance(a, np.ndarray)]
    return [arrays] + ([[i] for i in arrays] if len(arrays) > 1 else [])


def two(a, fixed=False):
    """A second example like the first; of labels and lengths the same."""
    return np.stack([a, a if fixed else a * 0.75 if floating(a) else np.flip(a)])


def outputs(y):
    return [t for t in (y if isinstance(y, tuple) else (y,)) if t is not None]


def summed(op, params):
    """A number that depends on all outputs, as a function of the floating inputs."""

    def f(*args):
        parts = [t for t in outputs(op(*args, **params)) if t.dtype.kind == "f"]
        return sum([(t * tg.asarray(np.cos(np.arange(t.size)).reshape(t.shape))).sum()
                    for t in parts], tg.tensor(0.0, "float64"))  # fmt: skip

    return f


ALL = [op for op in PURE if op.name not in ("move", "random_bits", "dropout")]


@each(ALL)
def test_an_op_of_a_batch_is_that_of_each_example(op, sample):
    found = variants(sample.args)
    check(op, sample, "numpy", found[sum(map(np.size, sample.args)) % len(found)])


@pytest.mark.slow
@each(ALL)
def test_whichever_arguments_are_batched(op, sample, backend):
    for batched in variants(sample.args):
        check(op, sample, backend, batched)


def check(op, sample, backend, batched):
    """Value and gradients of a batch of two, in vmap and through it, against those of each."""

    def place(a):
        return tg.asarray(a, backend=backend) if isinstance(a, np.ndarray) else a

    if any(a.size > 50 for a in sample.args if isinstance(a, np.ndarray)):
        return
    axes = tuple([0 if i in batched else None for i in range(len(sample.args))])
    fixed = ALIGNED if op.name.startswith(("ctc", "transducer")) else ()
    names = dict(enumerate(op.inputs))
    args = [two(a, names.get(i) in fixed) if i in batched else a for i, a in enumerate(sample.args)]
    examples = [
        [place(np.asarray(a[i]) if axis == 0 else a) for a, axis in zip(args, axes, strict=True)]
        for i in range(2)
    ]
    args, n = [place(a) for a in args], 10 * length(sample.args)
    with warnings.catch_warnings(), tg.use_kernels("reference"):
        warnings.simplefilter("ignore")
        f = lambda *xs: tuple(outputs(op(*xs, **sample.params)))  # noqa: E731
        expected = [f(*example) for example in examples]
        found = tg.vmap(f, in_axes=axes)(*args)
        stacks = [np.stack([e[i].numpy() for e in expected]) for i in range(len(found))]
        assert [y.dtype for y in found] == [stacked.dtype for stacked in stacks]
        for y, stacked in zip(gauged(op.name, found), gauged(op.name, stacks), strict=True):
            close(y, stacked, "float64", n, f"{op.name} {axes}")
        floats = [i for i, a in enumerate(sample.args) if floating(a)]
        first = op.name in ("ctc_grad", "transducer_grad")  # no second derivatives within vmap
        if not op.differentiable or not floats or op.name == "cast" or first:
            return
        loss = summed(op, sample.params)
        g = tg.grad(loss, argnums=floats)
        expected = [g(*example) for example in examples]
        found = tg.vmap(g, in_axes=axes)(*args)
        total = lambda *xs: tg.vmap(loss, in_axes=axes)(*xs).sum()  # noqa: E731
        through = tg.grad(total, argnums=floats)(*args)
        for i, (a, b) in enumerate(zip(found, through, strict=True)):
            stacked = np.stack([e[i].numpy() for e in expected])
            close(a, stacked, "float64", 10 * n, f"grad {op.name} {axes}")
            whole = stacked if axes[floats[i]] == 0 else stacked.sum(0)
            close(b, whole, "float64", 10 * n, f"through {op.name} {axes}")


def test_the_ops_that_loop_are_few():
    assert rules._told <= LOOPS | {name for name in rules._told if name.startswith("np.")}


# --- programs -------------------------------------------------------------------------------------

X, Y = rng.normal(size=(3, 4)), rng.normal(size=(3, 2))
W = rng.normal(size=(4, 2))


def loop(f, *batches):
    """f of each example, stacked."""
    found = [f(*example) for example in zip(*batches, strict=True)]
    return np.stack([y.numpy() for y in found])


def loss(w, x, y):
    return ((tg.tanh(x @ w) - y) ** 2).sum()


def squared(r, x):
    return (r * x).sum() ** 2


def same(found, expected, tol=1e-12):
    np.testing.assert_allclose(found.numpy(), np.asarray(expected), rtol=tol, atol=tol)


PROGRAMS = {
    "per-example gradients": (
        lambda: tg.vmap(tg.grad(loss), in_axes=(None, 0, 0))(W, X, Y),
        lambda: loop(lambda x, y: tg.grad(loss)(W, x, y), X, Y),
    ),
    "the hessian of each": (
        lambda: tg.vmap(tg.hessian(loss), in_axes=(None, 0, 0))(W, X, Y),
        lambda: loop(lambda x, y: tg.hessian(loss)(W, x, y), X, Y),
    ),
    "jacobians": (
        lambda: tg.vmap(tg.jacobian(lambda x: tg.tanh(x @ W)))(X),
        lambda: loop(lambda x: tg.jacobian(lambda x: tg.tanh(x @ W))(x), X),
    ),
    "jvp": (
        lambda: tg.vmap(lambda x, t: tg.jvp(lambda x: tg.sin(x) @ W, [x], [t])[1])(X, X + 1),
        lambda: np.stack([(np.cos(x) * (x + 1)) @ W for x in X]),
    ),
    "hvp": (
        lambda: tg.vmap(lambda x, t: tg.hvp(lambda x: (x**3).sum(), [x], [t])[0])(X, Y @ W.T),
        lambda: 6 * X * (Y @ W.T),
    ),
    "the gradient of a vmap": (
        lambda: tg.grad(lambda w: tg.vmap(loss, in_axes=(None, 0, 0))(w, X, Y).mean())(W),
        lambda: loop(lambda x, y: tg.grad(loss)(W, x, y), X, Y).mean(0),
    ),
    "of what a function takes from outside": (
        lambda: tg.grad(lambda w: tg.vmap(lambda x, y: loss(w, x, y))(X, Y).mean())(W),
        lambda: loop(lambda x, y: tg.grad(loss)(W, x, y), X, Y).mean(0),
    ),
    "of a gradient of each": (
        lambda: tg.grad(lambda w: (tg.vmap(tg.grad(loss), (None, 0, 0))(w, X, Y) ** 2).sum())(W),
        lambda: tg.grad(
            lambda w: sum((tg.grad(loss)(w, x, y) ** 2).sum() for x, y in zip(X, Y, strict=True))
        )(W).numpy(),
    ),
    "the hessian of a vmap": (
        lambda: tg.hessian(lambda w: tg.vmap(lambda x, y: loss(w, x, y))(X, Y).sum())(W),
        lambda: loop(lambda x, y: tg.hessian(loss)(W, x, y), X, Y).sum(0),
    ),
    "the jacobian of a vmap": (
        lambda: tg.jacobian(lambda x: tg.vmap(lambda r: (r * r).sum())(x))(X),
        lambda: np.einsum("ij,ik->ikj", 2 * X, np.eye(3)),
    ),
    "a vmap in a vmap": (
        lambda: tg.vmap(lambda x: tg.vmap(lambda r: tg.exp(x @ r))(X))(X),
        lambda: np.exp(X @ X.T),
    ),
    "a gradient in a vmap in a gradient in a vmap": (
        lambda: tg.vmap(
            tg.grad(lambda x: tg.vmap(tg.grad(squared), (0, None))(X, x).sum()),
        )(X),
        lambda: loop(
            lambda x: tg.grad(lambda x: sum(tg.grad(squared)(r, x).sum() for r in X))(x), X
        ),
    ),
    "axes": (
        lambda: tg.vmap(lambda x, y: tg.outer(x, y), in_axes=(1, -1), out_axes=2)(X, W.T[:, :4]),
        lambda: np.einsum("ij,kj->ikj", X, W.T[:, :4]),
    ),
    "trees": (
        lambda: tg.vmap(
            lambda p, x: {"y": p["w"] * x + p["b"]["c"]},
            in_axes=({"w": None, "b": {"c": 0}}, 0),
            out_axes={"y": 1},
        )({"b": {"c": X}, "w": X[0]}, X)["y"],
        lambda: (X[0] * X + X).T,
    ),
    "a result that all share": (
        lambda: tg.vmap(lambda x: (tg.asarray(W) * 2, x), out_axes=(None, 0))(X)[0],
        lambda: W * 2,
    ),
    "its gradient": (
        lambda: tg.grad(
            lambda w: sum(
                (t * t).sum()
                for t in tg.vmap(lambda x: (w * 2, x * w[:, 0]), out_axes=(None, 1))(X)
            )
        )(W),
        lambda: 8 * W + np.stack([2 * (X**2).sum(0) * W[:, 0], 0 * W[:, 0]], 1),
    ),
    "the gradient of what is repeated": (
        lambda: tg.grad(lambda w: (tg.vmap(lambda x: w)(X) * X.T[:2, 0].reshape(1, 1, 2)).sum())(W),
        lambda: np.broadcast_to(3 * X.T[:2, 0], W.shape),
    ),
    "keyword arguments": (lambda: tg.vmap(lambda x, *, k: x * k)(X, k=X), lambda: X * X),
    "a list of numbers": (lambda: tg.vmap(lambda x: x * 2)([0.5, 1.0]), lambda: [1.0, 2.0]),
    "no examples": (lambda: tg.vmap(loss, (None, 0, 0))(W, X[:0], Y[:0]), lambda: np.zeros(0)),
    "a mask": (
        lambda: tg.vmap(lambda x: tg.where(x > 0, x, 0.0).sum())(X),
        lambda: X.clip(0).sum(1),
    ),
    "indices of each": (
        lambda: tg.vmap(lambda x, i: x[i])(X, np.array([[0, -1], [1, 1], [3, 2]])),
        lambda: np.take_along_axis(X, np.array([[0, -1], [1, 1], [3, 2]]), 1),
    ),
    "a custom function": (
        lambda: tg.vmap(tg.grad(lambda x: Double.apply(x).sum()))(X),
        lambda: np.full(X.shape, 2.0),
    ),
}


class Double(tg.Function):
    def forward(ctx, x):
        return 2 * x

    def backward(ctx, g):
        return 2 * g


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.filterwarnings("error")
def test_programs(name):
    found, expected = PROGRAMS[name]
    same(found(), expected())


def test_parameters_of_a_module_are_shared():
    net = nn.Sequential(nn.Dense(5, activation="tanh"), nn.Dense(1))
    x = tg.asarray(X.astype("float32"))
    net(x)
    tg.vmap(lambda r: net(r).sum())(x).sum().backward()
    found = [p.grad.numpy() for p in net.parameters()]
    net.zero_grad()
    net(x).sum().backward()
    for a, p in zip(found, net.parameters(), strict=True):
        np.testing.assert_allclose(a, p.grad.numpy(), rtol=1e-5, atol=1e-6)
    each_one = tg.vmap(tg.grad(lambda m, r: m(r).sum()), in_axes=(None, 0))(net, x)
    for (name, p), a in zip(net.named_parameters(), found, strict=True):
        assert each_one[name].shape == (3, *p.shape)
        np.testing.assert_allclose(each_one[name].numpy().sum(0), a, rtol=1e-5, atol=1e-6)


WRONG = {
    "the number of an example": (lambda x: x.sum().item(), {}, tg.GraphError, "tg.where"),
    "a decision": (lambda x: x if x.sum() > 0 else -x, {}, tg.GraphError, "tg.where"),
    "an array": (lambda x: np.asarray(x), {}, tg.TensorgradError, "vmap"),
    "a mask as an index": (lambda x: x[x > 0], {}, tg.GraphError, "tg.where"),
    "backward": (lambda x: (LEAF * x).sum().backward(), {}, tg.GraphError, "tg.grad"),
    "an index that is not there": (lambda x: tg.take(x, [7]), {}, tg.IndexingError, "7"),
    "an axis that is not there": (lambda x: x.sum(axis=1), {}, tg.IndexingError, "axis 1"),
    "too few in_axes": (lambda x: x, {"in_axes": (0, 0)}, tg.ArgumentError, "in_axes"),
    "no examples' axis": (lambda x: x, {"in_axes": None}, tg.ArgumentError, "None for all"),
    "an in_axes that is not there": (lambda x: x, {"in_axes": 2}, tg.ArgumentError, "axis 2"),
    "an out_axes that is not there": (lambda x: x, {"out_axes": 5}, tg.ArgumentError, "axis 5"),
    "out_axes None": (lambda x: x, {"out_axes": None}, tg.ArgumentError, "differs"),
    "no tensor": (lambda x: "text", {}, tg.GraphError, "str"),
    "shapes": (lambda x: x @ np.ones(3), {}, tg.ShapeError, r"\[4\]"),
}
LEAF = tg.tensor(np.ones(4), requires_grad=True)


@pytest.mark.parametrize("name", WRONG)
def test_mistakes(name):
    f, options, error, said = WRONG[name]
    if "index" in name and tg.zeros(1).backend != "numpy":
        pytest.skip("indices on a GPU wrap around, unless in detect_anomaly")
    with pytest.raises(error, match=said):
        tg.vmap(f, **options)(X)


def test_arguments_of_different_lengths():
    with pytest.raises(tg.ShapeError, match="3, 4 examples"):
        tg.vmap(lambda a, b: a)(X, W)


def test_a_loop_says_so_once():
    rules._told.discard("correlate_valid")
    with pytest.warns(RuntimeWarning, match="one by one"):
        tg.vmap(lambda x: tg.correlate(x, x[:2], mode="valid"))(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tg.vmap(lambda x: tg.correlate(x, x[:2], mode="valid"))(X)


def test_batch_statistics_are_not_written_within():
    net = nn.BatchNorm()
    net(tg.asarray(X))
    with pytest.raises(tg.GraphError, match="evaluation mode"):
        tg.vmap(lambda x: net(tg.stack([x, 2 * x])))(X)


def test_what_is_shown():
    shown = []
    tg.vmap(lambda x: shown.append(repr(x)) or x)(X)
    assert "3 examples of shape (4,)" in shown[0]


@pytest.mark.slow
def test_beside_torch():
    torch = pytest.importorskip("torch")
    x, w, images = rng.normal(size=(5, 7)), rng.normal(size=(7, 3)), rng.normal(size=(4, 2, 6, 6))
    filters, labels = rng.normal(size=(3, 2, 3, 3)), rng.integers(0, 3, 5)
    F = torch.nn.functional
    pairs = [
        (lambda w, x, t: tg.cross_entropy((tg.asarray(x) @ w)[None], t[None]),
         lambda w, x, t: F.cross_entropy((x @ w)[None], t[None]), (w, x, labels)),
        (lambda w, x: tg.relu(tg.conv2d(x[None], w, padding=(1, 1))).mean(),
         lambda w, x: F.relu(F.conv2d(x[None], w, padding=1)).mean(), (filters, images)),
        (lambda w, x: tg.softmax(tg.layer_norm(x @ w), axis=-1)[0],
         lambda w, x: F.softmax(F.layer_norm(x @ w, (3,)), -1)[0], (w, x)),
    ]  # fmt: skip
    for ours, theirs, args in pairs:
        axes = (None, *[0] * (len(args) - 1))
        found = tg.vmap(tg.grad(ours), in_axes=axes)(*args)
        expected = torch.func.vmap(torch.func.grad(theirs), in_dims=axes)(
            *[torch.tensor(a) for a in args]
        )
        same(found, expected, 1e-6)
