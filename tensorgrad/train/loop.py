"""The training loop: what `model.compile`, `fit`, `evaluate` and `predict` call."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypedDict

import numpy as np

from .. import cuda, losses, optim
from ..backend import BY_TYPE, default, is_floating, namespace
from ..core import Tensor
from ..data.loader import DataLoader, arrays_of
from ..errors import ArgumentError, DTypeError, GraphError, ShapeError, user_level
from ..settings import Own, gate, listed, shown
from ..switches import evaluating, in_mode, restoring
from ..typing import ArrayLike, Count, Natural
from . import metrics as metric_table
from .callbacks import Callback, checked, end
from .capturing import WORTH, capturing, frozen
from .checkpoint import Run
from .metrics import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


Metrics: TypeAlias = Annotated["Metric | Iterable[Metric]", Own("metrics, or their names")]
Callbacks: TypeAlias = Annotated["Callback | Iterable[Callback] | None", Own("callbacks")]
Pair: TypeAlias = Annotated[tuple[ArrayLike, ArrayLike], Own("two arrays, (x, y)")]
Verbosity: TypeAlias = bool | Natural | Literal["auto"]


class FitOptions(TypedDict, total=False):
    """The keywords of `fit`."""

    epochs: int
    batch_size: int
    validation_data: tuple[ArrayLike, ArrayLike] | None
    shuffle: bool
    verbose: int | Literal["auto"]
    callbacks: Callback | Iterable[Callback] | None
    resume: bool | Literal["auto"]


class EvaluateOptions(TypedDict, total=False):
    """The keywords of `evaluate`."""

    batch_size: int
    verbose: int


@dataclass
class Plan:
    """What `compile` sets: optimizer, loss, metrics by name, and whether steps are captured in a
    CUDA graph; `told`: `fit` has said why they are not. Not a tuple, in which a loss that is a
    module would be registered as a submodule."""

    optimizer: optim.Optimizer
    loss: Any
    metrics: list[tuple[str, Any]]
    graphed: bool | Literal["auto"]
    told: bool = False

    @property
    def names(self) -> list[str]:
        """The names of the scores."""
        return ["loss", *[name for name, _ in self.metrics]]


class History:
    """The scores of `fit`: `history` maps each name to a list with one value per epoch.

    >>> past = History(); past.add({"loss": 0.5}); past.add({"loss": 0.25})
    >>> past.history, past.epochs
    ({'loss': [0.5, 0.25]}, 2)
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}

    @property
    def losses(self) -> list[float]:
        """The training loss of each epoch."""
        return self.history.get("loss", [])

    @property
    def epochs(self) -> int:
        """The number of epochs trained."""
        return len(self.losses)

    def add(self, scores: dict[str, float]) -> None:
        """Append one epoch's scores."""
        for name, value in scores.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        last = ", ".join(f"{k}={v[-1]:.4g}" for k, v in self.history.items())
        return f"History({self.epochs} epochs, last: {last})"


@gate
def compile(
    model: Any,
    optimizer: Annotated[optim.Optimizer | str, Own("an optimizer, or its name")],
    loss: str | Callable[..., Tensor],
    metrics: Metrics,
    graphed: bool | Literal["auto"],
) -> Any:
    """Set the model's plan for training. Names are resolved now, so misspelt ones raise here."""
    several = [metrics] if isinstance(metrics, str) or callable(metrics) else metrics
    if not listed(several := () if several is None else several):
        raise ArgumentError(f"compile: metrics are names or functions, got {shown(metrics)}")
    loss = losses.get(loss)
    named: dict[str, Any] = {}
    for m in several:
        name, metric = metric_table.get(m)
        if name in ("loss", *named):  # two metrics of one name
            name = next(other for i in count(2) if (other := f"{name}_{i}") not in named)
        named[name] = metric_table.accuracy_for(loss) if m == "accuracy" else metric
    model.plan = Plan(optim.get(optimizer), loss, list(named.items()), graphed)
    return model


def _plan(model: Any, what: str) -> Plan:
    plan = getattr(model, "plan", None)
    if plan is None:
        raise GraphError(
            f"{what}: the model is not compiled; call model.compile(optimizer=..., loss=...) first"
        )
    return plan


def _dtype(model: Any) -> Any:
    """The dtype of the parameters, to which floating data is cast."""
    return next((p.dtype for _, p in model.named_parameters()), np.dtype("float32"))


