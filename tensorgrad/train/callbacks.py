"""Callbacks: hooks that `fit` calls before, between and after epochs."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from ..errors import AnomalyError, ArgumentError, suggest
from ..kernels.interrupts import uninterrupted
from ..settings import Real, gate, listed
from ..typing import Count, Natural, NonNegative, PathLike
from ..words import NAMES

HOOKS = ("train_begin", "epoch_begin", "batch_end", "epoch_end", "train_end")
Mode: TypeAlias = Literal["min", "max"] | None
Finite: TypeAlias = Annotated[float, Real()]
Shrink: TypeAlias = Annotated[float, Real(above=0, below=1)]
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

    everywhere = (
        True  # of several processes in all; else in rank 0 alone, as those that write files
    )

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

    def epoch_begin(self, model: Any, epoch: int) -> None:
        """Called before each epoch with its index, from 0."""
        return None

    def batch_end(self, model: Any, batch: int, loss: Any) -> None:
        """Called after each batch with its index in the epoch, from 0, and its loss, a tensor:
        reading it waits for the device."""
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


class Monitor(Callback):
    """Base of callbacks that follow one score.

    Args:
        monitor: its name.
        mode: "min" or "max", whether it is to shrink or to grow; None: as the metric says, which
            those of this package do.
        min_delta: by how much it must change to be better.
    Raises: ArgumentError where it is not among the scores of `fit`, and where a metric of yours
        says nothing of its direction: give `mode`, or it `higher_is_better`.
    """

    def __init__(self, monitor: str, mode: Mode, min_delta: float):
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.best: float | None = None
        self._sign = 1.0

    def follow(self, model: Any, names: list[str]) -> None:
        """Start a run whose scores have these names."""
        name, kind = self.monitor, type(self).__name__
        if name not in names:
            hint = "give fit validation_data. " if name.startswith("val_") else ""
            raise ArgumentError(
                f"{kind}: {name!r} is not among the scores: {hint}{suggest(name, names)}"
            )
        larger: bool | None = self.mode == "max"
        if self.mode is None:
            known = model.plan.directions() if getattr(model, "plan", None) else {}
            larger = known.get(name.removeprefix("val_"))
            if larger is None:
                raise ArgumentError(
                    f'{kind}: is {name!r} better when it is larger? Say mode="max" or '
                    'mode="min", or give the metric an attribute higher_is_better'
                )
        self.best, self._sign = None, -1.0 if larger else 1.0

    def improved(self, scores: dict[str, float]) -> bool | None:
        """Whether the score is the best so far; None in an epoch that has not computed it."""
        value = scores.get(self.monitor)
        if value is None:
            return None
        if math.isnan(value):
            return False
        better = self.best is None or self._sign * (value - self.best) < -self.min_delta
        if better:
            self.best = value
        return better


class EarlyStopping(Monitor):
    """Stop training when `monitor` has not improved by more than `min_delta` for `patience` epochs;
    with `restore_best`, restore the weights of the best epoch.

    Args:
        mode: whether it is to shrink or to grow; None: as the metric says.
        baseline: a value that it must be better than from the start.
    Raises: ArgumentError where `monitor` is not among the scores of `fit`, or its direction is not
        known.

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
        mode: Mode = None,
        baseline: Finite | None = None,
    ):
        super().__init__(monitor, mode, min_delta)
        self.patience, self.restore_best, self.baseline = patience, restore_best, baseline
        self._reset()

    def _reset(self) -> None:
        self.best_epoch, self.waited, self.weights = -1, 0, None

    def train_begin(self, model: Any, names: list[str]) -> None:
        self._reset()  # of an earlier run
        self.follow(model, names)
        self.best = self.baseline

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> bool | None:
        better = self.improved(scores)
        if better is None:
            return False
        if better:
            self.best_epoch, self.waited = epoch, 0
            self.weights = model.get_weights() if self.restore_best else None
            return False
        self.waited += 1
        return self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        names = ("best", "best_epoch", "waited", "weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)

    def train_end(self, model: Any) -> None:
        if self.weights is not None:
            model.set_weights(self.weights)


class ModelCheckpoint(Monitor):
    """Save the weights (`model.save`) after each epoch that is better than all before, or with
    `best_only=False` after each. In `path` a score's name and the epoch, from 1, are filled in:
    "run/{epoch:03d}-{val_loss:.3f}.safetensors". To go on with training later, `Checkpoint`.

    >>> model = tg.nn.Sequential(tg.nn.Dense(1)).compile("sgd", "mse")
    >>> save = ModelCheckpoint("best.safetensors", monitor="loss")
    >>> _ = model.fit([[0.0], [1.0]], [[0.0], [2.0]], epochs=2, callbacks=save)
    >>> model.load_weights("best.safetensors")
    Loaded(missing=[], unexpected=[])
    """

    everywhere = False

    @gate
    def __init__(
        self,
        path: PathLike,
        monitor: str = "val_loss",
        best_only: bool = True,
        mode: Mode = None,
        min_delta: NonNegative = 0.0,
    ):
        super().__init__(monitor, mode, min_delta)
        self.path, self.best_only = os.fspath(path), best_only

    def train_begin(self, model: Any, names: list[str]) -> None:
        if self.best_only:
            self.follow(model, names)
        try:
            self.path.format(epoch=1, **dict.fromkeys(names, 0.0))
        except (KeyError, ValueError, IndexError) as error:
            raise ArgumentError(
                f"ModelCheckpoint: {self.path!r} cannot be filled in from epoch, "
                f"{', '.join(names)}: {error}"
            ) from None

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> bool | None:
        if not self.best_only or self.improved(scores):
            path = Path(self.path.format(epoch=epoch + 1, **scores))
            path.parent.mkdir(parents=True, exist_ok=True)
            model.save(path)
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch to that of a function of (epoch, rate now). By step,
    schedules of `optim.schedules` are given to the optimizer as its `lr`.

    >>> model = tg.nn.Sequential(tg.nn.Dense(1)).compile(tg.optim.SGD(lr=1.0), "mse")
    >>> halve = LearningRateScheduler(lambda epoch, lr: lr / 2)
    >>> _ = model.fit([[0.0], [1.0]], [[0.0], [2.0]], epochs=2, callbacks=halve)
    >>> model.plan.optimizer.lr
    0.25
    """

    @gate
    def __init__(self, schedule: Callable[[int, float], float]):
        self.schedule = schedule

    def epoch_begin(self, model: Any, epoch: int) -> None:
        optimizer = model.plan.optimizer
        optimizer.lr = float(self.schedule(epoch, optimizer.lr))


class ReduceLROnPlateau(Monitor):
    """Multiply the learning rate by `factor` when `monitor` has not improved for `patience` epochs,
    down to `least`.

    >>> model = tg.nn.Sequential(tg.nn.Dense(1)).compile(tg.optim.SGD(lr=0.0), "mse")
    >>> model.plan.optimizer.lr = 1e-9
    >>> lower = ReduceLROnPlateau("loss", patience=1, min_delta=0.1)
    >>> _ = model.fit([[0.0], [1.0]], [[0.0], [2.0]], epochs=3, callbacks=lower)
    >>> round(model.plan.optimizer.lr / 1e-9, 6)
    0.01
    """

    @gate
    def __init__(
        self,
        monitor: str = "val_loss",
        factor: Shrink = 0.1,
        patience: Count = 10,
        min_delta: NonNegative = 1e-4,
        least: NonNegative = 0.0,
        mode: Mode = None,
    ):
        super().__init__(monitor, mode, min_delta)
        self.factor, self.patience, self.least, self.waited = factor, patience, least, 0

    def train_begin(self, model: Any, names: list[str]) -> None:
        self.waited = 0
        self.follow(model, names)

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> bool | None:
        better = self.improved(scores)
        if better is None:
            return None
        self.waited = 0 if better else self.waited + 1
        if self.waited >= self.patience:
            self.waited = 0
            optimizer = model.plan.optimizer
            optimizer.lr = max(self.least, optimizer.lr * self.factor)
        return None

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state)


class TerminateOnNaN(Callback):
    """Stop training at the first batch whose loss is NaN or infinite, with an error that names it.
    It reads the loss of each batch, which waits for the device.

    Raises: AnomalyError, which `fit` passes on.

    >>> model = tg.nn.Sequential(tg.nn.Dense(1)).compile(tg.optim.SGD(lr=1e30), "mse")
    >>> try: model.fit([[1e4]], [[0.0]], epochs=9, callbacks=TerminateOnNaN())
    ... except tg.AnomalyError as error: print(str(error)[:24])
    the loss of batch 1 is i
    """

    def batch_end(self, model: Any, batch: int, loss: Any) -> None:
        value = float(loss)
        if not math.isfinite(value):
            raise AnomalyError(
                f"the loss of batch {batch + 1} is {value}: a lower learning rate, clipped "
                "gradients or scaled inputs may help; detect_anomaly finds the op"
            )


class Each(Callback):
    """A function of (epoch, scores) as a callback: it is called after each epoch, and stops
    training where it returns True."""

    def __init__(self, function: Callable[[int, dict[str, float]], Any]):
        self.function = function

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> bool | None:
        return self.function(epoch, scores) is True


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
    hooked = [hasattr(c, "epoch_end") or isinstance(c, type) or not callable(c) for c in found]
    found = [c if ours else Each(c) for c, ours in zip(found, hooked, strict=True)]
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
