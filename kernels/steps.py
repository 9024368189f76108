"""The step of an optimizer as a program: its formula (formulas.py) run on symbols (tracing.py)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from .formulas import COMMON, FORMULAS, pulled, states_of
from .tracing import HOST, Option, Program, Symbol

__all__ = ["HOST", "step_of"]

CLOCK = ("lr", "t", "product")  # what `hyper` holds; the last of NAdam alone
MOST_NUMBERS = 16  # of options that are numbers: `Options` of update.cu


class Step:
    """A formula under options: a program for each answer to what it asks of them."""

    def __init__(self, name: str, options: dict[str, Any]):
        formula: Any = FORMULAS[name]
        code, n = formula.__code__, formula.__code__.co_argcount
        self.given = sorted([k for k, v in options.items() if type(v) is not bool])
        named = code.co_varnames[n : n + code.co_kwonlyargcount]
        clock = [c for c in CLOCK if c in named]
        kept = states_of(name, options)
        asked: set[str] = {k for k, v in options.items() if v is True}
        arrays = {a: Symbol("input", (a,), False) for a in ("p", "g", *kept)}
        numbers: dict[str, Any] = {c: Symbol("input", (c,), True) for c in clock}
        said = dict(options) | {k: Option(k, bool(options[k]), asked) for k in self.given}
        p, g = pulled(arrays["p"], arrays["g"], numbers["lr"], *[said.pop(k) for k in COMMON])
        after = formula(p, g, *[arrays.get(s) for s in formula.states], **said, **numbers)
        results = dict(zip(("p", *formula.states), after, strict=True))
        label = "_".join([name, *sorted(asked)])
        self.program = Program(
            label,
            list(arrays),
            [*clock, *self.given],
            {name: value for name, value in results.items() if name in arrays},
        )
        self.lists, self.clock = len(arrays), len(clock)

    @cached_property
    def numbers(self) -> Any:
        """numbers(xp, *hyper, *options given): what the elements need, in float64."""
        return self.program.numbers()

    @cached_property
    def reference(self) -> Any:
        """reference(xp, numbers, *arrays), which are written to."""
        return self.program.reference()


_steps: dict[tuple, Step] = {}


def step_of(name: str, options: dict[str, Any]) -> Step:
    """The step of a formula under these options; of them it matters which are 0."""
    key = (name, *[k for k, v in options.items() if v])
    made = _steps.get(key)
    if made is None:
        made = _steps[key] = Step(name, options)
    return made
