"""Physics-informed network: it solves Burgers' equation without ever seeing the solution.

u_t + u u_x = 0.1 u_xx is solved by a network u(x, t) whose derivatives by its inputs are part of
the loss, at points anywhere in the domain (Raissi, Perdikaris & Karniadakis 2019). Beside the
equation it is told the values at the first moment and at both ends. `tg.grad` of `tg.grad` gives
u_xx, and the loss is differentiated once more, by the weights. The problem has a solution to
compare with, a wave that travels: (1 - tanh((x - t / 2) / 0.4)) / 2.
"""

from collections.abc import Callable

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, train

VISCOSITY = 0.1
Field = Callable[[tg.Tensor, tg.Tensor], tg.Tensor]  # of x and t, (n,) each


def exact(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    return (1 - np.tanh((x - t / 2) / (4 * VISCOSITY))) / 2


def derivative(f: Field, argument: int) -> Field:
    """Of each value by its own point: that of their sum. `create_graph` has it depend on the
    weights of the network, too."""
    slope = tg.grad(lambda *at: f(*at).sum(), argument)
    return lambda *at: slope(*at, create_graph=True)


def residual(u: Field, x: tg.Tensor, t: tg.Tensor) -> tg.Tensor:
    """By how much u fails the equation."""
    u_x, u_t = derivative(u, 0), derivative(u, 1)
    u_xx = derivative(u_x, 0)
    return u_t(x, t) + u(x, t) * u_x(x, t) - VISCOSITY * u_xx(x, t)


def run(steps: int = 10, points: int = 300, seed: int = 0, picture: str | None = None) -> dict:
    model = nn.Sequential(
        nn.Dense(20, in_features=2, activation="tanh"),
        nn.Dense(20, in_features=20, activation="tanh"),
        nn.Dense(1, in_features=20),
    ).astype("float64")

    def u(x: tg.Tensor, t: tg.Tensor) -> tg.Tensor:
        return model(tg.stack([x, t], axis=1))[:, 0]

    rng = np.random.default_rng(seed)
    x, t = tg.tensor(rng.uniform(-1, 1, points)), tg.tensor(rng.uniform(0, 1, points))
    line, zeros, ones = np.linspace(-1, 1, 50), np.zeros(50), np.ones(50)
    edge_x = np.concatenate([line, -ones, ones])
    edge_t = np.concatenate([zeros, (line + 1) / 2, (line + 1) / 2])
    edge, edge_u = (tg.tensor(edge_x), tg.tensor(edge_t)), exact(edge_x, edge_t)

    optimizer = optim.LBFGS(model.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def closure() -> tg.Tensor:
        optimizer.zero_grad()
        loss = tg.square(residual(u, x, t)).mean() + tg.square(u(*edge) - edge_u).mean()
        loss.backward()
        return loss

    curve = [optimizer.step(closure).item() for _ in range(steps)]
    grid = [a.ravel() for a in np.meshgrid(np.linspace(-1, 1, 101), np.linspace(0, 1, 51))]
    made = u(*map(tg.tensor, grid)).detach().numpy()
    if picture:
        draw(picture, made.reshape(51, 101), exact(*grid).reshape(51, 101))
    return {"error": abs(made - exact(*grid)).max(), "loss": curve[-1]}


def draw(path: str, made: np.ndarray, wanted: np.ndarray) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    line = np.linspace(-1, 1, 101)
    for moment in (0, 25, 50):
        left.plot(line, wanted[moment], "k:", label="exact" if moment == 0 else None)
        left.plot(line, made[moment], label=f"t = {moment / 50}")
    left.set(xlabel="x", title="u(x, t)")
    left.legend(frameon=False)
    shown = right.imshow(
        abs(made - wanted), origin="lower", extent=[-1, 1, 0, 1], aspect="auto", cmap="Reds"
    )
    right.set(xlabel="x", ylabel="t", title="error")
    figure.colorbar(shown, ax=right)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"steps": 2})
