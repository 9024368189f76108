"""Optimizers and learning-rate schedules."""

from typing import Any

from ..errors import ArgumentError, suggest
from . import schedules
from .algorithms import SGD, Adam, AdamW
from .base import Optimizer
from .scale import LossScale

OPTIMIZERS = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def get(optimizer: Any) -> Optimizer:
    """An optimizer from itself or its name; ArgumentError for unknown names."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    name = optimizer.lower() if isinstance(optimizer, str) else optimizer
    if name not in OPTIMIZERS:
        raise ArgumentError(f"optimizer {optimizer!r} is unknown: {suggest(optimizer, OPTIMIZERS)}")
    return OPTIMIZERS[name]()


__all__ = ["SGD", "Adam", "AdamW", "LossScale", "Optimizer", "get", "schedules"]
