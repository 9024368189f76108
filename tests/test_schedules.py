"""Schedules beside PyTorch's over 200 steps; L-BFGS, averages, clipping and groups beside it."""

import pickle

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.optim import schedules as s

WARM = {"start_factor": 0.1, "total_iters": 9}
# Ours, and PyTorch's name and arguments; each at a first rate of 0.1.
PAIRS = {
    "constant": (s.constant(0.1), "ConstantLR", {"factor": 1.0}),
    "step": (s.step_decay(0.1, 7, 0.5), "StepLR", {"step_size": 7, "gamma": 0.5}),
    "multi": (
        s.multi_step(0.1, [30, 80, 81]),
        "MultiStepLR",
        {"milestones": [30, 80, 81], "gamma": 0.1},
    ),
    "exponential": (s.exponential(0.1, 0.97), "ExponentialLR", {"gamma": 0.97}),
    "linear": (s.polynomial(0.1, 50), "LinearLR", {"start_factor": 1.0, "end_factor": 0.0,
                                                  "total_iters": 50}),
    "polynomial": (s.polynomial(0.1, 120, 2.0), "PolynomialLR", {"total_iters": 120, "power": 2}),
    "cosine": (s.cosine(0.1, 200, 0.01), "CosineAnnealingLR", {"T_max": 200, "eta_min": 0.01}),
    "restarts": (s.cosine_restarts(0.1, 20), "CosineAnnealingWarmRestarts", {"T_0": 20}),
    "longer restarts": (
        s.cosine_restarts(0.1, 10, 2, 0.001),
        "CosineAnnealingWarmRestarts",
        {"T_0": 10, "T_mult": 2, "eta_min": 0.001},
    ),
    "one cycle": (s.one_cycle(0.1, 200), "OneCycleLR", {"max_lr": 0.1, "total_steps": 200}),
    "one cycle in three": (
        s.one_cycle(0.1, 200, 0.4, "linear", 10.0, 100.0, three_phase=True),
        "OneCycleLR",
        {"max_lr": 0.1, "total_steps": 200, "pct_start": 0.4, "anneal_strategy": "linear",
         "div_factor": 10.0, "final_div_factor": 100.0, "three_phase": True},
    ),
    **{
        f"cyclic {mode}": (
            s.cyclic(0.1, 0.5, 13, 8, mode, 0.99),
            "CyclicLR",
            {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 13, "step_size_down": 8, "mode": mode,
             "gamma": 0.99, "cycle_momentum": False},
        )
        for mode in ("triangular", "triangular2", "exp_range")
    },
    "inverse square root": (
        s.inverse_sqrt(0.1, 16),
        "LambdaLR",
        {"lr_lambda": lambda n: min((n + 1) / 16, (16 / (n + 1)) ** 0.5)},
    ),
}  # fmt: skip


def rates_of_pytorch(name, options, steps=200, lr=0.1):
    torch = pytest.importorskip("torch")
    opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    schedule = getattr(torch.optim.lr_scheduler, name)(opt, **options)
    rates = []
    for _ in range(steps):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        if len(rates) < steps:
            schedule.step()
    return rates


@pytest.mark.parametrize("name", PAIRS)
def test_200_steps_are_pytorchs(name):
    ours, theirs, options = PAIRS[name]
    np.testing.assert_allclose(
        ours.values(200), rates_of_pytorch(theirs, options), rtol=1e-12, atol=1e-15
    )


def test_a_sequence_is_pytorchs():
    torch = pytest.importorskip("torch")
    opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    kinds = torch.optim.lr_scheduler
    parts = [kinds.ConstantLR(opt, 1.0), kinds.ExponentialLR(opt, 0.9), kinds.StepLR(opt, 3, 0.5)]
    schedule = kinds.SequentialLR(opt, parts, [5, 60])
    rates = []
    for _ in range(200):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        schedule.step()
    ours = s.sequence(
        [s.constant(0.1), s.exponential(0.1, 0.9), s.step_decay(0.1, 3, 0.5)], [5, 60]
    )
    np.testing.assert_allclose(ours.values(200), rates, rtol=1e-12)


@pytest.mark.parametrize("options", [{}, {"mode": "max", "patience": 3}, {"cooldown": 4},
                                     {"threshold_mode": "abs", "threshold": 0.05, "patience": 2},
                                     {"min_lr": 1e-3, "factor": 0.5, "patience": 0}])  # fmt: skip