def _check(x: Any, y: Any, loss: Any) -> tuple[Any, Any]:
    """x and y as arrays; an error for NaN, and for targets that do not fit the loss."""
    if isinstance(x, DataLoader) or hasattr(x, "__next__"):
        raise ArgumentError(
            f"fit and evaluate take arrays, fit(x, y), and cut batches themselves; got a "
            f"{type(x).__name__}: fit(*loader.arrays), or a loop of your own"
        )
    if y is None:
        raise ArgumentError("fit and evaluate need targets: fit(x, y)")
    x, y = arrays_of((x, y))
    for name, a in (("x", x), ("y", y)):
        if is_floating(a.dtype) and not bool((a == a).all()):
            raise ArgumentError(f"{name} holds NaN: remove or fill those values first")
    if loss is losses.cross_entropy and is_floating(y.dtype) and y.ndim == 1:
        raise DTypeError(
            f"cross_entropy takes integer class labels, y holds {y.dtype}; y.astype('int64')"
        )
    if loss is losses.cross_entropy and not is_floating(y.dtype) and int(y.min()) < 0:
        raise ArgumentError(f"labels run from {int(y.min())}: classes are numbered from 0")
    if loss in (losses.binary_cross_entropy, losses.binary_cross_entropy_with_logits):
        low, high = float(y.min()), float(y.max())
        if low < 0 or high > 1:
            raise ArgumentError(
                f"targets of a binary cross-entropy are 0 to 1, y has {low} to {high}"
            )
    return x, y


def _check_output(loss: Any, output: Any, y: Any) -> None:
    """ArgumentError where the outputs are not what the loss takes: logits or probabilities, as many
    classes as there are labels. Several examples are checked, as the logits of one may be in
    [0, 1] or sum to 1 by chance."""
    p = output.numpy()
    low, high = (float(p.min()), float(p.max())) if p.size else (0.0, 0.0)
    if loss is losses.binary_cross_entropy and (low < 0 or high > 1):
        raise ArgumentError(
            f"binary_cross_entropy takes probabilities, the model gives {low:.3g} to {high:.3g}: "
            "end it with a sigmoid, or use binary_cross_entropy_with_logits"
        )
    several = loss is losses.cross_entropy and p.ndim and p.shape[-1] > 1
    if several and low >= 0 and bool((abs(p.sum(-1) - 1) < 1e-3).all()):
        raise ArgumentError(
            "cross_entropy takes logits, the model gives probabilities (they sum to 1): leave out "
            "its final softmax"
        )
    if loss is losses.cross_entropy and not is_floating(y.dtype):
        classes, most = output.shape[-1], int(y.max())
        if most >= classes:
            raise ArgumentError(
                f"labels run up to {most}, the model has {classes} classes (0..{classes - 1})"
            )


@restoring
def _trial(model: Any, plan: Plan, x: Any, y: Any) -> Any:
    """A dry run of model, loss and metrics on up to 8 examples: it initialises lazy layers, and
    raises errors before training starts."""
    with evaluating(model.modules()):
        loader = DataLoader((x[:8], y[:8]), batch_size=8, dtype=_dtype(model))
        xb, yb = next(iter(loader))
        output = model(xb)
        if not isinstance(output, Tensor):
            raise ArgumentError(
                f"fit and evaluate are for models with one output, this one gives a "
                f"{type(output).__name__}; write the loop yourself, with loss.backward()"
            )
        _check_output(plan.loss, output, y)
        loss = plan.loss(output, yb)
        if not isinstance(loss, Tensor) or loss.shape:
            raise ShapeError(
                "a loss is a single number, a tensor of shape (): take .mean(); got "
                + (f"shape {loss.shape}" if isinstance(loss, Tensor) else repr(loss))
            )
        _add(metric_table.Running(plan.names), plan, loss, output, yb)
        return output


