"""Training: compile, fit, evaluate, predict, their callbacks, history and metrics."""

from .callbacks import Callback, EarlyStopping
from .checkpoint import Checkpoint
from .loop import History

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "History"]
