"""Running scores of an epoch, accumulated on the device."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ..backend import default, namespace, on_host
from ..core import Tensor
from ..errors import ShapeError
from .sums import Gathered, Summed


class Running:
    """Means over examples and other sums, by name, accumulated on the device: only `read`
    synchronises."""

    def __init__(self, names: Iterable[str], metrics: Iterable[tuple[str, Any]] = ()):
        self.totals: dict[str, Any] = dict.fromkeys(names)
        self.kept: dict[str, list[Any]] = {}  # predictions and targets of metrics that need all
        self.metrics = {n: m for n, m in metrics if isinstance(m, (Summed, Gathered))}
        self.count = 0  # of examples, which the caller adds to
        self.latest: Any = None  # the loss of the last batch

    def start(self) -> None:
        """Reset to 0 in place: a captured step holds the addresses of the totals."""
        self.count = 0
        for total in self.totals.values():
            if total is not None:
                total[...] = 0
        for parts in self.kept.values():
            parts.clear()

    def add(self, name: str, value: Any, n: int, xp: Any) -> None:
        """Accumulate the mean over a batch of n examples, a scalar on the device or the host."""
        if name == "loss":
            self.latest = value
        value = value._data if isinstance(value, Tensor) else value
        if getattr(value, "size", 1) != 1:
            raise ShapeError(f"{name}: one number for a batch, got shape {value.shape}")
        if self.totals.get(name) is None:
            self.totals[name] = xp.zeros((), "float64")
        if not n:  # of rows that other processes count
            return
        if xp is not np and namespace(value) is xp:
            value = xp.asarray(value).reshape(()).astype("float64")
        else:  # a host scalar, which a captured step would repeat from its capture
            value = float(np.asarray(value).item())
        self.totals[name] += value * n

    def whole(self, ranks: Any) -> Running:
        """These scores and those of all other processes, which each have a part of the batches."""
        if ranks.size == 1:
            return self
        ranks.settle("the scores of an epoch")
        names = sorted(n for n, t in self.totals.items() if t is not None)
        parts = [np.asarray(on_host(self.totals[n])) for n in names]
        flat = np.concatenate([[float(self.count)], *[p.reshape(-1) for p in parts]])
        ranks.sum([flat], f"the scores of an epoch ({', '.join(names)})")
        made = Running(self.totals)
        made.metrics, made.count = self.metrics, round(flat[0])
        start = 1
        for name, p in zip(names, parts, strict=True):
            made.totals[name] = flat[start : start + p.size].reshape(p.shape)
            start += p.size
        gathered = [n for n, m in self.metrics.items() if isinstance(m, Gathered)]
        for name in gathered:
            mine = [[on_host(a) for a in part] for part in self.kept.get(name, ())]
            made.kept[name] = _in_turn(ranks.gather(mine, f"the predictions for {name}"))
        return made

    def own(self, scores: dict[str, Any], n: int) -> None:
        """Accumulate scores of a step of the user's."""
        for name, value in scores.items():
            value = value.detach() if isinstance(value, Tensor) else value
            xp = namespace(value._data) if isinstance(value, Tensor) else default().xp
            self.add(name, value, n, xp)

    def measure(self, name: str, metric: Any, p: Any, t: Any, n: int, xp: Any) -> None:
        """Accumulate a metric of predictions and targets."""
        if isinstance(metric, Summed):
            sums = metric.sums(p._data, t._data)
            if self.totals[name] is None:
                self.totals[name] = xp.zeros(sums.shape, "float64")
            if n:
                self.totals[name] += sums
        elif isinstance(metric, Gathered):
            rows = slice(None) if n else slice(0)
            columns = tuple([a[rows] for a in metric.columns(p._data, t._data)])
            self.kept.setdefault(name, []).append(columns)
        else:
            self.add(name, metric(p, t), n, xp)

    def read(self, names: Iterable[str] | None = None) -> dict[str, float]:
        """The scores so far; synchronises with the device."""
        return {name: self._score(name) for name in (self.totals if names is None else names)}

    def _score(self, name: str) -> float:
        metric, total = self.metrics.get(name), self.totals.get(name)
        if isinstance(metric, Gathered):
            columns = zip(*self.kept[name], strict=True) if self.kept.get(name) else ()
            whole = [np.concatenate([on_host(a) for a in column]) for column in columns]
            return float(metric.result(*whole)) if whole else math.nan
        if total is None or not self.count:
            return math.nan
        if metric is not None:
            return float(metric.result(on_host(total)))
        return float(total) / self.count

    def state_dict(self) -> dict[str, Any]:
        """The totals so far, on the host."""
        totals = {n: None if t is None else np.array(on_host(t)) for n, t in self.totals.items()}
        kept = {n: [[on_host(a) for a in part] for part in parts] for n, parts in self.kept.items()}
        return {"count": self.count, "totals": totals, "kept": kept}

    def load_state_dict(self, state: dict[str, Any], home: Any) -> None:
        """Go on from there, on a backend: in place where there are totals."""
        self.count = state["count"]
        for name, total in state["totals"].items():
            if total is None:
                continue
            total = np.asarray(total)
            if self.totals.get(name) is None:
                self.totals[name] = home.xp.zeros(total.shape, "float64")
            self.totals[name][...] = home.from_host(total)
        for name, parts in state.get("kept", {}).items():
            rows = [tuple(home.from_host(np.asarray(a)) for a in part) for part in parts]
            self.kept[name] = rows


def _in_turn(of_ranks: list[list[Any]]) -> list[Any]:
    """What processes have kept of each batch, in the order of the examples. One may have kept more,
    of the batches before a run was resumed."""
    most = max(map(len, of_ranks))
    return [
        part
        for i in range(-most, 0)
        for kept in of_ranks
        for part in kept[len(kept) + i : len(kept) + i + 1]
        if len(kept) + i >= 0
    ]
