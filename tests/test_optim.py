"""Optimizers against PyTorch's, step by step in float64; schedules; groups; clipping; bad input."""

import doctest
import gc
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.optim import schedules

from .conftest import slow_on_cudasim

rng = np.random.default_rng(0)
START = [rng.normal(size=(3, 4)), rng.normal(size=4)]

CONFIGS = {
    "sgd": ("SGD", {"lr": 0.1}),
    "sgd decay": ("SGD", {"lr": 0.1, "weight_decay": 0.05}),
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "nesterov": ("SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "adam": ("Adam", {"lr": 0.01}),
    "adam decay": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
    "adam betas": ("Adam", {"lr": 0.02, "betas": (0.5, 0.9), "eps": 1e-3}),
    "adamw": ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    "adamw default": ("AdamW", {"lr": 0.01}),
}


def parameters():
    return [tg.nn.Parameter(a.copy()) for a in START]


def loss_of(w, b):
    return ((w * w * w).sum() + (w @ b if hasattr(w, "T") else 0).sum() + (b * b).sum()) * 0.1


@pytest.mark.parametrize("mode", ["auto", "always", "reference"])
@pytest.mark.parametrize("name", CONFIGS)
def test_ten_steps_are_pytorchs(name, mode):
    torch = pytest.importorskip("torch")
    kind, options = CONFIGS[name]
    ours, theirs = parameters(), [torch.tensor(a, requires_grad=True) for a in START]
    a = getattr(tg.optim, kind)(ours, **options)
    b = getattr(torch.optim, kind)(theirs, **options)
    with tg.use_kernels(mode):
        for _ in range(10):
            a.zero_grad()
            b.zero_grad()
            loss_of(*ours).backward()
            loss_of(*theirs).backward()
            a.step()
            b.step()
            for p, q in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_training_on_the_gpu_path_is_the_same(name, backend):
    kind, options = CONFIGS[name]
    there = [p.to(backend).detach() for p in parameters()]
    there = [tg.nn.Parameter(t) for t in there]
    here = parameters()
    for params in (there, here):
        opt = getattr(tg.optim, kind)(params, **options)
        for _ in range(5):
            opt.zero_grad()
            loss_of(*params).backward()
            opt.step()
    for p, q in zip(there, here, strict=True):
        assert p.backend == backend
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=1e-11, atol=1e-12)


def test_rate_is_read_and_written():
    params = parameters()
    opt = tg.optim.SGD(params, lr=0.5)
    assert opt.lr == 0.5
    opt.lr = 0.25
    (params[1].sum()).backward()
    opt.step()
    np.testing.assert_allclose(params[1].numpy(), START[1] - 0.25)


def test_groups_have_their_own_rates():
    w, b = parameters()
    opt = tg.optim.SGD([{"params": [w], "lr": 1.0}, {"params": [b]}], lr=0.0)
    (w.sum() + b.sum()).backward()
    opt.step()
    np.testing.assert_allclose(w.numpy(), START[0] - 1)
    np.testing.assert_array_equal(b.numpy(), START[1])


def test_schedule_is_asked_before_each_step():
    p = tg.nn.Parameter(np.zeros(1))
    opt = tg.optim.SGD([p], lr=schedules.warmup(2, schedules.cosine(1.0, 4)))
    rates = []
    for _ in range(7):
        opt.zero_grad()
        p.sum().backward()
        before = p.item()
        opt.step()
        rates.append(before - p.item())
    expected = [0.5, 1.0] + [0.5 * (1 + np.cos(np.pi * i / 4)) for i in range(5)]
    np.testing.assert_allclose(rates, expected, atol=1e-15)