@gate
def fit(
    model: Any,
    x: ArrayLike,
    y: ArrayLike | None = None,
    epochs: Count = 1,
    batch_size: Count = 32,
    validation_data: Pair | None = None,
    shuffle: bool = True,
    verbose: Verbosity = "auto",
    callbacks: Callbacks = (),
    resume: bool | Literal["auto"] = False,
) -> History:
    """Train on arrays in mini-batches; returns the History of loss and metrics.

    Args:
        x, y: inputs and targets; floating ones are cast to the dtype of the parameters.
        epochs: passes over the data.
        batch_size: examples in a mini-batch; the last of an epoch may be smaller.
        validation_data: (x, y) to evaluate after each epoch; its scores are named `val_...`.
        shuffle: whether each epoch has a new random order.
        verbose: 1 for a progress bar, 0 for none, "auto" for one on a terminal.
        callbacks: one or several `Callback`s.
        resume: whether to go on from the newest checkpoint of a `Checkpoint` among the callbacks,
            as if the run had not been stopped: "auto" where there is one. `epochs` counts those
            before, too.
    Raises: ArgumentError, DTypeError and ShapeError before the first step for data, targets and
        outputs that do not fit; GraphError for a model that is not compiled.

    The scores of an epoch are means over its examples, each with the weights of its own step. The
    model is in training mode, in this thread, and afterwards again in its own. On an error or
    Ctrl-C the callbacks' `train_end` is called, too, and the model can be used and trained on.
    """
    plan = _plan(model, "fit")
    x, y = _check(x, y, plan.loss)
    callbacks = checked(callbacks)
    output = _trial(model, plan, x, y)
    if validation_data is not None:
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) != 2:
            raise ArgumentError("fit: validation_data is a tuple of two arrays, (x, y)")
        validation_data = _check(*validation_data, plan.loss)
        _trial(model, plan, *validation_data)
    dtype = _dtype(model)
    if is_floating(output.dtype) and output.dtype.itemsize > dtype.itemsize:
        warnings.warn(
            f"the model's output is {output.dtype}, its parameters are {dtype}: something in it "
            "promotes the dtype and slows training",
            stacklevel=user_level(),
        )
    _bind(plan.optimizer, model)
    loader = DataLoader((x, y), batch_size, shuffle, dtype=dtype)
    history, names = History(), plan.names
    if validation_data is not None:
        names += [f"val_{name}" for name in names]
    begun: list[Callback] = []
    try:
        run = Run(model, plan, loader, history, callbacks)
        with_callbacks = run, begun, names, resume
        _epochs(model, plan, loader, history, epochs, with_callbacks, validation_data, verbose)
        end(begun, model)
    except BaseException as error:  # Ctrl-C, too
        end(begun, model, error)
        raise
    return history


@restoring
def _epochs(
    model: Any,
    plan: Plan,
    loader: DataLoader,
    history: History,
    epochs: int,
    with_callbacks: tuple,
    validation_data: tuple[Any, Any] | None,
    verbose: int | str,
) -> None:
    """The epochs of `fit`, between the `train_begin` of its callbacks and their `train_end`."""
    run, begun, names, resume = with_callbacks
    callbacks = run.callbacks
    with in_mode(model.modules(), True):
        for c in callbacks:
            c.train_begin(model, names)
            begun.append(c)
        run.begin(resume)
        running = metric_table.Running(plan.names)
        step, facts = _step(model, plan, running, loader, epochs), frozen(model, plan)
        for epoch in range(run.epoch, 0 if run.stopped else epochs):
            if epoch and callbacks and (now := frozen(model, plan)) != facts:  # by a callback
                step, facts = _step(model, plan, running, loader, epochs - epoch), now
            scores = _epoch(step, running, run, verbose, f"epoch {epoch + 1}/{epochs}")
            if validation_data is not None:
                tested = _scores(model, plan, *validation_data, loader.batch_size)
                scores.update({f"val_{name}": value for name, value in tested.items()})
            if not math.isfinite(scores["loss"]) and all(map(math.isfinite, history.losses)):
                warnings.warn(
                    f"the loss became {scores['loss']} in epoch {epoch + 1}: a lower learning "
                    "rate, clipped gradients or scaled inputs may help",
                    stacklevel=user_level(),
                )
            history.add(scores)
            stops = [c.epoch_end(model, epoch, scores) for c in callbacks]
            run.epoch_done(any(stops))
            if any(stops):
                break


def _bind(optimizer: optim.Optimizer, model: Any) -> None:
    """Bind the optimizer to the model's parameters, or check that it has them all. Frozen ones are
    bound, too, so that they are trained once unfrozen."""
    if not optimizer.groups:
        optimizer.bind(model.parameters())
    known = {id(p) for p in optimizer.params()}
    left = [name for name, p in model.named_parameters() if p.requires_grad and id(p) not in known]
    if left:
        raise GraphError(
            f"{type(optimizer).__name__} would not train {', '.join(left)}: it is bound to other "
            "parameters. Compile with a new optimizer, or freeze them with requires_grad = False"
        )


