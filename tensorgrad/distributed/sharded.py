"""Optimizers whose states are spread over the ranks."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np

from ..backend import namespace
from ..core import Tensor, stamp
from ..ops.update import sum_of_squares
from ..optim import Optimizer, clip_grad_value_
from ..optim.clipping import Norm, rescaled
from ..settings import Of, gate
from ..typing import Positive
from . import ranks
from .exchange import flat_of


class Sharded(Optimizer):
    """An optimizer each of whose parameters is updated by one rank, which alone has its state
    (ZeRO, stage 1: Rajbhandari et al. 2020): of Adam's two numbers a parameter a rank keeps one in
    `world.size`. Gradients are summed where they are used, and the new parameters sent to all;
    together these are as many bytes as gradients summed on all ranks. The steps are those of the
    optimizer that it is given, which may be any; so are its files, for any number of ranks.

    `state_dict`, and so `Checkpoint.save`, is for all ranks to call.

    >>> model = tg.nn.Sequential(tg.nn.Dense(1, 1))
    >>> _ = model.compile(Sharded(tg.optim.Adam(lr=0.1)), "mse")
    >>> model.fit([[0.0], [1.0]], [[0.0], [2.0]], epochs=2, verbose=0).epochs
    2
    """

    @gate
    def __init__(self, optimizer: Annotated[Optimizer, Of(Optimizer, "an optimizer")]):
        self.inner = optimizer
        self._owners: list[int] | None = None

    def __getattr__(self, name: str) -> Any:
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)  # groups, steps, state, options, ...

    @property
    def owners(self) -> list[int] | None:
        """The rank of each parameter: the largest first, each to the rank that has least so far."""
        world, params = ranks.world(), self.params()
        if world.size == 1:
            return None
        if self._owners is None or len(self._owners) != len(params):
            loads, found = [0] * world.size, [0] * len(params)
            for i in sorted(range(len(params)), key=lambda i: -params[i].size):
                found[i] = loads.index(min(loads))
                loads[found[i]] += params[i].size
            self._owners = found
        return self._owners

    def bind(self, params: Any) -> None:
        self.inner.bind(params)

    @property
    def lr(self) -> float:
        """The learning rate of the optimizer within."""
        return self.inner.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self.inner.lr = value

    def _apply(self, grads: list, apply_if: Any = None) -> None:
        owners, world = self.owners, ranks.world()
        if owners is None:
            self.inner._apply(grads, apply_if)
            return
        own = [g if r == world.rank else None for g, r in zip(grads, owners, strict=True)]
        if all(g is None for g in own):
            self.inner._rates()  # a step, in which the rank has nothing to do
        else:
            self.inner._apply(own, apply_if)
        params = self.params()
        flat = flat_of(self, params)
        for p, view, r in zip(params, flat.views, owners, strict=True):
            if r == world.rank:
                view[...] = p._data
        parts = list(zip(flat.buffers, flat.ends, strict=True))
        world.collect(parts, "the parameters of a step")
        for p, view, r in zip(params, flat.views, owners, strict=True):
            if r != world.rank:
                p._data[...] = view
                stamp(p)

    def _gradients(self) -> list:
        found = super()._gradients()
        return found or [namespace(self.params()[0]._data).zeros(1, "float32")]

    def _agreed(self, finite: Any) -> Any:
        world = ranks.world()
        if self.owners is not None:
            count = finite.astype("float64")
            world.sum([count], "whether gradients are finite")
            finite[...] = count == world.size
        return finite

    @gate
    def clip_grad_norm(self, max_norm: Norm) -> Tensor:
        """`Optimizer.clip_grad_norm`, by the norm of the gradients of all ranks."""
        if self.owners is None:
            return self.inner.clip_grad_norm(max_norm)
        grads = self._gradients()
        xp = namespace(grads[0])
        total = xp.asarray(sum_of_squares(*grads), "float64").reshape(1)
        ranks.world().sum([total], "the norm of the gradients")
        norm = xp.sqrt(total)
        rescaled(grads, xp.minimum(max_norm / (norm + 1e-6), 1.0))
        return Tensor(norm[0, ...])

    @gate
    def clip_grad_value(self, clip_value: Positive) -> None:
        """`Optimizer.clip_grad_value`, of the gradients that this rank has."""
        own = [p for p in self.params() if p.grad is not None]
        if own:
            clip_grad_value_(own, clip_value)

    def state_dict(self) -> dict[str, Any]:
        """What that of the optimizer within would be on one process, on all ranks."""
        saved, owners, world = self.inner.state_dict(), self.owners, ranks.world()
        if owners is None:
            return saved
        clocks = [clock.host() for group in self.groups for clock in group["clocks"]]
        mine = {i: (clocks[i], saved["state"][i]) for i, r in enumerate(owners) if r == world.rank}
        found: dict[int, Any] = {}
        for part in world.gather(mine, "the states of the optimizer"):
            found |= part
        hyper, start = [], 0
        for group in self.groups:
            stop = start + len(group["params"])
            own = [found[i][0] for i in range(start, stop)]
            alike = all(np.array_equal(own[0], v) for v in own)
            hyper.append(own[0] if alike else own)
            start = stop
        return {**saved, "hyper": hyper, "state": [found[i][1] for i in range(len(owners))]}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Resume from what `state_dict` gave: of this, or of the optimizer within."""
        owners, rank = self.owners, ranks.world().rank
        if owners is not None and len(owners) == len(saved["state"]):
            own = zip(saved["state"], owners, strict=True)
            saved = {**saved, "state": [state if r == rank else None for state, r in own]}
        self.inner.load_state_dict(saved)
