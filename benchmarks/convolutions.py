"""The convolutions of whole nets, forward and backward, beside PyTorch's, on one thread and on two.

Of a net each convolution in turn, with its own images, filters and cotangents; nothing else of it.
The images of a net's first layer need no gradient. Then the last convolution of a ResNet backward
at batch 1, and a whole training step of ResNet-18 in its form for images of 32 x 32.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import harness
import numpy as np


class Conv(NamedTuple):
    """A layer with square images and windows, padded so that stride 1 keeps the size."""

    channels: int
    size: int
    out: int
    window: int = 3
    stride: int = 1
    groups: int = 1

    def shapes(self, n: int) -> tuple[tuple, tuple, tuple]:
        """Those of n images, of the filters and of the results."""
        after = -(-self.size // self.stride)
        filters = (self.out, self.channels // self.groups, self.window, self.window)
        return (n, self.channels, *[self.size] * 2), filters, (n, self.out, *[after] * 2)


def basic(c: int, size: int, width: int, stride: int) -> list[Conv]:
    return [Conv(c, size, width, 3, stride), Conv(width, size // stride, width)]


def bottleneck(c: int, size: int, width: int, stride: int) -> list[Conv]:
    middle, after = width // 4, size // stride
    return [Conv(c, size, middle, 1), Conv(middle, size, middle, 3, stride)] + [
        Conv(middle, after, width, 1)
    ]


def resnet(stem: Conv, size: int, block: Callable, depths: tuple, widths: tuple) -> list[Conv]:
    """He et al. (2015), https://arxiv.org/abs/1512.03385; strides in the 3 x 3 convolutions."""
    layers, c = [stem], stem.out
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        for i in range(depth):
            stride = 2 if stage and not i else 1
            layers += block(c, size, width, stride)
            layers += [Conv(c, size, width, 1, stride)] if (c, stride) != (width, 1) else []
            c, size = width, size // stride
    return layers


