"""Callbacks that write what happens: to CSV, to TensorBoard, to Weights & Biases, to MLflow."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..core import Tensor
from ..errors import ArgumentError, BackendError, ShapeError
from ..settings import gate
from ..switches import evaluating
from ..typing import Natural, PathLike
from .callbacks import Callback


class _Logger(Callback):
    """What writes somewhere: of several processes in rank 0 alone."""

    everywhere = False


def _package(what: str, name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendError(f"{what} needs {name}: pip install {name}") from error


class CSVLogger(_Logger):
    """Write the scores of each epoch as a line of a CSV file, as soon as it is over: the epoch,
    from 1, and a column for each score, empty where it was not computed. With `append`, lines are
    added to a file of the same columns. A run that is resumed goes on with its file.

    >>> model = tg.nn.Sequential(tg.nn.Dense(1)).compile("sgd", "mse")
    >>> _ = model.fit([[0.0], [1.0]], [[0.0], [2.0]], epochs=2, callbacks=CSVLogger("log.csv"))
    >>> open("log.csv").read().splitlines()[0]
    'epoch,loss'
    """

    @gate
    def __init__(self, path: PathLike, append: bool = False):
        self.path, self.append = Path(path), append
        self._columns: list[str] = []
        self._text, self._there = "", False  # what is in the file, or will be
        self._file: Any = None

    def train_begin(self, model: Any, names: list[str]) -> None:
        self._columns = ["epoch", *names]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._text = self._line(dict(zip(self._columns, self._columns, strict=True)))
        self._there = self.append and self.path.exists() and self.path.stat().st_size > 0
        if self._there:
            self._text = self.path.read_text()
            old = next(csv.reader([self._text.partition("\n")[0]]))
            if old != self._columns:
                raise ArgumentError(
                    f"CSVLogger: {self.path} has the columns {', '.join(old)}, this run has "
                    f"{', '.join(self._columns)}: give another file"
                )

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> None:
        if self._file is None:  # not before: a run that cannot begin leaves the file as it was
            self._file = self.path.open("a" if self._there else "w", newline="")
            self._file.write("" if self._there else self._text)
        line = self._line({"epoch": epoch + 1, **scores})
        self._text += line
        self._file.write(line)
        self._file.flush()

    def _line(self, row: dict[str, Any]) -> str:
        text = io.StringIO(newline="")
        made = csv.DictWriter(text, self._columns, extrasaction="ignore", lineterminator="\n")
        made.writerow(row)
        return text.getvalue()

    def train_end(self, model: Any) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def state_dict(self) -> dict[str, Any]:
        return {"text": self._text}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._text, self._there = state["text"], False  # of later epochs there may be lines


class TensorBoard(_Logger):
    """Write scores and the learning rate of each epoch for TensorBoard, by the package
    tensorboardX; look at them with `tensorboard --logdir FOLDER`.

    Args:
        folder: of the run.
        histograms: epochs from one histogram of all weights, and of the gradients of the last
            batch, to the next; 0: none.
        every: batches from one loss to the next; 0: none, as reading it waits for the device.
        images: what to show after each epoch: a function of the model that returns images by name,
            (channels, height, width) or several in (n, channels, height, width), of numbers in
            [0, 1] or bytes; channels are 1 or 3.
    Raises: BackendError where tensorboardX is not installed.

    >>> TensorBoard("run/tb", histograms=5).folder.name
    'tb'
    >>> def filters(model): return {"filters": tg.sigmoid(model[0].weight)}  # a Conv2d's
    >>> board = TensorBoard("run/tb", images=filters)
    """

    @gate
    def __init__(
        self,
        folder: PathLike,
        histograms: Natural = 0,
        every: Natural = 0,
        images: Callable[[Any], dict[str, Any]] | None = None,
    ):
        self.folder, self.histograms, self.every = Path(folder), histograms, every
        self.images = images
        self.writer: Any = None
        self._batches = 0

    def train_begin(self, model: Any, names: list[str]) -> None:
        made = _package("TensorBoard", "tensorboardX").SummaryWriter
        self.writer = made(str(self.folder))

    def batch_end(self, model: Any, batch: int, loss: Any) -> None:
        self._batches += 1
        if self.every and self._batches % self.every == 0:
            self.writer.add_scalar("batch/loss", float(loss), self._batches)

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> None:
        for name, value in scores.items():
            kind = "validation" if name.startswith("val_") else "training"
            self.writer.add_scalar(f"{kind}/{name.removeprefix('val_')}", value, epoch + 1)
        self.writer.add_scalar("learning_rate", float(model.plan.optimizer.lr), epoch + 1)
        if self.histograms and (epoch + 1) % self.histograms == 0:
            for name, p in model.named_parameters():
                self.writer.add_histogram(f"weights/{name}", p.numpy(), epoch + 1)
                if p.grad is not None:
                    self.writer.add_histogram(f"gradients/{name}", p.grad.numpy(), epoch + 1)
        if self.images is not None:
            with evaluating(model.modules()):
                made = self.images(model)
            for name, image in made.items():
                self.add_image(name, image, epoch + 1)
        self.writer.flush()

    def add_image(self, name: str, image: Any, epoch: int) -> None:
        """Write images (channels, height, width) or (n, channels, height, width) of numbers in
        [0, 1] or bytes: for callbacks of yours."""
        pixels = image.detach().numpy() if isinstance(image, Tensor) else np.asarray(image)
        if pixels.ndim not in (3, 4) or pixels.shape[-3] not in (1, 3):
            raise ShapeError(
                f"TensorBoard: image {name!r} has shape {pixels.shape}: images are (channels, "
                "height, width), or several in (n, channels, height, width), of 1 or 3 channels"
            )
        add = self.writer.add_image if pixels.ndim == 3 else self.writer.add_images
        add(name, pixels, epoch)

    def train_end(self, model: Any) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self._batches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._batches = state["batches"]


class WandB(_Logger):
    """Write the scores of each epoch to Weights & Biases, by its package wandb: to the run that is
    active, or to one that is begun with these settings and ended with training.

    Raises: BackendError where wandb is not installed.

    >>> WandB(project="digits").settings
    {'project': 'digits'}
    """

    def __init__(self, **settings: Any):
        self.settings = settings
        self._run: Any = None
        self._ours = False

    def train_begin(self, model: Any, names: list[str]) -> None:
        wandb = _package("WandB", "wandb")
        self._ours = wandb.run is None
        self._run = wandb.init(**self.settings) if self._ours else wandb.run

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> None:
        self._run.log({"epoch": epoch + 1, **scores})

    def train_end(self, model: Any) -> None:
        if self._ours and self._run is not None:
            self._run.finish()
        self._run = None


class MLflow(_Logger):
    """Write the scores of each epoch to MLflow, by its package mlflow: to the run that is active,
    or to one that is begun with these settings and ended with training.

    Raises: BackendError where mlflow is not installed.

    >>> MLflow(run_name="first").settings
    {'run_name': 'first'}
    """

    def __init__(self, **settings: Any):
        self.settings = settings
        self._mlflow: Any = None
        self._ours = False

    def train_begin(self, model: Any, names: list[str]) -> None:
        self._mlflow = _package("MLflow", "mlflow")
        self._ours = self._mlflow.active_run() is None
        if self._ours:
            self._mlflow.start_run(**self.settings)

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> None:
        self._mlflow.log_metrics(scores, step=epoch + 1)

    def train_end(self, model: Any) -> None:
        if self._ours and self._mlflow is not None:
            self._mlflow.end_run()
        self._mlflow = None
