"""Random programs of public functions, operators and indices on leaves of all shapes, beside the
same in PyTorch: values, first gradients and, where a graph is made of them, second ones."""

import random
import warnings

import numpy as np
import pytest

import tensorgrad as tg

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.host
TF = torch.nn.functional
SHAPES = [
    (),
    (1,),
    (3,),
    (2, 3),
    (3, 1),
    (1, 3),
    (2, 1, 3),
    (3, 3),
    (2, 2, 2),
    (0,),
    (0, 3),
    (2, 0),
]


def both(f):
    return f, f


def in_place(x):
    x = tg.identity(x)
    x += 1.5
    x *= 0.5
    return x


UNARY = {
    **{n: (getattr(tg, n), getattr(torch, n)) for n in "sin cos tanh square floor sign".split()},
    **{n: (getattr(tg, n), getattr(TF, n)) for n in "silu softplus elu leaky_relu relu".split()},
    "abs": both(abs),
    "sigmoid": (tg.sigmoid, torch.sigmoid),
    "gelu": (tg.gelu, lambda x: TF.gelu(x, approximate="tanh")),
    "exp": (lambda x: tg.exp(x * 0.3), lambda x: torch.exp(x * 0.3)),
    "expm1": (lambda x: tg.expm1(x * 0.2), lambda x: torch.expm1(x * 0.2)),
    "log": (lambda x: tg.log(x * x + 1), lambda x: torch.log(x * x + 1)),
    "log1p": (lambda x: np.log1p(abs(x)), lambda x: torch.log1p(abs(x))),
    "sqrt": (lambda x: np.sqrt(x * x + 1), lambda x: torch.sqrt(x * x + 1)),
    "clip": (lambda x: x.clip(-0.5, 0.6), lambda x: x.clip(-0.5, 0.6)),
    "where": (lambda x: tg.where(x > 0, x * 2, x * x), lambda x: torch.where(x > 0, x * 2, x * x)),
    "in place": (in_place, lambda x: (x + 1.5) * 0.5),
    "reversed": (lambda x: x.T, lambda x: x.permute(tuple(range(x.ndim))[::-1])),
    "flip": (tg.flip, lambda x: torch.flip(x, tuple(range(x.ndim)))),
    "detached": both(lambda x: x * x.detach()),
    "arithmetic": both(lambda x: 1 / (x * x + 1) - (1 - x) ** 3 + 1.5**x + x**1 - x**0 + x % 0.7),
    "ravel": both(lambda x: x.ravel()),
    "new axes": both(lambda x: x[None, ..., None]),
}
BINARY = {
    "arithmetic": both(lambda a, b: a + b - a * b + a / (b * b + 1)),
    "power": both(lambda a, b: (a * a + 0.5) ** b),
    "remainder": both(lambda a, b: a % (b * b + 0.6)),
    "quotient": (lambda a, b: a // (b * b + 1) * a, lambda a, b: torch.floor(a / (b * b + 1)) * a),
    "maximum": (tg.maximum, torch.maximum),
    "minimum": (np.minimum, torch.minimum),
    "where": (lambda a, b: tg.where(a > b, a, b * b), lambda a, b: torch.where(a > b, a, b * b)),
    "clip": (lambda a, b: tg.clip(a, b, b + 0.3), lambda a, b: torch.clip(a, b, b + 0.3)),
    "stack": (
        lambda a, b: tg.stack([a + b, a - b], -1),
        lambda a, b: torch.stack([a + b, a - b], -1),
    ),
}


def product(x, axes, keepdim):
    for axis in sorted([a % x.ndim for a in axes], reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


REDUCE = {
    "sum": (tg.sum, torch.sum),
    "mean": (np.mean, torch.mean),
    "var": (tg.var, lambda x, a, keepdim: torch.var(x, a, correction=0, keepdim=keepdim)),
    "max": (np.max, torch.amax),
    "min": (tg.min, torch.amin),
    "prod": (tg.prod, product),
    "logsumexp": (tg.logsumexp, torch.logsumexp),
    "softmax": (
        lambda x, a, keepdims: tg.softmax(x, a[0]) * tg.log_softmax(x, a[-1]),
        lambda x, a, keepdim: torch.softmax(x, a[0]) * torch.log_softmax(x, a[-1]),
    ),
    "where": (
        lambda x, a, keepdims: tg.sum(x, a, where=x > 0, initial=2.0, keepdims=keepdims),
        lambda x, a, keepdim: torch.sum(torch.where(x > 0, x, 0.0), a, keepdim=keepdim) + 2.0,
    ),
    "initial": (
        lambda x, a, keepdims: tg.max(x, a, initial=-0.2, keepdims=keepdims),
        lambda x, a, keepdim: torch.clamp(torch.amax(x, a, keepdim=keepdim), min=-0.2),
    ),
}


class Program:
    def __init__(self, seed):
        self.draw, self.rng, self.log = random.Random(seed), np.random.default_rng(seed), []
        self.leaves, self.twins = [], []
        base = self.draw.choice(SHAPES)
        for _ in range(self.draw.randint(1, 3)):
            shape = base if self.draw.random() < 0.6 else self.draw.choice(SHAPES)
            a = np.asarray(self.rng.normal(size=shape))
            self.twins.append(torch.tensor(a, requires_grad=True))
            a = np.asfortranarray(a) if a.ndim > 1 and self.draw.random() < 0.3 else a
            self.leaves.append(tg.tensor(a, requires_grad=True))
        self.pool = list(zip(self.leaves, self.twins, strict=True))

    def unary(self, x, t):
        name = self.draw.choice(list(UNARY))
        return name, UNARY[name][0](x), UNARY[name][1](t)

    def binary(self, x, t):
        x2, t2 = self.draw.choice(self.pool)
        try:
            np.broadcast_shapes(x.shape, x2.shape)
        except ValueError:
            return None
        name = self.draw.choice(list(BINARY))
        return f"{name} with {x2.shape}", BINARY[name][0](x, x2), BINARY[name][1](t, t2)

    def reduce(self, x, t):
        if not x.size or not x.ndim:
            return None
        axes = self.draw.sample(range(x.ndim), self.draw.randint(1, x.ndim))
        axes = tuple(a - x.ndim if self.draw.random() < 0.5 else a for a in axes)
        name, keep = self.draw.choice(list(REDUCE)), self.draw.random() < 0.5
        ours, theirs = REDUCE[name]
        return f"{name} over {axes}", ours(x, axes, keepdims=keep), theirs(t, axes, keepdim=keep)

    def index(self, x, t):
        key = []
        for n in x.shape:
            kind = self.draw.choice(["whole", "part", "one", "some", "stop"])
            if kind == "stop":
                break
            part = slice(self.draw.choice([None, 0, 1, -1]), None, self.draw.choice([None, 1, 2]))
            some = isinstance(key[-1] if key else 0, list) or not any(
                isinstance(k, (list, int)) for k in key
            )  # apart, their axes would come first
            if n and kind == "one" and some:
                part = self.draw.randrange(-n, n)
            elif n and kind == "some" and not any(isinstance(k, (list, int)) for k in key):
                part = [self.draw.randrange(-n, n) for _ in range(self.draw.randint(1, 4))]
            key.append(part)
        if not x.ndim or self.draw.random() < 0.2:
            mask = self.rng.random(x.shape) < 0.5
            return ("mask", x[mask], t[torch.tensor(mask)]) if x.ndim else None
        return f"index {key}", x[tuple(key)], t[tuple(key)]

    def matmul(self, x, t):
        if x.ndim < 2:
            return None
        return "x @ x.mT", x @ x.mT, t @ t.mT

    def join(self, x, t):
        if not x.ndim:
            return None
        axis = self.draw.randrange(-x.ndim, x.ndim)
        parts, theirs = tg.array_split(x, 2, axis), torch.tensor_split(t, 2, axis)
        y = tg.concatenate([parts[1], x * 2, parts[0]], axis)
        y = tg.pad(y, [(1, 2)] + [(0, 0)] * (x.ndim - 1))
        u = torch.cat([theirs[1], t * 2, theirs[0]], axis)
        return f"joined along {axis}", y, TF.pad(u, [0, 0] * (x.ndim - 1) + [1, 2])

    def step(self):
        words = [self.unary] * 3 + [self.binary] * 3 + [self.reduce] * 2
        words += [self.index, self.matmul, self.join]
        x, t = self.draw.choice(self.pool)
        made = self.draw.choice(words)(x, t)
        if made is None:
            return
        name, y, u = made
        self.log.append(f"{name} of {x.shape}")
        size = u.detach().abs().max() if u.numel() else 0
        if not np.isfinite(size) or size > 1e4 or u.numel() > 3000:
            return
        assert y.shape == tuple(u.shape), self.log
        assert y.dtype == np.float64, self.log
        self.check(y.detach(), u.detach(), 1e-9)
        self.pool.append((y, u))

    def check(self, y, u, error):
        want = u.numpy()
        if np.isfinite(want).all():
            y = np.zeros_like(want) if y is None else y.numpy()
            np.testing.assert_allclose(y, want, rtol=error, atol=error, err_msg=str(self.log))

    def run(self):
        for _ in range(self.draw.randint(2, 8)):
            self.step()
        loss, twin = 0.0, 0.0
        for y, u in self.pool[-3:]:
            loss, twin = loss + (y * y * 0.1 + y).sum(), twin + (u * u * 0.1 + u).sum()
        again = self.draw.random() < 0.5
        loss.backward(create_graph=again)
        twin.backward(create_graph=again)
        some = [i for i, t in enumerate(self.twins) if t.grad is not None]
        firsts = [self.leaves[i].grad for i in some], [self.twins[i].grad for i in some]
        for g, h in zip(*firsts, strict=True):
            self.check(None if g is None else g.detach(), h.detach(), 1e-7)
        if not again or None in firsts[0]:
            return
        loss, twin = sum(g.sin().sum() for g in firsts[0]), sum(h.sin().sum() for h in firsts[1])
        for leaf, t in zip(self.leaves, self.twins, strict=True):
            leaf.grad = t.grad = None
        if loss.requires_grad and twin.requires_grad:
            loss.backward()
            twin.backward()
            for leaf, t in zip(self.leaves, self.twins, strict=True):
                if t.grad is not None:
                    self.check(leaf.grad, t.grad, 1e-6)


@pytest.mark.parametrize("first", range(0, 800, 100))
def test_programs(first, seeds):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in seeds(100, first):
            Program(seed).run()