def mobilenet() -> list[Conv]:
    """Howard et al. (2017), https://arxiv.org/abs/1704.04861."""
    layers, c, size = [Conv(3, 224, 32, 3, 2)], 32, 112
    for width in (64, 128, 128, 256, 256, *[512] * 6, 1024, 1024):
        stride = 2 if width == 2 * c and c > 32 else 1
        layers += [Conv(c, size, c, 3, stride, c), Conv(c, size // stride, width, 1)]
        c, size = width, size // stride
    return layers


IMAGENET, CIFAR = Conv(3, 224, 64, 7, 2), Conv(3, 32, 64)
WIDTHS = (64, 128, 256, 512)
RESNET18 = partial(resnet, block=basic, depths=(2, 2, 2, 2), widths=WIDTHS)
LAST = "512 of 7 x 7 backward, batch 1"
# Layers, images, goal
NETS = {
    "ResNet-18 at 224": (RESNET18(IMAGENET, 56), 4, 0.7),
    "ResNet-18 on 32 x 32": (RESNET18(CIFAR, 32), 16, 0.7),
    "ResNet-50 at 224": (
        resnet(IMAGENET, 56, bottleneck, (3, 4, 6, 3), tuple([4 * w for w in WIDTHS])),
        2,
        0.75,
    ),
    "MobileNet at 224": (mobilenet(), 4, 0.8),
    LAST: ([Conv(512, 7, 512)], 1, 1.5),
}
TINY = [Conv(3, 8, 4), Conv(4, 8, 4, 3, 2, 4), Conv(4, 4, 8, 1)]


def use(threads: int) -> None:
    """That many for both frameworks' loops."""
    import numba
    import torch

    torch.set_num_threads(threads)
    numba.set_num_threads(threads)


def drawn(layer: Conv, n: int) -> tuple[np.ndarray, ...]:
    """Images, filters and cotangents."""
    rng = np.random.default_rng(0)
    return tuple([rng.standard_normal(shape, "f4") for shape in layer.shapes(n)])


def convolving(calls: list, threads: int, forward: bool) -> harness.Start:
    """`calls`, of each layer: its convolution, its leaves, its cotangents. Without `forward` the
    results are there before."""

    def start():
        use(threads)
        kept = [] if forward else [conv() for conv, _, _ in calls]

        def step():
            for i, (conv, leaves, g) in enumerate(calls):
                for leaf in leaves:
                    leaf.grad = None
                y = conv() if forward else kept[i]
                y.backward(g, retain_graph=not forward)

        def loss():
            return float(np.sum([abs(x.grad.numpy()).mean() for _, xs, _ in calls for x in xs]))

        return step, loss

    return start


def ours(layers: list[Conv], n: int, threads: int, forward: bool) -> harness.Start:
    import tensorgrad as tg

    calls = []
    for i, layer in enumerate(layers):
        x, w, g = drawn(layer, n)
        leaves = [
            tg.tensor(x, requires_grad=i > 0 or not forward),
            tg.tensor(w, requires_grad=True),
        ]
        how = {"stride": layer.stride, "padding": layer.window // 2, "groups": layer.groups}
        calls.append(
            (
                partial(tg.conv2d, *leaves, **how),
                [a for a in leaves if a.requires_grad],
                tg.tensor(g),
            )
        )
    return convolving(calls, threads, forward)


def theirs(layers: list[Conv], n: int, threads: int, forward: bool) -> harness.Start:
    import torch

    calls = []
    for i, layer in enumerate(layers):
        x, w, g = map(torch.tensor, drawn(layer, n))
        leaves = [x.requires_grad_(i > 0 or not forward), w.requires_grad_()]
        how = {"stride": layer.stride, "padding": layer.window // 2, "groups": layer.groups}
        conv = partial(torch.nn.functional.conv2d, *leaves, **how)
        calls.append((conv, [a for a in leaves if a.requires_grad], g))
    return convolving(calls, threads, forward)


# --- a training step ----------------------------------------------------------------------------


def network(nn: Any, layers: list[Conv]) -> Any:
    """ResNet-18 of those convolutions, in the words that both frameworks know."""

    def conv(layer: Conv) -> list:
        c, _, out, window, stride, _ = layer
        return [nn.Conv2d(c, out, window, stride, window // 2, bias=False), nn.BatchNorm2d(out)]

    class Block(nn.Module):
        def __init__(self, first, second, shortcut):
            super().__init__()
            self.inner = nn.Sequential(*conv(first), nn.ReLU(), *conv(second))
            self.shortcut = nn.Sequential(*conv(shortcut)) if shortcut else nn.Identity()
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(self.inner(x) + self.shortcut(x))

    stem, *rest = layers
    blocks = []
    while rest:
        shortcut = rest[2] if len(rest) > 2 and rest[2].window == 1 else None
        blocks.append(Block(rest[0], rest[1], shortcut))
        rest = rest[3 if shortcut else 2 :]
    head = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(layers[-1].out, 10, 1), nn.Flatten()]
    return nn.Sequential(*conv(stem), nn.ReLU(), *blocks, *head)


def batch(layers: list[Conv], n: int) -> tuple[np.ndarray, np.ndarray]:
    x = drawn(layers[0], n)[0]
    return x, np.random.default_rng(1).integers(0, 10, n)


def initial(shapes: list[tuple]) -> list[np.ndarray]:
    """He et al.'s for filters; ones and zeros for what has one axis, a norm's scale and shift."""
    rng = np.random.default_rng(2)
    made = [rng.standard_normal(s, "f4") * np.float32((2 / np.prod(s[1:])) ** 0.5) for s in shapes]
    before = [(), *shapes]
    for i, (shape, last) in enumerate(zip(shapes, before, strict=False)):
        if len(shape) == 1:
            made[i] = np.full(shape, len(last) > 1, "f4")
    return made


def training(model: Any, optimizer: Any, losses: Any, x: Any, labels: Any) -> tuple:
    """The step that both share."""
    last: list[float] = []

    def step():
        optimizer.zero_grad()
        loss = losses.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        last[:] = [loss.item()]

    return step, lambda: last[0]


def our_net(layers: list[Conv], n: int, threads: int) -> harness.Start:
    import tensorgrad as tg

    x, labels = map(tg.tensor, batch(layers, n))

    def start():
        use(threads)
        model = network(tg.nn, layers)
        parameters = list(model.parameters())
        for p, w in zip(parameters, initial([p.shape for p in parameters]), strict=True):
            p.data = w
        sgd = tg.optim.SGD(parameters, lr=0.01, momentum=0.9)
        return training(model, sgd, tg.losses, x, labels)

    return start


def their_net(layers: list[Conv], n: int, threads: int) -> harness.Start:
    import torch

    x, labels = map(torch.tensor, batch(layers, n))

    def start():
        use(threads)
        model = network(torch.nn, layers)
        parameters = list(model.parameters())
        for p, w in zip(parameters, initial([p.shape for p in parameters]), strict=True):
            p.data = torch.tensor(w)
        sgd = torch.optim.SGD(parameters, lr=0.01, momentum=0.9, fused=True)
        return training(model, sgd, torch.nn.functional, x, labels)

    return start


def cases(tiny: bool) -> list[harness.Case]:
    nets, step, counts = NETS, NETS["ResNet-18 on 32 x 32"][:2], (1, 2)[: harness.THREADS]
    if tiny:
        nets, counts = {"tiny net": (TINY, 2, 1.0), LAST: (TINY[:2], 1, 1.5)}, (1,)
        step = resnet(Conv(3, 8, 4), 8, basic, (1, 1), (4, 8)), 2
    made = []
    for threads in counts:
        on = f"{threads} thread{'s' * (threads > 1)}"
        for name, (layers, n, goal) in nets.items():
            args = layers, n, threads, name != LAST
            contenders = {"tensorgrad": partial(ours, *args), "torch": partial(theirs, *args)}
            made.append(harness.Case(f"{name}, {on}", contenders, goal=goal))
        args = *step, threads
        contenders = {"tensorgrad": partial(our_net, *args), "torch": partial(their_net, *args)}
        name = f"training step of ResNet-18 on 32 x 32, {on}"
        made.append(harness.Case(name, contenders, goal=0.8))
    return made


if __name__ == "__main__":
    sys.exit(harness.main(__file__, cases))
