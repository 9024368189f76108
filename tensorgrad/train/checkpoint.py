"""Checkpoints: all that a run needs to go on as if it had never stopped."""

from __future__ import annotations

import atexit
import copy
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .. import files
from ..data.randomness import of_others, set_others
from ..distributed.exchange import average_buffers
from ..distributed.ranks import world
from ..errors import ArgumentError, FileError, TensorgradError
from ..files.disk import Lock, swept
from ..randomness import get_state, set_state
from ..settings import gate, shown
from ..typing import Count, PathLike
from .callbacks import Callback

VERSION = 1
_NAME = re.compile(r"checkpoint-(\d{8})\.safetensors")


class Checkpoint(Callback):
    """Saves a run in a folder, so that it can be stopped anywhere and resumed exactly:
    `fit(x, y, callbacks=[Checkpoint("run/")], resume="auto")` goes on from the last checkpoint
    there, and its parameters are, bit for bit, those of a run that was never stopped.

    Each is one file, `checkpoint-00000001.safetensors`, that is written whole or not at all: the
    parameters and buffers, the optimizer, the random generators (ours, and the global ones of
    Python, NumPy and PyTorch), the place in the data, what other callbacks have counted (their
    `state_dict`), the scores so far. No file can run code.

    Args:
        folder: of the run, which one process writes to at a time.
        keep: how many checkpoints stay there, the newest ones.
        every: steps from one to the next; None: one after each epoch.
        asynchronous: whether a thread writes the file while training goes on. What is saved is
            copied before, so that it takes that much memory more; a next save waits for the last
            one. An error of a write is raised by the next save, or at the end of training. Killed
            at any moment, the run goes on from the last whole file.
        parts: what a loop of your own saves, by name, and `restore` restores: anything with
            `state_dict` and `load_state_dict`, such as a model, an optimizer, a DataLoader, a
            LossScale. (`fit` gives its own, and saves these besides.)
    Raises: FileError where the folder cannot be written, or another process writes to it.

    >>> model = tg.nn.Sequential(tg.nn.Dense(1, 1)).compile("adam", "mse")
    >>> x, y = [[0.0], [1.0]], [[0.0], [2.0]]
    >>> for epochs in (1, 3):  # the second time for two epochs more
    ...     past = model.fit(x, y, epochs=epochs, callbacks=Checkpoint("run"), resume="auto")
    >>> past.epochs
    3
    """

    @gate
    def __init__(
        self,
        folder: PathLike,
        keep: Count = 3,
        every: Count | None = None,
        asynchronous: bool = False,
        **parts: Any,
    ):
        self.folder, self.keep, self.every = Path(folder), keep, every
        self._writer = _Writer() if asynchronous else None
        for name, part in parts.items():
            _check_part(name, part)
        self.parts = parts
        self._lock: Lock | None = None

    # --- for loops of your own ---

    def save(self, **values: Any) -> Path:
        """Write a checkpoint of the parts, the random generators, and of values (numbers, text,
        tensors) that `restore` returns; the oldest ones are removed. Returns its path, which an
        asynchronous one has once `checkpoints` or `close` returns.

        >>> w = tg.Parameter([3.0]); sgd = tg.optim.SGD([w], lr=0.5)
        >>> Checkpoint("mine", optimizer=sgd).save(epoch=7).name
        'checkpoint-00000001.safetensors'
        """
        return self._write({name: _state(part) for name, part in self.parts.items()}, values)

    def restore(self) -> dict[str, Any] | None:
        """Restore the parts and the random generators from the newest checkpoint, all of them or
        none. Returns the values that it was saved with, or None where there is no checkpoint.

        Raises: FileError for one that is damaged, of other parts, or of a newer version.
        """
        if not (found := self.checkpoints()):
            self._locked()
            return None
        return self._read(found[-1], self.parts)

    def checkpoints(self) -> list[Path]:
        """The files in the folder, the oldest first, after what is still being written."""
        if self._writer is not None:
            self._writer.wait()
        if not self.folder.is_dir():
            return []
        return sorted(p for p in self.folder.iterdir() if _NAME.fullmatch(p.name))

    def close(self) -> None:
        """Let other processes write to the folder; the end of the process does, too. Raises what
        went wrong with the last asynchronous save."""
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
            if self._lock is not None:
                self._lock.release()
                self._lock = None

    def _locked(self) -> None:
        if self._lock is None and not world().rank:
            self._lock = Lock(self.folder)
            swept(self.folder)

    def _write(self, states: dict[str, Any], values: dict[str, Any]) -> Path:
        self._locked()
        old = self.checkpoints()
        if world().rank:  # rank 0 writes
            return self.folder
        number = int(_NAME.fullmatch(old[-1].name)[1]) + 1 if old else 1  # type: ignore[index]
        path = self.folder / f"checkpoint-{number:08}.safetensors"
        head = {"checkpoint": VERSION, "random": get_state(), "others": of_others()}

        def write(values: dict[str, Any]) -> None:
            files.save({**head, "parts": states, "values": values}, path)
            for left in old[: len(old) + 1 - self.keep]:
                left.unlink(missing_ok=True)

        if self._writer is None:
            write(values)
        else:
            self._writer.start(write, copy.deepcopy(values))
        return path

    def _read(self, path: Path, parts: dict[str, Any]) -> dict[str, Any]:
        self._locked()
        saved = files.load(path, backend="numpy", mapped=True)
        if not isinstance(saved, dict) or "checkpoint" not in saved:
            raise FileError(f"{path} is no checkpoint")
        if saved["checkpoint"] > VERSION:
            raise FileError(
                f"{path} is in version {saved['checkpoint']} of checkpoints, this tensorgrad reads "
                f"up to {VERSION}: update it"
            )
        if {*saved["parts"]} != {*parts}:
            raise FileError(
                f"{path} holds {_listed(saved['parts'])}, and {_listed(parts)} are to be restored: "
                "it is of another run"
            )
        before = {name: _state(part) for name, part in parts.items()}
        drawn, done = of_others(), ""
        try:
            for name, part in parts.items():
                done = name
                _restored(part, saved["parts"][name])
            set_others(saved.get("others", drawn))
            set_state(saved["random"])
        except (TensorgradError, KeyError, TypeError, ValueError, AttributeError) as error:
            set_others(drawn)
            for name, state in before.items():
                _restored(parts[name], state)
                if name == done:
                    break
            raise FileError(f"{path} is a checkpoint of another {done}: {error}") from error
        return saved["values"]  # type: ignore[no-any-return]

    # --- within fit ---

    def train_begin(self, model: Any, names: list[str]) -> None:
        self._locked()

    def train_end(self, model: Any) -> None:
        self.close()


