"""Training on a CPU beside PyTorch, JAX and autograd: time, cold start, peak memory.

Steps of networks from XOR to a Transformer, functions forward and backward, an optimizer alone,
and imports; float32. The goals are ratios to eager PyTorch, with its fused optimizer where there is
one. `--scaling` runs cpu_scaling.py instead.
"""

from __future__ import annotations

import functools
import importlib.util
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import cpu_scaling
import harness
import numpy as np
from networks import CNN, LSTM, MLP, NETS, Transformer, attention, sigmoid, state_of, updated
from overhead import chain, collect, inputs, repeated

IMPORT_GOAL = 0.15  # seconds of `import tensorgrad`

# --- functions, forward and backward ------------------------------------------------------------
# A call returns the value and the gradients; the sum of their magnitudes is what is compared.


@dataclass(frozen=True)
class Function:
    """`made` makes it of a framework's tanh, sigmoid and scaled_dot_product_attention; `given`
    gives its inputs. Value and cotangent have the shape of the first."""

    made: Callable[[Any], Callable]
    given: Callable[[], list[np.ndarray]]

    @functools.cached_property
    def drawn(self) -> tuple[list[np.ndarray], np.ndarray]:
        """The inputs, and the cotangent."""
        given = self.given()
        return given, np.random.default_rng(1).standard_normal(given[0].shape, "float32")

    def draw(self) -> None:
        """Make the inputs before they are asked for."""
        _ = self.drawn


