"""`fit` beside the loop that one writes by hand, and the loader beside PyTorch's.

Four epochs of a small convolutional net on scikit-learn's digits: our `fit`, the same loop of ours
by hand, and PyTorch's with its fused optimizer. Then an epoch of a data set that decodes and
augments images (PNG by Pillow, a turn, a crop), with no worker process and with two; the latter
beside two bare processes that do the same and hand nothing over, which is what the machine can
give. Then an epoch of 120 steps, some seconds, in which a checkpoint of 22 MB is saved once, by a
thread and before the next step.
"""

from __future__ import annotations

import io
import multiprocessing
import sys
import tempfile
from functools import partial
from typing import Any

import harness
import numpy as np

BATCH = 32
EPOCHS = 4  # of the net, in one call
ROWS = 1437  # of an epoch of the net
IMAGES = 256  # and of the loader's
harness.SLOW = 30.0  # epochs last seconds, and a hundredth of one is looked at: all rounds


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (1, 8, 8) and their classes."""
    import tensorgrad as tg

    (x, y), _ = tg.data.load_digits()
    return x[:ROWS].reshape(-1, 1, 8, 8), y[:ROWS]


def initial(tg: Any) -> Any:
    tg.seed(0)
    nn = tg.nn
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dense(64, 512, activation="relu"),
        nn.Dense(10, 64),
    )
    return model


def fit() -> harness.Start:
    """Epochs of `fit`."""
    import tensorgrad as tg

    x, y = digits()

    def start():
        model = initial(tg).compile(tg.optim.Adam(lr=1e-3), "cross_entropy")
        last: list[float] = []

        def step():
            options = {"epochs": EPOCHS, "batch_size": BATCH, "shuffle": False, "verbose": 0}
            last[:] = model.fit(x, y, **options).losses

        return step, lambda: last[-1]

    return start


def by_hand() -> harness.Start:
    """The same epochs, as a loop of one's own."""
    import tensorgrad as tg

    x, y = digits()

    def start():
        model = initial(tg)
        optimizer = tg.optim.Adam(model.parameters(), lr=1e-3)
        last: list[float] = []

        def step():
            for _ in range(EPOCHS):
                total = 0.0
                for xb, yb in tg.data.DataLoader((x, y), batch_size=BATCH):
                    loss = tg.losses.cross_entropy(model(xb), yb)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    total += loss.item() * len(xb)
                last[:] = [total / len(x)]

        return step, lambda: last[0]

    return start


def torch_loop() -> harness.Start:
    """The same epochs in PyTorch."""
    import torch
    from torch import nn
    from torch.nn.functional import cross_entropy
    from torch.utils.data import DataLoader, TensorDataset

    import tensorgrad as tg

    torch.set_num_threads(harness.THREADS)
    x, y = digits()
    ours = [w.copy() for w in initial(tg).get_weights()]

    def start():
        model = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )
        with torch.no_grad():
            for p, w in zip(model.parameters(), ours, strict=True):
                p.copy_(torch.tensor(w.T if w.ndim == 2 else w))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
        loader = DataLoader(TensorDataset(torch.tensor(x), torch.tensor(y)), BATCH)
        last: list[float] = []

        def step():
            for _ in range(EPOCHS):
                total = 0.0
                for xb, yb in loader:
                    loss = cross_entropy(model(xb), yb)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    total += loss.item() * len(xb)
                last[:] = [total / len(x)]

        return step, lambda: last[0]

    return start


class Images:
    """PNG images in memory, which are decoded, turned and cut out when they are read."""

    def __init__(self, size: int = 192):
        from PIL import Image

        rng, self.files = np.random.default_rng(0), []
        for _ in range(IMAGES):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 255, (size, size, 3), np.uint8)).save(file, "png")
            self.files.append(file.getvalue())

    def __len__(self) -> int:
        return IMAGES

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        from PIL import Image

        image = Image.open(io.BytesIO(self.files[i])).rotate(i % 30, Image.Resampling.BICUBIC)
        pixels = np.asarray(image.resize((128, 128)), np.float32) / 255
        return np.ascontiguousarray(pixels[8:120, 8:120].transpose(2, 0, 1)), i


