"""Every optimizer beside PyTorch's over 20 steps in float64, in the configurations of PyTorch's own
tests; the programs that are generated from formulas beside each other."""

import numpy as np
import pytest
from tensorgrad.kernels.cpu.jit import prange
from tensorgrad.kernels.cuda.device import Source
from tensorgrad.kernels.formulas import states_of
from tensorgrad.kernels.steps import step_of
from tensorgrad.kernels.tracing import HOST

import tensorgrad as tg
from tensorgrad.optim.elementwise import Elementwise

from .of_pytorch import of_pytorch

DECAY, MAXIMIZE = {"weight_decay": 0.1}, {"maximize": True}
BOTH, CENTERED = {**DECAY, **MAXIMIZE}, {**DECAY, "centered": True}
ADAM = [{}, {"lr": 0.01}, DECAY, BOTH, {**DECAY, "amsgrad": True},
        {"betas": (0.5, 0.9), "eps": 1e-3}]  # fmt: skip
LOOKING_BACK = {"momentum": 0.9}
NADAM = {"momentum_decay": 6e-3}
# Those of torch.testing._internal.common_optimizers.optim_db, and some that it lacks.
CONFIGS = {
    "Adadelta": [{}, {"lr": 0.01}, DECAY, MAXIMIZE, BOTH, {"rho": 0.95, "weight_decay": 0.9}],
    "Adafactor": [{}, {**DECAY, "lr": 0.01}, BOTH, {"beta2_decay": -1.0}, {"d": 1.5},
                  {"eps": (1e-6, 1e-2)}],
    "Adagrad": [{}, DECAY, BOTH, {"lr": 0.1}, {"initial_accumulator_value": 0.1, **DECAY},
                {"lr": 0.1, "lr_decay": 0.5, **DECAY}, {"lr": 0.001}],
    "Adam": [*ADAM, {**DECAY, "decoupled_weight_decay": True}],
    "Adamax": [{}, {"lr": 0.1}, DECAY, MAXIMIZE, BOTH],
    "AdamW": ADAM,
    "ASGD": [{}, {"lambd": 0.1}, {"lr": 0.02}, {"t0": 100}, MAXIMIZE, DECAY, BOTH,
             {"t0": 5, "alpha": 0.5}],
    "Muon": [{}, {"lr": 0.01}, {"lr": 0.001}, {"weight_decay": 0.2}, {"momentum": 0.8},
             {"ns_steps": 6}, {"ns_coefficients": (3.4, -4.7, 2.0)}, {"nesterov": False},
             {"adjust_lr_fn": "match_rms_adamw"}],
    "NAdam": [{}, {"lr": 1e-3}, NADAM, DECAY, {**DECAY, **NADAM},
              {**DECAY, **NADAM, "decoupled_weight_decay": True}, BOTH],
    "RAdam": [{}, {"lr": 2e-3}, {"eps": 1e-6}, DECAY, {**DECAY, "decoupled_weight_decay": True},
              BOTH],
    "RMSprop": [{}, {"lr": 1e-3}, DECAY, MAXIMIZE, CENTERED, BOTH, {**CENTERED, "momentum": 0.1},
                {**CENTERED, "momentum": 0.1, "maximize": True}],
    "Rprop": [{}, {"lr": 2e-4}, {"etas": (0.5, 1.5)}, {"step_sizes": (2e-6, 100)}, MAXIMIZE],
    "SGD": [{}, {"lr": 0.01}, {"lr": 0.001}, {"weight_decay": 0.5}, LOOKING_BACK, BOTH,
            {**LOOKING_BACK, "dampening": 0.5}, {**LOOKING_BACK, **DECAY},
            {**LOOKING_BACK, "nesterov": True, **DECAY}],
}  # fmt: skip
OURS = {"Lion": [{}, {**DECAY, "lr": 0.01}], "SGD": [{"l1": 0.1}], "AdamW": [{"l1": 0.1}],
        "SparseAdam": [{}, {"maximize": True}]}  # fmt: skip
# In none of these: gradients are of rows, in test_rows.py, and a closure is called several times.
ELSEWHERE = {"SparseAdam", "LBFGS"}
CASES = [pytest.param(name, options, id=f"{name}-{i}")
         for name, several in CONFIGS.items() for i, options in enumerate(several)]  # fmt: skip
ELEMENTWISE = [(name, options) for table in (CONFIGS, OURS) for name, several in table.items()
               for options in several
               if issubclass(getattr(tg.optim, name), Elementwise)]  # fmt: skip
SHAPES = ((3, 4), (5, 2), (6,), ())
WITHOUT = {2: (0, 1, 5), 1: (4, 5, 6)}  # parameter -> steps in which it has no gradient


