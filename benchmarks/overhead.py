"""What an operation costs beyond its arithmetic: chains of tiny ops, and small training steps.

Chains of tanh(x * a + b) on 16 numbers, in microseconds per op: forward with recording, forward
and backward, and the gradient of a gradient. Then training steps of the size of XOR (2-8-1,
batch 4, SGD) and of scikit-learn's digits (64-64-10, batch 64, Adam), in milliseconds. The floor
is NumPy with a backward written by hand: the array calls and nothing else.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple

import harness
import numpy as np

TARGET = 3.5  # us per op, forward and backward, over the NumPy calls

# --- chains -------------------------------------------------------------------------------------
# A mode is "forward", "forward + backward" or "second order". What a run returns is summed by
# magnitude into the number that the frameworks are compared by.


def inputs(dtype: str) -> list[np.ndarray]:
    """x, a, b: a near 1 and b near 0, so that gradients neither vanish nor explode."""
    rng = np.random.default_rng(0)
    bounds = ((-1, 1), (0.999, 1.001), (-1e-3, 1e-3))
    return [rng.uniform(*b, 16).astype(dtype) for b in bounds]


def chain(tanh: Callable, links: int, x: Any, a: Any, b: Any) -> Any:
    """Three ops a link."""
    for _ in range(links):
        x = tanh(x * a + b)
    return x


def repeated(run: Callable[[], list]) -> harness.Start:
    """A contender that does the same work at every call."""

    def start():
        result: list = []

        def step():
            result[:] = run()

        def magnitude() -> float:
            plain = [r.detach() if hasattr(r, "detach") else r for r in result]
            return sum(float(np.abs(np.asarray(r)).sum()) for r in plain)

        return step, magnitude

    return start


def numpy_chain(mode: str, links: int, dtype: str) -> harness.Start:
    """The floor: the calls that the gradients need, and a list."""
    x, a, b = inputs(dtype)
    ones = np.ones_like(x)

    def both():
        y, tape = x, []
        for _ in range(links):
            before, y = y, np.tanh(y * a + b)
            tape.append((before, y))
        g, ga, gb = ones, 0, 0
        for before, y in reversed(tape):
            g = g * (1 - y * y)
            gb, ga = gb + g, ga + g * before
            g = g * a
        return [g, ga, gb]

    return repeated((lambda: [chain(np.tanh, links, x, a, b)]) if mode == "forward" else both)


def collect(given: list, y: Any, *cotangent: Any) -> list:
    """y's gradients for the given tensors, of tensorgrad or PyTorch, which forget them."""
    y.backward(*cotangent)
    grads = [t.grad for t in given]
    for t in given:
        t.grad = None
    return grads


def tensorgrad_chain(mode: str, links: int, dtype: str) -> harness.Start:
    import tensorgrad as tg

    given = [tg.tensor(v, requires_grad=True) for v in inputs(dtype)]
    seed = np.ones(16, dtype)
    forward = partial(chain, tg.tanh, links)

    def second():
        grads = tg.grad(lambda *xs: forward(*xs).sum(), (0, 1, 2))(*given)
        return collect(given, sum((g * g).sum() for g in grads))

    return repeated(
        {
            "forward": lambda: [forward(*given)],
            "forward + backward": lambda: collect(given, forward(*given), seed),
            "second order": second,
        }[mode]
    )


def torch_chain(mode: str, links: int, dtype: str) -> harness.Start:
    import torch

    torch.set_num_threads(harness.THREADS)
    given = [torch.tensor(v, requires_grad=True) for v in inputs(dtype)]
    seed = torch.ones(16, dtype=given[0].dtype)
    forward = partial(chain, torch.tanh, links)

    def second():
        grads = torch.autograd.grad(forward(*given).sum(), given, create_graph=True)
        return collect(given, sum((g * g).sum() for g in grads))

    return repeated(
        {
            "forward": lambda: [forward(*given).detach()],
            "forward + backward": lambda: collect(given, forward(*given), seed),
            "second order": second,
        }[mode]
    )