def test_state_goes_on_bit_for_bit():
    def run(steps, params, opt):
        for _ in range(steps):
            opt.zero_grad()
            loss_of(*params).backward()
            opt.step()

    straight = parameters()
    run(8, straight, tg.optim.Adam(straight, lr=0.1))
    first = parameters()
    opt = tg.optim.Adam(first, lr=0.1)
    run(3, first, opt)
    second = [tg.nn.Parameter(p.numpy().copy()) for p in first]
    again = tg.optim.Adam(second, lr=0.1)
    again.load_state_dict(opt.state_dict())
    run(5, second, again)
    for p, q in zip(straight, second, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


@pytest.mark.parametrize("wrong", [{"hyper": [np.zeros(5)]}, {"hyper": ["x"]}, {"steps": ...}])
def test_a_state_that_does_not_fit_leaves_all_as_it_was(wrong):
    w = tg.nn.Parameter([1.0, 2.0])
    opt = tg.optim.Adam([w], lr=0.1)
    opt.apply_gradients([(tg.tensor([1.0, 1.0]), w)])
    before = opt.state_dict()
    saved = {**before, "steps": 77, "state": [[np.full(2, 9.0)] * 2], **wrong}
    saved = {k: v for k, v in saved.items() if v is not ...}
    with pytest.raises((ValueError, KeyError)):
        opt.load_state_dict(saved)
    after = opt.state_dict()
    assert after["steps"] == before["steps"]
    np.testing.assert_array_equal(after["state"], before["state"])


def test_clipping_scales_all_gradients_together():
    w, b = parameters()
    opt = tg.optim.SGD([w, b], lr=0.1)
    loss_of(w, b).backward()
    before = [p.grad.numpy().copy() for p in (w, b)]
    norm = np.sqrt(sum((g**2).sum() for g in before))
    assert opt.clip_grad_norm(norm / 2).item() == pytest.approx(norm)
    for p, g in zip((w, b), before, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), g / 2, rtol=1e-5)
    opt.clip_grad_norm(1e9)
    np.testing.assert_allclose(w.grad.numpy(), before[0] / 2, rtol=1e-5)


class Same(tg.Function):
    """A function whose gradient is an array with other references."""

    def forward(ctx, x, given):
        ctx.save(given)
        return x * 1

    def backward(ctx, g):
        return ctx.saved[0], None


SIZE = 30_000  # above the kernels' threshold, too
SOMEBODYS = {
    "a tensor": lambda w, u, g: setattr(w, "grad", g),
    "an array": lambda w, u, g: setattr(w, "grad", g.data),
    "of another dtype": lambda w, u, g: setattr(w, "grad", g.astype("int64")),
    "a view": lambda w, u, g: setattr(w, "grad", tg.Tensor(g.data[:])),
    "the cotangent": lambda w, u, g: (w + u).backward(g, create_graph=True),
    "a Function's": lambda w, u, g: Same.apply(w, g).sum().backward(create_graph=True),
    "a graph's": lambda w, u, g: (w * u).sum().backward(create_graph=True),
}


@pytest.mark.parametrize("whose", SOMEBODYS)
@pytest.mark.parametrize("size", [3, SIZE])
def test_gradients_that_others_see_are_not_scaled_in_their_memory(backend, whose, size):
    for scale in (lambda opt: opt.clip_grad_norm(0.1), tg.optim.LossScale(8.0).unscale):
        values = np.random.default_rng(0).integers(1, 9, (3, size)).astype("float32")
        w, u, g = [tg.asarray(a, backend=backend) for a in values]
        w.requires_grad = u.requires_grad = True
        SOMEBODYS[whose](w, u, g)
        others = [(t, t.numpy().copy()) for t in (g, u, *[t for t in (u.grad,) if t is not None])]
        norm = np.linalg.norm(np.asarray(tg.asarray(w.grad).numpy(), "float64"))
        factor = 0.125 if scale.__name__ == "unscale" else 0.1 / norm
        wanted = tg.asarray(w.grad).numpy() * factor
        scale(tg.optim.SGD([w], lr=0.1))
        np.testing.assert_allclose(w.grad.numpy(), wanted, rtol=1e-5)
        for tensor, before in others:
            np.testing.assert_array_equal(tensor.numpy(), before)


@slow_on_cudasim
@pytest.mark.parametrize("size", [3, SIZE, 20 * SIZE])
def test_gradients_that_nobody_else_sees_are_scaled_in_their_memory(backend, size):
    w = tg.asarray(np.ones(size, "float32"), backend=backend)
    w.requires_grad = True
    for _ in range(2):
        ((w * w).sum() + w.sum()).backward()
    known, opt = id(w.grad), tg.optim.SGD([w], lr=0.1)
    gc.collect()  # a kernel that was compiled for it left cycles of frames, which see it
    opt.clip_grad_norm(0.1)
    gc.collect()
    tg.optim.LossScale(8.0).unscale(opt)
    assert id(w.grad) == known


