"""Programs that write into tensors between what they record and its backward, beside a model of
them: each write gives a variable another version, and each loss keeps the versions it was made of.

A gradient is right for the loss as it was recorded, or the write since then is named. No write is
lost, and none is seen by another variable.
"""

import copy
import pickle
import random
from contextlib import nullcontext

import numpy as np
import pytest

import tensorgrad as tg

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.host
SHAPE = (2, 3)


class Variable:
    def __init__(self, tensor, numbers, leaf):
        self.tensor, self.numbers, self.leaf, self.version = tensor, numbers, leaf, 0
        self.gradient = np.zeros(SHAPE)

    def written(self, numbers):
        self.numbers, self.version = numbers, self.version + 1


def _add(x, u):
    x += u


def _scale(x, u):
    x *= u


def _row(x, u):
    x[0] = u[1]


def _masked(x, u):
    x[u > 0] = 0.5


def _elsewhere(x, u):
    x[[1, 0]] = x[[0, 1]]


def _at(x, u):
    np.add.at(x, ([0, 0], [1, 1]), 0.25)


def _copyto(x, u):
    np.copyto(x, u)


def _data(x, u):
    if isinstance(x, tg.Tensor):
        x.data = u.copy()
    else:
        x[...] = u


WRITES = [_add, _scale, _row, _masked, _elsewhere, _at, _copyto, _data]
TERMS = [  # of two variables, in words that both libraries have
    lambda a, b: a * b,
    lambda a, b: a / (b * b + 1),
    lambda a, b: (a - b) ** 2,
    lambda a, b: a.sum() * b,
    lambda a, b: a * b[0],
    lambda a, b: (a * 2) @ b.T,
    lambda a, b: a.tanh() + b,
]


class Program:
    def __init__(self, seed):
        self.draw, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.variables, self.losses, self.log = [], [], []
        for _ in range(3):
            self.make()

    def make(self):
        a, leaf = self.rng.normal(size=SHAPE), self.draw.random() < 0.6
        self.variables.append(Variable(tg.tensor(a, requires_grad=leaf), a, leaf))

    def record(self):
        some = [self.draw.choice(self.variables) for _ in range(self.draw.randint(2, 4))]
        terms = [self.draw.choice(TERMS) for _ in some[1:]]
        theirs = {v: torch.tensor(v.numbers, requires_grad=v.leaf) for v in some}
        loss, twin = 0.0, 0.0
        for term, a, b in zip(terms, some, some[1:], strict=False):
            loss = loss + term(a.tensor, b.tensor).sum()
            twin = twin + term(theirs[a], theirs[b]).sum()
        assert loss.item() == pytest.approx(twin.item(), rel=1e-9, abs=1e-9), self.log
        if loss.requires_grad:
            self.losses.append((loss, twin, theirs, {v: v.version for v in some}))

    def write(self):
        v, how = self.draw.choice(self.variables), self.draw.choice(WRITES)
        u, numbers = self.rng.normal(size=SHAPE), v.numbers.copy()
        how(numbers, u)
        with tg.no_grad() if v.leaf else nullcontext():
            how(v.tensor, u)
        v.written(numbers)

    def refused(self):
        """A recorded write to a leaf, or one into a view, changes nothing."""
        v, how = self.draw.choice(self.variables), self.draw.choice(WRITES[:-1])
        with pytest.raises(tg.GraphError):
            how(v.tensor if v.leaf else v.tensor.detach(), self.rng.normal(size=SHAPE))

    def backward(self):
        if not self.losses:
            return
        loss, twin, theirs, versions = self.losses.pop(self.draw.randrange(len(self.losses)))
        keep = self.draw.random() < 0.4
        try:
            loss.backward(retain_graph=keep)
        except tg.GraphError:
            assert any(v.leaf and v.version != versions[v] for v in versions), self.log
            self.check_gradients()  # as they were
            return
        twin.backward(retain_graph=keep)
        for v, leaf in theirs.items():
            if v.leaf:
                v.gradient = v.gradient + leaf.grad.numpy()
                leaf.grad = None
        self.check_gradients()
        if keep:
            self.losses.append((loss, twin, theirs, versions))

    def copied(self):
        v = self.draw.choice(self.variables)
        how = [copy.deepcopy, copy.copy, lambda t: pickle.loads(pickle.dumps(t))]
        made = self.draw.choice(how)(v.tensor)
        assert made.requires_grad == v.leaf
        self.variables.append(Variable(made, v.numbers, v.leaf))

    def off_the_tape(self):
        v = self.draw.choice(self.variables)
        with tg.no_grad():
            made = self.draw.choice([lambda t: t.copy(), lambda t: +t, lambda t: t * 1])(v.tensor)
        self.variables.append(Variable(made, v.numbers, False))

    def cleared(self):
        v = self.draw.choice(self.variables)
        v.tensor.grad, v.gradient = None, np.zeros(SHAPE)

    def check_gradients(self):
        for v in self.variables:
            g = 0 if v.tensor.grad is None else v.tensor.grad.numpy()
            np.testing.assert_allclose(g, v.gradient, rtol=1e-8, atol=1e-9, err_msg=str(self.log))

    def run(self, steps):
        words = [self.record] * 4 + [self.write] * 4 + [self.backward] * 3
        words += [self.refused, self.copied, self.off_the_tape, self.cleared, self.make]
        for _ in range(steps):
            word = self.draw.choice(words)
            self.log.append(word.__name__)
            word()
            for v in self.variables:
                np.testing.assert_array_equal(v.tensor.numpy(), v.numbers, str(self.log))
            del self.variables[8:]


def test_programs_that_write(seeds):
    for seed in seeds(40):
        Program(seed).run(40)