def autograd_chain(mode: str, links: int, dtype: str) -> harness.Start:
    import autograd
    import autograd.numpy as anp

    given, every = inputs(dtype), (0, 1, 2)
    seed = np.ones(16, dtype)
    forward = partial(chain, anp.tanh, links)
    first = autograd.grad(lambda *xs: anp.sum(forward(*xs)), every)
    second = autograd.grad(lambda *xs: sum(anp.sum(g * g) for g in first(*xs)), every)

    def both():
        pull, _ = autograd.make_vjp(forward, every)(*given)
        return pull(seed)

    return repeated(
        {
            "forward": lambda: [autograd.make_vjp(forward, every)(*given)[1]],
            "forward + backward": both,
            "second order": lambda: second(*given),
        }[mode]
    )


def jax_chain(mode: str, links: int, dtype: str) -> harness.Start:
    """Op by op, without jit."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    given, every = [jnp.asarray(v) for v in inputs(dtype)], (0, 1, 2)
    seed = jnp.ones(16, dtype)
    forward = partial(chain, jnp.tanh, links)
    first = jax.grad(lambda *xs: forward(*xs).sum(), every)
    second = jax.grad(lambda *xs: sum((g * g).sum() for g in first(*xs)), every)
    run = {
        "forward": lambda: [jax.vjp(forward, *given)[0]],
        "forward + backward": lambda: jax.vjp(forward, *given)[1](seed),
        "second order": lambda: second(*given),
    }[mode]
    return repeated(lambda: jax.block_until_ready(run()))


CHAINS = {
    "numpy": numpy_chain,
    "tensorgrad": tensorgrad_chain,
    "torch": torch_chain,
    "autograd": autograd_chain,
    "jax eager": jax_chain,
}

# --- training steps -----------------------------------------------------------------------------


class Net(NamedTuple):
    """A network of two layers and how it is trained. Everything is float32."""

    sizes: tuple[int, int, int]
    digits: bool  # relu, cross-entropy and Adam on digits; else sigmoids, squared error and SGD
    lr: float

    def params(self) -> list[np.ndarray]:
        """Initial weights (in, out) and biases, the same at every call."""
        rng, (n, hidden, out) = np.random.default_rng(0), self.sizes
        shapes = ((n, hidden), (hidden,), (hidden, out), (out,))
        bounds = (n**-0.5, n**-0.5, hidden**-0.5, hidden**-0.5)
        drawn = [rng.uniform(-b, b, s) for b, s in zip(bounds, shapes, strict=True)]
        return [p.astype("float32") for p in drawn]

    def batches(self, made: Callable, one_hot: bool = False) -> list[tuple]:
        """Batches (x, target), their arrays turned into a framework's own by `made`."""
        if not self.digits:
            x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
            return [(made(x), made((x[:, :1] != x[:, 1:]).astype("float32")))]
        from sklearn.datasets import load_digits

        x, labels = load_digits(return_X_y=True)
        x, t = (x / 16).astype("float32"), np.eye(10, dtype="float32")[labels]
        rows = [slice(i, i + 64) for i in range(0, 1728, 64)]
        return [(made(x[r]), made(t[r] if one_hot else labels[r])) for r in rows]


def loss_of(net: Net, xp: Any, params: list, x: Any, t: Any) -> Any:
    """The loss in array language; t is one-hot for digits."""
    w1, b1, w2, b2 = params
    h = x @ w1 + b1
    if not net.digits:
        y = 1 / (1 + xp.exp(-(1 / (1 + xp.exp(-h)) @ w2 + b2)))
        return xp.mean((y - t) ** 2)
    z = xp.maximum(h, 0) @ w2 + b2
    z = z - xp.max(z, axis=1, keepdims=True)
    return xp.mean(xp.log(xp.sum(xp.exp(z), axis=1)) - xp.sum(z * t, axis=1))


