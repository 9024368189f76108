"""Steps of tg.compile beside the same eagerly and beside JAX's jit, and what compiling takes.

The networks of cpu_training.py, functions forward and backward, and two steps of second order: MAML
(inner and outer step of a perceptron 1-40-40-1) and a physics-informed network (u'' = f, 1-32-32-1,
200 points). Goals are ratios to JAX's jit, for what kernels and large products bound to our eager
step. *compiling* is what the calls take until a replay, JAX's until the end of the first call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from itertools import cycle, pairwise
from types import SimpleNamespace
from typing import Any

import harness
import numpy as np
from cpu_training import Function, gated, jax_function, normal
from networks import CNN, LSTM, MLP, OPTIMIZERS, Net, Transformer, jax_net
from overhead import chain, inputs

EAGER, JAX = "eager", "jax jit"

# --- networks -----------------------------------------------------------------------------------


def network(net: Net, compiled: bool) -> harness.Start:
    """A step of ours, with its batch as arguments."""
    import tensorgrad as tg

    build, (kind, options) = net.tensorgrad(), OPTIMIZERS[net.optimizer]
    data = [(tg.asarray(x), tg.asarray(t)) for x, t in net.data]
    named = tg.losses.mean_squared_error if net.loss == "mse" else tg.losses.cross_entropy

    def start():
        model, batches, last = build(), cycle(data), []
        model.set_weights(net.params)
        optimizer = getattr(tg.optim, kind)(model.parameters(), lr=net.lr, **options)

        def step(x, t):
            loss = named(model(x), t)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        run = tg.compile(step) if compiled else step

        def call():
            last[:] = [run(*next(batches))]

        return call, lambda: last[0].item()

    return start


def function(f: Function, compiled: bool) -> harness.Start:
    """A function of ours, and its gradients."""
    import tensorgrad as tg

    given, seed = f.drawn
    tensors, seed = [tg.tensor(v, requires_grad=True) for v in given], tg.asarray(seed)
    made = f.made(tg)

    def step(seed):
        y = made(*tensors)
        for t in tensors:
            t.grad = None
        y.backward(seed)
        return y.detach()

    def start():
        run, last = tg.compile(step) if compiled else step, []

        def call():
            last[:] = [run(seed)]

        def magnitude():
            parts = [last[0], *[t.grad for t in tensors]]
            return sum(float(np.abs(p.numpy()).sum()) for p in parts)

        return call, magnitude

    return start


# --- second order: one program, in the words that tensorgrad and JAX share ------------------------


class Derived:
    """A loss of parameters and data that has derivatives in it, and gradient descent on it."""

    def __init__(self, sizes: tuple[int, ...], points: int, loss: Callable, lr: float):
        rng = np.random.default_rng(0)
        self.params = []
        for n, m in pairwise(sizes):
            bound = n**-0.5
            self.params += [rng.uniform(-bound, bound, s).astype("f4") for s in ((n, m), (m,))]
        self.data = [rng.uniform(-1, 1, (points, 1)).astype("f4") for _ in range(2)]
        self.loss, self.lr = loss, lr

    def step(self, m: Any) -> Callable:
        """(loss, new parameters) of parameters and data."""

        def step(params, *data):
            value, grads = m.value_and_grad(partial(self.loss, m))(params, *data)
            return value, [p - self.lr * g for p, g in zip(params, grads, strict=True)]

        return step

    def start(self, new: Callable, made: Callable) -> harness.Start:
        """`new()` gives the step for a sample; `made` makes a tensor."""

        def start():
            kept, run = [None, [made(p) for p in self.params]], new()
            data = [made(x) for x in self.data]

            def call():
                kept[:] = run(kept[1], *data)

            return call, lambda: float(kept[0])

        return start


def perceptron(m: Any, params: list, x: Any) -> Any:
    for i in range(0, len(params) - 2, 2):
        x = m.tanh(x @ params[i] + params[i + 1])
    return x @ params[-2] + params[-1]


def maml(m: Any, params: list, x: Any, z: Any) -> Any:
    """The error of one task's other points after a step on some of its points."""

    def error(params, x):
        return ((perceptron(m, params, x) - m.sin(3 * x)) ** 2).mean()

    grads = m.grad(error)(params, x)
    return error([p - 0.1 * g for p, g in zip(params, grads, strict=True)], z)


def physics(m: Any, params: list, x: Any, _: Any) -> Any:
    """u'' = -pi^2 sin(pi x) within, by derivatives of the network."""

    def slope(x):
        return m.grad(lambda x: perceptron(m, params, x).sum())(x).sum()

    return ((m.grad(slope)(x) + np.pi**2 * m.sin(np.pi * x)) ** 2).mean()


def ours(d: Derived, compiled: bool) -> harness.Start:
    import tensorgrad as tg

    step = d.step(tg)
    return d.start(lambda: tg.compile(step) if compiled else step, tg.tensor)


def jaxs(d: Derived) -> harness.Start:
    import jax
    import jax.numpy as jnp

    words = {"grad": jax.grad, "value_and_grad": jax.value_and_grad}
    step = d.step(SimpleNamespace(tanh=jnp.tanh, sin=jnp.sin, **words))
    jitted = jax.jit(step)
    return d.start(lambda: lambda *given: jax.block_until_ready(jitted(*given)), jnp.asarray)