def traces(name, options, theirs, backend="numpy", steps=20):
    """The parameters after each step, by us and by PyTorch."""
    rng = np.random.default_rng(0)
    shapes = [s for s in SHAPES if len(s) == 2] if name == "Muon" else SHAPES
    start = [rng.normal(size=s) for s in shapes]
    ours = [tg.nn.Parameter(tg.tensor(a, backend=backend)) for a in start]
    opt = getattr(tg.optim, name)(ours, **options)
    pair = theirs(name, start, options) if theirs else None
    for step in range(steps):
        noise = [rng.normal(size=s) * 0.3 for s in shapes]
        for i, (p, n) in enumerate(zip(ours, noise, strict=True)):
            p.grad = None
            if step not in WITHOUT.get(i, ()):
                p.grad = tg.tensor(p.numpy() * 0.5 + n, backend=backend)
        opt.step()
        if pair:
            pair.step(step, noise)
            yield [p.numpy() for p in ours], pair.values()
        else:
            yield [p.numpy() for p in ours], None


class Torchs:
    """The same by PyTorch."""

    def __init__(self, name, start, options):
        torch = pytest.importorskip("torch")
        self.torch = torch
        self.params = [torch.tensor(a, requires_grad=True) for a in start]
        self.opt = getattr(torch.optim, name)(self.params, **options)

    def step(self, step, noise):
        for i, (p, n) in enumerate(zip(self.params, noise, strict=True)):
            p.grad = None
            if step not in WITHOUT.get(i, ()):
                p.grad = p.detach() * 0.5 + self.torch.tensor(n)
        self.opt.step()

    def values(self):
        return [p.detach().numpy() for p in self.params]


