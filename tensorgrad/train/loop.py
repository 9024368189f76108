"""fit, evaluate and predict: what the methods of a model call."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypedDict

import numpy as np

from .. import optim
from ..backend import dtype_of
from ..core import Tensor
from ..data.sources import Arrays
from ..errors import ArgumentError, ShapeError
from ..nn.lazy import LazyLayer
from ..nn.norm import BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d
from ..settings import Either, Nothing, Own, Real, gate, shown
from ..typing import ArrayLike, Count, Natural, Positive
from . import checks, together
from .callbacks import Callback, checked, end
from .checkpoint import Run
from .feed import Batch, Feed, class_weights, feed
from .history import History
from .plan import Plan, compile
from .trainer import Trainer, predicted

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "EvaluateOptions",
    "FitOptions",
    "compile",
    "evaluate",
    "fit",
    "predict",
    "train_on_batch",
]

Callbacks: TypeAlias = Annotated[
    "Callback | Iterable[Any] | None", Either(Nothing(), Own("callbacks"))
]
Data: TypeAlias = Annotated[Any, Own("arrays, a loader or a generator")]
Validation: TypeAlias = Annotated[Any, Either(Nothing(), Own("two arrays, (x, y), or a loader"))]
Share: TypeAlias = Annotated[float, Real(0, below=1)]
Verbosity: TypeAlias = bool | Natural | Literal["auto"]
Weighted: TypeAlias = Annotated[
    "dict[int, float] | None", Either(Nothing(), Own("a weight for each class"))
]
EachWeight: TypeAlias = Annotated[
    "ArrayLike | None", Either(Nothing(), Own("a weight for each example"))
]
Mixed = Literal["float16", "bfloat16"] | None


class FitOptions(TypedDict, total=False):
    """The keywords of `fit`."""

    epochs: int
    batch_size: int
    validation_data: Any
    shuffle: bool
    verbose: int | Literal["auto"]
    callbacks: Any
    resume: bool | Literal["auto"]
    validation_split: float
    validation_freq: int
    steps_per_epoch: int | None
    validation_steps: int | None
    initial_epoch: int
    class_weight: dict[int, float] | None
    sample_weight: Any
    accumulate: int
    clip_norm: float | None
    clip_value: float | None
    precision: Literal["float16", "bfloat16"] | None


class EvaluateOptions(TypedDict, total=False):
    """The keywords of `evaluate`."""

    batch_size: int
    verbose: int
    steps: int | None
    sample_weight: Any


@dataclass
class LoopOptions:
    """What `fit` was told of the loop."""

    epochs: int
    verbose: Any
    resume: Any
    names: list[str]
    initial_epoch: int = 0
    validation: Feed | None = None
    validation_freq: int = 1


def _dtype(model: Any) -> Any:
    """The dtype of the parameters, to which floating data is cast; of layers that have none yet,
    that which they will have."""
    found = (p.dtype for _, p in model.named_parameters())
    later = (dtype_of(m.dtype) for _, m in model.named_modules() if isinstance(m, LazyLayer))
    return next(chain(found, later), np.dtype("float32"))


@gate
def fit(
    model: Any,
    x: Data,
    y: Data = None,
    epochs: Count = 1,
    batch_size: Count = 32,
    validation_data: Validation = None,
    shuffle: bool = True,
    verbose: Verbosity = "auto",
    callbacks: Callbacks = (),
    resume: bool | Literal["auto"] = False,
    validation_split: Share = 0.0,
    validation_freq: Count = 1,
    steps_per_epoch: Count | None = None,
    validation_steps: Count | None = None,
    initial_epoch: Natural = 0,
    class_weight: Weighted = None,
    sample_weight: EachWeight = None,
    accumulate: Count = 1,
    clip_norm: Positive | None = None,
    clip_value: Positive | None = None,
    precision: Mixed = None,
) -> History:
    """Train a compiled model; returns the History of loss and metrics.

    Args:
        x, y: inputs and targets in arrays, or tuples, lists and dicts of them for a model with
            several; or x alone: a DataLoader, a data set of samples (x, y), or an iterable, a
            generator or a function that returns one, of batches (x, y) or (x, y, weights), such as
            PyTorch's loader. Floating ones are cast to the dtype of the parameters.
        epochs: passes over the data, those before a `resume` and `initial_epoch` included.
        batch_size: examples in a mini-batch of arrays; the last of an epoch may be smaller. (A
            single one left over joins the batch before, where the model has batch norms.)
        validation_data: (x, y), or what x may be, to evaluate after each epoch; its scores are
            named `val_...`.
        shuffle: whether each epoch of arrays has a new random order.
        verbose: 1 for a progress bar (a line for each epoch where there is no terminal), 2 for
            lines, 0 for nothing, "auto" for a bar on a terminal and nothing elsewhere.
        callbacks: one or several `Callback`s, or functions of (epoch, scores).
        resume: whether to go on from the newest checkpoint of a `Checkpoint` among the callbacks,
            as if the run had not been stopped: "auto" where there is one.
        validation_split: the share of the arrays, from their end, to be validation data instead.
        validation_freq: epochs from one validation to the next.
        steps_per_epoch, validation_steps: batches of an epoch, for what has no end.
        initial_epoch: the number of the first epoch, where training goes on.
        class_weight: the weight of each class of integer targets (n,), of arrays or of a loader's
            batches; others have 1.
        sample_weight: the weight of each example (n,), for arrays.
        accumulate: batches whose mean gradient makes an update.
        clip_norm: to which the norm of all gradients is scaled down; clip_value: to which each
            number of them is cut.
        precision: "bfloat16" or "float16", of the ops that `autocast` chooses; the latter with a
            LossScale.
    Raises: ArgumentError, DTypeError and ShapeError before the first step for data, targets and
        outputs that do not fit; GraphError for a model that is not compiled.

    The scores of an epoch are means over its examples, each with the weights of its own step. The
    model is in training mode, in this thread, and afterwards again in its own. On an error or
    Ctrl-C the callbacks' `train_end` is called, too, and the model can be used and trained on.

    >>> model = tg.nn.Sequential(tg.nn.Dense(1, 1)).compile("sgd", "mse")
    >>> past = fit(model, [[0.0], [1.0]], [[0.0], [2.0]], epochs=5)  # or model.fit(...)
    >>> past.epochs, past.losses[0] > past.losses[-1]
    (5, True)
    """
    trainer = model if isinstance(model, Trainer) else Trainer(model)  # for a step of its own
    model, plan = trainer.model, trainer.plan
    dtype = _dtype(model)
    if validation_split:
        x, y, sample_weight, validation_data = _split(
            x, y, sample_weight, validation_data, validation_split
        )
    weight = _weights(y, class_weight, sample_weight)
    norms = BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d
    joined = any(isinstance(m, norms) for m in model.modules())
    train = feed(
        x,
        y,
        batch_size,
        dtype,
        shuffle=shuffle,
        weight=weight,
        steps=steps_per_epoch,
        join=joined,
        single=plan.single,
    )
    train.class_weight = class_weight if y is None else None
    tested = _validation(validation_data, plan, batch_size, dtype, validation_steps)
    called = checked(callbacks)
    together.shared(train, least=2 if joined else 1)
    together.shared(tested)
    trainer.accumulate, trainer.clip_norm, trainer.clip_value = accumulate, clip_norm, clip_value
    trainer.precision, trainer._pending = precision, 0
    trainer.scale = optim.LossScale() if precision == "float16" else None
    output = _tried(trainer, train, training=True)
    if tested is not None:
        try:
            _tried(trainer, tested, training=False)
        except Exception as error:
            error.add_note("  in the first batch of the validation data")
            raise
    checks.warn_promoted(output, dtype)
    trainer.bind()
    names = plan.names
    if tested is not None:
        names += [f"val_{name}" for name in names]
    options = LoopOptions(epochs, verbose, resume, names, initial_epoch, tested, validation_freq)
    clipping = {"clip_norm": clip_norm, "clip_value": clip_value}
    together.begin(trainer, train, called, options, accumulate=accumulate, **clipping)
    history = History()
    begun: list[Callback] = []
    try:
        done = Run(model, plan, train.place, history, called, trainer.scale)
        trainer.epochs(train, done, begun, options)
        end(begun, model)
    except BaseException as error:  # Ctrl-C, too
        end(begun, model, error)
        raise
    return history


def _tried(trainer: Any, data: Feed, training: bool) -> Any:
    """A dry run of the first batch, and checks of arrays in memory."""
    plan, source = trainer.plan, getattr(data.loader, "source", None)
    labels: Any = None
    if isinstance(source, Arrays) and data.loader._by_samples:
        source = None  # of which samples are made
    if isinstance(source, Arrays) and isinstance(source.tree, tuple) and len(source.tree) > 1:
        x, labels = source.tree[:2]
        checks.check_arrays(x, labels, plan, training)
        w = source.tree[2] if len(source.tree) > 2 else None
        xs, ys, ws = (data._tensors(checks.few(part)) for part in (x, labels, w))
        batch = Batch(xs, ys, ws, 8, 8)
    else:
        batch = data.first()
        checks.check_arrays(batch.x, batch.y, plan, training, whole=False)
    if batch.y is None:
        raise ArgumentError("fit and evaluate need targets: fit(x, y)")
    return checks.trial(trainer, batch, batch.y if labels is None else labels)


def _validation(given: Any, plan: Plan, batch_size: int, dtype: Any, steps: Any) -> Feed | None:
    if given is None:
        return None
    samples = isinstance(given, list) and len(given) > 3
    if isinstance(given, (tuple, list)) and not samples:
        if len(given) not in (2, 3):
            raise ArgumentError(
                f"fit: validation_data is a tuple of two arrays, (x, y), or a loader; got "
                f"{len(given)} of them"
            )
        x, y, w = (*given, None)[:3]
        return feed(x, y, batch_size, dtype, weight=w, steps=steps, single=plan.single, same=True)
    if hasattr(given, "__array__"):
        raise ArgumentError("fit: validation_data is a tuple of two arrays, (x, y), or a loader")
    if hasattr(given, "__next__") and steps is None:
        raise ArgumentError(
            "fit: validation_data is an iterator, which a single validation would empty: give a "
            "loader, or validation_steps"
        )
    return feed(given, None, batch_size, dtype, steps=steps, same=True)


def _split(x: Any, y: Any, weight: Any, other: Any, share: float) -> tuple[Any, ...]:
    """(x, y, weights) for training and the validation data, cut off their end."""
    if other is not None:
        raise ArgumentError("fit: give validation_data or validation_split, not both")
    if y is None:
        raise ArgumentError(
            f"fit: validation_split cuts arrays, and x is {shown(x):.80}: give validation_data="
        )
    parts = Arrays((x, y) if weight is None else (x, y, weight))
    n = len(parts) - max(1, round(len(parts) * share))
    if n < 1:
        raise ArgumentError(f"fit: validation_split={share} of {len(parts)} examples leaves none")
    train, tested = parts[:n], parts[n:]
    return train[0], train[1], (None if weight is None else train[2]), tested


def _weights(y: Any, by_class: Any, by_sample: Any) -> Any:
    """The weight of each example of arrays, float32 (n,), or None."""
    for label, weight in _classes(by_class).items():
        if not math.isfinite(weight) or weight < 0:
            raise ArgumentError(f"fit: class_weight[{label!r}]={weight!r} must be 0 or more")
    if y is None and by_sample is not None:
        raise ArgumentError(
            "fit: sample_weight is for arrays, fit(x, y); a loader gives batches (x, y, weights)"
        )
    if y is None or (by_class is None and by_sample is None):
        return None
    weights = None
    if by_sample is not None:
        weights = Arrays((by_sample,)).arrays[0]
        if weights.ndim != 1 or weights.dtype.kind not in "biuf":
            raise ShapeError(f"sample_weight is one number an example, (n,), got {weights.shape}")
        weights = weights.astype(np.float32)
    if by_class is not None:
        labels = np.asarray(Tensor(Arrays((y,)).arrays[0]).numpy())
        own = class_weights(labels, by_class)
        weights = own if weights is None else weights * own
    return weights


def _classes(given: Any) -> dict[Any, float]:
    if given is not None and not isinstance(given, dict):
        raise ArgumentError(f"fit: class_weight is a dict, {{class: weight}}, got {given!r}")
    return given or {}


@gate
def evaluate(
    model: Any,
    x: Data,
    y: Data = None,
    batch_size: Count = 256,
    verbose: Verbosity = 0,
    steps: Count | None = None,
    sample_weight: EachWeight = None,
) -> dict[str, float]:
    """Loss and metrics by name, in evaluation mode, of what `fit` takes; `verbose` 1 prints them.
    `steps`: of how many batches, where there is no end.

    >>> model = tg.nn.Sequential(tg.nn.Dense(1, 1)).compile("sgd", "mse")
    >>> sorted(evaluate(model, [[0.0]], [[0.0]]))  # or model.evaluate(...)
    ['loss']
    """
    trainer = Trainer(model)
    weight = _weights(y, None, sample_weight)
    single = trainer.plan.single
    data = feed(x, y, batch_size, _dtype(model), weight=weight, steps=steps, single=single)
    together.shared(data)
    _tried(trainer, data, training=False)
    scores: dict[str, float] = trainer.scores(data)
    if verbose and not trainer.world.rank:
        print(", ".join(f"{k} {v:.4f}" for k, v in scores.items()))
    return scores


@gate
def predict(
    model: Any, x: Data, batch_size: Count = 256, steps: Count | None = None
) -> NDArray[Any]:
    """The model's outputs as NumPy arrays in their structure, in evaluation mode and under
    `no_grad`. Of a loader's batches (x, y) the inputs are taken. `steps`: of how many batches,
    where there is no end.

    >>> predict(tg.nn.Dense(3, 2), np.ones((5, 2))).shape  # or model.predict(...)
    (5, 3)
    """
    data = feed(x, None, batch_size, _dtype(model), steps=steps, targets=False)
    made: NDArray[Any] = predicted(model, data)
    return made


@gate
def train_on_batch(
    model: Any, x: Data, y: Data, sample_weight: EachWeight = None
) -> dict[str, float]:
    """One training step; the scores of the batch with the weights before it.

    >>> model = tg.nn.Sequential(tg.nn.Dense(1, 1)).compile("sgd", "mse")
    >>> sorted(train_on_batch(model, [[0.0]], [[1.0]]))
    ['loss']
    """
    trainer = Trainer(model)
    size = max([len(a) for a in Arrays((x, y)).arrays])
    weight = _weights(y, None, sample_weight)
    data = feed(x, y, size, _dtype(model), weight=weight, single=trainer.plan.single)
    together.shared(data)
    _tried(trainer, data, training=True)
    trainer.bind()
    return trainer.one(data.first())
