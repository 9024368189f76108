"""Values and gradients against PyTorch's in float64, where that is installed."""

import numpy as np
import pytest

import tensorgrad as tg

torch = pytest.importorskip("torch")
F = torch.nn.functional
rng = np.random.default_rng(0)
X, W, B = rng.normal(size=(5, 4)), rng.normal(size=(4, 3)), rng.normal(size=3)
LABELS = np.array([0, 2, 1, 1, 0])
P, T = rng.uniform(0.05, 0.95, (5, 3)), rng.uniform(0, 1, (5, 3))

PAIRS = {
    "relu": (tg.relu, torch.relu, [X]),
    "sigmoid": (tg.sigmoid, torch.sigmoid, [X * 5]),
    "tanh": (tg.tanh, torch.tanh, [X]),
    "leaky_relu": (tg.leaky_relu, F.leaky_relu, [X]),
    "elu": (tg.elu, F.elu, [X]),
    "gelu": (tg.gelu, lambda x: F.gelu(x, approximate="tanh"), [X]),
    "silu": (tg.silu, F.silu, [X]),
    "softplus": (tg.softplus, F.softplus, [X]),
    "softmax": (tg.softmax, lambda x: torch.softmax(x, -1), [X]),
    "log_softmax": (tg.log_softmax, lambda x: torch.log_softmax(x, -1), [X]),
    "logsumexp": (lambda x: tg.logsumexp(x, axis=1), lambda x: torch.logsumexp(x, 1), [X]),
    "prod": (lambda x: tg.prod(x, axis=1), lambda x: torch.prod(x, 1), [X]),
    "var": (lambda x: tg.var(x, axis=0, ddof=1), lambda x: torch.var(x, 0), [X]),
    "max": (lambda x: tg.max(x, axis=1), lambda x: torch.amax(x, 1), [X.round()]),
    "clip": (lambda x: tg.clip(x, -0.5, 0.5), lambda x: torch.clamp(x, -0.5, 0.5), [X]),
    "power": (lambda x, y: tg.power(x, y), torch.pow, [np.abs(X) + 0.1, X]),
    "dense": (
        lambda x, w, b: tg.dense(x, w, b, activation="sigmoid"),
        lambda x, w, b: torch.sigmoid(F.linear(x, w.T, b)),
        [X, W, B],
    ),
    "matmul": (tg.matmul, torch.matmul, [rng.normal(size=(2, 5, 4)), W]),
    "layer_norm": (
        tg.layer_norm,
        lambda x, w, b: F.layer_norm(x, (4,), w, b),
        [X, rng.normal(size=4), rng.normal(size=4)],
    ),
    "cross_entropy": (
        lambda x: tg.cross_entropy(x, LABELS % 4, reduction="none"),
        lambda x: F.cross_entropy(x, torch.tensor(LABELS % 4), reduction="none"),
        [X],
    ),
    "bce": (
        lambda p: tg.binary_cross_entropy(p, T, reduction="none"),
        lambda p: F.binary_cross_entropy(p, torch.tensor(T), reduction="none"),
        [P],
    ),
    "bce with logits": (
        lambda x: tg.binary_cross_entropy_with_logits(x, T, reduction="none"),
        lambda x: F.binary_cross_entropy_with_logits(x, torch.tensor(T), reduction="none"),
        [rng.normal(size=(5, 3)) * 4],
    ),
    "mse": (lambda x: tg.mean_squared_error(x, T), lambda x: F.mse_loss(x, torch.tensor(T)), [P]),
    "getitem": (lambda x: x[[0, 0, 3], 1:], lambda x: x[[0, 0, 3], 1:], [X]),
    "pad": (lambda x: tg.pad(x, ((0, 0), (1, 2))), lambda x: F.pad(x, (1, 2)), [X]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_value_and_first_two_gradients(name):
    ours, theirs, inputs = PAIRS[name]
    a = [tg.tensor(x, requires_grad=True) for x in inputs]
    b = [torch.tensor(x, requires_grad=True) for x in inputs]
    y, z = ours(*a), theirs(*b)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-12, atol=1e-13)
    seed = rng.normal(size=y.shape)
    y.backward(seed, create_graph=True)
    gb = torch.autograd.grad(z, b, torch.tensor(seed), create_graph=True)
    for t, g in zip(a, gb, strict=True):
        np.testing.assert_allclose(t.grad.numpy(), g.detach().numpy(), rtol=1e-10, atol=1e-12)
    ga = [t.grad for t in a]
    for t in a:
        t.grad = None
    second = sum([(g * g).sum() for g in ga])
    if not second.requires_grad or not any(g.requires_grad for g in gb):
        return
    second.backward()
    gb2 = torch.autograd.grad(sum([(g * g).sum() for g in gb]), b, allow_unused=True)
    for t, g in zip(a, gb2, strict=True):
        expected = 0 if g is None else g.numpy()
        actual = 0 if t.grad is None else t.grad.numpy()
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-10)
