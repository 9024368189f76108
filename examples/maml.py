"""Learning to learn: weights from which few points of a new curve are enough.

Curves are sines of random amplitude and phase. Weights that were trained on all of them at once
predict their mean, and from there a few steps on five points of one curve lead nowhere.
Model-agnostic meta-learning (MAML, Finn, Abbeel & Levine 2017) trains the weights for what they
become after such a step: it is part of the loss, so the loss is differentiated through a gradient.
How large the step of each weight is, is learned, too (Meta-SGD, Li et al. 2017). `tg.vmap` takes
the step for all tasks of a batch at once.
"""

from functools import partial

import numpy as np

import tensorgrad as tg
from tensorgrad import losses, nn, optim, train

Weights = dict[str, tg.Tensor]
SHOTS = 5


def tasks(count: int, points: int) -> tuple[tg.Tensor, tg.Tensor]:
    """x and y of points of `count` curves, both (count, points, 1)."""
    amplitude = tg.random.uniform(0.1, 5.0, size=(count, 1, 1))
    phase = tg.random.uniform(0.0, np.pi, size=(count, 1, 1))
    x = tg.random.uniform(-5.0, 5.0, size=(count, points, 1))
    return x, amplitude * tg.sin(x - phase)


def loss_of(model: nn.Module, weights: Weights, x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
    return losses.mean_squared_error(nn.functional_call(model, weights, x), y)


def adapted(
    model: nn.Module, weights: Weights, rates: Weights, x: tg.Tensor, y: tg.Tensor, steps: int
) -> Weights:
    """The weights after some steps of gradient descent on points of one curve."""
    for _ in range(steps):
        slopes = tg.grad(partial(loss_of, model))(weights, x, y)
        weights = {name: w - rates[name] * slopes[name] for name, w in weights.items()}
    return weights


def error_after(
    model: nn.Module, weights: Weights, rates: Weights, x: tg.Tensor, y: tg.Tensor, steps: int
) -> tg.Tensor:
    """(tasks,): the error on each curve's other points after steps on its first five."""

    def one(x: tg.Tensor, y: tg.Tensor) -> tg.Tensor:
        own = adapted(model, weights, rates, x[:SHOTS], y[:SHOTS], steps)
        return loss_of(model, own, x[SHOTS:], y[SHOTS:])

    return tg.vmap(one)(x, y)


def learned(model: nn.Module, inner: int, steps: int, batch: int) -> tuple[Weights, Weights]:
    """Weights and the rates of their steps, for what they are after `inner` steps; none of them is
    plain pretraining."""
    weights = {name: tg.tensor(p, requires_grad=True) for name, p in model.named_parameters()}
    rates = {n: tg.full(w.shape, 0.01, requires_grad=inner > 0) for n, w in weights.items()}
    trained = [*weights.values(), *(rates.values() if inner else ())]
    optimizer = optim.Adam(trained, lr=optim.schedules.cosine(1e-2, steps))
    for _ in range(steps):
        loss = error_after(model, weights, rates, *tasks(batch, SHOTS + 10), inner).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.clip_grad_norm(10.0)
        optimizer.step()
    return weights, rates


def run(steps: int = 1500, batch: int = 25, picture: str | None = None) -> dict:
    model = nn.Sequential(
        nn.Linear(1, 40, activation="tanh"), nn.Linear(40, 40, activation="tanh"), nn.Linear(40, 1)
    )
    plain, meta = (learned(model, inner, steps, batch) for inner in (0, 2))
    x, y = tasks(500, SHOTS + 50)
    with tg.no_grad():
        after = {n: error_after(model, *plain, x, y, n).mean().item() for n in (1, 5, 10)}
        error = error_after(model, *meta, x, y, 2).mean().item()
    if picture:
        draw(picture, model, {"pretrained": (plain, 10), "meta-learned": (meta, 2)})
    best = min(after.values())
    return {"pretrained": best, "maml": error, "ratio": best / error}


def draw(
    path: str, model: nn.Module, found: dict[str, tuple[tuple[Weights, Weights], int]]
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    x, y = tasks(1, 200)
    x, y = x[:, (order := tg.argsort(x[0, :, 0]))][0], y[:, order][0]
    few = slice(20, 200, 40)  # five points
    for axes, (name, ((weights, rates), last)) in zip(
        figure.subplots(1, 2, sharey=True), found.items(), strict=True
    ):
        axes.plot(x.numpy(), y.numpy(), color="lightgray", linewidth=4, label="the curve")
        axes.plot(x[few].numpy(), y[few].numpy(), "k^", label="five points")
        for steps in (0, last):
            own = adapted(model, weights, rates, x[few], y[few], steps)
            made = nn.functional_call(model, own, x).detach().numpy()
            axes.plot(x.numpy(), made, ":" if not steps else "-", label=f"after {steps} steps")
        axes.set(title=name)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"steps": 150})
