"""How time and peak memory grow with width, batch, depth and sequence, beside plain NumPy.

Forward and backward passes in float32: dense layers with tanh, attention and an LSTM, each also
written by hand in NumPy, without a tape. What counts is the slope: the growth of
log(tensorgrad / NumPy) with log(size). Near 0, the framework adds nothing that grows.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import harness
import numpy as np
from networks import sigmoid
from overhead import collect, repeated

SMALL = 0.1  # MiB: peaks below count as this, they are what the allocator happens to do


@dataclass(frozen=True)
class Pass:
    """A forward and backward pass. `by_hand` takes input, parameters and cotangent and gives the
    output and the gradients of input and parameters; `model` takes input and parameters and gives
    the tensors that get these gradients and the function without arguments that uses them."""

    shapes: tuple[tuple[int, ...], ...]  # of input and parameters
    out: tuple[int, ...]
    by_hand: Callable[[list, Any], list]
    model: Callable[[list], tuple[list, Callable]]

    @functools.cached_property
    def drawn(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Input, parameters and cotangent; matrices keep the length of what they multiply."""
        rng = np.random.default_rng(0)
        scale = lambda s: s[0] ** -0.5 if len(s) == 2 else 1 if len(s) > 2 else 0.1  # noqa: E731
        draw = lambda s: rng.standard_normal(s, "float32")  # noqa: E731
        x, *params = self.shapes
        given = [draw(x), *[draw(s) * np.float32(scale(s)) for s in params]]
        return given, draw(self.out)

    def draw(self) -> None:
        """Make the numbers before they are asked for."""
        _ = self.drawn


def numpy_pass(work: Pass) -> harness.Start:
    given, seed = work.drawn
    return repeated(lambda: work.by_hand(given, seed))


def tensorgrad_pass(work: Pass) -> harness.Start:
    import tensorgrad as tg

    values, seed = work.drawn
    given, f = work.model(values)
    seed = tg.asarray(seed)

    def run():
        y = f()
        return [y.detach(), *collect(given, y, seed)]

    return repeated(run)


PASSES = {"numpy": numpy_pass, "tensorgrad": tensorgrad_pass}

# --- dense layers -------------------------------------------------------------------------------


def dense_by_hand(given: list, g: Any) -> list:
    """Layers tanh(x @ w + b), backward in as few array calls as they need."""
    x, params = given[0], given[1:]
    outputs = [x]
    for w, b in zip(params[::2], params[1::2], strict=True):
        z = outputs[-1] @ w
        z += b
        outputs.append(np.tanh(z, out=z))
    y, grads = outputs[-1], []
    for w, x in zip(params[::2][::-1], outputs[-2::-1], strict=True):
        g = g * (1 - outputs.pop() ** 2)
        grads += [g.sum(axis=0), x.T @ g]
        g = g @ w.T
    return [y, g, *grads[::-1]]


def leaves(values: list) -> list:
    """Tensors that get gradients."""
    import tensorgrad as tg

    return [tg.tensor(v, requires_grad=True) for v in values]


def dense_model(values: list) -> tuple[list, Callable]:
    from tensorgrad import dense

    given = leaves(values)

    def f():
        y, params = given[0], given[1:]
        for w, b in zip(params[::2], params[1::2], strict=True):
            y = dense(y, w, b, activation="tanh")
        return y

    return given, f


def dense(batch: int, width: int, depth: int) -> Pass:
    shapes = ((batch, width), *((width, width), (width,)) * depth)
    return Pass(shapes, (batch, width), dense_by_hand, dense_model)


# --- sequences ----------------------------------------------------------------------------------


def attention_by_hand(given: list, g: Any) -> list:
    """softmax(q k' / sqrt(d)) v with the scores kept."""
    q, k, v = given
    scale = q.shape[-1] ** -0.5
    p = q @ k.swapaxes(-1, -2)
    p *= scale
    p -= p.max(axis=-1, keepdims=True)
    np.exp(p, out=p)
    p /= p.sum(axis=-1, keepdims=True)
    y = p @ v
    gv = p.swapaxes(-1, -2) @ g
    gs = g @ v.swapaxes(-1, -2)
    gs -= (g * y).sum(axis=-1, keepdims=True)
    gs *= p
    gs *= scale
    return [y, gs @ k, gs.swapaxes(-1, -2) @ q, gv]


def attention_model(values: list) -> tuple[list, Callable]:
    from tensorgrad import scaled_dot_product_attention

    given = leaves(values)
    return given, lambda: scaled_dot_product_attention(*given)


def heads(length: int) -> Pass:
    """4 heads of 64."""
    shape = (1, 4, length, 64)
    return Pass((shape,) * 3, shape, attention_by_hand, attention_model)


