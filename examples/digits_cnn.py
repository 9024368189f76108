"""Handwritten digits, by a convolutional network on images that are never twice the same.

Each time that a training image is read it is turned by some degrees, made a little larger or
smaller, and moved by up to a pixel: so 1,437 images are enough for a network with 100,000 weights.
The picture shows what the network is trained on, and which test images it gets wrong.
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim, train
from tensorgrad.data import transforms


def cnn() -> nn.Sequential:
    """Images (n, 1, 8, 8) -> logits (n, 10)."""
    return nn.Sequential(
        nn.Conv(32, 3, padding="same", activation="relu"),
        nn.Conv(32, 3, padding="same", activation="relu"),
        nn.MaxPool2d(2),
        nn.Conv(64, 3, padding="same", activation="relu"),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Dense(64, activation="relu"),
        nn.Dropout(0.4),
        nn.Dense(10),
    )


augment = transforms.OnInput(
    transforms.Compose(transforms.Rotate(12, zoom=0.1), transforms.Crop(8, padding=1))
)


def run(epochs: int = 30, seed: int = 0, picture: str | None = None) -> dict:
    (x, y), (x_test, y_test) = data.load_digits(seed=seed)
    x, x_test = x.reshape(-1, 1, 8, 8), x_test.reshape(-1, 1, 8, 8)
    loader = data.DataLoader((x, y), batch_size=64, shuffle=True, transform=augment)
    rate = optim.schedules.one_cycle(4e-3, epochs * len(loader))
    model = cnn().compile(optim.AdamW(lr=rate), loss="cross_entropy", metrics=["accuracy"])
    model.fit(loader, epochs=epochs)
    if picture:
        draw(picture, next(iter(loader))[0].numpy(), x_test, y_test, model.predict(x_test))
    return {"accuracy": model.evaluate(x_test, y_test)["accuracy"]}


def draw(path: str, seen: np.ndarray, x: np.ndarray, y: np.ndarray, logits: np.ndarray) -> None:
    from matplotlib.figure import Figure

    chosen = logits.argmax(axis=1)
    p = tg.softmax(logits, axis=1).numpy()
    doubtful = np.argsort(p[np.arange(len(y)), y])[:24]  # the right class is least likely here
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = np.asarray(figure.subfigures(1, 2))
    left.suptitle("read in training")
    right.suptitle("the hardest test images")
    for cell, image in zip(left.subplots(4, 6).flat, seen, strict=False):
        cell.imshow(image[0], cmap="gray_r")
        cell.set_axis_off()
    for cell, i in zip(right.subplots(4, 6).flat, doubtful, strict=True):
        cell.imshow(x[i, 0], cmap="gray_r")
        cell.set_axis_off()
        wrong = chosen[i] != y[i]
        text = f"{chosen[i]}, is {y[i]}" if wrong else f"{y[i]}: {p[i, y[i]]:.0%}"
        cell.set_title(text, color="crimson" if wrong else "black", fontsize=9)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 5})
