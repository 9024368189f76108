"""Neural ODE: a network learns the law of a motion from what was seen of it.

Seen are places on paths in the plane, at times 0, 0.2, ..., 2. The network gives the velocity at a
place, and Runge-Kutta steps make a path of it; what is trained is the path, so gradients flow back
through all steps of the solver (Chen et al. 2018). The law to be found is that of an oscillator
which settles on a circle, x' = x (1 - r^2) - 2 y and y' = y (1 - r^2) + 2 x, whose paths are known
as formulas: in polar coordinates r(t) = (1 + (1 / r(0)^2 - 1) exp(-2 t))^(-1/2), and 2 t is turned.
"""

from collections.abc import Callable

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, train

TIMES = np.linspace(0, 2, 11)


def exact(start: np.ndarray, times: np.ndarray = TIMES) -> np.ndarray:
    """Paths (times, n, 2) from places (n, 2)."""
    r, angle = np.hypot(*start.T), np.arctan2(start[:, 1], start[:, 0])
    t = times[:, None]
    r, angle = (1 + (r**-2 - 1) * np.exp(-2 * t)) ** -0.5, angle + 2 * t
    return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=-1)


def path(velocity: Callable[[tg.Tensor], tg.Tensor], start: tg.Tensor, count: int) -> tg.Tensor:
    """The path (count, ..., 2) from places (..., 2) at the next times, each by a step of Runge and
    Kutta's."""
    h = TIMES[1] - TIMES[0]
    places, at = [], start
    for _ in range(count):
        a = velocity(at)
        b = velocity(at + h / 2 * a)
        c = velocity(at + h / 2 * b)
        d = velocity(at + h * c)
        at = at + h / 6 * (a + 2 * b + 2 * c + d)
        places.append(at)
    return tg.stack(places)


def starts(n: int, rng: np.random.Generator) -> np.ndarray:
    r, angle = rng.uniform(0.5, 1.5, n), rng.uniform(0, 2 * np.pi, n)
    return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)


def run(steps: int = 24, paths: int = 40, seed: int = 0, picture: str | None = None) -> dict:
    rng = np.random.default_rng(seed)
    velocity = nn.Sequential(
        nn.Dense(32, in_features=2, activation="tanh"),
        nn.Dense(32, in_features=32, activation="tanh"),
        nn.Dense(2, in_features=32),
    ).astype("float64")
    seen = exact(starts(paths, rng))

    def fit(count: int, steps: int) -> None:
        """On pieces of so many times, all of them."""
        ends = len(TIMES) - count
        start = tg.tensor(seen[:ends:count])
        wanted = np.stack([seen[i : ends + i : count] for i in range(1, count + 1)])
        optimizer = optim.LBFGS(
            velocity.parameters(),
            max_iter=100,
            tolerance_grad=1e-10,
            tolerance_change=1e-14,
            line_search_fn="strong_wolfe",
        )

        def closure() -> tg.Tensor:
            optimizer.zero_grad()
            loss = 100 * tg.square(path(velocity, start, count) - wanted).sum()
            loss.backward()
            return loss

        for _ in range(steps):
            optimizer.step(closure)

    fit(1, steps)
    fit(len(TIMES) - 1, steps // 12 + 1)

    new = exact(starts(100, rng))
    with tg.no_grad():
        made = path(velocity, tg.tensor(new[0]), len(TIMES) - 1).numpy()
    if picture:
        draw(picture, velocity, made[:, :12], new[1:, :12])
    off = made - new[1:]
    return {"error": np.sqrt(np.mean(off**2)), "worst": abs(off).max()}


def draw(name: str, velocity: nn.Module, made: np.ndarray, wanted: np.ndarray) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.subplots()
    line = np.linspace(-1.9, 1.9, 17)
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    arrows = velocity.predict(grid.reshape(-1, 2)).reshape(grid.shape)
    axes.quiver(line, line, *arrows.transpose(2, 0, 1), color="lightgray")
    axes.plot(*wanted.transpose(2, 0, 1), "k.", markersize=4)
    axes.plot(*made.transpose(2, 0, 1), linewidth=1)
    axes.set(aspect="equal", title="velocities, paths (lines) and the true ones (dots)")
    figure.savefig(name, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"steps": 2})
