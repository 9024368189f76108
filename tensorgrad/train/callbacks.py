"""Callbacks: hooks that `fit` calls before, between and after epochs."""

from __future__ import annotations

import inspect
import re
from typing import Any

from ..errors import ArgumentError, suggest
from ..kernels.interrupts import uninterrupted
from ..settings import gate, listed
from ..typing import Natural, NonNegative
from ..words import NAMES

HOOKS = ("train_begin", "epoch_end", "train_end")
_LIKE_A_HOOK = re.compile(
    r"(on_)?(train|test|val|validation|predict|fit|epoch|batch|step)(_\w+)?_(begin|start|end)"
)


class Callback:
    """Base class of callbacks: override `epoch_end`, and return True from it to stop training.

    Raises: ArgumentError when a subclass defines a hook that does not exist, such as
        `on_epoch_end`, which would never be called.

    >>> class Print(Callback):
    ...     def epoch_end(self, model, epoch, scores): print(epoch, sorted(scores))
    >>> model = tg.nn.Sequential(tg.nn.Dense(1)).compile("sgd", "mse")
    >>> _ = model.fit([[0.0], [1.0]], [[0.0], [2.0]], epochs=2, verbose=0, callbacks=Print())
    0 ['loss']
    1 ['loss']
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, value in vars(cls).items():
            like = callable(value) and name not in HOOKS and _LIKE_A_HOOK.fullmatch(name)
            if like and not hasattr(Callback, name):
                ours = NAMES["callback"].get(name, f"one of {', '.join(HOOKS)}")
                raise ArgumentError(f"{cls.__name__}.{name} is never called: write {ours}")

    def train_begin(self, model: Any, names: list[str]) -> None:
        """Called once before the first step, with the names of the scores."""
        return None

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> bool | None:
        """Called after each epoch with its index, from 0, and its scores by name."""
        return None

    def train_end(self, model: Any) -> None:
        """Called once after the last epoch; also where an error or Ctrl-C ends training, if
        `train_begin` had been through."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """What the callback has counted so far, for a checkpoint: numbers, text and arrays."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there; called after `train_begin` where a run is resumed."""
        return None


class EarlyStopping(Callback):
    """Stop training when `monitor` has not improved by more than `min_delta` for `patience` epochs;
    with `restore_best`, restore the weights of the best epoch. Accuracies are maximised, other
    scores minimised.

    Raises: ArgumentError where `monitor` is not among the scores of `fit`.

    >>> model = tg.nn.Sequential(tg.nn.Dense(1)).compile(tg.optim.SGD(lr=0.0), "mse")
    >>> stop = EarlyStopping("loss", patience=2)
    >>> x, y = [[0.0], [1.0]], [[0.0], [2.0]]
    >>> model.fit(x, y, epochs=9, verbose=0, shuffle=False, callbacks=stop).epochs
    3
    """

    @gate
    def __init__(
        self,
        monitor: str = "val_loss",
        patience: Natural = 5,
        min_delta: NonNegative = 0.0,
        restore_best: bool = True,
    ):
        self.monitor, self.patience = monitor, patience
        self.min_delta, self.restore_best = min_delta, restore_best
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.best_epoch, self.weights = -1, None

    def train_begin(self, model: Any, names: list[str]) -> None:
        self._reset()  # of an earlier run
        if self.monitor not in names:
            hint = "give fit validation_data. " if self.monitor.startswith("val_") else ""
            raise ArgumentError(
                f"EarlyStopping: {self.monitor!r} is not among the scores: {hint}"
                f"{suggest(self.monitor, names)}"
            )

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> bool | None:
        value = scores[self.monitor] * (-1 if "accuracy" in self.monitor else 1)
        if self.best is None or value < self.best - self.min_delta:
            self.best, self.best_epoch = value, epoch
            self.weights = model.get_weights() if self.restore_best else None
        return epoch - self.best_epoch >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch, self.weights = (
            state["best"],
            state["best_epoch"],
            state["weights"],
        )

    def train_end(self, model: Any) -> None:
        if self.weights is not None:
            model.set_weights(self.weights)


def end(begun: list[Any], model: Any, error: BaseException | None = None) -> None:
    """Call the `train_end` of the callbacks in the list, and take them off it: all, whatever one of
    them raises. That is raised afterwards, or noted on the `error` that ended training."""
    first = error
    with uninterrupted():
        while begun:
            callback = begun.pop(0)
            try:
                callback.train_end(model)
            except BaseException as other:
                if first is None:
                    first = other
                else:
                    first.add_note(f"{type(callback).__name__}.train_end then raised {other!r}")
    if first is not None and first is not error:
        raise first


def checked(callbacks: Any) -> list[Any]:
    """The callbacks given to `fit`, one or several, as a list; ArgumentError for objects without
    the hooks, and for hooks with another signature."""
    if callbacks is None:
        return []
    several = listed(callbacks) and not isinstance(callbacks, (Callback, type))
    found = list(callbacks) if several else [callbacks]
    for c in found:
        if isinstance(c, type) or not all(hasattr(c, hook) for hook in HOOKS):
            hint = ": make an object of it with ()" if isinstance(c, type) else ""
            raise ArgumentError(f"fit: callbacks are objects of train.Callback, got {c!r}{hint}")
        for hook in HOOKS:
            takes = inspect.signature(getattr(Callback, hook)).parameters
            try:
                inspect.signature(getattr(c, hook)).bind(*list(takes)[1:])
            except TypeError:
                raise ArgumentError(
                    f"{type(c).__name__}.{hook} is called with other arguments than it takes: "
                    f"write {hook}({', '.join(takes)})"
                ) from None
    return found
