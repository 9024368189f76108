"""`python -m tensorgrad train`: train a classifier of handwritten digits and show predictions."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .. import backend, data, nn, optim, randomness


def train_digits(
    epochs: int = 30, batch_size: int = 64, seed: int = 0, picture: str = "digits.png"
) -> dict[str, Any]:
    """Train a perceptron with dropout on scikit-learn's 1,797 images of 8 x 8 pixels, split 80/20.

    Prints loss, test accuracy and throughput, and writes a PNG of the loss curve and of a few
    predictions to `picture`. Returns the numbers printed. Needs scikit-learn and matplotlib.
    """
    randomness.seed(seed)
    (x_train, y_train), (x_test, y_test) = data.load_digits()
    model = nn.Sequential(
        [
            nn.Dense(256, activation="relu"),
            nn.Dropout(0.3),
            nn.Dense(128, activation="relu"),
            nn.Dropout(0.3),
            nn.Dense(10),
        ]
    )
    model.compile(optimizer=optim.Adam(lr=2e-3), loss="cross_entropy", metrics=["accuracy"])
    print(f"training on {backend.default().name}: {len(x_train)} images, {epochs} epochs")
    start = time.perf_counter()
    history = model.fit(
        x_train,
        y_train,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=(x_test, y_test),
        verbose=1,
    ).history
    seconds = time.perf_counter() - start
    scores = model.evaluate(x_test, y_test, verbose=0)
    result = {
        "loss": history["loss"][-1],
        "test_loss": scores["loss"],
        "accuracy": scores["accuracy"],
        "images_per_second": epochs * len(x_train) / seconds,
    }
    draw(picture, history, x_test, y_test, model.predict(x_test).argmax(axis=1))
    print(
        f"loss {result['loss']:.4f}, test loss {result['test_loss']:.4f}, "
        f"test accuracy {result['accuracy']:.4f}, {result['images_per_second']:,.0f} images/s"
    )
    print(f"loss curve and predictions: {picture}")
    return result


def draw(
    picture: str,
    history: dict[str, list[float]],
    images: np.ndarray,
    labels: np.ndarray,
    predicted: np.ndarray,
) -> None:
    """Write the loss curve, and 24 test images with their predictions: misclassified ones first, in
    red."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2)  # type: ignore[misc]
    axes = left.subplots()
    axes.plot(history["loss"], label="training")
    axes.plot(history["val_loss"], label="test")
    axes.set(xlabel="epoch", ylabel="cross-entropy", yscale="log", title="loss")
    axes.legend()
    order = np.argsort(predicted == labels, kind="stable")[:24]
    cells: Any = right.subplots(4, 6)
    for cell, i in zip(cells.flat, order, strict=True):
        cell.imshow(np.asarray(images[i]).reshape(8, 8), cmap="gray_r")
        cell.set_axis_off()
        wrong = predicted[i] != labels[i]
        text = f"{predicted[i]}, is {labels[i]}" if wrong else f"{predicted[i]}"
        cell.set_title(text, color="crimson" if wrong else "black", fontsize=9)
    figure.savefig(picture, dpi=120)