def test_parameters_without_gradient_are_left_alone():
    w, b = parameters()
    opt = tg.optim.Adam([w, b], lr=0.1)
    b.sum().backward()
    opt.step()
    np.testing.assert_array_equal(w.numpy(), START[0])


def test_the_page_runs_and_names_all():
    path = Path(__file__).parent.parent / "docs" / "optimizers.md"
    text = path.read_text()
    examples = doctest.DocTestParser().get_doctest(text.replace("```", ""), {}, path.name, None, 0)
    assert not doctest.DocTestRunner().run(examples).failed
    for name in {*tg.optim.__all__} - {"LossScale", "get", "schedules"}:
        assert name in text, name
    for name, made in vars(schedules).items():
        if getattr(made, "__module__", "") == schedules.__name__ and not name.startswith("_"):
            assert name == "Curve" or f"`{name}(" in text, name


BAD = {
    "negative rate": (lambda: tg.optim.SGD(lr=-1), "lr=-1 must be a number of 0 or more"),
    "rate of text": (lambda: tg.optim.Adam(lr="fast"), "lr='fast' must be a number"),
    "no parameters": (lambda: tg.optim.SGD([]), "there are no parameters"),
    "not a parameter": (lambda: tg.optim.SGD([tg.ones(2)]), "require gradients"),
    "step before backward": (lambda: tg.optim.SGD(parameters()).step(), "call backward"),
    "step without parameters": (lambda: tg.optim.SGD().step(), "has no parameters"),
    "nesterov alone": (lambda: tg.optim.SGD(nesterov=True), "needs momentum"),
    "beta": (lambda: tg.optim.Adam(betas=(0.9, 1.0)), "2 numbers, each a number from 0 to below 1"),
    "name": (lambda: tg.optim.get("adm"), "did you mean 'adam'"),
    "all None": (lambda: tg.optim.SGD().apply_gradients([(None, parameters()[0])]), "gradient"),
    "other parameters": (
        lambda: tg.optim.SGD(parameters()).apply_gradients([(START[0], parameters()[0])]),
        "bound to other",
    ),
    "gradient shape": (
        lambda: tg.optim.SGD().apply_gradients([(np.ones(3), parameters()[1])]),
        r"shape \(3,\) for one of \(4,\)",
    ),
    "group option": (
        lambda: tg.optim.SGD([{"params": parameters(), "beta": 1}]),
        r"unknown options \['beta'\]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    call, message = BAD[name]
    with pytest.raises(tg.TensorgradError, match=message):
        call()


def test_constants_that_are_kept_follow_rate_and_options():
    p = tg.nn.Parameter(np.array([8.0]))
    opt = tg.optim.SGD([p], lr=0.5)
    seen = []
    for rate, decay in ((0.5, 0.0), (0.5, 0.0), (0.25, 0.0), (0.25, 1.0), (0.5, 1.0)):
        opt.lr, opt.groups[0]["weight_decay"] = rate, decay
        p.grad = tg.tensor([1.0], dtype="float64")
        opt.step()
        seen.append(p.item())
    assert seen == [7.5, 7.0, 6.75, 4.8125, 1.90625]


WRAPPING = {"Optimizer", "Lookahead", "LBFGS", "SparseAdam"}  # and those of other gradients
STEPPING = [
    n for n in sorted({*tg.optim.__all__} - WRAPPING) if inspect.isclass(getattr(tg.optim, n))
]
STEPPING = [n for n in STEPPING if issubclass(getattr(tg.optim, n), tg.optim.Optimizer)]


@pytest.mark.parametrize("name", STEPPING)
def test_a_step_needs_no_package_of_bfloat16(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    w = tg.Parameter(np.ones((4, 3), "float32"))
    (w**2).sum().backward()
    getattr(tg.optim, name)([w]).step()
    assert (w.numpy() < 1).all()
