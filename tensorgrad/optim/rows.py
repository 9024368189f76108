"""Steps of tables by gradients of rows (../rows.py)."""

from __future__ import annotations

from typing import Any

from ..core import OPS
from ..errors import GraphError
from ..rows import Rows


def refuse(optimizer: Any, group: dict[str, Any], shape: tuple[int, ...]) -> None:
    """GraphError where the optimizer, with these options, moves rows without a gradient, too."""
    name, leaves = type(optimizer).__name__, optimizer.by_rows
    if leaves is None:
        why = f"{name} moves all rows of a table: take SparseAdam, or SGD or Adagrad without decay"
    elif any(group[option] for option in leaves):
        why = f"{name} moves only these without " + ", ".join(leaves)
    else:
        return
    raise GraphError(
        f"{name}: a parameter of shape {shape} has a gradient of rows, by an embedding with "
        f"sparse=True. {why}; or leave out sparse"
    )


def moved(hyper: Any, params: list, grads: list, states: list, **how: Any) -> list[list]:
    """The lists without the tables that have gradients of rows, which were moved."""
    rest = []
    for i, g in enumerate(grads):
        if isinstance(g, Rows):
            g = g if g.merged else g.copy()
            OPS["step_of_rows"](hyper, g.ids, params[i], g.values, *states[i], **how)
        else:
            rest.append(i)
    return [[own[i] for i in rest] for own in (params, grads, states)]
