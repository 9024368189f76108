"""Loss scaling: what keeps small gradients above float16's smallest number."""

from __future__ import annotations

from typing import Any

from ..backend import namespace
from ..core import Tensor
from ..errors import GraphError, ShapeError
from .base import Optimizer


class LossScale:
    """Multiplies the loss, and with it all gradients, and divides these again before the step.

    When a gradient is infinite or NaN the step is left out and the scale halved; after `interval`
    good steps it is doubled (Micikevicius et al. 2018).

    >>> import tensorgrad as tg
    >>> w = tg.Parameter([3.0])
    >>> scale, sgd = LossScale(), tg.optim.SGD([w], lr=0.5)
    >>> scale(w.sum()).backward()
    >>> scale.step(sgd), w.tolist()
    (True, [2.5])
    """

    def __init__(self, start: float = 2.0**16, interval: int = 2000, factor: float = 2.0):
        if not (start > 0 and interval >= 1 and factor > 1):
            raise ShapeError(
                "LossScale: start is above 0, interval 1 or more and factor above 1, got "
                f"{start!r}, {interval!r} and {factor!r}"
            )
        self.value, self.interval, self.factor = float(start), interval, float(factor)
        self.good = 0  # steps since the last change
        self._unscaled: tuple[Optimizer, bool] | None = None  # and whether all were finite

    def __call__(self, loss: Tensor) -> Tensor:
        """The loss times the scale: what to call backward() on."""
        return loss.astype("float32") * self.value

    def unscale(self, optimizer: Optimizer) -> bool:
        """Divide the gradients by the scale, as clipping needs it before `step`; returns whether
        all are finite. One number is read back from the device."""
        if self._unscaled is not None:
            if self._unscaled[0] is not optimizer:
                raise GraphError("LossScale: one for each optimizer: it counts the steps of one")
            return self._unscaled[1]
        finite: Any = None
        for p in optimizer.params():
            if p.grad is not None:
                g = p.grad._data
                p.grad = Tensor(g * (1 / self.value))
                here = namespace(g).isfinite(g).all()
                finite = here if finite is None else finite & here
        if finite is None:
            raise GraphError("LossScale: no parameter has a gradient; call backward() first")
        self._unscaled = optimizer, bool(finite)
        return bool(finite)

    def step(self, optimizer: Optimizer) -> bool:
        """One step of the optimizer with the true gradients, or none when they are not finite;
        returns whether there was one."""
        finite = self.unscale(optimizer)
        if finite:
            optimizer.step()
            self.good += 1
        if not finite or self.good >= self.interval:
            self.value *= self.factor if finite else 1 / self.factor
            self.good = 0
        self._unscaled = None
        return finite

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to go on."""
        return {"value": self.value, "good": self.good}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.value, self.good = float(saved["value"]), int(saved["good"])