# --- the script ---------------------------------------------------------------------------------


def compiling(load: Callable[[], harness.Start], calls: int) -> harness.Start:
    """As many calls of a new step as compiling needs."""
    load()  # imports, and draws the data
    last: list[Callable[[], float]] = []

    def step():
        call, last[:] = (made := load()())[0], [made[1]]
        for _ in range(calls):
            call()

    return lambda: (step, lambda: last[0]())


def cases(tiny: bool) -> list[harness.Case]:
    """In tiny mode they are the same networks with fewer numbers."""
    sizes = (lambda *_, small: small) if tiny else (lambda *full, small: full)
    made, slow = [], []

    def case(name, goal, workload, mine, jax, steps=100, base=JAX):
        runs = {"tensorgrad": partial(mine, workload, True), EAGER: partial(mine, workload, False)}
        runs[JAX] = partial(jax, workload)
        bases = (EAGER, JAX) if base == JAX else (JAX, EAGER)
        steps = 5 if tiny else steps
        made.append(harness.Case(name, runs, baselines=bases, goal=goal, steps=steps))
        two = {
            "tensorgrad": partial(compiling, runs["tensorgrad"], 4),
            JAX: partial(compiling, runs[JAX], 1),
        }
        slow.append(harness.Case(f"compiling {name}", two, "s", 1.0, 1, np.inf, (JAX,), 0.2))

    def mlp(goal, activation, optimizer, full, small, **more):
        batch, *layers = sizes(*full, small=small)
        shape = (batch, layers[0])
        net = MLP(optimizer, 1e-3, shape, sizes=tuple(layers), activation=activation)
        case("-".join(map(str, full[1:])), goal, net, network, jax_net, **more)

    small = (4, 20, 9, 7, 10)
    xor = {"loss": "mse", "sizes": (2, 8, 1), "activation": "sigmoid", "last": "sigmoid"}
    case("XOR 2-8-1", 0.15, MLP("sgd", 2.0, (4, 2), **xor), network, jax_net)
    mlp(0.4, "relu", "adam", (32, 64, 64, 64, 10), small)
    mlp(0.75, "sigmoid", "adam", (32, 784, 256, 128, 10), small)
    mlp(1.0, "relu", "momentum", (128, 784, 512, 512, 10), small)
    (links,) = sizes(334, small=(4,))
    of = Function(lambda m: partial(chain, m.tanh, links), partial(inputs, "float32"))
    case("chain of 1000 ops", 0.15, of, function, jax_function)
    of = Function(gated, partial(normal, sizes(10_000_000, small=(100,))))
    case("elementwise, 10M", 0.2, of, function, jax_function, steps=5)
    (points,) = sizes(200, small=(5,))
    case("MAML", 0.5, Derived((1, 40, 40, 1), 10, maml, 1e-3), ours, jaxs)
    net = Derived((1, 32, 32, 1), points, physics, 1e-4)
    case("physics-informed network", 0.5, net, ours, jaxs)
    x, heads, hidden = sizes((8, 128, 256), 8, 1024, small=((2, 3, 8), 2, 16))
    net = Transformer("adamw", 3e-4, x, classes=64, heads=heads, hidden=hidden)
    case("Transformer 2 x 256, T 128", 0.7, net, network, jax_net, steps=5)
    x = sizes(64, 1, 28, 28, small=(2, 1, 8, 8))
    filters, hidden = sizes((32, 64), 128, small=((3, 4), 8))
    net = CNN("adam", 1e-3, x, filters=filters, hidden=hidden)
    case("CNN", 1.0, net, network, jax_net, steps=5, base=EAGER)
    x, hidden = sizes((32, 64, 64), 256, small=((2, 3, 5), 4))
    net = LSTM("adam", 1e-3, x, hidden=hidden)
    case("LSTM 64-256, T 64", 1.0, net, network, jax_net, steps=5, base=EAGER)
    mlp(1.0, "relu", "adam", (1024, 1024, 2048, 2048, 10), small, steps=5, base=EAGER)
    return [*made, *slow]


ALSO = {"compiling": ("s", 1.0), "784-512-512-10": (EAGER, 0.95)}  # goals beside those of cases


def notes(results: list[dict[str, Any]]) -> list[str]:
    """Met or missed, of each goal."""
    lines = harness.against_goals(results)
    for case in results:
        name, mine = case["name"], case["rows"][0]
        unit, goal = ALSO.get("compiling" if name.startswith("compiling") else name, ("", None))
        if goal is None or (unit != "s" and unit not in mine["ratios"]):
            continue
        found = mine["median"] if unit == "s" else mine["ratios"][unit]
        said = f"{found:.2f} {'s' if unit == 's' else f'of {unit}'}"
        lines.append(f"{name}: goal {goal:g}: {'met' if found <= goal else 'MISSED'}, {said}")
    return lines


if __name__ == "__main__":
    sys.exit(harness.main(__file__, cases, notes))
