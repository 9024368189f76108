"""Diffusion model of handwritten digits: images of noise, in forty steps.

A network sees an image with noise, is told how much of it there is, and learns to say what the
image is without (Ho, Jain & Abbeel 2020, who have it say the noise). Images are then made from
nothing but noise: at each step the noise that the network sees is replaced by less of it (DDIM,
Song, Meng & Ermon 2021). It is told the class of an image, too, and so makes digits on demand.
What it makes is judged by the nearest training image: whether that is of the wanted class, and how
far it is, beside the test images' distance. Far below 1 they would be copies.
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim, train

PIXELS, CLASSES = 64, 10


def share(t: tg.Tensor) -> tg.Tensor:
    """Of the variance at time t, from 0 to 1: what is the image's, and not noise."""
    return tg.cos(t * (0.99 * np.pi / 2)) ** 2


class Diffusion(nn.Module):
    def __init__(self, width: int = 128, blocks: int = 3) -> None:
        self.frequencies = 2.0 ** np.arange(6, dtype="float32")
        self.time, self.label = nn.Dense(width), nn.Embedding(CLASSES, width)
        self.first, self.last = nn.Dense(width), nn.Dense(PIXELS)
        self.blocks = [
            nn.Residual(nn.LayerNorm(width), nn.Dense(width, activation="silu"), nn.Dense(width))
            for _ in range(blocks)
        ]

    def clean(self, x: tg.Tensor, t: tg.Tensor, label: tg.Tensor) -> tg.Tensor:
        """Images (n, pixels) at times t, (n, 1), of classes (n,), without their noise."""
        waves = tg.concatenate([f(t * self.frequencies) for f in (tg.sin, tg.cos)], axis=1)
        told = self.time(waves) + self.label(label)
        h = self.first(x)
        for block in self.blocks:
            h = block(h + told)
        return self.last(h)

    def forward(self, x: tg.Tensor, label: tg.Tensor) -> tg.Tensor:
        """Noise is added to the images, and taken away again."""
        t = tg.rand(len(x), 1)
        seen = tg.sqrt(share(t)) * x + tg.sqrt(1 - share(t)) * tg.randn(*x.shape)
        return self.clean(seen, t, label)


@tg.no_grad()
def images(model: Diffusion, label: np.ndarray, steps: int = 40) -> np.ndarray:
    """Images of these classes, (n,), as they come about: (steps + 1, n, pixels)."""
    x = tg.randn(len(label), PIXELS)
    seen = [x.numpy()]
    for i in range(steps, 0, -1):
        now, then = share(tg.tensor(i / steps)), share(tg.tensor((i - 1) / steps))
        clean = model.clean(x, tg.full((len(label), 1), i / steps), tg.tensor(label))
        noise = (x - tg.sqrt(now) * clean) / tg.sqrt(1 - now)
        x = tg.sqrt(then) * clean + tg.sqrt(1 - then) * noise
        seen.append(x.numpy())
    return np.stack(seen)


def run(epochs: int = 120, picture: str | None = None) -> dict:
    (x, y), (x_test, _) = data.load_digits()
    x, x_test = 2 * x - 1, 2 * x_test - 1
    model = Diffusion()
    rate = optim.schedules.cosine(3e-3, epochs * (len(x) // 128 + 1))
    model.compile(optim.Adam(lr=rate), loss="mse")
    past = model.fit((x, y), x, epochs=epochs, batch_size=128)

    label = np.arange(500) % CLASSES
    seen = images(model, label)
    distance = tg.cdist(seen[-1], x).numpy()
    usual = tg.cdist(x_test, x).numpy().min(axis=1).mean()
    if picture:
        draw(picture, seen)
    return {
        "loss": np.mean(past.losses[-epochs // 10 :]),
        "wanted": np.mean(y[distance.argmin(axis=1)] == label),
        "distance": distance.min(axis=1).mean() / usual,
    }


def draw(path: str, seen: np.ndarray) -> None:
    """A row for each class: on the left how one image comes about, on the right others."""
    from matplotlib.figure import Figure

    rows = []
    for digit in range(CLASSES):
        way = seen[np.linspace(0, len(seen) - 1, 9).astype(int), digit]
        others = seen[-1, digit + CLASSES :: CLASSES][:10]
        cells = np.concatenate([way, np.full((1, PIXELS), -1.0), others]).reshape(-1, 8, 8)
        rows.append(np.pad(cells, ((0, 0), (1, 1), (1, 1)), constant_values=-1))
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    axes = figure.subplots()
    whole = np.array(rows).transpose(0, 2, 1, 3).reshape(CLASSES * 10, -1)
    axes.imshow(whole, cmap="gray_r", vmin=-1, vmax=1)
    axes.set_axis_off()
    axes.set_title("from noise to a digit, and others of its class")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 40})