def test_a_plateau_is_pytorchs(options):
    torch = pytest.importorskip("torch")
    opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, **options)
    ours = s.Plateau(0.1, **options)
    losses = np.random.default_rng(0).normal(size=200) * 0.1 + np.exp(-np.arange(200) / 40)
    for loss in losses:
        theirs.step(loss)
        ours.observe(loss)
        assert ours(0) == pytest.approx(opt.param_groups[0]["lr"], rel=1e-12)


def test_warm_up_comes_before_any():
    ours = s.warmup(4, s.cosine(1.0, 10), start=0.2).values(6)
    np.testing.assert_allclose(ours, [0.4, 0.6, 0.8, 1.0, 1.0, s.cosine(1.0, 10)(1)])


def test_schedules_are_pickled_and_shown():
    for schedule, *_ in PAIRS.values():
        again = pickle.loads(pickle.dumps(schedule))
        np.testing.assert_array_equal(again.values(50), schedule.values(50))
    assert repr(s.cosine(0.1, 5)) == "cosine(0.1, 5, 0.0)"


def test_a_plateaus_state_is_saved_with_the_optimizer():
    rate, p = s.Plateau(0.5, patience=0), tg.nn.Parameter([1.0])
    opt = tg.optim.SGD([p], lr=rate)
    for loss in (1.0, 2.0):
        rate.observe(loss)
    p.grad = [1.0]
    opt.step()
    assert p.item() == pytest.approx(0.95)
    again = tg.optim.SGD([tg.nn.Parameter([1.0])], lr=s.Plateau(0.5, patience=0))
    again.load_state_dict(opt.state_dict())
    assert again.groups[0]["schedule"].rate == rate.rate == pytest.approx(0.05)


# --- L-BFGS -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"lr": 0.01}, {"tolerance_grad": 1e-6},
                                     {"line_search_fn": "strong_wolfe"},
                                     {"history_size": 3, "max_iter": 7, "lr": 0.5},
                                     {"line_search_fn": "strong_wolfe", "max_iter": 4},
                                     ])  # fmt: skip
def test_lbfgs_is_pytorchs(options, backend):
    torch = pytest.importorskip("torch")
    start = [np.array([-0.6, 1.3]), np.array([[0.5, -0.4, 0.2]])]
    theirs = [torch.tensor(a, requires_grad=True) for a in start]
    ours = [tg.nn.Parameter(tg.tensor(a, backend=backend)) for a in start]

    def loss_of(x, y):  # Rosenbrock's, and a bowl
        return (
            (1 - x[0]) ** 2 + 10 * (x[1] - x[0] ** 2) ** 2 + ((y - x[0]) ** 4).sum() + (y * y).sum()
        )

    a, b = tg.optim.LBFGS(ours, **options), torch.optim.LBFGS(theirs, **options)

    def closure(opt, params):
        def run():
            opt.zero_grad()
            loss = loss_of(*params)
            loss.backward()
            return loss

        return run

    for _ in range(4):
        first, second = a.step(closure(a, ours)), b.step(closure(b, theirs))
        assert float(first) == pytest.approx(second.item(), rel=1e-7, abs=1e-12)
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-6, atol=1e-9)


def test_lbfgs_goes_on_bit_for_bit_and_says_how_it_is_called():
    def run(opt, p, steps):
        def closure():
            opt.zero_grad()
            loss = ((p - 1) ** 4).sum() + (p[0] * p[1]) ** 2
            loss.backward()
            return loss

        for _ in range(steps):
            opt.step(closure)

    options = {"max_iter": 3, "line_search_fn": "strong_wolfe"}
    one = tg.nn.Parameter(np.array([3.0, -2.0]))
    run(tg.optim.LBFGS([one], **options), one, 4)
    two = tg.nn.Parameter(np.array([3.0, -2.0]))
    opt = tg.optim.LBFGS([two], **options)
    run(opt, two, 2)
    three = tg.nn.Parameter(two.numpy().copy())
    again = tg.optim.LBFGS([three], **options)
    again.load_state_dict(opt.state_dict())
    run(again, three, 2)
    np.testing.assert_array_equal(one.numpy(), three.numpy())
    with pytest.raises(tg.GraphError, match=r"step\(closure\)"):
        opt.step()
    with pytest.raises(tg.ArgumentError, match="one group"):
        tg.optim.LBFGS([{"params": [one]}, {"params": [three]}])


