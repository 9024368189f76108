"""What can be said of data, outputs and losses before the first step."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from .. import losses
from ..backend import is_floating
from ..core import Tensor
from ..errors import ArgumentError, DTypeError, user_level
from ..switches import evaluating, restoring
from ..trees import leaves, refill
from .feed import Batch
from .plan import Plan
from .sums import Gathered, Summed

BINARY = (losses.binary_cross_entropy, losses.binary_cross_entropy_with_logits)
LARGE = 200.0  # inputs beyond are seldom meant: pixels are up to 255


def call(model: Any, x: Any) -> Any:
    """The model's outputs: several inputs are its arguments, by place or by name."""
    if isinstance(x, (tuple, list)):
        return model(*x)
    if isinstance(x, dict):
        return model(**x)
    return model(x)


def check_arrays(x: Any, y: Any, plan: Plan, training: bool, whole: bool = True) -> None:
    """Errors and warnings about arrays in memory, or a first batch (`whole` False): NaN, targets
    that do not fit the loss, inputs that are not scaled, targets that are all the same."""
    for name, tree in (("x", x), ("y", y)):
        for a in _arrays(tree):
            if not is_floating(a.dtype) or bool((a < math.inf).all()):  # -inf may be of a mask
                continue
            found = "infinity" if bool((a == a).all()) else "NaN"
            raise ArgumentError(f"{name} holds {found}: remove or fill those values first")
    for output in plan.outputs:
        part = output.of(y, "targets")
        part = getattr(part, "_data", part)
        if hasattr(part, "dtype"):
            _check_target(part, output.loss)
            if training and whole:
                alike = Alike()
                alike.add(part)
                alike.warn()
    if training:
        for a in _arrays(x):
            pixels = a.dtype == np.uint8 and a.ndim > 2
            if (is_floating(a.dtype) or pixels) and a.size:
                most = float(a.max()) if pixels else float(abs(a).max())
                if LARGE < most < math.inf:
                    how = "x / 255" if pixels or most == 255 else "(x - x.mean(0)) / x.std(0)"
                    _warn(
                        f"inputs reach {most:.3g}: networks learn slowly, or not at all, from "
                        f"numbers far from 1; scale them, {how}"
                    )
                    break


def _arrays(tree: Any) -> list[Any]:
    return [getattr(a, "_data", a) for a in leaves(tree) if hasattr(a, "dtype")]


class Alike:
    """Whether all targets of an epoch are one number. It looks at batches until two differ."""

    def __init__(self) -> None:
        self.value: float | None = None
        self.count, self.differ = 0, False

    def add(self, y: Any) -> None:
        """Look at the targets of a batch."""
        if self.differ:
            return
        if not hasattr(y, "dtype") or y.ndim < 1 or not y.size or y.size != len(y):
            self.differ = True  # or no single numbers
            return
        low, high = float(y.min()), float(y.max())
        self.differ = low != high or self.value not in (None, low)
        self.value, self.count = low, self.count + len(y)

    def warn(self) -> None:
        """A warning where they were all the same."""
        said, self.differ = self.differ, True
        if not said and self.count > 1:
            _warn(
                f"all {self.count} targets are {(self.value or 0.0):g}: there is nothing to learn"
            )


def _check_target(y: Any, loss: Any) -> None:
    if loss is losses.cross_entropy and is_floating(y.dtype) and y.ndim == 1:
        raise DTypeError(
            f"cross_entropy takes integer class labels, y holds {y.dtype}; y.astype('int64')"
        )
    if loss is losses.cross_entropy and not is_floating(y.dtype) and int(y.min()) < 0:
        raise ArgumentError(f"labels run from {int(y.min())}: classes are numbered from 0")
    if loss in BINARY:
        low, high = float(y.min()), float(y.max())
        if low < 0 or high > 1:
            raise ArgumentError(
                f"targets of a binary cross-entropy are 0 to 1, y has {low} to {high}"
            )


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
    if loss is losses.cross_entropy and not is_floating(y.dtype) and y.size:
        classes, most = output.shape[-1], int(y.max())
        if most >= classes:
            raise ArgumentError(
                f"labels run up to {most}, the model has {classes} classes (0..{classes - 1})"
            )


@restoring
def trial(trainer: Any, batch: Batch, labels: Any) -> Any:
    """A dry run of model, loss and metrics on up to 8 examples: it initialises lazy layers, and
    raises errors before training starts. Returns the outputs.

    Args:
        labels: all targets, where they are in memory, else those of the batch.
    """
    model, plan = trainer.model, trainer.plan
    parts = few(batch.x), few(batch.y), few(batch.weight)
    batch = Batch(*parts, min(8, batch.size), batch.whole)
    with evaluating(model.modules()):
        output = call(model, batch.x)
        if plan.single and not isinstance(output, Tensor) and (ours := _of_one(plan)):
            raise ArgumentError(
                f"the model gives a {type(output).__name__} and {ours} takes one tensor: compile "
                "with loss=[...] or loss={...}, one for each output, or with functions of your own "
                "of (outputs, target)"
            )
        if not plan.single and isinstance(output, Tensor):
            raise ArgumentError(
                f"the model gives one output and was compiled with {len(plan.outputs)} losses"
            )
        for o, p, whole in plan.parts(output, labels):
            if isinstance(p, Tensor) and hasattr(whole, "dtype"):
                _check_output(o.loss, p, whole._data if isinstance(whole, Tensor) else whole)
        with trainer.scoring():
            trainer.add(trainer.loss(output, batch.y, batch.weight), output, batch)
        return output


def _of_one(plan: Plan) -> str:
    """What is compiled and takes a single tensor: a loss or metric of the package; "" for none."""
    for name, given in [("the loss", plan.loss), *plan.metrics]:
        module = getattr(getattr(given, "func", given), "__module__", None) or ""
        if isinstance(given, (Summed, Gathered)) or module.startswith("tensorgrad."):
            return name
    return ""


def few(tree: Any) -> Any:
    """The first 8 examples of arrays or tensors in a tree."""
    cut = [a[:8] if getattr(a, "shape", ()) else a for a in leaves(tree)]
    return tree if tree is None else refill(tree, iter(cut))


def warn_promoted(output: Any, dtype: Any) -> None:
    """A warning where the output's dtype is larger than that of the parameters."""
    for p in leaves(output):
        if is_floating(p.dtype) and p.dtype.itemsize > dtype.itemsize:
            _warn(
                f"the model's output is {p.dtype}, its parameters are {dtype}: something in it "
                "promotes the dtype and slows training"
            )


def _warn(text: str) -> None:
    warnings.warn(text, UserWarning, stacklevel=user_level())
