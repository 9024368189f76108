"""What a step of mixed precision asks of the host: casts, launches and structs, counted."""

from __future__ import annotations

import gc
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from tensorgrad.kernels.cuda import attention, device

import tensorgrad as tg
from tensorgrad import precision
from tensorgrad.core import OPS
from tensorgrad.dispatch import watched
from tensorgrad.ownership import add_up

from .steps import training


@pytest.fixture
def home(gpu):
    """A CUDA-like backend, as the default one."""
    before = tg.backend.default().name
    tg.set_backend(gpu.name)
    yield gpu
    tg.set_backend(before)


def counted(step):
    """How often each op ran in a call, those that backward calls included."""
    found = Counter()

    def watcher(op, run):
        def call(*arrays, **params):
            found[op.name] += 1
            return run(*arrays, **params)

        return call

    with watched(watcher):
        step()
    return found


def blocks(n=6):
    """The Transformer of the benchmarks: blocks without dropout, and a dense layer."""
    tg.seed(1)
    layers = [*[tg.nn.TransformerBlock(2, 16) for _ in range(n)], tg.nn.Dense(8, 16)]
    model = tg.nn.Sequential(layers)
    model(x := tg.randn(2, 4, 16))
    return model, x, tg.asarray(np.arange(8).reshape(2, 4) % 8)


def step_of(model, x, t, optimizer):
    def step():
        with tg.autocast("bfloat16"):
            loss = tg.losses.cross_entropy(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_the_casts_of_a_transformers_step(home):
    """64 casts and 76 sum_to, one launch each, if every parameter and gradient has its own."""
    model, x, t = blocks()
    step = step_of(model, x, t, tg.optim.AdamW(model.parameters(), lr=1e-3))
    first, _, later = counted(step), step(), counted(step)
    assert first["cast"] == 64
    assert (later["cast"], later["sum_to"], later["cast_all"]) == (14, 26, 2)


def test_structs_are_made_once(home):
    """Those of attention follow from the layout; the optimizer's holds addresses, which change."""
    model, x, t = blocks()
    step = step_of(model, x, t, tg.optim.AdamW(model.parameters(), lr=1e-3))
    step()
    before = attention._struct.cache_info()
    step()
    after = attention._struct.cache_info()
    assert after.misses == before.misses
    assert after.hits == before.hits + 2 * 6


def test_cupy_is_given_structs_as_bytes():
    """It asks for the array's interface, for which NumPy describes all fields of a struct."""
    cupy = SimpleNamespace(ndarray=type("ndarray", (), {}))
    cupy.cuda = SimpleNamespace(runtime=SimpleNamespace(getDevice=lambda: 0))
    table = np.zeros((), np.dtype([("at", np.uint64, (4, 2)), ("size", np.int32)]))
    table["at"], table["size"] = np.arange(8).reshape(4, 2), 7
    passed = device.CupyLauncher(cupy)._passed("kernel", 0, table[()])
    assert (passed.shape, passed.dtype.kind) == ((1,), "V")  # CuPy passes one element by value
    assert passed.dtype.names is None
    assert passed.tobytes() == table.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_casts_of_many_arrays_are_numpys(dtype, gpu):
    """And back; more than a launch takes, empty ones, and views that begin anywhere."""
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-8, 6e-5, 65519, 65520, 3e38, 1 / 3], "f")
    sizes = [5000, 0, 7, *[1 + i % 19 for i in range(700)]]
    given = [np.resize(np.roll(odd, i), n) for i, n in enumerate(sizes)]
    placed = [gpu.from_host(a)[i % 2 :] for i, a in enumerate(given)]
    given = [a[i % 2 :] for i, a in enumerate(given)]
    made = OPS["cast_all"](*placed, dtype=np.dtype(dtype))
    back = OPS["cast_all"](*made, dtype=np.dtype("float32"))
    for a, y, z in zip(given, made, back, strict=True):
        y, wanted = gpu.to_host(y), a.astype(dtype)
        assert y.dtype == wanted.dtype
        np.testing.assert_array_equal(y.astype("float32"), wanted.astype("float32"))
        np.testing.assert_array_equal(gpu.to_host(z), wanted.astype("float32"))


