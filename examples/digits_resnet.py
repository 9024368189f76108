"""Handwritten digits, by a residual network with batch normalisation (He et al. 2016).

A block adds to its input what two convolutions make of it; where the image gets smaller, a
convolution of one pixel brings the input to the new shape. `BatchNorm` keeps each channel at mean 0
and variance 1, by the batch's statistics in training and by running ones afterwards.
"""

from tensorgrad import data, nn, optim, train


def block(channels: int, stride: int = 1) -> nn.Module:
    """relu(x + f(x)), or, with fewer pixels, relu(g(x) + f(x))."""
    shortcut = None if stride == 1 else nn.Conv(channels, 1, stride=stride, bias=False)
    branch = nn.Residual(
        nn.Conv(channels, 3, stride=stride, padding=1, bias=False),
        nn.BatchNorm(),
        nn.ReLU(),
        nn.Conv(channels, 3, padding=1, bias=False),
        nn.BatchNorm(),
        shortcut=shortcut,
    )
    return nn.Sequential(branch, nn.ReLU())


def resnet() -> nn.Sequential:
    """Images (n, 64) -> logits (n, 10)."""
    return nn.Sequential(
        nn.Reshape((1, 8, 8)),
        nn.Conv(32, 3, padding=1, bias=False),
        nn.BatchNorm(),
        nn.ReLU(),
        block(32),
        block(64, stride=2),
        block(64),
        nn.GlobalAvgPool(),
        nn.Dense(10),
    )


def run(epochs: int = 20, seed: int = 0, picture: str | None = None) -> dict:
    (x, y), (x_test, y_test) = data.load_digits(seed=seed)
    model = resnet()
    rate = optim.schedules.one_cycle(0.1, epochs * 23)
    sgd = optim.SGD(lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4)
    model.compile(sgd, loss="cross_entropy", metrics=["accuracy"])
    past = model.fit(x, y, epochs=epochs, batch_size=64, validation_data=(x_test, y_test))
    if picture:
        past.plot(picture)
    return {"accuracy": past.history["val_accuracy"][-1], "loss": past.history["loss"][-1]}


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 2})
