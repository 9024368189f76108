"""What may happen between epochs."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError, suggest


class Callback:
    """Base: override `epoch_end`; return True from it to stop the training."""

    def train_begin(self, model: Any, names: list[str]) -> None:
        """Called once before the first step with the names that `scores` will have."""
        return None

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> bool | None:
        """Called after each epoch with its number, from 0, and its scores."""
        return None

    def train_end(self, model: Any) -> None:
        """Called once after the last epoch."""
        return None


class EarlyStopping(Callback):
    """Stop when `monitor` has not improved by more than `min_delta` for `patience` epochs; with
    `restore_best`, put back the weights of the best epoch."""

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ):
        self.monitor, self.patience = monitor, patience
        self.min_delta, self.restore_best = min_delta, restore_best
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.best_epoch, self.weights = -1, None

    def train_begin(self, model: Any, names: list[str]) -> None:
        self._reset()  # nothing of an earlier run may end up in this one
        if self.monitor not in names:
            hint = "give fit validation_data. " if self.monitor.startswith("val_") else ""
            raise ShapeError(
                f"EarlyStopping: {self.monitor!r} is not among the scores: {hint}"
                f"{suggest(self.monitor, names)}"
            )

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> bool | None:
        value = scores[self.monitor] * (-1 if "accuracy" in self.monitor else 1)
        if self.best is None or value < self.best - self.min_delta:
            self.best, self.best_epoch = value, epoch
            self.weights = model.get_weights() if self.restore_best else None
        return epoch - self.best_epoch >= self.patience

    def train_end(self, model: Any) -> None:
        if self.weights is not None:
            model.set_weights(self.weights)
