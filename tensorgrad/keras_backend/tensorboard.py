"""A TensorBoard callback for Keras's models. Keras's own writes by TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras.src.backend import convert_to_numpy
from keras.src.callbacks import Callback

from ..train.loggers import _package


class TensorBoard(Callback):
    """Write what `fit` says for TensorBoard, by the package tensorboardX, with Keras's folders and
    names: `epoch_loss` in `log_dir/train` and `log_dir/validation`, `epoch_learning_rate`.

    Args:
        log_dir: the folder of the run.
        histogram_freq: epochs from one histogram of all weights to the next; 0: none.
        update_freq: "epoch"; "batch", or batches from one `batch_loss` to the next, whose reading
            waits for the device.
    Raises: BackendError where tensorboardX is not installed.
    """

    def __init__(
        self, log_dir: Any = "logs", histogram_freq: int = 0, update_freq: str | int = "epoch"
    ):
        super().__init__()
        self.folder, self.histograms = Path(log_dir), histogram_freq
        names: dict[str | int, str | int] = {"epoch": 0, "batch": 1}
        every = names.get(update_freq, update_freq)
        if not isinstance(every, int):
            raise ValueError(
                f'update_freq is "epoch", "batch" or a number of batches, got {update_freq!r}'
            )
        self.every = every
        self._writers: dict[str, Any] = {}
        self._batches = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin the files."""
        made = _package("TensorBoard", "tensorboardX").SummaryWriter
        self._writers = {n: made(str(self.folder / n)) for n in ("train", "validation")}

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Scores of a batch."""
        self._batches += 1
        if self.every and self._batches % self.every == 0:
            for name, value in (logs or {}).items():
                self._add("train", f"batch_{name}", value, self._batches)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Scores of an epoch, learning rate, weights."""
        for name, value in (logs or {}).items():
            held = name.startswith("val_")
            told = f"epoch_{name.removeprefix('val_')}"
            self._add("validation" if held else "train", told, value, epoch)
        rate = self.model.optimizer.learning_rate
        self._add("train", "epoch_learning_rate", rate, epoch)
        if self.histograms and epoch % self.histograms == 0:
            for v in self.model.weights:
                self._writers["train"].add_histogram(v.path, convert_to_numpy(v), epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """End the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _add(self, to: str, name: str, value: Any, step: int) -> None:
        self._writers[to].add_scalar(name, float(convert_to_numpy(value)), step)
