"""Generative adversarial network with gradient penalty: points like those of eight clusters.

A discriminator learns to tell real points from made ones, a generator to make points that it takes
for real. A penalty on the slope of the discriminator at real points (R1, Mescheder et al. 2018) is
what makes this game converge: `tg.grad` of the discriminator by its input is part of the loss,
which is then differentiated by the weights, a gradient of a gradient. Without it the generator
leaves clusters out, and wanders between the others.
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, train

ANGLES = np.arange(8) * 2 * np.pi / 8
CENTRES = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1).astype("float32")
DEVIATION = 0.05


def real_points(n: int) -> tg.Tensor:
    return tg.random.normal(CENTRES[tg.random.randint(8, size=n).numpy()], DEVIATION)


def network(inputs: int, outputs: int, hidden: int = 64) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden, activation="relu"),
        nn.Linear(hidden, hidden, activation="relu"),
        nn.Linear(hidden, outputs),
    )


def discriminator_loss(judge: nn.Module, real: tg.Tensor, made: tg.Tensor) -> tg.Tensor:
    def scores(x: tg.Tensor) -> tg.Tensor:
        return judge(x).sum()  # whose gradient by a point is that of its own score

    slope = tg.grad(scores)(real, create_graph=True)
    penalty = 0.05 * tg.square(slope).sum(axis=1).mean()
    return tg.softplus(-judge(real)).mean() + tg.softplus(judge(made)).mean() + penalty


def run(steps: int = 2000, batch: int = 128, picture: str | None = None) -> dict:
    generator, judge = network(4, 2), network(2, 1)
    learn_generator = optim.Adam(generator.parameters(), lr=2e-3, betas=(0.0, 0.99))
    learn_judge = optim.Adam(judge.parameters(), lr=2e-3, betas=(0.0, 0.99))
    average = optim.EMA(generator.parameters(), decay=0.99)
    for _ in range(steps):
        made = generator(tg.randn(batch, 4))
        loss = discriminator_loss(judge, real_points(batch), made.detach())
        learn_judge.zero_grad()
        loss.backward()
        learn_judge.step()

        loss = tg.softplus(-judge(made)).mean()
        learn_generator.zero_grad()
        loss.backward()
        learn_generator.step()
        average.update()

    with average:
        points = generator.predict(tg.randn(4000, 4))
    distance = tg.cdist(points, CENTRES).numpy()
    near = distance.min(axis=1) < 4 * DEVIATION
    share = np.bincount(distance.argmin(axis=1)[near], minlength=8) / len(points)
    if picture:
        draw(picture, judge, points)
    return {"modes": int((share > 0.04).sum()), "near": near.mean(), "rarest": share.min()}


def draw(path: str, judge: nn.Module, made: np.ndarray) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), layout="constrained")
    line = np.linspace(-1.5, 1.5, 100, dtype="float32")
    scores = judge.predict(np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2))
    for axes, points, title in zip(
        figure.subplots(1, 2),
        (real_points(1000).numpy(), made[:1000]),
        ("real", "made"),
        strict=True,
    ):
        axes.contourf(line, line, scores.reshape(100, 100), levels=20, cmap="Blues")
        axes.plot(*points.T, ".", color="crimson", markersize=2)
        axes.set(title=f"{title} points on the discriminator's scores", aspect="equal")
        axes.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"steps": 300})
