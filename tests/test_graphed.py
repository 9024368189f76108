"""A step captured as a CUDA graph does what the step does, to the last bit, and what cannot be
captured is refused. On cudasim a capture computes nothing and a launch repeats its calls in the
memory that they were made in."""

from __future__ import annotations

import gc
import itertools
import weakref

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.switches import switches

from .steps import MODELS, OPTIMIZERS, RATES, training

STEPS = 7


def same(a, b):
    """Whether two lists of arrays hold the same bits."""
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x, y)


def numbers(result):
    parts = result.values() if isinstance(result, dict) else [result]
    return [t.numpy().copy() for t in parts]


def run(step, trained, count=STEPS):
    """The results of some steps."""
    return [numbers(step(*batch)) for batch in itertools.islice(trained.batches, count)]


def both(gpu, warmup=2, **how):
    """Eager and graphed training of one kind, and their results."""
    eager = training(gpu.name, **how)
    results = run(eager.step, eager)
    after = eager.state()
    quick = training(gpu.name, **how)
    step = tg.cuda.graphed(quick.step, next(training(gpu.name, **how).batches), warmup)
    assert step.graph is None
    seen = run(step, quick)
    assert step.graph is not None
    for a, b in zip(results, seen, strict=True):
        same(a, b)
    same(after, quick.state())
    return quick, step


@pytest.mark.parametrize("half", [None, "float16", "bfloat16"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_as_eager(model, half, gpu):
    both(gpu, model=model, half=half, clip=0.5)


@pytest.mark.parametrize("clip", [None, 0.1])
@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_is_as_eager(optimizer, rate, clip, gpu):
    both(gpu, optimizer=optimizer, rate=rate, clip=clip)
    both(gpu, optimizer=optimizer, rate=rate, clip=clip, half="float16", warmup=1)
