"""Whatever has a constructor is copied and pickled: layers, optimizers, losses, schedules, loaders,
callbacks, as made and after use. The calls are those of the attack on settings."""

import copy
import functools
import inspect
import pickle
import warnings

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim

from ..conftest import slow_on_cudasim
from ..rows import of_each
from . import settings_calls as calls

TARGETS, ARGUMENTS = calls.targets(), calls.arguments()
MADE = [
    name
    for name, target in TARGETS.items()
    if ARGUMENTS.get(name) is not None
    and (name.startswith("schedules.") or (inspect.isclass(target) and not name.startswith("tg.")))
]
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda made: pickle.loads(pickle.dumps(made))}


def facts(made, seen):
    """What an object is made of, as plain values: equal for copies."""
    if type(made).__module__.startswith("tensorgrad."):
        if id(made) in seen:
            return seen[id(made)]
        seen[id(made)] = f"object {len(seen)}"
    if isinstance(made, tg.Tensor):
        return type(made), made.backend, made.dtype, made.requires_grad, made.tolist()
    if isinstance(made, np.random.Generator):
        return made.bit_generator.state
    if isinstance(made, functools.partial):
        made = [made.func, made.args, made.keywords]
    if isinstance(made, dict):
        return [(k, facts(v, seen)) for k, v in made.items()]
    if isinstance(made, (list, tuple)):
        return [facts(v, seen) for v in made]
    if type(made).__module__.startswith("tensorgrad.") and hasattr(made, "__dict__"):
        return type(made), facts(vars(made), seen)
    return made.tolist() if hasattr(made, "tolist") else made


@of_each("name", MADE)
def test_what_is_made_is_copied(name, backend):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = TARGETS[name](**ARGUMENTS[name]())
    for how, copied in COPIES.items():
        twin = copied(made)
        assert type(twin) is type(made)
        assert facts(twin, {}) == facts(made, {}), how


ELSEWHERE = {
    "optim.Optimizer": "the base class",
    "optim.LBFGS": "its step takes a function",
    "optim.Lookahead": "is made of another",
    "optim.Muon": "takes matrices only",
}
OPTIMIZERS = [
    n
    for n in MADE
    if inspect.isclass(TARGETS[n])
    and issubclass(TARGETS[n], optim.Optimizer)
    and n not in ELSEWHERE
]


@slow_on_cudasim
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_training_goes_on_from_a_copy(name, backend):
    """Model and optimizer together: the copy's optimizer updates the copy's parameters."""
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(8, 3)

    def steps(model, optimizer):
        for _ in range(3):
            loss = ((model(x) - x[:, :1]) ** 2).mean()
            model.zero_grad()
            loss.backward()
            optimizer.step()
        return [p.tolist() for _, p in model.named_state()]

    model = nn.Sequential(nn.Dense(4, activation="tanh"), nn.BatchNorm(), nn.Dense(1))
    model(x)
    rate = optim.schedules.step_decay(0.01, every=2)
    optimizer = TARGETS[name](model.parameters(), lr=rate)
    steps(model, optimizer)
    pairs = [copied((model, optimizer)) for copied in COPIES.values()]
    before = [p.tolist() for _, p in model.named_state()]
    for twin, _ in pairs:
        assert [p.tolist() for _, p in twin.named_state()] == before
        assert all(p.grad is None for p in twin.parameters())
    after = [steps(*pair) for pair in pairs]
    assert [p.tolist() for _, p in model.named_state()] == before, "they share nothing"
    assert after == [steps(model, optimizer)] * 2
    assert after[0] != before
