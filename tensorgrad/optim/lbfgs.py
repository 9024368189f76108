"""L-BFGS: a quasi-Newton method on all parameters as one vector, for losses that are exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ..backend import BY_TYPE, namespace, on_host
from ..core import stamp
from ..errors import ArgumentError, GraphError
from ..settings import gate
from ..switches import forbid, recording
from ..typing import Count, NonNegative
from .base import Optimizer, Parameters
from .kinds import Schedule


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal 1980; Liu & Nocedal 1989). From the last `history_size` changes
    s of the parameters and y of the gradient, two loops over them give the direction d = -H g; the
    parameters move by t * d, where t is lr (at first min(1, 1 / sum|g|) * lr), or with
    line_search_fn="strong_wolfe" a step that fulfils the strong Wolfe conditions (Nocedal & Wright
    2006, algorithms 3.5 and 3.6).

    `step(closure)` takes up to `max_iter` such steps, and calls the closure, which forgets the
    gradients, computes the loss and its backward(), up to `max_eval` times (5/4 of max_iter);
    it ends early where no gradient is above `tolerance_grad`, or loss and parameters change by less
    than `tolerance_change`. There is one group of parameters, and each iteration waits for the
    device. As in PyTorch, changes with y s <= 1e-10 are not remembered: a loss that gets very small
    is to be multiplied by a number, or progress ends.

    >>> from ..nn import Parameter
    >>> p = Parameter([1.0, 2.0]); opt = LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     opt.zero_grad(); loss = (p**4).sum() + (p[0] - p[1]) ** 2; loss.backward(); return loss
    >>> round(opt.step(closure).item(), 3), closure().item() < 1e-6
    (18.0, True)
    """

    @gate
    def __init__(
        self,
        params: Parameters | None = None,
        lr: NonNegative | Schedule = 1.0,
        max_iter: Count = 20,
        max_eval: Count | None = None,
        tolerance_grad: NonNegative = 1e-7,
        tolerance_change: NonNegative = 1e-9,
        history_size: Count = 100,
        line_search_fn: Literal["strong_wolfe"] | None = None,
        *,
        learning_rate: NonNegative | Schedule | None = None,
    ):
        self.memory: dict[str, Any] = {"iterations": 0, "y": [], "s": [], "scale": 1.0}
        super().__init__(
            params, lr, learning_rate=learning_rate, max_iter=max_iter,
            max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
            tolerance_grad=tolerance_grad, tolerance_change=tolerance_change,
            history_size=history_size, line_search_fn=line_search_fn,
        )  # fmt: skip

    def bind(self, params: Parameters) -> None:
        super().bind(params)
        if len(self.groups) > 1:
            del self.groups[1:]
            raise ArgumentError("LBFGS: there is one group of parameters, in one list")

    def init_state(self, p: Any, group: dict[str, Any]) -> tuple:
        return ()

    def _apply(self, grads: list, apply_if: Any = None) -> None:
        raise GraphError("LBFGS: it is called as step(closure): the loss is computed several times")

    @gate
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to `max_iter` iterations. Returns the loss before the first."""
        if closure is None or not self.groups:
            self._apply([])
        forbid("LBFGS: its steps wait for the device, so they cannot be captured")
        group, memory = self.groups[0], self.memory
        if group["schedule"] is not None:
            group["hyper"][0] = group["schedule"](self.steps)
        self.steps += 1
        lr, first = self.lr, None

        def evaluate() -> tuple[float, Any]:
            nonlocal first
            with recording(True):
                loss = closure()  # type: ignore[misc]
            first = loss if first is None else first
            return float(loss), self._gradient()

        loss, g = evaluate()
        evaluations, least = 1, group["tolerance_change"]
        if not float(abs(g).max()) > group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            memory["iterations"] += 1
            d = self._direction(g, group["history_size"])
            memory["g"], before = g, loss
            begins = memory["iterations"] == 1
            t = min(1.0, 1.0 / float(abs(g).sum())) * lr if begins else lr
            slope = float(g @ d)
            memory["d"], memory["t"] = d, t
            if slope > -least:
                break
            if group["line_search_fn"] is None:
                self._move(t * d)
                if iteration < group["max_iter"]:  # of a last one nobody asks
                    loss, g = evaluate()
                    evaluations += 1
            else:
                start = [p._data.copy() for p in group["params"]]

                def along(t: float, d: Any = d, start: list = start) -> tuple[float, Any, float]:
                    self._move(t * d)
                    value, slopes = evaluate()
                    for p, a in zip(group["params"], start, strict=True):
                        p._data[...] = a
                        stamp(p)
                    return value, slopes, float(slopes @ d)

                left = group["max_eval"] - evaluations
                width = float(abs(d).max())
                loss, g, t, taken = strong_wolfe(along, t, width, (loss, g, slope), least, left)
                self._move(t * d)
                memory["t"], evaluations = t, evaluations + taken
            still = float(abs(t * d).max()) <= least or abs(loss - before) < least
            done = float(abs(g).max()) <= group["tolerance_grad"]
            if evaluations >= group["max_eval"] or done or still:
                break
        return first

    def _gradient(self) -> Any:
        """All gradients as one vector, zeros where there is none."""
        params = self.groups[0]["params"]
        xp = namespace(params[0]._data)
        parts = [xp.zeros_like(p._data) if p._grad is None else p._grad._data for p in params]
        return xp.concatenate([a.reshape(-1) for a in parts])

    def _move(self, by: Any) -> None:
        begin = 0
        for p in self.groups[0]["params"]:
            a = p._data
            a += by[begin : begin + a.size].reshape(a.shape).astype(a.dtype)
            begin += a.size
            stamp(p)

    def _direction(self, g: Any, most: int) -> Any:
        """-H g, by the two loops, after the last change has been noted."""
        memory = self.memory
        if "g" not in memory:
            return -g
        y, s = g - memory["g"], memory["t"] * memory["d"]
        curvature = float(y @ s)
        if curvature > 1e-10:
            for kept, new in ((memory["y"], y), (memory["s"], s)):
                kept.append(new)
                del kept[:-most]
            memory["scale"] = curvature / float(y @ y)
        pairs = [(y, s, 1 / float(y @ s)) for y, s in zip(memory["y"], memory["s"], strict=True)]
        q, parts = -g, []
        for y, s, rho in reversed(pairs):
            parts.append(rho * float(s @ q))
            q = q - parts[-1] * y
        d = memory["scale"] * q
        for (y, s, rho), part in zip(pairs, reversed(parts), strict=True):
            d = d + (part - rho * float(y @ d)) * s
        return d

    def state_dict(self) -> dict[str, Any]:
        """Everything a run needs to resume, as NumPy arrays and numbers."""
        host = lambda a: on_host(a).copy()  # noqa: E731
        kept: dict[str, Any] = {}
        for name, value in self.memory.items():
            several = isinstance(value, list)
            kept[name] = [host(a) for a in value] if several else value
            if type(value) in BY_TYPE:
                kept[name] = host(value)
        return {**super().state_dict(), "memory": kept}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Resume from what `state_dict` gave for the same parameters."""
        super().load_state_dict(saved)
        home = BY_TYPE[type(self.groups[0]["params"][0]._data)]
        for name, value in saved["memory"].items():
            several = isinstance(value, list)
            self.memory[name] = [home.from_host(a.copy()) for a in value] if several else value
            if isinstance(value, np.ndarray):
                self.memory[name] = home.from_host(value.copy())