# --- averages, clipping, groups -----------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.9, None])
def test_averages_are_pytorchs(decay, backend):
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    net = torch.nn.Linear(3, 2).double()
    how = {} if decay is None else {"multi_avg_fn": get_ema_multi_avg_fn(decay)}
    theirs = AveragedModel(net, **how)
    ours = [
        tg.nn.Parameter(tg.tensor(p.detach().numpy(), backend=backend)) for p in net.parameters()
    ]
    ema = tg.optim.EMA(ours, decay)
    for _ in range(5):
        for p, q in zip(ours, net.parameters(), strict=True):
            value = np.random.default_rng(0).normal(size=p.shape) + p.numpy()
            p.data = tg.tensor(value, backend=backend)
            q.data = torch.tensor(value)
        ema.update()
        theirs.update_parameters(net)
    before = [p.numpy().copy() for p in ours]
    with ema:
        for p, q in zip(ours, theirs.module.parameters(), strict=True):
            np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-12)
        with pytest.raises(tg.GraphError, match="within"):
            ema.update()
    for p, old in zip(ours, before, strict=True):
        np.testing.assert_array_equal(p.numpy(), old)
    again = tg.optim.EMA(ours, decay)
    again.load_state_dict(ema.state_dict())
    np.testing.assert_array_equal(
        again.state_dict()["averages"][0], ema.state_dict()["averages"][0]
    )


def test_an_error_within_averages_brings_the_weights_back():
    p = tg.nn.Parameter([1.0])
    ema = tg.optim.EMA([p])
    p.data = [5.0]
    with pytest.raises(RuntimeError), ema:
        raise RuntimeError
    assert p.item() == 5.0


def test_lookahead():
    p = tg.nn.Parameter(np.array([1.0]))
    opt = tg.optim.Lookahead(tg.optim.SGD([p], lr=0.1), k=2, alpha=0.25)
    fast = slow = 1.0
    for step in range(1, 7):
        p.grad = np.array([float(step)])
        opt.step()
        fast -= 0.1 * step
        if step % 2 == 0:
            fast = slow = slow + 0.25 * (fast - slow)
        assert p.item() == pytest.approx(fast)
    again = tg.nn.Parameter(p.numpy().copy())
    other = tg.optim.Lookahead(tg.optim.SGD([again], lr=0.1), k=2, alpha=0.25)
    other.load_state_dict(opt.state_dict())
    assert other.steps == 6
    assert other.lr == 0.1
    for opt_, q in ((opt, p), (other, again)):
        for step in range(2):
            q.grad = np.array([1.0 + step])
            opt_.step()
    assert again.item() == p.item()


@pytest.mark.parametrize("kind", [1.0, 2.0, 3.0, float("inf")])
def test_clipping_is_pytorchs(kind, backend):
    torch = pytest.importorskip("torch")
    values = [np.random.default_rng(i).normal(size=s) for i, s in enumerate(((3, 4), (5,)))]
    ours = [tg.nn.Parameter(tg.tensor(a, backend=backend)) for a in values]
    theirs = [torch.tensor(a, requires_grad=True) for a in values]
    for limit in (100.0, 0.7):
        for p, q, a in zip(ours, theirs, values, strict=True):
            p.grad, q.grad = tg.tensor(a * 2, backend=backend), torch.tensor(a * 2)
        norm = tg.optim.clip_grad_norm_(ours, limit, kind)
        wanted = torch.nn.utils.clip_grad_norm_(theirs, limit, kind)
        assert norm.item() == pytest.approx(wanted.item(), rel=1e-12)
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)
    tg.optim.clip_grad_value_(ours, 0.3)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-12)


def test_groups_have_their_own_options_and_are_added_later():
    torch = pytest.importorskip("torch")
    start = [np.array([1.0, -2.0]), np.array([0.5]), np.array([3.0])]
    ours, theirs = (
        [tg.nn.Parameter(a) for a in start],
        [torch.tensor(a, requires_grad=True) for a in start],
    )

    def made(kind, params):
        groups = [{"params": params[:1], "betas": (0.5, 0.9), "lr": 0.1, "weight_decay": 0.2}]
        return kind([*groups, {"params": params[1:2], "amsgrad": True}], lr=0.01)

    a, b = made(tg.optim.Adam, ours), made(torch.optim.Adam, theirs)
    for step in range(8):
        if step == 3:
            a.add_param_group({"params": ours[2:], "eps": 1e-3})
            b.add_param_group({"params": theirs[2:], "eps": 1e-3})
        for p, q in zip(ours, theirs, strict=True):
            p.grad, q.grad = p.numpy() - step, q.detach() - step
        a.step()
        b.step()
        for p, q in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-12)


def test_a_closure_gives_the_loss():
    p = tg.nn.Parameter([2.0])
    opt = tg.optim.SGD([p], learning_rate=0.25)

    def closure():
        opt.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tg.no_grad():
        assert opt.step(closure).item() == 4.0
    assert p.item() == 1.0
    opt.learning_rate = 0.5
    assert opt.lr == opt.learning_rate == 0.5