def agree(name, options, monkeypatch, backend="numpy"):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda t: t.clone())  # Muon's, which rounds so
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # or ASGD's rates are float32
    try:
        for ours, theirs in traces(name, options, Torchs, backend):
            for p, q in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(p, q, rtol=1e-12, atol=1e-13)
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_20_steps_are_pytorchs(name, options, monkeypatch):
    agree(name, options, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["always", "reference"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_20_steps_are_pytorchs_by_kernels_and_on_the_gpu_path(
    name, options, mode, monkeypatch, backend
):
    with tg.use_kernels(mode):
        agree(name, options, monkeypatch, backend)


@pytest.mark.slow
def test_no_configuration_of_pytorchs_own_tests_is_missing():
    pytest.importorskip("torch")
    for info in of_pytorch("common_optimizers").optim_db:
        name = info.optim_cls.__name__
        if name in ELSEWHERE:
            continue
        for given in info.optim_inputs_func(device="cpu"):
            options = {k: v.item() if hasattr(v, "item") else v for k, v in given.kwargs.items()}
            options = {k: round(v, 9) if k == "lr" else v for k, v in options.items()}
            assert options in CONFIGS[name], (name, options)


def steps_of_all():
    """Each program once: its step, the options, and arrays for it."""
    made = {}
    for name, options in ELEMENTWISE:
        opt = getattr(tg.optim, name)([tg.nn.Parameter([1.0])], **options)
        given = opt.numbers_of(opt.groups[0])
        made.setdefault(step_of(opt.formula, given).program.name, (opt, given))
    for label, (opt, given) in made.items():
        rng = np.random.default_rng(1)
        arrays = [rng.normal(size=33) for _ in range(2)]
        arrays += [rng.uniform(0.1, 1.0, 33) for _ in states_of(opt.formula, given)]
        arrays[0][:3] = arrays[1][2:5] = 0.0
        hyper = np.array([0.01, 9.0, 0.5, 1.0])
        yield label, step_of(opt.formula, given), given, hyper, arrays


def test_loops_are_the_references():
    """The text that Numba compiles, run by Python."""
    count = 0
    for label, step, given, hyper, arrays in steps_of_all():
        numbers = step.numbers(HOST, *hyper[: step.clock].tolist(), *[given[k] for k in step.given])
        wanted = [a.copy() for a in arrays]
        step.reference(np, numbers, *wanted)
        assert not np.array_equal(wanted[0], arrays[0]), label
        step.program.loop(prange=prange, sqrt=np.sqrt)(*arrays, numbers, 1)
        for a, b in zip(arrays, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, err_msg=label)
        count += 1
    assert count > 25


ONCE = """
template <class F> __global__ void once(double* x, const double* hyper, const double* options) {
  __shared__ double shared[F::NUMBERS];
  double numbers[F::NUMBERS], at[F::LISTS];
  F::template numbers<double>(hyper, options, shared);
  for (int k = 0; k < F::NUMBERS; k++) numbers[k] = shared[k];
  for (int i = 0; i < 33; i++) {
    for (int k = 0; k < F::LISTS; k++) at[k] = x[33 * k + i];
    F::of(at, numbers);
    for (int k = 0; k < F::LISTS; k++) x[33 * k + i] = at[k];
  }
}
"""


def test_cuda_c_is_the_reference():
    """All structs in one text, on the CPU."""
    from .cudasim import shim

    if reason := shim.why_not():
        pytest.skip(reason)
    every = list(steps_of_all())
    text = [Source("update", []).code]
    text += [step.program.cuda(step.clock) for _, step, *_ in every]
    module = shim.Module("".join([*text, ONCE]), [f"once<{label}>" for label, *_ in every])
    for label, step, given, hyper, arrays in every:
        options = np.array([float(given[k]) for k in step.given] or [0.0])
        numbers = step.numbers(HOST, *hyper[: step.clock].tolist(), *options[: len(step.given)])
        x = np.concatenate(arrays)
        module.launch(f"once<{label}>", (1,), (1,), (x, hyper, options))
        step.reference(np, numbers, *arrays)
        np.testing.assert_allclose(x, np.concatenate(arrays), rtol=1e-12, err_msg=label)


@pytest.mark.parametrize("name", [*CONFIGS, "Lion", "LAMB"])
def test_training_goes_on_bit_for_bit(name):
    rng = np.random.default_rng(0)
    start = [rng.normal(size=s) for s in ((3, 4), (5, 2))]
    grads = rng.normal(size=(8, 12))

    def run(opt, ps, steps):
        for step in steps:
            for i, p in enumerate(ps):
                p.grad = None if (step, i) == (2, 1) else grads[step][: p.size].reshape(p.shape)
            opt.step()

    make = lambda values: [tg.nn.Parameter(v.copy()) for v in values]  # noqa: E731
    kind = getattr(tg.optim, name)
    options = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}
    straight, first = make(start), make(start)
    run(kind(straight, **options), straight, range(8))
    opt = kind(first, **options)
    run(opt, first, range(4))
    second = make([p.numpy() for p in first])
    again = kind(second, **options)
    again.load_state_dict(opt.state_dict())
    run(again, second, range(4, 8))
    for p, q in zip(straight, second, strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


DEVICE_SIDE = ["NAdam", "Adafactor", "LAMB", "Muon", "Rprop"]
OTHERS = [n for n in [*CONFIGS, "Lion", "LAMB"] if n not in DEVICE_SIDE]


@pytest.mark.parametrize(
    "name", [*DEVICE_SIDE, *[pytest.param(n, marks=pytest.mark.slow) for n in OTHERS]]
)
def test_captured_steps_and_skipped_ones_are_as_eager(name, gpu):
    """On the device in the same bits; a step whose gradients overflow changes nothing."""

    def trained(graphed):
        start = np.linspace(-1, 1, 12, dtype="f4").reshape(3, 4)
        w = tg.nn.Parameter(tg.tensor(start, backend=gpu.name))
        opt, scale = getattr(tg.optim, name)([w], lr=0.05), tg.optim.LossScale(4.0)

        def step(x):
            opt.zero_grad()
            scale((w * w * x).sum()).backward()
            scale.step(opt)

        factors = [tg.tensor([f], dtype="float32", backend=gpu.name)
                   for f in (1.0, 2.0, np.inf, 0.5, -1.0, np.inf, 1.0)]  # fmt: skip
        run = tg.cuda.graphed(step, factors[0], 2) if graphed else step
        for factor in factors:
            run(factor)
        assert opt.groups[0]["hyper"][1] == 5
        return w.numpy()

    eager = trained(False)
    assert np.isfinite(eager).all()
    np.testing.assert_array_equal(trained(True), eager)


@pytest.mark.parametrize("name", ["Lion", "LAMB"])
def test_20_steps_are_optaxs(name):
    optax, jax = pytest.importorskip("optax"), pytest.importorskip("jax")
    options = {"b1": 0.8, "b2": 0.95, "weight_decay": 0.1}
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        start = [rng.normal(size=s) for s in SHAPES]
        ours = [tg.nn.Parameter(a.copy()) for a in start]
        kind = getattr(optax, name.lower())(0.01, **options)
        theirs = [jax.numpy.array(a) for a in start]
        state = kind.init(theirs)
        opt = getattr(tg.optim, name)(ours, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1)
        for _ in range(20):
            grads = [rng.normal(size=s) for s in SHAPES]
            for p, g in zip(ours, grads, strict=True):
                p.grad = g
            opt.step()
            updates, state = kind.update([jax.numpy.array(g) for g in grads], state, theirs)
            theirs = optax.apply_updates(theirs, updates)
            for p, q in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(p.numpy(), np.asarray(q), rtol=1e-12, atol=1e-13)