def reading(loader: Any) -> harness.Start:
    """An epoch of a loader; the sum of the pixels is compared."""

    def start():
        last: list[float] = []

        def step():
            last[:] = [sum(float(np.asarray(x).sum(dtype="float64")) for x, _ in loader)]

        return step, lambda: last[0]

    return start


def ours(workers: int) -> harness.Start:
    from tensorgrad.data import DataLoader

    return reading(DataLoader(Images(), batch_size=8, workers=workers))


def theirs(workers: int) -> harness.Start:
    from torch.utils.data import DataLoader

    return reading(DataLoader(Images(), batch_size=8, num_workers=workers))


def bare(processes: int) -> harness.Start:
    """The same by processes that keep what they have read."""
    images, context = Images(), multiprocessing.get_context("fork")

    def start():
        last: list[float] = []

        def step():
            found = context.SimpleQueue()

            def read(first: int) -> None:
                starts = range(8 * first, IMAGES, 8 * processes)
                batches = (np.stack([images[i][0] for i in range(at, at + 8)]) for at in starts)
                found.put(sum(float(x.sum(dtype="float64")) for x in batches))

            started = [context.Process(target=read, args=(k,)) for k in range(processes)]
            for process in started:
                process.start()
            last[:] = [sum(found.get() for _ in started)]
            for process in started:
                process.join()

        return step, lambda: last[0]

    return start


def saving(how: dict[str, Any] | None, steps: int) -> harness.Start:
    """An epoch of a dense net of 1.9 million parameters with Adam; `how`: a Checkpoint is saved."""
    import tensorgrad as tg

    nn, rng = tg.nn, np.random.default_rng(0)
    x = rng.normal(size=(128 * steps, 784)).astype("float32")
    y = rng.integers(0, 10, len(x))
    every = max(1, steps * 2 // 3)  # not in the last steps, which its end would wait for

    def start():
        tg.seed(0)
        layers = [nn.Dense(1024, 784, activation="relu"), nn.Dense(1024, 1024, activation="relu")]
        model = nn.Sequential([*layers, nn.Dense(10, 1024)])
        model.compile(tg.optim.Adam(lr=1e-3), "cross_entropy")
        last: list[float] = []

        def step():
            with tempfile.TemporaryDirectory() as folder:
                calls = () if how is None else tg.train.Checkpoint(folder, every=every, **how)
                last[:] = model.fit(x, y, batch_size=128, shuffle=False, callbacks=calls).losses

        return step, lambda: last[0]

    return start


def cases(tiny: bool) -> list[harness.Case]:
    """The epoch of a net, that of a loader with and without workers, and one with checkpoints."""
    global ROWS, IMAGES
    if tiny:
        ROWS, IMAGES = 3 * BATCH, 16
    epoch = harness.Case(
        f"{EPOCHS} epochs of a CNN on digits",
        {"tensorgrad": fit, "by hand": by_hand, "torch": torch_loop},
        unit="ms per epoch",
        scale=1e3 / EPOCHS,
        baselines=("torch", "by hand"),
        goal=1.05,
    )
    loaders = [
        harness.Case(
            f"decode and augment {IMAGES} images, {workers} workers",
            {
                "one process": partial(ours, 0),
                "tensorgrad": partial(ours, workers),
                "torch": partial(theirs, workers),
                **({"bare processes": partial(bare, workers)} if workers else {}),
            },
            unit="ms per epoch",
            baselines=("one process", "torch"),
            goal=1.0,
        )
        for workers in ((1,) if tiny else (0, 2))
    ]
    ways = {"none": None, "tensorgrad": {"asynchronous": True}, "waited for": {}}
    saves = harness.Case(
        "an epoch with a checkpoint of 22 MB",
        {name: partial(saving, how, 3 if tiny else 120) for name, how in ways.items()},
        unit="ms per epoch",
        baselines=("none",),
        goal=1.02,
    )
    return [epoch, *loaders, saves]


if __name__ == "__main__":
    sys.exit(harness.main("training_loop", cases))
