"""Training: compile, fit, evaluate, predict, and what watches them."""

from .callbacks import Callback, EarlyStopping
from .loop import History

__all__ = ["Callback", "EarlyStopping", "History"]