def lstm_by_hand(given: list, g: Any) -> list:
    """The last output of an LSTM, gates in the order i, f, g, o."""
    x, w, u, b = given
    n, length, _ = x.shape
    width = len(u)
    zx = x @ w + b
    h = c = np.zeros((n, width), "float32")
    tape = []
    for t in range(length):
        z = zx[:, t] + h @ u
        i, f, o = (sigmoid(np, z[:, j * width : (j + 1) * width]) for j in (0, 1, 3))
        a = np.tanh(z[:, 2 * width : 3 * width])
        before, c = c, f * c + i * a
        tc = np.tanh(c)
        tape.append((h, before, i, f, a, o, tc))
        h = o * tc
    y, gz, gu = h, np.empty_like(zx), np.zeros_like(u)
    gc = np.zeros_like(c)
    for t in reversed(range(length)):
        h, c, i, f, a, o, tc = tape.pop()
        gc = gc + g * o * (1 - tc * tc)
        gates = [gc * a * i * (1 - i), gc * c * f * (1 - f), gc * i * (1 - a * a)]
        gz[:, t] = np.concatenate([*gates, g * tc * o * (1 - o)], axis=1)
        gu += h.T @ gz[:, t]
        g, gc = gz[:, t] @ u.T, gc * f
    flat = gz.reshape(-1, 4 * width)
    gw = x.reshape(-1, x.shape[-1]).T @ flat
    return [y, gz @ w.T, gw, gu, flat.sum(axis=0)]


def lstm_model(values: list) -> tuple[list, Callable]:
    from tensorgrad.nn import SimpleLSTM

    (x,), (_, w, u, _) = leaves(values[:1]), values
    layer = SimpleLSTM(len(u), len(w))
    layer.set_weights(values[1:])
    return [x, *layer.parameters()], lambda: layer(x)


def lstm(length: int, features: int = 32, width: int = 64, n: int = 16) -> Pass:
    shapes = ((n, length, features), (features, 4 * width), (width, 4 * width), (4 * width,))
    return Pass(shapes, (n, width), lstm_by_hand, lstm_model)


# --- the script ---------------------------------------------------------------------------------

AXES: dict[str, tuple[Callable[[int], Pass], list[int]]] = {
    "width, 2 layers, batch 64": (lambda n: dense(64, n, 2), [64, 256, 1024, 4096]),
    "batch, 2 layers, width 256": (lambda n: dense(n, 256, 2), [1, 8, 64, 512, 4096, 8192]),
    "depth, width 16, batch 16": (lambda n: dense(16, 16, n), [1, 10, 100, 1000]),
    "sequence, attention, 4 heads of 64": (heads, [32, 128, 512, 2048]),
    "sequence, LSTM 32-64, batch 16": (lstm, [32, 128, 512, 2048]),
}


def cases(tiny: bool) -> list[harness.Case]:
    """A case for each size on each axis."""
    made = []
    for axis, (work, sizes) in AXES.items():
        for size in [1, 4] if tiny else sizes:
            given = work(size)
            contenders = {name: partial(f, given) for name, f in PASSES.items()}
            case = harness.Case(f"{axis}: {size}", contenders, "ms per pass", draw=given.draw)
            made.append(case)
    return made


def slope(sizes: list[int], values: list[float]) -> float:
    """The exponent of values ~ sizes^exponent, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def notes(results: list[dict[str, Any]]) -> list[str]:
    """The exponents of both, for time and memory, and their difference."""
    axes: dict[str, list] = {}
    for case in results:
        axis, _, size = case["name"].rpartition(": ")
        values = {row["framework"]: [row["median"]] for row in case["rows"]}
        for name, footprint in case.get("footprints", {}).items():
            values[name].append(max(footprint["working_mib"], SMALL))
        if set(PASSES) <= set(values):
            axes.setdefault(axis, []).append((int(size), values))
    lines = []
    for axis, found in axes.items():
        sizes, values = zip(*found, strict=True)
        if len(sizes) < 2:
            continue
        for what, i in (("time", 0), ("peak memory", 1)):
            ours, plain = ([v[k][i] for v in values if v[k][i:]] for k in ("tensorgrad", "numpy"))
            if len(ours) == len(sizes):
                a, b = slope(sizes, ours), slope(sizes, plain)
                line = f"{axis}: {what}: tensorgrad n^{a:.2f}, NumPy n^{b:.2f}, difference "
                lines.append(
                    line + f"{a - b:+.2f}; at {sizes[-1]} {ours[-1] / plain[-1]:.2f} of it"
                )
    return lines


def main() -> int:
    """Run it; cpu_training.py --scaling does."""
    return harness.main(__file__, cases, notes)


if __name__ == "__main__":
    sys.exit(main())
