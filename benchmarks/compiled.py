"""Compiled steps beside eager ones and beside JAX's jit, interleaved in one run: medians of a call,
ratios, and what compiling takes. JAX is left out where it is not installed.

    python benchmarks/compiled.py [--rounds 15] [--only xor chain ...]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

import tensorgrad as tg
from tensorgrad import nn


def training(sizes: tuple[int, ...], batch: int, act: str, opt: Any, classes: bool = True) -> Any:
    """(step, batch) of a multilayer perceptron of ours."""
    tg.seed(0)
    pairs = list(pairwise(sizes))
    layers = [nn.Dense(b, a, activation=act) for a, b in pairs[:-1]]
    last = pairs[-1]
    m = nn.Sequential([*layers, nn.Dense(last[1], last[0], activation=None if classes else act)])
    o = opt(m.parameters())
    rng = np.random.default_rng(0)
    x = tg.tensor(rng.standard_normal((batch, sizes[0])).astype("f"))
    labels = rng.integers(0, sizes[-1], batch) if classes else rng.random((batch, 1), "f")
    loss = tg.losses.cross_entropy if classes else tg.losses.mean_squared_error

    def step(x: Any, y: Any) -> Any:
        value = loss(m(x), y)
        o.zero_grad()
        value.backward()
        o.step()
        return value

    return step, (x, tg.tensor(labels))


def chain(links: int) -> Any:
    """tanh(y * a + b), so many times, of 16 numbers."""
    x = tg.tensor(np.linspace(-1, 1, 16).astype("f"))
    a, b = nn.Parameter(np.full(16, 1.01, "f")), nn.Parameter(np.full(16, 0.01, "f"))

    def step(x: Any) -> Any:
        y = x
        for _ in range(links):
            y = tg.tanh(y * a + b)
        a.grad = b.grad = None
        y.sum().backward()
        return y

    return step, (x,)


def elementwise(n: int) -> Any:
    """sigmoid(x) * tanh(x) + x * x of n numbers, and its gradient."""
    x = nn.Parameter(np.linspace(-3, 3, n).astype("f"))

    def step() -> Any:
        x.grad = None
        (tg.sigmoid(x) * tg.tanh(x) + x**2).sum().backward()

    return step, ()


def in_jax(name: str) -> Callable[[], Any] | None:
    """The same in JAX, where it has been written; None elsewhere."""
    import jax
    import jax.numpy as jnp

    if name == "chain":
        x, a, b = jnp.linspace(-1, 1, 16), jnp.full(16, 1.01), jnp.full(16, 0.01)

        def loss(a: Any, b: Any) -> Any:
            y = x
            for _ in range(333):
                y = jnp.tanh(y * a + b)
            return y.sum()

        f = jax.jit(jax.value_and_grad(loss, (0, 1)))
        return lambda: jax.block_until_ready(f(a, b))
    if name == "elementwise":
        x = jnp.linspace(-3, 3, 10_000_000)
        f = jax.jit(jax.value_and_grad(lambda x: (jax.nn.sigmoid(x) * jnp.tanh(x) + x**2).sum()))
        return lambda: jax.block_until_ready(f(x))
    if name == "xor":
        return jax_training((2, 8, 1), 4, "sigmoid", False)
    sizes, batch, act = NETS[name]
    return jax_training(sizes, batch, act)


def jax_training(
    sizes: tuple[int, ...], batch: int, act: str, classes: bool = True
) -> Callable[[], Any]:
    """The step of `training`, jitted; Adam with classes, else gradient descent."""
    import jax
    import jax.numpy as jnp

    rng, f = np.random.default_rng(0), getattr(jax.nn, act)
    params = []
    for a, b in pairwise(sizes):
        params += [jnp.asarray(rng.standard_normal((a, b)).astype("f") / a**0.5), jnp.zeros(b)]
    x = jnp.asarray(rng.standard_normal((batch, sizes[0])).astype("f"))
    y = jnp.asarray(rng.integers(0, sizes[-1], batch) if classes else rng.random((batch, 1), "f"))

    def error(p: Any) -> Any:
        h = x
        for i in range(0, len(p), 2):
            h = h @ p[i] + p[i + 1]
            h = f(h) if i < len(p) - 2 or not classes else h
        if not classes:
            return ((h - y) ** 2).mean()
        return -jax.nn.log_softmax(h)[jnp.arange(batch), y].mean()

    def adam(p: Any, g: Any, m: Any, v: Any, t: Any) -> Any:
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        return p - 1e-3 / (1 - 0.9**t) * m / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v

    def update(state: Any) -> Any:
        p, m, v, t = state
        value, g = jax.value_and_grad(error)(p)
        if not classes:
            return value, ([a - 0.5 * b for a, b in zip(p, g, strict=True)], m, v, t)
        new = [adam(*parts, t + 1) for parts in zip(p, g, m, v, strict=True)]
        return value, (*([part[i] for part in new] for i in range(3)), t + 1)

    zeros = [[jnp.zeros_like(a) for a in params] for _ in range(2)] if classes else [[], []]
    state = [(params, *zeros, jnp.float32(0))]
    update = jax.jit(update, donate_argnums=0)

    def run() -> Any:
        value, state[0] = update(state[0])
        return value.block_until_ready()

    return run


def adam(p: Any) -> Any:
    """The optimizer of the larger steps."""
    return tg.optim.Adam(p, lr=1e-3)


NETS = {
    "64-64-64-10": ((64, 64, 64, 10), 32, "relu"),
    "784-256-128-10": ((784, 256, 128, 10), 32, "sigmoid"),
    "784-512-512-10": ((784, 512, 512, 10), 128, "relu"),
}
STEPS: dict[str, Callable[[], Any]] = {
    "xor": lambda: training((2, 8, 1), 4, "sigmoid", lambda p: tg.optim.SGD(p, lr=0.5), False),
    **{name: partial(training, *net, adam) for name, net in NETS.items()},
    "chain": lambda: chain(333),
    "elementwise": lambda: elementwise(10_000_000),
}


def timed(run: Callable[[], Any], seconds: float = 0.01, most: int = 1000) -> float:
    """Seconds of a call, of as many as take some time."""
    calls, start = 0, time.perf_counter()
    while calls < 1 or (time.perf_counter() - start < seconds and calls < most):
        run()
        calls += 1
    return (time.perf_counter() - start) / calls


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", nargs="*", default=[*STEPS])
    args = parser.parse_args()
    print("| step | eager, ms | compiled, ms | / eager | / JAX jit | compiling, s | JAX's |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in args.only:
        step, batch = STEPS[name]()
        run = tg.compile(step)
        start = time.perf_counter()
        for _ in range(4):
            run(*batch)
        took = [time.perf_counter() - start]
        again, same = STEPS[name]()  # a net of its own
        runs = {"eager": lambda: again(*same), "compiled": lambda: run(*batch)}
        try:
            start = time.perf_counter()
            if (other := in_jax(name)) is not None:
                other()
                runs["jax"] = other
                took.append(time.perf_counter() - start)
        except ImportError:
            pass
        for call in runs.values():  # past the checks that come early, of a step that is new
            timed(call, 0.3, 600)
        times: dict[str, list[float]] = {k: [] for k in runs}
        for _ in range(args.rounds):
            for k, call in runs.items():
                times[k].append(timed(call))
        ms = {k: statistics.median(v) * 1e3 for k, v in times.items()}
        ratio = f"{ms['compiled'] / ms['jax']:.2f}" if "jax" in ms else ""
        jax = f"{took[1]:.2f}" if len(took) > 1 else ""
        own = f"{ms['eager']:.4f} | {ms['compiled']:.4f} | {ms['compiled'] / ms['eager']:.2f}"
        print(f"| {name} | {own} | {ratio} | {took[0]:.2f} | {jax} |", flush=True)


if __name__ == "__main__":
    main()
