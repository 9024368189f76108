"""Variational autoencoder of handwritten digits, with two latent numbers (Kingma & Welling 2014).

An encoder gives each image a normal distribution over the plane, a decoder makes an image of a
point of the plane. Both are trained together to make the bound on log p(x) large, the ELBO: how
well an image comes back from a point drawn from its own distribution, less the divergence of that
from the standard normal distribution. `tg.random.normal` is differentiable by its mean and
deviation. The picture shows where the test images lie in the plane, by class, and what the decoder
makes of a grid of points.
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import data, losses, nn, optim, train


class VAE(nn.Module):
    """Images (n, pixels) -> logits of the pixels of their reconstructions, mean and log variance of
    their points."""

    def __init__(self, pixels: int = 64, hidden: int = 128, latent: int = 2) -> None:
        self.encoder = nn.Sequential(
            nn.Dense(hidden, activation="tanh"),
            nn.Dense(hidden, activation="tanh"),
            nn.Dense(2 * latent),
        )
        self.decoder = nn.Sequential(
            nn.Dense(hidden, activation="tanh"),
            nn.Dense(hidden, activation="tanh"),
            nn.Dense(pixels),
        )

    def forward(self, x: tg.Tensor) -> tuple[tg.Tensor, tg.Tensor, tg.Tensor]:
        mean, log_var = tg.split(self.encoder(x), 2, axis=-1)
        z = tg.random.normal(mean, tg.exp(log_var / 2))
        return self.decoder(z), mean, log_var


def negative_elbo(outputs: tuple[tg.Tensor, ...], x: tg.Tensor) -> tg.Tensor:
    """In nats per image; pixels in [0, 1] are probabilities of ink."""
    logits, mean, log_var = outputs
    pixels = losses.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(-1).mean()
    return pixels + losses.kl_normal(mean, log_var)


def run(epochs: int = 100, picture: str | None = None) -> dict:
    (x, _), (x_test, y_test) = data.load_digits()
    model = VAE().compile(
        optim.Adam(lr=optim.schedules.cosine(2e-3, epochs * 23)), loss=negative_elbo
    )
    past = model.fit(x, x, epochs=epochs, batch_size=64)
    if picture:
        draw(picture, model, x_test, y_test)
    return {"elbo": -model.evaluate(x_test, x_test)["loss"], "elbo_train": -past.losses[-1]}


def draw(path: str, model: VAE, images: np.ndarray, labels: np.ndarray) -> None:
    from matplotlib.figure import Figure

    _, mean, _ = model.predict(images)
    line = np.linspace(-2.5, 2.5, 14, dtype="float32")
    points = np.stack(np.meshgrid(line, line[::-1]), axis=-1)  # the second number grows upwards
    made = tg.sigmoid(model.decoder(points)).reshape(14, 14, 8, 8)
    made = tg.pad(made, ((0, 0), (0, 0), (1, 1), (1, 1))).transpose(0, 2, 1, 3).reshape(140, 140)
    figure = Figure(figsize=(11, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    dots = left.scatter(*mean.T, c=labels, cmap="tab10", s=14)
    left.set(title="test images in the plane", aspect="equal")
    figure.colorbar(dots, ax=left, ticks=range(10))
    right.imshow(made.numpy(), cmap="gray_r", extent=[-2.5, 2.5] * 2)
    right.set(title="what the decoder makes of the plane")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 10})
