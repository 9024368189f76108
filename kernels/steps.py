"""The step of an optimizer as a program: its formula (formulas.py) run on symbols (tracing.py)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from .formulas import COMMON, FORMULAS, pulled, states_of
from .tracing import HOST, Option, Program, Symbol

__all__ = ["Options", "constants", "step_of"]

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
        self.formula, self.lists, self.clock = name, len(arrays), len(clock)
        self.steady = self.program.used.isdisjoint(CLOCK[1:])  # counts no steps

    @cached_property
    def numbers(self) -> Any:
        """numbers(xp, *hyper, *options given): what the elements need, in float64."""
        return self.program.numbers()

    @cached_property
    def reference(self) -> Any:
        """reference(xp, numbers, *arrays), which are written to."""
        return self.program.reference()


_steps: dict[tuple, Step] = {}


class Options(dict):
    """The options of a formula, which nobody changes: what follows from them is kept with them."""

    __slots__ = ("constants", "step")

    def __init__(self, name: str, options: dict[str, Any]):
        super().__init__(options)
        self.step = step_of(name, options)
        self.constants: tuple[Any, list] = None, []

    def __reduce__(self) -> tuple:
        return Options, (self.step.formula, dict(self))


def step_of(name: str, options: dict[str, Any]) -> Step:
    """The step of a formula under these options; of them it matters which are 0."""
    if type(options) is Options:
        return options.step
    key = (name, *[k for k, v in options.items() if v])
    made = _steps.get(key)
    if made is None:
        made = _steps[key] = Step(name, options)
    return made


def constants(step: Step, hyper: np.ndarray, options: dict[str, Any], dtype: Any) -> list:
    """What the elements need, as arrays of one number, which take NumPy half the time of scalars.
    Where it does not depend on the number of the step it is kept while the learning rate is."""
    kept = options if step.steady and isinstance(options, Options) else None
    key = hyper.item(0), dtype
    if kept is not None and kept.constants[0] == key:
        return kept.constants[1]
    given = [options[name] for name in step.given]
    vector = np.array(step.numbers(HOST, *hyper[: step.clock].tolist(), *given), dtype)
    made = [vector[i, ...] for i in range(len(vector))]
    if kept is not None:
        kept.constants = key, made
    return made
