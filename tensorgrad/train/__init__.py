"""Training: compile, fit, evaluate, predict, their callbacks, history and metrics."""

from .callbacks import Callback, EarlyStopping
from .loop import History

__all__ = ["Callback", "EarlyStopping", "History"]
