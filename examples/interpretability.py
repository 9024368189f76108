"""What a network looks at: saliency, integrated gradients, SHAP and LIME.

Saliency is the gradient of a class's score by the pixels (Simonyan et al. 2014). Integrated
gradients are the mean gradient on the way from an empty image, times the image (Sundararajan et al.
2017): they sum to the score less that of the empty image, which is checked. SHAP and LIME know
nothing of gradients and ask a model for predictions, which `predict` gives them, of a network for
the breast cancer table; they are used where they are installed.
"""

from importlib.util import find_spec

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim, train


def trained(model: nn.Module, x: np.ndarray, y: np.ndarray, epochs: int) -> nn.Module:
    model.compile(optim.Adam(lr=2e-3), loss="cross_entropy")
    model.fit(x, y, epochs=epochs, batch_size=64)
    return model.eval()


def saliency(model: nn.Module, x: tg.Tensor, label: tg.Tensor) -> tg.Tensor:
    """The gradient (n, pixels) of each image's score for its class (n,)."""

    def score(x: tg.Tensor) -> tg.Tensor:
        return tg.take_along_axis(model(x), label[:, None], axis=1).sum()

    return tg.grad(score)(x)


def integrated(model: nn.Module, x: np.ndarray, label: np.ndarray, steps: int = 32) -> np.ndarray:
    """Integrated gradients from 0, by the rule of Gauss and Legendre."""
    at, weights = np.polynomial.legendre.leggauss(steps)
    at, weights = (at + 1) / 2, weights / 2
    way = at[:, None, None] * x  # (steps, n, pixels)
    every = tg.tensor(way.reshape(-1, x.shape[1]))
    slopes = saliency(model, every, tg.tensor(np.tile(label, steps))).reshape(*way.shape)
    return np.tensordot(weights, slopes.numpy(), axes=1) * x


def run(epochs: int = 40, quantity: int = 100, seed: int = 0, picture: str | None = None) -> dict:
    (x, y), (x_test, y_test) = data.load_digits()
    model = nn.Sequential(
        nn.Dense(128, activation="gelu"), nn.Dense(128, activation="gelu"), nn.Dense(10)
    )
    trained(model, x, y, epochs)
    x_test, y_test = x_test[:quantity].astype("float64"), y_test[:quantity]
    model.astype("float64")
    parts = integrated(model, x_test, y_test)
    score = np.take_along_axis(model.predict(x_test), y_test[:, None], axis=1)[:, 0]
    score -= model.predict(np.zeros_like(x_test[:1]))[0, y_test]
    figures = {"gap": abs(parts.sum(axis=1) - score).max(), **table(seed, epochs)}
    if picture:
        slopes = saliency(model, tg.tensor(x_test), tg.tensor(y_test)).numpy()
        draw(picture, x_test, slopes, parts)
    return figures


def table(seed: int, epochs: int) -> dict:
    """Which features of the breast cancer table decide, by SHAP and by LIME."""
    from sklearn.datasets import load_breast_cancer

    cancer = load_breast_cancer()
    x = ((cancer.data - cancer.data.mean(0)) / cancer.data.std(0)).astype("float32")
    order = np.random.default_rng(seed).permutation(len(x))
    seen, new = order[100:], order[:100]
    model = nn.Sequential(nn.Dense(32, activation="relu"), nn.Dropout(0.3), nn.Dense(2))
    trained(model, x[seen], cancer.target[seen], epochs)
    figures = {"cancer": np.mean(model.predict(x[new]).argmax(axis=1) == cancer.target[new])}

    def benign(x: np.ndarray) -> np.ndarray:
        return tg.softmax(model.predict(x), axis=1).numpy()[:, 1]

    if find_spec("shap"):
        import shap

        background = x[seen[:25]]
        explained = shap.KernelExplainer(benign, background).shap_values(x[new[:5]], silent=True)
        whole = benign(x[new[:5]]) - benign(background).mean()
        figures["shap_gap"] = abs(explained.sum(axis=1) - whole).max()
    if find_spec("lime"):
        from lime.lime_tabular import LimeTabularExplainer

        explainer = LimeTabularExplainer(
            x[seen], feature_names=cancer.feature_names, random_state=seed
        )
        one = explainer.explain_instance(x[new[0]], lambda x: np.c_[1 - benign(x), benign(x)])
        figures["lime"] = one.as_list()[0][0]
    return figures


def draw(path: str, images: np.ndarray, *maps: np.ndarray, count: int = 10) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(count * 0.9, 3), layout="constrained")
    cells = figure.subplots(3, count)
    for row, name, shown in zip(
        cells, ("image", "saliency", "integrated"), (images, *maps), strict=True
    ):
        row[0].set_ylabel(name)
        for cell, one in zip(row, shown, strict=False):
            most = abs(one).max()
            colours = "gray_r" if name == "image" else "RdBu_r"
            least = 0 if name == "image" else -most
            cell.imshow(one.reshape(8, 8), cmap=colours, vmin=least, vmax=most)
            cell.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 5})
