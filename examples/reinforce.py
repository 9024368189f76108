"""Reinforcement learning by policy gradients: REINFORCE with a baseline balances a pole.

A cart is pushed to the left or to the right so that the pole on it does not fall for 500 steps. A
policy network gives the probabilities of both; what was done becomes more probable by as much as
the rewards that followed were better than a second network, the baseline, expected (Williams 1992).
The game is the class below, many carts at once. Where `gymnasium` is installed the policy then
plays its CartPole-v1, which counts as solved from a mean of 475 steps on, too.
"""

from importlib.util import find_spec

import numpy as np

import tensorgrad as tg
from tensorgrad import losses, nn, optim, train


class CartPole:
    """Carts beside each other (Barto, Sutton & Anderson 1983). Seen are the place and speed of the
    cart, the angle and speed of the pole, (carts, 4)."""

    steps = 500

    def __init__(self, carts: int, rng: np.random.Generator) -> None:
        self.state = rng.uniform(-0.05, 0.05, (carts, 4))

    def push(self, right: np.ndarray) -> np.ndarray:
        """A fiftieth of a second with a force on each cart; returns which poles still stand."""
        _, speed, angle, turning = self.state.T
        force, sin, cos = np.where(right, 10.0, -10.0), np.sin(angle), np.cos(angle)
        push = (force + 0.05 * turning**2 * sin) / 1.1  # by the mass of both
        swing = (9.8 * sin - cos * push) / (0.5 * (4 / 3 - 0.1 * cos**2 / 1.1))
        change = speed, push - 0.05 * swing * cos / 1.1, turning, swing
        self.state = self.state + 0.02 * np.stack(change, axis=1)
        return (abs(self.state[:, 0]) < 2.4) & (abs(self.state[:, 2]) < np.pi / 15)


def play(policy: nn.Module, carts: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Games until all poles have fallen: what was seen, what was done, and whether the pole still
    stood, all (steps, carts, ...)."""
    game, stands = CartPole(carts, rng), np.ones(carts, bool)
    steps: list[tuple] = []
    while stands.any() and len(steps) < game.steps:
        seen = game.state.astype("float32")
        with tg.no_grad():
            right = tg.random.categorical(policy(seen)).numpy()
        steps.append((seen, right, stands))
        stands = stands & game.push(right)
    return tuple(np.stack(part) for part in zip(*steps, strict=True))


def in_gymnasium(policy: nn.Module, seed: int, carts: int = 20) -> float:
    """The mean number of steps in Gymnasium's game."""
    import gymnasium

    game = gymnasium.make_vec("CartPole-v1", num_envs=carts)
    (seen, _), stands, steps = game.reset(seed=seed), np.ones(carts, bool), 0
    while stands.any():
        steps += stands.sum()
        seen, _, fell, enough, _ = game.step(policy.predict(seen).argmax(axis=1))
        stands &= ~(fell | enough)
    return steps / carts


def run(updates: int = 100, carts: int = 16, seed: int = 0, picture: str | None = None) -> dict:
    rng = np.random.default_rng(seed)
    policy = nn.Sequential(nn.Linear(4, 64, activation="tanh"), nn.Linear(64, 2))
    baseline = nn.Sequential(nn.Linear(4, 64, activation="tanh"), nn.Linear(64, 1))
    optimizer = optim.Adam([*policy.parameters(), *baseline.parameters()], lr=1e-2)
    curve: list[float] = []
    while len(curve) < updates and np.mean(curve[-4:] or 0) < 490:
        seen, done, stands = play(policy, carts, rng)
        curve.append(stands.sum() / carts)
        rewards = np.zeros(stands.shape, "float32")  # a step gives 1; those that follow, less
        for t in reversed(range(len(stands))):
            rewards[t] = stands[t] + 0.99 * (rewards[t + 1] if t + 1 < len(stands) else 0)
        seen, done, rewards = seen[stands], done[stands], rewards[stands]
        expected = baseline(seen)[:, 0]
        better = rewards - expected.detach().numpy()
        better = (better - better.mean()) / better.std()
        surprise = losses.cross_entropy(policy(seen), done, reduction="none")
        loss = (surprise * better).mean() + losses.huber(expected, rewards)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    figures = {"steps": play(policy, 100, rng)[2].sum() / 100, "updates": len(curve)}
    if find_spec("gymnasium"):
        figures["gymnasium"] = in_gymnasium(policy, seed)
    if picture:
        draw(picture, curve)
    return figures


def draw(path: str, curve: list[float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve)
    axes.axhline(CartPole.steps, color="gray", linestyle=":")
    axes.set(xlabel="update", ylabel="steps until the pole falls", ylim=(0, None))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"updates": 25})
