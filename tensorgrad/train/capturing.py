"""Which steps `fit` captures in a CUDA graph without being asked: those where that is safe.

A capture runs the Python of a step once and freezes what it did. So a step is captured only if all
of its Python is this package's, which does the same for each batch of one shape; what is the user's
own may count, draw or branch. What the device's memory has no room for, or a capture refuses, runs
eagerly, too; `fit` says so once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from ..backend import Backend
from ..cuda.graph import Graphed
from ..nn.hooks import ModuleHooks
from .sums import Gathered

WARMUP = 3  # eager steps before a capture
WORTH = 16  # steps of one shape: a capture takes as long as several, and is to pay for itself


def capturing(
    step: Callable, sample: tuple, home: Backend, model: Any, plan: Any, trainer: Any
) -> Callable:
    """The step, to be captured after some eager ones, or the step itself where that is not safe."""

    def refused(why: object) -> None:
        if not plan.told:
            plan.told = True
            warnings.warn(
                f"fit: steps run eagerly, not as a CUDA graph: {why}. compile(..., graphed=False) "
                "leaves this note out, graphed=True captures them all the same",
                stacklevel=2,
            )

    if (own := foreign(model, plan, trainer)) is not None:
        refused(f"{own} is Python of yours, which a graph would run once and not for each batch")
        return step
    return Graphed(step, sample, WARMUP, home, refused, _shortage)


def foreign(model: Any, plan: Any, trainer: Any) -> str | None:
    """The first part of a step that is not this package's, by name; None when all is."""
    parts: list[tuple[str, Any]] = []
    for module in model.modules():
        parts.append((f"the layer {type(module).__name__}", type(module)))
        hooks = vars(module).get("forward")
        if isinstance(hooks, ModuleHooks):
            parts += [(f"a hook of {type(module).__name__}", hook) for hook in hooks]
        for name, value in vars(module).items():
            for part in value if isinstance(value, list) else [value]:
                if callable(part) and not isinstance(part, type) and not hasattr(part, "modules"):
                    parts.append((f"{type(module).__name__}.{name}", part))
    parts.append((f"the optimizer {type(plan.optimizer).__name__}", type(plan.optimizer)))
    parts.append((f"the trainer {type(trainer).__name__}", type(trainer)))
    parts.append(("the loss", plan.loss))
    parts += [(f"the metric {name}", metric) for name, metric in plan.metrics]
    if (own := next((name for name, part in parts if not _ours(part)), None)) is not None:
        return own
    gathered = next((name for name, m in plan.metrics if isinstance(m, Gathered)), None)
    return gathered and f"the metric {gathered}, which keeps every prediction,"


def _ours(part: Any) -> bool:
    while isinstance(part, partial):
        part = part.func
    where = getattr(part, "__module__", None) or type(part).__module__
    return where.partition(".")[0] == __name__.partition(".")[0]


def _shortage(home: Backend) -> str | None:
    """Why there may be no room for a graph, which keeps the memory of a step, beside eager steps,
    of a smaller last batch or of an evaluation, which need as much again."""
    pool, free = home.xp.get_default_memory_pool(), home.xp.cuda.runtime.memGetInfo()[0]
    used, limit = pool.total_bytes(), pool.get_limit()
    free = min(free, limit - used) if limit else free
    if free + pool.free_bytes() >= 2 * used:
        return None
    return f"{free >> 20} MiB of the device are free, and a graph may need {used >> 20} and more"


def frozen(model: Any, plan: Any) -> list[Any]:
    """What a capture freezes and callbacks may change: options of layers and of the optimizer,
    modes, arrays of layers, and which parameters are trained."""
    facts: list[Any] = [
        (id(module), _fact(vars(module)), module.training) for module in model.modules()
    ]
    facts += [(id(p), p.requires_grad) for p in model.parameters()]
    made = ("clocks", "numbers")  # by steps: arrays of counts, and constants that are kept
    for group in plan.optimizer.groups:
        facts.append(_fact({key: value for key, value in group.items() if key not in made}))
    return facts


def _fact(value: Any, depth: int = 8) -> Any:
    """What can be compared later: numbers, words and collections by value, down to some depth; all
    else by identity."""
    if isinstance(value, dict) and depth:
        return {key: _fact(part, depth - 1) for key, part in value.items()}
    if isinstance(value, (tuple, list)) and depth:
        return [_fact(part, depth - 1) for part in value]
    return value if isinstance(value, (bool, int, float, str)) else id(value)