Point = tuple[float, float, Any, float]  # t, and the loss, its gradient and its slope there


def strong_wolfe(
    along: Callable[[float], tuple[float, Any, float]],
    t: float,
    width: float,
    start: tuple[float, Any, float],
    least: float,
    most: int,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[float, Any, float, int]:
    """A step t that lowers the loss enough, loss(t) <= loss(0) + c1 t slope(0), to where it is flat
    enough, |slope(t)| <= c2 |slope(0)|: out until such lie within a bracket, then into it, by cubic
    interpolation. Returns loss and gradient there, t, and the number of evaluations."""
    loss, _, slope = start
    low: Point = (0.0, *start)
    found, taken, tries = False, 1, 0
    new: Point = (t, *along(t))
    bracket = [low, new]
    while tries < most:
        t = new[0]
        if new[1] > loss + c1 * t * slope or (tries > 1 and new[1] >= low[1]):
            break
        if abs(new[3]) <= -c2 * slope:
            bracket, found = [new], True
            break
        if new[3] >= 0:
            break
        beyond = _cubic(low, new, t + 0.01 * (t - low[0]), 10 * t)
        low, new = new, (beyond, *along(beyond))
        taken, tries, bracket = taken + 1, tries + 1, [low, new]
    if tries == most:
        bracket = [(0.0, *start), new]
    near = False  # whether the last trial was close to an end of the bracket
    best = min(bracket, key=lambda point: point[1])
    while not found and tries < most:
        ends = sorted(point[0] for point in bracket)
        if (ends[1] - ends[0]) * width < least:
            break
        t = _cubic(bracket[0], bracket[1], ends[0], ends[1])
        margin = 0.1 * (ends[1] - ends[0])
        close = min(ends[1] - t, t - ends[0]) < margin
        if close and (near or t >= ends[1] or t <= ends[0]):
            t = ends[1] - margin if abs(t - ends[1]) < abs(t - ends[0]) else ends[0] + margin
            close = False
        near = close
        new = (t, *along(t))
        taken, tries = taken + 1, tries + 1
        best = min(bracket, key=lambda point: point[1])
        at = 0 if bracket[0] is best else 1
        if new[1] > loss + c1 * t * slope or new[1] >= best[1]:
            bracket[1 - at] = new
        else:
            if abs(new[3]) <= -c2 * slope:
                found = True
            elif new[3] * (bracket[1 - at][0] - best[0]) >= 0:
                bracket[1 - at] = best
            bracket[at] = new
        best = min(bracket, key=lambda point: point[1])
    t, value, gradient, _ = best
    return value, gradient, t, taken


def _cubic(a: Point, b: Point, low: float, high: float) -> float:
    """Where the cubic through two points with their slopes is least, within the bounds (Nocedal &
    Wright 2006, equation 3.59)."""
    (x1, f1, _, g1), (x2, f2, _, g2) = (a, b) if a[0] <= b[0] else (b, a)
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1 * d1 - g1 * g2
    if not square >= 0:
        return (low + high) / 2
    d2 = square**0.5
    return float(min(max(x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2)), low), high))
