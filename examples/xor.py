"""XOR with a `Sequential` model and Adam.

Articles train three sigmoid units for 1000 steps at Adam's default rate of 0.001: far too little,
the loss is still near 0.2 and the four answers are rarely right. At a rate of 0.1 four such units
solve it from most starting points; the others end in a local minimum of loss 0.125, where two of
the inputs get the same answer of 0.5. Eight tanh units and cross-entropy, whose gradient does not
vanish where an answer is wrong and sure, have solved it from every seed tried.
"""

import numpy as np

from tensorgrad import nn, optim, train

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1.0]])
Y = np.array([[0], [1], [1], [0.0]])


def trained(units: int, activation: str, loss: str, rate: float, epochs: int) -> nn.Sequential:
    model = nn.Sequential(
        nn.Dense(units, activation=activation),
        nn.Dense(1, activation="sigmoid"),
    )
    model.compile(optimizer=optim.Adam(lr=rate), loss=loss)
    model.fit(X, Y, epochs=epochs)
    print(f"{units} {activation} units, rate {rate}: {model.predict(X).ravel().round(3)}")
    return model


def run(epochs: int = 500, picture: str | None = None) -> dict:
    articles = trained(3, "sigmoid", "mse", rate=0.001, epochs=1000)
    model = trained(8, "tanh", "binary_cross_entropy", rate=0.05, epochs=epochs)
    if picture:
        draw(picture, {"the articles', 1000 steps": articles, f"here, {epochs} steps": model})
    answers = model.predict(X)
    return {
        "loss": np.mean((answers - Y) ** 2),
        "right": int((answers.round() == Y).sum()),
        "articles_loss": np.mean((articles.predict(X) - Y) ** 2),
    }


def draw(path: str, models: dict[str, nn.Sequential]) -> None:
    """The answers to all that lies between and around the four inputs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 3.8), layout="constrained")
    line = np.linspace(-0.5, 1.5, 80)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    cells = figure.subplots(1, 2)
    for axes, (name, model) in zip(cells, models.items(), strict=True):
        answers = model.predict(grid).reshape(80, 80)
        shown = axes.contourf(line, line, answers, np.linspace(0, 1, 11), cmap="RdBu_r")
        axes.scatter(*X.T, c=Y, cmap="RdBu_r", edgecolors="black", s=90)
        axes.set(title=name, aspect="equal", xticks=[0, 1], yticks=[0, 1])
    figure.colorbar(shown, ax=cells, label="answer")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run)