def normal(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Arrays of normal numbers."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, "float32") for shape in shapes]


def gated(m: Any) -> Callable:
    """sigmoid(x) * tanh(x) + x^2, op by op."""
    sigmoid, tanh = m.sigmoid, m.tanh
    return lambda x: sigmoid(x) * tanh(x) + x * x


def tensors(f: Callable, given: list, seed: Any) -> harness.Start:
    """The calls that tensorgrad and PyTorch share."""

    def run():
        y = f(*given)
        return [y.detach(), *collect(given, y, seed)]

    return repeated(run)


def tensorgrad_function(function: Function) -> harness.Start:
    import tensorgrad as tg

    try:
        f = function.made(tg)
    except AttributeError as error:
        raise ImportError(str(error)) from error
    given, seed = function.drawn
    return tensors(f, [tg.tensor(v, requires_grad=True) for v in given], tg.asarray(seed))


def torch_function(function: Function) -> harness.Start:
    import torch
    from torch.nn.functional import scaled_dot_product_attention as attention

    torch.set_num_threads(harness.THREADS)
    tools = SimpleNamespace(
        tanh=torch.tanh, sigmoid=torch.sigmoid, scaled_dot_product_attention=attention
    )
    given, seed = function.drawn
    given = [torch.tensor(v, requires_grad=True) for v in given]
    return tensors(function.made(tools), given, torch.tensor(seed))


def array_language(xp: Any) -> SimpleNamespace:
    """What NumPy's names do not have."""
    return SimpleNamespace(
        tanh=xp.tanh,
        sigmoid=partial(sigmoid, xp),
        scaled_dot_product_attention=partial(attention, xp),
    )


def jax_function(function: Function) -> harness.Start:
    import jax
    import jax.numpy as jnp

    f = function.made(array_language(jnp))
    given, seed = function.drawn
    given, seed = [jnp.array(v) for v in given], jnp.array(seed)

    @jax.jit
    def both(given, seed):
        y, pull = jax.vjp(f, *given)
        return y, *pull(seed)

    return repeated(lambda: jax.block_until_ready(both(given, seed)))


def autograd_function(function: Function) -> harness.Start:
    import autograd
    import autograd.numpy as anp

    f, (given, seed) = function.made(array_language(anp)), function.drawn

    def run():
        pull, y = autograd.make_vjp(f, tuple(range(len(given))))(*given)
        return [y, *pull(seed)]

    return repeated(run)


FUNCTIONS = {
    "torch": torch_function,
    "tensorgrad": tensorgrad_function,
    "jax jit": jax_function,
    "autograd": autograd_function,
}

# --- an optimizer alone -------------------------------------------------------------------------


@dataclass(frozen=True)
class Bowl:
    """Adam on `count` tensors of `size` numbers; their gradients are their initial values, so
    that the mean of parameters times gradients falls from 1."""

    count: int
    size: int
    lr = 0.05

    @functools.cached_property
    def drawn(self) -> list[np.ndarray]:
        return normal(*[(self.size,)] * self.count)

    def draw(self) -> None:
        _ = self.drawn

    def height(self, params: list) -> float:
        """The number that is compared."""
        pairs = zip(params, self.drawn, strict=True)
        return float(np.mean([np.mean(np.asarray(p) * g) for p, g in pairs]))


def tensorgrad_bowl(bowl: Bowl) -> harness.Start:
    import tensorgrad as tg
    from tensorgrad import nn, optim

    grads = [tg.asarray(g) for g in bowl.drawn]

    def start():
        params = [nn.Parameter(g) for g in bowl.drawn]
        for p, g in zip(params, grads, strict=True):
            p.grad = g
        optimizer = optim.Adam(params, lr=bowl.lr)
        return optimizer.step, lambda: bowl.height([p.numpy() for p in params])

    return start


def torch_bowl(bowl: Bowl, fused: bool) -> harness.Start:
    import torch

    torch.set_num_threads(harness.THREADS)
    grads = [torch.as_tensor(g) for g in bowl.drawn]

    def start():
        params = [torch.tensor(g, requires_grad=True) for g in bowl.drawn]
        for p, g in zip(params, grads, strict=True):
            p.grad = g
        optimizer = torch.optim.Adam(params, lr=bowl.lr, **({"fused": True} if fused else {}))
        return optimizer.step, lambda: bowl.height([p.detach().numpy() for p in params])

    return start


def functional_bowl(bowl: Bowl, xp: Any, made: Callable, jit: Callable) -> harness.Start:
    """A contender from a function of parameters and state."""
    update = jit(lambda p, state, g: updated("adam", bowl.lr, xp, p, g, state))
    grads = [made(g) for g in bowl.drawn]

    def start():
        params = [made(g) for g in bowl.drawn]
        kept = [params, state_of("adam", xp.zeros, params)]
        del params  # they are given away at the first step

        def step():
            kept[:] = update(*kept, grads)

        return step, lambda: bowl.height(kept[0])

    return start


def jax_bowl(bowl: Bowl) -> harness.Start:
    import jax
    import jax.numpy as jnp

    def finished(f):
        jitted = jax.jit(f, donate_argnums=(0, 1))
        return lambda *args: jax.block_until_ready(jitted(*args))

    return functional_bowl(bowl, jnp, jnp.array, finished)


BOWLS = {
    "torch": partial(torch_bowl, fused=False),
    "torch fused": partial(torch_bowl, fused=True),
    "tensorgrad": tensorgrad_bowl,
    "jax jit": jax_bowl,
    "numpy": lambda bowl: functional_bowl(bowl, np, np.array, lambda f: f),
}

# --- imports ------------------------------------------------------------------------------------


def importing(module: str | None) -> harness.Start:
    """A fresh interpreter that imports the module, or nothing."""
    if module and importlib.util.find_spec(module) is None:
        raise ImportError(f"No module named {module!r}")
    command = [sys.executable, "-c", f"import {module}" if module else ""]
    return lambda: (lambda: subprocess.run(command, check=True), lambda: 1.0)


def imports(tiny: bool) -> harness.Case:
    """A process that imports one framework; `python` imports nothing."""
    modules = [None, "numpy", "torch", "tensorgrad", "jax", "autograd"]
    modules = [m for m in modules if not tiny or m in (None, "tensorgrad")]
    contenders = {m or "python": partial(importing, m) for m in modules}
    return harness.Case("import", contenders, "s", 1.0, baselines=("python",))


# --- the script ---------------------------------------------------------------------------------


def cases(tiny: bool) -> list[harness.Case]:
    """In tiny mode they are the same networks with fewer numbers."""
    sizes = (lambda *_, small: small) if tiny else (lambda *full, small: full)
    made = []

    def case(name, goal, workload, contenders, without=(), **more):
        chosen = {k: partial(f, workload) for k, f in contenders.items() if k not in without}
        bases = [b for b in ("torch", "torch fused") if b in chosen]
        more = {"baselines": bases, "goal": goal, "draw": workload.draw, **more}
        if tiny:
            more["steps"] = 2
        made.append(harness.Case(name, chosen, **more))

    def mlp(goal, activation, optimizer, lr, steps, full, small):
        batch, *layers = sizes(*full, small=small)
        net = MLP(optimizer, lr, (batch, layers[0]), sizes=tuple(layers), activation=activation)
        case("-".join(map(str, full[1:])), goal, net, NETS, steps=steps)

    xor = {"loss": "mse", "sizes": (2, 8, 1), "activation": "sigmoid", "last": "sigmoid"}
    case("XOR 2-8-1", 0.6, MLP("sgd", 2.0, (4, 2), **xor), NETS, steps=300)
    mlp(0.9, "sigmoid", "adam", 1e-3, 40, (32, 784, 256, 128, 10), (4, 20, 9, 7, 10))
    mlp(1.1, "relu", "momentum", 0.01, 40, (128, 784, 512, 512, 10), (4, 20, 9, 7, 10))
    mlp(1.1, "relu", "adam", 1e-4, 10, (1024, 1024, 2048, 2048, 10), (4, 20, 9, 7, 10))
    x = sizes(64, 1, 28, 28, small=(2, 1, 8, 8))
    filters, hidden = sizes((32, 64), 128, small=((3, 4), 8))
    net = CNN("adam", 1e-3, x, filters=filters, hidden=hidden)
    case("CNN", 0.85, net, NETS, {"autograd"}, steps=10)
    x, hidden = sizes((32, 64, 64), 256, small=((2, 3, 5), 4))
    case("LSTM 64-256, T 64", 1.5, LSTM("adam", 1e-3, x, hidden=hidden), NETS, steps=10)
    x, heads, hidden = sizes((8, 128, 256), 8, 1024, small=((2, 3, 8), 2, 16))
    net = Transformer("adamw", 3e-4, x, classes=64, heads=heads, hidden=hidden)
    case("Transformer 2 x 256, T 128", 1.1, net, NETS, {"autograd"}, steps=10)

    (links,) = sizes(334, small=(4,))
    function = Function(lambda m: partial(chain, m.tanh, links), partial(inputs, "float32"))
    per_op = {"unit": "us per op", "scale": 1e6 / (3 * links)}
    case("chain of 1000 ops", 0.6, function, FUNCTIONS, **per_op)
    function = Function(gated, partial(normal, sizes(10_000_000, small=(100,))))
    case("elementwise, 10M", 0.35, function, FUNCTIONS, unit="ms")
    bowl = Bowl(*sizes(20, 1_000_000, small=(3, 100)))
    case("Adam, 20M parameters", 0.75, bowl, BOWLS, steps=10)
    shape = sizes(4, 8, 512, 64, small=(1, 2, 5, 4))
    function = Function(lambda m: m.scaled_dot_product_attention, partial(normal, *[shape] * 3))
    case("attention 4 x 8 x 512 x 64", 1.05, function, FUNCTIONS, unit="ms")
    return [*made, imports(tiny)]


def notes(results: list[dict[str, Any]]) -> list[str]:
    """The ratios against their goals, and what an import takes over bare Python."""
    lines = harness.against_goals(results)
    for case in results:
        if case["name"] == "import":
            rows = {row["framework"]: row["samples"] for row in case["rows"]}
            for name in [name for name in rows if name != "python"]:
                pairs = zip(rows[name], rows["python"], strict=False)
                over = statistics.median([a - b for a, b in pairs])
                line = f"import {name}: {over:.3f} s over bare Python"
                if name == "tensorgrad":
                    line += f"; goal {IMPORT_GOAL}: {'met' if over <= IMPORT_GOAL else 'MISSED'}"
                lines.append(line)
    return lines


if __name__ == "__main__":
    if "--scaling" in sys.argv:
        sys.argv.remove("--scaling")
        sys.exit(cpu_scaling.main())
    sys.exit(harness.main(__file__, cases, notes))
