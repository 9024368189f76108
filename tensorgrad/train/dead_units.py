"""A callback that finds units which learn no more."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..backend import default, on_host
from ..core import Tensor
from ..errors import user_level
from ..nn.conv import Conv, Conv1d, Conv2d, Conv3d
from ..nn.dense import Dense
from ..nn.norm import BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d
from ..settings import gate
from ..typing import Fraction
from .callbacks import Callback

CONVOLUTIONS = (Conv, Conv1d, Conv2d, Conv3d)
NORMS = (BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d)


class DeadUnits(Callback):
    """Warn of layers of which more than a `share` of the units is dead: the gradient of their bias
    (of their weights, where they have none) was exactly 0 in each batch of an epoch, as of a relu
    that is negative for every example (Maas et al. 2013). Dense layers, convolutions and batch
    norms are looked at, where their parameters are; each layer is warned of once. `dead` has, of
    each layer, which units were dead in the last epoch, bool (units,).

    >>> model = tg.nn.Sequential(tg.nn.Dense(4, 1, activation="relu"), tg.nn.Dense(1, 4))
    >>> model[0].weight.data = tg.ones((1, 4))
    >>> model[0].bias.data = tg.asarray([0.0, 0.0, 0.0, -9.0])
    >>> look = DeadUnits(share=0.5)
    >>> x = np.ones((8, 1))
    >>> _ = model.compile("sgd", "mse").fit(x, 2 * x, callbacks=look)
    >>> look.dead["layers[0]"].tolist()
    [False, False, False, True]
    """

    everywhere = False  # gradients are the same in all processes

    @gate
    def __init__(self, share: Fraction = 0.1):
        self.share = share
        self.dead: dict[str, np.ndarray[Any, Any]] = {}
        self._alive: dict[str, Any] = {}  # of this epoch, where the parameters are
        self._told: list[str] = []

    def train_begin(self, model: Any, names: list[str]) -> None:
        self.dead, self._alive, self._told = {}, {}, []

    def batch_end(self, model: Any, batch: int, loss: Any) -> None:
        for path, module in model.named_modules():
            if (learns := _learning(module)) is None:
                continue
            if path in self._alive:
                self._alive[path] |= learns
            else:
                self._alive[path] = learns

    def epoch_end(self, model: Any, epoch: int, scores: dict[str, float]) -> None:
        self.dead = {path: ~on_host(alive) for path, alive in self._alive.items()}
        self._alive = {}
        if all(dead.all() for dead in self.dead.values()):
            return  # the loss has no gradient at all, as where it is 0
        kinds = {path: type(module).__name__ for path, module in model.named_modules()}
        for path, dead in self.dead.items():
            if dead.mean() > self.share and path not in self._told:
                self._told.append(path)
                warnings.warn(
                    f"{path} ({kinds[path]}): {dead.sum()} of {dead.size} units had gradients of 0 "
                    f"in all batches of epoch {epoch + 1}, and learn no more: a lower learning "
                    "rate, he_normal weights, batch norm or leaky_relu may help",
                    stacklevel=user_level(),
                )

    def state_dict(self) -> dict[str, Any]:
        alive = {path: np.array(on_host(a)) for path, a in self._alive.items()}
        return {"alive": alive, "told": self._told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        home = default()
        self._alive = {path: home.from_host(np.array(a)) for path, a in state["alive"].items()}
        self._told = [*state["told"]]


def _learning(module: Any) -> Any:
    """Which units have a gradient other than 0, bool (units,); None where that is not known."""
    if not isinstance(module, (Dense, *CONVOLUTIONS, *NORMS)):
        return None
    own = vars(module)
    for name in ("bias", "weight"):
        p = own.get(name)
        if isinstance(p, Tensor) and p.grad is not None:
            g = p.grad._data
            if name == "weight" and not isinstance(module, NORMS):
                g = abs(g).max(axis=0 if isinstance(module, Dense) else tuple(range(1, g.ndim)))
            return g != 0
    return None
