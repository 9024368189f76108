"""Reinforcement learning by Q-learning: a network finds the key, and then the door.

The game is a room of 5 x 5 squares with a key and a door, at other places in each round. A move
costs 0.02, the key gives 0.5, the door with the key 1; after 30 moves the round is over. The
network sees the room and gives the value of each of the four moves: its reward and those that can
follow (deep Q-learning, Mnih et al. 2015). It learns from moves that are drawn from a memory; what
follows is valued by an older copy of the network, at the move that the network itself would choose
(van Hasselt, Guez & Silver 2016).
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import losses, nn, optim, train

SIZE, LIMIT = 5, 30
MOVES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1)])


class Rooms:
    """Rounds of the game beside each other; one that is over begins anew."""

    def __init__(self, rounds: int, seed: int) -> None:
        self.rng, self.each = np.random.default_rng(seed), np.arange(rounds)
        self.me, self.key, self.door = np.zeros((3, rounds, 2), int)
        self.has_key, self.moves = np.zeros(rounds, bool), np.zeros(rounds, int)
        self.begin(self.each)

    def begin(self, which: np.ndarray) -> None:
        for i in which:
            places = self.rng.permutation(SIZE * SIZE)[:3]
            self.me[i], self.key[i], self.door[i] = np.stack(divmod(places, SIZE), axis=1)
        self.has_key[which], self.moves[which] = False, 0

    def look(self) -> np.ndarray:
        """(rounds, 3 * 25): planes of me, the key until it is found, and the door."""
        planes = np.zeros((len(self.each), 3, SIZE, SIZE), "float32")
        for plane, at in enumerate((self.me, self.key, self.door)):
            planes[self.each, plane, at[:, 0], at[:, 1]] = 1
        planes[self.has_key, 1] = 0
        return planes.reshape(len(planes), -1)

    def step(self, moves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rewards, whether the round is over, and whether by the door."""
        self.me = np.clip(self.me + MOVES[moves], 0, SIZE - 1)
        found = ~self.has_key & (self.me == self.key).all(axis=1)
        self.has_key |= found
        out = self.has_key & (self.me == self.door).all(axis=1)
        self.moves += 1
        over = out | (self.moves == LIMIT)
        self.begin(np.flatnonzero(over))
        return (0.5 * found + out - 0.02).astype("float32"), over, out


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(3 * SIZE * SIZE, 128, activation="relu"),
        nn.Linear(128, 128, activation="relu"),
        nn.Linear(128, len(MOVES)),
    )


def solved(values: nn.Module, seed: int, rounds: int = 500) -> float:
    """The share of new rooms in which the door is reached."""
    game, out, over = Rooms(rounds, seed), np.zeros(rounds, bool), np.zeros(rounds, bool)
    for _ in range(LIMIT):
        _, ended, by_door = game.step(values.predict(game.look()).argmax(axis=1))
        out |= by_door & ~over
        over |= ended
    return out.mean()


def run(updates: int = 3000, batch: int = 128, seed: int = 0, picture: str | None = None) -> dict:
    rng, game = np.random.default_rng(seed), Rooms(32, seed)
    values, older = network(), network()
    optimizer = optim.Adam(values.parameters(), lr=optim.schedules.cosine(3e-3, updates))
    curve, memory = {}, list[np.ndarray]()
    for update in range(updates):
        if update % 100 == 0:
            older.set_weights(values.get_weights())
            curve[update] = solved(values, seed + 1000, rounds=100)
        seen = game.look()
        moves = values.predict(seen).argmax(axis=1)
        dares = rng.random(len(moves)) < max(0.1, 1 - update / (0.5 * updates))
        moves = np.where(dares, rng.integers(0, len(MOVES), len(moves)), moves)
        rewards, over, _ = game.step(moves)
        step = seen, moves, rewards, over, game.look()
        memory = memory or [np.empty((40_000, *part.shape[1:]), part.dtype) for part in step]
        at = np.arange(update * 32, update * 32 + 32) % len(memory[0])
        for kept, part in zip(memory, step, strict=True):
            kept[at] = part
        drawn = rng.integers(0, min(update * 32 + 32, len(memory[0])), batch)
        seen, moves, rewards, over, after = (kept[drawn] for kept in memory)
        with tg.no_grad():
            best = values(after).argmax(axis=1, keepdims=True)
            follows = tg.take_along_axis(older(after), best, axis=1)[:, 0]
            worth = rewards + 0.9 * follows * ~over
        given = tg.take_along_axis(values(seen), moves[:, None], axis=1)[:, 0]
        loss = losses.huber(given, worth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if picture:
        draw(picture, curve)
    return {"solved": solved(values, seed + 2000), "untrained": curve[0]}


def draw(path: str, curve: dict[int, float]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*curve.items(), strict=True))
    axes.set(xlabel="update", ylabel="rooms that are solved", ylim=(0, 1))
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"updates": 1000})
