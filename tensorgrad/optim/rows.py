"""Steps of tables by gradients of rows (../rows.py): the rows are taken out, with those of the
states, updated as arrays of their own, and put back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def taken_out(params: list, grads: list, states: list) -> Iterator[tuple[list, list, list]]:
    """Within the block rows stand for the tables that have gradients of rows, and for their states;
    what was written to them is put back."""
    params, grads, states = list(params), list(grads), list(states)
    back = []
    for i, g in enumerate(grads):
        if isinstance(g, Rows):
            g = g if g.merged else g.copy()
            tables = (params[i], *states[i])
            taken = [None if a is None else OPS["embedding"](a, g.ids) for a in tables]
            params[i], grads[i], states[i] = taken[0], g.values, tuple(taken[1:])
            back += [(a, g.ids, own) for a, own in zip(tables, taken, strict=True) if a is not None]
    yield params, grads, states
    for table, ids, own in back:
        table[ids] = own
