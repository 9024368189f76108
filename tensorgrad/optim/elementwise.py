"""What the optimizers share that are the formula of one number (kernels/formulas.py): their step is
one op for all parameters of a group, in one pass over memory and on a GPU in one launch."""

from __future__ import annotations

from typing import Any

from ..backend import namespace
from ..kernels.formulas import COMMON, states_of
from ..kernels.steps import Options
from ..ops.update import optimizer_step
from . import rows
from .base import Optimizer

# Options that are pairs -> what the formulas call their numbers.
_PAIRS = {
    "betas": ("beta1", "beta2"),
    "etas": ("shrink", "grow"),
    "step_sizes": ("least", "most"),
}
_ABSENT = dict.fromkeys(COMMON, 0.0) | {"maximize": False, "decoupled": False}


class Elementwise(Optimizer):
    """An optimizer by the formula of that name, whose states start at `start`."""

    conditional, formula = True, ""

    def start(self, state: str, group: dict[str, Any]) -> float:
        """What a state holds before the first step."""
        return 0.0

    def init_state(self, p: Any, group: dict[str, Any]) -> tuple:
        xp, names = namespace(p), states_of(self.formula, self.numbers_of(group))
        return tuple([xp.full_like(p, self.start(name, group)) for name in names])

    def update(self, params: list, grads: list, states: list, group: dict[str, Any]) -> None:
        hyper = group["hyper"]
        how = {"formula": self.formula, "options": self.numbers_of(group)}
        if self.has_rows:
            params, grads, states = rows.moved(hyper, params, grads, states, **how)
            if not params:
                return
        kept = [a for same in zip(*states, strict=True) for a in same]
        optimizer_step(hyper, *params, *grads, *kept, **how)

    def numbers_of(self, group: dict[str, Any]) -> dict[str, Any]:
        """The options of a group, as the formula takes them."""
        values = [group[name] for name in self.options]
        known = group.get("numbers")  # they seldom change
        if known is not None and known[0] == values:
            return known[1]  # type: ignore[no-any-return]
        options = dict(_ABSENT)
        for name, value in zip(self.options, values, strict=True):
            if (pair := _PAIRS.get(name)) is not None:
                options[pair[0]], options[pair[1]] = value
            else:
                options[name] = value
        made = Options(self.formula, options)
        group["numbers"] = values, made
        return made
