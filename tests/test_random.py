"""tg.random: the distributions beside SciPy's, streams and their state, gradients, errors.

Seeds are fixed, so that a test that passes passes again: a p-value below 1e-4 is a wrong formula.
"""

import json
import math
import threading

import numpy as np
import pytest
from scipy import special, stats

import tensorgrad as tg
from tensorgrad import random

N = 20_000
CONTINUOUS = {
    "uniform": (lambda **o: random.uniform(-1.0, 3.0, **o), stats.uniform(-1, 4)),
    "normal": (lambda **o: random.normal(1.0, 2.0, **o), stats.norm(1, 2)),
    "truncated_normal": (
        lambda **o: random.truncated_normal(1.0, 2.0, -0.5, 1.5, **o),
        stats.truncnorm(-0.5, 1.5, 1, 2),
    ),
    "truncated_normal far out": (
        lambda **o: random.truncated_normal(low=6.0, high=math.inf, **o),
        stats.truncnorm(6, math.inf),
    ),
    "exponential": (lambda **o: random.exponential(2.0, **o), stats.expon(0, 2)),
    "laplace": (lambda **o: random.laplace(1.0, 2.0, **o), stats.laplace(1, 2)),
    "logistic": (lambda **o: random.logistic(1.0, 2.0, **o), stats.logistic(1, 2)),
    "gumbel": (lambda **o: random.gumbel(1.0, 2.0, **o), stats.gumbel_r(1, 2)),
    "gamma": (lambda **o: random.gamma(2.5, 3.0, **o), stats.gamma(2.5, 0, 3)),
    "gamma below 1": (lambda **o: random.gamma(0.3, **o), stats.gamma(0.3)),
    "beta": (lambda **o: random.beta(0.5, 2.0, **o), stats.beta(0.5, 2)),
}
COUNTS = {
    "randint": (lambda **o: random.randint(-2, 5, **o), stats.randint(-2, 5)),
    "bernoulli": (lambda **o: random.bernoulli(0.3, **o), stats.bernoulli(0.3)),
    "categorical": (
        lambda size: random.categorical(np.log([0.2, 0.5, 0.3]), size=size),
        stats.rv_discrete(values=([0, 1, 2], [0.2, 0.5, 0.3])),
    ),
    "poisson": (lambda **o: random.poisson(3.5, **o), stats.poisson(3.5)),
    "poisson of many": (lambda **o: random.poisson(10.5, **o), stats.poisson(10.5)),
    "poisson of very many": (lambda **o: random.poisson(200.0, **o), stats.poisson(200)),
    "binomial": (lambda **o: random.binomial(20, 0.2, **o), stats.binom(20, 0.2)),
    "binomial of many": (lambda **o: random.binomial(60, 0.7, **o), stats.binom(60, 0.7)),
    "binomial of very many": (lambda **o: random.binomial(900, 0.1, **o), stats.binom(900, 0.1)),
    "choice": (
        lambda size: random.choice([5, 2, 9], size, p=[0.2, 0.5, 0.3]),
        stats.rv_discrete(values=([2, 5, 9], [0.5, 0.2, 0.3])),
    ),
    "permutation": (  # where the first of four things goes
        lambda size: tg.stack([random.permutation(4)[0] for _ in range(size // 20)]),
        stats.randint(0, 4),
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions(name, dtype):
    draw, truth = CONTINUOUS[name]
    tg.seed(1)
    x = draw(size=(N // 2, 2), dtype=dtype)
    assert (x.dtype, x.shape) == (dtype, (N // 2, 2))
    assert stats.kstest(x.numpy().ravel(), truth.cdf).pvalue > 1e-4
    assert abs(np.corrcoef(x.numpy().T)[0, 1]) < 5 / math.sqrt(N / 2)
    assert draw(size=(), dtype=dtype).shape == ()
    assert draw(size=(0, 3), dtype=dtype).shape == (0, 3)


@pytest.mark.parametrize("name", COUNTS)
def test_distributions_of_counts(name):
    draw, truth = COUNTS[name]
    tg.seed(1)
    x = draw(size=N).numpy().astype(int)
    low, high = int(truth.ppf(1e-3)), int(truth.ppf(1 - 1e-3))
    cuts = np.arange(low, high)  # one bin each, the tails with the outermost
    seen = np.bincount(np.searchsorted(cuts, x), minlength=len(cuts) + 1)
    chances = np.diff([0.0, *truth.cdf(cuts), 1.0])
    keep = chances * len(x) > 5
    assert (
        stats.chisquare(
            [*seen[keep], seen[~keep].sum() + 1e-9],
            [*(chances[keep] * len(x)), chances[~keep].sum() * len(x) + 1e-9],
        ).pvalue
        > 1e-4
    )


def test_several_numbers_that_belong_together():
    tg.seed(2)
    x = random.dirichlet(np.array([0.5, 1.5, 3.0]), size=N)
    np.testing.assert_allclose(x.numpy().sum(-1), 1, rtol=1e-12)
    for i, a in enumerate((0.5, 1.5, 3.0)):
        assert stats.kstest(x.numpy()[:, i], stats.beta(a, 5 - a).cdf).pvalue > 1e-4
    counts = random.multinomial(30, [0.1, 0.6, 0.3], size=N).numpy()
    assert (counts.sum(-1) == 30).all()
    for i, p in enumerate((0.1, 0.6, 0.3)):
        z = (counts[:, i].mean() - 30 * p) / math.sqrt(30 * p * (1 - p) / N)
        assert abs(z) < 4
        assert counts[:, i].var() == pytest.approx(30 * p * (1 - p), rel=0.05)
    np.testing.assert_allclose(np.cov(counts.T)[0, 1], -30 * 0.1 * 0.6, rtol=0.1)


def test_choices_without_replacement():
    tg.seed(3)
    for p in (None, [0.1, 0.2, 0.3, 0.4]):
        taken = np.stack([random.choice(4, 3, replace=False, p=p).numpy() for _ in range(800)])
        assert all(len(set(row)) == 3 for row in taken.tolist())
        first = np.bincount(taken[:, 0], minlength=4) / 800
        np.testing.assert_allclose(first, p or [0.25] * 4, atol=0.06)
    x = tg.tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    assert random.choice(x, (2, 5), axis=1).shape == (2, 5, 3)
    assert random.choice(x).shape == (4,)
    y = random.permutation(x, axis=1)
    assert sorted(y[0].tolist()) == [0, 1, 2, 3]
    (y * y).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * x.numpy())


def test_the_same_numbers_on_every_backend(gpu):
    exact = {"uniform", "randint", "bernoulli", "permutation", "choice"}
    drawn = {}
    for name in ("numpy", gpu.name):
        home = random.Generator(5)
        for word, call in {
            **{n: c for n, (c, _) in CONTINUOUS.items()},
            "randint": lambda **o: random.randint(-9, 2**40, **o),
            "bernoulli": lambda **o: random.bernoulli(0.3, **o),
            "poisson": lambda **o: random.poisson(20.0, **o),
            "permutation": lambda size, **o: random.permutation(size, **o),
            "choice": lambda size, **o: random.choice(9, size, p=np.arange(9.0), **o),
        }.items():
            x = call(size=101, backend=name, generator=home)
            assert x.backend == name
            drawn.setdefault(word, []).append(x.numpy())
    for word, (a, b) in drawn.items():
        if word in exact:
            np.testing.assert_array_equal(a, b, err_msg=word)
        else:
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6, err_msg=word)


def test_gradients_flow_to_what_transforms_the_numbers():
    for name in ("normal", "laplace", "logistic", "gumbel", "truncated_normal"):
        loc = tg.tensor([1.0, 2.0], requires_grad=True)
        scale = tg.tensor(np.ones((3, 1)), dtype="float32", requires_grad=True)
        x = getattr(random, name)(loc, scale)
        assert (x.shape, x.dtype) == ((3, 2), np.float32)
        x.sum().backward()
        np.testing.assert_array_equal(loc.grad.numpy(), [3, 3])
        np.testing.assert_allclose(
            scale.grad.numpy(), (x - loc).sum(axis=1, keepdims=True).numpy(), rtol=1e-4, atol=1e-5
        )
    low = tg.tensor(0.0, requires_grad=True)
    x = random.uniform(low, 1.0, size=1000)
    x.mean().backward()
    assert low.grad.item() == pytest.approx(1 - x.mean().item(), abs=1e-5)
    scale = tg.tensor(3.0, requires_grad=True)
    x = random.gamma(2.0, scale, size=10)
    x.sum().backward()
    assert scale.grad.item() == pytest.approx(x.sum().item() / 3, rel=1e-5)


def test_shapes_get_the_gradient_of_a_quantile():
    """Where a number is the quantile of a chance that stays."""
    a = np.array([1e-3, 0.3, 1.0, 4.0, 50.0])
    tg.seed(1)
    shape = tg.tensor(np.repeat(a[:, None], 4, 1), requires_grad=True)
    x = random.gamma(shape)
    x.sum().backward()
    chance, h = special.gammainc(shape.numpy(), x.numpy()), 1e-4
    ends = [special.gammaincinv(shape.numpy() * (1 + s), chance) for s in (h, -h)]
    expected = (ends[0] - ends[1]) / (2 * h * shape.numpy())
    np.testing.assert_allclose(shape.grad.numpy(), expected, rtol=1e-5, atol=1e-12)
    # of means, which are a / (a + b), those of many samples
    p, q = [tg.tensor(v, requires_grad=True) for v in (1.5, 3.0)]
    random.beta(p, q, size=N).mean().backward()
    assert p.grad.item() == pytest.approx(3.0 / 4.5**2, abs=0.005)
    assert q.grad.item() == pytest.approx(-1.5 / 4.5**2, abs=0.005)
    alpha = tg.tensor([1.5, 3.0, 0.5], requires_grad=True)
    random.dirichlet(alpha, size=N)[:, 1].mean().backward()
    np.testing.assert_allclose(alpha.grad.numpy(), [-0.12, 0.08, -0.12], atol=0.01)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_stay_below_the_bound(dtype):
    tg.seed(0)
    x = random.uniform(size=N, dtype=dtype)
    assert (x.dtype.name, bool((x < 1).all()), bool((x >= 0).all())) == (dtype, True, True)
    assert random.normal(size=5, dtype=dtype).dtype.name == dtype


def test_leaky_relu_with_random_slopes():
    tg.seed(0)
    y = tg.rrelu(-tg.ones(N), 0.2, 0.6, training=True).numpy()
    assert stats.kstest(-y, stats.uniform(0.2, 0.4).cdf).pvalue > 1e-4


# --- streams --------------------------------------------------------------------------------------


def test_state_goes_back_and_through_json():
    tg.seed(4)
    random.uniform(size=3)
    state = json.loads(json.dumps(random.get_state()))
    first = random.normal(size=5).tolist(), tg.randn(3).tolist(), tg.dropout(tg.ones(9)).tolist()
    random.uniform(size=7)
    random.set_state(state)
    again = random.normal(size=5).tolist(), tg.randn(3).tolist(), tg.dropout(tg.ones(9)).tolist()
    assert first == again
    with pytest.raises(tg.ArgumentError, match="set_state: state=3 must be"):
        random.set_state(3)


def test_a_generator_draws_for_a_call_or_for_a_block():
    tg.seed(4)
    usual = random.uniform(size=3).tolist()
    own = random.Generator(9)
    first = random.uniform(size=3, generator=own).tolist()
    second = random.uniform(size=3, generator=own).tolist()
    assert first != second
    tg.seed(4)
    with random.Generator(9):
        assert random.uniform(size=3).tolist() == first
        with random.Generator(9):
            assert random.uniform(size=3).tolist() == first
            weights = tg.nn.Linear(2, 2).weight.tolist()
        assert random.uniform(size=3).tolist() == second
    with random.Generator(9):
        assert tg.nn.Linear(2, 2).weight.tolist() == weights
    assert random.uniform(size=3).tolist() == usual
    assert random.Generator().key != random.Generator().key


def test_each_thread_has_a_stream_of_its_own():
    def run(work):
        found = []
        thread = threading.Thread(target=lambda: found.append(work()))
        thread.start()
        thread.join()
        return found[0]

    def draw():
        return random.uniform(size=3).tolist() + tg.randn(2).tolist()

    tg.seed(6)
    first, second = run(draw), run(draw)
    main = draw()
    tg.seed(6)
    assert draw() == main, "a thread drew from the main thread's stream"
    assert (run(draw), run(draw)) == (first, second)
    assert len({tuple(x) for x in (main, first, second)}) == 3

    def seeded():
        tg.seed(6)
        return draw()

    assert run(seeded) == main
    before = random.get_state()
    run(seeded)
    assert random.get_state() == before


def test_a_checkpoint_draws_the_same_again():
    x = tg.tensor(np.ones(50), requires_grad=True)
    seen = []

    def noisy(x):
        seen.append(random.normal(size=50).tolist())
        return x * tg.asarray(seen[-1], "float64")

    tg.checkpoint(noisy, x).sum().backward()
    assert seen[0] == seen[1]
    np.testing.assert_allclose(x.grad.numpy(), seen[0])


ERRORS = {
    "uniform: low": lambda: random.uniform(np.zeros(3), np.zeros(2)),
    r"normal: loc \(3,\).* \(2,\)": lambda: random.normal(np.zeros(3), size=2),
    "normal: size=1.5": lambda: random.normal(size=1.5),
    r"normal: size=\(-1,\)": lambda: random.normal(size=-1),
    "int64 does not": lambda: random.normal(size=2, dtype="int64"),
    "int32 holds|float32 holds": lambda: random.randint(3, dtype="float32"),
    "int8 does not hold": lambda: random.randint(300, dtype="int8"),
    "randint.*empty": lambda: random.randint(3, 3),
    "here it is size=": lambda: random.uniform(shape=3),
    "generator=7": lambda: random.uniform(generator=7),
    "poisson: no gradient": lambda: random.poisson(tg.tensor(1.0, requires_grad=True)),
    "3 of 2 without": lambda: random.choice(2, 3, replace=False),
    "p of shape": lambda: random.choice(3, 2, p=[0.5, 0.5]),
    "truncated_normal: low": lambda: random.truncated_normal(low=1.0, high=0.0),
    "shuffle": lambda: random.shuffle(3),
    "seed=-1 must be a whole number": lambda: random.Generator(-1),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_say_what_is_wrong(message):
    with pytest.raises(tg.TensorgradError, match=message):
        ERRORS[message]()


def test_the_ends_of_whole_dtypes():
    assert set(random.randint(-128, 128, N, dtype="int8").tolist()) == set(range(-128, 128))
    x = random.randint(0, 2**64, 1000, dtype="uint64").numpy()
    assert x.max() > 2**63
    x = random.randint(-(2**63), 2**63, 1000).numpy()
    assert x.min() < -(2**62) < 2**62 < x.max()