def _step(
    model: Any, plan: Plan, running: Any, loader: DataLoader, epochs: int
) -> Callable[..., None]:
    """The training step of a batch: forward, backward, update, and the running means."""

    def step(xb: Tensor, yb: Tensor) -> None:
        output = model(xb)
        loss = plan.loss(output, yb)
        plan.optimizer.zero_grad()
        loss.backward()
        plan.optimizer.step()
        _add(running, plan, loss, output, yb)

    home, size = default(), loader.batch_size
    alike = epochs * max(1, len(loader.arrays[0]) // size)  # steps of the first batch's shape
    if not plan.graphed or home.kernels != "cuda" or (plan.graphed == "auto" and alike < WORTH):
        return step
    sample = next(iter(DataLoader(tuple([a[:size] for a in loader.arrays]), size)))
    if plan.graphed == "auto":
        return capturing(step, sample, home, model, plan)
    return cuda.graphed(step, sample)


def _add(running: Any, plan: Plan, loss: Tensor, output: Tensor, yb: Tensor) -> None:
    xp = namespace(loss._data)
    running.add("loss", loss, len(yb), xp)
    for name, metric in plan.metrics:
        running.add(name, metric(output, yb), len(yb), xp)


def _epoch(
    step: Callable, running: Any, run: Run, verbose: int | str, title: str
) -> dict[str, float]:
    """One epoch; the scores are read from the device at its end only."""
    loader = run.loader
    running.start()
    if run.scores is not None:  # of the batches of this epoch before the run was stopped
        running.load_state_dict(run.scores, default())
        run.scores = None
    with _bar(loader, verbose, title) as bar:
        for xb, yb in loader:
            step(xb, yb)
            running.count += len(xb)
            if run.keepers:
                run.step_done(running)
            if bar is not None:
                if not bar.n and len(xb) < len(loader.arrays[0]):
                    bar.unpause()  # the first step may have compiled: the rate leaves it out
                    bar.initial = len(xb)
                bar.update(len(xb))
        scores = running.read()
        if bar is not None:
            bar.set_postfix_str(", ".join(f"{k} {v:.4f}" for k, v in scores.items()))
    return scores


def _bar(loader: DataLoader, verbose: int | str, title: str) -> Any:
    if verbose == 0 or (verbose == "auto" and not sys.stderr.isatty()):
        return nullcontext()
    from tqdm import tqdm

    return tqdm(total=loader.examples, desc=title, unit=" examples", unit_scale=True, leave=True)


@restoring
def _scores(model: Any, plan: Plan, x: Any, y: Any, batch_size: int) -> dict[str, float]:
    """Loss and metrics in evaluation mode."""
    running = metric_table.Running(plan.names)
    with evaluating(model.modules()):
        for xb, yb in DataLoader((x, y), batch_size, dtype=_dtype(model)):
            output = model(xb)
            _add(running, plan, plan.loss(output, yb), output, yb)
            running.count += len(yb)
    return running.read()


@gate
def evaluate(
    model: Any, x: ArrayLike, y: ArrayLike, batch_size: Count = 256, verbose: Verbosity = 0
) -> dict[str, float]:
    """Loss and metrics by name, in evaluation mode; `verbose` 1 prints them."""
    plan = _plan(model, "evaluate")
    x, y = _check(x, y, plan.loss)
    _trial(model, plan, x, y)
    scores = _scores(model, plan, x, y, batch_size)
    if verbose:
        print(", ".join(f"{k} {v:.4f}" for k, v in scores.items()))
    return scores


@gate
@restoring
def predict(model: Any, x: ArrayLike, batch_size: Count = 256) -> NDArray[Any]:
    """The model's outputs as one NumPy array, in evaluation mode and under `no_grad`."""
    loader, parts = DataLoader(arrays_of((x,)), batch_size, dtype=_dtype(model)), []
    with evaluating(model.modules()):
        for (xb,) in loader:
            output = model(xb)
            if not isinstance(output, Tensor):
                raise ArgumentError("predict is for models with one output; call the model itself")
            parts.append(BY_TYPE[type(output._data)].to_host(output._data))
    return np.concatenate(parts)
