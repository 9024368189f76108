"""Handwritten digits, by a dense network with dropout and early stopping.

Dropout leaves out a random half of the hidden units at each step, so that none may rely on another
(Srivastava et al. 2014). Training ends when the accuracy on images held out for that has not
improved for a while, and the weights of the best epoch come back: the test images decide nothing.
"""

import tensorgrad as tg
from tensorgrad import nn, train


def network() -> nn.Sequential:
    """Images (n, 64) -> logits (n, 10)."""
    return nn.Sequential(
        nn.Dense(256, activation="relu"),
        nn.Dropout(0.5),
        nn.Dense(256, activation="relu"),
        nn.Dropout(0.5),
        nn.Dense(10),
    )


def run(epochs: int = 150, patience: int = 25, seed: int = 0, picture: str | None = None) -> dict:
    (x, y), (x_test, y_test) = tg.data.load_digits(seed=seed)
    model = network()
    model.compile(tg.optim.AdamW(lr=2e-3), loss="cross_entropy", metrics=["accuracy"])
    past = model.fit(
        x,
        y,
        epochs=epochs,
        batch_size=64,
        validation_split=0.1,  # of the training images, the last tenth
        callbacks=train.EarlyStopping("val_accuracy", patience=patience),
    )
    if picture:
        past.plot(picture)
    return {"accuracy": model.evaluate(x_test, y_test)["accuracy"], "epochs": past.epochs}


if __name__ == "__main__":
    train.experiment(run, quick={"epochs": 10})
