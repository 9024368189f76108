"""Denoising autoencoder: a convolutional network takes noise out of handwritten digits.

It sees images with noise that is drawn anew each time, and is trained to give the clean ones
(Vincent et al. 2008). How clean its images are is said in decibels, -10 log10 of the mean squared
error, beside the noisy images and beside the best linear map of the noisy pixels, by least
squares.
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim, train


def noisy(sample: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(clean, clean) -> (noisy, clean)"""
    x, y = sample
    return x + data.rng().normal(0, 0.3, x.shape).astype("float32"), y


def decibels(x: np.ndarray, clean: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((x - clean) ** 2)))


def linear(x: np.ndarray, clean: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """The test images by the linear map that is the best for the training images."""
    x, clean, x_test = (a.reshape(len(a), -1) for a in (x, clean, x_test))
    weights = tg.linalg.lstsq(np.c_[x, np.ones(len(x))], clean)[0]
    return np.c_[x_test, np.ones(len(x_test))] @ weights.numpy()


def run(epochs: int = 20, picture: str | None = None) -> dict:
    (x, _), (x_test, _) = ((x.reshape(-1, 1, 8, 8), y) for x, y in data.load_digits())
    pairs = data.DataLoader((x, x), batch_size=64, shuffle=True, transform=noisy)
    model = nn.Sequential(
        nn.Conv(32, 3, padding="same", activation="relu"),
        nn.Conv(64, 3, stride=2, padding=1, activation="relu"),  # 4 x 4
        nn.Conv(64, 3, padding="same", activation="relu"),
        nn.Upsample(scale_factor=2),
        nn.Conv(32, 3, padding="same", activation="relu"),
        nn.Conv(1, 3, padding="same", activation="sigmoid"),
    )
    rate = optim.schedules.cosine(2e-3, epochs * len(pairs))
    model.compile(optim.Adam(lr=rate), loss="mse")
    model.fit(pairs, epochs=epochs)

    seen, _ = noisy((x_test, x_test))
    train_seen, _ = noisy((x, x))
    made = model.predict(seen)
    by_line = linear(train_seen, x, seen).reshape(x_test.shape)
    if picture:
        draw(picture, {"clean": x_test, "noisy": seen, "linear": by_line, "network": made})
    return {
        "noisy_db": decibels(seen, x_test),
        "linear_db": decibels(by_line, x_test),
        "network_db": decibels(made, x_test),
    }


def draw(path: str, images: dict[str, np.ndarray], count: int = 12) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(count * 0.8, len(images) * 0.85), layout="constrained")
    rows = figure.subplots(len(images), count)
    for cells, (name, row) in zip(rows, images.items(), strict=True):
        cells[0].set_ylabel(name)
        for cell, image in zip(cells, row, strict=False):
            cell.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
            cell.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 3})