# --- parameters that are cast together ----------------------------------------------------------


def losses_of(model, half="bfloat16", steps=3, change=lambda i, model: None):
    """Losses and gradients of some steps."""
    x, found = tg.asarray(np.linspace(-1, 1, 12).reshape(3, 4).astype("float32")), []
    for i in range(steps):
        change(i, model)
        for p in model.parameters():
            p.grad = None
        with tg.autocast(half):
            y = model(x).sum()
        y.backward()
        found += [y.numpy(), *[p.grad.numpy() for p in model.parameters()]]
    return found


def same(a, b):
    for one, other in zip(a, b, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def mlp():
    tg.seed(2)
    model = tg.nn.Sequential([tg.nn.Dense(5, 4, activation="relu"), tg.nn.Dense(3, 5)])
    model(tg.ones((1, 4)))
    return model


class Shared(tg.nn.Module):
    """One matrix in two products, and once more outside of autocast."""

    def __init__(self):
        super().__init__()
        self.w = tg.Parameter(np.linspace(-1, 1, 16).reshape(4, 4).astype("float32"))

    def forward(self, x):
        y = tg.matmul(tg.matmul(x, self.w), self.w)
        return y + (self.w * 0.5).sum()


def _replace(i, model):
    p = model.parameters()[0]
    p.data = p.data * 2


def _in_place(i, model):
    with tg.no_grad():
        for p in model.parameters():
            p *= 0.5


def _optimize(i, model):
    for p in model.parameters():
        p.grad = tg.ones_like(p)
    tg.optim.SGD(model.parameters(), lr=0.5).step()


CHANGES = {"nothing": lambda i, model: None, "data": _replace, "in place": _in_place}
CHANGES["optimizer"] = _optimize


@pytest.mark.parametrize("make", [mlp, Shared])
@pytest.mark.parametrize("change", CHANGES)
def test_the_same_bits_as_one_by_one(make, change, home, monkeypatch):
    together = losses_of(make(), change=CHANGES[change])
    monkeypatch.setattr(precision._Casts, "plan", lambda self: None)
    same(together, losses_of(make(), change=CHANGES[change]))


@pytest.mark.parametrize("change", [c for c in CHANGES if c != "nothing"])
def test_a_parameter_updated_within_the_block_is_cast_again(change, home):
    model, x = mlp(), tg.ones((2, 4))
    for _ in range(3):
        with tg.autocast("float16"):
            first = model.layers[0](x)  # casts those of the second layer, too
            CHANGES[change](0, model.layers[1])
            y = model.layers[1](first)
        with tg.autocast("float16"):
            wanted = model.layers[1](first)
        np.testing.assert_array_equal(y.numpy(), wanted.numpy())


def test_to_second_order(home, monkeypatch):
    """The casts of a differentiable gradient are on the tape."""
    x, found = tg.asarray(np.linspace(-1, 1, 12).reshape(3, 4).astype("float32")), []
    for together in (True, False):
        if not together:
            monkeypatch.setattr(precision._Casts, "plan", lambda self: None)
        model = mlp()
        for _ in range(2):
            for p in model.parameters():
                p.grad = None
            with tg.autocast("bfloat16"):
                y = (model(x) ** 2).sum()
            y.backward(create_graph=True)
            gradients = [p.grad for p in model.parameters()]
            for p in model.parameters():
                p.grad = None
            sum((g * g).sum() for g in gradients).backward()
        found.append([p.grad.numpy() for p in model.parameters()])
    same(*found)


def test_nothing_is_recorded_under_no_grad(home):
    model, x = mlp(), tg.ones((2, 4))
    for _ in range(2):
        with tg.no_grad(), tg.autocast("bfloat16"):
            assert model(x).node is None


def test_blocks_that_share_parameters_keep_their_own_lists(home):
    """Such as a generator's step through a discriminator, and the discriminator's own."""
    first, second, x = mlp(), tg.nn.Dense(3, 3), tg.ones((2, 4))
    second(tg.ones((1, 3)))

    def both():
        with tg.autocast("bfloat16"):
            second(first(x))

    def alone():
        with tg.autocast("bfloat16"):
            second(tg.ones((2, 3), dtype="bfloat16"))

    for _ in range(2):
        both(), alone()
    assert counted(both) == counted(both)
    assert counted(both)["cast_all"] == counted(alone)["cast_all"] == 1


def test_so_many_at_once(home, monkeypatch):
    """What is cast ahead of its use takes memory."""
    monkeypatch.setattr(precision, "_AT_ONCE", 20)
    model, x = mlp(), tg.ones((2, 4))

    def forward():
        with tg.no_grad(), tg.autocast("bfloat16"):
            model(x)

    forward()
    assert [len(p.node.cast_with) for p in model.parameters()] == [0, 1, 0, 0]
    found = counted(forward)
    assert (found["cast_all"], found["cast"]) == (1, 3)


def test_a_model_that_is_gone_leaves_nothing(home):
    model, other, x = mlp(), tg.nn.Dense(3, 3), tg.ones((2, 4))
    other(tg.ones((1, 3)))
    for _ in range(2):
        with tg.autocast("bfloat16"):
            y = other(model(x))
    head = model.layers[0].parameters()[0]
    del other, y
    gc.collect()
    assert [ref() for ref in head.node.cast_with[-2:]] == [None, None]
    with tg.autocast("bfloat16"):
        model(x)


def test_a_checkpoint_records_the_same_ops_again(home):
    run = training(home.name, "transformer", "adam")
    x, y = next(run.batches)
    with tg.autocast("bfloat16"):
        for _ in range(2):
            tg.losses.cross_entropy(tg.checkpoint(run.model, x), y).backward()


def test_a_captured_step_casts_the_parameters_of_each_launch(home):
    """Also where the block, and casts of it, are older than the capture."""
    x, made = tg.asarray(np.linspace(-1, 1, 12).reshape(3, 4).astype("float32")), []
    for captured in (False, True):
        model = mlp()
        sgd = tg.optim.SGD(model.parameters(), lr=0.1)

        def step(x, model=model, sgd=sgd):
            loss = (model(x) ** 2).mean()
            sgd.zero_grad()
            loss.backward()
            sgd.step()
            return loss

        for _ in range(2):
            with tg.autocast("bfloat16"):
                step(x)
        with tg.autocast("bfloat16"):
            model.layers[0](x)  # casts those of the second layer, too
            run = tg.cuda.graphed(step, x, warmup=1) if captured else step
            losses = [run(x) for _ in range(4)]
        made.append([a.numpy() for a in (*losses, *model.parameters())])
    same(*made)


def test_a_step_captured_again_casts_for_itself(home):
    model, x, h = mlp(), tg.ones((2, 4)), tg.ones((2, 5))
    second = model.layers[1]

    def step(h):
        with tg.no_grad():
            return second(h)

    for _ in range(2):
        with tg.autocast("bfloat16"):
            model(x)
            quick = tg.cuda.graphed(step, h, warmup=1)
            quick(h), quick(h)
    with tg.autocast("bfloat16"):
        model.layers[0](x)  # casts those of the second layer, too
        second.parameters()[1].data = np.zeros(3, "float32")
        quick(h)  # is captured
        _optimize(0, second)
        np.testing.assert_array_equal(quick(h).numpy(), step(h).numpy())


# --- gradients ----------------------------------------------------------------------------------


def test_gradients_of_several_dtypes_add_up(backend):
    """A leaf used in halves and in float32: no sum is formed in halves."""
    w = tg.tensor(np.full(3, 1.0, "float32"), requires_grad=True)
    for order in (1, -1):
        w.grad = None
        parts = [w.astype("float16"), w * 1e-4][::order]
        sum(p.astype("float32").sum() for p in parts).backward()
        assert w.grad.dtype == np.float32
        np.testing.assert_allclose(w.grad.numpy(), 1.0001, rtol=1e-7)
    total, g = [tg.asarray(np.ones(2, dtype), backend=backend).data for dtype in "ef"]
    assert add_up(total, g).dtype == np.float32