def _check_part(name: str, part: Any) -> None:
    if not (hasattr(part, "state_dict") and hasattr(part, "load_state_dict")):
        raise ArgumentError(
            f"Checkpoint: {name}={shown(part)} has no state_dict and load_state_dict; numbers and "
            "text are given to save()"
        )


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "nothing"


class _Writer:
    """Writes one thing after the other in a thread of its own."""

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    def start(self, write: Callable[[Any], None], given: Any) -> None:
        """Call write(given) there, after what it does now."""
        self.wait()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "checkpoint")
            atexit.register(self.close)  # so that no error is lost
        self._last = self._thread.submit(write, given)

    def wait(self) -> None:
        """Wait until it is done, and raise what went wrong."""
        if self._last is not None:
            try:
                self._last.result()
            finally:  # after Ctrl-C it may go on
                if self._last.done():
                    self._last = None

    def close(self) -> None:
        """Wait, and end the thread."""
        try:
            self.wait()
        finally:
            if self._thread is not None:
                self._thread.shutdown()
                self._thread = None
                atexit.unregister(self.close)


def _state(part: Any) -> Any:
    """What a checkpoint holds of a part, in memory of its own."""
    state = part.state_dict()
    if hasattr(part, "named_parameters"):  # which of them are trained is state, too
        frozen = [name for name, p in part.named_parameters() if not p.requires_grad]
        return {"weights": state, "frozen": frozen}
    if hasattr(part, "groups") and hasattr(part, "schedule"):  # an optimizer
        ended = part.schedule is None and all(g["schedule"] is None for g in part.groups)
        return {"optimizer": state, "fixed_lr": ended}
    return copy.deepcopy(state)  # as it may go on changing


def _restored(part: Any, state: Any) -> None:
    if hasattr(part, "named_parameters"):
        part.load_state_dict(state["weights"])
        for name, p in part.named_parameters():
            if p.requires_grad != (name not in state["frozen"]):
                p.requires_grad = name not in state["frozen"]
    elif hasattr(part, "groups") and hasattr(part, "schedule"):
        if state["fixed_lr"]:
            part.lr = part.lr  # ends a schedule that had been ended
        part.load_state_dict(state["optimizer"])
    else:
        part.load_state_dict(state)


