"""Optimizers and learning-rate schedules."""

from typing import TYPE_CHECKING

from ..errors import ArgumentError, suggest
from ..words import no_other_names
from . import schedules
from .adaptive import Adam, Adamax, AdamW, NAdam, RAdam, SparseAdam
from .averaging import EMA, Lookahead
from .base import Optimizer
from .clipping import clip_grad_norm_, clip_grad_value_
from .descent import ASGD, SGD, Adadelta, Adagrad, Lion, RMSprop, Rprop
from .lbfgs import LBFGS
from .scale import LossScale
from .structured import LAMB, Adafactor, Muon

_CLASSES = (SGD, ASGD, Rprop, Lion, Adagrad, Adadelta, RMSprop, Adam, AdamW, Adamax, NAdam, RAdam,
            SparseAdam, Adafactor, LAMB, Muon)  # fmt: skip
OPTIMIZERS: dict[str, type[Optimizer]] = {cls.__name__.lower(): cls for cls in _CLASSES}


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


__all__ = [
    "ASGD",
    "EMA",
    "LAMB",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Lookahead",
    "LossScale",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "SparseAdam",
    "clip_grad_norm_",
    "clip_grad_value_",
    "get",
    "schedules",
]


if not TYPE_CHECKING:  # else every name would be there for type checkers
    __getattr__ = no_other_names("optim", __all__)
