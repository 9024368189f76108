"""Speech is written down, by CTC and by a transducer (RNN-T), from spectrograms.

The program speaks itself: a word is two to six of ten sounds, each a pair of tones that glide, at
its own tempo and loudness, in noise. Nobody says where a sound begins. CTC (Graves et al. 2006)
sums over all ways to lay the sounds along the steps, each step by itself. The transducer (Graves
2012) also knows which sounds it has written so far. One encoder, an LSTM in both directions, serves
both.
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import losses, nn, optim, train

SOUNDS, BANDS, FRAMES, MOST = 10, 16, 64, 6  # sound 0 is the blank
GLIDES = np.random.default_rng(1).uniform(0, BANDS - 1, (SOUNDS + 1, 2, 2))  # tone, from and to


def speak(rng: np.random.Generator, n: int) -> tuple[np.ndarray, ...]:
    """n spectrograms (n, steps, 2 * BANDS) of two frames a step, their steps (n,), the sounds
    (n, MOST), and how many of each (n,)."""
    frames = rng.normal(0, 0.25, (n, FRAMES, BANDS))
    count, ends = rng.integers(2, MOST + 1, n), np.empty(n, "int64")
    sounds = np.where(np.arange(MOST) < count[:, None], rng.integers(1, SOUNDS + 1, (n, MOST)), 0)
    for i in range(n):
        at = rng.integers(0, 4)
        for sound in sounds[i, : count[i]]:
            length = rng.integers(5, 9)
            along = np.linspace(0, 1, length)[:, None]
            for start, end in GLIDES[sound]:
                tone = start + (end - start) * along
                frames[i, at : at + length] += np.exp(-((np.arange(BANDS) - tone) ** 2) / 2)
            frames[i, at : at + length] *= rng.uniform(0.7, 1.3)
            at += length + rng.integers(0, 3)
        ends[i] = (at + 1) // 2
    pairs = frames.reshape(n, FRAMES // 2, 2 * BANDS).astype("float32")
    return pairs, ends, sounds, count


class Recogniser(nn.Module):
    """An encoder, the head of CTC, and the transducer's predictor and joint network."""

    def __init__(self, width: int = 64) -> None:
        self.encoder = nn.LSTM(2 * BANDS, width, batch_first=True, bidirectional=True)
        self.ctc = nn.Linear(2 * width, SOUNDS + 1)
        self.heard = nn.Linear(2 * width, width)
        self.embed = nn.Embedding(SOUNDS + 1, width)
        self.predictor = nn.LSTM(width, width, batch_first=True)
        self.joint = nn.Linear(width, SOUNDS + 1)

    def loss(self, x: np.ndarray, steps: np.ndarray, y: np.ndarray, count: np.ndarray) -> tg.Tensor:
        h, _ = self.encoder(x, lengths=steps)
        before = np.pad(y, ((0, 0), (1, 0)))  # what was written before each sound, blank at first
        written, _ = self.predictor(self.embed(before))
        lattice = self.joint(tg.tanh(self.heard(h)[:, :, None] + written[:, None]))
        one = losses.ctc(self.ctc(h).swapaxes(0, 1), y, steps, count)
        return one + losses.transducer(lattice, y, steps, count) / MOST

    def by_ctc(self, h: tg.Tensor) -> list[int]:
        """The most likely path of (steps, 2 * width), without repetitions and blanks."""
        path = self.ctc(h).argmax(axis=-1).numpy()
        return [int(b) for a, b in zip([0, *path], path, strict=False) if b != a and b != 0]

    def by_transducer(self, h: tg.Tensor) -> list[int]:
        """At each step the most likely sounds, until a blank goes on to the next."""
        made: list[int] = []
        written, state = self.predictor(self.embed([[0]]))
        for heard in self.heard(h):
            while len(made) < 2 * MOST:
                new = int(self.joint(tg.tanh(heard + written[0, 0])).argmax().item())
                if new == 0:
                    break
                made.append(new)
                written, state = self.predictor(self.embed([[new]]), state)
        return made


def run(steps: int = 900, seed: int = 0, picture: str | None = None) -> dict:
    rng = np.random.default_rng(seed)
    model = Recogniser()
    rate = optim.schedules.one_cycle(5e-3, steps)
    optimizer = optim.AdamW(model.parameters(), lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        model.loss(*speak(rng, 32)).backward()
        optimizer.clip_grad_norm(1.0)
        optimizer.step()
    x, ends, sounds, count = speak(rng, 200)
    wrong = np.zeros(2, dtype="int64")
    with tg.no_grad():
        h, _ = model.encoder(x, lengths=ends)
        for i, true in enumerate(sounds):
            made = model.by_ctc(h[i, : ends[i]]), model.by_transducer(h[i, : ends[i]])
            wrong += [train.metrics.edit_distance(m, true[: count[i]].tolist()) for m in made]
    if picture:
        p = tg.softmax(model.ctc(h[0, : ends[0]]), axis=-1).numpy()
        draw(picture, x[0, : ends[0]], p, sounds[0, : count[0]])
    errors = wrong / count.sum()
    return {"ctc_error": errors[0], "transducer_error": errors[1]}


def draw(path: str, x: np.ndarray, p: np.ndarray, sounds: np.ndarray) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    above, below = figure.subplots(2, 1)
    above.imshow(x.reshape(-1, BANDS).T, aspect="auto", origin="lower", cmap="magma")
    above.set(title=f"the sounds {' '.join(map(str, sounds))}", ylabel="band", xlabel="frame")
    below.plot(p[:, 0], color="lightgray", label="blank")
    for sound in dict.fromkeys(sounds.tolist()):
        below.plot(p[:, sound], label=str(sound))
    below.set(ylabel="probability by CTC", xlabel="step", xlim=(-0.5, len(p) - 0.5))
    below.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"steps": 60})