class Run:
    """A run of `fit`, as a checkpoint sees it: its parts, and how far it is."""

    def __init__(
        self,
        model: Any,
        plan: Any,
        loader: Any,
        history: Any,
        callbacks: list[Any],
        scale: Any = None,
    ):
        self.loader, self.history, self.callbacks = loader, history, callbacks
        rank = world().rank
        self.called = [c for c in callbacks if not rank or getattr(c, "everywhere", True)]
        self.model = model
        self.keepers = [c for c in callbacks if isinstance(c, Checkpoint)]
        self.parts = {"model": model, "optimizer": plan.optimizer}
        for i, output in enumerate(plan.outputs):
            if hasattr(output.loss, "state_dict"):
                self.parts[f"loss{i or ''}"] = output.loss
        if scale is not None:
            self.parts["scale"] = scale
        self.epoch, self.steps, self.stopped = 0, 0, False
        self._due: list[Checkpoint] = []  # to be written after the next update
        self.resumed = False
        self.scores: dict[str, Any] | None = None  # of the epoch that was left in its middle

    def begin(self, resume: Any) -> None:
        """Restore the run from the newest checkpoint, where it is to be resumed."""
        if not self.keepers:
            if resume:
                raise ArgumentError(
                    "fit: resume needs a checkpoint to go on from: callbacks=[Checkpoint(folder)]"
                )
            return
        for keeper in self.keepers:
            found, where = keeper.checkpoints(), keeper.folder
            if found and not resume:
                raise FileError(
                    f"{where} holds checkpoints of an earlier run, {found[-1].name} the last: "
                    'fit(..., resume="auto") goes on with it; a new run needs another folder'
                )
            if not found and resume is True:
                raise FileError(f'{where} holds no checkpoint; resume="auto" starts a new run then')
            if keeper.every is not None and self.loader is None:
                raise ArgumentError(
                    "Checkpoint(every=...) saves in the middle of an epoch, and what fit reads has "
                    "no place to go on from: give it a DataLoader, or leave out `every`"
                )
        if (keeper := self.keepers[0]).checkpoints():
            self.resumed = True
            self._go_on(keeper._read(keeper.checkpoints()[-1], self._parts(keeper)))

    def _data(self) -> list[Any]:
        if self.loader is None:
            return [None, None]
        return [getattr(self.loader, name, None) for name in ("examples", "batch_size")]

    def _parts(self, keeper: Checkpoint) -> dict[str, Any]:
        return {**self.parts, **keeper.parts}

    def _go_on(self, values: dict[str, Any]) -> None:
        self.epoch, self.steps = values["epoch"], values["steps"]
        self.stopped, self.scores = values["stopped"], values["scores"]
        if values["data"] != self._data():
            (n, size), (m, own) = values["data"], self._data()
            raise FileError(
                f"the run was saved with {n} examples in batches of {size}, and goes on "
                f"with {m} in batches of {own}: give the same data"
            )
        if self.loader is not None:
            self.loader.load_state_dict(values["loader"])
        for name, scores in values["history"].items():
            self.history.history[name] = [*scores]
            self.history.places[name] = [*values.get("places", {}).get(name, range(len(scores)))]
        others = [c for c in self.callbacks if c not in self.keepers]
        if [type(c).__name__ for c in others] != [name for name, _ in values["callbacks"]]:
            raise FileError(
                f"the run was saved with the callbacks {[n for n, _ in values['callbacks']]}, and "
                f"goes on with {[type(c).__name__ for c in others]}: give the same, in that order"
            )
        for callback, (_, state) in zip(others, values["callbacks"], strict=True):
            if state is not None:
                callback.load_state_dict(state)

    def step_done(self, running: Any, whole: bool = True) -> None:
        """Save where so many steps have passed; with gradients that are still added up (not
        `whole`), after the step that uses them."""
        self.steps += 1
        for keeper in self.keepers:
            due = keeper.every is not None and self.steps % keeper.every == 0
            if due and keeper not in self._due:
                self._due.append(keeper)
        while whole and self._due:
            average_buffers(self.model)
            self._save(self._due.pop(), running.whole(world()).state_dict())

    def epoch_done(self, stopped: bool) -> None:
        """Save after an epoch, once the other callbacks have seen it."""
        self.epoch, self.stopped = self.epoch + 1, stopped
        due, self._due = self._due, []
        for keeper in self.keepers:
            if keeper.every is None or stopped or keeper in due:
                self._save(keeper, None)

    def _save(self, keeper: Checkpoint, scores: Any) -> None:
        others = [c for c in self.callbacks if c not in self.keepers]
        kept = [(c.state_dict() if hasattr(c, "state_dict") else None) for c in others]
        values = {
            "epoch": self.epoch,
            "steps": self.steps,
            "stopped": self.stopped,
            "scores": scores,
            "loader": None if self.loader is None else self.loader.state_dict(),
            "data": self._data(),
            "history": self.history.history,
            "places": self.history.places,
            "callbacks": [[type(c).__name__, s] for c, s in zip(others, kept, strict=True)],
        }
        states = {name: _state(part) for name, part in self._parts(keeper).items()}
        keeper._write(states, values)
