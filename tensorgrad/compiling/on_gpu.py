"""The GPU half of tg.compile: a step captured in a CUDA graph, with the guards of its Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core import Tensor
from ..cuda.graph import Graphed
from ..switches import switches
from ..trees import leaves, refill
from .capture import GRAPH, recorded
from .guards import Reads
from .plan import MOST


class OnGPU:
    """The graphs of a step, by the key of a call. `refuse` is told why a step cannot be captured:
    it raises, or the step runs eagerly from then on."""

    def __init__(self, step: Callable, refuse: Callable[[str], None]):
        self.step, self.refuse = step, refuse
        self.plans: dict[Any, list[tuple[Reads, Graphed]]] = {}

    def __call__(self, key: Any, args: tuple, named: dict[str, Any], home: Any) -> Any:
        flat = leaves((args, named))
        for reads, graph in self.plans.get(key, ()):
            if reads.hold():
                return graph(*flat)
        reads = Reads(self.step, *[a for a in flat if not isinstance(a, Tensor)])
        effects = switches.each_time = _Effects(reads)
        try:
            result = self.step(*args, **named)
        finally:
            switches.each_time = None
        why = effects.why or reads.changed() or reads.settled(())
        if any(isinstance(t, Tensor) and recorded(t) for t in leaves(result)):
            why = why or GRAPH
        if (many := sum(map(len, self.plans.values()))) >= MOST:
            why = why or f"it was captured {many} times, for other batches or values"
        if why is not None:
            self.refuse(why)
            return result
        form = refill((args, named), iter([...] * len(flat)))

        def step(*parts: Any) -> Any:
            inner, options = refill(form, iter(parts))
            return self.step(*inner, **options)

        graph = Graphed(step, tuple(flat), 1, home, lambda error: self.refuse(str(error)))
        self.plans.setdefault(key, []).insert(0, (reads, graph))
        parts = [t.detach() if isinstance(t, Tensor) else t for t in leaves(result)]
        return refill(result, iter(parts))


class _Effects(list):
    """What the host does in each step, done where it is met; what it changes is the step's own."""

    def __init__(self, reads: Reads):
        super().__init__()
        self.reads = reads
        self.why: str | None = None

    def append(self, effect: Callable[[], None]) -> None:
        super().append(effect)
        with self.reads.owned_by_step():
            effect()

    def forbid(self, what: str) -> None:
        """A step that no capture can follow; it goes on."""
        self.why = self.why or what
