"""Compression of a digits classifier: a small student, weights of zero, weights of eight bits.

Distillation trains a network of a quarter of the size on what a larger one says of each image, all
ten of its probabilities, beside the labels (Hinton, Vinyals & Dean 2015). Pruning removes the
weights that are nearest to 0, up to 90 %, in stages with training in between (Han et al. 2015).
Quantisation stores a weight as a whole number of eight bits, times a scale of its unit. Sizes are
those of compressed files, in which zeros take no space.
"""

import copy
import io
from typing import Any

import numpy as np

import tensorgrad as tg
from tensorgrad import data, losses, nn, optim, train

prune = nn.parametrize.prune


def network(channels: int, hidden: int, dropout: float = 0.3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1, activation="relu"),
        nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, activation="relu"),
        nn.Flatten(),
        nn.Linear(2 * channels * 16, hidden, activation="relu"),
        nn.Dropout(dropout),
        nn.Linear(hidden, 10),
    )


def distilled(logits: tg.Tensor, target: tuple[tg.Tensor, tg.Tensor]) -> tg.Tensor:
    """The loss of a student: of (labels, the teacher's logits), these softened by a temperature."""
    labels, teacher = target
    soft = losses.cross_entropy(logits / 4, tg.softmax(teacher / 4))
    return 0.1 * losses.cross_entropy(logits, labels) + 0.9 * 16 * soft


def trained(model: nn.Module, x: np.ndarray, y: Any, loss: Any, epochs: int) -> nn.Module:
    rate = optim.schedules.cosine(3e-3, epochs * (len(x) // 64 + 1))
    model.compile(optim.Adam(lr=rate), loss=loss)
    model.fit(x, y, epochs=epochs, batch_size=64)
    return model


def pruned(model: nn.Module, x: np.ndarray, y: np.ndarray, epochs: int) -> nn.Module:
    """A copy in which a tenth of each layer's weights is not 0."""
    model, there = copy.deepcopy(model), 1.0
    layers = [layer for layer in model.layers if hasattr(layer, "weight")]
    for share in (0.4, 0.2, 0.1):
        for layer in layers:
            nn.parametrize.prune(layer, amount=1 - share / there)  # of those that are still there
        there = share
        trained(model, x, y, "cross_entropy", epochs)
    for layer in layers:
        nn.parametrize.remove_parametrizations(layer, "weight")
    return model


def quantised(state: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights as int8, and their scales: one for each filter of a convolution, unit of a layer."""
    small = {}
    for name, w in state.items():
        small[name] = w
        if w.ndim > 1:  # no bias
            most = abs(w).max(axis=(1, 2, 3) if w.ndim == 4 else 0, keepdims=True)
            scale = np.maximum(most, 1e-12) / 127  # pruning may leave a unit nothing
            small[name], small[f"{name} scale"] = np.round(w / scale).astype("int8"), scale
    return small


def restored(small: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {n: w * small.get(f"{n} scale", 1) for n, w in small.items() if "scale" not in n}


def kilobytes(state: dict[str, Any]) -> float:
    file = io.BytesIO()
    np.savez_compressed(file, **state)
    return file.tell() / 1000


def run(epochs: int = 30, picture: str | None = None) -> dict:
    (x, y), (x_test, y_test) = ((x.reshape(-1, 1, 8, 8), y) for x, y in data.load_digits())
    whole = trained(network(16, 128), x, y, "cross_entropy", epochs)
    small = trained(network(8, 60, 0.1), x, (y, whole.predict(x)), distilled, 2 * epochs)
    sparse = pruned(whole, x, y, epochs // 2)
    models = {"whole": whole, "student": small, "pruned": sparse}
    states = {name: model.state_dict() for name, model in models.items()}
    states["int8"] = quantised(states["whole"])
    states["pruned_int8"] = quantised(states["pruned"])

    figures = {}
    for name, state in states.items():
        model = small if name == "student" else whole
        model.load_state_dict(restored(state))
        figures[name] = np.mean(model.predict(x_test).argmax(axis=1) == y_test)
        figures[f"{name}_kb"] = kilobytes(state)
    weights = [w for w in states["pruned"].values() if w.ndim > 1]
    zeros = sum(np.sum(w == 0) for w in weights) / sum(w.size for w in weights)
    if picture:
        draw(picture, figures, list(states))
    return figures | {"zeros": zeros}


def draw(path: str, figures: dict[str, float], names: list[str]) -> None:
    from matplotlib.figure import Figure

    axes = (figure := Figure(figsize=(5.5, 3.6), layout="constrained")).subplots()
    for name in names:
        axes.plot(*(at := (figures[f"{name}_kb"], figures[name])), "o")
        axes.annotate(name, at, (5, 5), textcoords="offset points")
    axes.set(xlabel="kilobytes", ylabel="accuracy", xscale="log", xlim=(14, 500), ylim=(0.94, 1))
    axes.set_xticks(ticks := [20, 50, 100, 200], [str(tick) for tick in ticks])
    axes.minorticks_off()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 4})
