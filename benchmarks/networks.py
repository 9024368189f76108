"""The networks of cpu_training.py, each in every framework, and how they are trained.

A network draws its initial weights and data once, with NumPy; `tensorgrad` and `torch` return
functions that build it from layers, and `logits` is the same in array language, for JAX and
autograd. Weights are in tensorgrad's layout and order: dense (in, out), convolutions (out, in,
height, width). In PyTorch's models, which make their parameters in the same order, matrices are
transposed.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, pairwise
from typing import Any

import harness
import numpy as np
from overhead import hand_written

OPTIMIZERS = {  # class and options; the same in tensorgrad and PyTorch
    "sgd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {"weight_decay": 0.01}),
}


@dataclass(frozen=True)
class Net:
    """A network that classifies, and how it is trained. Subclasses say what it is made of."""

    optimizer: str
    lr: float
    x: tuple[int, ...]  # the shape of a batch
    classes: int = 10
    loss: str = "cross_entropy"
    batches: int = 4

    def shapes(self) -> list[tuple[int, ...]]:
        """The parameters' shapes, in order."""
        raise NotImplementedError

    def ones(self) -> set[int]:
        """Places of the parameters that lie around 1: the scales of norms."""
        return set()

    def judged(self, x: np.ndarray) -> np.ndarray:
        """The part of the input that a linear teacher draws the labels from."""
        return x.reshape(len(x), -1)

    def draw(self) -> None:
        """Make weights and data before they are asked for."""
        _ = self.params, self.data

    @functools.cached_property
    def params(self) -> list[np.ndarray]:
        """Uniform within 1 / sqrt(inputs), biases within 0.1 so that none can be mislaid."""
        rng, params = np.random.default_rng(0), []
        for i, shape in enumerate(self.shapes()):
            fan_in = shape[0] if len(shape) == 2 else math.prod(shape[1:])
            bound = 0.1 if len(shape) == 1 else fan_in**-0.5
            p = rng.uniform(-bound, bound, shape) + (1 if i in self.ones() else 0)
            params.append(p.astype("float32"))
        return params

    @functools.cached_property
    def data(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Batches (x, target): normal inputs, and the classes that a linear teacher gives them."""
        if self.loss == "mse":  # XOR
            x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
            return [(x, (x[:, :1] != x[:, 1:]).astype("float32"))]
        rng, data = np.random.default_rng(1), []
        features = self.judged(np.empty(self.x, "float32")).shape[-1]
        teacher = rng.standard_normal((features, self.classes), "float32")
        for _ in range(self.batches):
            x = rng.standard_normal(self.x, "float32")
            data.append((x, (self.judged(x) @ teacher).argmax(axis=-1)))
        return data


# --- the networks -------------------------------------------------------------------------------


@dataclass(frozen=True)
class MLP(Net):
    """Dense layers with an activation between; XOR has one after the last as well."""

    sizes: tuple[int, ...] = ()
    activation: str = "relu"
    last: str | None = None

    def shapes(self):
        return [shape for n, m in pairwise(self.sizes) for shape in ((n, m), (m,))]

    def layers(self) -> list[tuple[int, int, str | None]]:
        """(inputs, outputs, activation) of each layer."""
        inner = [self.activation] * (len(self.sizes) - 2)
        return [(*nm, a) for nm, a in zip(pairwise(self.sizes), [*inner, self.last], strict=True)]

    def tensorgrad(self):
        from tensorgrad.nn import Dense, Sequential

        return lambda: Sequential([Dense(m, n, a) for n, m, a in self.layers()])

    def torch(self):
        from torch import nn

        after = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, None: nn.Identity}
        built = lambda: [(nn.Linear(n, m), after[a]()) for n, m, a in self.layers()]  # noqa: E731
        return lambda: nn.Sequential(*[part for pair in built() for part in pair])

    def logits(self, xp, params, x):
        for i, (_, _, activation) in enumerate(self.layers()):
            x = x @ params[2 * i] + params[2 * i + 1]
            if activation is not None:
                x = xp.maximum(x, 0) if activation == "relu" else sigmoid(xp, x)
        return x


@dataclass(frozen=True)
class CNN(Net):
    """Two convolutions 3 x 3 with relu, max pooling, two dense layers."""

    filters: tuple[int, int] = (32, 64)
    hidden: int = 128

    def shapes(self):
        (a, b), (_, c, side, _) = self.filters, self.x
        flat = b * ((side - 4) // 2) ** 2
        h, out = self.hidden, self.classes
        return [(a, c, 3, 3), (a,), (b, a, 3, 3), (b,), (flat, h), (h,), (h, out), (out,)]

    def tensorgrad(self):
        from tensorgrad.nn import Conv2d, Dense, Flatten, MaxPool2d, Sequential

        (a, b), c, flat = self.filters, self.x[1], self.shapes()[4][0]
        return lambda: Sequential(
            [
                Conv2d(c, a, 3, activation="relu"),
                Conv2d(a, b, 3, activation="relu"),
                MaxPool2d(2),
                Flatten(),
                Dense(self.hidden, flat, "relu"),
                Dense(self.classes, self.hidden),
            ]
        )

    def torch(self):
        from torch import nn

        (a, b), c, flat = self.filters, self.x[1], self.shapes()[4][0]
        return lambda: nn.Sequential(
            nn.Conv2d(c, a, 3),
            nn.ReLU(),
            nn.Conv2d(a, b, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(flat, self.hidden),
            nn.ReLU(),
            nn.Linear(self.hidden, self.classes),
        )

    def logits(self, xp, params, x):
        """For JAX; channels last inside, which it is faster with on a CPU."""
        from jax import lax

        conv = functools.partial(
            lax.conv_general_dilated,
            window_strides=(1, 1),
            padding="VALID",
            dimension_numbers=("NHWC", "OIHW", "NHWC"),
        )
        w1, b1, w2, b2, w3, b3, w4, b4 = params
        x = xp.maximum(conv(xp.moveaxis(x, 1, -1), w1) + b1, 0)
        x = xp.maximum(conv(x, w2) + b2, 0)
        n, side, _, channels = x.shape
        x = x.reshape(n, side // 2, 2, side // 2, 2, channels).max(axis=(2, 4))
        x = xp.moveaxis(x, -1, 1).reshape(n, -1)
        return xp.maximum(x @ w3 + b3, 0) @ w4 + b4


@dataclass(frozen=True)
class LSTM(Net):
    """A dense layer on the last output of an LSTM."""

    hidden: int = 256

    def shapes(self):
        f, h, out = self.x[-1], self.hidden, self.classes
        return [(f, 4 * h), (h, 4 * h), (4 * h,), (h, out), (out,)]

    def judged(self, x):
        return x[:, -1]

    def tensorgrad(self):
        from tensorgrad.nn import Dense, Sequential, SimpleLSTM

        f, h = self.x[-1], self.hidden
        return lambda: Sequential([SimpleLSTM(h, f), Dense(self.classes, h)])

    def torch(self):
        import torch

        class Model(torch.nn.Module):
            def __init__(model):
                super().__init__()
                model.lstm = torch.nn.LSTM(self.x[-1], self.hidden, batch_first=True)
                model.head = torch.nn.Linear(self.hidden, self.classes)
                second = model.lstm.bias_hh_l0  # theirs has two biases that are only ever added
                torch.nn.init.zeros_(second).requires_grad_(False)

            def forward(model, x):
                return model.head(model.lstm(x)[0][:, -1])

        return Model

    def logits(self, xp, params, x):
        w, u, b, w2, b2 = params

        def cell(state, z):
            h, c = state
            i, f, g, o = xp.split(z + h @ u, 4, axis=-1)
            c = sigmoid(xp, f) * c + sigmoid(xp, i) * xp.tanh(g)
            h = sigmoid(xp, o) * xp.tanh(c)
            return (h, c), None

        zeros = xp.zeros((len(x), self.hidden), "float32")
        (h, _) = scanned(xp, cell, (zeros, zeros), xp.swapaxes(x @ w + b, 0, 1))
        return h @ w2 + b2


@dataclass(frozen=True)
class Transformer(Net):
    """Pre-norm blocks of attention and a perceptron with gelu (its tanh form), and a dense layer
    on every position."""

    blocks: int = 2
    heads: int = 8
    hidden: int = 1024

    def shapes(self):
        w, h = self.x[-1], self.hidden
        norm, attention = [(w,), (w,)], [(w, 3 * w), (3 * w,), (w, w), (w,)]
        block = [*norm, *attention, *norm, (w, h), (h,), (h, w), (w,)]
        return [*block * self.blocks, (w, self.classes), (self.classes,)]

    def ones(self):
        return {12 * i + place for i in range(self.blocks) for place in (0, 6)}

    def judged(self, x):
        return x

    def tensorgrad(self):
        from tensorgrad.nn import Dense, Sequential, TransformerBlock

        w = self.x[-1]
        block = functools.partial(TransformerBlock, self.heads, w, self.hidden)
        blocks = lambda: [block() for _ in range(self.blocks)]  # noqa: E731
        return lambda: Sequential([*blocks(), Dense(self.classes, w)])

    def torch(self):
        from torch import nn
        from torch.nn.functional import gelu, scaled_dot_product_attention

        w, heads, hidden = self.x[-1], self.heads, self.hidden

        class Block(nn.Module):
            def __init__(block):
                super().__init__()
                block.norm1, block.qkv = nn.LayerNorm(w), nn.Linear(w, 3 * w)
                block.out, block.norm2 = nn.Linear(w, w), nn.LayerNorm(w)
                block.up, block.down = nn.Linear(w, hidden), nn.Linear(hidden, w)

            def forward(block, x):
                n, length, _ = x.shape
                qkv = block.qkv(block.norm1(x)).view(n, length, 3, heads, w // heads)
                y = scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
                x = x + block.out(y.transpose(1, 2).reshape(n, length, w))
                return x + block.down(gelu(block.up(block.norm2(x)), approximate="tanh"))

        return lambda: nn.Sequential(
            *[Block() for _ in range(self.blocks)], nn.Linear(w, self.classes)
        )

    def logits(self, xp, params, x):
        n, length, w = x.shape
        split = lambda z: xp.swapaxes(  # noqa: E731
            z.reshape(n, length, self.heads, w // self.heads), 1, 2
        )
        for i in range(self.blocks):
            s1, o1, wqkv, bqkv, wo, bo, s2, o2, up, b1, down, b2 = params[12 * i : 12 * i + 12]
            q, k, v = xp.split(layer_norm(xp, x, s1, o1) @ wqkv + bqkv, 3, axis=-1)
            y = xp.swapaxes(attention(xp, split(q), split(k), split(v)), 1, 2)
            x = x + y.reshape(n, length, w) @ wo + bo
            z = layer_norm(xp, x, s2, o2) @ up + b1
            z = 0.5 * z * (1 + xp.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z)))
            x = x + z @ down + b2
        return x @ params[-2] + params[-1]


# --- array language, for JAX and autograd -------------------------------------------------------


def sigmoid(xp: Any, x: Any) -> Any:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + xp.exp(-x))


def layer_norm(xp: Any, x: Any, scale: Any, offset: Any) -> Any:
    """Over the last axis, eps 1e-5."""
    x = x - xp.mean(x, axis=-1, keepdims=True)
    return x / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + 1e-5) * scale + offset


def attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
    """softmax(q k' / sqrt(d)) v over the last two axes."""
    s = q @ xp.swapaxes(k, -1, -2) * q.shape[-1] ** -0.5
    p = xp.exp(s - xp.max(s, axis=-1, keepdims=True))
    return p / xp.sum(p, axis=-1, keepdims=True) @ v


def scanned(xp: Any, cell: Callable, state: Any, xs: Any) -> Any:
    """The state after all of xs: by JAX's loop, elsewhere by Python's."""
    if xp.__name__.startswith("jax"):
        from jax.lax import scan

        return scan(cell, state, xs)[0]
    for x in xs:
        state, _ = cell(state, x)
    return state


def loss_of(net: Net, xp: Any, params: list, x: Any, t: Any) -> Any:
    """Mean squared error, or cross-entropy with one-hot t."""
    z = net.logits(xp, params, x)
    if net.loss == "mse":
        return xp.mean((z - t) ** 2)
    z = z - xp.max(z, axis=-1, keepdims=True)
    return xp.mean(xp.log(xp.sum(xp.exp(z), axis=-1)) - xp.sum(z * t, axis=-1))


def updated(kind: str, lr: float, xp: Any, params: list, grads: list, state: tuple) -> tuple:
    """New parameters and state (step, means, mean squares)."""
    step, ms, vs = state
    if kind == "sgd":
        return [p - lr * g for p, g in zip(params, grads, strict=True)], state
    if kind == "momentum":
        ms = [0.9 * m + g for m, g in zip(ms, grads, strict=True)]
        return [p - lr * m for p, m in zip(params, ms, strict=True)], (step, ms, vs)
    step = step + 1
    ms = [0.9 * m + 0.1 * g for m, g in zip(ms, grads, strict=True)]
    vs = [0.999 * v + 0.001 * (g * g) for v, g in zip(vs, grads, strict=True)]
    rate, root = lr / (1 - 0.9**step), (1 - 0.999**step) ** -0.5
    kept = 1 - lr * OPTIMIZERS[kind][1].get("weight_decay", 0.0)
    moves = [rate * m / (xp.sqrt(v) * root + 1e-8) for m, v in zip(ms, vs, strict=True)]
    return [kept * p - move for p, move in zip(params, moves, strict=True)], (step, ms, vs)


def state_of(kind: str, zeros: Callable, params: list) -> tuple:
    """The state before the first step."""
    means = kind != "sgd"
    squares = kind in ("adam", "adamw")
    return (
        zeros((), "float32"),
        [zeros(p.shape, "float32") for p in params if means],
        [zeros(p.shape, "float32") for p in params if squares],
    )


# --- training -----------------------------------------------------------------------------------


def tensorgrad_net(net: Net) -> harness.Start:
    import tensorgrad as tg
    from tensorgrad import losses, optim

    build = net.tensorgrad()
    data = [(tg.asarray(x), tg.asarray(t)) for x, t in net.data]
    criterion = losses.mean_squared_error if net.loss == "mse" else losses.cross_entropy
    kind, options = OPTIMIZERS[net.optimizer]

    def start():
        model = build()
        model.set_weights(net.params)
        optimizer = getattr(optim, kind)(model.parameters(), lr=net.lr, **options)
        return hand_written(model, criterion, optimizer, cycle(data))

    return start


def torch_net(net: Net, fused: bool) -> harness.Start:
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(harness.THREADS)
    build = net.torch()
    data = [(torch.tensor(x), torch.tensor(t)) for x, t in net.data]
    by_class = lambda z, t: F.cross_entropy(z.flatten(0, -2), t.flatten())  # noqa: E731
    criterion = F.mse_loss if net.loss == "mse" else by_class
    kind, options = OPTIMIZERS[net.optimizer]
    options = {**options, **({"fused": True} if fused else {})}

    def start():
        model = build()
        params = [p for p in model.parameters() if p.requires_grad]
        with torch.no_grad():
            for p, value in zip(params, net.params, strict=True):
                p.copy_(torch.as_tensor(value.T if value.ndim == 2 else value))
        optimizer = getattr(torch.optim, kind)(params, lr=net.lr, **options)
        return hand_written(model, criterion, optimizer, cycle(data))

    return start


def functional(net: Net, xp: Any, made: Callable, gradients: Callable, jit: Callable) -> Any:
    """A contender from a function (params, x, t) -> (loss, gradients)."""

    def whole(params, state, x, t):
        loss, grads = gradients(params, x, t)
        return loss, *updated(net.optimizer, net.lr, xp, params, grads, state)

    whole = jit(whole)
    hot = lambda t: np.eye(net.classes, dtype="float32")[t]  # noqa: E731
    data = [(made(x), made(t if net.loss == "mse" else hot(t))) for x, t in net.data]

    def start():
        params = [made(p) for p in net.params]
        kept, batches = [None, params, state_of(net.optimizer, xp.zeros, params)], cycle(data)
        del params  # they are given away at the first step

        def step():
            kept[:] = whole(*kept[1:], *next(batches))

        return step, lambda: kept[0]

    return start


def autograd_net(net: Net) -> harness.Start:
    import autograd
    import autograd.numpy as anp

    gradients = autograd.value_and_grad(functools.partial(loss_of, net, anp))
    return functional(net, np, np.array, gradients, lambda f: f)


def jax_net(net: Net) -> harness.Start:
    """The whole step in one jit, which may write into the old parameters and state."""
    import jax
    import jax.numpy as jnp

    def finished(f):
        jitted = jax.jit(f, donate_argnums=(0, 1))
        return lambda *args: jax.block_until_ready(jitted(*args))

    gradients = jax.value_and_grad(functools.partial(loss_of, net, jnp))
    return functional(net, jnp, jnp.array, gradients, finished)


NETS = {
    "torch": functools.partial(torch_net, fused=False),
    "torch fused": functools.partial(torch_net, fused=True),
    "tensorgrad": tensorgrad_net,
    "jax jit": jax_net,
    "autograd": autograd_net,
}