def gradients_by_hand(net: Net, params: list, x: Any, t: Any) -> tuple[Any, list]:
    """The same loss and its gradients, in as few NumPy calls as they need."""
    w1, b1, w2, b2 = params
    h, n = x @ w1 + b1, len(x)
    if net.digits:
        h = np.maximum(h, 0)
        z = h @ w2 + b2
        z -= z.max(axis=1, keepdims=True)
        p = np.exp(z)
        total = p.sum(axis=1, keepdims=True)
        loss = (np.log(total[:, 0]) - (z * t).sum(axis=1)).mean()
        gz = (p / total - t) * (1 / n)
        gh = (gz @ w2.T) * (h > 0)
    else:
        h = 1 / (1 + np.exp(-h))
        y = 1 / (1 + np.exp(-(h @ w2 + b2)))
        error = y - t
        loss = (error * error).mean()
        gz = (2 / n) * error * y * (1 - y)
        gh = (gz @ w2.T) * h * (1 - h)
    return loss, [x.T @ gh, gh.sum(axis=0), h.T @ gz, gz.sum(axis=0)]


def updated(net: Net, xp: Any, params: list, grads: list, state: tuple) -> tuple[list, tuple]:
    """New parameters and state (step, means, mean squares): SGD, or Adam for digits."""
    if not net.digits:
        return [p - net.lr * g for p, g in zip(params, grads, strict=True)], state
    step, ms, vs = state
    step = step + 1
    ms = [0.9 * m + 0.1 * g for m, g in zip(ms, grads, strict=True)]
    vs = [0.999 * v + 0.001 * (g * g) for v, g in zip(vs, grads, strict=True)]
    rate, root = net.lr / (1 - 0.9**step), (1 - 0.999**step) ** -0.5
    moves = [rate * m / (xp.sqrt(v) * root + 1e-8) for m, v in zip(ms, vs, strict=True)]
    return [p - move for p, move in zip(params, moves, strict=True)], (step, ms, vs)


def functional(net: Net, xp: Any, gradients: Callable, made: Callable, jit: Callable) -> Any:
    """A contender from a function (params, x, t) -> (loss, gradients)."""

    def whole(params, state, x, t):
        loss, grads = gradients(params, x, t)
        return loss, *updated(net, xp, params, grads, state)

    whole = jit(whole)
    data = net.batches(made, one_hot=True)

    def start():
        params = [made(p) for p in net.params()]
        state = (made(np.float32(0)), [p * 0 for p in params], [p * 0 for p in params])
        kept, batches = [None, params, state], cycle(data)

        def step():
            kept[:] = whole(*kept[1:], *next(batches))

        return step, lambda: kept[0]

    return start


def numpy_net(net: Net) -> harness.Start:
    return functional(net, np, partial(gradients_by_hand, net), lambda a: a, lambda f: f)


def autograd_net(net: Net) -> harness.Start:
    import autograd
    import autograd.numpy as anp

    gradients = autograd.value_and_grad(partial(loss_of, net, anp))
    return functional(net, np, gradients, lambda a: a, lambda f: f)


def jax_net(net: Net) -> harness.Start:
    """The whole step in one jit."""
    import jax
    import jax.numpy as jnp

    def finished(f):
        jitted = jax.jit(f)
        return lambda *args: jax.block_until_ready(jitted(*args))

    gradients = jax.value_and_grad(partial(loss_of, net, jnp))
    return functional(net, jnp, gradients, jnp.asarray, finished)


def tensorgrad_net(net: Net) -> harness.Start:
    import tensorgrad as tg
    from tensorgrad import losses, nn, optim

    n, hidden, out = net.sizes
    data = net.batches(tg.asarray)

    def start():
        first, last = ("relu", None) if net.digits else ("sigmoid", "sigmoid")
        model = nn.Sequential([nn.Dense(hidden, n, first), nn.Dense(out, hidden, last)])
        model.set_weights(net.params())
        params = model.parameters()
        optimizer = (optim.Adam if net.digits else optim.SGD)(params, lr=net.lr)
        criterion = losses.cross_entropy if net.digits else losses.mean_squared_error
        return hand_written(model, criterion, optimizer, cycle(data))

    return start


