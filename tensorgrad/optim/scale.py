"""Loss scaling: what keeps small gradients above float16's smallest number."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import BY_TYPE, on_host
from ..core import Tensor
from ..errors import ArgumentError, GraphError
from ..ops.update import advance_scale
from ..settings import gate
from ..switches import forbid
from ..typing import AboveOne, Count, Positive
from .base import Optimizer
from .clipping import rescaled

_LEAST = 2.0**-126  # float32's smallest normal number: from 0 a scale would not grow again


class LossScale:
    """Dynamic loss scaling (Micikevicius et al. 2018): multiplies the loss, and with it all
    gradients, by a scale, and divides the gradients by it before the step.

    When a gradient is infinite or NaN the step is skipped and the scale divided by `factor`; after
    `interval` good steps in a row it is multiplied by it. All of that happens on the device:
    nothing waits for it. A skipped step counts in `optimizer.steps`, and so for schedules, but not
    in the step count t of Adam's bias correction.

    >>> import tensorgrad as tg
    >>> w = tg.Parameter([3.0])
    >>> scale, sgd = LossScale(), tg.optim.SGD([w], lr=0.5)
    >>> scale(w.sum()).backward()
    >>> bool(scale.step(sgd)), w.tolist()
    (True, [2.5])
    """

    @gate
    def __init__(self, start: Positive = 2.0**16, interval: Count = 2000, factor: AboveOne = 2.0):
        self.interval, self.factor = interval, factor
        self._state: Any = np.array([start, 0.0])  # the scale, and good steps since its last change
        self._unscaled: tuple[Optimizer, Any] | None = None  # and whether all were finite

    def _beside(self, array: Any) -> Any:
        """The scale and its count of good steps, moved to the device of this array."""
        if type(self._state) is not type(array):
            forbid("LossScale: first used in the captured step, and not before it")
            host = on_host(self._state)
            self._state = BY_TYPE[type(array)].from_host(host)
        return self._state

    @property
    def value(self) -> float:
        """The scale now; waits for the device."""
        return float(self._state[0])

    @property
    def good(self) -> int:
        """Steps since the last change of the scale; waits for the device."""
        return int(self._state[1])

    def __call__(self, loss: Tensor) -> Tensor:
        """The loss times the scale: what to call backward() on."""
        if not isinstance(loss, Tensor):
            raise ArgumentError(f"LossScale: the loss is a tensor, got {type(loss).__name__}")
        self._unscaled = None
        return loss.astype("float32") * Tensor(self._beside(loss._data)[0, ...].astype("float32"))

    def unscale(self, optimizer: Optimizer) -> Tensor:
        """Divide the gradients by the scale in place, as clipping needs it before `step`; returns
        whether all are finite, on the device."""
        return Tensor(self._unscale(optimizer)[0, ...] != 0)

    def _unscale(self, optimizer: Optimizer) -> Any:
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(f"LossScale: give an optimizer, got {type(optimizer).__name__}")
        if self._unscaled is None:
            if not (grads := optimizer._gradients()):
                raise GraphError("LossScale: no parameter has a gradient; call backward() first")
            finite = rescaled(grads, 1 / self._beside(grads[0])[:1])
            self._unscaled = optimizer, optimizer._agreed(finite)
        if self._unscaled[0] is not optimizer:
            raise GraphError("LossScale: one for each optimizer: it counts the steps of one")
        return self._unscaled[1]

    def step(self, optimizer: Optimizer) -> Tensor:
        """A step of the optimizer with the unscaled gradients, skipped when they are not finite;
        returns whether it was applied, on the device."""
        finite = self._unscale(optimizer)
        optimizer._apply([p._grad for p in optimizer.params()], apply_if=finite)
        options = {"interval": self.interval, "factor": self.factor, "least": _LEAST}
        advance_scale(self._state, finite, **options)
        self._unscaled = None
        return Tensor(finite[0, ...] != 0)

    def state_dict(self) -> dict[str, Any]:
        """What a run needs to resume."""
        return {"value": self.value, "good": self.good}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Resume from what `state_dict` gave."""
        state = np.array([saved["value"], saved["good"]], np.float64)
        self._state[...] = BY_TYPE[type(self._state)].from_host(state)
