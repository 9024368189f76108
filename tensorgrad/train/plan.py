"""What `compile` sets: the optimizer, and for each output of the model a loss and metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any, Literal, TypeAlias

from .. import losses, optim
from ..core import Tensor
from ..errors import ArgumentError, GraphError, ShapeError
from ..settings import Either, Nothing, Own, Real, gate, listed, shown, take
from . import metrics as metric_table
from .metrics import Metric

Metrics: TypeAlias = Annotated[
    "Metric | Iterable[Any] | dict[str, Any]", Own("metrics, or their names")
]
Loss: TypeAlias = Annotated[
    "str | Callable[..., Tensor] | list[Any] | tuple[Any, ...] | dict[Any, Any]",
    Own("a loss, or its name"),
]
Weights: TypeAlias = Annotated[
    "list[float] | dict[str, float] | None", Either(Nothing(), Own("numbers"))
]


@dataclass
class Output:
    """An output of the model: where it is in what `forward` returns (None: it is all of it), its
    loss, the weight of that, and its metrics by the name of their score."""

    key: int | str | None
    loss: Any
    weight: float = 1.0
    metrics: dict[str, Any] = field(default_factory=dict)

    def of(self, outputs: Any, what: str) -> Any:
        """The part of the outputs, or of the targets, that belongs here."""
        if self.key is None:
            return outputs
        try:
            return outputs[self.key]
        except (KeyError, IndexError, TypeError):
            given = list(outputs) if isinstance(outputs, dict) else type(outputs).__name__
            raise ArgumentError(
                f"fit: the loss has a part {self.key!r}, and the {what} are {given}"
            ) from None


@dataclass
class Plan:
    """What `compile` sets; `told`: `fit` has said why steps are not captured. Not a tuple, in which
    a loss that is a module would be registered as a submodule."""

    optimizer: optim.Optimizer
    outputs: list[Output]
    graphed: bool | Literal["auto"]
    compiled: bool = False
    told: bool = False

    @property
    def loss(self) -> Any:
        """The loss of a model with one output."""
        return self.outputs[0].loss

    @property
    def metrics(self) -> list[tuple[str, Any]]:
        """All metrics, by the name of their score."""
        return [item for output in self.outputs for item in output.metrics.items()]

    @property
    def single(self) -> bool:
        """Whether the model has one output."""
        return self.outputs[0].key is None

    @property
    def names(self) -> list[str]:
        """The names of the scores."""
        own = [] if self.single else [f"{o.key}_loss" for o in self.outputs]
        return ["loss", *own, *[name for name, _ in self.metrics]]

    def directions(self) -> dict[str, bool | None]:
        """Whether larger is better, of each score; None where only its author knows."""
        found: dict[str, bool | None] = dict.fromkeys(self.names, False)
        for name, metric in self.metrics:
            found[name] = metric_table.direction(name, metric)
        return found

    def parts(self, outputs: Any, targets: Any) -> Iterator[tuple[Output, Any, Any]]:
        """Each output with what the model gave and its target."""
        for o in self.outputs:
            yield o, o.of(outputs, "outputs"), o.of(targets, "targets")


@gate
def compile(
    model: Any,
    optimizer: Annotated[optim.Optimizer | str, Own("an optimizer, or its name")],
    loss: Loss,
    metrics: Metrics,
    graphed: bool | Literal["auto"],
    loss_weights: Weights = None,
    compiled: bool = False,
) -> Any:
    """Set the model's plan for training. Names are resolved now, so misspelt ones raise here."""
    optimizer = optim.get(optimizer)
    several: dict[Any, Any] | None = loss if isinstance(loss, dict) else None
    if isinstance(loss, (list, tuple)):
        several = dict(enumerate(loss))  # type: ignore[arg-type]
    if several is None:
        if loss_weights is not None:
            raise ArgumentError("compile: loss_weights are for several losses, a list or a dict")
        several = {None: loss}
    elif not several:
        raise ArgumentError("compile: loss is empty; give one for each output")
    weights = _by_output("loss_weights", loss_weights, several)
    chosen = _by_output("metrics", metrics, several)
    taken: list[str] = ["loss"]
    outputs = []
    for key, one in several.items():
        weight = take("compile", "loss_weights", Real(0), weights.get(key, 1.0))
        output = Output(key, losses.get(one), weight)
        if key is not None:
            taken.append(f"{key}_loss")
        output.metrics = _named(key, output.loss, chosen.get(key, ()), taken)
        outputs.append(output)
    model.plan = Plan(optimizer, outputs, graphed, compiled)
    return model


def _by_output(what: str, given: Any, several: dict[Any, Any]) -> dict[Any, Any]:
    """What was given for each output, by its key."""
    if None in several:
        return {None: given} if given is not None else {}
    if given is None or given == ():
        return {}
    if isinstance(given, dict):
        if unknown := [k for k in given if k not in several]:
            raise ArgumentError(f"compile: {what} for {unknown}, the losses are {list(several)}")
        return given
    if not listed(given) or len(list(given)) != len(several):
        raise ArgumentError(
            f"compile: {what} is a list or a dict with one entry for each of the "
            f"{len(several)} losses, got {shown(given)}"
        )
    return dict(zip(several, given, strict=True))


def _named(key: Any, loss: Any, metrics: Any, taken: list[str]) -> dict[str, Any]:
    """The metrics of an output by the names of their scores; two of one name are numbered."""
    several = [metrics] if isinstance(metrics, str) or callable(metrics) else metrics
    if not listed(several := () if several is None else several):
        raise ArgumentError(f"compile: metrics are names or functions, got {shown(metrics)}")
    named: dict[str, Any] = {}
    for m in several:
        name, metric = metric_table.get(m, loss)
        name = name if key is None else f"{key}_{name}"
        if name in taken:
            name = next(other for i in count(2) if (other := f"{name}_{i}") not in taken)
        taken.append(name)
        named[name] = metric
    return named


def plan_of(model: Any, what: str) -> Plan:
    """The model's plan; GraphError where it has none."""
    plan = getattr(model, "plan", None)
    if plan is None:
        raise GraphError(
            f"{what}: the model is not compiled; call model.compile(optimizer=..., loss=...) first"
        )
    return plan  # type: ignore[no-any-return]


def loss_of(output: Output, prediction: Any, target: Any, weight: Any = None) -> Tensor:
    """The loss of an output, of weighted examples where there are weights."""
    if weight is None:
        loss = output.loss(prediction, target)
    else:
        try:
            loss = output.loss(prediction, target, sample_weight=weight)
        except TypeError as error:
            if "sample_weight" not in str(error):
                raise
            name = getattr(output.loss, "__name__", type(output.loss).__name__)
            raise ArgumentError(
                f"fit: the loss {name} takes no sample_weight=, which weights of classes and "
                "examples need"
            ) from error
    if not isinstance(loss, Tensor) or loss.shape:
        raise ShapeError(
            "a loss is a single number, a tensor of shape (): take .mean(); got "
            + (f"shape {loss.shape}" if isinstance(loss, Tensor) else repr(loss))
        )
    return loss