def torch_net(net: Net, fused: bool) -> harness.Start:
    import torch
    from torch import nn

    torch.set_num_threads(harness.THREADS)
    n, hidden, out = net.sizes
    data = net.batches(torch.as_tensor)

    def start():
        layers = [nn.Linear(n, hidden), nn.Sigmoid(), nn.Linear(hidden, out), nn.Sigmoid()]
        if net.digits:
            layers = [layers[0], nn.ReLU(), layers[2]]
        model = nn.Sequential(*layers)
        with torch.no_grad():
            for p, value in zip(model.parameters(), net.params(), strict=True):
                p.copy_(torch.as_tensor(value.T))
        kind = torch.optim.Adam if net.digits else torch.optim.SGD
        optimizer = kind(model.parameters(), lr=net.lr, fused=fused)
        criterion = nn.CrossEntropyLoss() if net.digits else nn.MSELoss()
        return hand_written(model, criterion, optimizer, cycle(data))

    return start


def hand_written(model: Any, criterion: Any, optimizer: Any, batches: Iterator) -> tuple:
    """The training loop that tensorgrad and PyTorch share word for word."""
    kept: list = []

    def step():
        x, t = next(batches)
        loss = criterion(model(x), t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        kept[:] = [loss]

    return step, lambda: kept[0].item()


NETS = {
    "numpy": numpy_net,
    "tensorgrad": tensorgrad_net,
    "torch": partial(torch_net, fused=False),
    "torch fused": partial(torch_net, fused=True),
    "autograd": autograd_net,
    "jax jit": jax_net,
}

# --- the script ---------------------------------------------------------------------------------


def cases(tiny: bool) -> list[harness.Case]:
    made = []
    for mode in ("forward", "forward + backward", "second order"):
        for dtype in ("float64", "float32"):
            links = (4 if tiny else 334) if mode != "second order" else (2 if tiny else 34)
            chains = {k: partial(f, mode, links, dtype) for k, f in CHAINS.items()}
            if mode == "second order":
                del chains["numpy"]
            case = harness.Case(f"chain, {mode}, {dtype}", chains, "us per op", 1e6 / (3 * links))
            made.append(case)
    for name, net, steps in (  # as many steps as make the loss fall to a fifth and a half
        ("XOR step 2-8-1", Net((2, 8, 1), False, 2.0), 300),
        ("digits step 64-64-10", Net((64, 64, 10), True, 1e-3), 100),
    ):
        nets = {k: partial(f, net) for k, f in NETS.items()}
        made.append(harness.Case(name, nets, steps=3 if tiny else steps))
    return made


def notes(results: list[dict[str, Any]]) -> list[str]:
    """What the target is about: tensorgrad over the NumPy calls."""
    lines = []
    for case in results:
        rows = {row["framework"]: row for row in case["rows"]}
        if "forward" in case["name"] and {"numpy", "tensorgrad"} <= set(rows):
            pairs = zip(rows["tensorgrad"]["samples"], rows["numpy"]["samples"], strict=True)
            over = statistics.median([t - n for t, n in pairs])
            least = rows["tensorgrad"]["min"] - rows["numpy"]["min"]
            line = f"{case['name']}: tensorgrad over the NumPy calls: {over:.2f} us per op"
            line += f" (of the minima: {least:.2f})"
            if "backward" in case["name"]:
                line += f"; target {TARGET}: {'met' if over <= TARGET else 'MISSED'}"
            lines.append(line)
    return lines


if __name__ == "__main__":
    sys.exit(harness.main(__file__, cases, notes))
