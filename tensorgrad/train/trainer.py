"""Trainer: the loop under `fit`, `evaluate` and `predict`, one method of which is the step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from .. import cuda, optim
from ..backend import default, namespace, on_host
from ..core import Tensor
from ..distributed import exchange, ranks
from ..errors import GraphError, user_level
from ..nn.norm import NoVariance
from ..precision import autocast
from ..settings import gate
from ..switches import evaluating, in_mode, restoring
from ..trees import leaves, refill
from . import checks, together
from .callbacks import Callback
from .capturing import WORTH, capturing, frozen
from .checkpoint import Run
from .feed import Batch, Feed
from .history import History
from .plan import loss_of, plan_of
from .progress import Progress
from .running import Running


class Trainer:
    """Trains a compiled model. Subclasses write `step` for another step than the usual one, and
    are trained with `Trainer(model).fit(...)`, which takes what `model.fit` takes.

    >>> class Twice(Trainer):
    ...     def step(self, x, y, weight):
    ...         for _ in range(2):
    ...             output = self.model(x)
    ...             loss = self.loss(output, y, weight)
    ...             self.update(loss)
    ...         return loss, output
    >>> model = tg.nn.Sequential(tg.nn.Dense(1)).compile("sgd", "mse")
    >>> Twice(model).fit([[0.0], [1.0]], [[0.0], [2.0]], epochs=2).epochs
    2
    """

    @gate
    def __init__(self, model: Any):
        self.model = model
        self.plan = plan_of(model, "fit")
        self.optimizer = self.plan.optimizer
        self.scale: optim.LossScale | None = None
        self.accumulate = 1
        self.clip_norm: float | None = None
        self.clip_value: float | None = None
        self.precision: str | None = None
        self._pending = 0  # batches whose gradients were added up, and not yet used
        self.running = Running(self.plan.names, self.plan.metrics)
        self._parts: dict[Any, Any] = {}  # the losses of several outputs, as they were last
        self._run = self.step  # as a replay, where the model was compiled so
        self.world = ranks.world()
        self._size, self._left_out = 0, False  # of the last batch; whether one was, and it was said
        self._alike = checks.Alike()  # the targets of the first epoch
        self._share = 1.0  # of this process in the loss and gradients of a batch

    unguarded = ("running", "_run")  # attributes that no step reads (compiling/guards.py)

    # --- what a step is made of ---

    def step(self, x: Any, y: Any, weight: Any) -> Any:
        """A training step of a batch: forward, loss, backward, update. Returns (loss, output), of
        which the scores are computed, or a dict of scores of your own, single numbers by name."""
        with self.casting():
            output = checks.call(self.model, x)
            loss = self.loss(output, y, weight)
        self.update(loss)
        return loss, output

    def casting(self) -> Any:
        """The block in which ops run in the precision that `fit` was given."""
        return nullcontext() if self.precision is None else autocast(self.precision)

    def loss(self, output: Any, y: Any, weight: Any = None) -> Tensor:
        """The loss of the outputs: that of `compile`, of several their weighted sum."""
        total: Tensor | None = None
        for o, p, t in self.plan.parts(output, y):
            part = loss_of(o, p, t, weight)
            if self.plan.single:
                return part
            self._parts[o.key] = part.detach()
            total = part * o.weight if total is None else total + part * o.weight
        assert total is not None
        return total

    def update(self, loss: Tensor) -> None:
        """Gradients of the loss, and an update of the parameters; of several batches together
        where `fit` was told to accumulate, and with what it was told of clipping."""
        if not self._pending:
            self.optimizer.zero_grad()
        if (part := self._share * self.world.size) != 1:  # of the mean over ranks
            loss = loss * part
        (loss if self.scale is None else self.scale(loss)).backward()
        self._pending += 1
        if self._pending == self.accumulate:
            self.flush()

    def flush(self) -> None:
        """Update the parameters with the gradients that were added up so far, of which it takes
        the mean."""
        n, self._pending = self._pending, 0
        if not n:
            return
        if self.world.size > 1:
            exchange.summed(self.optimizer, 1 / self.world.size)
        if n > 1:
            for p in self.optimizer.params():
                if p.grad is not None:
                    p.grad = p.grad / n
        if self.scale is not None and (self.clip_norm or self.clip_value):
            self.scale.unscale(self.optimizer)
        if self.clip_value is not None:
            self.optimizer.clip_grad_value(self.clip_value)
        if self.clip_norm is not None:
            self.optimizer.clip_grad_norm(self.clip_norm)
        if self.scale is None:
            self.optimizer.step()
        else:
            self.scale.step(self.optimizer)

    # --- the loop ---

    def fit(self, x: Any, y: Any = None, **options: Any) -> History:
        """Train; see `train.fit`, whose arguments it takes."""
        from .loop import fit

        return fit(self, x, y, **options)

    def bind(self) -> None:
        """Bind the optimizer to the model's parameters, or check that it has them all. Frozen ones
        are bound, too, so that they are trained once unfrozen."""
        optimizer, model = self.optimizer, self.model
        if not optimizer.groups:
            optimizer.bind(model.parameters())
        known = {id(p) for p in optimizer.params()}
        left = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in known]
        if left:
            raise GraphError(
                f"{type(optimizer).__name__} would not train {', '.join(left)}: it is bound to "
                "other parameters. Compile with a new optimizer, or freeze them with "
                "requires_grad = False"
            )

    @restoring
    def one(self, batch: Batch) -> dict[str, float]:
        """A single step, in training mode; its scores."""
        with in_mode(self.model.modules(), True):
            self.running.start()
            self._plain(batch)
            self.running.count += batch.size
            return self.running.whole(self.world).read()

    def _plain(self, batch: Batch) -> None:
        """The step of a batch, and the sums of its scores."""
        self._share = batch.share
        with together.Part(self.world, batch.share):
            made = self._run(batch.x, batch.y, batch.weight)
        if isinstance(made, dict):
            self.running.own(made, batch.size)
        else:
            loss, output = made
            self.add(loss, output, batch)

    @restoring
    def epochs(self, feed: Feed, run: Run, begun: list[Callback], options: Any) -> None:
        """The epochs of `fit`, between the `train_begin` of its callbacks and their `train_end`."""
        callbacks, model, history = run.called, self.model, run.history
        if self.plan.compiled:
            from ..compiling.step import Compiled

            self._run = Compiled(self.step)
        with in_mode(model.modules(), True):
            for c in callbacks:
                c.train_begin(model, options.names)
                begun.append(c)
            run.begin(options.resume)
            if run.resumed:
                feed.restart()
            first = options.initial_epoch + run.epoch
            self._alike.differ = run.resumed or not self.plan.single or feed.arrays() is not None
            call, facts = self._captured(feed, options.epochs), self._frozen()
            for epoch in range(first, first if run.stopped else options.epochs):
                for c in callbacks:
                    c.epoch_begin(model, epoch)
                if epoch > first and callbacks and (now := self._frozen()) != facts:
                    call, facts = self._captured(feed, options.epochs - epoch), now
                scores = self._epoch(call, feed, run, options, epoch)
                self._check_finite(scores, history, epoch, feed)
                history.add(scores, epoch)
                stops = [c.epoch_end(model, epoch, scores) for c in callbacks]
                stopped = together.epoch_done(model, any(stops) or feed.ran_dry)
                run.epoch_done(stopped)
                if stopped:
                    break

    def _epoch(
        self, call: Callable[..., None], feed: Feed, run: Run, options: Any, epoch: int
    ) -> dict[str, float]:
        """One epoch, and its validation; scores are read from the device at its end only."""
        running, model = self.running, self.model
        running.start()
        self._size = 0
        if run.scores is not None:  # of the batches of this epoch before the run was stopped
            running.load_state_dict(run.scores, default())
            if self.world.rank:  # rank 0 goes on with them
                running.start()
            run.scores = None
        hooked = [c for c in run.called if type(c).batch_end is not Callback.batch_end]
        done = 0
        with Progress(feed, options, f"epoch {epoch + 1}/{options.epochs}", running) as progress:
            for done, batch in enumerate(feed.epoch(), 1):
                if not self._done(call, batch, feed, f"batch {done} of epoch {epoch + 1}"):
                    continue
                running.count += batch.size
                if run.keepers:
                    run.step_done(running, whole=not self._pending)
                for c in hooked:
                    c.batch_end(model, done - 1, running.latest)
                progress.update(batch.whole)
            self.flush()
            self._alike.warn()
            exchange.average_buffers(model)
            scores = running.whole(self.world).read()
            if options.validation is not None and (epoch + 1) % options.validation_freq == 0:
                tested = self.scores(options.validation)
                scores.update({f"val_{name}": value for name, value in tested.items()})
            progress.close(scores)
        feed.ran_dry |= feed.spent and epoch + 1 < options.epochs
        if feed.ran_dry:
            known = f"{done} of {feed.steps} batches" if feed.steps else f"{done} batches"
            warnings.warn(
                f"the data ran out in epoch {epoch + 1}, after {known}: training ends with what it "
                "was trained on so far"
                + (" (an iterator is read once: give a function that makes one)" * feed.spent),
                stacklevel=user_level(),
            )
        return scores

    def _done(self, call: Callable[[Batch], None], batch: Batch, feed: Feed, name: str) -> bool:
        """Train on a batch; False where it is a last one of a single example, of which batch norm
        has no variance. What goes wrong is said to be of this batch."""
        try:
            call(batch)
        except NoVariance:
            if batch.size >= self._size or self.world.size > 1:
                raise
            if not self._left_out:
                self._left_out = True
                warnings.warn(
                    f"{name} is a single example, of which batch norm has no variance: it is left "
                    "out. A DataLoader's drop_last=True, or another batch size, leaves out this "
                    "note",
                    stacklevel=user_level(),
                )
            return False
        except Exception as error:
            error.add_note(f"  in {name}{feed.latest()}")
            raise
        self._size = batch.size
        self._alike.add(batch.y)
        return True

    def _check_finite(
        self, scores: dict[str, float], history: History, epoch: int, feed: Feed
    ) -> None:
        first = not self.world.rank
        if (
            first
            and not math.isfinite(scores.get("loss", 0.0))
            and all(map(math.isfinite, history.losses))
        ):
            unread = "" if feed.arrays() is not None else ", if the data holds no NaN"
            if unread and default().kernels == "cuda":  # which does not look for them
                unread += " and no label outside the classes"
            warnings.warn(
                f"the loss became {scores['loss']} in epoch {epoch + 1}: a lower learning rate, "
                f"clipped gradients or scaled inputs may help{unread}",
                stacklevel=user_level(),
            )

    def _frozen(self) -> Any:
        """What a capture freezes; None where nothing is captured."""
        return frozen(self.model, self.plan) if default().kernels == "cuda" else None

    def _captured(self, feed: Feed, epochs: int) -> Callable[[Batch], None]:
        """The step of a batch, and the sums of its scores; as a CUDA graph where that is safe."""
        plain = self._plain
        home, size, arrays = default(), feed.batch_size, feed.arrays()
        if self.world.size > 1:
            together.check_graphed(self.plan)
            return plain
        graphed = self.plan.graphed and home.kernels == "cuda" and self.accumulate == 1
        if not graphed or self.plan.compiled or arrays is None or size is None:
            return plain  # a compiled step captures itself
        alike = epochs * max(1, len(arrays[0]) // size)  # steps of the first batch's shape
        if self.plan.graphed == "auto" and alike < WORTH:
            return plain

        def step(xb: Tensor, yb: Tensor) -> None:
            plain(Batch(xb, yb, None, len(xb), len(xb)))

        # what an epoch begins with, without going on in the loader
        sample = feed.sample(size)
        made = (
            capturing(step, sample, home, self.model, self.plan, self)
            if self.plan.graphed == "auto"
            else cuda.graphed(step, sample)
        )
        return lambda batch: made(batch.x, batch.y)

    def add(self, loss: Tensor, output: Any, batch: Batch) -> None:
        """Add the scores of a batch."""
        running, n, xp = self.running, batch.size, namespace(loss._data)
        running.add("loss", loss, n, xp)
        for o, p, t in self.plan.parts(output, batch.y):
            if o.key is not None:
                running.add(f"{o.key}_loss", self._parts[o.key], n, xp)
            for name, metric in o.metrics.items():
                running.measure(name, metric, p, t, n, xp)

    # --- evaluation ---

    @contextmanager
    def scoring(self) -> Iterator[Running]:
        """A block with running scores of its own."""
        before, self.running = self.running, Running(self.plan.names, self.plan.metrics)
        try:
            yield self.running
        finally:
            self.running = before

    @restoring
    def scores(self, feed: Feed) -> dict[str, float]:
        """Loss and metrics in evaluation mode."""
        with self.scoring() as running, evaluating(self.model.modules()):
            for batch in feed.epoch():
                output = checks.call(self.model, batch.x)
                with together.Part(self.world, batch.share):
                    loss = self.loss(output, batch.y, batch.weight)
                self.add(loss, output, batch)
                running.count += batch.size
            return running.whole(self.world).read()


@restoring
def predicted(model: Any, feed: Feed) -> Any:
    """The outputs as NumPy arrays, in evaluation mode and under `no_grad`."""
    parts: list[list[np.ndarray]] = []
    output: Any = None
    with evaluating(model.modules()):
        for batch in feed.epoch():
            output = checks.call(model, batch.x)
            found = [a for a in leaves(output) if isinstance(a, Tensor)]
            parts.append([on_host(a._data) for a in found])
    whole = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return refill(output, iter(whole))
