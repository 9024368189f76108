"""Public functions made of ops, beside independent oracles in NumPy: one module per family, whose
ROWS tests/test_vocabulary.py runs (values, gradients of both orders, dtypes, both backends).

What is an op of its own needs no row for its mathematics: its samples and its oracle are in the op
table. A row here is for functions of ops, and for call forms that the samples of an op do not have.
"""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One call: `tg.<name>(*arrays, **options)` beside `truth(*arrays, **options)` of NumPy arrays.

    Floating arrays are given in float64 and differentiated, integer and bool ones are not. `call`
    replaces the plain call where the form matters: `lambda f, x: f([x, x])`.
    """

    name: str
    truth: Callable[..., Any]
    arrays: tuple[Any, ...]
    options: dict[str, Any] = {}
    order: int = 2  # of the derivatives that are checked; 0 where there are none
    call: Callable[..., Any] | None = None
    loose: float = 1.0  # factor of the tolerance, for ill-conditioned results


ROWS: list[Row] = []
for _module in pkgutil.iter_modules(__path__):
    ROWS += importlib.import_module(f"{__name__}.{_module.name}").ROWS
