"""Optimizers and learning-rate schedules."""

from typing import TYPE_CHECKING

from ..errors import ArgumentError, suggest
from ..words import no_other_names
from . import schedules
from .algorithms import SGD, Adam, AdamW
from .base import Optimizer
from .scale import LossScale

OPTIMIZERS = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def get(optimizer: Optimizer | str) -> Optimizer:
    """The optimizer of that name with its default options, or the one given; ArgumentError for
    unknown names.

    >>> get("adam").lr
    0.001
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    name = optimizer.lower() if isinstance(optimizer, str) else None
    if name not in OPTIMIZERS:
        hint = ": make an object of it with ()" if isinstance(optimizer, type) else ""
        raise ArgumentError(
            f"optimizer {optimizer!r} is unknown{hint or ': ' + suggest(optimizer, OPTIMIZERS)}"
        )
    return OPTIMIZERS[name]()


__all__ = ["SGD", "Adam", "AdamW", "LossScale", "Optimizer", "get", "schedules"]


if not TYPE_CHECKING:  # else every name would be there for type checkers
    __getattr__ = no_other_names("optim", __all__)
